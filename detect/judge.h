/* A report that was read to what detect says of it: the verdict, why, and since when; and the lines
 * of it. Reads no report. */
#ifndef MS_DETECT_JUDGE_H
#define MS_DETECT_JUDGE_H

#include "detect/explain.h"
#include "detect/verdict.h"

#include <stdio.h>

enum { MS_JUDGE_WHY_MOST = 100 };

/* What is asked for, and with what. Zeroed before first use. */
struct ms_judge {
    struct ms_model *model; /* borrowed */
    uint64_t min_calls;
    double threshold;
    double unknown_from, unknown_to; /* scores from … to before … are no verdict (of several
                                        classes the largest); equal or NAN: none */
    size_t top; /* calls that `why` names, at most MS_JUDGE_WHY_MOST; 0: none */
    bool early; /* since when */
    /* private */
    struct ms_input_row row;
};
void ms_judge_release(struct ms_judge *self);

struct ms_judgement {
    struct ms_verdict verdict;
    struct ms_why why[MS_JUDGE_WHY_MOST];
    size_t why_count;
    struct ms_decision decided;
};

/* What a model reads and a trace (of calls or of opcodes, with the sample's static features or
 * without) has not. */
enum ms_lack { MS_LACK_NOTHING, MS_LACK_CALLS, MS_LACK_OPCODES, MS_LACK_STATICS };
enum ms_lack ms_judge_lack(const struct ms_model_facts *facts, bool opcodes, bool statics);

/* MS_E_NOMEM and what the model says. */
enum ms_status ms_judge_trace(struct ms_judge *self, const struct ms_read_trace *trace,
                              struct ms_judgement *out, struct ms_error *err) MS_MUST_USE;

/* How it is printed. */
struct ms_judgement_style {
    bool json;
    bool early;       /* text: a column for it */
    const bool *last; /* of a log that is followed: is this its last line? NULL: no such log */
};

/* `name` (any bytes) is the report's: one line, and as text a line for each of the calls behind it.
 * MS_E_IO when stdout is gone. */
enum ms_status ms_judgement_print(const struct ms_judgement *self,
                                  const struct ms_read_trace *trace, struct ms_span name,
                                  const struct ms_judgement_style *style, FILE *out,
                                  struct ms_error *err) MS_MUST_USE;

#endif

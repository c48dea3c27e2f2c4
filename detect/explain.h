/* Why a model says what it says of a trace, in the trace's own calls: what the score would be
 * without them. Knows no kind of model; prints nothing.
 *
 * Occlusion (Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
 * section 4.2; for words of a text Li, Monroe and Jurafsky, arXiv:1612.08220): a call is left out
 * of the view, everywhere it occurs, and the model is asked again. The difference is exact for this
 * model and this view, and no more than that: calls that matter only together, or of which either
 * would do, show small differences each; the differences do not add up to the score; and what the
 * program would have done without the call is another question. What was cut off the view does not
 * come back in the place of what is left out. */
#ifndef MS_DETECT_EXPLAIN_H
#define MS_DETECT_EXPLAIN_H

#include "detect/reader.h"
#include "train/model.h"

#include <stddef.h>

struct ms_why {
    size_t at;    /* position in the view: of its occurrences the one that alone moves the score
                     most */
    size_t first; /* position in the view of the first one */
    size_t count; /* occurrences in the view */
    double delta; /* score less the score without all of them: above 0 the call speaks for the
                     class */
};

/* The calls (distinct names) that move the score of `class_` most, by falling size of the change,
 * equal ones by first occurrence; at most `most` into out, *count of them; calls that move nothing
 * are left out. When the view has more distinct calls than may be tried (ms_variants_most), windows
 * of it are left out first, and the calls of those that move the score most are tried. Of a name
 * with more occurrences than may be tried as many are, spread evenly. MS_E_NOMEM and what the model
 * says. */
enum ms_status ms_explain(struct ms_model *model, const struct ms_read_trace *trace,
                          uint32_t class_, struct ms_why *out, size_t most, size_t *count,
                          struct ms_error *err) MS_MUST_USE;

struct ms_decision {
    bool found;
    size_t at;      /* position in the view of the call with which the threshold is passed for good:
                       the score of the view up to it, and of every longer beginning that was asked
                       for, is at or above it */
    size_t checked; /* beginnings asked for */
    bool exact;     /* of those from the decision on, and the one before it, none was left out */
    size_t steps;   /* calls in all of them */
};

/* Where a trace that is malicious in the end became so. Of views of up to
 * MS_LIMIT_EXPLAINED_PREFIXES calls every beginning is asked for, from the longest on until one is
 * below the threshold; of longer ones every k-th, then those between the last one below the
 * threshold and the one behind it, until none is left between them or twice
 * MS_LIMIT_EXPLAINED_STEPS are reached. The view is what the normalisation left: of a trace that
 * was cut at its beginning, a beginning of the rest; what a model knows of the trace as a whole
 * (run counts, n-grams) is that of the whole trace. min_calls plays no part. */
enum ms_status ms_decided_at(struct ms_model *model, const struct ms_read_trace *trace,
                             double threshold, struct ms_decision *out,
                             struct ms_error *err) MS_MUST_USE;

#endif

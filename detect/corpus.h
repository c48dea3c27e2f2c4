/* The traces that a corpus has of a sample, as the reader of reports gives them. Part of the tool,
 * not of the library: a verdict on a report needs no corpus. */
#ifndef MS_DETECT_CORPUS_H
#define MS_DETECT_CORPUS_H

#include "detect/reader.h"
#include "train/model.h"

struct ms_corpus_traces;

/* Opens the corpus in `folder` for reading, as the model of these facts (borrowed) wants its
 * traces. MS_E_INPUT when there is none. */
enum ms_status ms_corpus_traces_open(const char *folder, const struct ms_model_facts *facts,
                                     struct ms_corpus_traces **out,
                                     struct ms_error *err) MS_MUST_USE;
void ms_corpus_traces_close(struct ms_corpus_traces *self);

/* `name` is the hash as given, '#' and the number of the analysis as `extract show` has it. */
typedef enum ms_status (*ms_corpus_trace_visit)(void *ctx, const char *name,
                                                const struct ms_read_trace *trace,
                                                struct ms_error *err);

/* Each analysis of the sample with this hash (of calls, or of opcodes for a model that reads these;
 * with static features for one that wants them and where they are known), oldest first, also those
 * without calls, for whose state there is a reason; a private sample's too, for nothing leaves the
 * machine. MS_REJECT when no such analysis of it is known. */
enum ms_status ms_corpus_traces_read(struct ms_corpus_traces *self, const char *hex,
                                     ms_corpus_trace_visit visit, void *ctx,
                                     struct ms_error *err) MS_MUST_USE;

#endif

/* Received processes as rows of the corpus: API names to ids, blobs with those ids. */
#ifndef MS_EXTRACT_TRACE_ROWS_H
#define MS_EXTRACT_TRACE_ROWS_H

#include "extract/trace_frames.h"
#include "store/corpus.h"

struct ms_trace_rows {
    struct ms_corpus *corpus;
    uint32_t *ids; /* of the corpus, by the job's number */
    size_t count, cap;
    struct ms_buf blob, head;
};

/* Needs an open transaction, as do the others. Interns all names received so far; init leaves *self
 * ready for release even when it fails. */
enum ms_status ms_trace_rows_init(struct ms_trace_rows *self, struct ms_corpus *corpus,
                                  const struct ms_trace_received *received,
                                  struct ms_error *err) MS_MUST_USE;
void ms_trace_rows_release(struct ms_trace_rows *self);
/* Interns the name just received, number self->count; for jobs whose names come over time. */
enum ms_status ms_trace_rows_add_api(struct ms_trace_rows *self,
                                     const struct ms_trace_received *received,
                                     struct ms_error *err) MS_MUST_USE;
/* Inserts received process `index` as process `ord` of the analysis. */
enum ms_status ms_trace_rows_insert(struct ms_trace_rows *self,
                                    const struct ms_trace_received *received, size_t index,
                                    int64_t analysis, int64_t ord,
                                    struct ms_error *err) MS_MUST_USE;

/* The blob of received process `index` with the corpus's ids; borrowed until the next
 * call. The whole of it is held. */
enum ms_status ms_trace_rows_blob(struct ms_trace_rows *self,
                                  const struct ms_trace_received *received, size_t index,
                                  struct ms_span *out, struct ms_error *err) MS_MUST_USE;

/* A state word of the corpus as static text ("error" for one we do not know). */
const char *ms_state_text(const char *state);

#endif

/* What a corpus keeps of a repository's history: the commits that were gone through, and the past
 * files of which there may be more to be had. Knows no git. */
#ifndef MS_STORE_HISTORY_H
#define MS_STORE_HISTORY_H

#include "store/corpus.h"
#include "store/sample.h"

/* Calls visit with each commit id of the last complete crawl's branches and tags. Do not write
 * meanwhile. */
enum ms_status ms_history_foreach_tip(struct ms_corpus *corpus, int64_t origin, ms_span_visit visit,
                                      void *ctx, struct ms_error *err) MS_MUST_USE;
/* Replaces them. In a transaction. */
enum ms_status ms_history_put_tips(struct ms_corpus *corpus, int64_t origin,
                                   const uint8_t (*ids)[20], size_t count,
                                   struct ms_error *err) MS_MUST_USE;

/* A file of an earlier commit; nothing is written when its blob's outcome is final (ok, too_big).
 * In a transaction. */
enum ms_status ms_history_put_past(struct ms_corpus *corpus, int64_t origin,
                                   const uint8_t git_id[20], struct ms_span path,
                                   const uint8_t commit_id[20], struct ms_error *err) MS_MUST_USE;
/* Removes those that have become final. In a transaction. */
enum ms_status ms_history_settle_past(struct ms_corpus *corpus, int64_t origin,
                                      struct ms_error *err) MS_MUST_USE;

/* Calls visit for each past file that is worth another look: not for final ones, and not for those
 * in which this version of the unpacker found no program. Do not write meanwhile. */
typedef enum ms_status (*ms_past_visit)(void *ctx, struct ms_span path, const uint8_t git_id[20],
                                        const uint8_t commit_id[20], struct ms_error *err);
enum ms_status ms_history_foreach_past(struct ms_corpus *corpus, int64_t origin,
                                       unsigned unpacker_version, ms_past_visit visit, void *ctx,
                                       struct ms_error *err) MS_MUST_USE;

#endif

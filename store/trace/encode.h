/* One process's trace as a compact blob, and back: a dictionary of the API ids that occur, then
 * local indexes, repeats, threads and times as separate streams. It knows ids, not names. */
#ifndef MS_STORE_TRACE_ENCODE_H
#define MS_STORE_TRACE_ENCODE_H

#include "base/buf.h"
#include "base/span.h"
#include "store/trace/trace.h"

#include <stddef.h>
#include <stdint.h>

/* One entry of `calls`. tid and time_us as in ms_call_info; repeated at most MS_LIMIT_REPEATED. */
struct ms_trace_call {
    uint32_t api;
    uint64_t tid;
    int64_t time_us;
    uint64_t repeated;
};

/* The blob (integers are LEB128):
 *     version  one byte, MS_TRACE_VERSION
 *     calls    entries
 *     expanded sum of 1 + repeated
 *     count    size of the dictionary, then that many API ids in first-seen order
 *     plain    length of the body in bytes; absent when calls is 0, as is the body
 *     body     one zstd frame
 *
 * The dictionary lies outside of the frame so that ids can be replaced without unpacking. The body
 * is the lengths in bytes of the first three streams, then four streams:
 *     indexes  one a call, into the dictionary; a new one is always the highest so far + 1
 *     repeats  for each entry with repeated > 0: entries since the last such, repeated
 *     threads  runs: length - 1, zigzag difference to the tid before
 *     times    runs: (length - 1) * 2 + known; when known, zigzag difference to the last known
 *
 * The first difference is to 0; differences wrap at 64 bits. Neighbouring runs differ. Each stream
 * ends where its entries are complete. */
enum { MS_TRACE_VERSION = 1 };

struct ms_trace_encoder;

enum ms_status ms_trace_encoder_new(struct ms_trace_encoder **out,
                                    struct ms_error *err) MS_MUST_USE;
void ms_trace_encoder_free(struct ms_trace_encoder *self);

/* Adds a call at the end: one to a few bytes of memory. MS_REJECT beyond MS_LIMIT_CALLS entries or
 * MS_LIMIT_APIS_PER_REPORT + 1 distinct APIs; MS_E_NOMEM. */
enum ms_status ms_trace_encoder_add(struct ms_trace_encoder *self, const struct ms_trace_call *call,
                                    struct ms_error *err) MS_MUST_USE;
/* Entries since new or finish, and the sum of 1 + repeated. */
uint64_t ms_trace_encoder_calls(const struct ms_trace_encoder *self);
uint64_t ms_trace_encoder_expanded(const struct ms_trace_encoder *self);

/* Appends the blob to `out` and begins the next process. The same calls give the same bytes with
 * the same libzstd. MS_REJECT when the blob passes `out`'s maximum. */
enum ms_status ms_trace_encoder_finish(struct ms_trace_encoder *self, struct ms_buf *out,
                                       struct ms_error *err) MS_MUST_USE;
/* Forgets what was added. */
void ms_trace_encoder_reset(struct ms_trace_encoder *self);

/* Appends `blob` to `out` with each id i of its dictionary replaced by ids[i]. MS_REJECT when the
 * blob's head is damaged or an id is not below count. */
enum ms_status ms_trace_remap(struct ms_span blob, const uint32_t *ids, size_t count,
                              struct ms_buf *out, struct ms_error *err) MS_MUST_USE;

/* What the head says; the body is not looked at. MS_REJECT when damaged. */
struct ms_trace_head {
    uint64_t calls, expanded;
    uint32_t apis;
};
enum ms_status ms_trace_head_read(struct ms_span blob, struct ms_trace_head *out,
                                  struct ms_error *err) MS_MUST_USE;

/* Whether one of ids[0..count) is in the blob's dictionary; the body is not looked at. MS_REJECT
 * when the head is damaged. */
enum ms_status ms_trace_mentions(struct ms_span blob, const uint32_t *ids, size_t count,
                                 bool *found, struct ms_error *err) MS_MUST_USE;

struct ms_trace_decoder;

/* Unpacks a blob, whose bytes may be anything: MS_REJECT when head or frame are damaged; damage to
 * the streams shows in next. The blob is not referred to afterwards. */
enum ms_status ms_trace_decoder_open(struct ms_span blob, struct ms_trace_decoder **out,
                                     struct ms_error *err) MS_MUST_USE;
void ms_trace_decoder_close(struct ms_trace_decoder *self);

/* The next calls, up to cap; *n = 0 at the end, which is reached only if all streams and counts
 * agree. MS_REJECT otherwise. */
enum ms_status ms_trace_decoder_next(struct ms_trace_decoder *self, struct ms_trace_call *calls,
                                     size_t cap, size_t *n, struct ms_error *err) MS_MUST_USE;

/* Head and dictionary (borrowed, `apis` ids in first-seen order). */
void ms_trace_decoder_head(const struct ms_trace_decoder *self, struct ms_trace_head *out);
const uint32_t *ms_trace_decoder_apis(const struct ms_trace_decoder *self);

#endif

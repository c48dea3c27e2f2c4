/* One process's trace as a compact blob, and back: a dictionary of the API ids that occur, then
 * blocks of calls as separate streams. It knows ids, not names. */
#ifndef MS_STORE_TRACE_ENCODE_H
#define MS_STORE_TRACE_ENCODE_H

#include "base/buf.h"
#include "base/span.h"
#include "store/trace/trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One entry of `calls`. tid and time_us as in ms_call_info; repeated at most MS_LIMIT_REPEATED. */
struct ms_trace_call {
    uint32_t api;
    uint64_t tid;
    int64_t time_us;
    uint64_t repeated;
};

/* The blob is a head and behind it the blocks (integers are LEB128; zigzag maps a difference
 * modulo 2^64, taken as signed, to 0, 1, 2, … for 0, -1, 1, …):
 *
 *     version  one byte, MS_TRACE_VERSION
 *     calls    entries
 *     expanded sum of 1 + repeated
 *     count    size of the dictionary, then that many API ids in first-seen order
 *     blocks   their number, then for each its entries (1 to MS_TRACE_BLOCK) and its length in
 *              bytes; the head ends here, and ends behind the dictionary when calls is 0
 *
 * The dictionary lies outside of what is packed so that ids can be replaced without unpacking; the
 * entries and lengths lead to a place in the trace without unpacking what lies before it. A block
 * refers to no other, and knows the dictionary's places alone.
 *
 * A block of n entries is a check sum of what follows (four bytes, lowest first; ms_block_sum in
 * block.h; it guards against decay, not against malice), one byte of flags and then its streams. A
 * stream whose plain length is known from elsewhere is packed(length): a number, stored length * 4
 * + form, and then the stored bytes, which are in
 *
 *     form 0   the plain bytes
 *     form 1   a byte, 1, 2 or 4: their bits; and then so many bits of each, lowest first, the last
 *              byte filled up with zeros
 *     form 2   runs of them: for each the byte and its run's length - 1
 *     form 3   one LZ4 block of them
 *
 * Which form is taken is the encoder's choice: runs where they are long, for they unpack as fast as
 * memory is written; LZ4 where it saves three quarters, or half of a long stream; bits of what is
 * below 16; else plain. Most traces are short, and to open a zstd frame took longer than to read
 * their calls: LZ4 takes a fifth of that time for a quarter more bytes.
 *
 *     flags    bit 0: places take two bytes; bits 1-2: threads (below); bits 3-4: times (below);
 *              bit 5: some entry has repeated > 0; bits 6-7: 0
 *     places   packed(n): low bytes of the places in the dictionary; packed(n): high bytes, when
 *              they take two
 *     threads  0: none is known
 *              1: number of threads (1 to 256), each as the zigzag difference to the one before
 *                 (the first: to 0); when there are several packed(n): one byte an entry, its
 *                 place in that list
 *              2: packed(8 n): the lowest bytes of all, then the next …
 *     times    0: none is known
 *              1: unit (at least 1), bias (below 65536), zigzag of the first known time; then
 *                 packed(n) codes; then the length of the exceptions in bytes e and packed(e).
 *                 A code below 254 is the difference to the last known time (for the first known:
 *                 to the time written before), divided by the unit, plus bias. 254: unknown.
 *                 255: the divided difference is the next of the exceptions (zigzag)
 *              2: the same with two bytes a code, packed(n) low and packed(n) high ones, and
 *                 65534, 65535 for 254, 255
 *              3: packed(8 n): the times themselves as threads are in 2, MS_TIME_NONE for unknown
 *     repeats  when flagged: length in bytes r, packed(r): for each entry with repeated > 0 the
 *              number of entries since the last such, then repeated
 *
 * Blobs of the versions before are read too. In those of version 2 form 1 is one zstd frame, and
 * there is no form 3. Those of version 1 have no blocks: behind the dictionary stands the length of
 * the body (absent, as is the body, when calls is 0), then the body, one zstd frame of the lengths
 * in bytes of the first three streams and then
 *     indexes  one a call, into the dictionary; a new one is always the highest so far + 1
 *     repeats  as above
 *     threads  runs: length - 1, zigzag difference to the tid before
 *     times    runs: (length - 1) * 2 + known; when known, zigzag difference to the last known
 */
enum { MS_TRACE_VERSION = 3, MS_TRACE_BLOCK = 16384 };

struct ms_trace_encoder;

/* About 700 KiB, whatever is added. */
enum ms_status ms_trace_encoder_new(struct ms_trace_encoder **out,
                                    struct ms_error *err) MS_MUST_USE;
void ms_trace_encoder_free(struct ms_trace_encoder *self);

/* Adds a call at the end. Each MS_TRACE_BLOCK calls make a block, which is kept until it is taken
 * or finish. MS_REJECT beyond MS_LIMIT_CALLS entries or MS_LIMIT_APIS_PER_REPORT + 1 distinct APIs,
 * or when the kept blocks pass MS_LIMIT_TRACE_BYTES; MS_E_NOMEM. */
enum ms_status ms_trace_encoder_add(struct ms_trace_encoder *self, const struct ms_trace_call *call,
                                    struct ms_error *err) MS_MUST_USE;
/* Entries since new or finish, and the sum of 1 + repeated. */
uint64_t ms_trace_encoder_calls(const struct ms_trace_encoder *self);
uint64_t ms_trace_encoder_expanded(const struct ms_trace_encoder *self);

/* Appends the blob to `out` and begins the next process. The same calls give the same bytes with
 * the same liblz4. MS_REJECT when the blob passes `out`'s maximum. */
enum ms_status ms_trace_encoder_finish(struct ms_trace_encoder *self, struct ms_buf *out,
                                       struct ms_error *err) MS_MUST_USE;
/* The same in pieces, for whom the blob is too large to hold. `blocks` are the bytes of the blocks
 * made and not yet taken, borrowed until the next call; finish_head makes the last block and
 * appends the head to `head`; the blob is that head and then all blocks in order. */
struct ms_span ms_trace_encoder_blocks(const struct ms_trace_encoder *self);
void ms_trace_encoder_take_blocks(struct ms_trace_encoder *self);
/* The blocks not yet taken stay until they are taken, or the next call is added. */
enum ms_status ms_trace_encoder_finish_head(struct ms_trace_encoder *self, struct ms_buf *head,
                                            struct ms_error *err) MS_MUST_USE;
/* Forgets what was added. */
void ms_trace_encoder_reset(struct ms_trace_encoder *self);

/* Appends `blob`, which may be a head alone, to `out` with each id i of its dictionary replaced by
 * ids[i]. MS_REJECT when the blob's head is damaged or an id is not below count. */
enum ms_status ms_trace_remap(struct ms_span blob, const uint32_t *ids, size_t count,
                              struct ms_buf *out, struct ms_error *err) MS_MUST_USE;

/* What the head says; the blocks are not looked at. MS_REJECT when damaged. */
struct ms_trace_head {
    uint64_t calls, expanded;
    uint32_t apis;
};
enum ms_status ms_trace_head_read(struct ms_span blob, struct ms_trace_head *out,
                                  struct ms_error *err) MS_MUST_USE;
/* The same for a head of the present version that stands alone, looked at to its end: it must fit
 * blocks of block_bytes in all. */
enum ms_status ms_trace_head_check(struct ms_span head, uint64_t block_bytes,
                                   struct ms_trace_head *out, struct ms_error *err) MS_MUST_USE;

/* Whether one of ids[0..count) is in the blob's dictionary; no block is looked at. MS_REJECT when
 * the head is damaged. */
enum ms_status ms_trace_mentions(struct ms_span blob, const uint32_t *ids, size_t count,
                                 bool *found, struct ms_error *err) MS_MUST_USE;

struct ms_trace_decoder;

/* A decoder that reads one blob after another: less than 1 MiB, but for a blob of version 1, which
 * is unpacked as a whole. */
enum ms_status ms_trace_decoder_new(struct ms_trace_decoder **out,
                                    struct ms_error *err) MS_MUST_USE;
void ms_trace_decoder_close(struct ms_trace_decoder *self);

/* Begins with a blob, whose bytes may be anything and are referred to until the next load or close.
 * MS_REJECT when its head is damaged; damage to the blocks shows in what reads them. */
enum ms_status ms_trace_decoder_load(struct ms_trace_decoder *self, struct ms_span blob,
                                     struct ms_error *err) MS_MUST_USE;
/* new and load. */
enum ms_status ms_trace_decoder_open(struct ms_span blob, struct ms_trace_decoder **out,
                                     struct ms_error *err) MS_MUST_USE;

/* The next calls, up to cap; *n = 0 at the end, which is reached only if all streams and counts
 * agree. MS_REJECT otherwise. Not to be mixed with blocks of fewer columns. */
enum ms_status ms_trace_decoder_next(struct ms_trace_decoder *self, struct ms_trace_call *calls,
                                     size_t cap, size_t *n, struct ms_error *err) MS_MUST_USE;

/* The fast way: a block at a time, each column an array of n, and only the columns asked for. */
enum ms_trace_column {
    MS_COLUMN_API = 1,
    MS_COLUMN_TID = 2,
    MS_COLUMN_TIME = 4,
    MS_COLUMN_REPEATED = 8,
    MS_COLUMN_PLACE = 16 /* of the API in ms_trace_decoder_apis, without the id */
};
struct ms_trace_columns {
    size_t n;       /* 0 at the end */
    uint64_t first; /* position of the first entry in the trace */
    const uint32_t *api;
    const uint16_t *place;
    const uint64_t *tid;      /* NULL: all MS_TID_NONE, or not asked for */
    const int64_t *time_us;   /* NULL: all MS_TIME_NONE, or not asked for */
    const uint64_t *repeated; /* NULL: all 0, or not asked for */
};
/* The next block; arrays borrowed until the next call. `columns` is a sum of ms_trace_column. Only
 * what is asked for is unpacked, and so only its damage is found. */
enum ms_status ms_trace_decoder_block(struct ms_trace_decoder *self, unsigned columns,
                                      struct ms_trace_columns *out,
                                      struct ms_error *err) MS_MUST_USE;
/* Goes to the block that holds entry `seq`, so that the next block read begins there or, in a blob
 * of version 1, where it would have begun anyway: see `first`. Forwards only. Behind the last entry
 * is the end. */
void ms_trace_decoder_seek(struct ms_trace_decoder *self, uint64_t seq);

/* Head and dictionary (borrowed, `apis` ids in first-seen order). */
void ms_trace_decoder_head(const struct ms_trace_decoder *self, struct ms_trace_head *out);
const uint32_t *ms_trace_decoder_apis(const struct ms_trace_decoder *self);

#endif

/* One block of a trace and the head before the blocks, as store/trace/encode.h describes them.
 * Private to the codec. */
#ifndef MS_STORE_TRACE_BLOCK_H
#define MS_STORE_TRACE_BLOCK_H

#include "base/limits.h"
#include "base/lz4.h"
#include "base/zstd.h"
#include "store/trace/encode.h"

/* The forms of a packed stream. */
enum {
    MS_PACKED_PLAIN = 0,
    MS_PACKED_BITS = 1,
    MS_PACKED_ZSTD = 1,
    MS_PACKED_RUNS = 2,
    MS_PACKED_LZ4 = 3
};

enum {
    MS_TRACE_APIS = MS_LIMIT_APIS_PER_REPORT + 1, /* in a dictionary */
    MS_BLOCK_WIDE_PLACES = 1,
    MS_BLOCK_TIDS_SHIFT = 1,  /* 0 none, 1 listed, 2 wide */
    MS_BLOCK_TIMES_SHIFT = 3, /* 0 none, 1 one byte, 2 two bytes, 3 wide */
    MS_BLOCK_REPEATS = 32,
    MS_BLOCK_FLAGS = 63, /* all there are */
    MS_BLOCK_TIDS = 256  /* in a list */
};

static inline uint64_t ms_zigzag(uint64_t difference)
{
    return difference << 1 ^ (0 - (difference >> 63));
}

static inline uint64_t ms_unzigzag(uint64_t code)
{
    return code >> 1 ^ (0 - (code & 1));
}

/* Bytes of a block's check sum, and the sum of n bytes: words of eight, lowest byte first, the last
 * one filled up with zeros, each mixed in by an odd multiplication. */
enum { MS_BLOCK_SUM_BYTES = 4 };
uint32_t ms_block_sum(const uint8_t *bytes, size_t n);

/* The calls of a block, as its encoder collects them. */
struct ms_block_calls {
    size_t n;
    bool any_tid, any_time, any_repeated;
    uint16_t places[MS_TRACE_BLOCK];
    uint64_t tids[MS_TRACE_BLOCK];
    int64_t times_us[MS_TRACE_BLOCK];
    uint64_t repeated[MS_TRACE_BLOCK];
};

/* What packing a block needs. */
struct ms_block_writer {
    struct ms_buf packed, list;
    uint8_t low[8 * MS_TRACE_BLOCK], high[MS_TRACE_BLOCK];
};

/* Appends the block of calls (n > 0) to `out`. MS_E_NOMEM, MS_REJECT beyond out's maximum. */
enum ms_status ms_block_write(struct ms_block_writer *self, const struct ms_block_calls *calls,
                              struct ms_buf *out, struct ms_error *err) MS_MUST_USE;

/* What unpacking needs; out's arrays lie in it. */
struct ms_block_reader {
    bool zstd; /* form 1 is zstd's: version 2 */
    struct ms_zstd_unpacker *unpacker;
    uint8_t plane[8 * MS_TRACE_BLOCK + 8], high[MS_TRACE_BLOCK + 8];
    struct ms_buf list; /* exceptions, repeats */
    uint16_t place[MS_TRACE_BLOCK];
    uint32_t api[MS_TRACE_BLOCK];
    /* Runs are written four entries at once, which may be three too many. */
    uint64_t tid[MS_TRACE_BLOCK + 3];
    int64_t time_us[MS_TRACE_BLOCK + 3];
    uint64_t repeated[MS_TRACE_BLOCK];
    /* Of the block read last. */
    uint32_t places_used;  /* highest place + 1; with API or PLACE */
    uint64_t repeated_sum; /* with REPEATED */
};

/* Unpacks the columns asked for of a block of n entries (1 to MS_TRACE_BLOCK) into the reader.
 * apis[0..count): the dictionary. MS_REJECT when anything of what was looked at is wrong. */
enum ms_status ms_block_read(struct ms_block_reader *self, struct ms_span block, size_t n,
                             const uint32_t *apis, uint32_t count, unsigned columns,
                             struct ms_trace_columns *out, struct ms_error *err) MS_MUST_USE;

/* The head up to the dictionary, moved behind it. *version is 1 to
 * MS_TRACE_VERSION. */
enum ms_status ms_head_take(struct ms_span *rest, uint8_t *version, struct ms_trace_head *out,
                            struct ms_error *err) MS_MUST_USE;
/* The next id of the dictionary. */
bool ms_head_take_api(struct ms_span *rest, uint32_t *out) MS_MUST_USE;
/* The list of blocks behind the dictionary, moved behind it: `index` is its entries. They must have
 * head->calls entries in all; *bytes is the length of all blocks. */
enum ms_status ms_head_take_index(struct ms_span *rest, const struct ms_trace_head *head,
                                  struct ms_span *index, uint64_t *bytes,
                                  struct ms_error *err) MS_MUST_USE;
/* The next entry of the index. */
bool ms_index_take(struct ms_span *index, size_t *calls, uint64_t *bytes) MS_MUST_USE;

enum ms_status ms_trace_damaged(struct ms_error *err, const char *what);

/* --- version 1 --- */

struct ms_trace_old;
/* `rest`: the blob behind its dictionary, which is unpacked and not referred to afterwards. */
enum ms_status ms_trace_old_open(struct ms_span rest, const struct ms_trace_head *head,
                                 const uint32_t *apis, struct ms_trace_old **out,
                                 struct ms_error *err) MS_MUST_USE;
void ms_trace_old_close(struct ms_trace_old *self);
/* As ms_trace_decoder_block, all columns; out's arrays lie in `reader`. */
enum ms_status ms_trace_old_block(struct ms_trace_old *self, struct ms_block_reader *reader,
                                  struct ms_trace_columns *out, struct ms_error *err) MS_MUST_USE;

#endif

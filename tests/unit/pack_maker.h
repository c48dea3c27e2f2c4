/* Makes git packs for tests, honest and otherwise: each object's header, stream and the checksum as
 * told. */
#ifndef MS_TESTS_PACK_MAKER_H
#define MS_TESTS_PACK_MAKER_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/span.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static inline void pack_begin(struct ms_buf *out, uint32_t count)
{
    const uint8_t head[12] = {'P',
                              'A',
                              'C',
                              'K',
                              0,
                              0,
                              0,
                              2,
                              (uint8_t)(count >> 24),
                              (uint8_t)(count >> 16),
                              (uint8_t)(count >> 8),
                              (uint8_t)count};
    ms_buf_init(out, (size_t)64 << 20);
    (void)ms_buf_append(out, head, sizeof head);
}

static inline void pack_add_head(struct ms_buf *out, unsigned type, uint64_t size)
{
    uint8_t byte = (uint8_t)((type << 4) | (size & 15));
    for (size >>= 4; size; size >>= 7) {
        (void)ms_buf_append_byte(out, byte | 0x80);
        byte = (uint8_t)(size & 0x7f);
    }
    (void)ms_buf_append_byte(out, byte);
}

static inline void pack_add_stream(struct ms_buf *out, struct ms_span bytes)
{
    uLongf n = compressBound((uLong)bytes.len);
    if (ms_buf_reserve(out, n) != MS_OK ||
        compress(out->data + out->len, &n, bytes.data, (uLong)bytes.len) != Z_OK)
        abort();
    out->len += n;
}

/* An object whose header says `size`, whatever the bytes are. Returns where it starts. */
static inline size_t pack_add(struct ms_buf *out, unsigned type, uint64_t size,
                              struct ms_span bytes)
{
    size_t at = out->len;
    pack_add_head(out, type, size);
    pack_add_stream(out, bytes);
    return at;
}

/* A delta on what starts `distance` bytes before. */
static inline size_t pack_add_offset_delta(struct ms_buf *out, uint64_t distance,
                                           struct ms_span delta)
{
    size_t at = out->len;
    uint8_t digits[10];
    size_t n = sizeof digits;
    pack_add_head(out, 6, delta.len);
    digits[--n] = (uint8_t)(distance & 0x7f);
    while (distance >>= 7)
        digits[--n] = (uint8_t)(0x80 | (--distance & 0x7f));
    (void)ms_buf_append(out, digits + n, sizeof digits - n);
    pack_add_stream(out, delta);
    return at;
}

static inline size_t pack_add_id_delta(struct ms_buf *out, const uint8_t base[MS_SHA1_BYTES],
                                       struct ms_span delta)
{
    size_t at = out->len;
    pack_add_head(out, 7, delta.len);
    (void)ms_buf_append(out, base, MS_SHA1_BYTES);
    pack_add_stream(out, delta);
    return at;
}

static inline void pack_end(struct ms_buf *out)
{
    struct ms_hasher *hasher;
    struct ms_digests digests;
    if (ms_hasher_new(MS_HASH_SHA1, &hasher, NULL) != MS_OK)
        abort();
    ms_hasher_update(hasher, out->data, out->len);
    if (ms_hasher_finish(hasher, &digests, NULL) != MS_OK)
        abort();
    ms_hasher_free(hasher);
    (void)ms_buf_append(out, digests.sha1, MS_SHA1_BYTES);
}

#endif

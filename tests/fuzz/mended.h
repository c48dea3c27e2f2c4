/* For fuzz targets that read archives: sets the checksums of headers right, so that changed bytes
 * get past them. Changes nothing else. */
#ifndef MS_TESTS_FUZZ_MENDED_H
#define MS_TESTS_FUZZ_MENDED_H

#include "base/span.h"

#include <string.h>
#include <zlib.h>

enum { MEND_7Z_START_BYTES = 32 };

static inline void mend_put_u32(uint8_t *to, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

/* The header is taken to reach to the end of the file. */
static inline void mend_7z(uint8_t *bytes, size_t n)
{
    struct ms_span all = ms_span_of(bytes, n);
    uint64_t at;
    if (!ms_span_u64le(all, 12, &at) || n <= MEND_7Z_START_BYTES || at >= n - MEND_7Z_START_BYTES)
        return;
    at += MEND_7Z_START_BYTES;
    for (unsigned i = 0; i < 8; i++)
        bytes[20 + i] = (uint8_t)((uint64_t)(n - at) >> (8 * i));
    mend_put_u32(bytes + 28, (uint32_t)crc32_z(0, bytes + at, n - at));
    mend_put_u32(bytes + 8, (uint32_t)crc32_z(0, bytes + 12, 20));
}

/* CRCs of blocks in the clear. */
static inline void mend_rar5(uint8_t *bytes, size_t n)
{
    for (uint64_t at = 8; at + 5 < n;) {
        struct ms_span rest = ms_span_of(bytes + at + 4, n - (size_t)at - 4), body;
        uint64_t size, kind, flags, extra = 0, data = 0;
        if (!ms_span_take_varint(&rest, &size) || !ms_span_take(&rest, size, &body))
            return;
        uint64_t end = (uint64_t)(rest.data - bytes);
        mend_put_u32(bytes + at, (uint32_t)crc32_z(0, bytes + at + 4, (size_t)(end - at - 4)));
        if (!ms_span_take_varint(&body, &kind) || !ms_span_take_varint(&body, &flags) ||
            ((flags & 1) && !ms_span_take_varint(&body, &extra)) ||
            ((flags & 2) && !ms_span_take_varint(&body, &data)) || data > n)
            return;
        at = end + data;
    }
}

static inline void mend_rar4(uint8_t *bytes, size_t n)
{
    for (size_t at = 7; at + 7 <= n;) {
        size_t size = (size_t)(bytes[at + 5] | bytes[at + 6] << 8);
        uint32_t data = 0;
        if (size < 7 || size > n - at)
            return;
        uint32_t crc = (uint32_t)crc32_z(0, bytes + at + 2, size - 2);
        bytes[at] = (uint8_t)crc;
        bytes[at + 1] = (uint8_t)(crc >> 8);
        if ((bytes[at + 4] & 0x80) && !ms_span_u32le(ms_span_of(bytes + at, size), 7, &data))
            return;
        if (data > n - at - size)
            return;
        at += size + data;
    }
}

/* Whichever of them it is. */
static inline void mend_any(uint8_t *bytes, size_t n)
{
    if (n > 6 && memcmp(bytes, "7z\xbc\xaf", 4) == 0)
        mend_7z(bytes, n);
    else if (n > 8 && memcmp(bytes, "Rar!\x1a\7\1", 7) == 0)
        mend_rar5(bytes, n);
    else if (n > 7 && memcmp(bytes, "Rar!\x1a\7", 6) == 0)
        mend_rar4(bytes, n);
}

#endif

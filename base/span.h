/* A borrowed view of bytes with a read cursor; every read is bounds-checked, every size computed
 * without overflow. */
#ifndef MS_BASE_SPAN_H
#define MS_BASE_SPAN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ms_span {
    const uint8_t *data;
    size_t len;
};

static inline struct ms_span ms_span_of(const void *data, size_t len)
{
    return (struct ms_span){(const uint8_t *)data, len};
}

/* The part [offset, offset+len); false when it does not lie inside. 64-bit arguments: file offsets
 * come from outside. */
bool ms_span_sub(struct ms_span self, uint64_t offset, uint64_t len,
                 struct ms_span *out) MS_MUST_USE;

/* Little-endian (le) and big-endian (be) integers at an offset; false when they do not lie inside.
 */
bool ms_span_u8(struct ms_span self, uint64_t offset, uint8_t *out) MS_MUST_USE;
bool ms_span_u16le(struct ms_span self, uint64_t offset, uint16_t *out) MS_MUST_USE;
bool ms_span_u32le(struct ms_span self, uint64_t offset, uint32_t *out) MS_MUST_USE;
bool ms_span_u64le(struct ms_span self, uint64_t offset, uint64_t *out) MS_MUST_USE;
bool ms_span_u32be(struct ms_span self, uint64_t offset, uint32_t *out) MS_MUST_USE;

/* Cursor reads: take from the front and move it; false, and nothing moved, when too short. */
bool ms_span_take(struct ms_span *self, uint64_t len, struct ms_span *out) MS_MUST_USE;
bool ms_span_take_u8(struct ms_span *self, uint8_t *out) MS_MUST_USE;
bool ms_span_take_u32le(struct ms_span *self, uint32_t *out) MS_MUST_USE;
bool ms_span_take_u64le(struct ms_span *self, uint64_t *out) MS_MUST_USE;
bool ms_span_take_long_varint(struct ms_span *self, uint64_t *out) MS_MUST_USE;
static inline bool ms_span_take_varint(struct ms_span *self, uint64_t *out)
{
    if (self->len && self->data[0] < 0x80) { /* most are small */
        *out = *self->data++;
        self->len--;
        return true;
    }
    if (self->len > 1 && self->data[1] < 0x80) {
        *out = (uint64_t)(self->data[0] & 0x7f) | (uint64_t)self->data[1] << 7;
        self->data += 2;
        self->len -= 2;
        return true;
    }
    return ms_span_take_long_varint(self, out);
}

bool ms_span_equal(struct ms_span a, struct ms_span b) MS_MUST_USE;
bool ms_span_equal_text(struct ms_span a, const char *text) MS_MUST_USE;

/* a+b and a*b; false on overflow. */
static inline bool ms_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool ms_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

#endif

/* Carries out git deltas. Every copy is checked against the base and the result. */
#include "collect/pack_delta.h"

#include <string.h>

enum { COPY_BYTES_DEFAULT = 0x10000 };

static enum ms_status damaged(struct ms_error *err, const char *what)
{
    return ms_error_set(err, MS_REJECT, "the pack is damaged: %s", what);
}

enum ms_status ms_delta_head_take(struct ms_span *delta, uint64_t *base_size, uint64_t *size,
                                  struct ms_error *err)
{
    return ms_span_take_varint(delta, base_size) && ms_span_take_varint(delta, size)
               ? MS_OK
               : damaged(err, "a delta's sizes");
}

/* The bytes of an argument that the opcode's bits say are there, least significant first. */
static bool take_argument(struct ms_span *steps, unsigned bits, unsigned count, uint64_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < count; i++) {
        uint8_t byte;
        if (!(bits >> i & 1))
            continue;
        if (!ms_span_take_u8(steps, &byte))
            return false;
        *out |= (uint64_t)byte << (8 * i);
    }
    return true;
}

enum ms_status ms_delta_apply(struct ms_span base, struct ms_span steps, uint8_t *out, size_t size,
                              struct ms_error *err)
{
    size_t done = 0;
    uint8_t opcode;
    while (ms_span_take_u8(&steps, &opcode)) {
        struct ms_span piece;
        uint64_t offset, bytes;
        if (opcode == 0)
            return damaged(err, "a delta has a step of no meaning");
        if (opcode & 0x80) {
            if (!take_argument(&steps, opcode, 4, &offset) ||
                !take_argument(&steps, opcode >> 4, 3, &bytes))
                return damaged(err, "a delta is cut short");
            bytes = bytes ? bytes : COPY_BYTES_DEFAULT;
            if (!ms_span_sub(base, offset, bytes, &piece))
                return damaged(err, "a delta reads outside its base");
        } else if (!ms_span_take(&steps, opcode, &piece)) {
            return damaged(err, "a delta is cut short");
        }
        if (piece.len > size - done)
            return damaged(err, "a delta makes more than it says");
        memcpy(out + done, piece.data, piece.len);
        done += piece.len;
    }
    return done == size ? MS_OK : damaged(err, "a delta makes less than it says");
}

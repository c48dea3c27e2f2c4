/* One call as a few bytes: the number of its API, then thread and time where they differ from the
 * call before. For interleave.c, which packs, and turns.c; the bytes may be of anybody's making. */
#ifndef MS_EXTRACT_REPORT_PACKED_H
#define MS_EXTRACT_REPORT_PACKED_H

#include "store/trace/trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MS_PACKED_MAX_BYTES = 32, /* three varints of at most ten bytes */
    MS_PACKED_TID = 1,
    MS_PACKED_TIME = 2,
    MS_PACKED_FLAG_BITS = 2
};

/* What the next call of a process differs from; a process begins with MS_PACKED_FIRST. */
struct ms_packed {
    uint64_t tid;
    int64_t time_us; /* of the last call that had one */
};
#define MS_PACKED_FIRST ((struct ms_packed){.tid = MS_TID_NONE})

static inline size_t ms_packed_put_varint(uint8_t *to, uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        to[n++] = (uint8_t)(value | 0x80);
    to[n++] = (uint8_t)value;
    return n;
}

/* Bytes used; 0: they end within a number, or it is none of 64 bits. */
static inline size_t ms_packed_get_varint(const uint8_t *from, size_t n, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < n && i < 10; i++) {
        *value |= (uint64_t)(from[i] & 0x7f) << (7 * i);
        if (!(from[i] & 0x80))
            return i + 1;
    }
    return 0;
}

/* Writes at most MS_PACKED_MAX_BYTES; returns how many. */
static inline size_t ms_packed_put(uint8_t *to, struct ms_packed *last, uint32_t api, uint64_t tid,
                                   int64_t time_us)
{
    bool new_tid = tid != last->tid, has_time = time_us != MS_TIME_NONE;
    size_t n = ms_packed_put_varint(to, (uint64_t)api << MS_PACKED_FLAG_BITS |
                                            (new_tid ? MS_PACKED_TID : 0) |
                                            (has_time ? MS_PACKED_TIME : 0));
    if (new_tid)
        n += ms_packed_put_varint(to + n, last->tid = tid);
    if (has_time) {
        uint64_t delta = (uint64_t)time_us - (uint64_t)last->time_us;
        n += ms_packed_put_varint(to + n, delta << 1 ^ (uint64_t) - (int64_t)(delta >> 63));
        last->time_us = time_us;
    }
    return n;
}

/* Fills tid and time of `call`. Bytes used; 0: they are no call. */
static inline size_t ms_packed_get(const uint8_t *from, size_t n, struct ms_packed *last,
                                   uint64_t *api, struct ms_call_info *call)
{
    uint64_t head, delta;
    size_t used = ms_packed_get_varint(from, n, &head), more = used;
    if (more && head & MS_PACKED_TID)
        used += more = ms_packed_get_varint(from + used, n - used, &last->tid);
    call->time_us = MS_TIME_NONE;
    if (more && head & MS_PACKED_TIME) {
        used += more = ms_packed_get_varint(from + used, n - used, &delta);
        uint64_t time_us =
            (uint64_t)last->time_us + (delta >> 1 ^ (uint64_t) - (int64_t)(delta & 1));
        call->time_us = last->time_us = (int64_t)time_us;
    }
    *api = head >> MS_PACKED_FLAG_BITS;
    call->tid = last->tid;
    return more ? used : 0;
}

#endif

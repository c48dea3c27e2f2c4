/* Unpacks the streams of one block into arrays. Its bytes may be anything. */
#include "store/trace/block.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* A stream as it is stored. */
struct packed {
    unsigned form;
    struct ms_span bytes;
};

static bool take_stored(struct ms_span *rest, struct packed *out)
{
    uint64_t stored;
    if (!ms_span_take_varint(rest, &stored) || !ms_span_take(rest, stored >> 2, &out->bytes))
        return false;
    out->form = stored & 3;
    return true;
}

/* The next of `runs`, which must not be longer than the `left` entries that are to come. */
static inline bool take_run(struct ms_span *runs, size_t left, uint8_t *byte, size_t *length)
{
    uint64_t more;
    if (!ms_span_take_u8(runs, byte) || !ms_span_take_varint(runs, &more) || more >= left)
        return false;
    *length = (size_t)more + 1;
    return true;
}

static bool unpack_runs(struct ms_span runs, uint8_t *out, size_t n)
{
    while (runs.len) {
        uint8_t byte;
        size_t length;
        if (!take_run(&runs, n, &byte, &length))
            return false;
        memset(out, byte, length);
        out += length;
        n -= length;
    }
    return n == 0;
}

/* Eight values of so many bits each, to bytes. */
static uint64_t spread(uint64_t v, unsigned bits)
{
    if (bits == 4) {
        v = (v | v << 16) & UINT64_C(0x0000ffff0000ffff);
        v = (v | v << 8) & UINT64_C(0x00ff00ff00ff00ff);
        return (v | v << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    }
    if (bits == 2) {
        v = (v | v << 24) & UINT64_C(0x000000ff000000ff);
        v = (v | v << 12) & UINT64_C(0x000f000f000f000f);
        return (v | v << 6) & UINT64_C(0x0303030303030303);
    }
    v = (v | v << 28) & UINT64_C(0x0000000f0000000f);
    v = (v | v << 14) & UINT64_C(0x0003000300030003);
    return (v | v << 7) & UINT64_C(0x0101010101010101);
}

/* `room` has eight bytes more than n. */
static bool unpack_bits(struct ms_span bytes, uint8_t *room, size_t n)
{
    uint8_t bits;
    if (!ms_span_take_u8(&bytes, &bits) || (bits != 1 && bits != 2 && bits != 4) ||
        bytes.len != (n * bits + 7) / 8)
        return false;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t some = 0;
        const size_t left = bytes.len - i / 8 * bits;
        for (size_t k = 0; k < bits && k < left; k++)
            some |= (uint64_t)bytes.data[i / 8 * bits + k] << (8 * k);
        some = spread(some, bits);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        some = __builtin_bswap64(some);
#endif
        memcpy(room + i, &some, sizeof some);
    }
    return true;
}

/* The n plain bytes of a stream: a view of them where they are stored plain, else unpacked to
 * `room`. False when there are not that many. */
static bool unpack(struct ms_block_reader *self, const struct packed *packed, size_t n,
                   uint8_t *room, const uint8_t **out)
{
    const struct ms_span bytes = packed->bytes;
    *out = room;
    switch (packed->form) {
    case MS_PACKED_PLAIN:
        *out = bytes.data;
        return bytes.len == n;
    case MS_PACKED_RUNS:
        return unpack_runs(bytes, room, n);
    case MS_PACKED_LZ4:
        return ms_lz4_unpack(bytes.data, bytes.len, room, n);
    default:
        if (!self->zstd)
            return unpack_bits(bytes, room, n);
        return ms_zstd_unpack(self->unpacker, bytes.data, bytes.len, room, n);
    }
}

/* Both. NULL room: stepped over. */
static bool take_packed(struct ms_block_reader *self, struct ms_span *rest, size_t n, uint8_t *room,
                        const uint8_t **out)
{
    struct packed packed;
    *out = NULL;
    return take_stored(rest, &packed) && (!room || unpack(self, &packed, n, room, out));
}

/* A stream that begins with its plain length, unpacked to `list`. */
static bool take_list(struct ms_block_reader *self, struct ms_span *rest, size_t most, bool wanted,
                      struct ms_span *out)
{
    uint64_t n;
    const uint8_t *bytes = NULL;
    if (!ms_span_take_varint(rest, &n) || n > most)
        return false;
    ms_buf_clear(&self->list);
    if (wanted && ms_buf_reserve(&self->list, (size_t)n + 8) != MS_OK)
        return false;
    if (!take_packed(self, rest, (size_t)n, wanted ? self->list.data : NULL, &bytes))
        return false;
    *out = ms_span_of(bytes, wanted ? (size_t)n : 0);
    return true;
}

static unsigned highest_byte(const uint8_t *bytes, size_t n)
{
    unsigned highest = 0;
    size_t i = 0;
#ifdef __SSE2__
    __m128i most = _mm_setzero_si128();
    for (; i + 16 <= n; i += 16)
        most = _mm_max_epu8(most, _mm_loadu_si128((const __m128i *)(const void *)(bytes + i)));
    most = _mm_max_epu8(most, _mm_srli_si128(most, 8));
    most = _mm_max_epu8(most, _mm_srli_si128(most, 4));
    most = _mm_max_epu8(most, _mm_srli_si128(most, 2));
    most = _mm_max_epu8(most, _mm_srli_si128(most, 1));
    highest = (unsigned)_mm_cvtsi128_si32(most) & 255;
#endif
    for (; i < n; i++)
        highest = bytes[i] > highest ? bytes[i] : highest;
    return highest;
}

/* Eight bytes, the first one lowest. */
static uint64_t eight(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* n times the same and, where n is no multiple of four, up to three more. */
static inline void fill_run(uint64_t *out, uint64_t value, size_t n)
{
#ifdef __SSE2__
    const __m128i both = _mm_set1_epi64x((long long)value);
    for (size_t k = 0; k < n; k += 4) {
        _mm_storeu_si128((__m128i *)(void *)(out + k), both);
        _mm_storeu_si128((__m128i *)(void *)(out + k + 2), both);
    }
#else
    for (size_t k = 0; k < n; k++)
        out[k] = value;
#endif
}

/* All eight bytes are the first one. */
static bool is_run(uint64_t word)
{
    return word == (word << 8 | word >> 56);
}

/* out[i] = apis[places[i]]; written out, for compilers leave such a loop as it is. */
static void look_up_apis(const uint32_t *apis, const uint8_t *places, size_t n, uint32_t *out)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const uint64_t word = eight(places + i);
        out[i] = apis[word & 255];
        out[i + 1] = apis[word >> 8 & 255];
        out[i + 2] = apis[word >> 16 & 255];
        out[i + 3] = apis[word >> 24 & 255];
        out[i + 4] = apis[word >> 32 & 255];
        out[i + 5] = apis[word >> 40 & 255];
        out[i + 6] = apis[word >> 48 & 255];
        out[i + 7] = apis[word >> 56];
    }
    for (; i < n; i++)
        out[i] = apis[places[i]];
}

static bool read_places(struct ms_block_reader *self, struct ms_span *rest, size_t n, bool wide,
                        const uint32_t *apis, uint32_t count, unsigned columns)
{
    bool wanted = (columns & (MS_COLUMN_API | MS_COLUMN_PLACE)) != 0;
    const uint8_t *low, *high;
    if (!take_packed(self, rest, n, wanted ? self->plane : NULL, &low) ||
        (wide && !take_packed(self, rest, n, wanted ? self->high : NULL, &high)))
        return false;
    if (!wanted)
        return true;
    if (!wide) {
        self->places_used = highest_byte(low, n) + 1;
        if (self->places_used > count)
            return false;
        if (columns & MS_COLUMN_API)
            look_up_apis(apis, low, n, self->api);
        for (size_t i = 0; columns & MS_COLUMN_PLACE && i < n; i++)
            self->place[i] = low[i];
        return true;
    }
    uint32_t highest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t place = (uint32_t)(low[i] | high[i] << 8);
        highest = place > highest ? place : highest;
        self->place[i] = (uint16_t)place;
    }
    self->places_used = highest + 1;
    if (highest >= count)
        return false;
    for (size_t i = 0; columns & MS_COLUMN_API && i < n; i++)
        self->api[i] = apis[self->place[i]];
    return true;
}

/* Planes back to 64-bit values. */
static void join_wide(const uint8_t *planes, size_t n, uint64_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t value = 0;
        for (size_t plane = 0; plane < 8; plane++)
            value |= (uint64_t)planes[plane * n + i] << (8 * plane);
        out[i] = value;
    }
}

/* out[i] = table[codes[i]]. Threads come in runs. */
static void look_up(const uint64_t *table, const uint8_t *codes, size_t n, uint64_t *out)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        if (is_run(eight(codes + i))) {
            fill_run(out + i, table[codes[i]], 8);
        } else {
            const uint64_t word = eight(codes + i);
            out[i] = table[word & 255];
            out[i + 1] = table[word >> 8 & 255];
            out[i + 2] = table[word >> 16 & 255];
            out[i + 3] = table[word >> 24 & 255];
            out[i + 4] = table[word >> 32 & 255];
            out[i + 5] = table[word >> 40 & 255];
            out[i + 6] = table[word >> 48 & 255];
            out[i + 7] = table[word >> 56];
        }
    }
    for (; i < n; i++)
        out[i] = table[codes[i]];
}

/* The same where the codes are runs. */
static bool look_up_runs(const uint64_t *table, size_t count, struct ms_span runs, size_t n,
                         uint64_t *out)
{
    while (runs.len) {
        uint8_t code;
        size_t length;
        if (!take_run(&runs, n, &code, &length) || code >= count)
            return false;
        fill_run(out, table[code], length);
        out += length;
        n -= length;
    }
    return n == 0;
}

static bool read_tids(struct ms_block_reader *self, struct ms_span *rest, size_t n, unsigned kind,
                      bool wanted)
{
    uint64_t count, code, tids[MS_BLOCK_TIDS], tid = 0;
    const uint8_t *codes;
    struct packed packed;
    if (kind == 2) {
        if (!take_packed(self, rest, 8 * n, wanted ? self->plane : NULL, &codes))
            return false;
        if (wanted)
            join_wide(codes, n, self->tid);
        return true;
    }
    if (!ms_span_take_varint(rest, &count) || count < 1 || count > MS_BLOCK_TIDS)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        if (!ms_span_take_varint(rest, &code))
            return false;
        tid += ms_unzigzag(code);
        tids[i] = tid;
    }
    if (count == 1) {
        fill_run(self->tid, tid, wanted ? n : 0);
        return true;
    }
    if (!take_stored(rest, &packed))
        return false;
    if (!wanted)
        return true;
    if (packed.form == MS_PACKED_RUNS)
        return look_up_runs(tids, (size_t)count, packed.bytes, n, self->tid);
    if (!unpack(self, &packed, n, self->plane, &codes))
        return false;
    if (highest_byte(codes, n) >= count)
        return false;
    look_up(tids, codes, n, self->tid);
    return true;
}

/* A byte of 254 or 255 among eight. */
static bool has_special(uint64_t word)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f), two = UINT64_C(0x0202020202020202);
    return (((word & low) + two) & word & ~low) != 0;
}

/* The running state of a block's clock. */
struct clock {
    uint64_t unit, bias, now, unknown;
    struct ms_span exceptions;
};

static bool step(struct clock *clock, uint64_t code, uint64_t *out)
{
    uint64_t units;
    if (code == clock->unknown) {
        *out = (uint64_t)MS_TIME_NONE;
        return true;
    }
    if (code < clock->unknown) {
        units = code - clock->bias;
    } else {
        if (!ms_span_take_varint(&clock->exceptions, &units))
            return false;
        units = ms_unzigzag(units);
    }
    clock->now += units * clock->unit;
    *out = clock->now;
    return true;
}

/* The same where the codes are runs: most are of a standing clock. */
static bool run_clock_runs(struct clock *clock, struct ms_span runs, size_t n, uint64_t *out)
{
    while (runs.len) {
        uint8_t code;
        size_t length;
        if (!take_run(&runs, n, &code, &length))
            return false;
        if (code == clock->bias && code < clock->unknown)
            fill_run(out, clock->now, length);
        else
            for (size_t i = 0; i < length; i++)
                if (!step(clock, code, &out[i]))
                    return false;
        out += length;
        n -= length;
    }
    return n == 0;
}

/* One byte a code. Most calls of a burst have the time of the one before: eight of these at once.
 */
static bool run_clock(struct clock *clock, const uint8_t *codes, size_t n, uint64_t *out)
{
    const uint64_t bias = clock->bias, unit = clock->unit;
    uint64_t now = clock->now;
    const uint64_t standing = bias * UINT64_C(0x0101010101010101);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const uint64_t word = eight(codes + i);
        if (bias < 254 && word == standing) {
            fill_run(out + i, now, 8);
        } else if (!has_special(word)) {
            out[i] = now += ((word & 255) - bias) * unit;
            out[i + 1] = now += ((word >> 8 & 255) - bias) * unit;
            out[i + 2] = now += ((word >> 16 & 255) - bias) * unit;
            out[i + 3] = now += ((word >> 24 & 255) - bias) * unit;
            out[i + 4] = now += ((word >> 32 & 255) - bias) * unit;
            out[i + 5] = now += ((word >> 40 & 255) - bias) * unit;
            out[i + 6] = now += ((word >> 48 & 255) - bias) * unit;
            out[i + 7] = now += ((word >> 56) - bias) * unit;
        } else {
            clock->now = now;
            for (size_t k = 0; k < 8; k++)
                if (!step(clock, codes[i + k], &out[i + k]))
                    return false;
            now = clock->now;
        }
    }
    clock->now = now;
    for (; i < n; i++)
        if (!step(clock, codes[i], &out[i]))
            return false;
    return true;
}

static bool read_times(struct ms_block_reader *self, struct ms_span *rest, size_t n, unsigned kind,
                       bool wanted)
{
    struct clock clock = {.unknown = kind == 1 ? 254 : 65534};
    const uint8_t *low, *high;
    struct packed lows, highs;
    uint64_t first, *out = (uint64_t *)self->time_us;
    if (kind == 3) {
        if (!take_packed(self, rest, 8 * n, wanted ? self->plane : NULL, &low))
            return false;
        if (wanted)
            join_wide(low, n, out);
        return true;
    }
    if (!ms_span_take_varint(rest, &clock.unit) || !clock.unit ||
        !ms_span_take_varint(rest, &clock.bias) || clock.bias > UINT16_MAX ||
        !ms_span_take_varint(rest, &first) || !take_stored(rest, &lows) ||
        (kind == 2 && !take_stored(rest, &highs)) ||
        !take_list(self, rest, 10 * n, wanted, &clock.exceptions))
        return false;
    if (!wanted)
        return true;
    clock.now = ms_unzigzag(first);
    if (kind == 1 && lows.form == MS_PACKED_RUNS)
        return run_clock_runs(&clock, lows.bytes, n, out) && !clock.exceptions.len;
    if (!unpack(self, &lows, n, self->plane, &low))
        return false;
    if (kind == 1)
        return run_clock(&clock, low, n, out) && !clock.exceptions.len;
    if (!unpack(self, &highs, n, self->high, &high))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!step(&clock, (uint64_t)(low[i] | high[i] << 8), &out[i]))
            return false;
    return !clock.exceptions.len;
}

static bool read_repeats(struct ms_block_reader *self, struct ms_span *rest, size_t n, bool wanted)
{
    struct ms_span list;
    size_t at = 0;
    if (!take_list(self, rest, 20 * n, wanted, &list))
        return false;
    if (!wanted)
        return true;
    memset(self->repeated, 0, n * sizeof *self->repeated);
    while (list.len) {
        uint64_t gap, repeated;
        if (!ms_span_take_varint(&list, &gap) || gap >= n - at ||
            !ms_span_take_varint(&list, &repeated) || !repeated || repeated > MS_LIMIT_REPEATED)
            return false;
        at += (size_t)gap;
        self->repeated[at++] = repeated;
        self->repeated_sum += repeated;
    }
    return true;
}

enum ms_status ms_block_read(struct ms_block_reader *self, struct ms_span block, size_t n,
                             const uint32_t *apis, uint32_t count, unsigned columns,
                             struct ms_trace_columns *out, struct ms_error *err)
{
    uint8_t flags;
    uint32_t sum;
    if (!ms_span_take_u32le(&block, &sum) || sum != ms_block_sum(block.data, block.len))
        return ms_trace_damaged(err, "a block's check sum is wrong");
    if (!ms_span_take_u8(&block, &flags) || flags > MS_BLOCK_FLAGS)
        return ms_trace_damaged(err, "a block's flags are unknown");
    const unsigned tids = flags >> MS_BLOCK_TIDS_SHIFT & 3,
                   times = flags >> MS_BLOCK_TIMES_SHIFT & 3;
    const bool has_repeats = flags & MS_BLOCK_REPEATS;
    self->places_used = 0;
    self->repeated_sum = 0;
    if (tids == 3 ||
        !read_places(self, &block, n, flags & MS_BLOCK_WIDE_PLACES, apis, count, columns) ||
        (tids && !read_tids(self, &block, n, tids, columns & MS_COLUMN_TID)) ||
        (times && !read_times(self, &block, n, times, columns & MS_COLUMN_TIME)) ||
        (has_repeats && !read_repeats(self, &block, n, columns & MS_COLUMN_REPEATED)) || block.len)
        return ms_trace_damaged(err, "the streams of a block do not agree");
    out->api = columns & MS_COLUMN_API ? self->api : NULL;
    out->place = columns & MS_COLUMN_PLACE ? self->place : NULL;
    out->tid = tids && columns & MS_COLUMN_TID ? self->tid : NULL;
    out->time_us = times && columns & MS_COLUMN_TIME ? self->time_us : NULL;
    out->repeated = has_repeats && columns & MS_COLUMN_REPEATED ? self->repeated : NULL;
    out->n = n;
    return MS_OK;
}

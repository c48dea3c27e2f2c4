/* Packs the calls of one block into streams. It knows no head. */
#include "store/trace/block.h"

#include <string.h>

enum {
    BLOCK_MAX_BYTES = 64 * MS_TRACE_BLOCK, /* more than the largest has */
    RUN_BYTES = 8,                         /* runs must take one byte in so many */
    LZ4_BYTES = 64,                        /* shorter streams stay plain */
    LONG_BYTES = 8192,
    TID_SLOTS = 1024
};

/* The runs of `bytes` to `packed`, or false when they are short. */
static bool pack_runs(struct ms_block_writer *self, const uint8_t *bytes, size_t n)
{
    ms_buf_clear(&self->packed);
    for (size_t i = 0; i < n;) {
        const size_t from = i;
        while (i < n && bytes[i] == bytes[from])
            i++;
        ms_buf_append_byte(&self->packed, bytes[from]);
        ms_buf_append_varint(&self->packed, i - from - 1);
        if (self->packed.len > n / RUN_BYTES)
            return false;
    }
    return n > 0;
}

/* The bytes as 1, 2 or 4 bits each to `packed`, or false when one is above 15. */
static bool pack_bits(struct ms_block_writer *self, const uint8_t *bytes, size_t n)
{
    uint8_t all = 0;
    for (size_t i = 0; i < n; i++)
        all |= bytes[i];
    if (all > 15)
        return false;
    const unsigned bits = all > 3 ? 4 : all > 1 ? 2 : 1, each = 8 / bits;
    ms_buf_clear(&self->packed);
    ms_buf_append_byte(&self->packed, (uint8_t)bits);
    if (ms_buf_reserve(&self->packed, n / each + 1) != MS_OK)
        return false;
    uint8_t *to = self->packed.data + self->packed.len;
    for (size_t i = 0; i < n; i += each) {
        unsigned byte = 0;
        for (unsigned k = 0; k < each && i + k < n; k++)
            byte |= (unsigned)bytes[i + k] << (k * bits);
        *to++ = (uint8_t)byte;
    }
    *to = 0;
    self->packed.len = (size_t)(to - self->packed.data);
    return true;
}

static enum ms_status put_packed(struct ms_block_writer *self, const uint8_t *bytes, size_t n,
                                 struct ms_buf *out, struct ms_error *err)
{
    unsigned form = MS_PACKED_PLAIN;
    if (pack_runs(self, bytes, n)) {
        form = MS_PACKED_RUNS;
    } else if (n >= LZ4_BYTES) {
        ms_buf_clear(&self->packed);
        if (ms_lz4_pack(bytes, n, &self->packed, err) != MS_OK)
            return ms_error_set(err, MS_E_NOMEM, "no memory for a trace");
        /* Short matches take more time to unpack than their bytes are worth. In short traces that
         * is a third of the time of reading them, and few bytes in all. */
        if (self->packed.len < n / (n < LONG_BYTES ? 4 : 2))
            form = MS_PACKED_LZ4;
        else if (pack_bits(self, bytes, n))
            form = MS_PACKED_BITS;
    }
    const uint8_t *stored = form == MS_PACKED_PLAIN ? bytes : self->packed.data;
    size_t length = form == MS_PACKED_PLAIN ? n : self->packed.len;
    ms_buf_append_varint(out, (uint64_t)length * 4 + form);
    ms_buf_append(out, stored, length);
    return self->packed.failed ? ms_error_set(err, MS_E_NOMEM, "no memory for a trace") : MS_OK;
}

/* 64-bit values as planes: all lowest bytes first. */
static enum ms_status put_wide(struct ms_block_writer *self, const uint64_t *values, size_t n,
                               struct ms_buf *out, struct ms_error *err)
{
    for (size_t plane = 0; plane < 8; plane++)
        for (size_t i = 0; i < n; i++)
            self->low[plane * n + i] = (uint8_t)(values[i] >> (8 * plane));
    return put_packed(self, self->low, 8 * n, out, err);
}

static enum ms_status put_places(struct ms_block_writer *self, const struct ms_block_calls *calls,
                                 bool wide, struct ms_buf *out, struct ms_error *err)
{
    for (size_t i = 0; i < calls->n; i++)
        self->low[i] = (uint8_t)calls->places[i];
    enum ms_status status = put_packed(self, self->low, calls->n, out, err);
    if (status != MS_OK || !wide)
        return status;
    for (size_t i = 0; i < calls->n; i++)
        self->high[i] = (uint8_t)(calls->places[i] >> 8);
    return put_packed(self, self->high, calls->n, out, err);
}

/* The threads by first use, each entry's place in `low`; MS_BLOCK_TIDS + 1 when they are more. */
static size_t list_tids(struct ms_block_writer *self, const struct ms_block_calls *calls,
                        uint64_t *tids)
{
    uint16_t slots[TID_SLOTS] = {0}; /* place + 1 */
    size_t count = 0;
    /* Whether a call's thread is that of the call before cannot be guessed: each is looked up. */
    for (size_t i = 0; i < calls->n; i++) {
        uint64_t tid = calls->tids[i];
        size_t slot = (size_t)(tid * UINT64_C(0x9e3779b97f4a7c15) >> 54);
        while (slots[slot] && tids[slots[slot] - 1] != tid)
            slot = (slot + 1) % TID_SLOTS;
        if (!slots[slot]) {
            if (count == MS_BLOCK_TIDS)
                return MS_BLOCK_TIDS + 1;
            tids[count++] = tid;
            slots[slot] = (uint16_t)count;
        }
        self->low[i] = (uint8_t)(slots[slot] - 1);
    }
    return count;
}

static enum ms_status put_tids(struct ms_block_writer *self, const struct ms_block_calls *calls,
                               struct ms_buf *out, unsigned *kind, struct ms_error *err)
{
    uint64_t tids[MS_BLOCK_TIDS], before = 0;
    *kind = 0;
    if (!calls->any_tid)
        return MS_OK;
    size_t count = list_tids(self, calls, tids);
    *kind = count > MS_BLOCK_TIDS ? 2 : 1;
    if (*kind == 2)
        return put_wide(self, calls->tids, calls->n, out, err);
    ms_buf_append_varint(out, count);
    for (size_t i = 0; i < count; i++) {
        ms_buf_append_varint(out, ms_zigzag(tids[i] - before));
        before = tids[i];
    }
    return count > 1 ? put_packed(self, self->low, calls->n, out, err) : MS_OK;
}

/* How the times of a block are written. */
struct clock {
    uint64_t unit, first;
    unsigned width; /* bytes a code; 8: whole times */
    uint64_t bias;
};

static uint64_t magnitude(uint64_t difference)
{
    return difference >> 63 ? 0 - difference : difference;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* A difference in units, as signed; exact, for the unit divides it. */
static uint64_t in_units(uint64_t difference, uint64_t unit)
{
    uint64_t units = magnitude(difference) / unit;
    return difference >> 63 ? 0 - units : units;
}

/* The greatest unit that divides all differences: a clock that ticks in milliseconds, say. */
static void find_unit(const struct ms_block_calls *calls, struct clock *clock)
{
    bool known = false;
    uint64_t last = 0;
    clock->unit = clock->first = 0;
    for (size_t i = 0; i < calls->n && clock->unit != 1; i++) {
        uint64_t now = (uint64_t)calls->times_us[i];
        if (calls->times_us[i] == MS_TIME_NONE || (known && now == last))
            continue;
        if (!known)
            clock->first = now;
        else if (!clock->unit || magnitude(now - last) % clock->unit)
            clock->unit = common_divisor(magnitude(now - last), clock->unit);
        known = true;
        last = now;
    }
    if (!clock->unit)
        clock->unit = 1;
}

/* The width and bias that leave the fewest bytes before packing. */
static void find_width(const struct ms_block_calls *calls, struct clock *clock)
{
    static const struct {
        unsigned width, exception;
        uint64_t bias, most; /* most: highest code of a difference */
    } ways[] = {{1, 4, 0, 253}, {1, 4, 127, 253}, {2, 6, 0, 65533}, {2, 6, 32767, 65533}};
    size_t exceptions[4] = {0}, best_bytes = 8 * calls->n;
    uint64_t last = clock->first;
    for (size_t i = 0; i < calls->n; i++) {
        if (calls->times_us[i] == MS_TIME_NONE)
            continue;
        const uint64_t now = (uint64_t)calls->times_us[i];
        if (now == last) /* no difference is no exception */
            continue;
        const uint64_t units = in_units(now - last, clock->unit);
        last = now;
        for (size_t way = 0; way < 4; way++)
            exceptions[way] += units + ways[way].bias > ways[way].most;
    }
    clock->width = 8;
    for (size_t way = 0; way < 4; way++) {
        size_t bytes = calls->n * ways[way].width + exceptions[way] * ways[way].exception;
        if (bytes < best_bytes) {
            best_bytes = bytes;
            clock->width = ways[way].width;
            clock->bias = ways[way].bias;
        }
    }
}

static void put_code(struct ms_block_writer *self, size_t i, unsigned width, uint64_t code)
{
    self->low[i] = (uint8_t)code;
    if (width == 2)
        self->high[i] = (uint8_t)(code >> 8);
}

static enum ms_status put_times(struct ms_block_writer *self, const struct ms_block_calls *calls,
                                struct ms_buf *out, unsigned *kind, struct ms_error *err)
{
    struct clock clock = {.unit = 1};
    *kind = 0;
    if (!calls->any_time)
        return MS_OK;
    find_unit(calls, &clock);
    find_width(calls, &clock);
    *kind = clock.width == 8 ? 3 : clock.width;
    if (*kind == 3) {
        /* Signed to unsigned, bit by bit. */
        uint64_t *whole = (uint64_t *)(uintptr_t)calls->times_us;
        return put_wide(self, whole, calls->n, out, err);
    }
    const uint64_t unknown = clock.width == 1 ? 254 : 65534, exception = unknown + 1;
    uint64_t last = clock.first;
    ms_buf_clear(&self->list);
    for (size_t i = 0; i < calls->n; i++) {
        uint64_t now = (uint64_t)calls->times_us[i], units = 0;
        if (calls->times_us[i] == MS_TIME_NONE) {
            put_code(self, i, clock.width, unknown);
            continue;
        }
        if (now != last)
            units = in_units(now - last, clock.unit);
        last = now;
        if (units + clock.bias >= unknown) {
            ms_buf_append_varint(&self->list, ms_zigzag(units));
            units = exception - clock.bias;
        }
        put_code(self, i, clock.width, units + clock.bias);
    }
    ms_buf_append_varint(out, clock.unit);
    ms_buf_append_varint(out, clock.bias);
    ms_buf_append_varint(out, ms_zigzag(clock.first));
    enum ms_status status = put_packed(self, self->low, calls->n, out, err);
    if (status == MS_OK && clock.width == 2)
        status = put_packed(self, self->high, calls->n, out, err);
    ms_buf_append_varint(out, self->list.len);
    return status == MS_OK ? put_packed(self, self->list.data, self->list.len, out, err) : status;
}

static enum ms_status put_repeats(struct ms_block_writer *self, const struct ms_block_calls *calls,
                                  struct ms_buf *out, struct ms_error *err)
{
    size_t since = 0;
    if (!calls->any_repeated)
        return MS_OK;
    ms_buf_clear(&self->list);
    for (size_t i = 0; i < calls->n; i++) {
        since++;
        if (!calls->repeated[i])
            continue;
        ms_buf_append_varint(&self->list, since - 1);
        ms_buf_append_varint(&self->list, calls->repeated[i]);
        since = 0;
    }
    ms_buf_append_varint(out, self->list.len);
    return put_packed(self, self->list.data, self->list.len, out, err);
}

enum ms_status ms_block_write(struct ms_block_writer *self, const struct ms_block_calls *calls,
                              struct ms_buf *out, struct ms_error *err)
{
    bool wide = false;
    unsigned tids = 0, times = 0;
    static const uint8_t no_sum[MS_BLOCK_SUM_BYTES] = {0};
    const size_t sum_at = out->len, flags_at = sum_at + MS_BLOCK_SUM_BYTES;
    for (size_t i = 0; i < calls->n && !wide; i++)
        wide = calls->places[i] > UINT8_MAX;
    ms_buf_append(out, no_sum, sizeof no_sum);
    ms_buf_append_byte(out, 0);
    enum ms_status status = put_places(self, calls, wide, out, err);
    if (status == MS_OK)
        status = put_tids(self, calls, out, &tids, err);
    if (status == MS_OK)
        status = put_times(self, calls, out, &times, err);
    if (status == MS_OK)
        status = put_repeats(self, calls, out, err);
    if (status != MS_OK)
        return status;
    if (self->list.failed)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a trace");
    if (out->failed && out->max - out->len > BLOCK_MAX_BYTES) /* then it was not its maximum */
        return ms_error_set(err, MS_E_NOMEM, "no memory for a trace");
    if (out->failed)
        return ms_error_set(err, MS_REJECT, "a trace is too large");
    out->data[flags_at] =
        (uint8_t)((wide ? MS_BLOCK_WIDE_PLACES : 0) | tids << MS_BLOCK_TIDS_SHIFT |
                  times << MS_BLOCK_TIMES_SHIFT | (calls->any_repeated ? MS_BLOCK_REPEATS : 0));
    const uint32_t sum = ms_block_sum(out->data + flags_at, out->len - flags_at);
    for (size_t i = 0; i < MS_BLOCK_SUM_BYTES; i++)
        out->data[sum_at + i] = (uint8_t)(sum >> (8 * i));
    return MS_OK;
}

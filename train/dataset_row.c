/* Packs and unpacks the numbers of a row. An n-gram is told by its distance from the one before:
 * numbered in the order in which they were met, those of a passage that other traces have too
 * follow each other. */
#include "train/dataset_row.h"

#include "base/span.h"

#include <stdlib.h>
#include <string.h>

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the rows of the dataset");
}

/* A buffer without room says so at the end. */
static void put(struct ms_buf *out, uint64_t value)
{
    (void)ms_buf_append_varint(out, value);
}

static void put_numbers(struct ms_buf *out, const uint32_t *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(out, numbers[i]);
}

static bool take_numbers(struct ms_span *in, uint32_t *numbers, size_t n)
{
    uint64_t value = 0;
    bool good = true;
    for (size_t i = 0; i < n && good; i++) {
        good = ms_span_take_varint(in, &value);
        numbers[i] = (uint32_t)value;
    }
    return good;
}

/* Distances of either sign, small ones short: 0 is the number behind the one before. */
static void put_grams(struct ms_buf *out, const uint32_t *grams, size_t n)
{
    uint64_t next = 0;
    for (size_t i = 0; i < n; i++) {
        put(out, grams[i] >= next ? (grams[i] - next) << 1 : (next - grams[i]) << 1 | 1);
        next = (uint64_t)grams[i] + 1;
    }
}

static bool take_grams(struct ms_span *in, uint32_t *grams, size_t n)
{
    uint64_t next = 0, distance = 0;
    bool good = true;
    for (size_t i = 0; i < n && good; i++) {
        good = ms_span_take_varint(in, &distance);
        grams[i] = (uint32_t)(distance & 1 ? next - (distance >> 1) : next + (distance >> 1));
        next = (uint64_t)grams[i] + 1;
    }
    return good;
}

static bool counts_like_calls(const struct ms_row_numbers *numbers)
{
    bool same = numbers->count_n == numbers->n;
    for (size_t i = 0; same && i < numbers->n; i++)
        same = numbers->counts[i].symbol == numbers->calls[i];
    return same;
}

static void write(struct ms_buf *out, const struct ms_row_pack *self,
                  const struct ms_row_numbers *numbers)
{
    put_numbers(out, numbers->calls, self->n);
    if (self->runs) {
        put_numbers(out, numbers->run_lengths, self->n);
        put_numbers(out, numbers->run_counts, self->n);
    }
    for (size_t i = 0; i < self->count_n; i++) {
        if (!self->counts_like_calls)
            put(out, numbers->counts[i].symbol);
        put(out, numbers->counts[i].times);
    }
    if (self->grams)
        put_grams(out, numbers->grams, (size_t)self->gram_n + self->static_n);
}

enum ms_status ms_row_pack(struct ms_row_pack *self, const struct ms_row_numbers *numbers,
                           struct ms_buf *scratch, struct ms_error *err)
{
    const size_t n = numbers->n, counts = numbers->count_n, grams = numbers->gram_n,
                 marks = numbers->static_n;
    if (n > UINT32_MAX || counts > UINT32_MAX || grams > UINT32_MAX || marks > UINT32_MAX)
        return ms_error_set(err, MS_E_LIMIT, "a trace of more than 4294967295 calls or n-grams");
    struct ms_row_pack made = {.n = (uint32_t)n,
                               .count_n = (uint32_t)counts,
                               .gram_n = (uint32_t)grams,
                               .static_n = (uint32_t)marks,
                               .runs = numbers->run_lengths != NULL,
                               .grams = numbers->grams != NULL,
                               .counts_like_calls = counts_like_calls(numbers)};
    ms_buf_clear(scratch);
    write(scratch, &made, numbers);
    if (scratch->failed)
        return no_memory(err);
    made.len = scratch->len;
    made.bytes = realloc(self->bytes, made.len + 1);
    if (!made.bytes)
        return no_memory(err);
    if (made.len)
        memcpy(made.bytes, scratch->data, made.len);
    *self = made;
    return MS_OK;
}

static bool reserve(struct ms_row_numbers *out, size_t numbers, size_t counts)
{
    if (numbers > out->number_capacity) {
        free(out->numbers);
        out->number_capacity = 0;
        out->numbers = calloc(numbers * 2, sizeof *out->numbers);
        out->number_capacity = out->numbers ? numbers * 2 : 0;
    }
    if (counts > out->count_capacity) {
        free(out->counts);
        out->count_capacity = 0;
        out->counts = calloc(counts * 2, sizeof *out->counts);
        out->count_capacity = out->counts ? counts * 2 : 0;
    }
    return out->number_capacity >= numbers && out->count_capacity >= counts;
}

enum ms_status ms_row_unpack(const struct ms_row_pack *self, struct ms_row_numbers *out,
                             struct ms_error *err)
{
    const size_t n = self->n, grams = (size_t)self->gram_n + self->static_n;
    struct ms_span in = ms_span_of(self->bytes, self->len);
    if (!reserve(out, n * 3 + grams + 1, (size_t)self->count_n + 1))
        return no_memory(err);
    out->n = n;
    out->count_n = self->count_n;
    out->gram_n = self->gram_n;
    out->static_n = self->static_n;
    out->calls = out->numbers;
    out->run_lengths = self->runs ? out->numbers + n : NULL;
    out->run_counts = self->runs ? out->numbers + n * 2 : NULL;
    out->grams = self->grams ? out->numbers + n * 3 : NULL;
    bool good = take_numbers(&in, out->calls, n);
    if (self->runs)
        good = good && take_numbers(&in, out->run_lengths, n * 2);
    for (size_t i = 0; i < self->count_n && good; i++) {
        uint64_t symbol = 0;
        if (self->counts_like_calls)
            symbol = out->calls[i];
        else
            good = ms_span_take_varint(&in, &symbol);
        good = good && ms_span_take_varint(&in, &out->counts[i].times);
        out->counts[i].symbol = (uint32_t)symbol;
    }
    if (self->grams)
        good = good && take_grams(&in, out->grams, grams);
    return good && in.len == 0 ? MS_OK : ms_error_set(err, MS_E_BUG, "a row was packed otherwise");
}

void ms_row_numbers_release(struct ms_row_numbers *self)
{
    free(self->numbers);
    free(self->counts);
    *self = (struct ms_row_numbers){0};
}

void ms_row_pack_release(struct ms_row_pack *self)
{
    free(self->bytes);
    *self = (struct ms_row_pack){0};
}

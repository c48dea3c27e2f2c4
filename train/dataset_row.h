/* The numbers of a dataset's row, packed: most of them are small. Packs and unpacks; says nothing
 * of what they mean. */
#ifndef MS_TRAIN_DATASET_ROW_H
#define MS_TRAIN_DATASET_ROW_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How often a row's whole trace has a call. */
struct ms_row_count {
    uint32_t symbol;
    uint64_t times;
};

/* A row's numbers, side by side. Zeroed before the first ms_row_unpack. */
struct ms_row_numbers {
    uint32_t *calls; /* n symbols: the view; numbers in the dataset's `symbols` */
    size_t n;
    /* n each, as in struct ms_sequence; NULL unless asked for */
    uint32_t *run_lengths, *run_counts;
    struct ms_row_count *counts; /* of the whole trace, in order of first occurrence */
    size_t count_n;
    /* gram_n n-grams of the whole trace (store/trace/grams.h), in their order there, then static_n
     * marks of the sample's static features: places in the dataset's `grams`; NULL unless asked
     * for */
    uint32_t *grams;
    size_t gram_n, static_n;
    /* private */
    uint32_t *numbers;
    size_t number_capacity, count_capacity;
};
void ms_row_numbers_release(struct ms_row_numbers *self);

struct ms_row_pack {
    uint8_t *bytes; /* NULL: of nothing yet, or released */
    size_t len;
    uint32_t n, count_n, gram_n, static_n;
    bool runs, grams;       /* are there */
    bool counts_like_calls; /* the calls counted are the view's, in its order */
};
/* Packs anew what the numbers say, which may come from elsewhere than ms_row_unpack; runs are there
 * when run_lengths is not NULL, n-grams when grams is not. `scratch` is emptied and used.
 * MS_E_LIMIT for more than 2^32 - 1 of something, MS_E_NOMEM when `scratch` or the memory is too
 * small; then the pack is as it was. */
enum ms_status ms_row_pack(struct ms_row_pack *self, const struct ms_row_numbers *numbers,
                           struct ms_buf *scratch, struct ms_error *err) MS_MUST_USE;
/* Valid until the next call for `out`, whose memory is reused. MS_E_NOMEM. */
enum ms_status ms_row_unpack(const struct ms_row_pack *self, struct ms_row_numbers *out,
                             struct ms_error *err) MS_MUST_USE;
void ms_row_pack_release(struct ms_row_pack *self);

#endif

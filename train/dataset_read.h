/* Reads and normalises the traces of a dataset's rows, several at once. Used by train/dataset.c
 * alone. */
#ifndef MS_TRAIN_DATASET_READ_H
#define MS_TRAIN_DATASET_READ_H

#include "store/trace/groups.h"
#include "train/dataset.h"
#include "train/dataset_grams.h"

/* The digests of a row's calls: as recorded, with runs collapsed, as the net sees them. */
enum { MS_ROW_RAW = 0, MS_ROW_COLLAPSED = 1, MS_ROW_VIEW = 2, MS_ROW_KEYS = 3 };

struct ms_row_reading {
    struct ms_corpus *corpus;
    const struct ms_normal_options *view;
    struct ms_normal_apis apis;
    const uint64_t *name_hash; /* by api id: of its folded name */
    bool want_runs;
    struct ms_gram_index *grams; /* gets the n-grams of all rows; NULL: none are wanted */
    unsigned jobs;
};

/* Fills rows[i].pack (calls and symbols as api ids, the lowest of those that fold alike; what is
 * wanted of runs and n-grams, these as numbers of `grams`), whole_length, sequence, grams_cut and
 * keys[i * MS_ROW_KEYS ..] for every row. A damaged trace leaves the pack empty and its reason in
 * why[i] (from malloc), else why[i] is NULL. The result does not depend on jobs, but for the
 * numbers that `grams` gives. Any status but MS_OK concerns the corpus or memory; what was filled
 * is filled. */
enum ms_status ms_rows_read(const struct ms_row_reading *reading, struct ms_row *rows, size_t count,
                            struct ms_sequence_hash *keys, char **why,
                            struct ms_error *err) MS_MUST_USE;

#endif

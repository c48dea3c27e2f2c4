/* Which rows of a dataset train and which are judged, once or several times over. Trains and judges
 * nothing. */
#ifndef MS_TRAIN_PARTITION_H
#define MS_TRAIN_PARTITION_H

#include "base/hash.h"
#include "train/dataset.h"
#include "train/split.h"

#include <stdbool.h>
#include <stdint.h>

/* What may not be torn apart. grouped: rows with the same sequence, as recorded or with runs
 * collapsed; naive: nothing. */
enum ms_partition_how { MS_PARTITION_GROUPED, MS_PARTITION_NAIVE };

/* Each repeat is a hold-out or a K-fold division of its own, dealt from another seed. */
struct ms_partition_request {
    enum ms_partition_how how;
    uint32_t folds;    /* K from 2 on; 0: hold-out */
    uint32_t repeats;  /* R, 1 .. MS_PARTITION_REPEATS_MAX; 0 counts as 1 */
    double test_share; /* of a hold-out; over 0, under 1 */
    uint64_t seed;     /* of the first repeat */
};

enum {
    MS_PARTITION_REPEATS_MAX = 100,
    MS_PARTITION_NAME_BYTES = 96,
};
/* In `held` below: no part is held out, every row that takes part trains. */
#define MS_PARTITION_ALL (UINT32_MAX - 1)
/* In part_of: the row takes no part, it neither trains nor is judged. */
#define MS_PARTITION_OUT UINT32_MAX

struct ms_partition {
    char name[MS_PARTITION_NAME_BYTES]; /* "holdout-15-seed1", "naive-fold5-seed1-x3" */
    enum ms_partition_how how;
    size_t rows;       /* N */
    uint32_t folds;    /* K; 0: hold-out */
    uint32_t parts;    /* K, or 2: MS_SPLIT_TRAIN and MS_SPLIT_TEST */
    uint32_t repeats;  /* R */
    uint32_t *part_of; /* R x N, repeat by repeat: below parts, or MS_PARTITION_OUT */
    uint32_t *groups;  /* N: what was kept together; of a naive one every row is its own */
    uint64_t *seeds;   /* R: what each repeat was dealt from, and what fits in it begin with */
    uint32_t
        leaked; /* judged rows, over all repeats, with a copy in what trains when they are judged */
    uint64_t left_out; /* rows that take no part */
    uint8_t digest[MS_SHA256_BYTES];
};

/* "holdout-15-seed1", "fold5-seed1", "naive-" in front, "-x3" behind with three repeats. */
void ms_partition_name(const struct ms_partition_request *request,
                       char out[MS_PARTITION_NAME_BYTES]);

/* The same request and rows give the same partition. MS_E_INPUT as ms_split_make, and when a part
 * has no row; MS_E_NOMEM. Release with ms_partition_release, also after a failure. */
enum ms_status ms_partition_make(const struct ms_dataset *set,
                                 const struct ms_partition_request *request,
                                 struct ms_partition *out, struct ms_error *err) MS_MUST_USE;
void ms_partition_release(struct ms_partition *self);

/* Parts to hold out and judge in a repeat: the folds, or one. The k-th of them is the `held` of the
 * two functions below: k itself, or MS_SPLIT_TEST. */
uint32_t ms_partition_fits(const struct ms_partition *self);
uint32_t ms_partition_held(const struct ms_partition *self, uint32_t k);

/* Whether a row trains, or is judged, when part `held` (or MS_PARTITION_ALL) is held out. */
bool ms_partition_trains(const struct ms_partition *self, uint32_t repeat, uint32_t held,
                         size_t row);
bool ms_partition_judges(const struct ms_partition *self, uint32_t repeat, uint32_t held,
                         size_t row);

#endif

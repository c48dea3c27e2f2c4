/* Which rows of a dataset train and which are judged, once or several times over. Trains and judges
 * nothing. */
#ifndef MS_TRAIN_PARTITION_H
#define MS_TRAIN_PARTITION_H

#include "base/hash.h"
#include "train/dataset.h"
#include "train/manifest.h"
#include "train/split.h"

#include <stdbool.h>
#include <stdint.h>

/* Each repeat is a hold-out or a K-fold division of its own, dealt from another seed. */
struct ms_partition_request {
    enum ms_partition_how how;
    uint32_t folds;        /* K from 2 on; 0: hold-out; none by time */
    uint32_t repeats;      /* R, 1 .. MS_PARTITION_REPEATS_MAX; 0 counts as 1 */
    double test_share;     /* of a hold-out; over 0, under 1 */
    uint64_t seed;         /* of the first repeat */
    int64_t split_date_ms; /* by time: what was seen from then on is judged; 0: by test_share */
    double test_ratio;     /* by time, of two classes: share of class 0 in each judged month, over 0
                              and under 1; 0: as it is */
};

/* Jaccard index from which on two rows are nearly the same. */
#define MS_PARTITION_NEAR_THRESHOLD .8
/* In `held` below: no part is held out, every row that takes part trains. */
#define MS_PARTITION_ALL (UINT32_MAX - 1)

struct ms_partition {
    char name[MS_PARTITION_NAME_BYTES]; /* "holdout-15-seed1", "naive-fold5-seed1-x3" */
    enum ms_partition_how how;
    size_t rows;       /* N */
    uint32_t folds;    /* K; 0: hold-out */
    uint32_t parts;    /* K, or 2: MS_SPLIT_TRAIN and MS_SPLIT_TEST */
    uint32_t repeats;  /* R */
    uint32_t *part_of; /* R x N, repeat by repeat: below parts, or MS_PARTITION_OUT */
    uint32_t *groups;  /* N, below N: what was kept together; of a naive one every row is its own */
    uint32_t near_groups; /* of a split by near groups: how many there are */
    uint64_t *seeds;      /* R: what each repeat was dealt from, and what fits in it begin with */
    uint32_t
        leaked; /* judged rows, over all repeats, with a copy in what trains when they are judged */
    /* By time. Months of UTC; window_of is N numbers of months, MS_PARTITION_OUT for rows that are
     * judged in no repeat. */
    int64_t split_date_ms;
    uint32_t window_count;
    int64_t *windows_ms;
    uint32_t *window_of;
    uint64_t undated; /* rows left out: nobody knows when they were first seen */
    uint64_t moved;   /* rows that train though seen later: copies of rows that were seen before */
    uint64_t one_sided; /* rows left out: their month has no row of the other class */
    uint64_t thinned;   /* rows left out of the first repeat for test_ratio */
    uint8_t *manifest;  /* the bytes of split.jsonl (train/manifest.h) */
    size_t manifest_bytes;
    uint8_t digest[MS_SHA256_BYTES]; /* of these bytes */
};

/* "holdout-15-seed1", "fold5-seed1"; "naive-", "near-" or "time-" in front, the day instead of the
 * share where one was given, "-ratio10" and, with three repeats, "-x3" behind. */
void ms_partition_name(const struct ms_partition_request *request,
                       char out[MS_PARTITION_NAME_BYTES]);

/* The same request and rows give the same partition.
 *
 * By time (TESSERACT, Pendlebury et al., USENIX Security 2019): a row trains when its sample was
 * first seen before the split date (or, without one, before the day that leaves test_share of the
 * dated rows behind it), else it is judged in the month it was first seen in. A row that was seen
 * later but whose sequence was seen before is no news: it trains. Of two classes, a month without
 * one of them is left out, so that both sides of a figure come from the same time; test_ratio thins
 * out a class of each month at random, another way in each repeat.
 *
 * MS_E_INPUT as ms_split_make, when a part has no row, and for a test_ratio with other than two
 * classes; MS_E_NOMEM. Release with ms_partition_release, also after a failure. */
enum ms_status ms_partition_make(const struct ms_dataset *set,
                                 const struct ms_partition_request *request,
                                 struct ms_partition *out, struct ms_error *err) MS_MUST_USE;

/* The partition that a manifest file says; `seed` is where the repeats' fits begin. Of a file from
 * which samples were forgotten it is the other rows, with a manifest and a digest of their own, and
 * a warning; undated, moved, one_sided and thinned are still those of the whole. MS_E_INPUT as
 * ms_manifest_decode, and when a key of either side is not on the other, or rows of the dataset
 * with the same sequence are torn apart (but for a naive split). */
enum ms_status ms_partition_read(const struct ms_dataset *set, const char *path, uint64_t seed,
                                 struct ms_partition *out, struct ms_error *err) MS_MUST_USE;
/* The same from bytes; `bytes` becomes the partition's. */
enum ms_status ms_partition_adopt(const struct ms_dataset *set, struct ms_buf *bytes, uint64_t seed,
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

/* The labels of a dataset that come as a list of their own, looked up by the record's key. */
#ifndef MS_EXTRACT_DATASET_LABELS_H
#define MS_EXTRACT_DATASET_LABELS_H

#include "base/arena.h"
#include "extract/dataset_row.h"

#include <stddef.h>

struct ms_dataset_label {
    struct ms_span key; /* hashes in small letters */
    const char *class_, *family;
    int64_t date_ms; /* 0 none */
    uint64_t line;
    bool used; /* a record of that key was stored */
};

struct ms_dataset_labels {
    struct ms_arena arena;
    struct ms_dataset_label *items; /* sorted by key once finished */
    size_t count, cap;
};

void ms_dataset_labels_init(struct ms_dataset_labels *self);
void ms_dataset_labels_release(struct ms_dataset_labels *self);

/* Adds a row of avast-ctu's list (family, class and date as they stand) or big-2015's (a number
 * from 1 to 9, which is turned into the family's name). MS_REJECT when it is not as published. */
enum ms_status ms_dataset_labels_add(struct ms_dataset_labels *self, bool big,
                                     const struct ms_dataset_row *row,
                                     struct ms_error *err) MS_MUST_USE;

/* A key's second row that says something else; the first one stays. */
typedef void (*ms_dataset_contradiction)(void *ctx, const struct ms_dataset_label *first,
                                         uint64_t line);
/* Sorts them and drops second rows of a key. To be called once, after the last. */
void ms_dataset_labels_finish(struct ms_dataset_labels *self, ms_dataset_contradiction tell,
                              void *ctx);

/* NULL when there is none. Of a hash the letters' case does not matter. */
struct ms_dataset_label *ms_dataset_labels_find(struct ms_dataset_labels *self, bool big,
                                                struct ms_span key);

#endif

/* Looks keys and sequences up among those that trained. */
#include "train/trained.h"

#include "store/forget_models.h"

#include <stdlib.h>
#include <string.h>

static int by_sequence(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    if (x[0] != y[0])
        return x[0] < y[0] ? -1 : 1;
    return (x[1] > y[1]) - (x[1] < y[1]);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool trained(const struct ms_manifest *split, size_t row)
{
    return split->folds ? split->part_of[row] != MS_PARTITION_OUT
                        : split->part_of[row] == MS_SPLIT_TRAIN;
}

/* A sample that was forgotten where the model was trained, and is there elsewhere. */
static enum ms_status knows_forgotten(const char *key, const char *const *keys, size_t n,
                                      bool *known, struct ms_error *err)
{
    char tombstone[MS_FORGOTTEN_KEY_BYTES];
    const char *wanted = tombstone;
    enum ms_status status = ms_forgotten_key(key, tombstone, err);
    *known = status == MS_OK && n && bsearch(&wanted, keys, n, sizeof *keys, by_key);
    return status;
}

enum ms_status ms_trained_find(const struct ms_manifest *split, const struct ms_dataset *set,
                               enum ms_trained *out, struct ms_error *err)
{
    const char **keys = calloc(split->rows + 1, sizeof *keys);
    uint64_t(*sequences)[2] = calloc(split->rows + 1, sizeof *sequences);
    size_t n = 0;
    enum ms_status status = MS_OK;
    if (!keys || !sequences)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for the training rows");
    for (size_t i = 0; status == MS_OK && i < split->rows; i++)
        if (trained(split, i)) {
            keys[n] = split->keys[i];
            memcpy(sequences[n++], split->sequences[i], sizeof *sequences);
        }
    if (n > 1)
        qsort(sequences, n, sizeof *sequences, by_sequence);
    if (n > 1) /* tombstones have no order */
        qsort((void *)keys, n, sizeof *keys, by_key);
    for (size_t i = 0; status == MS_OK && i < set->count; i++) {
        const struct ms_row *row = &set->rows[i];
        out[i] = MS_TRAINED_NOT;
        if (n && bsearch(row->sequence, sequences, n, sizeof *sequences, by_sequence))
            out[i] = MS_TRAINED_SEQUENCE;
        bool known = n && bsearch(&row->key, keys, n, sizeof *keys, by_key);
        if (!known && split->forgotten)
            status = knows_forgotten(row->key, keys, n, &known, err);
        if (known)
            out[i] = MS_TRAINED_KEY;
    }
    free(keys);
    free(sequences);
    return status;
}

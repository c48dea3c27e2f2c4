/* Looks keys and sequences up among those that trained. */
#include "train/trained.h"

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
            keys[n] = split->keys[i]; /* in order, as the manifest's are */
            memcpy(sequences[n++], split->sequences[i], sizeof *sequences);
        }
    if (n > 1)
        qsort(sequences, n, sizeof *sequences, by_sequence);
    for (size_t i = 0; status == MS_OK && i < set->count; i++) {
        const struct ms_row *row = &set->rows[i];
        out[i] = MS_TRAINED_NOT;
        if (n && bsearch(row->sequence, sequences, n, sizeof *sequences, by_sequence))
            out[i] = MS_TRAINED_SEQUENCE;
        if (n && bsearch(&row->key, keys, n, sizeof *keys, by_key))
            out[i] = MS_TRAINED_KEY;
    }
    free(keys);
    free(sequences);
    return status;
}

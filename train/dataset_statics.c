/* Marks of samples to symbols and n-grams. Which marks there are: model_statics.c. */
#include "train/dataset_statics.h"

#include "base/limits.h"
#include "store/sample.h"
#include "train/dataset_read.h"
#include "train/model_statics.h"

#include <stdlib.h>
#include <string.h>

struct adding {
    struct ms_dataset *set;
    uint32_t *gram_of; /* by symbol: its place in set->grams, + 1; 0: none */
    size_t symbols, gram_cap;
    struct ms_statics statics;
    struct ms_buf features, scratch;
    struct ms_row_numbers numbers; /* of the row at hand */
    uint32_t *grams;               /* its n-grams, then its marks */
    size_t room;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for static features");
}

static enum ms_status reserve_symbols(struct adding *a, uint32_t symbol, struct ms_error *err)
{
    size_t n = a->symbols ? a->symbols : 1024;
    while (n <= symbol)
        n *= 2;
    uint32_t *longer = n > a->symbols ? realloc(a->gram_of, n * sizeof *longer) : a->gram_of;
    if (!longer)
        return no_memory(err);
    for (size_t i = a->symbols; i < n; i++)
        longer[i] = 0;
    a->gram_of = longer;
    a->symbols = n > a->symbols ? n : a->symbols;
    return MS_OK;
}

static enum ms_status append_gram(struct adding *a, uint32_t symbol, struct ms_error *err)
{
    struct ms_dataset *set = a->set;
    if (set->gram_count >= MS_LIMIT_DATASET_GRAMS)
        return ms_error_set(err, MS_E_LIMIT, "more than %d n-grams", MS_LIMIT_DATASET_GRAMS);
    if (set->gram_count >= a->gram_cap) {
        size_t cap = a->gram_cap ? a->gram_cap * 2 : (size_t)set->gram_count + 1024;
        struct ms_gram *longer = realloc(set->grams, cap * sizeof *longer);
        if (!longer)
            return no_memory(err);
        set->grams = longer;
        a->gram_cap = cap;
    }
    set->grams[set->gram_count++] = (struct ms_gram){{symbol, MS_GRAM_NONE, MS_GRAM_NONE}};
    a->gram_of[symbol] = set->gram_count;
    return MS_OK;
}

static enum ms_status add_row(struct adding *a, struct ms_row *row, struct ms_sequence_hash *key,
                              struct ms_error *err)
{
    const size_t n = a->statics.count, grams = row->pack.gram_n;
    if (grams + n + 1 > a->room) {
        uint32_t *longer = realloc(a->grams, (grams + n + 1) * sizeof *longer);
        if (!longer)
            return no_memory(err);
        a->grams = longer;
        a->room = grams + n + 1;
    }
    enum ms_status status = ms_row_unpack(&row->pack, &a->numbers, err);
    if (status == MS_OK && a->numbers.grams)
        memcpy(a->grams, a->numbers.grams, grams * sizeof *a->grams);
    if (a->set->statics == MS_STATIC_ALONE)
        ms_sequence_hash_init(key);
    for (size_t i = 0; i < n && status == MS_OK; i++) {
        uint32_t symbol;
        status = ms_names_intern(a->set->symbols, a->statics.names[i], &symbol, err);
        if (status == MS_OK)
            status = reserve_symbols(a, symbol, err);
        if (status == MS_OK && a->gram_of[symbol] == 0)
            status = append_gram(a, symbol, err);
        if (status != MS_OK)
            break;
        a->grams[grams + i] = a->gram_of[symbol] - 1;
        ms_sequence_hash_add(key, symbol);
    }
    a->numbers.grams = a->grams;
    a->numbers.static_n = n;
    return status == MS_OK ? ms_row_pack(&row->pack, &a->numbers, &a->scratch, err) : status;
}

enum ms_status ms_dataset_add_statics(struct ms_corpus *corpus, struct ms_dataset *set,
                                      struct ms_sequence_hash *keys, struct ms_error *err)
{
    struct adding a = {.set = set};
    enum ms_status status = MS_OK;
    ms_buf_init(&a.features, MS_LIMIT_FRAME_BYTES);
    ms_buf_init(&a.scratch, SIZE_MAX / 2);
    for (size_t i = 0; i < set->count && status == MS_OK; i++) {
        status = ms_sample_features_get(corpus, set->rows[i].sample, &a.features, err);
        if (status == MS_OK)
            status = ms_statics_read(ms_buf_text(&a.features), &a.statics, err);
        if (status == MS_OK)
            status = add_row(&a, &set->rows[i], &keys[i * MS_ROW_KEYS + MS_ROW_VIEW], err);
        if (status != MS_OK && err)
            ms_error_prepend(err, "%s", set->rows[i].key);
    }
    ms_statics_release(&a.statics);
    ms_buf_release(&a.features);
    ms_buf_release(&a.scratch);
    ms_row_numbers_release(&a.numbers);
    free(a.grams);
    free(a.gram_of);
    return status == MS_REJECT ? MS_E_INPUT : status;
}

/* Counts the rows of a test that have each n-gram, as ms_ngrams_build wants them. */
#ifndef MS_TESTS_GRAM_ROWS_H
#define MS_TESTS_GRAM_ROWS_H

#include "train/ngrams.h"

#include <string.h>

enum { GRAM_ROWS_MOST = 32768 };

/* Valid until the next call; the table has at most GRAM_ROWS_MOST n-grams. */
static inline const uint32_t *gram_rows_count(const struct ms_gram_row *rows, size_t count)
{
    static uint32_t rows_with[GRAM_ROWS_MOST];
    memset(rows_with, 0, sizeof rows_with);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < rows[i].n; k++)
            rows_with[rows[i].grams ? rows[i].grams[k] : k]++;
    return rows_with;
}

#endif

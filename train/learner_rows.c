/* Vocabulary, n-grams and input rows of a training part. */
#include "train/learner_rows.h"

#include <stdlib.h>
#include <string.h>

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the training rows");
}

/* By symbol: training rows that have the call, and its frequency in them. */
struct counts {
    uint32_t *rows_with;
    uint64_t *times;
};

static enum ms_status count_calls(const struct ms_plan *plan, const struct ms_learner_rows *rows,
                                  const struct counts *c, struct ms_error *err)
{
    struct ms_row_numbers row = {0};
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < rows->train_count && status == MS_OK; i++) {
        status = ms_row_unpack(&rows->set->rows[rows->train[i]].pack, &row, err);
        if (status != MS_OK)
            break;
        for (size_t k = 0; k < row.count_n; k++) {
            c->rows_with[row.counts[k].symbol]++;
            if (plan->count_whole)
                c->times[row.counts[k].symbol] += row.counts[k].times;
        }
        for (size_t k = 0; !plan->count_whole && k < row.n; k++)
            c->times[row.calls[k]]++;
    }
    ms_row_numbers_release(&row);
    return status;
}

/* Symbols are numbered by first occurrence over the sorted rows, so that counting in their order is
 * counting in the order of the texts. */
enum ms_status ms_learner_vocabulary(const struct ms_plan *plan, const struct ms_learner_rows *rows,
                                     struct ms_vocabulary **out, struct ms_error *err)
{
    uint32_t symbols = ms_names_count(rows->set->symbols);
    struct counts c = {calloc(symbols + 1u, sizeof *c.rows_with),
                       calloc(symbols + 1u, sizeof *c.times)};
    struct ms_vocabulary *v = NULL;
    enum ms_status status = c.rows_with && c.times ? MS_OK : no_memory(err);
    if (status == MS_OK)
        status = count_calls(plan, rows, &c, err);
    if (status == MS_OK)
        status = ms_vocabulary_new(plan->text, plan->unknown, &v, err);
    for (uint32_t s = 0; s < symbols && status == MS_OK; s++)
        if (c.times[s] > 0 && c.rows_with[s] >= plan->vocabulary_rows)
            status = ms_vocabulary_count(v, ms_names_get(rows->set->symbols, s), c.times[s], err);
    if (status == MS_OK)
        status = ms_vocabulary_finish(v, plan->vocabulary_limit, err);
    free(c.rows_with);
    free(c.times);
    if (status == MS_OK)
        *out = v;
    else
        ms_vocabulary_free(v);
    return status;
}

static enum ms_status make_ngrams(const struct ms_input_options *inputs,
                                  const struct ms_learner_rows *rows, struct ms_ngrams **out,
                                  struct ms_error *err)
{
    const struct ms_gram_table table = ms_dataset_table(rows->set);
    struct ms_row_numbers numbers = {0};
    struct ms_input_trace trace;
    uint32_t *rows_with = calloc((size_t)table.gram_count + 1, sizeof *rows_with);
    enum ms_status status = rows_with ? MS_OK : no_memory(err);
    for (size_t i = 0; i < rows->train_count && status == MS_OK; i++) {
        status = ms_dataset_trace(rows->set, rows->train[i], &numbers, &trace, err);
        for (size_t k = 0; status == MS_OK && k < trace.grams.n; k++)
            rows_with[trace.grams.grams[k]]++;
    }
    if (status == MS_OK)
        status = ms_ngrams_build(&inputs->ngrams, &table, rows_with, rows->train_count, out, err);
    ms_row_numbers_release(&numbers);
    free(rows_with);
    return status;
}

static enum ms_status make_rows(const struct ms_input_recipe *recipe,
                                const struct ms_learner_rows *rows, struct ms_made_rows *out,
                                struct ms_error *err)
{
    const struct ms_gram_table table = ms_dataset_table(rows->set);
    struct ms_row_numbers numbers = {0};
    struct ms_input_trace trace;
    struct ms_input_maker *maker = NULL;
    enum ms_status status = ms_input_maker_new(recipe, &table, &maker, err);
    for (size_t i = 0; i < out->count && status == MS_OK; i++) {
        uint32_t row = i < rows->train_count ? rows->train[i] : rows->test[i - rows->train_count];
        status = ms_dataset_trace(rows->set, row, &numbers, &trace, err);
        if (status == MS_OK)
            status = ms_input_row_make(maker, &trace, &out->rows[i], err);
    }
    ms_row_numbers_release(&numbers);
    ms_input_maker_free(maker);
    return status;
}

enum ms_status ms_made_rows_make(const struct ms_plan *plan, const struct ms_input_options *inputs,
                                 size_t steps, const struct ms_learner_rows *rows,
                                 struct ms_made_rows *out, struct ms_error *err)
{
    *out = (struct ms_made_rows){0};
    size_t count = rows->train_count + rows->test_count;
    out->rows = calloc(count + 1, sizeof *out->rows);
    if (!out->rows)
        return no_memory(err);
    out->count = count;
    enum ms_status status = ms_learner_vocabulary(plan, rows, &out->vocabulary, err);
    if (status == MS_OK && inputs->ngrams.max_n > 0)
        status = make_ngrams(inputs, rows, &out->ngrams, err);
    const struct ms_input_recipe recipe = {.vocabulary = out->vocabulary,
                                           .ngrams = out->ngrams,
                                           .options = *inputs,
                                           .cut = plan->view.cut,
                                           .steps = steps};
    return status == MS_OK ? make_rows(&recipe, rows, out, err) : status;
}

void ms_made_rows_release(struct ms_made_rows *self)
{
    for (size_t i = 0; i < self->count; i++)
        ms_input_row_release(&self->rows[i]);
    free(self->rows);
    ms_vocabulary_free(self->vocabulary);
    ms_ngrams_free(self->ngrams);
    *self = (struct ms_made_rows){0};
}

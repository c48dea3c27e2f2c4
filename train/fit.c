/* The training loop. */
#include "train/fit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t PURPOSE_ORDER = 0x6f72646572, PURPOSE_TOKENS = 0x746f6b656e;
enum { POOL_BATCHES = 16 }; /* rows are sorted by length within this many batches */
static const double FLOOR = .02;

struct sized {
    uint32_t row;
    size_t length;
    uint32_t place;
};

static int longest_first(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;
    if (x->length != y->length)
        return x->length > y->length ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Sorts within pools of some batches and deals whole batches out anew; the last, short batch stays
 * last. */
static enum ms_status bucket(const struct ms_fit_rows *rows, uint32_t batch, struct ms_rng *rng,
                             uint32_t *order, struct ms_error *err)
{
    size_t n = rows->count, pool = (size_t)batch * POOL_BATCHES, batches = n / batch;
    struct sized *sized = calloc(n, sizeof *sized);
    uint32_t *turn = calloc(batches ? batches : 1, sizeof *turn);
    if (!sized || !turn) {
        free(sized);
        free(turn);
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the order of %zu rows", n);
    }
    for (size_t i = 0; i < n; i++)
        sized[i] = (struct sized){order[i], rows->tokens[order[i]].n, (uint32_t)i};
    for (size_t at = 0; at < n; at += pool)
        qsort(sized + at, n - at < pool ? n - at : pool, sizeof *sized, longest_first);
    for (size_t b = 0; b < batches; b++)
        turn[b] = (uint32_t)b;
    ms_rng_shuffle(rng, turn, batches);
    for (size_t b = 0; b < batches; b++)
        for (size_t k = 0; k < batch; k++)
            order[b * batch + k] = sized[turn[b] * (size_t)batch + k].row;
    for (size_t i = batches * batch; i < n; i++)
        order[i] = sized[i].row;
    free(sized);
    free(turn);
    return MS_OK;
}

enum ms_status ms_fit_order(const struct ms_fit_rows *rows, uint32_t batch, bool by_length,
                            uint64_t seed, uint32_t epoch, uint32_t *order, struct ms_error *err)
{
    struct ms_rng rng;
    ms_rng_init(&rng, seed, PURPOSE_ORDER, epoch);
    for (uint32_t i = 0; i < rows->count; i++)
        order[i] = i;
    ms_rng_shuffle(&rng, order, rows->count);
    return by_length ? bucket(rows, batch, &rng, order, err) : MS_OK;
}

/* One row's loss from the net's output, and whether its decision is right. */
static double row_loss(const struct ms_net_config *config, const double *scores, int32_t label,
                       bool *right)
{
    if (config->head == MS_NET_HEAD_SOFTMAX) {
        uint32_t best = 0;
        for (uint32_t c = 1; c < config->outputs; c++)
            if (scores[c] > scores[best])
                best = c;
        *right = best == (uint32_t)label;
        return -log(fmax(scores[label], 1e-30));
    }
    double p = scores[0];
    *right = (p >= .5) == (label == 1);
    if (config->head == MS_NET_HEAD_MSE)
        return (p - label) * (p - label);
    return -log(fmax(label == 1 ? p : 1 - p, 1e-30));
}

enum ms_status ms_fit_judge(struct ms_net *net, const struct ms_fit_rows *rows, double *loss,
                            double *accuracy, struct ms_error *err)
{
    const struct ms_net_config *config = ms_net_config_get(net);
    uint32_t classes = ms_net_config_classes(config);
    *loss = *accuracy = NAN;
    if (rows->count == 0)
        return MS_OK;
    double *scores = calloc(rows->count * classes, sizeof *scores);
    if (!scores)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu scores", rows->count * classes);
    enum ms_status status = ms_model_scores(net, classes, rows->tokens, rows->count, scores, err);
    double sum = 0;
    size_t right = 0;
    for (size_t i = 0; status == MS_OK && i < rows->count; i++) {
        bool good;
        sum += row_loss(config, scores + i * classes, rows->labels[i], &good);
        right += good;
    }
    *loss = sum / (double)rows->count;
    *accuracy = (double)right / (double)rows->count;
    free(scores);
    return status;
}

struct fit {
    const struct ms_fit_options *options;
    const struct ms_fit_rows *train;
    struct ms_net *net;
    uint32_t *order;        /* N */
    const int32_t **tokens; /* of a batch */
    uint32_t *lengths;
    int32_t *labels;
    int32_t *masked; /* copies of a batch's tokens with some unknown */
    size_t masked_capacity;
    uint64_t step, steps, per_epoch;
};

static void fit_release(struct fit *f)
{
    free(f->order);
    free(f->tokens);
    free(f->lengths);
    free(f->labels);
    free(f->masked);
}

static enum ms_status fit_make(struct fit *f, struct ms_error *err)
{
    size_t n = f->train->count, batch = f->options->batch < n ? f->options->batch : n;
    f->per_epoch = (n + f->options->batch - 1) / f->options->batch;
    f->steps = f->per_epoch * f->options->epochs;
    f->order = calloc(n, sizeof *f->order);
    f->tokens = calloc(batch, sizeof *f->tokens);
    f->lengths = calloc(batch, sizeof *f->lengths);
    f->labels = calloc(batch, sizeof *f->labels);
    if (!f->order || !f->tokens || !f->lengths || !f->labels)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a batch of %zu rows", batch);
    enum ms_status status =
        ms_net_new(&f->options->config, f->options->seed, f->options->jobs, &f->net, err);
    return status == MS_OK ? ms_net_set_optimizer(f->net, &f->options->optimizer, err) : status;
}

/* Copies the tokens of the batch, some of them as unknown: what a trace from another sandbox looks
 * like. */
static enum ms_status mask_tokens(struct fit *f, size_t rows, struct ms_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < rows; i++)
        total += f->lengths[i];
    if (total > f->masked_capacity) {
        int32_t *masked = realloc(f->masked, total * sizeof *masked);
        if (!masked)
            return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu tokens", total);
        f->masked = masked;
        f->masked_capacity = total;
    }
    struct ms_rng rng;
    ms_rng_init(&rng, f->options->seed, PURPOSE_TOKENS, f->step);
    int32_t *at = f->masked;
    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < f->lengths[i]; k++)
            at[k] =
                ms_rng_unit(&rng) < f->options->token_dropout ? MS_TOKEN_UNKNOWN : f->tokens[i][k];
        f->tokens[i] = at;
        at += f->lengths[i];
    }
    return MS_OK;
}

static double rate_now(const struct fit *f)
{
    return f->options->cosine
               ? ms_schedule_cosine(f->options->rate, FLOOR, f->step, f->per_epoch, f->steps)
               : f->options->rate;
}

static enum ms_status fit_batch(struct fit *f, size_t from, size_t rows,
                                struct ms_net_result *result, struct ms_error *err)
{
    for (size_t i = 0; i < rows; i++) {
        const struct ms_tokens *t = &f->train->tokens[f->order[from + i]];
        f->tokens[i] = t->ids;
        f->lengths[i] = (uint32_t)t->n;
        f->labels[i] = f->train->labels[f->order[from + i]];
    }
    enum ms_status status = MS_OK;
    if (f->options->token_dropout > 0)
        status = mask_tokens(f, rows, err);
    const struct ms_net_batch batch = {
        .rows = rows, .tokens = f->tokens, .lengths = f->lengths, .labels = f->labels};
    if (status == MS_OK)
        status = ms_net_train_batch(f->net, &batch, rate_now(f), result, err);
    f->step += status == MS_OK;
    return status;
}

static enum ms_status fit_epoch(struct fit *f, uint32_t epoch, struct ms_fit_epoch *out,
                                struct ms_error *err)
{
    size_t n = f->train->count, right = 0;
    double loss = 0;
    enum ms_status status = ms_fit_order(f->train, f->options->batch, f->options->by_length,
                                         f->options->seed, epoch, f->order, err);
    for (size_t at = 0; at < n && status == MS_OK; at += f->options->batch) {
        size_t rows = n - at < f->options->batch ? n - at : f->options->batch;
        struct ms_net_result result;
        out->rate = rate_now(f);
        status = fit_batch(f, at, rows, &result, err);
        if (status == MS_OK) {
            loss += result.loss * (double)rows;
            right += result.correct;
            ms_progress_update(f->step);
            ms_progress_note("epoch %u/%u loss %.4f accuracy %.3f", epoch + 1, f->options->epochs,
                             loss / (double)(at + rows), (double)right / (double)(at + rows));
        }
    }
    out->loss = loss / (double)n;
    out->accuracy = (double)right / (double)n;
    if (status == MS_E_LIMIT)
        ms_error_prepend(err, "epoch %u, step %llu", epoch + 1, (unsigned long long)f->step + 1);
    return status;
}

static void talk(const struct fit *f, uint32_t epoch, const struct ms_fit_epoch *e)
{
    if (!f->options->talk)
        return;
    if (isnan(e->test_loss))
        ms_log(MS_LOG_INFO, "epoch %*u/%u  loss %.4f  accuracy %.3f  %.1f s",
               f->options->epochs > 9 ? 2 : 1, epoch + 1, f->options->epochs, e->loss, e->accuracy,
               e->seconds);
    else
        ms_log(MS_LOG_INFO,
               "epoch %*u/%u  loss %.4f  accuracy %.3f  test loss %.4f  test accuracy %.3f  %.1f s",
               f->options->epochs > 9 ? 2 : 1, epoch + 1, f->options->epochs, e->loss, e->accuracy,
               e->test_loss, e->test_accuracy, e->seconds);
}

enum ms_status ms_fit(const struct ms_fit_options *options, const struct ms_fit_rows *train,
                      const struct ms_fit_rows *test, struct ms_fit_epoch *epochs_out,
                      struct ms_net **out, struct ms_error *err)
{
    if (train->count == 0 || options->batch == 0 || options->epochs == 0)
        return ms_error_set(err, MS_E_INPUT, "nothing to train: no rows, epochs or batch");
    struct fit f = {.options = options, .train = train};
    enum ms_status status = fit_make(&f, err);
    ms_progress_begin(options->title, f.steps, "batches");
    for (uint32_t e = 0; e < options->epochs && status == MS_OK; e++) {
        int64_t started = ms_clock_mono_ms();
        status = fit_epoch(&f, e, &epochs_out[e], err);
        if (status == MS_OK)
            status = ms_fit_judge(f.net, test, &epochs_out[e].test_loss,
                                  &epochs_out[e].test_accuracy, err);
        epochs_out[e].seconds = (double)(ms_clock_mono_ms() - started) / 1000;
        if (status == MS_OK)
            talk(&f, e, &epochs_out[e]);
    }
    ms_progress_end();
    fit_release(&f);
    if (status == MS_OK)
        *out = f.net;
    else
        ms_net_free(f.net);
    return status;
}

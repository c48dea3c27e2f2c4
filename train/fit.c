/* The training loop. */
#include "train/fit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/rng.h"
#include "base/step.h"
#include "train/fit_progress.h"

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
        sized[i] = (struct sized){order[i], rows->rows[order[i]]->n, (uint32_t)i};
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
    struct ms_member member = {.kind = MS_MEMBER_NET, .net = net};
    struct ms_input_row *borrowed = calloc(rows->count, sizeof *borrowed);
    double *scores = calloc(rows->count * classes, sizeof *scores);
    if (!scores || !borrowed) {
        free(borrowed);
        free(scores);
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu scores", rows->count * classes);
    }
    for (size_t i = 0; i < rows->count; i++)
        borrowed[i] = *rows->rows[i];
    enum ms_status status = ms_member_scores(&member, classes, borrowed, rows->count, scores, err);
    free(borrowed);
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
    uint32_t tables;        /* F of the rows */
    uint32_t *order;        /* N */
    const int32_t **tokens; /* of a batch */
    const int32_t **features;
    struct ms_net_sparse *wide;
    uint32_t *lengths;
    int32_t *labels;
    int32_t *masked; /* copies of a batch's tokens with some unknown, and of their features */
    size_t masked_capacity;
    int32_t *masked_features;
    struct ms_fit_progress at;
    uint64_t steps, per_epoch;
};

static void fit_release(struct fit *f)
{
    free(f->order);
    free((void *)f->tokens);
    free((void *)f->features);
    free(f->wide);
    free(f->lengths);
    free(f->labels);
    free(f->masked);
    free(f->masked_features);
    free(f->at.sum);
    free(f->at.best);
}

static enum ms_status fit_make(struct fit *f, struct ms_error *err)
{
    const struct ms_fit_options *o = f->options;
    uint32_t sizes[MS_LIMIT_NET_FEATURES];
    size_t n = f->train->count, batch = o->batch < n ? o->batch : n;
    f->tables = ms_input_options_tables(&o->inputs, sizes);
    f->per_epoch = (n + o->batch - 1) / o->batch;
    f->steps = f->per_epoch * o->epochs;
    f->at.best_loss = INFINITY;
    f->order = calloc(n, sizeof *f->order);
    f->tokens = (void *)calloc(batch, sizeof *f->tokens);
    f->features = (void *)calloc(batch, sizeof *f->features);
    f->wide = calloc(batch, sizeof *f->wide);
    f->lengths = calloc(batch, sizeof *f->lengths);
    f->labels = calloc(batch, sizeof *f->labels);
    bool good = f->order && f->tokens && f->features && f->wide && f->lengths && f->labels;
    enum ms_status status = MS_E_NOMEM;
    if (good)
        status = ms_net_new(&o->config, o->seed, o->jobs, &f->net, err);
    if (status == MS_OK && o->average)
        good = (f->at.sum = calloc(ms_net_param_count(f->net), sizeof *f->at.sum)) != NULL;
    if (status == MS_OK && o->patience)
        good =
            (f->at.best = calloc(ms_net_param_count(f->net), sizeof *f->at.best)) != NULL && good;
    if (!good)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a batch of %zu rows", batch);
    return status == MS_OK ? ms_net_set_optimizer(f->net, &o->optimizer, err) : status;
}

static enum ms_status make_room(struct fit *f, size_t total, struct ms_error *err)
{
    if (total <= f->masked_capacity)
        return MS_OK;
    int32_t *masked = realloc(f->masked, total * sizeof *masked);
    if (masked)
        f->masked = masked;
    size_t each = f->tables ? f->tables : 1;
    int32_t *features = realloc(f->masked_features, total * each * sizeof *features);
    if (features)
        f->masked_features = features;
    if (!masked || !features)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %zu tokens", total);
    f->masked_capacity = total;
    return MS_OK;
}

/* Copies the tokens of the batch, some of them as unknown: what a trace from another sandbox looks
 * like. The hashes of n-grams follow, or they would give away what is hidden. */
static enum ms_status mask_tokens(struct fit *f, size_t rows, struct ms_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < rows; i++)
        total += f->lengths[i];
    enum ms_status status = make_room(f, total, err);
    if (status != MS_OK)
        return status;
    struct ms_rng rng;
    ms_rng_init(&rng, f->options->seed, PURPOSE_TOKENS, f->at.step);
    int32_t *at = f->masked, *features = f->masked_features;
    for (size_t i = 0; i < rows; i++) {
        size_t n = f->lengths[i];
        for (size_t k = 0; k < n; k++)
            at[k] =
                ms_rng_unit(&rng) < f->options->token_dropout ? MS_TOKEN_UNKNOWN : f->tokens[i][k];
        if (f->tables && n) {
            memcpy(features, f->features[i], n * f->tables * sizeof *features);
            ms_input_rehash(&f->options->inputs, at, n, features);
            f->features[i] = features;
            features += n * f->tables;
        }
        f->tokens[i] = at;
        at += n;
    }
    return MS_OK;
}

static double rate_now(const struct fit *f)
{
    return f->options->cosine
               ? ms_schedule_cosine(f->options->rate, FLOOR, f->at.step, f->per_epoch, f->steps)
               : f->options->rate;
}

static enum ms_status fit_batch(struct fit *f, size_t from, size_t rows,
                                struct ms_net_result *result, struct ms_error *err)
{
    const struct ms_net_config *config = &f->options->config;
    for (size_t i = 0; i < rows; i++) {
        const struct ms_input_row *row = f->train->rows[f->order[from + i]];
        f->tokens[i] = row->tokens;
        f->features[i] = row->features;
        f->wide[i] = (struct ms_net_sparse){row->ids, row->values, row->count};
        f->lengths[i] = (uint32_t)row->n;
        f->labels[i] = f->train->labels[f->order[from + i]];
    }
    enum ms_status status = MS_OK;
    if (f->options->token_dropout > 0)
        status = mask_tokens(f, rows, err);
    const struct ms_net_batch batch = {.rows = rows,
                                       .tokens = f->tokens,
                                       .lengths = f->lengths,
                                       .labels = f->labels,
                                       .features = config->feature_count ? f->features : NULL,
                                       .wide = config->wide.size ? f->wide : NULL};
    if (status == MS_OK)
        status = ms_net_train_batch(f->net, &batch, rate_now(f), result, err);
    f->at.step += status == MS_OK;
    return status;
}

static enum ms_status fit_epoch(struct fit *f, uint32_t epoch, struct ms_fit_epoch *out,
                                struct ms_error *err)
{
    const size_t n = f->train->count;
    struct ms_fit_progress *p = &f->at;
    enum ms_status status = ms_fit_order(f->train, f->options->batch, f->options->by_length,
                                         f->options->seed, epoch, f->order, err);
    while (p->row < n && status == MS_OK) {
        size_t at = p->row, rows = n - at < f->options->batch ? n - at : f->options->batch;
        struct ms_net_result result;
        out->rate = rate_now(f);
        status = fit_batch(f, at, rows, &result, err);
        if (status == MS_OK) {
            p->loss += result.loss * (double)rows;
            p->right += result.correct;
            p->row += rows;
            if (f->options->on_step)
                f->options->on_step(f->options->step_ctx);
            if (f->options->title)
                ms_progress_update(f->at.step);
            if (f->options->title)
                ms_progress_note("epoch %u/%u loss %.4f accuracy %.3f", epoch + 1,
                                 f->options->epochs, p->loss / (double)p->row,
                                 (double)p->right / (double)p->row);
            if (p->row < n)
                ms_fit_progress_keep(p, false, false);
            ms_step("train.fit.batch");
        }
    }
    out->loss = p->loss / (double)n;
    out->accuracy = (double)p->right / (double)n;
    if (status == MS_E_LIMIT)
        ms_error_prepend(err, "epoch %u, step %llu", epoch + 1, (unsigned long long)f->at.step + 1);
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

static void add_weights(struct fit *f)
{
    const ms_real *params = ms_net_params(f->net);
    for (size_t i = 0; i < ms_net_param_count(f->net); i++)
        f->at.sum[i] += (double)params[i];
    f->at.summed++;
}

static void take_mean(struct fit *f)
{
    ms_real *params = ms_net_params(f->net);
    for (size_t i = 0; f->at.summed && i < ms_net_param_count(f->net); i++)
        params[i] = (ms_real)(f->at.sum[i] / (double)f->at.summed);
}

/* Whether training goes on after epoch e. */
static enum ms_status look_inside(struct fit *f, const struct ms_fit_rows *inner, uint32_t epoch,
                                  bool *more, struct ms_error *err)
{
    double loss, accuracy;
    enum ms_status status = ms_fit_judge(f->net, inner, &loss, &accuracy, err);
    if (status == MS_OK && loss < f->at.best_loss) {
        memcpy(f->at.best, ms_net_params(f->net), ms_net_param_count(f->net) * sizeof *f->at.best);
        f->at.best_loss = loss;
        f->at.best_epoch = epoch;
    }
    *more = epoch - f->at.best_epoch < f->options->patience;
    return status;
}

static enum ms_status fit_epochs(struct fit *f, const struct ms_fit_rows *inner,
                                 const struct ms_fit_rows *test, struct ms_fit_epoch *out,
                                 struct ms_error *err)
{
    const struct ms_fit_options *o = f->options;
    uint32_t quarter = o->epochs / 4 > 0 ? o->epochs / 4 : 1;
    enum ms_status status = MS_OK;
    struct ms_fit_progress *p = &f->at;
    bool more = !o->patience || p->epoch == 0 || p->epoch - 1 - p->best_epoch < o->patience;
    while (p->epoch < o->epochs && status == MS_OK && more) {
        const uint32_t e = (uint32_t)p->epoch;
        int64_t started = ms_clock_mono_ms();
        status = fit_epoch(f, e, &out[e], err);
        if (status == MS_OK)
            status = ms_fit_judge(f->net, test, &out[e].test_loss, &out[e].test_accuracy, err);
        out[e].seconds = (double)(ms_clock_mono_ms() - started) / 1000;
        if (status == MS_OK)
            talk(f, e, &out[e]);
        if (status == MS_OK && o->patience)
            status = look_inside(f, inner, e, &more, err);
        if (status == MS_OK && o->average && e + quarter >= o->epochs)
            add_weights(f);
        p->epoch++;
        p->row = p->right = 0;
        p->loss = 0;
        if (status == MS_OK)
            ms_fit_progress_keep(p, true, false);
    }
    if (status == MS_OK && o->average)
        take_mean(f);
    if (status == MS_OK && o->patience)
        memcpy(ms_net_params(f->net), f->at.best, ms_net_param_count(f->net) * sizeof *f->at.best);
    if (status == MS_OK)
        ms_fit_progress_keep(p, false, true);
    return status;
}

enum ms_status ms_fit(const struct ms_fit_options *options, const struct ms_fit_rows *train,
                      const struct ms_fit_rows *inner, const struct ms_fit_rows *test,
                      struct ms_fit_epoch *epochs_out, struct ms_net **out, struct ms_error *err)
{
    if (train->count == 0 || options->batch == 0 || options->epochs == 0)
        return ms_error_set(err, MS_E_INPUT, "nothing to train: no rows, epochs or batch");
    if (options->patience && (!inner || inner->count == 0 || options->average))
        return ms_error_set(err, MS_E_INPUT,
                            "early stopping needs rows to look at, and no averaging");
    struct fit f = {.options = options, .train = train};
    for (uint32_t e = 0; e < options->epochs; e++)
        epochs_out[e] = (struct ms_fit_epoch){NAN, NAN, NAN, NAN, NAN, 0};
    enum ms_status status = fit_make(&f, err);
    bool finished = false;
    f.at.curve = epochs_out;
    f.at.options = options;
    f.at.rows = train->count;
    f.at.net = f.net;
    if (status == MS_OK)
        status = ms_fit_progress_begin(&f.at, train, inner, test, &finished, err);
    if (options->title)
        ms_progress_begin(options->title, f.steps, "batches");
    if (status == MS_OK && !finished)
        status = fit_epochs(&f, inner, test, epochs_out, err);
    if (options->title)
        ms_progress_end();
    fit_release(&f);
    if (status == MS_OK)
        *out = f.net;
    else
        ms_net_free(f.net);
    return status;
}

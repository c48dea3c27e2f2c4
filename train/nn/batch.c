/* Batches: deals their rows to shards and passes, sums gradients, takes optimiser
 * steps, predicts.
 *
 * Parallel outside, serial inside: a batch is cut into shards by its size alone, each shard is
 * computed by one thread and has its own sums, and sums are added in the order of the shards. So
 * the number of threads changes no bit. */
#include "train/nn/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHARD_MIN_ROWS = 16, /* fewer rows, and the table of projections is made too often */
    PASS_MAX_ROWS = 16,  /* more rows push the activations out of the cache */
    PREDICT_MIN_ROWS = 8,
    PASS_MAX_STEPS =
        1 << 15, /* packed rows of a pass: bounds its memory; one sequence may be longer */
    CHUNK = 8192 /* elements of a block that one task sums or updates */
};

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Fills `sorted`: longest first, equal lengths by row. */
static enum ms_status sort_rows(struct ms_net *self, const struct ms_net_batch *batch,
                                struct ms_error *err)
{
    const size_t n = batch->rows;
    if (self->order_capacity < n) {
        free(self->sorted);
        free(self->order);
        self->order_capacity = 0;
        self->sorted = malloc(n * sizeof *self->sorted);
        self->order = malloc(n * sizeof *self->order);
        if (!self->sorted || !self->order)
            return ms_error_set(err, MS_E_NOMEM, "no memory for a batch of %zu sequences", n);
        self->order_capacity = n;
    }
    for (size_t r = 0; r < n; r++) {
        uint32_t length = ms_pack_length(&self->config, batch, r);
        self->sorted[r] = (uint64_t)(UINT32_MAX - length) << 32 | r;
    }
    qsort(self->sorted, n, sizeof *self->sorted, compare_keys);
    return MS_OK;
}

static uint32_t sorted_row(const struct ms_net *self, size_t i)
{
    return (uint32_t)self->sorted[i];
}

/* Steps of all rows of a sorted batch. */
static size_t steps_of(const struct ms_net *self, size_t rows)
{
    size_t steps = 0;
    for (size_t i = 0; i < rows; i++)
        steps += UINT32_MAX - (size_t)(self->sorted[i] >> 32);
    return steps;
}

/* One call to the net: what its tasks share. */
struct job {
    struct ms_net *net;
    const struct ms_net_batch *batch;
    bool dropout;
    uint64_t mask_step;
    size_t shards;
    size_t begin[MS_NET_SHARDS + 1]; /* of each shard in net->order */
    ms_real *outputs;                /* prediction */
    size_t pass_rows;                /* of a prediction pass */
    enum ms_status *statuses;        /* of prediction passes */
    struct ms_update update;
};

/* Rows go to the shards in turn, there and back, so that each has the same share of long ones. */
static void deal(struct job *job)
{
    struct ms_net *net = job->net;
    const size_t rows = job->batch->rows;
    size_t S = rows / SHARD_MIN_ROWS;
    S = S < 1 ? 1 : S > MS_NET_SHARDS ? MS_NET_SHARDS : S;
    job->shards = S;
    size_t n = 0;
    for (size_t s = 0; s < S; s++) {
        job->begin[s] = n;
        for (size_t turn = 0; turn * S < rows; turn++) {
            size_t i = turn * S + (turn % 2 ? S - 1 - s : s);
            if (i < rows)
                net->order[n++] = sorted_row(net, i);
        }
    }
    job->begin[S] = n;
}

/* How many of `rows`, longest first, make the next pass. */
static size_t pass_size(const struct job *job, const uint32_t *rows, size_t left, size_t most)
{
    size_t longest = ms_pack_length(&job->net->config, job->batch, rows[0]);
    size_t n = longest ? PASS_MAX_STEPS / longest : most;
    n = n < 1 ? 1 : n > most ? most : n;
    return n < left ? n : left;
}

static void shard_task(void *ctx, size_t task, unsigned worker)
{
    struct job *job = ctx;
    struct ms_net *net = job->net;
    struct ms_shard *shard = &net->shard[task];
    const size_t tables = net->tables_end;
    memset(shard->touched, 0, net->table_rows);
    memset(shard->grads + tables, 0, (net->param_count - tables) * sizeof *shard->grads);
    ms_shared_clear(net, shard);
    shard->loss = 0;
    shard->correct = 0;
    shard->status = MS_OK;
    for (size_t i = job->begin[task]; i < job->begin[task + 1] && shard->status == MS_OK;) {
        size_t n = pass_size(job, net->order + i, job->begin[task + 1] - i, PASS_MAX_ROWS);
        struct ms_pass pass = {.net = net,
                               .batch = job->batch,
                               .scratch = &net->scratch[worker],
                               .shard = shard,
                               .dropout = job->dropout,
                               .mask_step = job->mask_step};
        shard->status = ms_pass_run(&pass, net->order + i, n, NULL);
        i += n;
    }
}

static void sum_task(void *ctx, size_t task, unsigned worker)
{
    struct job *job = ctx;
    struct ms_net *net = job->net;
    (void)worker;
    const size_t tables = net->tables_end;
    const size_t from = task * CHUNK;
    const size_t to = from + CHUNK < net->param_count ? from + CHUNK : net->param_count;
    const size_t border = tables < from ? from : tables > to ? to : tables;
    const bool touched = from < border && ms_table_sum(net, job->shards, from, border);
    if (border < to) {
        memcpy(net->grads + border, net->shard[0].grads + border,
               (to - border) * sizeof *net->grads);
        for (size_t s = 1; s < job->shards; s++)
            net->kernels->add(to - border, net->shard[s].grads + border, net->grads + border);
    }
    net->chunk_square[task] =
        touched || border < to ? net->kernels->square_sum(to - from, net->grads + from) : 0;
}

/* Weight decay differs from tensor to tensor: a chunk is updated in pieces that lie in one. */
static void update_task(void *ctx, size_t task, unsigned worker)
{
    struct job *job = ctx;
    struct ms_net *net = job->net;
    (void)worker;
    size_t from = task * CHUNK;
    const size_t to = from + CHUNK < net->param_count ? from + CHUNK : net->param_count;
    for (size_t i = 0; i < net->tensor_count && from < to; i++) {
        const struct ms_net_tensor *t = &net->tensor[i];
        size_t end = t->offset + t->rows * t->columns;
        if (end <= from)
            continue;
        end = end < to ? end : to;
        struct ms_update u = job->update;
        u.n = end - from;
        u.param = net->params + from;
        u.grad = net->grads + from;
        u.moment1 = net->moment1 ? net->moment1 + from : NULL;
        u.moment2 = net->moment2 + from;
        if (!t->decays)
            u.decay = 0;
        if (net->optimizer.kind == MS_OPTIMIZER_RMSPROP)
            net->kernels->rmsprop(&u);
        else
            net->kernels->adam(&u);
        from = end;
    }
}

static size_t chunk_count(const struct ms_net *net)
{
    return (net->param_count + CHUNK - 1) / CHUNK;
}

static enum ms_status prepare_shards(struct ms_net *self, size_t shards, struct ms_error *err)
{
    for (size_t s = 0; s < shards; s++) {
        struct ms_shard *shard = &self->shard[s];
        if (!shard->grads)
            shard->grads = malloc(self->param_count * sizeof *shard->grads);
        if (!shard->touched)
            shard->touched = malloc(self->table_rows);
        if (!shard->grads || !shard->touched)
            return ms_error_set(err, MS_E_NOMEM, "no memory for the gradients of %zu shards",
                                shards);
    }
    if (!self->chunk_square)
        self->chunk_square = malloc(chunk_count(self) * sizeof *self->chunk_square);
    if (!self->touched)
        self->touched = calloc(self->table_rows, 1);
    if (!self->touched_before)
        self->touched_before = calloc(self->table_rows, 1);
    if (!self->chunk_square || !self->touched || !self->touched_before)
        return ms_error_set(err, MS_E_NOMEM, "no memory for a net's gradients");
    return MS_OK;
}

/* Loss and gradients of the whole batch. */
static enum ms_status compute(struct job *job, struct ms_net_result *out, struct ms_error *err)
{
    struct ms_net *net = job->net;
    if (net->placed)
        return ms_error_set(err, MS_E_INPUT, "a net over borrowed numbers is not trained");
    enum ms_status status = ms_batch_check(net, job->batch, true, err);
    if (status == MS_OK)
        status = sort_rows(net, job->batch, err);
    if (status != MS_OK)
        return status;
    deal(job);
    status = prepare_shards(net, job->shards, err);
    if (status != MS_OK)
        return status;
    ms_shared_begin(net, steps_of(net, job->batch->rows),
                    job->shards > 1 ? job->batch->rows / PASS_MAX_ROWS : 1, job->shards,
                    job->dropout);
    ms_workers_run(net->workers, job->shards, shard_task, job);
    ms_shared_finish(net, job->shards);
    struct ms_net_result result = {0, 0, 0};
    for (size_t s = 0; s < job->shards; s++) {
        if (net->shard[s].status != MS_OK)
            return ms_error_set(err, net->shard[s].status, "no memory for a batch of %zu sequences",
                                job->batch->rows);
        result.loss += net->shard[s].loss;
        result.correct += net->shard[s].correct;
    }
    ms_table_mark(net, job->shards);
    ms_workers_run(net->workers, chunk_count(net), sum_task, job);
    double square = 0;
    for (size_t i = 0; i < chunk_count(net); i++)
        square += net->chunk_square[i];
    result.grad_norm = sqrt(square);
    *out = result;
    return MS_OK;
}

enum ms_status ms_net_loss_grad(struct ms_net *self, const struct ms_net_batch *batch, bool dropout,
                                uint64_t mask_step, struct ms_net_result *out, struct ms_error *err)
{
    struct job job = {.net = self, .batch = batch, .dropout = dropout, .mask_step = mask_step};
    return compute(&job, out, err);
}

static struct ms_update plan_update(const struct ms_net *self, double rate, double norm)
{
    const struct ms_optimizer *o = &self->optimizer;
    const double t = (double)self->step + 1;
    struct ms_update u = {0};
    u.grad_scale = 1;
    if (o->clip_norm > 0 && norm > o->clip_norm)
        u.grad_scale = (ms_real)(o->clip_norm / norm);
    u.rate = (ms_real)rate;
    u.beta1 = (ms_real)o->beta1;
    u.beta2 = (ms_real)o->beta2;
    u.epsilon = (ms_real)o->epsilon;
    u.decay = (ms_real)(rate * o->weight_decay);
    if (o->kind != MS_OPTIMIZER_RMSPROP) {
        u.rate = (ms_real)(rate / (1 - pow(o->beta1, t)));
        u.correction2 = (ms_real)(1 / (1 - pow(o->beta2, t)));
    }
    return u;
}

enum ms_status ms_net_train_batch(struct ms_net *self, const struct ms_net_batch *batch,
                                  double rate, struct ms_net_result *out, struct ms_error *err)
{
    struct job job = {.net = self, .batch = batch, .dropout = true, .mask_step = self->step};
    if (!self->has_optimizer)
        return ms_error_set(err, MS_E_INPUT, "no optimiser is set");
    if (!(rate >= 0 && rate <= 1e6))
        return ms_error_set(err, MS_E_INPUT, "learning rate %g: must be 0 to 1e6", rate);
    struct ms_net_result result;
    enum ms_status status = compute(&job, &result, err);
    if (status != MS_OK)
        return status;
    if (!isfinite(result.loss) || !isfinite(result.grad_norm))
        return ms_error_set(err, MS_E_LIMIT,
                            "training diverged: the loss is no longer a finite number; a smaller "
                            "learning rate or clipping helps");
    job.update = plan_update(self, rate, result.grad_norm);
    ms_workers_run(self->workers, chunk_count(self), update_task, &job);
    self->step++;
    *out = result;
    return MS_OK;
}

static void predict_task(void *ctx, size_t task, unsigned worker)
{
    struct job *job = ctx;
    struct ms_net *net = job->net;
    size_t i = task * job->pass_rows;
    size_t end = i + job->pass_rows < job->batch->rows ? i + job->pass_rows : job->batch->rows;
    job->statuses[task] = MS_OK;
    while (i < end && job->statuses[task] == MS_OK) {
        size_t n = pass_size(job, net->order + i, end - i, job->pass_rows);
        struct ms_pass pass = {.net = net, .batch = job->batch, .scratch = &net->scratch[worker]};
        job->statuses[task] = ms_pass_run(&pass, net->order + i, n, job->outputs);
        i += n;
    }
}

enum ms_status ms_net_predict(struct ms_net *self, const struct ms_net_batch *batch,
                              ms_real *outputs, struct ms_error *err)
{
    struct job job = {.net = self, .batch = batch, .outputs = outputs};
    enum ms_status status = ms_batch_check(self, batch, false, err);
    if (status == MS_OK)
        status = sort_rows(self, batch, err);
    if (status != MS_OK)
        return status;
    for (size_t i = 0; i < batch->rows; i++)
        self->order[i] = sorted_row(self, i);
    size_t rows = (batch->rows + MS_NET_SHARDS - 1) / MS_NET_SHARDS;
    job.pass_rows = rows < PREDICT_MIN_ROWS ? PREDICT_MIN_ROWS
                    : rows > PASS_MAX_ROWS  ? PASS_MAX_ROWS
                                            : rows;
    const size_t tasks = (batch->rows + job.pass_rows - 1) / job.pass_rows;
    job.statuses = malloc(tasks * sizeof *job.statuses);
    if (!job.statuses)
        return ms_error_set(err, MS_E_NOMEM, "no memory for %zu predictions", batch->rows);
    ms_shared_begin(self, steps_of(self, batch->rows), tasks, 0, false);
    ms_workers_run(self->workers, tasks, predict_task, &job);
    for (size_t i = 0; i < tasks && status == MS_OK; i++)
        if (job.statuses[i] != MS_OK)
            status = ms_error_set(err, job.statuses[i], "no memory for a batch of %zu sequences",
                                  batch->rows);
    free(job.statuses);
    return status;
}

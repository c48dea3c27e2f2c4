/* Bench driver: steps of training of a net on made-up sequences. Prints the median step's seconds
 * as JSON.
 *
 *     bench_net article|lstm BATCH JOBS STEPS DISTINCT
 *
 * DISTINCT: how many different calls a sequence has (0: as many as the vocabulary allows). */
#include "base/rng.h"
#include "train/nn/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KNOWN_CALLS = 279 }; /* names in Mal-API-2019 */

static double clock_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Embedding(512, 128), one bidirectional LSTM of 128 units, 8 classes. */
static void lstm_config(struct ms_net_config *c)
{
    memset(c, 0, sizeof *c);
    c->vocabulary = 512;
    c->embedding = 128;
    c->embedding_scale = .05;
    c->recurrent_count = 1;
    c->recurrent[0] = (struct ms_net_recurrent){128, MS_NET_TANH, 0, 0, true, MS_NET_LSTM};
    c->mask_padding = true;
    c->pooling = MS_NET_POOL_LAST;
    c->outputs = 8;
    c->head = MS_NET_HEAD_SOFTMAX;
}

/* Each sequence uses `distinct` calls, chosen at random, in random order. */
static void fill(int32_t *tokens, uint32_t length, uint32_t distinct, struct ms_rng *rng)
{
    int32_t of[KNOWN_CALLS];
    for (uint32_t i = 0; i < KNOWN_CALLS; i++)
        of[i] = (int32_t)i + 1;
    for (uint32_t i = 0; i < distinct; i++) {
        uint32_t j = i + (uint32_t)ms_rng_below(rng, KNOWN_CALLS - i);
        int32_t held = of[i];
        of[i] = of[j];
        of[j] = held;
    }
    for (uint32_t t = 0; t < length; t++)
        tokens[t] = of[ms_rng_below(rng, distinct)];
}

static int train(const struct ms_net_config *config, uint32_t length, size_t batch, unsigned jobs,
                 size_t steps, uint32_t distinct)
{
    struct ms_error err;
    struct ms_rng rng;
    struct ms_net *net = NULL;
    struct ms_optimizer optimizer;
    struct ms_net_result result;
    int32_t *tokens = calloc(batch * length, sizeof *tokens);
    const int32_t **rows = calloc(batch, sizeof *rows);
    uint32_t *lengths = calloc(batch, sizeof *lengths);
    int32_t *labels = calloc(batch, sizeof *labels);
    double *taken = calloc(steps + 1, sizeof *taken), *cpu = calloc(steps + 1, sizeof *cpu);
    int code = 4;
    if (!tokens || !rows || !lengths || !labels || !taken || !cpu)
        goto out;
    ms_rng_init(&rng, 1, 2, 3);
    for (size_t b = 0; b < batch; b++) {
        rows[b] = tokens + b * length;
        lengths[b] = length;
        labels[b] = (int32_t)ms_rng_below(&rng, ms_net_config_classes(config));
        fill(tokens + b * length, length, distinct, &rng);
    }
    const struct ms_net_batch all = {
        .rows = batch, .tokens = rows, .lengths = lengths, .labels = labels};
    ms_optimizer_defaults(MS_OPTIMIZER_RMSPROP, &optimizer);
    if (ms_net_new(config, 7, jobs, &net, &err) != MS_OK ||
        ms_net_set_optimizer(net, &optimizer, &err) != MS_OK)
        goto failed;
    /* The first step, which allocates, is not counted. */
    for (size_t i = 0; i <= steps; i++) {
        double begun = clock_s(CLOCK_MONOTONIC), before = clock_s(CLOCK_PROCESS_CPUTIME_ID);
        if (ms_net_train_batch(net, &all, 1e-3, &result, &err) != MS_OK)
            goto failed;
        taken[i] = clock_s(CLOCK_MONOTONIC) - begun;
        cpu[i] = clock_s(CLOCK_PROCESS_CPUTIME_ID) - before;
    }
    qsort(taken + 1, steps, sizeof *taken, by_value);
    qsort(cpu + 1, steps, sizeof *cpu, by_value);
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"loss\": %.6f}\n", taken[1 + steps / 2],
           cpu[1 + steps / 2], result.loss);
    code = 0;
    goto out;
failed:
    fprintf(stderr, "%s\n", err.text);
out:
    ms_net_free(net);
    free(tokens);
    free(rows);
    free(lengths);
    free(labels);
    free(taken);
    free(cpu);
    return code;
}

int main(int argc, char **argv)
{
    static struct ms_net_config config;
    uint32_t length = 100;
    if (argc != 6)
        return 2;
    if (strcmp(argv[1], "lstm") == 0) {
        lstm_config(&config);
        length = 400;
    } else {
        ms_net_config_article(&config);
    }
    size_t batch = strtoul(argv[2], NULL, 10), steps = strtoul(argv[4], NULL, 10);
    unsigned jobs = (unsigned)strtoul(argv[3], NULL, 10);
    uint32_t distinct = (uint32_t)strtoul(argv[5], NULL, 10);
    if (distinct == 0 || distinct > KNOWN_CALLS)
        distinct = KNOWN_CALLS;
    return batch && steps ? train(&config, length, batch, jobs, steps, distinct) : 2;
}

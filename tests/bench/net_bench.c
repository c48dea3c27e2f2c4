/* Bench driver: rounds of training or prediction of a net over the sequences of a file, and the
 * speed of a large matrix product. Prints the median round's seconds as JSON.
 *
 *     bench_net article|lstm train|predict FILE BATCH JOBS ROUNDS
 *     bench_net article|lstm weights FILE      writes the initial parameters, as floats
 *     bench_net peak                           GFLOP/s of a product of 1024 x 1024 matrices
 *
 * FILE is of 32-bit integers: the number of sequences, then for each its label, its length and its
 * tokens. A round takes all of them in the order of the file, BATCH at a time. The first batch goes
 * before all rounds, once, uncounted: it allocates. */
#include "train/nn/blas.h"
#include "train/nn/net.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_SEQUENCES = 1 << 16, SEED = 7, PEAK_SIZE = 1024, PEAK_RUNS = 9 };

struct data {
    int32_t *held; /* the whole file */
    size_t count, steps;
    const int32_t **tokens;
    uint32_t *lengths;
    int32_t *labels;
};

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

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
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

static int read_data(const char *path, struct data *out)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        return 4;
    const long bytes = ftell(file);
    rewind(file);
    const size_t n = bytes > 0 ? (size_t)bytes / sizeof *out->held : 0;
    out->held = malloc(n * sizeof *out->held + 1);
    const size_t got = out->held ? fread(out->held, sizeof *out->held, n, file) : 0;
    (void)fclose(file);
    if (got != n || n < 1 || out->held[0] < 1 || out->held[0] > MOST_SEQUENCES)
        return 3;
    out->count = (size_t)out->held[0];
    out->tokens = calloc(out->count, sizeof *out->tokens);
    out->lengths = calloc(out->count, sizeof *out->lengths);
    out->labels = calloc(out->count, sizeof *out->labels);
    if (!out->tokens || !out->lengths || !out->labels)
        return 4;
    size_t at = 1;
    for (size_t i = 0; i < out->count; i++) {
        if (n - at < 2 || out->held[at + 1] < 0 || (size_t)out->held[at + 1] > n - at - 2)
            return 3;
        out->labels[i] = out->held[at];
        out->lengths[i] = (uint32_t)out->held[at + 1];
        out->tokens[i] = out->held + at + 2;
        at += 2 + out->lengths[i];
        out->steps += out->lengths[i];
    }
    return 0;
}

static struct ms_net_batch batch_at(const struct data *data, size_t from, size_t most)
{
    const size_t left = data->count - from;
    return (struct ms_net_batch){.rows = left < most ? left : most,
                                 .tokens = data->tokens + from,
                                 .lengths = data->lengths + from,
                                 .labels = data->labels + from};
}

/* A batch; prints its loss. */
static enum ms_status batch_of(struct ms_net *net, const struct data *data, size_t from,
                               size_t batch, const char *separator, ms_real *outputs,
                               struct ms_error *err)
{
    const struct ms_net_batch b = batch_at(data, from, batch);
    struct ms_net_result result = {0, 0, 0};
    const enum ms_status status = outputs ? ms_net_predict(net, &b, outputs, err)
                                          : ms_net_train_batch(net, &b, 1e-3, &result, err);
    printf("%s%.6f", separator, result.loss);
    return status;
}

static int run(struct ms_net *net, const struct data *data, size_t batch, size_t rounds,
               ms_real *outputs)
{
    struct ms_error err;
    double *taken = calloc(rounds, sizeof *taken), *cpu = calloc(rounds, sizeof *cpu);
    if (!taken || !cpu) {
        free(taken);
        free(cpu);
        return 4;
    }
    printf("{\"losses\": [");
    enum ms_status status = batch_of(net, data, 0, batch, "", outputs, &err);
    for (size_t i = 0; i < rounds && status == MS_OK; i++) {
        const double begun = clock_s(CLOCK_MONOTONIC), before = clock_s(CLOCK_PROCESS_CPUTIME_ID);
        for (size_t from = 0; from < data->count && status == MS_OK; from += batch)
            status = batch_of(net, data, from, batch, ", ", outputs, &err);
        taken[i] = clock_s(CLOCK_MONOTONIC) - begun;
        cpu[i] = clock_s(CLOCK_PROCESS_CPUTIME_ID) - before;
    }
    if (status == MS_OK)
        printf("], \"seconds\": %.6f, \"cpu_seconds\": %.6f, \"steps\": %zu}\n",
               median(taken, rounds), median(cpu, rounds), data->steps);
    else
        fprintf(stderr, "%s\n", err.text);
    free(taken);
    free(cpu);
    return status == MS_OK ? 0 : 4;
}

static int with_data(struct ms_net *net, char **words)
{
    struct data data = {0};
    struct ms_error err;
    struct ms_optimizer adam;
    const size_t batch = strtoul(words[1], NULL, 10), rounds = strtoul(words[3], NULL, 10);
    const bool train = strcmp(words[-1], "train") == 0;
    int code = batch && rounds ? read_data(words[0], &data) : 2;
    ms_real *outputs = NULL;
    ms_optimizer_defaults(MS_OPTIMIZER_ADAM, &adam);
    if (code == 0 && train && ms_net_set_optimizer(net, &adam, &err) != MS_OK)
        code = 4;
    if (code == 0 && !train)
        outputs = malloc(batch * ms_net_config_classes(ms_net_config_get(net)) * sizeof *outputs);
    if (code == 0 && !train && !outputs)
        code = 4;
    if (code == 0)
        code = run(net, &data, batch, rounds, outputs);
    free(outputs);
    free(data.held);
    free(data.tokens);
    free(data.lengths);
    free(data.labels);
    return code;
}

static int write_weights(struct ms_net *net, const char *path)
{
    FILE *file = fopen(path, "wb");
    const size_t n = ms_net_param_count(net);
    const bool whole = file && fwrite(ms_net_params(net), sizeof(ms_real), n, file) == n;
    return file && fclose(file) == 0 && whole ? 0 : 4;
}

static int peak(void)
{
    const size_t n = (size_t)PEAK_SIZE * PEAK_SIZE;
    float *a = calloc(n, sizeof *a), *b = calloc(n, sizeof *b), *c = calloc(n, sizeof *c);
    double least = 1e9;
    if (a && b && c) {
        openblas_set_num_threads(1);
        for (size_t i = 0; i < n; i++)
            a[i] = b[i] = (float)(i % 7) / 8;
        for (size_t i = 0; i < PEAK_RUNS; i++) {
            const double before = clock_s(CLOCK_PROCESS_CPUTIME_ID);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, PEAK_SIZE, PEAK_SIZE, PEAK_SIZE,
                        1, a, PEAK_SIZE, b, PEAK_SIZE, 0, c, PEAK_SIZE);
            const double taken = clock_s(CLOCK_PROCESS_CPUTIME_ID) - before;
            least = taken < least ? taken : least;
        }
        printf("{\"gflops\": %.2f}\n", 2e-9 * (double)n * PEAK_SIZE / least);
    }
    free(a);
    free(b);
    free(c);
    return 0;
}

int main(int argc, char **argv)
{
    static struct ms_net_config config;
    struct ms_error err;
    struct ms_net *net = NULL;
    if (argc == 2 && strcmp(argv[1], "peak") == 0)
        return peak();
    ms_openblas_use();
    const bool weights = argc == 4 && strcmp(argv[2], "weights") == 0;
    if (argc != 7 && !weights)
        return 2;
    if (strcmp(argv[1], "lstm") == 0)
        lstm_config(&config);
    else
        ms_net_config_article(&config);
    const unsigned jobs = weights ? 1 : (unsigned)strtoul(argv[5], NULL, 10);
    if (ms_net_new(&config, SEED, jobs, &net, &err) != MS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 4;
    }
    int code = weights ? write_weights(net, argv[3]) : with_data(net, argv + 3);
    ms_net_free(net);
    return code;
}

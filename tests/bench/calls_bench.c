/* Bench driver: reads every call of a corpus back, or one sample's by SQL. A call that was read
 * back is its API's id, and its thread and time where the trace has them, in arrays; the totals are
 * sums over these. Prints seconds and totals as JSON. */
#include "store/analysis.h"
#include "store/query.h"
#include "store/trace/encode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Of a time, for a sum of whole ones overflows. */
enum { TIME_BITS = 0xfffff };

struct totals {
    struct ms_corpus *corpus;
    struct ms_trace_decoder *decoder;
    uint64_t calls, apis, tids, times_us;
};

static double clock_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Four sums a column side by side: what is measured is the reading, not the adding. */
static void add_up(const struct ms_trace_columns *got, struct totals *totals)
{
    const size_t n = got->n, whole = n & ~(size_t)3;
    uint64_t a[4] = {0}, b[4] = {0}, c[4] = {0};
    for (size_t i = 0; i < whole; i += 4)
        for (size_t k = 0; k < 4; k++)
            a[k] += got->api[i + k];
    for (size_t i = 0; got->tid && i < whole; i += 4)
        for (size_t k = 0; k < 4; k++)
            b[k] += got->tid[i + k];
    for (size_t i = 0; got->time_us && i < whole; i += 4)
        for (size_t k = 0; k < 4; k++)
            c[k] += (uint64_t)got->time_us[i + k] & TIME_BITS;
    for (size_t i = whole; i < n; i++) {
        a[0] += got->api[i];
        b[0] += got->tid ? got->tid[i] : 0;
        c[0] += got->time_us ? (uint64_t)got->time_us[i] & TIME_BITS : 0;
    }
    totals->apis += a[0] + a[1] + a[2] + a[3];
    totals->tids += b[0] + b[1] + b[2] + b[3];
    totals->times_us += c[0] + c[1] + c[2] + c[3];
}

static enum ms_status on_process(void *ctx, const struct ms_process_row *process,
                                 struct ms_error *err)
{
    struct totals *totals = ctx;
    struct ms_trace_columns got;
    enum ms_status status = ms_trace_decoder_load(totals->decoder, process->trace, err);
    while (status == MS_OK) {
        status = ms_trace_decoder_block(totals->decoder,
                                        MS_COLUMN_API | MS_COLUMN_TID | MS_COLUMN_TIME, &got, err);
        if (status != MS_OK || !got.n)
            break;
        totals->calls += got.n;
        add_up(&got, totals);
    }
    return status;
}

static enum ms_status on_analysis(void *ctx, int64_t id, struct ms_error *err)
{
    struct totals *totals = ctx;
    return ms_process_foreach(totals->corpus, id, on_process, totals, err);
}

static enum ms_status no_head(void *ctx, const char *const *names, int count, struct ms_error *err)
{
    (void)ctx, (void)names, (void)count, (void)err;
    return MS_OK;
}

static enum ms_status count_row(void *ctx, const struct ms_value *values, int count,
                                struct ms_error *err)
{
    struct totals *totals = ctx;
    (void)count, (void)err;
    totals->calls++;
    totals->apis += values[1].bytes.len;
    return MS_OK;
}

/* One sample's calls through the table `calls`, as a whole query each time: prepared, run, read. */
static enum ms_status query_sample(struct totals *totals, const char *sample, int passes,
                                   double *seconds, double *cpu_s, struct ms_error *err)
{
    const struct ms_query_sink sink = {totals, no_head, count_row};
    char sql[128];
    enum ms_status status = MS_OK;
    snprintf(sql, sizeof sql, "SELECT seq, api FROM calls WHERE sample = %lld", atoll(sample));
    for (int i = -1; i < passes && status == MS_OK; i++) { /* the first opens what stays open */
        double begun = clock_s(CLOCK_MONOTONIC), before = clock_s(CLOCK_PROCESS_CPUTIME_ID);
        totals->calls = totals->apis = 0;
        status = ms_query_run(totals->corpus, sql, 0, &sink, err);
        *seconds += i < 0 ? 0 : clock_s(CLOCK_MONOTONIC) - begun;
        *cpu_s += i < 0 ? 0 : clock_s(CLOCK_PROCESS_CPUTIME_ID) - before;
    }
    *seconds /= passes;
    *cpu_s /= passes;
    return status;
}

/* bench_calls CORPUS [PASSES]: the time is that of all passes, the totals those of one.
 * bench_calls CORPUS PASSES SAMPLE: the time of one query of one sample's calls. */
int main(int argc, char **argv)
{
    struct totals totals = {0};
    struct ms_error err;
    double query_s = 0, query_cpu_s = 0;
    int passes = argc >= 3 ? atoi(argv[2]) : 1;
    if (argc < 2 || argc > 4 || passes < 1)
        return 2;
    double begun = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    enum ms_status status = ms_corpus_open(argv[1], MS_CORPUS_READ, &totals.corpus, &err);
    if (status == MS_OK)
        status = ms_trace_decoder_new(&totals.decoder, &err);
    if (argc == 4 && status == MS_OK)
        status = query_sample(&totals, argv[3], passes, &query_s, &query_cpu_s, &err);
    for (int i = 0; argc < 4 && i < passes && status == MS_OK; i++) {
        totals.calls = totals.apis = totals.tids = totals.times_us = 0;
        status = ms_analysis_foreach(totals.corpus, "ok", NULL, on_analysis, &totals, &err);
    }
    ms_trace_decoder_close(totals.decoder);
    ms_corpus_close(totals.corpus);
    double seconds = argc == 4 ? query_s : clock_s(CLOCK_MONOTONIC) - begun;
    cpu = argc == 4 ? query_cpu_s : clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (status != MS_OK) {
        fprintf(stderr, "%s: %s\n", argv[1], err.text);
        return 4;
    }
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"totals\": [%" PRIu64 ", %" PRIu64
           ", %" PRIu64 ", %" PRIu64 "]}\n",
           seconds, cpu, totals.calls, totals.apis, totals.tids, totals.times_us);
    return 0;
}

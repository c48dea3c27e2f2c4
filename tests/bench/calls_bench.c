/* Bench driver: decodes every call of a corpus and looks at its thread and time. Prints seconds and
 * totals as JSON. */
#include "store/analysis.h"
#include "store/trace/encode.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

struct totals {
    struct ms_corpus *corpus;
    uint64_t calls, tids;
    int64_t times_us;
};

static double clock_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static enum ms_status on_process(void *ctx, const struct ms_process_row *process,
                                 struct ms_error *err)
{
    static struct ms_trace_call calls[4096];
    struct totals *totals = ctx;
    struct ms_trace_decoder *decoder = NULL;
    size_t n = 0;
    enum ms_status status = ms_trace_decoder_open(process->trace, &decoder, err);
    if (status != MS_OK)
        return status;
    while ((status = ms_trace_decoder_next(decoder, calls, sizeof calls / sizeof *calls, &n,
                                           err)) == MS_OK &&
           n > 0) {
        totals->calls += n;
        for (size_t i = 0; i < n; i++) {
            totals->tids += calls[i].tid;
            totals->times_us += calls[i].time_us % 1000000; /* whole times would not fit a sum */
        }
    }
    ms_trace_decoder_close(decoder);
    return status;
}

static enum ms_status on_analysis(void *ctx, int64_t id, struct ms_error *err)
{
    struct totals *totals = ctx;
    return ms_process_foreach(totals->corpus, id, on_process, totals, err);
}

int main(int argc, char **argv)
{
    struct totals totals = {0};
    struct ms_error err;
    if (argc != 2)
        return 2;
    double begun = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    enum ms_status status = ms_corpus_open(argv[1], MS_CORPUS_READ, &totals.corpus, &err);
    if (status == MS_OK)
        status = ms_analysis_foreach(totals.corpus, "ok", NULL, on_analysis, &totals, &err);
    ms_corpus_close(totals.corpus);
    double seconds = clock_s(CLOCK_MONOTONIC) - begun;
    cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (status != MS_OK) {
        fprintf(stderr, "%s: %s\n", argv[1], err.text);
        return 4;
    }
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"totals\": [%" PRIu64 ", %" PRIu64
           ", %" PRId64 "]}\n",
           seconds, cpu, totals.calls, totals.tids, totals.times_us);
    return 0;
}

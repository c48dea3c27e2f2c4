/* Bench driver: a report file through extract/report, with api, thread and time of every call
 * looked at. Prints seconds and totals as JSON; stores nothing. */
#include "extract/report/read.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

struct totals {
    uint64_t calls, tids, api_bytes;
    uint64_t times_us; /* wraps, as the peers' sums do */
};

static double clock_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    ssize_t got = read(*(int *)ctx, buf, cap);
    if (got < 0)
        return ms_error_set(err, MS_E_IO, "cannot read");
    *n = (size_t)got;
    return MS_OK;
}

static enum ms_status on_process(void *ctx, const struct ms_process_info *process,
                                 struct ms_error *err)
{
    (void)ctx;
    (void)process;
    (void)err;
    return MS_OK;
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *call, struct ms_error *err)
{
    struct totals *totals = ctx;
    (void)err;
    totals->calls++;
    totals->tids += call->tid;
    totals->api_bytes += call->api.len;
    totals->times_us += (uint64_t)call->time_us;
    return MS_OK;
}

static enum ms_status on_process_end(void *ctx, struct ms_error *err)
{
    (void)ctx;
    (void)err;
    return MS_OK;
}

static enum ms_status on_info(void *ctx, const struct ms_report_info *info, struct ms_error *err)
{
    (void)ctx;
    (void)info;
    (void)err;
    return MS_OK;
}

int main(int argc, char **argv)
{
    struct totals totals = {0};
    const struct ms_trace_sink sink = {&totals, on_process, on_call, on_process_end, on_info};
    struct ms_report_result result;
    struct ms_error err;
    if (argc != 2)
        return 2;
    double begun = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        perror(argv[1]);
        return 4;
    }
    enum ms_status status =
        ms_report_read(give, &fd, MS_SCAN_CHECK_STRUCTURE, &sink, &result, &err);
    double seconds = clock_s(CLOCK_MONOTONIC) - begun;
    cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    close(fd);
    if (status != MS_OK) {
        fprintf(stderr, "%s: %s\n", argv[1], err.text);
        return 3;
    }
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"totals\": [%" PRIu64 ", %" PRIu64
           ", %" PRIu64 ", %" PRIu64 "]}\n",
           seconds, cpu, totals.calls, totals.tids, totals.api_bytes, totals.times_us);
    return 0;
}

/* Bench driver: a report through extract/report, with api, thread and time of every call looked at.
 * Prints seconds and totals as JSON; stores nothing.
 *
 *     bench_report [--held | --strict] FILE
 *
 * FILE is read as the worker reads it, by blocks (plain, gzip or zstd). --held: the plain file is
 * mapped and its pages are present before the clock starts, as a parser of whole documents has it.
 */
#include "base/stream.h"
#include "extract/report/read.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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
    return ms_stream_read(ctx, buf, cap, n, err);
}

static enum ms_status give_held(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct ms_span *left = ctx;
    (void)err;
    *n = left->len < cap ? left->len : cap;
    memcpy(buf, left->data, *n);
    *left = ms_span_of(left->data + *n, left->len - *n);
    return MS_OK;
}

/* Every page of the file in memory and mapped; an empty span when that fails. */
static struct ms_span hold(int fd)
{
    struct stat state;
    struct ms_span out = {0};
    if (fstat(fd, &state) != 0 || state.st_size <= 0)
        return out;
    void *map = mmap(NULL, (size_t)state.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return out;
    out = ms_span_of(map, (size_t)state.st_size);
    volatile uint8_t sum = 0;
    for (size_t at = 0; at < out.len; at += 4096)
        sum = (uint8_t)(sum + out.data[at]);
    return out;
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

static enum ms_status read_report(int fd, struct ms_span held, enum ms_scanner_check check,
                                  const struct ms_trace_sink *sink, struct ms_error *err)
{
    struct ms_report_result result;
    struct ms_stream *stream = NULL;
    if (held.len)
        return ms_report_read(give_held, &held, check, sink, &result, err);
    enum ms_status status = ms_stream_open(fd, UINT64_MAX, &stream, err);
    if (status != MS_OK)
        return status;
    status = ms_report_read(give, stream, check, sink, &result, err);
    ms_stream_close(stream);
    return status;
}

int main(int argc, char **argv)
{
    struct totals totals = {0};
    const struct ms_trace_sink sink = {&totals, on_process, on_call, on_process_end, on_info, NULL};
    struct ms_error err;
    struct ms_span held = {0};
    bool hold_it = argc == 3 && strcmp(argv[1], "--held") == 0;
    bool strict = argc == 3 && strcmp(argv[1], "--strict") == 0;
    if (argc != 2 && !hold_it && !strict)
        return 2;
    const char *path = argv[argc - 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && hold_it)
        held = hold(fd);
    if (fd < 0 || (hold_it && !held.len)) {
        perror(path);
        return 4;
    }
    double begun = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    enum ms_status status = read_report(
        fd, held, strict ? MS_SCAN_CHECK_GRAMMAR : MS_SCAN_CHECK_STRUCTURE, &sink, &err);
    double seconds = clock_s(CLOCK_MONOTONIC) - begun;
    cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    (void)close(fd);
    if (status != MS_OK) {
        fprintf(stderr, "%s: %s\n", path, err.text);
        return 3;
    }
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"totals\": [%" PRIu64 ", %" PRIu64
           ", %" PRIu64 ", %" PRIu64 "]}\n",
           seconds, cpu, totals.calls, totals.tids, totals.api_bytes, totals.times_us);
    return 0;
}

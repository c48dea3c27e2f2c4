/* A heap of processes by the time of their next call. */
#include "store/trace/normalise_merge.h"

#include <stdlib.h>

enum { BLOCK = 64 };

/* One process: its next call is block[at]. */
struct lane {
    struct ms_trace_decoder *decoder;
    int64_t ord;
    uint64_t entry;  /* of the next call */
    int64_t time_us; /* the latest so far; MS_TIME_NONE, the least of all, before the first */
    size_t at, n;
    struct ms_trace_call block[BLOCK];
};

static void see_time(struct lane *lane)
{
    int64_t time_us = lane->block[lane->at].time_us;
    if (time_us != MS_TIME_NONE && time_us > lane->time_us)
        lane->time_us = time_us;
}

/* n is 0 at the end. */
static enum ms_status refill(struct lane *lane, struct ms_error *err)
{
    lane->at = 0;
    enum ms_status status = ms_trace_decoder_next(lane->decoder, lane->block, BLOCK, &lane->n, err);
    if (status == MS_OK && lane->n)
        see_time(lane);
    return status;
}

/* heap[] holds numbers of lanes; equal times by number, which is the order of the processes. */
static bool before(const struct lane *lanes, uint32_t a, uint32_t b)
{
    return lanes[a].time_us != lanes[b].time_us ? lanes[a].time_us < lanes[b].time_us : a < b;
}

static void sink(const struct lane *lanes, uint32_t *heap, size_t n, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(lanes, heap[child + 1], heap[child]))
            child++;
        if (before(lanes, heap[at], heap[child]))
            return;
        uint32_t lane = heap[at];
        heap[at] = heap[child];
        heap[child] = lane;
    }
}

/* Opens each process and puts those that have calls into the heap. */
static enum ms_status open_lanes(const struct ms_normal_process *processes, size_t count,
                                 struct lane *lanes, uint32_t *heap, size_t *n,
                                 struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < count && status == MS_OK; i++) {
        lanes[i].ord = processes[i].ord;
        lanes[i].time_us = MS_TIME_NONE;
        status = ms_trace_decoder_open(processes[i].trace, &lanes[i].decoder, err);
        if (status == MS_OK)
            status = refill(&lanes[i], err);
        if (status == MS_OK && lanes[i].n)
            heap[(*n)++] = (uint32_t)i;
    }
    for (size_t i = *n / 2; i-- > 0;)
        sink(lanes, heap, *n, i);
    return status;
}

enum ms_status ms_normal_merge(const struct ms_normal_process *processes, size_t count,
                               ms_merge_visit visit, void *ctx, struct ms_error *err)
{
    struct lane *lanes = calloc(count ? count : 1, sizeof *lanes);
    uint32_t *heap = calloc(count ? count : 1, sizeof *heap);
    size_t n = 0;
    enum ms_status status = lanes && heap
                                ? open_lanes(processes, count, lanes, heap, &n, err)
                                : ms_error_set(err, MS_E_NOMEM, "no memory to merge processes");
    while (status == MS_OK && n) {
        struct lane *lane = &lanes[heap[0]];
        status = visit(ctx, lane->ord, lane->entry++, &lane->block[lane->at], err);
        if (status == MS_OK && ++lane->at == lane->n)
            status = refill(lane, err);
        else if (status == MS_OK)
            see_time(lane);
        if (lane->n == 0)
            heap[0] = heap[--n];
        sink(lanes, heap, n, 0);
    }
    for (size_t i = 0; lanes && i < count; i++)
        ms_trace_decoder_close(lanes[i].decoder);
    free(lanes);
    free(heap);
    return status;
}

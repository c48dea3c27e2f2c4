/* Peer of the bench: the same report through yajl's events. Not part of the product. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <yajl/yajl_parse.h>

/* The way to a call: object, behavior {, processes [, {, calls [, {. */
enum { CALL_DEPTH = 6 };
static const bool array_at[CALL_DEPTH] = {false, false, true, false, true, false};
static const char *const key_at[CALL_DEPTH] = {"behavior", "processes", "", "calls", "", ""};
enum field { OTHER, API, TID, TIME };

struct reader {
    size_t depth, match; /* containers open, and how many of them are on the way */
    bool armed;          /* the value that comes next is on the way */
    enum field field;
    uint64_t calls, tids, api_bytes, times_us;
};

static double clock_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int begin(struct reader *r, bool array)
{
    if (r->armed && r->match == r->depth && r->match < CALL_DEPTH && array_at[r->match] == array) {
        r->match++;
        r->calls += r->match == CALL_DEPTH;
    }
    r->depth++;
    r->armed = array && r->match == r->depth;
    r->field = OTHER;
    return 1;
}

static int end(void *ctx)
{
    struct reader *r = ctx;
    if (r->match == r->depth)
        r->match--;
    r->depth--;
    r->armed = r->match == r->depth && r->match > 0 && array_at[r->match - 1];
    r->field = OTHER;
    return 1;
}

static int on_map(void *ctx)
{
    return begin(ctx, false);
}

static int on_array(void *ctx)
{
    return begin(ctx, true);
}

static bool same(const unsigned char *text, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(text, word, n) == 0;
}

static int on_key(void *ctx, const unsigned char *key, size_t n)
{
    struct reader *r = ctx;
    if (r->match != r->depth)
        return 1;
    if (r->depth < CALL_DEPTH)
        r->armed = same(key, n, key_at[r->depth - 1]);
    else
        r->field = same(key, n, "api")    ? API
                   : same(key, n, "tid")  ? TID
                   : same(key, n, "time") ? TIME
                                          : OTHER;
    return 1;
}

static int on_string(void *ctx, const unsigned char *text, size_t n)
{
    struct reader *r = ctx;
    (void)text;
    if (r->match == CALL_DEPTH && r->depth == CALL_DEPTH && r->field == API)
        r->api_bytes += n;
    return 1;
}

static int on_number(void *ctx, const char *text, size_t n)
{
    struct reader *r = ctx;
    if (r->match != CALL_DEPTH || r->depth != CALL_DEPTH || r->field < TID || n > 39)
        return 1;
    char copy[40];
    memcpy(copy, text, n);
    copy[n] = '\0';
    if (r->field == TID)
        r->tids += strtoull(copy, NULL, 10);
    else
        r->times_us += (uint64_t)(int64_t)(strtod(copy, NULL) * 1e6 + .5);
    return 1;
}

int main(int argc, char **argv)
{
    static const yajl_callbacks callbacks = {.yajl_number = on_number,
                                             .yajl_string = on_string,
                                             .yajl_start_map = on_map,
                                             .yajl_map_key = on_key,
                                             .yajl_end_map = end,
                                             .yajl_start_array = on_array,
                                             .yajl_end_array = end};
    struct reader reader = {.armed = true};
    static unsigned char block[256 << 10];
    if (argc != 2)
        return 2;
    double begun = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    yajl_handle yajl = yajl_alloc(&callbacks, NULL, &reader);
    ssize_t got;
    yajl_status status = yajl_status_ok;
    while (status == yajl_status_ok && (got = read(fd, block, sizeof block)) > 0)
        status = yajl_parse(yajl, block, (size_t)got);
    if (status == yajl_status_ok)
        status = yajl_complete_parse(yajl);
    double seconds = clock_s(CLOCK_MONOTONIC) - begun;
    cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    yajl_free(yajl);
    if (status != yajl_status_ok)
        return 3;
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"totals\": [%" PRIu64 ", %" PRIu64
           ", %" PRIu64 ", %" PRIu64 "]}\n",
           seconds, cpu, reader.calls, reader.tids, reader.api_bytes, reader.times_us);
    return 0;
}

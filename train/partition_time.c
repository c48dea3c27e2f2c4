/* What was seen first trains; the rest is judged month by month. */
#include "train/partition_time.h"

#include "base/clock.h"
#include "base/rng.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t PURPOSE_RATIO = 0x726174696f;

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the split by time");
}

static int by_time(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The day from which on rows are judged: the midnight before the row that begins the last
 * test_share of the dated ones. */
static enum ms_status find_date(struct ms_partition *p, const struct ms_dataset *set,
                                const struct ms_partition_request *request, struct ms_error *err)
{
    int64_t *dates = calloc(p->rows + 1, sizeof *dates);
    if (!dates)
        return no_memory(err);
    size_t n = 0;
    for (size_t i = 0; i < p->rows; i++)
        if (set->rows[i].first_seen_ms > 0)
            dates[n++] = set->rows[i].first_seen_ms;
    p->undated = p->rows - n;
    if (n > 1)
        qsort(dates, n, sizeof *dates, by_time);
    p->split_date_ms = request->split_date_ms;
    if (n > 0 && !p->split_date_ms) {
        size_t at = (size_t)((1 - request->test_share) * (double)n);
        p->split_date_ms = ms_clock_day_start(dates[at < n ? at : n - 1]);
    }
    free(dates);
    if (n == 0)
        return ms_error_set(err, MS_E_INPUT,
                            "no trace has a date to split by: 'label' asks VirusTotal when a "
                            "program was first seen");
    return MS_OK;
}

/* Parts by date alone, then by the group's first date; the same in each repeat. */
static enum ms_status deal(struct ms_partition *p, const struct ms_dataset *set,
                           struct ms_error *err)
{
    bool *before = calloc(p->rows + 1, sizeof *before);
    if (!before)
        return no_memory(err);
    for (size_t i = 0; i < p->rows; i++) {
        int64_t seen = set->rows[i].first_seen_ms;
        if (seen > 0 && seen < p->split_date_ms)
            before[p->groups[i]] = true;
    }
    for (size_t i = 0; i < p->rows; i++) {
        int64_t seen = set->rows[i].first_seen_ms;
        bool trains = before[p->groups[i]];
        p->moved += seen >= p->split_date_ms && trains;
        p->part_of[i] = seen <= 0 ? MS_PARTITION_OUT : trains ? MS_SPLIT_TRAIN : MS_SPLIT_TEST;
    }
    free(before);
    return MS_OK;
}

/* The months of the judged rows, each once, rising. */
static enum ms_status list_months(struct ms_partition *p, const struct ms_dataset *set,
                                  struct ms_error *err)
{
    size_t n = 0, months = 0;
    p->windows_ms = calloc(p->rows + 1, sizeof *p->windows_ms);
    if (!p->windows_ms)
        return no_memory(err);
    for (size_t i = 0; i < p->rows; i++)
        if (p->part_of[i] == MS_SPLIT_TEST)
            p->windows_ms[n++] = ms_clock_month_start(set->rows[i].first_seen_ms);
    if (n > 1)
        qsort(p->windows_ms, n, sizeof *p->windows_ms, by_time);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || p->windows_ms[i] != p->windows_ms[months - 1])
            p->windows_ms[months++] = p->windows_ms[i];
    if (months > MS_PARTITION_WINDOWS_MAX)
        return ms_error_set(err, MS_E_INPUT, "the traces to judge span %zu months: at most %d",
                            months, MS_PARTITION_WINDOWS_MAX);
    p->window_count = (uint32_t)months;
    return MS_OK;
}

static void number_rows(struct ms_partition *p, const struct ms_dataset *set)
{
    for (size_t i = 0; i < p->rows; i++) {
        p->window_of[i] = MS_PARTITION_OUT;
        if (p->part_of[i] != MS_SPLIT_TEST)
            continue;
        int64_t start = ms_clock_month_start(set->rows[i].first_seen_ms);
        const int64_t *at =
            bsearch(&start, p->windows_ms, p->window_count, sizeof *p->windows_ms, by_time);
        p->window_of[i] = (uint32_t)(at - p->windows_ms);
    }
}

/* Of two classes, leaves out the months that have only one of them, and closes the gaps. */
static void drop_one_sided(struct ms_partition *p, const struct ms_dataset *set)
{
    bool has[MS_PARTITION_WINDOWS_MAX][2] = {{false}};
    uint32_t number[MS_PARTITION_WINDOWS_MAX], kept = 0;
    for (size_t i = 0; i < p->rows; i++)
        if (p->window_of[i] != MS_PARTITION_OUT)
            has[p->window_of[i]][set->labels[i] != 0] = true;
    for (uint32_t w = 0; w < p->window_count; w++) {
        number[w] = has[w][0] && has[w][1] ? kept : MS_PARTITION_OUT;
        if (number[w] != MS_PARTITION_OUT)
            p->windows_ms[kept++] = p->windows_ms[w];
    }
    p->window_count = kept;
    for (size_t i = 0; i < p->rows; i++) {
        if (p->window_of[i] == MS_PARTITION_OUT)
            continue;
        p->window_of[i] = number[p->window_of[i]];
        if (p->window_of[i] == MS_PARTITION_OUT) {
            p->part_of[i] = MS_PARTITION_OUT;
            p->one_sided++;
        }
    }
}

static enum ms_status make_windows(struct ms_partition *p, const struct ms_dataset *set,
                                   struct ms_error *err)
{
    enum ms_status status = list_months(p, set, err);
    if (status != MS_OK)
        return status;
    p->window_of = calloc(p->rows + 1, sizeof *p->window_of);
    if (!p->window_of)
        return no_memory(err);
    number_rows(p, set);
    if (set->binary)
        drop_one_sided(p, set);
    return MS_OK;
}

/* Leaves so many rows of one class of a month that class 0 has the wanted share; at least one. */
static void thin_window(struct ms_partition *p, const struct ms_dataset *set, uint32_t repeat,
                        uint32_t window, double ratio, uint32_t *rows)
{
    uint32_t *part_of = p->part_of + repeat * p->rows;
    size_t n[2] = {0, 0};
    for (size_t i = 0; i < p->rows; i++)
        if (p->window_of[i] == window)
            n[set->labels[i] != 0]++;
    double have = (double)n[0] / (double)(n[0] + n[1]);
    uint32_t much = have > ratio ? 0 : 1;
    double keep =
        much == 0 ? (double)n[1] * ratio / (1 - ratio) : (double)n[0] * (1 - ratio) / ratio;
    size_t kept = (size_t)fmin(fmax(round(keep), 1), (double)n[much]), found = 0;
    for (size_t i = 0; i < p->rows; i++)
        if (p->window_of[i] == window && (set->labels[i] != 0) == (much != 0))
            rows[found++] = (uint32_t)i;
    struct ms_rng rng;
    ms_rng_init(&rng, p->seeds[repeat], PURPOSE_RATIO, window);
    ms_rng_shuffle(&rng, rows, found);
    for (size_t i = kept; i < found; i++) {
        part_of[rows[i]] = MS_PARTITION_OUT;
        p->thinned += repeat == 0;
    }
}

static enum ms_status thin(struct ms_partition *p, const struct ms_dataset *set, double ratio,
                           struct ms_error *err)
{
    if (!set->binary)
        return ms_error_set(err, MS_E_INPUT,
                            "--test-ratio needs two classes: --target malware or class=NAME");
    uint32_t *rows = calloc(p->rows + 1, sizeof *rows);
    if (!rows)
        return no_memory(err);
    for (uint32_t r = 0; r < p->repeats; r++)
        for (uint32_t w = 0; w < p->window_count; w++)
            thin_window(p, set, r, w, ratio, rows);
    for (size_t i = 0; i < p->rows; i++) {
        bool judged = false;
        for (uint32_t r = 0; r < p->repeats; r++)
            judged = judged || p->part_of[r * p->rows + i] == MS_SPLIT_TEST;
        if (!judged)
            p->window_of[i] = MS_PARTITION_OUT;
    }
    free(rows);
    return MS_OK;
}

enum ms_status ms_partition_by_time(struct ms_partition *p, const struct ms_dataset *set,
                                    const struct ms_partition_request *request,
                                    struct ms_error *err)
{
    char day[32];
    if (request->folds)
        return ms_error_set(err, MS_E_INPUT, "a split by time has no --folds");
    enum ms_status status = find_date(p, set, request, err);
    if (status == MS_OK)
        status = deal(p, set, err);
    if (status == MS_OK)
        status = make_windows(p, set, err);
    if (status != MS_OK)
        return status;
    ms_clock_format(p->split_date_ms, day);
    size_t train = 0;
    for (size_t i = 0; i < p->rows; i++)
        train += p->part_of[i] == MS_SPLIT_TRAIN;
    if (train == 0 || p->window_count == 0)
        return ms_error_set(err, MS_E_INPUT,
                            "split at %.10s: %zu traces to train, and %s to judge (%" PRIu64
                            " without a date, %" PRIu64
                            " in months with one class alone); try another --split-date",
                            day, train, p->window_count ? "some" : "none", p->undated,
                            p->one_sided);
    for (uint32_t r = 1; r < p->repeats; r++)
        memcpy(p->part_of + r * p->rows, p->part_of, p->rows * sizeof *p->part_of);
    return request->test_ratio > 0 ? thin(p, set, request->test_ratio, err) : MS_OK;
}

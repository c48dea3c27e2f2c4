/* Confusion counts by window, and the area under what comes of them. */
#include "train/windows.h"

#include <math.h>
#include <stdlib.h>

double ms_aut(const double *values, size_t n)
{
    double area = 0, last = 0;
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(values[i]))
            continue;
        if (used++ > 0)
            area += (last + values[i]) / 2;
        last = values[i];
    }
    return used > 1 ? area / (double)(used - 1) : NAN;
}

/* hits, given, true: C each. */
static double f1_of(const uint64_t *hit, const uint64_t *given, const uint64_t *real,
                    uint32_t classes)
{
    double sum = 0;
    uint32_t used = 0;
    if (classes == 2)
        return given[0] + real[0] ? 2 * (double)hit[0] / (double)(given[0] + real[0]) : 0;
    for (uint32_t c = 0; c < classes; c++)
        if (given[c] + real[c] > 0) {
            sum += 2 * (double)hit[c] / (double)(given[c] + real[c]);
            used++;
        }
    return sum / used;
}

enum ms_status ms_windows_make(const struct ms_judged *judged, const uint32_t *window_of,
                               uint32_t count, struct ms_window *out, double *aut,
                               struct ms_error *err)
{
    size_t classes = judged->classes;
    uint64_t *counts = calloc((size_t)count * classes * 3 + 1, sizeof *counts);
    double *f1 = calloc((size_t)count + 1, sizeof *f1);
    if (!counts || !f1) {
        free(counts);
        free(f1);
        return ms_error_set(err, MS_E_NOMEM, "out of memory for %u months", count);
    }
    for (size_t i = 0; i < judged->rows; i++) {
        if (window_of[i] >= count)
            continue;
        uint64_t *at = counts + window_of[i] * classes * 3;
        at[judged->truth[i]] += judged->truth[i] == judged->predicted[i];
        at[classes + judged->predicted[i]]++;
        at[classes * 2 + judged->truth[i]]++;
    }
    for (uint32_t w = 0; w < count; w++) {
        const uint64_t *at = counts + w * classes * 3;
        uint64_t right = 0;
        out[w] = (struct ms_window){.positive = at[classes * 2]};
        for (size_t c = 0; c < classes; c++) {
            right += at[c];
            out[w].rows += at[classes * 2 + c];
        }
        out[w].accuracy = out[w].rows ? (double)right / (double)out[w].rows : NAN;
        out[w].f1 = f1[w] =
            out[w].rows ? f1_of(at, at + classes, at + classes * 2, judged->classes) : NAN;
    }
    *aut = ms_aut(f1, count);
    free(counts);
    free(f1);
    return MS_OK;
}

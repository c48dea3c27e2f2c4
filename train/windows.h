/* How a model does month by month, of a split by time. Pure. */
#ifndef MS_TRAIN_WINDOWS_H
#define MS_TRAIN_WINDOWS_H

#include "train/metrics.h"

struct ms_window {
    uint64_t rows, positive; /* positive: rows whose class is 0 */
    double accuracy;         /* NAN without rows, as f1 */
    double f1;               /* C = 2: of class 0; else macro-F1 */
};

/* Fills `count` windows; window_of is N numbers of them, any other number is in none. *aut: the
 * area under F1 over the windows, 1/(n-1) times the sum of the trapezoids between neighbours
 * (TESSERACT, USENIX Security 2019, equation 1), windows without rows left out; NAN of fewer than
 * two. MS_E_NOMEM. */
enum ms_status ms_windows_make(const struct ms_judged *judged, const uint32_t *window_of,
                               uint32_t count, struct ms_window *out, double *aut,
                               struct ms_error *err) MS_MUST_USE;

/* The area by itself: of n values, those that are NAN left out. */
double ms_aut(const double *values, size_t n);

#endif

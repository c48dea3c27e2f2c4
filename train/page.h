/* The pieces of the report page, each one or more <section>. Used by train/page*.c alone. */
#ifndef MS_TRAIN_PAGE_H
#define MS_TRAIN_PAGE_H

#include "base/buf.h"
#include "base/page.h"
#include "train/outcome.h"

/* Classes up to which a page has a matrix, and a curve each; of more metrics.json has them. */
enum { MS_PAGE_MATRIX_CLASSES = 60, MS_PAGE_CURVE_CLASSES = 12 };

/* <td> with a figure and, small under it, its range. */
void ms_page_ranged(struct ms_buf *out, double x, struct ms_range range);
/* The same of a signed difference. */
void ms_page_difference(struct ms_buf *out, const struct ms_difference *d);
void ms_page_class(const struct ms_outcome *o, uint32_t class_, struct ms_buf *out);

/* In the order of the page; they set out->failed when memory ends. */
void ms_page_entries(const struct ms_outcome *o, struct ms_buf *out);
void ms_page_repeats(const struct ms_outcome *o, struct ms_buf *out);
void ms_page_learning(const struct ms_outcome *o, struct ms_buf *out);
void ms_page_matrix(const struct ms_outcome *o, struct ms_buf *out);
void ms_page_rates(const struct ms_outcome *o, struct ms_buf *out);
void ms_page_ranking(const struct ms_outcome *o, struct ms_buf *out);
void ms_page_calibration(const struct ms_outcome *o, struct ms_buf *out);
void ms_page_thresholds(const struct ms_outcome *o, struct ms_buf *out);
void ms_page_errors(const struct ms_outcome *o, struct ms_buf *out);
void ms_page_data(const struct ms_outcome *o, struct ms_buf *out);
void ms_page_split(const struct ms_outcome *o, struct ms_buf *out);
void ms_page_provenance(const struct ms_outcome *o, struct ms_buf *out);

#endif

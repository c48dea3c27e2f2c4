/* Line charts as inline SVG. Draws; computes nothing of what it shows. */
#ifndef MS_BASE_CHART_H
#define MS_BASE_CHART_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* Points in drawing order; y NAN leaves a gap. name must be plain text of ours (it is escaped all
 * the same). style: the CSS class of the line, "a" to "e". dots:
 * a mark at each point. */
struct ms_chart_series {
    const char *name, *style;
    const double *x, *y;
    size_t count;
    bool dots;
};

struct ms_chart {
    const char *title, *x_label, *y_label;
    double x_min, x_max, y_min, y_max;
    bool x_whole;           /* ticks at whole numbers only */
    double level;           /* a dashed horizontal line; NAN: none */
    const char *level_name; /* NULL: none */
    bool diagonal;          /* a dashed line from corner to corner */
    const struct ms_chart_series *series;
    size_t series_count;
};

/* Appends the names of the series as a line of HTML, each behind a piece of its line: for one chart
 * or several. */
void ms_chart_legend(const struct ms_chart_series *series, size_t count, struct ms_buf *out);

/* Appends one <svg>; look at out->failed afterwards. */
void ms_chart_draw(const struct ms_chart *self, struct ms_buf *out);

/* Appends text as HTML: & < > " ' as references, controls, bidi marks and bad UTF-8 as backslash
 * escapes. */
void ms_html_text(const char *text, struct ms_buf *out);

#endif

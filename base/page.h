/* HTML pages that are one file each: no script, nothing loaded, a style for light and dark. The
 * parts of a page are its writer's business; drawings and escaping are base/chart.h's. */
#ifndef MS_BASE_PAGE_H
#define MS_BASE_PAGE_H

#include "base/buf.h"

/* Appends the document's start up to and with the style: <title>, </head>, <body><main> and what
 * ends them follow. Its classes: cards/card, scroll, wide, facts, two, side, small, warn, note,
 * legend/key, and those of base/chart.h. Look at out->failed afterwards. */
void ms_page_head(struct ms_buf *out);
/* Ours: as it is. */
void ms_page_put(struct ms_buf *out, const char *text);
/* Three digits; a dash for NAN. */
void ms_page_real(struct ms_buf *out, double x);

#endif

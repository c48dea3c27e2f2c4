/* Cells of comma-separated values. Knows no table. */
#ifndef MS_MALSEQ_CSV_H
#define MS_MALSEQ_CSV_H

#include "base/buf.h"
#include "base/span.h"

/* Appends text as one quoted cell: control and direction characters escaped, and an apostrophe in
 * front of what a spreadsheet would run as a formula. The buffer's `failed` says when it did not
 * fit. */
void malseq_csv_text(struct ms_buf *out, struct ms_span text);

#endif

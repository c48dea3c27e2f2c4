/* What the files of malseq export share: the flat columns of static features. */
#ifndef MS_MALSEQ_EXPORT_H
#define MS_MALSEQ_EXPORT_H

#include "base/buf.h"
#include "base/scan.h"

/* Appends the names of the columns, each with a comma in front. */
void malseq_columns_head(struct ms_buf *out);
/* Appends their cells for the features of one sample (JSON, features.schema.json; data NULL: all
 * empty), each with a comma in front. `scanner`: one of ms_scanner_new_memory. MS_REJECT when the
 * features are no JSON: the cells are empty then. */
enum ms_status malseq_columns_row(struct ms_scanner *scanner, struct ms_span features,
                                  struct ms_buf *out, struct ms_error *err) MS_MUST_USE;

#endif

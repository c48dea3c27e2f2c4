/* The worker's jobs that read tables: a row of calls a sample, and lists of labels. */
#ifndef MS_EXTRACT_DATASET_TABLE_H
#define MS_EXTRACT_DATASET_TABLE_H

#include "base/worker.h"

/* A table that holds the calls itself, plain, gzip or zstd: of each row the calls as one process,
 * then a ROW frame (extract/dataset_row.h) with key and label; a row that is not as published has
 * the reason in it. MS_E_INPUT when the first line is not that of the table. The argument names it:
 *   "malbehavd"  sha256, labels, then any number of API names, empty fields passed over
 *   "oliveira"   hash (MD5), t_0 to t_99 (numbers of APIs), malware
 * Memory does not depend on the length of a line. */
enum ms_status ms_dataset_table_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                    struct ms_error *err) MS_MUST_USE;

/* A table of labels, in ROW frames without calls; a row that is not as published has the reason.
 * Columns are found by their names, others are passed over. MS_E_INPUT when one is missing.
 *   "avast-ctu"  sha256, classification_family (label), classification_type (second), date
 *   "big-2015"   Id, Class (label) */
enum ms_status ms_dataset_labels_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                     struct ms_error *err) MS_MUST_USE;
/* The same from a source of plain bytes: the next up to cap, *n = 0 at the end. */
typedef enum ms_status (*ms_dataset_source)(void *ctx, void *buf, size_t cap, size_t *n,
                                            struct ms_error *err);
enum ms_status ms_dataset_labels_read(ms_dataset_source source, void *ctx, struct ms_span dataset,
                                      struct ms_worker_out *out, struct ms_error *err) MS_MUST_USE;

#endif

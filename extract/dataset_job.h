/* The worker's jobs that read Mal-API-2019: text in, rows of calls out. */
#ifndef MS_EXTRACT_DATASET_JOB_H
#define MS_EXTRACT_DATASET_JOB_H

#include "base/worker.h"

/* Calls of one line as one process (API, TRACE and PROCESS frames), then a ROW frame
 * (extract/dataset_row.h) without key and label. The argument says the form:
 *   "zip"   the published archive: reads its member all_analysis_data.txt
 *   "text"  that text itself (plain, gzip or zstd)
 * Names are cut at MS_LIMIT_API_NAME_BYTES; memory does not depend on the length of a line. */
enum ms_status ms_dataset_rows_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                   struct ms_error *err) MS_MUST_USE;
void ms_dataset_prepare(void);

/* Lines of a text file, one ROW frame each with the line as label (cut at 256 bytes). */
enum ms_status ms_dataset_classes_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                      struct ms_error *err) MS_MUST_USE;

#endif

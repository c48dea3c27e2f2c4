/* The worker's job that reads one report: any bytes in, frames out (extract/trace_frames.h). */
#ifndef MS_EXTRACT_REPORT_JOB_H
#define MS_EXTRACT_REPORT_JOB_H

#include "base/worker.h"

/* Reads input_fd, which may be plain, gzip or zstd, to its end; sends the plain bytes as PLAIN
 * frames when the argument has a `v` (for the vault), the traces, and a RESULT. An `s` in it:
 * strict, the grammar of the whole document is checked. A bad report is a RESULT too: the job fails
 * only when the input cannot be read (MS_E_IO) or memory ends. */
enum ms_status ms_report_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                             struct ms_error *err) MS_MUST_USE;

#endif

/* The worker's jobs that read reports: any bytes in, frames out (extract/trace_frames.h). */
#ifndef MS_EXTRACT_REPORT_JOB_H
#define MS_EXTRACT_REPORT_JOB_H

#include "base/scan.h"
#include "base/worker.h"

/* Letters of the argument of the first two jobs. */
#define MS_REPORT_PLAIN 'v'   /* send the plain bytes as PLAIN frames (for the vault) */
#define MS_REPORT_STRICT 's'  /* check the grammar of the whole document */
#define MS_REPORT_DIGEST 'h'  /* send their SHA-256 as a DIGEST frame, before the RESULT */
#define MS_REPORT_NO_JSON 'j' /* JSON of something else need not be read to its end … */
#define MS_REPORT_NO_TEXT 't' /* … and nor need what is no JSON */
#define MS_REPORT_FED 'f'     /* input_fd is fed by ms_plain_job (base/worker.h) */

/* The feeder of ms_report_job: sends the plain bytes of a compressed input_fd. */
enum ms_status ms_plain_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                            struct ms_error *err) MS_MUST_USE;

/* Reads input_fd, which may be plain, gzip or zstd, to its end; sends the traces, or TURNS frames
 * of which ms_turns_job makes them, and a RESULT. A bad report is a RESULT too: the job fails only
 * when the input cannot be read (MS_E_IO) or memory ends. An archive is an ARCHIVE frame in place
 * of all else; behind it come its bytes as PLAIN frames when input_fd cannot be read a second time.
 */
enum ms_status ms_report_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                             struct ms_error *err) MS_MUST_USE;

/* Opens the archive in input_fd (seekable), nested ones too, with the password "infected" where one
 * is needed. Each member that may be a report gives a MEMBER frame (its chain of names) and the
 * frames of ms_report_job; what cannot be opened, a FAULT frame (chain and reason). A large member
 * is read as it comes, and its checks are made behind that: a VOID frame then says that the member
 * that was begun last has failed them. */
enum ms_status ms_archive_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                              struct ms_error *err) MS_MUST_USE;

/* Reads the calls that a report's reading put aside, which the parent keeps in input_fd
 * (extract/report/turns.h): the frames of traces alone. */
enum ms_status ms_turns_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                            struct ms_error *err) MS_MUST_USE;

/* Reads what lies beside a report (extract/report/metadata.h): an INFO frame. */
enum ms_status ms_metadata_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                               struct ms_error *err) MS_MUST_USE;

/* Before confinement. */
void ms_report_prepare(void);
void ms_archive_prepare(void);

/* One report of a seekable or other file; for the jobs alone. `archives`: look for them. */
enum ms_status ms_report_send(int fd, struct ms_span arg, bool archives, struct ms_worker_out *out,
                              struct ms_error *err) MS_MUST_USE;
/* The same of plain bytes as they come. */
enum ms_status ms_report_send_pulled(ms_scanner_source pull, void *ctx, struct ms_span arg,
                                     struct ms_worker_out *out, struct ms_error *err) MS_MUST_USE;

#endif

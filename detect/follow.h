/* `detect --follow`: a verdict on a log while it is being written. */
#ifndef MS_DETECT_FOLLOW_H
#define MS_DETECT_FOLLOW_H

#include "base/cli.h"
#include "base/worker.h"
#include "detect/follow_job.h"
#include "detect/judge.h"

/* Prints a line when the verdict changes, when the score has moved by MS_FOLLOW_STEP, and after
 * every N calls where that was asked for; and one that is final for each log, of which a file that
 * is cut or replaced has several. MS_REJECT when a final verdict was malicious; MS_E_USAGE,
 * MS_E_INPUT, MS_E_IO. */
#define MS_FOLLOW_STEP 0.1
enum ms_status ms_detect_follow(const struct ms_cli *cli, struct ms_worker *worker,
                                struct ms_judge *judge, struct ms_error *err) MS_MUST_USE;

#endif

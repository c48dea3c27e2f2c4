/* The reading of a log that is still being written: what goes into the confined worker and what it
 * answers. Shared by the job and by detect/follow.c alone. */
#ifndef MS_DETECT_FOLLOW_JOB_H
#define MS_DETECT_FOLLOW_JOB_H

#include "detect/reader_frames.h"

/* The job for ms_worker_start. Its argument is the normalisation's canonical text, a line end, and
 * the number of new calls after which it answers (0: as it thinks fit). Its input is a row of
 * commands: a byte, the length of what follows (4 bytes, lowest first), and that. Each answer is
 * the frames of one report: the log as far as it was read. */
extern const struct ms_worker_kind ms_detect_follow_kind;

enum ms_follow_command {
    MS_FOLLOW_BYTES = 'B', /* of the log; at most MS_FOLLOW_BLOCK_BYTES */
    MS_FOLLOW_ASK = 'A',   /* answer, if there were calls since the last answer */
    MS_FOLLOW_END = 'E'    /* the log is at its end: answer with FINAL; what follows is another */
};
enum { MS_FOLLOW_BLOCK_BYTES = 64 << 10 };

#endif

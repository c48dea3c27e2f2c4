/* What the reading worker says to detect, in frames. Shared by the two halves of the reader alone
 * (and by what puts the frames of a corpus's traces together).
 *
 * A report is [MEMBER] NAMES* CALLS* LENGTHS* COUNTS* PROCESSES* ORIGINS* GRAMS* RESULT; those of
 * an archive come one after another. Numbers are varints. */
#ifndef MS_DETECT_READER_FRAMES_H
#define MS_DETECT_READER_FRAMES_H

#include "detect/reader.h"

enum ms_reader_frame {
    MS_READER_MEMBER = 1, /* where in the archive the report lies: names with '!' between */
    MS_READER_NAMES,      /* names, each with its length in front */
    MS_READER_CALLS,      /* numbers of names in the order they were sent */
    MS_READER_PROCESSES,  /* pid, length of the name, name */
    MS_READER_ORIGINS, /* for each call: number of its process in the order they were sent, and of
                          its entry in it */
    MS_READER_LENGTHS, /* for each call: the length of its run */
    MS_READER_COUNTS,  /* for each call: how many runs it has */
    MS_READER_GRAMS,   /* for each n-gram: its length (0: there were more), and the numbers of its
                          names */
    MS_READER_FINAL,   /* of a log that is followed: the RESULT to come is its last; no bytes */
    MS_READER_RESULT   /* state, foreign, length of the whole trace; the reason to the end */
};

/* Takes one frame, which may say anything: MS_REJECT when it cannot belong to an answer; on RESULT
 * `complete` is set and the trace can be used. `view` bounds the calls. MS_E_NOMEM. */
enum ms_status ms_read_trace_take(struct ms_read_trace *self, const struct ms_normal_options *view,
                                  uint32_t type, struct ms_span bytes,
                                  struct ms_error *err) MS_MUST_USE;
/* Forgets the report, keeps the memory. */
void ms_read_trace_reset(struct ms_read_trace *self);

#endif

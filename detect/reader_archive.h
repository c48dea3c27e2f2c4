/* A report that lies in an archive. For the reading worker alone. */
#ifndef MS_DETECT_READER_ARCHIVE_H
#define MS_DETECT_READER_ARCHIVE_H

#include "base/error.h"
#include "base/stream.h"

#include <stdbool.h>

/* Reads a member (positioned at 0; borrowed): *is_report says whether there was one in it, whole or
 * not. Not MS_OK: the walk ends. */
typedef enum ms_status (*ms_archive_member)(void *ctx, int fd, bool *is_report,
                                            struct ms_error *err);

/* Visits the members, nested ones too, of the archive that is `stream`, just opened over fd; the
 * password is "infected" where one is needed. MS_REJECT when there is not exactly one report in it,
 * with the reason, which is the first thing that could not be opened when there is none; *faults:
 * how many could not. */
enum ms_status ms_reader_archive(struct ms_stream *stream, int fd, ms_archive_member visit,
                                 void *ctx, unsigned *faults, struct ms_error *err) MS_MUST_USE;

#endif

/* Reports that lie in an archive. For the reading worker alone. */
#ifndef MS_DETECT_READER_ARCHIVE_H
#define MS_DETECT_READER_ARCHIVE_H

#include "base/error.h"
#include "base/span.h"
#include "base/stream.h"

#include <stdbool.h>

/* Reads a member (positioned at 0; borrowed; `chain` as in base/unpack.h): *is_report says whether
 * there was one in it, whole or not. Not MS_OK: the walk ends. */
typedef enum ms_status (*ms_archive_member)(void *ctx, int fd, struct ms_span chain,
                                            bool *is_report, struct ms_error *err);

struct ms_archive_seen {
    unsigned reports;
    unsigned faults; /* members and containers that could not be opened */
};

/* Visits the members, nested ones too, of the archive that is `stream`, just opened over fd; the
 * password is "infected" where one is needed. MS_REJECT when there is no report in it or something
 * could not be opened, with the first such thing as the reason. */
enum ms_status ms_reader_archive(struct ms_stream *stream, int fd, ms_archive_member visit,
                                 void *ctx, struct ms_archive_seen *seen,
                                 struct ms_error *err) MS_MUST_USE;

#endif

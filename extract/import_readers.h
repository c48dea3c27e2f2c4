/* Several reports read at once and handed out one by one in the order given. It stores nothing in
 * the database. */
#ifndef MS_EXTRACT_IMPORT_READERS_H
#define MS_EXTRACT_IMPORT_READERS_H

#include "extract/import_list.h"
#include "extract/ingest.h"

#include <stddef.h>

/* A file that was read, or could not be. */
struct ms_read_report {
    const struct ms_import_item *item;
    int open_errnum; /* the file could not be opened */
    int archive_fd;  /* it is an archive, and this holds it; else -1 */
    enum ms_status status;
    struct ms_error error;    /* when status is not MS_OK */
    struct ms_intake *intake; /* when it is */
};

struct ms_import_readers;

/* Starts `jobs` threads on the items, at most `jobs` reports ahead of next. With one job no thread
 * is made and next does the work. The list is borrowed. */
enum ms_status ms_import_readers_start(const struct ms_ingest *ingest,
                                       const struct ms_import_list *list, size_t jobs,
                                       struct ms_import_readers **out,
                                       struct ms_error *err) MS_MUST_USE;
/* The next report, in the order of the list; NULL after the last. What was handed out before is
 * released. */
struct ms_read_report *ms_import_readers_next(struct ms_import_readers *self);
/* Waits for what is being read, and throws it away. */
void ms_import_readers_stop(struct ms_import_readers *self);

#endif

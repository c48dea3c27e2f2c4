/* Report files read ahead of the one who stores them: the confined worker splits and reads, threads
 * digest, compress and judge, and records come out one by one in the order of the input. It writes
 * nothing. */
#ifndef MS_LABEL_IMPORT_FEED_H
#define MS_LABEL_IMPORT_FEED_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/worker.h"
#include "label/derive.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ms_import_item_kind {
    MS_ITEM_RECORD, /* see status */
    MS_ITEM_REJECT, /* a piece of the input that is no report: why */
    MS_ITEM_FILE,   /* a file is at its end; why: what ended it early, "" nothing */
    MS_ITEM_PATH    /* a file that could not be read: why, and errnum unless 0 */
};

struct ms_import_item {
    enum ms_import_item_kind kind;
    const char *path; /* "-" is standard input; borrowed from the feed */
    uint64_t line, byte;
    int errnum;
    char why[MS_ERROR_TEXT_BYTES];
    /* Of a record. MS_OK: all below is set. MS_REJECT: why says why. */
    enum ms_status status;
    uint64_t body_bytes;
    uint8_t sha256[32]; /* of the body */
    bool known;         /* a scan with these bytes was in the corpus: not compressed, not judged */
    struct ms_buf packed; /* a zstd frame, unless known */
    enum ms_record_format format;
    bool absent; /* v2: the service does not know the file, or has not looked at it yet: queued */
    bool queued;
    struct ms_vt_report report; /* until it is judged: ms_import_item_report finds it */
    bool has_report;
    struct ms_judged judged; /* of a report that is not known; without its engines and ballots */
    char category[MS_LIMIT_ENGINE_TEXT_BYTES + 1]; /* judged.report's */
    bool has_judged;
};

/* The report of a record, judged or not. */
const struct ms_vt_report *ms_import_item_report(const struct ms_import_item *self);
/* Compresses and judges a record that was taken to be known and is not. */
struct ms_import_feed;
enum ms_status ms_import_feed_finish(struct ms_import_feed *self, struct ms_import_item *item,
                                     struct ms_error *err) MS_MUST_USE;

struct ms_import_options {
    struct ms_worker *worker;
    const struct ms_deriver *rules; /* each thread gets a copy */
    const char *corpus; /* folder in which to look for known bodies; NULL: none are known */
    size_t jobs;        /* threads, at least 1 */
};

/* paths and options are borrowed. Files are read one after the other. */
enum ms_status ms_import_feed_start(const struct ms_import_options *options,
                                    const char *const *paths, size_t count,
                                    struct ms_import_feed **out, struct ms_error *err) MS_MUST_USE;
/* The next item, or NULL at the end; it is the feed's until the next call. What stops the run
 * (memory, the worker gone, a damaged corpus) is returned. */
enum ms_status ms_import_feed_next(struct ms_import_feed *self, struct ms_import_item **out,
                                   struct ms_error *err) MS_MUST_USE;
/* Ends the reading, finished or not. */
void ms_import_feed_stop(struct ms_import_feed *self);
/* Raw bytes of the files that are read so far, about. */
uint64_t ms_import_feed_bytes(struct ms_import_feed *self);

#endif

/* Records into the corpus: sample, scan, label and look-up of one report, in the transaction that
 * is open. Prints nothing. */
#ifndef MS_LABEL_IMPORT_PUT_H
#define MS_LABEL_IMPORT_PUT_H

#include "label/import_feed.h"

enum ms_import_result {
    MS_IMPORTED,         /* stored */
    MS_IMPORT_KNOWN,     /* this body of this sample was there: nothing was changed, but that it may
                            make two samples one */
    MS_IMPORT_OLDER,     /* stored; what is known is newer, and stays the label */
    MS_IMPORT_ABSENT,    /* the service did not know the file, or had not yet looked at it */
    MS_IMPORT_FORGOTTEN, /* the sample was removed for good and stays out */
    MS_IMPORT_REJECTED,
    MS_IMPORT_RESULTS
};
/* "imported" … "rejected". */
const char *ms_import_result_name(enum ms_import_result result);

struct ms_import_put {
    struct ms_corpus *corpus;
    struct ms_deriver *deriver; /* its corpus and run are these */
    struct ms_import_feed *feed;
    int64_t run;
    int64_t *waiting; /* samples with several scans, whose labels wait for ms_import_put_settle */
    size_t waiting_count, waiting_cap;
};

/* item: a record with status MS_OK. *sample 0 unless there is one. MS_IMPORT_REJECTED: the reason
 * is in item->why. */
enum ms_status ms_import_put_record(struct ms_import_put *self, struct ms_import_item *item,
                                    enum ms_import_result *result, int64_t *sample,
                                    struct ms_error *err) MS_MUST_USE;

/* Derives the labels that wait, each once: reading all scans of a sample again after each of many
 * records on it would take the square of their number. Before the transaction ends. */
enum ms_status ms_import_put_settle(struct ms_import_put *self, struct ms_error *err) MS_MUST_USE;
void ms_import_put_release(struct ms_import_put *self);

/* The strongest hash of a record in hexadecimal. */
const char *ms_import_hash(const struct ms_vt_report *report);

#endif

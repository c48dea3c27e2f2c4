/* One record on its way from the confined reader to the corpus: its bytes fetched, digested,
 * compressed, judged. Private to label/import_feed.c. */
#ifndef MS_LABEL_IMPORT_ITEM_H
#define MS_LABEL_IMPORT_ITEM_H

#include "label/import_feed.h"

/* An open file that records are read from again; closed with the last that needs it. */
struct ms_import_source {
    int fd;
    uint64_t start; /* where our part of it begins */
    bool plain;     /* known to be neither compressed nor a pipe */
    int users;
};
/* Takes fd over, on success alone. */
enum ms_status ms_import_source_new(int fd, struct ms_import_source **out,
                                    struct ms_error *err) MS_MUST_USE;
/* A new file in memory. */
enum ms_status ms_import_source_memory(struct ms_import_source **out,
                                       struct ms_error *err) MS_MUST_USE;
struct ms_import_source *ms_import_source_share(struct ms_import_source *self);
void ms_import_source_drop(struct ms_import_source *self); /* NULL too */

struct ms_import_work {
    struct ms_import_item item;
    struct ms_import_source *source; /* NULL: the bytes are in body */
    uint64_t at;                     /* in the source, behind its start */
    uint64_t sum;                    /* ms_import_sum of the bytes, as the reader saw them */
    struct ms_buf body, wire;        /* wire: the frame of ms_vt_report_decode */
};
void ms_import_work_init(struct ms_import_work *self);
/* Forgets the record and keeps memory of ordinary size. */
void ms_import_work_clear(struct ms_import_work *self);
void ms_import_work_release(struct ms_import_work *self);

/* What a thread works with. */
struct ms_import_desk;
enum ms_status ms_import_desk_new(const struct ms_deriver *rules, const char *corpus,
                                  struct ms_import_desk **out, struct ms_error *err) MS_MUST_USE;
void ms_import_desk_free(struct ms_import_desk *self);

/* Fills in the item; a bad record is MS_OK with item.status MS_REJECT. */
enum ms_status ms_import_work_do(struct ms_import_work *self, struct ms_import_desk *desk,
                                 struct ms_error *err) MS_MUST_USE;
/* Compresses and judges what `do` took for known. */
enum ms_status ms_import_work_finish(struct ms_import_work *self, struct ms_import_desk *desk,
                                     struct ms_error *err) MS_MUST_USE;

#endif

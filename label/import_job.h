/* The confined reading of report files: which parts of which input are asked for, and the frames
 * that come back. Stores nothing. */
#ifndef MS_LABEL_IMPORT_JOB_H
#define MS_LABEL_IMPORT_JOB_H

#include "base/buf.h"
#include "base/worker.h"
#include "label/split.h"

#include <stddef.h>
#include <stdint.h>

/* Splits the input into records and reads each. */
extern const struct ms_worker_kind ms_import_kind;

/* What a job is to do. The input is one file, or several one behind the other, from where its
 * descriptor stands. Pieces are counted from 0 in each part, as the splitter hands them out. */
struct ms_import_ask {
    const uint64_t *lengths;     /* raw bytes of each part; NULL: one part, to the input's end */
    size_t part_count;           /* at least 1 */
    size_t first_part;           /* the descriptor stands at its beginning */
    struct ms_split_state state; /* where in the first part it stands; plain input only */
    uint64_t skip;        /* pieces of the first part that are known already: passed over unread */
    bool mute;            /* the one behind these has killed a job: only its place is told */
    bool bodies;          /* send the bytes of records even where the parent can read them itself */
    uint64_t slice_bytes; /* plain input: end behind so many bytes; 0: at its end */
};
enum ms_status ms_import_ask_put(const struct ms_import_ask *ask, struct ms_buf *out,
                                 struct ms_error *err) MS_MUST_USE;

/* What the parent is told; checked for form, not for truth. */
enum ms_import_word {
    MS_IMPORT_BODY = 1, /* a run of a record's bytes, in front of its RECORD */
    MS_IMPORT_RECORD,
    MS_IMPORT_REJECT, /* a piece, or a record of one, that is no report: text says why */
    MS_IMPORT_MUTED,  /* the place of what `mute` asked for */
    MS_IMPORT_PART    /* a part is at its end: text says what is wrong with it, "" nothing */
};
struct ms_import_frame {
    enum ms_import_word word;
    uint64_t part, piece;
    uint64_t byte, line; /* RECORD, REJECT, MUTED: the place in the plain part; byte is also where
                            the body lies */
    uint64_t body_bytes, body_sum; /* RECORD: length, and ms_import_sum of them */
    bool sent;                     /* RECORD: the body came in BODY frames */
    struct ms_split_state state;   /* PART: where the reading ended */
    bool more;                     /* PART: a slice ended, not the part */
    struct ms_span text;           /* BODY: the run; RECORD: of ms_vt_report_decode */
};
/* False when it is malformed. */
bool ms_import_frame_take(uint32_t type, struct ms_span bytes,
                          struct ms_import_frame *out) MS_MUST_USE;

/* A quick sum over bytes: tells that a file has changed between two readings. Proof of nothing
 * where somebody wants it to be equal. */
uint64_t ms_import_sum(struct ms_span bytes);

#endif

/* How the reader of antivirus reports is built: record.c chooses the format, record_walk.c walks
 * through documents, record_rows.c reads engine rows, record_value.c single values. Nobody else
 * includes it. */
#ifndef MS_LABEL_RECORD_PRIVATE_H
#define MS_LABEL_RECORD_PRIVATE_H

#include "base/arena.h"
#include "base/scan.h"
#include "label/record.h"

#include <string.h>

/* Engine rows; the memory is kept from document to document. */
struct ms_record_rows {
    enum ms_record_kind kind;
    struct ms_record_engine *at;
    size_t count, cap;
};

/* What one object of a document says about the file: v3's attributes, a v2 or simplified report, an
 * OPSWAT report. All are collected in one pass, and only then is it known which one counts. */
struct ms_record_part {
    enum ms_record_kind kind; /* of the object itself */
    struct ms_record_text sha256, sha1, md5, id, type;
    int64_t size, first_ms, last_ms, response_code;
    struct ms_record_text category, suggested;
    bool goodware, in_nsrl;
};

/* Names of the engines of one object, for finding those that occur twice. */
struct ms_record_index {
    uint32_t *slots;   /* row + 1; 0 empty */
    uint32_t *hashes;  /* one a row */
    size_t slot_count; /* in use, a power of two: few for few engines, whatever came before */
    size_t slot_cap;
};

struct ms_record_reader {
    struct ms_scanner *scan;
    struct ms_arena arena; /* texts that are not to be had from the document: those with escapes */
    struct ms_span document;
    enum ms_record_format wanted; /* UNKNOWN: all */
    struct ms_record_part vt3, top, opswat;
    struct ms_record_rows vt3_rows, vt2_rows, opswat_rows, simple_rows;
    struct ms_record_index index;
    struct ms_record_text *tags[2]; /* v3, v2 */
    enum ms_record_kind tags_kind[2];
    size_t tag_count[2], tag_cap[2];
    bool has_data;         /* the document has the member "data" */
    struct ms_span listed; /* it is this array */
    bool sound;
};

/* A key against a literal: the length is known when this is compiled. */
#define IS(text, literal)                       \
    ((text).bytes.len == sizeof(literal) - 1 && \
     memcmp((text).bytes.data, literal, sizeof(literal) - 1) == 0)

enum ms_status ms_record_no_memory(struct ms_error *err);
enum ms_record_kind ms_record_kind_of(enum ms_scanner_kind kind);

/* A text that outlives the scanner's next step: where it lies in the document, or a copy. */
enum ms_status ms_record_hold(struct ms_record_reader *self, struct ms_span bytes,
                              struct ms_record_text *out, struct ms_error *err) MS_MUST_USE;

/* The value that is due as a text; of another kind it has none. */
enum ms_status ms_record_take_text(struct ms_record_reader *self, struct ms_record_text *out,
                                   struct ms_error *err) MS_MUST_USE;
enum ms_status ms_record_text_of(struct ms_record_reader *self,
                                 const struct ms_scanner_field *field, struct ms_record_text *out,
                                 struct ms_error *err) MS_MUST_USE;
/* A whole number (1.0 is one); what is none, or too large, is `fallback`. */
int64_t ms_record_integer(struct ms_span number, int64_t fallback);
enum ms_status ms_record_take_integer(struct ms_record_reader *self, int64_t fallback, int64_t *out,
                                      struct ms_error *err) MS_MUST_USE;
/* A time in seconds as ms; what lies outside 1970 to 2200 is unknown: 0. */
enum ms_status ms_record_take_seconds(struct ms_record_reader *self, int64_t *ms,
                                      struct ms_error *err) MS_MUST_USE;
/* "YYYY-MM-DD HH:MM:SS" (v2), or with T and perhaps a fraction and Z (OPSWAT), both UTC, as ms. */
enum ms_status ms_record_take_date(struct ms_record_reader *self, int64_t *ms,
                                   struct ms_error *err) MS_MUST_USE;

/* Takes the value of a member, or leaves it to be skipped. */
typedef enum ms_status (*ms_record_member)(struct ms_record_reader *self,
                                           const struct ms_scanner_text *key, void *ctx,
                                           struct ms_error *err);
/* Goes through the members of the value that is due when that is an object; *kind says what it
 * was. */
enum ms_status ms_record_each_member(struct ms_record_reader *self, ms_record_member read,
                                     void *ctx, enum ms_record_kind *kind,
                                     struct ms_error *err) MS_MUST_USE;

/* The engine rows of each format: the value of last_analysis_results, scans, scan_details,
 * av_labels. */
enum ms_status ms_record_read_vt3(struct ms_record_reader *self, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_record_read_vt2(struct ms_record_reader *self, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_record_read_opswat(struct ms_record_reader *self,
                                     struct ms_error *err) MS_MUST_USE;
enum ms_status ms_record_read_pairs(struct ms_record_reader *self,
                                    struct ms_error *err) MS_MUST_USE;

/* Walks through the value that is due and collects all that the wanted format may need. */
enum ms_status ms_record_walk(struct ms_record_reader *self, struct ms_error *err) MS_MUST_USE;

#endif

/* What the files of malseq audit share: the labelled traces in short, and what is found in them. */
#ifndef MS_MALSEQ_AUDIT_H
#define MS_MALSEQ_AUDIT_H

#include "malseq/malseq.h"
#include "malseq/tally.h"
#include "store/trace/groups.h"
#include "store/trace/near.h"
#include "store/traces.h"

#include <jansson.h>

/* A trace in short. Its distinct symbols lie in the spool at `spool`, its shingles (those of
 * ms_trace_reader_near) behind them. */
struct audit_row {
    uint32_t label, source;
    struct ms_sequence_hash keys[4]; /* AUDIT_RAW … */
    uint64_t whole_length, collapsed_length, key_at;
    uint64_t spool;
    uint32_t set_n;
    uint64_t shingle_n;
};
/* The ways in which traces are called equal: as recorded; with runs collapsed; as sets of calls; as
 * the options of the normalisation leave them. */
enum audit_kind { AUDIT_RAW, AUDIT_COLLAPSED, AUDIT_SET, AUDIT_VIEW, AUDIT_KINDS };

/* How well something told something, and how well always saying the most frequent would have. */
struct audit_told {
    uint64_t n, right, majority;
    double accuracy, low, high; /* Wilson's interval, 95 % */
    double baseline;
};

struct audit_lengths {
    uint64_t rows, recorded[6], collapsed[6]; /* least, quartiles, 95 %, most */
};

/* A call by which a label stands out. */
struct audit_mark {
    uint32_t symbol;
    double inside, outside; /* share of the label's traces that have it; of all others */
};

struct audit {
    const struct malseq_audit *options;
    uint64_t seed;
    struct ms_corpus *corpus;
    struct ms_trace_reader *reader;
    struct ms_normal_options view;
    uint64_t min_calls;
    /* rows, by key */
    struct audit_row *rows;
    size_t count, capacity;
    FILE *spool, *keys;
    const uint8_t *map; /* of the spool */
    size_t map_bytes;
    struct malseq_tally labels, sources;
    uint64_t *symbol_calls, *symbol_rows; /* by symbol */
    uint32_t *symbol_labels;              /* symbols x labels: rows that have it */
    size_t symbols;
    struct ms_traces_left left;
    /* found */
    uint32_t *label_of, *source_of, *groups[AUDIT_KINDS], *near_groups;
    uint32_t group_counts[AUDIT_KINDS], near_count;
    struct ms_copies copies[AUDIT_KINDS], near_copies;
    struct ms_near_report near;
    struct audit_lengths *lengths; /* by place of the label */
    struct audit_told by_source;   /* the label, by the source alone */
    struct audit_told source;      /* the source, by the calls */
    struct audit_told best_call;   /* the label, by whether one call is there */
    uint32_t best_symbol;
    uint64_t hapaxes;
};

/* The distinct symbols and the shingles of a row; borrowed. */
const uint32_t *malseq_audit_set(const struct audit *self, size_t row);
const uint64_t *malseq_audit_shingles(const struct audit *self, size_t row, size_t *n);

/* Reads the labelled traces. */
enum ms_status malseq_audit_read(struct audit *self, struct ms_error *err) MS_MUST_USE;
/* Finds all of the above in them. */
enum ms_status malseq_audit_find(struct audit *self, struct ms_error *err) MS_MUST_USE;
enum ms_status malseq_audit_leaks(struct audit *self, struct ms_error *err) MS_MUST_USE;
/* The `n` calls by which a label stands out most; returns how many there are. */
size_t malseq_audit_marks(const struct audit *self, uint32_t label, struct audit_mark *out,
                          size_t n);

/* Prints it, for people and as one JSON object (audit.schema.json). */
void malseq_audit_show(const struct audit *self, FILE *out);
json_t *malseq_audit_json(const struct audit *self);

#endif

/* Tables of comma-separated fields, pushed in pieces of any size, in constant memory. It knows no
 * dataset and judges no field. */
#ifndef MS_EXTRACT_DATASET_CSV_H
#define MS_EXTRACT_DATASET_CSV_H

#include "base/error.h"
#include "base/limits.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* Fields may stand in quotes, doubled inside (RFC 4180); a row ends at LF, CR LF or CR, in quotes
 * too (no dataset here has line ends in a field, and one quote too many must not cost the rows
 * behind it). Bytes of any value are passed on; a byte order mark in front of the first is not. */
struct ms_csv_events {
    void *ctx;
    /* A field in its row, from column 0; cut at MS_LIMIT_API_NAME_BYTES, which cut says. */
    enum ms_status (*field)(void *ctx, uint64_t column, struct ms_span bytes, bool cut,
                            struct ms_error *err);
    /* The row ended, line counts from 1; it has at least one field. damaged: its quotes are. */
    enum ms_status (*row)(void *ctx, uint64_t line, uint64_t columns, bool damaged,
                          struct ms_error *err);
};

/* Fields are the reader's own; all zero but events is the start. */
struct ms_csv {
    struct ms_csv_events events;
    uint64_t line; /* whole ones done */
    uint64_t column;
    uint8_t mark;      /* bytes of a byte order mark seen */
    bool begun;        /* the first byte is decided */
    bool open;         /* the row has something */
    bool quoted;       /* inside quotes */
    bool closed;       /* behind them */
    bool damaged, cut; /* of the row; of the field */
    bool carriage;     /* the last byte was a CR that ended a row */
    size_t len;
    uint8_t bytes[MS_LIMIT_API_NAME_BYTES];
};

enum ms_status ms_csv_take(struct ms_csv *self, const uint8_t *bytes, size_t n,
                           struct ms_error *err) MS_MUST_USE;
/* The last row may lack its line end. */
enum ms_status ms_csv_end(struct ms_csv *self, struct ms_error *err) MS_MUST_USE;

#endif

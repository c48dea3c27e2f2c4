/* Cuts a stream into the JSON objects it consists of: one after another however they are laid out
 * (a line each, indented, several on a line), or as elements of arrays. Finds where objects begin
 * and end; whether they are JSON inside is for their reader to say. Constant memory. */
#ifndef MS_LABEL_SPLIT_H
#define MS_LABEL_SPLIT_H

#include "base/error.h"
#include "base/scan.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* An object, or something that is none. */
struct ms_piece {
    struct ms_span
        bytes;           /* the object, '{' to '}'; borrowed until the next call; none of a fault */
    uint64_t byte, line; /* of its first byte in the stream: from 0, and from 1 */
    const char *fault;   /* static text; NULL: bytes are an object */
    bool sure; /* false: cut by the layout of lines; a reader that finds it incomplete, or more
                  behind it, calls refine */
};

/* Where a splitter stands between two objects: another one over the rest goes on from there. */
struct ms_split_state {
    uint64_t byte, line; /* of the next byte; line from 1 */
    bool in_array;
};

struct ms_splitter;

/* state NULL: the beginning. block_bytes 0: 1 MiB. */
enum ms_status ms_splitter_new(ms_scanner_source source, void *source_ctx, size_t block_bytes,
                               const struct ms_split_state *state, struct ms_splitter **out,
                               struct ms_error *err) MS_MUST_USE;
void ms_splitter_free(struct ms_splitter *self);

/* The next piece; *more = false at the end. A fault costs one piece: reading goes on at the next
 * line behind its first one that begins with '{' or '[' (behind its first MS_LIMIT_SCAN_BYTES where
 * it is larger than those). What the source says other than MS_OK is returned once all that came
 * before it was handed out. */
enum ms_status ms_splitter_next(struct ms_splitter *self, bool *more, struct ms_piece *piece,
                                struct ms_error *err) MS_MUST_USE;
/* Cuts the last piece, which was not sure, again by its brackets and strings. */
enum ms_status ms_splitter_refine(struct ms_splitter *self, struct ms_piece *piece,
                                  struct ms_error *err) MS_MUST_USE;

struct ms_split_state ms_splitter_state(struct ms_splitter *self);

#endif

/* Files of JSON lines that train wrote and reads again: one object a line, read one by one with
 * caps. What the members mean is the reader's business. */
#ifndef MS_TRAIN_JSONL_H
#define MS_TRAIN_JSONL_H

#include "base/span.h"

#include <jansson.h>
#include <stdint.h>

struct ms_jsonl {
    struct ms_span rest; /* not yet read; borrowed */
    uint64_t line;       /* of the object that was read last, from 1 */
    const char *what;    /* static text for messages: "split file" */
};
void ms_jsonl_init(struct ms_jsonl *self, struct ms_span bytes, const char *what);

/* The next line's object as a new reference; NULL at the end. MS_E_INPUT with the line's number
 * when it is longer than MS_LIMIT_JSON_LINE_BYTES, not JSON, or no object (an empty line is none).
 */
enum ms_status ms_jsonl_next(struct ms_jsonl *self, json_t **out, struct ms_error *err) MS_MUST_USE;

/* What a file of such lines is made of: a header, which says how many rows follow, and these. */
struct ms_jsonl_form {
    enum ms_status (*head)(void *ctx, const struct ms_jsonl *in, const json_t *object, size_t *rows,
                           struct ms_error *err);
    enum ms_status (*row)(void *ctx, const struct ms_jsonl *in, const json_t *object, size_t row,
                          struct ms_error *err);
};
/* Reads all of it: the head first, then each row, borrowed. MS_E_INPUT as ms_jsonl_next, and for an
 * empty file, more rows or fewer than the header says; what head and row say. */
enum ms_status ms_jsonl_read(struct ms_jsonl *self, const struct ms_jsonl_form *form, void *ctx,
                             struct ms_error *err) MS_MUST_USE;

/* MS_E_INPUT "WHAT, line N: why". */
enum ms_status ms_jsonl_fault(const struct ms_jsonl *self, const char *why, struct ms_error *err);

/* A member that is a whole number from 0 to `most`; MS_E_INPUT when it is anything else. */
enum ms_status ms_jsonl_number(const struct ms_jsonl *self, const json_t *object, const char *name,
                               uint64_t most, uint64_t *out, struct ms_error *err) MS_MUST_USE;
/* A member that is a text of at most `most` bytes without NUL; borrowed from the object. */
enum ms_status ms_jsonl_text(const struct ms_jsonl *self, const json_t *object, const char *name,
                             size_t most, const char **out, struct ms_error *err) MS_MUST_USE;
/* A member that is an array of exactly n elements; borrowed. */
enum ms_status ms_jsonl_array(const struct ms_jsonl *self, const json_t *object, const char *name,
                              size_t n, json_t **out, struct ms_error *err) MS_MUST_USE;

#endif

/* JSON lines for --json and safe look-ups in parsed answers, on top of jansson. */
#ifndef MS_BASE_JSON_H
#define MS_BASE_JSON_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#include <jansson.h>
#include <stdio.h>

/* A JSON string from any bytes: invalid UTF-8 and NUL become \xHH as text; the rest is kept. New
 * reference or NULL. */
json_t *ms_json_bytes(const void *bytes, size_t n) MS_MUST_USE;
json_t *ms_json_text(const char *text) MS_MUST_USE; /* NULL gives JSON null */

/* Writes `object` compactly with its members in the order they were set and a newline, and drops
 * the reference. MS_E_IO when stdout is gone or the disk is full. */
enum ms_status ms_json_line(FILE *out, json_t *object, struct ms_error *err) MS_MUST_USE;

/* The same text without the newline, appended to a buffer; for a line that is longer than one would
 * hold in memory. MS_E_NOMEM beyond the buffer's maximum. */
enum ms_status ms_json_append(struct ms_buf *out, json_t *value, struct ms_error *err) MS_MUST_USE;

/* Parses one small document (an API answer). MS_E_REMOTE with line and column when it is not JSON.
 * Duplicate keys are refused, NUL in strings is allowed. */
enum ms_status ms_json_parse(const void *bytes, size_t n, json_t **out,
                             struct ms_error *err) MS_MUST_USE;

/* The member at a path like "data.attributes.last_analysis_date" (object members only); NULL when
 * anything on the way is missing. Borrowed. */
json_t *ms_json_at(const json_t *object, const char *path);
/* The same, typed, with a fallback. */
const char *ms_json_string_at(const json_t *object, const char *path, const char *fallback);
int64_t ms_json_int_at(const json_t *object, const char *path, int64_t fallback);

#endif

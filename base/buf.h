/* A growing byte buffer with a ceiling fixed at init. Not thread-safe. */
#ifndef MS_BASE_BUF_H
#define MS_BASE_BUF_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `data` holds `len` bytes and, when the buffer is not empty, a NUL behind them that does not
 * count: text can be used as a C string through ms_buf_text. A failed append leaves the content as
 * it was and sets `failed`, which stays set until clear: a writer may append many pieces and look
 * once at the end. */
struct ms_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max;
    bool failed;
};

void ms_buf_init(struct ms_buf *self, size_t max_bytes);
void ms_buf_release(struct ms_buf *self);

/* Empties the buffer and keeps its memory. */
void ms_buf_clear(struct ms_buf *self);

/* All four return MS_E_LIMIT beyond max_bytes, MS_E_NOMEM without memory. */
enum ms_status ms_buf_append(struct ms_buf *self, const void *bytes, size_t n);
enum ms_status ms_buf_append_text(struct ms_buf *self, const char *text);
enum ms_status ms_buf_append_byte(struct ms_buf *self, uint8_t byte);
enum ms_status ms_buf_printf(struct ms_buf *self, const char *fmt, ...) MS_PRINTF(2, 3);

/* Room for n more bytes at the end; `data + len` may then be written directly and `len` raised by
 * the caller. */
enum ms_status ms_buf_reserve(struct ms_buf *self, size_t n) MS_MUST_USE;

/* LEB128, least significant group first; at most 10 bytes. */
enum ms_status ms_buf_append_varint(struct ms_buf *self, uint64_t value);

/* The content as a C string ("" when empty); borrowed until the next change. Embedded NULs cut it.
 */
const char *ms_buf_text(const struct ms_buf *self);

/* Hands the memory to the caller (free it) and leaves the buffer empty. NULL when empty. */
uint8_t *ms_buf_take(struct ms_buf *self, size_t *len) MS_MUST_USE;

#endif

/* Reads a file descriptor that may be plain, gzip or zstd (told by its first bytes) as one plain
 * stream, with a cap. Run it in the worker when the bytes come from outside. */
#ifndef MS_BASE_STREAM_H
#define MS_BASE_STREAM_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ms_stream_kind { MS_STREAM_PLAIN, MS_STREAM_GZIP, MS_STREAM_ZSTD };

struct ms_stream;

/* Do these first bytes of a file (four tell) begin a compressed stream that is read here? */
bool ms_stream_is_packed(const uint8_t *at, size_t n);

/* Takes over nothing: the caller closes fd after ms_stream_close. At most max_bytes plain bytes are
 * delivered, one more is MS_E_LIMIT. Reading starts at the descriptor's position; it need not be
 * seekable. */
enum ms_status ms_stream_open(int fd, uint64_t max_bytes, struct ms_stream **out,
                              struct ms_error *err) MS_MUST_USE;
/* The same over the next raw_bytes of fd alone, which are a file among others; none behind them is
 * read. */
enum ms_status ms_stream_open_part(int fd, uint64_t raw_bytes, uint64_t max_bytes,
                                   struct ms_stream **out, struct ms_error *err) MS_MUST_USE;
void ms_stream_close(struct ms_stream *self);

/* Up to cap bytes; *n = 0 at the end. MS_REJECT with the reason when the compressed data is damaged
 * or cut short. Several gzip members or zstd frames one after another are one stream; trailing
 * garbage behind them is MS_REJECT. */
enum ms_status ms_stream_read(struct ms_stream *self, void *buf, size_t cap, size_t *n,
                              struct ms_error *err) MS_MUST_USE;

/* What to say of a stream whose first bytes are those of a compressed form that is not read here
 * ("bzip2-compressed; decompress it first"); NULL: nothing. Only right before the first read.
 * Static text. */
const char *ms_stream_foreign(const struct ms_stream *self);

enum ms_stream_kind ms_stream_kind_get(const struct ms_stream *self);
/* Plain bytes delivered so far, and bytes read from fd so far. */
uint64_t ms_stream_plain_bytes(const struct ms_stream *self);
uint64_t ms_stream_raw_bytes(const struct ms_stream *self);

#endif

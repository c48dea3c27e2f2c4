/* One-shot zstd over buffers. Streams: base/stream. */
#ifndef MS_BASE_ZSTD_H
#define MS_BASE_ZSTD_H

#include "base/buf.h"

#include <stdbool.h>

/* Appends one zstd frame (content size in its header) with n bytes to `out`. level as zstd's (1 to
 * 19). The same bytes and level give the same frame with the same libzstd. */
enum ms_status ms_zstd_compress(const void *bytes, size_t n, int level, struct ms_buf *out,
                                struct ms_error *err) MS_MUST_USE;

/* The same with what zstd needs for it kept between calls, for many small bodies one after another.
 * Not thread-safe: one a thread. */
struct ms_zstd_packer;
enum ms_status ms_zstd_packer_new(int level, struct ms_zstd_packer **out,
                                  struct ms_error *err) MS_MUST_USE;
void ms_zstd_packer_free(struct ms_zstd_packer *self);
enum ms_status ms_zstd_pack(struct ms_zstd_packer *self, const void *bytes, size_t n,
                            struct ms_buf *out, struct ms_error *err) MS_MUST_USE;

/* Unpacks one frame after another with what zstd needs for it kept between calls. One a thread. */
struct ms_zstd_unpacker;
enum ms_status ms_zstd_unpacker_new(struct ms_zstd_unpacker **out,
                                    struct ms_error *err) MS_MUST_USE;
void ms_zstd_unpacker_free(struct ms_zstd_unpacker *self);
/* Whether the n bytes at `frame` are zstd whose plain bytes are exactly `plain` in number, which
 * then lie at `out`; false: `out` holds anything. No memory is taken: `frame` cannot ask for more.
 */
bool ms_zstd_unpack(struct ms_zstd_unpacker *self, const void *frame, size_t n, void *out,
                    size_t plain) MS_MUST_USE;

/* Appends the plain bytes of one frame to `out`, whose max is the cap. MS_REJECT when the frame is
 * damaged, cut, or says no size; MS_E_LIMIT when it would not fit. */
enum ms_status ms_zstd_decompress(const void *frame, size_t n, struct ms_buf *out,
                                  struct ms_error *err) MS_MUST_USE;

#endif

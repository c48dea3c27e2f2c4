/* One-shot zstd over buffers. Streams: base/stream. */
#ifndef MS_BASE_ZSTD_H
#define MS_BASE_ZSTD_H

#include "base/buf.h"

/* Appends one zstd frame (content size in its header) with n bytes to `out`. level as zstd's (1 to
 * 19). The same bytes and level give the same frame with the same libzstd. */
enum ms_status ms_zstd_compress(const void *bytes, size_t n, int level, struct ms_buf *out,
                                struct ms_error *err) MS_MUST_USE;

/* Appends the plain bytes of one frame to `out`, whose max is the cap. MS_REJECT when the frame is
 * damaged, cut, or says no size; MS_E_LIMIT when it would not fit. */
enum ms_status ms_zstd_decompress(const void *frame, size_t n, struct ms_buf *out,
                                  struct ms_error *err) MS_MUST_USE;

#endif

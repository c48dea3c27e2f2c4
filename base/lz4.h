/* Blocks of LZ4 (the bare block format, not its frames): a tenth of zstd's time to open a small
 * one, for somewhat more bytes. It stores no sizes and no check sum. */
#ifndef MS_BASE_LZ4_H
#define MS_BASE_LZ4_H

#include "base/buf.h"

#include <stdbool.h>

/* Appends the block of n bytes to `out`. The same bytes give the same block with the same liblz4.
 * MS_E_LIMIT beyond what a block holds (2,113,929,216 bytes) or out's maximum, MS_E_NOMEM. */
enum ms_status ms_lz4_pack(const void *bytes, size_t n, struct ms_buf *out,
                           struct ms_error *err) MS_MUST_USE;

/* Whether the n bytes at `block`, which may be anything, unpack to exactly `plain` bytes, which
 * then lie at `out`; false: `out` holds anything. No memory is taken. */
bool ms_lz4_unpack(const void *block, size_t n, void *out, size_t plain) MS_MUST_USE;

#endif

/* One-shot LZ4 blocks over buffers. */
#include "base/lz4.h"

#include <limits.h>
#include <lz4.h>

enum ms_status ms_lz4_pack(const void *bytes, size_t n, struct ms_buf *out, struct ms_error *err)
{
    if (n > LZ4_MAX_INPUT_SIZE)
        return ms_error_set(err, MS_E_LIMIT, "cannot compress %zu bytes at once", n);
    const int bound = LZ4_compressBound((int)n);
    enum ms_status status = ms_buf_reserve(out, (size_t)bound);
    if (status != MS_OK)
        return ms_error_set(err, status, "no room to compress %zu bytes", n);
    int written = LZ4_compress_default(bytes, (char *)out->data + out->len, (int)n, bound);
    if (written <= 0)
        return ms_error_set(err, MS_E_BUG, "LZ4 did not compress %zu bytes", n);
    out->len += (size_t)written;
    out->data[out->len] = 0;
    return MS_OK;
}

bool ms_lz4_unpack(const void *block, size_t n, void *out, size_t plain)
{
    return n <= INT_MAX && plain <= INT_MAX &&
           LZ4_decompress_safe(block, out, (int)n, (int)plain) == (int)plain;
}

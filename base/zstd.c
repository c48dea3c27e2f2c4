/* One-shot zstd frames over buffers. */
#include "base/zstd.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct ms_zstd_packer {
    ZSTD_CCtx *context;
    int level;
};

enum ms_status ms_zstd_packer_new(int level, struct ms_zstd_packer **out, struct ms_error *err)
{
    struct ms_zstd_packer *self = calloc(1, sizeof *self);
    if (self)
        self->context = ZSTD_createCCtx();
    if (!self || !self->context) {
        free(self);
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    self->level = level;
    *out = self;
    return MS_OK;
}

void ms_zstd_packer_free(struct ms_zstd_packer *self)
{
    if (!self)
        return;
    (void)ZSTD_freeCCtx(self->context);
    free(self);
}

enum ms_status ms_zstd_pack(struct ms_zstd_packer *self, const void *bytes, size_t n,
                            struct ms_buf *out, struct ms_error *err)
{
    size_t bound = ZSTD_compressBound(n);
    if (ZSTD_isError(bound))
        return ms_error_set(err, MS_E_LIMIT, "cannot compress %zu bytes at once", n);
    enum ms_status status = ms_buf_reserve(out, bound);
    if (status != MS_OK)
        return ms_error_set(err, status, "no room to compress %zu bytes", n);
    size_t written =
        ZSTD_compressCCtx(self->context, out->data + out->len, bound, bytes, n, self->level);
    if (ZSTD_isError(written))
        return ms_error_set(err, MS_E_NOMEM, "cannot compress: %s", ZSTD_getErrorName(written));
    out->len += written;
    out->data[out->len] = 0;
    return MS_OK;
}

enum ms_status ms_zstd_compress(const void *bytes, size_t n, int level, struct ms_buf *out,
                                struct ms_error *err)
{
    struct ms_zstd_packer *packer;
    enum ms_status status = ms_zstd_packer_new(level, &packer, err);
    if (status != MS_OK)
        return status;
    status = ms_zstd_pack(packer, bytes, n, out, err);
    ms_zstd_packer_free(packer);
    return status;
}

struct ms_zstd_unpacker {
    ZSTD_DCtx *context;
};

enum ms_status ms_zstd_unpacker_new(struct ms_zstd_unpacker **out, struct ms_error *err)
{
    struct ms_zstd_unpacker *self = calloc(1, sizeof *self);
    if (self)
        self->context = ZSTD_createDCtx();
    if (!self || !self->context) {
        free(self);
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    *out = self;
    return MS_OK;
}

void ms_zstd_unpacker_free(struct ms_zstd_unpacker *self)
{
    if (!self)
        return;
    (void)ZSTD_freeDCtx(self->context);
    free(self);
}

bool ms_zstd_unpack(struct ms_zstd_unpacker *self, const void *frame, size_t n, void *out,
                    size_t plain)
{
    /* The library also reads the frames of its first versions, with other code: not here. */
    static const uint8_t magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    return n >= sizeof magic && memcmp(frame, magic, sizeof magic) == 0 &&
           ZSTD_decompressDCtx(self->context, out, plain, frame, n) == plain;
}

enum ms_status ms_zstd_decompress(const void *frame, size_t n, struct ms_buf *out,
                                  struct ms_error *err)
{
    unsigned long long size = ZSTD_getFrameContentSize(frame, n);
    if (size == ZSTD_CONTENTSIZE_ERROR)
        return ms_error_set(err, MS_REJECT, "not a zstd frame");
    if (size == ZSTD_CONTENTSIZE_UNKNOWN)
        return ms_error_set(err, MS_REJECT, "the zstd frame does not say its size");
    if (ZSTD_findFrameCompressedSize(frame, n) != n)
        return ms_error_set(err, MS_REJECT, "the zstd frame is cut short or followed by more");
    if (size > out->max - out->len)
        return ms_error_set(err, MS_E_LIMIT, "%llu bytes unpacked are more than the %zu allowed",
                            size, out->max);
    enum ms_status status = ms_buf_reserve(out, (size_t)size);
    if (status != MS_OK)
        return ms_error_set(err, status, "out of memory");
    size_t got = ZSTD_decompress(out->data + out->len, (size_t)size, frame, n);
    if (ZSTD_isError(got) || got != size)
        return ms_error_set(err, MS_REJECT, "damaged zstd frame: %s",
                            ZSTD_isError(got) ? ZSTD_getErrorName(got) : "wrong size");
    out->len += got;
    out->data[out->len] = 0;
    return MS_OK;
}

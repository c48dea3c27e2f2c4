/* Decoding, counting and delivering response bodies. */
#include "base/http_body.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_BYTES = 32768 };

enum ms_status ms_http_body_init(struct ms_http_body *self, struct ms_buf *buf, int fd,
                                 uint64_t max_bytes, const char *encoding, struct ms_error *err)
{
    *self = (struct ms_http_body){.buf = buf, .fd = fd, .max_bytes = max_bytes};
    self->gzip = strcmp(encoding, "gzip") == 0 || strcmp(encoding, "x-gzip") == 0;
    if (!self->gzip && encoding[0] && strcmp(encoding, "identity") != 0)
        return ms_error_set(err, MS_E_REMOTE, "the answer has a content encoding not asked for");
    if (fd > 0 && (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0))
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot empty the download file");
    return MS_OK;
}

void ms_http_body_release(struct ms_http_body *self)
{
    if (self->inflating)
        inflateEnd(&self->z);
    self->inflating = false;
}

static enum ms_status write_file(int fd, const uint8_t *bytes, size_t n, struct ms_error *err)
{
    while (n > 0) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return ms_error_set_errno(err, MS_E_IO, done < 0 ? errno : EIO,
                                      "cannot write the download");
        bytes += done;
        n -= (size_t)done;
    }
    return MS_OK;
}

static enum ms_status deliver(struct ms_http_body *self, const void *bytes, size_t n,
                              struct ms_error *err)
{
    if (n > self->max_bytes - self->bytes)
        return ms_error_set(err, MS_E_LIMIT, "the answer is larger than %llu bytes",
                            (unsigned long long)self->max_bytes);
    self->bytes += n;
    if (self->fd > 0)
        return write_file(self->fd, bytes, n, err);
    if (ms_buf_append(self->buf, bytes, n) != MS_OK)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for the answer");
    return MS_OK;
}

/* Makes z ready for the next gzip member. */
static enum ms_status next_member(struct ms_http_body *self, struct ms_error *err)
{
    int code = self->inflating ? inflateReset(&self->z) : inflateInit2(&self->z, 15 + 16);
    if (code != Z_OK)
        return ms_error_set(err, MS_E_NOMEM, "zlib cannot start");
    self->inflating = true;
    self->ended = false;
    return MS_OK;
}

static enum ms_status inflate_all(struct ms_http_body *self, const uint8_t *bytes, size_t n,
                                  struct ms_error *err)
{
    uint8_t plain[CHUNK_BYTES];
    enum ms_status status = MS_OK;
    size_t offset = 0;
    if (!self->inflating)
        status = next_member(self, err);
    while (status == MS_OK && offset < n) {
        if (self->ended && (status = next_member(self, err)) != MS_OK)
            break;
        size_t take = n - offset < (1u << 30) ? n - offset : (1u << 30);
        self->z.next_in = (Bytef *)(uintptr_t)(bytes + offset);
        self->z.avail_in = (uInt)take;
        int code;
        do {
            self->z.next_out = plain;
            self->z.avail_out = sizeof plain;
            code = inflate(&self->z, Z_NO_FLUSH);
            if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
                return ms_error_set(err, MS_E_REMOTE, "the answer's gzip data is damaged");
            status = deliver(self, plain, sizeof plain - self->z.avail_out, err);
        } while (status == MS_OK && code == Z_OK &&
                 (self->z.avail_in > 0 || self->z.avail_out == 0));
        offset += take - self->z.avail_in;
        self->ended = code == Z_STREAM_END;
    }
    return status;
}

enum ms_status ms_http_body_write(struct ms_http_body *self, const void *bytes, size_t n,
                                  struct ms_error *err)
{
    self->raw_bytes += n;
    if (!self->gzip)
        return deliver(self, bytes, n, err);
    return inflate_all(self, bytes, n, err);
}

enum ms_status ms_http_body_finish(struct ms_http_body *self, struct ms_error *err)
{
    if (self->gzip && self->raw_bytes > 0 && !self->ended)
        return ms_error_set(err, MS_E_REMOTE, "the answer's gzip data ends early");
    return MS_OK;
}

/* Plain, gzip and zstd descriptors as one plain stream, over zlib and libzstd. Knows no file
 * names. */
#include "base/stream.h"

#include "base/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { IN_BYTES = 128 << 10, MAGIC_BYTES = 4, ZSTD_WINDOW_LOG_MAX = 27 };

struct ms_stream {
    int fd;
    enum ms_stream_kind kind;
    uint64_t max_bytes;
    uint64_t plain_bytes;
    uint64_t raw_bytes;
    uint64_t raw_left;    /* of the part that is ours */
    bool raw_end;         /* read(2) said so, or the part is at its end */
    bool between;         /* at the end of a gzip member or zstd frame, or before the first */
    struct ms_error dead; /* status MS_OK until the stream failed: then it fails for ever */
    z_stream gzip;
    bool gzip_ready;
    ZSTD_DStream *zstd;
    size_t in_at;
    size_t in_len;
    uint8_t in[IN_BYTES];
};

static enum ms_status fail(struct ms_stream *self, struct ms_error *err)
{
    if (err)
        *err = self->dead;
    return self->dead.status;
}

/* read(2) of what is ours. */
static enum ms_status read_raw(struct ms_stream *self, void *to, size_t cap, size_t *got,
                               struct ms_error *err)
{
    ssize_t n;
    if (cap > self->raw_left)
        cap = (size_t)self->raw_left;
    do
        n = cap ? read(self->fd, to, cap) : 0;
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        (void)ms_error_set_errno(&self->dead, MS_E_IO, errno, "cannot read the input");
        return fail(self, err);
    }
    self->raw_end = n == 0;
    self->raw_bytes += (uint64_t)n;
    self->raw_left -= (uint64_t)n;
    *got = (size_t)n;
    return MS_OK;
}

/* Moves what is left to the front and reads until the buffer holds at least `want` bytes or the
 * input ends. */
static enum ms_status fill(struct ms_stream *self, size_t want, struct ms_error *err)
{
    if (self->in_len - self->in_at >= want || self->raw_end)
        return MS_OK;
    memmove(self->in, self->in + self->in_at, self->in_len - self->in_at);
    self->in_len -= self->in_at;
    self->in_at = 0;
    while (self->in_len < want && !self->raw_end) {
        size_t n = 0;
        enum ms_status status =
            read_raw(self, self->in + self->in_len, sizeof self->in - self->in_len, &n, err);
        if (status != MS_OK)
            return status;
        self->in_len += n;
    }
    return MS_OK;
}

static bool is_gzip(const uint8_t *at, size_t n)
{
    return n >= 2 && at[0] == 0x1f && at[1] == 0x8b;
}

static bool is_zstd(const uint8_t *at, size_t n)
{
    static const uint8_t frame[MAGIC_BYTES] = {0x28, 0xb5, 0x2f, 0xfd};
    static const uint8_t skippable[MAGIC_BYTES - 1] = {0x2a, 0x4d, 0x18};
    return n >= MAGIC_BYTES && (memcmp(at, frame, sizeof frame) == 0 ||
                                ((at[0] & 0xf0) == 0x50 && memcmp(at + 1, skippable, 3) == 0));
}

bool ms_stream_is_packed(const uint8_t *at, size_t n)
{
    return is_gzip(at, n) || is_zstd(at, n);
}

const char *ms_stream_foreign(const struct ms_stream *self)
{
    static const struct {
        const char *text;
        uint8_t magic[MAGIC_BYTES], bytes;
    } forms[] = {{"bzip2-compressed; decompress it first", "BZh", 3},
                 {"xz-compressed; decompress it first", {0xfd, '7', 'z', 'X'}, 4},
                 {"lzip-compressed; decompress it first", {'L', 'Z', 'I', 'P'}, 4},
                 {"lz4-compressed; decompress it first", {0x04, 0x22, 0x4d, 0x18}, 4},
                 {"compressed by compress(1); decompress it first", {0x1f, 0x9d}, 2},
                 {"a zip archive; unpack it first", {'P', 'K', 3, 4}, 4},
                 {"a 7z archive; unpack it first", {'7', 'z', 0xbc, 0xaf}, 4},
                 {"a RAR archive; unpack it first", {'R', 'a', 'r', '!'}, 4}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms && self->kind == MS_STREAM_PLAIN; i++)
        if (self->in_len >= MAGIC_BYTES && memcmp(self->in, forms[i].magic, forms[i].bytes) == 0)
            return forms[i].text;
    return NULL;
}

static enum ms_status start_decoder(struct ms_stream *self, struct ms_error *err)
{
    if (self->kind == MS_STREAM_GZIP) {
        if (inflateInit2(&self->gzip, 15 + 16) != Z_OK)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->gzip_ready = true;
    } else if (self->kind == MS_STREAM_ZSTD) {
        self->zstd = ZSTD_createDStream();
        if (!self->zstd || ZSTD_isError(ZSTD_initDStream(self->zstd)))
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        /* A frame may ask for a window of 2 GiB; 128 MiB is what the zstd program accepts too. */
        (void)ZSTD_DCtx_setParameter(self->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    }
    return MS_OK;
}

enum ms_status ms_stream_open(int fd, uint64_t max_bytes, struct ms_stream **out,
                              struct ms_error *err)
{
    return ms_stream_open_part(fd, UINT64_MAX, max_bytes, out, err);
}

enum ms_status ms_stream_open_part(int fd, uint64_t raw_bytes, uint64_t max_bytes,
                                   struct ms_stream **out, struct ms_error *err)
{
    struct ms_stream *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->fd = fd;
    self->raw_left = raw_bytes;
    self->max_bytes = max_bytes;
    self->between = true;
    enum ms_status status = fill(self, MAGIC_BYTES, err);
    if (status == MS_OK) {
        if (is_gzip(self->in, self->in_len))
            self->kind = MS_STREAM_GZIP;
        else if (is_zstd(self->in, self->in_len))
            self->kind = MS_STREAM_ZSTD;
        status = start_decoder(self, err);
    }
    if (status != MS_OK) {
        ms_stream_close(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

void ms_stream_close(struct ms_stream *self)
{
    if (!self)
        return;
    if (self->gzip_ready)
        (void)inflateEnd(&self->gzip);
    (void)ZSTD_freeDStream(self->zstd);
    free(self);
}

static enum ms_status damaged(struct ms_stream *self, const char *format, const char *why,
                              struct ms_error *err)
{
    char shown[160];
    (void)ms_error_set(&self->dead, MS_REJECT, "%s data is damaged at byte %llu: %s", format,
                       (unsigned long long)(self->raw_bytes - (self->in_len - self->in_at)),
                       ms_escape_text(why ? why : "unknown", shown, sizeof shown));
    return fail(self, err);
}

static enum ms_status read_plain(struct ms_stream *self, uint8_t *buf, size_t cap, size_t *n,
                                 struct ms_error *err)
{
    if (self->in_at == self->in_len && !self->raw_end && cap >= sizeof self->in)
        return read_raw(self, buf, cap, n, err); /* no need to copy it twice */
    enum ms_status status = fill(self, 1, err);
    if (status != MS_OK)
        return status;
    size_t have = self->in_len - self->in_at;
    *n = have < cap ? have : cap;
    memcpy(buf, self->in + self->in_at, *n);
    self->in_at += *n;
    return MS_OK;
}

/* Between two members or frames: true when another one follows. */
static enum ms_status next_member(struct ms_stream *self, bool *more, struct ms_error *err)
{
    bool gzip = self->kind == MS_STREAM_GZIP;
    enum ms_status status = fill(self, MAGIC_BYTES, err);
    if (status != MS_OK)
        return status;
    const uint8_t *at = self->in + self->in_at;
    size_t have = self->in_len - self->in_at;
    *more = gzip ? is_gzip(at, have) : is_zstd(at, have);
    if (!*more && have)
        return damaged(self, gzip ? "gzip" : "zstd", "garbage behind the compressed data", err);
    if (*more && gzip && inflateReset(&self->gzip) != Z_OK)
        return damaged(self, "gzip", "cannot start a member", err);
    self->between = !*more; /* the end stays the end, however often it is read */
    return MS_OK;
}

static enum ms_status read_gzip(struct ms_stream *self, uint8_t *buf, size_t cap, size_t *n,
                                struct ms_error *err)
{
    z_stream *z = &self->gzip;
    z->next_in = self->in + self->in_at;
    z->avail_in = (uInt)(self->in_len - self->in_at);
    z->next_out = buf;
    z->avail_out = cap < UINT32_MAX / 2 ? (uInt)cap : UINT32_MAX / 2;
    uInt room = z->avail_out;
    int rc = inflate(z, Z_NO_FLUSH);
    self->in_at = self->in_len - z->avail_in;
    *n = room - z->avail_out;
    if (rc == Z_STREAM_END)
        self->between = true;
    else if (rc == Z_MEM_ERROR)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    else if (rc != Z_OK && rc != Z_BUF_ERROR)
        return damaged(self, "gzip", z->msg ? z->msg : "a dictionary is asked for", err);
    return MS_OK;
}

static enum ms_status read_zstd(struct ms_stream *self, uint8_t *buf, size_t cap, size_t *n,
                                struct ms_error *err)
{
    ZSTD_inBuffer in = {self->in, self->in_len, self->in_at};
    ZSTD_outBuffer out = {buf, cap, 0};
    size_t rc = ZSTD_decompressStream(self->zstd, &out, &in);
    self->in_at = in.pos;
    *n = out.pos;
    if (ZSTD_isError(rc))
        return damaged(self, "zstd", ZSTD_getErrorName(rc), err);
    self->between = rc == 0;
    return MS_OK;
}

static enum ms_status read_compressed(struct ms_stream *self, uint8_t *buf, size_t cap, size_t *n,
                                      struct ms_error *err)
{
    for (*n = 0; *n == 0;) {
        bool more = true;
        enum ms_status status = self->between ? next_member(self, &more, err) : fill(self, 1, err);
        if (status != MS_OK || !more)
            return status;
        /* What is left in the decoder may still give output when the input is at its end. */
        bool starved = self->in_at == self->in_len && self->raw_end;
        status = self->kind == MS_STREAM_GZIP ? read_gzip(self, buf, cap, n, err)
                                              : read_zstd(self, buf, cap, n, err);
        if (status != MS_OK)
            return status;
        if (starved && *n == 0 && !self->between)
            return damaged(self, self->kind == MS_STREAM_GZIP ? "gzip" : "zstd", "cut short", err);
    }
    return MS_OK;
}

enum ms_status ms_stream_read(struct ms_stream *self, void *buf, size_t cap, size_t *n,
                              struct ms_error *err)
{
    *n = 0;
    if (self->dead.status != MS_OK)
        return fail(self, err);
    if (cap == 0)
        return MS_OK;
    enum ms_status status = self->kind == MS_STREAM_PLAIN ? read_plain(self, buf, cap, n, err)
                                                          : read_compressed(self, buf, cap, n, err);
    if (status != MS_OK) {
        *n = 0;
        return status;
    }
    if (*n > self->max_bytes - self->plain_bytes) {
        *n = 0;
        (void)ms_error_set(&self->dead, MS_E_LIMIT, "more than %llu bytes",
                           (unsigned long long)self->max_bytes);
        return fail(self, err);
    }
    self->plain_bytes += *n;
    return MS_OK;
}

enum ms_stream_kind ms_stream_kind_get(const struct ms_stream *self)
{
    return self->kind;
}

uint64_t ms_stream_plain_bytes(const struct ms_stream *self)
{
    return self->plain_bytes;
}

uint64_t ms_stream_raw_bytes(const struct ms_stream *self)
{
    return self->raw_bytes;
}

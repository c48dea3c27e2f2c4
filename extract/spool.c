/* Memory first, then an unnamed file. */
#define _DEFAULT_SOURCE /* pread, pwrite beside it */
#include "extract/spool.h"

#include "base/limits.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void ms_spool_init(struct ms_spool *self, struct ms_corpus *corpus, size_t memory_bytes,
                   uint64_t max_bytes)
{
    *self =
        (struct ms_spool){.corpus = corpus, .memory_bytes = memory_bytes, .max_bytes = max_bytes};
    ms_buf_init(&self->memory, memory_bytes);
}

void ms_spool_release(struct ms_spool *self)
{
    if (self->has_file)
        (void)close(self->fd);
    ms_buf_release(&self->memory);
    ms_spool_init(self, self->corpus, self->memory_bytes, self->max_bytes);
}

void ms_spool_clear(struct ms_spool *self)
{
    ms_buf_clear(&self->memory);
    self->len = 0;
}

static enum ms_status write_at(const struct ms_spool *self, uint64_t at, const uint8_t *bytes,
                               size_t n, struct ms_error *err)
{
    while (n) {
        ssize_t written = pwrite(self->fd, bytes, n, (off_t)at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return ms_error_set_errno(err, MS_E_IO, written ? errno : ENOSPC,
                                      "cannot write traces to the corpus's folder tmp/");
        bytes += written;
        at += (uint64_t)written;
        n -= (size_t)written;
    }
    return MS_OK;
}

/* The first bytes stay in memory where they are: what lies at memory_bytes and behind is in the
 * file, at the same place less these. */
enum ms_status ms_spool_append(struct ms_spool *self, const void *bytes, size_t n,
                               struct ms_error *err)
{
    const uint8_t *from = bytes;
    if (n > self->max_bytes || self->len > self->max_bytes - n)
        return ms_error_set(err, MS_REJECT, "the traces of one report are too large");
    size_t room = self->memory_bytes - self->memory.len, first = n < room ? n : room;
    if (first && ms_buf_append(&self->memory, from, first) != MS_OK)
        return ms_error_set(err, MS_E_NOMEM, "no memory for traces");
    if (n > first && self->corpus) {
        enum ms_status status = MS_OK;
        if (!self->has_file)
            status = ms_corpus_temporary(self->corpus, &self->fd, err);
        self->has_file = self->has_file || status == MS_OK;
        if (status == MS_OK)
            status = write_at(self, self->len + first - self->memory_bytes, from + first, n - first,
                              err);
        if (status != MS_OK)
            return status;
    }
    self->len += n;
    return MS_OK;
}

enum ms_status ms_spool_read(const struct ms_spool *self, uint64_t at, void *out, size_t n,
                             struct ms_error *err)
{
    uint8_t *to = out;
    if (at > self->len || n > self->len - at || (!self->corpus && at + n > self->memory.len))
        return ms_error_set(err, MS_E_BUG, "a trace is read from where none is");
    if (n && at < self->memory.len) {
        size_t held = self->memory.len - (size_t)at, first = n < held ? n : held;
        memcpy(to, self->memory.data + at, first);
        to += first;
        at += first;
        n -= first;
    }
    while (n) {
        ssize_t got = pread(self->fd, to, n, (off_t)(at - self->memory_bytes));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ms_error_set_errno(err, MS_E_IO, got ? errno : EIO,
                                      "cannot read traces from the corpus's folder tmp/");
        to += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return MS_OK;
}

enum ms_status ms_spool_file(const struct ms_spool *self, int *fd, struct ms_error *err)
{
    if (!self->has_file || self->memory_bytes)
        return ms_error_set(err, MS_E_BUG, "no file has all of what was spooled");
    *fd = self->fd;
    if (ftruncate(self->fd, (off_t)self->len) != 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot cut a file of the folder tmp/");
    return MS_OK;
}

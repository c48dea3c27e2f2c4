/* A memory file of verified blobs. */
#define _GNU_SOURCE
#include "collect/spool.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { COPY_BYTES = 128 << 10 };

static enum ms_status nonsense(struct ms_error *err)
{
    return ms_error_set(err, MS_REJECT, "the worker's answer makes no sense");
}

void ms_blob_spool_init(struct ms_blob_spool *self)
{
    *self = (struct ms_blob_spool){.fd = -1};
}

void ms_blob_spool_release(struct ms_blob_spool *self)
{
    if (self->fd >= 0)
        (void)close(self->fd);
    ms_hasher_free(self->hasher);
    ms_blob_spool_init(self);
}

enum ms_status ms_blob_spool_renew(struct ms_blob_spool *self, const char *name,
                                   struct ms_error *err)
{
    ms_blob_spool_release(self);
    enum ms_status status = ms_file_memory(name, &self->fd, err);
    return status == MS_OK ? ms_hasher_new(MS_HASH_SHA1, &self->hasher, err) : status;
}

enum ms_status ms_blob_spool_begin(struct ms_blob_spool *self, const uint8_t id[MS_SHA1_BYTES],
                                   uint64_t size, uint64_t *offset, struct ms_error *err)
{
    char head[48];
    if (self->open)
        return nonsense(err);
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
    ms_hasher_update(self->hasher, head, (size_t)n + 1);
    memcpy(self->id, id, MS_SHA1_BYTES);
    self->open = true;
    self->left_bytes = size;
    *offset = self->bytes;
    return MS_OK;
}

enum ms_status ms_blob_spool_add(struct ms_blob_spool *self, struct ms_span bytes,
                                 struct ms_error *err)
{
    if (!self->open || bytes.len > self->left_bytes)
        return nonsense(err);
    ms_hasher_update(self->hasher, bytes.data, bytes.len);
    self->left_bytes -= bytes.len;
    self->bytes += bytes.len;
    return ms_file_write_all(self->fd, bytes.data, bytes.len, err);
}

/* The id is what the bytes say, not the worker. */
enum ms_status ms_blob_spool_end(struct ms_blob_spool *self, struct ms_error *err)
{
    struct ms_digests digests;
    if (!self->open || self->left_bytes)
        return nonsense(err);
    self->open = false;
    enum ms_status status = ms_hasher_finish(self->hasher, &digests, err);
    return status == MS_OK && memcmp(digests.sha1, self->id, MS_SHA1_BYTES) != 0 ? nonsense(err)
                                                                                 : status;
}

enum ms_status ms_blob_spool_copy(const struct ms_blob_spool *self, uint64_t offset, uint64_t size,
                                  int *fd, struct ms_error *err)
{
    uint8_t block[COPY_BYTES];
    enum ms_status status = ms_file_memory("blob", fd, err);
    for (uint64_t done = 0; done < size && status == MS_OK;) {
        uint64_t left = size - done;
        ssize_t n = pread(self->fd, block, left < sizeof block ? (size_t)left : sizeof block,
                          (off_t)(offset + done));
        if (n <= 0)
            return ms_error_set(err, MS_E_IO, "cannot read a memory file");
        status = ms_file_write_all(*fd, block, (size_t)n, err);
        done += (uint64_t)n;
    }
    return status;
}

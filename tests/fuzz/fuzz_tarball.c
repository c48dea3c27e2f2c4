/* Fuzz target: the job that reads a repository's tarball. The first byte chooses: 0 the file as it
 * is; else a tar in the clear, the checksums of whose headers are mended. Wanted are the files that
 * lie where an honest archive would have them; whatever is sent must be one of these, once, whole
 * and with its id. */
#include "base/file.h"
#include "base/limits.h"
#include "collect/tarjob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BLOCK = 512, SIZE_AT = 124, SUM_AT = 148, WANTS_MAX = 16, FILE_MAX_BYTES = 1 << 16 };

struct job {
    struct ms_tarjob_want wants[WANTS_MAX];
    size_t count;
    bool sent[WANTS_MAX];
    bool open;
    uint32_t current;
    uint8_t bytes[FILE_MAX_BYTES];
    size_t got;
};

static void begin_file(struct job *self, const void *bytes, size_t n)
{
    if (self->open || n != sizeof self->current)
        abort();
    memcpy(&self->current, bytes, n);
    if (self->current >= self->count || self->sent[self->current])
        abort();
    self->open = self->sent[self->current] = true;
    self->got = 0;
}

static void end_file(struct job *self)
{
    const struct ms_tarjob_want *want = &self->wants[self->current];
    uint8_t id[MS_SHA1_BYTES];
    if (!self->open || self->got != want->size ||
        ms_hash_git_blob(self->bytes, self->got, id) != MS_OK ||
        memcmp(id, want->id, sizeof id) != 0)
        abort();
    self->open = false;
}

static enum ms_status take_frame(void *ctx, uint32_t type, const void *bytes, size_t n,
                                 struct ms_error *err)
{
    struct job *self = ctx;
    (void)err;
    if (type == MS_TARJOB_FILE)
        begin_file(self, bytes, n);
    else if (type == MS_TARJOB_END)
        end_file(self);
    else if (type != MS_TARJOB_DATA || !self->open || n > sizeof self->bytes - self->got)
        abort();
    if (type == MS_TARJOB_DATA) {
        memcpy(self->bytes + self->got, bytes, n);
        self->got += n;
    }
    return MS_OK;
}

static void mend(uint8_t *block)
{
    unsigned sum = 0;
    char text[8];
    memset(block + SUM_AT, ' ', sizeof text);
    for (size_t i = 0; i < BLOCK; i++)
        sum += block[i];
    (void)snprintf(text, sizeof text, "%06o", sum & 0777777);
    memcpy(block + SUM_AT, text, sizeof text);
}

/* Another file that is wanted, while there is room. */
static void want(struct job *self, const uint8_t *bytes, size_t n)
{
    struct ms_tarjob_want to = {.size = n};
    if (self->count == WANTS_MAX || n > FILE_MAX_BYTES)
        return;
    if (ms_hash_git_blob(bytes, n, to.id) != MS_OK)
        abort();
    self->wants[self->count++] = to;
}

/* Goes through the blocks as headers say; an end of zeros stays one. */
static void walk(struct job *self, uint8_t *bytes, size_t n, bool mended)
{
    for (size_t at = 0; n - at >= BLOCK;) {
        char field[13] = {0};
        static const uint8_t zeros[BLOCK];
        if (mended && memcmp(bytes + at, zeros, BLOCK) != 0)
            mend(bytes + at);
        memcpy(field, bytes + at + SIZE_AT, 12);
        uint64_t size = strtoull(field, NULL, 8);
        at += BLOCK;
        if (size > n - at)
            return;
        want(self, bytes + at, (size_t)size);
        uint64_t whole = (size + BLOCK - 1) / BLOCK * BLOCK;
        if (whole > n - at)
            return;
        at += (size_t)whole;
    }
}

/* Sorted and without doubles, as the argument has to be. */
static void settle(struct job *self)
{
    size_t kept = 0;
    qsort(self->wants, self->count, sizeof *self->wants, ms_tarjob_compare);
    for (size_t i = 0; i < self->count; i++)
        if (!kept || ms_tarjob_compare(&self->wants[kept - 1], &self->wants[i]) != 0)
            self->wants[kept++] = self->wants[i];
    self->count = kept;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct job job;
    struct ms_error err;
    int fd = -1;
    if (!size)
        return 0;
    size_t n = size - 1;
    uint8_t *bytes = malloc(n ? n : 1);
    if (!bytes || ms_file_memory("fuzz", &fd, NULL) != MS_OK)
        abort();
    memcpy(bytes, data + 1, n);
    memset(&job, 0, sizeof job);
    want(&job, (const uint8_t *)"nowhere: the archive is read to its end", 39);
    walk(&job, bytes, n, data[0] != 0);
    settle(&job);
    if (ms_file_write_all(fd, bytes, n, NULL) == MS_OK && lseek(fd, 0, SEEK_SET) == 0 &&
        ms_tarjob_run(fd, ms_span_of(job.wants, job.count * sizeof *job.wants), take_frame, &job,
                      &err) == MS_E_BUG)
        abort();
    close(fd);
    free(bytes);
    return 0;
}

/* Reads the tar.gz of a repository in the confined child and sends out the files that are wanted.
 * Names are not looked at: a file is wanted by its bytes. POSIX.1-2008, pax: the ustar header
 * block and the extended header record "size"; GNU tar's numbers in base 256. */
#include "collect/tarjob.h"

#include "base/limits.h"
#include "base/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_BYTES = 512,
    SCRATCH_BYTES = 128 << 10,
    PIECE_BYTES = 256 << 10,
    EXTENDED_BYTES_MAX = 1 << 20 /* of one pax header; git writes a few hundred */
};

/* Places in a header block. */
enum { SIZE_AT = 124, SIZE_BYTES = 12, SUM_AT = 148, SUM_BYTES = 8, TYPE_AT = 156 };

struct job {
    struct ms_stream *stream;
    ms_tarjob_emit emit;
    void *ctx;
    const struct ms_tarjob_want *wants;
    bool *sent; /* by want */
    size_t count, left;
    struct ms_hasher *hasher;
    uint8_t *scratch; /* SCRATCH_BYTES */
    bool has_size;    /* an extended header gave the next file's size */
    uint64_t size;
};

int ms_tarjob_compare(const void *a, const void *b)
{
    const struct ms_tarjob_want *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return memcmp(x->id, y->id, MS_SHA1_BYTES);
}

static enum ms_status damaged(struct ms_error *err)
{
    return ms_error_set(err, MS_REJECT, "the archive is damaged");
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static enum ms_status read_all(struct job *self, void *out, size_t n, struct ms_error *err)
{
    size_t done = 0, got = 1;
    enum ms_status status = MS_OK;
    while (status == MS_OK && done < n && got) {
        status = ms_stream_read(self->stream, (uint8_t *)out + done, n - done, &got, err);
        done += status == MS_OK ? got : 0;
    }
    return status == MS_OK && done < n ? ms_error_set(err, MS_REJECT, "the archive is cut short")
                                       : status;
}

static enum ms_status skip(struct job *self, uint64_t n, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    while (status == MS_OK && n) {
        size_t part = n < SCRATCH_BYTES ? (size_t)n : SCRATCH_BYTES;
        status = read_all(self, self->scratch, part, err);
        n -= part;
    }
    return status;
}

/* What fills a file's last block. */
static uint64_t padding(uint64_t size)
{
    return (BLOCK_BYTES - size % BLOCK_BYTES) % BLOCK_BYTES;
}

/* ---- headers --------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t block[BLOCK_BYTES])
{
    for (size_t i = 0; i < BLOCK_BYTES; i++)
        if (block[i])
            return false;
    return true;
}

/* Octal digits between blanks, ended by a blank, a NUL or the field's end. */
static bool read_octal(const uint8_t *field, size_t n, uint64_t *out)
{
    size_t i = 0;
    uint64_t value = 0;
    while (i < n && field[i] == ' ')
        i++;
    for (; i < n && field[i] >= '0' && field[i] <= '7'; i++) {
        if (value >> 60)
            return false;
        value = value << 3 | (uint64_t)(field[i] - '0');
    }
    *out = value;
    return i == n || field[i] == ' ' || field[i] == '\0';
}

static bool read_size(const uint8_t *field, uint64_t *out)
{
    uint64_t value = 0;
    if (field[0] != 0x80)
        return read_octal(field, SIZE_BYTES, out);
    for (size_t i = 1; i < SIZE_BYTES; i++) {
        if (value >> 56)
            return false;
        value = value << 8 | field[i];
    }
    *out = value;
    return true;
}

static bool sum_is_right(const uint8_t block[BLOCK_BYTES])
{
    uint64_t said, sum = 0;
    for (size_t i = 0; i < BLOCK_BYTES; i++)
        sum += i >= SUM_AT && i < SUM_AT + SUM_BYTES ? ' ' : block[i];
    return read_octal(block + SUM_AT, SUM_BYTES, &said) && said == sum;
}

/* "LENGTH KEY=VALUE\n" records; LENGTH counts the whole record. A record that makes no sense ends
 * the header: the size stays what the file's own block says. */
static void read_records(struct job *self, struct ms_span records)
{
    static const char key[] = "size=";
    while (records.len) {
        uint64_t n = 0;
        size_t digits = 0;
        while (digits < records.len && digits < 8 && records.data[digits] >= '0' &&
               records.data[digits] <= '9')
            n = n * 10 + (uint64_t)(records.data[digits++] - '0');
        if (!digits || digits >= records.len || records.data[digits] != ' ' || n > records.len ||
            n < digits + 2 || records.data[n - 1] != '\n')
            return;
        const uint8_t *text = records.data + digits + 1, *end = records.data + n - 1;
        if ((size_t)(end - text) >= sizeof key && memcmp(text, key, sizeof key - 1) == 0) {
            uint64_t size = 0;
            for (text += sizeof key - 1; text < end && *text >= '0' && *text <= '9'; text++)
                size =
                    size > UINT64_MAX / 16 ? UINT64_MAX / 2 : size * 10 + (uint64_t)(*text - '0');
            self->has_size = text == end;
            self->size = size;
        }
        records = ms_span_of(records.data + n, records.len - (size_t)n);
    }
}

static enum ms_status read_extended(struct job *self, uint64_t size, struct ms_error *err)
{
    if (size > EXTENDED_BYTES_MAX)
        return damaged(err);
    uint8_t *text = malloc((size_t)size + 1);
    if (!text)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = read_all(self, text, (size_t)size, err);
    if (status == MS_OK)
        read_records(self, ms_span_of(text, (size_t)size));
    free(text);
    return status == MS_OK ? skip(self, padding(size), err) : status;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* The first want of this size or a larger one. */
static size_t first_of_size(const struct job *self, uint64_t size)
{
    size_t low = 0, high = self->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (self->wants[middle].size < size)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool may_be_wanted(const struct job *self, uint64_t size)
{
    for (size_t i = first_of_size(self, size); i < self->count && self->wants[i].size == size; i++)
        if (!self->sent[i])
            return true;
    return false;
}

static enum ms_status send(struct job *self, size_t index, const uint8_t *bytes, size_t n,
                           struct ms_error *err)
{
    uint32_t number = (uint32_t)index;
    enum ms_status status = self->emit(self->ctx, MS_TARJOB_FILE, &number, sizeof number, err);
    for (size_t at = 0; at < n && status == MS_OK; at += PIECE_BYTES) {
        size_t part = n - at < PIECE_BYTES ? n - at : PIECE_BYTES;
        status = self->emit(self->ctx, MS_TARJOB_DATA, bytes + at, part, err);
    }
    self->sent[index] = true;
    self->left--;
    return status == MS_OK ? self->emit(self->ctx, MS_TARJOB_END, NULL, 0, err) : status;
}

/* Reads a file whole: its id is known at its end. */
static enum ms_status read_file(struct job *self, uint64_t size, struct ms_error *err)
{
    struct ms_tarjob_want key = {.size = size};
    struct ms_digests digests;
    char head[32];
    uint8_t *bytes = malloc((size_t)size + 1);
    if (!bytes)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status = read_all(self, bytes, (size_t)size, err);
    if (status == MS_OK) {
        int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
        ms_hasher_update(self->hasher, head, (size_t)n + 1);
        ms_hasher_update(self->hasher, bytes, (size_t)size);
        status = ms_hasher_finish(self->hasher, &digests, err);
    }
    if (status == MS_OK) {
        memcpy(key.id, digests.sha1, MS_SHA1_BYTES);
        const struct ms_tarjob_want *want =
            bsearch(&key, self->wants, self->count, sizeof key, ms_tarjob_compare);
        if (want && !self->sent[want - self->wants])
            status = send(self, (size_t)(want - self->wants), bytes, (size_t)size, err);
    }
    free(bytes);
    return status == MS_OK ? skip(self, padding(size), err) : status;
}

/* One header and what belongs to it. */
static enum ms_status read_member(struct job *self, const uint8_t block[BLOCK_BYTES],
                                  struct ms_error *err)
{
    uint64_t size;
    uint8_t type = block[TYPE_AT];
    if (!sum_is_right(block) || !read_size(block + SIZE_AT, &size))
        return damaged(err);
    if (type == 'x')
        return read_extended(self, size, err);
    /* About the whole archive, or a long name: a size that was given is still to be used. */
    if (type == 'g' || type == 'L' || type == 'K')
        return size > EXTENDED_BYTES_MAX ? damaged(err) : skip(self, size + padding(size), err);
    if (self->has_size)
        size = self->size;
    self->has_size = false;
    if (type >= '1' && type <= '6') /* links, devices, folders, pipes: nothing follows */
        return MS_OK;
    if (size > MS_LIMIT_TARBALL_PLAIN_BYTES)
        return damaged(err);
    if ((type == '0' || type == '\0' || type == '7') && may_be_wanted(self, size))
        return read_file(self, size, err);
    return skip(self, size + padding(size), err);
}

/* ---- the job --------------------------------------------------------------------------------- */

static enum ms_status read_archive(struct job *self, struct ms_error *err)
{
    uint8_t block[BLOCK_BYTES];
    enum ms_status status = MS_OK;
    while (status == MS_OK && self->left) {
        status = read_all(self, block, sizeof block, err);
        if (status != MS_OK || is_zero(block))
            break;
        status = read_member(self, block, err);
    }
    if (status == MS_E_LIMIT)
        return ms_error_set(err, MS_REJECT, "the archive is larger than its tree can be");
    return status;
}

static bool wants_are_right(const struct ms_tarjob_want *wants, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (wants[i].size > MS_LIMIT_GIT_BLOB_BYTES ||
            (i && ms_tarjob_compare(&wants[i - 1], &wants[i]) >= 0))
            return false;
    return count > 0;
}

enum ms_status ms_tarjob_run(int fd, struct ms_span arg, ms_tarjob_emit emit, void *ctx,
                             struct ms_error *err)
{
    struct job self = {.emit = emit, .ctx = ctx, .count = arg.len / sizeof *self.wants};
    struct ms_tarjob_want *wants = malloc(arg.len + 1);
    self.left = self.count;
    self.sent = calloc(self.count + 1, sizeof *self.sent);
    self.scratch = malloc(SCRATCH_BYTES);
    enum ms_status status = ms_hasher_new(MS_HASH_SHA1, &self.hasher, err);
    if (status == MS_OK && (!wants || !self.sent || !self.scratch))
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (status == MS_OK) {
        memcpy(wants, arg.data, arg.len);
        self.wants = wants;
        if (arg.len % sizeof *wants || !wants_are_right(wants, self.count))
            status = ms_error_set(err, MS_E_BUG, "the job's argument");
    }
    if (status == MS_OK)
        status = ms_stream_open(fd, MS_LIMIT_TARBALL_PLAIN_BYTES, &self.stream, err);
    if (status == MS_OK)
        status = read_archive(&self, err);
    if (self.stream)
        ms_stream_close(self.stream);
    ms_hasher_free(self.hasher);
    free(self.scratch);
    free(self.sent);
    free(wants);
    return status;
}

static enum ms_status emit_frame(void *ctx, uint32_t type, const void *bytes, size_t n,
                                 struct ms_error *err)
{
    enum ms_status status = ms_worker_emit(ctx, type, bytes, n);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

enum ms_status ms_tarjob_work(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                              struct ms_error *err)
{
    return ms_tarjob_run(input_fd, arg, emit_frame, out, err);
}

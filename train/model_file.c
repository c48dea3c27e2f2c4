/* Model files: opened, their bytes brought into memory that is ours alone. What the bytes mean is
 * model_read.c's. */
#define _GNU_SOURCE
#include "train/model_private.h"

#include "base/limits.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* LENGTH_BYTES: of the header's length, with which a file begins. */
enum { LENGTH_BYTES = 8, ALIGN_BYTES = 64, HUGE_BYTES = 1 << 21, PIECE_BYTES = 256 << 10 };

/* ---- numbers in memory ---- */

/* Tens of megabytes in small pages are thousands of page faults, which cost more than the reading:
 * large ones where there are any. A file that stayed mapped would cost less still, but could be cut
 * or changed by others after it was checked. */
enum ms_status ms_model_data_make(size_t len, struct ms_model_data *out, struct ms_error *err)
{
    void *at = NULL;
    const bool huge = len >= HUGE_BYTES;
    const size_t room = huge ? (len + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES : len ? len : 1;
    bool *doubtful = calloc(len / PIECE_BYTES + 1, sizeof *doubtful);
    if (!doubtful || len > SIZE_MAX / 2 ||
        posix_memalign(&at, huge ? HUGE_BYTES : ALIGN_BYTES, room) != 0) {
        free(doubtful);
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a model");
    }
#ifdef MADV_HUGEPAGE
    if (huge)
        (void)madvise(at, room, MADV_HUGEPAGE);
#endif
    *out = (struct ms_model_data){at, len, doubtful};
    return MS_OK;
}

void ms_model_data_release(struct ms_model_data *self)
{
    free(self->at);
    free(self->doubtful);
    *self = (struct ms_model_data){NULL, 0, NULL};
}

/* Sixteen at a time, in four sums: as fast as they come from the cache. */
static bool all_finite(const uint8_t *bytes, size_t n)
{
    typedef uint32_t group __attribute__((vector_size(16), aligned(4), may_alias));
    const uint32_t exponent = 0x7f800000u; /* all of its bits: infinite, or no number */
    const group *at = (const group *)(const void *)bytes;
    group bad[4] = {{0}, {0}, {0}, {0}};
    size_t i = 0;
    for (; i + 16 <= n; i += 16, at += 4) {
        bad[0] |= (group)((at[0] & exponent) == exponent);
        bad[1] |= (group)((at[1] & exponent) == exponent);
        bad[2] |= (group)((at[2] & exponent) == exponent);
        bad[3] |= (group)((at[3] & exponent) == exponent);
    }
    const group all = bad[0] | bad[1] | bad[2] | bad[3];
    uint32_t any = all[0] | all[1] | all[2] | all[3];
    for (; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, bytes + i * sizeof bits, sizeof bits);
        any |= (bits & exponent) == exponent;
    }
    return any == 0;
}

bool ms_model_data_piece(const struct ms_model_data *self, size_t i, size_t *from, size_t *bytes)
{
    if (i >= (self->len + PIECE_BYTES - 1) / PIECE_BYTES)
        return false;
    *from = i * PIECE_BYTES;
    *bytes = self->len - *from < PIECE_BYTES ? self->len - *from : PIECE_BYTES;
    return true;
}

void ms_model_data_look(struct ms_model_data *self, size_t i)
{
    size_t from, bytes;
    if (ms_model_data_piece(self, i, &from, &bytes))
        self->doubtful[i] = !all_finite(self->at + from, bytes / sizeof(float));
}

/* Whole numbers, too, may look like none: what is in doubt is looked at again by tensor. */
bool ms_model_data_finite(const struct ms_model_data *self, size_t from, size_t bytes)
{
    const size_t end = from + bytes;
    for (size_t at = from; at < end;) {
        const size_t piece = at / PIECE_BYTES, behind = (piece + 1) * PIECE_BYTES;
        const size_t stop = behind < end ? behind : end;
        if (self->doubtful[piece] && !all_finite(self->at + at, (stop - at) / sizeof(float)))
            return false;
        at = stop;
    }
    return true;
}

/* ---- the file ---- */

struct ms_model_file {
    struct ms_model *model;
    json_t *header;
    char shown[256];
    int fd;
    size_t data_len;     /* of the tensors, still to be read from fd */
    struct ms_span data; /* without a file: they are here */
    struct ms_buf bytes; /* room for the header */
};

void ms_model_file_close(struct ms_model_file *self)
{
    if (!self)
        return;
    if (self->fd >= 0)
        (void)close(self->fd);
    ms_model_free(self->model);
    json_decref(self->header);
    ms_buf_release(&self->bytes);
    free(self);
}

static struct ms_model_file *new_file(void)
{
    struct ms_model_file *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->fd = -1;
    ms_buf_init(&self->bytes, MS_LIMIT_MODEL_BYTES);
    self->model = calloc(1, sizeof *self->model);
    if (!self->model) {
        ms_model_file_close(self);
        return NULL;
    }
    return self;
}

static enum ms_status read_exactly(int fd, void *to, size_t n, struct ms_error *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = read(fd, (uint8_t *)to + done, n - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ms_error_set_errno(err, MS_E_INPUT, errno, "it cannot be read");
        if (got == 0)
            return ms_error_set(err, MS_E_INPUT, "it became shorter while it was read");
        done += (size_t)got;
    }
    return MS_OK;
}

/* Lengths and header of a file, and no more of it yet. */
static enum ms_status begin_file(struct ms_model_file *self, uint64_t size, struct ms_error *err)
{
    uint8_t first[LENGTH_BYTES];
    uint64_t length = 0;
    if (size < sizeof first)
        return ms_error_set(err, MS_E_INPUT, "it is shorter than a header");
    enum ms_status status = read_exactly(self->fd, first, sizeof first, err);
    if (status != MS_OK)
        return status;
    struct ms_span span = ms_span_of(first, sizeof first);
    if (!ms_span_take_u64le(&span, &length))
        return ms_error_set(err, MS_E_BUG, "eight bytes that are not eight");
    status = ms_model_header_check(length, size - sizeof first, err);
    if (status == MS_OK && ms_buf_reserve(&self->bytes, (size_t)length) != MS_OK)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for a model");
    if (status == MS_OK)
        status = read_exactly(self->fd, self->bytes.data, (size_t)length, err);
    if (status != MS_OK)
        return status;
    self->data_len = (size_t)(size - sizeof first - length);
    return ms_model_read_header(self->model, ms_span_of(self->bytes.data, (size_t)length),
                                &self->header, err);
}

/* All bytes are there, a caller's. */
static enum ms_status begin_bytes(struct ms_model_file *self, struct ms_span bytes,
                                  struct ms_error *err)
{
    uint64_t length;
    struct ms_span text;
    if (!ms_span_take_u64le(&bytes, &length))
        return ms_error_set(err, MS_E_INPUT, "it is shorter than a header");
    enum ms_status status = ms_model_header_check(length, bytes.len, err);
    if (status != MS_OK)
        return status;
    if (!ms_span_take(&bytes, length, &text))
        return ms_error_set(err, MS_E_INPUT, "its header is cut short");
    self->data = bytes;
    return ms_model_read_header(self->model, text, &self->header, err);
}

static enum ms_status finish(struct ms_model_file *self, unsigned jobs, struct ms_error *err)
{
    struct ms_model_data *to = &self->model->data;
    enum ms_status status =
        ms_model_data_make(self->fd >= 0 ? self->data_len : self->data.len, to, err);
    size_t from, bytes;
    for (size_t i = 0; status == MS_OK && ms_model_data_piece(to, i, &from, &bytes); i++) {
        if (self->fd >= 0)
            status = read_exactly(self->fd, to->at + from, bytes, err);
        else
            memcpy(to->at + from, self->data.data + from, bytes);
        if (status == MS_OK)
            ms_model_data_look(to, i);
    }
    return status == MS_OK ? ms_model_read_numbers(self->model, self->header, jobs, err) : status;
}

static void hand_over(struct ms_model_file *self, struct ms_model **out)
{
    *out = self->model;
    self->model = NULL;
}

enum ms_status ms_model_decode(struct ms_span bytes, unsigned jobs, struct ms_model **out,
                               struct ms_error *err)
{
    struct ms_model_file *self = new_file();
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a model");
    enum ms_status status = begin_bytes(self, bytes, err);
    if (status == MS_OK)
        status = finish(self, jobs, err);
    if (status == MS_OK)
        hand_over(self, out);
    ms_model_file_close(self);
    return status;
}

/* ---- opening ---- */

/* Opens what the path means. Regular files alone, whose size is known before a byte is read: who
 * is given a path must not wait for what never comes, nor read without end. */
static enum ms_status open_path(struct ms_model_file *self, const char *path, uint64_t *size,
                                struct ms_error *err)
{
    struct stat st;
    struct ms_buf file;
    enum ms_status status = MS_OK;
    ms_buf_init(&file, 65536);
    (void)ms_buf_append_text(&file, path);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        (void)ms_buf_append_text(&file, "/model.safetensors");
    if (file.failed) {
        ms_buf_release(&file);
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a model");
    }
    self->fd = open(ms_buf_text(&file), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ms_escape_text(ms_buf_text(&file), self->shown, sizeof self->shown);
    if (self->fd < 0 || fstat(self->fd, &st) != 0)
        status = ms_error_set_errno(err, MS_E_INPUT, errno, "cannot open it");
    else if (!S_ISREG(st.st_mode))
        status = ms_error_set(err, MS_E_INPUT, "it is no regular file");
    else if ((uint64_t)st.st_size > MS_LIMIT_MODEL_BYTES)
        status = ms_error_set(err, MS_E_INPUT, "it is larger than the %zu bytes allowed",
                              MS_LIMIT_MODEL_BYTES);
    else
        *size = (uint64_t)st.st_size;
    ms_buf_release(&file);
    return status;
}

static enum ms_status end_with(enum ms_status status, const struct ms_model_file *self,
                               struct ms_error *err)
{
    ms_error_prepend(err, "model '%s'", self->shown);
    if (err)
        err->status = status;
    return status;
}

enum ms_status ms_model_file_open(const char *path, struct ms_model_file **out,
                                  struct ms_error *err)
{
    struct ms_model_file *self = new_file();
    uint64_t size = 0;
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a model");
    ms_escape_text(path, self->shown, sizeof self->shown);
    enum ms_status status = open_path(self, path, &size, err);
    if (status == MS_OK)
        status = begin_file(self, size, err);
    if (status == MS_OK) {
        *out = self;
        return MS_OK;
    }
    status = end_with(status, self, err);
    ms_model_file_close(self);
    return status;
}

const struct ms_model_facts *ms_model_file_facts(const struct ms_model_file *self)
{
    return &self->model->facts;
}

enum ms_status ms_model_file_finish(struct ms_model_file *self, unsigned jobs,
                                    struct ms_model **out, struct ms_error *err)
{
    enum ms_status status = finish(self, jobs, err);
    if (status == MS_OK)
        hand_over(self, out);
    else
        status = end_with(status, self, err);
    ms_model_file_close(self);
    return status;
}

enum ms_status ms_model_open(const char *path, unsigned jobs, struct ms_model **out,
                             struct ms_error *err)
{
    struct ms_model_file *file;
    enum ms_status status = ms_model_file_open(path, &file, err);
    return status == MS_OK ? ms_model_file_finish(file, jobs, out, err) : status;
}

/* Where the scanner's bytes come from: blocks of a source, or a document in memory; and what
 * becomes of faults. Knows nothing of JSON. */
#include "base/scan_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_BLOCK_BYTES = 256 << 10, TAIL_BYTES = MS_SCAN_PAD_BYTES };

uint64_t ms_scanner_byte(const struct ms_scanner *self)
{
    return self->base + (uint64_t)(self->pos - self->block);
}

uint64_t ms_scanner_line(const struct ms_scanner *self)
{
    /* Of a document in memory lines are counted when somebody asks, not as it is read. */
    if (!self->source) {
        const uint8_t *start = self->document.data;
        return start ? ms_scanner_count_lines(start, start + ms_scanner_byte(self)) + 1 : 1;
    }
    return self->lines + ms_scanner_count_lines(self->block, self->pos) + 1;
}

static enum ms_status create(size_t bytes, struct ms_scanner **out, struct ms_error *err)
{
    struct ms_scanner *self = calloc(1, sizeof *self);
    uint8_t *own = self ? calloc(1, bytes + MS_SCAN_PAD_BYTES) : NULL;
    if (!own) {
        free(self);
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    }
    self->own = own;
    self->own_bytes = bytes;
    self->block = self->pos = self->end = own;
    self->value_due = true;
    self->kernel = ms_scanner_kernel_best();
    ms_buf_init(&self->text, MS_LIMIT_JSON_STRING_BYTES);
    ms_buf_init(&self->held, (size_t)8 * MS_LIMIT_JSON_STRING_BYTES);
    *out = self;
    return MS_OK;
}

enum ms_status ms_scanner_new(ms_scanner_source source, void *source_ctx, size_t block_bytes,
                              struct ms_scanner **out, struct ms_error *err)
{
    enum ms_status status = create(block_bytes ? block_bytes : DEFAULT_BLOCK_BYTES, out, err);
    if (status == MS_OK) {
        (*out)->source = source;
        (*out)->source_ctx = source_ctx;
    }
    return status;
}

enum ms_status ms_scanner_new_memory(struct ms_scanner **out, struct ms_error *err)
{
    enum ms_status status = create(TAIL_BYTES, out, err);
    if (status == MS_OK)
        ms_scanner_restart(*out, (struct ms_span){0});
    return status;
}

void ms_scanner_restart(struct ms_scanner *self, struct ms_span document)
{
    size_t front = document.len > TAIL_BYTES ? document.len - TAIL_BYTES : 0;
    self->document = document;
    self->block = self->pos = front ? document.data : self->own;
    self->end = self->block + front;
    self->base = 0;
    self->at_end = self->first = self->keeping = false;
    self->value_due = true;
    self->depth = 0;
    self->failed = MS_OK;
}

void ms_scanner_allow_non_finite(struct ms_scanner *self, bool allow)
{
    self->non_finite = allow;
}

void ms_scanner_free(struct ms_scanner *self)
{
    if (!self)
        return;
    ms_buf_release(&self->text);
    ms_buf_release(&self->held);
    free(self->own);
    free(self);
}

/* --- faults --- */

enum ms_status ms_scanner_stick(struct ms_scanner *self, enum ms_status status)
{
    self->failed = status;
    self->error.status = status;
    return status;
}

enum ms_status ms_scanner_bad(struct ms_scanner *self, const char *why)
{
    if (self->failed)
        return self->failed;
    ms_error_set(&self->error, MS_REJECT, "line %" PRIu64 ", byte %" PRIu64 ": %s",
                 ms_scanner_line(self), ms_scanner_byte(self), why);
    return ms_scanner_stick(self, MS_REJECT);
}

enum ms_status ms_scanner_misused(struct ms_scanner *self, const char *why)
{
    if (self->failed)
        return self->failed;
    ms_error_set(&self->error, MS_E_BUG, "report scanner: %s", why);
    return ms_scanner_stick(self, MS_E_BUG);
}

/* --- bytes --- */

void ms_scanner_keep(struct ms_scanner *self, const void *bytes, size_t n)
{
    size_t room = self->text.max - self->text.len;
    if (n > room) {
        n = room;
        self->text_cut = true;
    }
    if (n && ms_buf_append(&self->text, bytes, n) != MS_OK && !self->failed) {
        ms_error_set(&self->error, MS_E_NOMEM, "no memory to read a report");
        ms_scanner_stick(self, MS_E_NOMEM);
    }
}

/* Takes up the copy of a document's last bytes; false behind them. */
static bool refill_tail(struct ms_scanner *self)
{
    size_t done = (size_t)(self->end - self->block);
    if (self->block == self->own && done > 0)
        return false;
    size_t n = self->document.len - done;
    self->base = done;
    if (n > 0)
        memcpy(self->own, self->document.data + done, n);
    memset(self->own + n, 0, MS_SCAN_PAD_BYTES);
    self->block = self->pos = self->own;
    self->end = self->own + n;
    return n != 0;
}

bool ms_scanner_refill(struct ms_scanner *self)
{
    if (self->at_end || self->failed)
        return false;
    if (!self->source) {
        self->at_end = !refill_tail(self);
        return !self->at_end;
    }
    if (self->keeping)
        ms_scanner_keep(self, self->from, (size_t)(self->end - self->from));
    self->lines += ms_scanner_count_lines(self->block, self->end);
    self->base += (uint64_t)(self->end - self->block);
    self->pos = self->end = self->from = self->own;
    size_t n = 0;
    enum ms_status status =
        self->source(self->source_ctx, self->own, self->own_bytes, &n, &self->error);
    if (status != MS_OK) {
        ms_scanner_stick(self, status);
        return false;
    }
    self->at_end = n == 0;
    self->end = self->own + n;
    memset(self->own + n, 0, MS_SCAN_PAD_BYTES);
    return n != 0;
}

/* The bounded byte buffer. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ms_buf_init(struct ms_buf *self, size_t max_bytes)
{
    *self = (struct ms_buf){.max = max_bytes};
}

void ms_buf_release(struct ms_buf *self)
{
    free(self->data);
    *self = (struct ms_buf){.max = self->max};
}

void ms_buf_clear(struct ms_buf *self)
{
    self->len = 0;
    self->failed = false;
}

static enum ms_status fail(struct ms_buf *self, enum ms_status status)
{
    self->failed = true;
    return status;
}

enum ms_status ms_buf_reserve(struct ms_buf *self, size_t n)
{
    if (self->failed)
        return MS_E_LIMIT;
    if (n > self->max - self->len)
        return fail(self, MS_E_LIMIT);
    size_t need = self->len + n;
    if (need < self->cap)
        return MS_OK;
    size_t cap = self->cap ? self->cap : 256;
    while (cap <= need && cap <= SIZE_MAX / 2)
        cap *= 2;
    if (cap <= need)
        return fail(self, MS_E_NOMEM);
    if (cap > self->max + 1 && need < self->max + 1 && self->max < SIZE_MAX)
        cap = self->max + 1;
    uint8_t *data = realloc(self->data, cap);
    if (!data)
        return fail(self, MS_E_NOMEM);
    self->data = data;
    self->cap = cap;
    return MS_OK;
}

enum ms_status ms_buf_append(struct ms_buf *self, const void *bytes, size_t n)
{
    enum ms_status status = ms_buf_reserve(self, n);
    if (status != MS_OK)
        return status;
    if (n)
        memcpy(self->data + self->len, bytes, n);
    self->len += n;
    self->data[self->len] = 0;
    return MS_OK;
}

enum ms_status ms_buf_append_text(struct ms_buf *self, const char *text)
{
    return ms_buf_append(self, text, strlen(text));
}

enum ms_status ms_buf_append_byte(struct ms_buf *self, uint8_t byte)
{
    return ms_buf_append(self, &byte, 1);
}

enum ms_status ms_buf_printf(struct ms_buf *self, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    enum ms_status status = n < 0 ? fail(self, MS_E_BUG) : ms_buf_reserve(self, (size_t)n);
    if (status == MS_OK) {
        (void)vsnprintf((char *)self->data + self->len, (size_t)n + 1, fmt, again);
        self->len += (size_t)n;
    }
    va_end(again);
    return status;
}

enum ms_status ms_buf_append_varint(struct ms_buf *self, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;
    while (value >= 0x80) {
        bytes[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (uint8_t)value;
    return ms_buf_append(self, bytes, n);
}

const char *ms_buf_text(const struct ms_buf *self)
{
    return self->len ? (const char *)self->data : "";
}

uint8_t *ms_buf_take(struct ms_buf *self, size_t *len)
{
    uint8_t *data = self->data;
    *len = self->len;
    *self = (struct ms_buf){.max = self->max};
    return data;
}

/* Fields and rows out of comma-separated text. A row costs no memory but its present field. */
#include "extract/dataset_csv.h"

#include <string.h>

static void keep(struct ms_csv *self, const uint8_t *bytes, size_t n)
{
    size_t room = sizeof self->bytes - self->len;
    self->open = true;
    if (n > room) {
        self->cut = true;
        n = room;
    }
    if (n)
        memcpy(self->bytes + self->len, bytes, n);
    self->len += n;
}

static enum ms_status end_field(struct ms_csv *self, struct ms_error *err)
{
    enum ms_status status = self->events.field(self->events.ctx, self->column++,
                                               ms_span_of(self->bytes, self->len), self->cut, err);
    self->open = true;
    self->len = 0;
    self->cut = self->quoted = self->closed = false;
    return status;
}

static enum ms_status end_row(struct ms_csv *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    self->line++;
    if (self->open) {
        self->damaged |= self->quoted;
        status = end_field(self, err);
        if (status == MS_OK)
            status =
                self->events.row(self->events.ctx, self->line, self->column, self->damaged, err);
    }
    self->open = self->damaged = false;
    self->column = 0;
    return status;
}

/* One byte that means something where it stands. */
static enum ms_status take_mark(struct ms_csv *self, uint8_t byte, struct ms_error *err)
{
    if (byte == '\n' || byte == '\r') {
        bool second = byte == '\n' && self->carriage;
        self->carriage = byte == '\r';
        return second ? MS_OK : end_row(self, err);
    }
    self->carriage = false;
    if (byte == ',' && !self->quoted)
        return end_field(self, err);
    if (byte != '"') {
        keep(self, &byte, 1);
    } else if (self->quoted) {
        self->quoted = false;
        self->closed = true;
    } else if (self->closed) { /* doubled: one of the field's own */
        self->quoted = true;
        self->closed = false;
        keep(self, &byte, 1);
    } else if (!self->len) {
        self->open = self->quoted = true;
    } else {
        keep(self, &byte, 1);
    }
    return MS_OK;
}

static bool is_mark(uint8_t byte)
{
    return byte == ',' || byte == '"' || byte == '\n' || byte == '\r';
}

/* The byte order mark of UTF-8 in front of everything. What only begins like one is kept. */
static size_t pass_mark(struct ms_csv *self, const uint8_t *bytes, size_t n)
{
    static const uint8_t mark[3] = {0xef, 0xbb, 0xbf};
    size_t at = 0;
    while (at < n && self->mark < sizeof mark && bytes[at] == mark[self->mark]) {
        self->mark++;
        at++;
    }
    if (at < n || self->mark == sizeof mark) {
        self->begun = true;
        if (self->mark < sizeof mark)
            keep(self, mark, self->mark);
    }
    return at;
}

enum ms_status ms_csv_take(struct ms_csv *self, const uint8_t *bytes, size_t n,
                           struct ms_error *err)
{
    enum ms_status status = MS_OK;
    size_t at = self->begun ? 0 : pass_mark(self, bytes, n);
    while (at < n && status == MS_OK) {
        size_t end = at;
        while (end < n && !is_mark(bytes[end]))
            end++;
        if (end > at) {
            self->damaged |= self->closed; /* text behind the closing quote */
            self->carriage = false;
            keep(self, bytes + at, end - at);
            at = end;
            continue;
        }
        status = take_mark(self, bytes[at++], err);
    }
    return status;
}

enum ms_status ms_csv_end(struct ms_csv *self, struct ms_error *err)
{
    if (!self->begun && self->mark)
        keep(self, (const uint8_t *)"\xef\xbb", self->mark);
    return self->open ? end_row(self, err) : MS_OK;
}

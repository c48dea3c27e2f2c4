/* The scanner's inside, shared by its three files; no one else includes it. scan_source.c has
 * blocks and faults, scan_text.c what is rare in strings, scan.c the rest. */
#ifndef MS_BASE_SCAN_PRIVATE_H
#define MS_BASE_SCAN_PRIVATE_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/scan.h"
#include "base/scan_bytes.h"

enum { NO_BYTE = -1 };

/* A document in memory is read where it lies, but for its last bytes: these are copied to `own`,
 * because a vector load at the document's end would reach beyond it. Places in that copy stand for
 * the document's own (see ms_scanner_place). */
struct ms_scanner {
    ms_scanner_source source; /* NULL: the document lies in memory */
    void *source_ctx;
    const uint8_t *block;
    uint8_t *own; /* the block read into */
    size_t own_bytes;
    struct ms_span document;  /* in memory */
    const uint8_t *pos, *end; /* what is left of the block */
    uint64_t base;            /* offset of the block in the document */
    uint64_t lines;           /* line feeds before the block */
    bool at_end;
    bool non_finite; /* NaN and the infinities are numbers */
    bool value_due;  /* a value comes next */
    bool first;      /* nothing of the innermost container was read yet */
    bool keeping;    /* a string or number is being collected from `from` on */
    bool text_cut;
    const uint8_t *from;
    struct ms_buf text;
    size_t depth;
    uint8_t open[MS_LIMIT_JSON_DEPTH]; /* '{' or '[' */
    enum ms_status failed;
    struct ms_error error; /* when failed */
};

/* Makes a status stick; the text of self->error is the caller's to set. */
enum ms_status ms_scanner_stick(struct ms_scanner *self, enum ms_status status);
/* A fault of the document, or of the caller's, at the present place; the first one stays. */
enum ms_status ms_scanner_bad(struct ms_scanner *self, const char *why);
enum ms_status ms_scanner_misused(struct ms_scanner *self, const char *why);

/* Collects bytes of the text being kept, up to the cap. */
void ms_scanner_keep(struct ms_scanner *self, const void *bytes, size_t n);
/* Replaces the used-up block by the next; false at the end or when the source failed. */
bool ms_scanner_refill(struct ms_scanner *self);

/* One or more escapes in a row, the cursor on the first backslash. */
enum ms_status ms_scanner_take_escapes(struct ms_scanner *self);
/* One character above U+007F, the cursor on its first byte (RFC 3629: shortest form, no
 * surrogates, at most U+10FFFF). */
enum ms_status ms_scanner_take_wide(struct ms_scanner *self);

/* Where a place in the block lies for good: in the document when that is in memory. */
static inline const uint8_t *ms_scanner_place(const struct ms_scanner *self, const uint8_t *p)
{
    return self->source || self->block != self->own
               ? p
               : self->document.data + self->base + (p - self->block);
}

/* The byte at the cursor, or NO_BYTE. */
static inline int ms_scanner_peek_byte(struct ms_scanner *self)
{
    if (self->pos == self->end && !ms_scanner_refill(self))
        return NO_BYTE;
    return *self->pos;
}

/* Skips white space and gives the byte behind it, not consumed. */
static inline int ms_scanner_peek_token(struct ms_scanner *self)
{
    for (;;) {
        if (self->pos<self->end && * self->pos> ' ')
            return *self->pos;
        const uint8_t *p = ms_scanner_past_space(self->pos, self->end);
        self->pos = p;
        if (p < self->end)
            return *p;
        if (!ms_scanner_refill(self))
            return NO_BYTE;
    }
}

#endif

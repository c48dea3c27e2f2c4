/* The scanner's inside, shared by its files; no one else includes it. scan_source.c has blocks and
 * faults, scan_text.c what is rare in strings, scan_value.c whole values, scan_skip.c those that
 * nobody reads, scan_kernel.c and scan_avx*.c what wide vectors do, scan.c the rest. */
#ifndef MS_BASE_SCAN_PRIVATE_H
#define MS_BASE_SCAN_PRIVATE_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/scan.h"
#include "base/scan_bytes.h"
#include "base/scan_kernel.h"

#include <string.h>

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
    bool loose;      /* MS_SCAN_CHECK_STRUCTURE */
    const struct ms_scanner_kernel *kernel;
    bool value_due; /* a value comes next */
    bool first;     /* nothing of the innermost container was read yet */
    bool keeping;   /* a string or number is being collected from `from` on */
    bool text_cut;
    const uint8_t *from;
    struct ms_buf text;
    struct ms_buf held; /* texts with escapes of one object or array taken whole */
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

/* The rest of a string behind its opening quote, to the closing one; collects it when
 * self->keeping. */
enum ms_status ms_scanner_take_string(struct ms_scanner *self);
/* The same from behind the opening quote to behind the closing one, with the text. */
enum ms_status ms_scanner_take_text(struct ms_scanner *self, struct ms_scanner_text *out);
/* Begins to collect at the cursor, and ends it. */
void ms_scanner_keep_begin(struct ms_scanner *self);
void ms_scanner_keep_end(struct ms_scanner *self, struct ms_scanner_text *out);
/* The kind of the value that begins with c. */
enum ms_status ms_scanner_kind_at(struct ms_scanner *self, int c, enum ms_scanner_kind *out);
/* A value that is no container and begins with c, whole. */
enum ms_status ms_scanner_take_scalar(struct ms_scanner *self, int c);
/* The value at the cursor, whatever it holds, without recursion. */
enum ms_status ms_scanner_skip_value(struct ms_scanner *self);
/* The container at the cursor; of what is in it only strings, brackets and UTF-8 are checked. */
enum ms_status ms_scanner_skip_structure(struct ms_scanner *self);

/* What Python's json module reads and writes for numbers that are none; JSON knows them not. */
static inline bool ms_scanner_is_non_finite(const struct ms_scanner *self, int c)
{
    return self->non_finite && (c == 'N' || c == 'I');
}

/* See ms_scanner_fields and ms_scanner_items; the container is open already. */
enum ms_status ms_scanner_take_fields(struct ms_scanner *self, const struct ms_scanner_name *names,
                                      size_t count, struct ms_scanner_field *out);
enum ms_status ms_scanner_take_items(struct ms_scanner *self, size_t max,
                                     struct ms_scanner_field *out, size_t *count);

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

/* The cursor in registers: what is read in a tight loop goes forward on a copy of it, and puts it
 * back into the scanner for what is rare. Each put back and taken out again costs a few cycles a
 * token, which is what made the difference. */
struct ms_scanner_view {
    const uint8_t *p, *end;
};

#define MS_SCAN_INLINE static inline __attribute__((always_inline))

MS_SCAN_INLINE void ms_scanner_put(struct ms_scanner *self, const struct ms_scanner_view *v)
{
    self->pos = v->p;
}

MS_SCAN_INLINE void ms_scanner_get(const struct ms_scanner *self, struct ms_scanner_view *v)
{
    v->p = self->pos;
    v->end = self->end;
}

/* The byte behind white space, not consumed, or NO_BYTE. */
MS_SCAN_INLINE int ms_scanner_view_token(struct ms_scanner *self, struct ms_scanner_view *v)
{
    if (v->p<v->end && * v->p> ' ')
        return *v->p;
    ms_scanner_put(self, v);
    int c = ms_scanner_peek_token(self);
    ms_scanner_get(self, v);
    return c;
}

/* From behind a string's opening quote to behind the closing one. */
MS_SCAN_INLINE enum ms_status ms_scanner_view_string(struct ms_scanner *self,
                                                     struct ms_scanner_view *v)
{
    v->p = ms_scanner_past_plain(v->p, v->end);
    if (v->p == v->end || *v->p != '"') {
        ms_scanner_put(self, v);
        enum ms_status status = ms_scanner_take_string(self);
        if (status != MS_OK)
            return status;
        ms_scanner_get(self, v);
    }
    v->p++;
    return MS_OK;
}

/* Over a value that is no container and begins with c at the cursor. */
MS_SCAN_INLINE enum ms_status ms_scanner_view_scalar(struct ms_scanner *self,
                                                     struct ms_scanner_view *v, int c)
{
    const uint8_t *p = v->p;
    if (c == '"') {
        v->p++;
        return ms_scanner_view_string(self, v);
    }
    if (c == 'n' && v->end - p >= 4 && memcmp(p, "null", 4) == 0) {
        v->p += 4;
        return MS_OK;
    }
    if (c == 't' && v->end - p >= 4 && memcmp(p, "true", 4) == 0) {
        v->p += 4;
        return MS_OK;
    }
    if (c >= '1' && c <= '9') {
        do
            p++;
        while (p < v->end && *p >= '0' && *p <= '9');
        if (p < v->end && *p != '.' && (*p | 0x20) != 'e') {
            v->p = p;
            return MS_OK;
        }
    }
    ms_scanner_put(self, v);
    enum ms_status status = ms_scanner_take_scalar(self, c);
    ms_scanner_get(self, v);
    return status;
}

/* A fault at the view's cursor. */
MS_SCAN_INLINE enum ms_status ms_scanner_view_bad(struct ms_scanner *self,
                                                  const struct ms_scanner_view *v, const char *why)
{
    ms_scanner_put(self, v);
    return ms_scanner_bad(self, why);
}

/* A string's text, from behind the opening quote to behind the closing one. */
MS_SCAN_INLINE enum ms_status ms_scanner_view_text(struct ms_scanner *self,
                                                   struct ms_scanner_view *v,
                                                   struct ms_scanner_text *out)
{
    const uint8_t *p = ms_scanner_past_plain(v->p, v->end);
    size_t n = (size_t)(p - v->p);
    if (p < v->end && *p == '"' && n <= MS_LIMIT_JSON_STRING_BYTES) {
        *out = (struct ms_scanner_text){ms_span_of(ms_scanner_place(self, v->p), n), false};
        v->p = p + 1;
        return MS_OK;
    }
    ms_scanner_put(self, v);
    enum ms_status status = ms_scanner_take_text(self, out);
    ms_scanner_get(self, v);
    return status;
}

/* Behind an opening bracket (`first`) or a value: onto the next item, an object's being behind the
 * quote of its key; or *more = false behind the closing bracket. */
MS_SCAN_INLINE enum ms_status ms_scanner_view_item(struct ms_scanner *self,
                                                   struct ms_scanner_view *v, bool object,
                                                   bool first, bool *more)
{
    int c = ms_scanner_view_token(self, v);
    *more = true;
    if (c == ',' && !first) {
        v->p++;
        if (!object)
            return MS_OK;
        c = ms_scanner_view_token(self, v);
    } else if (c == (object ? '}' : ']')) {
        v->p++;
        *more = false;
        return MS_OK;
    } else if (c == NO_BYTE) {
        return ms_scanner_view_bad(self, v,
                                   object ? "ends within an object" : "ends within an array");
    } else if (!first) {
        return ms_scanner_view_bad(self, v,
                                   object ? "neither a comma nor the end of an object"
                                          : "neither a comma nor the end of an array");
    } else if (!object) {
        return MS_OK;
    }
    if (c != '"')
        return ms_scanner_view_bad(
            self, v, c == NO_BYTE ? "ends within an object" : "no key where one must be");
    v->p++;
    return MS_OK;
}

/* Over the colon behind a key. */
MS_SCAN_INLINE enum ms_status ms_scanner_view_colon(struct ms_scanner *self,
                                                    struct ms_scanner_view *v)
{
    int c = ms_scanner_view_token(self, v);
    if (c != ':')
        return ms_scanner_view_bad(
            self, v, c == NO_BYTE ? "ends within an object" : "no colon behind a key");
    v->p++;
    return MS_OK;
}

#endif

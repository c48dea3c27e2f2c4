/* Cutting streams into JSON objects: by lines where the layout allows, else bracket by bracket. It
 * decodes nothing. */
#include "label/split.h"

#include "base/limits.h"
#include "base/scan_bytes.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_BYTES = 256 << 10,
    INDENT_MOST = 64,    /* blanks in front of an object whose end is looked for by its column */
    DISTRUST_FIRST = 16, /* pieces cut by brackets after lines have misled */
    DISTRUST_MOST = 1 << 24
};
#define NOWHERE UINT64_MAX

/* The cut by brackets, while it is under way. */
struct walk {
    size_t at; /* behind `start` */
    unsigned depth;
    bool in_string;
    uint8_t before; /* the last byte that counts: brackets, ',', ':', 'v' for the end of a value */
    uint64_t arrays[MS_LIMIT_SCAN_DEPTH / 64 + 1]; /* which levels are arrays, a bit each */
};

struct ms_splitter {
    ms_scanner_source source;
    void *source_ctx;
    size_t block_bytes;
    uint8_t *data; /* cap + MS_SCAN_PAD_BYTES bytes */
    size_t cap, len;
    size_t at;     /* what comes next */
    size_t start;  /* of the piece being cut; bytes from here on are kept */
    uint64_t base; /* of data[0] in the stream */
    bool ended;
    struct ms_error failure; /* of the source: told when all that came before it is cut */
    bool in_array;
    size_t counted; /* `line` is that of data[counted] */
    uint64_t line;
    uint64_t line_start; /* where the present line begins, if only blanks came since; or NOWHERE */
    uint64_t line_end;   /* the first line feed behind `at`; NOWHERE: not looked for */
    uint64_t distrust;   /* so many pieces are cut by brackets before lines are believed again */
    uint64_t next_distrust; /* doubled with each search that was in vain */
    bool by_indent;         /* how the last piece was guessed */
    bool array_hurt;        /* a fault lay in the array: its end may have been skipped */
    struct walk walk;
};

enum ms_status ms_splitter_new(ms_scanner_source source, void *source_ctx, size_t block_bytes,
                               const struct ms_split_state *state, struct ms_splitter **out,
                               struct ms_error *err)
{
    struct ms_splitter *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->data = calloc(1, MS_SCAN_PAD_BYTES);
    if (!self->data) {
        free(self);
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    self->source = source;
    self->source_ctx = source_ctx;
    self->block_bytes = block_bytes ? block_bytes : BLOCK_BYTES;
    self->line = state ? state->line : 1;
    self->base = state ? state->byte : 0;
    self->in_array = state && state->in_array;
    self->line_start = state && state->byte ? NOWHERE : 0;
    self->line_end = NOWHERE;
    self->next_distrust = DISTRUST_FIRST;
    *out = self;
    return MS_OK;
}

void ms_splitter_free(struct ms_splitter *self)
{
    if (!self)
        return;
    free(self->data);
    free(self);
}

/* The line of data[to]. */
static uint64_t line_of(struct ms_splitter *self, size_t to)
{
    if (to > self->counted) {
        self->line += ms_scanner_count_lines(self->data + self->counted, self->data + to);
        self->counted = to;
    }
    return self->line;
}

struct ms_split_state ms_splitter_state(struct ms_splitter *self)
{
    uint64_t line = line_of(self, self->at);
    return (struct ms_split_state){self->base + self->at, line, self->in_array};
}

/* Drops what lies before `start` and the blanks in front of it. */
static void slide(struct ms_splitter *self)
{
    size_t by = self->start;
    if (self->line_start != NOWHERE && self->line_start >= self->base)
        by = (size_t)(self->line_start - self->base);
    if (self->start - by > INDENT_MOST)
        by = self->start;
    if (by == 0)
        return;
    (void)line_of(self, by);
    memmove(self->data, self->data + by, self->len - by);
    self->base += by;
    self->len -= by;
    self->at -= by;
    self->counted -= by;
    self->start -= by;
}

/* Reads another block behind what is kept; nothing when the source has ended. */
static enum ms_status fill(struct ms_splitter *self, struct ms_error *err)
{
    size_t n = 0;
    if (self->ended)
        return MS_OK;
    if (self->cap - self->len < self->block_bytes)
        slide(self);
    if (self->cap - self->len < self->block_bytes) {
        size_t cap = self->len + 2 * self->block_bytes + self->cap / 2;
        uint8_t *data = realloc(self->data, cap + MS_SCAN_PAD_BYTES);
        if (!data)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        memset(data + cap, 0, MS_SCAN_PAD_BYTES);
        self->data = data;
        self->cap = cap;
    }
    struct ms_error why = {.status = MS_OK};
    enum ms_status status =
        self->source(self->source_ctx, self->data + self->len, self->block_bytes, &n, &why);
    if (status != MS_OK) {
        self->failure = why;
        self->failure.status = status;
        n = 0;
    }
    self->ended = n == 0;
    self->len += n;
    /* Vector loads may look here. */
    memset(self->data + self->len, 0, MS_SCAN_PAD_BYTES);
    return MS_OK;
}

static bool too_long(const struct ms_splitter *self)
{
    return self->len - self->start > MS_LIMIT_SCAN_BYTES;
}

/* ---- behind a fault ---- */

/* Goes to the next line from `self->at` on that begins an object or an array. */
static enum ms_status resume(struct ms_splitter *self, struct ms_error *err)
{
    for (;;) {
        const uint8_t *from = self->data + self->at;
        size_t n = self->len - self->at;
        const uint8_t *feed = n ? memchr(from, '\n', n) : NULL;
        size_t next = feed ? (size_t)(feed - self->data) + 1 : self->len;
        if (feed && next < self->len) {
            self->at = self->start = next;
            if (self->data[next] != '{' && self->data[next] != '[')
                continue;
            if (self->data[next] == '[')
                self->in_array = false;
            self->line_start = self->base + next;
            return MS_OK;
        }
        if (self->ended) {
            self->at = self->start = self->len;
            self->in_array = false; /* what was open has been complained of */
            return MS_OK;
        }
        self->at = self->start = feed ? next - 1 : self->len;
        enum ms_status status = fill(self, err);
        if (status != MS_OK)
            return status;
    }
}

/* A fault of what begins at `start`; `behind`: go on behind what was looked at, not behind the
 * first line. */
static enum ms_status give_fault(struct ms_splitter *self, const char *why, bool behind,
                                 struct ms_piece *piece, struct ms_error *err)
{
    *piece = (struct ms_piece){.byte = self->base + self->start,
                               .line = line_of(self, self->start),
                               .fault = why,
                               .sure = true};
    self->at = self->start + (behind ? self->walk.at : 0);
    self->start = self->at;
    self->array_hurt = true;
    self->line_start = NOWHERE;
    return resume(self, err);
}

static void give_object(struct ms_splitter *self, size_t n, bool sure, struct ms_piece *piece)
{
    *piece = (struct ms_piece){.bytes = ms_span_of(self->data + self->start, n),
                               .byte = self->base + self->start,
                               .line = line_of(self, self->start),
                               .sure = sure};
    self->at = self->start + n;
    self->line_start = NOWHERE;
}

/* ---- by brackets ---- */

static bool is_array(const struct walk *walk)
{
    return (walk->arrays[walk->depth / 64] >> (walk->depth % 64) & 1) != 0;
}

static bool value_may_begin(const struct walk *walk)
{
    return walk->depth == 0 || walk->before == ':' || walk->before == '[' ||
           (walk->before == ',' && is_array(walk));
}

/* NULL, or why the object is broken here. */
static const char *open_bracket(struct walk *walk, uint8_t c)
{
    uint64_t bit;
    if (!value_may_begin(walk))
        return "not JSON: an object or array stands where none can";
    if (walk->depth == MS_LIMIT_SCAN_DEPTH)
        return "JSON nested too deep";
    walk->depth++;
    bit = (uint64_t)1 << (walk->depth % 64);
    walk->arrays[walk->depth / 64] &= ~bit;
    if (c == '[')
        walk->arrays[walk->depth / 64] |= bit;
    walk->before = c;
    return NULL;
}

static const char *close_bracket(struct walk *walk, uint8_t c)
{
    if (is_array(walk) != (c == ']'))
        return "not JSON: brackets do not match";
    walk->depth--;
    walk->before = 'v';
    return NULL;
}

/* Inside a string: to behind its end, or to the end of what is there. A line feed cannot stand in a
 * string: the record was cut short. */
static const char *walk_string(struct walk *walk, const uint8_t *from, const uint8_t *end)
{
    const uint8_t *p = from + walk->at;
    while (p < end) {
        p = ms_scanner_past_plain(p, end);
        if (p == end)
            break;
        if (*p == '\n')
            return "not JSON: a line ends inside a string";
        if (*p == '"') {
            walk->in_string = false;
            walk->before = 'v';
            p++;
            break;
        }
        if (*p == '\\' && p + 1 == end)
            break;
        p += *p == '\\' && p[1] != '\n' ? 2 : 1;
    }
    walk->at = (size_t)(p - from);
    return NULL;
}

/* Walks on over what is there: until the object ends (depth 0), something is wrong, or all is
 * looked at. A backslash that is the last byte is left for the next time. */
static const char *walk_on(struct walk *walk, const uint8_t *from, const uint8_t *end)
{
    const char *why = NULL;
    for (;;) {
        size_t before = walk->at;
        if (walk->in_string)
            why = walk_string(walk, from, end);
        else
            walk->at = (size_t)(ms_scanner_past_space(from + walk->at, end) - from);
        if (why || from + walk->at >= end || (walk->in_string && walk->at == before))
            return why;
        if (walk->in_string)
            return NULL;
        uint8_t c = from[walk->at++];
        if (c == '"')
            walk->in_string = true;
        else if (c == '{' || c == '[')
            why = open_bracket(walk, c);
        else if (c == '}' || c == ']')
            why = close_bracket(walk, c);
        else
            walk->before = c == ',' || c == ':' ? c : 'v';
        if (why || walk->depth == 0)
            return why;
    }
}

static enum ms_status cut_by_brackets(struct ms_splitter *self, struct ms_piece *piece,
                                      struct ms_error *err)
{
    self->walk = (struct walk){.at = 0};
    for (;;) {
        const char *why = walk_on(&self->walk, self->data + self->start, self->data + self->len);
        if (why)
            return give_fault(self, why, false, piece, err);
        if (self->walk.at > 0 && self->walk.depth == 0 && !self->walk.in_string) {
            if (self->walk.at > MS_LIMIT_SCAN_BYTES)
                return give_fault(self, "larger than a report may be", true, piece, err);
            give_object(self, self->walk.at, true, piece);
            return MS_OK;
        }
        if (too_long(self))
            return give_fault(self, "larger than a report may be", true, piece, err);
        if (self->ended)
            return give_fault(self, "cut short: the input ends inside it", false, piece, err);
        enum ms_status status = fill(self, err);
        if (status != MS_OK)
            return status;
    }
}

/* ---- by lines ---- */

/* The first line feed behind `start`, or NOWHERE when there is none within a record's length. */
static enum ms_status find_line_end(struct ms_splitter *self, uint64_t *out, struct ms_error *err)
{
    size_t from = self->start;
    if (self->line_end != NOWHERE && self->line_end >= self->base + self->start) {
        *out = self->line_end;
        return MS_OK;
    }
    for (;;) {
        size_t done = from - self->start;
        const uint8_t *feed = memchr(self->data + from, '\n', self->len - from);
        if (feed) {
            *out = self->line_end = self->base + (uint64_t)(feed - self->data);
            return MS_OK;
        }
        done += self->len - from;
        if (self->ended || too_long(self)) {
            /* All of this need not be searched again for what begins in it. */
            *out = self->line_end = self->base + self->len;
            return MS_OK;
        }
        enum ms_status status = fill(self, err);
        if (status != MS_OK)
            return status;
        from = self->start + done;
    }
}

/* "\n", `indent` blanks, "}" in [p, end): the '}' or NULL. */
static const uint8_t *find_closing(const uint8_t *p, const uint8_t *end, const uint8_t *blanks,
                                   size_t indent)
{
    if ((size_t)(end - p) < indent + 2)
        return NULL;
    const uint8_t *last = end - indent - 2; /* where the line feed may be at most */
#if defined(__SSE2__)
    const __m128i feed = _mm_set1_epi8('\n'), brace = _mm_set1_epi8('}');
    for (; last - p >= 16; p += 16) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + indent + 1));
        __m128i both = _mm_and_si128(_mm_cmpeq_epi8(a, feed), _mm_cmpeq_epi8(b, brace));
        unsigned mask = (unsigned)_mm_movemask_epi8(both);
        for (; mask; mask &= mask - 1) {
            const uint8_t *at = p + __builtin_ctz(mask);
            if (memcmp(at + 1, blanks, indent) == 0)
                return at + indent + 1;
        }
    }
#endif
    for (; p <= last; p++)
        if (*p == '\n' && p[indent + 1] == '}' && memcmp(p + 1, blanks, indent) == 0)
            return p + indent + 1;
    return NULL;
}

/* An object whose first line is '{' alone ends at the first line that begins with '}' in the same
 * column. *n = 0: none found. */
static enum ms_status cut_by_indent(struct ms_splitter *self, size_t *n, struct ms_error *err)
{
    uint8_t blanks[INDENT_MOST];
    size_t done = 1;
    uint64_t start = self->base + self->start;
    size_t indent =
        self->line_start == NOWHERE ? sizeof blanks + 1 : (size_t)(start - self->line_start);
    *n = 0;
    if (indent > sizeof blanks || indent > self->start)
        return MS_OK;
    self->by_indent = true;
    memcpy(blanks, self->data + self->start - indent, indent);
    for (;;) {
        const uint8_t *closing =
            find_closing(self->data + self->start + done, self->data + self->len, blanks, indent);
        if (closing) {
            *n = (size_t)(closing - (self->data + self->start)) + 1;
            return MS_OK;
        }
        size_t have = self->len - self->start;
        done = have > indent + 2 ? have - indent - 2 : 1;
        if (self->ended || too_long(self))
            return MS_OK;
        enum ms_status status = fill(self, err);
        if (status != MS_OK)
            return status;
    }
}

/* The length of the object that begins here if the layout is what it looks like; 0: it looks like
 * nothing. */
static enum ms_status guess(struct ms_splitter *self, size_t *n, struct ms_error *err)
{
    uint64_t feed;
    enum ms_status status = find_line_end(self, &feed, err);
    self->by_indent = false;
    *n = 0;
    if (status != MS_OK)
        return status;
    size_t length = (size_t)(feed - self->base) - self->start;
    const uint8_t *from = self->data + self->start;
    while (length > 1 && ms_scanner_is_space(from[length - 1]))
        length--;
    if (length > 1 && self->in_array && from[length - 1] == ',')
        length--;
    if (length > 1 && from[length - 1] == '}')
        *n = length;
    else if (length == 1)
        status = cut_by_indent(self, n, err);
    return status;
}

/* What looks far ahead for nothing may do so again at the next object: a file can be made so that
 * all of it is searched for each of its lines. Then brackets are cheaper. */
static void distrust_lines(struct ms_splitter *self)
{
    self->distrust = DISTRUST_FIRST;
    if (!self->by_indent)
        return; /* what a line misleads about is no longer than the line */
    self->distrust = self->next_distrust;
    if (self->next_distrust < DISTRUST_MOST)
        self->next_distrust *= 2;
}

static enum ms_status cut(struct ms_splitter *self, struct ms_piece *piece, struct ms_error *err)
{
    size_t n = 0;
    if (self->distrust) {
        self->distrust--;
        return cut_by_brackets(self, piece, err);
    }
    enum ms_status status = guess(self, &n, err);
    if (status != MS_OK)
        return status;
    if (n && n <= MS_LIMIT_SCAN_BYTES) {
        give_object(self, n, false, piece);
        return MS_OK;
    }
    if (self->by_indent)
        distrust_lines(self);
    return cut_by_brackets(self, piece, err);
}

enum ms_status ms_splitter_refine(struct ms_splitter *self, struct ms_piece *piece,
                                  struct ms_error *err)
{
    size_t guessed = piece->bytes.len;
    enum ms_status status = cut_by_brackets(self, piece, err);
    if (status == MS_OK && piece->bytes.len != guessed)
        distrust_lines(self);
    return status;
}

/* ---- between objects ---- */

/* Takes what may stand between objects; *here says whether something else comes next. */
static enum ms_status skip_between(struct ms_splitter *self, bool *here, struct ms_error *err)
{
    for (;;) {
        self->start = self->at;
        size_t have = self->len - self->at;
        const uint8_t *p = self->data + self->at;
        bool maybe_mark = have > 0 && *p == 0xEF && have < 3;
        if (have == 0 || (maybe_mark && !self->ended)) {
            if (self->ended) {
                *here = false;
                return MS_OK;
            }
            enum ms_status status = fill(self, err);
            if (status != MS_OK)
                return status;
            continue;
        }
        *here = true;
        if (*p == '\n') {
            self->line_start = self->base + self->at + 1;
        } else if (*p == '[' && !self->in_array) {
            self->in_array = true;
            self->array_hurt = false;
        } else if (*p == ']' && self->in_array) {
            self->in_array = false;
        } else if (have >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) {
            self->at += 2;
        } else if (!ms_scanner_is_space(*p) && !(*p == ',' && self->in_array)) {
            return MS_OK;
        }
        if (!ms_scanner_is_space(*p))
            self->line_start = NOWHERE;
        self->at++;
    }
}

enum ms_status ms_splitter_next(struct ms_splitter *self, bool *more, struct ms_piece *piece,
                                struct ms_error *err)
{
    bool here = false;
    enum ms_status status = skip_between(self, &here, err);
    *more = here;
    if (status != MS_OK)
        return status;
    if (here) {
        self->walk.at = 1;
        return self->data[self->at] == '{'
                   ? cut(self, piece, err)
                   : give_fault(self, "not a JSON object", false, piece, err);
    }
    if (self->failure.status != MS_OK) {
        if (err)
            *err = self->failure;
        return self->failure.status;
    }
    if (self->in_array && !self->array_hurt) {
        self->in_array = false;
        *more = true;
        *piece = (struct ms_piece){.byte = self->base + self->at,
                                   .line = line_of(self, self->at),
                                   .fault = "cut short: the array is not closed",
                                   .sure = true};
    }
    return MS_OK;
}

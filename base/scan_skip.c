/* Values that nobody reads, checked as far as strings, brackets and UTF-8 go; and objects of a form
 * that was seen before. The grammar of the rest is scan_value.c. */
#include "base/scan_kernel.h"
#include "base/scan_private.h"

#include <stdlib.h>

void ms_scanner_check_skipped(struct ms_scanner *self, enum ms_scanner_check check)
{
    self->loose = self->source && check == MS_SCAN_CHECK_STRUCTURE;
}

static enum ms_status skip_bracket(struct ms_scanner *self, struct ms_scanner_skip *state, int c)
{
    if (c == '{' || c == '[') {
        if (state->depth == MS_LIMIT_JSON_DEPTH)
            return ms_scanner_bad(self, "nested too deeply");
        self->open[state->depth++] = (uint8_t)c;
    } else if ((self->open[state->depth - 1] ^ c) != 6) {
        return ms_scanner_bad(self, c == '}' ? "a } that closes a [" : "a ] that closes a {");
    } else {
        state->depth--;
    }
    self->pos++;
    return MS_OK;
}

static enum ms_status skip_outside(struct ms_scanner *self, struct ms_scanner_skip *state, int c)
{
    switch (c) {
    case '"':
        state->in_string = UINT64_MAX;
        break;
    case '{':
    case '[':
    case '}':
    case ']':
        return skip_bracket(self, state, c);
    case '\\':
        return ms_scanner_bad(self, "a backslash outside a string");
    default:
        if (c >= 0x80)
            return ms_scanner_bad(self, "not a JSON value");
    }
    self->pos++;
    return MS_OK;
}

static enum ms_status skip_inside(struct ms_scanner *self, struct ms_scanner_skip *state, int c)
{
    bool escaped = state->escaped;
    if (c < 0x20)
        return ms_scanner_bad(self, "a raw control character in a string");
    state->escaped = c == '\\' && !escaped;
    if (c >= 0x80)
        return ms_scanner_take_wide(self);
    if (c == '"' && !escaped)
        state->in_string = 0;
    self->pos++;
    return MS_OK;
}

/* Byte by byte, to the container's end, or for at least `most` bytes. */
static enum ms_status skip_bytes(struct ms_scanner *self, struct ms_scanner_skip *state,
                                 uint64_t most)
{
    uint64_t stop = ms_scanner_byte(self) + most;
    enum ms_status status = MS_OK;
    while (status == MS_OK && state->depth != state->floor &&
           (most == UINT64_MAX || ms_scanner_byte(self) < stop)) {
        if (state->in_string && !state->escaped)
            self->pos = ms_scanner_past_plain(self->pos, self->end);
        int c = ms_scanner_peek_byte(self);
        if (c == NO_BYTE)
            return ms_scanner_bad(self, state->in_string ? "ends within a string"
                                        : self->open[state->depth - 1] == '{'
                                            ? "ends within an object"
                                            : "ends within an array");
        status = state->in_string ? skip_inside(self, state, c) : skip_outside(self, state, c);
    }
    return status;
}

enum ms_status ms_scanner_skip_structure(struct ms_scanner *self)
{
    const struct ms_scanner_kernel *kernel = self->kernel;
    struct ms_scanner_skip state = {0, 0, self->depth, self->depth, self->open};
    enum ms_status status = skip_bracket(self, &state, *self->pos);
    while (status == MS_OK && state.depth != state.floor) {
        if (kernel->skip && self->end - self->pos >= 64)
            self->pos = kernel->skip(self->pos, self->end, &state);
        if (state.depth != state.floor)
            status = skip_bytes(self, &state, kernel->skip ? 64 : UINT64_MAX);
    }
    self->first = false;
    return status != MS_OK ? status : self->failed;
}

/* ---- objects of a known form ---- */

enum ms_status ms_scanner_form_new(const struct ms_scanner_name *names, size_t count,
                                   struct ms_scanner_form **out, struct ms_error *err)
{
    if (count > MS_SCAN_FORM_NAMES)
        return ms_error_set(err, MS_E_BUG, "report scanner: too many names");
    struct ms_scanner_form *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    self->names = names;
    self->name_count = count;
    self->node_count = 1;
    *out = self;
    return MS_OK;
}

void ms_scanner_form_free(struct ms_scanner_form *self)
{
    free(self);
}

bool ms_scanner_next_alike(struct ms_scanner *self, struct ms_scanner_form *form,
                           struct ms_scanner_field *fields, uint32_t *found)
{
    if (!self->loose || !self->kernel->take || self->failed || self->first || self->value_due ||
        self->depth == 0 || self->depth == MS_LIMIT_JSON_DEPTH ||
        self->open[self->depth - 1] != '[')
        return false;
    struct ms_scanner_take take = {.form = form, .fields = fields};
    take.open = self->open;
    take.depth = self->depth + 1;
    const uint8_t *p = self->kernel->take(self->pos, self->end, &take);
    if (!p)
        return false;
    self->pos = p;
    *found = take.found;
    return true;
}

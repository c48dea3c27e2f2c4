/* Reads nightly.conf by libinih into sections of checked values. What they lead to is
 * nightly_plan.c's business; no file that is named in it is opened here. */
#include "malseq/nightly.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"

#include <errno.h>
#include <ini.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The bytes that libinih is given line by line; it counts none for its handler. */
struct reading {
    const char *at, *end;
    unsigned line;
    bool too_long;
    struct malseq_nightly_config *config;
    struct malseq_section *section;
    struct ms_error *err;
    enum ms_status status;
    unsigned bad_line;
};

static enum ms_status bad(struct reading *self, unsigned line, const char *fmt, ...)
    MS_PRINTF(3, 4);

/* The first fault stands. */
static enum ms_status bad(struct reading *self, unsigned line, const char *fmt, ...)
{
    char text[480], path[128];
    va_list args;
    if (self->status != MS_OK)
        return self->status;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    self->bad_line = line;
    self->status = ms_error_set(self->err, MS_E_INPUT, "%s:%u: %s",
                                ms_escape_text(self->config->path, path, sizeof path), line, text);
    return self->status;
}

static const char *keep(struct reading *self, const char *text)
{
    char *copy = ms_arena_copy(self->config->memory, text, strlen(text));
    if (!copy && self->status == MS_OK)
        self->status = ms_error_set(self->err, MS_E_NOMEM, "out of memory");
    return copy;
}

/* ---- values ---- */

static bool parse_whole(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *out = value;
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

/* A whole number and a letter of the list, which stands for a factor. */
static bool parse_scaled(const char *text, const char *letters, const uint64_t *factors, bool bare,
                         uint64_t *out)
{
    char digits[24];
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n >= sizeof digits || (text[n] && text[n + 1]))
        return false;
    memcpy(digits, text, n);
    digits[n] = '\0';
    uint64_t value, factor = 1;
    if (!parse_whole(digits, &value))
        return false;
    if (text[n]) {
        const char *letter = strchr(letters, text[n]);
        if (!letter)
            return false;
        factor = factors[letter - letters];
    } else if (!bare) {
        return false;
    }
    return !__builtin_mul_overflow(value, factor, out) && *out <= INT64_MAX;
}

static bool parse_duration(const char *text, uint64_t *out_ms)
{
    static const uint64_t factors[] = {1000, 60000, 3600000, 86400000};
    return parse_scaled(text, "smhd", factors, false, out_ms) &&
           *out_ms <= (uint64_t)366 * 86400000;
}

static bool parse_size(const char *text, uint64_t *out)
{
    static const uint64_t factors[] = {1ULL << 10, 1ULL << 20, 1ULL << 30, 1ULL << 40};
    return parse_scaled(text, "KMGT", factors, true, out);
}

static bool parse_real(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    return *text && *end == '\0' && isfinite(value) && value > 0 &&
           text[strspn(text, "0123456789.eE+-")] == '\0';
}

static bool is_choice(const char *text, const char *choices)
{
    size_t n = strlen(text);
    for (const char *p = choices; n && *p; p += strcspn(p, "|"), p += *p == '|')
        if (strcspn(p, "|") == n && memcmp(p, text, n) == 0)
            return true;
    return false;
}

/* The path as the tools get it: relative ones are so to the file's folder. */
static const char *join(struct reading *self, const char *path)
{
    const char *folder = self->config->folder;
    if (*path == '/')
        return keep(self, path);
    size_t n = strlen(folder) + strlen(path) + 2;
    char *out = ms_arena_alloc(self->config->memory, n);
    if (!out)
        return keep(self, path);
    (void)snprintf(out, n, "%s/%s", folder, path);
    return out;
}

static bool is_variable(const char *name)
{
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    return *name && strchr(first, *name) &&
           name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789")] ==
               '\0';
}

/* "@FILE" with the path joined, or "env:NAME". What else stands there is not shown: it may be the
 * secret. */
static const char *take_secret(struct reading *self, unsigned line, const char *key,
                               const char *text)
{
    if (text[0] == '@' && text[1]) {
        const char *path = join(self, text + 1);
        char *spec = path ? ms_arena_alloc(self->config->memory, strlen(path) + 2) : NULL;
        if (spec)
            (void)snprintf(spec, strlen(path) + 2, "@%s", path);
        else
            (void)bad(self, line, "out of memory");
        return spec;
    }
    if (strncmp(text, "env:", 4) == 0 && is_variable(text + 4))
        return keep(self, text);
    (void)bad(self, line,
              "%s: a secret does not stand in this file, which backups and eyes get to see: write "
              "it to a file that only you can read and name that as @FILE, or give env:NAME",
              key);
    return NULL;
}

/* A URL with a name and a password in front of the host, which no tool takes. */
static bool has_login(const char *text)
{
    const char *host = strstr(text, "://");
    return host && host[3 + strcspn(host + 3, "/,?#@")] == '@';
}

/* A server's URL with settings behind it; token= among them is a secret. */
static const char *take_server(struct reading *self, unsigned line, const char *text)
{
    const char *token = strstr(text, ",token=");
    size_t scheme = strncmp(text, "http://", 7) == 0    ? 7
                    : strncmp(text, "https://", 8) == 0 ? 8
                                                        : 0;
    if (!scheme || strcspn(text + scheme, "/,@") == 0) {
        (void)bad(self, line, "cuckoo: a server begins with http:// or https://");
        return NULL;
    }
    if (has_login(text)) {
        (void)bad(self, line,
                  "cuckoo: no name and password in the URL: a secret does not stand in "
                  "this file; give token = @FILE");
        return NULL;
    }
    if (!token)
        return keep(self, text);
    const char *value = token + 7;
    size_t n = strcspn(value, ",");
    char *word = ms_arena_copy(self->config->memory, value, n);
    const char *spec = word ? take_secret(self, line, "cuckoo: token", word) : NULL;
    if (!spec)
        return NULL;
    size_t room = strlen(text) + strlen(spec) + 1;
    char *out = ms_arena_alloc(self->config->memory, room);
    if (out)
        (void)snprintf(out, room, "%.*s%s%s", (int)(value - text), text, spec, value + n);
    else
        (void)bad(self, line, "out of memory");
    return out;
}

static void refuse_value(struct reading *self, const struct malseq_key *key, const char *text,
                         const char *wanted)
{
    char shown[96];
    (void)bad(self, self->line, "%s = %s: must be %s", key->name,
              ms_escape_text(text, shown, sizeof shown), wanted);
}

static void check_number(struct reading *self, const struct malseq_key *key, const char *text,
                         struct malseq_value *value)
{
    char wanted[96];
    if (key->max)
        (void)snprintf(wanted, sizeof wanted, "a whole number from %llu to %llu",
                       (unsigned long long)key->min, (unsigned long long)key->max);
    else
        (void)snprintf(wanted, sizeof wanted, "a whole number, at least %llu",
                       (unsigned long long)key->min);
    if (!parse_whole(text, &value->number) || value->number < key->min ||
        (key->max && value->number > key->max))
        refuse_value(self, key, text, wanted);
}

static void check_value(struct reading *self, const struct malseq_key *key, const char *text,
                        struct malseq_value *value)
{
    value->text = keep(self, text);
    switch (key->kind) {
    case MALSEQ_KEY_TEXT:
        if (*text == '-')
            refuse_value(self, key, text, "no option of a command line");
        else if (has_login(text))
            (void)bad(self, self->line,
                      "%s: no name and password in a URL: a secret does not stand in this file",
                      key->name);
        break;
    case MALSEQ_KEY_PATH:
        value->text = join(self, text);
        break;
    case MALSEQ_KEY_FLAG:
        value->number = strcmp(text, "yes") == 0;
        if (!value->number && strcmp(text, "no") != 0)
            refuse_value(self, key, text, "yes or no");
        break;
    case MALSEQ_KEY_NUMBER:
        check_number(self, key, text, value);
        break;
    case MALSEQ_KEY_REAL:
        if (!parse_real(text))
            refuse_value(self, key, text, "a number over 0");
        break;
    case MALSEQ_KEY_SIZE:
        if (!parse_size(text, &value->number))
            refuse_value(self, key, text, "a number of bytes, with K, M, G or T behind it or not");
        break;
    case MALSEQ_KEY_DURATION:
        if (!parse_duration(text, &value->number))
            refuse_value(self, key, text, "a time as 90s, 30m, 8h or 2d");
        break;
    case MALSEQ_KEY_CHOICE:
        if (!is_choice(text, key->choices))
            refuse_value(self, key, text, key->choices);
        break;
    case MALSEQ_KEY_SECRET:
        value->text = take_secret(self, self->line, key->name, text);
        break;
    case MALSEQ_KEY_SERVER:
        value->text = take_server(self, self->line, text);
        break;
    }
}

/* ---- sections ---- */

static const struct malseq_key *find_key(const char *section, const char *name, bool *known)
{
    size_t count;
    const struct malseq_key *keys = malseq_nightly_keys(&count), *found = NULL;
    *known = false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].section, section) == 0) {
            *known = true;
            if (name && strcmp(keys[i].name, name) == 0)
                found = &keys[i];
        }
    return found;
}

/* Of stages there may be several sections, each with a name of its own. */
static bool is_section_name(const char *name)
{
    return *name && strlen(name) <= 40 && *name != '-' && *name != '.' &&
           name[strspn(
               name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")] == '\0';
}

static void open_section(struct reading *self, const char *text)
{
    struct malseq_nightly_config *config = self->config;
    struct malseq_section *section = ms_arena_alloc(config->memory, sizeof *section);
    char shown[80];
    enum malseq_stage stage;
    bool known;
    size_t n = strcspn(text, " ");
    if (!section) {
        (void)bad(self, self->line, "out of memory");
        return;
    }
    *section = (struct malseq_section){.line = self->line};
    section->end = &section->values;
    section->name = keep(self, text + n + strspn(text + n, " "));
    (void)snprintf(section->kind, sizeof section->kind, "%.*s", (int)n, text);
    (void)find_key(section->kind, NULL, &known);
    if (!known || n >= sizeof section->kind)
        (void)bad(self, self->line,
                  "there is no section [%s]: corpus, time, collect, label, extract, train, audit "
                  "and report are known",
                  ms_escape_text(text, shown, sizeof shown));
    else if (*section->name && !malseq_stage_parse(section->kind, &stage))
        (void)bad(self, self->line, "[%s] takes no name behind it", section->kind);
    else if (*section->name && !is_section_name(section->name))
        (void)bad(self, self->line,
                  "[%s NAME]: a name has up to 40 letters, digits, '-', '_' and '.', and begins "
                  "with a letter or a digit",
                  section->kind);
    *config->end = section;
    config->end = &section->next;
    self->section = section;
}

static struct malseq_section *find_section(const struct malseq_nightly_config *config,
                                           const char *text)
{
    size_t n = strcspn(text, " ");
    for (struct malseq_section *s = config->sections; s; s = s->next)
        if (strlen(s->kind) == n && memcmp(s->kind, text, n) == 0 &&
            strcmp(s->name, text + n + strspn(text + n, " ")) == 0)
            return s;
    return NULL;
}

static void add_value(struct reading *self, const char *name, const char *text)
{
    struct malseq_section *section = self->section;
    char shown[64];
    bool known;
    const struct malseq_key *key = find_key(section->kind, name, &known);
    const struct malseq_value *earlier = malseq_section_find(section, name);
    struct malseq_value *value = ms_arena_alloc(self->config->memory, sizeof *value);
    if (!key) {
        (void)bad(self, self->line, "[%s] has no key '%s'; docs/nightly.md lists all",
                  section->kind, ms_escape_text(name, shown, sizeof shown));
        return;
    }
    if (earlier && !key->list) {
        (void)bad(self, self->line, "%s is given twice, here and in line %u", key->name,
                  earlier->line);
        return;
    }
    if (!*text) {
        (void)bad(self, self->line, "%s: nothing stands behind the =", key->name);
        return;
    }
    if (!value) {
        (void)bad(self, self->line, "out of memory");
        return;
    }
    *value = (struct malseq_value){.key = key, .line = self->line};
    check_value(self, key, text, value);
    *section->end = value;
    section->end = &value->next;
}

/* ---- libinih ---- */

/* As fgets. A line beyond libinih's buffer would be taken for two. */
static char *next_line(char *out, int room, void *stream)
{
    struct reading *self = stream;
    if (self->at >= self->end || self->too_long || room <= 1)
        return NULL;
    const char *newline = memchr(self->at, '\n', (size_t)(self->end - self->at));
    size_t n = (size_t)((newline ? newline + 1 : self->end) - self->at);
    self->line++;
    if (n >= (size_t)room) {
        self->too_long = true;
        (void)bad(self, self->line, "the line is longer than %d bytes", room - 2);
        return NULL;
    }
    memcpy(out, self->at, n);
    out[n] = '\0';
    self->at += n;
    return out;
}

static int on_value(void *user, const char *section, const char *name, const char *value)
{
    struct reading *self = user;
    if (self->status != MS_OK)
        return 1;
    if (!*section) {
        (void)bad(self, self->line, "a key stands before the first [section]");
        return 1;
    }
    struct malseq_section *found = find_section(self->config, section);
    if (found)
        self->section = found;
    else
        open_section(self, section);
    if (self->status == MS_OK)
        add_value(self, name, value);
    return 1;
}

/* Bytes that no text of a person has, before anything is made of them. */
static void check_bytes(struct reading *self, const char *bytes, size_t n)
{
    unsigned line = 1;
    for (size_t i = 0; i < n && self->status == MS_OK; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if ((c < ' ' && c != '\n' && c != '\t' && c != '\r') || c == 0x7f)
            (void)bad(self, line, "there is a byte \\x%02x, which no text has", c);
        line += c == '\n';
    }
}

/* libinih says nothing of a section without a key: it is looked for here, so that a misspelt empty
 * one is no silent one. */
static void check_headings(struct reading *self, const char *bytes, size_t n)
{
    unsigned line = 0;
    for (const char *p = bytes, *end = bytes + n; p < end && self->status == MS_OK;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *stop = newline ? newline : end;
        const char *close = memchr(p, ']', (size_t)(stop - p));
        line++;
        if (*p == '[' && close) {
            char *text = ms_arena_copy(self->config->memory, p + 1, (size_t)(close - p - 1));
            struct malseq_section *twice = text ? find_section(self->config, text) : NULL;
            self->line = line;
            if (text && !twice)
                open_section(self, text);
            else
                (void)bad(self, line, text ? "[%s] is there twice; it began in line %u" : "%s%u",
                          text ? text : "out of memory ", twice ? twice->line : 0);
        }
        p = stop + (newline != NULL);
    }
}

enum ms_status malseq_nightly_config_parse(const void *bytes, size_t n, const char *path,
                                           struct ms_arena *memory,
                                           struct malseq_nightly_config *out, struct ms_error *err)
{
    *out = (struct malseq_nightly_config){.path = path, .memory = memory};
    out->end = &out->sections;
    const char *slash = strrchr(path, '/');
    struct reading self = {
        .at = bytes, .end = (const char *)bytes + n, .config = out, .err = err, .status = MS_OK};
    out->folder = !slash          ? "."
                  : slash == path ? "/"
                                  : ms_arena_copy(memory, path, (size_t)(slash - path));
    if (!out->folder)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    check_bytes(&self, bytes, n);
    check_headings(&self, bytes, n);
    self.line = 0;
    if (self.status != MS_OK)
        return self.status;
    int code = ini_parse_stream(next_line, &self, on_value, &self);
    /* Lines of no form it tells of at the end, and goes on behind them. */
    if (code > 0 && self.status == MS_E_INPUT && (unsigned)code < self.bad_line)
        self.status = MS_OK;
    if (code > 0)
        (void)bad(&self, (unsigned)code, "this is neither [section] nor key = value");
    else if (code < 0)
        (void)bad(&self, self.line, "out of memory");
    return self.status;
}

enum ms_status malseq_nightly_config_read(const char *path, struct ms_arena *memory,
                                          struct malseq_nightly_config *out, struct ms_error *err)
{
    struct ms_buf text;
    ms_buf_init(&text, MS_LIMIT_NIGHTLY_CONF_BYTES);
    enum ms_status status = ms_file_read(path, &text, err);
    if (status == MS_OK)
        status = malseq_nightly_config_parse(ms_buf_text(&text), text.len, path, memory, out, err);
    ms_buf_release(&text);
    return status;
}

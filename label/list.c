/* Reading hash lists, and a word of warning about them. */
#include "label/list.h"

#include "base/limits.h"
#include "base/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What is kept of a line: its first field is all that counts, the rest is only looked at. */
enum { LINE_BYTES = 512 };

static bool is_hash(const char *text, size_t n)
{
    uint8_t raw[MS_SHA256_BYTES];
    return (n == 32 || n == 40 || n == 64) && ms_hex_decode(text, n / 2, raw);
}

/* What spreadsheets and exports write above a column of hashes. */
static bool is_heading(const char *text)
{
    static const char *const words[] = {"md5",  "sha1",   "sha-1",    "sha256",    "sha-256",
                                        "hash", "hashes", "resource", "file_hash", "id"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

struct reader {
    const char *path;
    ms_list_visit visit;
    void *ctx;
    uint64_t number;           /* of the line, from 1 */
    bool begun;                /* a line that says something was there */
    uint64_t lines, hashes;    /* that say something; with a hash */
    uint64_t more, first_more; /* lines with another hash behind the first; the first of them */
    char line[LINE_BYTES];
    size_t length; /* bytes kept of the line */
};

/* Notes a line with another hash behind its first field: left out, but not in silence. */
static void look_behind(struct reader *self, const char *field, const char *rest, const char *end)
{
    static const char between[] = " \t\r,;|\"'";
    char word[65] = "";
    for (const char *p = rest; p < end; p++) {
        size_t n = 0;
        while (p + n < end && p[n] && !strchr(between, p[n]))
            n++;
        for (size_t i = 0; i < n && n < sizeof word; i++)
            word[i] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] + 32 : p[i]);
        if (n < sizeof word && is_hash(word, n) &&
            (strlen(field) != n || memcmp(word, field, n) != 0)) {
            if (self->more++ == 0)
                self->first_more = self->number;
            return;
        }
        p += n;
    }
}

static enum ms_status visit_line(struct reader *self, struct ms_error *err)
{
    char field[65], shown[80];
    const char *line = self->line;
    size_t n = self->length, length = 0;
    const char *comment = memchr(line, '#', n);
    if (comment)
        n = (size_t)(comment - line);
    while (n > 0 && line[0] && strchr(" \t\"'", line[0])) {
        line++;
        n--;
    }
    while (length < n && (!line[length] || !strchr(" \t\r,;\"'", line[length])))
        length++;
    if (length == 0)
        return MS_OK;
    size_t take = length < sizeof field ? length : sizeof field - 1;
    for (size_t i = 0; i < take; i++)
        field[i] = (char)(line[i] >= 'A' && line[i] <= 'Z' ? line[i] + 32 : line[i]);
    field[take] = '\0';
    bool first = !self->begun;
    self->begun = true;
    if (first && is_heading(field))
        return MS_OK;
    bool hash = take == length && is_hash(field, take);
    self->lines++;
    self->hashes += hash;
    if (hash)
        look_behind(self, field, line + length, line + n);
    return self->visit(self->ctx, self->number, hash ? field : NULL,
                       ms_escape_bytes(line, length < 64 ? length : 64, shown, sizeof shown), err);
}

static enum ms_status take_piece(struct reader *self, const char *p, const char *end,
                                 struct ms_error *err)
{
    enum ms_status status = MS_OK;
    while (p < end && status == MS_OK) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((newline ? newline : end) - p), room = LINE_BYTES - self->length;
        memcpy(self->line + self->length, p, n < room ? n : room);
        self->length += n < room ? n : room;
        p += n;
        if (!newline)
            break;
        p++;
        self->number++;
        status = visit_line(self, err);
        self->length = 0;
    }
    return status;
}

static enum ms_status read_all(struct reader *self, FILE *file, const char *shown,
                               struct ms_error *err)
{
    static const char mark[] = "\xef\xbb\xbf";
    char piece[65536];
    uint64_t total = 0;
    enum ms_status status = MS_OK;
    for (;;) {
        size_t n = fread(piece, 1, sizeof piece, file);
        const char *p = piece;
        if (n == 0)
            break;
        if (total == 0 && n >= 2 &&
            (memcmp(p, "\xff\xfe", 2) == 0 || memcmp(p, "\xfe\xff", 2) == 0))
            return ms_error_set(err, MS_E_INPUT,
                                "'%s' is UTF-16 text; save it as UTF-8 and try again", shown);
        if (total == 0 && n >= 3 && memcmp(p, mark, 3) == 0)
            p += 3;
        total += n;
        if (total > MS_LIMIT_LIST_BYTES)
            return ms_error_set(err, MS_E_INPUT, "'%s' is larger than a list may be (%llu bytes)",
                                shown, (unsigned long long)MS_LIMIT_LIST_BYTES);
        status = take_piece(self, p, piece + n, err);
        if (status != MS_OK)
            return status;
    }
    if (ferror(file))
        return ms_error_set_errno(err, MS_E_INPUT, errno, "cannot read '%s'", shown);
    self->number++;
    return visit_line(self, err); /* a last line without a line feed */
}

/* What concerns the list as a whole. */
static enum ms_status look_back(const struct reader *self, const char *shown, struct ms_error *err)
{
    if (self->lines > 0 && self->hashes == 0)
        return ms_error_set(err, MS_E_INPUT,
                            "'%s' has no MD5, SHA-1 or SHA-256 at the beginning of any line",
                            shown);
    if (self->more > 0)
        ms_log(MS_LOG_WARNING,
               "'%s': %llu lines (line %llu is the first) have another hash behind the first one, "
               "which alone is taken; put each hash that names another file on a line of its own",
               shown, (unsigned long long)self->more, (unsigned long long)self->first_more);
    return MS_OK;
}

enum ms_status ms_list_read(const char *path, ms_list_visit visit, void *ctx, struct ms_error *err)
{
    struct reader reader = {.path = path, .visit = visit, .ctx = ctx};
    bool standard = strcmp(path, "-") == 0;
    char shown[256];
    (void)ms_escape_text(standard ? "standard input" : path, shown, sizeof shown);
    FILE *file = standard ? stdin : fopen(path, "re");
    if (!file)
        return ms_error_set_errno(err, MS_E_INPUT, errno, "cannot open '%s'", shown);
    enum ms_status status = read_all(&reader, file, shown, err);
    if (status == MS_OK)
        status = look_back(&reader, shown, err);
    if (!standard)
        (void)fclose(file);
    return status;
}

/* Reading hash lists. */
#include "label/list.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"

#include <string.h>

static bool is_hash(const char *text, size_t n)
{
    uint8_t raw[MS_SHA256_BYTES];
    return (n == 32 || n == 40 || n == 64) && ms_hex_decode(text, n / 2, raw);
}

static enum ms_status visit_line(const char *line, size_t n, uint64_t number, ms_list_visit visit,
                                 void *ctx, struct ms_error *err)
{
    char field[65], shown[80];
    const char *hash = memchr(line, '#', n);
    if (hash)
        n = (size_t)(hash - line);
    while (n > 0 && strchr(" \t\"'\xef\xbb\xbf", line[0]) && line[0]) {
        line++;
        n--;
    }
    size_t length = 0;
    while (length < n && line[length] && !strchr(" \t\r,;\"'", line[length]))
        length++;
    if (length == 0)
        return MS_OK;
    size_t take = length < sizeof field ? length : sizeof field - 1;
    for (size_t i = 0; i < take; i++)
        field[i] = (char)(line[i] >= 'A' && line[i] <= 'Z' ? line[i] + 32 : line[i]);
    field[take] = '\0';
    return visit(ctx, number, take == length && is_hash(field, take) ? field : NULL,
                 ms_escape_bytes(line, length < 64 ? length : 64, shown, sizeof shown), err);
}

enum ms_status ms_list_read(const char *path, ms_list_visit visit, void *ctx, struct ms_error *err)
{
    struct ms_buf text;
    ms_buf_init(&text, MS_LIMIT_LIST_BYTES);
    enum ms_status status = ms_file_read(path, &text, err);
    if (status == MS_E_IO || status == MS_E_LIMIT) {
        if (err)
            err->status = MS_E_INPUT;
        status = MS_E_INPUT;
    }
    const char *p = ms_buf_text(&text), *end = p + text.len;
    for (uint64_t number = 1; status == MS_OK && p < end; number++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t n = newline ? (size_t)(newline - p) : (size_t)(end - p);
        status = visit_line(p, n, number, visit, ctx, err);
        p += n + 1;
    }
    ms_buf_release(&text);
    return status;
}

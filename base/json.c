/* JSON lines out, small documents in. Reports of unknown size are read elsewhere, as a stream. */
#include "base/json.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

json_t *ms_json_bytes(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    struct ms_buf text;
    ms_buf_init(&text, SIZE_MAX / 2);
    for (size_t i = 0; i < n;) {
        uint32_t code;
        size_t len = ms_utf8_decode(p + i, n - i, &code);
        if (len == 0 || code == 0) {
            (void)ms_buf_printf(&text, "\\x%02x", p[i]);
            len = 1;
        } else {
            (void)ms_buf_append(&text, p + i, len);
        }
        i += len;
    }
    json_t *json = text.failed ? NULL : json_stringn(ms_buf_text(&text), text.len);
    ms_buf_release(&text);
    return json;
}

json_t *ms_json_text(const char *text)
{
    return text ? ms_json_bytes(text, strlen(text)) : json_null();
}

/* Jansson leaves DEL alone; as the only control byte of its ASCII output it can only stand in a
 * string. */
static int write_chunk(const char *bytes, size_t n, void *ctx)
{
    FILE *out = ctx;
    for (size_t i = 0; i < n; i++)
        if ((bytes[i] == 0x7f ? fputs("\\u007f", out) : putc(bytes[i], out)) == EOF)
            return -1;
    return 0;
}

enum { DUMP_FLAGS = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15) };

enum ms_status ms_json_line(FILE *out, json_t *object, struct ms_error *err)
{
    if (!object)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    errno = 0;
    int bad = json_dump_callback(object, write_chunk, out, DUMP_FLAGS);
    json_decref(object);
    if (!bad && putc('\n', out) != EOF && !ferror(out))
        return MS_OK;
    return errno ? ms_error_set_errno(err, MS_E_IO, errno, "cannot write to standard output")
                 : ms_error_set(err, MS_E_IO, "cannot write to standard output");
}

static int append_chunk(const char *bytes, size_t n, void *ctx)
{
    struct ms_buf *out = ctx;
    for (size_t i = 0; i < n; i++)
        if (bytes[i] == 0x7f)
            (void)ms_buf_append_text(out, "\\u007f");
        else
            (void)ms_buf_append_byte(out, (uint8_t)bytes[i]);
    return out->failed ? -1 : 0;
}

enum ms_status ms_json_append(struct ms_buf *out, json_t *value, struct ms_error *err)
{
    int bad = value ? json_dump_callback(value, append_chunk, out, DUMP_FLAGS) : -1;
    json_decref(value);
    return bad ? ms_error_set(err, MS_E_NOMEM, "out of memory") : MS_OK;
}

enum ms_status ms_json_parse(const void *bytes, size_t n, json_t **out, struct ms_error *err)
{
    json_error_t why;
    if (n == 0)
        return ms_error_set(err, MS_E_REMOTE, "not JSON: it is empty");
    json_t *json = json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!json) {
        char text[2 * JSON_ERROR_TEXT_LENGTH];
        return ms_error_set(err, MS_E_REMOTE, "not JSON: line %d, column %d: %s", why.line,
                            why.column, ms_escape_text(why.text, text, sizeof text));
    }
    *out = json;
    return MS_OK;
}

json_t *ms_json_at(const json_t *object, const char *path)
{
    const json_t *at = object;
    while (json_is_object(at)) {
        size_t n = strcspn(path, ".");
        char key[128];
        if (n >= sizeof key)
            return NULL;
        memcpy(key, path, n);
        key[n] = '\0';
        json_t *next = json_object_get(at, key);
        if (path[n] == '\0')
            return next;
        at = next;
        path += n + 1;
    }
    return NULL;
}

const char *ms_json_string_at(const json_t *object, const char *path, const char *fallback)
{
    const char *text = json_string_value(ms_json_at(object, path));
    return text ? text : fallback;
}

int64_t ms_json_int_at(const json_t *object, const char *path, int64_t fallback)
{
    const json_t *json = ms_json_at(object, path);
    return json_is_integer(json) ? (int64_t)json_integer_value(json) : fallback;
}

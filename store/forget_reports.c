/* Copies a file with some keys replaced; understands no more of it than where a key begins and
 * ends. */
#include "store/forget_reports.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/span.h"
#include "store/forget_models.h"

#include <jansson.h>
#include <string.h>

/* Where `what` begins in a text; its length when it does not. */
static size_t find(struct ms_span text, const char *what)
{
    size_t n = strlen(what);
    for (size_t i = 0; i + n <= text.len; i++) {
        const uint8_t *at = memchr(text.data + i, what[0], text.len - n + 1 - i);
        if (!at)
            break;
        i = (size_t)(at - text.data);
        if (memcmp(at, what, n) == 0)
            return i;
    }
    return text.len;
}

/* Where a JSON string ends whose opening quotation mark is gone. */
static size_t find_quote(struct ms_span text)
{
    size_t i = 0;
    while (i < text.len && text.data[i] != '"')
        i += text.data[i] == '\\' ? 2 : 1;
    return i < text.len ? i : text.len;
}

/* What ms_html_text made of a key, undone. */
static void read_html(struct ms_span piece, struct ms_buf *key)
{
    static const struct {
        const char *text;
        uint8_t byte;
    } references[] = {{"&amp;", '&'},  {"&lt;", '<'},   {"&gt;", '>'},
                      {"&quot;", '"'}, {"&#39;", '\''}, {"\\\\", '\\'}};
    for (size_t i = 0; i < piece.len;) {
        size_t n = 1;
        uint8_t byte = piece.data[i];
        for (size_t k = 0; k < sizeof references / sizeof *references; k++) {
            size_t length = strlen(references[k].text);
            if (n == 1 && piece.len - i >= length &&
                memcmp(piece.data + i, references[k].text, length) == 0) {
                n = length;
                byte = references[k].byte;
            }
        }
        (void)ms_buf_append_byte(key, byte);
        i += n;
    }
}

static void read_json(struct ms_span piece, struct ms_buf *key)
{
    struct ms_buf quoted;
    json_error_t why;
    ms_buf_init(&quoted, SIZE_MAX / 2);
    (void)ms_buf_append_byte(&quoted, '"');
    (void)ms_buf_append(&quoted, piece.data, piece.len);
    (void)ms_buf_append_byte(&quoted, '"');
    json_t *text = quoted.failed
                       ? NULL
                       : json_loadb((const char *)quoted.data, quoted.len, JSON_DECODE_ANY, &why);
    if (json_is_string(text))
        (void)ms_buf_append_text(key, json_string_value(text));
    key->failed = key->failed || quoted.failed;
    json_decref(text);
    ms_buf_release(&quoted);
}

static enum ms_status rewrite(struct ms_span rest, bool html, ms_forget_is is, void *ctx,
                              struct ms_buf *out, size_t *hits, struct ms_error *err)
{
    const char *before = html ? "<code>" : "\"key\": \"";
    enum ms_status status = MS_OK;
    while (rest.len > 0 && status == MS_OK) {
        char new[MS_FORGOTTEN_KEY_BYTES];
        struct ms_buf key;
        size_t at = find(rest, before);
        at = at < rest.len ? at + strlen(before) : rest.len;
        (void)ms_buf_append(out, rest.data, at);
        rest = ms_span_of(rest.data + at, rest.len - at);
        size_t n = html ? find(rest, "</code>") : find_quote(rest);
        ms_buf_init(&key, SIZE_MAX / 2);
        (html ? read_html : read_json)(ms_span_of(rest.data, n), &key);
        if (key.failed)
            status = ms_error_set(err, MS_E_NOMEM, "out of memory to forget in a report");
        else if (key.len > 0 && is(ctx, ms_buf_text(&key))) {
            status = ms_forgotten_key(ms_buf_text(&key), new, err);
            if (status == MS_OK)
                (void)ms_buf_append_text(out, new);
            ++*hits;
        } else
            (void)ms_buf_append(out, rest.data, n);
        rest = ms_span_of(rest.data + n, rest.len - n);
        ms_buf_release(&key);
    }
    return status;
}

enum ms_status ms_report_forget(const char *path, bool html, ms_forget_is is, void *ctx,
                                struct ms_error *err)
{
    struct ms_buf bytes, out;
    size_t hits = 0;
    ms_buf_init(&bytes, MS_LIMIT_REPORT_PAGE_BYTES);
    ms_buf_init(&out, SIZE_MAX / 2);
    enum ms_status status = ms_file_read(path, &bytes, err);
    if (status == MS_OK)
        status = rewrite(ms_span_of(bytes.data, bytes.len), html, is, ctx, &out, &hits, err);
    if (status == MS_OK && hits > 0)
        status = out.failed ? ms_error_set(err, MS_E_NOMEM, "out of memory to forget in a report")
                            : ms_file_write_atomic(path, out.data, out.len, 0600, err);
    ms_buf_release(&bytes);
    ms_buf_release(&out);
    return status;
}

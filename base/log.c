/* The log: one escaped line a message. */
#include "base/log.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *log_tool = "malseq";
static enum ms_log_level log_level = MS_LOG_INFO;
static void (*hook_before)(void);
static void (*hook_after)(void);

void ms_log_init(const char *tool, enum ms_log_level level)
{
    log_tool = tool;
    log_level = level;
}

const char *ms_log_tool(void)
{
    return log_tool;
}

enum ms_log_level ms_log_level_get(void)
{
    return log_level;
}

void ms_log_set_hooks(void (*before)(void), void (*after)(void))
{
    hook_before = before;
    hook_after = after;
}

/* Characters that change how the text around them is shown: bidi controls, zero-width, line
 * separators, tags, BOM. */
static int is_deceptive(uint32_t c)
{
    return (c >= 0x80 && c <= 0x9f) || c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

enum ms_status ms_escape(struct ms_buf *out, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    size_t i = 0;
    while (i < n) {
        uint32_t c = 0;
        size_t len = ms_utf8_decode(p + i, n - i, &c);
        if (len == 0) {
            (void)ms_buf_printf(out, "\\x%02x", p[i]);
            len = 1;
        } else if (c == '\n' || c == '\t' || c == '\r') {
            (void)ms_buf_append_text(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
        } else if (c < 0x20 || c == 0x7f) {
            (void)ms_buf_printf(out, "\\x%02x", (unsigned)c);
        } else if (is_deceptive(c)) {
            (void)ms_buf_printf(out, "\\u{%x}", (unsigned)c);
        } else {
            (void)ms_buf_append(out, p + i, len);
        }
        i += len;
    }
    return out->failed ? MS_E_LIMIT : MS_OK;
}

char *ms_escape_bytes(const void *bytes, size_t n, char *out, size_t out_bytes)
{
    struct ms_buf buf;
    ms_buf_init(&buf, (size_t)1 << 20);
    size_t take = n < out_bytes ? n : out_bytes;
    (void)ms_escape(&buf, bytes, take);
    size_t len = buf.len;
    if (len < out_bytes && take == n) {
        memcpy(out, ms_buf_text(&buf), len + 1);
    } else if (out_bytes > 4) {
        if (len > out_bytes - 4)
            len = out_bytes - 4;
        while (len > 0 && (buf.data[len] & 0xc0) == 0x80)
            len--;
        memcpy(out, ms_buf_text(&buf), len);
        memcpy(out + len, "...", 4);
    } else {
        out[0] = '\0';
    }
    ms_buf_release(&buf);
    return out;
}

char *ms_escape_text(const char *text, char *out, size_t out_bytes)
{
    return ms_escape_bytes(text, strlen(text), out, out_bytes);
}

void ms_log(enum ms_log_level level, const char *fmt, ...)
{
    static const char *const words[] = {"error: ", "warning: ", "", "debug: "};
    if (level > log_level)
        return;
    char text[2048];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0)
        return;
    struct ms_buf line;
    ms_buf_init(&line, 16 * 1024);
    (void)ms_buf_printf(&line, "%s: %s", log_tool, words[level]);
    /* Backslashes of parts that are escaped already stay single: ms_escape leaves printable ASCII
     * alone. */
    (void)ms_escape(&line, text, strlen(text));
    (void)ms_buf_append_byte(&line, '\n');
    if (hook_before)
        hook_before();
    if (line.len) {
        ssize_t written = write(STDERR_FILENO, line.data, line.len);
        (void)written;
    }
    if (hook_after)
        hook_after();
    ms_buf_release(&line);
}

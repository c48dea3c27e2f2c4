/* Formatting: AVClass's tab-separated lines, and JSON with the same content. */
#include "label/avclass_text.h"

#include <string.h>

static void put(struct ms_buf *out, struct ms_span text)
{
    (void)ms_buf_append(out, text.data, text.len);
}

static void put_text(struct ms_buf *out, const char *text)
{
    (void)ms_buf_append(out, text, strlen(text));
}

static void put_number(struct ms_buf *out, size_t value)
{
    char digits[20];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    (void)ms_buf_append(out, digits + n, sizeof digits - n);
}

static void put_tags(const struct ms_avclass_verdict *verdict, struct ms_buf *out)
{
    for (size_t i = 0; i < verdict->tag_count; i++) {
        if (i)
            put_text(out, ",");
        put(out, verdict->tags[i].path);
        put_text(out, "|");
        put_number(out, verdict->tags[i].count);
    }
}

static void put_family(const struct ms_avclass_options *options, const struct ms_avclass_line *line,
                       struct ms_buf *out)
{
    if (line->verdict->family) {
        put(out, line->verdict->family->name);
    } else {
        put_text(out, "SINGLETON:");
        put(out, line->hash);
    }
    if (options->pup)
        put_text(out, line->verdict->pup ? "\t1" : "\t0");
    for (size_t i = 0; options->vtt && i < line->vt_tag_count; i++) {
        put_text(out, i ? "," : "\t");
        (void)ms_buf_append(out, line->vt_tags[i].at, line->vt_tags[i].len);
    }
}

static void put_string(struct ms_buf *out, struct ms_span text)
{
    static const char hex[] = "0123456789abcdef";
    put_text(out, "\"");
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        const char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        put(out, ms_span_of(text.data + from, i - from));
        (void)ms_buf_append(out, escape, sizeof escape);
        from = i + 1;
    }
    put(out, ms_span_of(text.data + from, text.len - from));
    put_text(out, "\"");
}

static void put_json(const struct ms_avclass_line *line, struct ms_buf *out)
{
    const struct ms_avclass_verdict *verdict = line->verdict;
    put_text(out, "{\"hash\":");
    put_string(out, line->hash);
    put_text(out, ",\"family\":");
    if (verdict->family)
        put_string(out, verdict->family->name);
    else
        put_text(out, "null");
    put_text(out, verdict->verified ? ",\"verified\":true" : ",\"verified\":false");
    put_text(out, verdict->pup ? ",\"pup\":true" : ",\"pup\":false");
    put_text(out, ",\"vt_count\":");
    put_number(out, verdict->vt_count);
    put_text(out, ",\"tags\":[");
    for (size_t i = 0; i < verdict->tag_count; i++) {
        put_text(out, i ? ",{\"path\":" : "{\"path\":");
        put_string(out, verdict->tags[i].path);
        put_text(out, ",\"count\":");
        put_number(out, verdict->tags[i].count);
        put_text(out, "}");
    }
    put_text(out, "],\"vt_tags\":[");
    for (size_t i = 0, n = 0; i < line->vt_tag_count; i++) {
        if (!line->vt_tags[i].at)
            continue;
        put_text(out, n++ ? "," : "");
        put_string(out, ms_span_of(line->vt_tags[i].at, line->vt_tags[i].len));
    }
    put_text(out, "]}");
}

enum ms_status ms_avclass_line_put(const struct ms_avclass_options *options,
                                   const struct ms_avclass_line *line, struct ms_buf *out)
{
    if (options->json) {
        put_json(line, out);
    } else {
        put(out, line->hash);
        put_text(out, "\t");
        if (line->labels == 0) {
            put_text(out, "-\t[]");
        } else if (options->tags) {
            put_number(out, line->verdict->vt_count);
            put_text(out, "\t");
            put_tags(line->verdict, out);
        } else {
            put_family(options, line, out);
        }
    }
    put_text(out, "\n");
    return out->failed ? MS_E_LIMIT : MS_OK;
}

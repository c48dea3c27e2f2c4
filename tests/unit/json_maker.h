/* JSON documents of all kinds for the scanner's tests, and ways to damage them. It knows no
 * scanner. */
#ifndef MS_TESTS_JSON_MAKER_H
#define MS_TESTS_JSON_MAKER_H

#include "base/buf.h"
#include "base/rng.h"

#include <stdint.h>
#include <string.h>

static inline void make_string(struct ms_rng *rng, struct ms_buf *out)
{
    static const char *const parts[] = {"a",
                                        "Zz9",
                                        " ",
                                        "\\n",
                                        "\\\\",
                                        "\\\"",
                                        "\\u00e9",
                                        "\\ud83d\\ude00",
                                        "\\/",
                                        "\xc3\xa9",
                                        "\xe2\x82\xac",
                                        "\xf0\x9f\x98\x80",
                                        "NtCreateFile",
                                        "C:\\\\\\\\Windows\\\\",
                                        "0123456789abcdef0123456789abcdef0123456789abcdef",
                                        "{[:,]}"};
    ms_buf_append_byte(out, '"');
    for (uint64_t n = ms_rng_below(rng, 6); n; n--)
        ms_buf_append_text(out, parts[ms_rng_below(rng, sizeof parts / sizeof *parts)]);
    ms_buf_append_byte(out, '"');
}

static inline void make_space(struct ms_rng *rng, struct ms_buf *out)
{
    static const char *const spaces[] = {"", "", "", " ", "\n    ", "\t", "\r\n"};
    ms_buf_append_text(out, spaces[ms_rng_below(rng, sizeof spaces / sizeof *spaces)]);
}

static inline void make_value(struct ms_rng *rng, unsigned depth, struct ms_buf *out)
{
    static const char *const scalars[] = {"0",    "-1",   "12.5",       "1e3",  "-2.5E-2",
                                          "true", "null", "4294967295", "false"};
    make_space(rng, out);
    uint64_t kind = ms_rng_below(rng, depth < 5 ? 5 : 2);
    if (kind == 0) {
        ms_buf_append_text(out, scalars[ms_rng_below(rng, sizeof scalars / sizeof *scalars)]);
    } else if (kind == 1) {
        make_string(rng, out);
    } else {
        bool object = kind == 2;
        ms_buf_append_byte(out, object ? '{' : '[');
        uint64_t count = ms_rng_below(rng, 5);
        for (uint64_t i = 0; i < count; i++) {
            if (i)
                ms_buf_append_byte(out, ',');
            if (object) {
                make_space(rng, out);
                make_string(rng, out);
                make_space(rng, out);
                ms_buf_append_byte(out, ':');
            }
            make_value(rng, depth + 1, out);
        }
        ms_buf_append_byte(out, object ? '}' : ']');
    }
    make_space(rng, out);
}

/* An array of objects that look alike, as a report's calls do; now and then one that does not. */
static inline void make_alike(struct ms_rng *rng, struct ms_buf *out)
{
    static const char *const keys[] = {"api", "time", "flags", "tid", "more", "time"};
    const char *gap = ms_rng_below(rng, 2) ? "\n    " : "";
    ms_buf_append_byte(out, '[');
    uint64_t count = ms_rng_below(rng, 12), members = 1 + ms_rng_below(rng, 5);
    for (uint64_t i = 0; i < count; i++) {
        ms_buf_append_text(out, i ? "," : "");
        ms_buf_append_text(out, gap);
        if (!ms_rng_below(rng, 20)) {
            make_value(rng, 3, out);
            continue;
        }
        ms_buf_append_byte(out, '{');
        for (uint64_t k = 0; k < members + !ms_rng_below(rng, 5); k++) {
            ms_buf_append_text(out, k ? "," : "");
            ms_buf_append_text(out, gap);
            ms_buf_append_byte(out, '"');
            ms_buf_append_text(out, keys[k]);
            ms_buf_append_text(out, "\":");
            if (ms_rng_below(rng, 4))
                ms_buf_append_text(out, k % 2 ? "1700000000.125" : "\"NtCreateFile\"");
            else
                make_value(rng, 3, out);
        }
        ms_buf_append_text(out, gap);
        ms_buf_append_byte(out, '}');
    }
    ms_buf_append_byte(out, ']');
}

static inline void make_damage(struct ms_rng *rng, struct ms_buf *text)
{
    static const char bytes[] =
        "\"\\{}[]:,0123456789-+.eEtrufalsn \n\t\xc3\xa9\xe2\xf0\x80\xff\x01";
    for (uint64_t n = 1 + ms_rng_below(rng, 3); n && text->len; n--) {
        size_t at = ms_rng_below(rng, text->len);
        uint8_t byte = (uint8_t)bytes[ms_rng_below(rng, sizeof bytes - 1)];
        uint64_t how = ms_rng_below(rng, 3);
        if (how == 0) {
            text->data[at] = byte;
        } else if (how == 1) {
            memmove(text->data + at, text->data + at + 1, text->len - at - 1);
            text->len--;
        } else {
            ms_buf_append_byte(text, byte);
        }
    }
}

#endif

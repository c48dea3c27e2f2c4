/* Lines of a repository list. */
#include "collect/list.h"

#include "base/http_url.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* The next word; false at the end or at a comment. */
static bool next_word(struct ms_span *line, struct ms_span *word)
{
    while (line->len && is_blank(line->data[0]))
        *line = ms_span_of(line->data + 1, line->len - 1);
    if (!line->len || line->data[0] == '#')
        return false;
    size_t n = 0;
    while (n < line->len && !is_blank(line->data[n]))
        n++;
    *word = ms_span_of(line->data, n);
    *line = ms_span_of(line->data + n, line->len - n);
    return true;
}

static enum ms_status bad(struct ms_span word, const char *why, struct ms_error *err)
{
    char shown[128];
    return ms_error_set(err, MS_REJECT, "'%s': %s",
                        ms_escape_bytes(word.data, word.len, shown, sizeof shown), why);
}

static bool strip(struct ms_span *text, const char *prefix)
{
    size_t n = strlen(prefix);
    if (text->len < n || strncasecmp((const char *)text->data, prefix, n) != 0)
        return false;
    *text = ms_span_of(text->data + n, text->len - n);
    return true;
}

static bool name_byte(uint8_t c, bool owner)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || (!owner && c == '.');
}

/* GitHub: an owner has at most 39 letters, digits and hyphens (underscores in managed accounts), a
 * repository at most 100 with dots and underscores; "." and ".." are nobody's. */
static bool good_name(struct ms_span part, bool owner)
{
    if (!part.len || part.len > (owner ? 39U : 100U) || ms_span_equal_text(part, ".") ||
        ms_span_equal_text(part, ".."))
        return false;
    for (size_t i = 0; i < part.len; i++)
        if (!name_byte(part.data[i], owner))
            return false;
    return true;
}

/* What git allows in a ref name, as far as it can do harm in a URL (git-check-ref-format). */
static bool good_ref(struct ms_span ref)
{
    if (!ref.len || ref.len >= MS_REPO_REF_BYTES)
        return false;
    for (size_t i = 0; i < ref.len; i++) {
        uint8_t c = ref.data[i];
        if (c <= ' ' || c == 0x7f || strchr("~^:?*[\\", c) ||
            (c == '.' && i + 1 < ref.len && ref.data[i + 1] == '.'))
            return false;
    }
    return true;
}

static struct ms_span take_part(struct ms_span *text)
{
    const uint8_t *slash = text->len ? memchr(text->data, '/', text->len) : NULL;
    size_t n = slash ? (size_t)(slash - text->data) : text->len;
    struct ms_span part = ms_span_of(text->data, n);
    size_t skip = slash ? n + 1 : n;
    *text = ms_span_of(text->data + skip, text->len - skip);
    return part;
}

/* A repository on another host: the URL up to an '@' in its path, which a ref follows. */
static enum ms_status parse_url(struct ms_span word, struct ms_repo *out, struct ms_error *err)
{
    struct ms_url url;
    char text[MS_REPO_URL_BYTES];
    struct ms_span rest = word;
    if (!strip(&rest, "https://"))
        (void)strip(&rest, "http://");
    (void)take_part(&rest);
    const uint8_t *at = rest.len ? memchr(rest.data, '@', rest.len) : NULL;
    size_t n = at ? (size_t)(at - word.data) : word.len;
    if (at) {
        struct ms_span ref = ms_span_of(at + 1, word.len - n - 1);
        if (!good_ref(ref))
            return bad(word, "no branch, tag or commit name behind the @", err);
        (void)snprintf(out->ref, sizeof out->ref, "%.*s", (int)ref.len, (const char *)ref.data);
    }
    if (n >= sizeof text || memchr(word.data, 0, n))
        return bad(word, "the URL is too long", err);
    memcpy(text, word.data, n);
    text[n] = '\0';
    if (ms_url_parse(text, &url, NULL) != MS_OK || strchr(url.text, '?'))
        return bad(word, "not the URL of a git repository", err);
    if (!url.https && !url.loopback)
        return bad(word, "only https URLs are collected", err);
    n = strlen(url.text);
    while (n && url.text[n - 1] == '/')
        url.text[--n] = '\0';
    if (n >= sizeof out->url || n <= strlen(url.https ? "https://" : "http://") ||
        !strchr(url.text + 8, '/'))
        return bad(word, "not the URL of a git repository", err);
    memcpy(out->url, url.text, n + 1);
    return MS_OK;
}

static enum ms_status parse_name(struct ms_span word, struct ms_repo *out, struct ms_error *err)
{
    struct ms_span rest = word;
    struct ms_span ref = ms_span_of(NULL, 0);
    bool url = strip(&rest, "https://") || strip(&rest, "http://");
    if (url && !strip(&rest, "www.github.com/") && !strip(&rest, "github.com/"))
        return parse_url(word, out, err);
    const uint8_t *at = !url && rest.len ? memchr(rest.data, '@', rest.len) : NULL;
    if (at) {
        size_t n = (size_t)(at - rest.data);
        ref = ms_span_of(at + 1, rest.len - n - 1);
        rest.len = n;
        if (!good_ref(ref))
            return bad(word, "no branch, tag or commit name behind the @", err);
    }
    struct ms_span owner = take_part(&rest);
    struct ms_span name = take_part(&rest);
    if (url && name.len > 4 && memcmp(name.data + name.len - 4, ".git", 4) == 0)
        name.len -= 4;
    if (!good_name(owner, true) || !good_name(name, false))
        return bad(word, "not owner/repo", err);
    if (url && strip(&rest, "tree/"))
        ref = rest;
    else if (rest.len)
        return bad(word, "more than owner/repo", err);
    if (ref.len && !good_ref(ref))
        return bad(word, "no branch, tag or commit name", err);
    (void)snprintf(out->name, sizeof out->name, "%.*s/%.*s", (int)owner.len,
                   (const char *)owner.data, (int)name.len, (const char *)name.data);
    for (char *c = out->name; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    (void)snprintf(out->ref, sizeof out->ref, "%.*s", (int)ref.len,
                   ref.len ? (const char *)ref.data : "");
    return MS_OK;
}

static bool parse_claim(struct ms_span value, const char **out)
{
    static const char *const claims[] = {"malware", "benign", "unknown"};
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++)
        if (ms_span_equal_text(value, claims[i])) {
            *out = claims[i];
            return true;
        }
    return false;
}

/* What may stand behind the first word of a line. */
static enum ms_status parse_remarks(struct ms_span *line, const char **claim, bool *private_,
                                    struct ms_error *err)
{
    struct ms_span word;
    enum ms_status status = MS_OK;
    while (status == MS_OK && next_word(line, &word)) {
        struct ms_span value = word;
        if (ms_span_equal_text(word, "private"))
            *private_ = true;
        else if (!strip(&value, "claim=") || !parse_claim(value, claim))
            status = bad(word, "not claim=malware, claim=benign, claim=unknown or private", err);
    }
    return status;
}

enum ms_status ms_repo_parse(struct ms_span line, struct ms_repo *out, bool *empty,
                             struct ms_error *err)
{
    struct ms_span word;
    *out = (struct ms_repo){.claim = NULL};
    *empty = !next_word(&line, &word);
    if (*empty)
        return MS_OK;
    enum ms_status status = parse_name(word, out, err);
    return status == MS_OK ? parse_remarks(&line, &out->claim, &out->private_, err) : status;
}

enum ms_status ms_list_url_parse(struct ms_span line, struct ms_list_url *out, bool *empty,
                                 struct ms_error *err)
{
    struct ms_span word;
    struct ms_error why = {MS_OK, 0, ""};
    char text[MS_LIMIT_URL_BYTES];
    *out = (struct ms_list_url){.claim = NULL};
    *empty = !next_word(&line, &word);
    if (*empty)
        return MS_OK;
    if (word.len >= sizeof text || memchr(word.data, 0, word.len))
        return bad(word, "not a URL", err);
    memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    if (ms_url_parse(text, &out->url, &why) != MS_OK)
        return ms_error_set(err, MS_REJECT, "%s", why.text);
    if (!out->url.https && !out->url.loopback)
        return bad(word, "not https", err);
    return parse_remarks(&line, &out->claim, &out->private_, err);
}

/* pkt-lines of git's protocol version 2. Every length is checked against what is there. */
#include "collect/pkt.h"

#include "base/limits.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_BYTES = 4, LINE_BYTES = 1024, SHOWN_BYTES = 256 };

static enum ms_status server_says(struct ms_span text, struct ms_error *err)
{
    char shown[SHOWN_BYTES];
    while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    return ms_error_set(err, MS_REJECT, "the server says: %s",
                        ms_escape_bytes(text.data, text.len, shown, sizeof shown));
}

static bool starts_with(struct ms_span text, const char *prefix)
{
    size_t n = strlen(prefix);
    return text.len >= n && memcmp(text.data, prefix, n) == 0;
}

static bool read_length(const uint8_t *at, size_t *out)
{
    size_t value = 0;
    for (int i = 0; i < HEAD_BYTES; i++) {
        uint8_t c = at[i];
        unsigned digit = c >= '0' && c <= '9'   ? c - (unsigned)'0'
                         : c >= 'a' && c <= 'f' ? c - (unsigned)'a' + 10
                         : c >= 'A' && c <= 'F' ? c - (unsigned)'A' + 10
                                                : 16;
        if (digit > 15)
            return false;
        value = value << 4 | digit;
    }
    *out = value;
    return true;
}

enum ms_status ms_pkt_take(struct ms_span *in, struct ms_pkt *out, struct ms_error *err)
{
    struct ms_span head;
    size_t length;
    *out = (struct ms_pkt){.kind = MS_PKT_NONE};
    if (!in->len)
        return MS_OK;
    if (!ms_span_take(in, HEAD_BYTES, &head) || !read_length(head.data, &length) || length == 3)
        return ms_error_set(err, MS_REJECT, "the answer is not made of pkt-lines");
    if (length < HEAD_BYTES) {
        out->kind = length == 0 ? MS_PKT_FLUSH : length == 1 ? MS_PKT_DELIM : MS_PKT_END;
        return MS_OK;
    }
    if (!ms_span_take(in, length - HEAD_BYTES, &out->data))
        return ms_error_set(err, MS_REJECT, "the answer is cut short");
    out->kind = MS_PKT_DATA;
    if (starts_with(out->data, "ERR "))
        return server_says(ms_span_of(out->data.data + 4, out->data.len - 4), err);
    return MS_OK;
}

void ms_pkt_add(struct ms_buf *out, const char *fmt, ...)
{
    char text[LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof text)
        out->failed = true;
    else
        (void)ms_buf_printf(out, "%04x%s", (unsigned)n + HEAD_BYTES, text);
}

void ms_pkt_add_flush(struct ms_buf *out)
{
    (void)ms_buf_append_text(out, "0000");
}

void ms_pkt_add_delim(struct ms_buf *out)
{
    (void)ms_buf_append_text(out, "0001");
}

/* A line without the line feed that git puts behind most of them. */
static struct ms_span line_of(struct ms_span data)
{
    if (data.len && data.data[data.len - 1] == '\n')
        data.len--;
    return data;
}

static bool has_word(struct ms_span line, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= line.len; i++) {
        bool starts = i == 0 || line.data[i - 1] == ' ' || line.data[i - 1] == '=';
        bool ends = i + n == line.len || line.data[i + n] == ' ';
        if (starts && ends && memcmp(line.data + i, word, n) == 0)
            return true;
    }
    return false;
}

enum ms_status ms_git_features_read(struct ms_span body, struct ms_git_features *out,
                                    struct ms_error *err)
{
    struct ms_pkt pkt;
    bool service = false, version = false;
    *out = (struct ms_git_features){false, false};
    for (;;) {
        enum ms_status status = ms_pkt_take(&body, &pkt, err);
        if (status != MS_OK)
            return status;
        struct ms_span line = line_of(pkt.data);
        if (pkt.kind == MS_PKT_NONE || (pkt.kind == MS_PKT_FLUSH && version))
            break;
        if (pkt.kind != MS_PKT_DATA)
            continue;
        if (!version && starts_with(line, "# service=")) {
            service = true;
        } else if (!version && ms_span_equal_text(line, "version 2")) {
            version = true;
        } else if (!version) {
            return ms_error_set(err, MS_REJECT,
                                service ? "the server speaks only version 0 of git's protocol; "
                                          "version 2 is needed"
                                        : "there is no git repository behind this URL");
        } else if (starts_with(line, "object-format=") &&
                   !ms_span_equal_text(line, "object-format=sha1")) {
            return ms_error_set(err, MS_REJECT,
                                "the repository names its objects by SHA-256; only SHA-1 is "
                                "supported");
        } else if (starts_with(line, "fetch=")) {
            out->filter = has_word(line, "filter");
            out->shallow = has_word(line, "shallow");
        }
    }
    if (!version)
        return ms_error_set(err, MS_REJECT, "there is no git repository behind this URL");
    return MS_OK;
}

/* How well a ref fits what was asked for: 0 not at all. */
static unsigned fit(struct ms_span name, const char *ref)
{
    char full[LINE_BYTES];
    static const char *const heads[] = {"refs/heads/master", "refs/heads/main", "HEAD"};
    static const char *const prefixes[] = {"", "refs/tags/", "refs/heads/"};
    for (unsigned i = 0; i < 3; i++) {
        (void)snprintf(full, sizeof full, "%s%s", prefixes[i], ref);
        if (ms_span_equal_text(name, ref[0] ? full : heads[i]))
            return i + 2;
    }
    return !ref[0] && starts_with(name, "refs/heads/");
}

static bool read_id(struct ms_span text, uint8_t id[MS_SHA1_BYTES])
{
    char hex[2 * MS_SHA1_BYTES + 1];
    if (text.len != 2 * MS_SHA1_BYTES)
        return false;
    memcpy(hex, text.data, text.len);
    hex[text.len] = '\0';
    return ms_hex_decode(hex, MS_SHA1_BYTES, id);
}

static struct ms_span take_word(struct ms_span *line)
{
    size_t n = 0;
    while (n < line->len && line->data[n] != ' ')
        n++;
    struct ms_span word = ms_span_of(line->data, n);
    size_t skip = n < line->len ? n + 1 : n;
    *line = ms_span_of(line->data + skip, line->len - skip);
    return word;
}

struct ref {
    struct ms_span name;
    uint8_t id[MS_SHA1_BYTES]; /* peeled, where it is a tag */
};

/* The next ref of an answer to ls-refs; *end true behind the last. A HEAD without a commit is
 * passed over. */
static enum ms_status take_ref(struct ms_span *body, struct ref *out, bool *end,
                               struct ms_error *err)
{
    struct ms_pkt pkt;
    struct ms_span line, word;
    do {
        enum ms_status status = ms_pkt_take(body, &pkt, err);
        if (status != MS_OK)
            return status;
        *end = pkt.kind == MS_PKT_FLUSH;
        if (*end)
            return MS_OK;
        if (pkt.kind != MS_PKT_DATA)
            return ms_error_set(err, MS_REJECT, "the list of refs is cut short");
        line = line_of(pkt.data);
        word = take_word(&line);
    } while (ms_span_equal_text(word, "unborn"));
    bool good = read_id(word, out->id);
    out->name = take_word(&line);
    while (good && line.len) {
        word = take_word(&line);
        if (starts_with(word, "peeled:"))
            good = read_id(ms_span_of(word.data + 7, word.len - 7), out->id);
    }
    return good ? MS_OK : ms_error_set(err, MS_REJECT, "the answer is no list of refs");
}

enum ms_status ms_git_refs_read(struct ms_span body, const char *ref, bool *found,
                                uint8_t id[MS_SHA1_BYTES], struct ms_error *err)
{
    struct ref next;
    unsigned best = 0;
    bool end = false;
    enum ms_status status;
    *found = false;
    while ((status = take_ref(&body, &next, &end, err)) == MS_OK && !end) {
        unsigned fits = fit(next.name, ref);
        if (fits <= best)
            continue;
        best = fits;
        *found = true;
        memcpy(id, next.id, MS_SHA1_BYTES);
    }
    return status;
}

/* ---- tips ------------------------------------------------------------------------------------ */

enum ms_status ms_git_tips_add(struct ms_git_tips *self, const uint8_t id[MS_SHA1_BYTES],
                               struct ms_error *err)
{
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 64;
        void *grown = realloc(self->ids, cap * sizeof *self->ids);
        if (!grown)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->ids = grown;
        self->cap = cap;
    }
    memcpy(self->ids[self->count++], id, MS_SHA1_BYTES);
    return MS_OK;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, MS_SHA1_BYTES);
}

void ms_git_tips_sort(struct ms_git_tips *self)
{
    size_t kept = 0;
    if (self->count)
        qsort(self->ids, self->count, sizeof *self->ids, compare_ids);
    for (size_t i = 0; i < self->count; i++)
        if (!kept || compare_ids(self->ids[kept - 1], self->ids[i]) != 0)
            memmove(self->ids[kept++], self->ids[i], MS_SHA1_BYTES);
    self->count = kept;
}

bool ms_git_tips_has(const struct ms_git_tips *self, const uint8_t id[MS_SHA1_BYTES])
{
    return self->count && bsearch(id, self->ids, self->count, sizeof *self->ids, compare_ids);
}

void ms_git_tips_release(struct ms_git_tips *self)
{
    free(self->ids);
    *self = (struct ms_git_tips){.count = 0};
}

enum ms_status ms_git_tips_read(struct ms_span body, struct ms_git_tips *out, struct ms_error *err)
{
    struct ref next;
    bool end = false;
    enum ms_status status;
    *out = (struct ms_git_tips){.count = 0};
    while ((status = take_ref(&body, &next, &end, err)) == MS_OK && !end) {
        if (!ms_span_equal_text(next.name, "HEAD") && !starts_with(next.name, "refs/heads/") &&
            !starts_with(next.name, "refs/tags/"))
            continue;
        out->cut = out->count == MS_LIMIT_GIT_REFS;
        if (out->cut)
            break;
        status = ms_git_tips_add(out, next.id, err);
        if (status != MS_OK)
            break;
    }
    ms_git_tips_sort(out);
    return status;
}

/* The sections before the pack (shallow-info and the like). */
static enum ms_status skip_to_pack(struct ms_span *body, struct ms_error *err)
{
    struct ms_pkt pkt;
    enum ms_status status;
    while ((status = ms_pkt_take(body, &pkt, err)) == MS_OK) {
        if (pkt.kind == MS_PKT_DATA && ms_span_equal_text(line_of(pkt.data), "packfile"))
            return MS_OK;
        if (pkt.kind != MS_PKT_DATA && pkt.kind != MS_PKT_DELIM)
            return ms_error_set(err, MS_REJECT, "the server sent no pack");
    }
    return status;
}

enum ms_status ms_git_pack_take(struct ms_span body, uint8_t *pack, size_t *pack_bytes,
                                struct ms_error *err)
{
    struct ms_pkt pkt;
    *pack_bytes = 0;
    enum ms_status status = skip_to_pack(&body, err);
    while (status == MS_OK && (status = ms_pkt_take(&body, &pkt, err)) == MS_OK) {
        if (pkt.kind == MS_PKT_FLUSH)
            return MS_OK;
        if (pkt.kind != MS_PKT_DATA || !pkt.data.len)
            return ms_error_set(err, MS_REJECT, "the pack is cut short");
        struct ms_span rest = ms_span_of(pkt.data.data + 1, pkt.data.len - 1);
        if (pkt.data.data[0] == 3)
            return server_says(rest, err);
        if (pkt.data.data[0] > 3 || pkt.data.data[0] == 0)
            return ms_error_set(err, MS_REJECT, "the answer has a channel of no meaning");
        if (pkt.data.data[0] == 1 && rest.len) {
            memcpy(pack + *pack_bytes, rest.data, rest.len);
            *pack_bytes += rest.len;
        }
    }
    return status;
}

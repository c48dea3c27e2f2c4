/* Reads files of digests and compares. Decides nothing about a sample. */
#define _GNU_SOURCE
#include "collect/sidefile.h"

#include "base/file.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    TEXT_BYTES = 4 << 10, /* of a side file; lists of whole collections are none */
    KEPT = 256,           /* neighbours in byte order of the paths lie closer than that */
    CHUNK_BYTES = 64 << 10,
    PATH_MAX_BYTES = 16 << 10
};

static const char *const suffixes[] = {".md5",     ".md5sum", ".sha",       ".sha1",
                                       ".sha1sum", ".sha256", ".sha256sum", ".shasum"};
enum { SUFFIX_COUNT = sizeof suffixes / sizeof *suffixes };

struct ms_side_text {
    const struct ms_entry *entry; /* NULL: a free place */
    size_t n;
    uint8_t bytes[TEXT_BYTES];
};

/* ---- the text -------------------------------------------------------------------------------- */

static int hex_value(uint8_t c)
{
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

static bool is_word(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' ||
           c >= 0x80;
}

/* The first run of hexadecimal digits in the line that stands alone and has a digest's length. */
static bool find_digest(struct ms_span line, struct ms_span *out)
{
    for (size_t at = 0; at < line.len;) {
        size_t n = 0;
        while (at + n < line.len && is_word(line.data[at + n]))
            n++;
        bool hex = n == 2 * MS_MD5_BYTES || n == 2 * MS_SHA1_BYTES || n == 2 * MS_SHA256_BYTES;
        for (size_t i = 0; hex && i < n; i++)
            hex = hex_value(line.data[at + i]) >= 0;
        if (hex) {
            *out = ms_span_of(line.data + at, n);
            return true;
        }
        at += n ? n : 1;
    }
    return false;
}

static struct ms_span trim(struct ms_span text)
{
    while (text.len && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = ms_span_of(text.data + 1, text.len - 1);
    while (text.len && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

static struct ms_span base_name(struct ms_span path)
{
    for (size_t i = path.len; i > 0; i--)
        if (path.data[i - 1] == '/' || path.data[i - 1] == '\\')
            return ms_span_of(path.data + i, path.len - i);
    return path;
}

static void keep_name(struct ms_side_digest *digest, struct ms_span name)
{
    name = base_name(trim(name));
    if (name.len && name.data[0] == '*')
        name = ms_span_of(name.data + 1, name.len - 1);
    if (name.len < sizeof digest->name && !(name.len && memchr(name.data, 0, name.len)))
        (void)snprintf(digest->name, sizeof digest->name, "%.*s", (int)name.len,
                       name.len ? (const char *)name.data : "");
}

/* "MD5 (name) = HASH": the name may be a digest itself, so the line is cut at its last ") = ". */
static bool split_tagged(struct ms_span line, struct ms_span *name, struct ms_span *rest)
{
    const uint8_t *open = line.len ? memchr(line.data, '(', line.len) : NULL;
    for (size_t i = line.len; open && i-- > 0;) {
        const uint8_t *at = line.data + i;
        if (*at != '=' || at <= open)
            continue;
        struct ms_span before = trim(ms_span_of(open + 1, (size_t)(at - open) - 1));
        if (!before.len || before.data[before.len - 1] != ')')
            return false;
        *name = ms_span_of(before.data, before.len - 1);
        *rest = ms_span_of(at + 1, line.len - i - 1);
        return true;
    }
    return false;
}

static void parse_line(struct ms_side_digests *self, struct ms_span line)
{
    struct ms_span name = {NULL, 0}, rest = line, hex;
    bool tagged = split_tagged(line, &name, &rest);
    if (self->count == MS_SIDE_DIGESTS || !find_digest(rest, &hex))
        return;
    struct ms_side_digest *digest = &self->items[self->count++];
    *digest = (struct ms_side_digest){.n = hex.len / 2};
    for (size_t i = 0; i < digest->n; i++)
        digest->bytes[i] =
            (uint8_t)(hex_value(hex.data[2 * i]) << 4 | hex_value(hex.data[2 * i + 1]));
    if (!tagged) {
        const uint8_t *end = hex.data + hex.len;
        name = ms_span_of(end, (size_t)(line.data + line.len - end));
    }
    keep_name(digest, name);
}

/* Windows' tools write UTF-16: every other byte of what is wanted is 0. */
static struct ms_span narrow(struct ms_span text, uint8_t out[TEXT_BYTES])
{
    bool little = text.len >= 2 && text.data[0] == 0xff && text.data[1] == 0xfe;
    bool big = text.len >= 2 && text.data[0] == 0xfe && text.data[1] == 0xff;
    size_t n = 0;
    if (!little && !big)
        return text;
    for (size_t i = 2; i + 1 < text.len && n < TEXT_BYTES; i += 2) {
        uint8_t low = text.data[little ? i : i + 1], high = text.data[little ? i + 1 : i];
        out[n++] = high ? '?' : low;
    }
    return ms_span_of(out, n);
}

void ms_side_parse(struct ms_side_digests *self, struct ms_span text)
{
    uint8_t narrowed[TEXT_BYTES];
    text = narrow(text, narrowed);
    if (text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0)
        text = ms_span_of(text.data + 3, text.len - 3);
    for (size_t at = 0; at < text.len;) {
        size_t n = 0;
        while (at + n < text.len && text.data[at + n] != '\n' && text.data[at + n] != '\r')
            n++;
        parse_line(self, ms_span_of(text.data + at, n));
        at += n + 1;
    }
}

/* ---- the files ------------------------------------------------------------------------------- */

bool ms_side_is(struct ms_span path)
{
    for (size_t i = 0; i < SUFFIX_COUNT; i++) {
        size_t n = strlen(suffixes[i]);
        if (path.len > n &&
            strncasecmp((const char *)path.data + path.len - n, suffixes[i], n) == 0)
            return true;
    }
    return false;
}

void ms_sides_init(struct ms_sides *self, struct ms_crawl *crawl, struct ms_hints *hints,
                   const struct ms_entries *entries)
{
    *self = (struct ms_sides){.crawl = crawl, .hints = hints, .entries = entries};
}

void ms_sides_release(struct ms_sides *self)
{
    free(self->kept);
    self->kept = NULL;
}

static struct ms_side_text *kept(const struct ms_sides *self, const struct ms_entry *entry)
{
    for (size_t i = 0; self->kept && i < KEPT; i++)
        if (self->kept[i].entry == entry)
            return &self->kept[i];
    return NULL;
}

static void keep(struct ms_sides *self, const struct ms_entry *entry, int fd, uint64_t size)
{
    if (size > TEXT_BYTES)
        return;
    if (!self->kept)
        self->kept = calloc(KEPT, sizeof *self->kept);
    if (!self->kept)
        return;
    struct ms_side_text *text = &self->kept[self->next];
    ssize_t n = pread(fd, text->bytes, TEXT_BYTES, 0);
    text->entry = n >= 0 && (uint64_t)n == size ? entry : NULL;
    text->n = n > 0 ? (size_t)n : 0;
    self->next = (self->next + 1) % KEPT;
}

enum ms_status ms_sides_fetch(struct ms_sides *self, const struct ms_entry *entry, int *fd,
                              uint64_t *size, const char **outcome, struct ms_error *err)
{
    const struct ms_side_text *text = kept(self, entry);
    enum ms_status status;
    if (text) {
        status = ms_file_memory("side", fd, err);
        *size = text->n;
        return status == MS_OK ? ms_file_write_all(*fd, text->bytes, text->n, err) : status;
    }
    status = ms_hints_fetch(self->hints, entry, fd, size, outcome, err);
    if (status == MS_OK && ms_side_is(entry->path))
        keep(self, entry, *fd, *size);
    return status;
}

static int compare_path(const void *key, const void *item)
{
    const struct ms_span *path = key;
    const struct ms_entry *entry = item;
    size_t n = path->len < entry->path.len ? path->len : entry->path.len;
    int order = n ? memcmp(path->data, entry->path.data, n) : 0;
    return order ? order : (path->len > entry->path.len) - (path->len < entry->path.len);
}

/* Do both lie in today's tree, or in that of the same commit? What lay there at another time speaks
 * of another file. */
static bool same_tree(const struct ms_entry *a, const struct ms_entry *b)
{
    return a->past == b->past &&
           (!a->past || memcmp(a->commit_id, b->commit_id, MS_SHA1_BYTES) == 0);
}

/* The file stem + suffix beside the entry. */
static const struct ms_entry *find_beside(const struct ms_sides *self, const struct ms_entry *entry,
                                          struct ms_span stem, const char *suffix)
{
    const struct ms_entry *items = self->entries->items, *end = items + self->entries->count;
    char path[PATH_MAX_BYTES];
    size_t n = strlen(suffix);
    if (stem.len + n > sizeof path || !self->entries->count)
        return NULL;
    memcpy(path, stem.data, stem.len);
    memcpy(path + stem.len, suffix, n);
    struct ms_span key = ms_span_of(path, stem.len + n);
    const struct ms_entry *found =
        bsearch(&key, items, self->entries->count, sizeof *items, compare_path);
    /* With --history a path stands there once for each of its files. */
    while (found && found > items && compare_path(&key, found - 1) == 0)
        found--;
    for (; found && found < end && compare_path(&key, found) == 0; found++)
        if (same_tree(entry, found))
            return found;
    return NULL;
}

/* A side file that is not at hand is fetched out of its turn. Whatever goes wrong with it is told
 * in its own turn, if it has one. */
static void read_side(struct ms_sides *self, const struct ms_entry *entry,
                      struct ms_side_digests *out)
{
    struct ms_side_text *text = kept(self, entry);
    struct ms_error why = {MS_OK, 0, ""};
    const char *outcome = NULL;
    uint64_t size = 0;
    int fd = -1;
    if (!text && entry->size <= TEXT_BYTES) {
        self->crawl->aside = true;
        if (self->crawl->fetch(self->crawl->fetch_ctx, entry, &fd, &size, &outcome, &why) == MS_OK)
            keep(self, entry, fd, size);
        self->crawl->aside = false;
        if (fd >= 0)
            (void)close(fd);
        text = kept(self, entry);
    }
    if (text)
        ms_side_parse(out, ms_span_of(text->bytes, text->n));
}

/* x.zip.md5 and x.md5 beside x.zip. The first one is shown in a warning. */
static const struct ms_entry *read_all(struct ms_sides *self, const struct ms_entry *entry,
                                       struct ms_side_digests *out)
{
    const struct ms_entry *first = NULL;
    struct ms_span stem = entry->path;
    size_t name = base_name(stem).len;
    for (size_t i = 1; i < name && stem.len == entry->path.len; i++)
        if (entry->path.data[entry->path.len - i] == '.')
            stem.len = entry->path.len - i;
    for (size_t i = 0; i < 2 * SUFFIX_COUNT; i++) {
        if (i >= SUFFIX_COUNT && stem.len == entry->path.len)
            break;
        const struct ms_entry *side = find_beside(
            self, entry, i < SUFFIX_COUNT ? entry->path : stem, suffixes[i % SUFFIX_COUNT]);
        if (!side || side == entry)
            continue;
        read_side(self, side, out);
        first = first ? first : side;
    }
    return first;
}

/* ---- the comparison -------------------------------------------------------------------------- */

static bool equals(const struct ms_side_digest *digest, const struct ms_digests *of)
{
    const uint8_t *bytes = digest->n == MS_MD5_BYTES    ? of->md5
                           : digest->n == MS_SHA1_BYTES ? of->sha1
                                                        : of->sha256;
    return memcmp(digest->bytes, bytes, digest->n) == 0;
}

static bool any_equals(const struct ms_side_digests *digests, const struct ms_digests *of)
{
    for (size_t i = 0; i < digests->count; i++)
        if (equals(&digests->items[i], of))
            return true;
    return false;
}

static bool same_name(const char *name, struct ms_span path)
{
    struct ms_span base = base_name(path);
    for (size_t i = base.len; i > 0; i--)
        if (base.data[i - 1] == '!') {
            base = ms_span_of(base.data + i, base.len - i);
            break;
        }
    return base.len == strlen(name) && strncasecmp(name, (const char *)base.data, base.len) == 0;
}

/* Does any digest speak of this file or a program in it? A list may name others alone. */
static bool is_about(const struct ms_side_digests *digests, const struct ms_entry *entry,
                     const struct ms_intake_result *result)
{
    for (size_t i = 0; i < digests->count; i++) {
        const char *name = digests->items[i].name;
        bool about = !*name || same_name(name, entry->path);
        for (size_t k = 0; k < result->program_count && !about; k++)
            about = same_name(name, result->programs[k].chain);
        if (about)
            return true;
    }
    return false;
}

static bool hash_file(int fd, struct ms_digests *out)
{
    struct ms_hasher *hasher = NULL;
    uint8_t *chunk = malloc(CHUNK_BYTES);
    ssize_t n = -1;
    off_t at = 0;
    bool good =
        chunk && ms_hasher_new(MS_HASH_MD5 | MS_HASH_SHA1 | MS_HASH_SHA256, &hasher, NULL) == MS_OK;
    while (good && (n = pread(fd, chunk, CHUNK_BYTES, at)) > 0) {
        ms_hasher_update(hasher, chunk, (size_t)n);
        at += n;
    }
    good = good && n == 0 && ms_hasher_finish(hasher, out, NULL) == MS_OK;
    ms_hasher_free(hasher);
    free(chunk);
    return good;
}

static void warn(const struct ms_intake_blob *blob, const struct ms_entry *side)
{
    char path[512], name[256], beside[256];
    struct ms_span base = base_name(side->path);
    (void)ms_escape_bytes(blob->path.data, blob->path.len, path, sizeof path);
    (void)ms_escape_bytes(base.data, base.len, beside, sizeof beside);
    (void)ms_escape_text(blob->origin_name, name, sizeof name);
    ms_log(MS_LOG_WARNING,
           "%s/%s: the digest in '%s' beside it is neither its own nor that of a program in it; "
           "recorded, and kept all the same",
           name, path, beside);
}

void ms_sides_judge(struct ms_sides *self, const struct ms_entry *entry,
                    const struct ms_intake_blob *blob, struct ms_intake_result *result)
{
    struct ms_digests whole;
    bool sample = false;
    if (!result->program_count || blob->part_count || ms_side_is(entry->path))
        return;
    struct ms_side_digests *digests = calloc(1, sizeof *digests);
    const struct ms_entry *side = digests ? read_all(self, entry, digests) : NULL;
    if (side && digests->count) {
        for (size_t i = 0; i < result->program_count; i++)
            if (any_equals(digests, &result->programs[i].digests)) {
                result->programs[i].side_file = "sample";
                sample = true;
            }
        bool archive = !sample && hash_file(blob->fd, &whole) && any_equals(digests, &whole);
        bool neither = !sample && !archive && is_about(digests, entry, result);
        for (size_t i = 0; i < result->program_count && (archive || neither); i++)
            result->programs[i].side_file = archive ? "archive" : "neither";
        if (neither)
            warn(blob, side);
    }
    free(digests);
}

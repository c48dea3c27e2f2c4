/* Candidate passwords: what people really use for malware archives, and where they write it down.
 */
#include "collect/password.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    PASSWORD_MAX_BYTES = 127,
    README_HINTS = 8,
    README_WINDOW = 160,
    PART_MAX = 4096,
    SUFFIXES = 3
};

/* Collections' own habit first; then contagio's scheme, Assemblyline's list, and repositories'
 * known ones (ytisf/theZoo, Endermanch/MalwareDatabase). */
static const char *const builtin[] = {"infected",
                                      "Infected",
                                      "INFECTED",
                                      "malware",
                                      "virus",
                                      "password",
                                      "mysubsarethebest",
                                      "infected666",
                                      "infected666p",
                                      "infected!",
                                      "VelvetSweatshop",
                                      "/01Hannes Ruescher/01",
                                      "123",
                                      "1234",
                                      "12345",
                                      "123456",
                                      "4321"};

enum ms_status ms_passwords_init(struct ms_passwords *self, struct ms_arena *arena,
                                 struct ms_error *err)
{
    *self = (struct ms_passwords){.arena = arena};
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < sizeof builtin / sizeof *builtin && status == MS_OK; i++)
        status = ms_passwords_add(self, MS_PASSWORD_BUILTIN,
                                  ms_span_of(builtin[i], strlen(builtin[i])), err);
    return status;
}

static bool has(const struct ms_password_part *part, struct ms_span password)
{
    for (size_t i = 0; i < part->count; i++)
        if (ms_span_equal(part->items[i], password))
            return true;
    return false;
}

bool ms_passwords_has(const struct ms_passwords *self, enum ms_password_source source,
                      struct ms_span password)
{
    return has(&self->parts[source], password);
}

enum ms_status ms_passwords_add(struct ms_passwords *self, enum ms_password_source source,
                                struct ms_span password, struct ms_error *err)
{
    struct ms_password_part *part = &self->parts[source];
    if (!password.len || password.len > PASSWORD_MAX_BYTES ||
        memchr(password.data, 0, password.len) || has(part, password) || part->count == PART_MAX)
        return MS_OK;
    if (part->count == part->cap) {
        size_t cap = part->cap ? part->cap * 2 : 16;
        struct ms_span *grown = ms_arena_alloc_array(self->arena, cap, sizeof *grown);
        if (!grown)
            return ms_error_set(err, MS_E_NOMEM, "too many passwords");
        if (part->count)
            memcpy(grown, part->items, part->count * sizeof *grown);
        part->items = grown;
        part->cap = cap;
    }
    char *copy = ms_arena_copy(self->arena, password.data, password.len);
    if (!copy)
        return ms_error_set(err, MS_E_NOMEM, "too many passwords");
    part->items[part->count++] = ms_span_of(copy, password.len);
    return MS_OK;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static struct ms_span trim(struct ms_span text)
{
    while (text.len && is_blank(text.data[0]))
        text = ms_span_of(text.data + 1, text.len - 1);
    while (text.len && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

enum ms_status ms_passwords_add_lines(struct ms_passwords *self, enum ms_password_source source,
                                      struct ms_span text, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0)
        text = ms_span_of(text.data + 3, text.len - 3);
    while (text.len && status == MS_OK) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t n = end ? (size_t)(end - text.data) : text.len;
        struct ms_span line = ms_span_of(text.data, n);
        text = ms_span_of(text.data + n + (end ? 1 : 0), text.len - n - (end ? 1 : 0));
        while (line.len && line.data[line.len - 1] == '\r')
            line.len--;
        status = ms_passwords_add(self, source, line, err);
        if (status == MS_OK)
            status = ms_passwords_add(self, source, trim(line), err);
    }
    return status;
}

/* Words between "password" and the password itself. */
static bool is_filler(struct ms_span word)
{
    static const char *const fillers[] = {
        "is",       "are",  "the",    "a",    "for",   "all",     "of",   "to",      "archive",
        "archives", "zip",  "zips",   "file", "files", "7z",      "rar",  "sample",  "samples",
        "every",    "each", "these",  "this", "here",  "and",     "with", "in",      "protected",
        "will",     "be",   "always", "used", "by",    "default", "them", "extract", "unzip",
        "any",      "same", "set",    "as",   "was",   "it",      "on",   "malware", "compressed"};
    for (size_t i = 0; i < sizeof fillers / sizeof *fillers; i++)
        if (word.len == strlen(fillers[i]) &&
            strncasecmp((const char *)word.data, fillers[i], word.len) == 0)
            return true;
    return false;
}

static bool is_punctuation(uint8_t byte)
{
    return memchr(":=-,.;()[]<>|>", byte, 14) != NULL;
}

/* The string between a pair of quotes at the start of `text`; *used counts the quotes too. */
static struct ms_span quoted(struct ms_span text, size_t *used)
{
    static const char *const marks[] = {"**", "```", "`", "\"", "'", "__"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t n = strlen(marks[i]);
        if (text.len <= 2 * n || memcmp(text.data, marks[i], n) != 0)
            continue;
        for (size_t at = n; at + n <= text.len && text.data[at] != '\n'; at++)
            if (memcmp(text.data + at, marks[i], n) == 0) {
                *used = at + n;
                return ms_span_of(text.data + n, at - n);
            }
    }
    *used = 0;
    return ms_span_of(NULL, 0);
}

/* Reads on behind "password": every quoted string, and the first bare word that is no filler. */
static enum ms_status read_window(struct ms_passwords *self, struct ms_span text, size_t *left,
                                  struct ms_error *err)
{
    enum ms_status status = MS_OK;
    bool bare = false;
    for (size_t at = 0; at < text.len && status == MS_OK && *left;) {
        struct ms_span rest = ms_span_of(text.data + at, text.len - at);
        size_t used;
        struct ms_span inside = quoted(rest, &used);
        if (used) {
            status = ms_passwords_add(self, MS_PASSWORD_README, trim(inside), err);
            (*left)--;
            bare = true;
            at += used;
            continue;
        }
        if (is_blank(rest.data[0]) || is_punctuation(rest.data[0])) {
            at++;
            continue;
        }
        size_t n = 0;
        while (n < rest.len && !is_blank(rest.data[n]) && !memchr("`\"", rest.data[n], 2))
            n++;
        struct ms_span word = ms_span_of(rest.data, n ? n : 1);
        at += word.len;
        while (word.len && memchr(".,;:)*", word.data[word.len - 1], 6))
            word.len--;
        if (!bare && word.len >= 3 && !is_filler(word)) {
            status = ms_passwords_add(self, MS_PASSWORD_README, word, err);
            (*left)--;
            bare = true;
        }
    }
    return status;
}

enum ms_status ms_passwords_add_readme(struct ms_passwords *self, struct ms_span text,
                                       struct ms_error *err)
{
    static const char word[] = "password";
    size_t n = sizeof word - 1;
    size_t left = README_HINTS;
    enum ms_status status = MS_OK;
    for (size_t at = 0; at + n <= text.len && status == MS_OK && left; at++) {
        if (strncasecmp((const char *)text.data + at, word, n) != 0)
            continue;
        at += n;
        if (at < text.len && (text.data[at] == 's' || text.data[at] == 'S'))
            at++;
        /* The closing mark of "**Password**:" opens nothing. */
        while (at < text.len && memchr("*`\"'_", text.data[at], 5))
            at++;
        size_t window = text.len - at < README_WINDOW ? text.len - at : README_WINDOW;
        status = read_window(self, ms_span_of(text.data + at, window), &left, err);
    }
    return status;
}

static struct ms_span last_part(struct ms_span path)
{
    for (size_t i = path.len; i; i--)
        if (path.data[i - 1] == '/')
            return ms_span_of(path.data + i, path.len - i);
    return path;
}

/* The name up to its last dot; the whole name when there is none but a leading one. */
static struct ms_span stem(struct ms_span name)
{
    for (size_t i = name.len; i > 1; i--)
        if (name.data[i - 1] == '.')
            return ms_span_of(name.data, i - 1);
    return name;
}

static enum ms_status add_contagio(struct ms_passwords *self, struct ms_span name,
                                   struct ms_error *err)
{
    char word[] = "infected666?";
    uint8_t last = name.len ? name.data[name.len - 1] : 0;
    bool fits = (last >= '0' && last <= '9') || (last >= 'a' && last <= 'z') ||
                (last >= 'A' && last <= 'Z');
    word[sizeof word - 2] = (char)last;
    return fits ? ms_passwords_add(self, MS_PASSWORD_NAME, ms_span_of(word, sizeof word - 1), err)
                : MS_OK;
}

enum ms_status ms_passwords_add_names(struct ms_passwords *self, struct ms_span path,
                                      struct ms_span origin, struct ms_error *err)
{
    struct ms_span name = stem(last_part(path));
    enum ms_status status = add_contagio(self, name, err);
    for (unsigned i = 0; i < SUFFIXES && status == MS_OK; i++) {
        status = ms_passwords_add(self, MS_PASSWORD_NAME, name, err);
        name = stem(name);
    }
    struct ms_span from = last_part(origin);
    if (from.len > 4 && memcmp(from.data + from.len - 4, ".git", 4) == 0)
        from.len -= 4;
    return status == MS_OK ? ms_passwords_add(self, MS_PASSWORD_NAME, from, err) : status;
}

enum ms_status ms_passwords_init_from(struct ms_passwords *self, const struct ms_passwords *from,
                                      struct ms_arena *arena, struct ms_error *err)
{
    *self = (struct ms_passwords){.arena = arena};
    for (int source = 0; source < MS_PASSWORD_SOURCES; source++) {
        size_t count = from->parts[source].count;
        if (!count)
            continue;
        struct ms_span *items = ms_arena_alloc_array(arena, count, sizeof *items);
        if (!items)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        memcpy(items, from->parts[source].items, count * sizeof *items);
        self->parts[source] = (struct ms_password_part){items, count, count};
    }
    return MS_OK;
}

size_t ms_passwords_candidates(const struct ms_passwords *self, struct ms_span *out, size_t max)
{
    /* What each later source may be sure of, as a part of max. */
    static const size_t share[MS_PASSWORD_SOURCES] = {8, 0, 8, 8, 4, 8};
    size_t count = 0;
    for (int source = 0; source < MS_PASSWORD_SOURCES; source++) {
        size_t reserved = 0;
        for (int later = source + 1; later < MS_PASSWORD_SOURCES; later++) {
            size_t wanted = self->parts[later].count;
            size_t part = share[later] ? max / share[later] : 0;
            reserved += wanted < part ? wanted : part;
        }
        const struct ms_password_part *part = &self->parts[source];
        for (size_t i = 0; i < part->count && count + reserved < max; i++) {
            struct ms_password_part so_far = {out, count, count};
            if (!has(&so_far, part->items[i]))
                out[count++] = part->items[i];
        }
    }
    return count;
}

static int by_bytes(const void *a, const void *b)
{
    const struct ms_span *left = a;
    const struct ms_span *right = b;
    size_t n = left->len < right->len ? left->len : right->len;
    int order = memcmp(left->data, right->data, n);
    return order ? order : (left->len > right->len) - (left->len < right->len);
}

enum ms_status ms_passwords_digest(const struct ms_passwords *self, struct ms_span extra,
                                   uint8_t out[32], struct ms_error *err)
{
    size_t total = 0;
    for (int source = 0; source < MS_PASSWORD_SOURCES; source++)
        total += self->parts[source].count;
    struct ms_span *all = calloc(total ? total : 1, sizeof *all);
    struct ms_hasher *hasher = NULL;
    struct ms_digests digests;
    if (!all)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    size_t count = 0;
    for (int source = 0; source < MS_PASSWORD_SOURCES; source++)
        for (size_t i = 0; i < self->parts[source].count; i++)
            all[count++] = self->parts[source].items[i];
    qsort(all, count, sizeof *all, by_bytes);
    enum ms_status status = ms_hasher_new(MS_HASH_SHA256, &hasher, err);
    for (size_t i = 0; i < count && status == MS_OK; i++) {
        if (i && by_bytes(&all[i - 1], &all[i]) == 0)
            continue;
        ms_hasher_update(hasher, all[i].data, all[i].len);
        ms_hasher_update(hasher, "", 1); /* no candidate holds a NUL */
    }
    if (status == MS_OK) {
        ms_hasher_update(hasher, "", 1);
        ms_hasher_update(hasher, extra.data, extra.len);
        status = ms_hasher_finish(hasher, &digests, err);
    }
    if (status == MS_OK)
        memcpy(out, digests.sha256, 32);
    ms_hasher_free(hasher);
    free(all);
    return status;
}

static bool begins(struct ms_span name, const char *text)
{
    size_t n = strlen(text);
    return name.len >= n && strncasecmp((const char *)name.data, text, n) == 0;
}

static bool ends(struct ms_span name, const char *text)
{
    size_t n = strlen(text);
    return name.len >= n && strncasecmp((const char *)name.data + name.len - n, text, n) == 0;
}

bool ms_password_is_beside(struct ms_span name)
{
    return ends(name, ".pass") || (begins(name, "password") && ends(name, ".txt"));
}

bool ms_password_is_readme(struct ms_span name)
{
    return begins(name, "readme") && (name.len == 6 || name.data[6] == '.');
}

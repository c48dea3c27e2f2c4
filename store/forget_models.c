/* Rewrites lines of JSON; reads no more of them than their key. */
#include "store/forget_models.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/span.h"
#include "store/forget_reports.h"
#include "store/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pattern {
    struct ms_buf old, new; /* how a row with the key begins, and shall begin */
};

struct forgetting {
    struct pattern *patterns;
    size_t count;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory to forget in the models");
}

enum ms_status ms_forgotten_key(const char *key, char out[MS_FORGOTTEN_KEY_BYTES],
                                struct ms_error *err)
{
    uint8_t digest[MS_SHA256_BYTES];
    char hex[MS_HASH_HEX_MAX];
    struct ms_buf text;
    ms_buf_init(&text, SIZE_MAX / 2);
    (void)ms_buf_printf(&text, "malseq " MS_FORGOTTEN_PREFIX "%s", key);
    bool good = !text.failed && ms_hash_sha256(text.data, text.len, digest) == MS_OK;
    ms_buf_release(&text);
    if (!good)
        return no_memory(err);
    ms_hex_encode(digest, sizeof digest, hex);
    (void)snprintf(out, MS_FORGOTTEN_KEY_BYTES, MS_FORGOTTEN_PREFIX "%.32s", hex);
    return MS_OK;
}

/* {"key":"KEY", without the closing brace, as ms_json_append writes it. */
static enum ms_status row_start(const char *key, struct ms_buf *out, struct ms_error *err)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "key", ms_json_text(key));
    ms_buf_init(out, SIZE_MAX / 2);
    enum ms_status status = ms_json_append(out, o, err);
    if (status == MS_OK && out->len > 0)
        out->data[out->len - 1] = ','; /* more members follow */
    return status;
}

static int by_old(const void *a, const void *b)
{
    const struct pattern *x = a, *y = b;
    size_t n = x->old.len < y->old.len ? x->old.len : y->old.len;
    int order = memcmp(x->old.data, y->old.data, n);
    return order ? order : (x->old.len > y->old.len) - (x->old.len < y->old.len);
}

static enum ms_status patterns_make(struct forgetting *f, const char *const *keys, size_t count,
                                    struct ms_error *err)
{
    f->patterns = calloc(count + 1, sizeof *f->patterns);
    enum ms_status status = f->patterns ? MS_OK : no_memory(err);
    for (size_t i = 0; i < count && status == MS_OK; i++) {
        char key[MS_FORGOTTEN_KEY_BYTES];
        struct pattern *p = &f->patterns[f->count++];
        ms_buf_init(&p->new, 1);
        status = row_start(keys[i], &p->old, err);
        if (status == MS_OK)
            status = ms_forgotten_key(keys[i], key, err);
        if (status == MS_OK)
            status = row_start(key, &p->new, err);
    }
    if (status == MS_OK && count > 1)
        qsort(f->patterns, count, sizeof *f->patterns, by_old);
    return status;
}

static void patterns_release(struct forgetting *f)
{
    for (size_t i = 0; i < f->count; i++) {
        ms_buf_release(&f->patterns[i].old);
        ms_buf_release(&f->patterns[i].new);
    }
    free(f->patterns);
}

/* The pattern that a line begins with: no key begins with another and a quotation mark. */
static const struct pattern *pattern_of(const struct forgetting *f, struct ms_span line)
{
    size_t low = 0, high = f->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct ms_buf *old = &f->patterns[middle].old;
        size_t n = old->len < line.len ? old->len : line.len;
        int order = memcmp(line.data, old->data, n);
        if (order == 0 && line.len >= old->len)
            return &f->patterns[middle];
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The next line with its end; of length 0 behind the last. */
static struct ms_span take_line(struct ms_span *rest)
{
    const uint8_t *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
    struct ms_span line = {rest->data, end ? (size_t)(end - rest->data) + 1 : rest->len};
    rest->data += line.len;
    rest->len -= line.len;
    return line;
}

static bool is_forgotten(struct ms_span line)
{
    static const char start[] = "{\"key\":\"" MS_FORGOTTEN_PREFIX;
    return line.len >= sizeof start - 1 && memcmp(line.data, start, sizeof start - 1) == 0;
}

/* The rows with their new keys: of a split the forgotten ones behind the others. *hits: how many
 * were changed, *forgotten how many are forgotten now. */
static void rewrite(const struct forgetting *f, struct ms_span rest, bool split, struct ms_buf *out,
                    struct ms_buf *behind, size_t *hits, size_t *forgotten)
{
    *hits = *forgotten = 0;
    for (struct ms_span line; (line = take_line(&rest)).len > 0;) {
        const struct pattern *p = pattern_of(f, line);
        struct ms_buf *to = split && (p || is_forgotten(line)) ? behind : out;
        *forgotten += p || is_forgotten(line);
        if (p) {
            (void)ms_buf_append(to, p->new.data, p->new.len);
            line = ms_span_of(line.data + p->old.len, line.len - p->old.len);
            ++*hits;
        }
        (void)ms_buf_append(to, line.data, line.len);
    }
    if (behind->len > 0 && out->len > 0 && out->data[out->len - 1] != '\n')
        (void)ms_buf_append_byte(out, '\n');
    (void)ms_buf_append(out, behind->data, behind->len);
}

/* A split's header for its rows as they are now. */
static enum ms_status put_head(struct ms_span head, const uint8_t was[MS_SHA256_BYTES],
                               const struct ms_buf *rows, size_t forgotten, struct ms_buf *out,
                               struct ms_error *err)
{
    uint8_t digest[MS_SHA256_BYTES];
    char now[MS_HASH_HEX_MAX], before[MS_HASH_HEX_MAX];
    json_error_t why;
    json_t *o = json_loadb((const char *)head.data, head.len, 0, &why);
    if (!json_is_object(o)) { /* not ours: the rows are all that matters */
        json_decref(o);
        return ms_buf_append(out, head.data, head.len) == MS_OK ? MS_OK : no_memory(err);
    }
    if (ms_hash_sha256(rows->data, rows->len, digest) != MS_OK) {
        json_decref(o);
        return no_memory(err);
    }
    ms_hex_encode(digest, sizeof digest, now);
    ms_hex_encode(was, MS_SHA256_BYTES, before);
    const char *first = json_string_value(json_object_get(json_object_get(o, "redacted"), "from"));
    json_t *redacted =
        json_pack("{s:s, s:I}", "from", first ? first : before, "rows", (json_int_t)forgotten);
    (void)json_object_set_new(o, "redacted", redacted);
    (void)json_object_set_new(o, "rows_sha256", json_string(now));
    enum ms_status status = ms_json_append(out, o, err);
    if (status == MS_OK && ms_buf_append_byte(out, '\n') != MS_OK)
        status = no_memory(err);
    return status;
}

static enum ms_status forget_in(const struct forgetting *f, const char *path, bool split,
                                struct ms_error *err)
{
    size_t most = split ? MS_LIMIT_SPLIT_BYTES : MS_LIMIT_PREDICTIONS_BYTES, hits = 0, forgotten;
    uint8_t was[MS_SHA256_BYTES];
    struct ms_buf bytes, rows, behind, out;
    ms_buf_init(&bytes, most);
    ms_buf_init(&rows, SIZE_MAX / 2);
    ms_buf_init(&behind, SIZE_MAX / 2);
    ms_buf_init(&out, SIZE_MAX / 2);
    enum ms_status status = ms_file_read(path, &bytes, err);
    struct ms_span rest = ms_span_of(bytes.data, bytes.len), head = {rest.data, 0};
    if (status == MS_OK) {
        head = take_line(&rest);
        rewrite(f, rest, split, &rows, &behind, &hits, &forgotten);
        if (rows.failed || behind.failed || ms_hash_sha256(bytes.data, bytes.len, was) != MS_OK)
            status = no_memory(err);
    }
    if (status == MS_OK && hits > 0) {
        if (split)
            status = put_head(head, was, &rows, forgotten, &out, err);
        else
            (void)ms_buf_append(&out, head.data, head.len);
        (void)ms_buf_append(&out, rows.data, rows.len);
        if (status == MS_OK)
            status = out.failed ? no_memory(err)
                                : ms_file_write_atomic(path, out.data, out.len, 0600, err);
    }
    ms_buf_release(&bytes);
    ms_buf_release(&rows);
    ms_buf_release(&behind);
    ms_buf_release(&out);
    return status;
}

static bool is_pattern(void *ctx, const char *key)
{
    struct ms_buf start;
    struct ms_error ignored;
    const struct pattern *p = NULL;
    if (row_start(key, &start, &ignored) == MS_OK)
        p = pattern_of(ctx, ms_span_of(start.data, start.len));
    ms_buf_release(&start);
    return p != NULL;
}

static enum ms_status visit(void *ctx, const char *path, const struct stat *st, int errnum,
                            struct ms_error *err)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    if (!st)
        return errnum == ENOENT ? MS_OK
                                : ms_error_set_errno(err, MS_E_IO, errnum,
                                                     "cannot look for forgotten samples in a "
                                                     "model's folder");
    bool split = strcmp(name, "split.jsonl") == 0, page = strcmp(name, "report.html") == 0;
    if (page || strcmp(name, "metrics.json") == 0)
        return ms_report_forget(path, page, is_pattern, ctx, err);
    return split || strcmp(name, "predictions.jsonl") == 0 ? forget_in(ctx, path, split, err)
                                                           : MS_OK;
}

enum ms_status ms_models_forget(struct ms_corpus *corpus, const char *folder,
                                const char *const *keys, size_t count, struct ms_error *err)
{
    struct forgetting f = {0};
    struct ms_buf all;
    struct stat st;
    if (corpus->in_memory || count == 0)
        return MS_OK;
    ms_buf_init(&all, SIZE_MAX / 2);
    (void)ms_buf_printf(&all, "%s/models", ms_corpus_dir(corpus));
    const char *path = folder ? folder : ms_buf_text(&all);
    enum ms_status status = all.failed ? no_memory(err) : patterns_make(&f, keys, count, err);
    if (status == MS_OK && stat(path, &st) == 0)
        status = ms_file_walk(path, visit, &f, err);
    patterns_release(&f);
    ms_buf_release(&all);
    return status;
}

enum ms_status ms_analysis_is_there(struct ms_corpus *corpus, int64_t id, bool *out,
                                    struct ms_error *err)
{
    sqlite3_stmt *statement;
    enum ms_status status =
        ms_db_prepare(corpus, "SELECT 1 FROM analysis WHERE id = ?1", &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, id);
    status = ms_db_step(corpus, statement, out, err);
    ms_db_done(statement);
    return status;
}

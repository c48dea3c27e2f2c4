/* Fuzz target: what lies beside a report and says whose it is. Checks that what is given out is of
 * bounded length, the same however the bytes come, and what the tree of the document says. */
#include "extract/report/metadata.h"
#include "json_mutator.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIELDS = 5, FIELD_MAX_BYTES = 512 };

const char *const json_mutator_names[] = {"sample_sha256", "file_name", "sha256", "sha1",   "md5",
                                          "name",          "file",      "sample", "target", "id",
                                          "added_on",      "time",      NULL};

struct input {
    const uint8_t *data;
    size_t left, piece;
};

struct seen {
    unsigned infos;
    size_t len[FIELDS];
    uint8_t bytes[FIELDS][FIELD_MAX_BYTES];
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct input *self = ctx;
    size_t some = self->left < self->piece ? self->left : self->piece;
    (void)err;
    *n = some < cap ? some : cap;
    if (*n)
        memcpy(buf, self->data, *n);
    self->data += *n;
    self->left -= *n;
    return MS_OK;
}

static enum ms_status on_process(void *ctx, const struct ms_process_info *p, struct ms_error *err)
{
    (void)ctx, (void)p, (void)err;
    abort();
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *call, struct ms_error *err)
{
    (void)ctx, (void)call, (void)err;
    abort();
}

static enum ms_status on_process_end(void *ctx, struct ms_error *err)
{
    (void)ctx, (void)err;
    abort();
}

static enum ms_status on_info(void *ctx, const struct ms_report_info *info, struct ms_error *err)
{
    struct seen *seen = ctx;
    const struct ms_span fields[FIELDS] = {info->sandbox, info->target_sha256, info->target_sha1,
                                           info->target_md5, info->target_name};
    (void)err;
    check(ms_span_equal_text(info->sandbox, "drakvuf") ||
          ms_span_equal_text(info->sandbox, "cuckoo2"));
    for (size_t i = 0; i < FIELDS; i++) {
        check(fields[i].len <= FIELD_MAX_BYTES);
        seen->len[i] = fields[i].len;
        if (fields[i].len)
            memcpy(seen->bytes[i], fields[i].data, fields[i].len);
    }
    seen->infos++;
    return MS_OK;
}

static enum ms_status read_in(struct ms_span document, size_t piece, struct seen *seen)
{
    struct input input = {document.data, document.len, piece};
    const struct ms_trace_sink sink = {seen, on_process, on_call, on_process_end, on_info, NULL};
    struct ms_error err;
    memset(seen, 0, sizeof *seen);
    enum ms_status status = ms_metadata_read(give, &input, &sink, &err);
    check(status == MS_OK || status == MS_REJECT);
    check(seen->infos == (status == MS_OK));
    return status;
}

/* ---- the tree ---- */

static void plain_member(const char *key, const json_t *value, unsigned depth, struct seen *due,
                         bool *cuckoo);

static void plain_object(const json_t *object, unsigned depth, struct seen *due, bool *cuckoo)
{
    for (void *i = json_object_iter((json_t *)(uintptr_t)object); i;
         i = json_object_iter_next((json_t *)(uintptr_t)object, i))
        plain_member(json_object_iter_key(i), json_object_iter_value(i), depth, due, cuckoo);
}

static void plain_member(const char *key, const json_t *value, unsigned depth, struct seen *due,
                         bool *cuckoo)
{
    static const char *const top[FIELDS] = {NULL, "sample_sha256", NULL, NULL, "file_name"};
    static const char *const below[FIELDS] = {NULL, "sha256", "sha1", "md5", "name"};
    bool holder = !strcmp(key, "file") || !strcmp(key, "sample") || !strcmp(key, "target");
    *cuckoo |= !strcmp(key, "sample") || !strcmp(key, "added_on");
    if (holder && depth < 2 && json_is_object(value))
        plain_object(value, depth + 1, due, cuckoo);
    for (size_t i = 1; i < FIELDS && json_is_string(value); i++) {
        if (!(top[i] && !strcmp(key, top[i])) && !(depth && !strcmp(key, below[i])))
            continue;
        size_t len = json_string_length(value);
        memset(due->bytes[i], 0, FIELD_MAX_BYTES);
        due->len[i] = len < FIELD_MAX_BYTES ? len : FIELD_MAX_BYTES;
        memcpy(due->bytes[i], json_string_value(value), due->len[i]);
    }
}

static void compare_tree(const uint8_t *data, size_t size, enum ms_status status,
                         const struct seen *got)
{
    static struct seen due;
    bool cuckoo = false;
    json_t *root =
        json_loadb((const char *)data, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    if (root && !memchr(data, 0, size) && size < 1000) { /* not so deep that it is refused */
        check((status == MS_OK) == json_is_object(root));
        memset(&due, 0, sizeof due);
        plain_object(root, 0, &due, &cuckoo);
        check(status != MS_OK || got->len[0] == strlen(cuckoo ? "cuckoo2" : "drakvuf"));
        for (size_t i = 1; i < FIELDS && status == MS_OK; i++)
            check(got->len[i] == due.len[i] &&
                  memcmp(got->bytes[i], due.bytes[i], got->len[i]) == 0);
    }
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seen whole, pieces;
    enum ms_status status = read_in(ms_span_of(data, size), SIZE_MAX, &whole);
    check(read_in(ms_span_of(data, size), 3, &pieces) == status);
    check(memcmp(&whole, &pieces, sizeof whole) == 0);
    compare_tree(data, size, status, &whole);
    return 0;
}

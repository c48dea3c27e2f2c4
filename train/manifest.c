/* Writes and reads a split's manifest; every claim of a file is checked before it is used. */
#include "train/manifest.h"

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "store/forget_models.h"
#include "train/jsonl.h"

#include <stdlib.h>
#include <string.h>

static const char format[] = "malseq-split-1";
static const char *const how_names[] = {"grouped", "naive", "near", "time"};

const char *ms_partition_how_name(enum ms_partition_how how)
{
    return how_names[how];
}

enum ms_status ms_partition_how_parse(const char *text, enum ms_partition_how *out,
                                      struct ms_error *err)
{
    for (int i = 0; i <= MS_PARTITION_TIME; i++)
        if (strcmp(text, how_names[i]) == 0) {
            *out = (enum ms_partition_how)i;
            return MS_OK;
        }
    return ms_error_set(err, MS_E_USAGE, "a split must be one of " MS_PARTITION_HOW_WORDS);
}

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for the split's manifest");
}

static void set(json_t *object, const char *name, json_t *value)
{
    (void)json_object_set_new(object, name, value);
}

static enum ms_status put(json_t *object, struct ms_buf *out, struct ms_error *err)
{
    enum ms_status status = ms_json_append(out, object, err);
    if (status == MS_OK && ms_buf_append_byte(out, '\n') != MS_OK)
        status = no_memory(err);
    return status;
}

static enum ms_status put_row(const struct ms_manifest *m, size_t row, struct ms_buf *out,
                              struct ms_error *err)
{
    char sequence[33];
    uint8_t bytes[16];
    for (size_t i = 0; i < 16; i++)
        bytes[i] = (uint8_t)(m->sequences[row][i / 8] >> (56 - i % 8 * 8));
    ms_hex_encode(bytes, sizeof bytes, sequence);
    json_t *o = json_object(), *parts = json_array();
    for (uint32_t r = 0; r < m->repeats; r++) {
        uint32_t part = m->part_of[r * m->rows + row];
        (void)json_array_append_new(parts,
                                    part == MS_PARTITION_OUT ? json_null() : json_integer(part));
    }
    set(o, "key", ms_json_text(m->keys[row]));
    set(o, "sequence", json_string(sequence));
    set(o, "group", json_integer(m->groups[row]));
    set(o, "parts", parts);
    if (m->window_of && m->window_of[row] != MS_PARTITION_OUT)
        set(o, "window", json_integer(m->window_of[row]));
    return put(o, out, err);
}

static enum ms_status put_head(const struct ms_manifest *m, const struct ms_buf *rows,
                               struct ms_buf *out, struct ms_error *err)
{
    uint8_t digest[MS_SHA256_BYTES];
    char hex[MS_HASH_HEX_MAX];
    if (ms_hash_sha256(rows->data, rows->len, digest) != MS_OK)
        return no_memory(err);
    ms_hex_encode(digest, sizeof digest, hex);
    json_t *o = json_object(), *windows = json_array();
    for (uint32_t w = 0; w < m->window_count; w++)
        (void)json_array_append_new(windows, json_integer(m->windows_ms[w]));
    set(o, "format", json_string(format));
    set(o, "name", ms_json_text(m->name));
    set(o, "how", json_string(how_names[m->how]));
    set(o, "folds", json_integer(m->folds));
    set(o, "repeats", json_integer(m->repeats));
    set(o, "seed", json_integer((json_int_t)m->seed));
    set(o, "split_date_ms", json_integer(m->split_date_ms));
    set(o, "undated", json_integer((json_int_t)m->undated));
    set(o, "moved", json_integer((json_int_t)m->moved));
    set(o, "one_sided", json_integer((json_int_t)m->one_sided));
    set(o, "thinned", json_integer((json_int_t)m->thinned));
    set(o, "windows_ms", windows);
    set(o, "dataset", ms_json_text(m->dataset));
    set(o, "rows", json_integer((json_int_t)m->rows));
    set(o, "rows_sha256", json_string(hex));
    return put(o, out, err);
}

enum ms_status ms_manifest_encode(const struct ms_manifest *self, struct ms_buf *out,
                                  uint8_t digest[MS_SHA256_BYTES], struct ms_error *err)
{
    struct ms_buf rows;
    size_t from = out->len;
    ms_buf_init(&rows, out->max);
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < self->rows && status == MS_OK; i++)
        status = put_row(self, i, &rows, err);
    if (status == MS_OK)
        status = put_head(self, &rows, out, err);
    if (status == MS_OK && ms_buf_append(out, rows.data, rows.len) != MS_OK)
        status = no_memory(err);
    if (status == MS_OK && ms_hash_sha256(out->data + from, out->len - from, digest) != MS_OK)
        status = no_memory(err);
    ms_buf_release(&rows);
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

enum { NAME_BYTES = 95, KEY_BYTES = 4096, ROW_LEAST_BYTES = 78 };

/* The end of the year 9999: what can be shown with four digits. */
static const int64_t DATE_LAST = 253402300799999;

static enum ms_status take_windows(struct ms_manifest *m, const struct ms_jsonl *in,
                                   const json_t *head, struct ms_error *err)
{
    const json_t *list = json_object_get(head, "windows_ms"),
                 *date = json_object_get(head, "split_date_ms");
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n > MS_PARTITION_WINDOWS_MAX || !json_is_integer(date))
        return ms_jsonl_fault(in, "'windows_ms' or 'split_date_ms' is missing or too much", err);
    if ((n > 0) != (m->how == MS_PARTITION_TIME))
        return ms_jsonl_fault(in, "a split by time has months, another has none", err);
    m->split_date_ms = json_integer_value(date);
    if (m->split_date_ms < 0 || m->split_date_ms > DATE_LAST)
        return ms_jsonl_fault(in, "'split_date_ms' is out of range", err);
    m->windows_ms = ms_arena_alloc_array(&m->arena, n + 1, sizeof *m->windows_ms);
    if (!m->windows_ms)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        m->windows_ms[i] = json_integer_value(item);
        if (!json_is_integer(item) || m->windows_ms[i] < 0 || m->windows_ms[i] > DATE_LAST ||
            (i > 0 && m->windows_ms[i] <= m->windows_ms[i - 1]))
            return ms_jsonl_fault(in, "'windows_ms' does not rise, or is out of range", err);
    }
    m->window_count = (uint32_t)n;
    return MS_OK;
}

static enum ms_status take_texts(struct ms_manifest *m, const struct ms_jsonl *in,
                                 const json_t *head, struct ms_error *err)
{
    const char *text = NULL, *name = NULL, *dataset = NULL;
    uint8_t digest[MS_SHA256_BYTES], have[MS_SHA256_BYTES];
    enum ms_status status = ms_jsonl_text(in, head, "format", NAME_BYTES, &text, err);
    if (status == MS_OK && strcmp(text, format) != 0)
        status = ms_jsonl_fault(in, "of another format", err);
    if (status == MS_OK)
        status = ms_jsonl_text(in, head, "name", NAME_BYTES, &name, err);
    if (status == MS_OK)
        status = ms_jsonl_text(in, head, "dataset", NAME_BYTES, &dataset, err);
    if (status == MS_OK && !ms_hex_decode(dataset, sizeof digest, digest))
        status = ms_jsonl_fault(in, "'dataset' is no digest", err);
    if (status == MS_OK)
        status = ms_jsonl_text(in, head, "how", NAME_BYTES, &text, err);
    if (status == MS_OK && ms_partition_how_parse(text, &m->how, err) != MS_OK)
        status = ms_jsonl_fault(in, "'how' is no kind of split", err);
    if (status == MS_OK)
        status = ms_jsonl_text(in, head, "rows_sha256", NAME_BYTES, &text, err);
    if (status == MS_OK && !ms_hex_decode(text, sizeof digest, digest))
        status = ms_jsonl_fault(in, "'rows_sha256' is no digest", err);
    if (status == MS_OK && ms_hash_sha256(in->rest.data, in->rest.len, have) != MS_OK)
        status = no_memory(err);
    if (status == MS_OK && memcmp(digest, have, sizeof have) != 0)
        status = ms_jsonl_fault(in, "the rows are not those the header was written for", err);
    if (status != MS_OK)
        return status;
    m->name = ms_arena_copy(&m->arena, name, strlen(name));
    m->dataset = ms_arena_copy(&m->arena, dataset, strlen(dataset));
    return m->name && m->dataset ? MS_OK : no_memory(err);
}

static enum ms_status take_redaction(struct ms_manifest *m, const struct ms_jsonl *in,
                                     const json_t *head, struct ms_error *err)
{
    const json_t *redacted = json_object_get(head, "redacted");
    const char *from = NULL;
    uint8_t digest[MS_SHA256_BYTES];
    uint64_t rows = 0;
    if (!redacted)
        return MS_OK;
    enum ms_status status = ms_jsonl_text(in, redacted, "from", NAME_BYTES, &from, err);
    if (status == MS_OK && !ms_hex_decode(from, sizeof digest, digest))
        status = ms_jsonl_fault(in, "'redacted' has no digest", err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, redacted, "rows", m->rows, &rows, err);
    if (status != MS_OK)
        return status;
    m->forgotten = (size_t)rows;
    m->redacted_from = ms_arena_copy(&m->arena, from, strlen(from));
    return m->redacted_from ? MS_OK : no_memory(err);
}

static enum ms_status take_head(struct ms_manifest *m, const struct ms_jsonl *in,
                                const json_t *head, struct ms_error *err)
{
    uint64_t folds = 0, repeats = 0, rows = 0;
    enum ms_status status = take_texts(m, in, head, err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, head, "folds", MS_SPLIT_PARTS_MAX, &folds, err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, head, "repeats", MS_PARTITION_REPEATS_MAX, &repeats, err);
    const json_t *seed = json_object_get(head, "seed");
    if (status == MS_OK && !json_is_integer(seed))
        status = ms_jsonl_fault(in, "'seed' is missing or no number", err);
    m->seed = (uint64_t)json_integer_value(seed); /* those from 2^63 on are written below 0 */
    if (status == MS_OK)
        status = ms_jsonl_number(in, head, "rows", MS_LIMIT_DATASET_ROWS, &rows, err);
    if (status == MS_OK && (folds == 1 || repeats == 0 || rows == 0))
        status = ms_jsonl_fault(in, "one fold, no repeat or no row", err);
    if (status == MS_OK && rows > in->rest.len / ROW_LEAST_BYTES)
        status = ms_jsonl_fault(in, "more rows are promised than the file holds", err);
    if (status == MS_OK && rows * repeats > in->rest.len)
        status = ms_jsonl_fault(in, "more repeats are promised than the file holds", err);
    m->folds = (uint32_t)folds;
    m->repeats = (uint32_t)repeats;
    m->rows = (size_t)rows;
    if (status == MS_OK && folds && m->how == MS_PARTITION_TIME)
        status = ms_jsonl_fault(in, "a split by time has no folds", err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, head, "undated", INT64_MAX, &m->undated, err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, head, "moved", INT64_MAX, &m->moved, err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, head, "one_sided", INT64_MAX, &m->one_sided, err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, head, "thinned", INT64_MAX, &m->thinned, err);
    if (status == MS_OK)
        status = take_redaction(m, in, head, err);
    return status == MS_OK ? take_windows(m, in, head, err) : status;
}

static enum ms_status make_room(struct ms_manifest *m, struct ms_error *err)
{
    m->keys = calloc(m->rows, sizeof *m->keys);
    m->sequences = calloc(m->rows, sizeof *m->sequences);
    m->groups = calloc(m->rows, sizeof *m->groups);
    m->part_of = calloc(m->rows * m->repeats, sizeof *m->part_of);
    if (m->window_count)
        m->window_of = calloc(m->rows, sizeof *m->window_of);
    return m->keys && m->sequences && m->groups && m->part_of && (m->window_of || !m->window_count)
               ? MS_OK
               : no_memory(err);
}

static enum ms_status take_parts(struct ms_manifest *m, const struct ms_jsonl *in,
                                 const json_t *object, size_t row, struct ms_error *err)
{
    json_t *parts = NULL;
    json_int_t most = m->folds ? m->folds : 2;
    bool judged = false;
    enum ms_status status = ms_jsonl_array(in, object, "parts", m->repeats, &parts, err);
    for (size_t r = 0; status == MS_OK && r < m->repeats; r++) {
        const json_t *item = json_array_get(parts, r);
        json_int_t part = json_is_integer(item) ? json_integer_value(item) : -1;
        if (!json_is_null(item) && (part < 0 || part >= most))
            status = ms_jsonl_fault(in, "a part is out of range", err);
        m->part_of[r * m->rows + row] = part < 0 ? MS_PARTITION_OUT : (uint32_t)part;
        judged = judged || part == MS_SPLIT_TEST;
    }
    if (status != MS_OK || !m->window_count)
        return status;
    uint64_t window = MS_PARTITION_OUT;
    if (judged)
        status = ms_jsonl_number(in, object, "window", m->window_count - 1, &window, err);
    m->window_of[row] = (uint32_t)window;
    return status;
}

static enum ms_status read_head(void *ctx, const struct ms_jsonl *in, const json_t *object,
                                size_t *rows, struct ms_error *err)
{
    struct ms_manifest *m = ctx;
    enum ms_status status = take_head(m, in, object, err);
    *rows = m->rows;
    return status == MS_OK ? make_room(m, err) : status;
}

static enum ms_status read_row(void *ctx, const struct ms_jsonl *in, const json_t *object,
                               size_t row, struct ms_error *err)
{
    struct ms_manifest *m = ctx;
    const char *key = NULL, *sequence = NULL;
    uint8_t bytes[16];
    uint64_t group = 0;
    enum ms_status status = ms_jsonl_text(in, object, "key", KEY_BYTES, &key, err);
    bool forgotten = row >= m->rows - m->forgotten;
    if (status == MS_OK && !forgotten && row > 0 && strcmp(m->keys[row - 1], key) > 0)
        status = ms_jsonl_fault(in, "the keys are out of order", err);
    if (status == MS_OK && forgotten &&
        strncmp(key, MS_FORGOTTEN_PREFIX, sizeof MS_FORGOTTEN_PREFIX - 1) != 0)
        status = ms_jsonl_fault(in, "not the rows that were forgotten", err);
    if (status == MS_OK)
        status = ms_jsonl_text(in, object, "sequence", 32, &sequence, err);
    if (status == MS_OK && !ms_hex_decode(sequence, sizeof bytes, bytes))
        status = ms_jsonl_fault(in, "'sequence' is no digest", err);
    if (status == MS_OK)
        status = ms_jsonl_number(in, object, "group", m->rows - 1, &group, err);
    if (status != MS_OK)
        return status;
    for (size_t i = 0; i < sizeof bytes; i++)
        m->sequences[row][i / 8] = m->sequences[row][i / 8] << 8 | bytes[i];
    m->groups[row] = (uint32_t)group;
    m->keys[row] = ms_arena_copy(&m->arena, key, strlen(key));
    return m->keys[row] ? take_parts(m, in, object, row, err) : no_memory(err);
}

/* No group may lie in two parts; rows that take none are nowhere. */
static enum ms_status check_groups(const struct ms_manifest *m, const struct ms_jsonl *in,
                                   struct ms_error *err)
{
    uint32_t *first = calloc(m->rows, sizeof *first);
    if (!first)
        return no_memory(err);
    enum ms_status status = MS_OK;
    for (uint32_t r = 0; r < m->repeats && status == MS_OK; r++) {
        memset(first, 0, m->rows * sizeof *first);
        for (size_t i = 0; i < m->rows && status == MS_OK; i++) {
            uint32_t part = m->part_of[r * m->rows + i], *has = &first[m->groups[i]];
            if (part == MS_PARTITION_OUT)
                continue;
            if (*has && *has != part + 1)
                status = ms_error_set(err, MS_E_INPUT, "%s: group %u is torn apart", in->what,
                                      m->groups[i]);
            *has = part + 1;
        }
    }
    free(first);
    return status;
}

enum ms_status ms_manifest_decode(struct ms_span bytes, struct ms_manifest *out,
                                  struct ms_error *err)
{
    *out = (struct ms_manifest){0};
    ms_arena_init(&out->arena, SIZE_MAX / 2);
    struct ms_jsonl in;
    ms_jsonl_init(&in, bytes, "split file");
    const struct ms_jsonl_form form = {read_head, read_row};
    enum ms_status status = ms_jsonl_read(&in, &form, out, err);
    if (status == MS_OK && out->how != MS_PARTITION_NAIVE)
        status = check_groups(out, &in, err);
    return status;
}

enum ms_status ms_manifest_open(const char *path, struct ms_buf *bytes, struct ms_manifest *out,
                                struct ms_error *err)
{
    *out = (struct ms_manifest){0};
    enum ms_status status = ms_file_read(path, bytes, err);
    if (status == MS_E_IO)
        status = MS_E_INPUT;
    return status == MS_OK ? ms_manifest_decode(ms_span_of(bytes->data, bytes->len), out, err)
                           : status;
}

void ms_manifest_release(struct ms_manifest *self)
{
    free(self->keys);
    free(self->sequences);
    free(self->groups);
    free(self->part_of);
    free(self->window_of);
    ms_arena_release(&self->arena);
    *self = (struct ms_manifest){0};
}

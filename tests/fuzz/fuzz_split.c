/* Fuzz target: split manifests, as they are and with the digest that their rows should have, and
 * files of predictions. What reads must say the same when it is written and read again. */
#include "json_mutator.h"
#include "train/manifest.h"
#include "train/predictions.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const char *const json_mutator_names[] = {
    "name",        "dataset",       "how",      "folds",     "repeats",    "seed",
    "rows",        "undated",       "moved",    "one_sided", "parts",      "thinned",
    "rows_sha256", "split_date_ms", "redacted", "from",      "windows_ms", "key",
    "group",       "sequence",      "window",   "predicted", "classes",    NULL};

/* Whatever reads rows and parts by number relies on these. */
static void check_manifest(const struct ms_manifest *m)
{
    const uint32_t parts = m->folds ? m->folds : 2;
    bool good = m->rows && m->repeats && m->repeats <= MS_PARTITION_REPEATS_MAX && m->folds != 1 &&
                m->folds <= MS_SPLIT_PARTS_MAX && m->forgotten <= m->rows &&
                m->window_count <= MS_PARTITION_WINDOWS_MAX;
    for (uint32_t i = 1; good && i < m->window_count; i++)
        good = m->windows_ms[i] > m->windows_ms[i - 1];
    for (size_t i = 0; good && i < m->rows; i++) {
        good = m->keys[i] && m->groups[i] < m->rows &&
               (!m->window_of || m->window_of[i] == MS_PARTITION_OUT ||
                m->window_of[i] < m->window_count);
        if (good && i && i < m->rows - m->forgotten)
            good = strcmp(m->keys[i - 1], m->keys[i]) <= 0;
        for (uint32_t r = 0; good && r < m->repeats; r++) {
            const uint32_t *part_of = m->part_of + r * m->rows, part = part_of[i];
            good = part == MS_PARTITION_OUT || part < parts;
            for (size_t k = 0; good && i < 64 && k < i && m->how != MS_PARTITION_NAIVE; k++)
                good = m->groups[k] != m->groups[i] || part == MS_PARTITION_OUT ||
                       part_of[k] == MS_PARTITION_OUT || part_of[k] == part;
        }
    }
    if (!good)
        abort();
}

static void split(struct ms_span bytes)
{
    struct ms_manifest first, second;
    struct ms_buf out;
    struct ms_error err;
    uint8_t digest[MS_SHA256_BYTES];
    ms_buf_init(&out, (size_t)64 << 20);
    if (ms_manifest_decode(bytes, &first, &err) == MS_OK) {
        if (ms_manifest_encode(&first, &out, digest, &err) != MS_OK)
            abort();
        check_manifest(&first);
        if (first.redacted_from) /* that is not written, and its last rows have no order */
            goto out;
        if (ms_manifest_decode(ms_span_of(out.data, out.len), &second, &err) != MS_OK)
            abort();
        if (first.rows != second.rows || first.repeats != second.repeats ||
            memcmp(first.part_of, second.part_of,
                   first.rows * first.repeats * sizeof *first.part_of) != 0)
            abort();
        for (size_t i = 0; i < first.rows; i++)
            if (first.groups[i] != second.groups[i] || strcmp(first.keys[i], second.keys[i]) != 0 ||
                memcmp(first.sequences[i], second.sequences[i], sizeof *first.sequences) != 0 ||
                (first.window_of && first.window_of[i] != second.window_of[i]))
                abort();
        ms_manifest_release(&second);
    }
out:
    ms_manifest_release(&first);
    ms_buf_release(&out);
}

/* Without this the digest in the header would keep all but damage from what reads the rows. */
static void mended_split(struct ms_span bytes)
{
    const uint8_t *end = bytes.len ? memchr(bytes.data, '\n', bytes.len) : NULL;
    size_t head = end ? (size_t)(end - bytes.data) : bytes.len;
    struct ms_span rows =
        ms_span_of(bytes.data + head + (end != NULL), bytes.len - head - (end != NULL));
    uint8_t digest[MS_SHA256_BYTES];
    char hex[MS_HASH_HEX_MAX];
    json_t *object = json_loadb((const char *)bytes.data, head, 0, NULL);
    if (!json_is_object(object) || ms_hash_sha256(rows.data, rows.len, digest) != MS_OK) {
        json_decref(object);
        return;
    }
    ms_hex_encode(digest, sizeof digest, hex);
    (void)json_object_set_new(object, "rows_sha256", json_string(hex));
    struct ms_buf whole;
    ms_buf_init(&whole, (size_t)64 << 20);
    char *text = json_dumps(object, JSON_COMPACT);
    (void)ms_buf_append_text(&whole, text ? text : "");
    (void)ms_buf_append_byte(&whole, '\n');
    (void)ms_buf_append(&whole, rows.data, rows.len);
    split(ms_span_of(whole.data, whole.len));
    free(text);
    json_decref(object);
    ms_buf_release(&whole);
}

static void predictions(struct ms_span bytes)
{
    struct ms_predictions first, second;
    struct ms_buf out;
    struct ms_error err;
    ms_buf_init(&out, (size_t)64 << 20);
    if (ms_predictions_decode(bytes, &first, &err) == MS_OK) {
        if (ms_predictions_encode(&first, &out, &err) != MS_OK ||
            ms_predictions_decode(ms_span_of(out.data, out.len), &second, &err) != MS_OK)
            abort();
        if (first.count != second.count || first.entries != second.entries)
            abort();
        for (size_t i = 0; i < first.count * first.entries; i++)
            if (first.predicted[i] >= first.classes || first.predicted[i] != second.predicted[i])
                abort();
        ms_predictions_release(&second);
    }
    ms_predictions_release(&first);
    ms_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    split(ms_span_of(data, size));
    mended_split(ms_span_of(data, size));
    predictions(ms_span_of(data, size));
    return 0;
}

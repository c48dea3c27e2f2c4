/* Fuzz target: split manifests and files of predictions. What reads must say the same when it is
 * written and read again. */
#include "train/manifest.h"
#include "train/predictions.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void split(struct ms_span bytes)
{
    struct ms_manifest first, second;
    struct ms_buf out;
    struct ms_error err;
    uint8_t digest[MS_SHA256_BYTES];
    ms_buf_init(&out, (size_t)64 << 20);
    if (ms_manifest_decode(bytes, &first, &err) == MS_OK) {
        if (ms_manifest_encode(&first, &out, digest, &err) != MS_OK ||
            ms_manifest_decode(ms_span_of(out.data, out.len), &second, &err) != MS_OK)
            abort();
        if (first.rows != second.rows || first.repeats != second.repeats ||
            memcmp(first.part_of, second.part_of,
                   first.rows * first.repeats * sizeof *first.part_of) != 0)
            abort();
        for (size_t i = 0; i < first.rows; i++)
            if (first.groups[i] >= first.rows || strcmp(first.keys[i], second.keys[i]) != 0)
                abort();
        ms_manifest_release(&second);
    }
    ms_manifest_release(&first);
    ms_buf_release(&out);
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
    predictions(ms_span_of(data, size));
    return 0;
}

/* Fuzz target: the PE check and the features on any bytes; features survive the pipe and are JSON.
 * The same bytes are taken for a frame of the worker, too. */
#include "base/json.h"
#include "collect/pe.h"
#include "collect/pe_features.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_json(const struct ms_pe_features *features)
{
    struct ms_error err;
    struct ms_buf json;
    ms_buf_init(&json, MS_LIMIT_FRAME_BYTES);
    if (ms_pe_features_json(features, &json, &err) != MS_OK || json.data[json.len - 1] != '}')
        abort();
    for (size_t i = 0; i < json.len; i++)
        if (json.data[i] < 0x20 || json.data[i] > 0x7e)
            abort();
    ms_buf_release(&json);
}

static void check_features(struct ms_span file, bool is_program)
{
    static struct ms_pe_features features, back;
    struct ms_error err;
    struct ms_buf packed;
    if (ms_pe_features_read(file, &features, &err) != MS_OK)
        abort();
    if (is_program && !features.numbers[MS_PE_MAGIC])
        abort();
    ms_buf_init(&packed, MS_LIMIT_FRAME_BYTES);
    if (ms_pe_features_pack(&features, &packed, &err) != MS_OK ||
        !ms_pe_features_unpack(ms_span_of(packed.data, packed.len), &back) ||
        memcmp(&features, &back, sizeof back) != 0)
        abort();
    ms_buf_release(&packed);
    check_json(&features);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ms_pe_features forged;
    struct ms_pe pe;
    char flags[128];
    struct ms_span file = ms_span_of(data, size);
    ms_pe_check(file, &pe);
    ms_pe_flag_names(pe.flags, flags);
    if (pe.verdict != MS_PE_YES && pe.flags)
        abort();
    check_features(file, pe.verdict == MS_PE_YES);
    if (ms_pe_features_unpack(file, &forged))
        check_json(&forged);
    return ms_pe_kind_name(pe.kind) == NULL;
}

/* Fuzz target: antivirus reports of every format, from bytes to frames and back; and frames that
 * come from anywhere. The first byte chooses the format asked for, or that the rest is a frame. A
 * reader that is used again and one that is new must say the same. */
#include "base/limits.h"
#include "label/vtjson.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static uint32_t sum;

static void look_at(struct ms_record_text text)
{
    check(text.at || text.len == 0);
    check((text.at != NULL) == (text.kind == MS_RECORD_STRING));
    for (size_t i = 0; i < text.len; i++)
        sum = (sum ^ (uint8_t)text.at[i]) * 16777619u;
    sum = (sum ^ 0x100u ^ (uint32_t)text.kind << 9) * 16777619u;
}

static void look_at_report(const struct ms_vt_report *report)
{
    check(report->format >= MS_RECORD_VT3 && report->format <= MS_RECORD_SIMPLE);
    check(report->engine_count <= MS_LIMIT_ENGINES && report->size >= -1);
    check(report->first_submission_ms >= 0 && report->last_analysis_ms >= 0);
    check(strlen(report->sha256) % 64 == 0 && strlen(report->sha1) % 40 == 0);
    check(strlen(report->md5) % 32 == 0);
    for (size_t i = 0; i < report->engine_count; i++) {
        const struct ms_vt_engine *engine = &report->engines[i];
        check(strlen(engine->name) <= MS_LIMIT_ENGINE_NAME_BYTES);
        check(!engine->result || strlen(engine->result) <= MS_LIMIT_ENGINE_TEXT_BYTES);
        check(engine->category <= MS_VT_OTHER);
    }
}

/* What a record says as one number. */
static uint32_t look_at_record(const struct ms_record *record)
{
    sum = (uint32_t)record->format;
    look_at(record->sha256);
    look_at(record->sha1);
    look_at(record->md5);
    look_at(record->id);
    look_at(record->type);
    look_at(record->category);
    look_at(record->suggested);
    check(record->size >= -1 && record->first_submission_ms >= 0);
    check(record->last_analysis_ms >= 0);
    for (size_t i = 0; i < record->tag_count; i++)
        look_at(record->tags[i]);
    for (size_t i = 0; i < record->engine_count; i++) {
        look_at(record->engines[i].name);
        look_at(record->engines[i].label);
        sum = sum * 31 + (uint32_t)record->engines[i].category;
        sum = sum * 31 + record->engines[i].counts * 2u + record->engines[i].malformed;
    }
    return sum;
}

static void try_frame(struct ms_span bytes)
{
    struct ms_vt_report report;
    if (ms_vt_report_decode(bytes, &report, NULL) != MS_OK)
        return;
    look_at_report(&report);
    ms_vt_report_release(&report);
}

static void through_a_frame(const struct ms_record *record)
{
    struct ms_vt_report report;
    struct ms_buf frame;
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    enum ms_status status = ms_vt_report_encode(record, &frame, NULL);
    check(status == (record->engine_count > MS_LIMIT_ENGINES ? MS_REJECT : MS_OK));
    if (status == MS_OK) {
        check(ms_vt_report_decode(ms_span_of(frame.data, frame.len), &report, NULL) == MS_OK);
        check(report.engine_count == record->engine_count);
        look_at_report(&report);
        ms_vt_report_release(&report);
    }
    ms_buf_release(&frame);
}

static enum ms_status count(void *ctx, struct ms_span element, enum ms_status status,
                            const struct ms_record *record, const struct ms_error *why,
                            struct ms_error *err)
{
    (void)element;
    (void)err;
    check(status == MS_OK ? record != NULL : status == MS_REJECT && why->text[0]);
    if (status == MS_OK)
        ++*(size_t *)ctx;
    return MS_OK;
}

static void same_text(struct ms_record_text text, const json_t *value)
{
    if (!json_is_string(value)) {
        check(!text.at);
        return;
    }
    check(text.at && text.len == json_string_length(value));
    check(memcmp(text.at, json_string_value(value), text.len) == 0);
}

/* What jansson takes too (no lone surrogates, no NUL in keys, no NaN) must say the same; of members
 * that occur twice it also keeps the last, at the first one's place. */
static void compare(struct ms_span document, const struct ms_record *record)
{
    json_t *root = json_loadb((const char *)document.data, document.len, JSON_ALLOW_NUL, NULL);
    json_t *data = json_object_get(root, "data"), *row;
    const json_t *from = root;
    const char *name;
    size_t i = 0;
    if (root && record->format == MS_RECORD_VT3)
        from = json_object_get(data ? data : root, "attributes");
    json_t *rows =
        json_object_get(from, record->format == MS_RECORD_VT3 ? "last_analysis_results" : "scans");
    if (root && (record->format == MS_RECORD_VT3 || record->format == MS_RECORD_VT2)) {
        same_text(record->md5, json_object_get(from, "md5"));
        same_text(record->sha256, json_object_get(from, "sha256"));
        check(record->engine_count == json_object_size(rows));
        json_object_foreach(rows, name, row)
        {
            const struct ms_record_engine *engine = &record->engines[i++];
            check(engine->name.len == strlen(name));
            check(memcmp(engine->name.at, name, engine->name.len) == 0);
            same_text(engine->label, json_object_get(row, "result"));
        }
    }
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ms_record_reader *used;
    struct ms_record_reader *fresh = NULL;
    struct ms_record record;
    struct ms_error err = {0}, again = {0};
    size_t seen = 0;
    if (size == 0)
        return 0;
    uint8_t *copy = malloc(size);
    check(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    struct ms_span document = ms_span_of(copy, size - 1);
    enum ms_record_format format = (enum ms_record_format)(data[0] % 5);
    check(used || ms_record_reader_new(&used, NULL) == MS_OK);
    check(ms_record_reader_new(&fresh, NULL) == MS_OK);
    enum ms_status status = ms_record_read(used, document, format, &record, &err);
    uint32_t said = status == MS_OK ? look_at_record(&record) : 0;
    if (status == MS_OK) {
        compare(document, &record);
        through_a_frame(&record);
    }
    check(status == MS_OK || (status == MS_REJECT && err.text[0]));
    check(ms_record_read(fresh, document, format, &record, &again) == status);
    check(status == MS_OK ? look_at_record(&record) == said : strcmp(err.text, again.text) == 0);
    bool sound = ms_record_sound(fresh);
    check(sound || status != MS_OK);
    check(sound == (ms_record_each(used, document, format, count, &seen, NULL) == MS_OK));
    check(status != MS_OK || seen > 0);
    ms_record_reader_free(fresh);
    if (data[0] >= 128)
        try_frame(document);
    free(copy);
    return 0;
}

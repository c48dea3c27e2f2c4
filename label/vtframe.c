/* Records as frames: written by the confined worker, taken apart and checked here. Whoever took
 * over a worker can send any bytes; what they say is then wrong, but it is within the limits. */
#include "label/vtjson.h"

#include "base/hash.h"
#include "base/limits.h"

#include <string.h>

enum { TRUSTED = 1, HAS_CATEGORY = 2, HAS_SUGGESTED = 4, HAS_RESULTS = 8, ALL_FLAGS = 15 };
enum { HASH_TEXT_MAX = 64 };
/* No date behind the year 2200. */
static const uint64_t LAST_MS = 7258118400000;

static const char *const category_words[] = {"undetected",       "harmless", "suspicious",
                                             "malicious",        "timeout",  "failure",
                                             "type-unsupported", "other"};

const char *ms_vt_category_name(enum ms_vt_category category)
{
    return category_words[(unsigned)category <= MS_VT_OTHER ? category : MS_VT_OTHER];
}

/* ---- in the worker ---- */

/* Length and bytes of a text, cut at max and at a NUL; an absent one is empty. */
static void put_text(struct ms_buf *frame, struct ms_record_text text, size_t max)
{
    size_t n = text.len < max ? text.len : max;
    const char *nul = n > 0 ? memchr(text.at, 0, n) : NULL;
    if (nul)
        n = (size_t)(nul - text.at);
    (void)ms_buf_append_varint(frame, n);
    (void)ms_buf_append(frame, text.at, n);
}

/* A report without hashes of its own has the one it was asked for by: a v3 object's id, and all
 * that v2 says of a file it does not know. */
static void put_hashes(const struct ms_record *record, struct ms_buf *out)
{
    static const size_t lengths[] = {64, 40, 32};
    const struct ms_record_text none = {0}, own[] = {record->sha256, record->sha1, record->md5};
    bool any = own[0].at || own[1].at || own[2].at;
    for (size_t i = 0; i < 3; i++)
        put_text(out,
                 any                            ? own[i]
                 : record->id.len == lengths[i] ? record->id
                                                : none,
                 HASH_TEXT_MAX);
}

enum ms_status ms_vt_report_encode(const struct ms_record *record, struct ms_buf *out,
                                   struct ms_error *err)
{
    unsigned flags =
        (record->trusted ? TRUSTED : 0u) | (record->category.at ? HAS_CATEGORY : 0u) |
        (record->suggested.at ? HAS_SUGGESTED : 0u) |
        (record->engines_kind == MS_RECORD_OBJECT || record->engines_kind == MS_RECORD_ARRAY
             ? HAS_RESULTS
             : 0u);
    if (record->engine_count > MS_LIMIT_ENGINES)
        return ms_error_set(err, MS_REJECT, "more than %d engines", MS_LIMIT_ENGINES);
    (void)ms_buf_append_byte(out, (uint8_t)record->format);
    (void)ms_buf_append_byte(out, (uint8_t)flags);
    put_hashes(record, out);
    (void)ms_buf_append_varint(out, (uint64_t)record->response_code);
    (void)ms_buf_append_varint(out, record->size >= 0 ? (uint64_t)record->size + 1 : 0);
    (void)ms_buf_append_varint(out, (uint64_t)record->first_submission_ms);
    (void)ms_buf_append_varint(out, (uint64_t)record->last_analysis_ms);
    put_text(out, record->category, MS_LIMIT_ENGINE_TEXT_BYTES);
    put_text(out, record->suggested, MS_LIMIT_ENGINE_TEXT_BYTES);
    (void)ms_buf_append_varint(out, record->engine_count);
    for (size_t i = 0; i < record->engine_count; i++) {
        const struct ms_record_engine *engine = &record->engines[i];
        (void)ms_buf_append_byte(out, (uint8_t)engine->category);
        (void)ms_buf_append_byte(out, engine->label.at != NULL);
        put_text(out, engine->name, MS_LIMIT_ENGINE_NAME_BYTES);
        put_text(out, engine->label, MS_LIMIT_ENGINE_TEXT_BYTES);
    }
    return out->failed ? ms_error_set(err, MS_E_NOMEM, "out of memory") : MS_OK;
}

/* ---- in the parent ---- */

static bool take_text(struct ms_span *frame, size_t max, struct ms_span *out)
{
    uint64_t n;
    return ms_span_take_varint(frame, &n) && n <= max && ms_span_take(frame, n, out) &&
           !(n > 0 && memchr(out->data, 0, (size_t)n));
}

/* A hexadecimal digest of `bytes` bytes in lower case; anything else becomes "". */
static bool take_hash(struct ms_span *frame, size_t bytes, char *out)
{
    struct ms_span text;
    uint8_t raw[MS_SHA256_BYTES];
    char copy[HASH_TEXT_MAX + 1];
    if (!take_text(frame, HASH_TEXT_MAX, &text))
        return false;
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    out[0] = '\0';
    if (text.len == 2 * bytes && ms_hex_decode(copy, bytes, raw))
        ms_hex_encode(raw, bytes, out);
    return true;
}

/* A copy that is plain ASCII: these words go into columns and onto screens. */
static bool take_word(struct ms_vt_report *self, struct ms_span *frame, bool present,
                      const char **out)
{
    struct ms_span text;
    if (!take_text(frame, MS_LIMIT_ENGINE_TEXT_BYTES, &text))
        return false;
    if (!present)
        return text.len == 0;
    char *copy = ms_arena_copy(&self->arena, text.data, text.len);
    for (char *p = copy; p && *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    *out = copy;
    return copy != NULL;
}

static bool take_engine(struct ms_vt_report *self, struct ms_span *frame,
                        struct ms_vt_engine *engine)
{
    uint8_t category, has_result;
    struct ms_span name, result;
    if (!ms_span_take_u8(frame, &category) || category > MS_VT_OTHER ||
        !ms_span_take_u8(frame, &has_result) || has_result > 1 ||
        !take_text(frame, MS_LIMIT_ENGINE_NAME_BYTES, &name) ||
        !take_text(frame, MS_LIMIT_ENGINE_TEXT_BYTES, &result) || (!has_result && result.len))
        return false;
    engine->category = (enum ms_vt_category)category;
    engine->name = ms_arena_copy(&self->arena, name.data, name.len);
    engine->result = has_result ? ms_arena_copy(&self->arena, result.data, result.len) : NULL;
    return engine->name && (engine->result || !has_result);
}

static bool take_head(struct ms_vt_report *self, struct ms_span *frame)
{
    uint8_t format, flags;
    uint64_t code, size, first, last;
    if (!ms_span_take_u8(frame, &format) || format < MS_RECORD_VT3 || format > MS_RECORD_SIMPLE ||
        !ms_span_take_u8(frame, &flags) || flags > ALL_FLAGS ||
        !take_hash(frame, MS_SHA256_BYTES, self->sha256) ||
        !take_hash(frame, MS_SHA1_BYTES, self->sha1) ||
        !take_hash(frame, MS_MD5_BYTES, self->md5) || !ms_span_take_varint(frame, &code) ||
        !ms_span_take_varint(frame, &size) || size > INT64_MAX ||
        !ms_span_take_varint(frame, &first) || first > LAST_MS ||
        !ms_span_take_varint(frame, &last) || last > LAST_MS ||
        !take_word(self, frame, flags & HAS_CATEGORY, &self->category) ||
        !take_word(self, frame, flags & HAS_SUGGESTED, &self->suggested))
        return false;
    self->format = (enum ms_record_format)format;
    self->trusted = (flags & TRUSTED) != 0;
    self->has_results = (flags & HAS_RESULTS) != 0;
    self->response_code = (int64_t)code;
    self->size = (int64_t)size - 1;
    self->first_submission_ms = (int64_t)first;
    self->last_analysis_ms = (int64_t)last;
    return true;
}

static bool take_all(struct ms_vt_report *self, struct ms_span frame)
{
    uint64_t count;
    if (!take_head(self, &frame) || !ms_span_take_varint(&frame, &count) ||
        count > MS_LIMIT_ENGINES)
        return false;
    self->engines = ms_arena_alloc_array(&self->arena, (size_t)count, sizeof *self->engines);
    for (; self->engines && self->engine_count < count; self->engine_count++)
        if (!take_engine(self, &frame, &self->engines[self->engine_count]))
            return false;
    return self->engines && frame.len == 0;
}

enum ms_status ms_vt_report_decode(struct ms_span frame, struct ms_vt_report *out,
                                   struct ms_error *err)
{
    *out = (struct ms_vt_report){.size = -1};
    ms_arena_init(
        &out->arena,
        MS_LIMIT_ENGINES * (MS_LIMIT_ENGINE_NAME_BYTES + MS_LIMIT_ENGINE_TEXT_BYTES + 64) + 65536);
    if (take_all(out, frame))
        return MS_OK;
    ms_vt_report_release(out);
    return ms_error_set(err, MS_REJECT, "the reader of reports sent a bad frame");
}

void ms_vt_report_release(struct ms_vt_report *self)
{
    ms_arena_release(&self->arena);
    *self = (struct ms_vt_report){.size = -1};
}

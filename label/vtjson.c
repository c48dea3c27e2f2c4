/* File objects: jansson in the confined worker, frames through the pipe, checked reading here. */
#include "label/vtjson.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FRAME_FILE = 1, FRAME_ENGINE = 2, FRAME_END = 3 };
enum { TRUSTED = 1, HAS_CATEGORY = 2, HAS_SUGGESTED = 4 };

static const char *const category_words[] = {"undetected",       "harmless", "suspicious",
                                             "malicious",        "timeout",  "failure",
                                             "type-unsupported", "other"};

const char *ms_vt_category_name(enum ms_vt_category category)
{
    return category_words[(unsigned)category <= MS_VT_OTHER ? category : MS_VT_OTHER];
}

static enum ms_vt_category category_of(const char *word)
{
    if (word && strcmp(word, "confirmed-timeout") == 0)
        return MS_VT_TIMEOUT;
    for (unsigned i = 0; word && i < MS_VT_OTHER; i++)
        if (strcmp(word, category_words[i]) == 0)
            return (enum ms_vt_category)i;
    return MS_VT_OTHER;
}

/* ---- in the worker ---- */

/* Where frames go: the pipe, or straight into a report. */
struct sink {
    struct ms_worker_out *out;
    struct ms_vt_report *report;
};

static enum ms_status take_frame(void *ctx, uint32_t type, struct ms_span bytes,
                                 struct ms_error *err);

static enum ms_status emit(const struct sink *sink, uint32_t type, const struct ms_buf *frame,
                           struct ms_error *err)
{
    if (frame->failed)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (sink->out)
        return ms_worker_emit(sink->out, type, frame->data, frame->len);
    return take_frame(sink->report, type, ms_span_of(frame->data, frame->len), err);
}

/* Length and bytes of a JSON string, cut at max; an absent one is empty. NULs end it. */
static void put_text(struct ms_buf *frame, const json_t *value, size_t max)
{
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    size_t n = strlen(text);
    if (n > max)
        n = max;
    (void)ms_buf_append_varint(frame, n);
    (void)ms_buf_append(frame, text, n);
}

/* A time in seconds as ms; what lies outside 1970 to 2200 is unknown. */
static uint64_t time_ms(const json_t *attributes, const char *name)
{
    const json_t *value = json_object_get(attributes, name);
    json_int_t seconds = json_is_integer(value) ? json_integer_value(value) : 0;
    return seconds > 0 && seconds < 7258118400 ? (uint64_t)seconds * 1000 : 0;
}

static bool is_trusted(const json_t *attributes)
{
    const json_t *verdict = json_object_get(attributes, "trusted_verdict");
    const char *word = json_string_value(json_object_get(verdict, "verdict"));
    return (word && strcmp(word, "goodware") == 0) ||
           json_is_object(json_object_get(attributes, "nsrl_info"));
}

/* The popular category with the highest count; the list is sorted, but nothing promises it. */
static const json_t *top_category(const json_t *classification)
{
    const json_t *list = json_object_get(classification, "popular_threat_category"), *best = NULL;
    json_int_t most = -1;
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        json_int_t count = json_integer_value(json_object_get(item, "count"));
        if (count > most && json_is_string(json_object_get(item, "value"))) {
            most = count;
            best = json_object_get(item, "value");
        }
    }
    return best;
}

static enum ms_status emit_file(const json_t *attributes, const struct sink *sink,
                                struct ms_error *err)
{
    static const char *const hashes[] = {"sha256", "sha1", "md5"};
    const json_t *classification = json_object_get(attributes, "popular_threat_classification");
    const json_t *category = top_category(classification);
    const json_t *suggested = json_object_get(classification, "suggested_threat_label");
    const json_t *size = json_object_get(attributes, "size");
    unsigned flags = (is_trusted(attributes) ? TRUSTED : 0u) | (category ? HAS_CATEGORY : 0u) |
                     (json_is_string(suggested) ? HAS_SUGGESTED : 0u);
    struct ms_buf frame;
    ms_buf_init(&frame, 4096);
    for (size_t i = 0; i < 3; i++)
        put_text(&frame, json_object_get(attributes, hashes[i]), 64);
    json_int_t bytes = json_is_integer(size) ? json_integer_value(size) : -1;
    (void)ms_buf_append_varint(&frame, bytes >= 0 ? (uint64_t)bytes + 1 : 0);
    (void)ms_buf_append_varint(&frame, time_ms(attributes, "first_submission_date"));
    (void)ms_buf_append_varint(&frame, time_ms(attributes, "last_analysis_date"));
    (void)ms_buf_append_varint(&frame, flags);
    put_text(&frame, category, MS_LIMIT_ENGINE_TEXT_BYTES);
    put_text(&frame, suggested, MS_LIMIT_ENGINE_TEXT_BYTES);
    enum ms_status status = emit(sink, FRAME_FILE, &frame, err);
    ms_buf_release(&frame);
    return status;
}

/* The category, or what the result says where simplified objects leave it out: in genuine answers a
 * result stands exactly in malicious rows. */
static enum ms_vt_category row_category(const json_t *row)
{
    const json_t *word = json_object_get(row, "category");
    if (word || !json_is_object(row))
        return category_of(json_string_value(word));
    return json_is_string(json_object_get(row, "result")) ? MS_VT_MALICIOUS : MS_VT_UNDETECTED;
}

static enum ms_status emit_engines(json_t *results, const struct sink *sink, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    const char *name;
    json_t *row;
    struct ms_buf frame;
    if (json_object_size(results) > MS_LIMIT_ENGINES)
        return ms_error_set(err, MS_REJECT, "more than %d engines", MS_LIMIT_ENGINES);
    ms_buf_init(&frame, 4096);
    /* jansson keeps the order of the document. */
    json_object_foreach(results, name, row)
    {
        const json_t *result = json_object_get(row, "result");
        size_t n = strlen(name);
        ms_buf_clear(&frame);
        (void)ms_buf_append_byte(&frame, (uint8_t)row_category(row));
        (void)ms_buf_append_byte(&frame, json_is_string(result));
        n = n < MS_LIMIT_ENGINE_NAME_BYTES ? n : MS_LIMIT_ENGINE_NAME_BYTES;
        (void)ms_buf_append_varint(&frame, n);
        (void)ms_buf_append(&frame, name, n);
        put_text(&frame, result, MS_LIMIT_ENGINE_TEXT_BYTES);
        status = emit(sink, FRAME_ENGINE, &frame, err);
        if (status != MS_OK)
            break;
    }
    ms_buf_release(&frame);
    return status;
}

/* jansson recurses; a document of brackets must not reach its own, larger limit. */
static bool too_deep(struct ms_span body)
{
    unsigned depth = 0;
    bool string = false;
    for (size_t i = 0; i < body.len; i++) {
        uint8_t c = body.data[i];
        if (string) {
            i += c == '\\';
            string = c != '"';
        } else if (c == '"') {
            string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > MS_LIMIT_SCAN_DEPTH)
                return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static enum ms_status read_object(struct ms_span body, const struct sink *sink,
                                  struct ms_error *err)
{
    json_error_t why;
    if (body.len > MS_LIMIT_SCAN_BYTES)
        return ms_error_set(err, MS_REJECT, "the file object is larger than %zu bytes",
                            MS_LIMIT_SCAN_BYTES);
    if (too_deep(body))
        return ms_error_set(err, MS_REJECT, "JSON nested deeper than %d", MS_LIMIT_SCAN_DEPTH);
    json_t *root = json_loadb((const char *)body.data, body.len,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!root)
        return ms_error_set(err, MS_REJECT, "not JSON (line %d, column %d)", why.line, why.column);
    json_t *data = json_object_get(root, "data") ? json_object_get(root, "data") : root;
    json_t *attributes = json_object_get(data, "attributes");
    enum ms_status status = MS_OK;
    if (!json_is_object(attributes))
        status = ms_error_set(err, MS_REJECT, "no file object: \"attributes\" is missing");
    if (status == MS_OK)
        status = emit_file(attributes, sink, err);
    if (status == MS_OK)
        status = emit_engines(json_object_get(attributes, "last_analysis_results"), sink, err);
    json_decref(root);
    return status;
}

static enum ms_status read_input(int input_fd, struct ms_buf *out, struct ms_error *err)
{
    for (;;) {
        if (ms_buf_reserve(out, 65536) != MS_OK)
            return ms_error_set(err, MS_REJECT, "the file objects are too large");
        ssize_t n = read(input_fd, out->data + out->len, 65536);
        if (n < 0)
            return ms_error_set(err, MS_E_IO, "cannot read the file objects");
        if (n == 0)
            return MS_OK;
        out->len += (size_t)n;
    }
}

/* Bodies, each behind its length; each ends in a frame that says how it went. */
static enum ms_status read_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                               struct ms_error *err)
{
    struct sink sink = {.out = out};
    struct ms_buf input, end;
    (void)arg;
    ms_buf_init(&input, MS_LIMIT_SCAN_BATCH_BYTES + MS_LIMIT_SCAN_BYTES);
    ms_buf_init(&end, 1024);
    enum ms_status status = read_input(input_fd, &input, err);
    struct ms_span rest = ms_span_of(input.data, input.len), body;
    uint64_t n;
    while (status == MS_OK && rest.len > 0) {
        struct ms_error why = {0};
        if (!ms_span_take_varint(&rest, &n) || !ms_span_take(&rest, n, &body)) {
            status = ms_error_set(err, MS_E_BUG, "the batch of file objects is cut");
            break;
        }
        enum ms_status one = read_object(body, &sink, &why);
        if (one != MS_OK && one != MS_REJECT) {
            status = ms_error_set(err, one, "%s", why.text);
            break;
        }
        ms_buf_clear(&end);
        (void)ms_buf_append_byte(&end, one == MS_OK);
        (void)ms_buf_append(&end, why.text, strnlen(why.text, 159));
        status = emit(&sink, FRAME_END, &end, err);
    }
    ms_buf_release(&end);
    ms_buf_release(&input);
    return status;
}

/* jansson seeds its hash tables from /dev/urandom, which the worker may not open. */
static void prepare(void)
{
    json_object_seed(0);
    json_decref(json_object());
}

const struct ms_worker_kind ms_vtjson_kind = {"vtjson", read_job, prepare};

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
    char copy[MS_HASH_HEX_MAX];
    if (!take_text(frame, 64, &text))
        return false;
    memcpy(copy, text.data ? (const char *)text.data : "", text.len);
    copy[text.len] = '\0';
    out[0] = '\0';
    if (text.len == 2 * bytes && ms_hex_decode(copy, bytes, raw))
        ms_hex_encode(raw, bytes, out);
    return true;
}

/* A copy that is plain ASCII: these words go into columns and onto screens. */
static const char *take_word(struct ms_vt_report *self, struct ms_span text)
{
    char *copy = ms_arena_copy(&self->arena, text.data, text.len);
    for (char *p = copy; p && *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    return copy;
}

static bool take_file(struct ms_vt_report *self, struct ms_span frame)
{
    uint64_t size, first, last, flags;
    struct ms_span category, suggested;
    if (!take_hash(&frame, MS_SHA256_BYTES, self->sha256) ||
        !take_hash(&frame, MS_SHA1_BYTES, self->sha1) ||
        !take_hash(&frame, MS_MD5_BYTES, self->md5) || !ms_span_take_varint(&frame, &size) ||
        !ms_span_take_varint(&frame, &first) || !ms_span_take_varint(&frame, &last) ||
        !ms_span_take_varint(&frame, &flags) ||
        !take_text(&frame, MS_LIMIT_ENGINE_TEXT_BYTES, &category) ||
        !take_text(&frame, MS_LIMIT_ENGINE_TEXT_BYTES, &suggested) || frame.len != 0 ||
        size > INT64_MAX || first > INT64_MAX || last > INT64_MAX)
        return false;
    self->size = (int64_t)size - 1;
    self->first_submission_ms = (int64_t)first;
    self->last_analysis_ms = (int64_t)last;
    self->trusted = (flags & TRUSTED) != 0;
    if (flags & HAS_CATEGORY)
        self->category = take_word(self, category);
    if (flags & HAS_SUGGESTED)
        self->suggested = take_word(self, suggested);
    self->engines = ms_arena_alloc_array(&self->arena, MS_LIMIT_ENGINES, sizeof *self->engines);
    return self->engines != NULL;
}

static bool take_engine(struct ms_vt_report *self, struct ms_span frame)
{
    uint8_t category, has_result;
    struct ms_span name, result;
    if (!self->engines || self->engine_count == MS_LIMIT_ENGINES ||
        !ms_span_take_u8(&frame, &category) || category > MS_VT_OTHER ||
        !ms_span_take_u8(&frame, &has_result) ||
        !take_text(&frame, MS_LIMIT_ENGINE_NAME_BYTES, &name) ||
        !take_text(&frame, MS_LIMIT_ENGINE_TEXT_BYTES, &result) || frame.len != 0)
        return false;
    struct ms_vt_engine *engine = &self->engines[self->engine_count];
    engine->category = (enum ms_vt_category)category;
    engine->name = ms_arena_copy(&self->arena, name.data, name.len);
    engine->result = has_result ? ms_arena_copy(&self->arena, result.data, result.len) : NULL;
    if (!engine->name || (has_result && !engine->result))
        return false;
    self->engine_count++;
    return true;
}

static enum ms_status take_frame(void *ctx, uint32_t type, struct ms_span bytes,
                                 struct ms_error *err)
{
    struct ms_vt_report *self = ctx;
    bool ok = type == FRAME_FILE ? !self->engines && take_file(self, bytes)
                                 : type == FRAME_ENGINE && take_engine(self, bytes);
    return ok ? MS_OK : ms_error_set(err, MS_REJECT, "the reader of file objects sent a bad frame");
}

static void init_report(struct ms_vt_report *self)
{
    *self = (struct ms_vt_report){.size = -1};
    ms_arena_init(
        &self->arena,
        MS_LIMIT_ENGINES * (MS_LIMIT_ENGINE_NAME_BYTES + MS_LIMIT_ENGINE_TEXT_BYTES + 64) + 65536);
}

void ms_vt_report_release(struct ms_vt_report *self)
{
    ms_arena_release(&self->arena);
    *self = (struct ms_vt_report){.size = -1};
}

enum ms_status ms_vtjson_parse(struct ms_span body, struct ms_vt_report *out, struct ms_error *err)
{
    init_report(out);
    struct sink sink = {.report = out};
    enum ms_status status = read_object(body, &sink, err);
    if (status != MS_OK)
        ms_vt_report_release(out);
    return status;
}

/* The parent's side of a job over several bodies. */
struct batch {
    struct ms_vt_reading *readings;
    size_t count, done; /* those that have their end frame */
};

static void reject(struct ms_vt_reading *reading, const char *why, size_t n)
{
    ms_vt_report_release(&reading->report);
    reading->status = MS_REJECT;
    n = n < sizeof reading->why ? n : sizeof reading->why - 1;
    memcpy(reading->why, why, n);
    reading->why[n] = '\0';
}

static enum ms_status take_batch_frame(void *ctx, uint32_t type, struct ms_span bytes,
                                       struct ms_error *err)
{
    struct batch *batch = ctx;
    uint8_t good = 0;
    if (batch->done == batch->count)
        return ms_error_set(err, MS_REJECT, "the reader of file objects says too much");
    struct ms_vt_reading *reading = &batch->readings[batch->done];
    if (type != FRAME_END)
        return take_frame(&reading->report, type, bytes, err);
    if (!ms_span_take_u8(&bytes, &good) || (good && !reading->report.engines))
        return ms_error_set(err, MS_REJECT, "the reader of file objects sent a bad frame");
    reading->status = MS_OK;
    if (!good)
        reject(reading, (const char *)bytes.data, bytes.len);
    batch->done++;
    return MS_OK;
}

static enum ms_status make_input(const struct ms_span *bodies, size_t count, int *fd,
                                 struct ms_error *err)
{
    struct ms_buf length;
    ms_buf_init(&length, 16);
    enum ms_status status = ms_file_memory("scans", fd, err);
    for (size_t i = 0; i < count && status == MS_OK; i++) {
        ms_buf_clear(&length);
        (void)ms_buf_append_varint(&length, bodies[i].len);
        status = ms_file_write_all(*fd, length.data, length.len, err);
        if (status == MS_OK)
            status = ms_file_write_all(*fd, bodies[i].data, bodies[i].len, err);
    }
    ms_buf_release(&length);
    if (status == MS_OK && lseek(*fd, 0, SEEK_SET) != 0)
        status = ms_error_set(err, MS_E_IO, "cannot rewind a file in memory");
    return status;
}

/* One job: as far as it comes. */
static enum ms_status run_batch(struct ms_worker *worker, const struct ms_span *bodies,
                                struct batch *batch, struct ms_error *err)
{
    struct ms_worker_result result = {0};
    struct ms_error fault = {0};
    const struct ms_worker_limits limits = {.cpu_s = 10 + (uint32_t)batch->count,
                                            .wall_ms = 20000 + 1000 * (uint32_t)batch->count,
                                            .address_bytes = (uint64_t)1 << 30,
                                            .output_bytes = (uint64_t)256 << 20};
    int fd = -1;
    for (size_t i = 0; i < batch->count; i++)
        init_report(&batch->readings[i].report);
    enum ms_status status = make_input(bodies, batch->count, &fd, err);
    if (status == MS_OK)
        status = ms_worker_run(worker, ms_vtjson_kind.name, fd, (struct ms_span){0}, &limits,
                               take_batch_frame, batch, &result, &fault);
    if (fd >= 0)
        close(fd);
    if (status != MS_OK && status != MS_REJECT) {
        if (err && fault.text[0])
            *err = fault;
        return status;
    }
    /* What it was reading when it ended is the culprit. */
    if (batch->done < batch->count) {
        const char *why = status == MS_REJECT ? fault.text : result.error.text;
        why = why[0] ? why : "the reader of file objects said nothing";
        reject(&batch->readings[batch->done++], why, strlen(why));
    }
    for (size_t i = batch->done; i < batch->count; i++)
        ms_vt_report_release(&batch->readings[i].report);
    return MS_OK;
}

enum ms_status ms_vtjson_read_many(struct ms_worker *worker, const struct ms_span *bodies,
                                   size_t count, struct ms_vt_reading *out, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    size_t done = 0;
    while (done < count && status == MS_OK) {
        uint64_t bytes = 0;
        struct batch batch = {.readings = out + done};
        while (done + batch.count < count && batch.count < MS_LIMIT_SCAN_BATCH &&
               (batch.count == 0 ||
                bytes + bodies[done + batch.count].len <= MS_LIMIT_SCAN_BATCH_BYTES))
            bytes += bodies[done + batch.count++].len;
        status = run_batch(worker, bodies + done, &batch, err);
        if (status == MS_OK)
            done += batch.done;
    }
    for (size_t i = 0; i < done && status != MS_OK; i++)
        if (out[i].status == MS_OK)
            ms_vt_report_release(&out[i].report);
    return status;
}

enum ms_status ms_vtjson_read(struct ms_worker *worker, struct ms_span body,
                              struct ms_vt_report *out, struct ms_error *err)
{
    struct ms_vt_reading reading;
    enum ms_status status = ms_vtjson_read_many(worker, &body, 1, &reading, err);
    if (status == MS_OK && reading.status != MS_OK)
        status = ms_error_set(err, MS_REJECT, "%s", reading.why);
    if (status == MS_OK)
        *out = reading.report;
    return status;
}

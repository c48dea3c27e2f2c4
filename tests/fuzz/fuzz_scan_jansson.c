/* Fuzz target: the strict scanner against jansson. Both take or both refuse a document and come to
 * the same values, but for what docs/json.md lists; a report has the same calls in both, and in
 * every way of reading that is not strict. */
#include "base/buf.h"
#include "base/limits.h"
#include "base/scan.h"
#include "base/scan_kernel.h"
#include "extract/report/read.h"
#include "extract/report/when.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t left, piece;
};

static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct input *self = ctx;
    (void)err;
    *n = self->left < self->piece ? self->left : self->piece;
    *n = *n < cap ? *n : cap;
    if (*n)
        memcpy(buf, self->data, *n);
    self->data += *n;
    self->left -= *n;
    return MS_OK;
}

static void require(bool true_one)
{
    if (!true_one)
        abort();
}

/* What jansson refuses and the scanner does not. */
static bool only_jansson_refuses(struct ms_span document, const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    bool has_mark = document.len >= 3 && memcmp(document.data, "\xef\xbb\xbf", 3) == 0;
    return has_mark || code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
           strstr(error->text, "invalid Unicode") != NULL;
}

/* What the scanner refuses and jansson does not: where jansson puts back the character that ends a
 * number or a word, it loses a NUL. */
static bool only_we_refuse(struct ms_span document, uint64_t byte, const struct ms_error *err)
{
    bool lost = byte > 0 && byte < document.len && document.data[byte] == 0 &&
                (document.data[byte - 1] & 0x80) == 0 && isalnum(document.data[byte - 1]);
    return lost || strstr(err->text, "nested too deeply") != NULL;
}

/* ---- values ---- */

/* Whether the value that is due is `value`; the scanner's cap on depth bounds the recursion. A
 * member's value counts only when it is the last of its name. */
static enum ms_status same_value(struct ms_scanner *scan, const json_t *value,
                                 struct ms_error *err);

static enum ms_status same_object(struct ms_scanner *scan, const json_t *value,
                                  struct ms_error *err)
{
    struct ms_scanner_text key;
    bool more = true;
    json_t *seen = json_object();
    enum ms_status status = ms_scanner_enter(scan, err);
    while (status == MS_OK) {
        status = ms_scanner_member(scan, &more, &key, err);
        if (status != MS_OK || !more)
            break;
        if (!key.cut)
            require(json_object_getn(value, (const char *)key.bytes.data, key.bytes.len) != NULL);
        (void)json_object_setn_new(seen, (const char *)key.bytes.data, key.bytes.len, json_null());
        status = ms_scanner_skip(scan, err);
    }
    if (status == MS_OK && json_object_size(seen) != json_object_size(value))
        abort();
    json_decref(seen);
    return status;
}

static enum ms_status same_array(struct ms_scanner *scan, const json_t *value, struct ms_error *err)
{
    bool more = true;
    size_t count = 0;
    enum ms_status status = ms_scanner_enter(scan, err);
    while (status == MS_OK) {
        status = ms_scanner_element(scan, &more, err);
        if (status != MS_OK || !more)
            break;
        require(count < json_array_size(value));
        status = same_value(scan, json_array_get(value, count++), err);
    }
    require(status != MS_OK || count == json_array_size(value));
    return status;
}

static void same_number(const json_t *value, struct ms_span text)
{
    char number[400];
    if (text.len >= sizeof number)
        return;
    memcpy(number, text.data, text.len);
    number[text.len] = '\0';
    if (strpbrk(number, ".eE"))
        require(json_is_real(value) && json_real_value(value) == strtod(number, NULL));
    else
        require(json_is_integer(value) && json_integer_value(value) == strtoll(number, NULL, 10));
}

static enum ms_status same_value(struct ms_scanner *scan, const json_t *value, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    struct ms_scanner_text text;
    enum ms_status status = ms_scanner_peek(scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind == MS_SCAN_OBJECT) {
        require(json_is_object(value));
        return same_object(scan, value, err);
    }
    if (kind == MS_SCAN_ARRAY) {
        require(json_is_array(value));
        return same_array(scan, value, err);
    }
    status = ms_scanner_text(scan, &text, err);
    if (status != MS_OK)
        return status;
    if (kind == MS_SCAN_STRING && !text.cut)
        require(json_is_string(value) && json_string_length(value) == text.bytes.len &&
                memcmp(json_string_value(value), text.bytes.data, text.bytes.len) == 0);
    else if (kind == MS_SCAN_NUMBER)
        same_number(value, text.bytes);
    else if (kind == MS_SCAN_NULL)
        require(json_is_null(value));
    else if (kind != MS_SCAN_STRING)
        require(json_is_boolean(value) && json_is_true(value) == (kind == MS_SCAN_TRUE));
    return MS_OK;
}

static void compare_document(struct ms_span document, const json_t *value,
                             const json_error_t *refusal)
{
    struct input input = {document.data, document.len, SIZE_MAX};
    struct ms_scanner *scan = NULL;
    struct ms_error err = {.status = MS_OK};
    require(ms_scanner_new(give, &input, 4096, &scan, NULL) == MS_OK);
    enum ms_status status = value ? same_value(scan, value, &err) : MS_OK;
    if (status == MS_OK)
        status = ms_scanner_finish(scan, &err);
    uint64_t byte = ms_scanner_byte(scan);
    ms_scanner_free(scan);
    if (value)
        require(status == MS_OK || only_we_refuse(document, byte, &err));
    else
        require(status != MS_OK || only_jansson_refuses(document, refusal));
}

/* ---- calls ---- */

struct calls {
    uint64_t count;
    uint32_t sum;
    bool foreign; /* no report of the Cuckoo kind */
};

static void add_call(struct calls *self, struct ms_span api, uint64_t tid)
{
    size_t len = api.len < MS_LIMIT_API_NAME_BYTES ? api.len : MS_LIMIT_API_NAME_BYTES;
    self->count++;
    for (size_t i = 0; i < len; i++)
        self->sum = (self->sum ^ api.data[i]) * 16777619U;
    self->sum = (self->sum ^ (uint32_t)tid ^ (uint32_t)(tid >> 32)) * 16777619U;
}

static enum ms_status on_process(void *ctx, const struct ms_process_info *p, struct ms_error *err)
{
    (void)ctx, (void)p, (void)err;
    return MS_OK;
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *call, struct ms_error *err)
{
    (void)err;
    add_call(ctx, call->api, call->tid);
    return MS_OK;
}

static enum ms_status on_end(void *ctx, struct ms_error *err)
{
    (void)ctx, (void)err;
    return MS_OK;
}

static enum ms_status on_info(void *ctx, const struct ms_report_info *info, struct ms_error *err)
{
    struct calls *self = ctx;
    (void)err;
    self->foreign = ms_span_equal_text(info->sandbox, "speakeasy") ||
                    ms_span_equal_text(info->sandbox, "drakvuf");
    return MS_OK;
}

static uint64_t tid_of(const json_t *value)
{
    uint64_t tid;
    struct ms_span text = ms_span_of(json_string_value(value), json_string_length(value));
    if (json_is_integer(value))
        return json_integer_value(value) > 0 ? (uint64_t)json_integer_value(value) : 0;
    return json_is_string(value) && ms_when_u64(text, &tid) ? tid : 0;
}

/* The calls of jansson's tree. Where a call has both names of the thread's id jansson no longer
 * knows which came last: such a document is not compared. */
static bool tree_calls(const json_t *root, struct calls *out)
{
    size_t i, k;
    json_t *process, *call;
    json_array_foreach(json_object_get(json_object_get(root, "behavior"), "processes"), i, process)
    {
        json_array_foreach(json_object_get(process, "calls"), k, call)
        {
            const json_t *api = json_object_get(call, "api"), *tid = json_object_get(call, "tid");
            const json_t *other = json_object_get(call, "thread_id");
            if (tid && other)
                return false;
            add_call(out, ms_span_of(json_string_value(api), json_string_length(api)),
                     tid || other ? tid_of(tid ? tid : other) : MS_TID_NONE);
        }
    }
    return true;
}

static enum ms_status read_calls(struct ms_span document, enum ms_scanner_check check,
                                 const struct ms_scanner_kernel *kernel, size_t piece,
                                 struct calls *out, struct ms_report_result *result,
                                 struct ms_error *err)
{
    struct input input = {document.data, document.len, piece};
    const struct ms_trace_sink sink = {out, on_process, on_call, on_end, on_info, NULL};
    *out = (struct calls){0};
    *err = (struct ms_error){.status = MS_OK};
    ms_scanner_kernel_force(kernel);
    enum ms_status status = ms_report_read(give, &input, check, &sink, result, err);
    ms_scanner_kernel_force(NULL);
    return status;
}

static void compare_calls(struct ms_span document, const json_t *root)
{
    static const struct ms_scanner_kernel *const kernels[] = {&ms_scanner_bytes, &ms_scanner_avx2,
                                                              &ms_scanner_avx512};
    struct calls strict, loose, first, tree = {0};
    struct ms_report_result result, other;
    struct ms_error err, loose_err, first_err;
    enum ms_status status =
        read_calls(document, MS_SCAN_CHECK_GRAMMAR, NULL, SIZE_MAX, &strict, &result, &err);
    if (status == MS_OK && root && !strict.foreign && tree_calls(root, &tree))
        require(tree.count == strict.count && tree.sum == strict.sum);
    enum ms_status verdict = read_calls(document, MS_SCAN_CHECK_STRUCTURE, kernels[0], SIZE_MAX,
                                        &first, &result, &first_err);
    require(status != MS_OK || (verdict == MS_OK && first.count == strict.count));
    for (size_t i = 0; i < 2 * sizeof kernels / sizeof *kernels; i++) {
        if (!ms_scanner_kernel_can(kernels[i / 2]))
            continue;
        enum ms_status again = read_calls(document, MS_SCAN_CHECK_STRUCTURE, kernels[i / 2],
                                          i % 2 ? 67 : SIZE_MAX, &loose, &other, &loose_err);
        require(again == verdict && strcmp(loose_err.text, first_err.text) == 0);
        require(loose.count == first.count && loose.sum == first.sum &&
                other.calls_expanded == result.calls_expanded && other.bytes == result.bytes &&
                other.line == result.line && other.state == result.state);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ms_span document = ms_span_of(data, size);
    json_error_t refusal;
    json_t *root = json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &refusal);
    compare_document(document, root, &refusal);
    compare_calls(document, root);
    json_decref(root);
    return 0;
}

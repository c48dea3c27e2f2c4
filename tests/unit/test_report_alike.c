/* Lists of calls read call by call (extract/report/alike.h) against the same read member by member:
 * generated reports whose calls vary as real ones do, and as no sandbox would write them. */
#include "base/buf.h"
#include "base/limits.h"
#include "base/rng.h"
#include "base/scan_kernel.h"
#include "extract/report/read.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct feed {
    const uint8_t *data;
    size_t len, step;
};

static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct feed *feed = ctx;
    (void)err;
    *n = feed->len < cap ? feed->len : cap;
    if (feed->step && *n > feed->step)
        *n = feed->step;
    if (*n)
        memcpy(buf, feed->data, *n);
    feed->data += *n;
    feed->len -= *n;
    return MS_OK;
}

static enum ms_status on_process(void *ctx, const struct ms_process_info *p, struct ms_error *err)
{
    (void)err;
    ms_buf_printf(ctx, "process %" PRIu64 "\n", p->pid);
    return MS_OK;
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *c, struct ms_error *err)
{
    (void)err;
    ms_buf_printf(ctx, "%d '%.*s' '%.*s' %" PRIu64 " %" PRIu64 " %" PRId64 "\n", (int)c->space,
                  (int)c->api.len, (const char *)c->api.data, (int)c->category.len,
                  (const char *)c->category.data, c->tid, c->repeated, c->time_us);
    return MS_OK;
}

static enum ms_status on_end(void *ctx, struct ms_error *err)
{
    (void)err;
    ms_buf_append_text(ctx, "end\n");
    return MS_OK;
}

static enum ms_status on_info(void *ctx, const struct ms_report_info *i, struct ms_error *err)
{
    (void)err;
    ms_buf_printf(ctx, "info %.*s\n", (int)i->sandbox.len, (const char *)i->sandbox.data);
    return MS_OK;
}

static void read_as(const struct ms_scanner_kernel *kernel, enum ms_scanner_check check,
                    const struct ms_buf *text, size_t step, struct ms_buf *out)
{
    struct feed feed = {text->data, text->len, step};
    const struct ms_trace_sink sink = {out, on_process, on_call, on_end, on_info, NULL};
    struct ms_report_result result;
    struct ms_error err = {.status = MS_OK};
    ms_buf_clear(out);
    ms_scanner_kernel_force(kernel);
    enum ms_status status = ms_report_read(give, &feed, check, &sink, &result, &err);
    ms_scanner_kernel_force(NULL);
    ms_buf_printf(out, "%d %s %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", (int)status,
                  err.text, (int)result.state, result.calls, result.calls_expanded,
                  result.real_calls, result.bytes);
}

static const char *pick(struct ms_rng *rng, const char *const *from, size_t n)
{
    return from[ms_rng_below(rng, n)];
}
#define PICK(rng, ...)                            \
    pick(rng, (const char *const[]){__VA_ARGS__}, \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* One member of a call, mostly of the type that it should have. */
static void make_member(struct ms_rng *rng, size_t which, struct ms_buf *out)
{
    static const char *const keys[] = {"api",        "category",     "time",     "timestamp",
                                       "tid",        "thread_id",    "repeated", "arguments",
                                       "caller",     "parentcaller", "status",   "return_value",
                                       "stacktrace", "api2",         "t\\u0069d"};
    ms_buf_printf(out, "\"%s\"%s", keys[which], PICK(rng, ":", ": ", ": ", ": "));
    if (!ms_rng_below(rng, 12)) {
        ms_buf_append_text(out, PICK(rng, "null", "true", "[]", "{\"a\":[1]}", "\"\\u0041b\"", "-0",
                                     "1e3", "\"\"", "\"\xc3\xa9\"", "-7", "false"));
        return;
    }
    switch (which) {
    case 0:
        ms_buf_append_text(out, PICK(rng, "\"NtClose\"", "\"LdrGetProcedureAddress\"",
                                     "\"__process__\"", "\"RegOpenKeyExW\""));
        return;
    case 2:
        ms_buf_append_text(
            out, PICK(rng, "1700000001.25", "1700000001.25", "1700000001.265625", "1700000002"));
        return;
    case 3:
        ms_buf_append_text(out,
                           PICK(rng, "\"2023-06-02 18:12:53,486\"", "\"2023-06-02 18:12:53,501\""));
        return;
    case 4:
    case 5:
        ms_buf_append_text(out, PICK(rng, "2064", "\"2064\"", "2068", "18446744073709551616"));
        return;
    case 6:
        ms_buf_append_text(out, PICK(rng, "0", "3", "99999999999999"));
        return;
    case 7:
        ms_buf_append_text(out, PICK(rng, "{}", "{\"k\":\"C:\\\\Temp\\\\ [}\"}", "[]",
                                     "[{\"name\":\"x\",\"value\":\"\xe2\x82\xac\"}]"));
        return;
    default:
        ms_buf_append_text(out, PICK(rng, "0", "\"0x00410000\"", "-1073741772", "\"misc\""));
    }
}

static void make_report(struct ms_rng *rng, size_t calls, struct ms_buf *out)
{
    size_t members = 2 + ms_rng_below(rng, 8), keys = 8 + ms_rng_below(rng, 8);
    const char *gap = ms_rng_below(rng, 2) ? "\n        " : "";
    ms_buf_append_text(out, "{\"behavior\":{\"processes\":[{\"pid\":7,\"calls\":[");
    for (size_t i = 0; i < calls; i++) {
        ms_buf_printf(out, "%s%s{", i ? "," : "", gap);
        for (size_t k = 0; k < members; k++) {
            ms_buf_printf(out, "%s%s", k ? "," : "", gap);
            make_member(rng, ms_rng_below(rng, 6) ? k % keys : ms_rng_below(rng, keys), out);
        }
        ms_buf_printf(out, "%s}", gap);
    }
    ms_buf_append_text(out, "]}]}}");
}

static void assert_same(struct ms_buf *first, struct ms_buf *other, struct ms_buf *text)
{
    const char *a = ms_buf_text(first), *b = ms_buf_text(other);
    size_t at = 0;
    while (a[at] && a[at] == b[at])
        at++;
    if (a[at] != b[at])
        fail_msg("'%.120s' and '%.120s' of %.600s", a + (at > 40 ? at - 40 : 0),
                 b + (at > 40 ? at - 40 : 0), ms_buf_text(text));
}

static void test_same_events(void **state)
{
    static const struct ms_scanner_kernel *const kernels[] = {&ms_scanner_bytes, &ms_scanner_avx2,
                                                              &ms_scanner_avx512};
    struct ms_buf text, first, other;
    struct ms_rng rng;
    (void)state;
    ms_rng_init(&rng, 22, 1, 0);
    ms_buf_init(&text, SIZE_MAX);
    ms_buf_init(&first, SIZE_MAX);
    ms_buf_init(&other, SIZE_MAX);
    for (int i = 0; i < 600; i++) {
        ms_buf_clear(&text);
        make_report(&rng, 30, &text);
        bool cut = i % 8 == 0;
        if (cut)
            text.len -= ms_rng_below(&rng, 100);
        /* What a cut one is refused for may depend on what is checked. */
        read_as(&ms_scanner_bytes, cut ? MS_SCAN_CHECK_STRUCTURE : MS_SCAN_CHECK_GRAMMAR, &text, 0,
                &first);
        for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++)
            for (size_t step = 0; ms_scanner_kernel_can(kernels[k]) && step <= 300; step += 150) {
                read_as(kernels[k], MS_SCAN_CHECK_STRUCTURE, &text, step, &other);
                assert_same(&first, &other, &text);
            }
    }
    ms_buf_release(&text);
    ms_buf_release(&first);
    ms_buf_release(&other);
}

/* A name longer than is kept is cut alike, and a call too many is one too many. */
static void test_caps(void **state)
{
    struct ms_buf text, first, other;
    (void)state;
    ms_buf_init(&text, SIZE_MAX);
    ms_buf_init(&first, SIZE_MAX);
    ms_buf_init(&other, SIZE_MAX);
    ms_buf_append_text(&text, "{\"behavior\":{\"processes\":[{\"calls\":[");
    for (int i = 0; i < 6; i++) {
        ms_buf_append_text(&text, i ? ",{\"api\":\"" : "{\"api\":\"");
        for (int k = 0; k < MS_LIMIT_API_NAME_BYTES - 3 + i; k++)
            ms_buf_append_byte(&text, 'x');
        ms_buf_append_text(&text, "\",\"repeated\":18446744073709551615}");
    }
    ms_buf_append_text(&text, "]}]}}");
    read_as(&ms_scanner_bytes, MS_SCAN_CHECK_GRAMMAR, &text, 0, &first);
    read_as(NULL, MS_SCAN_CHECK_STRUCTURE, &text, 0, &other);
    assert_string_equal(ms_buf_text(&first), ms_buf_text(&other));
    ms_buf_release(&text);
    ms_buf_release(&first);
    ms_buf_release(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_events),
                                       cmocka_unit_test(test_caps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

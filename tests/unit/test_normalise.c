/* The normaliser against a plain re-computation on random traces, and each rule by hand. */
#include "base/limits.h"
#include "base/rng.h"
#include "store/trace/encode.h"
#include "store/trace/normalise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_PROCESSES = 6, MOST_CALLS = 60, MOST_PLAIN = 40000 };

/* A process in the clear. */
struct plain {
    int64_t first_seen_us;
    bool tracked;
    size_t n;
    struct ms_trace_call calls[MOST_CALLS];
    struct ms_buf blob;
};

static void encode(struct plain *process)
{
    struct ms_trace_encoder *encoder = NULL;
    struct ms_error err = {0};
    assert_int_equal(ms_trace_encoder_new(&encoder, &err), MS_OK);
    for (size_t i = 0; i < process->n; i++)
        assert_int_equal(ms_trace_encoder_add(encoder, &process->calls[i], &err), MS_OK);
    ms_buf_init(&process->blob, SIZE_MAX);
    assert_int_equal(ms_trace_encoder_finish(encoder, &process->blob, &err), MS_OK);
    ms_trace_encoder_free(encoder);
}

static enum ms_status normalise(const struct plain *processes, size_t count,
                                const struct ms_normal_apis *apis,
                                const struct ms_normal_options *options, struct ms_sequence *out)
{
    struct ms_normal_process rows[MOST_PROCESSES];
    struct ms_error err = {0};
    /* The last first: the order given must not matter. */
    for (size_t i = 0; i < count; i++) {
        const struct plain *p = &processes[count - 1 - i];
        rows[i] = (struct ms_normal_process){p->first_seen_us, (int64_t)(count - 1 - i), p->tracked,
                                             ms_span_of(p->blob.data, p->blob.len)};
    }
    return ms_normalise(rows, count, apis, options, out, &err);
}

/* The names of the hand-made cases: a letter each; '_' is a pseudo-call. */
static uint32_t id_of(char c)
{
    return c == '_' ? 26 : (uint32_t)(c - 'a');
}

static void set_calls(struct plain *process, const char *calls)
{
    process->n = 0;
    for (; *calls; calls++) {
        if (*calls >= '0' && *calls <= '9') {
            process->calls[process->n - 1].repeated = (uint64_t)(*calls - '0');
            continue;
        }
        process->calls[process->n++] = (struct ms_trace_call){.api = id_of(*calls)};
    }
    encode(process);
}

static void expect(const struct plain *processes, size_t count, struct ms_normal_options options,
                   const char *calls, uint64_t whole_length)
{
    bool pseudo[27] = {[26] = true};
    struct ms_normal_apis apis = {27, NULL, pseudo};
    struct ms_sequence out;
    ms_sequence_init(&out);
    assert_int_equal(normalise(processes, count, &apis, &options, &out), MS_OK);
    char got[256] = {0};
    for (size_t i = 0; i < out.n && i < sizeof got - 1; i++)
        got[i] = (char)('a' + out.calls[i]);
    assert_string_equal(got, calls);
    assert_int_equal(out.whole_length, whole_length);
    assert_int_equal(out.cut, whole_length > strlen(calls));
    ms_sequence_release(&out);
}

static void test_rules(void **state)
{
    (void)state;
    struct plain p[5] = {{.first_seen_us = 30, .tracked = true},
                         {.first_seen_us = MS_TIME_NONE, .tracked = true},
                         {.first_seen_us = 10, .tracked = true},
                         {.first_seen_us = 30, .tracked = true},
                         {.first_seen_us = 0, .tracked = false}};
    static const char *const calls[] = {"aab_ba2", "c", "", "aaad3d", "zzz"};
    for (size_t i = 0; i < 5; i++)
        set_calls(&p[i], calls[i]);
    struct ms_normal_options plain = {.length = 0};
    expect(p, 5, plain, "aabbaaaaddc", 11);
    struct ms_normal_options o = {.expand = true};
    expect(p, 5, o, "aabbaaaaaadddddc", 16);
    /* Runs end at the end of a process, and pseudo-calls do not break them. */
    o = (struct ms_normal_options){.collapse = 1};
    expect(p, 5, o, "abaadc", 6);
    o.expand = true;
    expect(p, 5, o, "abaadc", 6);
    o.collapse = 2;
    expect(p, 5, o, "aabbaaaaddc", 11);
    o = (struct ms_normal_options){.collapse = 1, .once = true};
    expect(p, 5, o, "abdc", 4);
    o = (struct ms_normal_options){.once = true};
    expect(p, 5, o, "abdc", 4);
    o = (struct ms_normal_options){.length = 3};
    expect(p, 5, o, "aab", 11);
    o.cut = MS_CUT_TAIL;
    expect(p, 5, o, "ddc", 11);
    o.cut = MS_CUT_MIDDLE;
    expect(p, 5, o, "aac", 11);
    o.length = 6;
    expect(p, 5, o, "aabddc", 11);
    o.length = 11;
    expect(p, 5, o, "aabbaaaaddc", 11);
    o.length = 500;
    expect(p, 5, o, "aabbaaaaddc", 11);
    o = (struct ms_normal_options){.length = 1, .cut = MS_CUT_MIDDLE};
    expect(p, 5, o, "a", 11);
    for (size_t i = 0; i < 5; i++)
        ms_buf_release(&p[i].blob);
}

static void test_counts(void **state)
{
    (void)state;
    struct plain p[2] = {{.tracked = true}, {.tracked = false}};
    set_calls(&p[0], "a4b_aa__b1");
    set_calls(&p[1], "_c");
    bool pseudo[27] = {[26] = true};
    struct ms_normal_apis apis = {27, NULL, pseudo};
    struct ms_normal_options options = {.expand = true, .collapse = 1};
    struct ms_sequence out;
    ms_sequence_init(&out);
    assert_int_equal(normalise(p, 2, &apis, &options, &out), MS_OK);
    const uint32_t calls[] = {0, 1, 0, 1}, lengths[] = {5, 1, 2, 2}, counts[] = {2, 2, 2, 2};
    assert_int_equal(out.n, 4);
    assert_memory_equal(out.calls, calls, sizeof calls);
    assert_memory_equal(out.run_lengths, lengths, sizeof lengths);
    assert_memory_equal(out.run_counts, counts, sizeof counts);
    assert_int_equal(out.pseudo_dropped, 3);
    assert_int_equal(out.untracked_dropped, 1);
    ms_sequence_release(&out);
    ms_buf_release(&p[0].blob);
    ms_buf_release(&p[1].blob);
}

static void test_huge_repeated(void **state)
{
    (void)state;
    struct plain p = {.tracked = true, .n = 3};
    p.calls[0] = (struct ms_trace_call){.api = 0};
    p.calls[1] = (struct ms_trace_call){.api = 1, .repeated = MS_LIMIT_REPEATED};
    p.calls[2] = (struct ms_trace_call){.api = 2};
    encode(&p);
    struct ms_normal_apis apis = {3, NULL, NULL};
    struct ms_normal_options options = {.expand = true, .length = 4};
    struct ms_sequence out;
    ms_sequence_init(&out);
    static const uint32_t head[] = {0, 1, 1, 1}, tail[] = {1, 1, 1, 2}, middle[] = {0, 1, 1, 2};
    const uint32_t *expected[] = {head, tail, middle};
    for (int cut = 0; cut < 3; cut++) {
        options.cut = (enum ms_normal_cut)cut;
        assert_int_equal(normalise(&p, 1, &apis, &options, &out), MS_OK);
        assert_int_equal(out.n, 4);
        assert_memory_equal(out.calls, expected[cut], sizeof head);
        assert_int_equal(out.whole_length, MS_LIMIT_REPEATED + 3);
        assert_int_equal(out.run_lengths[cut == MS_CUT_TAIL ? 0 : 1], UINT32_MAX);
    }
    options.length = 0;
    assert_int_equal(normalise(&p, 1, &apis, &options, &out), MS_REJECT);
    apis.count = 2;
    options = (struct ms_normal_options){0};
    assert_int_equal(normalise(&p, 1, &apis, &options, &out), MS_REJECT);
    p.blob.data[0] ^= 1;
    assert_int_equal(normalise(&p, 1, &apis, &options, &out), MS_REJECT);
    ms_sequence_release(&out);
    ms_buf_release(&p.blob);
}

/* --- the plain re-computation --- */

static void recompute(const struct plain *processes, size_t count,
                      const struct ms_normal_apis *apis, const struct ms_normal_options *o,
                      uint32_t *out, size_t *n, size_t *whole)
{
    size_t order[MOST_PROCESSES];
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = 1; i < count; i++) /* stable insertion, no time last */
        for (size_t k = i; k; k--) {
            uint64_t a = (uint64_t)processes[order[k - 1]].first_seen_us ^ 1ULL << 63;
            uint64_t b = (uint64_t)processes[order[k]].first_seen_us ^ 1ULL << 63;
            if (a - 1 <= b - 1) /* 0 (unknown) becomes the highest */
                break;
            size_t swap = order[k];
            order[k] = order[k - 1];
            order[k - 1] = swap;
        }
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        const struct plain *p = &processes[order[i]];
        size_t from = len;
        for (size_t c = 0; p->tracked && c < p->n; c++) {
            if (apis->pseudo[p->calls[c].api])
                continue;
            for (uint64_t r = 0; r <= (o->expand ? p->calls[c].repeated : 0); r++) {
                uint32_t api = apis->fold[p->calls[c].api];
                size_t same = 0;
                while (len - from > same && out[len - 1 - same] == api)
                    same++;
                if (o->collapse && same >= o->collapse)
                    continue;
                assert_true(len < MOST_PLAIN);
                out[len++] = api;
            }
        }
    }
    if (o->once) {
        size_t kept = 0;
        for (size_t i = 0; i < len; i++) {
            size_t k = 0;
            while (k < kept && out[k] != out[i])
                k++;
            if (k == kept)
                out[kept++] = out[i];
        }
        len = kept;
    }
    *whole = *n = len;
    if (!o->length || len <= o->length)
        return;
    size_t tail = o->cut == MS_CUT_HEAD ? 0 : o->cut == MS_CUT_TAIL ? o->length : o->length / 2;
    memmove(out + (o->length - tail), out + (len - tail), tail * sizeof *out);
    *n = o->length;
}

static void test_random(void **state)
{
    (void)state;
    struct ms_rng rng;
    struct plain *p = calloc(MOST_PROCESSES, sizeof *p);
    uint32_t *expected = calloc(MOST_PLAIN, sizeof *expected);
    struct ms_sequence out;
    assert_true(p && expected);
    ms_rng_init(&rng, 4, 4, 4);
    ms_sequence_init(&out);
    const uint32_t fold[] = {0, 1, 2, 1, 4, 0, 6};
    const bool pseudo[] = {false, false, false, false, true, false, false};
    struct ms_normal_apis apis = {7, fold, pseudo};
    for (int round = 0; round < 1500; round++) {
        size_t count = ms_rng_below(&rng, MOST_PROCESSES + 1);
        for (size_t i = 0; i < count; i++) {
            uint64_t when = ms_rng_below(&rng, 4);
            p[i].first_seen_us = when ? (int64_t)when - 2 : MS_TIME_NONE;
            p[i].tracked = ms_rng_below(&rng, 5) != 0;
            p[i].n = ms_rng_below(&rng, MOST_CALLS + 1);
            uint64_t apis_used = 1 + ms_rng_below(&rng, 7);
            for (size_t c = 0; c < p[i].n; c++)
                p[i].calls[c] = (struct ms_trace_call){
                    .api = (uint32_t)ms_rng_below(&rng, apis_used),
                    .repeated = ms_rng_below(&rng, 4) ? 0 : ms_rng_below(&rng, 9)};
            encode(&p[i]);
        }
        struct ms_normal_options options = {
            .expand = ms_rng_below(&rng, 2),
            .collapse = (uint32_t)ms_rng_below(&rng, 4),
            .once = ms_rng_below(&rng, 3) == 0,
            .cut = (enum ms_normal_cut)ms_rng_below(&rng, 3),
            .length = (uint32_t)ms_rng_below(&rng, ms_rng_below(&rng, 2) ? 10 : 200)};
        size_t n, whole;
        recompute(p, count, &apis, &options, expected, &n, &whole);
        assert_int_equal(normalise(p, count, &apis, &options, &out), MS_OK);
        assert_int_equal(out.n, n);
        assert_int_equal(out.whole_length, whole);
        if (n)
            assert_memory_equal(out.calls, expected, n * sizeof *expected);
        for (size_t i = 0; i < count; i++)
            ms_buf_release(&p[i].blob);
    }
    ms_sequence_release(&out);
    free(expected);
    free(p);
}

static void expect_fold(bool fold_case, bool fold_suffix, const char *name, const char *expected)
{
    struct ms_normal_options options = {.fold_case = fold_case, .fold_suffix = fold_suffix};
    uint8_t out[64];
    size_t n = ms_fold_name(&options, ms_span_of(name, strlen(name)), out);
    assert_true(ms_span_equal_text(ms_span_of(out, n), expected));
}

static void test_names(void **state)
{
    (void)state;
    expect_fold(false, false, "CreateFileW", "CreateFileW");
    expect_fold(true, false, "CreateFileW", "createfilew");
    expect_fold(true, true, "CreateFileW", "createfile");
    expect_fold(false, true, "RegOpenKeyExA", "RegOpenKey");
    expect_fold(false, true, "DnsQuery_A", "DnsQuery");
    expect_fold(false, true, "Process32FirstW", "Process32First");
    expect_fold(false, true, "NtOpenKeyEx", "NtOpenKey");
    expect_fold(false, true, "NtQueryInformationFile", "NtQueryInformationFile");
    expect_fold(false, true, "send", "send");
    expect_fold(false, true, "WSA", "WSA");
    expect_fold(false, true, "W", "W");
    expect_fold(false, true, "loadlibraryw", "loadlibraryw");
    expect_fold(false, true, "", "");
    static const char *const native[][2] = {{"ZwClose", "NtClose"}, {"zwclose", "ntclose"},
                                            {"NtClose", "NtClose"}, {"Zw", "Zw"},
                                            {"ZwA", "NtA"},         {"Zwick", "Zwick"},
                                            {"zW", "zW"},           {"zwQuery", "zwQuery"}};
    for (size_t i = 0; i < sizeof native / sizeof *native; i++) {
        struct ms_normal_options o = {.fold_native = true};
        uint8_t out[64];
        size_t n = ms_fold_name(&o, ms_span_of(native[i][0], strlen(native[i][0])), out);
        assert_true(ms_span_equal_text(ms_span_of(out, n), native[i][1]));
    }

    static const char *const texts[] = {
        "CreateFileW", "createfilea", "CreateFileA", "__anomaly__", "", "_x", "CREATEFILE"};
    struct ms_span names[8];
    for (size_t i = 0; i < 7; i++)
        names[i] = ms_span_of(texts[i], strlen(texts[i]));
    names[7] = ms_span_of(NULL, 0);
    uint32_t fold[8];
    bool pseudo[8];
    struct ms_normal_options options = {.fold_case = true, .fold_suffix = true};
    struct ms_error err = {0};
    assert_int_equal(ms_normal_apis_fill(&options, names, 8, fold, pseudo, &err), MS_OK);
    const uint32_t expected_fold[] = {0, 1, 0, 3, 4, 5, 0, 7};
    const bool expected_pseudo[] = {false, false, false, true, true, false, false, true};
    assert_memory_equal(fold, expected_fold, sizeof fold);
    assert_memory_equal(pseudo, expected_pseudo, sizeof pseudo);
}

static void test_options_text(void **state)
{
    (void)state;
    char text[MS_NORMAL_TEXT_BYTES], again[MS_NORMAL_TEXT_BYTES];
    struct ms_error err = {0};
    struct ms_rng rng;
    struct ms_normal_options options = {.expand = true, .collapse = 1, .length = 400};
    ms_normal_options_text(&options, text);
    assert_string_equal(text,
                        "normalise-1 fold=none repeated=expand collapse=1 once=no cut=head:400");
    ms_rng_init(&rng, 1, 1, 1);
    for (int i = 0; i < 300; i++) {
        options = (struct ms_normal_options){.fold_case = ms_rng_below(&rng, 2),
                                             .fold_suffix = ms_rng_below(&rng, 2),
                                             .fold_native = ms_rng_below(&rng, 2),
                                             .keep_pseudo = ms_rng_below(&rng, 2),
                                             .order = (enum ms_normal_order)ms_rng_below(&rng, 2),
                                             .loops = (uint32_t)ms_rng_below(&rng, 33),
                                             .expand = ms_rng_below(&rng, 2),
                                             .collapse = (uint32_t)ms_rng_u64(&rng),
                                             .once = ms_rng_below(&rng, 2),
                                             .cut = (enum ms_normal_cut)ms_rng_below(&rng, 3),
                                             .length = (uint32_t)ms_rng_u64(&rng)};
        ms_normal_options_text(&options, text);
        struct ms_normal_options back;
        assert_int_equal(ms_normal_options_parse(text, &back, &err), MS_OK);
        ms_normal_options_text(&back, again);
        assert_string_equal(text, again);
        assert_true(strlen(text) < sizeof text - 1); /* nothing was cut */
    }
    static const char *const bad[] = {
        "",
        "normalise-",
        "normalise-2 fold=none repeated=expand collapse=1 once=no cut=head:400",
        "normalise-1 fold=non repeated=expand collapse=1 once=no cut=head:400",
        "normalise-1 fold=none repeated=expand collapse=-1 once=no cut=head:400",
        "normalise-1 fold=none repeated=expand collapse=1 once=no cut=head:4294967296",
        "normalise-1 fold=none repeated=expand collapse=1 once=no cut=head:400 ",
        "normalise-1 fold=none repeated=expand collapse=1 once=no cut=head",
        "normalise-1 fold=none repeated=expand collapse=1 loops=1 once=no cut=head:400",
        "normalise-1 fold=none repeated=expand collapse=1 loops=33 once=no cut=head:400",
        "normalise-1 fold=native+case repeated=expand collapse=1 once=no cut=head:400",
        "normalise-1 fold=none order=process repeated=expand collapse=1 once=no cut=head:400",
        "normalise-1 fold=none collapse=1 repeated=expand once=no cut=head:400"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ms_normal_options_parse(bad[i], &options, &err), MS_E_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),         cmocka_unit_test(test_counts),
        cmocka_unit_test(test_huge_repeated), cmocka_unit_test(test_random),
        cmocka_unit_test(test_names),         cmocka_unit_test(test_options_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

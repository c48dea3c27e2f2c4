/* Runs and n-grams of a dataset's rows, by hand; the same whatever the corpus calls its ids and how
 * many threads read. */
#include "store_rows.h"

#include "store/label.h"
#include "store/trace/encode.h"
#include "train/dataset.h"

/* A program: its processes' calls, '|' between them, a letter each ('_' a pseudo-call, '!' a
 * damaged trace's last letter). */
struct program {
    uint8_t seed;
    const char *verdict;
    const char *calls;
};

static struct ms_span name_of(char letter, char out[8])
{
    (void)snprintf(out, 8, letter == '_' ? "__%c__" : "Nt%c", letter == '_' ? 'x' : letter);
    return text_span(out);
}

static void put_process(struct ms_corpus *corpus, int64_t analysis, int64_t ord, const char *calls,
                        size_t n)
{
    struct ms_trace_encoder *encoder = NULL;
    struct ms_error err;
    struct ms_buf blob;
    char name[8];
    const bool damaged = n && calls[n - 1] == '!';
    n -= damaged;
    ms_buf_init(&blob, SIZE_MAX);
    assert_ok(ms_trace_encoder_new(&encoder, &err), &err);
    for (size_t i = 0; i < n; i++) {
        struct ms_trace_call call = {.tid = MS_TID_NONE, .time_us = MS_TIME_NONE};
        assert_ok(ms_api_intern(corpus, MS_API_CALL, name_of(calls[i], name), text_span(""),
                                &call.api, &err),
                  &err);
        assert_ok(ms_trace_encoder_add(encoder, &call, &err), &err);
    }
    assert_ok(ms_trace_encoder_finish(encoder, &blob, &err), &err);
    ms_trace_encoder_free(encoder);
    if (damaged)
        blob.data[blob.len - 1] ^= 0x55;
    const struct ms_process_row row = {.analysis = analysis,
                                       .ord = ord,
                                       .pid = 1,
                                       .first_seen_us = MS_TIME_NONE,
                                       .tracked = true,
                                       .calls = n,
                                       .calls_expanded = n,
                                       .name = text_span("a.exe"),
                                       .trace = ms_span_of(blob.data, blob.len)};
    assert_ok(ms_process_insert(corpus, &row, &err), &err);
    ms_buf_release(&blob);
}

static void put_program(struct ms_corpus *corpus, const struct program *p)
{
    struct ms_error err;
    int64_t sample = add_sample(corpus, p->seed), analysis;
    bool changed;
    const struct ms_analysis made = {.sample = sample, .sandbox = "test", .state = "ok"};
    const struct ms_label label = {.sample = sample,
                                   .policy = "dataset:test",
                                   .verdict = p->verdict,
                                   .margin = -1,
                                   .positives = -1,
                                   .responding = -1,
                                   .groups = -1,
                                   .family_votes = -1,
                                   .family_verified = -1};
    assert_ok(ms_analysis_insert(corpus, &made, 1, 0, &analysis, &err), &err);
    assert_ok(ms_label_put(corpus, &label, 1, 0, &changed, &err), &err);
    const char *at = p->calls;
    for (int64_t ord = 0;; ord++) {
        size_t n = strcspn(at, "|");
        put_process(corpus, analysis, ord, at, n);
        if (!at[n])
            break;
        at += n + 1;
    }
}

static void put_programs(struct ms_corpus *corpus, const struct program *programs, size_t count,
                         const char *first_ids)
{
    struct ms_error err;
    char name[8];
    uint32_t id;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    for (; *first_ids; first_ids++)
        assert_ok(
            ms_api_intern(corpus, MS_API_CALL, name_of(*first_ids, name), text_span(""), &id, &err),
            &err);
    for (size_t i = 0; i < count; i++)
        put_program(corpus, &programs[i]);
    assert_ok(ms_corpus_commit(corpus, &err), &err);
}

static void load(struct ms_corpus *corpus, bool runs, bool grams, unsigned jobs,
                 struct ms_dataset *out)
{
    struct ms_error err;
    const struct ms_dataset_request request = {
        .target = {MS_TARGET_MALWARE, NULL},
        .target_text = "malware",
        .policy = "dataset:test",
        .view = {.fold_case = true, .expand = true, .collapse = 1, .length = 4},
        .min_calls = 1,
        .want_runs = runs,
        .want_grams = grams,
        .jobs = jobs};
    assert_ok(ms_dataset_load(corpus, &request, out, &err), &err);
}

static void expect_numbers(const uint32_t *got, size_t n, const char *want)
{
    char text[64] = "";
    for (size_t i = 0; i < n; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%u", got[i]);
    assert_string_equal(text, want);
}

/* The caller's to release. */
static struct ms_row_numbers unpacked(const struct ms_dataset *set, size_t row)
{
    struct ms_row_numbers numbers = {0};
    struct ms_error err;
    assert_ok(ms_row_unpack(&set->rows[row].pack, &numbers, &err), &err);
    return numbers;
}

/* Of a row. */
static void expect_runs(const struct ms_dataset *set, size_t row, const char *lengths,
                        const char *counts)
{
    struct ms_row_numbers numbers = unpacked(set, row);
    assert_int_equal(numbers.n, strlen(lengths));
    expect_numbers(numbers.run_lengths, numbers.n, lengths);
    expect_numbers(numbers.run_counts, numbers.n, counts);
    ms_row_numbers_release(&numbers);
}

/* A row's n-grams as letters, apart by blanks. */
static void expect_grams(const struct ms_dataset *set, size_t row, const char *want)
{
    char text[256] = "", *at = text;
    struct ms_row_numbers numbers = unpacked(set, row);
    const struct ms_row_numbers *r = &numbers;
    for (size_t i = 0; i < r->gram_n; i++) {
        struct ms_gram gram = set->grams[r->grams[i]];
        if (i)
            *at++ = ' ';
        for (uint32_t k = 0; k < ms_gram_length(gram); k++)
            *at++ = (char)set->names[gram.symbol[k]].data[2];
    }
    *at = '\0';
    assert_string_equal(text, want);
    ms_row_numbers_release(&numbers);
}

/* Keys rise with the seeds. */
static const struct program PROGRAMS[] = {
    {10, "malicious", "aab_bacd"},
    {20, "malicious", "qrs!"}, /* damaged: it costs itself, and none of its n-grams stays */
    {30, "benign", "dc|aA"},
    {40, "benign", "cccccd"},
};

static void by_hand(void **state)
{
    struct fixture *fixture = *state;
    struct ms_dataset set;
    put_programs(fixture->corpus, PROGRAMS, 4, "");
    load(fixture->corpus, true, true, 1, &set);
    assert_int_equal(set.count, 3);
    assert_int_equal(set.dropped_damaged, 1);
    /* Of the whole trace, while the view ends with c. */
    expect_grams(&set, 0, "a b ab ba aba c ac bac d cd acd");
    expect_grams(&set, 1, "d c dc a");
    expect_grams(&set, 2, "c d cd");
    /* a b ab ba aba c ac bac d cd acd, and dc */
    assert_int_equal(set.gram_count, 12);
    expect_runs(&set, 0, "2211", "2121");
    expect_runs(&set, 1, "112", "111");
    expect_runs(&set, 2, "51", "11");
    const struct ms_gram_table table = ms_dataset_table(&set);
    struct ms_row_numbers numbers = {0};
    struct ms_input_trace trace;
    struct ms_error err;
    assert_ok(ms_dataset_trace(&set, 2, &numbers, &trace, &err), &err);
    assert_int_equal(table.name_count, 4);
    assert_int_equal(table.gram_count, 12);
    assert_true(trace.calls == numbers.calls && trace.n == 2);
    assert_true(trace.grams.grams == numbers.grams && trace.grams.n == 3);
    ms_row_numbers_release(&numbers);
    ms_dataset_release(&set);
}

static void only_what_was_asked_for(void **state)
{
    struct fixture *fixture = *state;
    struct ms_dataset sets[4];
    put_programs(fixture->corpus, PROGRAMS, 4, "");
    for (int i = 0; i < 4; i++) {
        load(fixture->corpus, i & 1, i & 2, 2, &sets[i]);
        assert_int_equal(sets[i].rows[0].pack.runs, i & 1);
        assert_int_equal(sets[i].rows[0].pack.grams, i >> 1);
        assert_int_equal(sets[i].grams != NULL, i >> 1);
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(sets[i].digest, sets[k].digest, MS_SHA256_BYTES);
    }
    for (int i = 0; i < 4; i++)
        ms_dataset_release(&sets[i]);
}

static void same_set(const struct ms_dataset *a, const struct ms_dataset *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->gram_count, b->gram_count);
    assert_memory_equal(a->digest, b->digest, MS_SHA256_BYTES);
    assert_memory_equal(a->grams, b->grams, a->gram_count * sizeof *a->grams);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->rows[i].pack.gram_n, b->rows[i].pack.gram_n);
        assert_int_equal(a->rows[i].pack.len, b->rows[i].pack.len);
        assert_memory_equal(a->rows[i].pack.bytes, b->rows[i].pack.bytes, a->rows[i].pack.len);
    }
}

/* Many programs, so that threads get in each other's way. */
static void any_jobs(void **state)
{
    struct fixture *fixture = *state;
    struct program programs[60];
    char calls[60][40];
    struct ms_dataset first, other;
    for (size_t i = 0; i < 60; i++) {
        for (size_t k = 0; k < 39; k++)
            calls[i][k] = (char)('a' + (i * 7 + k * k * (i % 5 + 1)) % 11);
        calls[i][39] = '\0';
        programs[i] =
            (struct program){(uint8_t)(3 * i + 1), i % 2 ? "malicious" : "benign", calls[i]};
    }
    put_programs(fixture->corpus, programs, 60, "");
    load(fixture->corpus, true, true, 1, &first);
    for (unsigned jobs = 2; jobs < 9; jobs++) {
        load(fixture->corpus, true, true, jobs, &other);
        same_set(&first, &other);
        ms_dataset_release(&other);
    }
    ms_dataset_release(&first);
}

/* The same programs in another order, with other ids for the calls. */
static void any_ids(void **state)
{
    struct fixture *fixture = *state, other = {0};
    struct ms_dataset here, there;
    struct ms_error err;
    const struct program turned[] = {PROGRAMS[3], PROGRAMS[2], PROGRAMS[1], PROGRAMS[0]};
    put_programs(fixture->corpus, PROGRAMS, 4, "");
    (void)snprintf(other.dir, sizeof other.dir, "%s/other", fixture->root);
    assert_ok(ms_corpus_open(other.dir, MS_CORPUS_CREATE, &other.corpus, &err), &err);
    put_programs(other.corpus, turned, 4, "zDxcyb");
    load(fixture->corpus, true, true, 1, &here);
    load(other.corpus, true, true, 1, &there);
    same_set(&here, &there);
    ms_dataset_release(&here);
    ms_dataset_release(&there);
    ms_corpus_close(other.corpus);
}

/* What differs behind the cut of the view shows in the digest with n-grams, and not in that
 * without. */
static void behind_the_cut(void **state)
{
    struct fixture *fixture = *state;
    struct ms_dataset plain, with, plain_other, with_other;
    struct fixture other = {0};
    struct ms_error err;
    const struct program first[] = {{10, "malicious", "abcdef"}, {20, "benign", "bb"}},
                         second[] = {{10, "malicious", "abcdeg"}, {20, "benign", "bb"}};
    put_programs(fixture->corpus, first, 2, "");
    (void)snprintf(other.dir, sizeof other.dir, "%s/other", fixture->root);
    assert_ok(ms_corpus_open(other.dir, MS_CORPUS_CREATE, &other.corpus, &err), &err);
    put_programs(other.corpus, second, 2, "");
    load(fixture->corpus, false, false, 1, &plain);
    load(other.corpus, false, false, 1, &plain_other);
    load(fixture->corpus, false, true, 1, &with);
    load(other.corpus, false, true, 1, &with_other);
    assert_memory_equal(plain.digest, plain_other.digest, MS_SHA256_BYTES);
    assert_memory_not_equal(with.digest, with_other.digest, MS_SHA256_BYTES);
    ms_dataset_release(&plain);
    ms_dataset_release(&plain_other);
    ms_dataset_release(&with);
    ms_dataset_release(&with_other);
    ms_corpus_close(other.corpus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(by_hand), fixture_test(only_what_was_asked_for), fixture_test(any_jobs),
        fixture_test(any_ids), fixture_test(behind_the_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

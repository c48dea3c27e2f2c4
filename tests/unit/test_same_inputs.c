/* One report, twice: imported into a corpus and read as a dataset's row, and read for a verdict.
 * What a model is shown must be the same. */
#include "store_rows.h"

#include "base/rng.h"
#include "base/worker.h"
#include "detect/trace_input.h"
#include "extract/ingest.h"
#include "store/label.h"
#include "train/dataset.h"

enum { REPORTS = 8 };

static const char *const NAMES[] = {"NtClose",       "ntclose",     "NtOpenKey",   "ZwOpenKey",
                                    "CreateFileW",   "CreateFileA", "send",        "__exception__",
                                    "RegOpenKeyExW", "Sleep",       "caf\xc3\xa9", "connect"};

/* A report in Cuckoo's form with what the rules look at: processes that come late, without a time
 * or untracked, pseudo-calls, repetitions, names that fold to one. */
static void write_report(uint8_t number, struct ms_buf *out)
{
    struct ms_rng rng;
    ms_rng_init(&rng, 5, 6, number);
    ms_buf_init(out, 1 << 20);
    (void)ms_buf_append_text(out, "{\"info\": {\"version\": \"2.0.7\", \"id\": 1}, \"target\": "
                                  "{\"category\": \"file\", \"file\": {\"sha256\": \"");
    for (int i = 0; i < 32; i++)
        (void)ms_buf_printf(out, "%02x", 16 * number + 1);
    (void)ms_buf_append_text(out, "\"}}, \"behavior\": {\"processes\": [");
    uint64_t processes = 1 + ms_rng_below(&rng, 5);
    for (uint64_t p = 0; p < processes; p++) {
        (void)ms_buf_printf(out,
                            "%s{\"pid\": %u, \"ppid\": 1, \"process_name\": \"p.exe\", \"track\": "
                            "%s, \"first_seen\": %u, \"calls\": [",
                            p ? ", " : "", (unsigned)p + 5, p && p % 3 == 0 ? "false" : "true",
                            1700000000 + (unsigned)ms_rng_below(&rng, 4));
        uint64_t calls = p ? ms_rng_below(&rng, 200) : 60;
        double now = 1700000000;
        for (uint64_t c = 0; c < calls; c++) {
            uint64_t kinds = c % 50 < 25 ? 12 : 4; /* runs and loops */
            now += (double)ms_rng_below(&rng, 3) / 8;
            (void)ms_buf_printf(out,
                                "%s{\"api\": \"%s\", \"category\": \"x\", \"tid\": 3, \"time\": "
                                "%.3f, \"repeated\": %u}",
                                c ? ", " : "", NAMES[ms_rng_below(&rng, kinds)], now,
                                (unsigned)(ms_rng_below(&rng, 4) ? 0 : ms_rng_below(&rng, 300)));
        }
        (void)ms_buf_append_text(out, "]}");
    }
    (void)ms_buf_append_text(out, "]}}\n");
    assert_false(out->failed);
}

static int report_file(uint8_t number)
{
    struct ms_buf text;
    struct ms_error err;
    int fd = -1;
    write_report(number, &text);
    assert_ok(ms_file_memory("report", &fd, &err), &err);
    assert_ok(ms_file_write_all(fd, text.data, text.len, &err), &err);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    ms_buf_release(&text);
    return fd;
}

static struct ms_worker *start_worker(void)
{
    static struct ms_worker_kind kinds[16]; /* referred to as long as the worker lives */
    struct ms_worker *worker = NULL;
    struct ms_error err;
    assert_true(ms_extract_kind_count < 15);
    memcpy(kinds, ms_extract_kinds, ms_extract_kind_count * sizeof *kinds);
    kinds[ms_extract_kind_count] = ms_detect_kind;
    kinds[ms_extract_kind_count + 1] = ms_detect_plain_kind;
    const struct ms_worker_options options = {.kinds = kinds,
                                              .kind_count = ms_extract_kind_count + 2};
    assert_ok(ms_worker_start(&options, &worker, &err), &err);
    return worker;
}

static void import(struct ms_corpus *corpus, struct ms_worker *worker, uint8_t number)
{
    const struct ms_ingest ingest = {.corpus = corpus, .worker = worker};
    struct ms_ingest_outcome outcome;
    struct ms_analysis analysis;
    struct ms_error err;
    bool changed;
    int fd = report_file(number);
    assert_ok(ms_ingest_report(&ingest, fd, 0, &outcome, &err), &err);
    assert_string_equal(outcome.state, "ok");
    assert_ok(ms_analysis_get(corpus, outcome.analysis, &analysis, &err), &err);
    const struct ms_label label = {.sample = analysis.sample,
                                   .policy = "dataset:test",
                                   .verdict = number % 2 ? "malicious" : "benign",
                                   .margin = -1,
                                   .positives = -1,
                                   .responding = -1,
                                   .groups = -1,
                                   .family_votes = -1,
                                   .family_verified = -1};
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    assert_ok(ms_label_put(corpus, &label, 1, 0, &changed, &err), &err);
    assert_ok(ms_corpus_commit(corpus, &err), &err);
    ms_analysis_release(&analysis);
    close(fd);
}

static enum ms_status keep_it(void *ctx, const struct ms_read_trace *trace, bool last,
                              struct ms_error *err)
{
    (void)ctx;
    (void)trace;
    (void)err;
    assert_true(last);
    return MS_OK;
}

static void same_trace(const struct ms_dataset *set, size_t row, const struct ms_read_trace *trace)
{
    struct ms_row_numbers numbers = {0};
    const struct ms_row_numbers *r = &numbers;
    struct ms_error err;
    assert_ok(ms_row_unpack(&set->rows[row].pack, &numbers, &err), &err);
    assert_int_equal(trace->state, MS_REPORT_OK);
    assert_int_equal(trace->whole_length, set->rows[row].whole_length);
    assert_int_equal(trace->n, r->n);
    for (size_t i = 0; i < r->n; i++)
        assert_true(ms_span_equal(set->names[r->calls[i]], trace->names[trace->symbols[i]]) &&
                    ms_span_equal(trace->calls[i], trace->names[trace->symbols[i]]));
    assert_memory_equal(trace->run_lengths, r->run_lengths, r->n * sizeof *r->run_lengths);
    assert_memory_equal(trace->run_counts, r->run_counts, r->n * sizeof *r->run_counts);
    assert_int_equal(trace->gram_count, r->gram_n);
    for (size_t i = 0; i < r->gram_n; i++) {
        struct ms_gram a = set->grams[r->grams[i]], b = trace->grams[i];
        assert_int_equal(ms_gram_length(a), ms_gram_length(b));
        for (uint32_t k = 0; k < ms_gram_length(a); k++)
            assert_true(ms_span_equal(set->names[a.symbol[k]], trace->names[b.symbol[k]]));
    }
    ms_row_numbers_release(&numbers);
}

static void same_row(const struct ms_input_row *a, const struct ms_input_row *b, size_t tables)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->known, b->known);
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->tokens, b->tokens, a->n * sizeof *a->tokens);
    assert_memory_equal(a->features, b->features, a->n * tables * sizeof *a->features);
    assert_memory_equal(a->ids, b->ids, a->count * sizeof *a->ids);
    assert_memory_equal(a->values, b->values, a->count * sizeof *a->values);
}

/* A vocabulary and n-grams of the first rows, so that others hold what these do not know. */
static void make_recipe(const struct ms_dataset *set, struct ms_input_recipe *recipe)
{
    struct ms_vocabulary *v = NULL;
    struct ms_ngrams *n = NULL;
    struct ms_row_numbers numbers = {0};
    struct ms_error err;
    const struct ms_gram_table table = ms_dataset_table(set);
    uint32_t *rows_with = calloc(table.gram_count + 1u, sizeof *rows_with);
    assert_non_null(rows_with);
    assert_ok(ms_vocabulary_new(MS_VOCABULARY_NAME, true, &v, &err), &err);
    for (size_t i = 0; i < set->count / 2; i++) {
        assert_ok(ms_row_unpack(&set->rows[i].pack, &numbers, &err), &err);
        for (size_t k = 0; k < numbers.gram_n; k++)
            rows_with[numbers.grams[k]]++;
        for (size_t k = 0; k < numbers.n; k += 2)
            assert_ok(ms_vocabulary_count(v, set->names[numbers.calls[k]], 1, &err), &err);
    }
    ms_row_numbers_release(&numbers);
    assert_ok(ms_vocabulary_finish(v, 0, &err), &err);
    recipe->options =
        (struct ms_input_options){true, true, 512, 512, true, {3, 2, 5000, true, true}};
    assert_ok(ms_ngrams_build(&recipe->options.ngrams, &table, rows_with, set->count / 2, &n, &err),
              &err);
    free(rows_with);
    assert_true(ms_ngrams_size(n) > 20);
    recipe->vocabulary = v;
    recipe->ngrams = n;
}

static void make(const struct ms_input_recipe *recipe, struct ms_gram_table table,
                 struct ms_input_trace trace, struct ms_input_row *row)
{
    struct ms_input_maker *maker = NULL;
    struct ms_error err;
    assert_ok(ms_input_maker_new(recipe, &table, &maker, &err), &err);
    assert_ok(ms_input_row_make(maker, &trace, row, &err), &err);
    ms_input_maker_free(maker);
}

static void compare(struct ms_corpus *corpus, struct ms_worker *worker,
                    const struct ms_normal_options *view)
{
    struct ms_dataset set;
    struct ms_read_trace trace;
    struct ms_input_row here = {0}, there = {0};
    struct ms_row_numbers numbers = {0};
    struct ms_input_trace kept;
    struct ms_error err;
    const struct ms_dataset_request request = {.target = {MS_TARGET_MALWARE, NULL},
                                               .target_text = "malware",
                                               .policy = "dataset:test",
                                               .view = *view,
                                               .min_calls = 1,
                                               .want_runs = true,
                                               .want_grams = true,
                                               .jobs = 2};
    assert_ok(ms_dataset_load(corpus, &request, &set, &err), &err);
    assert_int_equal(set.count, REPORTS);
    struct ms_input_recipe recipe = {.cut = view->cut, .steps = 30};
    make_recipe(&set, &recipe);
    ms_read_trace_init(&trace);
    for (uint8_t i = 0; i < REPORTS; i++) { /* keys rise with the numbers */
        int fd = report_file(i);
        assert_ok(ms_read_traces(worker, fd, view, &trace, keep_it, NULL, &err), &err);
        close(fd);
        same_trace(&set, i, &trace);
        assert_ok(ms_dataset_trace(&set, i, &numbers, &kept, &err), &err);
        make(&recipe, ms_dataset_table(&set), kept, &here);
        make(&recipe, ms_read_trace_table(&trace), ms_read_trace_input(&trace), &there);
        assert_true(here.n > 0 && here.count > 0);
        same_row(&here, &there, 4);
    }
    ms_read_trace_release(&trace);
    ms_input_row_release(&here);
    ms_input_row_release(&there);
    ms_row_numbers_release(&numbers);
    ms_vocabulary_free((struct ms_vocabulary *)(uintptr_t)recipe.vocabulary);
    ms_ngrams_free((struct ms_ngrams *)(uintptr_t)recipe.ngrams);
    ms_dataset_release(&set);
}

static void same_inputs(void **state)
{
    struct fixture *fixture = *state;
    struct ms_worker *worker = start_worker();
    static const struct ms_normal_options views[] = {
        {.expand = true, .collapse = 1, .once = true, .length = 400},
        {.fold_case = true, .expand = true, .collapse = 2, .length = 50, .cut = MS_CUT_TAIL},
        {.fold_case = true,
         .fold_suffix = true,
         .fold_native = true,
         .keep_pseudo = true,
         .collapse = 1,
         .loops = 4,
         .length = 41,
         .cut = MS_CUT_MIDDLE},
        {.order = MS_ORDER_TIME, .fold_suffix = true, .expand = true, .collapse = 3, .length = 100},
    };
    for (uint8_t i = 0; i < REPORTS; i++)
        import(fixture->corpus, worker, i);
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        compare(fixture->corpus, worker, &views[i]);
    ms_worker_stop(worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {fixture_test(same_inputs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

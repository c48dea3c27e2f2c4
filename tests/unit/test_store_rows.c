/* What is known of samples: analyses, scans, labels, the ledger, datasets; and its removal. */
#include "store/analysis.h"
#include "store/dataset.h"
#include "store/internal.h"
#include "store/label.h"
#include "store/sample.h"
#include "store/vault.h"
#include "store_rows.h"

static void test_analysis(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_analysis analysis;
    struct ms_error err;
    uint8_t report[32];
    int64_t found_id;
    bool found;
    int n = 0;
    memset(report, 3, 32);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    int64_t sample = add_sample(corpus, 1);
    int64_t id = add_analysis(corpus, sample, 0, 3);
    assert_ok(ms_analysis_find_report(corpus, report, &found, &found_id, &err), &err);
    assert_true(found);
    assert_int_equal(found_id, id);
    assert_ok(ms_analysis_get(corpus, id, &analysis, &err), &err);
    assert_string_equal(analysis.sandbox, "cape");
    assert_null(analysis.reason);
    assert_int_equal(analysis.sample, sample);
    struct ms_analysis changed = analysis;
    changed.state = "no_calls";
    changed.reason = "nothing";
    changed.calls = 0;
    assert_ok(ms_analysis_update(corpus, &changed, 11, &err), &err);
    ms_analysis_release(&analysis);
    assert_ok(ms_analysis_get(corpus, id, &analysis, &err), &err);
    assert_string_equal(analysis.reason, "nothing");
    ms_analysis_release(&analysis);
    assert_ok(ms_analysis_foreach(corpus, "no_calls", NULL, count_ids, &n, &err), &err);
    assert_ok(ms_analysis_foreach(corpus, "no_calls", "http://127.0.0.1", count_ids, &n, &err),
              &err);
    assert_ok(ms_analysis_foreach(corpus, "no_calls", "http://other", count_ids, &n, &err), &err);
    assert_ok(ms_analysis_foreach(corpus, "ok", NULL, count_ids, &n, &err), &err);
    assert_int_equal(n, 2);
    assert_int_equal(ms_analysis_get(corpus, 999, &analysis, &err), MS_REJECT);
    ms_corpus_rollback(corpus);
}

static enum ms_status check_process(void *ctx, const struct ms_process_row *process,
                                    struct ms_error *err)
{
    (void)err;
    assert_int_equal(process->ord, *(int *)ctx);
    ++*(int *)ctx;
    assert_int_equal(process->pid, UINT64_MAX);
    assert_int_equal(process->name.len, 3);
    assert_memory_equal(process->name.data, "\0\xff!", 3);
    assert_int_equal(process->first_seen_us, MS_TIME_NONE);
    assert_int_equal(process->trace.len, 0);
    assert_false(process->tracked);
    return MS_OK;
}

static void test_processes_and_apis(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    char longest[3000];
    uint32_t first, second, third;
    int n = 0;
    memset(longest, 'x', sizeof longest);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    int64_t id = add_analysis(corpus, add_sample(corpus, 1), 0, 3);
    for (int64_t ord = 2; ord >= 0; ord--) {
        struct ms_process_row process = {.analysis = id,
                                         .ord = ord,
                                         .pid = UINT64_MAX,
                                         .name = ms_span_of("\0\xff!", 3),
                                         .first_seen_us = MS_TIME_NONE};
        assert_ok(ms_process_insert(corpus, &process, &err), &err);
    }
    assert_ok(ms_process_foreach(corpus, id, check_process, &n, &err), &err);
    assert_int_equal(n, 3);
    assert_ok(ms_process_remove(corpus, id, &err), &err);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM process"), 0);

    struct ms_span none = {NULL, 0};
    assert_ok(
        ms_api_intern(corpus, MS_API_CALL, text_span("NtClose"), text_span("system"), &first, &err),
        &err);
    assert_ok(ms_api_intern(corpus, MS_API_SYSCALL, text_span("NtClose"), none, &second, &err),
              &err);
    assert_int_not_equal(first, second);
    assert_ok(ms_api_intern(corpus, MS_API_CALL, text_span("NtClose"), none, &third, &err), &err);
    assert_int_equal(first, third);
    assert_ok(ms_api_intern(corpus, MS_API_CALL, ms_span_of("a\0b\n", 4), none, &third, &err),
              &err);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM api WHERE name = 'a\\x00b\\n'"), 1);
    assert_ok(
        ms_api_intern(corpus, MS_API_CALL, ms_span_of(longest, sizeof longest), none, &third, &err),
        &err);
    assert_true(scalar(corpus, "SELECT max(length(name)) FROM api") <= 256);
    ms_corpus_rollback(corpus);
}

static void test_scans(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    struct ms_buf body;
    struct ms_scan scan = {.source = "virustotal", .asked = "00", .fetched_ms = 100};
    struct ms_scan back;
    int64_t id;
    bool any = true;
    ms_buf_init(&body, 1000);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    scan.sample = add_sample(corpus, 1);
    assert_int_equal(ms_scan_latest(corpus, scan.sample, 0, &back, &body, &err), MS_REJECT);
    assert_ok(ms_scan_any(corpus, &any, &err), &err);
    assert_false(any);
    scan.body = text_span("{\"old\": 1}");
    assert_ok(ms_scan_insert(corpus, &scan, 0, &id, &err), &err);
    assert_ok(ms_scan_any(corpus, &any, &err), &err);
    assert_true(any);
    scan.fetched_ms = 200;
    scan.body = text_span("{\"new\": 1}");
    assert_ok(ms_scan_insert(corpus, &scan, 0, &id, &err), &err);
    assert_ok(ms_scan_latest(corpus, scan.sample, 0, &back, &body, &err), &err);
    assert_string_equal(ms_buf_text(&body), "{\"new\": 1}");
    assert_int_equal(back.id, id);
    ms_buf_clear(&body);
    assert_ok(ms_scan_latest(corpus, scan.sample, 199, &back, &body, &err), &err);
    assert_string_equal(ms_buf_text(&body), "{\"old\": 1}");
    assert_int_equal(ms_scan_latest(corpus, scan.sample, 99, &back, &body, &err), MS_REJECT);
    assert_ok(ms_db_exec(corpus, "UPDATE scan SET body = x'28b52ffd00'", &err), &err);
    assert_int_equal(ms_scan_latest(corpus, scan.sample, 0, &back, &body, &err), MS_E_STORE);
    ms_buf_release(&body);
    ms_corpus_rollback(corpus);
}

/* The samples of a share that are due at 1000, "m" behind one asked by its md5. */
static const char *due(struct ms_corpus *corpus, enum ms_due_share share, struct ms_buf *out)
{
    struct ms_due items[8];
    struct ms_error err;
    size_t count;
    assert_ok(ms_due_pull(corpus, share, "p", 1000, NULL, items, 8, &count, &err), &err);
    ms_buf_clear(out);
    for (size_t i = 0; i < count; i++)
        (void)ms_buf_printf(out, "%lld%s ", (long long)items[i].lookup.sample,
                            strlen(items[i].hash) == 32 ? "m" : "");
    return ms_buf_text(out);
}

static void test_lookups(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    struct ms_buf order;
    struct ms_lookup_counts counts;
    int64_t ids[6];
    bool inserted;
    ms_buf_init(&order, 1000);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    for (uint8_t i = 1; i <= 6; i++) {
        struct ms_sample sample = sample_of((uint8_t)(10 * i));
        sample.private_ = i == 2;
        sample.has_sha256 = sample.has_sha1 = i != 3;
        assert_ok(ms_sample_upsert(corpus, &sample, 0, &ids[i - 1], &inserted, &err), &err);
    }
    int64_t by_name;
    assert_ok(ms_sample_by_alias(corpus, "d", text_span("1"), 0, &by_name, &inserted, &err), &err);
    assert_ok(ms_lookup_enqueue_all(corpus, &err), &err);
    assert_ok(ms_lookup_enqueue_all(corpus, &err), &err);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM lookup"), 5);
    struct ms_lookup lookup = {ids[0], "not_found", NULL, 1, 10, 500, 0, 0};
    assert_ok(ms_lookup_put(corpus, &lookup, &err), &err);
    lookup = (struct ms_lookup){ids[3], "labelled", NULL, 1, 10, 400, 0, 0};
    assert_ok(ms_lookup_put(corpus, &lookup, &err), &err);
    lookup = (struct ms_lookup){ids[4], "labelled", NULL, 1, 10, 9999, 0, 0};
    assert_ok(ms_lookup_put(corpus, &lookup, &err), &err);
    assert_string_equal(due(corpus, MS_SHARE_NEW, &order), "3m 6 ");
    assert_string_equal(due(corpus, MS_SHARE_AGAIN, &order), "4 ");
    assert_string_equal(due(corpus, MS_SHARE_UNKNOWN, &order), "1 ");
    lookup = (struct ms_lookup){ids[2], "invalid", "bad hash", 1, 10, 0, 0, 0};
    assert_ok(ms_lookup_put(corpus, &lookup, &err), &err);
    assert_string_equal(due(corpus, MS_SHARE_NEW, &order), "6 ");
    assert_ok(ms_lookup_count(corpus, &counts, &err), &err);
    assert_int_equal(counts.pending, 1);
    assert_int_equal(counts.labelled, 2);
    assert_int_equal(counts.not_found, 1);
    assert_int_equal(counts.invalid, 1);
    ms_buf_release(&order);
    ms_corpus_rollback(corpus);
}

static void test_labels(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    struct ms_label back;
    struct ms_label label = {.policy = "ember2024",
                             .verdict = "malicious",
                             .class_ = "Worm",
                             .margin = 3,
                             .positives = 40,
                             .responding = 70,
                             .groups = -1,
                             .as_of_ms = 5};
    bool changed;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    label.sample = add_sample(corpus, 1);
    assert_int_equal(ms_label_get(corpus, label.sample, "ember2024", &back, &err), MS_REJECT);
    assert_ok(ms_label_put(corpus, &label, 10, 0, &changed, &err), &err);
    assert_true(changed);
    assert_ok(ms_label_put(corpus, &label, 11, 0, &changed, &err), &err);
    assert_false(changed);
    label.class_ = NULL;
    assert_ok(ms_label_put(corpus, &label, 12, 0, &changed, &err), &err);
    assert_true(changed);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM label"), 2);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM label WHERE current"), 1);
    assert_ok(ms_label_get(corpus, label.sample, "ember2024", &back, &err), &err);
    assert_string_equal(back.verdict, "malicious");
    assert_null(back.class_);
    assert_int_equal(back.positives, 40);
    assert_int_equal(back.groups, -1);
    ms_label_release(&back);
    ms_corpus_rollback(corpus);
}

static void test_first_label(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    struct ms_label back;
    struct ms_label label = {.policy = "ember2024",
                             .verdict = "benign",
                             .margin = -1,
                             .positives = 0,
                             .responding = 60,
                             .groups = 0,
                             .as_of_ms = 7};
    bool changed = true;
    assert_int_equal(ms_label_put_first(corpus, &label, 1, 0, &err), MS_E_BUG);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    label.sample = add_sample(corpus, 3);
    assert_ok(ms_label_put_first(corpus, &label, 10, 0, &err), &err);
    assert_ok(ms_label_get(corpus, label.sample, "ember2024", &back, &err), &err);
    assert_string_equal(back.verdict, "benign");
    assert_int_equal(back.responding, 60);
    ms_label_release(&back);
    assert_ok(ms_label_put(corpus, &label, 11, 0, &changed, &err), &err);
    assert_false(changed); /* it is the same row that the looking way would have put */
    label.verdict = "malicious";
    assert_int_equal(ms_label_put_first(corpus, &label, 12, 0, &err), MS_E_STORE);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM label"), 1);
    ms_corpus_rollback(corpus);
}

static void test_ledger(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    struct ms_quota_window window = {"day", 500, 3, 42};
    uint64_t count;
    int64_t id, sent;
    bool found;
    for (int64_t t = 1000; t <= 5000; t += 1000) {
        assert_ok(ms_request_reserve(corpus, "k1", "files", "abc", t, true, &id, &err), &err);
        assert_ok(ms_request_reserve(corpus, "k2", "files", "abc", t + 1, true, &id, &err), &err);
    }
    assert_ok(ms_request_reserve(corpus, "k1", "overall_quotas", NULL, 9000, false, &id, &err),
              &err);
    assert_ok(ms_request_count(corpus, "k1", 2000, 4000, &count, &err), &err);
    assert_int_equal(count, 3); /* the one sent before has no answer yet: it may arrive inside */
    assert_ok(ms_request_settle(corpus, 1, 1500, 200, NULL, true, &err), &err);
    assert_ok(ms_request_count(corpus, "k1", 2000, 4000, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_ok(ms_request_settle(corpus, 1, 2001, 200, NULL, true, &err), &err);
    assert_ok(ms_request_count(corpus, "k1", 2000, 4000, &count, &err), &err);
    assert_int_equal(count, 3); /* answered inside: booked on either side */
    assert_ok(ms_request_count(corpus, "k1", 70000, INT64_MAX, &count, &err), &err);
    assert_int_equal(count, 0); /* nothing is on its way for longer than a minute */
    assert_ok(ms_request_nth_newest(corpus, "k1", 1, &sent, &err), &err);
    assert_int_equal(sent, 5000);
    assert_ok(ms_request_nth_newest(corpus, "k1", 4, &sent, &err), &err);
    assert_int_equal(sent, 2000);
    assert_ok(ms_request_nth_newest(corpus, "k1", 6, &sent, &err), &err);
    assert_int_equal(sent, 0);
    /* A request that turns out not to count. */
    assert_ok(ms_request_settle(corpus, 1, 1100, 503, "TransientError", false, &err), &err);
    assert_ok(ms_request_count(corpus, "k1", 0, INT64_MAX, &count, &err), &err);
    assert_int_equal(count, 4);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM request WHERE status = 503"), 1);

    assert_ok(ms_quota_get(corpus, "k1", "day", &found, &window, &err), &err);
    assert_false(found);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    assert_int_equal(ms_request_reserve(corpus, "k1", "files", "abc", 1, true, &id, &err),
                     MS_E_BUG);
    assert_ok(ms_quota_put(corpus, "k1", &window, &err), &err);
    window.used = 4;
    assert_ok(ms_quota_put(corpus, "k1", &window, &err), &err);
    assert_ok(ms_corpus_commit(corpus, &err), &err);
    window = (struct ms_quota_window){0};
    assert_ok(ms_quota_get(corpus, "k1", "day", &found, &window, &err), &err);
    assert_true(found);
    assert_int_equal(window.allowed, 500);
    assert_int_equal(window.used, 4);
    /* What was reserved survives a kill: it is committed already. */
    fixture_reopen(fixture, MS_CORPUS_READ);
    assert_int_equal(scalar(fixture->corpus, "SELECT count(*) FROM request"), 11);
}

static void put_object(struct ms_corpus *corpus, enum ms_vault_kind kind, const char *text,
                       uint8_t sha256[32])
{
    struct ms_vault_write *write;
    struct ms_error err;
    uint64_t size;
    bool existed;
    assert_ok(ms_vault_begin(corpus, kind, &write, &err), &err);
    assert_ok(ms_vault_append(write, text, strlen(text), &err), &err);
    assert_ok(ms_vault_commit(write, sha256, &size, &existed, &err), &err);
}

static void test_forget_sample(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    struct ms_sample sample = sample_of(1), other = sample_of(50), collision = sample_of(70);
    struct ms_analysis analysis = {.sandbox = "cape", .state = "ok", .has_report = true};
    struct ms_scan scan = {
        .source = "virustotal", .asked = "ab", .fetched_ms = 1, .body = text_span("{}")};
    struct ms_label label = {
        .policy = "ember2024", .verdict = "benign", .as_of_ms = 1, .margin = -1};
    int64_t id, other_id, row, analysis_id;
    bool inserted, changed;
    put_object(corpus, MS_VAULT_SAMPLE, "evil", sample.digests.sha256);
    put_object(corpus, MS_VAULT_REPORT, "report", analysis.report_sha256);
    assert_ok(ms_request_reserve(corpus, "k", "files", "ab", 1, true, &row, &err), &err);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    assert_ok(ms_sample_upsert(corpus, &sample, 0, &id, &inserted, &err), &err);
    assert_ok(ms_sample_upsert(corpus, &other, 0, &other_id, &inserted, &err), &err);
    put_sighting(corpus, id, add_origin(corpus, "o/r"), 1, "x");
    assert_ok(ms_sample_add_alias(corpus, id, "dataset:d", text_span("7"), &err), &err);
    assert_ok(ms_sample_add_alias(corpus, id, "cape", text_span("setup.exe"), &err), &err);
    analysis.sample = scan.sample = label.sample = id;
    assert_ok(ms_analysis_insert(corpus, &analysis, 1, 0, &analysis_id, &err), &err);
    assert_ok(ms_scan_insert(corpus, &scan, 0, &label.scan, &err), &err);
    assert_ok(ms_label_put(corpus, &label, 1, 0, &changed, &err), &err);
    assert_ok(ms_corpus_commit(corpus, &err), &err);

    assert_ok(ms_forget_sample(corpus, id, 0, &err), &err);
    assert_false(ms_vault_has(corpus, MS_VAULT_SAMPLE, sample.digests.sha256));
    assert_false(ms_vault_has(corpus, MS_VAULT_REPORT, analysis.report_sha256));
    static const char *const empty[] = {"alias", "sighting", "analysis", "scan", "label"};
    for (size_t i = 0; i < 5; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", empty[i]);
        assert_int_equal(scalar(corpus, sql), 0);
    }
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM request WHERE subject IS NULL"), 1);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sample"), 1);
    assert_int_equal(ms_forget_sample(corpus, id, 0, &err), MS_REJECT);

    /* It stays out under each of its names, but keeps nobody else out. */
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    assert_int_equal(ms_sample_upsert(corpus, &sample, 0, &row, &inserted, &err), MS_REJECT);
    memcpy(collision.digests.md5, sample.digests.md5, 16);
    assert_ok(ms_sample_upsert(corpus, &collision, 0, &row, &inserted, &err), &err);
    sample.has_sha256 = sample.has_sha1 = false;
    assert_int_equal(ms_sample_upsert(corpus, &sample, 0, &row, &inserted, &err), MS_REJECT);
    assert_int_equal(
        ms_sample_by_alias(corpus, "dataset:d", text_span("7"), 0, &row, &inserted, &err),
        MS_REJECT);
    assert_ok(ms_sample_by_alias(corpus, "cape", text_span("setup.exe"), 0, &row, &inserted, &err),
              &err);
    ms_corpus_rollback(corpus);
}

static void test_forget_origin(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    struct ms_blob blob = {.outcome = "ok"};
    struct ms_origin origin = {.kind = "github", .name = "o/r"};
    uint64_t samples = 0;
    int64_t row;
    memset(blob.git_id, 1, 20);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    int64_t first = add_origin(corpus, "o/r"), second = add_origin(corpus, "o/s");
    int64_t only = add_sample(corpus, 1), both = add_sample(corpus, 50);
    assert_ok(ms_blob_put(corpus, &blob, 1, 0, &err), &err);
    put_sighting(corpus, only, first, 1, "a");
    put_sighting(corpus, both, first, 2, "b");
    put_sighting(corpus, both, second, 2, "b");
    add_analysis(corpus, both, first, 3);
    add_analysis(corpus, both, second, 4);
    assert_ok(ms_corpus_commit(corpus, &err), &err);
    assert_int_equal(ms_forget_origin(corpus, "none", 0, &samples, &err), MS_REJECT);
    assert_false(ms_corpus_in_transaction(corpus));
    assert_ok(ms_forget_origin(corpus, "o/r", 0, &samples, &err), &err);
    assert_int_equal(samples, 1);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sample"), 1);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sighting"), 1);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM analysis"), 1);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM blob"), 0);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    assert_int_equal(ms_origin_open(corpus, &origin, &row, &err), MS_REJECT);
    origin.name = "o/t";
    assert_ok(ms_origin_open(corpus, &origin, &row, &err), &err);
    add_sample(corpus, 1);
    ms_corpus_rollback(corpus);
}

static enum ms_status show_labelled(void *ctx, const struct ms_labelled *row, struct ms_error *err)
{
    (void)err;
    (void)ms_buf_printf(ctx, "%lld:%lld:%s:%s:", (long long)row->sample, (long long)row->analysis,
                        row->verdict, row->class_ ? row->class_ : "-");
    (void)ms_buf_append(ctx, row->alias.data ? (const void *)row->alias.data : "", row->alias.len);
    return ms_buf_append_byte(ctx, row->sha256.data ? '#' : ' ');
}

static void test_datasets(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    struct ms_buf shown;
    struct ms_label label = {.verdict = "malicious", .as_of_ms = 1};
    int64_t by_name, dataset, again;
    bool changed, inserted;
    ms_buf_init(&shown, 1000);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    int64_t sample = add_sample(corpus, 1);
    struct ms_sample hidden = sample_of(60);
    int64_t hidden_id;
    hidden.private_ = true;
    assert_ok(ms_sample_upsert(corpus, &hidden, 0, &hidden_id, &inserted, &err), &err);
    assert_ok(ms_sample_by_alias(corpus, "d", text_span("row 1"), 0, &by_name, &inserted, &err),
              &err);
    const int64_t all[] = {sample, hidden_id, by_name};
    for (size_t i = 0; i < 3; i++) {
        label.sample = all[i];
        label.policy = "ember2024";
        label.class_ = NULL;
        assert_ok(ms_label_put(corpus, &label, 1, 0, &changed, &err), &err);
        label.policy = "dataset:d";
        label.class_ = "Worm";
        if (i == 2)
            assert_ok(ms_label_put(corpus, &label, 1, 0, &changed, &err), &err);
    }
    add_analysis(corpus, sample, 0, 3);
    int64_t newest = add_analysis(corpus, sample, 0, 4);
    add_analysis(corpus, hidden_id, 0, 5);
    add_analysis(corpus, by_name, 0, 6);
    const struct ms_labelled_query any = {NULL, false, false}, one = {"dataset:d", false, false};
    assert_ok(ms_labelled_foreach(corpus, &any, show_labelled, &shown, &err), &err);
    assert_string_equal(ms_buf_text(&shown), "1:2:malicious:-:#3:4:malicious:Worm:d:row 1 ");
    assert_int_equal(newest, 2);
    ms_buf_clear(&shown);
    assert_ok(ms_labelled_foreach(corpus, &one, show_labelled, &shown, &err), &err);
    assert_string_equal(ms_buf_text(&shown), "3:4:malicious:Worm:d:row 1 ");

    struct ms_dataset_row row = {
        .digest = {1}, .target = "malware", .policy = "p", .normalisation = "n"};
    assert_ok(ms_dataset_put(corpus, &row, 1, 0, &dataset, &err), &err);
    add_sample(corpus, 90);
    assert_ok(ms_dataset_put(corpus, &row, 2, 0, &again, &err), &err);
    assert_int_equal(dataset, again);
    assert_ok(ms_split_put(corpus, dataset, "s", row.digest, newest, 1, 7, &err), &err);
    assert_ok(ms_split_put(corpus, dataset, "s", row.digest, newest, 0, 7, &err), &err);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM split WHERE part = 0"), 1);
    assert_ok(ms_model_put(corpus, "m", dataset, "s", row.digest, "models/m", "{}", 1, 0, &err),
              &err);
    assert_ok(ms_model_put(corpus, "m", dataset, "s", row.digest, "models/m2", "{}", 1, 0, &err),
              &err);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM model WHERE path = 'models/m2'"), 1);
    ms_buf_release(&shown);
    ms_corpus_rollback(corpus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_analysis),      fixture_test(test_processes_and_apis),
        fixture_test(test_scans),         fixture_test(test_lookups),
        fixture_test(test_labels),        fixture_test(test_first_label),
        fixture_test(test_ledger),        fixture_test(test_forget_sample),
        fixture_test(test_forget_origin), fixture_test(test_datasets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

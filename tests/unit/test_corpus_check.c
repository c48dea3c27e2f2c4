/* The canonical digest (what it must and must not depend on) and fsck (what it finds and mends). */
#include "base/hash.h"
#include "store/analysis.h"
#include "store/dataset.h"
#include "store/internal.h"
#include "store/label.h"
#include "store/query.h"
#include "store/run.h"
#include "store/sample.h"
#include "store/trace/encode.h"
#include "store/vault.h"
#include "store_fixture.h"

enum { WORLD_SAMPLES = 4, WORLD_APIS = 5 };

static struct ms_span span_of_text(const char *text)
{
    return ms_span_of(text, strlen(text));
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

/* Where sample i was seen: an origin, a blob with a fault, a place in a tree. */
static int64_t add_place(struct ms_corpus *corpus, unsigned i, int64_t sample, const char *name,
                         int64_t now_ms)
{
    struct ms_error err;
    struct ms_sighting sighting = {
        .sample = sample, .path = ms_span_of("p", 1), .chain = ms_span_of("", 0)};
    struct ms_blob blob = {.outcome = "ok", .samples = 1};
    struct ms_origin place = {.kind = "github", .name = i % 2 ? "o/odd" : "o/even"};
    struct ms_origin crawled = {
        .state = "ok", .has_commit = true, .commit_bytes = 20, .checked_ms = now_ms};
    assert_ok(ms_origin_open(corpus, &place, &crawled.id, &err), &err);
    assert_ok(ms_origin_update(corpus, &crawled, &err), &err);
    memset(blob.git_id, (int)i, 20);
    memset(sighting.git_blob, (int)i, 20);
    assert_ok(ms_blob_put(corpus, &blob, now_ms, 0, &err), &err);
    assert_ok(ms_blob_fault_put(corpus, blob.git_id, ms_span_of("c", 1), "crash", "why", &err),
              &err);
    assert_ok(ms_tree_put(corpus, crawled.id, span_of_text(name), blob.git_id, 3, &err), &err);
    assert_ok(ms_origin_password_used(corpus, crawled.id, ms_span_of("infected", 8), &err), &err);
    sighting.origin = crawled.id;
    assert_ok(ms_sighting_put(corpus, &sighting, now_ms, 0, &err), &err);
    return crawled.id;
}

/* What sample i did: one process whose calls depend on i alone, whatever ids their names get. */
static void add_analysis(struct ms_corpus *corpus, unsigned i, struct ms_analysis *analysis,
                         const char *category, int64_t now_ms)
{
    struct ms_error err;
    struct ms_trace_encoder *encoder;
    struct ms_buf trace;
    uint32_t apis[WORLD_APIS];
    for (unsigned k = 0; k < WORLD_APIS; k++) {
        char name[16];
        snprintf(name, sizeof name, "Api%u", (i + k) % 7);
        assert_ok(ms_api_intern(corpus, MS_API_CALL, span_of_text(name), span_of_text(category),
                                &apis[k], &err),
                  &err);
    }
    assert_ok(ms_trace_encoder_new(&encoder, &err), &err);
    for (unsigned k = 0; k < 100 + i; k++) {
        struct ms_trace_call call = {apis[k * k % WORLD_APIS], 7, (int64_t)k, k % 13 == 0};
        assert_ok(ms_trace_encoder_add(encoder, &call, &err), &err);
    }
    struct ms_process_row process = {.pid = i,
                                     .first_seen_us = MS_TIME_NONE,
                                     .tracked = true,
                                     .calls = ms_trace_encoder_calls(encoder),
                                     .calls_expanded = ms_trace_encoder_expanded(encoder)};
    analysis->processes = 1;
    analysis->calls = (int64_t)process.calls;
    analysis->calls_expanded = (int64_t)process.calls_expanded;
    assert_ok(ms_analysis_insert(corpus, analysis, now_ms, 0, &process.analysis, &err), &err);
    ms_buf_init(&trace, 1 << 20);
    assert_ok(ms_trace_encoder_finish(encoder, &trace, &err), &err);
    process.trace = ms_span_of(trace.data, trace.len);
    assert_ok(ms_process_insert(corpus, &process, &err), &err);
    ms_buf_release(&trace);
    ms_trace_encoder_free(encoder);
}

/* Sample i with everything that hangs on it; the content depends on i alone. */
static void add_sample(struct ms_corpus *corpus, unsigned i, int64_t now_ms)
{
    char text[64];
    struct ms_error err;
    struct ms_sample sample = {.has_sha256 = true, .size = 10, .vaulted = true, .machine = -1};
    struct ms_analysis analysis = {.sandbox = "cape", .state = "ok", .has_report = true};
    struct ms_scan scan = {.source = "virustotal", .asked = "x", .fetched_ms = now_ms};
    struct ms_label label = {.policy = "ember2024", .verdict = "malicious", .as_of_ms = now_ms};
    struct ms_lookup lookup = {.state = "labelled", .asked_ms = now_ms, .due_ms = now_ms};
    int64_t alias_sample, id;
    bool inserted, changed;

    snprintf(text, sizeof text, "sample %u", i);
    put_object(corpus, MS_VAULT_SAMPLE, text, sample.digests.sha256);
    snprintf(text, sizeof text, "{\"report\": %u}", i);
    put_object(corpus, MS_VAULT_REPORT, text, analysis.report_sha256);
    assert_ok(ms_sample_upsert(corpus, &sample, 0, &id, &inserted, &err), &err);
    assert_ok(ms_sample_by_alias(corpus, "dataset:d", span_of_text(text), 0, &alias_sample,
                                 &inserted, &err),
              &err);
    analysis.sample = scan.sample = label.sample = lookup.sample = id;
    analysis.origin = add_place(corpus, i, id, text, now_ms);
    add_analysis(corpus, i, &analysis, text, now_ms);
    scan.body = span_of_text(text);
    assert_ok(ms_scan_insert(corpus, &scan, 0, &label.scan, &err), &err);
    assert_ok(ms_label_put(corpus, &label, now_ms, 0, &changed, &err), &err);
    assert_ok(ms_lookup_put(corpus, &lookup, &err), &err);
}

static void build(struct ms_corpus *corpus, bool backwards, int64_t now_ms)
{
    struct ms_error err;
    int64_t dataset;
    struct ms_dataset_row row = {
        .digest = {1}, .target = "malware", .policy = "p", .normalisation = "n"};
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    for (unsigned i = 0; i < WORLD_SAMPLES; i++)
        add_sample(corpus, backwards ? WORLD_SAMPLES - 1 - i : i, now_ms);
    assert_ok(ms_dataset_put(corpus, &row, now_ms, 0, &dataset, &err), &err);
    assert_ok(ms_db_exec(corpus,
                         "INSERT INTO split (dataset, name, analysis, part, grp) SELECT 1, 's', "
                         "id, 1, processes FROM analysis",
                         &err),
              &err);
    assert_ok(
        ms_model_put(corpus, "m", dataset, "s", row.digest, "models/m", "{}", now_ms, 0, &err),
        &err);
    assert_ok(ms_tombstone_put(corpus, "sample", "gone", 4, 0, &err), &err);
    assert_ok(ms_corpus_commit(corpus, &err), &err);
}

static void digest_of(struct ms_corpus *corpus, uint8_t out[32])
{
    struct ms_error err;
    assert_ok(ms_corpus_digest(corpus, out, &err), &err);
}

static void test_two_ways(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *other;
    struct ms_error err;
    uint8_t first[32], second[32], empty[32];
    char path[256];
    char *argv[] = {(char[]){"x"}};
    int64_t run;
    digest_of(fixture->corpus, empty);
    build(fixture->corpus, false, 1000);
    digest_of(fixture->corpus, first);
    assert_memory_not_equal(first, empty, 32);
    snprintf(path, sizeof path, "%s/other", fixture->root);
    assert_ok(ms_corpus_open(path, MS_CORPUS_CREATE, &other, &err), &err);
    assert_ok(ms_run_begin(other, "x", 1, argv, 1, &run, &err), &err);
    assert_ok(ms_request_reserve(other, "k", "files", "x", 5, true, &run, &err), &err);
    build(other, true, 2000);
    digest_of(other, second);
    assert_memory_equal(first, second, 32);
    ms_corpus_close(other);
    fixture_reopen(fixture, MS_CORPUS_READ);
    digest_of(fixture->corpus, second);
    assert_memory_equal(first, second, 32);
}

/* Changes the digest must see, and those it must not. */
static const char *const telling[] = {
    "UPDATE sample SET size = 11 WHERE id = 1",
    "UPDATE sample SET flags = 'signed' WHERE id = 1",
    "UPDATE sample SET private = 1 WHERE id = 1",
    "UPDATE alias SET source = 'other' WHERE sample = 2",
    "UPDATE origin SET claim = 'benign' WHERE id = 1",
    "UPDATE sighting SET password = x'00' WHERE id = 1",
    "UPDATE sighting SET gone_ms = 5 WHERE id = 1",
    "UPDATE blob SET outcome = 'crash' WHERE git_id = (SELECT min(git_id) FROM blob)",
    "UPDATE blob_fault SET detail = NULL",
    "UPDATE tree_entry SET size = NULL",
    "UPDATE origin_password SET password = x'41'",
    "DELETE FROM tombstone",
    "UPDATE analysis SET state = 'failed' WHERE id = 2",
    "UPDATE analysis SET sample = 1 WHERE id = 2",
    "UPDATE process SET pid = 99 WHERE id = 1",
    "UPDATE process SET trace = (SELECT trace FROM process WHERE id = 2) WHERE id = 1",
    "UPDATE process SET trace = x'00' WHERE id = 1",
    "UPDATE process SET first_seen_us = 0 WHERE id = 1",
    "UPDATE api SET name = 'Other' WHERE name = 'Api3'",
    "UPDATE scan SET body_sha256 = x'00' WHERE id = 1",
    "UPDATE lookup SET state = 'error' WHERE sample = 1",
    "UPDATE label SET verdict = 'benign' WHERE id = 1",
    "UPDATE label SET scan = NULL WHERE id = 1",
    "UPDATE label SET current = 0 WHERE id = 1",
    "INSERT INTO label_flip (sample, policy, seq, before, after, as_of_ms, scan)"
    " VALUES (1, 'ember2024', 1, 'benign', 'malicious', 1, 1)",
    "UPDATE dataset SET samples = 7",
    "UPDATE split SET part = 0 WHERE analysis = 1",
    "UPDATE model SET path = 'models/x'",
    "DELETE FROM sighting WHERE id = 1"};
static const char *const mute[] = {
    "UPDATE sighting SET seen_ms = 5",
    "UPDATE blob SET first_ms = 3, last_ms = 4",
    "UPDATE analysis SET updated_ms = 1, submitted_ms = 2, deadline_ms = 3, attempts = 4",
    "UPDATE label SET made_ms = 3",
    "UPDATE lookup SET due_ms = 4, tries = 9, asked_ms = 3",
    "UPDATE scan SET fetched_ms = 4",
    "UPDATE api SET category = 'x'",
    "INSERT INTO api (space, name) VALUES (0, 'unused')",
    "INSERT INTO request (key_print, endpoint, sent_ms) VALUES ('k', 'e', 1)"};
static void test_changes(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    uint8_t before[32], after[32];
    build(corpus, false, 1000);
    digest_of(corpus, before);
    for (size_t i = 0; i < sizeof telling / sizeof *telling; i++) {
        assert_ok(ms_corpus_begin(corpus, &err), &err);
        assert_ok(ms_db_exec(corpus, telling[i], &err), &err);
        digest_of(corpus, after);
        if (memcmp(before, after, 32) == 0)
            fail_msg("the digest does not see: %s", telling[i]);
        ms_corpus_rollback(corpus);
    }
    for (size_t i = 0; i < sizeof mute / sizeof *mute; i++) {
        assert_ok(ms_corpus_begin(corpus, &err), &err);
        assert_ok(ms_db_exec(corpus, mute[i], &err), &err);
        digest_of(corpus, after);
        if (memcmp(before, after, 32) != 0)
            fail_msg("the digest sees: %s", mute[i]);
        ms_corpus_rollback(corpus);
    }
    digest_of(corpus, after);
    assert_memory_equal(before, after, 32);
    put_object(corpus, MS_VAULT_REPORT, "one more", after);
    digest_of(corpus, after);
    assert_memory_not_equal(before, after, 32);
}

struct findings {
    struct ms_buf text; /* "where: what" a line, '!' in front when repaired */
    struct ms_fsck_counts counts;
};

static enum ms_status note(void *ctx, const char *where, const char *what, bool repaired,
                           struct ms_error *err)
{
    struct findings *findings = ctx;
    (void)err;
    return ms_buf_printf(&findings->text, "%s%s: %s\n", repaired ? "!" : "", where, what);
}

static const char *check(struct ms_corpus *corpus, bool repair, struct findings *findings)
{
    struct ms_error err;
    ms_buf_clear(&findings->text);
    assert_ok(ms_fsck_run(corpus, repair, note, findings, &findings->counts, &err), &err);
    return ms_buf_text(&findings->text);
}

static void test_fsck_clean(void **state)
{
    struct fixture *fixture = *state;
    struct findings findings = {.counts = {0}};
    ms_buf_init(&findings.text, 1 << 20);
    assert_string_equal(check(fixture->corpus, false, &findings), "");
    build(fixture->corpus, false, 1000);
    fixture_reopen(fixture, MS_CORPUS_READ);
    assert_string_equal(check(fixture->corpus, false, &findings), "");
    assert_int_equal(findings.counts.samples, WORLD_SAMPLES);
    assert_int_equal(findings.counts.reports, WORLD_SAMPLES);
    assert_int_equal(findings.counts.traces, WORLD_SAMPLES);
    assert_int_equal(findings.counts.findings, 0);
    ms_buf_release(&findings.text);
}

static void object_path(struct fixture *fixture, const char *folder, const uint8_t sha256[32],
                        char out[512])
{
    char hex[65];
    ms_hex_encode(sha256, 32, hex);
    snprintf(out, 512, "%s/%s/%.2s/%.2s/%s%s", fixture->dir, folder, hex, hex + 2, hex,
             *folder == 's' ? "" : ".zst");
}

static void expect_line(const char *text, const char *first, const char *second)
{
    const char *at = strstr(text, first);
    if (!at || !strstr(at, second))
        fail_msg("no '%s … %s' in:\n%s", first, second, text);
}

/* Everything that can be wrong with a vault: a flipped bit in an object, a row and an analysis
 * without their objects, an object whose row does not say so, one without a row, a stranger. */
struct ruin {
    char damaged[512];
    uint8_t orphan[32], adopted[32];
};

static void ruin_vault(struct fixture *fixture, struct ruin *ruin)
{
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    char path[512];
    uint8_t bytes[256], hash[32];
    assert_int_equal(ms_hash_sha256("sample 0", 8, hash), MS_OK);
    object_path(fixture, "samples", hash, ruin->damaged);
    size_t n = fixture_read(ruin->damaged, bytes, sizeof bytes);
    bytes[n - 1] ^= 1;
    fixture_write(ruin->damaged, bytes, n);
    assert_int_equal(ms_hash_sha256("sample 1", 8, hash), MS_OK);
    object_path(fixture, "samples", hash, path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ms_hash_sha256("{\"report\": 2}", 13, hash), MS_OK);
    object_path(fixture, "reports", hash, path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ms_hash_sha256("sample 3", 8, ruin->adopted), MS_OK);
    assert_ok(ms_db_exec(corpus, "UPDATE sample SET vaulted = 0 WHERE id = 7", &err), &err);
    put_object(corpus, MS_VAULT_SAMPLE, "nobody's", ruin->orphan);
    snprintf(path, sizeof path, "%s/samples/README\x1b[2J", fixture->dir);
    fixture_write(path, (const uint8_t *)"x", 1);
}

static void expect_count(struct ms_corpus *corpus, const char *sql, int64_t expected)
{
    struct ms_error err;
    int64_t n = -1;
    assert_ok(ms_db_scalar(corpus, sql, &n, &err), &err);
    assert_int_equal(n, expected);
}

static void test_fsck_vault(void **state)
{
    struct fixture *fixture = *state;
    struct findings findings = {.counts = {0}};
    struct ruin ruin;
    ms_buf_init(&findings.text, 1 << 20);
    build(fixture->corpus, false, 1000);
    ruin_vault(fixture, &ruin);
    fixture_reopen(fixture, MS_CORPUS_READ);
    const char *text = check(fixture->corpus, false, &findings);
    expect_line(text, "samples/", "is damaged");
    expect_line(text, "samples/", "no row names it");
    expect_line(text, "samples/", "does not say that it is stored");
    expect_line(text, "samples/README\\x1b[2J: ", "does not belong here");
    expect_line(text, "sample 3: ", "not in the vault");
    expect_line(text, "analysis 3: ", "not in the vault");
    assert_int_equal(findings.counts.findings, 6);
    assert_int_equal(findings.counts.repaired, 0);
    assert_int_equal(access(ruin.damaged, F_OK), 0);

    fixture_reopen(fixture, MS_CORPUS_WRITE);
    struct ms_corpus *corpus = fixture->corpus;
    check(corpus, true, &findings);
    /* The damaged object's row is mended with it. A report is not ours to mend, a stranger not ours
     * to remove, and what the orphan is can be said by who reads it. */
    assert_int_equal(findings.counts.findings, 6);
    assert_int_equal(findings.counts.repaired, 3);
    assert_int_equal(access(ruin.damaged, F_OK), -1);
    assert_true(ms_vault_has(corpus, MS_VAULT_SAMPLE, ruin.orphan));
    assert_true(ms_vault_has(corpus, MS_VAULT_SAMPLE, ruin.adopted));
    expect_count(corpus, "SELECT count(*) FROM sample WHERE vaulted", 2);
    /* Where the two lost samples lay is read again. */
    expect_count(corpus, "SELECT count(*) FROM blob", 2);
    expect_count(corpus, "SELECT count(*) FROM origin WHERE commit_id IS NULL", 2);
    text = check(corpus, false, &findings);
    expect_line(text, "analysis 3: ", "not in the vault");
    assert_int_equal(findings.counts.findings, 3);
    ms_buf_release(&findings.text);
}

static void test_fsck_database(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct findings findings = {.counts = {0}};
    static const struct {
        const char *sql, *where, *what;
    } faults[] = {
        {"UPDATE process SET trace = x'00' WHERE id = 1", "process 1: ", ""},
        {"UPDATE process SET trace = substr(trace, 1, length(trace) - 1) WHERE id = 2",
         "process 2: ", ""},
        {"UPDATE process SET calls = calls + 1 WHERE id = 3", "process 3: ", "its row counts"},
        {"UPDATE process SET calls_expanded = 1 WHERE id = 3", "analysis 3 counts", ""},
        {"DELETE FROM api WHERE name = 'Api2'", "process ", "has no name"},
        {"DELETE FROM process WHERE id = 4", "analysis 4 counts", "its processes are 0"},
    };
    struct ms_error err;
    ms_buf_init(&findings.text, 1 << 20);
    build(corpus, false, 1000);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        assert_ok(ms_corpus_begin(corpus, &err), &err);
        assert_ok(ms_db_exec(corpus, faults[i].sql, &err), &err);
        expect_line(check(corpus, false, &findings), faults[i].where, faults[i].what);
        ms_corpus_rollback(corpus);
    }
    assert_ok(
        ms_db_exec(corpus, "PRAGMA foreign_keys = OFF; DELETE FROM origin WHERE id = 1", &err),
        &err);
    expect_line(check(corpus, false, &findings), "corpus.db: row ", "of sighting refers to a row");
    ms_buf_release(&findings.text);
}

/* A page of the database overwritten: found, and not taken for good data. */
static void test_fsck_damaged_pages(void **state)
{
    struct fixture *fixture = *state;
    struct findings findings = {.counts = {0}};
    struct ms_corpus *corpus = NULL;
    struct ms_error err;
    char path[512];
    unsigned noticed = 0, tried = 0;
    struct stat st;
    ms_buf_init(&findings.text, 1 << 20);
    build(fixture->corpus, false, 1000);
    ms_corpus_close(fixture->corpus);
    fixture->corpus = NULL;
    snprintf(path, sizeof path, "%s/corpus.db", fixture->dir);
    assert_int_equal(stat(path, &st), 0);
    uint8_t *whole = malloc((size_t)st.st_size);
    assert_int_equal(fixture_read(path, whole, (size_t)st.st_size), st.st_size);
    for (off_t page = 0; page < st.st_size / 4096; page += 3, tried++) {
        uint8_t kept[4096];
        memcpy(kept, whole + page * 4096, 4096);
        memset(whole + page * 4096, 0xa5, 4096);
        fixture_write(path, whole, (size_t)st.st_size);
        memcpy(whole + page * 4096, kept, 4096);
        ms_buf_clear(&findings.text);
        findings.counts.findings = 0;
        if (ms_corpus_open(fixture->dir, MS_CORPUS_READ, &corpus, &err) != MS_OK) {
            noticed++;
            continue;
        }
        enum ms_status status = ms_fsck_run(corpus, false, note, &findings, &findings.counts, &err);
        noticed += status != MS_OK || findings.counts.findings > 0;
        ms_corpus_close(corpus);
    }
    assert_true(tried > 5);
    assert_int_equal(noticed, tried);
    free(whole);
    ms_buf_release(&findings.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_two_ways),      fixture_test(test_changes),
        fixture_test(test_fsck_clean),    fixture_test(test_fsck_vault),
        fixture_test(test_fsck_database), fixture_test(test_fsck_damaged_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

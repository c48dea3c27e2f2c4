/* What is left to do after uploads and new analyses that a crash cut short, by what the ledger
 * knows, and the facts on which an upload is decided. */
#include "store_rows.h"

#include "store/submission.h"

enum { SINCE_MS = 100, WAIT_MS = 50 };

/* A request that was sent, and settled unless status is negative. */
static void add_request(struct ms_corpus *corpus, const char *endpoint, const char *subject,
                        int64_t sent_ms, int status)
{
    struct ms_error err;
    int64_t id = 0;
    assert_ok(ms_request_reserve(corpus, "0123abcd", endpoint, subject, sent_ms, true, &id, &err),
              &err);
    if (status >= 0)
        assert_ok(ms_request_settle(corpus, id, sent_ms + 1, status, NULL, true, &err), &err);
}

static int64_t new_sample(struct ms_corpus *corpus, uint8_t seed)
{
    struct ms_error err;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    int64_t id = add_sample(corpus, seed);
    assert_ok(ms_corpus_commit(corpus, &err), &err);
    return id;
}

static void put_lookup(struct ms_corpus *corpus, int64_t sample, const char *state)
{
    const struct ms_lookup lookup = {
        .sample = sample, .state = state, .tries = 2, .asked_ms = 900, .due_ms = 5000};
    struct ms_error err;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    assert_ok(ms_lookup_put(corpus, &lookup, &err), &err);
    assert_ok(ms_corpus_commit(corpus, &err), &err);
}

static uint64_t recover(struct ms_corpus *corpus)
{
    struct ms_error err;
    uint64_t count = 99;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    assert_ok(ms_submission_recover(corpus, SINCE_MS, WAIT_MS, &count, &err), &err);
    assert_ok(ms_corpus_commit(corpus, &err), &err);
    return count;
}

static const char *name_of(const struct ms_sample *sample)
{
    static char hex[MS_HASH_HEX_MAX];
    ms_hex_encode(sample->digests.sha256, MS_SHA256_BYTES, hex);
    return hex;
}

/* A sample not found, and what came after it. */
struct after {
    const char *endpoint;
    int64_t sent_ms;
    int status;
};

static bool in_doubt(struct ms_corpus *corpus, uint8_t seed, const struct after *rows, size_t count)
{
    struct ms_sample sample = sample_of(seed);
    struct ms_lookup lookup = {0};
    struct ms_error err;
    bool found = false;
    int64_t id = new_sample(corpus, seed);
    put_lookup(corpus, id, "not_found");
    add_request(corpus, "files", name_of(&sample), 900, 404);
    for (size_t i = 0; i < count; i++)
        add_request(corpus, rows[i].endpoint, name_of(&sample), rows[i].sent_ms, rows[i].status);
    uint64_t changed = recover(corpus);
    assert_ok(ms_lookup_get(corpus, id, &found, &lookup, &err), &err);
    assert_true(found);
    bool pending = strcmp(lookup.state, "pending") == 0;
    assert_int_equal(changed, pending);
    assert_int_equal(lookup.due_ms, pending ? 0 : 5000);
    assert_int_equal(recover(corpus), 0);
    return pending;
}

static void test_uploads(void **state)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    uint8_t seed = 10;
    assert_false(in_doubt(corpus, seed, NULL, 0));
    /* Killed before an answer; killed before the row; no answer; a fault of the service. */
    static const int open[] = {-1, 200, 409, 0, 500, 302};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        const struct after row = {MS_ENDPOINT_UPLOAD, 1000, open[i]};
        assert_true(in_doubt(corpus, seed += 5, &row, 1));
    }
    static const int never_taken[] = {400, 401, 403, 404, 413, 429};
    for (size_t i = 0; i < sizeof never_taken / sizeof *never_taken; i++) {
        const struct after row = {MS_ENDPOINT_UPLOAD, 1000, never_taken[i]};
        assert_false(in_doubt(corpus, seed += 5, &row, 1));
    }
    /* A look-up answered since: the doubt is over, even when the clock was set back between. */
    const struct after asked[] = {{MS_ENDPOINT_UPLOAD, 1000, -1}, {"files", 300, 404}};
    assert_false(in_doubt(corpus, seed += 5, asked, 2));
    /* One that got no answer ends nothing. */
    const struct after failed[] = {{MS_ENDPOINT_UPLOAD, 1000, -1}, {"files", 1100, 503}};
    assert_true(in_doubt(corpus, seed += 5, failed, 2));
    /* The clock was set back before the upload: the row is the newer one all the same. */
    const struct after back = {MS_ENDPOINT_UPLOAD, 200, -1};
    assert_true(in_doubt(corpus, seed += 5, &back, 1));
    /* Too long ago to matter; and only the URL was asked for. */
    const struct after old = {MS_ENDPOINT_UPLOAD, SINCE_MS - 1, -1};
    assert_false(in_doubt(corpus, seed += 5, &old, 1));
    const struct after url = {MS_ENDPOINT_UPLOAD_URL, 1000, 200};
    assert_false(in_doubt(corpus, seed += 5, &url, 1));
    /* A file that was forgotten meanwhile. */
    add_request(corpus, MS_ENDPOINT_UPLOAD,
                "00000000000000000000000000000000000000000000000000000000000000ff", 1000, -1);
    assert_int_equal(recover(corpus), 0);
}

static void test_rescans(void **state)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    struct ms_sample sample = sample_of(1);
    struct ms_lookup lookup = {0};
    struct ms_error err;
    bool found = false;
    int64_t id = new_sample(corpus, 1);
    put_lookup(corpus, id, "labelled");
    add_request(corpus, MS_ENDPOINT_ANALYSE, name_of(&sample), 1000, 429);
    add_request(corpus, MS_ENDPOINT_ANALYSE, name_of(&sample), 1001, 503);
    assert_int_equal(recover(corpus), 0);
    add_request(corpus, MS_ENDPOINT_ANALYSE, name_of(&sample), 1002, -1);
    assert_int_equal(recover(corpus), 1);
    assert_ok(ms_lookup_get(corpus, id, &found, &lookup, &err), &err);
    assert_string_equal(lookup.state, "labelled");
    assert_int_equal(lookup.rescan_ms, 1002);
    assert_int_equal(lookup.due_ms, 1002 + WAIT_MS);
    assert_int_equal(lookup.tries, 2);
    assert_int_equal(recover(corpus), 0);
    /* One that was written down is left alone. */
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    assert_ok(ms_lookup_expect(corpus, id, NULL, NULL, 2001, 2601, &err), &err);
    assert_ok(ms_corpus_commit(corpus, &err), &err);
    add_request(corpus, MS_ENDPOINT_ANALYSE, name_of(&sample), 2000, 200);
    assert_int_equal(recover(corpus), 0);
    assert_int_equal(scalar(corpus, "SELECT due_ms FROM lookup"), 2601);
}

static enum ms_status keep_upload(void *ctx, const struct ms_upload *upload, struct ms_error *err)
{
    struct ms_upload *out = ctx;
    (void)err;
    assert_int_equal(out->sample, 0); /* one only */
    *out = *upload;
    return MS_OK;
}

static struct ms_upload the_upload(struct ms_corpus *corpus)
{
    struct ms_upload upload = {0};
    struct ms_error err;
    assert_ok(ms_upload_foreach(corpus, keep_upload, &upload, &err), &err);
    return upload;
}

static void run_sql(struct ms_corpus *corpus, const char *sql)
{
    struct ms_error err;
    assert_ok(ms_db_exec(corpus, sql, &err), &err);
}

static void test_upload_facts(void **state)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    struct ms_sample sample = sample_of(1);
    struct ms_error err;
    int64_t id = new_sample(corpus, 1);
    put_lookup(corpus, id, "not_found");
    assert_int_equal(the_upload(corpus).sample, 0); /* not in the vault */
    run_sql(corpus, "UPDATE sample SET vaulted = 1");
    struct ms_upload upload = the_upload(corpus);
    assert_int_equal(upload.sample, id);
    assert_memory_equal(upload.sha256, sample.digests.sha256, 32);
    assert_false(upload.sighted || upload.benign || upload.private_ || upload.truncated);
    assert_int_equal(upload.size, 100);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    int64_t origin = add_origin(corpus, "o/r");
    put_sighting(corpus, id, origin, 1, "x.zip");
    put_sighting(corpus, id, add_origin(corpus, "o/other"), 1, "x.zip");
    assert_ok(ms_corpus_commit(corpus, &err), &err);
    upload = the_upload(corpus);
    assert_true(upload.sighted && !upload.benign && !upload.private_);
    /* One sighting of several, or the origin of one, is enough. */
    static const char *const changes[][2] = {
        {"UPDATE sighting SET claim = 'benign' WHERE id = 1", "benign"},
        {"UPDATE origin SET claim = 'benign' WHERE id = 1", "benign"},
        {"UPDATE sighting SET private = 1 WHERE id = 2", "private"},
        {"UPDATE origin SET private = 1 WHERE id = 2", "private"},
        {"UPDATE sample SET private = 1", "private"},
        {"UPDATE sample SET flags = 'overlay truncated'", "truncated"},
        {"UPDATE sample SET flags = 'truncated'", "truncated"},
        {"UPDATE sample SET flags = 'truncatedish overlay'", ""},
        {"UPDATE lookup SET state = 'pending'", "gone"}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        run_sql(corpus, "SAVEPOINT s");
        run_sql(corpus, changes[i][0]);
        upload = the_upload(corpus);
        assert_int_equal(upload.benign, strcmp(changes[i][1], "benign") == 0);
        assert_int_equal(upload.private_, strcmp(changes[i][1], "private") == 0);
        assert_int_equal(upload.truncated, strcmp(changes[i][1], "truncated") == 0);
        assert_int_equal(upload.sample == 0, strcmp(changes[i][1], "gone") == 0);
        run_sql(corpus, "ROLLBACK TO s");
        run_sql(corpus, "RELEASE s");
    }
    add_request(corpus, MS_ENDPOINT_UPLOAD, name_of(&sample), 1000, 413);
    add_request(corpus, MS_ENDPOINT_UPLOAD, name_of(&sample), 2000, 503);
    upload = the_upload(corpus);
    assert_int_equal(upload.sent_ms, 1000);
    assert_int_equal(upload.sent_status, 413);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_uploads),
        fixture_test(test_rescans),
        fixture_test(test_upload_facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Two rows of one file become one: what must not be merged, and that nothing that refers to a
 * sample is lost or left behind. */
#include "store_rows.h"

#include "store/db.h"
#include "store/label.h"

static int64_t insert(struct ms_corpus *corpus, unsigned kinds, uint8_t seed, bool private_)
{
    struct ms_sample sample = sample_of(seed);
    struct ms_error err;
    int64_t id;
    bool inserted;
    sample.has_sha256 = kinds & MS_HASH_SHA256;
    sample.has_sha1 = kinds & MS_HASH_SHA1;
    sample.has_md5 = kinds & MS_HASH_MD5;
    sample.private_ = private_;
    assert_ok(ms_sample_upsert(corpus, &sample, 0, &id, &inserted, &err), &err);
    return id;
}

static void run_sql(struct ms_corpus *corpus, const char *sql)
{
    struct ms_error err;
    assert_ok(ms_db_exec(corpus, sql, &err), &err);
}

/* Rows that make a file of two names: A by its md5 alone, B by its sha256 alone. */
static void two_names(struct ms_corpus *corpus, int64_t *a, int64_t *b)
{
    *a = insert(corpus, MS_HASH_MD5, 7, false);
    *b = insert(corpus, MS_HASH_SHA256, 7, false);
    assert_int_not_equal(*a, *b);
}

static void not_the_same_file(void **state)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    struct ms_error err;
    uint64_t merged;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    int64_t weak = insert(corpus, MS_HASH_MD5, 7, false);
    int64_t first = insert(corpus, MS_HASH_SHA256, 7, false);
    int64_t other = insert(corpus, MS_HASH_SHA256, 90, false);
    /* Two programs made to share an md5; nobody knows which of them the weak row means. */
    run_sql(corpus, "UPDATE sample SET md5 = (SELECT md5 FROM sample WHERE sha256 IS NULL)"
                    " WHERE sha256 IS NOT NULL");
    assert_ok(ms_sample_unite(corpus, first, &merged, &err), &err);
    assert_int_equal(merged, 0);
    assert_ok(ms_sample_unite(corpus, other, &merged, &err), &err);
    assert_int_equal(merged, 0);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sample"), 3);
    /* A sha256 of its own, a hash that differs, itself. */
    assert_int_equal(ms_sample_merge(corpus, other, first, &err), MS_REJECT);
    int64_t sha1 = insert(corpus, MS_HASH_SHA1, 40, false);
    run_sql(corpus, "UPDATE sample SET sha1 = x'0000000000000000000000000000000000000001'"
                    " WHERE id = 2");
    assert_int_equal(ms_sample_merge(corpus, sha1, first, &err), MS_REJECT);
    assert_int_equal(ms_sample_merge(corpus, first, first, &err), MS_E_BUG);
    assert_int_equal(ms_sample_merge(corpus, 999, first, &err), MS_REJECT);
    assert_int_equal(ms_sample_merge(corpus, weak, 999, &err), MS_REJECT);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sample"), 4);
    ms_corpus_rollback(corpus);
    assert_int_equal(ms_sample_merge(corpus, weak, first, &err), MS_E_BUG); /* no transaction */
}

static void found_by_what_is_known(void **state)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    struct ms_error err;
    uint64_t merged;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    int64_t a, b;
    two_names(corpus, &a, &b);
    int64_t c = insert(corpus, MS_HASH_SHA1, 7, true);
    assert_ok(ms_sample_unite(corpus, b, &merged, &err), &err);
    assert_int_equal(merged, 0); /* nothing says yet that they are one */
    assert_int_equal(insert(corpus, MS_HASH_MD5 | MS_HASH_SHA1 | MS_HASH_SHA256, 7, false), b);
    assert_ok(ms_sample_unite(corpus, b, &merged, &err), &err);
    assert_int_equal(merged, 2);
    struct ms_sample sample;
    assert_ok(ms_sample_get(corpus, b, &sample, &err), &err);
    assert_true(sample.private_); /* c was */
    assert_true(sample.has_sha1 && sample.has_md5);
    assert_int_equal(ms_sample_get(corpus, a, &sample, &err), MS_REJECT);
    assert_int_equal(ms_sample_get(corpus, c, &sample, &err), MS_REJECT);
    assert_ok(ms_sample_unite(corpus, b, &merged, &err), &err);
    assert_int_equal(merged, 0);
    ms_corpus_rollback(corpus);
}

/* Whatever table comes to refer to samples has to be moved as well: this fails until it is. */
static void every_table_is_thought_of(void **state)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sqlite_schema t, pragma_foreign_key_list("
                                    "t.name) f WHERE t.type = 'table' AND f.\"table\" = 'sample'"),
                     7);
    assert_int_equal(scalar(corpus, "SELECT count(DISTINCT t.name) FROM sqlite_schema t,"
                                    " pragma_foreign_key_list(t.name) f WHERE t.type = 'table' AND"
                                    " f.\"table\" = 'sample' AND t.name IN ('alias', 'sighting',"
                                    " 'analysis', 'scan', 'lookup', 'label', 'label_flip')"),
                     7);
}

static void put_label(struct ms_corpus *corpus, int64_t sample, const char *verdict, int64_t as_of,
                      int64_t scan)
{
    const struct ms_label label = {.sample = sample,
                                   .policy = "p",
                                   .verdict = verdict,
                                   .margin = -1,
                                   .positives = -1,
                                   .responding = -1,
                                   .groups = -1,
                                   .as_of_ms = as_of,
                                   .scan = scan};
    struct ms_error err;
    bool changed;
    assert_ok(ms_label_put(corpus, &label, as_of, 0, &changed, &err), &err);
}

static int64_t put_scan(struct ms_corpus *corpus, int64_t sample, const char *body, int64_t at)
{
    const struct ms_scan scan = {.sample = sample,
                                 .source = "virustotal",
                                 .asked = "x",
                                 .fetched_ms = at,
                                 .body = text_span(body)};
    struct ms_error err;
    int64_t id;
    assert_ok(ms_scan_insert(corpus, &scan, 0, &id, &err), &err);
    return id;
}

static void everything_moves(void **state)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    struct ms_error err;
    int64_t a, b;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    two_names(corpus, &a, &b);
    int64_t origin = add_origin(corpus, "o/r");
    put_sighting(corpus, a, origin, 1, "both.zip");
    put_sighting(corpus, b, origin, 1, "both.zip");
    put_sighting(corpus, a, origin, 2, "only-a.zip");
    run_sql(corpus, "UPDATE sighting SET private = 1, claim = 'malware', gone_ms = 5"
                    " WHERE id = 1");
    assert_ok(ms_sample_add_alias(corpus, a, "dataset:d", text_span("17"), &err), &err);
    int64_t detonated = add_analysis(corpus, a, origin, 1);
    (void)add_analysis(corpus, b, origin, 2);
    run_sql(corpus, "UPDATE analysis SET settings_digest = zeroblob(32)"); /* submitted alike */
    int64_t twice = put_scan(corpus, a, "{\"same\":1}", 100),
            kept = put_scan(corpus, b, "{\"same\":1}", 200);
    int64_t own = put_scan(corpus, a, "{\"only a\":1}", 300);
    put_label(corpus, a, "uncertain", 100, twice);
    put_label(corpus, a, "malicious", 300, own);
    put_label(corpus, b, "benign", 200, kept);
    const struct ms_flip flip = {"malicious", "benign", NULL, 100, twice};
    assert_ok(ms_flips_put(corpus, a, "p", &flip, 1, &err), &err);
    assert_ok(ms_flips_put(corpus, a, "both", &flip, 1, &err), &err);
    assert_ok(ms_flips_put(corpus, b, "both",
                           &(struct ms_flip){"benign", "malicious", "Worm", 200, kept}, 1, &err),
              &err);
    const struct ms_lookup answered = {a, "labelled", NULL, 2, 300, 900, 1, 0};
    const struct ms_lookup missed = {b, "not_found", NULL, 1, 200, 800, 0, 0};
    assert_ok(ms_lookup_put(corpus, &answered, &err), &err);
    assert_ok(ms_lookup_put(corpus, &missed, &err), &err);
    run_sql(corpus, "UPDATE lookup SET rescan_ms = 50 WHERE state = 'not_found'");

    assert_ok(ms_sample_merge(corpus, a, b, &err), &err);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sample"), 1);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    assert_int_equal(scalar(corpus, "SELECT sample FROM alias"), b);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sighting WHERE sample = 2"), 2);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sighting WHERE path = CAST('both.zip' AS"
                                    " BLOB) AND private = 1 AND claim = 'malware'"
                                    " AND gone_ms IS NULL"),
                     1);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM analysis WHERE sample = 2"), 2);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM analysis WHERE settings_digest IS NULL"),
                     1);
    assert_int_equal(scalar(corpus, "SELECT id FROM analysis WHERE settings_digest IS NULL"),
                     detonated);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM scan WHERE sample = 2"), 2);
    assert_int_equal(scalar(corpus, "SELECT scan FROM label WHERE verdict = 'uncertain'"), kept);
    assert_int_equal(scalar(corpus, "SELECT scan FROM label_flip WHERE policy = 'p'"), kept);
    assert_int_equal(scalar(corpus,
                            "SELECT count(*) FROM label_flip WHERE sample = 2"
                            " AND after = CASE policy WHEN 'p' THEN 'benign' ELSE 'malicious' END"),
                     2);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM label WHERE sample = 2"), 3);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM label WHERE current = 1"), 1);
    assert_int_equal(scalar(corpus, "SELECT as_of_ms FROM label WHERE current = 1"), 300);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM lookup WHERE sample = 2"
                                    " AND state = 'labelled' AND tries = 2 AND due_ms = 900"
                                    " AND unchanged = 1 AND rescan_ms = 50"),
                     1);
    assert_ok(ms_corpus_commit(corpus, &err), &err);
}

/* A look-up only the merged row had goes along; "not found" never hides a verdict. */
static void one_side_only(void **state)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    struct ms_error err;
    int64_t a, b;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    two_names(corpus, &a, &b);
    const struct ms_lookup missed = {a, "not_found", NULL, 3, 500, 900, 0, 0};
    assert_ok(ms_lookup_put(corpus, &missed, &err), &err);
    put_label(corpus, a, "not_found", 500, 0);
    put_label(corpus, b, "malicious", 100, put_scan(corpus, b, "{}", 100));
    assert_ok(ms_sample_merge(corpus, a, b, &err), &err);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM lookup WHERE sample = 2 AND tries = 3"),
                     1);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM label WHERE current = 1"
                                    " AND verdict = 'malicious'"),
                     1);
    ms_corpus_rollback(corpus);
}

/* The corpus that learned late that two names are one file says the same as one that always knew.
 */
static void the_same_digest(void **state)
{
    struct fixture *fixture = *state;
    uint8_t digests[2][32];
    struct ms_error err;
    for (int known = 0; known < 2; known++) {
        struct ms_corpus *corpus;
        char dir[200];
        int64_t a, b;
        uint64_t merged;
        snprintf(dir, sizeof dir, "%s/%d", fixture->root, known);
        assert_ok(ms_corpus_open(dir, MS_CORPUS_CREATE, &corpus, &err), &err);
        assert_ok(ms_corpus_begin(corpus, &err), &err);
        if (known)
            a = b = insert(corpus, MS_HASH_MD5 | MS_HASH_SHA256, 7, false);
        else
            two_names(corpus, &a, &b);
        int64_t origin = add_origin(corpus, "o/r");
        put_sighting(corpus, a, origin, 1, "x.zip");
        (void)add_analysis(corpus, a, origin, 1);
        put_label(corpus, b, "malicious", 100, put_scan(corpus, b, "{}", 100));
        const struct ms_lookup answered = {b, "labelled", NULL, 1, 300, 900, 0, 0};
        assert_ok(ms_lookup_put(corpus, &answered, &err), &err);
        assert_ok(ms_lookup_enqueue_all(corpus, &err), &err);
        (void)insert(corpus, MS_HASH_MD5 | MS_HASH_SHA1 | MS_HASH_SHA256, 7, false);
        assert_ok(ms_sample_unite(corpus, b, &merged, &err), &err);
        assert_int_equal(merged, known ? 0 : 1);
        assert_ok(ms_corpus_commit(corpus, &err), &err);
        assert_ok(ms_corpus_digest(corpus, digests[known], &err), &err);
        ms_corpus_close(corpus);
    }
    assert_memory_equal(digests[0], digests[1], 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {fixture_test(not_the_same_file),
                                       fixture_test(found_by_what_is_known),
                                       fixture_test(every_table_is_thought_of),
                                       fixture_test(everything_moves),
                                       fixture_test(one_side_only),
                                       fixture_test(the_same_digest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

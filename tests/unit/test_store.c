/* The corpus: opening and refusing, transactions, runs, and where samples come from. */
#include "store/internal.h"
#include "store/migrate.h"
#include "store/run.h"
#include "store/sample.h"
#include "store_rows.h"

#include <signal.h>
#include <sys/wait.h>

static void test_layout(void **state)
{
    struct fixture *fixture = *state;
    static const char *const folders[] = {"", "samples", "reports", "models", "tmp"};
    static const char *const files[] = {"corpus.db", "corpus.db-wal", "corpus.db-shm", "lock"};
    struct ms_error err;
    struct stat st;
    char path[512];
    assert_ok(ms_corpus_begin(fixture->corpus, &err), &err);
    add_sample(fixture->corpus, 1);
    assert_ok(ms_corpus_commit(fixture->corpus, &err), &err);
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", fixture->dir, folders[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
    }
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", fixture->dir, files[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
    assert_int_equal(scalar(fixture->corpus, "PRAGMA application_id"), MS_APPLICATION_ID);
    assert_int_equal(scalar(fixture->corpus, "PRAGMA user_version"), ms_migration_count);
    assert_int_equal(scalar(fixture->corpus, "PRAGMA foreign_keys"), 1);
    assert_int_equal(scalar(fixture->corpus, "PRAGMA synchronous"), 2);
    assert_int_equal(scalar(fixture->corpus, "PRAGMA trusted_schema"), 0);
}

static void test_no_corpus(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = NULL;
    struct ms_error err;
    char path[512];
    snprintf(path, sizeof path, "%s/none", fixture->root);
    assert_int_equal(ms_corpus_open(path, MS_CORPUS_READ, &corpus, &err), MS_E_INPUT);
    assert_non_null(strstr(err.text, "--corpus"));
    assert_int_equal(ms_corpus_open(path, MS_CORPUS_WRITE, &corpus, &err), MS_E_INPUT);
    assert_int_equal(access(path, F_OK), -1);
    /* An empty folder is no corpus either, and stays as it is. */
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(ms_corpus_open(path, MS_CORPUS_WRITE, &corpus, &err), MS_E_INPUT);
    assert_int_equal(rmdir(path), 0);
}

static void test_second_writer(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = NULL;
    struct ms_error err;
    char pid[32];
    assert_int_equal(ms_corpus_open(fixture->dir, MS_CORPUS_WRITE, &corpus, &err), MS_E_LATER);
    snprintf(pid, sizeof pid, "(process %ld)", (long)getpid());
    assert_non_null(strstr(err.text, pid));
    assert_ok(ms_corpus_open(fixture->dir, MS_CORPUS_READ, &corpus, &err), &err);
    ms_corpus_close(corpus);
    /* The lock goes with the holder, however it ends. */
    ms_corpus_close(fixture->corpus);
    fixture->corpus = NULL;
    pid_t child = fork();
    if (child == 0) {
        if (ms_corpus_open(fixture->dir, MS_CORPUS_WRITE, &corpus, &err) != MS_OK)
            _exit(1);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_ok(ms_corpus_open(fixture->dir, MS_CORPUS_WRITE, &fixture->corpus, &err), &err);
}

static void test_read_only(void **state)
{
    struct fixture *fixture = *state;
    struct ms_error err;
    fixture_reopen(fixture, MS_CORPUS_READ);
    assert_int_equal(ms_corpus_begin(fixture->corpus, &err), MS_E_BUG);
    assert_int_equal(ms_db_exec(fixture->corpus, "DELETE FROM sample", &err), MS_E_STORE);
    assert_int_equal(scalar(fixture->corpus, "SELECT count(*) FROM sample"), 0);
}

static void refuse(struct fixture *fixture, const char *sql, const char *words)
{
    struct ms_corpus *corpus = NULL;
    struct ms_error err;
    char path[512];
    sqlite3 *db;
    ms_corpus_close(fixture->corpus);
    fixture->corpus = NULL;
    snprintf(path, sizeof path, "%s/corpus.db", fixture->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    for (int mode = MS_CORPUS_READ; mode <= MS_CORPUS_CREATE; mode++) {
        err.text[0] = '\0';
        assert_int_equal(ms_corpus_open(fixture->dir, (enum ms_corpus_mode)mode, &corpus, &err),
                         MS_E_STORE);
        assert_non_null(strstr(err.text, words));
    }
}

static void test_newer_schema(void **state)
{
    refuse(*state, "PRAGMA user_version = 999", "newer malseq");
}

static void test_foreign_database(void **state)
{
    refuse(*state, "PRAGMA application_id = 252006675", "another program");
}

static void test_not_a_database(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = NULL;
    struct ms_error err;
    char path[512];
    ms_corpus_close(fixture->corpus);
    fixture->corpus = NULL;
    snprintf(path, sizeof path, "%s/corpus.db", fixture->dir);
    static const char text[] = "this is not a database, however long one looks at it";
    fixture_write(path, (const uint8_t *)text, sizeof text);
    assert_int_equal(ms_corpus_open(fixture->dir, MS_CORPUS_WRITE, &corpus, &err), MS_E_STORE);
    assert_non_null(strstr(err.text, "corpus.db"));
}

/* Two migrations on top of the real ones; a third fails half-way and leaves nothing. */
static void test_migrations(void **state)
{
    struct fixture *fixture = *state;
    struct ms_error err;
    const unsigned real = ms_migration_count;
    struct ms_migration list[64];
    assert_in_range(real, 1, 60);
    memcpy(list, ms_migrations, real * sizeof *list);
    list[real] = (struct ms_migration){
        "901.sql", "CREATE TABLE two (a INTEGER) STRICT; INSERT INTO two VALUES (1);"};
    list[real + 1] = (struct ms_migration){
        "902.sql", "ALTER TABLE two ADD COLUMN b TEXT; UPDATE two SET b = 'x';"};
    list[real + 2] = (struct ms_migration){
        "903.sql", "CREATE TABLE four (a INTEGER) STRICT; INSERT INTO nowhere VALUES (1);"};
    assert_ok(ms_migrate_run(fixture->corpus, list, real + 2, &err), &err);
    assert_int_equal(scalar(fixture->corpus, "PRAGMA user_version"), real + 2);
    assert_int_equal(scalar(fixture->corpus, "SELECT count(*) FROM two WHERE b = 'x'"), 1);
    assert_ok(ms_migrate_run(fixture->corpus, list, real + 2, &err), &err);
    assert_int_equal(ms_migrate_run(fixture->corpus, list, real + 3, &err), MS_E_STORE);
    assert_non_null(strstr(err.text, "903.sql"));
    assert_int_equal(scalar(fixture->corpus, "PRAGMA user_version"), real + 2);
    assert_int_equal(
        scalar(fixture->corpus, "SELECT count(*) FROM sqlite_schema WHERE name = 'four'"), 0);
    assert_false(ms_corpus_in_transaction(fixture->corpus));
    /* The older program, and a reader that would have to migrate. */
    assert_int_equal(ms_migrate_run(fixture->corpus, list, real + 1, &err), MS_E_STORE);
    fixture->corpus->mode = MS_CORPUS_READ;
    assert_int_equal(ms_migrate_run(fixture->corpus, list, real + 3, &err), MS_E_STORE);
    assert_non_null(strstr(err.text, "older schema"));
}

static void test_transactions(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_sample sample = sample_of(1);
    struct ms_error err;
    int64_t id;
    bool inserted;
    assert_int_equal(ms_sample_upsert(corpus, &sample, 0, &id, &inserted, &err), MS_E_BUG);
    ms_corpus_rollback(corpus);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    assert_int_equal(ms_corpus_begin(corpus, &err), MS_E_BUG);
    add_sample(corpus, 1);
    ms_corpus_rollback(corpus);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sample"), 0);
    assert_int_equal(ms_corpus_commit(corpus, &err), MS_E_STORE);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    add_sample(corpus, 1);
    assert_ok(ms_corpus_commit(corpus, &err), &err);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sample"), 1);
}

static void test_run(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    char *argv[] = {(char[]){"label"},
                    (char[]){"--vt-key"},
                    (char[]){"0123456789abcdef"},
                    (char[]){"--github-token=ghp_secret"},
                    (char[]){"--cuckoo"},
                    (char[]){"http://user:pa@ss@host:8090/x@y"},
                    (char[]){"--vt-key"},
                    (char[]){"--json"},
                    (char[]){"\xff\n"}};
    int64_t run;
    assert_ok(ms_run_begin(corpus, "label", 9, argv, 7, &run, &err), &err);
    assert_ok(ms_run_end(corpus, run, 1, "{\"asked\":3}", NULL, &err), &err);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM run WHERE tool = 'label' AND seed = 7"
                                    " AND exit_code = 1 AND counts = '{\"asked\":3}'"
                                    " AND ended_ms >= started_ms AND json_valid(argv)"),
                     1);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM run WHERE argv GLOB '*0123*'"
                                    " OR argv GLOB '*ghp*' OR argv GLOB '*ss@*'"),
                     0);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM run WHERE argv ->> 2 = '***'"
                                    " AND argv ->> 3 = '--github-token=***'"
                                    " AND argv ->> 5 = 'http://***@host:8090/x@y'"
                                    " AND argv ->> 7 = '--json'"),
                     1);
}

static void test_sample_upsert(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_sample sample = sample_of(1);
    struct ms_sample back;
    struct ms_error err;
    int64_t id, again;
    bool inserted;
    char hex[65];
    sample.has_md5 = false;
    sample.size = -1;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    assert_ok(ms_sample_upsert(corpus, &sample, 0, &id, &inserted, &err), &err);
    assert_true(inserted);
    /* Later knowledge is added, earlier kept, flags only rise. */
    sample = sample_of(1);
    sample.has_sha1 = false;
    sample.vaulted = sample.private_ = true;
    assert_ok(ms_sample_upsert(corpus, &sample, 0, &again, &inserted, &err), &err);
    assert_false(inserted);
    assert_int_equal(again, id);
    sample.vaulted = sample.private_ = false;
    sample.size = 5;
    sample.has_git_blob = true;
    memset(sample.git_blob, 9, sizeof sample.git_blob);
    assert_ok(ms_sample_upsert(corpus, &sample, 0, &again, &inserted, &err), &err);
    assert_ok(ms_sample_get(corpus, id, &back, &err), &err);
    assert_true(back.has_sha256 && back.has_sha1 && back.has_md5);
    assert_true(back.vaulted && back.private_);
    assert_int_equal(back.size, 100);
    assert_true(back.has_git_blob);
    assert_memory_equal(back.git_blob, sample.git_blob, sizeof back.git_blob);
    /* By any of its hashes, in either case. */
    ms_hex_encode(back.digests.sha1, 20, hex);
    assert_ok(ms_sample_find(corpus, hex, &again, &err), &err);
    assert_int_equal(again, id);
    memset(hex, 'A', 32);
    hex[32] = '\0';
    assert_int_equal(ms_sample_find(corpus, hex, &again, &err), MS_REJECT);
    assert_int_equal(ms_sample_find(corpus, "nothing", &again, &err), MS_REJECT);
    assert_int_equal(ms_sample_find(corpus, "", &again, &err), MS_REJECT);
    assert_int_equal(ms_sample_get(corpus, 999, &back, &err), MS_REJECT);
    ms_corpus_rollback(corpus);
}

/* A row known by MD5 becomes the file's; another file with the same MD5 does not become it. */
static void test_sample_weak_hashes(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_sample weak = sample_of(1);
    struct ms_sample full = sample_of(1);
    struct ms_error err;
    int64_t first, second, third;
    bool inserted;
    weak.has_sha256 = weak.has_sha1 = false;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    assert_ok(ms_sample_upsert(corpus, &weak, 0, &first, &inserted, &err), &err);
    assert_ok(ms_sample_upsert(corpus, &full, 0, &second, &inserted, &err), &err);
    assert_int_equal(first, second);
    full.digests.sha256[0] ^= 1;
    full.digests.sha1[0] ^= 1;
    assert_ok(ms_sample_upsert(corpus, &full, 0, &third, &inserted, &err), &err);
    assert_true(inserted);
    assert_int_not_equal(first, third);
    weak.has_md5 = false;
    assert_int_equal(ms_sample_upsert(corpus, &weak, 0, &third, &inserted, &err), MS_REJECT);
    ms_corpus_rollback(corpus);
}

static void test_alias(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_span hostile = ms_span_of("a\0'; DROP TABLE sample; --\xff", 27);
    struct ms_error err;
    int64_t first, second;
    bool inserted;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    assert_ok(ms_sample_by_alias(corpus, "dataset:x", hostile, 0, &first, &inserted, &err), &err);
    assert_true(inserted);
    assert_ok(ms_sample_by_alias(corpus, "dataset:x", hostile, 0, &second, &inserted, &err), &err);
    assert_false(inserted);
    assert_int_equal(first, second);
    assert_ok(
        ms_sample_by_alias(corpus, "dataset:x", ms_span_of("a", 1), 0, &second, &inserted, &err),
        &err);
    assert_true(inserted);
    assert_ok(ms_corpus_commit(corpus, &err), &err);
    assert_int_equal(scalar(corpus, "SELECT length(external_id) FROM alias WHERE sample = 1"), 27);
}

static void test_origin(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_origin origin;
    struct ms_error err;
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    int64_t id = add_origin(corpus, "o/r");
    assert_int_equal(add_origin(corpus, "o/r"), id);
    assert_int_not_equal(add_origin(corpus, "o/s"), id);
    assert_ok(ms_origin_get(corpus, id, &origin, &err), &err);
    assert_string_equal(origin.name, "o/r");
    assert_string_equal(origin.ref, "");
    assert_string_equal(origin.claim, "malware");
    assert_string_equal(origin.state, "new");
    assert_null(origin.url);
    struct ms_origin update = {
        .id = id, .state = "ok", .has_commit = true, .commit_bytes = 20, .checked_ms = 5};
    memset(update.commit_id, 7, 20);
    ms_origin_release(&origin);
    assert_ok(ms_origin_update(corpus, &update, &err), &err);
    assert_ok(ms_origin_get(corpus, id, &origin, &err), &err);
    assert_true(origin.has_commit);
    assert_int_equal(origin.commit_bytes, 20);
    assert_memory_equal(origin.commit_id, update.commit_id, 20);
    assert_string_equal(origin.state, "ok");
    ms_origin_release(&origin);
    update.state = "no such state";
    assert_int_equal(ms_origin_update(corpus, &update, &err), MS_E_STORE);
    assert_int_equal(ms_origin_get(corpus, 999, &origin, &err), MS_REJECT);
    ms_corpus_rollback(corpus);
}

static enum ms_status join(void *ctx, struct ms_span bytes, struct ms_error *err)
{
    (void)err;
    (void)ms_buf_append(ctx, bytes.data, bytes.len);
    return ms_buf_append_byte(ctx, ' ');
}

static void test_passwords(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    static const char *const used[] = {"b", "a", "infected", "infected"};
    struct ms_error err;
    struct ms_buf all;
    ms_buf_init(&all, 1000);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    int64_t id = add_origin(corpus, "o/r");
    for (size_t i = 0; i < 4; i++)
        assert_ok(ms_origin_password_used(corpus, id, text_span(used[i]), &err), &err);
    assert_ok(ms_origin_foreach_password(corpus, id, join, &all, &err), &err);
    assert_string_equal(ms_buf_text(&all), "infected a b ");
    ms_buf_release(&all);
    ms_corpus_rollback(corpus);
}

static void test_tree_and_blobs(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    struct ms_blob blob = {.size = 10, .outcome = "ok", .samples = 1, .reason = "none"};
    struct ms_blob back;
    uint8_t git_id[20], other[20];
    bool found;
    memset(blob.git_id, 1, 20);
    memset(git_id, 1, 20);
    memset(other, 2, 20);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    int64_t first = add_origin(corpus, "o/r"), second = add_origin(corpus, "o/s");
    int64_t sample = add_sample(corpus, 1);
    assert_ok(ms_blob_find(corpus, git_id, &found, &back, &err), &err);
    assert_false(found);
    assert_ok(ms_blob_put(corpus, &blob, 1, 0, &err), &err);
    assert_ok(ms_blob_fault_put(corpus, git_id, text_span("a!b"), "crash", NULL, &err), &err);
    assert_ok(ms_blob_find(corpus, git_id, &found, &back, &err), &err);
    assert_true(found);
    assert_string_equal(back.outcome, "ok");
    assert_int_equal(back.samples, 1);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM blob_fault"), 1);
    assert_ok(ms_blob_put(corpus, &blob, 2, 0, &err), &err);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM blob_fault"), 0);
    put_sighting(corpus, sample, first, 1, "x.zip");
    put_sighting(corpus, sample, first, 1, "x.zip");
    /* The same blob in another repository, privately. */
    assert_ok(ms_blob_sight_again(corpus, git_id, second, text_span("y.zip"),
                                  (struct ms_span){NULL, 0}, NULL, true, 3, 0, &err),
              &err);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sighting"), 2);
    assert_int_equal(scalar(corpus, "SELECT count(*) FROM sighting WHERE path = x'792e7a6970'"
                                    " AND chain = CAST('a.zip!x.exe' AS BLOB) AND private"
                                    " AND password = CAST('infected' AS BLOB)"),
                     1);
    assert_int_equal(scalar(corpus, "SELECT private FROM sample"), 1);
    /* The file is there, is replaced by another, is there again. */
    static const int gone[] = {0, 1, 0, 1};
    for (int i = 0; i < 4; i++) {
        assert_ok(ms_tree_replace_begin(corpus, first, &err), &err);
        if (i < 3)
            assert_ok(
                ms_tree_put(corpus, first, text_span("x.zip"), i == 1 ? other : git_id, 10, &err),
                &err);
        assert_ok(ms_tree_replace_end(corpus, first, 50, &err), &err);
        assert_int_equal(scalar(corpus, "SELECT count(*) FROM sighting WHERE gone_ms = 50"),
                         gone[i]);
    }
    ms_corpus_rollback(corpus);
}

static void test_unsubmitted(void **state)
{
    struct fixture *fixture = *state;
    struct ms_corpus *corpus = fixture->corpus;
    struct ms_error err;
    uint8_t settings[32], other[32];
    memset(settings, 9, 32);
    memset(other, 8, 32);
    assert_ok(ms_corpus_begin(corpus, &err), &err);
    for (uint8_t i = 1; i <= 4; i++) {
        struct ms_sample sample = sample_of((uint8_t)(i * 10));
        int64_t id;
        bool inserted;
        sample.vaulted = i != 1;
        sample.private_ = i == 2;
        assert_ok(ms_sample_upsert(corpus, &sample, 0, &id, &inserted, &err), &err);
        if (i == 3)
            add_analysis(corpus, id, 0, 9);
    }
    int n = 0;
    assert_ok(ms_sample_foreach_unsubmitted(corpus, settings, count_ids, &n, &err), &err);
    assert_int_equal(n, 1);
    n = 0;
    assert_ok(ms_sample_foreach_unsubmitted(corpus, other, count_ids, &n, &err), &err);
    assert_int_equal(n, 2);
    ms_corpus_rollback(corpus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_layout),         fixture_test(test_no_corpus),
        fixture_test(test_second_writer),  fixture_test(test_read_only),
        fixture_test(test_newer_schema),   fixture_test(test_foreign_database),
        fixture_test(test_not_a_database), fixture_test(test_migrations),
        fixture_test(test_transactions),   fixture_test(test_run),
        fixture_test(test_sample_upsert),  fixture_test(test_sample_weak_hashes),
        fixture_test(test_alias),          fixture_test(test_origin),
        fixture_test(test_passwords),      fixture_test(test_tree_and_blobs),
        fixture_test(test_unsubmitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

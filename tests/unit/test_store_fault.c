/* The store when things go wrong: kills at every named step, failing writes and syncs of the
 * database, failing allocations of SQLite, files that cannot grow. Nothing half-done is ever taken
 * for done. */
#include "base/hash.h"
#include "store/internal.h"
#include "store/query.h"
#include "store/sample.h"
#include "store/vault.h"
#include "store_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* How dense the failing writes and allocations lie: k, k + 1 + k / …. A sanitized run, dear by its
 * page faults, takes fewer of the late ones; the other build takes them. */
#ifdef MS_SLOW
enum { WRITES_DENSE = 8, ALLOCATIONS_DENSE = 6 };
#else
enum { WRITES_DENSE = 30, ALLOCATIONS_DENSE = 12 };
#endif
enum { SAMPLES = 4 };

/* The k-th write or sync of a database file from now on, and all after it, fail (k > 0). */
static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    long writes, fail_from;
    int code;
} shim;

struct shim_file {
    sqlite3_file base; /* the file of the real VFS follows */
};

static struct shim_file *shim_of(sqlite3_file *file)
{
    return (struct shim_file *)(void *)file;
}

static sqlite3_file *real_of(sqlite3_file *file)
{
    return (sqlite3_file *)(void *)(shim_of(file) + 1);
}

static bool fails(void)
{
    shim.writes++;
    return shim.fail_from > 0 && shim.writes >= shim.fail_from;
}

static int shim_close(sqlite3_file *f)
{
    return real_of(f)->pMethods ? real_of(f)->pMethods->xClose(real_of(f)) : SQLITE_OK;
}

static int shim_read(sqlite3_file *f, void *out, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), out, n, at);
}

static int shim_write(sqlite3_file *f, const void *bytes, int n, sqlite3_int64 at)
{
    if (!fails())
        return real_of(f)->pMethods->xWrite(real_of(f), bytes, n, at);
    /* Half of it reaches the disk, as it may when a disk is full. */
    (void)real_of(f)->pMethods->xWrite(real_of(f), bytes, n / 2, at);
    return shim.code;
}

static int shim_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return fails() ? SQLITE_IOERR_TRUNCATE : real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int shim_sync(sqlite3_file *f, int flags)
{
    return fails() ? SQLITE_IOERR_FSYNC : real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int shim_size(sqlite3_file *f, sqlite3_int64 *out)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), out);
}

static int shim_lock(sqlite3_file *f, int kind)
{
    return real_of(f)->pMethods->xLock(real_of(f), kind);
}

static int shim_unlock(sqlite3_file *f, int kind)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), kind);
}

static int shim_reserved(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int shim_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int shim_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int shim_traits(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int shim_shm_map(sqlite3_file *f, int page, int bytes, int extend, void volatile **out)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, bytes, extend, out);
}

static int shim_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), at, n, flags);
}

static void shim_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int shim_shm_unmap(sqlite3_file *f, int flag)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), flag);
}

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    static const sqlite3_io_methods methods = {
        2,           shim_close,   shim_read,     shim_write,       shim_truncate,  shim_sync,
        shim_size,   shim_lock,    shim_unlock,   shim_reserved,    shim_control,   shim_sector,
        shim_traits, shim_shm_map, shim_shm_lock, shim_shm_barrier, shim_shm_unmap, NULL,
        NULL};
    (void)vfs;
    int code = shim.real->xOpen(shim.real, name, real_of(f), flags, out);
    f->pMethods = real_of(f)->pMethods ? &methods : NULL;
    return code;
}

static void shim_install(void)
{
    if (shim.real)
        return;
    shim.real = sqlite3_vfs_find(NULL);
    shim.vfs = *shim.real;
    shim.vfs.pNext = NULL;
    shim.vfs.zName = "failing";
    shim.vfs.szOsFile = (int)sizeof(struct shim_file) + shim.real->szOsFile;
    shim.vfs.xOpen = shim_open;
    assert_int_equal(sqlite3_vfs_register(&shim.vfs, 1), SQLITE_OK);
}

static enum ms_status put_sample(struct ms_corpus *corpus, unsigned i, struct ms_error *err)
{
    char text[32];
    struct ms_sample sample = {.has_sha256 = true, .size = 1, .vaulted = true, .machine = -1};
    struct ms_vault_write *write;
    uint64_t size;
    int64_t id;
    bool existed, inserted;
    snprintf(text, sizeof text, "object %u", i);
    enum ms_status status = ms_vault_begin(corpus, MS_VAULT_SAMPLE, &write, err);
    if (status != MS_OK)
        return status;
    status = ms_vault_append(write, text, strlen(text), err);
    if (status != MS_OK) {
        ms_vault_abort(write);
        return status;
    }
    status = ms_vault_commit(write, sample.digests.sha256, &size, &existed, err);
    if (status == MS_OK)
        status = ms_corpus_begin(corpus, err);
    if (status != MS_OK)
        return status;
    status = ms_sample_upsert(corpus, &sample, 0, &id, &inserted, err);
    if (status == MS_OK)
        return ms_corpus_commit(corpus, err);
    ms_corpus_rollback(corpus);
    return status;
}

/* The job that is disturbed: a corpus with SAMPLES samples, one forgotten in the end. *done counts
 * the steps whose success was reported. */
static enum ms_status work(const char *dir, bool forget, unsigned *done, struct ms_error *err)
{
    struct ms_corpus *corpus = NULL;
    *done = 0;
    enum ms_status status = ms_corpus_open(dir, MS_CORPUS_CREATE, &corpus, err);
    for (unsigned i = 0; i < SAMPLES && status == MS_OK; i++) {
        status = put_sample(corpus, i, err);
        /* When the job is done again, the forgotten one stays out. */
        status = status == MS_REJECT && i == 0 ? MS_OK : status;
        *done += status == MS_OK;
    }
    if (status == MS_OK && forget) {
        int64_t id = 0;
        status = ms_db_scalar(corpus, "SELECT id FROM sample WHERE id = 1", &id, err);
        if (status == MS_OK && id)
            status = ms_forget_sample(corpus, id, 0, err);
    }
    ms_corpus_close(corpus);
    return status;
}

static enum ms_status ignore_finding(void *ctx, const char *where, const char *what, bool repaired,
                                     struct ms_error *err)
{
    (void)ctx;
    (void)where;
    (void)what;
    (void)repaired;
    (void)err;
    return MS_OK;
}

static void digest_of(const char *dir, uint8_t out[32], uint64_t *findings)
{
    struct ms_corpus *corpus;
    struct ms_error err;
    struct ms_fsck_counts counts;
    assert_ok(ms_corpus_open(dir, MS_CORPUS_WRITE, &corpus, &err), &err);
    assert_ok(ms_corpus_digest(corpus, out, &err), &err);
    assert_ok(ms_fsck_run(corpus, false, ignore_finding, NULL, &counts, &err), &err);
    *findings = counts.findings;
    ms_corpus_close(corpus);
}

static int64_t count_samples(const char *dir)
{
    struct ms_corpus *corpus;
    struct ms_error err;
    int64_t n = -1;
    assert_ok(ms_corpus_open(dir, MS_CORPUS_CREATE, &corpus, &err), &err);
    assert_ok(ms_db_scalar(corpus, "SELECT count(*) FROM sample", &n, &err), &err);
    ms_corpus_close(corpus);
    return n;
}

/* The digest of the undisturbed job. */
static void undisturbed(struct fixture *fixture, uint8_t out[32])
{
    char dir[256];
    struct ms_error err;
    unsigned done;
    uint64_t findings;
    snprintf(dir, sizeof dir, "%s/undisturbed", fixture->root);
    assert_ok(work(dir, true, &done, &err), &err);
    digest_of(dir, out, &findings);
    assert_int_equal(findings, 0);
}

/* Killed at the k-th time of each step, then done again: the same corpus. Before the second run the
 * database is whole, and at most one object has no row. */
static void test_kills(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *name;
        int times;
    } steps[] = {{"store.migrate.applied", 1}, {"store.vault.written", 3},
                 {"store.vault.linked", 3},    {"store.vault.synced", 3},
                 {"store.corpus.commit", 3},   {"store.corpus.committed", 3},
                 {"store.forget.models", 1},   {"store.forget.committed", 1}};
    uint8_t expected[32], digest[32];
    undisturbed(fixture, expected);
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        for (int k = 1; k <= steps[s].times; k++) {
            char dir[256], kill_at[64];
            struct ms_error err;
            unsigned done;
            uint64_t findings = 0;
            int status;
            snprintf(dir, sizeof dir, "%s/%s-%d", fixture->root, steps[s].name, k);
            snprintf(kill_at, sizeof kill_at, "%s:%d", steps[s].name, k);
            pid_t child = fork();
            if (child == 0) {
                setenv("MALSEQ_TEST_KILL", kill_at, 1);
                (void)work(dir, true, &done, &err);
                _exit(0);
            }
            assert_int_equal(waitpid(child, &status, 0), child);
            if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
                fail_msg("step %s was not reached %d times", steps[s].name, k);
            if (s > 0) {
                digest_of(dir, digest, &findings);
                assert_true(findings <= 1);
            }
            assert_ok(work(dir, true, &done, &err), &err);
            digest_of(dir, digest, &findings);
            if (strcmp(steps[s].name, "store.forget.committed") == 0) {
                /* The forgotten object has to be swept by fsck. */
                struct ms_corpus *corpus;
                struct ms_fsck_counts counts;
                assert_int_equal(findings, 1);
                assert_ok(ms_corpus_open(dir, MS_CORPUS_WRITE, &corpus, &err), &err);
                assert_ok(ms_fsck_run(corpus, true, ignore_finding, NULL, &counts, &err), &err);
                ms_corpus_close(corpus);
                digest_of(dir, digest, &findings);
            }
            assert_int_equal(findings, 0);
            assert_memory_equal(digest, expected, 32);
        }
    }
}

/* The k-th write of the database fails, for k up to where the job gets through: what was reported
 * as done is there afterwards, and nothing else but at most the step that was under way. */
static void failing_writes(struct fixture *fixture, int code, const char *words)
{
    shim_install();
    unsigned failures = 0;
    long k = 1;
    for (;; k += 1 + k / WRITES_DENSE) {
        char dir[256];
        struct ms_error err = {.text = ""};
        unsigned done;
        snprintf(dir, sizeof dir, "%s/write-%d-%ld", fixture->root, code, k);
        shim.writes = 0;
        shim.fail_from = k;
        shim.code = code;
        enum ms_status status = work(dir, false, &done, &err);
        shim.fail_from = 0;
        if (status == MS_OK)
            break;
        failures++;
        if (status != MS_E_STORE || !strstr(err.text, "corpus.db"))
            fail_msg("write %ld: %s: %s", k, ms_status_name(status), err.text);
        if (words && shim.writes == k && !strstr(err.text, words) && !strstr(err.text, "disk I/O"))
            fail_msg("write %ld: %s", k, err.text);
        int64_t n = count_samples(dir);
        assert_true(n == done || n == done + 1);
        assert_ok(work(dir, false, &done, &err), &err);
        assert_int_equal(count_samples(dir), SAMPLES);
    }
    print_message("%u failures, the last at write %ld\n", failures, k);
    assert_true(failures > 20);
}

static void test_disk_full(void **state)
{
    failing_writes(*state, SQLITE_FULL, "full");
}

static void test_write_error(void **state)
{
    failing_writes(*state, SQLITE_IOERR_WRITE, NULL);
}

/* A file-size limit stands for a full disk below the vault: no object, nothing left over, and a
 * message; with the limit gone, all is well. */
static void test_vault_cannot_grow(void **state)
{
    struct fixture *fixture = *state;
    for (int named = 0; named < 2; named++) {
        pid_t child = fork();
        if (child == 0) {
            struct rlimit limit = {1000, RLIM_INFINITY};
            struct ms_vault_write *write = NULL;
            struct ms_error err = {.text = ""};
            uint8_t sha256[32], bytes[200000];
            uint64_t size;
            bool existed;
            uint32_t x = 1;
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
            signal(SIGXFSZ, SIG_IGN);
            if (named)
                setenv("MALSEQ_TEST_NAMED_TEMPORARY", "1", 1);
            if (ms_vault_begin(fixture->corpus, MS_VAULT_SAMPLE, &write, &err) != MS_OK)
                _exit(1);
            setrlimit(RLIMIT_FSIZE, &limit);
            enum ms_status appended = ms_vault_append(write, bytes, sizeof bytes, &err);
            if (appended != MS_OK && appended != MS_E_IO)
                _exit(4);
            if (ms_vault_commit(write, sha256, &size, &existed, &err) != MS_E_IO || !err.text[0])
                _exit(2);
            limit.rlim_cur = RLIM_INFINITY;
            setrlimit(RLIMIT_FSIZE, &limit);
            if (put_sample(fixture->corpus, 1, &err) != MS_OK)
                _exit(3);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(fixture_count(fixture, "samples"), 1);
        assert_int_equal(fixture_count(fixture, "tmp"), 0);
    }
}

/* SQLite's allocations, the k-th of which fails, and all after it. */
static sqlite3_mem_methods real_memory;
static long allocations, fail_allocation;

static bool no_memory(void)
{
    allocations++;
    return fail_allocation > 0 && allocations >= fail_allocation;
}

static void *failing_malloc(int n)
{
    return no_memory() ? NULL : real_memory.xMalloc(n);
}

static void *failing_realloc(void *p, int n)
{
    return no_memory() ? NULL : real_memory.xRealloc(p, n);
}

static enum ms_status ignore_head(void *ctx, const char *const *names, int count,
                                  struct ms_error *err)
{
    (void)ctx;
    (void)names;
    (void)count;
    (void)err;
    return MS_OK;
}

static enum ms_status ignore_row(void *ctx, const struct ms_value *values, int count,
                                 struct ms_error *err)
{
    (void)ctx;
    (void)values;
    (void)count;
    (void)err;
    return MS_OK;
}

static enum ms_status query_all(const char *dir, struct ms_error *err)
{
    struct ms_query_sink sink = {NULL, ignore_head, ignore_row};
    struct ms_corpus *corpus = NULL;
    uint8_t digest[32];
    enum ms_status status = ms_corpus_open(dir, MS_CORPUS_READ, &corpus, err);
    if (status == MS_OK)
        status = ms_query_run(corpus,
                              "SELECT hex(sha256), (SELECT count(*) FROM calls) FROM sample"
                              " ORDER BY 1",
                              0, &sink, err);
    if (status == MS_OK)
        status = ms_corpus_digest(corpus, digest, err);
    ms_corpus_close(corpus);
    return status;
}

static void test_no_memory(void **state)
{
    struct fixture *fixture = *state;
    unsigned failures = 0;
    ms_corpus_close(fixture->corpus);
    fixture->corpus = NULL;
    for (long k = 1;; k += 1 + k / ALLOCATIONS_DENSE) {
        char dir[256];
        struct ms_error err = {.text = ""};
        unsigned done;
        snprintf(dir, sizeof dir, "%s/memory-%ld", fixture->root, k);
        allocations = 0;
        fail_allocation = k;
        enum ms_status status = work(dir, true, &done, &err);
        enum ms_status reading = query_all(fixture->dir, &err);
        fail_allocation = 0;
        if (status == MS_OK && reading == MS_OK)
            break;
        failures++;
        assert_true(err.text[0] != '\0');
        if (status != MS_OK)
            assert_ok(work(dir, true, &done, &err), &err);
    }
    print_message("%u failures\n", failures);
    assert_true(failures > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_kills),       fixture_test(test_disk_full),
        fixture_test(test_write_error), fixture_test(test_vault_cannot_grow),
        fixture_test(test_no_memory),
    };
    sqlite3_mem_methods methods;
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory) != SQLITE_OK)
        return 1;
    methods = real_memory;
    methods.xMalloc = failing_malloc;
    methods.xRealloc = failing_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Objects of the vault that are synced together: in what order the disk is told what, how often,
 * what a failing sync leaves, and that no room, descriptor or temporary is lost. */
#define _GNU_SOURCE /* syncfs */
#include "base/hash.h"
#include "base/limits.h"
#include "store/internal.h"
#include "store/vault_group.h"
#include "store_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* These take the place of the C library's. */
static struct {
    atomic_long calls, whole; /* of both, and of syncfs */
    atomic_long fail_at;      /* the call that fails, from 1; 0: none */
    atomic_bool forbidden;    /* syncfs gives EPERM */
} syncs;

static bool fails(void)
{
    return atomic_fetch_add(&syncs.calls, 1) + 1 == atomic_load(&syncs.fail_at);
}

int fsync(int fd)
{
    if (fails()) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

int syncfs(int fd)
{
    if (atomic_load(&syncs.forbidden)) {
        errno = EPERM;
        return -1;
    }
    atomic_fetch_add(&syncs.whole, 1);
    if (fails()) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_syncfs, fd);
}

static void expect_syncs(long fail_at)
{
    atomic_store(&syncs.calls, 0);
    atomic_store(&syncs.whole, 0);
    atomic_store(&syncs.fail_at, fail_at);
}

static enum ms_status add(struct ms_vault_group *group, unsigned number, uint8_t sha256[32],
                          struct ms_error *err)
{
    char text[64];
    uint8_t expected[32];
    struct ms_vault_write *write;
    uint64_t size;
    int n = snprintf(text, sizeof text, "object %u", number);
    enum ms_status status = ms_vault_group_begin(group, &write, err);
    if (status != MS_OK)
        return status;
    status = ms_vault_append(write, text, (size_t)n, err);
    if (status != MS_OK) {
        ms_vault_abort(write);
        return status;
    }
    status = ms_vault_group_add(group, write, sha256, &size, err);
    if (status == MS_OK) {
        assert_int_equal(size, n);
        assert_int_equal(ms_hash_sha256(text, (size_t)n, expected), MS_OK);
        assert_memory_equal(sha256, expected, 32);
    }
    return status;
}

static struct ms_vault_group *group_of(struct fixture *fixture)
{
    struct ms_vault_group *group;
    struct ms_error err;
    assert_ok(ms_vault_group_new(fixture->corpus, MS_VAULT_SAMPLE, &group, &err), &err);
    return group;
}

static void add_range(struct ms_vault_group *group, unsigned from, unsigned to)
{
    uint8_t sha256[32];
    struct ms_error err;
    for (unsigned i = from; i < to; i++)
        assert_ok(add(group, i, sha256, &err), &err);
}

static enum ms_status drop_bytes(void *ctx, const void *bytes, size_t n, struct ms_error *err)
{
    (void)ctx;
    (void)bytes;
    (void)n;
    (void)err;
    return MS_OK;
}

struct seen {
    struct ms_corpus *corpus;
    unsigned count;
    uint64_t bytes;
};

static enum ms_status look_at(void *ctx, const uint8_t sha256[32], bool good_name, const char *name,
                              struct ms_error *err)
{
    struct seen *seen = ctx;
    struct stat st;
    assert_true(good_name);
    assert_int_equal(fstatat(seen->corpus->samples_fd, name, &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(st.st_nlink, 1);
    seen->count++;
    seen->bytes += (uint64_t)st.st_size;
    return ms_vault_read(seen->corpus, MS_VAULT_SAMPLE, sha256, drop_bytes, NULL, err);
}

/* How many objects there are; each is whole. */
static struct seen objects(struct fixture *fixture)
{
    struct seen seen = {fixture->corpus, 0, 0};
    struct ms_error err;
    assert_ok(ms_vault_foreach(fixture->corpus, MS_VAULT_SAMPLE, look_at, &seen, &err), &err);
    return seen;
}

static unsigned open_files(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void test_nothing_before_sync(void **state)
{
    struct fixture *fixture = *state;
    for (int named = 0; named < 2; named++) {
        struct ms_error err;
        unsigned before = objects(fixture).count, files = open_files();
        if (named)
            setenv("MALSEQ_TEST_NAMED_TEMPORARY", "1", 1);
        struct ms_vault_group *group = group_of(fixture);
        expect_syncs(0);
        add_range(group, 100u * (unsigned)named, 100u * (unsigned)named + 50);
        assert_int_equal(syncs.calls, 0);
        assert_int_equal(objects(fixture).count, before);
        ms_vault_group_free(group); /* as if nothing had been */
        assert_int_equal(objects(fixture).count, before);
        assert_int_equal(fixture_count(fixture, "tmp"), 0);
        group = group_of(fixture);
        add_range(group, 100u * (unsigned)named, 100u * (unsigned)named + 50);
        assert_ok(ms_vault_group_sync(group, &err), &err);
        assert_int_equal(syncs.calls, 2); /* bytes; names and folders */
        assert_int_equal(syncs.whole, 2);
        assert_int_equal(objects(fixture).count, before + 50);
        assert_ok(ms_vault_group_sync(group, &err), &err);
        assert_int_equal(syncs.calls, 2);
        ms_vault_group_free(group);
        unsetenv("MALSEQ_TEST_NAMED_TEMPORARY");
        assert_int_equal(fixture_count(fixture, "tmp"), 0);
        assert_int_equal(open_files(), files);
        assert_int_equal(fixture->corpus->waiting_objects, 0);
        assert_int_equal(fixture->corpus->loose_groups, 0);
    }
}

/* What others write to the disk is no business of one object's. */
static void test_few_by_themselves(void **state)
{
    struct fixture *fixture = *state;
    struct ms_error err;
    struct ms_vault_group *group = group_of(fixture);
    expect_syncs(0);
    add_range(group, 0, 1);
    assert_ok(ms_vault_group_sync(group, &err), &err);
    assert_int_equal(syncs.whole, 0);
    assert_int_equal(syncs.calls, 4); /* the object, two parents of new folders, its folder */
    /* There already: only its folder, for another may have named it just now. */
    expect_syncs(0);
    add_range(group, 0, 1);
    assert_ok(ms_vault_group_sync(group, &err), &err);
    assert_int_equal(syncs.calls, 1);
    assert_int_equal(syncs.whole, 0);
    /* Another group's folders may not be on the disk: then only syncing all will do. */
    struct ms_vault_group *other = group_of(fixture);
    add_range(other, 10, 10 + MS_LIMIT_VAULT_WAITING); /* named, folders not synced */
    assert_int_equal(fixture->corpus->loose_groups, 1);
    expect_syncs(0);
    add_range(group, 10, 11);
    assert_ok(ms_vault_group_sync(group, &err), &err);
    assert_int_equal(syncs.whole, 1);
    assert_ok(ms_vault_group_sync(other, &err), &err);
    assert_int_equal(fixture->corpus->loose_groups, 0);
    ms_vault_group_free(other);
    ms_vault_group_free(group);
}

/* An archive of many members: few syncs, few open files. */
static void test_many(void **state)
{
    enum { COUNT = 4 * MS_LIMIT_VAULT_WAITING + 9 };
    struct fixture *fixture = *state;
    struct ms_error err;
    uint8_t sha256[32];
    unsigned files = open_files(), most = 0;
    struct ms_vault_group *group = group_of(fixture);
    expect_syncs(0);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_ok(add(group, i, sha256, &err), &err);
        if (i % 17 == 0 || i % MS_LIMIT_VAULT_WAITING == MS_LIMIT_VAULT_WAITING - 2)
            most = open_files() > most ? open_files() : most;
    }
    assert_in_range(most, files + MS_LIMIT_VAULT_WAITING / 2, files + MS_LIMIT_VAULT_WAITING);
    assert_ok(ms_vault_group_sync(group, &err), &err);
    assert_int_equal(syncs.calls, 6); /* four full ones, the rest, the last folders */
    ms_vault_group_free(group);
    assert_int_equal(objects(fixture).count, COUNT);
    assert_int_equal(open_files(), files);
}

/* The k-th sync fails, for every k: MS_E_IO, no row may be written, and no name without its bytes
 * on the disk; what is there is whole, and a later run makes the rest. */
static void test_failing_syncs(void **state)
{
    struct fixture *fixture = *state;
    unsigned failed = 0;
    for (unsigned count = 1; count <= 302; count += count < 2 ? 1 : 300)
        for (long k = 1;; k++) {
            struct ms_error err = {.text = ""};
            uint8_t sha256[32];
            enum ms_status status = MS_OK;
            unsigned from = 100000 * count + 1000 * (unsigned)k;
            unsigned before = objects(fixture).count;
            struct ms_vault_group *group = group_of(fixture);
            expect_syncs(k);
            for (unsigned i = 0; i < count && status == MS_OK; i++)
                status = add(group, from + i, sha256, &err);
            if (status == MS_OK)
                status = ms_vault_group_sync(group, &err);
            bool hit = syncs.calls >= k;
            expect_syncs(0);
            assert_int_equal(status, hit ? MS_E_IO : MS_OK);
            if (hit)
                assert_non_null(strstr(err.text, "Input/output error"));
            if (hit && k == 1)
                assert_int_equal(objects(fixture).count, before);
            ms_vault_group_free(group);
            assert_int_equal(fixture->corpus->waiting_objects, 0);
            assert_int_equal(fixture_count(fixture, "tmp"), 0);
            failed += hit;
            fixture_reopen(fixture, MS_CORPUS_WRITE); /* an error of the whole disk stays */
            group = group_of(fixture);
            add_range(group, from, from + count);
            assert_ok(ms_vault_group_sync(group, &err), &err);
            ms_vault_group_free(group);
            assert_int_equal(objects(fixture).count, before + count);
            if (!hit)
                break;
        }
    assert_in_range(failed, 9, 1000);
}

/* The kernel tells one caller; every group of the process must hear it. */
static void test_error_is_everybodys(void **state)
{
    struct fixture *fixture = *state;
    struct ms_error err;
    struct ms_vault_group *first = group_of(fixture), *second = group_of(fixture);
    add_range(first, 0, 10);
    add_range(second, 10, 20);
    expect_syncs(1);
    assert_int_equal(ms_vault_group_sync(first, &err), MS_E_IO);
    assert_int_equal(ms_vault_group_sync(second, &err), MS_E_IO);
    expect_syncs(0);
    ms_vault_group_free(first);
    ms_vault_group_free(second);
    assert_int_equal(objects(fixture).count, 0);
}

static void test_without_syncfs(void **state)
{
    struct fixture *fixture = *state;
    struct ms_error err;
    atomic_store(&syncs.forbidden, true);
    struct ms_vault_group *group = group_of(fixture);
    expect_syncs(0);
    add_range(group, 0, 20);
    assert_ok(ms_vault_group_sync(group, &err), &err);
    assert_in_range(syncs.calls, 40, 81); /* each object and its folder, and the new parents */
    assert_int_equal(syncs.whole, 0);
    ms_vault_group_free(group);
    atomic_store(&syncs.forbidden, false);
    assert_int_equal(objects(fixture).count, 20);
}

/* Twice in a group, in two groups, in the vault, and cut there by a crash. */
static void test_existing(void **state)
{
    struct fixture *fixture = *state;
    struct ms_error err;
    struct stat before, after;
    uint8_t sha256[32];
    char hex[65], path[512];
    struct ms_vault_group *first = group_of(fixture), *second = group_of(fixture);
    add_range(first, 0, 8);
    add_range(first, 0, 8);
    assert_int_equal(fixture->corpus->waiting_objects, 8);
    add_range(second, 4, 12);
    assert_ok(ms_vault_group_join(first, second, &err), &err);
    assert_ok(ms_vault_group_sync(second, &err), &err);
    assert_int_equal(objects(fixture).count, 0);
    assert_ok(ms_vault_group_sync(first, &err), &err);
    assert_int_equal(objects(fixture).count, 12);
    assert_ok(add(first, 3, sha256, &err), &err);
    ms_hex_encode(sha256, 32, hex);
    snprintf(path, sizeof path, "%s/samples/%.2s/%.2s/%s", fixture->dir, hex, hex + 2, hex);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(fixture->corpus->waiting_objects, 0);
    fixture_write(path, (const uint8_t *)"MSQ1", 4);
    assert_ok(add(first, 3, sha256, &err), &err);
    assert_int_equal(fixture->corpus->waiting_objects, 1);
    assert_ok(ms_vault_group_sync(first, &err), &err);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_int_equal(objects(fixture).count, 12);
    ms_vault_group_free(first);
    ms_vault_group_free(second);
}

/* Room is booked when an object is added and given back when it gets no name of its own. */
static void test_room(void **state)
{
    struct fixture *fixture = *state;
    struct ms_error err;
    uint8_t sha256[32];
    assert_ok(ms_vault_limit(fixture->corpus, 1000, UINT64_MAX, &err), &err);
    struct ms_vault_group *group = group_of(fixture), *other = group_of(fixture);
    unsigned n = 0;
    while (add(group, n, sha256, &err) == MS_OK)
        n++;
    assert_in_range(n, 10, 50);
    assert_true(ms_vault_is_full(fixture->corpus));
    ms_vault_group_free(group);
    assert_int_equal(fixture->corpus->room.used_bytes, 0);
    group = group_of(fixture);
    add_range(group, 0, 9);
    add_range(other, 5, 12);
    assert_ok(ms_vault_group_sync(group, &err), &err);
    assert_ok(ms_vault_group_sync(other, &err), &err);
    struct seen seen = objects(fixture);
    assert_int_equal(seen.count, 12);
    assert_int_equal(fixture->corpus->room.used_bytes, seen.bytes);
    ms_vault_group_free(group);
    ms_vault_group_free(other);
}

static void *add_many(void *ctx)
{
    struct fixture *fixture = ctx;
    struct ms_error err;
    uint8_t sha256[32];
    struct ms_vault_group *group;
    intptr_t failed = ms_vault_group_new(fixture->corpus, MS_VAULT_SAMPLE, &group, &err) != MS_OK;
    for (unsigned i = 0; i < 200 && !failed; i++) {
        failed = add(group, i, sha256, &err) != MS_OK;
        if (i % 7 == 0 && !failed)
            failed = ms_vault_group_sync(group, &err) != MS_OK;
    }
    failed = failed || ms_vault_group_sync(group, &err) != MS_OK;
    ms_vault_group_free(group);
    return failed ? ctx : NULL;
}

static void test_threads(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[4];
    void *failed;
    expect_syncs(0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, fixture), 0);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(objects(fixture).count, 200);
    assert_int_equal(fixture->corpus->waiting_objects, 0);
    assert_int_equal(fixture->corpus->loose_groups, 0);
}

/* Removed by one sync, by one of each folder where they are few or it is forbidden; an error is
 * told. */
static void test_removal(void **state)
{
    enum { MANY = 50 };
    static const struct {
        unsigned count;
        bool forbidden;
        long calls, whole;
    } cases[] = {{MANY, false, 1, 1}, {2, false, 2, 0}, {MANY, true, MANY, 0}};
    struct fixture *fixture = *state;
    struct ms_vault_object doomed[MANY];
    struct ms_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_vault_group *group = group_of(fixture);
        for (unsigned number = 0; number < cases[i].count; number++) {
            doomed[number].kind = MS_VAULT_SAMPLE;
            assert_ok(add(group, number, doomed[number].sha256, &err), &err);
        }
        assert_ok(ms_vault_group_sync(group, &err), &err);
        ms_vault_group_free(group);
        assert_int_equal(objects(fixture).count, cases[i].count);
        atomic_store(&syncs.forbidden, cases[i].forbidden);
        expect_syncs(0);
        assert_ok(ms_vault_remove_all(fixture->corpus, doomed, cases[i].count, &err), &err);
        assert_int_equal(objects(fixture).count, 0);
        assert_int_equal(syncs.calls, cases[i].calls);
        assert_int_equal(syncs.whole, cases[i].whole);
        /* None is there: nothing to sync. */
        expect_syncs(0);
        assert_ok(ms_vault_remove_all(fixture->corpus, doomed, cases[i].count, &err), &err);
        assert_int_equal(syncs.calls, 0);
        atomic_store(&syncs.forbidden, false);
    }
    struct ms_vault_group *group = group_of(fixture);
    assert_ok(add(group, 0, doomed[0].sha256, &err), &err);
    assert_ok(ms_vault_group_sync(group, &err), &err);
    ms_vault_group_free(group);
    expect_syncs(1);
    assert_int_equal(ms_vault_remove_all(fixture->corpus, doomed, 1, &err), MS_E_IO);
    expect_syncs(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_nothing_before_sync),
        fixture_test(test_few_by_themselves),
        fixture_test(test_many),
        fixture_test(test_failing_syncs),
        fixture_test(test_error_is_everybodys),
        fixture_test(test_without_syncfs),
        fixture_test(test_existing),
        fixture_test(test_room),
        fixture_test(test_threads),
        fixture_test(test_removal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

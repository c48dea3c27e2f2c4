/* The vault: round trips, what lies on the disk, damage, threads, leftovers. */
#include "base/hash.h"
#include "base/rng.h"
#include "store/internal.h"
#include "store/vault.h"
#include "store_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(struct ms_corpus *corpus, enum ms_vault_kind kind, const void *bytes, size_t n,
                uint8_t sha256[32], bool *existed)
{
    struct ms_vault_write *write;
    struct ms_error err;
    uint64_t size;
    assert_ok(ms_vault_begin(corpus, kind, &write, &err), &err);
    size_t half = n / 2;
    assert_ok(ms_vault_append(write, bytes, half, &err), &err);
    assert_ok(ms_vault_append(write, (const uint8_t *)bytes + half, n - half, &err), &err);
    assert_ok(ms_vault_commit(write, sha256, &size, existed, &err), &err);
    assert_int_equal(size, n);
    uint8_t expected[32];
    assert_int_equal(ms_hash_sha256(bytes, n, expected), MS_OK);
    assert_memory_equal(sha256, expected, 32);
}

static enum ms_status keep(void *ctx, const void *bytes, size_t n, struct ms_error *err)
{
    (void)err;
    return ms_buf_append(ctx, bytes, n);
}

static enum ms_status get(struct ms_corpus *corpus, enum ms_vault_kind kind,
                          const uint8_t sha256[32], struct ms_buf *out)
{
    struct ms_error err = {0};
    ms_buf_init(out, 64 << 20);
    return ms_vault_read(corpus, kind, sha256, keep, out, &err);
}

/* The path of an object; the caller's buffer holds 512 bytes. */
static const char *object_path(struct fixture *fixture, enum ms_vault_kind kind,
                               const uint8_t sha256[32], char out[512])
{
    char hex[65];
    ms_hex_encode(sha256, 32, hex);
    snprintf(out, 512, "%s/%s/%.2s/%.2s/%s%s", fixture->dir,
             kind == MS_VAULT_SAMPLE ? "samples" : "reports", hex, hex + 2, hex,
             kind == MS_VAULT_SAMPLE ? "" : ".zst");
    return out;
}

static void test_round_trip(void **state)
{
    struct fixture *fixture = *state;
    static const size_t sizes[] = {0, 1, 7, 8, 9, 4096, 200000, 3000001};
    uint8_t *bytes = malloc(3000001);
    struct ms_rng rng;
    ms_rng_init(&rng, 1, 2, 3);
    for (size_t i = 0; i < 3000001; i++)
        bytes[i] = (uint8_t)(i % 1000 < 700 ? 'a' : ms_rng_below(&rng, 256));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int kind = 0; kind < 2; kind++) {
            uint8_t sha256[32];
            bool existed;
            struct ms_buf back;
            put(fixture->corpus, (enum ms_vault_kind)kind, bytes, sizes[i], sha256, &existed);
            assert_false(existed);
            put(fixture->corpus, (enum ms_vault_kind)kind, bytes, sizes[i], sha256, &existed);
            assert_true(existed);
            assert_true(ms_vault_has(fixture->corpus, (enum ms_vault_kind)kind, sha256));
            assert_int_equal(get(fixture->corpus, (enum ms_vault_kind)kind, sha256, &back), MS_OK);
            assert_int_equal(back.len, sizes[i]);
            if (back.len)
                assert_memory_equal(back.data, bytes, sizes[i]);
            ms_buf_release(&back);
        }
    }
    free(bytes);
}

/* Neither the sample nor the zstd frame of it may be found in the object. */
static void test_neutered(void **state)
{
    struct fixture *fixture = *state;
    static const char sample[] = "MZ\x90 This program cannot be run in DOS mode. "
                                 "This program cannot be run in DOS mode.";
    static const uint8_t zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    char path[512];
    uint8_t sha256[32], object[4096];
    bool existed;
    struct stat st;
    put(fixture->corpus, MS_VAULT_SAMPLE, sample, sizeof sample, sha256, &existed);
    assert_int_equal(stat(object_path(fixture, MS_VAULT_SAMPLE, sha256, path), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(st.st_nlink, 1);
    size_t n = fixture_read(path, object, sizeof object);
    assert_true(n > 16 && n < sizeof object);
    assert_memory_equal(object, "MSQ1",
                        4); /* "MZ" would make it a program to scanners and loaders */
    for (size_t i = 0; i + 4 <= n; i++) {
        assert_memory_not_equal(object + i, zstd_magic, 4);
        assert_memory_not_equal(object + i, "This", 4);
    }
    *strrchr(path, '/') = '\0';
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

/* Every byte of the object flipped in turn, every cut, and bytes behind the end. */
static void test_damage(void **state)
{
    struct fixture *fixture = *state;
    static const char report[] = "{\"behavior\": {\"processes\": []}, \"behaviour\": \"none\"}";
    for (int k = 0; k < 2; k++) {
        enum ms_vault_kind kind = k ? MS_VAULT_REPORT : MS_VAULT_SAMPLE;
        char path[512];
        uint8_t sha256[32], object[4096];
        bool existed;
        struct ms_buf back;
        put(fixture->corpus, kind, report, sizeof report, sha256, &existed);
        object_path(fixture, kind, sha256, path);
        size_t n = fixture_read(path, object, sizeof object - 1);
        unsigned refused = 0;
        for (size_t i = 0; i < n; i++) {
            object[i] ^= 0x40;
            fixture_write(path, object, n);
            refused += get(fixture->corpus, kind, sha256, &back) == MS_E_STORE;
            ms_buf_release(&back);
            object[i] ^= 0x40;
        }
        /* A bit of a zstd header may mean nothing; most do. */
        assert_true(refused + 2 >= n);
        for (size_t i = 0; i < n; i++) {
            fixture_write(path, object, i);
            assert_int_equal(get(fixture->corpus, kind, sha256, &back), MS_E_STORE);
            ms_buf_release(&back);
        }
        object[n] = 0;
        fixture_write(path, object, n + 1);
        assert_int_equal(get(fixture->corpus, kind, sha256, &back), MS_E_STORE);
        ms_buf_release(&back);
        fixture_write(path, object, n);
        assert_int_equal(get(fixture->corpus, kind, sha256, &back), MS_OK);
        ms_buf_release(&back);
    }
}

static void test_absent_and_remove(void **state)
{
    struct fixture *fixture = *state;
    struct ms_error err;
    struct ms_buf back;
    uint8_t sha256[32] = {1, 2, 3};
    bool existed;
    assert_false(ms_vault_has(fixture->corpus, MS_VAULT_SAMPLE, sha256));
    assert_int_equal(get(fixture->corpus, MS_VAULT_SAMPLE, sha256, &back), MS_REJECT);
    assert_ok(ms_vault_remove(fixture->corpus, MS_VAULT_SAMPLE, sha256, &err), &err);
    put(fixture->corpus, MS_VAULT_SAMPLE, "x", 1, sha256, &existed);
    assert_ok(ms_vault_remove(fixture->corpus, MS_VAULT_SAMPLE, sha256, &err), &err);
    assert_false(ms_vault_has(fixture->corpus, MS_VAULT_SAMPLE, sha256));
}

static void test_read_fd(void **state)
{
    struct fixture *fixture = *state;
    struct ms_error err;
    uint8_t sha256[32];
    char back[8] = "";
    uint64_t size;
    bool existed;
    int fd;
    put(fixture->corpus, MS_VAULT_REPORT, "abc", 3, sha256, &existed);
    assert_ok(ms_vault_read_fd(fixture->corpus, MS_VAULT_REPORT, sha256, &fd, &size, &err), &err);
    assert_int_equal(size, 3);
    assert_int_equal(read(fd, back, sizeof back), 3);
    assert_string_equal(back, "abc");
    close(fd);
}

/* An abandoned object leaves nothing, neither unnamed nor named. */
static void test_abort(void **state)
{
    struct fixture *fixture = *state;
    for (int named = 0; named < 2; named++) {
        struct ms_vault_write *write;
        struct ms_error err;
        if (named)
            setenv("MALSEQ_TEST_NAMED_TEMPORARY", "1", 1);
        assert_ok(ms_vault_begin(fixture->corpus, MS_VAULT_SAMPLE, &write, &err), &err);
        assert_ok(ms_vault_append(write, "abc", 3, &err), &err);
        assert_int_equal(fixture_count(fixture, "tmp"), named);
        ms_vault_abort(write);
        unsetenv("MALSEQ_TEST_NAMED_TEMPORARY");
        assert_int_equal(fixture_count(fixture, "tmp"), 0);
        assert_int_equal(fixture_count(fixture, "samples"), 0);
    }
}

/* The way for file systems without unnamed files ends in the same object, byte for byte. */
static void test_named_temporary(void **state)
{
    struct fixture *fixture = *state;
    uint8_t sha256[32], first[512], second[512];
    char path[512];
    bool existed;
    struct stat st;
    struct ms_error err;
    put(fixture->corpus, MS_VAULT_SAMPLE, "hello hello hello", 17, sha256, &existed);
    object_path(fixture, MS_VAULT_SAMPLE, sha256, path);
    size_t n = fixture_read(path, first, sizeof first);
    assert_ok(ms_vault_remove(fixture->corpus, MS_VAULT_SAMPLE, sha256, &err), &err);
    setenv("MALSEQ_TEST_NAMED_TEMPORARY", "1", 1);
    put(fixture->corpus, MS_VAULT_SAMPLE, "hello hello hello", 17, sha256, &existed);
    assert_false(existed);
    put(fixture->corpus, MS_VAULT_SAMPLE, "hello hello hello", 17, sha256, &existed);
    assert_true(existed);
    unsetenv("MALSEQ_TEST_NAMED_TEMPORARY");
    assert_int_equal(fixture_read(path, second, sizeof second), n);
    assert_memory_equal(first, second, n);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(fixture_count(fixture, "tmp"), 0);
}

/* An object that a crash of the file system cut is written again when its sample comes again. */
static void test_mended(void **state)
{
    struct fixture *fixture = *state;
    for (int named = 0; named < 2; named++) {
        uint8_t sha256[32], object[4096];
        char path[512];
        bool existed;
        struct ms_buf back;
        struct stat st;
        put(fixture->corpus, MS_VAULT_SAMPLE, "hello hello hello", 17, sha256, &existed);
        object_path(fixture, MS_VAULT_SAMPLE, sha256, path);
        size_t n = fixture_read(path, object, sizeof object);
        if (named)
            setenv("MALSEQ_TEST_NAMED_TEMPORARY", "1", 1);
        for (size_t cut = 0; cut < n; cut += 7) {
            fixture_write(path, object, cut);
            put(fixture->corpus, MS_VAULT_SAMPLE, "hello hello hello", 17, sha256, &existed);
            assert_false(existed);
            assert_int_equal(get(fixture->corpus, MS_VAULT_SAMPLE, sha256, &back), MS_OK);
            ms_buf_release(&back);
        }
        unsetenv("MALSEQ_TEST_NAMED_TEMPORARY");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0400);
        assert_int_equal(fixture_count(fixture, "tmp"), 0);
    }
}

/* What a killed run left in tmp/ goes at the next opening for writing, not at one for reading. */
static void test_leftovers(void **state)
{
    struct fixture *fixture = *state;
    char path[512];
    snprintf(path, sizeof path, "%s/tmp/vault-1-1", fixture->dir);
    fixture_write(path, (const uint8_t *)"x", 1);
    fixture_reopen(fixture, MS_CORPUS_READ);
    assert_int_equal(fixture_count(fixture, "tmp"), 1);
    fixture_reopen(fixture, MS_CORPUS_WRITE);
    assert_int_equal(fixture_count(fixture, "tmp"), 0);
}

struct job {
    struct ms_corpus *corpus;
    unsigned seed;
    unsigned failures;
};

static void *write_many(void *ctx)
{
    struct job *job = ctx;
    for (unsigned i = 0; i < 40; i++) {
        char text[64];
        uint8_t sha256[32];
        struct ms_vault_write *write;
        uint64_t size;
        bool existed;
        /* Half of the objects are the other threads' too. */
        int n = snprintf(text, sizeof text, "object %u of %u", i, i % 2 ? job->seed : 0);
        if (ms_vault_begin(job->corpus, MS_VAULT_SAMPLE, &write, NULL) != MS_OK) {
            job->failures++;
            continue;
        }
        if (ms_vault_append(write, text, (size_t)n, NULL) != MS_OK)
            job->failures++;
        if (ms_vault_commit(write, sha256, &size, &existed, NULL) != MS_OK)
            job->failures++;
    }
    return NULL;
}

static enum ms_status count_good(void *ctx, const uint8_t sha256[32], bool good_name,
                                 const char *name, struct ms_error *err)
{
    struct {
        unsigned good, bad;
        uint8_t last[32];
    } *counts = ctx;
    (void)name;
    (void)err;
    if (good_name) {
        assert_true(memcmp(counts->last, sha256, 32) < 0);
        memcpy(counts->last, sha256, 32);
        counts->good++;
    } else {
        counts->bad++;
    }
    return MS_OK;
}

static void test_threads_and_foreach(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[4];
    struct job jobs[4];
    struct ms_error err;
    char path[512];
    for (unsigned i = 0; i < 4; i++) {
        jobs[i] = (struct job){fixture->corpus, i + 1, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &jobs[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(jobs[i].failures, 0);
    }
    snprintf(path, sizeof path, "%s/samples/stranger", fixture->dir);
    fixture_write(path, (const uint8_t *)"x", 1);
    struct {
        unsigned good, bad;
        uint8_t last[32];
    } counts = {0, 0, {0}};
    assert_ok(ms_vault_foreach(fixture->corpus, MS_VAULT_SAMPLE, count_good, &counts, &err), &err);
    assert_int_equal(counts.good, 20 + 4 * 20);
    assert_int_equal(counts.bad, 1);
    assert_int_equal(fixture_count(fixture, "tmp"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_round_trip),      fixture_test(test_neutered),
        fixture_test(test_damage),          fixture_test(test_absent_and_remove),
        fixture_test(test_read_fd),         fixture_test(test_abort),
        fixture_test(test_named_temporary), fixture_test(test_leftovers),
        fixture_test(test_mended),          fixture_test(test_threads_and_foreach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The pack reader: hostile packs first, then honest ones; trees and commits; the job that reads a
 * server's answer. */
#define _GNU_SOURCE
#include "base/limits.h"
#include "collect/gitjob.h"
#include "collect/pack.h"
#include "collect/pkt.h"
#include "pack_maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { DELTA_BYTES = 256 };

static struct ms_buf pack;
static struct ms_error err;

static struct ms_span span(const char *text)
{
    return ms_span_of(text, strlen(text));
}

static void drop(void)
{
    ms_buf_release(&pack);
}

/* Reads `pack` from memory of its exact size. */
static enum ms_status open_pack(const struct ms_pack_limits *limits, struct ms_pack **out)
{
    uint8_t *copy = malloc(pack.len ? pack.len : 1);
    memcpy(copy, pack.data, pack.len);
    err.text[0] = '\0';
    enum ms_status status = ms_pack_open(ms_span_of(copy, pack.len), limits, out, &err);
    if (status == MS_OK) /* only counts and ids are looked at after this */
        assert_non_null(*out);
    free(copy);
    return status;
}

static void assert_refused(const char *why)
{
    struct ms_pack *out = NULL;
    pack_end(&pack);
    enum ms_status status = open_pack(NULL, &out);
    if (status != MS_REJECT || !strstr(err.text, why))
        print_error("status %d, '%s', want '%s'\n", status, err.text, why);
    assert_int_equal(status, MS_REJECT);
    assert_non_null(strstr(err.text, why));
    drop();
}

/* A delta: sizes, then steps as given. */
static struct ms_span delta_of(uint64_t base, uint64_t result, const char *steps, size_t n)
{
    static uint8_t bytes[DELTA_BYTES];
    struct ms_buf out;
    ms_buf_init(&out, sizeof bytes);
    (void)ms_buf_append_varint(&out, base);
    (void)ms_buf_append_varint(&out, result);
    (void)ms_buf_append(&out, steps, n);
    assert_false(out.failed);
    memcpy(bytes, out.data, out.len);
    struct ms_span delta = ms_span_of(bytes, out.len);
    ms_buf_release(&out);
    return delta;
}

/* ---- hostile --------------------------------------------------------------------------------- */

static void test_frames(void **state)
{
    (void)state;
    struct ms_pack *out = NULL;
    pack_begin(&pack, 1);
    (void)pack_add(&pack, MS_PACK_BLOB, 5, span("hello"));
    pack_end(&pack);
    for (size_t n = 0; n < pack.len; n++) { /* every cut */
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, pack.data, n);
        assert_int_equal(ms_pack_open(ms_span_of(copy, n), NULL, &out, &err), MS_REJECT);
        free(copy);
    }
    for (size_t i = 0; i < pack.len; i++) { /* every byte changed: the checksum sees it */
        pack.data[i] ^= 0x20;
        assert_int_equal(open_pack(NULL, &out), MS_REJECT);
        pack.data[i] ^= 0x20;
    }
    drop();
    pack_begin(&pack, 1);
    pack.data[7] = 4;
    (void)pack_add(&pack, MS_PACK_BLOB, 5, span("hello"));
    assert_refused("version 4");
}

static void test_counts_that_lie(void **state)
{
    (void)state;
    pack_begin(&pack, 1000000); /* a million in forty bytes */
    (void)pack_add(&pack, MS_PACK_BLOB, 5, span("hello"));
    assert_refused("fewer objects");
    pack_begin(&pack, UINT32_MAX);
    (void)pack_add(&pack, MS_PACK_BLOB, 5, span("hello"));
    assert_refused("at most");
    pack_begin(&pack, 2);
    (void)pack_add(&pack, MS_PACK_BLOB, 40, span("hello hello hello hello hello 0123456789"));
    assert_refused("damaged");
    pack_begin(&pack, 0);
    (void)pack_add(&pack, MS_PACK_BLOB, 5, span("hello"));
    assert_refused("behind its last object");
}

static void test_sizes_that_lie(void **state)
{
    (void)state;
    pack_begin(&pack, 1);
    (void)pack_add(&pack, MS_PACK_BLOB, 4, span("hello"));
    assert_refused("larger than it says");
    pack_begin(&pack, 1);
    (void)pack_add(&pack, MS_PACK_BLOB, 0, span("hello"));
    assert_refused("larger than it says");
    pack_begin(&pack, 1);
    (void)pack_add(&pack, MS_PACK_BLOB, 6, span("hello"));
    assert_refused("smaller than it says");
    pack_begin(&pack, 1);
    (void)pack_add(&pack, MS_PACK_BLOB, (uint64_t)1 << 55, span("hello"));
    assert_refused("unfolds to more");
    pack_begin(&pack, 1); /* a size without end */
    for (int i = 0; i < 40; i++)
        (void)ms_buf_append_byte(&pack, 0xbf);
    assert_refused("size");
    pack_begin(&pack, 1);
    pack_add_head(&pack, MS_PACK_BLOB, 5);
    (void)ms_buf_append(&pack, "no zlib here", 12);
    assert_refused("inflate");
    for (unsigned type = 0; type <= 5; type += 5) {
        pack_begin(&pack, 1);
        (void)pack_add(&pack, type, 5, span("hello"));
        assert_refused("no type");
    }
}

static void test_bases_elsewhere(void **state)
{
    (void)state;
    static const struct {
        uint64_t distance;
        const char *why;
    } cases[] = {{0, "outside"},       /* itself */
                 {3, "no object"},     /* the middle of one */
                 {1000000, "outside"}, /* before the pack */
                 {UINT64_MAX >> 8, "base"} /* before everything */};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pack_begin(&pack, 2);
        (void)pack_add(&pack, MS_PACK_BLOB, 5, span("hello"));
        (void)pack_add_offset_delta(&pack, cases[i].distance, delta_of(5, 5, "\x90\x05", 2));
        assert_refused(cases[i].why);
    }
}

static void test_deltas_that_lie(void **state)
{
    (void)state;
    static const struct {
        uint64_t base, result;
        const char *steps;
        size_t n;
        const char *why;
    } cases[] = {
        {4, 5, "\x90\x05", 2, "another base"},      {5, 5, "\x91\x01\x05", 3, "outside its base"},
        {5, 5, "\x80", 1, "outside its base"}, /* 64 KiB of five bytes */
        {5, 4, "\x90\x05", 2, "more than it says"}, {5, 9, "\x90\x05", 2, "less than it says"},
        {5, 5, "\x00\x05", 2, "no meaning"},        {5, 5, "\x05xy", 3, "cut short"},
        {5, 5, "\xff\x01", 2, "cut short"},         {5, 0, "\x90\x05", 2, "more than it says"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pack_begin(&pack, 2);
        size_t base = pack_add(&pack, MS_PACK_BLOB, 5, span("hello"));
        (void)pack_add_offset_delta(
            &pack, pack.len - base,
            delta_of(cases[i].base, cases[i].result, cases[i].steps, cases[i].n));
        assert_refused(cases[i].why);
    }
    /* A result beyond what an object may be is left out, unmade. */
    struct ms_pack *out = NULL;
    pack_begin(&pack, 2);
    size_t base = pack_add(&pack, MS_PACK_BLOB, 5, span("hello"));
    (void)pack_add_offset_delta(&pack, pack.len - base, delta_of(5, UINT64_MAX, "\x90\x05", 2));
    pack_end(&pack);
    assert_int_equal(open_pack(NULL, &out), MS_OK);
    assert_int_equal(ms_pack_left_out(out), 1);
    ms_pack_free(out);
    drop();
}

/* Each delta repeats its base many times: a few hundred bytes that would unfold to petabytes. */
static void test_delta_bomb(void **state)
{
    (void)state;
    char steps[64];
    struct ms_pack *out = NULL;
    const struct ms_pack_limits limits = {.object_bytes = 1 << 20, .total_bytes = 4 << 20};
    uint64_t size = 16;
    pack_begin(&pack, 12);
    size_t base = pack_add(&pack, MS_PACK_BLOB, 16, span("0123456789abcdef"));
    for (unsigned i = 1; i < 12; i++) {
        size_t n = 0;
        for (unsigned k = 0; k < 8; k++) {
            steps[n++] = (char)0xf0; /* a copy with three bytes of size */
            steps[n++] = (char)(size & 0xff);
            steps[n++] = (char)(size >> 8 & 0xff);
            steps[n++] = (char)(size >> 16 & 0xff);
        }
        size_t at =
            pack_add_offset_delta(&pack, pack.len - base, delta_of(size, size * 8, steps, n));
        base = at;
        size *= 8;
    }
    pack_end(&pack);
    assert_int_equal(open_pack(&limits, &out), MS_OK);
    assert_int_equal(ms_pack_left_out(out), 6); /* 16 * 8^5 is the last within a mebibyte */
    ms_pack_free(out);
    const struct ms_pack_limits tight = {.object_bytes = 1 << 20, .total_bytes = 1 << 16};
    assert_int_equal(open_pack(&tight, &out), MS_REJECT);
    assert_non_null(strstr(err.text, "unfolds"));
    drop();
}

static void test_chains_and_cycles(void **state)
{
    (void)state;
    struct ms_pack *out = NULL;
    uint8_t one[MS_SHA1_BYTES], two[MS_SHA1_BYTES];
    memset(one, 1, sizeof one);
    memset(two, 2, sizeof two);
    /* Bases by id that are not there, or only upon each other: nothing but a waste of time. */
    pack_begin(&pack, 3);
    (void)pack_add_id_delta(&pack, one, delta_of(5, 5, "\x90\x05", 2));
    (void)pack_add_id_delta(&pack, two, delta_of(5, 5, "\x90\x05", 2));
    (void)pack_add(&pack, MS_PACK_BLOB, 5, span("hello"));
    pack_end(&pack);
    assert_int_equal(open_pack(NULL, &out), MS_OK);
    assert_int_equal(ms_pack_left_out(out), 2);
    ms_pack_free(out);
    drop();
    /* Too deep: one more than allowed. */
    for (unsigned depth = 8; depth <= 9; depth++) {
        const struct ms_pack_limits limits = {.depth = 8};
        pack_begin(&pack, depth + 1);
        size_t base = pack_add(&pack, MS_PACK_BLOB, 5, span("hello"));
        for (unsigned i = 0; i < depth; i++) {
            char steps[3] = {'\x90', 5, 0};
            size_t at = pack_add_offset_delta(&pack, pack.len - base, delta_of(5, 5, steps, 2));
            base = at;
        }
        pack_end(&pack);
        assert_int_equal(open_pack(&limits, &out), depth == 8 ? MS_OK : MS_REJECT);
        if (depth == 8)
            ms_pack_free(out);
        drop();
    }
}

/* ---- honest ---------------------------------------------------------------------------------- */

static void assert_blob(struct ms_pack *from, const char *text)
{
    uint8_t id[MS_SHA1_BYTES];
    size_t index;
    struct ms_span bytes;
    struct ms_pack_object object;
    assert_int_equal(ms_hash_git_blob(text, strlen(text), id), MS_OK);
    assert_true(ms_pack_find(from, id, &index));
    assert_true(ms_pack_object(from, index, &object));
    assert_int_equal(object.type, MS_PACK_BLOB);
    assert_int_equal(ms_pack_read(from, index, &bytes, &err), MS_OK);
    assert_true(ms_span_equal_text(bytes, text));
}

static void test_deltas_of_both_kinds(void **state)
{
    (void)state;
    struct ms_pack *out = NULL;
    uint8_t id[MS_SHA1_BYTES];
    const struct ms_pack_limits limits = {.cache_bytes = 16}; /* so that bases are read again */
    assert_int_equal(ms_hash_git_blob("hello, world", 12, id), MS_OK);
    pack_begin(&pack, 5);
    (void)pack_add_id_delta(&pack, id,
                            delta_of(12, 17, "\x90\x0c\x05 inde", 8)); /* its base comes later */
    size_t base = pack_add(&pack, MS_PACK_BLOB, 5, span("hello"));
    (void)pack_add_offset_delta(&pack, pack.len - base, delta_of(5, 12, "\x90\x05\x07, world", 10));
    (void)pack_add(&pack, MS_PACK_BLOB, 0, span(""));
    (void)pack_add(&pack, MS_PACK_BLOB, 5, span("hello")); /* twice */
    pack_end(&pack);
    assert_int_equal(ms_pack_open(ms_span_of(pack.data, pack.len), &limits, &out, &err), MS_OK);
    assert_int_equal(ms_pack_left_out(out), 0);
    for (int round = 0; round < 2; round++) {
        assert_blob(out, "hello");
        assert_blob(out, "");
        assert_blob(out, "hello, world");
        assert_blob(out, "hello, world inde");
    }
    ms_pack_free(out);
    drop();
}

static void test_large_blobs_by_name(void **state)
{
    (void)state;
    struct ms_pack *out = NULL;
    struct ms_pack_object object;
    struct ms_span bytes;
    const struct ms_pack_limits limits = {.object_bytes = 8};
    pack_begin(&pack, 1);
    (void)pack_add(&pack, MS_PACK_BLOB, 9, span("too large"));
    pack_end(&pack);
    assert_int_equal(ms_pack_open(ms_span_of(pack.data, pack.len), &limits, &out, &err), MS_OK);
    assert_true(ms_pack_object(out, 0, &object));
    assert_true(object.too_big);
    assert_int_equal(object.size, 9);
    uint8_t id[MS_SHA1_BYTES];
    assert_int_equal(ms_hash_git_blob("too large", 9, id), MS_OK);
    assert_memory_equal(object.id, id, sizeof id);
    assert_int_equal(ms_pack_read(out, 0, &bytes, &err), MS_REJECT);
    ms_pack_free(out);
    drop();
}

/* ---- trees ----------------------------------------------------------------------------------- */

static void test_trees(void **state)
{
    (void)state;
    static const char id[] = "0123456789abcdefghij";
    static const struct {
        const char *text;
        size_t n;
    } bad[] = {{"100644 name", 11},       {"100644 \0", 8},     {" name\0", 6},
               {"100648 name\0", 12},     {"100644", 6},        {"1", 1},
               {"0000000100644 a\0", 16}, {"100644 a/b\0", 11}, {"x", 1}};
    struct ms_tree_item item;
    bool end;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char bytes[64];
        memcpy(bytes, bad[i].text, bad[i].n);
        memcpy(bytes + bad[i].n, id, 20);
        struct ms_span tree = ms_span_of(bytes, bad[i].n + 20);
        if (ms_tree_item_take(&tree, &item, &end, &err) != MS_REJECT)
            fail_msg("tree %zu was taken", i);
    }
    char two[64];
    size_t n = 0;
    memcpy(two, "40000 d\0", 8);
    memcpy(two + (n = 8), id, 20);
    memcpy(two + (n += 20), "100755 \xff..", 11);
    memcpy(two + (n += 11), id, 20);
    struct ms_span tree = ms_span_of(two, n + 20);
    assert_int_equal(ms_tree_item_take(&tree, &item, &end, &err), MS_OK);
    assert_int_equal(item.mode, 0040000);
    assert_int_equal(ms_tree_item_take(&tree, &item, &end, &err), MS_OK);
    assert_int_equal(item.mode, 0100755);
    assert_int_equal(item.name.len, 3);
    assert_int_equal(ms_tree_item_take(&tree, &item, &end, &err), MS_OK);
    assert_true(end);
    tree = ms_span_of(two, n + 19);
    assert_int_equal(ms_tree_item_take(&tree, &item, &end, &err), MS_OK);
    assert_int_equal(ms_tree_item_take(&tree, &item, &end, &err), MS_REJECT);
}

/* ---- the job --------------------------------------------------------------------------------- */

struct told {
    uint64_t files, frames;
};

static enum ms_status count_files(void *ctx, uint32_t type, const void *bytes, size_t n,
                                  struct ms_error *error)
{
    struct told *told = ctx;
    struct ms_span frame = ms_span_of(bytes, n), path;
    struct ms_gitjob_file file;
    bool end = false;
    told->frames++;
    assert_true(type == MS_GITJOB_FILES || type == MS_GITJOB_PAST);
    while (!end) {
        assert_int_equal(ms_gitjob_file_take(&frame, &file, &path, &end, error), MS_OK);
        told->files += !end;
    }
    return MS_OK;
}

static void object_id(const char *kind, struct ms_span bytes, uint8_t id[MS_SHA1_BYTES])
{
    struct ms_hasher *hasher;
    struct ms_digests digests;
    char head[64];
    int n = snprintf(head, sizeof head, "%s %zu", kind, bytes.len);
    assert_int_equal(ms_hasher_new(MS_HASH_SHA1, &hasher, &err), MS_OK);
    ms_hasher_update(hasher, head, (size_t)n + 1);
    ms_hasher_update(hasher, bytes.data, bytes.len);
    assert_int_equal(ms_hasher_finish(hasher, &digests, &err), MS_OK);
    ms_hasher_free(hasher);
    memcpy(id, digests.sha1, MS_SHA1_BYTES);
}

/* Trees that hold the next one ten times: few bytes, and more paths than anything can hold. */
static void test_tree_bomb(void **state)
{
    (void)state;
    enum { WIDTH = 10, LEVELS = 12 };
    struct ms_buf tree, answer, arg;
    uint8_t id[MS_SHA1_BYTES];
    char text[128], hex[MS_HASH_HEX_MAX];
    struct told told = {0, 0};
    pack_begin(&pack, LEVELS + 1);
    ms_buf_init(&tree, 4096);
    (void)ms_buf_append(&tree, "100644 f\0ABCDEFGHIJKLMNOPQRST", 29);
    for (unsigned level = 0; level < LEVELS; level++) {
        struct ms_span bytes = ms_span_of(tree.data, tree.len);
        (void)pack_add(&pack, MS_PACK_TREE, bytes.len, bytes);
        object_id("tree", bytes, id);
        ms_buf_clear(&tree);
        for (char c = 'a'; c < 'a' + WIDTH; c++) {
            (void)ms_buf_printf(&tree, "40000 %c", c);
            (void)ms_buf_append_byte(&tree, 0);
            (void)ms_buf_append(&tree, id, sizeof id);
        }
    }
    ms_hex_encode(id, sizeof id, hex);
    (void)snprintf(text, sizeof text, "tree %s\n\nx", hex);
    (void)pack_add(&pack, MS_PACK_COMMIT, strlen(text), span(text));
    object_id("commit", span(text), id);
    pack_end(&pack);
    ms_buf_init(&answer, (size_t)1 << 20);
    ms_buf_init(&arg, 64);
    ms_pkt_add(&answer, "packfile\n");
    (void)ms_buf_printf(&answer, "%04zx", pack.len + 5);
    (void)ms_buf_append_byte(&answer, 1);
    (void)ms_buf_append(&answer, pack.data, pack.len);
    ms_pkt_add_flush(&answer);
    assert_int_equal(ms_gitjob_argument(MS_GITJOB_TREE, (const uint8_t(*)[20]) & id, 1, &arg, &err),
                     MS_OK);
    assert_int_equal(ms_gitjob_run(ms_span_of(answer.data, answer.len),
                                   ms_span_of(arg.data, arg.len), count_files, &told, &err),
                     MS_REJECT);
    assert_non_null(strstr(err.text, "files and folders"));
    assert_true(told.files <= MS_LIMIT_TREE_ENTRIES);
    ms_buf_release(&arg);
    ms_buf_release(&answer);
    ms_buf_release(&tree);
    drop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_counts_that_lie),
        cmocka_unit_test(test_sizes_that_lie),
        cmocka_unit_test(test_bases_elsewhere),
        cmocka_unit_test(test_deltas_that_lie),
        cmocka_unit_test(test_delta_bomb),
        cmocka_unit_test(test_chains_and_cycles),
        cmocka_unit_test(test_deltas_of_both_kinds),
        cmocka_unit_test(test_large_blobs_by_name),
        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_tree_bomb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Names of parts, and the sets that are found among the files of an origin. */
#include "base/limits.h"
#include "collect/volumes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static struct ms_span text(const char *bytes)
{
    return ms_span_of(bytes, strlen(bytes));
}

static void test_names(void **state)
{
    static const struct {
        const char *path;
        enum ms_volume_style style;
        const char *stem;
        uint32_t number;
        unsigned digits;
    } good[] = {
        {"a/b.7z.001", MS_VOLUME_RAW, "a/b.7z", 0, 3},
        {"b.1000", MS_VOLUME_RAW, "b", 999, 4},
        {"b.tar.gz.042", MS_VOLUME_RAW, "b.tar.gz", 41, 3},
        {"b.z01", MS_VOLUME_ZIP, "b", 0, 2},
        {"b.Z100", MS_VOLUME_ZIP, "b", 99, 3},
        {"b.ZIP", MS_VOLUME_ZIP, "b", MS_VOLUME_LAST, 0},
        {"b.part1.rar", MS_VOLUME_RAR_PART, "b", 0, 1},
        {"b.Part010.RAR", MS_VOLUME_RAR_PART, "b", 9, 3},
        {"b.rar", MS_VOLUME_RAR_OLD, "b", 0, 0},
        {"b.part.rar", MS_VOLUME_RAR_OLD, "b.part", 0, 0},
        {"b.part0.rar", MS_VOLUME_RAR_OLD, "b.part0", 0, 0},
        {"b.r00", MS_VOLUME_RAR_OLD, "b", 1, 2},
        {"b.R99", MS_VOLUME_RAR_OLD, "b", 100, 2},
        {"b.s00", MS_VOLUME_RAR_OLD, "b", 101, 2},
    };
    static const char *const bad[] = {"",       ".001",   "b.000", "b.01",  "b001",
                                      "b.r0",   "b.r100", "b.q00", "b.z00", "b.zip2",
                                      "b.rarx", "rar",    ".rar",  "z01",   "b.7z"};
    struct ms_volume_name name;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(ms_volume_name_read(text(good[i].path), &name));
        assert_int_equal(name.style, good[i].style);
        assert_true(ms_span_equal_text(name.stem, good[i].stem));
        assert_int_equal(name.number, good[i].number);
        assert_int_equal(name.digits, good[i].digits);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (ms_volume_name_read(text(bad[i]), &name))
            fail_msg("'%s' is no part's name", bad[i]);
}

static void test_siblings(void **state)
{
    static const struct {
        const char *path;
        uint32_t number;
        const char *sibling;
    } cases[] = {{"d/b.7z.001", 1, "b.7z.002"},
                 {"b.001", 999, "b.1000"},
                 {"b.part01.rar", 10, "b.part11.rar"},
                 {"b.part1.rar", 10, "b.part11.rar"},
                 {"d/e/b.zip", 0, "b.z01"},
                 {"b.z01", MS_VOLUME_LAST, "b.zip"},
                 {"b.rar", 1, "b.r00"},
                 {"b.rar", 101, "b.s00"},
                 {"b.r05", 0, "b.rar"}};
    char name[64];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(ms_volume_sibling(text(cases[i].path), cases[i].number, name, sizeof name));
        assert_string_equal(name, cases[i].sibling);
    }
    assert_false(ms_volume_sibling(text("b.rar"), 801, name, sizeof name));
    assert_false(ms_volume_sibling(text("b.exe"), 0, name, sizeof name));
    assert_true(ms_volume_sibling(text("a-rather-long-name.rar"), 1, name, 8));
    assert_string_equal(name, "a-rathe");
}

struct tree {
    struct ms_entries entries;
    struct ms_volumes volumes;
};

static void add(struct tree *tree, const char *path, uint8_t id)
{
    uint8_t git_id[MS_SHA1_BYTES] = {id};
    assert_int_equal(ms_entries_add(&tree->entries, text(path), git_id, 100, NULL), MS_OK);
}

/* Finds the sets and writes them as "named: part part; …". */
static void find(struct tree *tree, char *out, size_t cap)
{
    size_t n = 0;
    ms_entries_sort(&tree->entries);
    assert_int_equal(ms_volumes_find(&tree->entries, &tree->volumes, NULL), MS_OK);
    out[0] = '\0';
    for (size_t i = 0; i < tree->volumes.count; i++) {
        const struct ms_volume_set *set = &tree->volumes.sets[i];
        assert_ptr_equal(set->entry.set, set);
        assert_int_equal(set->entry.size, 100 * (int64_t)set->count);
        n += (size_t)snprintf(out + n, cap - n, "%.*s:", (int)set->entry.path.len,
                              (const char *)set->entry.path.data);
        for (size_t k = 0; k < set->count; k++) {
            assert_ptr_equal(set->parts[k]->set, set);
            n += (size_t)snprintf(out + n, cap - n, " %.*s", (int)set->parts[k]->path.len,
                                  (const char *)set->parts[k]->path.data);
        }
        n += (size_t)snprintf(out + n, cap - n, "; ");
    }
}

static void release(struct tree *tree)
{
    ms_volumes_release(&tree->volumes);
    for (size_t i = 0; i < tree->entries.count; i++)
        assert_null(tree->entries.items[i].set);
    ms_entries_release(&tree->entries);
}

static void expect(const char *const *paths, const char *sets)
{
    struct tree tree;
    char found[1024];
    ms_entries_init(&tree.entries);
    for (uint8_t i = 0; paths[i]; i++)
        add(&tree, paths[i], i);
    find(&tree, found, sizeof found);
    assert_string_equal(found, sets);
    release(&tree);
}

#define EXPECT(SETS, ...) expect((const char *const[]){__VA_ARGS__, NULL}, SETS)

static void test_sets(void **state)
{
    (void)state;
    EXPECT("", "a.exe", "b.zip", "c.rar", "d.7z");
    EXPECT("a.001: a.001 a.002 a.003; ", "a.003", "a.001", "a.002", "b.004");
    EXPECT("a.zip: a.z01 a.z02 a.zip; ", "a.z01", "a.z02", "a.zip");
    EXPECT("a.rar: a.rar a.r00 a.r01; ", "a.r00", "a.r01", "a.rar");
    EXPECT("a.part1.rar: a.part1.rar a.part2.rar; ", "a.part1.rar", "a.part2.rar");
    /* Sorted by name, 10 comes before 2. */
    EXPECT("p.part1.rar: p.part1.rar p.part2.rar p.part3.rar p.part4.rar p.part5.rar p.part6.rar"
           " p.part7.rar p.part8.rar p.part9.rar p.part10.rar; ",
           "p.part1.rar", "p.part2.rar", "p.part3.rar", "p.part4.rar", "p.part5.rar", "p.part6.rar",
           "p.part7.rar", "p.part8.rar", "p.part9.rar", "p.part10.rar");
    /* Folders, stems and styles keep sets apart. */
    EXPECT("a/x.001: a/x.001 a/x.002; b/x.001: b/x.001 b/x.002; ", "a/x.001", "b/x.001", "a/x.002",
           "b/x.002", "x.003");
    EXPECT("x.zip: x.z01 x.zip; x.rar: x.rar x.r00; ", "x.z01", "x.zip", "x.rar", "x.r00", "X.001");
    EXPECT("x.001: x.001 x.002; ", "x.001", "x.002", "X.002");
}

static void test_gaps(void **state)
{
    (void)state;
    EXPECT("a.001: a.001 a.002; ", "a.001", "a.002", "a.004");
    EXPECT("a.001: a.001; ", "a.001", "a.003");
    EXPECT("", "a.002", "a.003");
    EXPECT("", "a.001");
    EXPECT("a.zip: a.zip; ", "a.z02", "a.zip");
    EXPECT("", "a.z01", "a.z02");
    EXPECT("", "a.r00", "a.r01");
}

static void test_two_of_one_number(void **state)
{
    (void)state;
    /* Named like the first, else the first. */
    EXPECT("a.part01.rar: a.part01.rar a.part02.rar; ", "a.part01.rar", "a.part2.rar",
           "a.part02.rar");
    EXPECT("a.001: a.001 a.002; ", "a.001", "a.0002", "a.002");
    EXPECT("a.RAR: a.RAR a.r00; ", "a.RAR", "a.rar", "a.r00");
}

static void id_of(const uint8_t ids[3], const char *const names[3], uint8_t out[MS_SHA1_BYTES])
{
    struct tree tree;
    char found[256];
    ms_entries_init(&tree.entries);
    for (int i = 0; i < 3; i++)
        add(&tree, names[i], ids[i]);
    find(&tree, found, sizeof found);
    assert_int_equal(tree.volumes.count, 1);
    memcpy(out, tree.volumes.sets[0].entry.git_id, MS_SHA1_BYTES);
    release(&tree);
}

static void test_the_id_follows_from_all_parts(void **state)
{
    static const char *const raw[] = {"a.001", "a.002", "a.003"};
    static const char *const elsewhere[] = {"d/b.001", "d/b.002", "d/b.003"};
    static const char *const volumes[] = {"a.part1.rar", "a.part2.rar", "a.part3.rar"};
    const uint8_t ids[][3] = {{1, 2, 3}, {9, 2, 3}, {1, 9, 3}, {1, 2, 9}, {2, 1, 3}};
    uint8_t first[MS_SHA1_BYTES], other[MS_SHA1_BYTES];
    (void)state;
    id_of(ids[0], raw, first);
    id_of(ids[0], elsewhere, other);
    assert_memory_equal(first, other, sizeof first);
    for (size_t i = 1; i < sizeof ids / sizeof *ids; i++) {
        id_of(ids[i], raw, other);
        assert_memory_not_equal(first, other, sizeof first);
    }
    id_of(ids[0], volumes, other);
    assert_memory_not_equal(first, other, sizeof first);
}

static void test_commits_keep_sets_apart(void **state)
{
    struct tree tree;
    char found[256];
    (void)state;
    ms_entries_init(&tree.entries);
    const char *const names[] = {"a.001", "a.002", "b.001", "b.002"};
    for (uint8_t i = 0; i < 4; i++) {
        add(&tree, names[i], i);
        struct ms_entry *entry = &tree.entries.items[i];
        entry->past = i != 3; /* a in one commit, b.001 in it and b.002 in the tree */
        entry->commit_id[0] = 7;
    }
    find(&tree, found, sizeof found);
    assert_string_equal(found, "a.001: a.001 a.002; ");
    assert_true(tree.volumes.sets[0].entry.past);
    assert_int_equal(tree.volumes.sets[0].entry.commit_id[0], 7);
    release(&tree);
}

static void test_more_parts_than_a_set_may_have(void **state)
{
    struct tree tree;
    char name[32];
    (void)state;
    ms_entries_init(&tree.entries);
    tree.volumes = (struct ms_volumes){.sets = NULL};
    for (unsigned i = 0; i < MS_LIMIT_VOLUME_PARTS + 10; i++) {
        (void)snprintf(name, sizeof name, "a.%03u", i + 1);
        add(&tree, name, (uint8_t)i);
    }
    ms_entries_sort(&tree.entries);
    assert_int_equal(ms_volumes_find(&tree.entries, &tree.volumes, NULL), MS_OK);
    assert_int_equal(tree.volumes.count, 1);
    assert_true(tree.volumes.sets[0].count <= MS_LIMIT_VOLUME_PARTS);
    release(&tree);
}

static void test_what_is_missing(void **state)
{
    struct tree tree;
    char found[256], name[64];
    (void)state;
    ms_entries_init(&tree.entries);
    add(&tree, "a.z01", 1);
    add(&tree, "a.zip", 2);
    add(&tree, "b.part1.rar", 3);
    add(&tree, "b.part2.rar", 4);
    add(&tree, "c.part4.rar", 5);
    add(&tree, "d.exe", 6);
    find(&tree, found, sizeof found);
    ms_volume_missing(&tree.volumes.sets[0].entry, name, sizeof name);
    assert_string_equal(name, "a.z02");
    ms_volume_missing(&tree.volumes.sets[1].entry, name, sizeof name);
    assert_string_equal(name, "b.part3.rar");
    ms_volume_missing(&tree.entries.items[4], name, sizeof name);
    assert_string_equal(name, "c.part1.rar");
    ms_volume_missing(&tree.entries.items[5], name, sizeof name);
    assert_string_equal(name, "");
    release(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_siblings),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_two_of_one_number),
        cmocka_unit_test(test_the_id_follows_from_all_parts),
        cmocka_unit_test(test_commits_keep_sets_apart),
        cmocka_unit_test(test_more_parts_than_a_set_may_have),
        cmocka_unit_test(test_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Static features on hostile images first: every length, tables that loop or point anywhere, noise,
 * forged frames. The images hold headers and tables only, no code. What good files give is compared
 * with another reader in tests/cli/test_pe_features.py. */
#include "base/hash.h"
#include "base/json.h"
#include "base/rng.h"
#include "collect/pe_features.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    LFANEW = 0x80,
    OPTIONAL = LFANEW + 24,
    HEADERS = 1024,
    IMAGE_BYTES = 8192,
    ADDRESS = 4096, /* of the one section, whose bytes follow the headers */
    TABLE = 64      /* of the import descriptors in it */
};

static uint8_t image[IMAGE_BYTES];
static struct ms_pe_features got;

static void put16(size_t at, unsigned value)
{
    image[at] = (uint8_t)value;
    image[at + 1] = (uint8_t)(value >> 8);
}

static void put32(size_t at, uint32_t value)
{
    put16(at, value & 0xffff);
    put16(at + 2, value >> 16);
}

/* An offset in the section, as an address and as a place in the file. */
static uint32_t address(size_t offset)
{
    return ADDRESS + (uint32_t)offset;
}

static size_t place(size_t offset)
{
    return HEADERS + offset;
}

static size_t section_at(bool plus)
{
    return OPTIONAL + (plus ? 240U : 224U);
}

static void directory(bool plus, unsigned index, uint32_t at, uint32_t bytes)
{
    put32(OPTIONAL + (plus ? 112U : 96U) + index * 8, at);
    put32(OPTIONAL + (plus ? 112U : 96U) + index * 8 + 4, bytes);
}

static void make(bool plus)
{
    memset(image, 0, sizeof image);
    memcpy(image, "MZ", 2);
    put32(0x3c, LFANEW);
    memcpy(image + LFANEW, "PE\0\0", 4);
    put16(LFANEW + 4, plus ? 0x8664 : 0x14c);
    put16(LFANEW + 6, 1);
    put16(LFANEW + 20, plus ? 240 : 224);
    put16(OPTIONAL, plus ? 0x20b : 0x10b);
    put32(OPTIONAL + 32, 4096);
    put32(OPTIONAL + 36, 512);
    put32(OPTIONAL + 60, HEADERS);
    put32(OPTIONAL + (plus ? 108 : 92), 16);
    size_t at = section_at(plus);
    memcpy(image + at, ".data", 5);
    put32(at + 8, IMAGE_BYTES - HEADERS);
    put32(at + 12, ADDRESS);
    put32(at + 16, IMAGE_BYTES - HEADERS);
    put32(at + 20, HEADERS);
}

/* One descriptor in the table at TABLE. */
static void descriptor(size_t index, uint32_t lookup, uint32_t name, uint32_t table)
{
    size_t at = place(TABLE + index * 20);
    put32(at, lookup);
    put32(at + 12, name);
    put32(at + 16, table);
}

/* a.dll with the function f, tables at 1024 and 1280. */
static void make_importing(bool plus)
{
    make(plus);
    directory(plus, 1, address(TABLE), 40);
    descriptor(0, address(1024), address(512), address(1280));
    memcpy(image + place(512), "a.dll", 6);
    memcpy(image + place(540) + 2, "f", 2);
    put32(place(1024), address(540));
    put32(place(1280), address(540));
}

/* Reads an exact copy, so that a read behind it is seen, and takes the features through the pipe's
 * form and JSON. */
static void read_features(size_t n)
{
    static struct ms_pe_features back;
    uint8_t *copy = malloc(n ? n : 1);
    struct ms_error err;
    struct ms_buf packed, json;
    json_t *parsed = NULL;
    memcpy(copy, image, n);
    assert_int_equal(ms_pe_features_read(ms_span_of(copy, n), &got, &err), MS_OK);
    free(copy);
    ms_buf_init(&packed, 1 << 20);
    ms_buf_init(&json, 1 << 20);
    assert_int_equal(ms_pe_features_pack(&got, &packed, &err), MS_OK);
    assert_true(ms_pe_features_unpack(ms_span_of(packed.data, packed.len), &back));
    assert_memory_equal(&got, &back, sizeof got);
    assert_int_equal(ms_pe_features_json(&got, &json, &err), MS_OK);
    bool readable = true; /* by jansson: no number above 2^63 */
    for (size_t i = 0; i < MS_PE_NUMBER_COUNT; i++)
        readable &= got.numbers[i] <= INT64_MAX;
    if (readable) {
        assert_int_equal(ms_json_parse(json.data, json.len, &parsed, &err), MS_OK);
        assert_int_equal(ms_json_int_at(parsed, "version", 0), MS_PE_FEATURES_VERSION);
        json_decref(parsed);
    }
    ms_buf_release(&packed);
    ms_buf_release(&json);
}

static void assert_imphash(const char *text)
{
    struct ms_hasher *hasher;
    struct ms_digests digests;
    struct ms_error err;
    assert_int_equal(ms_hasher_new(MS_HASH_MD5, &hasher, &err), MS_OK);
    ms_hasher_update(hasher, text, strlen(text));
    assert_int_equal(ms_hasher_finish(hasher, &digests, &err), MS_OK);
    ms_hasher_free(hasher);
    assert_true(got.has_imphash);
    assert_memory_equal(got.imphash, digests.md5, sizeof got.imphash);
}

static void test_every_length(void **state)
{
    (void)state;
    for (int plus = 0; plus < 2; plus++) {
        make_importing(plus);
        directory(plus, 0, address(2000), 40);
        directory(plus, 13, address(3000), 64);
        for (size_t n = 0; n <= IMAGE_BYTES; n += n < 2700 ? 1 : 61)
            read_features(n);
        read_features(IMAGE_BYTES);
        assert_imphash("a.f");
    }
}

static void test_noise(void **state)
{
    (void)state;
    struct ms_rng rng;
    ms_rng_init(&rng, 3, 1, 4);
    for (unsigned round = 0; round < 6000; round++) {
        bool plus = round % 2;
        make_importing(plus);
        for (unsigned i = 0; i < 6; i++) {
            size_t at = ms_rng_below(&rng, 2) ? ms_rng_below(&rng, HEADERS)
                                              : HEADERS + ms_rng_below(&rng, 1400);
            image[at] = (uint8_t)ms_rng_u64(&rng);
        }
        if (round % 5 == 0)
            put32(section_at(plus) + 4 * (2 + (size_t)ms_rng_below(&rng, 4)),
                  (uint32_t)ms_rng_u64(&rng));
        read_features(round % 3 ? IMAGE_BYTES : (size_t)ms_rng_below(&rng, IMAGE_BYTES + 1));
    }
}

/* Descriptors to the end of the section, each with the same tables. */
static void test_endless_descriptors(void **state)
{
    (void)state;
    make_importing(false);
    for (size_t i = 100; place(TABLE + (i + 1) * 20) < IMAGE_BYTES; i++)
        descriptor(i, address(1024), address(512), address(1280));
    for (size_t i = 0; i < 20; i++)
        descriptor(i, address(1024), address(512), address(1280));
    memset(image + place(TABLE + 400), 0, 20);
    read_features(IMAGE_BYTES);
    assert_int_equal(got.imports.libraries, 20);
    assert_int_equal(got.library_count, 20);
    /* Six that lead nowhere are enough. */
    for (size_t i = 0; i < 6; i++)
        descriptor(i, 0x7fffffff, address(512), 0x7ffffff0);
    read_features(IMAGE_BYTES);
    assert_int_equal(got.imports.libraries, 0);
    assert_false(got.has_imphash);
}

/* Tables of entries that point into the table, say the same, or cannot be. */
static void test_rubbish_tables(void **state)
{
    (void)state;
    make_importing(false);
    put32(place(1024), address(1024));
    put32(place(1280), address(1280));
    read_features(IMAGE_BYTES);
    assert_int_equal(got.imports.functions, 0);

    make_importing(false);
    for (size_t i = 0; i < 40; i++) {
        put32(place(1024) + i * 4, address(540));
        put32(place(1280) + i * 4, address(540));
    }
    read_features(IMAGE_BYTES);
    assert_int_equal(got.imports.functions, 0);

    make_importing(false);
    put32(place(1024), 0x80010000); /* no ordinal has 17 bits */
    put32(place(1280), address(540));
    read_features(IMAGE_BYTES);
    assert_imphash("a.f"); /* the other table serves */

    make_importing(false);
    put32(place(1024), 0x7ffffffe); /* a name outside of everything */
    read_features(IMAGE_BYTES);
    assert_int_equal(got.imports.functions, 0);
}

static void test_names(void **state)
{
    (void)state;
    make_importing(false);
    memcpy(image + place(512), "A.B.SYS", 8);
    memcpy(image + place(540) + 2, "?Fn@@Q", 7);
    read_features(IMAGE_BYTES);
    assert_imphash("a.b.?fn@@q");
    memcpy(image + place(512), "a\x01.dll", 7);
    read_features(IMAGE_BYTES);
    assert_imphash("*invalid*.?fn@@q");
    memcpy(image + place(540) + 2, "f n", 4);
    read_features(IMAGE_BYTES);
    assert_false(got.has_imphash);
    make_importing(false);
    memcpy(image + place(512), "WSOCK32.dll", 12);
    put32(place(1024), 0x80000000U | 3);
    put32(place(1028), 0x80000000U | 2000);
    read_features(IMAGE_BYTES);
    assert_imphash("wsock32.closesocket,wsock32.ord2000");
    assert_int_equal(got.imports.ordinals, 2);
}

/* Sections that begin at the same address, out of order, on each other, or between sectors. */
static void test_hostile_sections(void **state)
{
    (void)state;
    make_importing(false);
    put32(section_at(false) + 20, HEADERS + 16); /* the loader reads from the sector's start */
    read_features(IMAGE_BYTES);
    assert_imphash("a.f");
    make_importing(false);
    put16(LFANEW + 6, 5); /* four empty ones behind it in the file, of which the first ends all */
    read_features(IMAGE_BYTES);
    assert_imphash("a.f");
    assert_int_equal(got.section_count, 5);
    for (size_t i = 1; i < 5; i++) { /* now all are the whole file */
        put32(section_at(false) + 40 * i + 8, 0xffffffff);
        put32(section_at(false) + 40 * i + 12, i % 2 ? 0 : 0xfffffff0);
        put32(section_at(false) + 40 * i + 16, 0xffffffff);
    }
    read_features(IMAGE_BYTES);
    assert_int_equal(got.sections[1].entropy_milli, MS_PE_ENTROPY_UNKNOWN);
    put16(LFANEW + 6, 0xffff);
    read_features(IMAGE_BYTES);
    assert_int_equal(got.section_count, MS_LIMIT_PE_SECTIONS);
    assert_int_equal(got.numbers[MS_PE_SECTIONS], 0xffff);
}

static void test_entropy(void **state)
{
    (void)state;
    make(false);
    read_features(IMAGE_BYTES);
    assert_int_equal(got.sections[0].entropy_milli, 0);
    for (size_t i = HEADERS; i < IMAGE_BYTES; i++)
        image[i] = (uint8_t)i;
    read_features(IMAGE_BYTES);
    assert_int_equal(got.sections[0].entropy_milli, 8000);
    for (size_t i = HEADERS; i < IMAGE_BYTES; i++)
        image[i] = i % 2 ? 'a' : 'b';
    read_features(IMAGE_BYTES);
    assert_int_equal(got.sections[0].entropy_milli, 1000);
}

static void test_rich(void **state)
{
    (void)state;
    static const char *const texts[] = {"DanS", "\0\0\0\0", "\0\0\0\0", "\0\0\0\0", "\1\2\3\4"};
    const uint8_t key[4] = {0x11, 0x22, 0x33, 0x44};
    make(false);
    memmove(image + LFANEW + 64, image + LFANEW, 400);
    put32(0x3c, LFANEW + 64);
    for (size_t i = 0; i < 20; i++)
        image[LFANEW + i] = (uint8_t)((uint8_t)texts[i / 4][i % 4] ^ key[i % 4]);
    memcpy(image + LFANEW + 20, "Rich", 4);
    memcpy(image + LFANEW + 24, key, 4);
    read_features(IMAGE_BYTES);
    assert_true(got.has_rich);
    for (size_t i = 0; i < 16; i++) { /* any of the first four words spoilt */
        image[LFANEW + i] ^= 0x80;
        read_features(IMAGE_BYTES);
        assert_false(got.has_rich);
        image[LFANEW + i] ^= 0x80;
    }
}

static void test_forged_frames(void **state)
{
    (void)state;
    static struct ms_pe_features out;
    struct ms_error err;
    struct ms_buf packed;
    make_importing(true);
    read_features(IMAGE_BYTES);
    ms_buf_init(&packed, 1 << 20);
    assert_int_equal(ms_pe_features_pack(&got, &packed, &err), MS_OK);
    for (size_t n = 0; n < packed.len; n++) {
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, packed.data, n);
        assert_false(ms_pe_features_unpack(ms_span_of(copy, n), &out));
        free(copy);
    }
    (void)ms_buf_append_byte(&packed, 0);
    assert_false(ms_pe_features_unpack(ms_span_of(packed.data, packed.len), &out));
    packed.len--;
    static const size_t counts[] = {offsetof(struct ms_pe_features, section_count),
                                    offsetof(struct ms_pe_features, library_count)};
    for (size_t i = 0; i < 2; i++) {
        uint32_t was, forged[] = {0, 2, 97, 0x80000000U, UINT32_MAX};
        memcpy(&was, packed.data + counts[i], sizeof was);
        for (size_t k = 0; k < sizeof forged / sizeof *forged; k++) {
            memcpy(packed.data + counts[i], &forged[k], sizeof *forged);
            assert_false(ms_pe_features_unpack(ms_span_of(packed.data, packed.len), &out));
        }
        memcpy(packed.data + counts[i], &was, sizeof was);
    }
    assert_true(ms_pe_features_unpack(ms_span_of(packed.data, packed.len), &out));
    ms_buf_release(&packed);
}

/* What a forged frame may say is still JSON, and ASCII. */
static void test_json_of_anything(void **state)
{
    (void)state;
    static struct ms_pe_features any;
    struct ms_error err;
    struct ms_buf json;
    json_t *parsed = NULL;
    memset(&any, 0xff, sizeof any);
    any.section_count = MS_LIMIT_PE_SECTIONS;
    any.library_count = MS_LIMIT_PE_LIBRARIES;
    for (size_t i = 0; i < sizeof any.libraries; i++)
        ((uint8_t *)any.libraries)[i] = (uint8_t)i;
    ms_buf_init(&json, 1 << 20);
    assert_int_equal(ms_pe_features_json(&any, &json, &err), MS_OK);
    for (size_t i = 0; i < json.len; i++)
        assert_in_range(json.data[i], 0x20, 0x7e);
    assert_non_null(strstr(ms_buf_text(&json), "\"image_base\":18446744073709551615"));
    for (size_t i = 0; i < MS_PE_NUMBER_COUNT; i++)
        any.numbers[i] = i; /* jansson reads no number above 2^63 */
    ms_buf_clear(&json);
    assert_int_equal(ms_pe_features_json(&any, &json, &err), MS_OK);
    assert_int_equal(ms_json_parse(json.data, json.len, &parsed, &err), MS_OK);
    json_decref(parsed);
    ms_buf_release(&json);
}

/* A table of more entries than are looked at: those within the limit count, the rest is left. */
static void test_longest_table(void **state)
{
    enum { TABLE_AT = 4096, ENTRIES = MS_LIMIT_PE_IMPORTS + 100 };
    enum { WHOLE = HEADERS + TABLE_AT + 4 * (ENTRIES + 1) };
    struct ms_error err;
    uint8_t *file = calloc(1, WHOLE);
    (void)state;
    assert_non_null(file);
    make_importing(false);
    put32(section_at(false) + 8, WHOLE - HEADERS);
    put32(section_at(false) + 16, WHOLE - HEADERS);
    descriptor(0, address(TABLE_AT), address(512), address(TABLE_AT));
    memcpy(file, image, HEADERS + TABLE_AT);
    for (size_t i = 0; i < ENTRIES; i++) {
        file[HEADERS + TABLE_AT + 4 * i] = 1; /* by ordinal */
        file[HEADERS + TABLE_AT + 4 * i + 3] = 0x80;
    }
    assert_int_equal(ms_pe_features_read(ms_span_of(file, WHOLE), &got, &err), MS_OK);
    assert_int_equal(got.imports.libraries, 1);
    assert_in_range(got.imports.ordinals, MS_LIMIT_PE_IMPORTS, MS_LIMIT_PE_IMPORTS + 1);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_endless_descriptors),
        cmocka_unit_test(test_rubbish_tables),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_hostile_sections),
        cmocka_unit_test(test_entropy),
        cmocka_unit_test(test_rich),
        cmocka_unit_test(test_forged_frames),
        cmocka_unit_test(test_json_of_anything),
        cmocka_unit_test(test_longest_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

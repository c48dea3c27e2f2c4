/* The PE check on generated headers, right and hostile. The images hold headers only, no code. */
#include "base/rng.h"
#include "collect/pe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LFANEW = 0x80, OPTIONAL = LFANEW + 24, IMAGE_BYTES = 2048, HEADERS = 512 };

static uint8_t image[IMAGE_BYTES];

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

static size_t sections_at(bool plus)
{
    return OPTIONAL + (plus ? 240U : 224U);
}

static size_t directory_at(bool plus, unsigned index)
{
    return OPTIONAL + (plus ? 112U : 96U) + index * 8;
}

/* One section: file 512 to 2048, memory 4096 on. */
static void make(bool plus, unsigned characteristics, unsigned subsystem)
{
    memset(image, 0, sizeof image);
    memcpy(image, "MZ", 2);
    put32(0x3c, LFANEW);
    memcpy(image + LFANEW, "PE\0\0", 4);
    put16(LFANEW + 4, plus ? 0x8664 : 0x14c);
    put16(LFANEW + 6, 1);
    put16(LFANEW + 20, plus ? 240 : 224);
    put16(LFANEW + 22, characteristics);
    put16(OPTIONAL, plus ? 0x20b : 0x10b);
    put32(OPTIONAL + 32, 4096);
    put32(OPTIONAL + 36, 512);
    put32(OPTIONAL + 60, HEADERS);
    put16(OPTIONAL + 68, subsystem);
    put32(OPTIONAL + (plus ? 108 : 92), 16);
    size_t at = sections_at(plus);
    memcpy(image + at, ".data", 5);
    put32(at + 8, IMAGE_BYTES - HEADERS);
    put32(at + 12, 4096);
    put32(at + 16, IMAGE_BYTES - HEADERS);
    put32(at + 20, HEADERS);
    put32(at + 36, 0x40000040);
    for (size_t i = HEADERS; i < IMAGE_BYTES; i++)
        image[i] = (uint8_t)(i * 7 + 1);
}

static struct ms_pe check(size_t n)
{
    /* An exact copy: a read behind it is seen. */
    uint8_t *copy = malloc(n ? n : 1);
    struct ms_pe pe;
    memcpy(copy, image, n);
    ms_pe_check(ms_span_of(copy, n), &pe);
    free(copy);
    return pe;
}

static void assert_kind(enum ms_pe_kind kind)
{
    struct ms_pe pe = check(IMAGE_BYTES);
    assert_int_equal(pe.verdict, MS_PE_YES);
    assert_string_equal(ms_pe_kind_name(pe.kind), ms_pe_kind_name(kind));
}

static void test_kinds(void **state)
{
    (void)state;
    for (int plus = 0; plus < 2; plus++) {
        make(plus, 0x102, 2);
        assert_kind(MS_PE_KIND_EXE);
        assert_int_equal(check(IMAGE_BYTES).machine, plus ? 0x8664 : 0x14c);
        assert_int_equal(check(IMAGE_BYTES).plus, plus);
        assert_int_equal(check(IMAGE_BYTES).flags, 0);
        make(plus, 0x2102, 2);
        assert_kind(MS_PE_KIND_DLL);
        put32(directory_at(plus, 2), 4096);
        put32(directory_at(plus, 2) + 4, 100);
        assert_kind(MS_PE_KIND_RESOURCE);
        put32(OPTIONAL + 16, 4096);
        assert_kind(MS_PE_KIND_DLL);
        make(plus, 0x102, 1);
        assert_kind(MS_PE_KIND_DRIVER);
        for (unsigned subsystem = 10; subsystem <= 13; subsystem++) {
            make(plus, 0x102, subsystem);
            assert_kind(MS_PE_KIND_EFI);
        }
        make(plus, 0x2102, 3);
        put32(directory_at(plus, 14), 4096 + 256);
        put32(directory_at(plus, 14) + 4, 72);
        put32(HEADERS + 256, 72);
        assert_kind(MS_PE_KIND_DOTNET);
        put32(directory_at(plus, 14), 0x7fffffff); /* not readable */
        assert_kind(MS_PE_KIND_DLL);
        make(plus, 0x102, 2);
        put32(directory_at(plus, 1), 4096);
        memset(image + HEADERS, 0, 64);
        put32(HEADERS + 12, 4096 + 64);
        memcpy(image + HEADERS + 64, "NTOSkrnl.EXE", 13);
        assert_kind(MS_PE_KIND_DRIVER);
        memcpy(image + HEADERS + 64, "kernel32.dll", 13);
        assert_kind(MS_PE_KIND_EXE);
    }
}

static void test_not_pe(void **state)
{
    (void)state;
    make(false, 0x102, 2);
    image[1] = 'M';
    assert_int_equal(check(IMAGE_BYTES).verdict, MS_PE_NO);
    memcpy(image, "ZM", 2); /* only DOS loads these */
    assert_int_equal(check(IMAGE_BYTES).verdict, MS_PE_NO);
    static const char *const others[] = {"NE", "LE", "LX", "PE\0\1", "\0\0"};
    for (size_t i = 0; i < 5; i++) {
        make(false, 0x102, 2);
        memcpy(image + LFANEW, others[i], i == 3 ? 4 : 2);
        if (i != 3)
            put16(LFANEW + 2, 0);
        assert_int_equal(check(IMAGE_BYTES).verdict, MS_PE_MZ_ONLY);
    }
    make(false, 0x102, 2);
    put16(OPTIONAL, 0x107); /* ROM image */
    assert_int_equal(check(IMAGE_BYTES).verdict, MS_PE_MZ_ONLY);
    static const uint32_t offsets[] = {0xffffffff,  0x80000000,      0x7fffffff,
                                       IMAGE_BYTES, IMAGE_BYTES - 3, IMAGE_BYTES - 4};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        make(false, 0x102, 2);
        memcpy(image + IMAGE_BYTES - 4, "PE\0\0", 4);
        put32(0x3c, offsets[i]);
        assert_int_equal(check(IMAGE_BYTES).verdict, MS_PE_MZ_ONLY);
    }
}

/* The header laid over the DOS header, no sections, no directories: 97 bytes that Windows ran. */
static void test_tiny(void **state)
{
    (void)state;
    memset(image, 0, sizeof image);
    memcpy(image, "MZ\0\0PE\0\0", 8);
    put16(8, 0x14c);
    put16(26, 0x103);
    put16(28, 0x10b);
    put32(28 + 16, 0xc);
    put32(0x3c, 4);
    put32(28 + 60, 0x60);
    put16(28 + 68, 2);
    struct ms_pe pe = check(97);
    assert_int_equal(pe.verdict, MS_PE_YES);
    assert_int_equal(pe.kind, MS_PE_KIND_EXE);
    assert_int_equal(pe.sections, 0);
    assert_int_equal(pe.flags & (MS_PE_TRUNCATED | MS_PE_SECTIONS_OVERLAP), 0);
}

static void test_directory_count_is_not_trusted(void **state)
{
    (void)state;
    make(false, 0x102, 2);
    put32(directory_at(false, 14), 4096 + 256);
    put32(HEADERS + 256, 72);
    put32(OPTIONAL + 92, 0);
    assert_kind(MS_PE_KIND_DOTNET);
    put32(OPTIONAL + 92, 0xffffffff);
    assert_kind(MS_PE_KIND_DOTNET);
}

static unsigned flags_of(size_t n)
{
    struct ms_pe pe = check(n);
    assert_int_equal(pe.verdict, MS_PE_YES);
    return pe.flags;
}

static void test_flags(void **state)
{
    (void)state;
    size_t at = sections_at(false);
    make(false, 0x102, 2);
    assert_int_equal(flags_of(IMAGE_BYTES - 1), MS_PE_TRUNCATED);
    put32(at + 16, IMAGE_BYTES - HEADERS - 512);
    put32(at + 8, IMAGE_BYTES - HEADERS - 512);
    assert_int_equal(flags_of(IMAGE_BYTES), MS_PE_OVERLAY);
    put32(OPTIONAL + 60, UINT32_MAX); /* headers that claim all of the file hide nothing */
    assert_int_equal(flags_of(IMAGE_BYTES), MS_PE_OVERLAY);
    put32(OPTIONAL + 60, HEADERS);
    put32(directory_at(false, 4), IMAGE_BYTES - 512);
    put32(directory_at(false, 4) + 4, 512);
    assert_int_equal(flags_of(IMAGE_BYTES), MS_PE_SIGNED);
    put32(directory_at(false, 4) + 4, 513); /* beyond the end */
    assert_int_equal(flags_of(IMAGE_BYTES), MS_PE_OVERLAY);
    make(false, 0x102, 0);
    put16(LFANEW + 4, 0);
    assert_int_equal(flags_of(IMAGE_BYTES), MS_PE_DISARMED);
    make(false, 0x102, 2);
    put32(OPTIONAL + 16, 0x700000);
    assert_int_equal(flags_of(IMAGE_BYTES), MS_PE_EP_OUTSIDE);
    make(false, 0x102, 2);
    memcpy(image + at, "UPX0\0\0\0", 8);
    assert_int_equal(flags_of(IMAGE_BYTES), MS_PE_PACKED_NAME);
    make(false, 0x102, 2);
    put16(LFANEW + 6, 2);
    memcpy(image + at + 40, image + at, 40);
    assert_int_equal(flags_of(IMAGE_BYTES), MS_PE_SECTIONS_OVERLAP);
    make(false, 0x102, 2);
    put16(LFANEW + 6, 65535);
    assert_true(flags_of(IMAGE_BYTES) & MS_PE_TRUNCATED);
    assert_int_equal(check(IMAGE_BYTES).sections, 65535);
    put16(LFANEW + 20, 65535); /* the section table lies behind the file */
    assert_true(flags_of(IMAGE_BYTES) & MS_PE_TRUNCATED);
}

static void test_bloat(void **state)
{
    (void)state;
    make(false, 0x102, 2);
    size_t n = 40 * IMAGE_BYTES;
    uint8_t *big = calloc(1, n);
    struct ms_pe pe;
    memcpy(big, image, IMAGE_BYTES);
    ms_pe_check(ms_span_of(big, n), &pe);
    assert_int_equal(pe.flags, MS_PE_OVERLAY | MS_PE_BLOATED);
    memset(big + IMAGE_BYTES, 1, n / 2);
    ms_pe_check(ms_span_of(big, n), &pe);
    assert_int_equal(pe.flags, MS_PE_OVERLAY);
    free(big);
}

static void test_checksum(void **state)
{
    (void)state;
    make(false, 0x102, 2);
    uint32_t sum = 0; /* word by word, as ImageHlp does it */
    for (size_t i = 0; i < IMAGE_BYTES; i += 2) {
        sum += (uint32_t)(image[i] | image[i + 1] << 8);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    put32(OPTIONAL + 64, sum + IMAGE_BYTES);
    assert_int_equal(flags_of(IMAGE_BYTES), MS_PE_CHECKSUM_OK);
    image[1000] ^= 1;
    assert_int_equal(flags_of(IMAGE_BYTES), 0);
}

static void test_names(void **state)
{
    (void)state;
    char text[128];
    ms_pe_flag_names(0, text);
    assert_string_equal(text, "");
    ms_pe_flag_names(MS_PE_TRUNCATED | MS_PE_CHECKSUM_OK, text);
    assert_string_equal(text, "truncated checksum_ok");
    ms_pe_flag_names(~0U, text);
    assert_string_equal(text, "truncated overlay disarmed signed bloated sections_overlap "
                              "ep_outside packed_name checksum_ok");
}

static void test_every_length(void **state)
{
    (void)state;
    for (int plus = 0; plus < 2; plus++) {
        make(plus, 0x2102, 3);
        put32(directory_at(plus, 1), 4096);
        put32(directory_at(plus, 14), 4096 + 256);
        put32(HEADERS + 256, 72);
        for (size_t n = 0; n <= IMAGE_BYTES; n++) {
            struct ms_pe pe = check(n);
            enum ms_pe_verdict want = n < 64              ? MS_PE_NO
                                      : n < OPTIONAL + 2U ? MS_PE_MZ_ONLY
                                                          : MS_PE_YES;
            assert_int_equal(pe.verdict, want);
        }
    }
}

static void test_noise(void **state)
{
    (void)state;
    struct ms_rng rng;
    ms_rng_init(&rng, 3, 1, 4);
    for (unsigned round = 0; round < 20000; round++) {
        make(round % 2, 0x2102, 2);
        for (unsigned i = 0; i < 8; i++)
            image[ms_rng_below(&rng, HEADERS)] = (uint8_t)ms_rng_u64(&rng);
        (void)check((size_t)ms_rng_below(&rng, IMAGE_BYTES + 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),        cmocka_unit_test(test_not_pe),
        cmocka_unit_test(test_tiny),         cmocka_unit_test(test_directory_count_is_not_trusted),
        cmocka_unit_test(test_flags),        cmocka_unit_test(test_bloat),
        cmocka_unit_test(test_checksum),     cmocka_unit_test(test_names),
        cmocka_unit_test(test_every_length), cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Code of PE files and its opcodes, byte by byte: which bytes are code, what the flow reaches, what
 * a sweep finds, and answers of a worker that lies. The bytes are written here, and never run. */
#include "base/buf.h"
#include "extract/opcodes/disassembly.h"
#include "extract/opcodes_job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CODE_AT = 0x200, ADDRESS = 0x1000, TABLE_AT = 0x40 + 24 + 224 };

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value & 0xffff);
    put16(at + 2, value >> 16);
}

static void put_section(uint8_t *file, size_t index, uint32_t address, uint32_t at, uint32_t n,
                        uint32_t marks)
{
    uint8_t *row = file + TABLE_AT + 40 * index;
    put32(row + 8, n);
    put32(row + 12, address);
    put32(row + 16, n);
    put32(row + 20, at);
    put32(row + 36, marks);
}

/* Headers, and one section with n bytes of code; SizeOfImage stays 0: no loader takes it. */
static uint8_t *make(const char *code, size_t n, uint32_t entry)
{
    uint8_t *file = calloc(1, CODE_AT + n + 1);
    assert_non_null(file);
    memcpy(file, "MZ", 2);
    put32(file + 0x3c, 0x40);
    memcpy(file + 0x40, "PE", 2);
    put16(file + 0x44, 0x14c);
    put16(file + 0x46, 1);
    put16(file + 0x54, 224);
    put16(file + 0x58, 0x10b);
    put32(file + 0x58 + 16, entry);
    put32(file + 0x58 + 36, 0x200);
    put_section(file, 0, ADDRESS, CODE_AT, (uint32_t)n, 0x60000020);
    if (code)
        memcpy(file + CODE_AT, code, n);
    return file;
}

static enum ms_status add_name(void *ctx, struct ms_span mnemonic, struct ms_error *err)
{
    struct ms_buf *out = ctx;
    (void)err;
    return ms_buf_append(out, mnemonic.data, mnemonic.len) == MS_OK ? ms_buf_append_byte(out, ' ')
                                                                    : MS_E_NOMEM;
}

static void expect(const char *code, size_t n, uint32_t entry, const char *opcodes,
                   uint64_t followed, uint64_t unread)
{
    struct ms_error err = {.status = MS_OK};
    struct ms_disassembly made;
    struct ms_code found;
    struct ms_buf names;
    uint8_t *file = make(code, n, entry);
    const struct ms_span bytes = ms_span_of(file, CODE_AT + n);
    ms_buf_init(&names, 4096);
    ms_code_find(bytes, &found);
    assert_int_equal(found.state, MS_CODE_OK);
    assert_int_equal(found.bytes, n);
    assert_int_equal(ms_disassemble(bytes, &found, add_name, &names, &made, &err), MS_OK);
    assert_string_equal(ms_buf_text(&names), opcodes);
    if (made.followed != followed || made.unread != unread)
        fail_msg("%s: followed %u, unread %u", opcodes, (unsigned)made.followed,
                 (unsigned)made.unread);
    ms_buf_release(&names);
    free(file);
}

#define EXPECT(code, entry, opcodes, followed, unread) \
    expect("" code, sizeof(code) - 1, entry, opcodes, followed, unread)

static void flow_and_sweep(void **state)
{
    (void)state;
    EXPECT("\x90\xc3", ADDRESS, "nop ret ", 2, 0);
    EXPECT("\x90\xc3", 0, "nop ret ", 0, 0);
    EXPECT("\x90\xc3", ADDRESS + 1, "nop ret ", 1, 0);
    EXPECT("\x90\xc3", 0xffffffff, "nop ret ", 0, 0);
    /* jmp, jcc and call, near and far, over a byte that would take the next four with it */
    EXPECT("\xeb\x01\xe8\x90\xc3", ADDRESS, "jmp nop ret ", 3, 1);
    EXPECT("\xe9\x01\0\0\0\xe8\x90\xc3", ADDRESS, "jmp nop ret ", 3, 1);
    EXPECT("\x74\x01\xc3\x90\xc3", ADDRESS, "je ret nop ret ", 4, 0);
    EXPECT("\x0f\x85\x01\0\0\0\xc3\x90\xc3", ADDRESS, "jne ret nop ret ", 4, 0);
    EXPECT("\xe8\x01\0\0\0\xc3\x90\xc3", ADDRESS, "call ret nop ret ", 4, 0);
    EXPECT("\xe2\xfe\xc3", ADDRESS, "loop ret ", 2, 0);
    /* backwards, to itself, out of the section, out of the address space */
    EXPECT("\x90\xc3\xeb\xfc", ADDRESS + 2, "nop ret jmp ", 3, 0);
    EXPECT("\xeb\xfe", ADDRESS, "jmp ", 1, 0);
    EXPECT("\xe9\xff\xff\xff\x7f\xc3", ADDRESS, "jmp ret ", 1, 0);
    EXPECT("\xe9\0\0\0\x80\xc3", ADDRESS, "jmp ret ", 1, 0);
    /* what ends the flow: jmp through memory, ud2, int3, padding */
    EXPECT("\xff\x20\x06", ADDRESS, "jmp push ", 1, 0);
    EXPECT("\x0f\x0b\x90", ADDRESS, "ud2 nop ", 1, 0);
    EXPECT("\xcc\xcc\xcc\x90", ADDRESS, "nop ", 0, 0);
    EXPECT("\x90\0\0\0\0\0\0\0\0\x90", ADDRESS, "nop nop ", 1, 0);
    EXPECT("\x90\0\0\x90", ADDRESS, "nop add nop ", 3, 0);
    /* a jump into an instruction that was reached first: that one stays */
    EXPECT("\xb8\x90\x90\x90\x90\xeb\xfb", ADDRESS, "mov jmp ", 2, 0);
    /* prefixes are no part of the name; an instruction that the section cuts is none */
    EXPECT("\xf3\xa5\xf0\x01\x00", ADDRESS, "movsd add ", 2, 0);
    EXPECT("\x90\xe8\x01", ADDRESS, "nop ", 1, 2);
}

static void places_of_code(void **state)
{
    struct ms_code found;
    uint8_t *file = make("\x90\x90\x90\x90", 4, ADDRESS);
    struct ms_span bytes = ms_span_of(file, CODE_AT + 4);
    (void)state;
    put16(file + 0x46, 3); /* the second overlaps the first in the file, the third is data */
    put_section(file, 1, 0x2000, CODE_AT, 4, 0x20000000);
    put_section(file, 2, 0x3000, CODE_AT, 4, 0x40000040);
    ms_code_find(bytes, &found);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.bytes, 4);
    put32(file + 0x58 + 16, 0x3001); /* unless it has the entry point */
    put_section(file, 0, ADDRESS, CODE_AT, 2, 0x60000020);
    put_section(file, 1, 0x2000, 0, 0, 0x20000000);
    ms_code_find(bytes, &found);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.regions[1].address, 0x3002);
    assert_int_equal(found.bytes, 4);
    for (size_t n = 0; n < CODE_AT; n++) { /* cut anywhere: no code, whatever is missing */
        ms_code_find(ms_span_of(file, n), &found);
        assert_int_not_equal(found.state, MS_CODE_OK);
        assert_true(found.why[0]);
    }
    free(file);
}

static void more_than_the_limit(void **state)
{
    const size_t n = MS_LIMIT_CODE_BYTES + 4096;
    struct ms_error err = {.status = MS_OK};
    struct ms_disassembly made;
    struct ms_code found;
    struct ms_buf names;
    uint8_t *file = make(NULL, n, ADDRESS);
    const struct ms_span bytes = ms_span_of(file, CODE_AT + n);
    (void)state;
    file[CODE_AT] = 0xc3;
    file[CODE_AT + n - 1] = 0xc3;
    ms_buf_init(&names, 64);
    ms_code_find(bytes, &found);
    assert_true(found.cut);
    assert_int_equal(found.bytes, MS_LIMIT_CODE_BYTES);
    assert_int_equal(ms_disassemble(bytes, &found, add_name, &names, &made, &err), MS_OK);
    assert_string_equal(ms_buf_text(&names), "ret ");
    ms_buf_release(&names);
    free(file);
}

static bool taken(const char *frame, size_t n, struct ms_opcodes_found *found)
{
    struct ms_error err;
    return ms_opcodes_take(ms_span_of(frame, n), found, &err) == MS_OK;
}

#define TAKEN(frame) taken("" frame, sizeof(frame) - 1, &found)

static void answers_that_lie(void **state)
{
    struct ms_opcodes_found found;
    char longest[200] = {1};
    (void)state;
    assert_true(TAKEN("\0\1\5\12\1\3\7"));
    assert_int_equal(found.opcodes, 5);
    assert_int_equal(found.entropy_milli, 7);
    assert_true(found.cut);
    assert_true(TAKEN("\1\0\0\0\0\0\0a\x1b[b"));
    assert_string_equal(found.why, "a\\x1b[b");
    assert_false(TAKEN(""));
    assert_false(TAKEN("\3\0\0\0\0\0\0"));               /* no state */
    assert_false(TAKEN("\0\2\0\0\0\0\0"));               /* neither cut nor not */
    assert_false(TAKEN("\0\0\13\12\0\0\0"));             /* more opcodes than bytes */
    assert_false(TAKEN("\0\0\1\2\3\0\0"));               /* more unread than bytes */
    assert_false(TAKEN("\0\0\1\12\0\2\0"));              /* more followed than there are */
    assert_false(TAKEN("\0\0\1\12\0\0\xc1\x3e"));        /* more than 8 bits a byte */
    assert_false(TAKEN("\0\0\1\x81\x80\x80\x08\0\0\0")); /* more code than is looked at */
    assert_false(TAKEN("\0\0\1\12\0\0"));                /* cut */
    assert_false(taken(longest, sizeof longest, &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flow_and_sweep), cmocka_unit_test(places_of_code),
        cmocka_unit_test(more_than_the_limit), cmocka_unit_test(answers_that_lie)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

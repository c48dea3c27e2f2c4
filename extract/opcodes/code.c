/* The executable sections of a PE file as regions that do not overlap. Decodes nothing. */
#include "extract/opcodes/code.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    COFF_BYTES = 24, /* with the signature */
    SECTION_BYTES = 40,
    SECTOR_BYTES = 512, /* the loader reads whole sectors */
    MACHINE_NONE = 0,
    MACHINE_X86 = 0x14c,
    MACHINE_X64 = 0x8664,
    MAGIC_PE32 = 0x10b,
    MAGIC_PE32_PLUS = 0x20b,
    MARK_CODE = 0x20,
    MARK_EXECUTE = 0x20000000,
    CLR_SLOT = 14,
    CLR_BYTES = 72,
    CLR_IL_ONLY = 1
};

/* One row of the section table, clipped to the file. */
struct section {
    uint64_t address, memory_bytes, file_at, file_bytes;
    uint32_t marks;
};

struct headers {
    struct ms_span file;
    uint64_t optional_at, table_at;
    uint16_t machine, magic, sections;
    uint32_t entry, file_alignment;
};

static void say(struct ms_code *out, enum ms_code_state state, const char *fmt, ...)
    MS_PRINTF(3, 4);

static void say(struct ms_code *out, enum ms_code_state state, const char *fmt, ...)
{
    va_list args;
    out->state = state;
    va_start(args, fmt);
    (void)vsnprintf(out->why, sizeof out->why, fmt, args);
    va_end(args);
}

static bool read_headers(struct ms_span file, struct headers *out)
{
    uint32_t at, signature;
    uint16_t mz, optional_bytes;
    *out = (struct headers){.file = file};
    if (!ms_span_u16le(file, 0, &mz) || mz != 0x5a4d || !ms_span_u32le(file, 0x3c, &at) ||
        !ms_span_u32le(file, at, &signature) || signature != 0x4550)
        return false;
    const uint64_t coff = (uint64_t)at + 4;
    out->optional_at = (uint64_t)at + COFF_BYTES;
    if (!ms_span_u16le(file, coff, &out->machine) ||
        !ms_span_u16le(file, coff + 2, &out->sections) ||
        !ms_span_u16le(file, coff + 16, &optional_bytes) ||
        !ms_span_u16le(file, out->optional_at, &out->magic) ||
        !ms_span_u32le(file, out->optional_at + 16, &out->entry) ||
        !ms_span_u32le(file, out->optional_at + 36, &out->file_alignment))
        return false;
    out->table_at = out->optional_at + optional_bytes;
    return out->magic == MAGIC_PE32 || out->magic == MAGIC_PE32_PLUS;
}

static bool read_section(const struct headers *headers, size_t index, struct section *out)
{
    uint32_t virtual_bytes, address, raw_bytes, raw_at, marks;
    const uint64_t at = headers->table_at + (uint64_t)index * SECTION_BYTES;
    if (!ms_span_u32le(headers->file, at + 8, &virtual_bytes) ||
        !ms_span_u32le(headers->file, at + 12, &address) ||
        !ms_span_u32le(headers->file, at + 16, &raw_bytes) ||
        !ms_span_u32le(headers->file, at + 20, &raw_at) ||
        !ms_span_u32le(headers->file, at + 36, &marks))
        return false;
    uint64_t start =
        headers->file_alignment < SECTOR_BYTES ? raw_at : raw_at - raw_at % SECTOR_BYTES;
    uint64_t n = virtual_bytes && virtual_bytes < raw_bytes ? virtual_bytes : raw_bytes;
    const uint64_t end = headers->file.len;
    if (start >= end)
        n = 0;
    else if (n > end - start)
        n = end - start;
    *out = (struct section){.address = address,
                            .memory_bytes = virtual_bytes ? virtual_bytes : raw_bytes,
                            .file_at = start,
                            .file_bytes = n,
                            .marks = marks};
    return true;
}

static size_t section_count(const struct headers *headers)
{
    return headers->sections < MS_LIMIT_PE_SECTIONS ? headers->sections : MS_LIMIT_PE_SECTIONS;
}

/* The four bytes at an address; false: the file has none there. */
static bool read_at(const struct headers *headers, uint64_t address, uint32_t *out)
{
    struct section section;
    for (size_t i = 0; i < section_count(headers) && read_section(headers, i, &section); i++)
        if (address >= section.address && address - section.address < section.file_bytes)
            return ms_span_u32le(headers->file, section.file_at + (address - section.address), out);
    return false;
}

/* Has it a CLR header that says there is nothing but intermediate code? One that is damaged says
 * it too: Windows would not run such a file as native code either. */
static bool is_managed(const struct headers *headers)
{
    const bool plus = headers->magic == MAGIC_PE32_PLUS;
    const uint64_t count_at = headers->optional_at + (plus ? 108 : 92);
    uint32_t count, address, bytes, flags;
    if (!ms_span_u32le(headers->file, count_at, &count) || count <= CLR_SLOT ||
        !ms_span_u32le(headers->file, count_at + 4 + CLR_SLOT * 8, &address) ||
        !ms_span_u32le(headers->file, count_at + 8 + CLR_SLOT * 8, &bytes) || !address || !bytes)
        return false;
    return bytes < CLR_BYTES || !read_at(headers, (uint64_t)address + 16, &flags) ||
           (flags & CLR_IL_ONLY);
}

/* Takes off what regions before it have: overlapping sections cost no more than one pass over the
 * file, and no code is counted twice. What lies behind such a piece goes with it. */
static void take_off(const struct ms_code *code, struct section *section)
{
    for (size_t i = 0; i < code->count && section->file_bytes; i++) {
        const struct ms_code_region *region = &code->regions[i];
        const uint64_t end = region->file_at + region->n;
        if (section->file_at >= end || section->file_at + section->file_bytes <= region->file_at)
            continue;
        if (section->file_at < region->file_at) {
            section->file_bytes = region->file_at - section->file_at;
            continue;
        }
        uint64_t off = end - section->file_at;
        off = off < section->file_bytes ? off : section->file_bytes;
        section->file_at += off;
        section->address += off;
        section->file_bytes -= off;
    }
}

static void add_region(struct ms_code *out, struct section *section)
{
    take_off(out, section);
    size_t room = MS_LIMIT_CODE_BYTES - out->bytes, n = room;
    if (section->file_bytes <= room)
        n = (size_t)section->file_bytes;
    else
        out->cut = true;
    if (!n)
        return;
    out->regions[out->count++] = (struct ms_code_region){
        .address = section->address, .file_at = section->file_at, .at = out->bytes, .n = n};
    out->bytes += n;
}

void ms_code_find(struct ms_span file, struct ms_code *out)
{
    struct headers headers;
    struct section section;
    *out = (struct ms_code){.state = MS_CODE_OK};
    if (!read_headers(file, &headers)) {
        say(out, MS_CODE_UNSUPPORTED, "no PE file");
        return;
    }
    const uint16_t machine = headers.machine;
    if (machine == MACHINE_X64 || (machine == MACHINE_NONE && headers.magic == MAGIC_PE32_PLUS))
        out->bits = 64;
    else if (machine == MACHINE_X86 || machine == MACHINE_NONE)
        out->bits = 32;
    else {
        say(out, MS_CODE_UNSUPPORTED, "code of another processor (machine 0x%x)", machine);
        return;
    }
    if (is_managed(&headers)) {
        say(out, MS_CODE_UNSUPPORTED, ".NET: no machine code");
        return;
    }
    out->entry = headers.entry;
    for (size_t i = 0; i < section_count(&headers) && read_section(&headers, i, &section); i++) {
        const bool has_entry = out->entry && out->entry >= section.address &&
                               out->entry - section.address < section.memory_bytes;
        if (has_entry || (section.marks & (MARK_CODE | MARK_EXECUTE)))
            add_region(out, &section);
    }
    if (!out->count)
        say(out, MS_CODE_NONE, "no section with code");
}

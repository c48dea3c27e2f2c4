/* The PE check: DOS header, COFF header, optional header, section table; in that order, each read
 * checked against the real size, in 64 bits. */
#include "collect/pe.h"

#include <stdio.h>
#include <string.h>

enum {
    DOS_HEADER_BYTES = 64,
    LFANEW_AT = 0x3c,
    COFF_BYTES = 24, /* signature included */
    SECTION_BYTES = 40,
    MAGIC_PE32 = 0x10b,
    MAGIC_PE32_PLUS = 0x20b,
    DIRECTORY_IMPORT = 1,
    DIRECTORY_RESOURCE = 2,
    DIRECTORY_CERTIFICATE = 4,
    DIRECTORY_CLR = 14,
    CLR_HEADER_BYTES = 72,
    IMPORTS_MAX = 256, /* descriptors looked at for kernel libraries */
    LIBRARY_NAME_MAX = 64
};

struct section {
    uint32_t virtual_bytes, address, raw_bytes, raw_at, flags;
    uint8_t name[8];
};

/* Offsets of what the check needs, all inside the file once parse_headers is done. */
struct image {
    struct ms_span file;
    struct ms_pe *pe;
    uint64_t header_at; /* of "PE\0\0" */
    uint64_t optional_at;
    uint64_t sections_at;
    uint64_t section_count; /* clipped to the file */
    uint64_t directories_at;
    uint32_t entry, code_bytes, section_alignment, headers_bytes, checksum;
    uint16_t characteristics;
    uint64_t raw_end; /* of the last section's bytes */
    bool executable_section;
};

static uint16_t u16(struct ms_span file, uint64_t at)
{
    uint16_t value;
    return ms_span_u16le(file, at, &value) ? value : 0;
}

static uint32_t u32(struct ms_span file, uint64_t at)
{
    uint32_t value;
    return ms_span_u32le(file, at, &value) ? value : 0;
}

/* Steps 1 to 5 of the check; true: it is a PE file. */
static bool parse_headers(struct image *image)
{
    struct ms_span file = image->file;
    uint32_t lfanew = 0;
    uint32_t signature = 0;
    uint16_t magic = 0;
    image->pe->verdict = MS_PE_NO;
    if (file.len < DOS_HEADER_BYTES || memcmp(file.data, "MZ", 2) != 0)
        return false;
    image->pe->verdict = MS_PE_MZ_ONLY;
    /* It may point inside the DOS header (TinyPE has 4) or far behind it. */
    if (!ms_span_u32le(file, LFANEW_AT, &lfanew) || lfanew > INT32_MAX ||
        !ms_span_u32le(file, lfanew, &signature) || signature != 0x00004550 ||
        (uint64_t)lfanew + COFF_BYTES > file.len)
        return false;
    image->header_at = lfanew;
    image->optional_at = image->header_at + COFF_BYTES;
    if (!ms_span_u16le(file, image->optional_at, &magic) ||
        (magic != MAGIC_PE32 && magic != MAGIC_PE32_PLUS))
        return false;
    image->pe->verdict = MS_PE_YES;
    image->pe->plus = magic == MAGIC_PE32_PLUS;
    return true;
}

/* What lies beyond the end of a cut header reads as 0: the loader maps it as zeros too. */
static void read_fields(struct image *image)
{
    struct ms_span file = image->file;
    struct ms_pe *pe = image->pe;
    uint64_t optional = image->optional_at;
    pe->machine = u16(file, image->header_at + 4);
    pe->sections = u16(file, image->header_at + 6);
    image->characteristics = u16(file, image->header_at + 22);
    image->sections_at = optional + u16(file, image->header_at + 20);
    image->code_bytes = u32(file, optional + 4);
    image->entry = u32(file, optional + 16);
    image->section_alignment = u32(file, optional + 32);
    image->headers_bytes = u32(file, optional + 60);
    image->checksum = u32(file, optional + 64);
    pe->subsystem = u16(file, optional + 68);
    image->directories_at = optional + (pe->plus ? 112 : 96);
    uint64_t room = file.len > image->sections_at ? file.len - image->sections_at : 0;
    image->section_count =
        pe->sections < room / SECTION_BYTES ? pe->sections : room / SECTION_BYTES;
}

static bool get_section(const struct image *image, uint64_t index, struct section *out)
{
    uint64_t at = image->sections_at + index * SECTION_BYTES;
    struct ms_span raw;
    if (index >= image->section_count || !ms_span_sub(image->file, at, SECTION_BYTES, &raw))
        return false;
    memcpy(out->name, raw.data, sizeof out->name);
    out->virtual_bytes = u32(raw, 8);
    out->address = u32(raw, 12);
    out->raw_bytes = u32(raw, 16);
    out->raw_at = u32(raw, 20);
    out->flags = u32(raw, 36);
    return true;
}

/* A data directory. NumberOfRvaAndSizes is not trusted: samples with 0 there are loaded with all
 * sixteen. Those that lie in the section table instead are nonsense, and checked by their users. */
static void directory(const struct image *image, unsigned index, uint32_t *address, uint32_t *bytes)
{
    uint64_t at = image->directories_at + (uint64_t)index * 8;
    *address = u32(image->file, at);
    *bytes = u32(image->file, at + 4);
}

static uint64_t in_memory_bytes(const struct section *section)
{
    return section->virtual_bytes ? section->virtual_bytes : section->raw_bytes;
}

/* File offset of an address in memory; false when it is in no section's raw bytes. */
static bool offset_of(const struct image *image, uint32_t address, uint64_t *out)
{
    struct section section;
    if (address < image->headers_bytes) {
        *out = address;
        return true;
    }
    for (uint64_t i = 0; get_section(image, i, &section); i++)
        if (address >= section.address && address - section.address < section.raw_bytes) {
            *out = (uint64_t)section.raw_at + (address - section.address);
            return true;
        }
    return false;
}

static bool packer_name(const uint8_t name[8])
{
    static const char *const names[] = {"UPX0",     "UPX1",     "UPX2",     ".aspack", ".adata",
                                        "ASPack",   ".petite",  "PEC2",     "pec1",    ".MPRESS1",
                                        ".MPRESS2", ".themida", ".vmp0",    ".vmp1",   ".nsp0",
                                        "nsp1",     "FSG!",     ".enigma1", "kkrunchy"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (memcmp(name, names[i], n < 8 ? n + 1 : 8) == 0)
            return true;
    }
    return false;
}

static void look_at_sections(struct image *image)
{
    struct section section;
    uint64_t end_in_memory = 0;
    bool entry_found = image->entry == 0 || image->entry < image->headers_bytes;
    for (uint64_t i = 0; get_section(image, i, &section); i++) {
        uint64_t raw_end = (uint64_t)section.raw_at + section.raw_bytes;
        uint64_t end = (uint64_t)section.address + in_memory_bytes(&section);
        if (section.raw_bytes && raw_end > image->raw_end)
            image->raw_end = raw_end;
        if (section.address < end_in_memory)
            image->pe->flags |= MS_PE_SECTIONS_OVERLAP;
        end_in_memory = end;
        if (image->entry >= section.address && image->entry < end)
            entry_found = true;
        image->executable_section |= (section.flags & 0x20000020U) != 0;
        if (packer_name(section.name))
            image->pe->flags |= MS_PE_PACKED_NAME;
    }
    if (image->raw_end > image->file.len || image->section_count < image->pe->sections)
        image->pe->flags |= MS_PE_TRUNCATED;
    if (!entry_found)
        image->pe->flags |= MS_PE_EP_OUTSIDE;
}

static void look_behind_sections(struct image *image)
{
    struct ms_span file = image->file;
    uint32_t at, bytes;
    directory(image, DIRECTORY_CERTIFICATE, &at, &bytes); /* a file offset, not an address */
    bool has_certificate =
        at >= image->sections_at && bytes >= 8 && (uint64_t)at + bytes <= file.len;
    if (has_certificate)
        image->pe->flags |= MS_PE_SIGNED;
    uint64_t start = image->raw_end;
    uint64_t headers_end = image->sections_at + image->section_count * SECTION_BYTES;
    /* A header that claims to be larger than the file hides nothing behind the sections. */
    if (start < image->headers_bytes && image->headers_bytes <= file.len)
        start = image->headers_bytes;
    if (start < headers_end)
        start = headers_end;
    if (start >= file.len)
        return;
    image->pe->overlay_at = start;
    image->pe->overlay_end = has_certificate && at >= start ? at : file.len;
    uint64_t overlay = file.len - start;
    uint64_t certificate = has_certificate && at >= start ? bytes : 0;
    if (overlay > certificate + 8) /* certificates are aligned to 8 */
        image->pe->flags |= MS_PE_OVERLAY;
    uint64_t zeros = 0;
    for (uint64_t i = start; i < file.len; i++)
        zeros += file.data[i] == 0;
    if (zeros > file.len / 10 * 9)
        image->pe->flags |= MS_PE_BLOATED;
}

/* The sum of CheckSumMappedFile: 16-bit words with end-around carry, the field itself taken as 0,
 * plus the length. */
static bool checksum_is_right(const struct image *image)
{
    struct ms_span file = image->file;
    uint64_t sum = 0;
    size_t at = 0;
    if (image->checksum == 0 || file.len > UINT32_MAX)
        return false;
    for (; at + 4 <= file.len; at += 4) { /* two words at a time: folded below, the sum is equal */
        uint32_t words = (uint32_t)file.data[at] | (uint32_t)file.data[at + 1] << 8 |
                         (uint32_t)file.data[at + 2] << 16 | (uint32_t)file.data[at + 3] << 24;
        sum += words;
    }
    for (size_t shift = 0; at < file.len; at++, shift += 8)
        sum += (uint64_t)file.data[at] << shift;
    uint64_t field = image->optional_at + 64;
    if (field % 2) /* the words straddle it: not worth a second way */
        return false;
    sum -= (image->checksum & 0xffff) + (image->checksum >> 16);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint32_t)(sum + file.len) == image->checksum;
}

static bool imports_from_kernel(const struct image *image)
{
    static const char *const kernel[] = {"ntoskrnl.exe", "hal.dll", "wdfldr.sys"};
    uint32_t address, bytes;
    uint64_t at;
    directory(image, DIRECTORY_IMPORT, &address, &bytes);
    if (!address || !offset_of(image, address, &at))
        return false;
    for (unsigned i = 0; i < IMPORTS_MAX; i++) {
        uint32_t name_address = u32(image->file, at + (uint64_t)i * 20 + 12);
        uint64_t name_at;
        if (!name_address || !offset_of(image, name_address, &name_at))
            return false;
        char name[LIBRARY_NAME_MAX] = "";
        uint8_t byte;
        for (size_t n = 0;
             n + 1 < sizeof name && ms_span_u8(image->file, name_at + n, &byte) && byte; n++)
            name[n] = (char)(byte >= 'A' && byte <= 'Z' ? byte - 'A' + 'a' : byte);
        for (size_t k = 0; k < sizeof kernel / sizeof *kernel; k++)
            if (strcmp(name, kernel[k]) == 0)
                return true;
    }
    return false;
}

static bool is_dotnet(const struct image *image)
{
    uint32_t address, bytes;
    uint64_t at;
    directory(image, DIRECTORY_CLR, &address, &bytes);
    return address && offset_of(image, address, &at) && u32(image->file, at) >= CLR_HEADER_BYTES &&
           u32(image->file, at) < 4096 && at + CLR_HEADER_BYTES <= image->file.len;
}

static enum ms_pe_kind kind_of(const struct image *image)
{
    uint32_t resources_at, resource_bytes;
    directory(image, DIRECTORY_RESOURCE, &resources_at, &resource_bytes);
    if (image->pe->subsystem >= 10 && image->pe->subsystem <= 13)
        return MS_PE_KIND_EFI;
    if (image->pe->subsystem == 1 || imports_from_kernel(image))
        return MS_PE_KIND_DRIVER;
    if (is_dotnet(image))
        return MS_PE_KIND_DOTNET;
    if (!(image->characteristics & 0x2000))
        return MS_PE_KIND_EXE;
    if (!image->entry && !image->code_bytes && !image->executable_section && resources_at &&
        resource_bytes)
        return MS_PE_KIND_RESOURCE;
    return MS_PE_KIND_DLL;
}

void ms_pe_check(struct ms_span file, struct ms_pe *out)
{
    struct image image = {.file = file, .pe = out};
    *out = (struct ms_pe){.verdict = MS_PE_NO};
    if (!parse_headers(&image))
        return;
    read_fields(&image);
    look_at_sections(&image);
    look_behind_sections(&image);
    if (out->machine == 0 && out->subsystem == 0)
        out->flags |= MS_PE_DISARMED;
    if (checksum_is_right(&image))
        out->flags |= MS_PE_CHECKSUM_OK;
    out->kind = kind_of(&image);
}

const char *ms_pe_kind_name(enum ms_pe_kind kind)
{
    static const char *const names[] = {"exe", "dll", "driver", "efi", "dotnet", "resource"};
    size_t index = (size_t)kind;
    return index < sizeof names / sizeof *names ? names[index] : "exe";
}

void ms_pe_flag_names(unsigned flags, char out[128])
{
    static const char *const names[] = {"truncated",  "overlay",     "disarmed",
                                        "signed",     "bloated",     "sections_overlap",
                                        "ep_outside", "packed_name", "checksum_ok"};
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (flags & (1U << i)) {
            int n = snprintf(out + used, 128 - used, "%s%s", used ? " " : "", names[i]);
            used += n > 0 ? (size_t)n : 0;
        }
}

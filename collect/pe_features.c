/* Static features of a PE file: headers, directories, sections with their entropy, export counts,
 * Rich hash. Import tables: pe_imports.c; how features travel and look as JSON: pe_json.c. */
#define _GNU_SOURCE
#include "collect/pe_features.h"

#include "collect/pe_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    DOS_HEADER_BYTES = 64,
    LFANEW_AT = 0x3c,
    COFF_BYTES = 24, /* signature included */
    SECTION_BYTES = 40,
    EXPORT_BYTES = 40,
    PE32 = 0x10b,
    PE32_PLUS = 0x20b,
    RICH_AT = 0x80,
    DANS = 0x536e6144
};

/* Where a number lies: from the signature, or from the optional header's first byte. */
struct place {
    bool optional;
    uint8_t at, bytes, plus_at, plus_bytes; /* PE32, PE32+ */
};

static const struct place places[MS_PE_NUMBER_COUNT] = {
    [MS_PE_MACHINE] = {false, 4, 2, 4, 2},
    [MS_PE_SECTIONS] = {false, 6, 2, 6, 2},
    [MS_PE_TIMESTAMP] = {false, 8, 4, 8, 4},
    [MS_PE_OPTIONAL_BYTES] = {false, 20, 2, 20, 2},
    [MS_PE_CHARACTERISTICS] = {false, 22, 2, 22, 2},
    [MS_PE_MAGIC] = {true, 0, 2, 0, 2},
    [MS_PE_LINKER_MAJOR] = {true, 2, 1, 2, 1},
    [MS_PE_LINKER_MINOR] = {true, 3, 1, 3, 1},
    [MS_PE_CODE_BYTES] = {true, 4, 4, 4, 4},
    [MS_PE_DATA_BYTES] = {true, 8, 4, 8, 4},
    [MS_PE_BSS_BYTES] = {true, 12, 4, 12, 4},
    [MS_PE_ENTRY_POINT] = {true, 16, 4, 16, 4},
    [MS_PE_CODE_BASE] = {true, 20, 4, 20, 4},
    [MS_PE_IMAGE_BASE] = {true, 28, 4, 24, 8},
    [MS_PE_SECTION_ALIGNMENT] = {true, 32, 4, 32, 4},
    [MS_PE_FILE_ALIGNMENT] = {true, 36, 4, 36, 4},
    [MS_PE_OS_MAJOR] = {true, 40, 2, 40, 2},
    [MS_PE_OS_MINOR] = {true, 42, 2, 42, 2},
    [MS_PE_IMAGE_MAJOR] = {true, 44, 2, 44, 2},
    [MS_PE_IMAGE_MINOR] = {true, 46, 2, 46, 2},
    [MS_PE_SUBSYSTEM_MAJOR] = {true, 48, 2, 48, 2},
    [MS_PE_SUBSYSTEM_MINOR] = {true, 50, 2, 50, 2},
    [MS_PE_IMAGE_BYTES] = {true, 56, 4, 56, 4},
    [MS_PE_HEADERS_BYTES] = {true, 60, 4, 60, 4},
    [MS_PE_CHECKSUM] = {true, 64, 4, 64, 4},
    [MS_PE_SUBSYSTEM] = {true, 68, 2, 68, 2},
    [MS_PE_DLL_CHARACTERISTICS] = {true, 70, 2, 70, 2},
    [MS_PE_STACK_RESERVE] = {true, 72, 4, 72, 8},
    [MS_PE_STACK_COMMIT] = {true, 76, 4, 80, 8},
    [MS_PE_HEAP_RESERVE] = {true, 80, 4, 88, 8},
    [MS_PE_HEAP_COMMIT] = {true, 84, 4, 96, 8},
    [MS_PE_DIRECTORIES] = {true, 92, 4, 108, 4},
};

/* What lies beyond the end of the file is 0, byte by byte. */
static uint64_t integer(struct ms_span file, uint64_t at, unsigned bytes)
{
    uint64_t value = 0;
    uint8_t byte;
    for (unsigned i = 0; i < bytes && ms_span_u8(file, at + i, &byte); i++)
        value |= (uint64_t)byte << (8 * i);
    return value;
}

static void read_headers(struct ms_span file, uint64_t header_at, struct ms_pe_features *out)
{
    uint64_t optional_at = header_at + COFF_BYTES;
    bool plus = integer(file, optional_at, 2) == PE32_PLUS;
    for (unsigned i = 0; i < MS_PE_NUMBER_COUNT; i++) {
        const struct place *place = &places[i];
        uint64_t base = place->optional ? optional_at : header_at;
        out->numbers[i] = integer(file, base + (plus ? place->plus_at : place->at),
                                  plus ? place->plus_bytes : place->bytes);
    }
    uint64_t at = optional_at + (plus ? 112 : 96);
    for (unsigned i = 0; i < MS_PE_DIRECTORY_COUNT; i++, at += 8) {
        out->directories[i].address = (uint32_t)integer(file, at, 4);
        out->directories[i].bytes = (uint32_t)integer(file, at + 4, 4);
    }
}

/* Shannon's, in thousandths of a bit. Four tables, because equal bytes in a row would wait for one
 * counter. */
static uint32_t entropy_milli(struct ms_span bytes)
{
    uint32_t counts[4][256];
    size_t i = 0;
    double sum = 0;
    if (!bytes.len)
        return 0;
    memset(counts, 0, sizeof counts);
    for (; i + 4 <= bytes.len; i += 4) {
        counts[0][bytes.data[i]]++;
        counts[1][bytes.data[i + 1]]++;
        counts[2][bytes.data[i + 2]]++;
        counts[3][bytes.data[i + 3]]++;
    }
    for (; i < bytes.len; i++)
        counts[0][bytes.data[i]]++;
    for (size_t value = 0; value < 256; value++) {
        uint64_t n =
            (uint64_t)counts[0][value] + counts[1][value] + counts[2][value] + counts[3][value];
        if (n)
            sum += (double)n * log2((double)n);
    }
    double bits = log2((double)bytes.len) - sum / (double)bytes.len;
    return bits > 0 ? (uint32_t)(bits * 1000 + 0.5) : 0;
}

static void read_sections(struct ms_span file, uint64_t table_at, struct ms_pe_features *out)
{
    uint32_t alignment = (uint32_t)out->numbers[MS_PE_FILE_ALIGNMENT];
    uint64_t left = file.len; /* bytes whose entropy may still be asked for */
    struct ms_span header;
    for (uint64_t i = 0; i < out->numbers[MS_PE_SECTIONS] && i < MS_LIMIT_PE_SECTIONS; i++) {
        if (!ms_span_sub(file, table_at + i * SECTION_BYTES, SECTION_BYTES, &header))
            return;
        struct ms_pe_section *section = &out->sections[out->section_count++];
        memcpy(section->name, header.data, sizeof section->name);
        section->virtual_bytes = (uint32_t)integer(header, 8, 4);
        section->address = (uint32_t)integer(header, 12, 4);
        section->raw_bytes = (uint32_t)integer(header, 16, 4);
        section->raw_at = (uint32_t)integer(header, 20, 4);
        section->characteristics = (uint32_t)integer(header, 36, 4);
        uint64_t start = ms_pe_raw_start(section->raw_at, alignment);
        uint64_t end = start + section->raw_bytes;
        end = end < file.len ? end : file.len;
        struct ms_span bytes = ms_span_of("", 0);
        if (start < end)
            bytes = ms_span_of(file.data + start, (size_t)(end - start));
        section->entropy_milli = MS_PE_ENTROPY_UNKNOWN;
        if (bytes.len <= left) {
            section->entropy_milli = entropy_milli(bytes);
            left -= bytes.len;
        }
    }
}

static void read_exports(const struct ms_pe_map *map, struct ms_pe_features *out)
{
    struct ms_span raw;
    uint32_t at = out->directories[0].address;
    if (!at || !ms_pe_map_read(map, at, EXPORT_BYTES, &raw) || raw.len != EXPORT_BYTES)
        return;
    out->has_exports = 1;
    out->export_timestamp = (uint32_t)integer(raw, 4, 4);
    out->export_functions = (uint32_t)integer(raw, 20, 4);
    out->export_names = (uint32_t)integer(raw, 24, 4);
}

/* The Rich header stands at 0x80: "DanS" and three times zero, then pairs, all XORed with the key
 * that follows "Rich". Empty where there is none. */
static struct ms_span find_rich(struct ms_span file, uint64_t optional_at, const uint8_t **key)
{
    struct ms_span area;
    const uint8_t *end = NULL;
    if (optional_at > RICH_AT && ms_span_sub(file, RICH_AT, optional_at - RICH_AT, &area))
        end = memmem(area.data, area.len, "Rich", 4);
    if (!end)
        return ms_span_of("", 0);
    area.len = (size_t)(end - area.data);
    uint64_t check = integer(area, 4, 4);
    struct ms_span behind;
    bool good = area.len >= 16 && area.len % 4 == 0 && (integer(area, 0, 4) ^ check) == DANS &&
                integer(area, 8, 4) == check && integer(area, 12, 4) == check &&
                ms_span_sub(file, RICH_AT + area.len, 8, &behind);
    if (!good)
        return ms_span_of("", 0);
    *key = behind.data + 4;
    return area;
}

static enum ms_status read_rich(struct ms_span file, uint64_t optional_at,
                                struct ms_pe_features *out, struct ms_error *err)
{
    const uint8_t *key = NULL;
    struct ms_span rich = find_rich(file, optional_at, &key);
    struct ms_hasher *hasher;
    struct ms_digests digests;
    uint8_t clear[4096];
    if (!rich.len)
        return MS_OK;
    enum ms_status status = ms_hasher_new(MS_HASH_MD5, &hasher, err);
    if (status != MS_OK)
        return status;
    for (size_t at = 0; at < rich.len; at += sizeof clear) {
        size_t n = rich.len - at < sizeof clear ? rich.len - at : sizeof clear;
        for (size_t i = 0; i < n; i++)
            clear[i] = rich.data[at + i] ^ key[i % 4];
        ms_hasher_update(hasher, clear, n);
    }
    status = ms_hasher_finish(hasher, &digests, err);
    ms_hasher_free(hasher);
    out->has_rich = status == MS_OK;
    if (status == MS_OK)
        memcpy(out->rich, digests.md5, sizeof out->rich);
    return status;
}

enum ms_status ms_pe_features_read(struct ms_span file, struct ms_pe_features *out,
                                   struct ms_error *err)
{
    uint64_t header_at = integer(file, LFANEW_AT, 4);
    memset(out, 0, sizeof *out);
    uint64_t magic = integer(file, header_at + COFF_BYTES, 2);
    if (file.len < DOS_HEADER_BYTES || (magic != PE32 && magic != PE32_PLUS))
        return MS_OK;
    read_headers(file, header_at, out);
    uint64_t optional_at = header_at + COFF_BYTES;
    uint64_t table_at = optional_at + out->numbers[MS_PE_OPTIONAL_BYTES];
    read_sections(file, table_at, out);
    struct ms_pe_map *map = malloc(sizeof *map);
    if (!map)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    ms_pe_map_init(map, file, table_at, out->numbers[MS_PE_SECTIONS],
                   (uint32_t)out->numbers[MS_PE_FILE_ALIGNMENT],
                   (uint32_t)out->numbers[MS_PE_SECTION_ALIGNMENT]);
    read_exports(map, out);
    enum ms_status status = ms_pe_imports_read(map, out, err);
    free(map);
    return status == MS_OK ? read_rich(file, optional_at, out, err) : status;
}

/* Static features of a PE file: header fields, data directories, sections, counts of imports and
 * exports, imphash and Rich hash. Reads the file as it is; judges nothing, needs no loader. */
#ifndef MS_COLLECT_PE_FEATURES_H
#define MS_COLLECT_PE_FEATURES_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* Raised whenever a feature is added or computed in another way; stored with the features as
 * "version". Features of an older version are made anew by the next run of collect. */
enum { MS_PE_FEATURES_VERSION = 1 };

/* Fields of the COFF and the optional header, as the file has them; a header that the end of the
 * file cuts reads as zeros there, which is what the loader maps. Microsoft, "PE Format". */
enum ms_pe_number {
    MS_PE_MACHINE,
    MS_PE_SECTIONS, /* as the header says */
    MS_PE_TIMESTAMP,
    MS_PE_OPTIONAL_BYTES,
    MS_PE_CHARACTERISTICS,
    MS_PE_MAGIC, /* 0x10b PE32, 0x20b PE32+ */
    MS_PE_LINKER_MAJOR,
    MS_PE_LINKER_MINOR,
    MS_PE_CODE_BYTES,
    MS_PE_DATA_BYTES,
    MS_PE_BSS_BYTES,
    MS_PE_ENTRY_POINT, /* relative to the image base, as all addresses here */
    MS_PE_CODE_BASE,
    MS_PE_IMAGE_BASE,
    MS_PE_SECTION_ALIGNMENT,
    MS_PE_FILE_ALIGNMENT,
    MS_PE_OS_MAJOR,
    MS_PE_OS_MINOR,
    MS_PE_IMAGE_MAJOR,
    MS_PE_IMAGE_MINOR,
    MS_PE_SUBSYSTEM_MAJOR,
    MS_PE_SUBSYSTEM_MINOR,
    MS_PE_IMAGE_BYTES,
    MS_PE_HEADERS_BYTES,
    MS_PE_CHECKSUM,
    MS_PE_SUBSYSTEM,
    MS_PE_DLL_CHARACTERISTICS,
    MS_PE_STACK_RESERVE,
    MS_PE_STACK_COMMIT,
    MS_PE_HEAP_RESERVE,
    MS_PE_HEAP_COMMIT,
    MS_PE_DIRECTORIES, /* NumberOfRvaAndSizes */
    MS_PE_NUMBER_COUNT
};

enum { MS_PE_DIRECTORY_COUNT = 16, MS_PE_ENTROPY_UNKNOWN = 0xffff, MS_PE_LIBRARY_NAME_BYTES = 60 };

struct ms_pe_section {
    uint8_t name[8]; /* any bytes; padded with NULs, not always ended by one */
    uint32_t virtual_bytes, address, raw_bytes, raw_at, characteristics;
    uint32_t entropy_milli; /* thousandths of a bit a byte, 0 to 8000, of the bytes in the file;
                               MS_PE_ENTROPY_UNKNOWN when sections that overlap would make it cost
                               more than one pass over the file */
};

struct ms_pe_library {
    uint8_t name[MS_PE_LIBRARY_NAME_BYTES]; /* as written; cut; padded with NULs */
    uint32_t functions;
};

/* What one import table (the plain or the delayed one) holds. */
struct ms_pe_imports {
    uint32_t libraries, functions;
    uint32_t ordinals; /* of the functions, those without a name */
    uint32_t bound;    /* of the libraries, those bound in advance (plain table) */
};

/* No pointers: it travels through a pipe. Cleared as a whole, so that equal files give equal bytes.
 */
struct ms_pe_features {
    uint64_t numbers[MS_PE_NUMBER_COUNT];
    /* All sixteen slots as they lie in the file, whatever NumberOfRvaAndSizes says: samples with 0
     * there and full slots exist. The address of slot 4 is a file offset. */
    struct {
        uint32_t address, bytes;
    } directories[MS_PE_DIRECTORY_COUNT];
    struct ms_pe_imports imports, delayed;
    uint32_t has_exports; /* 0 or 1: the export directory can be read */
    uint32_t export_functions, export_names, export_timestamp; /* as it says */
    /* MD5 over "library.function,…" in lower case. Equal to pefile 2023.2.7's on good files and
     * damaged ones: up to 8,192 table entries are looked at, names with other characters than
     * linkers write are passed over, and ordinals have names in ws2_32, wsock32 and oleaut32 alone.
     * A file whose NumberOfRvaAndSizes leaves the import table out has none, although its imports
     * are counted above. */
    uint32_t has_imphash;
    uint8_t imphash[16];
    uint32_t has_rich;
    uint8_t rich[16];       /* MD5 over the Rich header from "DanS" to before "Rich", XOR undone */
    uint32_t section_count; /* kept: in the order of the table, at most MS_LIMIT_PE_SECTIONS */
    uint32_t library_count; /* kept: in the order of the table, at most MS_LIMIT_PE_LIBRARIES */
    struct ms_pe_section sections[MS_LIMIT_PE_SECTIONS];
    struct ms_pe_library libraries[MS_LIMIT_PE_LIBRARIES];
};

/* Reads the features of what ms_pe_check called a PE file; other bytes give zeros. Fails only for
 * want of memory. Time is linear in the file, whatever the headers say. */
enum ms_status ms_pe_features_read(struct ms_span file, struct ms_pe_features *out,
                                   struct ms_error *err) MS_MUST_USE;

/* To bytes and back: only what is in use travels. unpack trusts nothing: false when the bytes are
 * not what pack writes. */
enum ms_status ms_pe_features_pack(const struct ms_pe_features *self, struct ms_buf *out,
                                   struct ms_error *err) MS_MUST_USE;
bool ms_pe_features_unpack(struct ms_span bytes, struct ms_pe_features *out) MS_MUST_USE;

/* The JSON of the column sample.features: schemas/features.schema.json. Appends to
 * out; ASCII alone, other bytes of names as \xHH. */
enum ms_status ms_pe_features_json(const struct ms_pe_features *self, struct ms_buf *out,
                                   struct ms_error *err) MS_MUST_USE;

#endif

/* Features through the pipe and as JSON. Names are any bytes and come out escaped; what arrives is
 * a claim of the worker, so counts are checked and texts never trusted. */
#include "collect/pe_features.h"

#include "base/hash.h"

#include <stddef.h>
#include <string.h>

static const char *const number_names[MS_PE_NUMBER_COUNT] = {
    [MS_PE_MACHINE] = "machine",
    [MS_PE_SECTIONS] = "section_count",
    [MS_PE_TIMESTAMP] = "timestamp",
    [MS_PE_OPTIONAL_BYTES] = "optional_header_size",
    [MS_PE_CHARACTERISTICS] = "characteristics",
    [MS_PE_MAGIC] = "magic",
    [MS_PE_LINKER_MAJOR] = "linker_major",
    [MS_PE_LINKER_MINOR] = "linker_minor",
    [MS_PE_CODE_BYTES] = "code_size",
    [MS_PE_DATA_BYTES] = "initialized_data_size",
    [MS_PE_BSS_BYTES] = "uninitialized_data_size",
    [MS_PE_ENTRY_POINT] = "entry_point",
    [MS_PE_CODE_BASE] = "code_base",
    [MS_PE_IMAGE_BASE] = "image_base",
    [MS_PE_SECTION_ALIGNMENT] = "section_alignment",
    [MS_PE_FILE_ALIGNMENT] = "file_alignment",
    [MS_PE_OS_MAJOR] = "os_major",
    [MS_PE_OS_MINOR] = "os_minor",
    [MS_PE_IMAGE_MAJOR] = "image_major",
    [MS_PE_IMAGE_MINOR] = "image_minor",
    [MS_PE_SUBSYSTEM_MAJOR] = "subsystem_major",
    [MS_PE_SUBSYSTEM_MINOR] = "subsystem_minor",
    [MS_PE_IMAGE_BYTES] = "image_size",
    [MS_PE_HEADERS_BYTES] = "headers_size",
    [MS_PE_CHECKSUM] = "checksum",
    [MS_PE_SUBSYSTEM] = "subsystem",
    [MS_PE_DLL_CHARACTERISTICS] = "dll_characteristics",
    [MS_PE_STACK_RESERVE] = "stack_reserve",
    [MS_PE_STACK_COMMIT] = "stack_commit",
    [MS_PE_HEAP_RESERVE] = "heap_reserve",
    [MS_PE_HEAP_COMMIT] = "heap_commit",
    [MS_PE_DIRECTORIES] = "directory_count",
};

static const char *const directory_names[MS_PE_DIRECTORY_COUNT] = {
    "export", "import",       "resource", "exception", "certificate", "relocation",
    "debug",  "architecture", "global",   "tls",       "load_config", "bound_import",
    "iat",    "delay_import", "clr",      "reserved"};

enum { FIXED_BYTES = offsetof(struct ms_pe_features, sections) };

enum ms_status ms_pe_features_pack(const struct ms_pe_features *self, struct ms_buf *out,
                                   struct ms_error *err)
{
    (void)ms_buf_append(out, self, FIXED_BYTES);
    (void)ms_buf_append(out, self->sections, self->section_count * sizeof *self->sections);
    (void)ms_buf_append(out, self->libraries, self->library_count * sizeof *self->libraries);
    return out->failed ? ms_error_set(err, MS_E_NOMEM, "out of memory") : MS_OK;
}

bool ms_pe_features_unpack(struct ms_span bytes, struct ms_pe_features *out)
{
    struct ms_span part;
    memset(out, 0, sizeof *out);
    if (!ms_span_take(&bytes, FIXED_BYTES, &part))
        return false;
    memcpy(out, part.data, part.len);
    if (out->section_count > MS_LIMIT_PE_SECTIONS || out->library_count > MS_LIMIT_PE_LIBRARIES ||
        !ms_span_take(&bytes, out->section_count * sizeof *out->sections, &part))
        return false;
    memcpy(out->sections, part.data, part.len);
    if (!ms_span_take(&bytes, out->library_count * sizeof *out->libraries, &part) || bytes.len)
        return false;
    memcpy(out->libraries, part.data, part.len);
    return true;
}

/* Up to the NULs that pad it. */
static void put_name(struct ms_buf *out, const uint8_t *name, size_t n)
{
    while (n > 0 && name[n - 1] == 0)
        n--;
    (void)ms_buf_append_byte(out, '"');
    for (size_t i = 0; i < n; i++) {
        if (name[i] == '"' || name[i] == '\\')
            (void)ms_buf_printf(out, "\\%c", name[i]);
        else if (name[i] < 0x20 || name[i] > 0x7e)
            (void)ms_buf_printf(out, "\\\\x%02x", name[i]);
        else
            (void)ms_buf_append_byte(out, name[i]);
    }
    (void)ms_buf_append_byte(out, '"');
}

static void put_digest(struct ms_buf *out, const char *name, bool known, const uint8_t digest[16])
{
    char hex[33];
    ms_hex_encode(digest, 16, hex);
    if (known)
        (void)ms_buf_printf(out, ",\"%s\":\"%s\"", name, hex);
    else
        (void)ms_buf_printf(out, ",\"%s\":null", name);
}

static void put_directories(struct ms_buf *out, const struct ms_pe_features *self)
{
    (void)ms_buf_append_text(out, ",\"directories\":{");
    for (unsigned i = 0; i < MS_PE_DIRECTORY_COUNT; i++)
        (void)ms_buf_printf(out, "%s\"%s\":{\"address\":%u,\"size\":%u}", i ? "," : "",
                            directory_names[i], self->directories[i].address,
                            self->directories[i].bytes);
    (void)ms_buf_append_byte(out, '}');
}

static void put_sections(struct ms_buf *out, const struct ms_pe_features *self)
{
    (void)ms_buf_append_text(out, ",\"sections\":[");
    for (uint32_t i = 0; i < self->section_count; i++) {
        const struct ms_pe_section *section = &self->sections[i];
        (void)ms_buf_printf(out, "%s{\"name\":", i ? "," : "");
        put_name(out, section->name, sizeof section->name);
        (void)ms_buf_printf(out,
                            ",\"virtual_size\":%u,\"address\":%u,\"raw_size\":%u,\"raw_at\":%u,"
                            "\"characteristics\":%u",
                            section->virtual_bytes, section->address, section->raw_bytes,
                            section->raw_at, section->characteristics);
        uint32_t milli = section->entropy_milli;
        if (milli == MS_PE_ENTROPY_UNKNOWN)
            (void)ms_buf_append_text(out, ",\"entropy\":null}");
        else
            (void)ms_buf_printf(out, ",\"entropy\":%u.%03u}", milli / 1000, milli % 1000);
    }
    (void)ms_buf_append_byte(out, ']');
}

static void put_imports(struct ms_buf *out, const struct ms_pe_features *self)
{
    const struct ms_pe_imports *imports = &self->imports;
    (void)ms_buf_printf(out,
                        ",\"imports\":{\"libraries\":%u,\"functions\":%u,\"ordinals\":%u,"
                        "\"bound\":%u,\"names\":[",
                        imports->libraries, imports->functions, imports->ordinals, imports->bound);
    for (uint32_t i = 0; i < self->library_count; i++) {
        (void)ms_buf_printf(out, "%s{\"name\":", i ? "," : "");
        put_name(out, self->libraries[i].name, sizeof self->libraries[i].name);
        (void)ms_buf_printf(out, ",\"functions\":%u}", self->libraries[i].functions);
    }
    (void)ms_buf_printf(out,
                        "]},\"delay_imports\":{\"libraries\":%u,\"functions\":%u,\"ordinals\":%u}",
                        self->delayed.libraries, self->delayed.functions, self->delayed.ordinals);
    if (self->has_exports)
        (void)ms_buf_printf(out, ",\"exports\":{\"functions\":%u,\"names\":%u,\"timestamp\":%u}",
                            self->export_functions, self->export_names, self->export_timestamp);
    else
        (void)ms_buf_append_text(out, ",\"exports\":null");
}

enum ms_status ms_pe_features_json(const struct ms_pe_features *self, struct ms_buf *out,
                                   struct ms_error *err)
{
    (void)ms_buf_printf(out, "{\"version\":%d", MS_PE_FEATURES_VERSION);
    for (unsigned i = 0; i < MS_PE_NUMBER_COUNT; i++)
        (void)ms_buf_printf(out, ",\"%s\":%llu", number_names[i],
                            (unsigned long long)self->numbers[i]);
    put_directories(out, self);
    put_sections(out, self);
    put_imports(out, self);
    put_digest(out, "imphash", self->has_imphash, self->imphash);
    put_digest(out, "rich_hash", self->has_rich, self->rich);
    (void)ms_buf_append_byte(out, '}');
    return out->failed ? ms_error_set(err, MS_E_NOMEM, "out of memory") : MS_OK;
}

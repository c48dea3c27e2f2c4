/* Import tables, plain and delayed, and the imphash. Tables loop, overlap and point anywhere: the
 * rules by which one is given up are those of pefile, so that hashes can be compared; they also
 * bound the time. Function names are hashed, not kept. */
#include "collect/pe_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DESCRIPTOR_BYTES = 20,
    DELAYED_BYTES = 32,
    NAME_MAX = 512,
    SEEN_SLOTS = 16384,     /* a power of two, twice the entries that can be */
    REPEATED_MAX = 15,      /* entries of a table that say what another one said */
    SPREAD_MAX = 128 << 20, /* between the names of one table */
    INVALID_MAX = 1000,     /* names at the head of a table that are none */
    FAILED_MAX = 5,         /* descriptors without a usable table */
    I386 = 0x14c,
    PE32_PLUS = 0x20b,
    ENTRIES_MAX = MS_LIMIT_PE_IMPORTS + 1
};

/* The addresses met in the table being read: a hash set that is emptied by counting on. */
struct seen {
    struct {
        uint64_t value;
        uint32_t stamp;
    } slots[SEEN_SLOTS];
    uint32_t stamp;
};

struct extent {
    bool any;
    uint64_t low, high;
};

/* One of the two tables behind a descriptor. */
struct table {
    size_t count;
    uint64_t entries[ENTRIES_MAX];
};

struct walk {
    const struct ms_pe_map *map;
    struct ms_pe_features *features;
    struct ms_hasher *hasher;
    bool plus;
    bool hashed;    /* something went into the hash */
    uint64_t total; /* entries looked at, of all tables */
    struct seen seen;
    struct table lookup, address;
};

/* A descriptor of either kind. */
struct library {
    uint64_t lookup_at, address_at, name_at;
    int64_t max_bytes;
    bool virtual_; /* addresses with the image base in them: old delayed tables */
};

static uint64_t integer(struct ms_span bytes, size_t at, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n && at + i < bytes.len; i++)
        value |= (uint64_t)bytes.data[at + i] << (8 * i);
    return value;
}

static bool seen_before(struct seen *self, uint64_t value)
{
    size_t at = (size_t)((value * 0x9e3779b97f4a7c15U) >> 40) % SEEN_SLOTS;
    while (self->slots[at].stamp == self->stamp) {
        if (self->slots[at].value == value)
            return true;
        at = (at + 1) % SEEN_SLOTS;
    }
    self->slots[at].value = value;
    self->slots[at].stamp = self->stamp;
    return false;
}

static void extend(struct extent *self, uint64_t value)
{
    self->low = !self->any || value < self->low ? value : self->low;
    self->high = !self->any || value > self->high ? value : self->high;
    self->any = true;
}

static uint64_t without_base(const struct walk *self, uint64_t address)
{
    uint64_t base = self->features->numbers[MS_PE_IMAGE_BASE];
    uint64_t bytes = self->features->numbers[MS_PE_IMAGE_BYTES];
    return address >= base && address - base < bytes ? address - base : address;
}

/* Fills `out`; a table that is given up is empty. */
static void read_table(struct walk *self, const struct library *library, uint64_t start,
                       struct table *out)
{
    const size_t width = self->plus ? 8 : 4;
    const uint64_t by_ordinal = self->plus ? (uint64_t)1 << 63 : (uint64_t)1 << 31;
    struct extent near = {0}, far = {0};
    unsigned repeated = 0;
    bool rubbish = false;
    out->count = 0;
    self->seen.stamp++;
    for (uint64_t at = start; at != 0; at += width) {
        struct ms_span bytes;
        if ((int64_t)(at - start) >= library->max_bytes || self->total > MS_LIMIT_PE_IMPORTS)
            break;
        self->total++;
        rubbish = repeated >= REPEATED_MAX || near.high - near.low > SPREAD_MAX ||
                  far.high - far.low > SPREAD_MAX ||
                  !ms_pe_map_read(self->map, at, width, &bytes) || bytes.len != width;
        if (rubbish)
            break;
        uint64_t raw = integer(bytes, 0, width);
        uint64_t value = library->virtual_ ? without_base(self, raw) : raw;
        if (value >= start && value <= at) /* points into the table itself */
            break;
        if (value & by_ordinal) {
            rubbish = (value & 0x7fffffff) > UINT16_MAX;
            if (rubbish)
                break;
        } else if (value) {
            repeated += seen_before(&self->seen, value);
            extend(value > UINT32_MAX ? &far : &near, value);
        }
        if (raw == 0)
            break;
        out->entries[out->count++] = value;
    }
    if (rubbish)
        out->count = 0;
}

static bool all_in(struct ms_span text, const char *more)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (c == 0 || !strchr(more, c)))
            return false;
    }
    return true;
}

enum entry { ENTRY_PASSED, ENTRY_NAME, ENTRY_ORDINAL, ENTRY_INVALID, ENTRY_BROKEN };

/* What one entry of a table is; *name is set for ENTRY_NAME. */
static enum entry look_at(const struct walk *self, uint64_t value, struct ms_span *name)
{
    uint64_t by_ordinal = self->plus ? (uint64_t)1 << 63 : (uint64_t)1 << 31;
    struct ms_span hint;
    if (value & by_ordinal)
        return (value & UINT16_MAX) ? ENTRY_ORDINAL : ENTRY_PASSED;
    if (!value || !ms_pe_map_read(self->map, value, 2, &hint))
        return ENTRY_BROKEN;
    *name = ms_pe_map_text(self->map, value + 2, NAME_MAX);
    if (!all_in(*name, "._?@$()<>"))
        return ENTRY_INVALID;
    return name->len ? ENTRY_NAME : ENTRY_PASSED;
}

/* Functions of a table; 0 when an entry is broken, because then all are doubtful. */
static uint32_t count_functions(const struct walk *self, const struct table *table,
                                uint32_t *ordinals)
{
    uint32_t functions = 0;
    size_t invalid = 0;
    *ordinals = 0;
    for (size_t i = 0; i < table->count; i++) {
        struct ms_span name;
        enum entry entry = look_at(self, table->entries[i], &name);
        if (entry == ENTRY_BROKEN ||
            (entry == ENTRY_INVALID && invalid > INVALID_MAX && invalid == i))
            return 0;
        invalid += entry == ENTRY_INVALID;
        *ordinals += entry == ENTRY_ORDINAL;
        functions += entry == ENTRY_NAME || entry == ENTRY_ORDINAL;
    }
    return functions;
}

static void lower(struct ms_span text, char *out, size_t out_bytes)
{
    size_t n = 0;
    for (; n < text.len && n + 1 < out_bytes; n++) {
        char c = (char)text.data[n];
        out[n] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    out[n] = '\0';
}

/* ",library.function" for each function; the suffix of a library counts when it is none of these.
 */
static void hash_functions(struct walk *self, const struct table *table, const char *library)
{
    static const char *const suffixes[] = {".dll", ".ocx", ".sys"};
    size_t library_bytes = strlen(library);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (library_bytes >= 4 && strcmp(library + library_bytes - 4, suffixes[i]) == 0) {
            library_bytes -= 4;
            break;
        }
    for (size_t i = 0; i < table->count; i++) {
        char text[NAME_MAX + 1];
        struct ms_span name;
        enum entry entry = look_at(self, table->entries[i], &name);
        if (entry == ENTRY_NAME) {
            lower(name, text, sizeof text);
        } else if (entry == ENTRY_ORDINAL) {
            uint16_t ordinal = (uint16_t)(table->entries[i] & UINT16_MAX);
            const char *known = ms_pe_ordinal_name(library, ordinal);
            (void)snprintf(text, sizeof text, "ord%u", ordinal);
            if (known)
                lower(ms_span_of(known, strlen(known)), text, sizeof text);
        } else {
            continue;
        }
        if (self->hashed)
            ms_hasher_update(self->hasher, ",", 1);
        ms_hasher_update(self->hasher, library, library_bytes);
        ms_hasher_update(self->hasher, ".", 1);
        ms_hasher_update(self->hasher, text, strlen(text));
        self->hashed = true;
    }
}

static void keep_library(struct ms_pe_features *features, struct ms_span name, uint32_t functions)
{
    if (features->library_count >= MS_LIMIT_PE_LIBRARIES)
        return;
    struct ms_pe_library *kept = &features->libraries[features->library_count++];
    memcpy(kept->name, name.data, name.len < sizeof kept->name ? name.len : sizeof kept->name);
    kept->functions = functions;
}

/* False: no usable table behind this descriptor. `imports` says which kind is being counted. */
static bool take_library(struct walk *self, const struct library *library,
                         struct ms_pe_imports *imports)
{
    static const char invalid[] = "*invalid*";
    bool plain = imports == &self->features->imports;
    uint32_t ordinals;
    read_table(self, library, library->lookup_at, &self->lookup);
    read_table(self, library, library->address_at, &self->address);
    const struct table *table = self->lookup.count ? &self->lookup : &self->address;
    uint32_t functions = count_functions(self, table, &ordinals);
    if (!functions || (!plain && self->total > MS_LIMIT_PE_IMPORTS))
        return false;
    struct ms_span name = ms_pe_map_text(self->map, library->name_at, NAME_MAX);
    if (!all_in(name, "!#$%&'()-@^_`{}~+,.;=[]\\/"))
        name = ms_span_of(invalid, sizeof invalid - 1);
    if (!name.len)
        return true;
    imports->libraries++;
    imports->functions += functions;
    imports->ordinals += ordinals;
    if (plain) {
        char text[NAME_MAX + 1];
        lower(name, text, sizeof text);
        hash_functions(self, table, text);
        keep_library(self->features, name, functions);
    }
    return true;
}

static int64_t longest_table(const struct walk *self, uint64_t descriptor_at, uint64_t next,
                             const struct library *library)
{
    uint64_t offset;
    if (next > library->lookup_at || next > library->address_at) {
        int64_t a = (int64_t)next - (int64_t)library->lookup_at;
        int64_t b = (int64_t)next - (int64_t)library->address_at;
        return a > b ? a : b;
    }
    if (!ms_pe_map_offset(self->map, descriptor_at, &offset))
        return 0;
    return (int64_t)self->map->file.len - (int64_t)offset;
}

static bool read_descriptor(const struct walk *self, uint64_t at, size_t bytes_each,
                            struct ms_span *out)
{
    if (!ms_pe_map_read(self->map, at, bytes_each, out) || out->len != bytes_each)
        return false;
    for (size_t i = 0; i < out->len; i++)
        if (out->data[i])
            return true;
    return false; /* the end of the list */
}

static void walk_plain(struct walk *self, uint64_t at)
{
    struct ms_span raw;
    unsigned failed = 0;
    for (; read_descriptor(self, at, DESCRIPTOR_BYTES, &raw); at += DESCRIPTOR_BYTES) {
        struct library library = {.lookup_at = integer(raw, 0, 4),
                                  .name_at = integer(raw, 12, 4),
                                  .address_at = integer(raw, 16, 4)};
        library.max_bytes = longest_table(self, at, at + DESCRIPTOR_BYTES, &library);
        if (failed > FAILED_MAX)
            break;
        struct ms_pe_imports *imports = &self->features->imports;
        uint32_t before = imports->libraries;
        failed += !take_library(self, &library, imports);
        imports->bound += imports->libraries > before && integer(raw, 4, 4) != 0;
    }
}

static void walk_delayed(struct walk *self, uint64_t at)
{
    struct ms_span raw;
    unsigned failed = 0;
    for (; read_descriptor(self, at, DELAYED_BYTES, &raw); at += DELAYED_BYTES) {
        struct library library = {.name_at = integer(raw, 4, 4),
                                  .address_at = integer(raw, 12, 4),
                                  .lookup_at = integer(raw, 16, 4)};
        /* Linkers before version 6 wrote addresses with the image base in them. */
        library.virtual_ =
            integer(raw, 0, 4) == 0 && self->features->numbers[MS_PE_MACHINE] == I386;
        if (library.virtual_) {
            library.name_at = without_base(self, library.name_at);
            library.address_at = without_base(self, library.address_at);
            library.lookup_at = without_base(self, library.lookup_at);
        }
        library.max_bytes = longest_table(self, at, at + DELAYED_BYTES, &library);
        if (failed > FAILED_MAX)
            break;
        failed += !take_library(self, &library, &self->features->delayed);
    }
}

enum ms_status ms_pe_imports_read(const struct ms_pe_map *map, struct ms_pe_features *features,
                                  struct ms_error *err)
{
    enum { IMPORT = 1, DELAYED = 13 };
    uint32_t plain_at = features->directories[IMPORT].address;
    uint32_t delayed_at = features->directories[DELAYED].address;
    if (!plain_at && !delayed_at)
        return MS_OK;
    struct walk *walk = calloc(1, sizeof *walk);
    if (!walk)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    walk->map = map;
    walk->features = features;
    walk->plus = features->numbers[MS_PE_MAGIC] == PE32_PLUS;
    enum ms_status status = ms_hasher_new(MS_HASH_MD5, &walk->hasher, err);
    if (status == MS_OK && plain_at)
        walk_plain(walk, plain_at);
    if (status == MS_OK && delayed_at)
        walk_delayed(walk, delayed_at);
    if (status == MS_OK && walk->hashed &&
        (features->numbers[MS_PE_DIRECTORIES] & 0x7fffffff) > IMPORT) {
        struct ms_digests digests;
        status = ms_hasher_finish(walk->hasher, &digests, err);
        features->has_imphash = status == MS_OK;
        if (status == MS_OK)
            memcpy(features->imphash, digests.md5, sizeof features->imphash);
    }
    ms_hasher_free(walk->hasher);
    free(walk);
    return status;
}

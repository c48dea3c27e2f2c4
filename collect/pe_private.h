/* What the readers of PE features share: the map from addresses to file offsets, and the walk over
 * import tables. */
#ifndef MS_COLLECT_PE_PRIVATE_H
#define MS_COLLECT_PE_PRIVATE_H

#include "base/hash.h"
#include "collect/pe_features.h"

/* One section as the map sees it: its place in memory, and where its bytes lie. */
struct ms_pe_range {
    uint32_t address;    /* as the table says: the order */
    uint32_t raw_at;     /* as the table says */
    uint64_t start, end; /* in memory, aligned; cut where the next section begins */
    uint64_t raw_start;  /* in the file, aligned down as the loader does */
    uint64_t raw_limit;  /* bytes from here on are not the section's */
    uint64_t memory_bytes;
};

/* Addresses are mapped as pefile does, not as Windows does, because the imphash is compared with
 * pefile's: ranges in the order of their addresses; what lies in none is taken from the same offset
 * of the file. */
struct ms_pe_map {
    struct ms_span file;
    uint64_t header_bytes; /* before the first section's bytes */
    size_t count;
    struct ms_pe_range ranges[MS_LIMIT_PE_MAPPED];
};

void ms_pe_map_init(struct ms_pe_map *self, struct ms_span file, uint64_t table_at,
                    uint64_t table_count, uint32_t file_alignment, uint32_t section_alignment);
/* Up to n bytes at an address: fewer at the end of the section or file. False: outside of all. */
bool ms_pe_map_read(const struct ms_pe_map *self, uint64_t address, uint64_t n,
                    struct ms_span *out) MS_MUST_USE;
/* The bytes before the first NUL, n at most; empty when there is nothing. */
struct ms_span ms_pe_map_text(const struct ms_pe_map *self, uint64_t address, uint64_t n);
bool ms_pe_map_offset(const struct ms_pe_map *self, uint64_t address, uint64_t *out) MS_MUST_USE;

/* Where the sections' bytes start in the file once the loader has aligned raw_at. */
uint32_t ms_pe_raw_start(uint32_t raw_at, uint32_t file_alignment);

/* Fills imports, delayed, libraries and imphash from the tables that the directories name; numbers
 * and directories are there. */
enum ms_status ms_pe_imports_read(const struct ms_pe_map *map, struct ms_pe_features *features,
                                  struct ms_error *err) MS_MUST_USE;

/* The name that an ordinal of a library (lower case, with its suffix) stands for; NULL: none known.
 */
const char *ms_pe_ordinal_name(const char *library, uint16_t ordinal);

#endif

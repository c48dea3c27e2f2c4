/* Where the machine code of a PE file lies, and of which processor it is. Reads headers through
 * checked reads; decodes nothing. */
#ifndef MS_EXTRACT_OPCODES_CODE_H
#define MS_EXTRACT_OPCODES_CODE_H

#include "base/limits.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ms_code_state {
    MS_CODE_OK,
    MS_CODE_NONE,       /* no section has bytes and is marked as code, and none has the entry */
    MS_CODE_UNSUPPORTED /* no PE file, .NET without machine code, another processor */
};

/* The bytes of one section: n of them, at `at` of the code of all regions together. */
struct ms_code_region {
    uint64_t address; /* relative to the image base */
    uint64_t file_at;
    size_t at, n;
};

struct ms_code {
    enum ms_code_state state;
    char why[96];   /* of the states but OK; "" else */
    unsigned bits;  /* 32 or 64 */
    uint64_t entry; /* relative to the image base; 0: none */
    struct ms_code_region regions[MS_LIMIT_PE_SECTIONS];
    size_t count;
    size_t bytes; /* of all regions, at most MS_LIMIT_CODE_BYTES */
    bool cut;     /* there would be more */
};

/* Microsoft, "PE Format". Never fails, any bytes will do. The regions are the sections that are
 * marked as executable or as code, and the one with the entry point whatever it is marked as, in
 * the order of the table, each as far as file and memory both have it; no byte of the file is in
 * two of them. A file whose Machine was zeroed (SOREL-20M) is taken for x86, or as PE32+ for
 * x86-64. */
void ms_code_find(struct ms_span file, struct ms_code *out);

#endif

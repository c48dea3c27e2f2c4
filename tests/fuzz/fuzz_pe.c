/* Fuzz target: the PE check on any bytes. */
#include "collect/pe.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ms_pe pe;
    char flags[128];
    ms_pe_check(ms_span_of(data, size), &pe);
    ms_pe_flag_names(pe.flags, flags);
    if (pe.verdict != MS_PE_YES && pe.flags)
        abort();
    return ms_pe_kind_name(pe.kind) == NULL;
}

/* Is this a Windows PE file, and of what kind: the minimal check. Reads headers only; decides
 * nothing about malice; features are pe_features. */
#ifndef MS_COLLECT_PE_H
#define MS_COLLECT_PE_H

#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum ms_pe_verdict {
    MS_PE_NO,      /* does not begin with "MZ", or is shorter than a DOS header */
    MS_PE_MZ_ONLY, /* a DOS program, NE, LE, LX, or a header that leads nowhere */
    MS_PE_YES
};

enum ms_pe_kind {
    MS_PE_KIND_EXE,
    MS_PE_KIND_DLL,
    MS_PE_KIND_DRIVER, /* native subsystem, or imports from the kernel */
    MS_PE_KIND_EFI,
    MS_PE_KIND_DOTNET,  /* a readable CLR header */
    MS_PE_KIND_RESOURCE /* a DLL with resources, without code and entry point */
};

/* None of them is a reason to refuse a file: the loader takes most of them. */
enum ms_pe_flag {
    MS_PE_TRUNCATED = 1,         /* a section's bytes reach beyond the end of the file */
    MS_PE_OVERLAY = 2,           /* bytes behind the last section, certificates not counted */
    MS_PE_DISARMED = 4,          /* Machine and Subsystem zeroed (SOREL-20M): hashes are not the
                                    original's */
    MS_PE_SIGNED = 8,            /* a certificate table inside the file; not verified */
    MS_PE_BLOATED = 16,          /* zeros behind the last section are over 90 % of the file */
    MS_PE_SECTIONS_OVERLAP = 32, /* in memory, or out of order */
    MS_PE_EP_OUTSIDE = 64,       /* the entry point lies in no section and not in the header */
    MS_PE_PACKED_NAME = 128,     /* a section name that packers leave */
    MS_PE_CHECKSUM_OK = 256
};

struct ms_pe {
    enum ms_pe_verdict verdict;
    enum ms_pe_kind kind;
    uint16_t machine;
    uint16_t subsystem;
    uint16_t sections; /* as the header says */
    bool plus;         /* PE32+ */
    unsigned flags;
    /* Bytes behind the last section, certificates not counted; equal where there are none. */
    uint64_t overlay_at, overlay_end;
};

/* Microsoft, "PE Format". Looks at `file` through checked reads only; never fails, any bytes will
 * do. Takes time linear in the file (checksum). */
void ms_pe_check(struct ms_span file, struct ms_pe *out);

const char *ms_pe_kind_name(enum ms_pe_kind kind); /* "exe", "dll", … */
/* The flags as words separated by blanks, in the order of the enum; out holds 128 bytes. */
void ms_pe_flag_names(unsigned flags, char out[128]);

#endif

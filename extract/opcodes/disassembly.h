/* The opcodes of a PE file's code, in the order in which they lie in the file. Decodes; what the
 * code does it neither knows nor tries. The only place that sees capstone. */
#ifndef MS_EXTRACT_OPCODES_DISASSEMBLY_H
#define MS_EXTRACT_OPCODES_DISASSEMBLY_H

#include "base/error.h"
#include "base/span.h"
#include "extract/opcodes/code.h"

#include <stdint.h>

/* Raised whenever the same file would give other opcodes. */
enum { MS_DISASSEMBLY_METHOD = 1 };

/* "capstone 4.0.2 flow+sweep 1": what decides the opcodes beside the file, for settings. */
enum { MS_DISASSEMBLY_TEXT_BYTES = 64 };
void ms_disassembly_text(char out[MS_DISASSEMBLY_TEXT_BYTES]);

/* Before confinement: has the library set up what it sets up once. */
void ms_disassembly_prepare(void);

struct ms_disassembly {
    uint64_t opcodes;
    uint64_t followed;      /* of them, those that are reached from the entry point */
    uint64_t unread;        /* bytes that are in no instruction and no padding */
    uint32_t entropy_milli; /* of the bytes of the code, thousandths of a bit a byte */
};

/* mnemonic: "mov", without prefixes (lock, rep, …) and operands; small letters. */
typedef enum ms_status (*ms_opcode_visit)(void *ctx, struct ms_span mnemonic, struct ms_error *err);

/* First what can be reached from the entry point by falling through and by direct jumps and calls
 * is decoded, then what lies between is swept from the end of one instruction to the next: a sweep
 * alone loses its way in data, the flow alone sees little of a program that calls through tables.
 * Instructions never overlap; what was reached first stays. A byte that begins none is passed over;
 * so is padding: int3, and 8 or more zeros. Each byte is looked at a bounded number of
 * times. `code` (state OK) is of this `file`. MS_E_NOMEM, and what `visit` returns. */
enum ms_status ms_disassemble(struct ms_span file, const struct ms_code *code,
                              ms_opcode_visit visit, void *ctx, struct ms_disassembly *out,
                              struct ms_error *err) MS_MUST_USE;

#endif

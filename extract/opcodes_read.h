/* One sample's disassembly, from the vault to what is to be stored of it. */
#ifndef MS_EXTRACT_OPCODES_READ_H
#define MS_EXTRACT_OPCODES_READ_H

#include "base/hash.h"
#include "extract/opcodes_job.h"
#include "extract/trace_frames.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_opcodes_read {
    char hex[MS_HASH_HEX_MAX]; /* of the sample */
    /* "ok", "no_code", "unsupported", "failed" (the worker, which may be in an attacker's hands),
     * or "damaged" (its object in the vault, or there is none: nothing is to be stored); static */
    const char *state;
    char reason[MS_ERROR_TEXT_BYTES];  /* may be empty */
    struct ms_opcodes_found found;     /* zero where there is no disassembly */
    struct ms_trace_received received; /* one process when ok */
    bool answered;                     /* private */
};
void ms_opcodes_read_init(struct ms_opcodes_read *self);
void ms_opcodes_read_release(struct ms_opcodes_read *self);

/* What was read before is replaced. MS_OK whatever the sample was like; else our own trouble
 * (MS_E_IO, MS_E_NOMEM). Thread-safe for different `self`. */
enum ms_status ms_opcodes_read(struct ms_opcodes_read *self, struct ms_corpus *corpus,
                               struct ms_worker *worker, const uint8_t sha256[32],
                               struct ms_error *err) MS_MUST_USE;

/* Is the code rather compressed or encrypted bytes? */
bool ms_opcodes_packed(const struct ms_opcodes_found *found);

#endif

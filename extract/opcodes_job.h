/* The worker's job that disassembles a sample: the bytes of a PE file in, a trace of opcodes out
 * (extract/trace_frames.h), and a CODE frame. */
#ifndef MS_EXTRACT_OPCODES_JOB_H
#define MS_EXTRACT_OPCODES_JOB_H

#include "base/worker.h"
#include "extract/opcodes/code.h"

#include <stdbool.h>

#define MS_OPCODES_JOB "opcodes"

/* What became of it. Entropy and bytes are of the code. */
struct ms_opcodes_found {
    enum ms_code_state state;
    bool cut;
    uint64_t opcodes, bytes, unread, followed;
    uint32_t entropy_milli; /* at most 8000 */
    char why[96];           /* escaped; of the states but OK */
};

/* Maps input_fd, a regular file. When there are opcodes they are the calls of one process. */
enum ms_status ms_opcodes_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                              struct ms_error *err) MS_MUST_USE;
/* The same for bytes that are in memory. */
enum ms_status ms_opcodes_send(struct ms_span file, struct ms_worker_out *out,
                               struct ms_error *err) MS_MUST_USE;
void ms_opcodes_prepare(void);

/* Reads a CODE frame, whose bytes may be anything. MS_REJECT when it is malformed. */
enum ms_status ms_opcodes_take(struct ms_span frame, struct ms_opcodes_found *out,
                               struct ms_error *err) MS_MUST_USE;

#endif

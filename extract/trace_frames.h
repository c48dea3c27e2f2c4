/* What the reading worker and the storing parent say to each other: API names, traces, processes
 * and what a report says of itself, in frames. */
#ifndef MS_EXTRACT_TRACE_FRAMES_H
#define MS_EXTRACT_TRACE_FRAMES_H

#include "base/buf.h"
#include "base/worker.h"
#include "extract/report/read.h"
#include "extract/spool.h"
#include "store/trace/trace.h"

#include <stdbool.h>
#include <stdint.h>

enum ms_trace_frame {
    MS_FRAME_PLAIN = 1, /* bytes of the plain input, for the vault */
    MS_FRAME_API,       /* the next API name; numbered from 0 in a job */
    MS_FRAME_TRACE,     /* blocks of the present process's blob (store/trace/encode.h) */
    MS_FRAME_PROCESS,   /* ends the present process; the head of its blob, with those numbers */
    MS_FRAME_INFO,      /* struct ms_report_info */
    MS_FRAME_RESULT,    /* struct ms_report_result and the reason */
    MS_FRAME_ROW,       /* a dataset's row: what stands beside its calls */
    MS_FRAME_DIGEST,    /* SHA-256 of the plain input */
    MS_FRAME_ARCHIVE,   /* the input is an archive; empty */
    MS_FRAME_MEMBER,    /* a report of an archive begins: its chain of names */
    MS_FRAME_FAULT,     /* what could not be opened: length of the chain, chain, reason */
    MS_FRAME_CODE,      /* what became of a disassembly (extract/opcodes_job.h) */
    MS_FRAME_VOID,      /* the member begun last is none after all; empty */
    MS_FRAME_TURNS, /* in place of the traces: for the `turns` of the sink; read by another job */
};

/* The name that stands for every API beyond MS_LIMIT_APIS_PER_REPORT; a pseudo-call. */
#define MS_API_OVERFLOW "__overflow__"

/* --- the worker's side --- */

/* A sink that encodes what it is given and sends it. */
struct ms_trace_sender;

enum ms_status ms_trace_sender_new(struct ms_worker_out *out, struct ms_trace_sender **sender,
                                   struct ms_error *err) MS_MUST_USE;
void ms_trace_sender_free(struct ms_trace_sender *self);
/* Borrows self. */
struct ms_trace_sink ms_trace_sender_sink(struct ms_trace_sender *self);
/* Calls stored as MS_API_OVERFLOW so far. */
uint64_t ms_trace_sender_overflow(const struct ms_trace_sender *self);
enum ms_status ms_trace_send_result(struct ms_worker_out *out,
                                    const struct ms_report_result *result, const char *reason,
                                    struct ms_error *err) MS_MUST_USE;

/* --- the parent's side; the worker may be in an attacker's hands --- */

struct ms_received_api {
    enum ms_api_space space;
    struct ms_span name, category;
};

struct ms_received_process {
    struct ms_process_info info;
    /* Its blob, in the spool: first the blocks, then the head, with the job's numbers. */
    uint64_t blocks_at, block_bytes;
    size_t head_bytes;
    uint64_t calls, calls_expanded;
};

/* All a job sent but plain bytes and rows. The spans in here are no pointers yet but places in
 * `bytes`, which moves as it grows: ask ms_trace_received_span for each. */
struct ms_trace_received {
    struct ms_buf bytes;
    struct ms_received_api *apis;
    size_t api_count, api_cap;
    struct ms_received_process *processes;
    size_t process_count, process_cap;
    struct ms_spool spool;
    struct ms_spool turns; /* all of it in its file */
    uint64_t trace_from;   /* where the present process's blocks begin in the spool */
    bool has_info;
    struct ms_report_info info;
    bool has_result;
    struct ms_report_result result;
    char reason[MS_ERROR_TEXT_BYTES];
};

/* Without a corpus large traces are counted and forgotten. */
void ms_trace_received_init(struct ms_trace_received *self);
/* Before the first frame: large traces go to a file of this corpus (NULL: as init). */
void ms_trace_received_keep(struct ms_trace_received *self, struct ms_corpus *corpus);
void ms_trace_received_release(struct ms_trace_received *self);
/* Forgets the processes and their blobs; names stay (a dataset sends them once). */
void ms_trace_received_next(struct ms_trace_received *self);

/* Takes an API, TRACE, TURNS, PROCESS, INFO or RESULT frame. MS_REJECT when it is malformed or a
 * limit is passed. */
enum ms_status ms_trace_received_frame(struct ms_trace_received *self, uint32_t type,
                                       struct ms_span bytes, struct ms_error *err) MS_MUST_USE;
/* The head of a process's blob, appended to `out`, and n bytes of the blocks behind it from place
 * `at`. */
enum ms_status ms_trace_received_head(const struct ms_trace_received *self, size_t index,
                                      struct ms_buf *out, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_trace_received_blocks(const struct ms_trace_received *self, size_t index,
                                        uint64_t at, void *out, size_t n,
                                        struct ms_error *err) MS_MUST_USE;
/* A span of apis, processes or info as bytes; valid until the next frame. */
struct ms_span ms_trace_received_span(const struct ms_trace_received *self, struct ms_span kept);

#endif

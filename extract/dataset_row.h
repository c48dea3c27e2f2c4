/* A record of a published dataset as the reading worker tells it to the storing parent: what stands
 * beside its calls, which went before it in frames of their own (extract/trace_frames.h). */
#ifndef MS_EXTRACT_DATASET_ROW_H
#define MS_EXTRACT_DATASET_ROW_H

#include "base/worker.h"
#include "extract/report/read.h"

enum ms_dataset_what {
    MS_DATASET_ROW,     /* a row of a table or a line of a text: calls, key and label */
    MS_DATASET_REPORT,  /* a sandbox report: its processes and its state */
    MS_DATASET_LISTING, /* a disassembly: opcodes as calls of one process */
    MS_DATASET_SIZE     /* how many bytes a program has */
};

/* Spans are borrowed. What a field does not apply to is 0 or empty. */
struct ms_dataset_row {
    enum ms_dataset_what what;
    uint64_t line;  /* from 1, of the text; of a report or listing with a fault, where */
    uint64_t calls; /* of all processes */
    enum ms_report_state state; /* REPORT */
    uint64_t bytes;             /* SIZE */
    struct ms_span key;         /* a hash, or the dataset's own id */
    struct ms_span label;
    struct ms_span second, date; /* label lists: a further label, and a day */
    struct ms_span reason;       /* not empty: the record is not as published, and to be rejected */
};

/* MS_E_IO or the pipe's status. */
enum ms_status ms_dataset_row_send(struct ms_worker_out *out, const struct ms_dataset_row *row,
                                   struct ms_error *err) MS_MUST_USE;
/* Reads a ROW frame, whose bytes may be anything; MS_REJECT when it is malformed. */
enum ms_status ms_dataset_row_take(struct ms_span bytes, struct ms_dataset_row *out,
                                   struct ms_error *err) MS_MUST_USE;

#endif

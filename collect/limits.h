/* The limits on what one file may give and cost, as a run sets them, and which of them ended the
 * opening of a file: what the corpus remembers to open it again when they are raised. */
#ifndef MS_COLLECT_LIMITS_H
#define MS_COLLECT_LIMITS_H

#include "base/unpack.h"
#include "base/worker.h"

#include <stdbool.h>
#include <stdint.h>

/* Zero fields stand for the defaults. The defaults of CPU time grow with what a file may give: a
 * file of many members takes longer. */
struct ms_collect_limits {
    struct ms_unpack_limits unpack;
    uint64_t file_bytes; /* of a local file */
    uint32_t cpu_s;      /* for one file; wall time is five times as much */
};

/* Limits that a run can raise, as bits. */
enum ms_collect_limit {
    MS_COLLECT_MAX_MEMBERS = 1,
    MS_COLLECT_MAX_UNPACKED = 2,
    MS_COLLECT_MAX_MEMBER = 4,
    MS_COLLECT_MAX_DEPTH = 8,
    MS_COLLECT_MAX_TIME = 16,
    MS_COLLECT_MAX_FILE = 32
};

enum { MS_COLLECT_LIMITS_TEXT_BYTES = 192 };

/* The same with every field set. */
struct ms_collect_limits ms_collect_limits_settle(const struct ms_collect_limits *self);

/* What a worker may take under them (settled). */
struct ms_worker_limits ms_collect_limits_worker(const struct ms_collect_limits *self);

/* The limit behind a fault, 0 when no option raises it. */
unsigned ms_collect_limit_of(enum ms_unpack_fault fault);

/* The limits in `ended` with their values, as the column blob.limits has them; "" for none. */
void ms_collect_limits_text(const struct ms_collect_limits *self, unsigned ended,
                            char out[MS_COLLECT_LIMITS_TEXT_BYTES]);

/* Is one of the limits in `text` (what ms_collect_limits_text wrote under other limits) higher
 * now? A text that cannot be read names none. */
bool ms_collect_limits_raised(const struct ms_collect_limits *self, const char *text);

#endif

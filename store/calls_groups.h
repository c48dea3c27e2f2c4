/* Calls counted by API: what `GROUP BY api` and `ORDER BY api` need of the table `calls` when they
 * ask for nothing else of a call. */
#ifndef MS_STORE_CALLS_GROUPS_H
#define MS_STORE_CALLS_GROUPS_H

#include "store/calls_names.h"
#include "store/trace/encode.h"

#include <stdint.h>

struct ms_call_group {
    uint64_t calls; /* 0: a free slot, before sort */
    uint32_t api;
};

struct ms_call_groups {
    struct ms_call_group *items; /* a hash by id until sort; then the first `count`, in order */
    size_t cap, count;
};

/* All zeros is empty. */
void ms_call_groups_release(struct ms_call_groups *self);
/* Adds every call of a trace, which the decoder has just loaded. MS_E_NOMEM; MS_REJECT when it is
 * damaged. */
enum ms_status ms_call_groups_add(struct ms_call_groups *self, struct ms_trace_decoder *decoder,
                                  struct ms_error *err) MS_MUST_USE;
/* By name, byte by byte, those without one first, then by id; or by id alone. Nothing may be added
 * afterwards. Returns SQLite's code. */
int ms_call_groups_sort(struct ms_call_groups *self, struct ms_call_names *names, bool by_name);

#endif

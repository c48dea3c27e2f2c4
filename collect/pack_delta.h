/* Git deltas: how to make one object from another (gitformat-pack, "Deltified representation"). */
#ifndef MS_COLLECT_PACK_DELTA_H
#define MS_COLLECT_PACK_DELTA_H

#include "base/span.h"

/* The sizes of base and result that a delta begins with. MS_REJECT when they are not there. */
enum ms_status ms_delta_head_take(struct ms_span *delta, uint64_t *base_size, uint64_t *size,
                                  struct ms_error *err) MS_MUST_USE;
/* Carries out the steps behind the head: exactly `size` bytes into `out`. MS_REJECT when a step
 * reads outside the base, says more or less than the result, or is none. */
enum ms_status ms_delta_apply(struct ms_span base, struct ms_span steps, uint8_t *out, size_t size,
                              struct ms_error *err) MS_MUST_USE;

#endif

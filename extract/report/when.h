/* The times, numbers and ids of reports as text to integers. It knows their shapes, no zones. */
#ifndef MS_EXTRACT_REPORT_WHEN_H
#define MS_EXTRACT_REPORT_WHEN_H

#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* Microseconds of the source's clock since 1970, or MS_TIME_NONE (store/trace/trace.h) when the
 * text is no time. Read are seconds as a decimal number ("1692455124.875", exponents too; digits
 * beyond the microsecond are cut) and a calendar time ("2023-06-02 18:12:53,486", also with '.',
 * with 'T', without a fraction, or compact: "20230602181253.486"), taken as it stands. */
int64_t ms_when_parse(struct ms_span text);

/* An unsigned decimal integer and nothing else; false when it is none or does not fit. */
bool ms_when_u64(struct ms_span text, uint64_t *out) MS_MUST_USE;

#endif

/* When to try again: exponential back-off with full jitter, and what a Retry-After header means.
 * Waits for nothing. */
#ifndef MS_BASE_HTTP_RETRY_H
#define MS_BASE_HTTP_RETRY_H

#include "base/rng.h"

#include <stdint.h>

/* The wait before try n+1, after n failed ones (n from 1): uniform in [0, base * 2^(n-1)], the
 * range capped at cap_ms ("full jitter"). Never negative, never overflows. */
int64_t ms_retry_backoff_ms(struct ms_rng *rng, uint32_t base_ms, uint32_t cap_ms, unsigned failed);

/* Retry-After (RFC 9110 10.2.3): seconds, or an HTTP date seen from `now_ms` (UTC; pass the
 * answer's own Date where it has one, so that a skewed clock here does not matter). Capped at 31
 * days; a past date is 0; anything else is -1. */
int64_t ms_retry_after_ms(const char *value, int64_t now_ms);

/* An HTTP date in UTC ms, -1 when it is none. */
int64_t ms_http_date_ms(const char *value);

#endif

/* Back-off arithmetic and Retry-After. */
#include "base/http_retry.h"

#include <curl/curl.h>
#include <string.h>

/* The end of the year 9999: libcurl's date parser takes years beyond what milliseconds can hold. */
static const int64_t last_second = 253402300799;
static const int64_t longest_ms = (int64_t)31 * 86400 * 1000;

int64_t ms_retry_backoff_ms(struct ms_rng *rng, uint32_t base_ms, uint32_t cap_ms, unsigned failed)
{
    uint64_t range = base_ms;
    for (unsigned i = 1; i < failed && range < cap_ms; i++)
        range *= 2;
    if (range > cap_ms)
        range = cap_ms;
    return (int64_t)ms_rng_below(rng, range + 1);
}

int64_t ms_http_date_ms(const char *value)
{
    time_t seconds = curl_getdate(value, NULL);
    return seconds < 0 || seconds > last_second ? -1 : (int64_t)seconds * 1000;
}

int64_t ms_retry_after_ms(const char *value, int64_t now_ms)
{
    size_t digits = strspn(value, "0123456789");
    if (digits > 0 && value[digits] == '\0') {
        int64_t ms = 0;
        for (size_t i = 0; i < digits && ms < longest_ms; i++)
            ms = ms * 10 + (int64_t)(value[i] - '0') * 1000;
        return ms < longest_ms ? ms : longest_ms;
    }
    /* curl_getdate is lenient ("1.5", "10 s" may pass as dates); an HTTP date starts with a
     * weekday. */
    if (!strchr("MTWFS", value[0]) || !value[0])
        return -1;
    int64_t at = ms_http_date_ms(value);
    if (at < 0)
        return -1;
    if (at <= now_ms)
        return 0;
    return at - now_ms < longest_ms ? at - now_ms : longest_ms;
}

/* URL parsing over libcurl's own parser. */
#include "base/http_url.h"

#include "base/log.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Copies one part; false when it does not fit. An absent part is "". */
static bool part(CURLU *url, CURLUPart what, unsigned flags, char *out, size_t out_bytes)
{
    char *text = NULL;
    CURLUcode code = curl_url_get(url, what, &text, flags);
    bool fits = true;
    out[0] = '\0';
    if (code == CURLUE_OK && text) {
        size_t n = strlen(text);
        fits = n < out_bytes;
        if (fits)
            memcpy(out, text, n + 1);
    } else if (code == CURLUE_OUT_OF_MEMORY) {
        fits = false;
    }
    curl_free(text);
    return fits;
}

static void lower(char *text)
{
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
}

static bool is_loopback(const char *host)
{
    if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
        return true;
    unsigned a, b, c, d;
    char rest;
    /* NOLINTNEXTLINE(cert-err34-c): three digits convert */
    return sscanf(host, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &rest) == 4 && a == 127;
}

static enum ms_status refuse(struct ms_error *err, const char *text, const char *why)
{
    char shown[160];
    return ms_error_set(err, MS_E_USAGE, "URL '%s': %s", ms_escape_text(text, shown, sizeof shown),
                        why);
}

/* Fills `out` from a parsed URL; `shown` is what messages quote. */
static enum ms_status fill(CURLU *url, const char *shown, struct ms_url *out, struct ms_error *err)
{
    char scheme[16], port[8], secret[8], zone[64];
    (void)curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    /* A user part is refused even when it does not fit its buffer. */
    if (!part(url, CURLUPART_USER, 0, secret, sizeof secret) || secret[0] ||
        !part(url, CURLUPART_PASSWORD, 0, secret, sizeof secret) || secret[0])
        return ms_error_set(err, MS_E_USAGE, "a URL may not hold a user name or password");
    if (!part(url, CURLUPART_SCHEME, 0, scheme, sizeof scheme) ||
        (lower(scheme), strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0))
        return refuse(err, shown, "only https and http are supported");
    if (!part(url, CURLUPART_HOST, 0, out->host, sizeof out->host - 80) || !out->host[0])
        return refuse(err, shown, "it has no usable host");
    if (!part(url, CURLUPART_ZONEID, 0, zone, sizeof zone) || zone[0])
        return refuse(err, shown, "addresses with a zone are not supported");
    lower(out->host);
    (void)curl_url_set(url, CURLUPART_HOST, out->host, 0);
    if (!part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof port))
        return refuse(err, shown, "bad port");
    long number = strtol(port, NULL, 10);
    if (number < 1 || number > 65535)
        return refuse(err, shown, "bad port");
    if (!part(url, CURLUPART_URL, 0, out->text, sizeof out->text) || !out->text[0])
        return refuse(err, shown, "it is too long");
    out->port = (uint16_t)number;
    out->https = strcmp(scheme, "https") == 0;
    out->loopback = is_loopback(out->host);
    (void)snprintf(out->origin, sizeof out->origin, "%s://%.255s:%u", scheme, out->host,
                   (unsigned)out->port);
    return MS_OK;
}

enum ms_status ms_url_parse(const char *text, struct ms_url *out, struct ms_error *err)
{
    if (!text || !text[0])
        return ms_error_set(err, MS_E_USAGE, "empty URL");
    if (strlen(text) >= MS_LIMIT_URL_BYTES)
        return refuse(err, text, "it is too long");
    CURLU *url = curl_url();
    if (!url)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    CURLUcode code = curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME);
    enum ms_status status =
        code == CURLUE_OK ? fill(url, text, out, err) : refuse(err, text, curl_url_strerror(code));
    curl_url_cleanup(url);
    return status;
}

enum ms_status ms_url_resolve(const struct ms_url *base, const char *location, struct ms_url *out,
                              struct ms_error *err)
{
    if (strlen(location) >= MS_LIMIT_URL_BYTES)
        return refuse(err, location, "it is too long");
    CURLU *url = curl_url();
    if (!url)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    CURLUcode code = curl_url_set(url, CURLUPART_URL, base->text, 0);
    if (code == CURLUE_OK)
        code =
            curl_url_set(url, CURLUPART_URL, location, CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE);
    enum ms_status status = code == CURLUE_OK ? fill(url, location, out, err)
                                              : refuse(err, location, curl_url_strerror(code));
    curl_url_cleanup(url);
    return status;
}

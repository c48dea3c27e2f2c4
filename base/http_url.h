/* URLs as the transport itself reads them: parsing, origins, following a Location. Opens no
 * connection. */
#ifndef MS_BASE_HTTP_URL_H
#define MS_BASE_HTTP_URL_H

#include "base/error.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stdint.h>

enum { MS_URL_ORIGIN_BYTES = 320 };

/* An absolute http or https URL, canonical: lower-case scheme and host, numeric IPv4 hosts in
 * dotted form, dot segments removed, no fragment. */
struct ms_url {
    char text[MS_LIMIT_URL_BYTES];
    char origin[MS_URL_ORIGIN_BYTES]; /* "scheme://host:port", the port always there */
    char host[MS_URL_ORIGIN_BYTES];   /* IPv6 literals in brackets */
    uint16_t port;
    bool https;
    bool loopback; /* 127.0.0.0/8, [::1] or the name localhost (checked again when connecting) */
};

/* MS_E_USAGE when `text` is no absolute http(s) URL, has a user or password part (secrets have no
 * place in URLs), control characters or blanks, or is too long. The same parser serves the
 * transport, so that a check and the connection cannot disagree about the host. */
enum ms_status ms_url_parse(const char *text, struct ms_url *out, struct ms_error *err) MS_MUST_USE;

/* The URL a Location header means, seen from `base`; blanks and bytes above 127 are
 * percent-encoded, as browsers do. Errors as ms_url_parse. */
enum ms_status ms_url_resolve(const struct ms_url *base, const char *location, struct ms_url *out,
                              struct ms_error *err) MS_MUST_USE;

#endif

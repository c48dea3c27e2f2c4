/* HTTP requests over libcurl: time-outs, size caps, retries with full jitter, secrets bound to
 * their host, peer addresses checked when the socket opens. Knows no service. One ms_http per
 * thread. */
#ifndef MS_BASE_HTTP_H
#define MS_BASE_HTTP_H

#include "base/buf.h"
#include "base/secret.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_http;

/* Where a request may go. PUBLIC: no loopback, private, link-local, multicast or reserved address,
 * except the origins (scheme, host and port) the user named with ms_http_trust. NAMED: any address;
 * for URLs the user typed. */
enum ms_http_peer { MS_HTTP_PEER_PUBLIC, MS_HTTP_PEER_NAMED };

struct ms_http_options {
    const char *user_agent;      /* required */
    uint32_t connect_timeout_ms; /* 0: 10 s */
    uint32_t total_timeout_ms;   /* 0: 60 s; for a whole attempt */
    uint32_t stall_timeout_ms;   /* 0: 30 s below 1 byte/s ends the attempt */
    unsigned max_attempts;       /* 0: 5 */
    uint32_t backoff_base_ms;    /* 0: 1000; attempt n waits uniformly in [0, base * 2^n], at most
                                    backoff_cap_ms */
    uint32_t backoff_cap_ms;     /* 0: 120000 */
    bool fresh_connections; /* no keep-alive: Cuckoo's server serves one connection at a time */
    uint64_t seed;          /* of the jitter */
};

enum ms_status ms_http_new(const struct ms_http_options *options, struct ms_http **out,
                           struct ms_error *err) MS_MUST_USE;
void ms_http_free(struct ms_http *self);

/* Adds the origin of `url` to those the user named. http (not https) is refused with MS_E_USAGE
 * unless allow_http or loopback. */
enum ms_status ms_http_trust(struct ms_http *self, const char *url, bool allow_http,
                             struct ms_error *err) MS_MUST_USE;

/* One field of multipart/form-data. Either value (NUL-terminated) or fd/length with a filename. */
struct ms_http_part {
    const char *name;
    const char *value;
    int fd; /* read from offset 0; used when value is NULL */
    uint64_t fd_bytes;
    const char *filename; /* sent as given: pass neutral ASCII names only */
};

struct ms_http_request {
    const char *method; /* "GET", "POST", … */
    const char *url;
    enum ms_http_peer peer;
    const char *const *headers; /* "Name: value", may be NULL */
    size_t header_count;
    const struct ms_secret *secret; /* may be NULL */
    const char
        *secret_header; /* "x-apikey: " or "Authorization: Bearer "; the value is put behind it */
    const struct ms_http_part *parts; /* multipart body, or … */
    size_t part_count;
    const void *body; /* … a body of body_bytes with the Content-Type from headers */
    size_t body_bytes;
    bool idempotent; /* may be sent again after a fault or 500, 502, 503, 504 (429 never: the caller
                        decides) */
    bool
        follow_redirects; /* each hop is checked as `peer` says; the secret stays with its origin */
    bool ask_gzip;
    uint64_t max_body_bytes; /* 0: MS_LIMIT_HTTP_BODY_BYTES */
    int sink_fd; /* > 0: a body with a 2xx status goes there instead of response.body (truncated on
                    a retry) */
    unsigned max_attempts;     /* 0: the handle's */
    uint32_t total_timeout_ms; /* 0: the handle's */
};

/* Owned by the caller, ready after ms_http_response_init. */
struct ms_http_response {
    int status;             /* HTTP status of the last hop */
    struct ms_buf body;     /* decoded; error bodies too */
    struct ms_buf headers;  /* "name: value\n" lines of the last hop, names in lower case */
    char content_type[128]; /* lower case, without parameters; "" if absent */
    char final_url[2048];
    uint64_t body_bytes;    /* decoded bytes of the body, wherever they went */
    int64_t retry_after_ms; /* -1 when the server gave none; seconds and HTTP dates are understood;
                               capped at 31 days */
    bool redirected;
    bool
        body_complete; /* false: Content-Length promised more (then the attempt counts as failed) */
};

void ms_http_response_init(struct ms_http_response *self);
void ms_http_response_release(struct ms_http_response *self);

/* Value of a header (lower-case name) of the last hop, copied to `out`; false when absent. */
bool ms_http_header(const struct ms_http_response *self, const char *name, char *out,
                    size_t out_bytes);

/* Runs the request. MS_OK whenever a complete answer came, whatever its status: the caller reads
 * response.status. MS_E_REMOTE when no answer could be had (time-out, reset, cut short, TLS) after
 * all attempts; MS_E_LIMIT when the body is larger than allowed; MS_E_USAGE for a refused URL or
 * address. A 500, 502, 503 or 504 that persists is MS_OK with that status. */
enum ms_status ms_http_perform(struct ms_http *self, const struct ms_http_request *request,
                               struct ms_http_response *response, struct ms_error *err) MS_MUST_USE;

/* Percent-encodes one path segment or query value (RFC 3986 unreserved kept); keep_slash leaves '/'
 * alone. */
enum ms_status ms_http_encode(struct ms_buf *out, const char *text, bool keep_slash);

#endif

/* HTTP requests over libcurl: time-outs, size caps, retries with full jitter, secrets bound to
 * their host, peer addresses checked when the socket opens. Knows no service. One ms_http per
 * thread.
 *
 * Proxies: http_proxy, https_proxy, all_proxy and no_proxy of the environment are honoured for
 * origins the user named (trusted ones and MS_HTTP_PEER_NAMED), loopback excepted. A proxy resolves
 * names itself and so hides the peer's address: requests to origins that came from outside
 * therefore never go through one. A program behind a proxy trusts the fixed origins it downloads
 * from.
 *
 * Certificates are checked against the system's, or those of the file SSL_CERT_FILE names
 * (OpenSSL's own variable). The process ignores SIGPIPE: base/cli sees to it. */
#ifndef MS_BASE_HTTP_H
#define MS_BASE_HTTP_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/secret.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_http;

/* Where a request may go. PUBLIC: no loopback, private, link-local, multicast or reserved address
 * (base/http_addr.h), except the origins (scheme, host and port) the user named with ms_http_trust.
 * NAMED: any address; for URLs the user typed. A redirect comes from outside: it is followed under
 * the rule PUBLIC, whatever the request said, unless it stays on the request's own origin (or goes
 * to https on the same host). */
enum ms_http_peer { MS_HTTP_PEER_PUBLIC, MS_HTTP_PEER_NAMED };

struct ms_http_options {
    const char *user_agent;      /* required */
    uint32_t connect_timeout_ms; /* 0: 10 s */
    uint32_t total_timeout_ms;   /* 0: 60 s; for a whole attempt */
    uint32_t stall_timeout_ms;   /* 0: 30 s below 1 byte/s ends the attempt; whole seconds */
    unsigned max_attempts;       /* 0: 5 */
    uint32_t backoff_base_ms;    /* 0: 1000; attempt n waits uniformly in [0, base * 2^n], at most
                                    backoff_cap_ms */
    uint32_t backoff_cap_ms;     /* 0: 120000 */
    bool fresh_connections; /* no keep-alive: Cuckoo's server serves one connection at a time */
    uint64_t
        seed; /* of the jitter; 0: drawn from the system, so that a farm does not beat in time */
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
    const char *const *headers; /* "Name: value", may be NULL. On another origin after a redirect
                                   only Accept*, Content-Type, Git-Protocol and Range go along */
    size_t header_count;
    const struct ms_secret *secret; /* may be NULL */
    const char
        *secret_header; /* "x-apikey: " or "Authorization: Bearer "; the value is put behind it */
    const struct ms_http_part *parts; /* multipart body, or … */
    size_t part_count;
    const void *body; /* … a body of body_bytes with the Content-Type from headers */
    size_t body_bytes;
    bool
        idempotent; /* may be sent again after a fault or 500, 502, 503, 504 (429 never: the caller
                       decides). Other requests are sent again only when nothing of them went out */
    bool follow_redirects; /* each hop is checked; the secret stays with its origin; https to http
                              is refused; a body goes to no other origin; after 303 GET is used, 301
                              and 302 of other methods than GET and HEAD are left to the caller */
    bool ask_gzip;
    uint64_t max_body_bytes; /* 0: MS_LIMIT_HTTP_BODY_BYTES */
    int sink_fd; /* > 0: a regular file or memfd: a body with a 2xx status goes there instead of
                    response.body (truncated at the start of each attempt) */
    unsigned max_attempts;     /* 0: the handle's */
    uint32_t total_timeout_ms; /* 0: the handle's */
    uint32_t stall_timeout_ms; /* 0: the handle's */
};

/* Owned by the caller, ready after ms_http_response_init. */
struct ms_http_response {
    int status;             /* HTTP status of the last hop; after an error the one that had come, 0
                               when none had */
    struct ms_buf body;     /* decoded; error bodies too */
    struct ms_buf headers;  /* "name: value\n" lines of the last hop, names in lower case */
    char content_type[128]; /* lower case, without parameters; "" if absent */
    char final_url[MS_LIMIT_URL_BYTES];
    uint64_t body_bytes;    /* decoded bytes of the body, wherever they went */
    int64_t retry_after_ms; /* -1 when the server gave none; seconds and HTTP dates are understood;
                               capped at 31 days */
    bool redirected;
    bool
        may_pass; /* after MS_E_REMOTE: the fault may pass by itself (a bad certificate will not) */
    bool nothing_sent; /* after MS_E_REMOTE: no connection stood, nothing of the request went out */
    unsigned attempts; /* made by the last ms_http_perform, redirects not counted */
};

void ms_http_response_init(struct ms_http_response *self);
void ms_http_response_release(struct ms_http_response *self);

/* Value of a header (lower-case name) of the last hop, copied to `out`; false when absent. */
bool ms_http_header(const struct ms_http_response *self, const char *name, char *out,
                    size_t out_bytes);

/* Runs the request. MS_OK whenever a complete answer came, whatever its status: the caller reads
 * response.status. A body shorter than its Content-Length and gzip data that is damaged or cut are
 * failed attempts. MS_E_REMOTE when no answer could be had (time-out, reset, cut short, TLS, more
 * redirects or header bytes than base/limits.h allows) after all attempts; MS_E_LIMIT when the
 * decoded body is larger than allowed; MS_REJECT for a URL or redirect from outside that is
 * malformed or leads where it may not (never retried; the batch goes on), MS_E_USAGE for a
 * malformed URL of a NAMED request; MS_E_IO when sink_fd cannot be written. A 500, 502, 503 or 504
 * that persists is MS_OK with that status; a Retry-After longer than backoff_cap_ms ends the
 * attempts early. Waits through base/clock. Error texts name the origin, never the path or query of
 * a URL. */
enum ms_status ms_http_perform(struct ms_http *self, const struct ms_http_request *request,
                               struct ms_http_response *response, struct ms_error *err) MS_MUST_USE;

/* Percent-encodes one path segment or query value (RFC 3986 unreserved kept); keep_slash leaves '/'
 * alone. */
enum ms_status ms_http_encode(struct ms_buf *out, const char *text, bool keep_slash);

#endif

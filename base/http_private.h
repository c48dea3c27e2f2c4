/* What base/http.c (the loop over attempts and hops) and base/http_hop.c (one exchange over
 * libcurl) share. Nobody else includes it. */
#ifndef MS_BASE_HTTP_PRIVATE_H
#define MS_BASE_HTTP_PRIVATE_H

#include "base/http.h"
#include "base/http_url.h"
#include "base/rng.h"

#include <curl/curl.h>

/* Which peers a socket may be opened to. */
enum ms_peer_rule { MS_PEER_PUBLIC, MS_PEER_LOOPBACK, MS_PEER_ANY };

struct ms_http {
    struct ms_http_options options; /* defaults filled in */
    char *user_agent;
    char *ca_file; /* SSL_CERT_FILE; NULL: the system's certificates */
    CURL *easy[3]; /* one a peer rule: a connection made under one rule is never reused under
                      another */
    char (*trusted)[MS_URL_ORIGIN_BYTES];
    size_t trusted_count;
    struct ms_rng rng;
};

/* One exchange: a request on one URL, its answer or fault. */
struct ms_hop {
    const struct ms_url *url;
    const char *method;
    bool with_body; /* send the request's body or parts */
    bool foreign;   /* another origin than the request's first URL */
    enum ms_peer_rule rule;
};

enum ms_hop_end {
    MS_HOP_ANSWERED, /* response is filled */
    MS_HOP_FAILED,   /* a fault that may pass; see nothing_sent */
    MS_HOP_STOPPED   /* a fault that will not */
};

struct ms_hop_result {
    enum ms_hop_end end;
    enum ms_status status;
    bool nothing_sent;
};

/* Runs one hop; the reason of FAILED and STOPPED is in err. */
struct ms_hop_result ms_hop_run(struct ms_http *self, const struct ms_http_request *request,
                                const struct ms_hop *hop, struct ms_http_response *response,
                                struct ms_error *err);

#endif

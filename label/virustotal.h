/* VirusTotal API v3: one look-up or one question about the quota a call, and what the answer means.
 * Counts nothing and repeats nothing: label/quota and label/lookup do.
 *
 * Layers: ms_vt_file, ms_vt_quotas and whatever else asks the service build a request and hand it
 * to ms_vt_send (headers, key, table of error codes), which hands it to the transport. Only the
 * transport is ever replaced. */
#ifndef MS_LABEL_VIRUSTOTAL_H
#define MS_LABEL_VIRUSTOTAL_H

#include "base/http.h"
#include "label/quota.h"

struct ms_vt;

/* How a request gets its answer: as ms_http_perform, whose contract it keeps (response is ready
 * after ms_http_response_init and may hold an earlier answer). */
struct ms_vt_transport {
    void *ctx;
    enum ms_status (*perform)(void *ctx, const struct ms_http_request *request,
                              struct ms_http_response *response, struct ms_error *err);
};

/* Replaces the transport of every ms_vt made from now on (NULL: back to base/http), so that a
 * simulated service can answer in this process and nothing leaves it. As ms_clock_set: before
 * threads start. The transport sees request->secret, and must not keep it. */
void ms_vt_transport_set(const struct ms_vt_transport *transport);

/* What became of a look-up (the table of error codes at docs.virustotal.com/reference/errors). */
enum ms_vt_outcome {
    MS_VT_FOUND,     /* 200 with a body */
    MS_VT_NOT_FOUND, /* 404 NotFoundError: unknown there, which says nothing of good or bad */
    MS_VT_BAD_HASH,  /* 400: never to be asked again */
    MS_VT_NOT_YET,   /* 400 NotAvailableYet */
    MS_VT_BAD_KEY,   /* 401: the run must end */
    MS_VT_FORBIDDEN, /* 403: the key may not look files up */
    MS_VT_REFUSED,   /* 429, whichever quota it is */
    MS_VT_TRANSIENT  /* no answer, 5xx, 424, 204, not JSON, a page of something in between */
};

struct ms_vt_answer {
    enum ms_vt_outcome outcome;
    int status;             /* HTTP; 0 when none came */
    bool unsent;            /* no connection stood: the service cannot have seen it */
    bool begun;             /* status 0, but a 2xx had begun to come: the service did its work */
    char code[48];          /* the service's error code; "" when none */
    char why[256];          /* for people; escaped */
    int64_t retry_after_ms; /* -1 when not said */
    struct ms_span body;    /* of FOUND; borrowed until the next call */
};

/* url: base with /api/v3; https, or http on loopback (else MS_E_USAGE). secret is bound to it here
 * and borrowed. user: the account's id; NULL: unknown, and the quota cannot be asked: the service
 * would take the key in its place, but a key in a URL ends in the logs of proxies. */
enum ms_status ms_vt_new(const char *url, struct ms_secret *secret, const char *user,
                         struct ms_vt **out, struct ms_error *err) MS_MUST_USE;
void ms_vt_free(struct ms_vt *self);
/* The base URL, without a slash at the end. Borrowed. */
const char *ms_vt_base(const struct ms_vt *self);

/* One request, sent once, and what became of it. `path` begins with a slash and follows the base
 * URL; its parts from outside are percent-encoded by the caller. */
struct ms_vt_call {
    const char *method; /* "GET", "POST" */
    const char *path;
    const char *url; /* instead: a whole URL from the service, looked at by the caller; the key goes
                        along only when it is of the base URL's own origin. NULL: path */
    const struct ms_http_part *parts; /* multipart/form-data; may be NULL */
    size_t part_count;
    uint64_t max_bytes;  /* of the answer's body; 0: MS_VT_SMALL_BYTES */
    uint32_t timeout_ms; /* 0: 60 s */
    uint32_t stall_ms;   /* 0: 30 s without a byte in either direction */
};
enum { MS_VT_SMALL_BYTES = 65536 }; /* errors, quotas, descriptors of analyses */

/* out->outcome is FOUND for every 200 with a body, which out->body borrows until the next call.
 * Statuses and returns as ms_vt_file's. Anything but a GET goes out once even when the connection
 * breaks. */
enum ms_status ms_vt_send(struct ms_vt *self, const struct ms_vt_call *call,
                          struct ms_vt_answer *out, struct ms_error *err) MS_MUST_USE;

/* GET /files/HASH, sent once. hash: lower-case md5, sha1 or sha256. MS_OK for every outcome;
 * MS_E_REMOTE for a fault that will not pass by itself, a certificate that does not fit for one. */
enum ms_status ms_vt_file(struct ms_vt *self, const char *hash, struct ms_vt_answer *out,
                          struct ms_error *err) MS_MUST_USE;

/* GET /users/ID/overall_quotas, which costs nothing. Where the account has a group as well, the
 * window with less left rules. *told is all -1 when the account's id is unknown or the service will
 * not say (403, 404, not JSON, no answer). *forbidden: it said so (403), and will not say otherwise
 * in this run. MS_E_REMOTE for a wrong key. */
enum ms_status ms_vt_quotas(struct ms_vt *self, struct ms_quota_told *told, bool *forbidden,
                            struct ms_error *err) MS_MUST_USE;

#endif

/* VirusTotal API v3: one look-up or one question about the quota a call, and what the answer means.
 * Counts nothing and repeats nothing: label/quota and label/lookup do. */
#ifndef MS_LABEL_VIRUSTOTAL_H
#define MS_LABEL_VIRUSTOTAL_H

#include "base/http.h"
#include "label/quota.h"

struct ms_vt;

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

/* GET /files/HASH, sent once. hash: lower-case md5, sha1 or sha256. MS_OK for every outcome;
 * MS_E_REMOTE for a fault that will not pass by itself, a certificate that does not fit for one. */
enum ms_status ms_vt_file(struct ms_vt *self, const char *hash, struct ms_vt_answer *out,
                          struct ms_error *err) MS_MUST_USE;

/* GET /users/ID/overall_quotas, which costs nothing. Where the account has a group as well, the
 * window with less left rules. *told is all -1 when the account's id is unknown or the service will
 * not say (403, 404, not JSON, no answer). MS_E_REMOTE for a wrong key. */
enum ms_status ms_vt_quotas(struct ms_vt *self, struct ms_quota_told *told,
                            struct ms_error *err) MS_MUST_USE;

#endif

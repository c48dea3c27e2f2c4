/* Repositories on GitHub by the REST API: what is new since the last time, and the bytes of blobs.
 */
#ifndef MS_COLLECT_GITHUB_H
#define MS_COLLECT_GITHUB_H

#include "base/http.h"
#include "collect/crawl.h"
#include "collect/list.h"

/* Collects from every repository of the list file, one request at a time as GitHub asks for. Bad
 * lines and repositories that are gone, blocked or empty cost themselves alone and are recorded.
 * MS_E_LATER with the time to resume when a rate limit is reached; all that was had until then is
 * kept. */
enum ms_status ms_github_collect(struct ms_collect *session, const char *list_path,
                                 struct ms_error *err) MS_MUST_USE;

/* GitHub's own API; $GITHUB_TOKEN is for this origin alone. */
#define MS_GITHUB_URL "https://api.github.com"

/* What an answer means for a repository. */
enum ms_github_answer {
    MS_GITHUB_OK,
    MS_GITHUB_UNCHANGED, /* 304 */
    MS_GITHUB_EMPTY,     /* 409: no commit yet */
    MS_GITHUB_GONE,      /* 404: removed, renamed away, or private */
    MS_GITHUB_LEGAL,     /* 451 */
    MS_GITHUB_BLOCKED,   /* 403 with a block: disabled by the host */
    MS_GITHUB_LIMITED,   /* 403 or 429: a rate limit */
    MS_GITHUB_NO_REF,    /* 422: no such branch, tag or commit */
    MS_GITHUB_ERROR      /* no proper answer after all attempts */
};

/* An ETag that is kept; longer ones are none. */
enum { MS_GITHUB_ETAG_BYTES = 160 };

struct ms_github {
    struct ms_http *http;
    const char *base;        /* without a slash at the end */
    const char *web;         /* scheme://host:port of the repositories' pages and LFS servers */
    struct ms_secret *token; /* may be NULL */
    int64_t resume_at_ms;    /* an answer said that nothing is left until then; 0: none did */
    int64_t tarballs_at_ms;  /* the host of tarballs gives none until then; 0: it does */
};

struct ms_github_request {
    const char *path;      /* percent-encoded, from the "/" on */
    const char *accept;    /* NULL: JSON */
    const char *etag;      /* NULL: unconditional; a bare commit id, or an ETag as it came */
    int sink_fd;           /* 0: into response->body */
    uint64_t max_bytes;    /* 0: the default */
    unsigned max_attempts; /* 0: the default */
};

/* One GET; none, and LIMITED, while an earlier answer's limit lasts. *answer says what came; reason
 * (256 bytes) is a sentence on anything but OK and UNCHANGED. err is filled for LIMITED too
 * (MS_E_LATER with the time to resume) though MS_OK is returned. Other statuses than MS_OK: a
 * reason to stop (a refused token, no memory). */
enum ms_status ms_github_get(struct ms_github *self, const struct ms_github_request *request,
                             struct ms_http_response *response, enum ms_github_answer *answer,
                             char reason[256], struct ms_error *err) MS_MUST_USE;

/* Did the answer come from the API itself, or from a host that it led to? */
bool ms_github_answered(const struct ms_github *self, const struct ms_http_response *response);

/* The word of origin.state for an answer. */
const char *ms_github_state(enum ms_github_answer answer);

/* All files of a commit's tree, walked folder by folder where the recursive listing is cut short.
 * Symbolic links and submodules are passed over. */
enum ms_status ms_github_tree(struct ms_github *self, const char *repository, const char *sha,
                              struct ms_entries *out, enum ms_github_answer *answer,
                              char reason[256], struct ms_error *err) MS_MUST_USE;

#endif

/* Git's smart HTTP protocol, version 2: what HEAD is, and packs. Anonymous: no token and no
 * password ever goes along. Reads no packs and stores nothing. Documentation/gitprotocol-v2.txt and
 * gitprotocol-http.txt. */
#ifndef MS_COLLECT_GIT_H
#define MS_COLLECT_GIT_H

#include "base/http.h"
#include "collect/list.h"
#include "collect/pkt.h"
#include "collect/session.h"

enum ms_git_answer {
    MS_GIT_OK,
    MS_GIT_EMPTY,     /* no commit yet */
    MS_GIT_GONE,      /* 401 (private, or not there: servers do not say which), 404, 410 */
    MS_GIT_LEGAL,     /* 451 */
    MS_GIT_BLOCKED,   /* 403 */
    MS_GIT_LIMITED,   /* 429, or 403 with Retry-After */
    MS_GIT_TOO_LARGE, /* more than max_bytes */
    MS_GIT_ERROR      /* no proper answer, or one of a kind that is not supported */
};

struct ms_git {
    struct ms_http *http;
    char base[MS_LIMIT_URL_BYTES]; /* of the repository, without a slash at the end; moves with a
                                      redirect */
    bool moved;
    bool asked; /* features were read */
    struct ms_git_features features;
    enum ms_git_answer answer; /* of the last call */
    char reason[256];          /* a sentence on anything but OK */
};

/* All return MS_OK with self->answer set, or a reason to stop. For LIMITED err is filled too
 * (MS_E_LATER with the time to resume) though MS_OK is returned. */

/* One request: the commit that `ref` ("" for HEAD, a branch, a tag, or 40 digits of a commit)
 * stands for, and with `tips` (may be NULL; released by the caller in any case) those of all
 * branches and tags. A HEAD without a commit, as a server keeps that was never told the branch's
 * name, costs a second one: its branches. Where the answer makes no sense, a second one finds out
 * why (version 0, SHA-256, no repository, moved). */
enum ms_status ms_git_head(struct ms_git *self, const char *ref, uint8_t commit[MS_SHA1_BYTES],
                           struct ms_git_tips *tips, struct ms_error *err) MS_MUST_USE;

struct ms_git_want {
    const uint8_t (*ids)[MS_SHA1_BYTES];
    size_t count;
    const uint8_t (*have)[MS_SHA1_BYTES]; /* commits whose history is known and not sent again; a
                                             server passes over those it does not have */
    size_t have_count;
    bool tip_only;      /* deepen 1 */
    bool without_blobs; /* filter blob:none, where the server can */
    uint64_t max_bytes;
};
/* The whole answer to fetch, pkt-lines and all, goes to sink_fd (a memory file). */
enum ms_status ms_git_fetch(struct ms_git *self, const struct ms_git_want *want, int sink_fd,
                            struct ms_error *err) MS_MUST_USE;

/* Collects from one repository by this protocol: one request when nothing changed. `base` is the
 * URL of GitHub's API, from which that of its repositories follows; unused for other hosts. A
 * repository that cannot be had costs itself alone and is recorded. MS_E_LATER with the time to
 * resume at a rate limit. */
enum ms_status ms_git_collect(struct ms_collect *session, struct ms_http *http, const char *base,
                              const struct ms_repo *repo, struct ms_error *err) MS_MUST_USE;

#endif

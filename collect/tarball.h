/* Blobs of a repository out of one tarball, where that is cheaper than a request for each: a source
 * for the crawl that stands in front of the one by single requests. Verifies each blob by its id;
 * knows nothing of what is inside.
 *
 * The tarball is made by `git archive`: files may be missing (export-ignore), have other bytes
 * (export-subst), and the transfer can neither be resumed nor is its length known. Whatever does
 * not come verified out of it is fetched by itself. */
#ifndef MS_COLLECT_TARBALL_H
#define MS_COLLECT_TARBALL_H

#include "collect/crawl.h"
#include "collect/github.h"
#include "collect/spool.h"

/* What there is to fetch, and where it lies. */
struct ms_tarball_offer {
    uint64_t blobs, blob_bytes; /* wanted; each once */
    uint64_t files, file_bytes; /* of the whole tree */
};

/* Is the one tarball cheaper than a request for each blob? By bytes to transfer, where a request
 * counts as many as could come meanwhile; never where only a few are wanted, or where the tree is
 * larger than a tarball may be. Pure. */
bool ms_tarball_pays(const struct ms_tarball_offer *offer);
/* Would it, if trees of any size could be had? */
bool ms_tarball_would_pay(const struct ms_tarball_offer *offer);

struct ms_tarball_want;

struct ms_tarball {
    struct ms_collect *session;
    struct ms_github *github;
    const char *repository, *commit; /* "owner/name" as the host knows it; hex */
    const struct ms_crawl *crawl;
    const struct ms_entries *entries;
    ms_crawl_fetch single; /* fetches one blob by itself */
    void *single_ctx;
    bool decided;
    int fd; /* the tarball, a memory file; -1: none, or nothing more of use */
    struct ms_tarball_want *wants; /* sorted by id */
    size_t *turn;                  /* indexes of wants in the order of the crawl */
    size_t count;
    /* What was read last: wants of one stretch of the crawl. */
    size_t *window; /* indexes of wants, in the order of the job's argument */
    size_t window_count;
    struct ms_blob_spool spool;
    struct ms_tarball_want *current; /* the one that the worker is sending */
};

/* All is borrowed; fetch and fetch_ctx of `crawl` may point here. The entries are those that
 * ms_crawl_files goes through, in that order. */
void ms_tarball_init(struct ms_tarball *self, struct ms_collect *session, struct ms_github *github,
                     const struct ms_crawl *crawl, const struct ms_entries *entries);
void ms_tarball_release(struct ms_tarball *self);

/* ms_crawl_fetch, ctx being the tarball. The first call decides, and fetches the tarball if it
 * pays. MS_E_LATER when the API's own limit is reached over it; a limit of the host that serves
 * tarballs only sends the rest of the run to single requests until it ends. */
enum ms_status ms_tarball_fetch(void *ctx, const struct ms_entry *entry, int *fd, uint64_t *size,
                                const char **outcome, struct ms_error *err) MS_MUST_USE;

#endif

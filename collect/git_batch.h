/* Blobs of a repository by git's protocol, many in a request: what the crawl asks for, and with it
 * what it will ask for next. Verifies each blob by its id; knows nothing of what is inside. */
#ifndef MS_COLLECT_GIT_BATCH_H
#define MS_COLLECT_GIT_BATCH_H

#include "collect/crawl.h"
#include "collect/git.h"
#include "collect/gitjob.h"
#include "collect/spool.h"

enum { MS_GIT_BATCH_BLOBS = 1024 };

/* A blob that was asked for. */
struct ms_git_blob {
    uint8_t id[MS_SHA1_BYTES];
    bool here;    /* bytes [offset, offset + size) of the spool */
    bool too_big; /* it is there, and too large to be had */
    uint64_t offset, size;
};

struct ms_git_batch {
    struct ms_collect *session;
    struct ms_git *git;
    const struct ms_crawl *crawl;
    const struct ms_entries *entries;
    struct ms_git_batch *aside; /* one blob out of its turn; NULL until there was one */
    struct ms_blob_spool spool;
    struct ms_git_blob blobs[MS_GIT_BATCH_BLOBS];
    size_t count;
    size_t most;                 /* blobs of the next request: sizes are not known before */
    struct ms_git_blob *current; /* the one that the worker is sending */
};

/* The entries are those that ms_crawl_files goes through, in that order. */
void ms_git_batch_init(struct ms_git_batch *self, struct ms_collect *session, struct ms_git *git,
                       const struct ms_crawl *crawl, const struct ms_entries *entries);
void ms_git_batch_release(struct ms_git_batch *self);

/* ms_crawl_fetch, ctx being the batch. A server that fails altogether ends the crawl with
 * MS_E_LATER, so that what was fetched is still written; git->answer and reason say why. */
enum ms_status ms_git_batch_fetch(void *ctx, const struct ms_entry *entry, int *fd, uint64_t *size,
                                  const char **outcome, struct ms_error *err) MS_MUST_USE;

/* Reads an answer to fetch (see ms_git_fetch) in the worker. MS_REJECT when it or its pack is not
 * right, or the worker was lost over it. */
enum ms_status ms_git_read_answer(struct ms_worker *worker, int fd, enum ms_gitjob_mode mode,
                                  const uint8_t (*ids)[MS_SHA1_BYTES], size_t count,
                                  ms_worker_frame on_frame, void *ctx,
                                  struct ms_error *err) MS_MUST_USE;

#endif

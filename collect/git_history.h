/* The history of a repository by git's protocol: what all branches and tags lead to, as far as the
 * corpus has not gone through it. Fetches commits and trees only; blobs are the crawl's. */
#ifndef MS_COLLECT_GIT_HISTORY_H
#define MS_COLLECT_GIT_HISTORY_H

#include "collect/crawl.h"
#include "collect/git.h"
#include "collect/gitjob.h"

/* Asks for commits and trees, and reads the answer in the worker: the files of the mode go to
 * `out`. MS_OK with git->answer set, or a reason to stop. */
enum ms_status ms_git_get_files(struct ms_collect *session, struct ms_git *git,
                                const struct ms_git_want *want, enum ms_gitjob_mode mode,
                                struct ms_entries *out, struct ms_error *err) MS_MUST_USE;

struct ms_git_history {
    struct ms_collect *session;
    int64_t origin;
    struct ms_git_tips known; /* commits that the last complete crawl went through */
    struct ms_git_tips tips;  /* of today's branches and tags */
    struct ms_entries past;   /* files that are not in the tree, each blob once */
    bool news;                /* there are commits that are not known */
    bool failed;              /* they were not to be had: git->answer is OK, reason says why */
    char reason[256];
};

void ms_git_history_init(struct ms_git_history *self, struct ms_collect *session);
void ms_git_history_release(struct ms_git_history *self);

/* After ms_git_head, with self->tips filled by it: past files that are worth another look come from
 * the corpus, those of new commits from the server, which is told what is known. `head` is the
 * commit whose tree is `present`. A history that is too large or damaged sets failed: the tree can
 * be had without it. MS_OK with git->answer OK or LIMITED (err is filled then), or a reason to
 * stop. */
enum ms_status ms_git_history_get(struct ms_git_history *self, struct ms_git *git, int64_t origin,
                                  const uint8_t head[MS_SHA1_BYTES],
                                  const struct ms_entries *present,
                                  struct ms_error *err) MS_MUST_USE;

/* For ms_crawl.also, ctx being the history: writes what the next run builds on. */
enum ms_status ms_git_history_save(void *ctx, struct ms_error *err) MS_MUST_USE;

#endif

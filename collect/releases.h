/* Files attached to a repository's releases, by GitHub's REST API: known by their SHA-256 where
 * GitHub gives one, by id and time otherwise, and fetched once. */
#ifndef MS_COLLECT_RELEASES_H
#define MS_COLLECT_RELEASES_H

#include "collect/github.h"

struct ms_releases_repo {
    const char *listed; /* "owner/repo" as in the list: the origin's name */
    const char *name;   /* as the host knows it now */
    const char *claim;  /* may be NULL */
    bool private_;
};

/* Collects the assets into an origin of their own, (github, listed, ":releases"), under paths
 * "releases/TAG/NAME". A blob row of an asset goes by the git id of a text that names it: the
 * pointer that Git LFS would have for it, where GitHub gives its SHA-256, so that it is opened once
 * wherever it lies. What is not to be had costs itself and is recorded; MS_E_LATER as
 * ms_github_collect. */
enum ms_status ms_releases_collect(struct ms_collect *session, struct ms_github *github,
                                   const struct ms_releases_repo *repo,
                                   struct ms_error *err) MS_MUST_USE;

#endif

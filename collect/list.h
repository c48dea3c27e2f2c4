/* The files behind --github-list (one repository a line) and --url-list (one URL a line). Parses
 * text; asks nobody. */
#ifndef MS_COLLECT_LIST_H
#define MS_COLLECT_LIST_H

#include "base/http_url.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>

enum { MS_REPO_NAME_BYTES = 141, MS_REPO_REF_BYTES = 256, MS_REPO_URL_BYTES = 1024 };

struct ms_repo {
    char name[MS_REPO_NAME_BYTES]; /* "owner/repo" in lower case: GitHub does not tell case apart;
                                      "" for other hosts */
    char url[MS_REPO_URL_BYTES];   /* of a repository on another host, canonical; "" for GitHub */
    char ref[MS_REPO_REF_BYTES];   /* branch, tag or commit; "" is the default branch */
    const char *claim;             /* "malware", "benign", "unknown"; NULL: not said */
    bool private_;
};

/* Parses one line: `owner/repo[@ref]`, https://github.com/owner/repo[/tree/ref] or the URL of a git
 * repository on another host (https://host/path.git[@ref]; http on loopback alone), then
 * `claim=malware|benign|unknown` and `private` in any order; `#` at the start or after a blank
 * begins a comment. *empty is true for a line without content. MS_REJECT with the reason for a bad
 * line. */
enum ms_status ms_repo_parse(struct ms_span line, struct ms_repo *out, bool *empty,
                             struct ms_error *err) MS_MUST_USE;

struct ms_list_url {
    struct ms_url url;
    const char *claim; /* NULL: not said */
    bool private_;
};

/* The same for a URL: https, or http on loopback, without user and password; then claim= and
 * private. */
enum ms_status ms_list_url_parse(struct ms_span line, struct ms_list_url *out, bool *empty,
                                 struct ms_error *err) MS_MUST_USE;

#endif

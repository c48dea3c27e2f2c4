/* Files behind single URLs: each line of --url-list is an origin of kind "list" with one file. */
#ifndef MS_COLLECT_URLS_H
#define MS_COLLECT_URLS_H

#include "collect/session.h"

/* Fetches what changed since the last time (ETag, Last-Modified) and opens it. https, or the server
 * of --github-url; no private, loopback or link-local address but that server's, redirects
 * included. A bad line or a file that is not to be had costs itself. MS_E_LATER at the end, with
 * the time to resume, when a host asked for patience: its other URLs are left for then. */
enum ms_status ms_urls_collect(struct ms_collect *session, const char *list_path,
                               struct ms_error *err) MS_MUST_USE;

#endif

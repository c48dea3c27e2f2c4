/* The calls by which VirusTotal is given work: a new analysis of a file it has, and a file it has
 * not. One request a call, as in label/virustotal; counts nothing and repeats nothing. */
#ifndef MS_LABEL_VTSUBMIT_H
#define MS_LABEL_VTSUBMIT_H

#include "base/http_url.h"
#include "label/virustotal.h"

/* In all of these FOUND means that it was taken, 409 AlreadyExistsError included, and BAD_HASH that
 * it never will be (400, 413). A 200 that is no answer of this service is TRANSIENT. Returns as
 * ms_vt_send. */

/* POST /files/HASH/analyse. NOT_FOUND: the service has no such file. */
enum ms_status ms_vt_analyse(struct ms_vt *self, const char *hash, struct ms_vt_answer *out,
                             struct ms_error *err) MS_MUST_USE;

/* GET /files/upload_url, for files above MS_LIMIT_UPLOAD_DIRECT_BYTES. FOUND: url is one that
 * ms_vt_may_upload_to allows; a URL it does not allow is BAD_HASH, why says what was wrong. */
enum ms_status ms_vt_upload_url(struct ms_vt *self, struct ms_url *url, struct ms_vt_answer *out,
                                struct ms_error *err) MS_MUST_USE;

/* POST of one file in the multipart field "file". fd: `bytes` bytes from offset 0. name: what the
 * service sees as the file's name; a bare word. url: of ms_vt_upload_url; NULL: POST /files.
 * MS_REJECT when the URL's host leads to a private address. */
enum ms_status ms_vt_upload(struct ms_vt *self, const struct ms_url *url, int fd, uint64_t bytes,
                            const char *name, struct ms_vt_answer *out,
                            struct ms_error *err) MS_MUST_USE;

/* Whether a file may be sent where the service says. base: the URL the user named. Its own origin;
 * or another https host on the same port below the same site: below the base's host, or below what
 * follows its "www.". Pure. */
bool ms_vt_may_upload_to(const struct ms_url *base, const struct ms_url *to);

#endif

/* Keys and tokens: read from @FILE, env:NAME or the value itself, kept out of logs, core dumps and
 * argv, bound to one host. */
#ifndef MS_BASE_SECRET_H
#define MS_BASE_SECRET_H

#include "base/error.h"

#include <stdbool.h>

struct ms_secret;

/* spec: "@FILE" (regular file of the user or root, refused with MS_E_USAGE when group or others can
 * read or write it; trailing newline removed), "env:NAME", or the value itself (its bytes are
 * overwritten in place when `wipe` is not NULL and points at the argv string; one warning is
 * logged). spec NULL: default_env is read; MS_E_USAGE when it is unset or empty. A value with
 * control characters, blanks inside or nothing in it is MS_E_USAGE. what: "VirusTotal key" and the
 * like, for messages. */
enum ms_status ms_secret_read(const char *spec, char *wipe, const char *default_env,
                              const char *what, struct ms_secret **out,
                              struct ms_error *err) MS_MUST_USE;
void ms_secret_free(struct ms_secret *self); /* zeroes it first */

/* Binds the secret to scheme, host and port of `url`; base/http sends it nowhere else. A secret not
 * bound is never sent. */
enum ms_status ms_secret_bind(struct ms_secret *self, const char *url,
                              struct ms_error *err) MS_MUST_USE;

/* The value; for base/http, and for a look at its form. Borrowed; never to be printed. */
const char *ms_secret_value(const struct ms_secret *self);
/* "scheme://host:port" it is bound to, or "". */
const char *ms_secret_origin(const struct ms_secret *self);

/* First 8 hexadecimal digits of SHA-256 of the value: names a key in the ledger without giving it
 * away. */
void ms_secret_fingerprint(const struct ms_secret *self, char out[9]);

#endif

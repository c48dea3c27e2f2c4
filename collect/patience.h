/* Servers that asked to be left alone for some time: a run goes on with the others. Asks nobody. */
#ifndef MS_COLLECT_PATIENCE_H
#define MS_COLLECT_PATIENCE_H

#include "base/http_url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MS_PATIENCE_SERVERS = 64 };

struct ms_patience {
    struct {
        char origin[MS_URL_ORIGIN_BYTES]; /* "scheme://host:port" */
        int64_t until_ms;
    } servers[MS_PATIENCE_SERVERS];
    size_t count;
    int64_t resume_at_ms; /* the earliest time that was named; 0: nobody asked to wait */
};

/* Is the server still to be left alone? */
bool ms_patience_waits(const struct ms_patience *self, const char *origin);

/* err: MS_E_LATER with the time. MS_OK when the run may go on with other servers; else err stays
 * what it is: no time was given (it is not a server that is limited), or too many are. */
enum ms_status ms_patience_add(struct ms_patience *self, const char *origin,
                               const struct ms_error *err) MS_MUST_USE;

/* MS_E_LATER with the earliest time when anybody asked to wait, else MS_OK. */
enum ms_status ms_patience_end(const struct ms_patience *self, const char *what,
                               struct ms_error *err) MS_MUST_USE;

#endif

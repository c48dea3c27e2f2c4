/* Who asked to wait, and until when. */
#include "collect/patience.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

static size_t place_of(const struct ms_patience *self, const char *origin)
{
    size_t i = 0;
    while (i < self->count && strcmp(self->servers[i].origin, origin) != 0)
        i++;
    return i;
}

bool ms_patience_waits(const struct ms_patience *self, const char *origin)
{
    size_t i = place_of(self, origin);
    return i < self->count && ms_clock_wall_ms() < self->servers[i].until_ms;
}

enum ms_status ms_patience_add(struct ms_patience *self, const char *origin,
                               const struct ms_error *err)
{
    size_t i = place_of(self, origin);
    char when[32];
    if (err->status != MS_E_LATER || !err->resume_at_ms || i == MS_PATIENCE_SERVERS)
        return MS_E_LATER;
    if (i == self->count)
        self->count++;
    (void)snprintf(self->servers[i].origin, sizeof self->servers[i].origin, "%s", origin);
    self->servers[i].until_ms = err->resume_at_ms;
    if (!self->resume_at_ms || err->resume_at_ms < self->resume_at_ms)
        self->resume_at_ms = err->resume_at_ms;
    ms_clock_format(err->resume_at_ms, when);
    ms_log(MS_LOG_WARNING, "%s: %s; it is left alone until %s, the rest of the list goes on",
           origin, err->text, when);
    return MS_OK;
}

enum ms_status ms_patience_end(const struct ms_patience *self, const char *what,
                               struct ms_error *err)
{
    if (!self->resume_at_ms)
        return MS_OK;
    enum ms_status status = ms_error_set(
        err, MS_E_LATER, "%s is not to be asked now; what was collected is kept", what);
    if (err)
        err->resume_at_ms = self->resume_at_ms;
    return status;
}

/* Fills and decorates struct ms_error; the only place that maps statuses to exit codes. */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

static MS_PRINTF(2, 0) void format_into(struct ms_error *err, const char *fmt, va_list args)
{
    int n = vsnprintf(err->text, sizeof err->text, fmt, args);
    if (n < 0)
        err->text[0] = '\0';
}

enum ms_status ms_error_set(struct ms_error *err, enum ms_status status, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        err->status = status;
        err->resume_at_ms = 0;
        format_into(err, fmt, args);
        va_end(args);
    }
    return status;
}

enum ms_status ms_error_set_errno(struct ms_error *err, enum ms_status status, int errnum,
                                  const char *fmt, ...)
{
    if (err) {
        char why[128];
        va_list args;
        va_start(args, fmt);
        err->status = status;
        err->resume_at_ms = 0;
        format_into(err, fmt, args);
        va_end(args);
        if (strerror_r(errnum, why, sizeof why) != 0)
            (void)snprintf(why, sizeof why, "error %d", errnum);
        size_t used = strlen(err->text);
        (void)snprintf(err->text + used, sizeof err->text - used, ": %s", why);
    }
    return status;
}

void ms_error_prepend(struct ms_error *err, const char *fmt, ...)
{
    if (!err)
        return;
    char old[MS_ERROR_TEXT_BYTES];
    va_list args;
    memcpy(old, err->text, sizeof old);
    va_start(args, fmt);
    format_into(err, fmt, args);
    va_end(args);
    size_t used = strlen(err->text);
    (void)snprintf(err->text + used, sizeof err->text - used, ": %s", old);
}

int ms_status_exit_code(enum ms_status status)
{
    switch (status) {
    case MS_OK:
        return 0;
    case MS_REJECT:
        return 1;
    case MS_E_USAGE:
        return 2;
    case MS_E_INPUT:
    case MS_E_LIMIT:
        return 3;
    case MS_E_IO:
    case MS_E_STORE:
    case MS_E_NOMEM:
        return 4;
    case MS_E_REMOTE:
        return 5;
    case MS_E_LATER:
        return 75;
    case MS_E_BUG:
        break;
    }
    return 70;
}

const char *ms_status_name(enum ms_status status)
{
    static const char *const names[] = {"ok",     "reject", "usage",  "input", "io", "store",
                                        "remote", "later",  "memory", "limit", "bug"};
    return (unsigned)status < sizeof names / sizeof *names ? names[status] : "bug";
}

/* Status codes and the caller-owned error record that every fallible function fills; no printing,
 * no exiting. */
#ifndef MS_BASE_ERROR_H
#define MS_BASE_ERROR_H

#include <stdarg.h>
#include <stdint.h>

#define MS_MUST_USE __attribute__((warn_unused_result))
#define MS_PRINTF(fmt_index, args_index) __attribute__((format(printf, fmt_index, args_index)))

/* What became of a call. MS_REJECT concerns one record: the caller records it and goes on;
 * everything after it is a reason to stop the step. */
enum ms_status {
    MS_OK = 0,
    MS_REJECT,   /* this record is bad; the batch goes on */
    MS_E_USAGE,  /* the command line makes no sense */
    MS_E_INPUT,  /* an input the whole run depends on is bad (model, list, dataset) */
    MS_E_IO,     /* file system or operating system */
    MS_E_STORE,  /* the corpus database or vault */
    MS_E_REMOTE, /* a service answered with an error, or not at all */
    MS_E_LATER,  /* quota spent, rate limited, or another run holds the corpus; see resume_at_ms */
    MS_E_NOMEM,  /* out of memory */
    MS_E_LIMIT,  /* a documented limit was reached (base/limits.h) */
    MS_E_BUG     /* an invariant of ours is broken */
};

enum { MS_ERROR_TEXT_BYTES = 640 };

/* Fixed-size, owned by the caller, untouched on success. `text` is UTF-8 with untrusted parts
 * already escaped by the function that set it (ms_error_set escapes nothing itself: pass untrusted
 * strings through ms_escape first). */
struct ms_error {
    enum ms_status status;
    int64_t resume_at_ms; /* UTC, ms since 1970; only for MS_E_LATER, 0 = unknown */
    char text[MS_ERROR_TEXT_BYTES];
};

/* Fills `err` (may be NULL) and returns `status`, so that `return ms_error_set(err, MS_E_IO, "…")`
 * reads well. */
enum ms_status ms_error_set(struct ms_error *err, enum ms_status status, const char *fmt, ...)
    MS_PRINTF(3, 4);

/* As ms_error_set, and appends ": " and strerror(errnum). */
enum ms_status ms_error_set_errno(struct ms_error *err, enum ms_status status, int errnum,
                                  const char *fmt, ...) MS_PRINTF(4, 5);

/* Puts "context: " in front of the text that is already there; cuts at the end when it gets too
 * long. */
void ms_error_prepend(struct ms_error *err, const char *fmt, ...) MS_PRINTF(2, 3);

/* The exit code of the command contract for a status: OK 0, REJECT 1, USAGE 2, INPUT and LIMIT 3,
 * IO, STORE and NOMEM 4, REMOTE 5, LATER 75, BUG 70. */
int ms_status_exit_code(enum ms_status status);

/* A short lower-case word for a status ("ok", "reject", "usage", …); static storage. */
const char *ms_status_name(enum ms_status status);

#endif

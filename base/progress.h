/* A progress line on a terminal: what, how many, rate and time left. Prints nothing elsewhere.
 * Thread-safe. */
#ifndef MS_BASE_PROGRESS_H
#define MS_BASE_PROGRESS_H

#include <stdint.h>

enum ms_progress_mode { MS_PROGRESS_AUTO, MS_PROGRESS_ALWAYS, MS_PROGRESS_NEVER };

/* auto: only when stderr is a terminal and TERM is not "dumb". */
void ms_progress_init(enum ms_progress_mode mode);
/* Starts a line. `what` is static text ("importing reports"); total 0: unknown; unit: "reports",
 * "bytes" (shown as MB). */
void ms_progress_begin(const char *what, uint64_t total, const char *unit);
/* Redraws at most 10 times a second. `done` is absolute. */
void ms_progress_update(uint64_t done);
/* A short escaped remark behind the figures ("loss 0.31"); copied. */
void ms_progress_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void ms_progress_end(void);

#endif

/* Ending early, in order, when a signal asks for it. Ends nothing by itself: whoever works in a
 * loop looks, and comes to an end that can be gone on from. */
#ifndef MS_BASE_STOP_H
#define MS_BASE_STOP_H

/* From now on the first SIGINT, SIGTERM or SIGHUP is only remembered, and ends sleeps of
 * base/clock; the second one ends the process at once. A signal that was ignored stays so. For the
 * main thread; a tool that never calls it is ended by the first, as ever. */
void ms_stop_watch(void);
/* What comes from now on ends the process at once again. What came is still remembered. */
void ms_stop_unwatch(void);
/* The signal that came, 0 when none did; its name ("SIGINT") is static text. */
int ms_stop_signal(void);
const char *ms_stop_name(void);
/* What came was the end that was waited for: the process ends with its own exit code. */
void ms_stop_forget(void);
/* Ends the process as the signal would have, for the shell to see; returns when none came. The last
 * step of main (base/cli_main), output flushed. */
void ms_stop_end(void);

#endif

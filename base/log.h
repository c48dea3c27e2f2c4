/* Messages to people on stderr, and the escaping that every string from outside goes through before
 * it is printed. */
#ifndef MS_BASE_LOG_H
#define MS_BASE_LOG_H

#include "base/buf.h"

#include <stdio.h>

enum ms_log_level { MS_LOG_ERROR, MS_LOG_WARNING, MS_LOG_INFO, MS_LOG_DEBUG };

/* `tool` (static text) starts every line; `level` is the most talkative level shown. */
void ms_log_init(const char *tool, enum ms_log_level level);
const char *ms_log_tool(void);
enum ms_log_level ms_log_level_get(void);

/* "TOOL: error: …", "TOOL: warning: …", "TOOL: …" on stderr, one write a message, the progress line
 * moved out of the way. The text is escaped as a whole (ms_escape), so an untrusted part cannot
 * reach the terminal raw. */
void ms_log(enum ms_log_level level, const char *fmt, ...) MS_PRINTF(2, 3);

/* Appends bytes so that they are safe on a terminal and in a log: C0 and C1 controls, DEL, bidi and
 * zero-width format characters and invalid UTF-8 become \n \t \\ \xHH or \u{HHHH}; everything else
 * is kept. */
enum ms_status ms_escape(struct ms_buf *out, const void *bytes, size_t n);

/* The same into a fixed buffer, cut with "..." when it does not fit; returns out. */
char *ms_escape_text(const char *text, char *out, size_t out_bytes);
char *ms_escape_bytes(const void *bytes, size_t n, char *out, size_t out_bytes);

/* A hook that wipes the progress line before a message and one that redraws it; set by
 * base/progress, before any other thread exists. Either may be NULL, but `before` may keep a lock
 * that `after` gives back: such two are set together. */
void ms_log_set_hooks(void (*before)(void), void (*after)(void));

#endif

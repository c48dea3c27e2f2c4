/* Take-down in the two files of a model that name samples for people: report.html and metrics.json
 * list the surest errors. Used by store/forget_models.c alone. */
#ifndef MS_STORE_FORGET_REPORTS_H
#define MS_STORE_FORGET_REPORTS_H

#include "base/error.h"

#include <stdbool.h>

/* Whether a key is to be forgotten. */
typedef bool (*ms_forget_is)(void *ctx, const char *key);

/* Puts ms_forgotten_key in place of such keys: what stands between <code> and </code> of a page, as
 * ms_html_text writes it, or behind "key": of indented JSON. The file is replaced at once, or left
 * alone when it has none. MS_E_IO, MS_E_NOMEM, MS_E_LIMIT. */
enum ms_status ms_report_forget(const char *path, bool html, ms_forget_is is, void *ctx,
                                struct ms_error *err) MS_MUST_USE;

#endif

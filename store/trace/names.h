/* A table of distinct byte strings with dense numbers in the order they came. No meaning, no
 * sorting. */
#ifndef MS_STORE_TRACE_NAMES_H
#define MS_STORE_TRACE_NAMES_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ms_names;

/* At most max_names strings of at most MS_LIMIT_NAME_BYTES each. MS_E_NOMEM. */
enum ms_status ms_names_new(uint32_t max_names, struct ms_names **out,
                            struct ms_error *err) MS_MUST_USE;
void ms_names_free(struct ms_names *self);

/* The number of a string, given the next one when new. MS_E_LIMIT beyond max_names or the length,
 * MS_E_NOMEM. */
enum ms_status ms_names_intern(struct ms_names *self, struct ms_span name, uint32_t *id,
                               struct ms_error *err) MS_MUST_USE;
bool ms_names_find(const struct ms_names *self, struct ms_span name, uint32_t *id) MS_MUST_USE;

uint32_t ms_names_count(const struct ms_names *self);
/* Borrowed until the table is freed; a NUL stands behind the bytes. id < count. */
struct ms_span ms_names_get(const struct ms_names *self, uint32_t id);

#endif

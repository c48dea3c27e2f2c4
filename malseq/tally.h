/* Counts by name, in sorted order: for tables and cards. */
#ifndef MS_MALSEQ_TALLY_H
#define MS_MALSEQ_TALLY_H

#include "store/trace/names.h"

#include <jansson.h>

struct malseq_tally {
    struct ms_names *names; /* numbered in the order they came */
    uint64_t *counts;
    uint32_t *sorted; /* numbers in byte order of the names, after sort */
    uint32_t *rank;   /* place in `sorted`, by number, after sort */
    size_t capacity;
};

enum ms_status malseq_tally_init(struct malseq_tally *self, struct ms_error *err) MS_MUST_USE;
void malseq_tally_release(struct malseq_tally *self);
/* Adds `times` to a name; *number (may be NULL) is its number. */
enum ms_status malseq_tally_add(struct malseq_tally *self, const void *name, size_t n,
                                uint64_t times, uint32_t *number, struct ms_error *err) MS_MUST_USE;
/* By bytes, or by falling count and then bytes. Fills `sorted` and `rank`; nothing may be added
 * afterwards. */
enum ms_status malseq_tally_sort(struct malseq_tally *self, bool by_count,
                                 struct ms_error *err) MS_MUST_USE;
uint32_t malseq_tally_count(const struct malseq_tally *self);
/* The name at a place of the order. */
struct ms_span malseq_tally_at(const struct malseq_tally *self, uint32_t place, uint64_t *count);
/* {"name": count, …} in order; new reference. */
json_t *malseq_tally_json(const struct malseq_tally *self);

#endif

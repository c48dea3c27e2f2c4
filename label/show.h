/* What label prints: a line or a JSON object a hash, the explanation of one label. */
#ifndef MS_LABEL_SHOW_H
#define MS_LABEL_SHOW_H

#include "label/derive.h"
#include "label/lookup.h"

/* One hash's state and current label; label may be NULL. */
struct ms_shown {
    const char *hash, *state, *reason; /* reason may be NULL or "" */
    const struct ms_label *label;
    int64_t due_ms; /* 0: none */
    bool would_ask; /* a dry run */
};
enum ms_status ms_show_hash(const struct ms_shown *row, bool json,
                            struct ms_error *err) MS_MUST_USE;

/* How one sample's answers became its label. */
struct ms_explained {
    const char *hash; /* as the user gave it */
    const struct ms_deriver *deriver;
    const struct ms_derived *derived;
    const struct ms_judged *judged; /* what the label rests on; NULL: a 404 */
    const struct ms_scan *scan;     /* its scan */
};
/* Engines, tokens, copies, classes, groups, votes, rule and verdict on one screen. */
enum ms_status ms_show_explanation(const struct ms_explained *explained, bool json,
                                   struct ms_error *err) MS_MUST_USE;

#endif

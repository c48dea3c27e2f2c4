/* What a model says of changed views of one trace: beginnings of it, and what is left when calls
 * are taken away. Chooses none of them. */
#ifndef MS_DETECT_VARIANTS_H
#define MS_DETECT_VARIANTS_H

#include "detect/reader.h"
#include "train/model.h"

enum ms_variant_kind {
    MS_VARIANT_PREFIX,       /* the first `to` calls */
    MS_VARIANT_WITHOUT_CALL, /* all but the calls with `symbol` */
    MS_VARIANT_WITHOUT_RANGE /* all but the calls from `from` to before `to` */
};

struct ms_variant {
    enum ms_variant_kind kind;
    uint32_t symbol;
    size_t from, to;
    double score; /* the result; NAN when nothing that the model knows is left, or the score is no
                     finite number */
};

/* The part of a trace's view that variants are made of. */
struct ms_variant_view {
    const struct ms_read_trace *trace;
    size_t from, n;
};
/* The whole view, or what is left of it at the side that the net keeps when it is longer than
 * MS_LIMIT_EXPLAINED_CALLS. */
struct ms_variant_view ms_variant_view_of(const struct ms_model *model,
                                          const struct ms_read_trace *trace);

/* Fills in the score of each of the variants for class `class_` (of two: 0, the positive one).
 * Positions count from view->from. MS_E_NOMEM and what the model says. */
enum ms_status ms_variants_score(struct ms_model *model, const struct ms_variant_view *view,
                                 uint32_t class_, struct ms_variant *variants, size_t count,
                                 struct ms_error *err) MS_MUST_USE;

/* How many variants of n calls may be asked for at once: MS_LIMIT_EXPLAINED_VARIANTS, fewer of long
 * views (MS_LIMIT_EXPLAINED_STEPS together), but at least 8. */
size_t ms_variants_most(size_t n);

#endif

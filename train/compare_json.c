/* A comparison's figures as JSON. */
#include "train/compare_json.h"

#include <math.h>

static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *ms_difference_json(const struct ms_difference *d)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "a", real(d->a), "b", real(d->b), "difference",
                     real(d->difference), "low", real(d->low), "high", real(d->high));
}

json_t *ms_t_test_json(const struct ms_comparison *c)
{
    return json_pack("{s:I, s:o, s:o}", "fits", (json_int_t)c->fits, "t", real(c->t), "p",
                     real(c->p));
}

/* Defaults and checks of the optimisers, and the cosine schedule; the update itself is in kernel.c.
 */
#include "train/nn/optimizer.h"

#include <math.h>

void ms_optimizer_defaults(enum ms_optimizer_kind kind, struct ms_optimizer *out)
{
    if (kind == MS_OPTIMIZER_RMSPROP)
        *out = (struct ms_optimizer){kind, 0, .9, 1e-7, 0, 0};
    else
        *out = (struct ms_optimizer){kind, .9, .999, 1e-8, kind == MS_OPTIMIZER_ADAMW ? .01 : 0, 0};
}

enum ms_status ms_optimizer_check(const struct ms_optimizer *self, struct ms_error *err)
{
    if ((unsigned)self->kind > MS_OPTIMIZER_ADAMW)
        return ms_error_set(err, MS_E_INPUT, "unknown optimiser %d", (int)self->kind);
    if (!(self->beta1 >= 0 && self->beta1 < 1) || !(self->beta2 >= 0 && self->beta2 < 1))
        return ms_error_set(err, MS_E_INPUT, "optimiser: betas %g and %g must be in [0, 1)",
                            self->beta1, self->beta2);
    if (!(self->epsilon > 0 && self->epsilon <= 1))
        return ms_error_set(err, MS_E_INPUT, "optimiser: epsilon %g must be in (0, 1]",
                            self->epsilon);
    if (!(self->weight_decay >= 0 && self->weight_decay <= 10))
        return ms_error_set(err, MS_E_INPUT, "optimiser: weight decay %g must be 0 to 10",
                            self->weight_decay);
    if (self->weight_decay > 0 && self->kind != MS_OPTIMIZER_ADAMW)
        return ms_error_set(err, MS_E_INPUT, "weight decay belongs to AdamW alone");
    if (!(self->clip_norm >= 0 && self->clip_norm <= 1e12))
        return ms_error_set(err, MS_E_INPUT, "optimiser: clipping norm %g must be 0 to 1e12",
                            self->clip_norm);
    return MS_OK;
}

double ms_schedule_cosine(double peak, double floor, uint64_t step, uint64_t warm_up,
                          uint64_t total)
{
    if (step < warm_up)
        return peak * (double)(step + 1) / (double)warm_up;
    if (total <= warm_up + 1)
        return peak;
    if (step >= total)
        step = total - 1;
    double progress = (double)(step - warm_up) / (double)(total - 1 - warm_up);
    return peak * (floor + (1 - floor) * .5 * (1 + cos(3.14159265358979323846 * progress)));
}

/* Several nets trained side by side. Used by train/learner.c and its tests. */
#ifndef MS_TRAIN_FIT_MEMBERS_H
#define MS_TRAIN_FIT_MEMBERS_H

#include "train/fit.h"

/* Rows of all of them; inner and test as in ms_fit. */
struct ms_fit_data {
    struct ms_fit_rows train, inner, test;
};

/* What else is to be done beside the nets: `count` tasks, each by one thread; they begin first. */
struct ms_fit_beside {
    enum ms_status (*run)(void *ctx, uint32_t task, struct ms_error *err);
    void *ctx;
    uint32_t count;
};

/* Trains count nets by options[i] into nets[i] (all of them, or none and an error). With one net
 * its batches are shared out among jobs threads; with several each has one thread, and jobs of them
 * run at once, which changes no number. An on_step of
 * options[0] is called after each batch of any of them, one call at a time, in place of a progress
 * line. curve (epochs of the first, may be NULL) is the mean over
 * the nets, epoch by epoch over those that ran it. beside may be NULL: it counts as more nets. */
enum ms_status ms_fit_members(const struct ms_fit_options *options, uint32_t count, unsigned jobs,
                              const struct ms_fit_data *data, const struct ms_fit_beside *beside,
                              struct ms_fit_epoch *curve, struct ms_net **nets,
                              struct ms_error *err) MS_MUST_USE;

/* Mean of `count` curves of `epochs` records that lie one after another, leaving out what is NAN.
 */
void ms_fit_mean_curve(const struct ms_fit_epoch *curves, uint32_t count, uint32_t epochs,
                       struct ms_fit_epoch *out);

#endif

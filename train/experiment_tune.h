/* The tuning of an experiment: what calibrates, where the threshold lies and what is in doubt,
 * found without the rows it is judged on. */
#ifndef MS_TRAIN_EXPERIMENT_TUNE_H
#define MS_TRAIN_EXPERIMENT_TUNE_H

#include "train/experiment.h"

/* Changes what the model (entry 0) and the baselines but majority said of the judged rows, each by
 * its own scores, and fills tuning, raw and doubt, which are the model's. Of folds, each is tuned
 * on the scores of the others of its repeat; the final model on all. Of a hold-out, when something
 * is asked for that needs it, on training rows: these are dealt into five parts (copies together),
 * a model is trained without one part and says its scores; once of nets, of other kinds five times.
 * A baseline that these rows do not allow stays as it was, with a warning. MS_E_INPUT as
 * ms_tuning_fit, ms_split_make and ms_learner_fit; MS_E_NOMEM. */
enum ms_status ms_experiment_tune(const struct ms_plan *plan, const struct ms_dataset *set,
                                  struct ms_experiment *e, struct ms_error *err) MS_MUST_USE;

#endif

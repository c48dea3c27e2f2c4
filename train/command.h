/* What the command line of train decides, and the run that follows from it. */
#ifndef MS_TRAIN_COMMAND_H
#define MS_TRAIN_COMMAND_H

#include "base/cli.h"
#include "store/trace/normalise_request.h"

/* Numbers that are 0 and texts that are NULL were not given: the preset decides. */
struct ms_train_options {
    const char *preset, *target, *name, *kind, *policy, *split, *split_date, *split_file;
    const char *sequence, *statics, *copies;
    const char *baselines, *wide, *ensemble, *class_weights, *average, *calibrate, *unknown_band;
    uint64_t epochs, batch, folds, repeats, hidden, members, patience, rounds, depth;
    struct ms_normal_request normal;
    double rate, test_share, test_ratio, cost, target_fpr;
    bool shuffle_labels, resume;
    const char *checkpoint_every; /* auto, never, epoch or batches */
};

void ms_train_defaults(void *options);

/* Loads, splits, trains, judges, publishes, prints. Errors: those of the steps. */
enum ms_status ms_train_run(struct ms_cli *cli, struct ms_error *err) MS_MUST_USE;

#endif

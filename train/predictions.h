/* What the models of an experiment said of every judged row, as a file beside the model: for
 * comparing models later without running them again. Judges nothing itself. */
#ifndef MS_TRAIN_PREDICTIONS_H
#define MS_TRAIN_PREDICTIONS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* Legend: P judged rows (a row of the dataset once a repeat), E entries (models judged on the same
 * rows; 0 is the model itself, the others its baselines), C classes. */
struct ms_predictions {
    uint8_t split[MS_SHA256_BYTES];            /* digest of the split's manifest */
    const char *model;                         /* name; unescaped, as all texts here */
    uint32_t classes, entries, repeats, folds; /* folds 0: hold-out */
    bool binary;                               /* class 0 is the positive one of two */
    double threshold;
    const char **class_names; /* C */
    const char **entry_names; /* E: "lstm", "linear", … */
    size_t count;             /* P */
    const char **keys;        /* P: of the dataset's rows */
    uint32_t *groups;         /* P: rows of one group are resampled together */
    uint32_t *repeat, *fold;  /* P; fold 0 of a hold-out */
    uint32_t *truth;          /* P */
    uint32_t *predicted;      /* E x P, entry by entry */
    double *scores;           /* E x P x C */
    /* private */
    struct ms_arena arena;
};

/* The file, models/NAME/predictions.jsonl: JSON lines, first the header
 *   {"format":"malseq-predictions-1","split":HEX,"model":NAME,"binary":BOOL,"threshold":X,
 *    "classes":[NAME…],"entries":[NAME…],"repeats":R,"folds":K,"rows":P}
 * then a line a judged row
 *   {"key":KEY,"group":G,"repeat":R,"fold":F,"truth":C,"predicted":[C, an entry each],
 *    "scores":[[X, a class each], an entry each]}
 * Appends all of it to `out`. Only what the two lines show is read of `self`. MS_E_NOMEM,
 * MS_E_LIMIT by out's maximum. */
enum ms_status ms_predictions_encode(const struct ms_predictions *self, struct ms_buf *out,
                                     struct ms_error *err) MS_MUST_USE;

/* Reads such a file from any bytes: MS_E_INPUT with the line when anything is missing, too much,
 * out of bounds or not finite. Release with ms_predictions_release, also after a failure. */
enum ms_status ms_predictions_decode(struct ms_span bytes, struct ms_predictions *out,
                                     struct ms_error *err) MS_MUST_USE;
/* The same from a path. MS_E_INPUT also when there is none. */
enum ms_status ms_predictions_open(const char *path, struct ms_predictions *out,
                                   struct ms_error *err) MS_MUST_USE;
void ms_predictions_release(struct ms_predictions *self);

#endif

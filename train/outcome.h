/* A finished training run as its three presentations see it: JSON, terminal, page. */
#ifndef MS_TRAIN_OUTCOME_H
#define MS_TRAIN_OUTCOME_H

#include "base/buf.h"
#include "train/dataset.h"
#include "train/experiment.h"
#include "train/findings.h"
#include "train/plan.h"
#include "train/windows.h"

#include <jansson.h>
#include <stdio.h>

/* Everything is borrowed. Texts may hold any bytes; each presentation escapes for itself. */
struct ms_outcome {
    const char *name;    /* of the model */
    const char *target;  /* as typed */
    const char *command; /* the command line */
    const char *settings;
    bool shuffled_labels;
    unsigned jobs;
    int64_t made_ms;
    const struct ms_plan *plan;
    const struct ms_dataset *set;
    const struct ms_experiment *experiment; /* NULL for a dry run */
    const struct ms_findings *findings;     /* with experiment */
    uint8_t model_digest[MS_SHA256_BYTES];  /* of the model file; only with experiment */
};

/* The whole as one object (metrics.json, --json); numbers that do not exist are null. New
 * reference; NULL without memory. */
json_t *ms_outcome_json(const struct ms_outcome *self) MS_MUST_USE;

/* Tables for people: classes, lengths, copies; and with an experiment curves, confusion matrix,
 * rates. */
void ms_outcome_show(const struct ms_outcome *self, FILE *out);

/* The part of both on calibration, threshold and doubt (train/tuning_show.h). */
json_t *ms_outcome_tuning_json(const struct ms_outcome *self) MS_MUST_USE;
void ms_outcome_tuning_show(const struct ms_outcome *self, FILE *out);

/* A self-contained HTML page: inline SVG, no script, nothing fetched. MS_E_NOMEM, MS_E_LIMIT by
 * out's maximum. */
enum ms_status ms_outcome_page(const struct ms_outcome *self, struct ms_buf *out,
                               struct ms_error *err) MS_MUST_USE;

/* What every model of the run said of the judged rows: predictions.jsonl (train/predictions.h),
 * appended. MS_E_NOMEM, MS_E_LIMIT by out's maximum. */
enum ms_status ms_outcome_predictions(const struct ms_outcome *self, struct ms_buf *out,
                                      struct ms_error *err) MS_MUST_USE;

/* The months of a split by time; the caller frees them. NULL without memory. */
struct ms_window *ms_outcome_windows(const struct ms_outcome *self, double *aut) MS_MUST_USE;

/* Whether a rule that knows only the sandbox or dataset of a trace does much better than the
 * majority class. */
bool ms_outcome_source_suspect(const struct ms_outcome *self);

/* What must be said beside an accuracy: a sentence that compares it with always saying the most
 * frequent class and with the best baseline; out holds 512 bytes. The class name in it is escaped
 * for a terminal. */
void ms_outcome_verdict(const struct ms_outcome *self, char out[512]);

/* What a reader must know, most important first: shuffled labels, the verdict, a rate of false
 * positives that was aimed at and missed, losing to baselines, what recurrence added, what an
 * ensemble is made of, copies that straddle, near copies, the source, contradicting labels. Escaped
 * for a terminal. Returns how many there are. */
enum { MS_SENTENCES_MAX = 12, MS_SENTENCE_BYTES = 512 };
struct ms_sentence {
    bool warning; /* the figures mislead, or the model is not worth its cost */
    char text[MS_SENTENCE_BYTES];
};
size_t ms_outcome_sentences(const struct ms_outcome *self,
                            struct ms_sentence out[MS_SENTENCES_MAX]);

/* How the threshold was chosen, or why there is none: a sentence without its full stop. */
void ms_outcome_threshold_note(const struct ms_outcome *self, char out[MS_SENTENCE_BYTES]);

#endif

/* What the two halves of the terminal's report share. Used by train/outcome_show*.c alone. */
#ifndef MS_TRAIN_OUTCOME_SHOW_H
#define MS_TRAIN_OUTCOME_SHOW_H

#include "train/outcome.h"

#include <stdio.h>

enum { MS_SHOW_NAME_BYTES = 64 };
/* Escaped for a terminal; returns out. */
const char *ms_show_class(const struct ms_outcome *o, uint32_t class_,
                          char out[MS_SHOW_NAME_BYTES]);
/* A number in a column, or a dash for NAN. */
void ms_show_figure(FILE *out, double x, int width, int digits);
/* " [low, high]" in 16 columns, blank for NAN. */
void ms_show_interval(FILE *out, struct ms_range range);
/* A text in a column of code points. */
void ms_show_padded(FILE *out, const char *text, int width, bool right);

/* In the order of the page. */
void ms_show_entries(const struct ms_outcome *o, FILE *out);
/* Of two classes, F1 and average precision of the positive one. */
void ms_show_positive(const struct ms_outcome *o, FILE *out);
void ms_show_repeats(const struct ms_outcome *o, FILE *out);
void ms_show_ranking(const struct ms_outcome *o, FILE *out);
void ms_show_calibration(const struct ms_outcome *o, FILE *out);
void ms_show_thresholds(const struct ms_outcome *o, FILE *out);
void ms_show_errors(const struct ms_outcome *o, FILE *out);
void ms_show_audit(const struct ms_outcome *o, FILE *out);
void ms_show_sentences(const struct ms_outcome *o, FILE *out);

#endif

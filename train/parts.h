/* What an ensemble may be made of, and sets of such parts as text. Trains nothing. */
#ifndef MS_TRAIN_PARTS_H
#define MS_TRAIN_PARTS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Nets: LSTM, with the wide branch beside it, GRU, the same, no recurrent layer, the same; then
 * logistic regression and boosted trees on the presence of the n-grams that wide branches see. */
enum ms_part {
    MS_PART_RECURRENT,
    MS_PART_HYBRID,
    MS_PART_GRU,
    MS_PART_GRU_HYBRID,
    MS_PART_POOLED,
    MS_PART_POOLED_HYBRID,
    MS_PART_LINEAR,
    MS_PART_BOOSTED,
    MS_PARTS
};

/* A set: bit 1 << part. A part counts once, and parts come in the order above. */
#define MS_PART_BIT(part) (1u << (part))

bool ms_part_is_net(enum ms_part part);
bool ms_part_is_wide(enum ms_part part); /* a net with the wide branch */
bool ms_part_is_gru(enum ms_part part);
bool ms_part_is_pooled(enum ms_part part);

/* Sets: the nets in it, those with the wide branch, what needs n-grams. */
uint32_t ms_parts_nets(uint32_t parts);
uint32_t ms_parts_wide(uint32_t parts);
uint32_t ms_parts_sparse(uint32_t parts);
/* The same without recurrence: each recurrent net is replaced by what is left of it. */
uint32_t ms_parts_pooled(uint32_t parts);
uint32_t ms_parts_count(uint32_t parts);

/* "recurrent", "hybrid", "gru", "gru-hybrid", "pooled", "pooled-hybrid", "linear" and "boosted",
 * with '+' between, and back: there ',' may stand for '+'. MS_E_USAGE for another word, an empty
 * one or one that comes twice. */
enum { MS_PARTS_TEXT_BYTES = 96 };
void ms_parts_text(uint32_t parts, char out[MS_PARTS_TEXT_BYTES]);
enum ms_status ms_parts_parse(const char *text, uint32_t *out, struct ms_error *err) MS_MUST_USE;

#endif

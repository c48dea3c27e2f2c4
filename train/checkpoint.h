/* The folder in which a training run keeps what it has done so far, so that a killed one can go on:
 * one small record of the run, and one file for each thing that is being trained. Knows blocks of
 * numbers under names; what they mean is the trainer's. */
#ifndef MS_TRAIN_CHECKPOINT_H
#define MS_TRAIN_CHECKPOINT_H

#include "base/error.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* When a state is written, beside every number of batches: */
enum {
    MS_CHECKPOINT_AUTO = 0, /* after an epoch when 5 s have passed since the last, within one after
                               a minute; at the end when the whole took a second */
    MS_CHECKPOINT_NEVER = -1,
    MS_CHECKPOINT_EPOCH = -2 /* after every epoch */
};

/* What a run is, in texts that must be equal for another to go on with it; borrowed. */
struct ms_checkpoint_run {
    const char *folder;  /* is made; its parent too */
    const char *dataset; /* digests, hexadecimal */
    const char *split;
    const char *settings; /* everything that decides the numbers */
    int64_t every;        /* batches, or one of the above */
    bool resume;
};

struct ms_checkpoint;

/* Opens the folder. Without resume what is there is removed and the record written; with it the
 * record must be there and say the same, the version of malseq and the kind of processor included:
 * MS_E_INPUT with what differs, or that there is nothing to go on with, or that it cannot be read.
 * A folder is one run's at a time: while another has it, MS_E_LATER with resume; without, *out is
 * NULL, and a warning says that no checkpoints are kept. MS_E_IO, MS_E_NOMEM. */
enum ms_status ms_checkpoint_open(const struct ms_checkpoint_run *run, struct ms_checkpoint **out,
                                  struct ms_error *err) MS_MUST_USE;
/* Forgets the folder; what is in it stays. `self` may be NULL. */
void ms_checkpoint_close(struct ms_checkpoint *self);
/* The run has ended well: removes the folder, and closes. What cannot be removed is left, and said
 * in the log. */
void ms_checkpoint_end(struct ms_checkpoint *self);

/* A block of numbers; without numbers it is not written. */
enum ms_checkpoint_type { MS_CHECKPOINT_F32, MS_CHECKPOINT_F64, MS_CHECKPOINT_U64 };
struct ms_checkpoint_block {
    const char *name; /* ASCII */
    enum ms_checkpoint_type type;
    void *data;
    size_t count;
    bool lasting; /* still needed when the training has ended */
};

enum ms_checkpoint_found { MS_CHECKPOINT_NONE, MS_CHECKPOINT_RUNNING, MS_CHECKPOINT_FINISHED };

/* Fills the blocks (of a finished one the lasting) from the file of `key`, which names what is
 * trained: everything that decides its numbers, hashed. *found NONE when there is no file, or it is
 * no resumed run. MS_E_INPUT when the file is damaged or holds other blocks; MS_E_IO, MS_E_NOMEM.
 */
enum ms_status ms_checkpoint_load(struct ms_checkpoint *self, const uint8_t key[MS_SHA256_BYTES],
                                  const struct ms_checkpoint_block *blocks, size_t count,
                                  enum ms_checkpoint_found *found,
                                  struct ms_error *err) MS_MUST_USE;

/* Whether the state after `batches` batches is to be written. *last_ms is the caller's, 0 at first:
 * when it was last written. */
bool ms_checkpoint_due(const struct ms_checkpoint *self, uint64_t batches, bool epoch_ended,
                       bool finished, int64_t *last_ms);

/* Writes the blocks (finished: the lasting ones alone) under `key`: temporary, fsync, rename. What
 * goes wrong, as a full disk, is warned of once, and the training goes on: the state before stays.
 * By several threads at once, each with a key of its own. */
void ms_checkpoint_save(struct ms_checkpoint *self, const uint8_t key[MS_SHA256_BYTES],
                        const struct ms_checkpoint_block *blocks, size_t count, bool finished);

#endif

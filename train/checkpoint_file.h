/* One checkpoint file: blocks of numbers as safetensors, with a digest. Used by train/checkpoint.c
 * and its tests alone. */
#ifndef MS_TRAIN_CHECKPOINT_FILE_H
#define MS_TRAIN_CHECKPOINT_FILE_H

#include "train/checkpoint.h"

size_t ms_checkpoint_bytes(const struct ms_checkpoint_block *block);

/* Writes the blocks (finished: the lasting ones) at once or not at all. __metadata__ has format,
 * state (running or finished) and sha256 of the tensors' bytes. MS_E_IO, MS_E_NOMEM. */
enum ms_status ms_checkpoint_write(const char *path, const char *format,
                                   const struct ms_checkpoint_block *blocks, size_t count,
                                   bool finished, struct ms_error *err) MS_MUST_USE;

/* Reads such a file into the blocks, all of it or nothing: MS_E_INPUT when a byte is not as it was
 * written, or the blocks are others. MS_E_IO, MS_E_NOMEM. */
enum ms_status ms_checkpoint_read(const char *path, const char *format,
                                  const struct ms_checkpoint_block *blocks, size_t count,
                                  bool *finished, struct ms_error *err) MS_MUST_USE;

#endif

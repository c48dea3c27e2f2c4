/* The list of --hashes: which sample each line names, and which lines were answered. Asks nobody.
 */
#ifndef MS_LABEL_HASHES_H
#define MS_LABEL_HASHES_H

#include "base/hash.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 48 bytes a line, so that a list of millions fits. */
struct ms_hashes_line {
    int64_t sample;
    uint8_t hash[MS_SHA256_BYTES]; /* as listed */
    uint32_t next;                 /* the next line of the same sample; 0: none, else index + 1 */
    uint8_t hash_bytes;            /* 16, 20 or 32 */
    bool shown;
};

struct ms_hashes {
    struct ms_hashes_line *lines; /* in the order of the list */
    uint32_t *by_sample; /* index of the first line of each sample, in order of the samples */
    size_t count, cap, sample_count;
};

/* Reads a list (label/list.h); hashes the corpus does not know become samples, all in the open
 * transaction. A line that cannot be asked (no hash, the empty file, a forgotten sample) goes to
 * `reject` with the reason, and is no part of the list. */
typedef enum ms_status (*ms_hashes_reject)(void *ctx, uint64_t line, const char *text,
                                           const char *why, struct ms_error *err);
enum ms_status ms_hashes_read(struct ms_hashes *self, struct ms_corpus *corpus, const char *path,
                              int64_t run, ms_hashes_reject reject, void *ctx,
                              struct ms_error *err) MS_MUST_USE;
void ms_hashes_release(struct ms_hashes *self);

/* The first line of a sample, NULL when none names it; the others follow by ms_hashes_next. */
struct ms_hashes_line *ms_hashes_find(const struct ms_hashes *self, int64_t sample);
struct ms_hashes_line *ms_hashes_next(const struct ms_hashes *self,
                                      const struct ms_hashes_line *line);
/* The line's hash in hexadecimal. */
void ms_hashes_text(const struct ms_hashes_line *line, char out[MS_HASH_HEX_MAX]);

#endif

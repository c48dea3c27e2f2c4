/* API names to token numbers by falling frequency. Counts and looks up; sequences are the caller's.
 */
#ifndef MS_STORE_TRACE_VOCABULARY_H
#define MS_STORE_TRACE_VOCABULARY_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ms_vocabulary_text {
    /* A name is one token, as it is. */
    MS_VOCABULARY_NAME = 0,
    /* As keras.preprocessing.text.Tokenizer with its defaults: lower case, each of
     * !"#$%&()*+,-./:;<=>?@[\]^_`{|}~, tab and newline is a blank, the words between blanks are the
     * tokens: dnsquery_a is two, __exception__ is exception, a name of punctuation alone is none.
     */
    MS_VOCABULARY_KERAS = 1
};

enum { MS_TOKEN_PADDING = 0, MS_TOKEN_UNKNOWN = 1 };

struct ms_vocabulary;

/* unknown: token 1 stands for every name that is not in the vocabulary; without it such names have
 * no token (Keras without oov_token). MS_E_NOMEM. */
enum ms_status ms_vocabulary_new(enum ms_vocabulary_text text, bool unknown,
                                 struct ms_vocabulary **out, struct ms_error *err) MS_MUST_USE;
void ms_vocabulary_free(struct ms_vocabulary *self);

/* Counts `times` occurrences of a name. Which of two equally frequent tokens comes first is decided
 * by who was counted first. MS_E_LIMIT beyond MS_LIMIT_VOCABULARY tokens, MS_E_NOMEM; MS_E_BUG
 * after finish. */
enum ms_status ms_vocabulary_count(struct ms_vocabulary *self, struct ms_span name, uint64_t times,
                                   struct ms_error *err) MS_MUST_USE;

/* Ends the counting: gives numbers by falling frequency. limit: numbers are below it (Keras's
 * num_words), 0: no limit. */
enum ms_status ms_vocabulary_finish(struct ms_vocabulary *self, uint32_t limit,
                                    struct ms_error *err) MS_MUST_USE;

/* Writes at most `cap` token numbers of a name to ids and returns how many the name has (which may
 * be more than cap; 1 at most for MS_VOCABULARY_NAME, half of its length for Keras). */
size_t ms_vocabulary_tokens(const struct ms_vocabulary *self, struct ms_span name, int32_t *ids,
                            size_t cap);

/* One more than the largest number. */
uint32_t ms_vocabulary_size(const struct ms_vocabulary *self);
/* The text of a token; empty for the reserved ones. Borrowed. */
struct ms_span ms_vocabulary_text_of(const struct ms_vocabulary *self, uint32_t token);
enum ms_vocabulary_text ms_vocabulary_text_get(const struct ms_vocabulary *self);
bool ms_vocabulary_unknown(const struct ms_vocabulary *self);

#endif

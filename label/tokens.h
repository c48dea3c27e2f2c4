/* One engine's label taken apart: what class it names, which words may be a family. Pure. */
#ifndef MS_LABEL_TOKENS_H
#define MS_LABEL_TOKENS_H

#include "label/taxonomy.h"

#include <stddef.h>

enum { MS_TOKENS_MAX = 24, MS_TOKEN_BYTES = 32, MS_LABEL_TEXT_BYTES = 256 };

struct ms_token {
    char text[MS_TOKEN_BYTES];
    uint32_t hash;        /* ms_word_hash of text */
    enum ms_class class_; /* NONE: names no class */
    bool family; /* may be a family: longer than 3, starting with a letter, no class, not generic */
};

/* A label's tokens in their order, items[count] on undefined; class_ is what the label as a whole
 * says: its first class that is not weak, else its first weak one, else NONE. */
struct ms_tokens {
    struct ms_token items[MS_TOKENS_MAX];
    size_t count;
    enum ms_class class_;
};

/* label: as ms_label_normalise left it. hashes: the sample's own digests as lower-case
 * text (NULL where unknown); tokens that are a prefix of one say nothing. The steps, after AVClass
 * 2 (Sebastián and Caballero, ACSAC 2020) where it does not err: ms_label_normalise; "not-a-virus"
 * becomes the word notavirus (it says the contrary of virus); vendors that append a variant lose
 * it; the rest is split at everything that is no letter or digit, lower-cased, and loses trailing
 * digits. */
void ms_tokens_read(struct ms_tokens *self, const char *engine, const char *label,
                    const char *const hashes[3]);

/* The label as compared for copies: unprintable bytes are dropped; " (B)" at the end and "Malware."
 * or "Heuristic." in front go. Labels longer than MS_LABEL_TEXT_BYTES are cut; out holds that many
 * bytes, or one more than the label. Returns the length. */
size_t ms_label_normalise(const char *label, char *out);

#endif

/* Counting, sorting and looking up tokens; see the header for Keras's rules. */
#include "store/trace/vocabulary.h"

#include "base/limits.h"
#include "store/trace/names.h"

#include <stdlib.h>
#include <string.h>

struct ms_vocabulary {
    enum ms_vocabulary_text text;
    bool unknown, finished;
    struct ms_names *words;
    uint64_t *counts;   /* by word */
    uint32_t *token_of; /* by word; 0: none (cut by the limit) */
    uint32_t *word_of;  /* by token less the reserved ones */
    uint32_t capacity, size;
};

enum ms_status ms_vocabulary_new(enum ms_vocabulary_text text, bool unknown,
                                 struct ms_vocabulary **out, struct ms_error *err)
{
    struct ms_vocabulary *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a vocabulary");
    self->text = text;
    self->unknown = unknown;
    enum ms_status status = ms_names_new(MS_LIMIT_VOCABULARY, &self->words, err);
    if (status != MS_OK) {
        ms_vocabulary_free(self);
        return status;
    }
    *out = self;
    return MS_OK;
}

void ms_vocabulary_free(struct ms_vocabulary *self)
{
    if (!self)
        return;
    ms_names_free(self->words);
    free(self->counts);
    free(self->token_of);
    free(self->word_of);
    free(self);
}

static enum ms_status count_word(struct ms_vocabulary *self, struct ms_span word, uint64_t times,
                                 struct ms_error *err)
{
    uint32_t id;
    enum ms_status status = ms_names_intern(self->words, word, &id, err);
    if (status != MS_OK)
        return status;
    if (id >= self->capacity) {
        uint32_t capacity = self->capacity ? self->capacity * 2 : 512;
        uint64_t *counts = realloc(self->counts, (size_t)capacity * sizeof *counts);
        if (!counts)
            return ms_error_set(err, MS_E_NOMEM, "out of memory for a vocabulary");
        memset(counts + self->capacity, 0, (size_t)(capacity - self->capacity) * sizeof *counts);
        self->counts = counts;
        self->capacity = capacity;
    }
    if (!ms_add_u64(self->counts[id], times, &self->counts[id]))
        self->counts[id] = UINT64_MAX;
    return MS_OK;
}

/* Lower-cases and blanks as Keras does, into out; returns its length (that of the name). */
static size_t keras_text(struct ms_span name, uint8_t *out)
{
    static const char filters[] = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n";
    size_t n = name.len < MS_LIMIT_NAME_BYTES ? name.len : MS_LIMIT_NAME_BYTES;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = name.data[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c - 'A' + 'a');
        out[i] = c != 0 && strchr(filters, c) ? ' ' : c;
    }
    return n;
}

/* The next word between blanks; false at the end. */
static bool next_word(struct ms_span *rest, struct ms_span *word)
{
    while (rest->len > 0 && rest->data[0] == ' ')
        *rest = ms_span_of(rest->data + 1, rest->len - 1);
    size_t n = 0;
    while (n < rest->len && rest->data[n] != ' ')
        n++;
    *word = ms_span_of(rest->data, n);
    *rest = ms_span_of(rest->data + n, rest->len - n);
    return n > 0;
}

enum ms_status ms_vocabulary_count(struct ms_vocabulary *self, struct ms_span name, uint64_t times,
                                   struct ms_error *err)
{
    if (self->finished)
        return ms_error_set(err, MS_E_BUG, "a finished vocabulary cannot count");
    if (self->text == MS_VOCABULARY_NAME)
        return count_word(self, name, times, err);
    uint8_t text[MS_LIMIT_NAME_BYTES];
    struct ms_span rest = ms_span_of(text, keras_text(name, text));
    struct ms_span word;
    enum ms_status status = MS_OK;
    while (status == MS_OK && next_word(&rest, &word))
        status = count_word(self, word, times, err);
    return status;
}

struct ranked {
    uint64_t count;
    uint32_t word;
};

static int by_falling_count(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->word < y->word ? -1 : x->word > y->word;
}

enum ms_status ms_vocabulary_finish(struct ms_vocabulary *self, uint32_t limit,
                                    struct ms_error *err)
{
    uint32_t n = ms_names_count(self->words), reserved = self->unknown ? 2 : 1;
    struct ranked *ranked = calloc(n ? n : 1, sizeof *ranked);
    self->token_of = calloc(n ? n : 1, sizeof *self->token_of);
    self->word_of = calloc(n ? n : 1, sizeof *self->word_of);
    if (!ranked || !self->token_of || !self->word_of) {
        free(ranked);
        return ms_error_set(err, MS_E_NOMEM, "out of memory for a vocabulary");
    }
    for (uint32_t i = 0; i < n; i++)
        ranked[i] = (struct ranked){self->counts[i], i};
    qsort(ranked, n, sizeof *ranked, by_falling_count);
    self->size = reserved;
    for (uint32_t i = 0; i < n && (limit == 0 || self->size < limit); i++) {
        self->word_of[i] = ranked[i].word;
        self->token_of[ranked[i].word] = self->size++;
    }
    free(ranked);
    self->finished = true;
    return MS_OK;
}

static size_t put_word(const struct ms_vocabulary *self, struct ms_span word, int32_t *ids,
                       size_t at, size_t cap)
{
    uint32_t id, token = 0;
    if (self->finished && ms_names_find(self->words, word, &id))
        token = self->token_of[id];
    if (token == 0 && self->unknown)
        token = MS_TOKEN_UNKNOWN;
    if (token == 0)
        return at;
    if (at < cap)
        ids[at] = (int32_t)token;
    return at + 1;
}

size_t ms_vocabulary_tokens(const struct ms_vocabulary *self, struct ms_span name, int32_t *ids,
                            size_t cap)
{
    if (self->text == MS_VOCABULARY_NAME)
        return put_word(self, name, ids, 0, cap);
    uint8_t text[MS_LIMIT_NAME_BYTES];
    struct ms_span rest = ms_span_of(text, keras_text(name, text));
    struct ms_span word;
    size_t n = 0;
    while (next_word(&rest, &word))
        n = put_word(self, word, ids, n, cap);
    return n;
}

uint32_t ms_vocabulary_size(const struct ms_vocabulary *self)
{
    return self->size;
}

struct ms_span ms_vocabulary_text_of(const struct ms_vocabulary *self, uint32_t token)
{
    uint32_t reserved = self->unknown ? 2 : 1;
    if (token < reserved || token >= self->size)
        return ms_span_of("", 0);
    return ms_names_get(self->words, self->word_of[token - reserved]);
}

enum ms_vocabulary_text ms_vocabulary_text_get(const struct ms_vocabulary *self)
{
    return self->text;
}

bool ms_vocabulary_unknown(const struct ms_vocabulary *self)
{
    return self->unknown;
}

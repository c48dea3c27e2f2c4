/* The set of n-grams: an open-addressed table of packed triples beside a list of them in order. */
#include "store/trace/grams.h"

#include "base/limits.h"
#include "store/trace/encode.h"

#include <stdlib.h>
#include <string.h>

/* A gram is one number: three fields of 21 bits, the last call lowest, each call as its place in
 * order of first occurrence + 1; 0 where there is none. So a longer gram is a shorter one with more
 * in front, and 0 is none at all. */
enum { FIELD_BITS = 21, FIELD_MOST = (1 << FIELD_BITS) - 1, FIRST_SLOTS = 4096 };

#define FIELD ((uint64_t)FIELD_MOST)
#define TWO_FIELDS (((uint64_t)1 << (2 * FIELD_BITS)) - 1)

struct ms_gram_set {
    uint64_t *grams; /* in order */
    size_t count, capacity;
    uint64_t *slots;      /* 0: free; slot_capacity of them are allocated, the first `size` used */
    size_t size;          /* a power of two, more than twice the count */
    size_t slot_capacity; /* at least `size` */
    uint32_t *place_of;   /* by symbol, + 1; 0: not seen */
    size_t symbol_capacity;
    uint32_t *symbols; /* by place */
    uint32_t symbol_count, place_capacity;
    uint64_t last; /* the gram that ended with the last call: up to three fields */
    struct ms_trace_decoder *decoder; /* of ms_grams_read; kept for the next trace */
    uint64_t seed;
    bool cut;
};

uint32_t ms_gram_length(struct ms_gram gram)
{
    uint32_t n = 0;
    while (n < MS_GRAM_MOST && gram.symbol[n] != MS_GRAM_NONE)
        n++;
    for (uint32_t i = n; i < MS_GRAM_MOST; i++)
        if (gram.symbol[i] != MS_GRAM_NONE)
            return 0;
    return n;
}

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "no memory for the n-grams of a trace");
}

enum ms_status ms_gram_set_new(struct ms_gram_set **out, struct ms_error *err)
{
    struct ms_gram_set *self = calloc(1, sizeof *self);
    uint64_t *slots = calloc(FIRST_SLOTS, sizeof *slots);
    if (!self || !slots) {
        free(self);
        free(slots);
        return no_memory(err);
    }
    self->slots = slots;
    self->size = self->slot_capacity = FIRST_SLOTS;
    self->seed = (uint64_t)(uintptr_t)self * 0x94d049bb133111ebu;
    *out = self;
    return MS_OK;
}

void ms_gram_set_free(struct ms_gram_set *self)
{
    if (!self)
        return;
    free(self->grams);
    free(self->slots);
    free(self->place_of);
    free(self->symbols);
    ms_trace_decoder_close(self->decoder);
    free(self);
}

void ms_gram_set_clear(struct ms_gram_set *self)
{
    for (uint32_t i = 0; i < self->symbol_count; i++)
        self->place_of[self->symbols[i]] = 0;
    /* From the least size on again: a short trace must not pay for the table of a long one. */
    self->size = FIRST_SLOTS;
    memset(self->slots, 0, self->size * sizeof *self->slots);
    self->count = 0;
    self->symbol_count = 0;
    self->last = 0;
    self->cut = false;
}

void ms_gram_set_break(struct ms_gram_set *self)
{
    self->last = 0;
}

/* The slot where the gram is, or the free one where it would go. The seed is not known to who wrote
 * the trace, so that no trace can be one chain of collisions; the order of the set is the list's.
 */
static size_t slot_of(const struct ms_gram_set *self, uint64_t gram)
{
    uint64_t h = gram ^ self->seed;
    h = (h ^ h >> 32) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9u;
    size_t at = (size_t)(h ^ h >> 32) & (self->size - 1);
    while (self->slots[at] != 0 && self->slots[at] != gram)
        at = (at + 1) & (self->size - 1);
    return at;
}

static bool grow_slots(struct ms_gram_set *self)
{
    size_t size = self->size * 2;
    if (size > self->slot_capacity) {
        uint64_t *slots = realloc(self->slots, size * sizeof *slots);
        if (!slots)
            return false;
        self->slots = slots;
        self->slot_capacity = size;
    }
    self->size = size;
    memset(self->slots, 0, size * sizeof *self->slots);
    for (size_t i = 0; i < self->count; i++)
        self->slots[slot_of(self, self->grams[i])] = self->grams[i];
    return true;
}

static bool insert(struct ms_gram_set *self, uint64_t gram)
{
    if (self->slots[slot_of(self, gram)] == gram)
        return true;
    if (self->count >= MS_LIMIT_TRACE_GRAMS) {
        self->cut = true;
        return true;
    }
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : FIRST_SLOTS / 2;
        uint64_t *grams = realloc(self->grams, capacity * sizeof *grams);
        if (!grams)
            return false;
        self->grams = grams;
        self->capacity = capacity;
    }
    if (self->count * 2 >= self->size && !grow_slots(self))
        return false;
    self->slots[slot_of(self, gram)] = gram;
    self->grams[self->count++] = gram;
    return true;
}

static bool room_for_symbol(struct ms_gram_set *self, uint32_t symbol)
{
    if (symbol < self->symbol_capacity)
        return true;
    size_t capacity = self->symbol_capacity ? self->symbol_capacity : 1024;
    while (capacity <= symbol)
        capacity *= 2;
    uint32_t *place_of = realloc(self->place_of, capacity * sizeof *place_of);
    if (!place_of)
        return false;
    memset(place_of + self->symbol_capacity, 0,
           (capacity - self->symbol_capacity) * sizeof *place_of);
    self->place_of = place_of;
    self->symbol_capacity = capacity;
    return true;
}

/* Gives a symbol its place. */
static bool new_symbol(struct ms_gram_set *self, uint32_t symbol)
{
    if (!room_for_symbol(self, symbol))
        return false;
    if (self->symbol_count == self->place_capacity) {
        uint32_t capacity = self->place_capacity ? self->place_capacity * 2 : 256;
        uint32_t *symbols = realloc(self->symbols, (size_t)capacity * sizeof *symbols);
        if (!symbols)
            return false;
        self->symbols = symbols;
        self->place_capacity = capacity;
    }
    self->symbols[self->symbol_count] = symbol;
    self->place_of[symbol] = ++self->symbol_count;
    return true;
}

enum ms_status ms_gram_set_add(struct ms_gram_set *self, uint32_t symbol, struct ms_error *err)
{
    if (symbol >= self->symbol_capacity || self->place_of[symbol] == 0) {
        /* A symbol without a place is in no gram kept, and from here on nothing is new but it. */
        if (self->cut)
            return MS_OK;
        if (self->symbol_count >= FIELD_MOST || self->count >= MS_LIMIT_TRACE_GRAMS) {
            self->cut = true;
            return MS_OK;
        }
        if (!new_symbol(self, symbol))
            return no_memory(err);
    }
    uint64_t field = self->place_of[symbol];
    if (self->cut || (self->last & FIELD) == field)
        return MS_OK;
    uint64_t gram = (self->last & TWO_FIELDS) << FIELD_BITS | field;
    self->last = gram;
    /* Who is there has brought what it ends with. */
    if (self->slots[slot_of(self, gram)] == gram)
        return MS_OK;
    bool good = insert(self, field);
    if (good && gram > FIELD)
        good = insert(self, gram & TWO_FIELDS);
    if (good && gram > TWO_FIELDS)
        good = insert(self, gram);
    return good ? MS_OK : no_memory(err);
}

size_t ms_gram_set_count(const struct ms_gram_set *self)
{
    return self->count;
}

bool ms_gram_set_cut(const struct ms_gram_set *self)
{
    return self->cut;
}

struct ms_gram ms_gram_set_get(const struct ms_gram_set *self, size_t at)
{
    uint64_t packed = self->grams[at];
    struct ms_gram gram = {{MS_GRAM_NONE, MS_GRAM_NONE, MS_GRAM_NONE}};
    unsigned n = packed > TWO_FIELDS ? 3 : packed > FIELD ? 2 : 1;
    for (unsigned i = n; i-- > 0; packed >>= FIELD_BITS)
        gram.symbol[i] = self->symbols[(packed & FIELD) - 1];
    return gram;
}

static enum ms_status add_block(struct ms_gram_set *out, const struct ms_trace_columns *block,
                                const struct ms_normal_apis *apis, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    uint32_t before = MS_GRAM_NONE;
    for (size_t i = 0; i < block->n && status == MS_OK; i++) {
        uint32_t api = block->api[i];
        if (api == before)
            continue;
        before = api;
        if (api >= apis->count)
            return ms_error_set(err, MS_REJECT, "a trace names an unknown API");
        if (!apis->pseudo || !apis->pseudo[api])
            status = ms_gram_set_add(out, apis->fold ? apis->fold[api] : api, err);
    }
    return status;
}

enum ms_status ms_grams_read(struct ms_normal_process *processes, size_t count,
                             const struct ms_normal_apis *apis, struct ms_gram_set *out,
                             struct ms_error *err)
{
    ms_gram_set_clear(out);
    size_t tracked = ms_normal_sort(processes, count);
    enum ms_status status = out->decoder ? MS_OK : ms_trace_decoder_new(&out->decoder, err);
    for (size_t i = 0; i < tracked && status == MS_OK; i++) {
        struct ms_trace_columns block = {.n = 1};
        ms_gram_set_break(out);
        status = ms_trace_decoder_load(out->decoder, processes[i].trace, err);
        while (status == MS_OK && block.n) {
            status = ms_trace_decoder_block(out->decoder, MS_COLUMN_API, &block, err);
            if (status == MS_OK)
                status = add_block(out, &block, apis, err);
        }
    }
    return status;
}

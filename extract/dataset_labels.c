/* Lists of labels in memory: checked, sorted, looked up. */
#include "extract/dataset_labels.h"

#include "base/hash.h"
#include "base/limits.h"
#include "extract/report/when.h"

#include <stdlib.h>
#include <string.h>

enum { HASH_DIGITS = 2 * MS_SHA256_BYTES, ID_MAX = 64 };

/* The families of BIG 2015 in the order of its numbers. */
static const char *const big_families[] = {"Ramnit",       "Lollipop",       "Kelihos_ver3",
                                           "Vundo",        "Simda",          "Tracur",
                                           "Kelihos_ver1", "Obfuscator.ACY", "Gatak"};

void ms_dataset_labels_init(struct ms_dataset_labels *self)
{
    *self = (struct ms_dataset_labels){.count = 0};
    ms_arena_init(&self->arena, MS_LIMIT_LIST_BYTES);
}

void ms_dataset_labels_release(struct ms_dataset_labels *self)
{
    ms_arena_release(&self->arena);
    free(self->items);
    *self = (struct ms_dataset_labels){.count = 0};
}

static bool is_letter_or_digit(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

/* A name that is fit to be a class or a family. */
static bool is_word(struct ms_span text)
{
    bool good = text.len > 0 && text.len <= ID_MAX;
    for (size_t i = 0; good && i < text.len; i++)
        good = is_letter_or_digit(text.data[i]) || memchr("._-", text.data[i], 3) != NULL;
    return good;
}

/* The key as it is compared; false when it is none. */
static bool read_key(bool big, struct ms_span text, uint8_t out[ID_MAX])
{
    bool good = big ? text.len > 0 && text.len <= ID_MAX : text.len == HASH_DIGITS;
    for (size_t i = 0; good && i < text.len; i++) {
        uint8_t byte = text.data[i];
        bool digit = (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f');
        out[i] = big || byte <= '9' ? byte : byte | 0x20;
        good = big ? is_letter_or_digit(byte) : digit;
    }
    return good;
}

/* No 30th of February, which is read as a day of March elsewhere. */
static bool is_day(struct ms_span text)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned digits[10] = {0};
    for (size_t i = 0; i < 10; i++)
        digits[i] = (unsigned)text.data[i] - '0';
    unsigned year = digits[0] * 1000 + digits[1] * 100 + digits[2] * 10 + digits[3];
    unsigned month = digits[5] * 10 + digits[6], day = digits[8] * 10 + digits[9];
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month >= 1 && month <= 12 && day >= 1 &&
           day <= days[month - 1] + (month == 2 && leap ? 1U : 0U);
}

/* `2019-08-01`, with a time of day or without. */
static bool read_date(struct ms_span text, int64_t *out)
{
    char room[40];
    static const char midnight[] = " 00:00:00";
    if (text.len < 10 || text.len > 26 || text.data[4] != '-' || text.data[7] != '-' ||
        !is_day(text))
        return false;
    memcpy(room, text.data, text.len);
    size_t n = text.len;
    if (n == 10) {
        memcpy(room + n, midnight, sizeof midnight - 1);
        n += sizeof midnight - 1;
    }
    int64_t us = ms_when_parse(ms_span_of(room, n));
    *out = us / 1000;
    return us != MS_TIME_NONE && us > 0;
}

static enum ms_status read_label(struct ms_dataset_labels *self, bool big,
                                 const struct ms_dataset_row *row, struct ms_dataset_label *out,
                                 struct ms_error *err)
{
    if (big) {
        if (row->label.len != 1 || *row->label.data < '1' || *row->label.data > '9')
            return ms_error_set(err, MS_REJECT, "its class is no number from 1 to 9");
        out->class_ = out->family = big_families[*row->label.data - '1'];
        return MS_OK;
    }
    if (!is_word(row->label) || !is_word(row->second))
        return ms_error_set(err, MS_REJECT, "its family or type is no word");
    if (!read_date(row->date, &out->date_ms))
        return ms_error_set(err, MS_REJECT, "its date is none");
    out->family = ms_arena_copy(&self->arena, row->label.data, row->label.len);
    out->class_ = ms_arena_copy(&self->arena, row->second.data, row->second.len);
    return out->family && out->class_ ? MS_OK
                                      : ms_error_set(err, MS_E_NOMEM, "no memory for labels");
}

enum ms_status ms_dataset_labels_add(struct ms_dataset_labels *self, bool big,
                                     const struct ms_dataset_row *row, struct ms_error *err)
{
    uint8_t key[ID_MAX];
    struct ms_dataset_label label = {.line = row->line};
    if (!read_key(big, row->key, key))
        return ms_error_set(err, MS_REJECT, big ? "its id is none" : "its hash is no SHA-256");
    enum ms_status status = read_label(self, big, row, &label, err);
    if (status != MS_OK)
        return status;
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 1024;
        struct ms_dataset_label *items = realloc(self->items, cap * sizeof *items);
        if (!items)
            return ms_error_set(err, MS_E_NOMEM, "no memory for labels");
        self->items = items;
        self->cap = cap;
    }
    const char *copy = ms_arena_copy(&self->arena, key, row->key.len);
    if (!copy)
        return ms_error_set(err, MS_E_NOMEM, "no memory for labels");
    label.key = ms_span_of(copy, row->key.len);
    self->items[self->count++] = label;
    return MS_OK;
}

static int compare_keys(struct ms_span a, struct ms_span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare(const void *left, const void *right)
{
    const struct ms_dataset_label *a = left, *b = right;
    int order = compare_keys(a->key, b->key);
    return order ? order : (a->line > b->line) - (a->line < b->line);
}

static bool says_the_same(const struct ms_dataset_label *a, const struct ms_dataset_label *b)
{
    return strcmp(a->family, b->family) == 0 && strcmp(a->class_, b->class_) == 0 &&
           a->date_ms == b->date_ms;
}

void ms_dataset_labels_finish(struct ms_dataset_labels *self, ms_dataset_contradiction tell,
                              void *ctx)
{
    size_t kept = 0;
    if (self->count)
        qsort(self->items, self->count, sizeof *self->items, compare);
    for (size_t i = 0; i < self->count; i++) {
        const struct ms_dataset_label *first = kept ? &self->items[kept - 1] : NULL;
        if (!first || compare_keys(first->key, self->items[i].key) != 0)
            self->items[kept++] = self->items[i];
        else if (!says_the_same(first, &self->items[i]))
            tell(ctx, first, self->items[i].line);
    }
    self->count = kept;
}

struct ms_dataset_label *ms_dataset_labels_find(struct ms_dataset_labels *self, bool big,
                                                struct ms_span key)
{
    uint8_t bytes[ID_MAX];
    if (!read_key(big, key, bytes))
        return NULL;
    const struct ms_span wanted = ms_span_of(bytes, key.len);
    size_t from = 0, to = self->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = compare_keys(self->items[middle].key, wanted);
        if (order == 0)
            return &self->items[middle];
        if (order < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

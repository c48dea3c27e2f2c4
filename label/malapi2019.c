/* The plurality of words, bucket by bucket. */
#include "label/malapi2019.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { IGNORED = MS_MALAPI_CLASSES, ITSELF, BUCKETS = 6 };

static const struct {
    const char *name;
    const char *words[5];
} classes[MS_MALAPI_CLASSES] = {
    {"Worms", {"worm", "[wrm]"}},   {"Adware", {"adware"}},
    {"Virus", {"virus", "expiro"}}, {"Riskware", {"riskware"}},
    {"Spyware", {"spy"}},           {"Keylogger", {"keylogger"}},
    {"Ransomware", {"ransom"}},     {"Spam", {"spam"}},
    {"Backdoor", {"backdoor"}},     {"Dropper", {"dropper"}},
    {"Downloader", {"downloader"}}, {"Crypt", {"crypt"}},
    {"Agent", {"agent"}},           {"Trojan", {"trjoan", "trj/", "trojan", "troj", "[trj]"}},
    {"Rootkit", {"rootkit"}},
};
static const char *const ignored[] = {"unsafe", "unclassified", "unknown"};

/* A label that votes for itself, or a class. */
struct candidate {
    const char *text;
    size_t len;
    unsigned first; /* number of the vote that brought it in */
    unsigned votes, bucket;
    unsigned class_; /* ITSELF for a label */
};

struct count {
    struct candidate *items; /* one a vote for labels; classes are counted apart */
    size_t item_count, cap;
    struct candidate classes[MS_MALAPI_CLASSES];
    unsigned votes; /* so far */
    struct ms_buf folded;
};

const char *ms_malapi_class_name(unsigned i)
{
    return classes[i].name;
}

static unsigned class_of(const char *folded)
{
    for (unsigned i = 0; i < MS_MALAPI_CLASSES; i++)
        for (unsigned w = 0; w < 5 && classes[i].words[w]; w++)
            if (strstr(folded, classes[i].words[w]))
                return i;
    for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++)
        if (strstr(folded, ignored[i]))
            return IGNORED;
    return ITSELF;
}

/* Bytes that are no UTF-8 count with their value. */
static unsigned bucket_of(const char *text, size_t len)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < len;) {
        uint32_t code = (uint8_t)text[i];
        size_t n = ms_utf8_decode((const uint8_t *)text + i, len - i, &code);
        sum += n ? code : (uint8_t)text[i];
        i += n ? n : 1;
    }
    return (unsigned)(sum % BUCKETS);
}

static enum ms_status vote_for_label(struct count *self, const char *text, size_t len,
                                     struct ms_error *err)
{
    if (self->item_count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 64;
        struct candidate *longer = realloc(self->items, cap * sizeof *longer);
        if (!longer)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->items = longer;
        self->cap = cap;
    }
    self->items[self->item_count++] = (struct candidate){.text = text,
                                                         .len = len,
                                                         .first = self->votes++,
                                                         .votes = 1,
                                                         .bucket = bucket_of(text, len),
                                                         .class_ = ITSELF};
    return MS_OK;
}

/* One part between two commas. */
static enum ms_status take_part(struct count *self, const char *part, size_t len,
                                struct ms_error *err)
{
    const char *mark = memchr(part, '_', len);
    if (!mark)
        return MS_OK;
    len -= (size_t)(mark + 1 - part);
    part = mark + 1;
    ms_buf_clear(&self->folded);
    for (size_t i = 0; i < len; i++)
        if (part[i] != ' ')
            (void)ms_buf_append_byte(&self->folded, part[i] >= 'A' && part[i] <= 'Z'
                                                        ? (uint8_t)(part[i] + 32)
                                                        : (uint8_t)part[i]);
    if (self->folded.failed)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    unsigned class_ = class_of(ms_buf_text(&self->folded));
    if (class_ == IGNORED)
        return MS_OK;
    if (class_ == ITSELF)
        return vote_for_label(self, part, len, err);
    struct candidate *candidate = &self->classes[class_];
    if (candidate->votes++ == 0)
        candidate->first = self->votes;
    self->votes++;
    return MS_OK;
}

static int compare_labels(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int by_text = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    if (by_text || x->len != y->len)
        return by_text ? by_text : x->len < y->len ? -1 : 1;
    return x->first < y->first ? -1 : 1;
}

/* Equal labels become one, at the place of the first. */
static void unite(struct count *self)
{
    size_t kept = 0;
    if (self->item_count)
        qsort(self->items, self->item_count, sizeof *self->items, compare_labels);
    for (size_t i = 0; i < self->item_count; i++) {
        struct candidate *last = kept ? &self->items[kept - 1] : NULL;
        const struct candidate *item = &self->items[i];
        if (last && last->len == item->len && memcmp(last->text, item->text, item->len) == 0)
            last->votes++;
        else
            self->items[kept++] = *item;
    }
    self->item_count = kept;
}

static bool before(const struct candidate *a, const struct candidate *b)
{
    if (a->votes != b->votes)
        return a->votes > b->votes;
    return a->bucket != b->bucket ? a->bucket < b->bucket : a->first < b->first;
}

static void choose(const struct count *self, struct ms_malapi *out)
{
    const struct candidate *best = NULL;
    unsigned second = 0;
    for (size_t i = 0; i < MS_MALAPI_CLASSES + self->item_count; i++) {
        const struct candidate *item =
            i < MS_MALAPI_CLASSES ? &self->classes[i] : &self->items[i - MS_MALAPI_CLASSES];
        if (item->votes == 0)
            continue;
        const struct candidate *loser = best && !before(item, best) ? item : best;
        if (loser && loser->votes > second)
            second = loser->votes;
        if (loser != item)
            best = item;
    }
    if (!best)
        return;
    out->class_ = best->class_ == ITSELF ? "Undefined" : classes[best->class_].name;
    out->votes = best->votes;
    out->margin = best->votes - second;
}

enum ms_status ms_malapi_count(const struct ms_vt_report *report, struct ms_malapi *out,
                               struct ms_error *err)
{
    struct count count = {.items = NULL};
    struct ms_buf text;
    enum ms_status status = MS_OK;
    *out = (struct ms_malapi){.class_ = NULL};
    ms_buf_init(&text, MS_LIMIT_ENGINES *
                           (MS_LIMIT_ENGINE_NAME_BYTES + (size_t)MS_LIMIT_ENGINE_TEXT_BYTES + 2));
    ms_buf_init(&count.folded, MS_LIMIT_ENGINE_NAME_BYTES + MS_LIMIT_ENGINE_TEXT_BYTES + 64);
    for (unsigned i = 0; i < MS_MALAPI_CLASSES; i++) {
        count.classes[i].class_ = i;
        count.classes[i].bucket = bucket_of(classes[i].name, strlen(classes[i].name));
    }
    for (size_t i = 0; i < report->engine_count; i++) {
        const struct ms_vt_engine *engine = &report->engines[i];
        if (engine->result &&
            (engine->category == MS_VT_MALICIOUS || engine->category == MS_VT_SUSPICIOUS))
            (void)ms_buf_printf(&text, "%s_%s,", engine->name, engine->result);
    }
    if (text.failed)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    const char *end = ms_buf_text(&text) + text.len;
    for (const char *p = ms_buf_text(&text); status == MS_OK && p < end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        size_t len = comma ? (size_t)(comma - p) : (size_t)(end - p);
        status = take_part(&count, p, len, err);
        p += len + 1;
    }
    if (status == MS_OK) {
        unite(&count);
        choose(&count, out);
        for (unsigned i = 0; i < MS_MALAPI_CLASSES; i++)
            out->classes[i] = count.classes[i].votes;
    }
    free(count.items);
    ms_buf_release(&count.folded);
    ms_buf_release(&text);
    return status;
}

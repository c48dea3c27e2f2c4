/* Counting the votes. */
#include "label/vote.h"

#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NONE = 0xffff };

/* A word that may be a family, and how many groups use it. */
struct word {
    const char *text;
    uint32_t hash;
    uint16_t groups, last_group;
};

/* What counting needs besides the ballots; one block of memory a report. */
struct scratch {
    char *text;         /* normalised labels, one behind the other */
    uint32_t *hashes;   /* of each row's label, then of each row's engine */
    uint16_t *slots;    /* hash table of rows: row + 1 */
    uint16_t *rooted;   /* group of the table -> group_number, or NONE */
    uint16_t *first;    /* group_number -> its first row that votes, or NONE */
    uint16_t *next;     /* row -> the group's next row that votes, or NONE */
    uint16_t *last;     /* group_number -> its last row that votes */
    uint8_t *seen;      /* group_number -> 1 responding, 2 detecting */
    const char **texts; /* row -> its normalised label */
    size_t slot_count;  /* a power of two above twice the rows */
    size_t group_count;
    void *block;
};

static bool detects(enum ms_vt_category category)
{
    return category == MS_VT_MALICIOUS || category == MS_VT_SUSPICIOUS;
}

static bool responds(enum ms_vt_category category)
{
    return detects(category) || category == MS_VT_UNDETECTED || category == MS_VT_HARMLESS;
}

static enum ms_status make_scratch(struct scratch *self, const struct ms_vt_report *report,
                                   size_t table, struct ms_error *err)
{
    size_t n = report->engine_count + 1, bytes = 0, texts = 0;
    *self = (struct scratch){.slot_count = 16};
    while (self->slot_count < 2 * n)
        self->slot_count *= 2;
    for (size_t i = 0; i < report->engine_count; i++)
        texts += report->engines[i].result && detects(report->engines[i].category)
                     ? strnlen(report->engines[i].result, MS_LABEL_TEXT_BYTES) + 1
                     : 0;
    bytes = n * (sizeof *self->texts + 2 * sizeof *self->hashes + 3 * sizeof(uint16_t) + 1) +
            (self->slot_count + table) * sizeof(uint16_t) + texts + 64;
    char *at = self->block = malloc(bytes);
    if (!at)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    /* Widest first, so that everything is aligned. */
    self->texts = (const char **)(void *)at, at += n * sizeof *self->texts;
    self->hashes = (uint32_t *)(void *)at, at += 2 * n * sizeof *self->hashes;
    self->first = (uint16_t *)(void *)at, at += n * sizeof(uint16_t);
    self->next = (uint16_t *)(void *)at, at += n * sizeof(uint16_t);
    self->last = (uint16_t *)(void *)at, at += n * sizeof(uint16_t);
    self->rooted = (uint16_t *)(void *)at, at += table * sizeof(uint16_t);
    self->slots = (uint16_t *)(void *)at, at += self->slot_count * sizeof(uint16_t);
    self->seen = (uint8_t *)at, at += n;
    self->text = at;
    memset(self->first, 0xff, n * sizeof(uint16_t));
    memset(self->rooted, 0xff, table * sizeof(uint16_t));
    memset(self->slots, 0, self->slot_count * sizeof(uint16_t));
    memset(self->seen, 0, n);
    return MS_OK;
}

/* ---- groups ---- */

static int compare_keys(const void *key, const void *member)
{
    return strcmp(key, member);
}

static bool counts(const struct ms_electorate *who, const char *key)
{
    return !who->engines ||
           bsearch(key, who->engines, who->engine_count, sizeof *who->engines, compare_keys);
}

/* The number of a group that the table does not know: that of an earlier row whose engine has the
 * same key, else a new one. */
static unsigned own_group(struct scratch *scratch, const struct ms_vt_report *report, size_t row,
                          const char *key, uint32_t hash, const struct ms_ballot *ballots)
{
    uint32_t *hashes = scratch->hashes + report->engine_count + 1;
    size_t mask = scratch->slot_count - 1, slot = (hash ^ hash >> 15) & mask;
    char other[MS_ENGINE_KEY_BYTES];
    hashes[row] = hash;
    for (; scratch->slots[slot]; slot = (slot + 1) & mask) {
        size_t at = scratch->slots[slot] - 1u;
        if (hashes[at] != hash)
            continue;
        (void)ms_engine_key(report->engines[at].name, other);
        if (strcmp(other, key) == 0)
            return ballots[at].group_number;
    }
    scratch->slots[slot] = (uint16_t)(row + 1);
    return (unsigned)scratch->group_count++;
}

static void find_groups(struct ms_tally *self, const struct ms_vt_report *report,
                        const struct ms_electorate *who, struct scratch *scratch)
{
    unsigned at = ms_groups_at(who->groups, report->last_analysis_ms);
    for (size_t i = 0; i < report->engine_count; i++) {
        struct ms_ballot *ballot = &self->ballots[i];
        char key[MS_ENGINE_KEY_BYTES];
        uint32_t hash = ms_engine_key(report->engines[i].name, key);
        ballot->group = report->engines[i].name;
        ballot->counts = counts(who, key);
        int root = ms_groups_find(who->groups, at, key, hash, &ballot->group);
        if (root < 0) {
            ballot->group_number = own_group(scratch, report, i, key, hash, self->ballots);
            continue;
        }
        if (scratch->rooted[root] == NONE)
            scratch->rooted[root] = (uint16_t)scratch->group_count++;
        ballot->group_number = scratch->rooted[root];
    }
}

/* ---- labels ---- */

/* The earlier row with the same label, or -1. */
static int find_copy(struct scratch *scratch, size_t row, const char *text, uint32_t hash)
{
    size_t mask = scratch->slot_count - 1, slot = (hash ^ hash >> 15) & mask;
    for (; scratch->slots[slot]; slot = (slot + 1) & mask) {
        size_t at = scratch->slots[slot] - 1u;
        if (scratch->hashes[at] == hash && strcmp(scratch->texts[at], text) == 0)
            return (int)at;
    }
    scratch->slots[slot] = (uint16_t)(row + 1);
    scratch->hashes[row] = hash;
    scratch->texts[row] = text;
    return -1;
}

/* A row that detects and has a label: its tokens, and its place in the list of its group. */
static void read_label(struct ms_tally *self, const struct ms_vt_engine *engine, size_t row,
                       const char *const hashes[3], struct scratch *scratch, char **text)
{
    struct ms_ballot *ballot = &self->ballots[row];
    size_t n = ms_label_normalise(engine->result, *text);
    unsigned group = ballot->group_number;
    ballot->copy_of = find_copy(scratch, row, *text, ms_word_hash(*text, n));
    ms_tokens_read(&ballot->tokens, engine->name, *text, hashes);
    *text += n + 1;
    if (ballot->copy_of >= 0)
        return;
    scratch->next[row] = NONE;
    if (scratch->first[group] == NONE)
        scratch->first[group] = (uint16_t)row;
    else
        scratch->next[scratch->last[group]] = (uint16_t)row;
    scratch->last[group] = (uint16_t)row;
}

static void read_ballots(struct ms_tally *self, const struct ms_vt_report *report,
                         struct scratch *scratch)
{
    const char *hashes[3] = {report->md5[0] ? report->md5 : NULL,
                             report->sha1[0] ? report->sha1 : NULL,
                             report->sha256[0] ? report->sha256 : NULL};
    char *text = scratch->text;
    memset(scratch->slots, 0, scratch->slot_count * sizeof *scratch->slots);
    for (size_t i = 0; i < report->engine_count; i++) {
        const struct ms_vt_engine *engine = &report->engines[i];
        struct ms_ballot *ballot = &self->ballots[i];
        uint8_t *seen = &scratch->seen[ballot->group_number];
        ballot->tokens.count = 0;
        ballot->tokens.class_ = MS_CLASS_NONE;
        ballot->copy_of = -1;
        ballot->speaks_for_group = false;
        ballot->detects = ballot->counts && detects(engine->category);
        if (ballot->counts && responds(engine->category)) {
            self->responding++;
            self->responding_groups += !(*seen & 1);
            *seen |= 1;
        }
        if (!ballot->detects)
            continue;
        self->positives++;
        self->groups += !(*seen & 2);
        *seen |= 2;
        if (engine->result)
            read_label(self, engine, i, hashes, scratch, &text);
    }
}

/* ---- class ---- */

/* Rank of a class: specific 2, weak 1, none 0. */
static int rank(enum ms_class class_)
{
    return class_ == MS_CLASS_NONE ? 0 : ms_class_is_weak(class_) ? 1 : 2;
}

/* The vote of one group: counts the classes of its rows. */
static void count_group(struct ms_tally *self, size_t first, const struct scratch *scratch,
                        unsigned engines[MS_CLASS_COUNT])
{
    unsigned named[MS_CLASS_COUNT + 1] = {0};
    size_t speaker = first;
    for (size_t i = first; i != NONE; i = scratch->next[i])
        named[self->ballots[i].tokens.class_]++;
    for (size_t i = scratch->next[first]; i != NONE; i = scratch->next[i]) {
        enum ms_class mine = self->ballots[i].tokens.class_;
        enum ms_class best = self->ballots[speaker].tokens.class_;
        if (rank(mine) > rank(best) || (rank(mine) == rank(best) && named[mine] > named[best]))
            speaker = i;
    }
    for (int i = 0; i < MS_CLASS_COUNT; i++)
        engines[i] += named[i];
    if (self->ballots[speaker].tokens.class_ == MS_CLASS_NONE)
        return;
    self->ballots[speaker].speaks_for_group = true;
    self->votes[self->ballots[speaker].tokens.class_]++;
}

static void choose_class(struct ms_tally *self, const unsigned engines[MS_CLASS_COUNT])
{
    for (int weak = 0; weak <= 1 && self->class_ == MS_CLASS_NONE; weak++) {
        unsigned second = 0;
        for (int i = 0; i < MS_CLASS_COUNT; i++) {
            enum ms_class class_ = (enum ms_class)i, best = self->class_;
            if (ms_class_is_weak(class_) != (weak == 1))
                continue;
            bool better = best == MS_CLASS_NONE ? self->votes[i] >= 2
                                                : self->votes[i] > self->votes[best] ||
                                                      (self->votes[i] == self->votes[best] &&
                                                       engines[i] > engines[best]);
            unsigned loser =
                better ? (best == MS_CLASS_NONE ? 0 : self->votes[best]) : self->votes[i];
            if (better)
                self->class_ = class_;
            if (loser > second)
                second = loser;
        }
        if (self->class_ != MS_CLASS_NONE)
            self->margin = self->votes[self->class_] - second;
    }
}

/* ---- family ---- */

static void count_word(struct word *words, size_t mask, const struct ms_token *token,
                       uint16_t group)
{
    size_t slot = (token->hash ^ token->hash >> 15) & mask;
    while (words[slot].text &&
           (words[slot].hash != token->hash || strcmp(words[slot].text, token->text) != 0))
        slot = (slot + 1) & mask;
    struct word *word = &words[slot];
    if (!word->text)
        *word = (struct word){token->text, token->hash, 0, NONE};
    word->groups = (uint16_t)(word->groups + (word->last_group != group));
    word->last_group = group;
}

static enum ms_status choose_family(struct ms_tally *self, const struct scratch *scratch,
                                    struct ms_error *err)
{
    size_t tokens = 0, slots = 16;
    const char *best = "";
    for (size_t i = 0; i < self->ballot_count; i++)
        tokens += self->ballots[i].tokens.count;
    while (slots < 2 * tokens)
        slots *= 2;
    struct word *words = calloc(slots, sizeof *words);
    if (!words)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (size_t group = 0; group < scratch->group_count; group++)
        for (size_t row = scratch->first[group]; row != NONE; row = scratch->next[row])
            for (size_t t = 0; t < self->ballots[row].tokens.count; t++)
                if (self->ballots[row].tokens.items[t].family)
                    count_word(words, slots - 1, &self->ballots[row].tokens.items[t],
                               (uint16_t)group);
    for (size_t i = 0; i < slots; i++) {
        if (!words[i].text || words[i].groups < 2 || words[i].groups < self->family_votes ||
            (words[i].groups == self->family_votes && strcmp(words[i].text, best) <= 0))
            continue;
        self->family_votes = words[i].groups;
        best = words[i].text;
    }
    (void)snprintf(self->family, sizeof self->family, "%s", best);
    free(words);
    return MS_OK;
}

enum ms_status ms_tally_count(struct ms_tally *self, const struct ms_vt_report *report,
                              const struct ms_electorate *who, struct ms_error *err)
{
    const struct ms_electorate everybody = {.groups = ms_groups_builtin()};
    unsigned engines[MS_CLASS_COUNT] = {0};
    struct scratch scratch;
    *self = (struct ms_tally){.class_ = MS_CLASS_NONE, .family_verified = -1};
    if (report->engine_count > MS_LIMIT_ENGINES)
        return ms_error_set(err, MS_E_BUG, "a report of more than %d engines", MS_LIMIT_ENGINES);
    who = who ? who : &everybody;
    self->ballots = malloc((report->engine_count + 1) * sizeof *self->ballots);
    if (!self->ballots)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->ballot_count = report->engine_count;
    enum ms_status status = make_scratch(&scratch, report, ms_groups_size(who->groups), err);
    if (status == MS_OK) {
        find_groups(self, report, who, &scratch);
        read_ballots(self, report, &scratch);
        for (size_t group = 0; group < scratch.group_count; group++)
            if (scratch.first[group] != NONE)
                count_group(self, scratch.first[group], &scratch, engines);
        choose_class(self, engines);
        status = choose_family(self, &scratch, err);
        free(scratch.block);
    }
    if (status != MS_OK)
        ms_tally_release(self);
    return status;
}

void ms_tally_release(struct ms_tally *self)
{
    free(self->ballots);
    self->ballots = NULL;
}

void ms_tally_votes_json(const struct ms_tally *self, char out[256])
{
    size_t used = 0;
    out[used++] = '{';
    for (int i = 0; i < MS_CLASS_COUNT; i++) {
        if (self->votes[i] == 0 || used + 32 >= 256)
            continue;
        int n = snprintf(out + used, 256 - used, "%s\"%s\":%u", used > 1 ? "," : "",
                         ms_class_name((enum ms_class)i), self->votes[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    out[used++] = '}';
    out[used] = '\0';
}

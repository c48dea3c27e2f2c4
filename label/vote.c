/* Counting the votes. */
#include "label/vote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A word that may be a family, and the groups that use it. */
struct word {
    const char *text, *group;
};

static bool detects(enum ms_vt_category category)
{
    return category == MS_VT_MALICIOUS || category == MS_VT_SUSPICIOUS;
}

static bool responds(enum ms_vt_category category)
{
    return detects(category) || category == MS_VT_UNDETECTED || category == MS_VT_HARMLESS;
}

static bool is_copy(const struct ms_vt_report *report, size_t row)
{
    char mine[MS_LABEL_TEXT_BYTES], other[MS_LABEL_TEXT_BYTES];
    ms_label_normalise(report->engines[row].result, mine);
    for (size_t i = 0; i < row; i++) {
        const struct ms_vt_engine *engine = &report->engines[i];
        if (!engine->result || !detects(engine->category))
            continue;
        ms_label_normalise(engine->result, other);
        if (strcmp(mine, other) == 0)
            return true;
    }
    return false;
}

/* True when no earlier row of the same group counts (all rows: responding ones only, or detecting).
 */
static bool first_of_group(const struct ms_tally *self, const struct ms_vt_report *report,
                           size_t row, bool detecting)
{
    for (size_t i = 0; i < row; i++) {
        enum ms_vt_category category = report->engines[i].category;
        if ((detecting ? detects(category) : responds(category)) &&
            strcmp(self->ballots[i].group, self->ballots[row].group) == 0)
            return false;
    }
    return true;
}

static void read_ballots(struct ms_tally *self, const struct ms_vt_report *report)
{
    const char *hashes[3] = {report->md5[0] ? report->md5 : NULL,
                             report->sha1[0] ? report->sha1 : NULL,
                             report->sha256[0] ? report->sha256 : NULL};
    for (size_t i = 0; i < report->engine_count; i++) {
        const struct ms_vt_engine *engine = &report->engines[i];
        struct ms_ballot *ballot = &self->ballots[i];
        ballot->group = ms_engine_group(engine->name);
        ballot->tokens.class_ = MS_CLASS_NONE;
        ballot->detects = detects(engine->category);
        if (responds(engine->category)) {
            self->responding++;
            self->responding_groups += first_of_group(self, report, i, false);
        }
        if (!ballot->detects)
            continue;
        self->positives++;
        self->groups += first_of_group(self, report, i, true);
        if (!engine->result)
            continue;
        ballot->copy = is_copy(report, i);
        ms_tokens_read(&ballot->tokens, engine->name, engine->result, hashes);
    }
}

/* Rank of a class: specific 2, weak 1, none 0. */
static int rank(enum ms_class class_)
{
    return class_ == MS_CLASS_NONE ? 0 : ms_class_is_weak(class_) ? 1 : 2;
}

static bool votes_for_class(const struct ms_ballot *ballot)
{
    return ballot->detects && !ballot->copy && ballot->tokens.class_ != MS_CLASS_NONE;
}

/* The vote of the group that row `first` opens: counts the classes of its rows. */
static size_t group_speaker(const struct ms_tally *self, size_t first)
{
    unsigned named[MS_CLASS_COUNT] = {0};
    size_t speaker = first;
    for (size_t i = first; i < self->ballot_count; i++)
        if (votes_for_class(&self->ballots[i]) &&
            strcmp(self->ballots[i].group, self->ballots[first].group) == 0)
            named[self->ballots[i].tokens.class_]++;
    for (size_t i = first; i < self->ballot_count; i++) {
        if (!votes_for_class(&self->ballots[i]) ||
            strcmp(self->ballots[i].group, self->ballots[first].group) != 0)
            continue;
        enum ms_class mine = self->ballots[i].tokens.class_;
        enum ms_class best = self->ballots[speaker].tokens.class_;
        if (rank(mine) > rank(best) || (rank(mine) == rank(best) && named[mine] > named[best]))
            speaker = i;
    }
    return speaker;
}

static void count_classes(struct ms_tally *self, unsigned engines[MS_CLASS_COUNT])
{
    for (size_t i = 0; i < self->ballot_count; i++) {
        if (!votes_for_class(&self->ballots[i]))
            continue;
        engines[self->ballots[i].tokens.class_]++;
        bool first = true;
        for (size_t j = 0; j < i && first; j++)
            first = !votes_for_class(&self->ballots[j]) ||
                    strcmp(self->ballots[j].group, self->ballots[i].group) != 0;
        if (!first)
            continue;
        size_t speaker = group_speaker(self, i);
        self->ballots[speaker].speaks_for_group = true;
        self->votes[self->ballots[speaker].tokens.class_]++;
    }
}

static void choose_class(struct ms_tally *self, const unsigned engines[MS_CLASS_COUNT])
{
    for (int weak = 0; weak <= 1 && self->winner == MS_CLASS_NONE; weak++) {
        unsigned second = 0;
        for (int i = 0; i < MS_CLASS_COUNT; i++) {
            enum ms_class class_ = (enum ms_class)i, best = self->winner;
            if (ms_class_is_weak(class_) != (weak == 1))
                continue;
            bool better = best == MS_CLASS_NONE ? self->votes[i] >= 2
                                                : self->votes[i] > self->votes[best] ||
                                                      (self->votes[i] == self->votes[best] &&
                                                       engines[i] > engines[best]);
            unsigned loser =
                better ? (best == MS_CLASS_NONE ? 0 : self->votes[best]) : self->votes[i];
            if (better)
                self->winner = class_;
            if (loser > second)
                second = loser;
        }
        if (self->winner != MS_CLASS_NONE)
            self->margin = self->votes[self->winner] - second;
    }
    self->class_ = self->winner <= MS_CLASS_LAST_OF_EIGHT ? self->winner : MS_CLASS_NONE;
}

static int compare_words(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    int by_text = strcmp(x->text, y->text);
    return by_text ? by_text : strcmp(x->group, y->group);
}

static enum ms_status choose_family(struct ms_tally *self, struct ms_error *err)
{
    struct word *words = calloc(self->ballot_count * MS_TOKENS_MAX + 1, sizeof *words);
    size_t count = 0;
    if (!words)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < self->ballot_count; i++) {
        const struct ms_ballot *ballot = &self->ballots[i];
        for (size_t t = 0; !ballot->copy && t < ballot->tokens.count; t++)
            if (ballot->tokens.items[t].family)
                words[count++] = (struct word){ballot->tokens.items[t].text, ballot->group};
    }
    qsort(words, count, sizeof *words, compare_words);
    for (size_t i = 0; i < count;) {
        size_t next = i;
        unsigned groups = 0;
        for (; next < count && strcmp(words[next].text, words[i].text) == 0; next++)
            groups += next == i || strcmp(words[next].group, words[next - 1].group) != 0;
        if (groups >= 2 && groups >= self->family_votes) {
            self->family_votes = groups;
            (void)snprintf(self->family, sizeof self->family, "%s", words[i].text);
        }
        i = next;
    }
    free(words);
    return MS_OK;
}

enum ms_status ms_tally_count(struct ms_tally *self, const struct ms_vt_report *report,
                              struct ms_error *err)
{
    unsigned engines[MS_CLASS_COUNT] = {0};
    *self = (struct ms_tally){.class_ = MS_CLASS_NONE, .winner = MS_CLASS_NONE};
    self->ballots = calloc(report->engine_count + 1, sizeof *self->ballots);
    if (!self->ballots)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->ballot_count = report->engine_count;
    read_ballots(self, report);
    count_classes(self, engines);
    choose_class(self, engines);
    return choose_family(self, err);
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

/* Votes of engine groups on a report: detections, class, family. Pure. */
#ifndef MS_LABEL_VOTE_H
#define MS_LABEL_VOTE_H

#include "label/tokens.h"
#include "label/vtjson.h"

enum { MS_FAMILY_BYTES = MS_TOKEN_BYTES };

/* What one engine's row came to; for `explain`. Rows are those of the report, in its order. */
struct ms_ballot {
    const char *group; /* ms_engine_group of the engine */
    struct ms_tokens tokens;
    bool detects;          /* malicious or suspicious */
    bool copy;             /* an earlier engine gave the same label: no class or family vote */
    bool speaks_for_group; /* the row whose class is the group's vote */
};

struct ms_tally {
    struct ms_ballot *ballots; /* as many as the report's engines; freed by release */
    size_t ballot_count;
    unsigned positives;  /* engines that detect */
    unsigned responding; /* engines that gave an answer: detections, undetected, harmless */
    unsigned groups;     /* groups with a detecting engine */
    unsigned responding_groups;
    unsigned votes[MS_CLASS_COUNT]; /* groups a class */
    enum ms_class
        class_; /* NONE when nothing has two groups, or what wins is not one of the eight */
    enum ms_class winner; /* the same, the other classes included */
    unsigned margin; /* votes of the winner above those of the runner-up of its rank; 0 when NONE */
    char family[MS_FAMILY_BYTES]; /* "" when no word has two groups */
    unsigned family_votes;
};

/* Rules: labels are taken in document order; an exact copy of an earlier label gives no vote; a
 * group's vote is the class most of its engines name, a specific one before a weak one, the earlier
 * on a tie. A specific class needs two groups; Trojan (or PUA) wins only where no specific class
 * has two. Ties between classes go to the one named by more engines, then to the first in enum
 * order; ties between families to the last in byte order. MS_E_NOMEM only. */
enum ms_status ms_tally_count(struct ms_tally *self, const struct ms_vt_report *report,
                              struct ms_error *err) MS_MUST_USE;
void ms_tally_release(struct ms_tally *self);

/* {"Worm":7,"Trojan":3}: classes with votes, in enum order; out holds 256 bytes. */
void ms_tally_votes_json(const struct ms_tally *self, char out[256]);

#endif

/* Votes of engine groups on a report: detections, class, family. Pure. */
#ifndef MS_LABEL_VOTE_H
#define MS_LABEL_VOTE_H

#include "label/groups.h"
#include "label/tokens.h"
#include "label/vtjson.h"

enum { MS_FAMILY_BYTES = 96 };

/* Which engines count, and which of them are one. */
struct ms_electorate {
    const struct ms_groups *groups;
    const char (*engines)[MS_ENGINE_KEY_BYTES]; /* sorted keys; NULL: every engine counts */
    size_t engine_count;
};

/* What one engine's row came to; for `explain`. Rows are those of the report, in its order. */
struct ms_ballot {
    const char *group; /* the name that leads its group */
    struct ms_tokens tokens;
    unsigned group_number; /* equal for rows of one group, below responding rows of the report */
    int copy_of;           /* row of an earlier engine that gave the same label: no class or family
                              vote; -1 none */
    bool counts;           /* the engine is among those that count */
    bool detects;          /* malicious or suspicious, and counts */
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
    enum ms_class class_;           /* NONE when nothing has two groups */
    unsigned margin; /* votes of the class above those of the runner-up of its rank; 0 when NONE */
    char family[MS_FAMILY_BYTES]; /* "" when no word has two groups */
    unsigned family_votes;
    int family_verified; /* 1: AVClass's taxonomy knows it, 0: it does not; -1: no family, or no
                            taxonomy was at hand */
};

/* Rules: labels are taken in document order; an exact copy of an earlier label gives no vote; a
 * group's vote is the class most of its engines name, a specific one before a weak one, the earlier
 * on a tie. A specific class needs two groups; Trojan (or PUA) wins only where no specific class
 * has two. Ties between classes go to the one named by more engines, then to the first in enum
 * order; ties between families to the last in byte order. Groups are those of the day of the scan
 * (of today when it is unknown). who NULL: every engine, the built-in groups. A report of 75
 * engines takes some 10 microseconds, and nothing here is quadratic. MS_E_NOMEM only. */
enum ms_status ms_tally_count(struct ms_tally *self, const struct ms_vt_report *report,
                              const struct ms_electorate *who, struct ms_error *err) MS_MUST_USE;
void ms_tally_release(struct ms_tally *self);

/* {"Worm":7,"Trojan":3}: classes with votes, in enum order; out holds 256 bytes. */
void ms_tally_votes_json(const struct ms_tally *self, char out[256]);

#endif

/* The labelled traces of a corpus as rows ready for a net: label, normalised calls, group. Reads
 * and records; splits and trains nothing. */
#ifndef MS_TRAIN_DATASET_H
#define MS_TRAIN_DATASET_H

#include "base/arena.h"
#include "base/hash.h"
#include "store/corpus.h"
#include "store/trace/names.h"
#include "store/trace/normalise.h"
#include "train/dataset_row.h"
#include "train/model_inputs.h"
#include "train/model_statics.h"
#include "train/split.h"

#include <stdbool.h>
#include <stdint.h>

enum ms_target_kind { MS_TARGET_MALWARE, MS_TARGET_CLASS, MS_TARGET_ONE_CLASS };

/* What is to be told apart. malware: malicious against benign; class: the classes of malware;
 * class=NAME: one of them against all other labelled programs. */
struct ms_target {
    enum ms_target_kind kind;
    const char *name; /* of class=NAME; borrowed from the text */
};
/* MS_E_USAGE when it is none of the three. */
enum ms_status ms_target_parse(const char *text, struct ms_target *out,
                               struct ms_error *err) MS_MUST_USE;

struct ms_dataset_request {
    struct ms_target target;
    const char *target_text;       /* as typed */
    const char *policy;            /* NULL: a dataset's own labels, else ember2024 */
    struct ms_normal_options view; /* what the net will see */
    uint64_t min_calls;            /* traces with fewer calls are left out */
    bool opcodes;                  /* traces of opcodes, not of calls */
    enum ms_static_use statics;    /* rows get static features too; samples without are left out */
    bool want_runs;                /* rows get run_lengths and run_counts */
    bool want_grams;               /* rows get n-grams, 4 bytes each */
    bool one_copy;                 /* of traces equal with runs collapsed one stays
                                      (dataset_copies.h) */
    bool one_class;                /* rows of one class alone will do: nothing is to be learned */
    bool shuffle_labels;           /* labels are dealt out anew: what is learned then is chance */
    uint64_t seed;
    unsigned jobs;
};

struct ms_row {
    int64_t analysis, sample;
    int64_t first_seen_ms; /* of the sample, by ms_labelled; 0 unknown */
    uint32_t source;       /* number of its sandbox or dataset in `sources` */
    const char *key;       /* sha256 in hexadecimal, else source and external id; escaped */
    uint32_t label;
    struct ms_row_pack pack; /* its calls, n-grams and static features */
    bool grams_cut;          /* it has more n-grams, which were left out */
    uint64_t whole_length;   /* calls of the trace before collapsing and cutting */
    /* Of the whole trace with runs collapsed, by the folded names of the calls: in any corpus the
     * same trace has the same. Not a cryptographic digest (struct ms_sequence_hash). */
    uint64_t sequence[2];
};

struct ms_dataset {
    struct ms_row *rows; /* by rising key */
    size_t count;        /* N */
    uint32_t classes;    /* C; of two the positive one is 0 */
    char **class_names;  /* C; as the labels have them, unescaped */
    bool binary;
    bool opcodes;
    enum ms_static_use statics;
    struct ms_names *symbols; /* folded names of calls */
    struct ms_span *names;    /* the same as an array */
    struct ms_gram *grams;    /* n-grams of symbols, by first occurrence in the rows; NULL unless
                                 asked for */
    uint32_t gram_count;
    /* N each: rows equal as recorded (raw), equal raw or with runs collapsed (these may not
     * straddle a split), and equal to the eyes of the net; with static features alone, rows that
     * are equal in these are also one group */
    uint32_t *labels, *raw_groups, *groups, *view_groups;
    uint32_t group_count;
    struct ms_copies raw_copies, copies, view_copies;
    struct ms_names *sources; /* sandboxes and datasets that the traces come from */
    /* Share of the rows that a rule gets right which knows the source alone: far above the majority
     * class, a net may learn the sandbox instead of the programs. */
    double source_accuracy;
    double majority;    /* share of the most frequent class */
    char policies[256]; /* whose labels: names in order, with ", " between; escaped */
    uint64_t dropped_short, dropped_other, dropped_damaged;
    uint64_t dropped_copies, dropped_undecided; /* of equal traces; with one_copy */
    uint64_t length_quantiles[5];               /* of whole_length: min, quartiles, max */
    char normalisation[MS_NORMAL_TEXT_BYTES];
    /* SHA-256 over normalisation, min_calls, policy, target and, in the order of their own digests,
     * the rows (key, label, names of the calls, and the runs, n-grams and static features that were
     * asked for): the
     * same for two corpora that say the same. */
    uint8_t digest[MS_SHA256_BYTES];
    /* private */
    struct ms_arena arena;
    size_t capacity;
};

/* MS_E_INPUT with what to do when no row is left, only one class (unless one_class), or class=NAME
 * never occurs. Damaged traces cost themselves, with a warning. Release with ms_dataset_release,
 * also after a failure. */
enum ms_status ms_dataset_load(struct ms_corpus *corpus, const struct ms_dataset_request *request,
                               struct ms_dataset *out, struct ms_error *err) MS_MUST_USE;
void ms_dataset_release(struct ms_dataset *self);

/* What rows refer to; borrowed from the dataset. */
struct ms_gram_table ms_dataset_table(const struct ms_dataset *self);
/* A row as what it is shown by (with its static features, as asked for); unpacked into `numbers`
 * and borrowed from them. MS_E_NOMEM. */
enum ms_status ms_dataset_trace(const struct ms_dataset *self, size_t row,
                                struct ms_row_numbers *numbers, struct ms_input_trace *out,
                                struct ms_error *err) MS_MUST_USE;

/* Rows and labels for ms_split_make; groups NULL for a naive split. */
struct ms_split_rows ms_dataset_split_rows(const struct ms_dataset *self, bool grouped);

#endif

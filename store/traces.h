/* The traces of a corpus as malseq export and malseq audit see them: which there are, whose labels
 * they have, and their normalised calls. Reads only; what is private is left out here. */
#ifndef MS_STORE_TRACES_H
#define MS_STORE_TRACES_H

#include "base/span.h"
#include "store/corpus.h"
#include "store/trace/groups.h"
#include "store/trace/names.h"
#include "store/trace/normalise.h"

#include <stdbool.h>
#include <stdint.h>

/* A trace and what is known of its sample; borrowed for the call, texts NULL where nothing is
 * known. */
struct ms_trace_row {
    int64_t analysis, sample; /* row ids: not to be shown */
    const char *key; /* sha256 in hexadecimal, else "source:external id"; escaped, never NULL */
    const char *verdict, *class_, *family, *policy;
    struct ms_span policy_digest; /* data NULL: none was recorded */
    int64_t as_of_ms;             /* of the label; 0 none */
    int64_t first_submission_ms;  /* VirusTotal's; 0 unknown */
    const char *sandbox;
    const char *origin_kind, *origin, *licence; /* where the trace came from */
};
typedef enum ms_status (*ms_trace_visit)(void *ctx, const struct ms_trace_row *row,
                                         struct ms_error *err);

/* The newest `ok` analysis (of a run, or as published; not of a disassembly of the vault's samples)
 * of each sample that neither is private itself nor was seen at a private
 * place: by rising SHA-256, then those without one by alias. Its label is the current one under
 * `policy`, or without one (NULL) that of ember2024, else of a dataset: the choice of train.
 * Samples without a label only when `unlabelled`. One view of the corpus, in constant memory. */
enum ms_status ms_traces_foreach(struct ms_corpus *corpus, const char *policy, bool unlabelled,
                                 ms_trace_visit visit, void *ctx, struct ms_error *err) MS_MUST_USE;

/* The names a sample was seen under: aliases, and the last part of each path or member name; sorted
 * bytes, each once, borrowed for the call. May be called in a visit. */
typedef enum ms_status (*ms_trace_name_visit)(void *ctx, struct ms_span name, struct ms_error *err);
enum ms_status ms_trace_names(struct ms_corpus *corpus, int64_t sample, ms_trace_name_visit visit,
                              void *ctx, struct ms_error *err) MS_MUST_USE;

/* One trace, normalised. Symbols are numbers in the reader's names, in the order in which they were
 * met: they do not depend on the corpus's own ids. */
struct ms_trace_read {
    const uint32_t *calls; /* the view: all steps of the normalisation */
    size_t n;
    bool cut;
    uint64_t view_length;  /* before the cut */
    uint64_t whole_length; /* calls before any is collapsed, dropped or cut */
    uint64_t pseudo_dropped, looped_dropped;
    uint32_t untracked_dropped;
    const uint32_t *runs; /* the whole trace with runs collapsed */
    size_t run_n;
    const uint32_t *set;   /* the distinct calls of the whole trace, by first occurrence */
    const uint64_t *times; /* how often each is in it */
    size_t set_n;
    struct ms_sequence_hash raw, collapsed, as_set, view;
};

/* The names of the corpus's calls, folded, and what is kept between traces. */
struct ms_trace_reader;
enum ms_status ms_trace_reader_new(struct ms_corpus *corpus,
                                   const struct ms_normal_options *options,
                                   struct ms_trace_reader **out, struct ms_error *err) MS_MUST_USE;
void ms_trace_reader_free(struct ms_trace_reader *self);
/* *out is borrowed until the next read. MS_REJECT when the trace is damaged: go on. */
enum ms_status ms_trace_reader_read(struct ms_trace_reader *self, int64_t analysis,
                                    struct ms_trace_read *out, struct ms_error *err) MS_MUST_USE;

/* The set of the trace read last by which near ones are found (ms_near_items), of symbols: n-grams
 * do not go from one process to the next, as in train. Borrowed until the next call of either.
 * Errors as ms_grams_read. */
enum ms_status ms_trace_reader_near(struct ms_trace_reader *self, const uint64_t **items, size_t *n,
                                    struct ms_error *err) MS_MUST_USE;

/* The two together: each row that ms_traces_foreach finds, with its trace, but those that are empty
 * or have fewer calls than min_calls before any is dropped. `damaged` is told of a trace that
 * cannot be read, and why; then it goes on. */
typedef enum ms_status (*ms_trace_read_visit)(void *ctx, const struct ms_trace_row *row,
                                              const struct ms_trace_read *read,
                                              struct ms_error *err);
struct ms_traces_wanted {
    const char *policy;
    bool unlabelled;
    uint64_t min_calls;
    ms_trace_read_visit visit;
    void (*damaged)(const struct ms_trace_row *row, const char *why);
    void *ctx; /* of visit */
};
struct ms_traces_left { /* left out */
    uint64_t damaged, too_short;
};
enum ms_status ms_traces_read(struct ms_corpus *corpus, struct ms_trace_reader *reader,
                              const struct ms_traces_wanted *wanted, struct ms_traces_left *left,
                              struct ms_error *err) MS_MUST_USE;

/* Grows with the reading; borrowed. */
const struct ms_names *ms_trace_reader_symbols(const struct ms_trace_reader *self);

#endif

/* Labelled traces for training: which analyses there are under a policy, and records of datasets,
 * splits and models made from them. */
#ifndef MS_STORE_DATASET_H
#define MS_STORE_DATASET_H

#include "base/span.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_labelled {
    int64_t analysis, sample;
    const char *verdict, *class_; /* class_ may be NULL */
    const char *policy;           /* whose label it is */
    const char *sandbox;
    struct ms_span sha256; /* data NULL when unknown */
    struct ms_span alias;  /* "source:external id" when sha256 is unknown */
    /* VirusTotal's first submission by its newest scan, else the date that Avast-CTU gives for each
     * of its samples; 0 unknown. Never the time stamp in the file, which anybody can set. */
    int64_t first_seen_ms;
};
/* Which rows. */
struct ms_labelled_query {
    const char *policy; /* NULL: any policy of a dataset, else ember2024 */
    bool opcodes;       /* traces of opcodes, not of calls */
    bool features;      /* samples whose static features are known alone */
};
/* The newest `ok` analysis of that kind of each sample that is not private and has a current label
 * under the policy, by rising sample id. Collected before the first visit. */
typedef enum ms_status (*ms_labelled_visit)(void *ctx, const struct ms_labelled *row,
                                            struct ms_error *err);
enum ms_status ms_labelled_foreach(struct ms_corpus *corpus, const struct ms_labelled_query *query,
                                   ms_labelled_visit visit, void *ctx,
                                   struct ms_error *err) MS_MUST_USE;

struct ms_dataset_row {
    uint8_t digest[32];
    const char *target, *policy, *normalisation;
    int64_t samples, vocabulary;
};
/* Finds by digest or inserts. Needs a transaction, as the next two. */
enum ms_status ms_dataset_put(struct ms_corpus *corpus, const struct ms_dataset_row *row,
                              int64_t now_ms, int64_t run, int64_t *id,
                              struct ms_error *err) MS_MUST_USE;
/* digest: of the split's manifest. */
/* An analysis that is no longer there is passed over: it may have been forgotten while the model
 * was trained. */
enum ms_status ms_split_put(struct ms_corpus *corpus, int64_t dataset, const char *name,
                            const uint8_t digest[32], int64_t analysis, int part, int64_t group,
                            struct ms_error *err) MS_MUST_USE;
enum ms_status ms_model_put(struct ms_corpus *corpus, const char *name, int64_t dataset,
                            const char *split, const uint8_t digest[32], const char *path,
                            const char *metrics_json, int64_t now_ms, int64_t run,
                            struct ms_error *err) MS_MUST_USE;
/* Removes the datasets that no model rests on any longer, with their splits: a model that is made
 * anew each night would leave a row a trace behind each time. In a transaction. */
enum ms_status ms_dataset_prune(struct ms_corpus *corpus, struct ms_error *err) MS_MUST_USE;

#endif

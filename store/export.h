/* What malseq export hands out: samples that are not private, in the order of their hashes, and
 * where each was seen. Reads only; decides nothing about form. */
#ifndef MS_STORE_EXPORT_H
#define MS_STORE_EXPORT_H

#include "base/hash.h"
#include "base/span.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stdint.h>

/* A row of `sample` with its label; texts are borrowed for the call, NULL where nothing is known.
 */
struct ms_export_sample {
    int64_t id; /* for ms_export_sightings; not to be shown */
    bool has_sha256, has_sha1, has_md5;
    struct ms_digests digests;
    int64_t size;    /* -1 unknown */
    int64_t machine; /* -1 unknown */
    const char *kind;
    const char *flags;
    struct ms_span features; /* JSON; data NULL: none */
    bool vaulted;
    int64_t first_ms; /* start of the run that brought it; 0 unknown */
    const char *verdict, *class_, *family;
};

struct ms_export_sighting {
    const char *kind, *origin, *ref;
    struct ms_span path, chain;
    struct ms_span commit_id, password; /* data NULL: none */
    const char *claim, *side_file;
    bool gone;
    int64_t seen_ms;
};

typedef enum ms_status (*ms_export_sample_visit)(void *ctx, const struct ms_export_sample *sample,
                                                 struct ms_error *err);
typedef enum ms_status (*ms_export_sighting_visit)(void *ctx,
                                                   const struct ms_export_sighting *sighting,
                                                   struct ms_error *err);

/* Calls visit for each sample with a hash that neither is private itself nor was seen at a private
 * place: those with a SHA-256 in its order, then those known by SHA-1 or MD5 alone. All within one
 * view of the corpus, whatever is written meanwhile, and in constant memory. verdict, class_ and
 * family are those in force under `policy`. */
enum ms_status ms_export_samples(struct ms_corpus *corpus, const char *policy,
                                 ms_export_sample_visit visit, void *ctx,
                                 struct ms_error *err) MS_MUST_USE;
/* The sightings of a sample in the order of origin, path and chain. May be called in a visit. */
enum ms_status ms_export_sightings(struct ms_corpus *corpus, int64_t sample,
                                   ms_export_sighting_visit visit, void *ctx,
                                   struct ms_error *err) MS_MUST_USE;
/* Is any label of the corpus of this policy? */
enum ms_status ms_export_has_policy(struct ms_corpus *corpus, const char *policy, bool *has,
                                    struct ms_error *err) MS_MUST_USE;

#endif

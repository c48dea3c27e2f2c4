/* Samples, aliases, origins, sightings and blobs: what is known of where a program came from.
 * Writers need an open transaction. */
#ifndef MS_STORE_SAMPLE_H
#define MS_STORE_SAMPLE_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/span.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_sample {
    int64_t id;
    bool has_sha256, has_sha1, has_md5;
    struct ms_digests digests;
    bool has_git_blob;
    uint8_t git_blob[20]; /* id of the bytes themselves as a git blob */
    int64_t size;         /* -1 unknown */
    bool vaulted;
    bool private_;
    const char *kind;     /* may be NULL */
    int64_t machine;      /* -1 unknown */
    const char *flags;    /* may be NULL */
    const char *features; /* JSON; may be NULL */
};

/* Finds the sample with the same sha256 (else a row known by sha1 alone, else by md5 alone, that no
 * other hash contradicts) or inserts it; fields known now and unknown before are filled in,
 * features replace older ones, `vaulted` and `private_` only ever go up. No hash, or a tombstone
 * for the strongest one given: MS_REJECT. *id is set, *inserted says which. */
enum ms_status ms_sample_upsert(struct ms_corpus *corpus, const struct ms_sample *sample,
                                int64_t run, int64_t *id, bool *inserted,
                                struct ms_error *err) MS_MUST_USE;
/* The row that upsert would take for it; *id 0: none, it would be new. A row known by weaker hashes
 * alone (a dataset's, a report's target) becomes the row of the file once its sha256 is known,
 * unless a hash both know contradicts. */
enum ms_status ms_sample_find_same(struct ms_corpus *corpus, const struct ms_sample *sample,
                                   int64_t *id, struct ms_error *err) MS_MUST_USE;
/* True when forget left a tombstone for this sha256: nothing of it may be stored. */
enum ms_status ms_sample_is_forgotten(struct ms_corpus *corpus, const uint8_t sha256[32],
                                      bool *forgotten, struct ms_error *err) MS_MUST_USE;
/* True when the bytes of a known sample were given up (store/retain): they are not stored again. */
enum ms_status ms_sample_is_over(struct ms_corpus *corpus, const uint8_t sha256[32], bool *over,
                                 struct ms_error *err) MS_MUST_USE;
/* By hexadecimal md5, sha1 or sha256 text. MS_REJECT when unknown or not a hash. */
enum ms_status ms_sample_find(struct ms_corpus *corpus, const char *hex, int64_t *id,
                              struct ms_error *err) MS_MUST_USE;
/* A sample known by (source, external id) alone; inserted when new. */
enum ms_status ms_sample_by_alias(struct ms_corpus *corpus, const char *source,
                                  struct ms_span external_id, int64_t run, int64_t *id,
                                  bool *inserted, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_sample_add_alias(struct ms_corpus *corpus, int64_t sample, const char *source,
                                   struct ms_span external_id, struct ms_error *err) MS_MUST_USE;
/* The row's hashes and private flag; text fields of *out are NULL. */
enum ms_status ms_sample_get(struct ms_corpus *corpus, int64_t id, struct ms_sample *out,
                             struct ms_error *err) MS_MUST_USE;
/* Makes one row of two that are the same file: everything that refers to `from` (aliases,
 * sightings, analyses, scans, look-up, labels) is `into`'s afterwards, hashes and fields `into`
 * lacks are filled in, private stays private, and the row `from` is gone. Of two current labels of
 * one policy the younger stays current; the same answer kept twice is kept once. MS_REJECT, and
 * nothing changed, when they are not the same file: `from` has a sha256, or a hash both know
 * differs. */
enum ms_status ms_sample_merge(struct ms_corpus *corpus, int64_t from, int64_t into,
                               struct ms_error *err) MS_MUST_USE;
/* Merges into a sample every row known by weaker hashes alone (no sha256) that shares its md5 or
 * sha1 and contradicts none of its hashes; one whose hash a third sample with another sha256 has as
 * well is left alone. To be called when a file's other hashes became known. */
enum ms_status ms_sample_unite(struct ms_corpus *corpus, int64_t into, uint64_t *merged,
                               struct ms_error *err) MS_MUST_USE;
/* The PE kind ("" when unknown) and the SHA-256 of a sample that has one (else MS_REJECT). */
enum ms_status ms_sample_kind(struct ms_corpus *corpus, int64_t id, char *kind, size_t kind_bytes,
                              uint8_t sha256[32], struct ms_error *err) MS_MUST_USE;
/* Calls visit for each vaulted sample that is not private and has no analysis under
 * `settings_digest`, oldest first. Ids are collected before the first call, so visit may write. */
typedef enum ms_status (*ms_sample_visit)(void *ctx, int64_t id, struct ms_error *err);
enum ms_status ms_sample_foreach_unsubmitted(struct ms_corpus *corpus,
                                             const uint8_t settings_digest[32],
                                             ms_sample_visit visit, void *ctx,
                                             struct ms_error *err) MS_MUST_USE;
/* Calls visit for each vaulted sample, private ones too, that has no analysis from this source
 * under these settings; oldest first; *count as below. */
enum ms_status ms_sample_foreach_unsettled(struct ms_corpus *corpus, const char *source,
                                           const uint8_t settings_digest[32], ms_sample_visit visit,
                                           void *ctx, uint64_t *count,
                                           struct ms_error *err) MS_MUST_USE;
/* Calls visit for each vaulted sample without features, oldest first; *count is their number and
 * set before the first call. Ids are collected before, so visit may write. */
enum ms_status ms_sample_foreach_featureless(struct ms_corpus *corpus, ms_sample_visit visit,
                                             void *ctx, uint64_t *count,
                                             struct ms_error *err) MS_MUST_USE;
/* Replaces them; features: JSON. */
enum ms_status ms_sample_features_put(struct ms_corpus *corpus, int64_t id, const char *features,
                                      struct ms_error *err) MS_MUST_USE;
/* The features as stored (JSON) into `out`, which is cleared first; empty when there are none. */
enum ms_status ms_sample_features_get(struct ms_corpus *corpus, int64_t id, struct ms_buf *out,
                                      struct ms_error *err) MS_MUST_USE;
/* Replaces the size of a sample whose bytes nobody has. */
enum ms_status ms_sample_size_put(struct ms_corpus *corpus, int64_t id, int64_t size,
                                  struct ms_error *err) MS_MUST_USE;

struct ms_origin {
    int64_t id;
    const char
        *kind; /* github folder list dataset reports; list: a URL, as of a repository elsewhere */
    const char *name;
    const char *ref;   /* "" for HEAD */
    const char *url;   /* may be NULL */
    int64_t remote_id; /* 0 unknown */
    bool has_commit;
    uint8_t commit_id[32]; /* SHA-1 in the first 20 bytes, or SHA-256 */
    unsigned commit_bytes;
    bool history;        /* the whole history of commit_id was gone through */
    const char *licence; /* may be NULL */
    const char *claim;   /* malware benign unknown; NULL = unknown */
    bool private_;
    const char *state; /* new ok partial gone legal blocked limited empty replaced error */
    const char *reason;
    int64_t checked_ms;
    /* ETag, else Last-Modified, of the last answer that was taken in whole; may be NULL */
    const char *validator;
};

/* Finds or inserts (kind, name, ref); claim, private, url and licence are brought up to date. Where
 * it is private, so are all its sightings from now on, and their samples. A tombstone: MS_REJECT.
 */
enum ms_status ms_origin_open(struct ms_corpus *corpus, const struct ms_origin *origin, int64_t *id,
                              struct ms_error *err) MS_MUST_USE;
/* Was this origin removed by forget: under its name, the name that its url gives, or (remote_id not
 * 0) the host's id of it? */
enum ms_status ms_origin_is_forgotten(struct ms_corpus *corpus, const struct ms_origin *origin,
                                      bool *found, struct ms_error *err) MS_MUST_USE;
/* The id of (kind, name, ref); *found false when there is none. */
enum ms_status ms_origin_find(struct ms_corpus *corpus, const char *kind, const char *name,
                              const char *ref, bool *found, int64_t *id,
                              struct ms_error *err) MS_MUST_USE;
/* Reads it; texts are copies owned by *out until ms_origin_release. */
enum ms_status ms_origin_get(struct ms_corpus *corpus, int64_t id, struct ms_origin *out,
                             struct ms_error *err) MS_MUST_USE;
void ms_origin_release(struct ms_origin *self);
/* Writes remote_id, commit, history, state, reason, checked_ms, validator of an origin. */
enum ms_status ms_origin_update(struct ms_corpus *corpus, const struct ms_origin *origin,
                                struct ms_error *err) MS_MUST_USE;
/* Writes checked_ms alone, in the caller's transaction. */
enum ms_status ms_origin_checked(struct ms_corpus *corpus, int64_t id, int64_t now_ms,
                                 struct ms_error *err) MS_MUST_USE;
enum ms_status ms_origin_password_used(struct ms_corpus *corpus, int64_t origin,
                                       struct ms_span password, struct ms_error *err) MS_MUST_USE;
/* Most used first. */
typedef enum ms_status (*ms_span_visit)(void *ctx, struct ms_span bytes, struct ms_error *err);
enum ms_status ms_origin_foreach_password(struct ms_corpus *corpus, int64_t origin,
                                          ms_span_visit visit, void *ctx,
                                          struct ms_error *err) MS_MUST_USE;

struct ms_sighting {
    int64_t sample, origin;
    uint8_t git_blob[20];
    struct ms_span path, chain;
    struct ms_span commit_id; /* data NULL: none */
    struct ms_span password;  /* data NULL: none needed */
    const char *claim;
    const char *side_file; /* archive sample neither; NULL: nothing said */
    bool private_;
};
/* Inserts or refreshes (sample, origin, path, chain). */
enum ms_status ms_sighting_put(struct ms_corpus *corpus, const struct ms_sighting *sighting,
                               int64_t now_ms, int64_t run, struct ms_error *err) MS_MUST_USE;

struct ms_blob {
    uint8_t git_id[20];
    uint64_t size;
    char outcome[16];
    const char *reason; /* may be NULL; not read back */
    unsigned unpacker_version;
    uint8_t password_set[32];
    uint64_t samples;
    bool sfx;         /* programs in it were searched for archives */
    char limits[192]; /* JSON: what ended it, with its value (schemas/008); "" for none */
    int64_t last_ms;  /* when the row was written last; read back only */
};
/* *found false when never seen. put drops the faults of an earlier opening: call it before
 * ms_blob_fault_put. */
enum ms_status ms_blob_find(struct ms_corpus *corpus, const uint8_t git_id[20], bool *found,
                            struct ms_blob *out, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_blob_put(struct ms_corpus *corpus, const struct ms_blob *blob, int64_t now_ms,
                           int64_t run, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_blob_fault_put(struct ms_corpus *corpus, const uint8_t git_id[20],
                                 struct ms_span chain, const char *fault, const char *detail,
                                 struct ms_error *err) MS_MUST_USE;
/* A part of a joined set, which has a blob row of its own; numbers count from 0. */
enum ms_status ms_volume_put(struct ms_corpus *corpus, const uint8_t set_id[20], size_t number,
                             const uint8_t git_id[20], struct ms_error *err) MS_MUST_USE;
/* A known blob at a new place: copies the sightings of its samples to (origin, path); used when a
 * file moved or a fork holds it. */
enum ms_status ms_blob_sight_again(struct ms_corpus *corpus, const uint8_t git_id[20],
                                   int64_t origin, struct ms_span path, struct ms_span commit_id,
                                   const char *claim, bool private_, int64_t now_ms, int64_t run,
                                   struct ms_error *err) MS_MUST_USE;

/* The last ingested tree of an origin: cleared and written anew in the transaction that ends a
 * crawl; sightings whose path is gone, or holds another blob now, get gone_ms. The git_id of an
 * entry is what ms_sighting.git_blob says for the samples in it. */
enum ms_status ms_tree_replace_begin(struct ms_corpus *corpus, int64_t origin,
                                     struct ms_error *err) MS_MUST_USE;
enum ms_status ms_tree_put(struct ms_corpus *corpus, int64_t origin, struct ms_span path,
                           const uint8_t git_id[20], int64_t size,
                           struct ms_error *err) MS_MUST_USE;
/* The path was put, and names a set that was joined: samples in the set are seen there. */
enum ms_status ms_tree_put_set(struct ms_corpus *corpus, int64_t origin, struct ms_span path,
                               const uint8_t set_id[20], struct ms_error *err) MS_MUST_USE;
enum ms_status ms_tree_replace_end(struct ms_corpus *corpus, int64_t origin, int64_t now_ms,
                                   struct ms_error *err) MS_MUST_USE;

/* The last ingested tree in byte order of the paths; size -1 unknown. Do not write meanwhile. */
typedef enum ms_status (*ms_tree_visit)(void *ctx, struct ms_span path, const uint8_t git_id[20],
                                        int64_t size, struct ms_error *err);
enum ms_status ms_tree_foreach(struct ms_corpus *corpus, int64_t origin, ms_tree_visit visit,
                               void *ctx, struct ms_error *err) MS_MUST_USE;

/* Take-down. forget_sample removes the sample (rows and vault objects, its reports too; its names
 * in the files of models, see store/forget_models.h) and leaves tombstones for its hashes.
 * forget_origin removes every origin of that name, whatever its kind and ref, and those that moved
 * to it or are the same repository by the host's id, with their analyses and the samples known from
 * nowhere else, and leaves tombstones for all their names and the id; those samples may come back
 * from another one. Each opens its own transaction. MS_REJECT when unknown. */
enum ms_status ms_forget_sample(struct ms_corpus *corpus, int64_t sample, int64_t run,
                                struct ms_error *err) MS_MUST_USE;
enum ms_status ms_forget_origin(struct ms_corpus *corpus, const char *name, int64_t run,
                                uint64_t *samples, struct ms_error *err) MS_MUST_USE;

#endif

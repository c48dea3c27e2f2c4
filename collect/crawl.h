/* The files of one origin through intake: what is known is passed over, the rest is fetched and
 * opened with the passwords that the origin offers; at the end the tree is written down. Knows no
 * service. */
#ifndef MS_COLLECT_CRAWL_H
#define MS_COLLECT_CRAWL_H

#include "collect/lfs.h"
#include "collect/session.h"

struct ms_volume_set;

struct ms_entry {
    struct ms_span path; /* relative to the origin */
    uint8_t git_id[MS_SHA1_BYTES];
    int64_t size;                     /* -1 unknown */
    bool past;                        /* not in the tree any more, but in that of commit_id */
    uint8_t commit_id[MS_SHA1_BYTES]; /* set when past */
    struct ms_volume_set *set;        /* NULL: a file by itself; see collect/volumes.h */
};

/* Sorted by path once ms_entries_sort was called; memory is its own arena's. */
struct ms_entries {
    struct ms_arena arena;
    struct ms_entry *items;
    size_t count, cap;
};

void ms_entries_init(struct ms_entries *self);
void ms_entries_release(struct ms_entries *self);
/* MS_E_LIMIT beyond MS_LIMIT_TREE_ENTRIES. The path is copied. */
enum ms_status ms_entries_add(struct ms_entries *self, struct ms_span path,
                              const uint8_t git_id[MS_SHA1_BYTES], int64_t size,
                              struct ms_error *err) MS_MUST_USE;
void ms_entries_sort(struct ms_entries *self);

/* Gives the bytes of an entry, verified against its git id: *fd is closed by the caller. MS_REJECT
 * when they are not to be had: *outcome is the blob's (mismatch, gone, error, too_big), err says
 * why. Other statuses end the run. */
typedef enum ms_status (*ms_crawl_fetch)(void *ctx, const struct ms_entry *entry, int *fd,
                                         uint64_t *size, const char **outcome,
                                         struct ms_error *err);

/* The SHA-256 that the source gives for an entry, NULL where it gives none: what the corpus has is
 * not fetched. */
typedef const uint8_t *(*ms_crawl_sha256)(void *ctx, const struct ms_entry *entry);

struct ms_crawl {
    int64_t origin;
    const char *name;
    const char *claim; /* NULL: unknown */
    bool private_;
    struct ms_span commit_id; /* data NULL: none */
    uint64_t max_blob_bytes;  /* larger ones are too_big, unread */
    bool local;               /* max_blob_bytes is what --max-file says */
    ms_crawl_fetch fetch;
    void *fetch_ctx;
    const struct ms_entries *past; /* NULL: none; files of earlier commits, for ms_crawl_finish */
    /* Called in the transaction of ms_crawl_finish; NULL: nothing more is to be written. */
    enum ms_status (*also)(void *ctx, struct ms_error *err);
    void *also_ctx;
    bool aside; /* set: what is fetched now is asked for out of its turn (a password file) */
    ms_crawl_sha256 sha256_of; /* with fetch_ctx; may be NULL */
    const struct ms_lfs *lfs;  /* gets the files that pointers stand for; NULL: pointers are left */
    bool incomplete;           /* set: some file was not to be had; worth another try */
};

/* Opens what has to be opened. */
enum ms_status ms_crawl_files(struct ms_collect *session, struct ms_crawl *crawl,
                              const struct ms_entries *entries, struct ms_error *err) MS_MUST_USE;

struct ms_origin;
/* The transaction that ends a crawl: the tree, new sightings of known blobs, and the origin's
 * state. Nothing in a dry run. */
enum ms_status ms_crawl_finish(struct ms_collect *session, const struct ms_crawl *crawl,
                               const struct ms_entries *entries, const struct ms_origin *origin,
                               struct ms_error *err) MS_MUST_USE;

/* The entries of the origin's last tree. */
enum ms_status ms_crawl_last_tree(struct ms_collect *session, int64_t origin,
                                  struct ms_entries *entries, struct ms_error *err) MS_MUST_USE;

#endif

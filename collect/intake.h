/* One blob (a file of a repository or folder) into the corpus: open it in the worker, check what
 * the worker says, put the programs into the vault, then all rows in one transaction, which blobs
 * that are ready together share. */
#ifndef MS_COLLECT_INTAKE_H
#define MS_COLLECT_INTAKE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/quick.h"
#include "base/unpack.h"
#include "base/worker.h"
#include "collect/limits.h"
#include "collect/password.h"
#include "store/corpus.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct ms_entry;

struct ms_intake_blob {
    int fd; /* readable, any position */
    uint8_t git_id[MS_SHA1_BYTES];
    uint64_t size;
    int64_t origin;
    const char *origin_name;
    struct ms_span path;
    struct ms_span commit_id; /* data NULL: none */
    const char *claim;        /* NULL: unknown */
    bool private_;
    const struct ms_passwords *passwords;
    uint8_t password_set[32];
    bool local; /* a file of a folder: --max-file is what makes it too_big */
    /* A set: its parts, whose bytes lie one behind the other in fd. */
    const uint64_t *part_bytes;
    const struct ms_entry *const *parts; /* for their ids alone */
    size_t part_count;                   /* 0: a file */
    bool part_named;                     /* named like a part of a set, or a set */
    bool zip_named;                      /* NAME.zip, the last part of a set or a file by itself */
    const char *missing; /* the name of the part that is missing if one is; may be NULL */
};

/* A program found in a blob, written to the vault (unless dry) and not yet in the database. */
struct ms_intake_program {
    struct ms_digests digests;
    uint64_t size;
    const char *kind;
    uint16_t machine;
    unsigned flags;
    struct ms_span features; /* what ms_pe_features_pack writes; checked */
    struct ms_span chain;
    struct ms_span password; /* data NULL: none needed */
    const char *side_file;   /* archive sample neither: see collect/sidefile; NULL: nothing said */
    bool forgotten;          /* a tombstone: neither stored nor kept */
    bool inserted;           /* new in the corpus; ms_intake_store says so, and a dry run looks */
};

struct ms_intake_fault {
    struct ms_span chain;
    enum ms_unpack_fault fault;
    const char *detail; /* escaped */
};

struct ms_vault_group;

/* All memory is the arena's. */
struct ms_intake_result {
    struct ms_arena arena;
    struct ms_vault_group *group; /* the programs, until they are synced; NULL: none */
    const char *outcome;          /* a word of blob.outcome in the schema */
    const char *reason;           /* escaped; NULL when there is nothing to say */
    struct ms_intake_program *programs;
    size_t program_count, program_cap;
    struct ms_intake_fault *faults;
    size_t fault_count, fault_cap;
    uint64_t members, mz_only;
    unsigned ended_by; /* enum ms_collect_limit, bits */
};

struct ms_intake {
    struct ms_corpus *corpus; /* NULL with dry: nothing is asked or written */
    struct ms_worker *worker;
    struct ms_quick *quick; /* NULL: everything by the worker */
    int64_t run;
    bool dry;
    bool sfx;                        /* archives behind programs are opened too */
    struct ms_collect_limits limits; /* zeros: the defaults */
    pthread_mutex_t *lock; /* held by whoever uses the database; NULL where no threads are */
};

void ms_intake_lock(const struct ms_intake *self);
void ms_intake_unlock(const struct ms_intake *self);

void ms_intake_result_release(struct ms_intake_result *self);

/* Opens the blob and writes its programs, which are the vault's after ms_intake_sync; touches no
 * row. MS_OK whatever became of the blob: see result->outcome. Other statuses are reasons to stop.
 * Release the result in any case. Thread-safe, without the lock held, as is ms_intake_sync; the
 * others want it held. */
enum ms_status ms_intake_open(const struct ms_intake *self, const struct ms_intake_blob *blob,
                              struct ms_intake_result *result, struct ms_error *err) MS_MUST_USE;

/* A blob that was opened; both borrowed. */
struct ms_intake_item {
    const struct ms_intake_blob *blob;
    struct ms_intake_result *result;
};

/* Makes the programs of these blobs durable together. No row may name one before. */
enum ms_status ms_intake_sync(const struct ms_intake_item *items, size_t count,
                              struct ms_error *err) MS_MUST_USE;

/* All rows of these blobs in one transaction: samples, sightings, passwords that worked, each blob
 * with its outcome and faults. After an error there are none of them. */
enum ms_status ms_intake_store(const struct ms_intake *self, const struct ms_intake_item *items,
                               size_t count, struct ms_error *err) MS_MUST_USE;

/* The sample's row alone, of a program that the vault holds. Inside a transaction. */
enum ms_status ms_intake_put_sample(const struct ms_intake *self,
                                    const struct ms_intake_program *program, bool private_,
                                    int64_t *id, bool *inserted, struct ms_error *err) MS_MUST_USE;

/* A blob that is not opened (too_big, lfs_pointer, mismatch, gone, error): its row alone. */
enum ms_status ms_intake_note(const struct ms_intake *self, const struct ms_intake_blob *blob,
                              const char *outcome, const char *reason,
                              struct ms_error *err) MS_MUST_USE;

enum ms_intake_state {
    MS_INTAKE_NEW,    /* never seen, or not opened by this unpacker, or has programs that were not
                         searched for archives, or ended by a limit raised since */
    MS_INTAKE_KNOWN,  /* nothing more to be had */
    MS_INTAKE_CLOSED, /* no password fitted: worth opening when the set of passwords changed */
    MS_INTAKE_APART,  /* files that were found to be no set */
    MS_INTAKE_PASSING /* the bytes were not to be had (mismatch, gone, error; lfs_pointer a week
                         ago): worth another try */
};

/* What the corpus knows of a blob. password_set is set for CLOSED. */
enum ms_status ms_intake_look_up(const struct ms_intake *self, const uint8_t git_id[MS_SHA1_BYTES],
                                 enum ms_intake_state *state, uint8_t password_set[32],
                                 struct ms_error *err) MS_MUST_USE;

/* Was the blob read to its end, with nothing missing, by this unpacker? */
enum ms_status ms_intake_is_whole(const struct ms_intake *self, const uint8_t git_id[MS_SHA1_BYTES],
                                  bool *whole, struct ms_error *err) MS_MUST_USE;

/* What the vault has, or forget keeps out, needs no bytes: with *known, rows as if the blob had
 * been read and found to be that program (blob->fd is not touched); *forgotten: nothing but the
 * blob's row. A dry run writes none of them. */
enum ms_status ms_intake_know(const struct ms_intake *self, const struct ms_intake_blob *blob,
                              const uint8_t sha256[MS_SHA256_BYTES], bool *known, bool *forgotten,
                              struct ms_error *err) MS_MUST_USE;

#endif

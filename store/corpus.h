/* A corpus folder: opening, locking, transactions. All other store headers work on the handle this
 * one gives. */
#ifndef MS_STORE_CORPUS_H
#define MS_STORE_CORPUS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct ms_corpus;

enum ms_corpus_mode {
    MS_CORPUS_READ,   /* must exist; a read-only connection; no lock */
    MS_CORPUS_WRITE,  /* must exist; takes the lock (another writer: MS_E_LATER) */
    MS_CORPUS_CREATE, /* as WRITE, and makes what is missing */
    MS_CORPUS_TRY /* as WRITE; where there is no corpus an empty one in memory, gone when closed:
                     nothing is made on disk */
};

/* Opens DIR. No corpus there: MS_E_INPUT, unless CREATE or TRY. An older schema is migrated when
 * writing (when reading it is MS_E_STORE with what to do), a newer one or a foreign database is
 * refused with MS_E_STORE. Folders are made 0700, the database 0600. Sets WAL, foreign_keys,
 * synchronous=FULL, busy_timeout, trusted_schema off. */
enum ms_status ms_corpus_open(const char *dir, enum ms_corpus_mode mode, struct ms_corpus **out,
                              struct ms_error *err) MS_MUST_USE;
void ms_corpus_close(struct ms_corpus *self);
/* For a run that writes a great deal in many transactions: the log is written back to the database
 * at 64 MiB rather than at 4, for each writing back waits for the disk twice, and writes a page
 * once however often it has changed. Commits are as durable as ever. */
enum ms_status ms_corpus_expect_bulk(struct ms_corpus *self, struct ms_error *err) MS_MUST_USE;

/* The newest schema version that this program knows, which it migrates to; and what the database
 * engine calls its version. */
unsigned ms_corpus_schema_version(void);
const char *ms_corpus_engine(void);

/* The folder's path as given, borrowed. */
const char *ms_corpus_dir(const struct ms_corpus *self);

/* One transaction at a time, BEGIN IMMEDIATE. A commit that fails has rolled back: after either
 * way none is open. rollback never fails and may be called when none is open. */
enum ms_status ms_corpus_begin(struct ms_corpus *self, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_corpus_commit(struct ms_corpus *self, struct ms_error *err) MS_MUST_USE;
void ms_corpus_rollback(struct ms_corpus *self);
bool ms_corpus_in_transaction(const struct ms_corpus *self);

/* The canonical digest of everything the corpus says (DESIGN 7): content of all tables but `run`,
 * `request` and `quota`, row ids replaced by natural keys, times of ours left out, rows sorted; and
 * the vault's object names. Two ways to the same corpus give the same digest. */
enum ms_status ms_corpus_digest(struct ms_corpus *self, uint8_t out[32],
                                struct ms_error *err) MS_MUST_USE;

/* A new file without a name in the corpus's folder tmp/, for what is too large to hold; the caller
 * closes it, which removes it. Any thread. MS_E_IO. */
enum ms_status ms_corpus_temporary(struct ms_corpus *self, int *fd,
                                   struct ms_error *err) MS_MUST_USE;
/* Keeps SQLite's pages below so many bytes from now on; what is changed beyond that goes to the log
 * before the transaction ends. For runs that must stay small. */
enum ms_status ms_corpus_limit_cache(struct ms_corpus *self, uint32_t bytes,
                                     struct ms_error *err) MS_MUST_USE;

#endif

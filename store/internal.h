/* What the files of store/ share and nobody else sees: the corpus handle, SQLite's errors, id
 * lists, copied texts. */
#ifndef MS_STORE_INTERNAL_H
#define MS_STORE_INTERNAL_H

#include "store/corpus.h"
#include "store/db.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

enum { MS_STATEMENT_SLOTS = 512 };

struct ms_statement_slot {
    const char *sql;
    sqlite3_stmt *statement;
};

/* What the vault may take: see ms_vault_limit. Set before threads use the vault, but for the sum
 * and the flag, which they share. */
struct ms_vault_space {
    bool has_quota, has_floor;
    uint64_t max_bytes, keep_free_bytes;
    atomic_uint_fast64_t used_bytes; /* kept only with a quota */
    atomic_bool full;
};

/* The vault's functions read only `dir` and the three folder descriptors, which never change while
 * the corpus is open, `room`, and what groups share: that is what lets them run in several
 * threads. */
struct ms_corpus {
    char *dir;
    enum ms_corpus_mode mode;
    bool in_memory; /* there is no folder */
    int lock_fd;    /* -1 when reading */
    int dir_fd;
    int samples_fd, reports_fd, tmp_fd; /* -1 when the folder is missing (reading only) */
    sqlite3 *db;
    struct ms_vault_space room;
    /* What groups of objects (vault_group.c) share. */
    atomic_uint waiting_objects; /* written, without a name */
    atomic_uint loose_groups;    /* with names that are synced later */
    pthread_mutex_t sync_lock;   /* guards sync_errnum */
    int sync_errnum;             /* of a sync of the file system; 0: none failed */
    bool has_calls;              /* the virtual table is registered */
    struct ms_statement_slot slots[MS_STATEMENT_SLOTS];
};

/* A handle with nothing open yet, for ms_corpus_close; NULL without memory. */
struct ms_corpus *ms_corpus_new(const char *dir, enum ms_corpus_mode mode);

/* Turns SQLite's result code into a status and a message that names the corpus. */
enum ms_status ms_db_error(struct ms_corpus *corpus, int code, struct ms_error *err);
/* Runs SQL text without rows or parameters (transactions, pragmas, migrations). */
enum ms_status ms_db_exec(struct ms_corpus *corpus, const char *sql, struct ms_error *err);
/* The one integer a statement without parameters gives. */
enum ms_status ms_db_scalar(struct ms_corpus *corpus, const char *sql, int64_t *out,
                            struct ms_error *err);
/* Finalizes every cached statement. */
void ms_db_release(struct ms_corpus *corpus);
/* MS_E_BUG unless a transaction is open: a step's rows come together or not at all. */
enum ms_status ms_db_need_transaction(struct ms_corpus *corpus, struct ms_error *err);
/* ms_db_prepare for what writes: in an open transaction only. */
enum ms_status ms_db_prepare_write(struct ms_corpus *corpus, const char *sql, sqlite3_stmt **out,
                                   struct ms_error *err);
/* The first `count` columns of the one row a statement gives, all 0 without a row; resets it. */
enum ms_status ms_db_take_ints(struct ms_corpus *corpus, sqlite3_stmt *statement, int64_t *out,
                               size_t count, struct ms_error *err);

/* A growing list of row ids, so that a visitor may write while a list is walked. */
struct ms_ids {
    int64_t *items;
    size_t count, cap;
};
enum ms_status ms_ids_push(struct ms_ids *self, int64_t id, struct ms_error *err);
/* Steps `statement` to its end, keeping column 0 of each row; resets it in any case. */
enum ms_status ms_ids_collect(struct ms_corpus *corpus, sqlite3_stmt *statement,
                              struct ms_ids *self, struct ms_error *err);
void ms_ids_release(struct ms_ids *self);

/* A heap copy of a text column; NULL stays NULL. */
enum ms_status ms_db_copy_text(sqlite3_stmt *statement, int column, const char **out,
                               struct ms_error *err);
void ms_text_free(const char *text);

/* Binds NULL for 0 and for -1, where these stand for "unknown". */
void ms_db_bind_nonzero(sqlite3_stmt *statement, int index, int64_t value);
void ms_db_bind_known(sqlite3_stmt *statement, int index, int64_t value);

/* True and MS_OK where a tombstone with this key exists. */
enum ms_status ms_tombstone_has(struct ms_corpus *corpus, const char *kind, const void *key,
                                size_t n, bool *found, struct ms_error *err);
enum ms_status ms_tombstone_put(struct ms_corpus *corpus, const char *kind, const void *key,
                                size_t n, int64_t run, struct ms_error *err);
/* The tombstone keys of an origin: "KIND:NAME", the same of the name its url gives, and "KIND#ID"
 * of the host's id; *count of them. Release all three buffers in any case. */
struct ms_origin;
enum { MS_ORIGIN_KEYS = 3 };
enum ms_status ms_origin_keys(const struct ms_origin *origin, struct ms_buf out[MS_ORIGIN_KEYS],
                              size_t *count, struct ms_error *err);

/* The tombstone key of an alias: "alias:SOURCE:ID". Release the buffer. */
enum ms_status ms_alias_key(const char *source, struct ms_span external_id, struct ms_buf *out,
                            struct ms_error *err);

/* Removes what crashed runs left in tmp/. Only with the lock held. */
void ms_vault_clean(struct ms_corpus *corpus);

#endif

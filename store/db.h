/* Statements with static SQL and bound parameters, for the files of store/ only: nothing outside
 * this folder sees SQL. */
#ifndef MS_STORE_DB_H
#define MS_STORE_DB_H

#include "base/buf.h"
#include "base/span.h"
#include "store/corpus.h"

#include <sqlite3.h>

/* The connection behind a corpus. */
sqlite3 *ms_db(struct ms_corpus *corpus);

/* A statement from the corpus's cache, reset and unbound, for one static SQL text (compared by
 * address and content). Do not finalize it: it belongs to the cache; call ms_db_done when finished
 * with it. */
enum ms_status ms_db_prepare(struct ms_corpus *corpus, const char *sql, sqlite3_stmt **out,
                             struct ms_error *err) MS_MUST_USE;
void ms_db_done(sqlite3_stmt *statement);

/* Binds (index from 1). A NULL text or a span with NULL data binds NULL. Bytes must live until the
 * step. */
void ms_db_bind_int(sqlite3_stmt *statement, int index, int64_t value);
void ms_db_bind_null(sqlite3_stmt *statement, int index);
void ms_db_bind_text(sqlite3_stmt *statement, int index, const char *text);
void ms_db_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, size_t n);
void ms_db_bind_span(sqlite3_stmt *statement, int index, struct ms_span bytes);

/* One step: *row true when a row is there. MS_E_STORE (disk full, corrupt, constraint) or
 * MS_E_LATER (busy) otherwise. */
enum ms_status ms_db_step(struct ms_corpus *corpus, sqlite3_stmt *statement, bool *row,
                          struct ms_error *err) MS_MUST_USE;
/* Steps to the end, then ms_db_done: for INSERT, UPDATE, DELETE. */
enum ms_status ms_db_run(struct ms_corpus *corpus, sqlite3_stmt *statement,
                         struct ms_error *err) MS_MUST_USE;
int64_t ms_db_last_id(struct ms_corpus *corpus);
int64_t ms_db_changes(struct ms_corpus *corpus);

/* Columns (from 0), borrowed until the next step. */
int64_t ms_db_int(sqlite3_stmt *statement, int column, int64_t if_null);
struct ms_span ms_db_blob(sqlite3_stmt *statement, int column); /* data NULL for SQL NULL */
const char *ms_db_text(sqlite3_stmt *statement, int column);    /* NULL for SQL NULL */

#endif

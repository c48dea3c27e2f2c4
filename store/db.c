/* Cached statements, binding and stepping, and SQLite's errors in our words. No SQL of its own but
 * what it is given. */
#include "store/db.h"

#include "base/log.h"
#include "store/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sqlite3 *ms_db(struct ms_corpus *corpus)
{
    return corpus->db;
}

/* The status a result code stands for, and what to do about it. */
static enum ms_status classify(int code, const char **advice)
{
    *advice = "";
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        *advice = "; another program is using it, try again later";
        return MS_E_LATER;
    case SQLITE_NOMEM:
        return MS_E_NOMEM;
    case SQLITE_FULL:
        *advice = "; free some space, then run the command again";
        return MS_E_STORE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        *advice = "; restore corpus.db from a backup, or save with sqlite3's .recover what can be "
                  "read; samples/ and reports/ are not touched by this";
        return MS_E_STORE;
    case SQLITE_INTERRUPT:
        return MS_E_LIMIT;
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
        return MS_E_BUG;
    default:
        return MS_E_STORE;
    }
}

enum ms_status ms_db_error(struct ms_corpus *corpus, int code, struct ms_error *err)
{
    char dir[256];
    char words[256];
    const char *advice;
    enum ms_status status = classify(code, &advice);
    int extended = corpus->db ? sqlite3_extended_errcode(corpus->db) : code;
    int system_error = corpus->db ? sqlite3_system_errno(corpus->db) : 0;
    const char *text = corpus->db ? sqlite3_errmsg(corpus->db) : sqlite3_errstr(code);
    ms_escape_text(corpus->dir, dir, sizeof dir);
    ms_escape_text(text, words, sizeof words);
    bool named =
        system_error != 0 && ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN ||
                              (code & 0xff) == SQLITE_FULL);
    return ms_error_set(err, status, "database '%s/corpus.db': %s (SQLite %d%s%s)%s", dir, words,
                        extended, named ? ", " : "", named ? strerror(system_error) : "", advice);
}

enum ms_status ms_db_exec(struct ms_corpus *corpus, const char *sql, struct ms_error *err)
{
    int code = sqlite3_exec(corpus->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? MS_OK : ms_db_error(corpus, code, err);
}

enum ms_status ms_db_take_ints(struct ms_corpus *corpus, sqlite3_stmt *statement, int64_t *out,
                               size_t count, struct ms_error *err)
{
    bool row = false;
    enum ms_status status = ms_db_step(corpus, statement, &row, err);
    for (size_t i = 0; i < count; i++)
        out[i] = status == MS_OK && row ? ms_db_int(statement, (int)i, 0) : 0;
    ms_db_done(statement);
    return status;
}

enum ms_status ms_db_prepare_write(struct ms_corpus *corpus, const char *sql, sqlite3_stmt **out,
                                   struct ms_error *err)
{
    enum ms_status status = ms_db_need_transaction(corpus, err);
    return status == MS_OK ? ms_db_prepare(corpus, sql, out, err) : status;
}

enum ms_status ms_db_scalar(struct ms_corpus *corpus, const char *sql, int64_t *out,
                            struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK)
        *out = row ? ms_db_int(statement, 0, 0) : 0;
    ms_db_done(statement);
    return status;
}

static size_t slot_of(const char *sql)
{
    uint64_t x = (uint64_t)(uintptr_t)sql * 0x9e3779b97f4a7c15u;
    return (size_t)(x >> 55) % MS_STATEMENT_SLOTS;
}

/* A statement that is still being stepped (a visitor that calls the same function again) is passed
 * over: each depth gets a statement of its own. */
enum ms_status ms_db_prepare(struct ms_corpus *corpus, const char *sql, sqlite3_stmt **out,
                             struct ms_error *err)
{
    enum { PROBES = 8 };
    struct ms_statement_slot *free_slot = NULL;
    struct ms_statement_slot *idle = NULL;
    size_t first = slot_of(sql);
    for (size_t i = 0; i < PROBES; i++) {
        struct ms_statement_slot *slot = &corpus->slots[(first + i) % MS_STATEMENT_SLOTS];
        if (!slot->statement) {
            free_slot = free_slot ? free_slot : slot;
            continue;
        }
        if (sqlite3_stmt_busy(slot->statement))
            continue;
        if (slot->sql == sql && strcmp(sqlite3_sql(slot->statement), sql) == 0) {
            ms_db_done(slot->statement);
            *out = slot->statement;
            return MS_OK;
        }
        idle = slot;
    }
    struct ms_statement_slot *slot = free_slot ? free_slot : idle;
    if (!slot)
        return ms_error_set(err, MS_E_BUG, "too many statements in use at once");
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v3(corpus->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (code != SQLITE_OK)
        return ms_db_error(corpus, code, err);
    sqlite3_finalize(slot->statement);
    *slot = (struct ms_statement_slot){sql, statement};
    *out = statement;
    return MS_OK;
}

void ms_db_done(sqlite3_stmt *statement)
{
    (void)sqlite3_reset(statement);
    (void)sqlite3_clear_bindings(statement);
}

void ms_db_release(struct ms_corpus *corpus)
{
    for (size_t i = 0; i < MS_STATEMENT_SLOTS; i++) {
        sqlite3_finalize(corpus->slots[i].statement);
        corpus->slots[i] = (struct ms_statement_slot){NULL, NULL};
    }
}

void ms_db_bind_int(sqlite3_stmt *statement, int index, int64_t value)
{
    (void)sqlite3_bind_int64(statement, index, value);
}

void ms_db_bind_null(sqlite3_stmt *statement, int index)
{
    (void)sqlite3_bind_null(statement, index);
}

void ms_db_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    if (text)
        (void)sqlite3_bind_text64(statement, index, text, strlen(text), SQLITE_STATIC, SQLITE_UTF8);
    else
        (void)sqlite3_bind_null(statement, index);
}

void ms_db_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, size_t n)
{
    /* SQLite takes a NULL pointer for SQL NULL whatever the length; an empty blob needs an
     * address. */
    if (bytes)
        (void)sqlite3_bind_blob64(statement, index, n ? bytes : "", n, SQLITE_STATIC);
    else
        (void)sqlite3_bind_null(statement, index);
}

void ms_db_bind_span(sqlite3_stmt *statement, int index, struct ms_span bytes)
{
    ms_db_bind_blob(statement, index, bytes.data, bytes.len);
}

void ms_db_bind_nonzero(sqlite3_stmt *statement, int index, int64_t value)
{
    if (value != 0)
        ms_db_bind_int(statement, index, value);
    else
        ms_db_bind_null(statement, index);
}

void ms_db_bind_known(sqlite3_stmt *statement, int index, int64_t value)
{
    if (value >= 0)
        ms_db_bind_int(statement, index, value);
    else
        ms_db_bind_null(statement, index);
}

enum ms_status ms_db_step(struct ms_corpus *corpus, sqlite3_stmt *statement, bool *row,
                          struct ms_error *err)
{
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return ms_db_error(corpus, code, err);
    *row = code == SQLITE_ROW;
    return MS_OK;
}

enum ms_status ms_db_run(struct ms_corpus *corpus, sqlite3_stmt *statement, struct ms_error *err)
{
    bool row = true;
    enum ms_status status = MS_OK;
    while (status == MS_OK && row)
        status = ms_db_step(corpus, statement, &row, err);
    ms_db_done(statement);
    return status;
}

int64_t ms_db_last_id(struct ms_corpus *corpus)
{
    return sqlite3_last_insert_rowid(corpus->db);
}

int64_t ms_db_changes(struct ms_corpus *corpus)
{
    return sqlite3_changes64(corpus->db);
}

int64_t ms_db_int(sqlite3_stmt *statement, int column, int64_t if_null)
{
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return if_null;
    return sqlite3_column_int64(statement, column);
}

struct ms_span ms_db_blob(sqlite3_stmt *statement, int column)
{
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return (struct ms_span){NULL, 0};
    const void *bytes = sqlite3_column_blob(statement, column);
    int n = sqlite3_column_bytes(statement, column);
    return ms_span_of(bytes ? bytes : "", n > 0 ? (size_t)n : 0);
}

const char *ms_db_text(sqlite3_stmt *statement, int column)
{
    return (const char *)sqlite3_column_text(statement, column);
}

enum ms_status ms_db_copy_text(sqlite3_stmt *statement, int column, const char **out,
                               struct ms_error *err)
{
    const char *text = ms_db_text(statement, column);
    *out = NULL;
    if (!text)
        return MS_OK;
    *out = strdup(text);
    return *out ? MS_OK : ms_error_set(err, MS_E_NOMEM, "out of memory");
}

void ms_text_free(const char *text)
{
    union {
        const char *from;
        char *to;
    } pointer = {text};
    free(pointer.to);
}

enum ms_status ms_db_need_transaction(struct ms_corpus *corpus, struct ms_error *err)
{
    if (!ms_corpus_in_transaction(corpus))
        return ms_error_set(err, MS_E_BUG, "a write to the corpus outside a transaction");
    return MS_OK;
}

enum ms_status ms_ids_push(struct ms_ids *self, int64_t id, struct ms_error *err)
{
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 256;
        int64_t *items =
            cap > SIZE_MAX / sizeof *items ? NULL : realloc(self->items, cap * sizeof *items);
        if (!items)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->items = items;
        self->cap = cap;
    }
    self->items[self->count++] = id;
    return MS_OK;
}

enum ms_status ms_ids_collect(struct ms_corpus *corpus, sqlite3_stmt *statement,
                              struct ms_ids *self, struct ms_error *err)
{
    enum ms_status status;
    bool row = false;
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        status = ms_ids_push(self, ms_db_int(statement, 0, 0), err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

void ms_ids_release(struct ms_ids *self)
{
    free(self->items);
    *self = (struct ms_ids){NULL, 0, 0};
}

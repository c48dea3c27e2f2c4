/* SQL for people: one reading statement under an authoriser, with a time-out. Formats nothing. */
#include "store/query.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/calls_table.h"
#include "store/internal.h"
#include "store/query_like.h"

#include <stdlib.h>
#include <string.h>

/* A value that a query may build (randomblob, group_concat, replace …): guards memory. */
enum { QUERY_LENGTH_BYTES = 256 << 20, QUERY_SQL_BYTES = 1 << 20, PROGRESS_OPS = 1000 };

/* Functions that only compute. What reads or writes files, loads code or calls out is not among
 * them, whatever a build of SQLite adds. Sorted. */
static const char *const functions[] = {"abs",
                                        "acos",
                                        "acosh",
                                        "asin",
                                        "asinh",
                                        "atan",
                                        "atan2",
                                        "atanh",
                                        "avg",
                                        "ceil",
                                        "ceiling",
                                        "changes",
                                        "char",
                                        "coalesce",
                                        "cos",
                                        "cosh",
                                        "count",
                                        "cume_dist",
                                        "current_date",
                                        "current_time",
                                        "current_timestamp",
                                        "date",
                                        "datetime",
                                        "degrees",
                                        "dense_rank",
                                        "exp",
                                        "first_value",
                                        "floor",
                                        "format",
                                        "glob",
                                        "group_concat",
                                        "hex",
                                        "ifnull",
                                        "iif",
                                        "instr",
                                        "json",
                                        "json_array",
                                        "json_array_length",
                                        "json_extract",
                                        "json_group_array",
                                        "json_group_object",
                                        "json_insert",
                                        "json_object",
                                        "json_patch",
                                        "json_quote",
                                        "json_remove",
                                        "json_replace",
                                        "json_set",
                                        "json_type",
                                        "json_valid",
                                        "julianday",
                                        "lag",
                                        "last_value",
                                        "lead",
                                        "length",
                                        "like",
                                        "likelihood",
                                        "likely",
                                        "ln",
                                        "log",
                                        "log10",
                                        "log2",
                                        "lower",
                                        "ltrim",
                                        "max",
                                        "min",
                                        "mod",
                                        "nth_value",
                                        "ntile",
                                        "nullif",
                                        "percent_rank",
                                        "pi",
                                        "pow",
                                        "power",
                                        "printf",
                                        "quote",
                                        "radians",
                                        "random",
                                        "randomblob",
                                        "rank",
                                        "replace",
                                        "round",
                                        "row_number",
                                        "rtrim",
                                        "sign",
                                        "sin",
                                        "sinh",
                                        "soundex",
                                        "sqlite_version",
                                        "sqrt",
                                        "strftime",
                                        "string_agg",
                                        "substr",
                                        "substring",
                                        "sum",
                                        "tan",
                                        "tanh",
                                        "time",
                                        "total",
                                        "trim",
                                        "trunc",
                                        "typeof",
                                        "unhex",
                                        "unicode",
                                        "unixepoch",
                                        "unlikely",
                                        "upper",
                                        "zeroblob"};

/* Pragmas that only describe the schema; they are reached as tables too (pragma_table_info). */
static const char *const pragmas[] = {"foreign_key_list", "index_info",  "index_list",
                                      "index_xinfo",      "table_info",  "table_list",
                                      "table_xinfo",      "user_version"};

static bool is_listed(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; name && i < count; i++)
        if (sqlite3_stricmp(name, list[i]) == 0)
            return true;
    return false;
}

static int authorise(void *ctx, int action, const char *first, const char *second,
                     const char *database, const char *source)
{
    (void)ctx;
    (void)database;
    (void)source;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        /* The "->" operators are functions of that name. */
        if (second && second[0] == '-')
            return SQLITE_OK;
        return is_listed(second, functions, sizeof functions / sizeof *functions) ? SQLITE_OK
                                                                                  : SQLITE_DENY;
    case SQLITE_PRAGMA:
        /* With an argument, user_version would be a write. */
        if (second && sqlite3_stricmp(first, "user_version") == 0)
            return SQLITE_DENY;
        return is_listed(first, pragmas, sizeof pragmas / sizeof *pragmas) ? SQLITE_OK
                                                                           : SQLITE_DENY;
    default:
        return SQLITE_DENY;
    }
}

static int is_late(void *ctx)
{
    return ms_clock_mono_ms() >= *(const int64_t *)ctx;
}

/* SQLite's words for SQL that is wrong, ours for what is not allowed or took too long; the rest are
 * troubles of the corpus. */
static enum ms_status explain(struct ms_corpus *corpus, int code, int64_t timeout_ms,
                              struct ms_error *err)
{
    char words[400];
    ms_escape_text(sqlite3_errmsg(corpus->db), words, sizeof words);
    switch (code & 0xff) {
    case SQLITE_AUTH:
        return ms_error_set(err, MS_E_USAGE, "a query may only read: %s", words);
    case SQLITE_INTERRUPT:
        return ms_error_set(err, MS_E_LIMIT, "the query was stopped after %lld ms",
                            (long long)timeout_ms);
    case SQLITE_ERROR:
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
        return ms_error_set(err, MS_E_USAGE, "%s", words);
    default:
        return ms_db_error(corpus, code, err);
    }
}

static enum ms_status prepare(struct ms_corpus *corpus, const char *sql, sqlite3_stmt **out,
                              struct ms_error *err)
{
    const char *tail = sql;
    sqlite3_stmt *more = NULL;
    *out = NULL;
    int code = sqlite3_prepare_v2(corpus->db, sql, -1, out, &tail);
    if (code != SQLITE_OK)
        return explain(corpus, code, 0, err);
    if (!*out)
        return ms_error_set(err, MS_E_USAGE, "an empty query");
    if (!sqlite3_stmt_readonly(*out) || sqlite3_column_count(*out) == 0)
        return ms_error_set(err, MS_E_USAGE, "a query may only read");
    if (sqlite3_bind_parameter_count(*out) != 0)
        return ms_error_set(err, MS_E_USAGE, "a query cannot have parameters");
    while (*tail && !more && code == SQLITE_OK)
        code = sqlite3_prepare_v2(corpus->db, tail, -1, &more, &tail);
    sqlite3_finalize(more);
    if (more || code != SQLITE_OK)
        return ms_error_set(err, MS_E_USAGE, "more than one statement in a query");
    return MS_OK;
}

static enum ms_status send_head(sqlite3_stmt *statement, const struct ms_query_sink *sink,
                                struct ms_error *err)
{
    int count = sqlite3_column_count(statement);
    const char **names = calloc((size_t)count, sizeof *names);
    if (!names)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    for (int i = 0; i < count; i++) {
        const char *name = sqlite3_column_name(statement, i);
        names[i] = name ? name : "";
    }
    enum ms_status status = sink->head(sink->ctx, names, count, err);
    free(names);
    return status;
}

static struct ms_value value_of(sqlite3_stmt *statement, int column)
{
    struct ms_value value = {.kind = MS_VALUE_NULL, .bytes = {NULL, 0}};
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        value.kind = MS_VALUE_INT;
        value.integer = sqlite3_column_int64(statement, column);
        break;
    case SQLITE_FLOAT:
        value.kind = MS_VALUE_REAL;
        value.real = sqlite3_column_double(statement, column);
        break;
    case SQLITE_TEXT:
        value.kind = MS_VALUE_TEXT;
        value.bytes = ms_db_blob(statement, column);
        break;
    case SQLITE_BLOB:
        value.kind = MS_VALUE_BLOB;
        value.bytes = ms_db_blob(statement, column);
        break;
    default:
        break;
    }
    return value;
}

static enum ms_status send_rows(struct ms_corpus *corpus, sqlite3_stmt *statement,
                                int64_t timeout_ms, const struct ms_query_sink *sink,
                                struct ms_error *err)
{
    int count = sqlite3_column_count(statement);
    struct ms_value *values = calloc((size_t)count, sizeof *values);
    enum ms_status status = MS_OK;
    int code = SQLITE_DONE;
    if (!values)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    while (status == MS_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        for (int i = 0; i < count; i++)
            values[i] = value_of(statement, i);
        status = sink->row(sink->ctx, values, count, err);
    }
    free(values);
    if (status == MS_OK && code != SQLITE_DONE)
        return explain(corpus, code, timeout_ms, err);
    return status;
}

/* Virtual tables come to life at their first use by "declaring" themselves, which an authoriser
 * sees as a change of the schema. These may be used, so they are brought to life before it is set;
 * any other (dbstat) fails there. */
static enum ms_status connect_tables(struct ms_corpus *corpus, struct ms_error *err)
{
    static const char sql[] =
        "SELECT 1 FROM calls, json_each, json_tree, pragma_table_info, pragma_table_xinfo,"
        " pragma_table_list, pragma_index_list, pragma_index_info, pragma_index_xinfo,"
        " pragma_foreign_key_list, pragma_user_version";
    sqlite3_stmt *statement = NULL;
    if (!corpus->has_calls && ms_calls_register(corpus->db) != SQLITE_OK)
        return ms_error_set(err, MS_E_NOMEM, "cannot set up the table calls");
    if (ms_query_like_register(corpus->db) != SQLITE_OK)
        return ms_error_set(err, MS_E_NOMEM, "cannot set up LIKE");
    corpus->has_calls = true;
    int code = sqlite3_prepare_v2(corpus->db, sql, -1, &statement, NULL);
    sqlite3_finalize(statement);
    return code == SQLITE_OK ? MS_OK : ms_db_error(corpus, code, err);
}

enum ms_status ms_query_run(struct ms_corpus *corpus, const char *sql, int64_t timeout_ms,
                            const struct ms_query_sink *sink, struct ms_error *err)
{
    sqlite3 *db = corpus->db;
    sqlite3_stmt *statement = NULL;
    int64_t deadline_ms = ms_clock_mono_ms() + timeout_ms;
    enum ms_status status = connect_tables(corpus, err);
    if (status != MS_OK)
        return status;
    int length = sqlite3_limit(db, SQLITE_LIMIT_LENGTH, QUERY_LENGTH_BYTES);
    int sql_length = sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, QUERY_SQL_BYTES);
    int attached = sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    (void)sqlite3_set_authorizer(db, authorise, NULL);
    if (timeout_ms > 0)
        sqlite3_progress_handler(db, PROGRESS_OPS, is_late, &deadline_ms);
    status = prepare(corpus, sql, &statement, err);
    if (status == MS_OK)
        status = send_head(statement, sink, err);
    if (status == MS_OK)
        status = send_rows(corpus, statement, timeout_ms, sink, err);
    sqlite3_finalize(statement);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    (void)sqlite3_set_authorizer(db, NULL, NULL);
    (void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, length);
    (void)sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, sql_length);
    (void)sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, attached);
    return status;
}

/* The ledger of requests and what the service said of the account's limits. When to wait:
 * label/quota. */
#include "store/internal.h"
#include "store/label.h"

#include "base/step.h"

#include <string.h>

/* The longest a request can be on its way (label/virustotal sets 60 s). */
enum { IN_FLIGHT_MS = 60000 };

/* The four kinds of window, in static storage. */
static const char *const windows[] = {"minute", "hour", "day", "month"};

enum ms_status ms_request_reserve(struct ms_corpus *corpus, const char *key_print,
                                  const char *endpoint, const char *subject, int64_t now_ms,
                                  bool counted, int64_t *id, struct ms_error *err)
{
    static const char sql[] = "INSERT INTO request (key_print, endpoint, subject, sent_ms, counted)"
                              " VALUES (?1, ?2, ?3, ?4, ?5)";
    sqlite3_stmt *statement;
    enum ms_status status = ms_corpus_begin(corpus, err);
    if (status != MS_OK)
        return status;
    status = ms_db_prepare(corpus, sql, &statement, err);
    if (status == MS_OK) {
        ms_db_bind_text(statement, 1, key_print);
        ms_db_bind_text(statement, 2, endpoint);
        ms_db_bind_text(statement, 3, subject);
        ms_db_bind_int(statement, 4, now_ms);
        ms_db_bind_int(statement, 5, counted);
        status = ms_db_run(corpus, statement, err);
    }
    int64_t row = ms_db_last_id(corpus);
    if (status == MS_OK)
        status = ms_corpus_commit(corpus, err);
    else
        ms_corpus_rollback(corpus);
    if (status != MS_OK)
        return status;
    *id = row;
    ms_step("store.request.reserved");
    return MS_OK;
}

enum ms_status ms_request_settle(struct ms_corpus *corpus, int64_t id, int64_t now_ms, int status,
                                 const char *error_code, bool counted, struct ms_error *err)
{
    static const char sql[] = "UPDATE request SET settled_ms = ?2, status = ?3, error_code = ?4,"
                              " counted = ?5 WHERE id = ?1";
    sqlite3_stmt *statement;
    enum ms_status result = ms_corpus_begin(corpus, err);
    if (result != MS_OK)
        return result;
    result = ms_db_prepare(corpus, sql, &statement, err);
    if (result == MS_OK) {
        ms_db_bind_int(statement, 1, id);
        ms_db_bind_int(statement, 2, now_ms);
        ms_db_bind_int(statement, 3, status);
        ms_db_bind_text(statement, 4, error_code);
        ms_db_bind_int(statement, 5, counted);
        result = ms_db_run(corpus, statement, err);
    }
    if (result == MS_OK)
        result = ms_corpus_commit(corpus, err);
    else
        ms_corpus_rollback(corpus);
    if (result == MS_OK)
        ms_step("store.request.settled");
    return result;
}

enum ms_status ms_request_count(struct ms_corpus *corpus, const char *key_print, int64_t from_ms,
                                int64_t to_ms, uint64_t *count, struct ms_error *err)
{
    /* The first count is read from the index alone; the second concerns a minute. */
    static const char sql[] =
        "SELECT (SELECT count(*) FROM request WHERE key_print = ?1 AND sent_ms >= ?2"
        " AND sent_ms < ?3 AND counted = 1) + (SELECT count(*) FROM request WHERE key_print = ?1"
        " AND sent_ms >= ?2 - ?4 AND sent_ms < min(?2, ?3) AND counted = 1"
        " AND coalesce(settled_ms, sent_ms + ?4) > ?2)";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, key_print);
    ms_db_bind_int(statement, 2, from_ms);
    ms_db_bind_int(statement, 3, to_ms);
    ms_db_bind_int(statement, 4, IN_FLIGHT_MS);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK)
        *count = (uint64_t)ms_db_int(statement, 0, 0);
    ms_db_done(statement);
    return status;
}

enum ms_status ms_request_total(struct ms_corpus *corpus, uint64_t *count, struct ms_error *err)
{
    int64_t total = 0;
    enum ms_status status =
        ms_db_scalar(corpus, "SELECT coalesce(max(id), 0) FROM request", &total, err);
    *count = (uint64_t)total;
    return status;
}

enum ms_status ms_request_nth_newest(struct ms_corpus *corpus, const char *key_print, uint64_t n,
                                     int64_t *sent_ms, struct ms_error *err)
{
    static const char sql[] = "SELECT max(sent_ms, coalesce(settled_ms, 0)) FROM request WHERE "
                              "key_print = ?1 AND counted = 1"
                              " ORDER BY sent_ms DESC, id DESC LIMIT 1 OFFSET ?2";
    sqlite3_stmt *statement;
    bool row = false;
    *sent_ms = 0;
    if (n == 0 || n > INT64_MAX)
        return MS_OK;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, key_print);
    ms_db_bind_int(statement, 2, (int64_t)(n - 1));
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK && row)
        *sent_ms = ms_db_int(statement, 0, 0);
    ms_db_done(statement);
    return status;
}

enum ms_status ms_quota_put(struct ms_corpus *corpus, const char *key_print,
                            const struct ms_quota_window *window, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO quota (key_print, window, allowed, used, read_ms) VALUES (?1, ?2, ?3, ?4, ?5)"
        " ON CONFLICT (key_print, window) DO UPDATE SET allowed = ?3, used = ?4, read_ms = ?5";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, key_print);
    ms_db_bind_text(statement, 2, window->window);
    ms_db_bind_int(statement, 3, window->allowed);
    ms_db_bind_int(statement, 4, window->used);
    ms_db_bind_int(statement, 5, window->read_ms);
    return ms_db_run(corpus, statement, err);
}

enum ms_status ms_quota_get(struct ms_corpus *corpus, const char *key_print, const char *window,
                            bool *found, struct ms_quota_window *out, struct ms_error *err)
{
    static const char sql[] = "SELECT allowed, used, read_ms FROM quota"
                              " WHERE key_print = ?1 AND window = ?2";
    const char *name = NULL;
    sqlite3_stmt *statement;
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++)
        name = strcmp(window, windows[i]) == 0 ? windows[i] : name;
    if (!name)
        return ms_error_set(err, MS_E_BUG, "an unknown quota window");
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_text(statement, 1, key_print);
    ms_db_bind_text(statement, 2, name);
    status = ms_db_step(corpus, statement, found, err);
    if (status == MS_OK && *found)
        *out = (struct ms_quota_window){.window = name,
                                        .allowed = ms_db_int(statement, 0, 0),
                                        .used = ms_db_int(statement, 1, 0),
                                        .read_ms = ms_db_int(statement, 2, 0)};
    ms_db_done(statement);
    return status;
}

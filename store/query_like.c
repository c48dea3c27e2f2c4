/* LIKE and GLOB by SQLite's own matchers, on text and BLOBs alike. */
#include "store/query_like.h"

#include <stdbool.h>
#include <stddef.h>

/* SQLite's own limit on a pattern guards against the time that many wildcards take. */
static bool take_words(sqlite3_context *context, int count, sqlite3_value **values)
{
    int most =
        sqlite3_limit(sqlite3_context_db_handle(context), SQLITE_LIMIT_LIKE_PATTERN_LENGTH, -1);
    for (int i = 0; i < count; i++)
        if (sqlite3_value_type(values[i]) == SQLITE_NULL)
            return false;
    if (sqlite3_value_bytes(values[0]) <= most)
        return true;
    sqlite3_result_error(context, "LIKE or GLOB pattern too complex", -1);
    return false;
}

static void match_like(sqlite3_context *context, int count, sqlite3_value **values)
{
    unsigned escape = 0;
    if (!take_words(context, count, values))
        return;
    const char *pattern = (const char *)sqlite3_value_text(values[0]);
    const char *text = (const char *)sqlite3_value_text(values[1]);
    const char *mark = count > 2 ? (const char *)sqlite3_value_text(values[2]) : NULL;
    if (mark && (mark[0] == '\0' || mark[1] != '\0' || (mark[0] & 0x80))) {
        sqlite3_result_error(context, "ESCAPE expression must be a single character", -1);
        return;
    }
    escape = mark ? (unsigned)(unsigned char)mark[0] : 0;
    if (pattern && text)
        sqlite3_result_int(context, sqlite3_strlike(pattern, text, escape) == 0);
}

static void match_glob(sqlite3_context *context, int count, sqlite3_value **values)
{
    if (!take_words(context, count, values))
        return;
    const char *pattern = (const char *)sqlite3_value_text(values[0]);
    const char *text = (const char *)sqlite3_value_text(values[1]);
    if (pattern && text)
        sqlite3_result_int(context, sqlite3_strglob(pattern, text) == 0);
}

int ms_query_like_register(sqlite3 *db)
{
    const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    int code = sqlite3_create_function_v2(db, "like", 2, flags, NULL, match_like, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_create_function_v2(db, "like", 3, flags, NULL, match_like, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_create_function_v2(db, "glob", 2, flags, NULL, match_glob, NULL, NULL, NULL);
    return code;
}

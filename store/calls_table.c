/* The virtual table `calls`, in the product and, compiled with MS_CALLS_EXTENSION, as an extension
 * that sqlite3 and Python can load. Reads only. */
#include "store/calls_table.h"

#include "store/calls_names.h"
#include "store/trace/encode.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef MS_CALLS_EXTENSION
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1
#endif

enum column {
    COL_SAMPLE,
    COL_PROCESS,
    COL_SEQ,
    COL_API,
    COL_TID,
    COL_TIME,
    COL_REPEATED,
    COL_ANALYSIS,
    COL_PID,
    COL_API_ID,
    COL_SPACE,
    COL_CATEGORY
};

/* What xBestIndex tells xFilter: which argument comes, in this order, and whether to unpack. */
enum plan {
    PLAN_PROCESS = 1,
    PLAN_ANALYSIS = 2,
    PLAN_SAMPLE = 4,
    PLAN_API = 8,
    PLAN_API_ID = 16,
    PLAN_UNPACK = 32,
    PLAN_BY_SAMPLE = 64, /* the processes by sample, or by analysis, not by id */
    PLAN_BY_ANALYSIS = 128
};

/* Columns that are known without the trace. */
#define PLAIN_COLUMNS \
    (1u << COL_SAMPLE | 1u << COL_PROCESS | 1u << COL_SEQ | 1u << COL_ANALYSIS | 1u << COL_PID)

enum {
    BLOCK_CALLS = 1024,
    SEQ_BITS = 28 /* MS_LIMIT_CALLS is 2^28 */
};

struct table {
    sqlite3_vtab base; /* first */
    sqlite3 *db;
    struct ms_call_names names;
};

struct cursor {
    sqlite3_vtab_cursor base; /* first */
    sqlite3_stmt *processes;
    struct ms_trace_decoder *decoder;
    struct ms_trace_call block[BLOCK_CALLS];
    size_t at, have;
    int plan;
    bool started; /* a process is at hand */
    bool done;
    bool filter_api;
    struct ids {
        uint32_t *items;
        size_t count;
    } wanted; /* the API ids that may pass, when filter_api */
    int64_t seq;
    int64_t calls; /* of the present process, by its row */
    int64_t process;
};

/* Says why in the way SQLite wants it: the old text freed, the new one allocated by SQLite. */
static int fail(struct table *table, int code, const char *why)
{
    sqlite3_free(table->base.zErrMsg);
    table->base.zErrMsg = sqlite3_mprintf("%s", why);
    return code;
}

static int calls_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                         sqlite3_vtab **out, char **error)
{
    (void)aux;
    (void)argc;
    (void)argv;
    (void)error;
    int code = sqlite3_declare_vtab(
        db, "CREATE TABLE calls (sample INTEGER, process INTEGER, seq INTEGER, api TEXT,"
            " tid INTEGER, time INTEGER, repeated INTEGER, analysis INTEGER HIDDEN,"
            " pid INTEGER HIDDEN, api_id INTEGER HIDDEN, space INTEGER HIDDEN,"
            " category TEXT HIDDEN)");
    if (code != SQLITE_OK)
        return code;
    struct table *table = sqlite3_malloc64(sizeof *table);
    if (!table)
        return SQLITE_NOMEM;
    memset(table, 0, sizeof *table);
    table->db = db;
    ms_call_names_init(&table->names, db);
    (void)sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
    *out = &table->base;
    return SQLITE_OK;
}

static int calls_disconnect(sqlite3_vtab *base)
{
    struct table *table = (struct table *)base;
    ms_call_names_release(&table->names);
    sqlite3_free(table);
    return SQLITE_OK;
}

/* The index constraint that serves a column, or -1. IN lists on api would scan everything once a
 * member: they are left to SQLite, which filters one scan. */
static int usable(sqlite3_index_info *info, int column)
{
    for (int i = 0; i < info->nConstraint; i++) {
        if (info->aConstraint[i].iColumn != column || !info->aConstraint[i].usable ||
            info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
            continue;
        bool by_api = column == COL_API || column == COL_API_ID;
        if (by_api && sqlite3_vtab_in(info, i, -1))
            continue;
        if (column == COL_API && strcmp(sqlite3_vtab_collation(info, i), "BINARY") != 0)
            continue;
        return i;
    }
    return -1;
}

static int use(sqlite3_index_info *info, int column, int bit, int *arguments)
{
    int i = usable(info, column);
    if (i < 0)
        return 0;
    info->aConstraintUsage[i].argvIndex = ++*arguments;
    return bit;
}

/* The column rows are to come by first, when it is one we can walk by: sample, analysis or process,
 * then process, then seq. -1 when SQLite has to sort. Whether it goes up or down does not count
 * where rows only have to come in groups (GROUP BY, DISTINCT), for which SQLite may ask with the
 * direction of an ORDER BY over something else. */
static int order_of(sqlite3_index_info *info)
{
    bool grouped = sqlite3_vtab_distinct(info) != 0;
    int first = info->nOrderBy > 0 ? info->aOrderBy[0].iColumn : -1;
    int expected = first;
    if (first != COL_SAMPLE && first != COL_ANALYSIS && first != COL_PROCESS)
        return -1;
    for (int i = 0; i < info->nOrderBy; i++) {
        if (info->aOrderBy[i].iColumn != expected || (info->aOrderBy[i].desc && !grouped))
            return -1;
        expected = expected == COL_PROCESS ? COL_SEQ : expected == COL_SEQ ? -1 : COL_PROCESS;
    }
    return first;
}

static int calls_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    int arguments = 0;
    (void)base;
    int plan = use(info, COL_PROCESS, PLAN_PROCESS, &arguments);
    if (!plan)
        plan = use(info, COL_ANALYSIS, PLAN_ANALYSIS, &arguments);
    if (!plan)
        plan = use(info, COL_SAMPLE, PLAN_SAMPLE, &arguments);
    double rows = plan & PLAN_PROCESS ? 1e4 : plan ? 3e4 : 1e8;
    plan |= use(info, COL_API, PLAN_API, &arguments);
    if (!(plan & PLAN_API))
        plan |= use(info, COL_API_ID, PLAN_API_ID, &arguments);
    double cost = rows;
    if (plan & (PLAN_API | PLAN_API_ID)) {
        cost /= 4;
        rows /= 50;
    }
    if (plan & (PLAN_API | PLAN_API_ID) || info->colUsed & ~(sqlite3_uint64)PLAIN_COLUMNS)
        plan |= PLAN_UNPACK;
    else
        cost /= 4;
    info->idxNum = plan;
    info->estimatedCost = cost;
    info->estimatedRows = (sqlite3_int64)rows;
    int order = order_of(info);
    info->orderByConsumed = order >= 0;
    info->idxNum |= order == COL_SAMPLE     ? PLAN_BY_SAMPLE
                    : order == COL_ANALYSIS ? PLAN_BY_ANALYSIS
                                            : 0;
    return SQLITE_OK;
}

static int calls_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out)
{
    (void)base;
    struct cursor *cursor = sqlite3_malloc64(sizeof *cursor);
    if (!cursor)
        return SQLITE_NOMEM;
    memset(cursor, 0, sizeof *cursor);
    *out = &cursor->base;
    return SQLITE_OK;
}

static void rewind_cursor(struct cursor *cursor)
{
    sqlite3_finalize(cursor->processes);
    ms_trace_decoder_close(cursor->decoder);
    sqlite3_free(cursor->wanted.items);
    cursor->processes = NULL;
    cursor->decoder = NULL;
    cursor->wanted = (struct ids){NULL, 0};
    cursor->at = cursor->have = 0;
    cursor->done = cursor->started = cursor->filter_api = false;
    cursor->calls = 0;
    cursor->seq = -1;
}

static int calls_close(sqlite3_vtab_cursor *base)
{
    rewind_cursor((struct cursor *)base);
    sqlite3_free(base);
    return SQLITE_OK;
}

static int damaged(struct cursor *cursor, enum ms_status status, const struct ms_error *err)
{
    struct table *table = (struct table *)cursor->base.pVtab;
    if (status == MS_E_NOMEM)
        return SQLITE_NOMEM;
    sqlite3_free(table->base.zErrMsg);
    table->base.zErrMsg =
        sqlite3_mprintf("calls: the trace of process %lld is damaged: %s; run malseq fsck",
                        (long long)cursor->process, err->text);
    return SQLITE_CORRUPT_VTAB;
}

static bool is_wanted(const struct cursor *cursor, uint32_t api)
{
    for (size_t i = 0; i < cursor->wanted.count; i++)
        if (cursor->wanted.items[i] == api)
            return true;
    return false;
}

/* Unpacks the present process's trace, unless its dictionary says that nothing in it is wanted. */
static int open_trace(struct cursor *cursor)
{
    struct ms_error err;
    bool found = true;
    const void *bytes = sqlite3_column_blob(cursor->processes, 5);
    int n = sqlite3_column_bytes(cursor->processes, 5);
    struct ms_span blob = ms_span_of(bytes ? bytes : "", n > 0 ? (size_t)n : 0);
    enum ms_status status = MS_OK;
    if (cursor->filter_api)
        status = ms_trace_mentions(blob, cursor->wanted.items, cursor->wanted.count, &found, &err);
    if (status == MS_OK && found)
        status = ms_trace_decoder_open(blob, &cursor->decoder, &err);
    return status == MS_OK ? SQLITE_ROW : damaged(cursor, status, &err);
}

/* Steps to the next process; SQLITE_DONE at the end. */
static int next_process(struct cursor *cursor)
{
    struct table *table = (struct table *)cursor->base.pVtab;
    int code = sqlite3_step(cursor->processes);
    ms_trace_decoder_close(cursor->decoder);
    cursor->decoder = NULL;
    cursor->at = cursor->have = 0;
    cursor->seq = -1;
    if (code == SQLITE_DONE)
        return code;
    if (code != SQLITE_ROW)
        return fail(table, code, sqlite3_errmsg(table->db));
    cursor->started = true;
    cursor->process = sqlite3_column_int64(cursor->processes, 0);
    cursor->calls = sqlite3_column_int64(cursor->processes, 4);
    return cursor->plan & PLAN_UNPACK ? open_trace(cursor) : SQLITE_ROW;
}

/* The next call of the present process; *got false at its end. */
static int next_call(struct cursor *cursor, bool *got)
{
    struct ms_error err;
    *got = false;
    if (!(cursor->plan & PLAN_UNPACK)) {
        *got = ++cursor->seq < cursor->calls;
        return SQLITE_OK;
    }
    while (cursor->decoder) {
        if (++cursor->at >= cursor->have) {
            enum ms_status status = ms_trace_decoder_next(cursor->decoder, cursor->block,
                                                          BLOCK_CALLS, &cursor->have, &err);
            if (status != MS_OK)
                return damaged(cursor, status, &err);
            cursor->at = 0;
            if (cursor->have == 0)
                return SQLITE_OK;
        }
        cursor->seq++;
        if (!cursor->filter_api || is_wanted(cursor, cursor->block[cursor->at].api)) {
            *got = true;
            return SQLITE_OK;
        }
    }
    return SQLITE_OK;
}

static int calls_next(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    for (;;) {
        bool got = false;
        int code = cursor->started ? next_call(cursor, &got) : SQLITE_OK;
        if (code != SQLITE_OK || got)
            return code;
        code = next_process(cursor);
        if (code == SQLITE_DONE) {
            cursor->done = true;
            return SQLITE_OK;
        }
        if (code != SQLITE_ROW)
            return code;
    }
}

/* The ids that a name stands for: one a space. */
static int find_ids(struct cursor *cursor, sqlite3_value *name)
{
    struct table *table = (struct table *)cursor->base.pVtab;
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(table->db, "SELECT id FROM main.api WHERE name = ?1", -1,
                                  &statement, NULL);
    if (code != SQLITE_OK)
        return fail(table, code, sqlite3_errmsg(table->db));
    (void)sqlite3_bind_value(statement, 1, name);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        uint32_t *items =
            sqlite3_realloc64(cursor->wanted.items, (cursor->wanted.count + 1) * sizeof(uint32_t));
        if (!items) {
            sqlite3_finalize(statement);
            return SQLITE_NOMEM;
        }
        items[cursor->wanted.count] = (uint32_t)sqlite3_column_int64(statement, 0);
        cursor->wanted.items = items;
        cursor->wanted.count++;
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : fail(table, code, sqlite3_errmsg(table->db));
}

static int keep_id(struct cursor *cursor, sqlite3_value *id)
{
    double number = sqlite3_value_double(id);
    if (sqlite3_value_numeric_type(id) == SQLITE_NULL || number < 0 || number > UINT32_MAX)
        return SQLITE_OK; /* equal to no id */
    cursor->wanted.items = sqlite3_malloc64(sizeof(uint32_t));
    if (!cursor->wanted.items)
        return SQLITE_NOMEM;
    cursor->wanted.items[0] = (uint32_t)number;
    cursor->wanted.count = 1;
    return SQLITE_OK;
}

static int prepare_processes(struct cursor *cursor, sqlite3_value *key)
{
    struct table *table = (struct table *)cursor->base.pVtab;
    const char *where = cursor->plan & PLAN_PROCESS    ? " WHERE p.id = ?1"
                        : cursor->plan & PLAN_ANALYSIS ? " WHERE p.analysis = ?1"
                        : cursor->plan & PLAN_SAMPLE   ? " WHERE a.sample = ?1"
                                                       : "";
    const char *first = cursor->plan & PLAN_BY_SAMPLE     ? "a.sample, "
                        : cursor->plan & PLAN_BY_ANALYSIS ? "p.analysis, "
                                                          : "";
    char *sql = sqlite3_mprintf("SELECT p.id, a.sample, p.analysis, p.pid, p.calls%s"
                                " FROM main.process p JOIN main.analysis a ON a.id = p.analysis%s"
                                " ORDER BY %sp.id",
                                cursor->plan & PLAN_UNPACK ? ", p.trace" : "", where, first);
    if (!sql)
        return SQLITE_NOMEM;
    int code = sqlite3_prepare_v2(table->db, sql, -1, &cursor->processes, NULL);
    sqlite3_free(sql);
    if (code != SQLITE_OK)
        return fail(table, code, sqlite3_errmsg(table->db));
    if (key)
        (void)sqlite3_bind_value(cursor->processes, 1, key);
    return SQLITE_OK;
}

static int calls_filter(sqlite3_vtab_cursor *base, int plan, const char *text, int argc,
                        sqlite3_value **argv)
{
    struct cursor *cursor = (struct cursor *)base;
    int used = plan & (PLAN_PROCESS | PLAN_ANALYSIS | PLAN_SAMPLE) ? 1 : 0;
    (void)text;
    rewind_cursor(cursor);
    cursor->plan = plan;
    int code = prepare_processes(cursor, used ? argv[0] : NULL);
    if (code == SQLITE_OK && argc > used && (plan & (PLAN_API | PLAN_API_ID))) {
        cursor->filter_api = true;
        code = plan & PLAN_API ? find_ids(cursor, argv[used]) : keep_id(cursor, argv[used]);
        if (code == SQLITE_OK && cursor->wanted.count == 0) {
            cursor->done = true;
            return SQLITE_OK;
        }
    }
    return code == SQLITE_OK ? calls_next(base) : code;
}

static int calls_eof(sqlite3_vtab_cursor *base)
{
    return ((struct cursor *)base)->done;
}

static void text_or_null(sqlite3_context *context, const char *text, bool lasts)
{
    if (text)
        sqlite3_result_text(context, text, -1, lasts ? SQLITE_STATIC : SQLITE_TRANSIENT);
    else
        sqlite3_result_null(context);
}

static int api_column(struct table *table, sqlite3_context *context, uint32_t id, int column)
{
    const struct ms_call_name *api;
    bool lasts;
    int code = ms_call_names_get(&table->names, id, &api, &lasts);
    if (code == SQLITE_NOMEM)
        return code;
    if (code != SQLITE_OK)
        return fail(table, code, sqlite3_errmsg(table->db));
    if (column == COL_SPACE && api->known)
        sqlite3_result_int(context, api->space);
    else if (column != COL_SPACE)
        text_or_null(context, column == COL_API ? api->name : api->category, lasts);
    return SQLITE_OK;
}

static int calls_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    struct cursor *cursor = (struct cursor *)base;
    /* Without unpacking, a column of the trace is only asked for where its value does not count
     * (colUsed left it out): at is 0 and the block is there, so the read is harmless. */
    const struct ms_trace_call *call = &cursor->block[cursor->at];
    switch (column) {
    case COL_SAMPLE:
        sqlite3_result_value(context, sqlite3_column_value(cursor->processes, 1));
        break;
    case COL_PROCESS:
        sqlite3_result_int64(context, cursor->process);
        break;
    case COL_SEQ:
        sqlite3_result_int64(context, cursor->seq);
        break;
    case COL_TID:
        if (call->tid != MS_TID_NONE)
            sqlite3_result_int64(context, (sqlite3_int64)call->tid);
        break;
    case COL_TIME:
        if (call->time_us != MS_TIME_NONE)
            sqlite3_result_int64(context, call->time_us);
        break;
    case COL_REPEATED:
        sqlite3_result_int64(context, (sqlite3_int64)call->repeated);
        break;
    case COL_ANALYSIS:
    case COL_PID:
        sqlite3_result_value(
            context, sqlite3_column_value(cursor->processes, column == COL_ANALYSIS ? 2 : 3));
        break;
    case COL_API_ID:
        sqlite3_result_int64(context, call->api);
        break;
    default:
        return api_column((struct table *)base->pVtab, context, call->api, column);
    }
    return SQLITE_OK;
}

static int calls_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out)
{
    const struct cursor *cursor = (const struct cursor *)base;
    *out = (sqlite3_int64)((uint64_t)cursor->process << SEQ_BITS | (uint64_t)cursor->seq);
    return SQLITE_OK;
}

int ms_calls_register(sqlite3 *db)
{
    /* Without xCreate the table is there under the module's name and cannot be made otherwise. */
    static const sqlite3_module module = {.iVersion = 0,
                                          .xConnect = calls_connect,
                                          .xBestIndex = calls_best_index,
                                          .xDisconnect = calls_disconnect,
                                          .xOpen = calls_open,
                                          .xClose = calls_close,
                                          .xFilter = calls_filter,
                                          .xNext = calls_next,
                                          .xEof = calls_eof,
                                          .xColumn = calls_column,
                                          .xRowid = calls_rowid};
    return sqlite3_create_module_v2(db, "calls", &module, NULL, NULL);
}

#ifdef MS_CALLS_EXTENSION
/* The name sqlite3_load_extension derives from the file's. */
__attribute__((visibility("default"))) int
sqlite3_malseqcalls_init(sqlite3 *db, char **error, const sqlite3_api_routines *api);

int sqlite3_malseqcalls_init(sqlite3 *db, char **error, const sqlite3_api_routines *api)
{
    SQLITE_EXTENSION_INIT2(api)
    if (sqlite3_libversion_number() < 3038000) {
        *error = sqlite3_mprintf("malseq_calls needs SQLite 3.38 or newer");
        return SQLITE_ERROR;
    }
    return ms_calls_register(db);
}
#endif

/* The virtual table `calls`, in the product and, compiled with MS_CALLS_EXTENSION, as an extension
 * that sqlite3 and Python can load. Reads only. */
#include "store/calls_table.h"

#include "store/calls_groups.h"
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

/* What xBestIndex tells xFilter: which arguments come, in this order, and what to unpack. */
enum plan {
    PLAN_PROCESS = 1,
    PLAN_ANALYSIS = 2,
    PLAN_SAMPLE = 4,
    PLAN_SEQ = 8, /* equal to, or … */
    PLAN_SEQ_FROM = 16,
    PLAN_SEQ_AFTER = 32,
    PLAN_SEQ_TO = 64,
    PLAN_SEQ_BEFORE = 128,
    PLAN_API = 256,
    PLAN_API_ID = 512,
    PLAN_BY_SAMPLE = 1024, /* the processes by sample, or by analysis, not by id */
    PLAN_BY_ANALYSIS = 2048,
    PLAN_GROUPS = 4096,    /* calls by API name, whichever process they are of */
    PLAN_GROUPS_ID = 8192, /* the same by API id */
    PLAN_ONCE = 16384,     /* one of each group is enough */
    PLAN_COLUMNS = 32768   /* times enum ms_trace_column: what is unpacked; nothing: no trace is */
};

/* What decides the text of the inner statement. */
enum {
    PLAN_STATEMENT = PLAN_PROCESS | PLAN_ANALYSIS | PLAN_SAMPLE | PLAN_BY_SAMPLE | PLAN_BY_ANALYSIS
};

#define BIT(column) ((sqlite3_uint64)1 << (column))

enum {
    SEQ_BITS = 28, /* MS_LIMIT_CALLS is 2^26 */
    SPARE_STATEMENTS = 8
};

/* A prepared inner statement that no cursor uses. */
struct spare {
    sqlite3_stmt *statement;
    int plan; /* & PLAN_STATEMENT, and whether the trace is in it */
};

struct table {
    sqlite3_vtab base; /* first */
    sqlite3 *db;
    struct ms_call_names names;
    /* What cursors leave behind for the next one: a query of a few hundred calls is over before
     * these would have been made. */
    struct spare spares[SPARE_STATEMENTS];
    struct ms_trace_decoder *decoder;
};

struct cursor {
    sqlite3_vtab_cursor base; /* first */
    sqlite3_stmt *processes;
    int statement_plan;
    struct ms_trace_decoder *decoder;
    struct ms_trace_columns block;
    size_t at;
    int plan;
    unsigned columns; /* enum ms_trace_column; 0: nothing is unpacked */
    bool started;     /* a process is at hand */
    bool loaded;      /* … and its trace in the decoder */
    bool done;
    bool filter_api;
    struct ids {
        uint32_t *items;
        size_t count;
    } wanted;                 /* the API ids that may pass, when filter_api */
    int64_t seq, first, last; /* seq runs within these */
    int64_t calls;            /* of the present process, by its row */
    int64_t process;
    struct ms_call_groups groups; /* with PLAN_GROUPS */
    size_t group;
    uint64_t group_left;
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
    for (size_t i = 0; i < SPARE_STATEMENTS; i++)
        sqlite3_finalize(table->spares[i].statement);
    ms_trace_decoder_close(table->decoder);
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

/* The bounds of seq that are given: the first of each kind. SQLite looks at all of them again. */
static int use_seq(sqlite3_index_info *info, int *arguments)
{
    static const struct {
        unsigned char op;
        int bit, others;
    } bounds[] = {{SQLITE_INDEX_CONSTRAINT_EQ, PLAN_SEQ, 0},
                  {SQLITE_INDEX_CONSTRAINT_GE, PLAN_SEQ_FROM, PLAN_SEQ},
                  {SQLITE_INDEX_CONSTRAINT_GT, PLAN_SEQ_AFTER, PLAN_SEQ | PLAN_SEQ_FROM},
                  {SQLITE_INDEX_CONSTRAINT_LE, PLAN_SEQ_TO, PLAN_SEQ},
                  {SQLITE_INDEX_CONSTRAINT_LT, PLAN_SEQ_BEFORE, PLAN_SEQ | PLAN_SEQ_TO}};
    int plan = 0;
    for (size_t kind = 0; kind < sizeof bounds / sizeof *bounds; kind++) {
        for (int i = 0; i < info->nConstraint && !(plan & (bounds[kind].bit | bounds[kind].others));
             i++) {
            const struct sqlite3_index_constraint *constraint = &info->aConstraint[i];
            if (constraint->iColumn != COL_SEQ || !constraint->usable ||
                constraint->op != bounds[kind].op)
                continue;
            info->aConstraintUsage[i].argvIndex = ++*arguments;
            plan |= bounds[kind].bit;
        }
    }
    return plan;
}

/* Whether rows may come as counts of each API: they are wanted by it, and nothing that differs
 * between calls of one API is asked for. */
static int group_plan(sqlite3_index_info *info)
{
    const sqlite3_uint64 same = BIT(COL_API) | BIT(COL_API_ID) | BIT(COL_SPACE) | BIT(COL_CATEGORY);
    if (info->nOrderBy != 1 || info->nConstraint || info->colUsed & ~same)
        return 0;
    const int column = info->aOrderBy[0].iColumn, distinct = sqlite3_vtab_distinct(info);
    if ((column != COL_API && column != COL_API_ID) || (info->aOrderBy[0].desc && !distinct))
        return 0;
    /* An id stands for one name, a name for up to three ids. */
    const bool once = distinct >= 2 && info->colUsed == BIT(column);
    return (column == COL_API ? PLAN_GROUPS : PLAN_GROUPS_ID) | (once ? PLAN_ONCE : 0);
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

/* What has to be unpacked for the columns that are used. */
static unsigned columns_of(const sqlite3_index_info *info, int plan)
{
    const sqlite3_uint64 of_api =
        BIT(COL_API) | BIT(COL_API_ID) | BIT(COL_SPACE) | BIT(COL_CATEGORY);
    const sqlite3_uint64 used = info->colUsed;
    if (plan & (PLAN_GROUPS | PLAN_GROUPS_ID))
        return MS_COLUMN_PLACE;
    return (used & of_api || plan & (PLAN_API | PLAN_API_ID) ? MS_COLUMN_API : 0) |
           (used & BIT(COL_TID) ? MS_COLUMN_TID : 0) | (used & BIT(COL_TIME) ? MS_COLUMN_TIME : 0) |
           (used & BIT(COL_REPEATED) ? MS_COLUMN_REPEATED : 0);
}

/* Rough, but in the right order: a process is less than an analysis, that less than a sample, and
 * all of them far less than everything. To begin costs some fifty rows. */
static void estimate(sqlite3_index_info *info, int plan, unsigned columns)
{
    double rows = plan & PLAN_PROCESS    ? 5e3
                  : plan & PLAN_ANALYSIS ? 2e4
                  : plan & PLAN_SAMPLE   ? 3e4
                                         : 1e8;
    double cost = columns ? rows : rows / 4;
    if (plan & PLAN_SEQ) {
        cost /= 10;
        rows /= 5e3;
    } else if (plan & (PLAN_SEQ_FROM | PLAN_SEQ_AFTER | PLAN_SEQ_TO | PLAN_SEQ_BEFORE)) {
        cost /= 2;
        rows /= 4;
    }
    if (plan & (PLAN_API | PLAN_API_ID)) {
        cost /= 4;
        rows /= 50;
    }
    if (plan & PLAN_PROCESS && plan & PLAN_SEQ)
        info->idxFlags |= SQLITE_INDEX_SCAN_UNIQUE;
    info->estimatedCost = 50 + cost;
    info->estimatedRows = rows < 1 ? 1 : (sqlite3_int64)rows;
}

static int calls_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    int arguments = 0;
    (void)base;
    int plan = group_plan(info);
    if (!plan) {
        plan = use(info, COL_PROCESS, PLAN_PROCESS, &arguments);
        plan |= use(info, COL_ANALYSIS, PLAN_ANALYSIS, &arguments);
        plan |= use(info, COL_SAMPLE, PLAN_SAMPLE, &arguments);
        plan |= use_seq(info, &arguments);
        plan |= use(info, COL_API, PLAN_API, &arguments);
        if (!(plan & PLAN_API))
            plan |= use(info, COL_API_ID, PLAN_API_ID, &arguments);
    }
    const unsigned columns = columns_of(info, plan);
    estimate(info, plan, columns);
    int order = order_of(info);
    info->orderByConsumed = order >= 0 || plan & (PLAN_GROUPS | PLAN_GROUPS_ID);
    plan |= order == COL_SAMPLE ? PLAN_BY_SAMPLE : order == COL_ANALYSIS ? PLAN_BY_ANALYSIS : 0;
    info->idxNum = plan | (int)columns * PLAN_COLUMNS;
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

/* The statement for the next cursor that needs the same one; the oldest spare makes room. */
static void give_back(struct cursor *cursor)
{
    struct table *table = (struct table *)cursor->base.pVtab;
    if (!cursor->processes)
        return;
    (void)sqlite3_reset(cursor->processes);
    (void)sqlite3_clear_bindings(cursor->processes);
    sqlite3_finalize(table->spares[SPARE_STATEMENTS - 1].statement);
    memmove(table->spares + 1, table->spares, (SPARE_STATEMENTS - 1) * sizeof *table->spares);
    table->spares[0] = (struct spare){cursor->processes, cursor->statement_plan};
    cursor->processes = NULL;
}

static void rewind_cursor(struct cursor *cursor)
{
    give_back(cursor);
    ms_call_groups_release(&cursor->groups);
    sqlite3_free(cursor->wanted.items);
    cursor->wanted = (struct ids){NULL, 0};
    cursor->block = (struct ms_trace_columns){0};
    cursor->at = cursor->group = 0;
    cursor->group_left = 0;
    cursor->done = cursor->started = cursor->loaded = cursor->filter_api = false;
    cursor->calls = 0;
    cursor->first = 0;
    cursor->last = INT64_MAX;
    cursor->seq = -1;
}

static int calls_close(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    struct table *table = (struct table *)base->pVtab;
    rewind_cursor(cursor);
    if (table->decoder)
        ms_trace_decoder_close(cursor->decoder);
    else
        table->decoder = cursor->decoder;
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int need_decoder(struct cursor *cursor)
{
    struct table *table = (struct table *)cursor->base.pVtab;
    struct ms_error err;
    if (cursor->decoder)
        return SQLITE_OK;
    cursor->decoder = table->decoder;
    table->decoder = NULL;
    if (cursor->decoder || ms_trace_decoder_new(&cursor->decoder, &err) == MS_OK)
        return SQLITE_OK;
    return SQLITE_NOMEM;
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

/* Loads the present process's trace, unless its dictionary or its length says that nothing in it is
 * wanted. */
static int open_trace(struct cursor *cursor)
{
    struct ms_error err;
    bool found = cursor->first < cursor->calls;
    const void *bytes = sqlite3_column_blob(cursor->processes, 5);
    int n = sqlite3_column_bytes(cursor->processes, 5);
    struct ms_span blob = ms_span_of(bytes ? bytes : "", n > 0 ? (size_t)n : 0);
    enum ms_status status = MS_OK;
    if (found && cursor->filter_api)
        status = ms_trace_mentions(blob, cursor->wanted.items, cursor->wanted.count, &found, &err);
    if (status == MS_OK && found)
        status = ms_trace_decoder_load(cursor->decoder, blob, &err);
    cursor->loaded = status == MS_OK && found;
    if (cursor->loaded && cursor->first > 0)
        ms_trace_decoder_seek(cursor->decoder, (uint64_t)cursor->first);
    return status == MS_OK ? SQLITE_ROW : damaged(cursor, status, &err);
}

/* Steps to the next process; SQLITE_DONE at the end. */
static int next_process(struct cursor *cursor)
{
    struct table *table = (struct table *)cursor->base.pVtab;
    int code = sqlite3_step(cursor->processes);
    cursor->loaded = false;
    cursor->block.n = 0;
    cursor->at = 0;
    cursor->seq = cursor->first - 1;
    if (code == SQLITE_DONE)
        return code;
    if (code != SQLITE_ROW)
        return fail(table, code, sqlite3_errmsg(table->db));
    cursor->started = true;
    cursor->process = sqlite3_column_int64(cursor->processes, 0);
    cursor->calls = sqlite3_column_int64(cursor->processes, 4);
    return cursor->columns ? open_trace(cursor) : SQLITE_ROW;
}

/* The next block of the present process and in it the first call that may pass; block.n is 0 at
 * the end. */
static int next_block(struct cursor *cursor)
{
    struct ms_error err;
    enum ms_status status =
        ms_trace_decoder_block(cursor->decoder, cursor->columns, &cursor->block, &err);
    if (status != MS_OK)
        return damaged(cursor, status, &err);
    const int64_t first = (int64_t)cursor->block.first;
    cursor->at = cursor->first > first ? (size_t)(cursor->first - first) : 0;
    cursor->seq = first + (int64_t)cursor->at;
    return SQLITE_OK;
}

/* The next call of the present process; *got false at its end. */
static int next_call(struct cursor *cursor, bool *got)
{
    *got = false;
    if (!cursor->columns) {
        *got = ++cursor->seq < cursor->calls && cursor->seq <= cursor->last;
        return SQLITE_OK;
    }
    cursor->at++;
    cursor->seq++;
    while (cursor->loaded) {
        if (cursor->at >= cursor->block.n) {
            int code = next_block(cursor);
            if (code != SQLITE_OK || !cursor->block.n)
                return code;
            continue; /* a blob of an older version begins before `first` */
        }
        if (cursor->seq > cursor->last)
            return SQLITE_OK;
        if (!cursor->filter_api || is_wanted(cursor, cursor->block.api[cursor->at])) {
            *got = true;
            return SQLITE_OK;
        }
        cursor->at++;
        cursor->seq++;
    }
    return SQLITE_OK;
}

/* Counts everything by API, once. */
static int count_groups(struct cursor *cursor)
{
    struct table *table = (struct table *)cursor->base.pVtab;
    struct ms_error err;
    int code;
    while ((code = next_process(cursor)) == SQLITE_ROW) {
        if (!cursor->loaded)
            continue;
        enum ms_status status = ms_call_groups_add(&cursor->groups, cursor->decoder, &err);
        if (status != MS_OK)
            return damaged(cursor, status, &err);
    }
    if (code == SQLITE_DONE)
        code = ms_call_groups_sort(&cursor->groups, &table->names, cursor->plan & PLAN_GROUPS);
    cursor->group = SIZE_MAX; /* before the first */
    return code;
}

static void next_grouped(struct cursor *cursor)
{
    if (cursor->group_left > 1) {
        cursor->group_left--;
        return;
    }
    cursor->group++;
    cursor->done = cursor->group >= cursor->groups.count;
    if (!cursor->done)
        cursor->group_left =
            cursor->plan & PLAN_ONCE ? 1 : cursor->groups.items[cursor->group].calls;
}

static int calls_next(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    if (cursor->plan & (PLAN_GROUPS | PLAN_GROUPS_ID)) {
        next_grouped(cursor);
        return SQLITE_OK;
    }
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

static int prepare_processes(struct cursor *cursor)
{
    struct table *table = (struct table *)cursor->base.pVtab;
    const int plan = cursor->plan;
    cursor->statement_plan = (plan & PLAN_STATEMENT) | (cursor->columns ? PLAN_COLUMNS : 0);
    for (size_t i = 0; i < SPARE_STATEMENTS; i++) {
        if (!table->spares[i].statement || table->spares[i].plan != cursor->statement_plan)
            continue;
        cursor->processes = table->spares[i].statement;
        memmove(table->spares + i, table->spares + i + 1,
                (SPARE_STATEMENTS - 1 - i) * sizeof *table->spares);
        table->spares[SPARE_STATEMENTS - 1] = (struct spare){NULL, 0};
        return SQLITE_OK;
    }
    const char *first = plan & PLAN_BY_SAMPLE     ? "a.sample, "
                        : plan & PLAN_BY_ANALYSIS ? "p.analysis, "
                                                  : "";
    char *sql = sqlite3_mprintf("SELECT p.id, a.sample, p.analysis, p.pid, p.calls%s"
                                " FROM main.process p JOIN main.analysis a ON a.id = p.analysis"
                                " WHERE true%s%s%s ORDER BY %sp.id",
                                cursor->columns ? ", p.trace" : "",
                                plan & PLAN_PROCESS ? " AND p.id = ?1" : "",
                                plan & PLAN_ANALYSIS ? " AND p.analysis = ?2" : "",
                                plan & PLAN_SAMPLE ? " AND a.sample = ?3" : "", first);
    if (!sql)
        return SQLITE_NOMEM;
    int code =
        sqlite3_prepare_v3(table->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &cursor->processes, NULL);
    sqlite3_free(sql);
    return code == SQLITE_OK ? code : fail(table, code, sqlite3_errmsg(table->db));
}

/* The bounds of seq. What is no integer bounds nothing here: SQLite compares it itself. */
static void take_bounds(struct cursor *cursor, sqlite3_value **argv, int *used)
{
    static const int kinds[] = {PLAN_SEQ, PLAN_SEQ_FROM, PLAN_SEQ_AFTER, PLAN_SEQ_TO,
                                PLAN_SEQ_BEFORE};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!(cursor->plan & kinds[i]))
            continue;
        sqlite3_value *value = argv[(*used)++];
        if (sqlite3_value_type(value) != SQLITE_INTEGER)
            continue;
        const int64_t bound = sqlite3_value_int64(value);
        const bool lower = kinds[i] & (PLAN_SEQ | PLAN_SEQ_FROM | PLAN_SEQ_AFTER),
                   upper = kinds[i] & (PLAN_SEQ | PLAN_SEQ_TO | PLAN_SEQ_BEFORE);
        /* Beyond every trace, so that nothing below overflows. */
        const int64_t most = (int64_t)1 << SEQ_BITS;
        if (lower && bound > cursor->first)
            cursor->first = bound < most ? bound : most;
        if (upper && bound < cursor->last)
            cursor->last = bound;
    }
}

static int calls_filter(sqlite3_vtab_cursor *base, int index, const char *text, int argc,
                        sqlite3_value **argv)
{
    struct cursor *cursor = (struct cursor *)base;
    int used = 0;
    (void)text;
    (void)argc;
    rewind_cursor(cursor);
    cursor->plan = index & (PLAN_COLUMNS - 1);
    cursor->columns = (unsigned)index / PLAN_COLUMNS;
    int code = prepare_processes(cursor);
    if (code == SQLITE_OK && cursor->columns)
        code = need_decoder(cursor);
    for (int i = 0; code == SQLITE_OK && i < 3; i++)
        if (cursor->plan & PLAN_PROCESS << i)
            code = sqlite3_bind_value(cursor->processes, i + 1, argv[used++]);
    if (code != SQLITE_OK)
        return code;
    take_bounds(cursor, argv, &used);
    if (cursor->plan & (PLAN_API | PLAN_API_ID)) {
        cursor->filter_api = true;
        code = cursor->plan & PLAN_API ? find_ids(cursor, argv[used]) : keep_id(cursor, argv[used]);
        if (code == SQLITE_OK && cursor->wanted.count == 0) {
            cursor->done = true;
            return SQLITE_OK;
        }
    }
    if (code == SQLITE_OK && cursor->plan & (PLAN_GROUPS | PLAN_GROUPS_ID))
        code = count_groups(cursor);
    return code == SQLITE_OK ? calls_next(base) : code;
}

static int calls_eof(sqlite3_vtab_cursor *base)
{
    return ((struct cursor *)base)->done;
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
    if (column == COL_SPACE) {
        if (api->known)
            sqlite3_result_int(context, api->space);
        return SQLITE_OK;
    }
    const char *text = column == COL_API ? api->name : api->category;
    if (text)
        sqlite3_result_text(context, text,
                            column == COL_API ? api->name_bytes : api->category_bytes,
                            lasts ? SQLITE_STATIC : SQLITE_TRANSIENT);
    return SQLITE_OK;
}

/* A column that was not unpacked is only asked for where its value does not count (colUsed left it
 * out): it is NULL. */
static int calls_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    struct cursor *cursor = (struct cursor *)base;
    const struct ms_trace_columns *block = &cursor->block;
    const size_t at = cursor->at;
    const bool grouped = cursor->plan & (PLAN_GROUPS | PLAN_GROUPS_ID);
    switch (column) {
    case COL_SAMPLE:
    case COL_ANALYSIS:
    case COL_PID:
        if (!grouped)
            sqlite3_result_value(
                context, sqlite3_column_value(cursor->processes, column == COL_SAMPLE     ? 1
                                                                 : column == COL_ANALYSIS ? 2
                                                                                          : 3));
        break;
    case COL_PROCESS:
        sqlite3_result_int64(context, cursor->process);
        break;
    case COL_SEQ:
        sqlite3_result_int64(context, cursor->seq);
        break;
    case COL_TID:
        if (block->tid && block->tid[at] != MS_TID_NONE)
            sqlite3_result_int64(context, (sqlite3_int64)block->tid[at]);
        break;
    case COL_TIME:
        if (block->time_us && block->time_us[at] != MS_TIME_NONE)
            sqlite3_result_int64(context, block->time_us[at]);
        break;
    case COL_REPEATED:
        if (block->n)
            sqlite3_result_int64(context, block->repeated ? (sqlite3_int64)block->repeated[at] : 0);
        break;
    default: {
        if (!grouped && !block->api)
            break;
        const uint32_t api = grouped ? cursor->groups.items[cursor->group].api : block->api[at];
        if (column == COL_API_ID)
            sqlite3_result_int64(context, api);
        else
            return api_column((struct table *)base->pVtab, context, api, column);
    }
    }
    return SQLITE_OK;
}

static int calls_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out)
{
    const struct cursor *cursor = (const struct cursor *)base;
    if (cursor->plan & (PLAN_GROUPS | PLAN_GROUPS_ID))
        return fail((struct table *)base->pVtab, SQLITE_ERROR,
                    "calls: there is no rowid where calls come by API alone: ask for process and "
                    "seq");
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

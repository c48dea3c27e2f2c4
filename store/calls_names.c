/* A cache of API names in SQLite's memory. Knows no traces. */
#include "store/calls_names.h"

#include <string.h>

#ifdef MS_CALLS_EXTENSION
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#endif

/* Ids beyond this are looked up each time: a damaged trace must not make the cache huge. */
enum { CACHED_IDS = 1 << 20 };

void ms_call_names_init(struct ms_call_names *self, sqlite3 *db)
{
    memset(self, 0, sizeof *self);
    self->db = db;
}

static void release_name(struct ms_call_name *self)
{
    sqlite3_free(self->name);
    sqlite3_free(self->category);
    memset(self, 0, sizeof *self);
}

void ms_call_names_release(struct ms_call_names *self)
{
    for (size_t i = 0; i < self->count; i++)
        release_name(&self->items[i]);
    release_name(&self->other);
    sqlite3_finalize(self->find);
    sqlite3_free(self->items);
    memset(self, 0, sizeof *self);
}

static int copy_column(sqlite3_stmt *statement, int column, char **out)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    *out = text ? sqlite3_mprintf("%s", text) : NULL;
    return *out || sqlite3_column_type(statement, column) == SQLITE_NULL ? SQLITE_OK : SQLITE_NOMEM;
}

static int look_up(struct ms_call_names *self, uint32_t id, struct ms_call_name *out)
{
    static const char sql[] = "SELECT name, category, space FROM main.api WHERE id = ?1";
    int code = SQLITE_OK;
    if (!self->find)
        code = sqlite3_prepare_v3(self->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &self->find, NULL);
    if (code != SQLITE_OK)
        return code;
    (void)sqlite3_bind_int64(self->find, 1, id);
    code = sqlite3_step(self->find);
    if (code == SQLITE_ROW) {
        code = copy_column(self->find, 0, &out->name);
        if (code == SQLITE_OK)
            code = copy_column(self->find, 1, &out->category);
        out->space = sqlite3_column_int(self->find, 2);
        out->name_bytes = out->name ? (int)strlen(out->name) : 0;
        out->category_bytes = out->category ? (int)strlen(out->category) : 0;
        out->known = code == SQLITE_OK;
        if (!out->known)
            release_name(out);
    }
    (void)sqlite3_reset(self->find);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int grow(struct ms_call_names *self, size_t count)
{
    struct ms_call_name *items =
        sqlite3_realloc64(self->items, (sqlite3_uint64)(count * sizeof *items));
    if (!items)
        return SQLITE_NOMEM;
    memset(items + self->count, 0, (count - self->count) * sizeof *items);
    self->items = items;
    self->count = count;
    return SQLITE_OK;
}

int ms_call_names_get(struct ms_call_names *self, uint32_t id, const struct ms_call_name **out,
                      bool *lasts)
{
    *lasts = id < CACHED_IDS;
    if (!*lasts) {
        release_name(&self->other);
        *out = &self->other;
        return look_up(self, id, &self->other);
    }
    if (id >= self->count && grow(self, (size_t)id + 256) != SQLITE_OK)
        return SQLITE_NOMEM;
    *out = &self->items[id];
    return self->items[id].known ? SQLITE_OK : look_up(self, id, &self->items[id]);
}

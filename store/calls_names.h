/* The names behind API ids, looked up once, for the table `calls` alone (in the product and in the
 * extension). */
#ifndef MS_STORE_CALLS_NAMES_H
#define MS_STORE_CALLS_NAMES_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ms_call_name {
    bool known; /* looked up; stays false where there is no such row */
    int space;
    char *name, *category; /* may be NULL */
    int name_bytes, category_bytes;
};

/* Ids are given once and their names never change, so a name that was found stays. */
struct ms_call_names {
    sqlite3 *db;
    struct ms_call_name *items; /* by id */
    size_t count;
    struct ms_call_name other; /* the last one beyond the cache */
    sqlite3_stmt *find;
};

void ms_call_names_init(struct ms_call_names *self, sqlite3 *db);
void ms_call_names_release(struct ms_call_names *self);

/* Borrowed until release when *lasts, else until the next call. Returns SQLite's code. */
int ms_call_names_get(struct ms_call_names *self, uint32_t id, const struct ms_call_name **out,
                      bool *lasts);

#endif

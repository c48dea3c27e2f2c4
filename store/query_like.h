/* LIKE and GLOB for strings that are kept as bytes. */
#ifndef MS_STORE_QUERY_LIKE_H
#define MS_STORE_QUERY_LIKE_H

#include <sqlite3.h>

/* Makes LIKE and GLOB of this connection match BLOBs as text: paths and process names are BLOBs
 * here, and builds of SQLite differ in whether a pattern ever matches one. SQLite's result code. */
int ms_query_like_register(sqlite3 *db);

#endif

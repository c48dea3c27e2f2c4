/* The virtual table `calls`: every API call of every trace as a row, decoded on the way. */
#ifndef MS_STORE_CALLS_TABLE_H
#define MS_STORE_CALLS_TABLE_H

#include <sqlite3.h>

/* Makes the table known to a connection whose main database is a corpus; it needs no CREATE. One
 * row an entry of `calls` in a report (`repeated` further identical calls are not rows of their
 * own):
 *
 *     sample    sample.id, NULL when it is unknown whose report it is
 *     process   process.id
 *     seq       position in the process, from 0
 *     api       name as the sandbox wrote it
 *     tid       NULL when unknown
 *     time      microseconds of the source's clock, NULL when unknown
 *     repeated  further identical calls
 *
 * and, hidden (not in `*`): analysis, pid, api_id, space (0 api, 1 syscall, 2 opcode), category.
 * Equality on sample, process, analysis, api and api_id, all of them together, and bounds on seq
 * are looked up: a process whose dictionary lacks the API is not unpacked, and of a trace only the
 * blocks from the lower bound on. Only the columns that are used are unpacked; without one that is
 * in the trace, nothing is. Rows come by sample, analysis or process and then seq without sorting;
 * and where nothing but api, api_id, space and category is used, by api or api_id, counted block by
 * block (GROUP BY api): such rows have no rowid, and to ask for it is an error. A damaged
 * trace ends the query with SQLITE_CORRUPT_VTAB and the number of its process. Returns SQLite's
 * code. */
int ms_calls_register(sqlite3 *db);

#endif

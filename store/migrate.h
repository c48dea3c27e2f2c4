/* Migrations: the files of schemas/, embedded, applied in order, one transaction each. Append-only.
 */
#ifndef MS_STORE_MIGRATE_H
#define MS_STORE_MIGRATE_H

#include "store/corpus.h"

struct ms_migration {
    const char *name;
    const char *sql;
};

extern const struct ms_migration ms_migrations[];
extern const unsigned ms_migration_count;

/* application_id of a corpus database: "MSeq". */
#define MS_APPLICATION_ID 0x4d536571

/* Checks whose database this is and which version it has, and, when opened for writing, applies
 * what of list[0..count) is missing. Called by ms_corpus_open with ms_migrations. MS_E_STORE for a
 * foreign database, a newer version, an older one when reading, or a migration that fails (which is
 * rolled back). Must come before foreign keys are switched on, because a migration may rebuild a
 * table that others refer to; they are checked before each commit instead. */
enum ms_status ms_migrate_run(struct ms_corpus *corpus, const struct ms_migration *list,
                              unsigned count, struct ms_error *err) MS_MUST_USE;

#endif

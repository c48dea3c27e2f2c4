/* Migrations: the files of schemas/, embedded, applied in order, one transaction each. Append-only.
 */
#ifndef MS_STORE_MIGRATE_H
#define MS_STORE_MIGRATE_H

struct ms_migration {
    const char *name;
    const char *sql;
};

extern const struct ms_migration ms_migrations[];
extern const unsigned ms_migration_count;

/* application_id of a corpus database: "MSeq". */
#define MS_APPLICATION_ID 0x4d536571

#endif

/* Brings a database to the schema of this program, or says why it will not. No SQL of the schema
 * itself: that is in schemas/. */
#include "store/migrate.h"

#include "base/log.h"
#include "base/step.h"
#include "store/internal.h"

#include <stdio.h>

static enum ms_status refuse(struct ms_corpus *corpus, const char *why, struct ms_error *err)
{
    char dir[256];
    ms_escape_text(corpus->dir, dir, sizeof dir);
    return ms_error_set(err, MS_E_STORE, "'%s/corpus.db' %s", dir, why);
}

/* One migration and its version number are one transaction. */
static enum ms_status apply(struct ms_corpus *corpus, const struct ms_migration *migration,
                            unsigned version, struct ms_error *err)
{
    char pragma[96];
    (void)snprintf(pragma, sizeof pragma, "PRAGMA application_id = %d; PRAGMA user_version = %u",
                   MS_APPLICATION_ID, version);
    enum ms_status status = ms_db_exec(corpus, "BEGIN IMMEDIATE", err);
    if (status != MS_OK)
        return status;
    status = ms_db_exec(corpus, migration->sql, err);
    if (status == MS_OK)
        status = ms_db_exec(corpus, pragma, err);
    int64_t broken = 0;
    if (status == MS_OK)
        status =
            ms_db_scalar(corpus, "SELECT count(*) FROM pragma_foreign_key_check", &broken, err);
    if (status == MS_OK && broken != 0)
        status = refuse(corpus, "would have dangling references", err);
    ms_step("store.migrate.applied");
    if (status == MS_OK)
        status = ms_db_exec(corpus, "COMMIT", err);
    if (status != MS_OK) {
        ms_corpus_rollback(corpus);
        ms_error_prepend(err, "migration %s", migration->name);
    }
    return status;
}

enum ms_status ms_migrate_run(struct ms_corpus *corpus, const struct ms_migration *list,
                              unsigned count, struct ms_error *err)
{
    int64_t application = 0, version = 0, tables = 0;
    enum ms_status status = ms_db_scalar(corpus, "PRAGMA application_id", &application, err);
    if (status == MS_OK)
        status = ms_db_scalar(corpus, "PRAGMA user_version", &version, err);
    if (status == MS_OK)
        status = ms_db_scalar(corpus, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (status != MS_OK)
        return status;
    bool fresh = application == 0 && version == 0 && tables == 0;
    if (!fresh && application != MS_APPLICATION_ID)
        return refuse(corpus, "is not a malseq corpus: it belongs to another program", err);
    if (version < 0 || version > (int64_t)count) {
        char why[160];
        (void)snprintf(why, sizeof why,
                       "has schema version %lld; this malseq knows up to %u: use a newer malseq",
                       (long long)version, count);
        return refuse(corpus, why, err);
    }
    if (fresh && corpus->mode == MS_CORPUS_READ)
        return refuse(corpus,
                      "is empty: if there was something in it, restore a backup; else the next "
                      "command that writes (collect, label or extract) begins it",
                      err);
    if (version < (int64_t)count && corpus->mode == MS_CORPUS_READ)
        return refuse(corpus,
                      "has an older schema, which is brought up to date by the next command that "
                      "writes (collect, label or extract)",
                      err);
    for (unsigned i = (unsigned)version; i < count; i++) {
        status = apply(corpus, &list[i], i + 1, err);
        if (status != MS_OK)
            return status;
    }
    return MS_OK;
}

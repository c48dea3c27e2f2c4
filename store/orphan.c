/* Objects of the vault that no row names, for those who can read what they are. Changes nothing. */
#include "store/internal.h"
#include "store/query.h"
#include "store/vault.h"

#include "base/hash.h"

struct orphans {
    struct ms_corpus *corpus;
    ms_orphan_visit visit;
    void *ctx;
};

static enum ms_status look(void *ctx, const uint8_t sha256[32], bool good_name, const char *name,
                           struct ms_error *err)
{
    const struct orphans *self = ctx;
    sqlite3_stmt *statement;
    bool named = false;
    if (!good_name)
        return MS_OK;
    enum ms_status status =
        ms_db_prepare(self->corpus, "SELECT 1 FROM sample WHERE sha256 = ?1", &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, sha256, MS_SHA256_BYTES);
    status = ms_db_step(self->corpus, statement, &named, err);
    ms_db_done(statement);
    return status == MS_OK && !named ? self->visit(self->ctx, sha256, name, err) : status;
}

enum ms_status ms_fsck_foreach_orphan(struct ms_corpus *corpus, ms_orphan_visit visit, void *ctx,
                                      struct ms_error *err)
{
    struct orphans self = {corpus, visit, ctx};
    return ms_vault_foreach(corpus, MS_VAULT_SAMPLE, look, &self, err);
}

enum ms_status ms_corpus_has_private(struct ms_corpus *corpus, bool *has, struct ms_error *err)
{
    int64_t count = 0;
    enum ms_status status =
        ms_db_scalar(corpus,
                     "SELECT EXISTS (SELECT 1 FROM origin WHERE private = 1) OR EXISTS"
                     " (SELECT 1 FROM sample WHERE private = 1)",
                     &count, err);
    *has = count != 0;
    return status;
}

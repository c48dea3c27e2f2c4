/* What a sandbox submission needs to know of a sample. */
#include "store/db.h"
#include "store/sample.h"

#include <stdio.h>
#include <string.h>

enum ms_status ms_sample_kind(struct ms_corpus *corpus, int64_t id, char *kind, size_t kind_bytes,
                              uint8_t sha256[32], struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row;
    enum ms_status status = ms_db_prepare(
        corpus, "SELECT kind, sha256 FROM sample WHERE id = ?1 AND sha256 IS NOT NULL", &statement,
        err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, id);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK && row) {
        const char *text = ms_db_text(statement, 0);
        (void)snprintf(kind, kind_bytes, "%s", text ? text : "");
        memcpy(sha256, ms_db_blob(statement, 1).data, 32);
    } else if (status == MS_OK) {
        status = ms_error_set(err, MS_REJECT, "the sample has no SHA-256");
    }
    ms_db_done(statement);
    return status;
}

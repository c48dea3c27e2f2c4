/* Antivirus reports as they came: VirusTotal's answers and imported records. What they mean:
 * label/. */
#include "store/label.h"

#include "base/hash.h"
#include "base/zstd.h"
#include "store/internal.h"

/* An answer of VirusTotal has 30 to 300 KB of repeating keys. */
enum { SCAN_ZSTD_LEVEL = 9 };

enum ms_status ms_scan_insert(struct ms_corpus *corpus, const struct ms_scan *scan, int64_t run,
                              int64_t *id, struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO scan (sample, source, asked, fetched_ms, last_analysis_ms,"
        " first_submission_ms, body_sha256, body, run) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    uint8_t digest[MS_SHA256_BYTES];
    struct ms_buf packed;
    sqlite3_stmt *statement;
    ms_buf_init(&packed, (size_t)1 << 30);
    enum ms_status status = ms_db_need_transaction(corpus, err);
    if (status == MS_OK && ms_hash_sha256(scan->body.data, scan->body.len, digest) != MS_OK)
        status = ms_error_set(err, MS_E_BUG, "the hash library failed");
    if (status == MS_OK)
        status = ms_zstd_compress(scan->body.data, scan->body.len, SCAN_ZSTD_LEVEL, &packed, err);
    if (status == MS_OK)
        status = ms_db_prepare(corpus, sql, &statement, err);
    if (status == MS_OK) {
        ms_db_bind_int(statement, 1, scan->sample);
        ms_db_bind_text(statement, 2, scan->source);
        ms_db_bind_text(statement, 3, scan->asked);
        ms_db_bind_int(statement, 4, scan->fetched_ms);
        ms_db_bind_nonzero(statement, 5, scan->last_analysis_ms);
        ms_db_bind_nonzero(statement, 6, scan->first_submission_ms);
        ms_db_bind_blob(statement, 7, digest, sizeof digest);
        ms_db_bind_blob(statement, 8, packed.data, packed.len);
        ms_db_bind_nonzero(statement, 9, run);
        status = ms_db_run(corpus, statement, err);
    }
    if (status == MS_OK)
        *id = ms_db_last_id(corpus);
    ms_buf_release(&packed);
    return status;
}

static enum ms_status read_scan(sqlite3_stmt *statement, struct ms_scan *out, struct ms_buf *body,
                                struct ms_error *err)
{
    struct ms_span packed = ms_db_blob(statement, 4);
    size_t before = body->len;
    *out = (struct ms_scan){.id = ms_db_int(statement, 0, 0),
                            .fetched_ms = ms_db_int(statement, 1, 0),
                            .last_analysis_ms = ms_db_int(statement, 2, 0),
                            .first_submission_ms = ms_db_int(statement, 3, 0)};
    enum ms_status status = ms_zstd_decompress(packed.data, packed.len, body, err);
    if (status == MS_REJECT) {
        ms_error_prepend(err, "scan %lld of the corpus", (long long)out->id);
        if (err)
            err->status = MS_E_STORE;
        return MS_E_STORE;
    }
    out->body = ms_span_of(body->data + before, body->len - before);
    return status;
}

enum ms_status ms_scan_latest(struct ms_corpus *corpus, int64_t sample, int64_t as_of_ms,
                              struct ms_scan *out, struct ms_buf *body, struct ms_error *err)
{
    static const char sql[] = "SELECT id, fetched_ms, last_analysis_ms, first_submission_ms, body"
                              " FROM scan WHERE sample = ?1 AND (?2 = 0 OR fetched_ms <= ?2)"
                              " ORDER BY fetched_ms DESC, id DESC LIMIT 1";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    ms_db_bind_int(statement, 2, as_of_ms);
    status = ms_db_step(corpus, statement, &row, err);
    if (status == MS_OK)
        status = row ? read_scan(statement, out, body, err)
                     : ms_error_set(err, MS_REJECT, "no scan of this sample in the corpus");
    ms_db_done(statement);
    if (status == MS_OK)
        out->sample = sample;
    return status;
}

/* Antivirus reports as they came: VirusTotal's answers and imported records. What they mean:
 * label/. */
#include "store/label.h"

#include "base/hash.h"
#include "base/zstd.h"
#include "store/internal.h"

#include <string.h>

/* ms_scan_known_ms, and the order of ms_scan_foreach. */
#define KNOWN "min(coalesce(last_analysis_ms, fetched_ms), fetched_ms)"
#define OLDEST_FIRST KNOWN ", source = 'virustotal', body_sha256, id"
#define NEWEST_FIRST KNOWN " DESC, source = 'virustotal' DESC, body_sha256 DESC, id DESC"

/* An answer of VirusTotal has 30 to 300 KB of repeating keys. */
enum { SCAN_ZSTD_LEVEL = 9 };

enum ms_status ms_scan_insert_packed(struct ms_corpus *corpus, const struct ms_scan *scan,
                                     const struct ms_scan_packed *packed, int64_t run, int64_t *id,
                                     struct ms_error *err)
{
    static const char sql[] =
        "INSERT INTO scan (sample, source, asked, fetched_ms, last_analysis_ms,"
        " first_submission_ms, body_sha256, body, run, format)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare_write(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, scan->sample);
    ms_db_bind_text(statement, 2, scan->source);
    ms_db_bind_text(statement, 3, scan->asked);
    ms_db_bind_int(statement, 4, scan->fetched_ms);
    ms_db_bind_nonzero(statement, 5, scan->last_analysis_ms);
    ms_db_bind_nonzero(statement, 6, scan->first_submission_ms);
    ms_db_bind_blob(statement, 7, packed->sha256, sizeof packed->sha256);
    ms_db_bind_blob(statement, 8, packed->frame.data, packed->frame.len);
    ms_db_bind_nonzero(statement, 9, run);
    ms_db_bind_text(statement, 10, scan->format ? scan->format : "vt3");
    status = ms_db_run(corpus, statement, err);
    if (status == MS_OK)
        *id = ms_db_last_id(corpus);
    return status;
}

enum ms_status ms_scan_insert(struct ms_corpus *corpus, const struct ms_scan *scan, int64_t run,
                              int64_t *id, struct ms_error *err)
{
    struct ms_scan_packed packed;
    struct ms_buf frame;
    enum ms_status status = MS_OK;
    ms_buf_init(&frame, (size_t)1 << 30);
    if (ms_hash_sha256(scan->body.data, scan->body.len, packed.sha256) != MS_OK)
        status = ms_error_set(err, MS_E_BUG, "the hash library failed");
    if (status == MS_OK)
        status = ms_zstd_compress(scan->body.data, scan->body.len, SCAN_ZSTD_LEVEL, &frame, err);
    packed.frame = ms_span_of(frame.data, frame.len);
    if (status == MS_OK)
        status = ms_scan_insert_packed(corpus, scan, &packed, run, id, err);
    ms_buf_release(&frame);
    return status;
}

enum ms_status ms_scan_any(struct ms_corpus *corpus, bool *any, struct ms_error *err)
{
    int64_t found = 0;
    enum ms_status status = ms_db_scalar(corpus, "SELECT EXISTS (SELECT 1 FROM scan)", &found, err);
    *any = found != 0;
    return status;
}

enum ms_status ms_scan_find_body(struct ms_corpus *corpus, int64_t sample, const uint8_t sha256[32],
                                 int64_t *id, struct ms_error *err)
{
    static const char sql[] = "SELECT id FROM scan WHERE body_sha256 = ?1"
                              " AND (?2 = 0 OR sample = ?2) ORDER BY id LIMIT 1";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, sha256, MS_SHA256_BYTES);
    ms_db_bind_int(statement, 2, sample);
    return ms_db_take_ints(corpus, statement, id, 1, err);
}

enum ms_status ms_scan_newest(struct ms_corpus *corpus, int64_t sample, int64_t *id,
                              struct ms_error *err)
{
    static const char sql[] = "SELECT id FROM scan WHERE sample = ?1"
                              " ORDER BY " NEWEST_FIRST " LIMIT 1";
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    return ms_db_take_ints(corpus, statement, id, 1, err);
}

int64_t ms_scan_known_ms(const struct ms_scan *scan)
{
    bool dated = scan->last_analysis_ms > 0 && scan->last_analysis_ms < scan->fetched_ms;
    return dated ? scan->last_analysis_ms : scan->fetched_ms;
}

static const char *format_text(const char *text)
{
    static const char *const formats[] = {"vt2", "opswat", "simple"};
    for (size_t i = 0; text && i < sizeof formats / sizeof *formats; i++)
        if (strcmp(text, formats[i]) == 0)
            return formats[i];
    return "vt3";
}

static enum ms_status read_scan(sqlite3_stmt *statement, struct ms_scan *out, struct ms_buf *body,
                                struct ms_error *err)
{
    struct ms_span packed = ms_db_blob(statement, 4);
    size_t before = body->len;
    *out = (struct ms_scan){.id = ms_db_int(statement, 0, 0),
                            .fetched_ms = ms_db_int(statement, 1, 0),
                            .last_analysis_ms = ms_db_int(statement, 2, 0),
                            .first_submission_ms = ms_db_int(statement, 3, 0),
                            .format = format_text(ms_db_text(statement, 5))};
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
    static const char sql[] = "SELECT id, fetched_ms, last_analysis_ms, first_submission_ms, body,"
                              " format FROM scan WHERE sample = ?1 AND (?2 = 0 OR " KNOWN " <= ?2)"
                              " ORDER BY " NEWEST_FIRST " LIMIT 1";
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

/* A row without body where the caller only wants the dates. */
static enum ms_status step_scan(sqlite3_stmt *statement, struct ms_scan *out, struct ms_buf *body,
                                struct ms_error *err)
{
    if (ms_db_blob(statement, 4).len > 0)
        return read_scan(statement, out, body, err);
    *out = (struct ms_scan){.id = ms_db_int(statement, 0, 0),
                            .fetched_ms = ms_db_int(statement, 1, 0),
                            .last_analysis_ms = ms_db_int(statement, 2, 0),
                            .first_submission_ms = ms_db_int(statement, 3, 0),
                            .format = format_text(ms_db_text(statement, 5))};
    return MS_OK;
}

enum ms_status ms_scan_foreach(struct ms_corpus *corpus, int64_t sample, int64_t before_ms,
                               bool bodies, ms_scan_visit visit, void *ctx, struct ms_error *err)
{
    /* Rows with one analysis follow each other; the last one counts. */
    static const char sql[] =
        "SELECT id, fetched_ms, last_analysis_ms, first_submission_ms,"
        " CASE WHEN ?3 THEN body END, format FROM"
        " (SELECT *, lead(last_analysis_ms) OVER (ORDER BY " OLDEST_FIRST ") AS following FROM scan"
        "  WHERE sample = ?1 AND " KNOWN " < ?2)"
        " WHERE following IS NULL OR last_analysis_ms IS NOT following"
        " ORDER BY " OLDEST_FIRST;
    sqlite3_stmt *statement;
    bool row = false;
    struct ms_buf body;
    enum ms_status status = ms_db_prepare(corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_int(statement, 1, sample);
    ms_db_bind_int(statement, 2, before_ms);
    ms_db_bind_int(statement, 3, bodies);
    ms_buf_init(&body, (size_t)1 << 30);
    while ((status = ms_db_step(corpus, statement, &row, err)) == MS_OK && row) {
        struct ms_scan scan = {0};
        ms_buf_clear(&body);
        status = step_scan(statement, &scan, &body, err);
        scan.sample = sample;
        if (status == MS_OK)
            status = visit(ctx, &scan, err);
        if (status != MS_OK)
            break;
    }
    ms_buf_release(&body);
    ms_db_done(statement);
    return status;
}

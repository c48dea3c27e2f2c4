/* The canonical digest of a corpus: what it says, without row ids, our own times and the order in
 * which it came. */
#include "base/hash.h"
#include "store/internal.h"
#include "store/trace/encode.h"
#include "store/trace/trace.h"
#include "store/vault.h"

#include <stdlib.h>
#include <string.h>

/* hex() makes '' of NULL, which coalesce would take for a value. */
#define HEX(X) "nullif(hex(" X "), '')"

/* Natural keys, as SQL over the id in column X. Different lengths of hexadecimal keep the kinds of
 * hash apart. A sample without hashes is its first alias. */
#define SAMPLE_KEY(X)                                                                              \
    "(SELECT coalesce(" HEX("ks.sha256") ", " HEX("ks.sha1") ", " HEX(                             \
        "ks.md5") ", (SELECT"                                                                      \
                  " ka.source || ':' || hex(ka.external_id) FROM alias ka WHERE ka.sample = ks.id" \
                  " ORDER BY ka.source, ka.external_id LIMIT 1)) FROM sample ks WHERE ks.id = " X  \
                  ")"
#define ORIGIN_KEY(X) \
    "(SELECT ko.kind || ':' || ko.name || '@' || ko.ref FROM origin ko WHERE ko.id = " X ")"
/* Its report, else what was submitted how, else (rows of datasets) the sample and the sandbox. */
#define ANALYSIS_KEY(X)                                                                          \
    "(SELECT coalesce(" HEX("kn.report_sha256") ", " SAMPLE_KEY("kn.sample") " || '/' || " HEX(  \
        "kn.settings_digest") ", coalesce(" SAMPLE_KEY("kn.sample") ", '') || '/' || kn.sandbox" \
                                                                    " || '/' || "                \
                                                                    "coalesce(kn.server, '')) "  \
                                                                    "FROM analysis kn WHERE "    \
                                                                    "kn.id = " X ")"

/* One SELECT a table. Left out: run, request, quota (what was done, not what is known), api (names
 * come in with the traces, categories with the first to come), superseded labels, attempts, task
 * numbers of a server, all times that our clock gave, and models' figures, which hold such times
 * and command lines: they follow from the model's file and its split. */
static const struct table {
    const char *name;
    const char *sql;
} tables[] = {
    {"sample",
     "SELECT " SAMPLE_KEY("sample.id") ", sha256, sha1, md5, git_blob, size, vaulted, private,"
                                       " kind, machine, flags, features FROM sample"},
    {"alias", "SELECT source, external_id, " SAMPLE_KEY("sample") " FROM alias"},
    {"origin", "SELECT kind, name, ref, url, remote_id, commit_id, licence, claim, private, state,"
               " reason FROM origin"},
    {"sighting", "SELECT " SAMPLE_KEY("sample") ", " ORIGIN_KEY(
                     "origin") ", git_blob, path, chain,"
                               " commit_id, password, claim, private, gone_ms IS NOT NULL, "
                               "side_file FROM sighting"},
    {"blob", "SELECT git_id, size, outcome, reason, unpacker_version, password_set, samples, sfx,"
             " limits FROM blob"},
    {"blob_fault", "SELECT git_id, chain, fault, detail FROM blob_fault"},
    {"tree_entry", "SELECT " ORIGIN_KEY("origin") ", path, git_id, size, set_id FROM tree_entry"},
    {"volume", "SELECT set_id, number, git_id FROM volume"},
    {"origin_tip", "SELECT " ORIGIN_KEY("origin") ", commit_id FROM origin_tip"},
    {"past_entry", "SELECT " ORIGIN_KEY("origin") ", git_id, path, commit_id FROM past_entry"},
    {"origin_password", "SELECT " ORIGIN_KEY("origin") ", password FROM origin_password"},
    {"tombstone", "SELECT kind, key FROM tombstone"},
    {"analysis", "SELECT " ANALYSIS_KEY("analysis.id") ", " SAMPLE_KEY("sample") ", " ORIGIN_KEY(
                     "origin") ", sandbox,"
                               " sandbox_version, server, settings, settings_digest, state, "
                               "reason, package, report_sha256,"
                               " report_bytes, processes, calls, calls_expanded FROM analysis"},
    {"scan", "SELECT " SAMPLE_KEY("sample") ", source, asked, last_analysis_ms,"
                                            " first_submission_ms, body_sha256, format FROM scan"},
    {"lookup", "SELECT " SAMPLE_KEY("sample") ", state, reason FROM lookup"},
    {"label",
     "SELECT " SAMPLE_KEY("sample") ", policy, verdict, class, family, votes, margin, positives,"
                                    " responding, groups, vt_category, (SELECT body_sha256 FROM "
                                    "scan WHERE scan.id = label.scan), policy_digest, taxonomy,"
                                    " vt_class, family_votes, family_verified, contested"
                                    " FROM label WHERE current = 1"},
    {"label_flip", "SELECT " SAMPLE_KEY(
                       "sample") ", policy, seq, before, after, class,"
                                 " (SELECT body_sha256 FROM scan WHERE scan.id = label_flip.scan)"
                                 " FROM label_flip"},
    {"policy", "SELECT digest, name, text FROM policy"},
    {"model", "SELECT name, (SELECT digest FROM dataset WHERE dataset.id = model.dataset), split,"
              " digest, path FROM model"},
    {"dataset", "SELECT digest, target, policy, normalisation, samples, vocabulary FROM dataset"},
    {"split",
     "SELECT (SELECT digest FROM dataset WHERE dataset.id = split.dataset), name, " ANALYSIS_KEY(
         "analysis") ", part, grp FROM split"},
};

/* The trace is the last column and goes in decoded. */
static const struct table process_table = {
    "process",
    "SELECT " ANALYSIS_KEY("analysis") ", ord, pid, parent_pid, name, first_seen_us,"
                                       " tracked, calls, calls_expanded, trace FROM process"};

/* The digests of a table's rows, sorted before they are hashed in turn. */
struct rows {
    uint8_t (*items)[MS_SHA256_BYTES];
    size_t count, cap;
};

struct digest {
    struct ms_corpus *corpus;
    struct ms_hasher *row; /* of the present row */
    struct ms_hasher *all;
    struct rows rows;
    uint64_t *names; /* api id -> start of the digest of (space, name) */
    size_t name_count;
};

static enum ms_status add_row(struct digest *self, struct ms_error *err)
{
    struct rows *rows = &self->rows;
    struct ms_digests digests;
    if (rows->count == rows->cap) {
        size_t cap = rows->cap ? rows->cap * 2 : 1024;
        void *items =
            cap > SIZE_MAX / MS_SHA256_BYTES ? NULL : realloc(rows->items, cap * MS_SHA256_BYTES);
        if (!items)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        rows->items = items;
        rows->cap = cap;
    }
    enum ms_status status = ms_hasher_finish(self->row, &digests, err);
    if (status == MS_OK)
        memcpy(rows->items[rows->count++], digests.sha256, MS_SHA256_BYTES);
    return status;
}

static int compare_rows(const void *a, const void *b)
{
    return memcmp(a, b, MS_SHA256_BYTES);
}

static void put_u64(uint8_t out[8], uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static void hash_u64(struct ms_hasher *hasher, uint64_t value)
{
    uint8_t bytes[8];
    put_u64(bytes, value);
    ms_hasher_update(hasher, bytes, sizeof bytes);
}

static void hash_bytes(struct ms_hasher *hasher, uint8_t kind, const void *bytes, size_t n)
{
    ms_hasher_update(hasher, &kind, 1);
    hash_u64(hasher, n);
    ms_hasher_update(hasher, bytes, n);
}

/* A value as its kind, its length and its bytes: no two rows look alike that are not. */
static void hash_value(struct ms_hasher *hasher, sqlite3_stmt *statement, int column)
{
    int kind = sqlite3_column_type(statement, column);
    if (kind == SQLITE_INTEGER) {
        uint8_t bytes[8];
        put_u64(bytes, (uint64_t)sqlite3_column_int64(statement, column));
        hash_bytes(hasher, 'i', bytes, sizeof bytes);
    } else {
        struct ms_span bytes = ms_db_blob(statement, column);
        uint8_t mark = kind == SQLITE_NULL ? 'n' : kind == SQLITE_BLOB ? 'b' : 't';
        hash_bytes(hasher, mark, bytes.data ? (const void *)bytes.data : "", bytes.len);
    }
}

/* Ends a part: its name, how many rows, and the rows in the order of their digests. */
static void end_part(struct digest *self, const char *name)
{
    struct rows *rows = &self->rows;
    if (rows->count)
        qsort(rows->items, rows->count, MS_SHA256_BYTES, compare_rows);
    hash_bytes(self->all, 'T', name, strlen(name));
    hash_u64(self->all, rows->count);
    if (rows->count)
        ms_hasher_update(self->all, rows->items, rows->count * MS_SHA256_BYTES);
    rows->count = 0;
}

static enum ms_status hash_call_names(struct digest *self, struct ms_error *err)
{
    static const char sql[] = "SELECT id, space, name FROM api ORDER BY id";
    int64_t last = 0;
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status =
        ms_db_scalar(self->corpus, "SELECT coalesce(max(id), 0) FROM api", &last, err);
    if (status != MS_OK)
        return status;
    if (last < 0 || last > (int64_t)1 << 28)
        return ms_error_set(err, MS_E_STORE, "the ids of the API names are out of range");
    self->name_count = (size_t)last + 1;
    self->names = calloc(self->name_count, sizeof *self->names);
    if (!self->names)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    status = ms_db_prepare(self->corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    while ((status = ms_db_step(self->corpus, statement, &row, err)) == MS_OK && row) {
        struct ms_digests digests;
        int64_t id = ms_db_int(statement, 0, 0);
        hash_value(self->row, statement, 1);
        hash_value(self->row, statement, 2);
        status = ms_hasher_finish(self->row, &digests, err);
        if (status != MS_OK)
            break;
        if (id > 0 && (size_t)id < self->name_count)
            memcpy(&self->names[id], digests.sha256, sizeof self->names[id]);
    }
    ms_db_done(statement);
    return status;
}

/* Call by call, names for ids: how zstd packed it and how ids were given out do not show. A trace
 * that does not decode counts with its bytes. */
static enum ms_status hash_trace(struct digest *self, struct ms_span blob, struct ms_error *err)
{
    enum { BLOCK = 512, WORDS = 4 };
    struct ms_trace_call calls[BLOCK];
    uint8_t packed[BLOCK * WORDS * 8];
    struct ms_trace_decoder *decoder = NULL;
    size_t n = 0;
    struct ms_error why;
    enum ms_status status = ms_trace_decoder_open(blob, &decoder, &why);
    while (status == MS_OK) {
        status = ms_trace_decoder_next(decoder, calls, BLOCK, &n, &why);
        if (status != MS_OK || n == 0)
            break;
        for (size_t i = 0; i < n; i++) {
            uint8_t *out = packed + i * WORDS * 8;
            put_u64(out, calls[i].api < self->name_count ? self->names[calls[i].api] : 0);
            put_u64(out + 8, calls[i].tid);
            put_u64(out + 16, (uint64_t)calls[i].time_us);
            put_u64(out + 24, calls[i].repeated);
        }
        ms_hasher_update(self->row, packed, n * WORDS * 8);
    }
    ms_trace_decoder_close(decoder);
    if (status == MS_REJECT) {
        hash_bytes(self->row, 'd', blob.data ? (const void *)blob.data : "", blob.len);
        return MS_OK;
    }
    if (status != MS_OK && err)
        *err = why;
    return status;
}

static enum ms_status add_table(struct digest *self, const struct table *table, bool traces,
                                struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(self->corpus, table->sql, &statement, err);
    if (status != MS_OK)
        return status;
    int columns = sqlite3_column_count(statement) - (traces ? 1 : 0);
    while ((status = ms_db_step(self->corpus, statement, &row, err)) == MS_OK && row) {
        for (int i = 0; i < columns; i++)
            hash_value(self->row, statement, i);
        if (traces)
            status = hash_trace(self, ms_db_blob(statement, columns), err);
        if (status == MS_OK)
            status = add_row(self, err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    if (status == MS_OK)
        end_part(self, table->name);
    return status;
}

static enum ms_status add_object(void *ctx, const uint8_t sha256[32], bool good_name,
                                 const char *name, struct ms_error *err)
{
    struct digest *self = ctx;
    if (good_name)
        hash_bytes(self->row, 'o', sha256, MS_SHA256_BYTES);
    else
        hash_bytes(self->row, 's', name, strlen(name));
    return add_row(self, err);
}

static enum ms_status add_vault(struct digest *self, struct ms_error *err)
{
    enum ms_status status = ms_vault_foreach(self->corpus, MS_VAULT_SAMPLE, add_object, self, err);
    if (status != MS_OK)
        return status;
    end_part(self, "samples/");
    status = ms_vault_foreach(self->corpus, MS_VAULT_REPORT, add_object, self, err);
    if (status == MS_OK)
        end_part(self, "reports/");
    return status;
}

static enum ms_status add_all(struct digest *self, struct ms_error *err)
{
    enum ms_status status = hash_call_names(self, err);
    for (size_t i = 0; i < sizeof tables / sizeof *tables && status == MS_OK; i++)
        status = add_table(self, &tables[i], false, err);
    if (status == MS_OK)
        status = add_table(self, &process_table, true, err);
    return status == MS_OK ? add_vault(self, err) : status;
}

enum ms_status ms_corpus_digest(struct ms_corpus *self, uint8_t out[32], struct ms_error *err)
{
    struct digest digest = {.corpus = self};
    struct ms_digests digests;
    enum ms_status status = ms_hasher_new(MS_HASH_SHA256, &digest.row, err);
    if (status == MS_OK)
        status = ms_hasher_new(MS_HASH_SHA256, &digest.all, err);
    if (status == MS_OK) {
        /* One reading transaction, so that a run beside it is seen whole or not at all. */
        bool own = !ms_corpus_in_transaction(self);
        status = own ? ms_db_exec(self, "BEGIN", err) : MS_OK;
        if (status == MS_OK)
            status = add_all(&digest, err);
        if (own)
            ms_corpus_rollback(self);
    }
    if (status == MS_OK)
        status = ms_hasher_finish(digest.all, &digests, err);
    if (status == MS_OK)
        memcpy(out, digests.sha256, MS_SHA256_BYTES);
    ms_hasher_free(digest.row);
    ms_hasher_free(digest.all);
    free(digest.names);
    free(digest.rows.items);
    return status;
}

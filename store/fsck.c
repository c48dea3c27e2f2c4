/* The check of a whole corpus: the database by SQLite's own means, then every object, every row
 * that names one, and every trace. Repairs only what loses nothing. */
#define _GNU_SOURCE
#include "base/hash.h"
#include "base/log.h"
#include "store/internal.h"
#include "store/query.h"
#include "store/sample.h"
#include "store/tally.h"
#include "store/trace/encode.h"
#include "store/vault.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct fsck {
    struct ms_corpus *corpus;
    bool repair;
    ms_fsck_visit visit;
    void *ctx;
    struct ms_fsck_counts counts;
    enum ms_vault_kind kind; /* of the present walk */
    uint8_t *known;          /* a bit for each api id */
    size_t known_count;
};

static enum ms_status found(struct fsck *self, const char *where, const char *what, bool repaired,
                            struct ms_error *err)
{
    self->counts.findings++;
    self->counts.repaired += repaired;
    return self->visit(self->ctx, where, what, repaired, err);
}

/* Findings of one of SQLite's checks: each row's text by `sql`, but for `good`. */
static enum ms_status check_database(struct fsck *self, const char *sql, const char *good,
                                     struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(self->corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    while ((status = ms_db_step(self->corpus, statement, &row, err)) == MS_OK && row) {
        char words[400];
        const char *text = ms_db_text(statement, 0);
        if (text && strcmp(text, good) == 0)
            continue;
        ms_escape_text(text ? text : "", words, sizeof words);
        status = found(self, "corpus.db", words, false, err);
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

/* A statement with a digest as parameter 1; *changed: rows it found or changed. */
static enum ms_status with_digest(struct fsck *self, const char *sql, const uint8_t sha256[32],
                                  bool *hit, struct ms_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(self->corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    ms_db_bind_blob(statement, 1, sha256, MS_SHA256_BYTES);
    status = ms_db_step(self->corpus, statement, &row, err);
    ms_db_done(statement);
    *hit = row;
    return status;
}

/* The row of a sample whose bytes are lost. Collect opens no blob twice and reads no tree and no
 * history that it has read: these are forgotten where the sample was seen, so that its next run
 * brings the bytes again. */
static enum ms_status lose_sample(struct fsck *self, const uint8_t sha256[32], struct ms_error *err)
{
#define SEEN(COLUMN) \
    "(SELECT g." COLUMN " FROM sighting g JOIN sample s ON s.id = g.sample WHERE s.sha256 = ?1)"
    static const char *const sql[] = {
        "UPDATE origin SET commit_id = NULL, history = 0, validator = NULL WHERE id IN " SEEN(
            "origin"),
        "DELETE FROM origin_tip WHERE origin IN " SEEN("origin"),
        "DELETE FROM tree_entry WHERE origin IN " SEEN("origin") " AND (git_id IN " SEEN(
            "git_blob") " OR set_id IN " SEEN("git_blob") ")",
        "DELETE FROM blob WHERE git_id IN " SEEN("git_blob"),
        "UPDATE sample SET vaulted = 0 WHERE sha256 = ?1"};
#undef SEEN
    enum ms_status status = MS_OK;
    bool hit;
    for (size_t i = 0; i < sizeof sql / sizeof *sql && status == MS_OK; i++)
        status = with_digest(self, sql[i], sha256, &hit, err);
    return status;
}

/* An object whose bytes are wrong is of no use to anybody; without it the next collect or import
 * brings it again. */
static enum ms_status damaged_object(struct fsck *self, const uint8_t sha256[32], const char *where,
                                     const char *what, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (self->repair) {
        status = ms_vault_remove(self->corpus, self->kind, sha256, err);
        if (status == MS_OK && self->kind == MS_VAULT_SAMPLE)
            status = lose_sample(self, sha256, err);
    }
    return status == MS_OK ? found(self, where, what, self->repair, err) : status;
}

/* Good bytes that no row claims: a run was killed between the object and its row, or between the
 * end of the row and that of the object. What was forgotten goes; a program is worth keeping, but
 * what its row has to say is found by reading it, which is not done here (ms_fsck_foreach_orphan).
 */
static enum ms_status orphan(struct fsck *self, const uint8_t sha256[32], const char *where,
                             struct ms_error *err)
{
    static const char by_sha256[] = "SELECT 1 FROM sample WHERE sha256 = ?1";
    static const char adopt[] = "UPDATE sample SET vaulted = 1 WHERE sha256 = ?1";
    bool sample = self->kind == MS_VAULT_SAMPLE, known = false, forgotten = false, over = false;
    bool hit;
    enum ms_status status = MS_OK;
    if (sample)
        status = with_digest(self, by_sha256, sha256, &known, err);
    if (status == MS_OK && sample)
        status = ms_sample_is_forgotten(self->corpus, sha256, &forgotten, err);
    if (status == MS_OK && sample)
        status = ms_sample_is_over(self->corpus, sha256, &over, err);
    if (status != MS_OK)
        return status;
    const char *what = forgotten ? "was forgotten"
                       : over    ? "its time was over"
                       : known   ? "its row does not say that it is stored"
                                 : "no row names it";
    bool repair = self->repair && (!sample || known || forgotten || over);
    if (repair && known && !forgotten && !over)
        status = with_digest(self, adopt, sha256, &hit, err);
    else if (repair)
        status = ms_vault_remove(self->corpus, self->kind, sha256, err);
    return status == MS_OK ? found(self, where, what, repair, err) : status;
}

static enum ms_status check_object(void *ctx, const uint8_t sha256[32], bool good_name,
                                   const char *name, struct ms_error *err)
{
    static const char *const owners[] = {
        "SELECT 1 FROM sample WHERE sha256 = ?1 AND vaulted = 1",
        "SELECT 1 FROM analysis WHERE report_sha256 = ?1 AND report_gone_ms IS NULL",
    };
    struct fsck *self = ctx;
    bool sample = self->kind == MS_VAULT_SAMPLE;
    struct ms_error why;
    char where[400], shown[300];
    bool owned = false;
    ms_escape_text(name, shown, sizeof shown);
    (void)snprintf(where, sizeof where, "%s/%s", sample ? "samples" : "reports", shown);
    if (!good_name)
        return found(self, where, "does not belong here", false, err);
    self->counts.samples += sample;
    self->counts.reports += !sample;
    enum ms_status status = ms_vault_read(self->corpus, self->kind, sha256, NULL, NULL, &why);
    if (status == MS_E_STORE)
        return damaged_object(self, sha256, where, why.text, err);
    if (status == MS_E_IO) /* it may be good: it stays */
        return found(self, where, why.text, false, err);
    if (status == MS_REJECT) /* gone meanwhile: a forget is at work */
        return MS_OK;
    if (status != MS_OK) {
        if (err)
            *err = why;
        return status;
    }
    status = with_digest(self, owners[sample ? 0 : 1], sha256, &owned, err);
    return status == MS_OK && !owned ? orphan(self, sha256, where, err) : status;
}

/* Rows that name an object which is not there. Collected first: the repair writes to the table. */
static enum ms_status check_named(struct fsck *self, bool samples, struct ms_error *err)
{
    static const char *const list[] = {
        "SELECT id FROM analysis WHERE report_sha256 IS NOT NULL AND report_gone_ms IS NULL"
        " ORDER BY id",
        "SELECT id FROM sample WHERE vaulted = 1 ORDER BY id"};
    static const char *const get[] = {"SELECT report_sha256 FROM analysis WHERE id = ?1",
                                      "SELECT sha256 FROM sample WHERE id = ?1"};
    enum ms_vault_kind kind = samples ? MS_VAULT_SAMPLE : MS_VAULT_REPORT;
    struct ms_ids ids = {NULL, 0, 0};
    sqlite3_stmt *statement;
    enum ms_status status = ms_db_prepare(self->corpus, list[samples], &statement, err);
    if (status == MS_OK)
        status = ms_ids_collect(self->corpus, statement, &ids, err);
    for (size_t i = 0; i < ids.count && status == MS_OK; i++) {
        uint8_t sha256[MS_SHA256_BYTES];
        char where[64];
        bool row = false;
        status = ms_db_prepare(self->corpus, get[samples], &statement, err);
        if (status != MS_OK)
            break;
        ms_db_bind_int(statement, 1, ids.items[i]);
        status = ms_db_step(self->corpus, statement, &row, err);
        struct ms_span digest = row ? ms_db_blob(statement, 0) : (struct ms_span){NULL, 0};
        bool named = digest.data && digest.len == MS_SHA256_BYTES;
        if (named)
            memcpy(sha256, digest.data, MS_SHA256_BYTES);
        ms_db_done(statement);
        if (status != MS_OK || (named && ms_vault_has(self->corpus, kind, sha256)))
            continue;
        bool repaired = self->repair && samples && named;
        if (repaired)
            status = lose_sample(self, sha256, err);
        (void)snprintf(where, sizeof where, "%s %lld", samples ? "sample" : "analysis",
                       (long long)ids.items[i]);
        if (status == MS_OK)
            status = found(self, where, "its object is not in the vault", repaired, err);
    }
    ms_ids_release(&ids);
    return status;
}

/* What killed runs left in tmp/; whoever opens the corpus for writing has removed it already. While
 * another run is at work the files there are its own. */
static enum ms_status check_temporaries(struct fsck *self, struct ms_error *err)
{
    struct ms_corpus *corpus = self->corpus;
    int lock = openat(corpus->dir_fd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool busy = lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) != 0;
    int fd = busy || corpus->tmp_fd < 0
                 ? -1
                 : openat(corpus->tmp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    enum ms_status status = MS_OK;
    if (!dir && fd >= 0)
        close(fd);
    while (dir && status == MS_OK && (entry = readdir(dir)) != NULL) {
        char where[400], shown[300];
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(where, sizeof where, "tmp/%s",
                       ms_escape_text(entry->d_name, shown, sizeof shown));
        status = found(self, where, "left over by a run that was killed", false, err);
    }
    if (dir)
        closedir(dir);
    if (lock >= 0)
        close(lock);
    return status;
}

static enum ms_status load_known(struct fsck *self, struct ms_error *err)
{
    int64_t last = 0;
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status =
        ms_db_scalar(self->corpus, "SELECT coalesce(max(id), 0) FROM api", &last, err);
    if (status == MS_OK)
        status = ms_db_prepare(self->corpus, "SELECT id FROM api", &statement, err);
    if (status != MS_OK)
        return status;
    self->known_count = last > 0 && last <= UINT32_MAX ? (size_t)last + 1 : 1;
    self->known = calloc(self->known_count / 8 + 1, 1);
    if (!self->known) {
        ms_db_done(statement);
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    while ((status = ms_db_step(self->corpus, statement, &row, err)) == MS_OK && row) {
        int64_t id = ms_db_int(statement, 0, 0);
        if (id >= 0 && (uint64_t)id < self->known_count)
            self->known[id / 8] |= (uint8_t)(1u << (id % 8));
    }
    ms_db_done(statement);
    return status;
}

/* Decodes a trace to its end; MS_REJECT with the reason when anything about it is wrong. */
static enum ms_status check_trace(const struct fsck *self, struct ms_span blob, uint64_t calls,
                                  uint64_t expanded, struct ms_error *why)
{
    enum { BLOCK = 1024 };
    struct ms_trace_call block[BLOCK];
    struct ms_trace_decoder *decoder = NULL;
    struct ms_trace_head head = {0, 0, 0};
    size_t n = 1;
    enum ms_status status = ms_trace_decoder_open(blob, &decoder, why);
    while (status == MS_OK && n > 0)
        status = ms_trace_decoder_next(decoder, block, BLOCK, &n, why);
    if (status == MS_OK)
        ms_trace_decoder_head(decoder, &head);
    if (status == MS_OK && (head.calls != calls || head.expanded != expanded))
        status = ms_error_set(why, MS_REJECT,
                              "its row counts %llu calls (%llu), the trace %llu"
                              " (%llu)",
                              (unsigned long long)calls, (unsigned long long)expanded,
                              (unsigned long long)head.calls, (unsigned long long)head.expanded);
    for (uint32_t i = 0; i < head.apis && status == MS_OK; i++) {
        uint32_t id = ms_trace_decoder_apis(decoder)[i];
        if (id >= self->known_count || !(self->known[id / 8] >> (id % 8) & 1))
            status = ms_error_set(why, MS_REJECT, "API %u has no name", id);
    }
    ms_trace_decoder_close(decoder);
    return status;
}

static enum ms_status check_traces(struct fsck *self, struct ms_error *err)
{
    static const char sql[] = "SELECT id, calls, calls_expanded, trace FROM process ORDER BY id";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = load_known(self, err);
    if (status == MS_OK)
        status = ms_db_prepare(self->corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    while ((status = ms_db_step(self->corpus, statement, &row, err)) == MS_OK && row) {
        struct ms_error why;
        char where[64];
        self->counts.traces++;
        status = check_trace(self, ms_db_blob(statement, 3), (uint64_t)ms_db_int(statement, 1, 0),
                             (uint64_t)ms_db_int(statement, 2, 0), &why);
        (void)snprintf(where, sizeof where, "process %lld", (long long)ms_db_int(statement, 0, 0));
        if (status == MS_REJECT)
            status = found(self, where, why.text, false, err);
        else if (status != MS_OK && err)
            *err = why;
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

static enum ms_status check_sums(struct fsck *self, struct ms_error *err)
{
    static const char sql[] =
        "SELECT 'analysis ' || a.id || ' counts ' || a.processes || ' processes and ' || a.calls ||"
        " ' calls, its processes are ' || count(p.id) || ' with ' || coalesce(sum(p.calls), 0)"
        " FROM analysis a LEFT JOIN process p ON p.analysis = a.id GROUP BY a.id"
        " HAVING a.processes <> count(p.id) OR a.calls <> coalesce(sum(p.calls), 0)"
        " OR a.calls_expanded <> coalesce(sum(p.calls_expanded), 0)";
    return check_database(self, sql, "", err);
}

/* What malseq status says. */
static enum ms_status check_tally(struct fsck *self, struct ms_error *err)
{
    bool right = true;
    enum ms_status status = ms_tally_check(self->corpus, &right, err);
    if (status == MS_OK && !right && self->repair)
        status = ms_tally_mend(self->corpus, err);
    return status == MS_OK && !right
               ? found(self, "corpus.db", "its counts are not those of its rows", self->repair, err)
               : status;
}

/* Labels say by their policy's digest what they were made by: the text must be that one. */
static enum ms_status check_policies(struct fsck *self, struct ms_error *err)
{
    static const char sql[] = "SELECT digest, name, text FROM policy ORDER BY digest";
    sqlite3_stmt *statement;
    bool row = false;
    enum ms_status status = ms_db_prepare(self->corpus, sql, &statement, err);
    if (status != MS_OK)
        return status;
    while ((status = ms_db_step(self->corpus, statement, &row, err)) == MS_OK && row) {
        struct ms_span digest = ms_db_blob(statement, 0), text = ms_db_blob(statement, 2);
        const char *name = ms_db_text(statement, 1);
        uint8_t sha256[MS_SHA256_BYTES];
        char where[128], shown[80];
        if (ms_hash_sha256(text.data ? (const void *)text.data : "", text.len, sha256) != MS_OK)
            status = ms_error_set(err, MS_E_BUG, "the hash library failed");
        else if (digest.len != sizeof sha256 || memcmp(digest.data, sha256, sizeof sha256) != 0) {
            (void)snprintf(where, sizeof where, "policy %s",
                           ms_escape_text(name ? name : "", shown, sizeof shown));
            status = found(self, where, "its text is not that of its digest", false, err);
        }
        if (status != MS_OK)
            break;
    }
    ms_db_done(statement);
    return status;
}

static enum ms_status check_all(struct fsck *self, struct ms_error *err)
{
    static const char keys[] =
        "SELECT 'row ' || coalesce(rowid, '?') || ' of ' || \"table\" || ' refers to a row of ' ||"
        " parent || ' that is not there' FROM pragma_foreign_key_check";
    enum ms_status status =
        check_database(self, "SELECT integrity_check FROM pragma_integrity_check(100)", "ok", err);
    if (status == MS_OK)
        status = check_database(self, keys, "", err);
    for (int kind = MS_VAULT_SAMPLE; kind <= MS_VAULT_REPORT && status == MS_OK; kind++) {
        self->kind = (enum ms_vault_kind)kind;
        status = ms_vault_foreach(self->corpus, self->kind, check_object, self, err);
        if (status == MS_OK)
            status = check_named(self, self->kind == MS_VAULT_SAMPLE, err);
    }
    if (status == MS_OK)
        status = check_temporaries(self, err);
    if (status == MS_OK)
        status = check_sums(self, err);
    if (status == MS_OK)
        status = check_tally(self, err);
    if (status == MS_OK)
        status = check_policies(self, err);
    return status == MS_OK ? check_traces(self, err) : status;
}

enum ms_status ms_fsck_run(struct ms_corpus *corpus, bool repair, ms_fsck_visit visit, void *ctx,
                           struct ms_fsck_counts *counts, struct ms_error *err)
{
    struct fsck self = {.corpus = corpus, .repair = repair, .visit = visit, .ctx = ctx};
    enum ms_status status = repair ? ms_corpus_begin(corpus, err) : MS_OK;
    if (status == MS_OK)
        status = check_all(&self, err);
    if (repair && status == MS_OK)
        status = ms_corpus_commit(corpus, err);
    else if (repair)
        ms_corpus_rollback(corpus);
    free(self.known);
    *counts = self.counts;
    return status;
}

/* malseq backup: a copy of the corpus in a folder that is a corpus itself. What is done in which
 * order, so that a death at any point leaves the earlier backup or the new one; the database's copy
 * is store/backup's, files are backup_files's. */
#define _GNU_SOURCE /* flock, syncfs */
#include "malseq/malseq.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "base/stop.h"
#include "malseq/backup_files.h"
#include "malseq/backup_folder.h"
#include "store/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names in the backup's folder beside those of a corpus. */
#define DATABASE "corpus.db"
#define NEW_DATABASE "corpus.db.new"
#define MANIFEST "objects.jsonl"
#define SUMS "SHA256SUMS"
#define UNSYNCED "backup.unsynced"

enum { FIRST_FEW = 5 };

struct backup {
    const struct malseq_backup *options;
    const char *corpus, *to;
    bool dry_run, json, earlier; /* earlier: to holds a backup */
    struct ms_corpus *from;
    struct ms_corpus *view; /* the copy of its database: all that is listed is what this names */
    int lock_fd;
    struct malseq_backup_copy copy;
    enum ms_vault_kind kind; /* of the object at hand */
    const uint8_t *sha256;
    struct ms_file_stream manifest;
    struct ms_hasher *hasher;
    uint64_t objects, object_bytes, missing, gone, removed, done;
    struct malseq_backup_copy others; /* models, nights */
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory");
}

/* FOLDER/name of the backup; the arena's way is not worth it for a handful. */
static enum ms_status place(const struct backup *self, const char *name, char out[PATH_MAX],
                            struct ms_error *err)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", self->to, name);
    return n > 0 && n < PATH_MAX ? MS_OK : ms_error_set(err, MS_E_USAGE, "the path is too long");
}

static bool is_there(const struct backup *self, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return place(self, name, path, NULL) == MS_OK && lstat(path, &st) == 0;
}

static enum ms_status take_folder(struct backup *self, struct ms_error *err)
{
    char path[PATH_MAX], shown[256];
    enum ms_status status = ms_file_make_dirs(self->to, err);
    if (status == MS_OK)
        status = malseq_backup_apart(self->corpus, self->to, err); /* now that all of it is there */
    if (status == MS_OK)
        status = place(self, MALSEQ_BACKUP_LOCK, path, err);
    if (status != MS_OK)
        return status;
    ms_escape_text(self->to, shown, sizeof shown);
    self->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (self->lock_fd < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot write to '%s'", shown);
    if (flock(self->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return ms_error_set(err, MS_E_LATER, "another backup to '%s' is at work", shown);
    self->copy.distrust = is_there(self, UNSYNCED);
    return MS_OK;
}

/* ---- objects ---- */

static enum ms_status list_object(struct backup *self, const char *path, const uint8_t sha256[32],
                                  const struct stat *st, struct ms_error *err)
{
    char hex[MS_HASH_HEX_MAX], line[256];
    ms_hex_encode(sha256, MS_SHA256_BYTES, hex);
    int n = st ? snprintf(line, sizeof line, "{\"path\":\"%s\",\"sha256\":\"%s\",\"bytes\":%lld}\n",
                          path, hex, (long long)st->st_size)
               : snprintf(line, sizeof line, "{\"path\":\"%s\",\"sha256\":\"%s\",\"bytes\":null}\n",
                          path, hex);
    if (!self->manifest.file)
        return MS_OK;
    ms_hasher_update(self->hasher, line, (size_t)n);
    return fwrite(line, 1, (size_t)n, self->manifest.file) == (size_t)n
               ? MS_OK
               : ms_error_set_errno(err, MS_E_IO, errno, "cannot write the list of objects");
}

static enum ms_status verify_object(void *ctx, enum malseq_backup_source *source,
                                    struct ms_error *err)
{
    struct backup *self = ctx;
    struct ms_error why;
    enum ms_status status = ms_vault_read(self->from, self->kind, self->sha256, NULL, NULL, &why);
    *source = status == MS_E_STORE || status == MS_E_IO ? MALSEQ_BACKUP_DAMAGED
              : status == MS_REJECT                     ? MALSEQ_BACKUP_ABSENT
                                                        : MALSEQ_BACKUP_THERE;
    if (status == MS_OK || *source != MALSEQ_BACKUP_THERE)
        return MS_OK;
    if (err)
        *err = why;
    return status;
}

/* Named by the copy of the database. The corpus itself may have forgotten it since. */
static enum ms_status miss_object(struct backup *self, const char *path,
                                  enum malseq_backup_source source, struct ms_error *err)
{
    bool kept = true;
    enum ms_status status = ms_backup_keeps(self->from, self->kind, self->sha256, &kept, err);
    if (status == MS_OK && !kept)
        self->gone++;
    else if (status == MS_OK && self->missing++ < FIRST_FEW)
        ms_log(MS_LOG_WARNING,
               source == MALSEQ_BACKUP_DAMAGED
                   ? "%s is damaged or cannot be read; what the backup has of it stays"
                   : "%s is named by a row and not there",
               path);
    return status;
}

static enum ms_status on_object(void *ctx, enum ms_vault_kind kind, const uint8_t sha256[32],
                                struct ms_error *err)
{
    struct backup *self = ctx;
    char path[MS_OBJECT_PATH_BYTES], from[PATH_MAX];
    struct stat st;
    enum malseq_backup_source source = MALSEQ_BACKUP_ABSENT;
    enum ms_status status = MS_OK;
    if (ms_stop_signal() != 0)
        return ms_error_set(err, MS_E_LATER, "stopped; the next backup goes on from here");
    self->kind = kind;
    self->sha256 = sha256;
    ms_object_path(kind, sha256, path);
    int n = snprintf(from, sizeof from, "%s/%s", self->corpus, path);
    if (n > 0 && n < PATH_MAX && lstat(from, &st) == 0 && S_ISREG(st.st_mode))
        source = MALSEQ_BACKUP_THERE;
    if (source == MALSEQ_BACKUP_THERE && self->options->objects && !self->dry_run)
        status = malseq_backup_file(&self->copy, path, true, &source, err);
    if (status != MS_OK)
        return status;
    ms_step("malseq.backup.object");
    bool there = source == MALSEQ_BACKUP_THERE;
    self->objects += there;
    self->object_bytes += there ? (uint64_t)st.st_size : 0;
    if (!there)
        status = miss_object(self, path, source, err);
    ms_progress_update(++self->done);
    return status == MS_OK ? list_object(self, path, sha256, there ? &st : NULL, err) : status;
}

/* Objects in the backup that the corpus forgot or gave up, which the backup has to follow. What the
 * corpus lost stays: this may be the last of it. */
struct pruning {
    struct backup *backup;
    size_t root;
};

static enum ms_status prune_file(void *ctx, const char *path, const struct stat *st, int errnum,
                                 struct ms_error *err)
{
    const struct pruning *self = ctx;
    const char *name = path + self->root + 1, *base = strrchr(path, '/') + 1;
    char hex[MS_HASH_HEX_MAX] = "", right[MS_OBJECT_PATH_BYTES];
    uint8_t sha256[MS_SHA256_BYTES];
    enum ms_vault_kind kind = strncmp(name, "samples/", 8) == 0 ? MS_VAULT_SAMPLE : MS_VAULT_REPORT;
    bool kept = false;
    enum ms_status status = MS_OK;
    (void)errnum;
    if (!st)
        return MS_OK;
    memcpy(hex, base, strnlen(base, 64));
    if (ms_hex_decode(hex, MS_SHA256_BYTES, sha256)) {
        ms_object_path(kind, sha256, right);
        if (strcmp(right, name) == 0)
            status = ms_backup_keeps(self->backup->view, kind, sha256, &kept, err);
    }
    if (status == MS_OK && !kept) {
        if (unlink(path) != 0)
            return ms_error_set_errno(err, MS_E_IO, errno, "cannot remove an object of the backup");
        self->backup->removed++;
    }
    return status;
}

static enum ms_status prune(struct backup *self, struct ms_error *err)
{
    static const char *const folders[] = {"samples", "reports"};
    struct pruning pruning = {self, strlen(self->to)};
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < 2 && status == MS_OK; i++) {
        char path[PATH_MAX];
        if (is_there(self, folders[i]) && (status = place(self, folders[i], path, err)) == MS_OK)
            status = ms_file_walk(path, prune_file, &pruning, err);
    }
    return status;
}

/* ---- one after the other ---- */

/* Everything that was written so far; of thousands of files by one call. */
static enum ms_status sync_all(const struct backup *self, struct ms_error *err)
{
    return syncfs(self->lock_fd) == 0
               ? MS_OK
               : ms_error_set_errno(err, MS_E_IO, errno, "cannot sync the backup");
}

static enum ms_status mark_unsynced(const struct backup *self, struct ms_error *err)
{
    char path[PATH_MAX];
    enum ms_status status = place(self, UNSYNCED, path, err);
    return status == MS_OK ? ms_file_write_atomic(path, "", 0, 0600, err) : status;
}

static enum ms_status take_objects(struct backup *self, struct ms_error *err)
{
    uint64_t samples = 0, reports = 0;
    char path[PATH_MAX];
    enum ms_status status = ms_backup_count(self->view, &samples, &reports, err);
    if (status == MS_OK && !self->dry_run) {
        status = ms_hasher_new(MS_HASH_SHA256, &self->hasher, err);
        if (status == MS_OK)
            status = place(self, MANIFEST, path, err);
        if (status == MS_OK)
            status = ms_file_stream_open(path, 0600, &self->manifest, err);
    }
    ms_progress_begin("objects", samples + reports, "objects");
    if (status == MS_OK)
        status = ms_backup_foreach(self->view, on_object, self, err);
    ms_progress_end();
    return status;
}

/* Beside the vault, by names that others may have the contents of tomorrow. */
static const char *const other_names[] = {"models", "nights", "nightly.conf"};
enum { OTHER_NAMES = sizeof other_names / sizeof *other_names };

static enum ms_status take_others(struct backup *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    self->others = (struct malseq_backup_copy){
        .from = self->corpus, .to = self->to, .distrust = self->copy.distrust};
    for (size_t i = 0; i < OTHER_NAMES && status == MS_OK; i++)
        status = malseq_backup_tree(&self->others, other_names[i], err);
    return status;
}

static enum ms_status settle_others(struct backup *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < OTHER_NAMES && status == MS_OK; i++)
        status = malseq_backup_tree_settle(&self->others, other_names[i], err);
    return status;
}

/* "DIGEST  NAME" for sha256sum -c. */
static enum ms_status sum_file(const struct backup *self, const char *name, char hex[65],
                               struct ms_error *err)
{
    static uint8_t block[1 << 18];
    char path[PATH_MAX];
    struct ms_hasher *hasher = NULL;
    struct ms_digests digests;
    enum ms_status status = place(self, name, path, err);
    FILE *file = status == MS_OK ? fopen(path, "rbe") : NULL;
    if (status == MS_OK && !file)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot read the copy again");
    if (status == MS_OK)
        status = ms_hasher_new(MS_HASH_SHA256, &hasher, err);
    for (size_t n; status == MS_OK && (n = fread(block, 1, sizeof block, file)) > 0;)
        ms_hasher_update(hasher, block, n);
    if (status == MS_OK && ferror(file))
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot read the copy again");
    if (status == MS_OK)
        status = ms_hasher_finish(hasher, &digests, err);
    if (status == MS_OK)
        ms_hex_encode(digests.sha256, MS_SHA256_BYTES, hex);
    ms_hasher_free(hasher);
    if (file)
        (void)fclose(file);
    return status;
}

static json_t *make_record(const struct backup *self, const char *database, const char *manifest)
{
    bool linked = self->options->link && self->copy.linked == self->copy.files;
    const char *how = !self->options->objects ? "left" : linked ? "linked" : "copied";
    char made[32], path[PATH_MAX];
    struct stat st = {.st_size = 0};
    ms_clock_format(ms_clock_wall_ms(), made);
    if (place(self, DATABASE, path, NULL) != MS_OK || stat(path, &st) != 0)
        st.st_size = 0;
    return json_pack("{s:s,s:s,s:o,s:o,s:I,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b}",
                     "version", MS_VERSION, "made", made, "corpus", ms_json_text(self->corpus),
                     "folder", ms_json_text(self->to), "database_bytes", (json_int_t)st.st_size,
                     "database_sha256", database, "manifest_sha256", manifest, "object_files", how,
                     "objects", (json_int_t)self->objects, "object_bytes",
                     (json_int_t)self->object_bytes, "missing", (json_int_t)self->missing,
                     "gone_meanwhile", (json_int_t)self->gone, "new_objects",
                     (json_int_t)self->copy.files, "linked_objects", (json_int_t)self->copy.linked,
                     "copied_bytes", (json_int_t)(self->copy.bytes + self->others.bytes),
                     "removed_objects", (json_int_t)self->removed, "other_files",
                     (json_int_t)self->others.files, "dry_run", self->dry_run);
}

static enum ms_status write_text(const struct backup *self, const char *name, const char *text,
                                 struct ms_error *err)
{
    char path[PATH_MAX];
    enum ms_status status = place(self, name, path, err);
    return status == MS_OK ? ms_file_write_atomic(path, text, strlen(text), 0600, err) : status;
}

/* The database's copy gets its name when all that it names is there: until then the folder holds
 * the earlier database with all that it names, from then on the new one. Only then goes what the
 * new one does not name. */
static enum ms_status put_in_place(struct backup *self, json_t **record, struct ms_error *err)
{
    char database[65] = "", manifest[65] = "", text[256], new[PATH_MAX], path[PATH_MAX];
    struct ms_digests digests;
    enum ms_status status = ms_hasher_finish(self->hasher, &digests, err);
    if (status == MS_OK)
        status = sum_file(self, NEW_DATABASE, database, err);
    if (status == MS_OK)
        status = place(self, NEW_DATABASE, new, err);
    if (status == MS_OK)
        status = place(self, DATABASE, path, err);
    if (status != MS_OK)
        return status;
    ms_hex_encode(digests.sha256, MS_SHA256_BYTES, manifest);
    status = ms_file_stream_commit(&self->manifest, err);
    ms_step("malseq.backup.rename");
    if (status == MS_OK && rename(new, path) != 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot rename the copy");
    ms_step("malseq.backup.renamed");
    if (status == MS_OK)
        status = settle_others(self, err);
    if (status == MS_OK)
        status = sync_all(self, err);
    ms_step("malseq.backup.settled");
    (void)snprintf(text, sizeof text, "%s  " DATABASE "\n%s  " MANIFEST "\n", database, manifest);
    if (status == MS_OK)
        status = write_text(self, SUMS, text, err);
    if (status == MS_OK && self->earlier)
        status = prune(self, err);
    if (status == MS_OK && !(*record = make_record(self, database, manifest)))
        status = no_memory(err);
    if (status == MS_OK) {
        char *json = json_dumps(*record, JSON_INDENT(1));
        status = json ? write_text(self, MALSEQ_BACKUP_RECORD, json, err) : no_memory(err);
        free(json);
    }
    return status;
}

static void forget_file(const struct backup *self, const char *name)
{
    char path[PATH_MAX];
    if (place(self, name, path, NULL) == MS_OK)
        (void)unlink(path);
}

/* The database comes first and is all that is held still, for as long as its pages are copied: the
 * corpus's log could not be reset while objects are, for hours. What it names lies there already,
 * but for what is forgotten from then on. The small files that change, models and nights, follow at
 * once. */
static enum ms_status take_database(struct backup *self, struct ms_error *err)
{
    char path[PATH_MAX];
    enum ms_status status = place(self, NEW_DATABASE, path, err);
    if (status != MS_OK)
        return status;
    /* Left by a run that died, and by readers of the earlier backup; the log is known to be empty.
     */
    forget_file(self, NEW_DATABASE);
    forget_file(self, NEW_DATABASE "-journal");
    forget_file(self, DATABASE "-wal");
    forget_file(self, DATABASE "-shm");
    ms_progress_begin("database", 0, "pages");
    status = ms_backup_copy(self->from, path, err);
    ms_progress_end();
    return status == MS_OK ? ms_backup_open(path, &self->view, err) : status;
}

static bool has_objects(const struct backup *self)
{
    return is_there(self, "samples") || is_there(self, "reports");
}

static enum ms_status make_backup(struct backup *self, json_t **record, struct ms_error *err)
{
    enum ms_status status = mark_unsynced(self, err);
    if (status == MS_OK)
        status = take_database(self, err);
    if (status == MS_OK)
        status = take_others(self, err);
    if (status == MS_OK)
        status = take_objects(self, err);
    if (status == MS_OK)
        status = sync_all(self, err);
    if (status == MS_OK)
        status = put_in_place(self, record, err);
    ms_corpus_close(self->view);
    if (status != MS_OK)
        forget_file(self, NEW_DATABASE);
    else if (self->options->objects || !self->copy.distrust || !has_objects(self))
        forget_file(self, UNSYNCED); /* else some remain that nobody has looked at */
    return status;
}

static enum ms_status plan_backup(struct backup *self, json_t **record, struct ms_error *err)
{
    self->view = self->from;
    enum ms_status status = take_objects(self, err);
    if (status == MS_OK && !(*record = make_record(self, "", "")))
        status = no_memory(err);
    return status;
}

static void show(const struct backup *self, const json_t *record)
{
    char shown[256];
    printf("%s '%s': a database of %lld bytes; %llu objects of %llu bytes %s\n",
           self->dry_run ? "would back up to" : "backed up to",
           ms_escape_text(self->to, shown, sizeof shown),
           (long long)ms_json_int_at(record, "database_bytes", 0),
           (unsigned long long)self->objects, (unsigned long long)self->object_bytes,
           self->options->objects ? "in all" : "listed, not copied (see --objects)");
    if (self->options->objects && !self->dry_run)
        printf("%llu objects new, %llu removed that the corpus has no more\n",
               (unsigned long long)self->copy.files, (unsigned long long)self->removed);
    if (self->gone)
        printf("%llu objects were forgotten in the corpus meanwhile: the next backup follows\n",
               (unsigned long long)self->gone);
}

/* Of what is not as it should be, though the backup was made: MS_REJECT. */
static enum ms_status warn(const struct backup *self)
{
    if (self->options->link && self->copy.linked < self->copy.files)
        ms_log(MS_LOG_WARNING,
               "%llu objects were copied, for no second name of them can be made there",
               (unsigned long long)(self->copy.files - self->copy.linked));
    if (self->missing == 0)
        return MS_OK;
    ms_log(MS_LOG_WARNING,
           "%llu objects are missing, damaged or not to be read: with disk and rights in order "
           "'malseq fsck --repair' lets collect bring samples again",
           (unsigned long long)self->missing);
    return MS_REJECT;
}

enum ms_status malseq_backup(struct ms_cli *cli, struct ms_error *err)
{
    struct backup self = {.options = cli->options,
                          .corpus = cli->common.corpus,
                          .to = cli->operands[0],
                          .dry_run = cli->common.dry_run,
                          .json = cli->common.json,
                          .lock_fd = -1};
    json_t *record = NULL;
    if (self.options->link && !self.options->objects)
        return ms_error_set(err, MS_E_USAGE, "--link is for --objects");
    ms_stop_watch();
    self.copy = (struct malseq_backup_copy){.from = self.corpus,
                                            .to = self.to,
                                            .link = self.options->link,
                                            .verify = verify_object,
                                            .ctx = &self};
    enum ms_status status = ms_corpus_open(self.corpus, MS_CORPUS_READ, &self.from, err);
    if (status == MS_OK)
        status = malseq_backup_check(self.corpus, self.to, &self.earlier, err);
    if (status == MS_OK && !self.dry_run)
        status = take_folder(&self, err);
    if (status == MS_OK)
        status = self.dry_run ? plan_backup(&self, &record, err) : make_backup(&self, &record, err);
    if (status == MS_OK && !self.json)
        show(&self, record);
    else if (status == MS_OK)
        status = ms_json_line(stdout, json_incref(record), err);
    if (status == MS_OK)
        status = warn(&self);
    json_decref(record);
    ms_file_stream_abort(&self.manifest);
    ms_hasher_free(self.hasher);
    ms_corpus_close(self.from);
    if (self.lock_fd >= 0)
        close(self.lock_fd);
    return status;
}

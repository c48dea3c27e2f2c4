/* One origin's files, in byte order of their paths so that two runs do the same. */
#define _GNU_SOURCE
#include "collect/crawl.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/progress.h"
#include "base/step.h"
#include "collect/hints.h"
#include "collect/join.h"
#include "collect/pool.h"
#include "collect/sidefile.h"
#include "store/sample.h"
#include "store/vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HINT_ARENA_BYTES = 64 << 20,
    PASSES = 2,
    TAKEN_PROGRAMS = 64, /* and */
    TAKEN_MS = 1000      /* after which blobs that were opened wait for no more of them */
};

/* An archive that no password opened so far. */
struct closed {
    const struct ms_entry *entry; /* NULL: opened since */
    const char *reason;
};

struct walk {
    struct ms_collect *session;
    struct ms_crawl *crawl;
    const struct ms_entries *entries;
    struct ms_arena arena; /* hints and their texts */
    struct ms_hints hints;
    struct ms_sides sides;
    struct ms_passwords passwords; /* the session's and those that worked here */
    struct ms_arena passwords_arena;
    size_t worked_count;
    struct closed *closed;
    size_t closed_count, closed_cap;
    struct ms_pool *pool;
    uint64_t taken_programs; /* of the pool's taken blobs */
    int64_t taken_ms;        /* monotonic: when the first of them was */
    struct pending *pending; /* MS_LFS_BATCH places */
    size_t pending_count;
    struct ms_volumes volumes;
};

/* A pointer whose file is still to be had. */
struct pending {
    const struct ms_entry *entry;
    uint8_t password_set[32];
    struct ms_lfs_object object;
};

/* ---- one file -------------------------------------------------------------------------------- */

static enum ms_status add_worked(void *ctx, struct ms_span password, struct ms_error *err)
{
    return ms_passwords_add(ctx, MS_PASSWORD_WORKED, password, err);
}

/* The set without hints; anew when a password was learned. Blobs on their way still borrow from
 * the one before, so its memory stays. */
static enum ms_status refresh_passwords(struct walk *self, struct ms_error *err)
{
    ms_intake_lock(&self->session->intake);
    enum ms_status status = ms_passwords_init_from(&self->passwords, &self->session->passwords,
                                                   &self->passwords_arena, err);
    if (status == MS_OK && self->session->corpus && self->crawl->origin)
        status = ms_origin_foreach_password(self->session->corpus, self->crawl->origin, add_worked,
                                            &self->passwords, err);
    self->worked_count = self->passwords.parts[MS_PASSWORD_WORKED].count;
    ms_intake_unlock(&self->session->intake);
    return status;
}

/* The set's digest for a file: the passwords known without reading anything, and the ids of the
 * files that may name others. */
static enum ms_status digest_for(struct walk *self, const struct ms_entry *entry, uint8_t out[32],
                                 struct ms_error *err)
{
    uint8_t ids[MS_HINTS_A_FILE][MS_SHA1_BYTES];
    size_t count = ms_hints_ids(&self->hints, entry, ids);
    return ms_passwords_digest(&self->passwords, ms_span_of(ids, count * MS_SHA1_BYTES), out, err);
}

/* Could there be something encrypted inside? Asked before hints are downloaded for nothing. */
static bool may_be_container(int fd, bool program_too)
{
    static const struct {
        const char *bytes;
        size_t n;
    } magics[] = {{"PK", 2},
                  {"7z\xbc\xaf", 4},
                  {"Rar!", 4},
                  {"\x1f\x8b", 2},
                  {"BZh", 3},
                  {"\xfd"
                   "7zXZ",
                   5},
                  {"\x28\xb5\x2f\xfd", 4},
                  {"MSCF", 4},
                  {"LZIP", 4},
                  {"\x04\x22\x4d\x18", 4},
                  {"\x1f\x9d", 2},
                  {"!<arch>", 7},
                  {"07070", 5},
                  {"\x5d\0\0", 3}};
    uint8_t head[262] = {0};
    ssize_t n = pread(fd, head, sizeof head, 0);
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (n >= (ssize_t)magics[i].n && memcmp(head, magics[i].bytes, magics[i].n) == 0)
            return true;
    uint8_t disc[6] = {0};
    bool iso = pread(fd, disc, sizeof disc, 32768) == (ssize_t)sizeof disc &&
               memcmp(disc + 1, "CD001", 5) == 0;
    return iso || memcmp(head + 2, "-lh", 3) == 0 || memcmp(head + 257, "ustar", 5) == 0 ||
           (program_too && memcmp(head, "MZ", 2) == 0);
}

static enum ms_status passwords_for(struct walk *self, const struct ms_entry *entry, int fd,
                                    struct ms_arena *arena, struct ms_passwords *out,
                                    struct ms_error *err)
{
    enum ms_status status = ms_passwords_init_from(out, &self->passwords, arena, err);
    if (status == MS_OK)
        status = ms_passwords_add_names(
            out, entry->path, ms_span_of(self->crawl->name, strlen(self->crawl->name)), err);
    return status == MS_OK && may_be_container(fd, self->session->intake.sfx)
               ? ms_hints_add(&self->hints, entry, out, err)
               : status;
}

static enum ms_status add_closed(struct walk *self, const struct ms_entry *entry,
                                 const char *reason, struct ms_error *err)
{
    if (self->closed_count == self->closed_cap) {
        size_t cap = self->closed_cap ? self->closed_cap * 2 : 64;
        struct closed *grown = realloc(self->closed, cap * sizeof *grown);
        if (!grown)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->closed = grown;
        self->closed_cap = cap;
    }
    const char *copy = reason ? ms_arena_copy(&self->arena, reason, strlen(reason)) : NULL;
    self->closed[self->closed_count++] = (struct closed){entry, copy};
    return MS_OK;
}

static void reopen_closed(struct walk *self, const struct ms_entry *entry)
{
    for (size_t i = 0; i < self->closed_count; i++)
        if (self->closed[i].entry == entry)
            self->closed[i].entry = NULL;
}

static enum ms_status tell_closed(struct walk *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < self->closed_count && status == MS_OK; i++) {
        const struct closed *closed = &self->closed[i];
        if (!closed->entry)
            continue;
        self->session->counts.failed++;
        status =
            ms_collect_tell_failure(self->session, self->crawl->name, closed->entry->path,
                                    closed->entry->git_id, "need_password", closed->reason, err);
    }
    return status;
}

/* What a blob's rows are committed for, and then forgotten. */
static enum ms_status tell_stored(struct walk *self, struct ms_pool_task *task,
                                  struct ms_error *err)
{
    bool closed;
    self->session->counts.opened++;
    reopen_closed(self, task->tag);
    ms_join_judge(task->tag, task->result.outcome);
    enum ms_status status =
        ms_collect_tell_blob(self->session, &task->blob, &task->result, &closed, err);
    return status == MS_OK && closed ? add_closed(self, task->tag, task->result.reason, err)
                                     : status;
}

/* The objects and rows of the blobs that were taken, synced and committed together. */
static enum ms_status store_taken(struct walk *self, struct ms_error *err)
{
    struct ms_collect *session = self->session;
    struct ms_intake_item items[MS_POOL_TAKEN];
    size_t count = ms_pool_taken(self->pool);
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < count; i++) {
        struct ms_pool_task *task = ms_pool_get_taken(self->pool, i);
        items[i] = (struct ms_intake_item){&task->blob, &task->result};
    }
    if (count && !session->intake.dry) {
        status = ms_intake_sync(items, count, err);
        ms_intake_lock(&session->intake);
        if (status == MS_OK)
            status = ms_intake_store(&session->intake, items, count, err);
        ms_intake_unlock(&session->intake);
    }
    for (size_t i = 0; i < count; i++) {
        if (status == MS_OK)
            status = tell_stored(self, ms_pool_get_taken(self->pool, 0), err);
        ms_pool_drop(self->pool);
    }
    self->taken_programs = 0;
    return status;
}

/* Rows at once where others wait for them, and soon in any case: a killed run loses what waits. */
static bool is_ripe(const struct walk *self)
{
    size_t count = ms_pool_taken(self->pool);
    return count && (count == MS_POOL_TAKEN || self->session->intake.dry ||
                     self->taken_programs >= TAKEN_PROGRAMS ||
                     ms_clock_mono_ms() - self->taken_ms >= TAKEN_MS);
}

static bool has_taken(const struct walk *self, const uint8_t sha256[MS_SHA256_BYTES])
{
    for (size_t i = 0; i < ms_pool_taken(self->pool); i++) {
        const struct ms_intake_result *result = &ms_pool_get_taken(self->pool, i)->result;
        for (size_t k = 0; k < result->program_count; k++)
            if (memcmp(result->programs[k].digests.sha256, sha256, MS_SHA256_BYTES) == 0)
                return true;
    }
    return false;
}

/* A blob that a thread has opened: its objects and rows wait for those of others. */
static enum ms_status finish_oldest(struct walk *self, struct ms_error *err)
{
    struct ms_pool_task *task = ms_pool_oldest(self->pool);
    enum ms_status status = task->status;
    bool learned = false;
    if (status != MS_OK) {
        struct ms_error why = task->err;
        enum ms_status stored = store_taken(self, err);
        ms_pool_drop(self->pool);
        if (stored == MS_OK && err)
            *err = why;
        return stored == MS_OK ? status : stored;
    }
    ms_sides_judge(&self->sides, task->tag, &task->blob, &task->result);
    for (size_t i = 0; i < task->result.program_count; i++) {
        struct ms_span password = task->result.programs[i].password;
        learned |=
            password.data && !ms_passwords_has(&self->passwords, MS_PASSWORD_WORKED, password);
    }
    if (!ms_pool_taken(self->pool))
        self->taken_ms = ms_clock_mono_ms();
    self->taken_programs += task->result.program_count;
    ms_pool_take(self->pool);
    if (learned || is_ripe(self))
        status = store_taken(self, err);
    return status == MS_OK && learned ? refresh_passwords(self, err) : status;
}

static enum ms_status finish_all(struct walk *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    while (status == MS_OK && ms_pool_oldest(self->pool))
        status = finish_oldest(self, err);
    return status == MS_OK ? store_taken(self, err) : status;
}

static enum ms_status note(struct walk *self, const struct ms_intake_blob *blob,
                           const char *outcome, const char *reason, struct ms_error *err)
{
    struct ms_collect *session = self->session;
    bool failure = self->crawl->lfs || strcmp(outcome, "lfs_pointer") != 0;
    /* What came before is told before. */
    enum ms_status status = failure ? store_taken(self, err) : MS_OK;
    ms_intake_lock(&session->intake);
    if (status == MS_OK && !session->intake.dry)
        status = ms_intake_note(&session->intake, blob, outcome, reason, err);
    ms_intake_unlock(&session->intake);
    session->counts.failed += failure;
    if (status == MS_OK && failure)
        status = ms_collect_tell_failure(session, blob->origin_name, blob->path, blob->git_id,
                                         outcome, reason, err);
    return status;
}

/* A place in the pool, filled in with what is known without the bytes. */
static enum ms_status new_task(struct walk *self, const struct ms_entry *entry,
                               const uint8_t password_set[32], struct ms_pool_task **out,
                               struct ms_error *err)
{
    const struct ms_crawl *crawl = self->crawl;
    struct ms_pool_task *task = ms_pool_place(self->pool);
    enum ms_status status = task ? MS_OK : finish_oldest(self, err);
    if (status == MS_OK && is_ripe(self))
        status = store_taken(self, err);
    if (status != MS_OK)
        return status;
    task = ms_pool_place(self->pool);
    task->blob = (struct ms_intake_blob){
        .fd = -1,
        .origin = crawl->origin,
        .origin_name = crawl->name,
        .path = entry->path,
        .commit_id = entry->past ? ms_span_of(entry->commit_id, MS_SHA1_BYTES) : crawl->commit_id,
        .claim = crawl->claim,
        .private_ = crawl->private_,
        .passwords = &task->passwords,
        .local = crawl->local};
    task->tag = entry;
    memcpy(task->blob.git_id, entry->git_id, sizeof task->blob.git_id);
    memcpy(task->blob.password_set, password_set, sizeof task->blob.password_set);
    task->blob.size = entry->size > 0 ? (uint64_t)entry->size : 0;
    ms_join_name(entry, &task->arena, &task->blob);
    *out = task;
    return MS_OK;
}

/* Gives back a place that was not submitted. */
static void drop_task(struct ms_pool_task *task)
{
    ms_arena_release(&task->arena);
    if (task->blob.fd >= 0)
        (void)close(task->blob.fd);
    task->blob.fd = -1;
}

/* Hands the bytes over to be opened, or records that there are none. */
static enum ms_status submit(struct walk *self, struct ms_pool_task *task, enum ms_status fetched,
                             const char *outcome, const struct ms_error *why, struct ms_error *err)
{
    enum ms_status status = fetched;
    if (status == MS_OK)
        status = passwords_for(self, task->tag, task->blob.fd, &task->arena, &task->passwords, err);
    else if (status != MS_REJECT && err)
        *err = *why;
    if (status == MS_OK) {
        ms_pool_submit(self->pool);
        return MS_OK;
    }
    if (fetched == MS_REJECT) {
        self->crawl->incomplete |= strcmp(outcome, "too_big") != 0;
        status = note(self, &task->blob, outcome, why->text, err);
    }
    drop_task(task);
    return status;
}

/* What needs no bytes: rows at once for a file that the corpus knows by its SHA-256 (NULL: not
 * said), too_big for one that is. */
static enum ms_status settle(struct walk *self, const struct ms_intake_blob *blob,
                             const uint8_t *sha256, uint64_t max_bytes, bool *settled,
                             struct ms_error *err)
{
    struct ms_collect *session = self->session;
    bool forgotten = false;
    enum ms_status status = MS_OK;
    *settled = false;
    /* With --recurse-sfx the bytes are wanted once. */
    if (sha256 && !session->intake.sfx) {
        status = has_taken(self, sha256) ? store_taken(self, err) : MS_OK;
        ms_intake_lock(&session->intake);
        if (status == MS_OK)
            status = ms_intake_know(&session->intake, blob, sha256, settled, &forgotten, err);
        ms_intake_unlock(&session->intake);
    }
    session->counts.skipped_forgotten += status == MS_OK && forgotten;
    if (status != MS_OK || *settled || blob->size <= max_bytes)
        return status;
    *settled = true;
    return note(self, blob, "too_big", "larger than a file may be", err);
}

/* ---- files in Git LFS ------------------------------------------------------------------------ */

static enum ms_status settle_pending(struct walk *self, struct pending *pending, bool *settled,
                                     struct ms_error *err)
{
    const struct ms_lfs_pointer *pointer = &pending->object.pointer;
    struct ms_pool_task *task;
    enum ms_status status = new_task(self, pending->entry, pending->password_set, &task, err);
    *settled = false;
    if (status != MS_OK)
        return status;
    task->blob.size = pointer->size;
    status = settle(self, &task->blob, pointer->oid, MS_LIMIT_LFS_BYTES, settled, err);
    drop_task(task);
    return status;
}

static enum ms_status take_in_object(struct walk *self, struct pending *pending,
                                     struct ms_error *err)
{
    const struct ms_lfs_object *object = &pending->object;
    const char *outcome = object->outcome;
    struct ms_pool_task *task;
    struct ms_error why = {MS_OK, 0, ""};
    enum ms_status status = new_task(self, pending->entry, pending->password_set, &task, err);
    if (status != MS_OK)
        return status;
    task->blob.size = object->pointer.size;
    if (outcome)
        status = ms_error_set(&why, MS_REJECT, "%s", object->reason);
    else
        status = ms_file_memory("lfs", &task->blob.fd, &why);
    if (status == MS_OK)
        status = ms_lfs_fetch(self->crawl->lfs, object, task->blob.fd, &outcome, &why);
    ms_step("collect.crawl.object");
    return submit(self, task, status, outcome, &why, err);
}

/* Gets the files of the pointers met so far: one batch request for those the corpus lacks. */
static enum ms_status resolve_pending(struct walk *self, struct ms_error *err)
{
    struct ms_lfs_object objects[MS_LFS_BATCH];
    size_t count = 0;
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < self->pending_count && status == MS_OK; i++) {
        bool settled = false;
        status = settle_pending(self, &self->pending[i], &settled, err);
        if (!settled)
            self->pending[count++] = self->pending[i];
    }
    self->pending_count = 0;
    if (status != MS_OK || !count)
        return status;
    for (size_t i = 0; i < count; i++)
        objects[i] = self->pending[i].object;
    status = ms_lfs_ask(self->crawl->lfs, objects, count, err);
    ms_step("collect.crawl.batch");
    for (size_t i = 0; i < count; i++) {
        self->pending[i].object = objects[i];
        if (status == MS_OK)
            status = take_in_object(self, &self->pending[i], err);
        ms_lfs_object_release(&self->pending[i].object);
    }
    return status;
}

static bool is_pending(const struct walk *self, const uint8_t git_id[MS_SHA1_BYTES])
{
    for (size_t i = 0; i < self->pending_count; i++)
        if (memcmp(self->pending[i].entry->git_id, git_id, MS_SHA1_BYTES) == 0)
            return true;
    return false;
}

/* A pointer: kept for the next batch, or recorded where nobody has the file. */
static enum ms_status take_in_pointer(struct walk *self, struct ms_pool_task *task,
                                      const struct ms_lfs_pointer *pointer, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (!self->crawl->lfs) {
        status = note(self, &task->blob, "lfs_pointer", "the file itself is in Git LFS", err);
    } else {
        struct pending *pending = &self->pending[self->pending_count++];
        *pending = (struct pending){.entry = task->tag, .object.pointer = *pointer};
        memcpy(pending->password_set, task->blob.password_set, sizeof pending->password_set);
    }
    drop_task(task);
    return status == MS_OK && self->pending_count == MS_LFS_BATCH ? resolve_pending(self, err)
                                                                  : status;
}

/* Files that only look like a set by their names. */
static enum ms_status note_apart(struct walk *self, struct ms_pool_task *task, struct ms_error *err)
{
    struct ms_collect *session = self->session;
    enum ms_status status = MS_OK;
    ms_intake_lock(&session->intake);
    if (!session->intake.dry)
        status = ms_intake_note(&session->intake, &task->blob, "apart", NULL, err);
    ms_intake_unlock(&session->intake);
    drop_task(task);
    return status;
}

static enum ms_status take_in(struct walk *self, const struct ms_entry *entry,
                              const uint8_t password_set[32], struct ms_error *err)
{
    struct ms_pool_task *task;
    struct ms_lfs_pointer pointer;
    const char *outcome = "error";
    struct ms_error why = {MS_OK, 0, ""};
    enum ms_status status = new_task(self, entry, password_set, &task, err);
    if (status != MS_OK)
        return status;
    const struct ms_crawl *crawl = self->crawl;
    struct ms_intake_blob *blob = &task->blob;
    bool settled = false, is_set = ms_join_is_set(entry);
    const uint8_t *sha256 =
        crawl->sha256_of && !is_set ? crawl->sha256_of(crawl->fetch_ctx, entry) : NULL;
    status = settle(self, blob, sha256, is_set ? MS_LIMIT_VOLUME_SET_BYTES : crawl->max_blob_bytes,
                    &settled, err);
    if (status != MS_OK || settled) {
        drop_task(task);
        return status;
    }
    if (is_set)
        status = ms_join_fetch(self->crawl, entry->set, &task->arena, blob, &outcome, &why);
    else
        status = ms_sides_fetch(&self->sides, entry, &blob->fd, &blob->size, &outcome, &why);
    ms_step("collect.crawl.fetched");
    if (is_set && entry->set->apart)
        return note_apart(self, task, err);
    if (status == MS_OK && !is_set && ms_lfs_pointer_read(blob->fd, blob->size, &pointer))
        return take_in_pointer(self, task, &pointer, err);
    return submit(self, task, status, outcome, &why, err);
}

static enum ms_status visit(struct walk *self, const struct ms_entry *entry, unsigned pass,
                            struct ms_error *err)
{
    enum ms_intake_state state;
    uint8_t tried[32];
    uint8_t password_set[32];
    enum ms_status status = MS_OK;
    if (is_pending(self, entry->git_id))
        return MS_OK;
    /* The same bytes under another path: known once they are through. */
    if (ms_pool_has(self->pool, entry->git_id))
        status = finish_all(self, err);
    if (status != MS_OK)
        return status;
    ms_intake_lock(&self->session->intake);
    status = ms_intake_look_up(&self->session->intake, entry->git_id, &state, tried, err);
    ms_intake_unlock(&self->session->intake);
    if (status != MS_OK || state == MS_INTAKE_KNOWN || (pass && state != MS_INTAKE_CLOSED))
        return status;
    if (!self->session->intake.dry)
        status = ms_vault_room(self->session->corpus, err);
    if (status == MS_OK)
        status = digest_for(self, entry, password_set, err);
    if (status != MS_OK ||
        (state == MS_INTAKE_CLOSED && memcmp(tried, password_set, sizeof tried) == 0))
        return status;
    return take_in(self, entry, password_set, err);
}

/* A set, at the first of its parts that the crawl meets; whether it is one at all is known
 * afterwards. */
static enum ms_status visit_set(struct walk *self, struct ms_volume_set *set, unsigned pass,
                                struct ms_error *err)
{
    if (set->apart || set->visits > pass)
        return MS_OK;
    set->visits = pass + 1;
    ms_intake_lock(&self->session->intake);
    enum ms_status status = ms_join_look_up(&self->session->intake, set, err);
    ms_intake_unlock(&self->session->intake);
    if (status == MS_OK && !set->apart)
        status = visit(self, &set->entry, pass, err);
    return status == MS_OK ? finish_all(self, err) : status;
}

static enum ms_status visit_all(struct walk *self, unsigned pass, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < self->entries->count && status == MS_OK; i++) {
        const struct ms_entry *entry = &self->entries->items[i];
        if (entry->set)
            status = visit_set(self, entry->set, pass, err);
        if (status == MS_OK && (!entry->set || entry->set->apart))
            status = visit(self, entry, pass, err);
        ms_progress_update(i + 1);
    }
    if (status == MS_OK)
        status = resolve_pending(self, err);
    self->pending_count = 0;
    /* A rate limit ends the downloads, not what they brought; so does a full vault. */
    struct ms_error why = {MS_OK, 0, ""};
    bool full = status == MS_E_STORE && ms_vault_is_full(self->session->corpus);
    enum ms_status rest = MS_OK;
    if (status == MS_OK || status == MS_E_LATER)
        rest = finish_all(self, &why);
    full = full || (rest == MS_E_STORE && ms_vault_is_full(self->session->corpus));
    while (full && ms_pool_oldest(self->pool)) {
        struct ms_error ignored = {MS_OK, 0, ""};
        (void)finish_oldest(self, &ignored);
    }
    /* Whatever ended the crawl: what was opened is kept. */
    if (ms_pool_taken(self->pool)) {
        struct ms_error ignored = {MS_OK, 0, ""};
        (void)store_taken(self, &ignored);
    }
    if (rest == MS_OK)
        return status;
    *err = why;
    return rest;
}

enum ms_status ms_crawl_files(struct ms_collect *session, struct ms_crawl *crawl,
                              const struct ms_entries *entries, struct ms_error *err)
{
    struct walk walk = {.session = session, .crawl = crawl, .entries = entries};
    ms_arena_init(&walk.arena, HINT_ARENA_BYTES);
    ms_arena_init(&walk.passwords_arena, HINT_ARENA_BYTES);
    enum ms_status status = ms_hints_init(&walk.hints, crawl, entries, &walk.arena, err);
    ms_sides_init(&walk.sides, crawl, &walk.hints, entries);
    if (status == MS_OK)
        status = ms_volumes_find(entries, &walk.volumes, err);
    walk.pending = calloc(MS_LFS_BATCH, sizeof *walk.pending);
    if (status == MS_OK && !walk.pending)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (status == MS_OK)
        status = refresh_passwords(&walk, err);
    if (status == MS_OK)
        status =
            ms_pool_new(&session->intake, (unsigned)session->cli->common.jobs, &walk.pool, err);
    session->counts.files += entries->count;
    ms_progress_begin("collecting", entries->count, "files");
    /* Again when a password was learned on the way: an archive before it may open now. */
    size_t worked = walk.worked_count;
    for (unsigned pass = 0; pass < PASSES && status == MS_OK; pass++) {
        if (pass && (session->intake.dry || walk.worked_count == worked))
            break;
        status = visit_all(&walk, pass, err);
    }
    ms_progress_end();
    ms_pool_free(walk.pool);
    if (status == MS_OK)
        status = tell_closed(&walk, err);
    ms_volumes_release(&walk.volumes);
    ms_sides_release(&walk.sides);
    free(walk.closed);
    free(walk.pending);
    ms_arena_release(&walk.passwords_arena);
    ms_arena_release(&walk.arena);
    return status;
}

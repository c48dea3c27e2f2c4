/* Reads a git server's pack in the confined child: walks trees, sends out blobs. */
#define _GNU_SOURCE
#include "collect/gitjob.h"

#include "base/limits.h"
#include "collect/pack.h"
#include "collect/pkt.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { PIECE_BYTES = 256 << 10, FRAME_BYTES = 256 << 10, MODE_KIND = 0170000 };
enum { MODE_FOLDER = 0040000, MODE_FILE = 0100000 };

/* A set of ids; linear probing. The worker's CPU limit ends what chosen ids can do to it. */
struct id_set {
    uint8_t (*ids)[MS_SHA1_BYTES];
    uint8_t *used;
    size_t count, slots;
};

struct folder {
    uint8_t id[MS_SHA1_BYTES];
    char *path; /* of `len` bytes, "" for the top */
    size_t len;
    unsigned depth;
};

struct job {
    struct ms_pack *pack;
    ms_gitjob_emit emit;
    void *ctx;
    struct ms_buf frame; /* files that wait to be sent */
    uint32_t frame_type;
    struct folder *folders; /* still to be read */
    size_t folder_count, folder_cap;
    size_t *commits; /* still to be read: indexes */
    size_t commit_count, commit_cap;
    uint8_t *seen; /* by index: trees and commits that were read */
    struct id_set blobs;
    uint8_t commit[MS_SHA1_BYTES];
    uint64_t visits, path_bytes;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory");
}

static bool grow(void **items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return true;
    size_t wanted = *cap ? *cap * 2 : 64;
    void *grown = realloc(*items, wanted * size);
    if (!grown)
        return false;
    *items = grown;
    *cap = wanted;
    return true;
}

/* ---- the set of blobs ------------------------------------------------------------------------ */

static size_t id_slot(const struct id_set *self, const uint8_t id[MS_SHA1_BYTES])
{
    uint64_t head;
    memcpy(&head, id, sizeof head);
    size_t slot = (size_t)(head * 0x9e3779b97f4a7c15U >> 20) & (self->slots - 1);
    while (self->used[slot] && memcmp(self->ids[slot], id, MS_SHA1_BYTES) != 0)
        slot = (slot + 1) & (self->slots - 1);
    return slot;
}

static bool id_set_grow(struct id_set *self)
{
    struct id_set wider = {.slots = self->slots ? self->slots * 2 : 1024, .count = self->count};
    wider.ids = malloc(wider.slots * sizeof *wider.ids);
    wider.used = calloc(wider.slots, 1);
    if (!wider.ids || !wider.used) {
        free(wider.ids);
        free(wider.used);
        return false;
    }
    for (size_t i = 0; i < self->slots; i++)
        if (self->used[i]) {
            size_t slot = id_slot(&wider, self->ids[i]);
            memcpy(wider.ids[slot], self->ids[i], MS_SHA1_BYTES);
            wider.used[slot] = 1;
        }
    free(self->ids);
    free(self->used);
    *self = wider;
    return true;
}

static enum ms_status id_set_add(struct id_set *self, const uint8_t id[MS_SHA1_BYTES], bool *added,
                                 struct ms_error *err)
{
    if (self->count * 2 >= self->slots && !id_set_grow(self))
        return no_memory(err);
    size_t slot = id_slot(self, id);
    *added = !self->used[slot];
    if (*added) {
        memcpy(self->ids[slot], id, MS_SHA1_BYTES);
        self->used[slot] = 1;
        self->count++;
    }
    return MS_OK;
}

static bool id_set_has(const struct id_set *self, const uint8_t id[MS_SHA1_BYTES])
{
    return self->slots && self->used[id_slot(self, id)];
}

/* ---- trees ----------------------------------------------------------------------------------- */

static enum ms_status flush(struct job *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (self->frame.failed)
        return no_memory(err);
    if (self->frame.len)
        status = self->emit(self->ctx, self->frame_type, self->frame.data, self->frame.len, err);
    ms_buf_clear(&self->frame);
    return status;
}

static enum ms_status send_file(struct job *self, const struct folder *folder,
                                const struct ms_tree_item *item, struct ms_error *err)
{
    struct ms_gitjob_file head = {.path_bytes = 0};
    size_t len = folder->len + (folder->len ? 1 : 0) + item->name.len;
    bool added = true;
    enum ms_status status = MS_OK;
    if (self->frame_type == MS_GITJOB_PAST)
        status = id_set_add(&self->blobs, item->id, &added, err);
    if (status != MS_OK || !added)
        return status;
    self->path_bytes += len;
    if (self->path_bytes > MS_LIMIT_GIT_PATHS_BYTES)
        return ms_error_set(err, MS_REJECT, "the names of the files are more than %llu bytes",
                            (unsigned long long)MS_LIMIT_GIT_PATHS_BYTES);
    memcpy(head.id, item->id, MS_SHA1_BYTES);
    memcpy(head.commit, self->commit, MS_SHA1_BYTES);
    head.path_bytes = (uint32_t)len;
    (void)ms_buf_append(&self->frame, &head, sizeof head);
    if (folder->len) {
        (void)ms_buf_append(&self->frame, folder->path, folder->len);
        (void)ms_buf_append_byte(&self->frame, '/');
    }
    (void)ms_buf_append(&self->frame, item->name.data, item->name.len);
    return self->frame.len >= FRAME_BYTES ? flush(self, err) : MS_OK;
}

static enum ms_status push_folder(struct job *self, const struct folder *parent,
                                  const struct ms_tree_item *item, struct ms_error *err)
{
    struct folder folder = {.depth = parent->depth + 1};
    folder.len = parent->len + (parent->len ? 1 : 0) + item->name.len;
    if (folder.depth > MS_LIMIT_GIT_TREE_DEPTH)
        return ms_error_set(err, MS_REJECT, "folders nested too deep");
    if (!grow((void **)&self->folders, self->folder_count, &self->folder_cap,
              sizeof *self->folders))
        return no_memory(err);
    folder.path = malloc(folder.len);
    if (!folder.path)
        return no_memory(err);
    if (parent->len) {
        memcpy(folder.path, parent->path, parent->len);
        folder.path[parent->len] = '/';
    }
    memcpy(folder.path + folder.len - item->name.len, item->name.data, item->name.len);
    memcpy(folder.id, item->id, MS_SHA1_BYTES);
    self->folders[self->folder_count++] = folder;
    return MS_OK;
}

/* Links and submodules are passed over, and so are names that no system could hold. */
static enum ms_status visit(struct job *self, const struct folder *folder,
                            const struct ms_tree_item *item, struct ms_error *err)
{
    if (++self->visits > MS_LIMIT_TREE_ENTRIES)
        return ms_error_set(err, MS_REJECT, "more than %llu files and folders",
                            (unsigned long long)MS_LIMIT_TREE_ENTRIES);
    if (folder->len + item->name.len >= MS_LIMIT_GIT_PATH_BYTES)
        return MS_OK;
    if ((item->mode & MODE_KIND) == MODE_FOLDER)
        return push_folder(self, folder, item, err);
    return (item->mode & MODE_KIND) == MODE_FILE ? send_file(self, folder, item, err) : MS_OK;
}

/* The object of an id and type. In the past it may be missing: the server was told that it is
 * known; or a graft, or a damaged history. */
static enum ms_status find(struct job *self, const uint8_t id[MS_SHA1_BYTES],
                           enum ms_pack_type type, size_t *index, bool *found, struct ms_error *err)
{
    struct ms_pack_object object;
    *found = ms_pack_find(self->pack, id, index) && ms_pack_object(self->pack, *index, &object) &&
             object.type == type && !object.too_big;
    if (!*found && self->frame_type != MS_GITJOB_PAST)
        return ms_error_set(err, MS_REJECT, "the pack lacks a %s",
                            type == MS_PACK_TREE ? "folder's tree" : "commit that was asked for");
    return MS_OK;
}

static enum ms_status read_folder(struct job *self, const struct folder *folder,
                                  struct ms_error *err)
{
    size_t index;
    bool found, end = false;
    struct ms_span tree;
    struct ms_tree_item item;
    enum ms_status status = find(self, folder->id, MS_PACK_TREE, &index, &found, err);
    if (status != MS_OK || !found)
        return status;
    /* A folder's blobs are told once in a history, wherever it was moved. */
    if (self->frame_type == MS_GITJOB_PAST && self->seen[index])
        return MS_OK;
    self->seen[index] = 1;
    status = ms_pack_read(self->pack, index, &tree, err);
    while (status == MS_OK && (status = ms_tree_item_take(&tree, &item, &end, err)) == MS_OK &&
           !end)
        status = visit(self, folder, &item, err);
    return status;
}

static enum ms_status walk_tree(struct job *self, const uint8_t tree[MS_SHA1_BYTES],
                                struct ms_error *err)
{
    struct folder folder = {.depth = 0};
    memcpy(folder.id, tree, MS_SHA1_BYTES);
    enum ms_status status = read_folder(self, &folder, err);
    while (status == MS_OK && self->folder_count) {
        folder = self->folders[--self->folder_count];
        status = read_folder(self, &folder, err);
        free(folder.path);
    }
    return status;
}

/* ---- commits --------------------------------------------------------------------------------- */

static enum ms_status push_commit(void *ctx, const uint8_t id[MS_SHA1_BYTES], struct ms_error *err)
{
    struct job *self = ctx;
    struct ms_pack_object object;
    size_t index;
    (void)err;
    if (self->frame_type != MS_GITJOB_PAST || !ms_pack_find(self->pack, id, &index) ||
        self->seen[index] || !ms_pack_object(self->pack, index, &object) ||
        object.type != MS_PACK_COMMIT)
        return MS_OK;
    if (!grow((void **)&self->commits, self->commit_count, &self->commit_cap,
              sizeof *self->commits))
        return no_memory(err);
    self->seen[index] = 1;
    self->commits[self->commit_count++] = index;
    return MS_OK;
}

static enum ms_status read_commit(struct job *self, size_t index, struct ms_error *err)
{
    struct ms_pack_object object;
    struct ms_span text;
    uint8_t tree[MS_SHA1_BYTES];
    enum ms_status status = ms_pack_read(self->pack, index, &text, err);
    if (status == MS_OK)
        status = ms_commit_read(text, tree, push_commit, self, err);
    if (status == MS_OK && ms_pack_object(self->pack, index, &object))
        memcpy(self->commit, object.id, MS_SHA1_BYTES);
    return status == MS_OK ? walk_tree(self, tree, err) : status;
}

static enum ms_status walk_commit(struct job *self, const uint8_t id[MS_SHA1_BYTES],
                                  struct ms_error *err)
{
    size_t index;
    bool found;
    enum ms_status status = find(self, id, MS_PACK_COMMIT, &index, &found, err);
    return status == MS_OK ? read_commit(self, index, err) : status;
}

/* All commits from these on, nearest first. A tag may stand for a tree. */
static enum ms_status walk_history(struct job *self, struct ms_span ids, struct ms_error *err)
{
    struct ms_span id;
    enum ms_status status = MS_OK;
    struct ms_span tips = ids;
    while (status == MS_OK && ms_span_take(&tips, MS_SHA1_BYTES, &id))
        status = push_commit(self, id.data, err);
    for (size_t next = 0; next < self->commit_count && status == MS_OK; next++)
        status = read_commit(self, self->commits[next], err);
    while (status == MS_OK && ms_span_take(&ids, MS_SHA1_BYTES, &id)) {
        memcpy(self->commit, id.data, MS_SHA1_BYTES);
        status = walk_tree(self, id.data, err);
    }
    return status;
}

static enum ms_status walk(struct job *self, enum ms_gitjob_mode mode, struct ms_span ids,
                           struct ms_error *err)
{
    self->frame_type = mode == MS_GITJOB_TREE ? MS_GITJOB_FILES : MS_GITJOB_PAST;
    self->seen = calloc(ms_pack_count(self->pack) + 1, 1);
    if (!self->seen)
        return no_memory(err);
    enum ms_status status =
        mode == MS_GITJOB_TREE ? walk_commit(self, ids.data, err) : walk_history(self, ids, err);
    return status == MS_OK ? flush(self, err) : status;
}

/* ---- blobs ----------------------------------------------------------------------------------- */

static enum ms_status send_blob(struct job *self, size_t index, const struct ms_pack_object *object,
                                struct ms_error *err)
{
    struct ms_gitjob_blob head = {.too_big = object->too_big, .size = object->size};
    struct ms_span bytes = ms_span_of(NULL, 0);
    memcpy(head.id, object->id, MS_SHA1_BYTES);
    enum ms_status status = object->too_big ? MS_OK : ms_pack_read(self->pack, index, &bytes, err);
    if (status == MS_OK)
        status = self->emit(self->ctx, MS_GITJOB_BLOB, &head, sizeof head, err);
    for (size_t at = 0; at < bytes.len && status == MS_OK; at += PIECE_BYTES) {
        size_t n = bytes.len - at < PIECE_BYTES ? bytes.len - at : PIECE_BYTES;
        status = self->emit(self->ctx, MS_GITJOB_DATA, bytes.data + at, n, err);
    }
    return status == MS_OK && !object->too_big ? self->emit(self->ctx, MS_GITJOB_END, NULL, 0, err)
                                               : status;
}

static enum ms_status send_blobs(struct job *self, struct ms_span ids, struct ms_error *err)
{
    struct ms_span id;
    struct ms_pack_object object;
    bool added;
    enum ms_status status = MS_OK;
    while (status == MS_OK && ms_span_take(&ids, MS_SHA1_BYTES, &id))
        status = id_set_add(&self->blobs, id.data, &added, err);
    for (size_t i = 0; i < ms_pack_count(self->pack) && status == MS_OK; i++)
        if (ms_pack_object(self->pack, i, &object) && object.type == MS_PACK_BLOB &&
            id_set_has(&self->blobs, object.id))
            status = send_blob(self, i, &object, err);
    return status;
}

/* ---- the job --------------------------------------------------------------------------------- */

enum ms_status ms_gitjob_argument(enum ms_gitjob_mode mode, const uint8_t (*ids)[MS_SHA1_BYTES],
                                  size_t count, struct ms_buf *out, struct ms_error *err)
{
    (void)ms_buf_append_byte(out, (uint8_t)mode);
    (void)ms_buf_append(out, ids, count * MS_SHA1_BYTES);
    return out->failed ? no_memory(err) : MS_OK;
}

enum ms_status ms_gitjob_file_take(struct ms_span *frame, struct ms_gitjob_file *out,
                                   struct ms_span *path, bool *end, struct ms_error *err)
{
    struct ms_span head;
    *end = frame->len == 0;
    if (*end)
        return MS_OK;
    if (!ms_span_take(frame, sizeof *out, &head))
        return ms_error_set(err, MS_REJECT, "the worker's answer makes no sense");
    memcpy(out, head.data, sizeof *out);
    if (!out->path_bytes || out->path_bytes > MS_LIMIT_GIT_PATH_BYTES ||
        !ms_span_take(frame, out->path_bytes, path) || memchr(path->data, 0, path->len))
        return ms_error_set(err, MS_REJECT, "the worker's answer makes no sense");
    return MS_OK;
}

static enum ms_status work(struct job *self, struct ms_span arg, struct ms_error *err)
{
    uint8_t mode;
    if (!ms_span_take_u8(&arg, &mode) || arg.len < MS_SHA1_BYTES)
        return ms_error_set(err, MS_E_BUG, "the job's argument");
    return mode == MS_GITJOB_BLOBS ? send_blobs(self, arg, err)
                                   : walk(self, (enum ms_gitjob_mode)mode, arg, err);
}

enum ms_status ms_gitjob_run(struct ms_span answer, struct ms_span arg, ms_gitjob_emit emit,
                             void *ctx, struct ms_error *err)
{
    struct job self = {.emit = emit, .ctx = ctx};
    size_t pack_bytes = 0;
    uint8_t *pack = malloc(answer.len + 1);
    ms_buf_init(&self.frame, MS_LIMIT_FRAME_BYTES);
    enum ms_status status =
        pack ? ms_git_pack_take(answer, pack, &pack_bytes, err) : no_memory(err);
    if (status == MS_OK)
        status = ms_pack_open(ms_span_of(pack, pack_bytes), NULL, &self.pack, err);
    if (status == MS_OK)
        status = work(&self, arg, err);
    ms_pack_free(self.pack);
    while (self.folder_count)
        free(self.folders[--self.folder_count].path);
    free(self.folders);
    free(self.commits);
    free(self.seen);
    free(self.blobs.ids);
    free(self.blobs.used);
    ms_buf_release(&self.frame);
    free(pack);
    return status;
}

static enum ms_status emit_frame(void *ctx, uint32_t type, const void *bytes, size_t n,
                                 struct ms_error *err)
{
    enum ms_status status = ms_worker_emit(ctx, type, bytes, n);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

enum ms_status ms_gitjob_work(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                              struct ms_error *err)
{
    struct stat st;
    if (fstat(input_fd, &st) != 0 || st.st_size <= 0)
        return ms_error_set(err, MS_REJECT, "the server's answer is empty");
    size_t n = (size_t)st.st_size;
    void *at = mmap(NULL, n, PROT_READ, MAP_PRIVATE, input_fd, 0);
    if (at == MAP_FAILED)
        return no_memory(err);
    enum ms_status status = ms_gitjob_run(ms_span_of(at, n), arg, emit_frame, out, err);
    (void)munmap(at, n);
    return status;
}

/* OpenSSL loads what it needs when the first digest is made. */
void ms_gitjob_prepare(void)
{
    struct ms_hasher *hasher;
    if (ms_hasher_new(MS_HASH_SHA1, &hasher, NULL) == MS_OK)
        ms_hasher_free(hasher);
}

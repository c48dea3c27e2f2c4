/* The parts of a set on their way to intake. Names are collect/volumes' business, and content the
 * worker's. */
#define _GNU_SOURCE
#include "collect/join.h"

#include "base/file.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COPY_BYTES = 256 << 10, NAME_BYTES = 512 };

bool ms_join_is_set(const struct ms_entry *entry)
{
    return entry->set && entry == &entry->set->entry;
}

void ms_join_name(const struct ms_entry *entry, struct ms_arena *arena, struct ms_intake_blob *blob)
{
    struct ms_volume_name name;
    char missing[NAME_BYTES];
    if (!ms_volume_name_read(entry->path, &name))
        return;
    /* NAME.zip and NAME.rar are what most archives are called. */
    blob->zip_named = name.style == MS_VOLUME_ZIP && name.number == MS_VOLUME_LAST;
    blob->part_named = ms_join_is_set(entry) ||
                       !(blob->zip_named || (name.style == MS_VOLUME_RAR_OLD && !name.number));
    ms_volume_missing(entry, missing, sizeof missing);
    blob->missing = ms_arena_copy(arena, missing, strlen(missing));
}

/* A first part that is known to be whole by itself needs no others. */
enum ms_status ms_join_look_up(const struct ms_intake *intake, struct ms_volume_set *set,
                               struct ms_error *err)
{
    enum ms_intake_state state;
    uint8_t tried[32];
    bool whole = false;
    enum ms_status status = ms_intake_look_up(intake, set->entry.git_id, &state, tried, err);
    set->apart = state == MS_INTAKE_APART;
    if (status == MS_OK && state == MS_INTAKE_NEW)
        status = ms_intake_is_whole(intake, set->parts[0]->git_id, &whole, err);
    set->apart |= whole;
    return status;
}

void ms_join_judge(const struct ms_entry *entry, const char *outcome)
{
    if (ms_join_is_set(entry))
        entry->set->apart = strcmp(outcome, "apart") == 0;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

struct joining {
    struct ms_crawl *crawl;
    struct ms_volume_set *set;
    uint8_t *block;
    int fd;          /* parts in the order of their paths */
    uint64_t *bytes; /* of each part, by its number */
    uint64_t *at;    /* and where it lies in fd */
    uint64_t end;
};

static enum ms_status copy(struct joining *self, int from, uint64_t at, uint64_t n, int to,
                           struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (uint64_t done = 0; done < n && status == MS_OK;) {
        size_t some = n - done < COPY_BYTES ? (size_t)(n - done) : COPY_BYTES;
        ssize_t got = pread(from, self->block, some, (off_t)(at + done));
        if (got <= 0)
            return ms_error_set(err, MS_E_IO, "cannot read a part again");
        status = ms_file_write_all(to, self->block, (size_t)got, err);
        done += (uint64_t)got;
    }
    return status;
}

/* The file that an LFS pointer stands for, in the pointer's place. */
static enum ms_status follow_pointer(struct joining *self, int *fd, uint64_t *size,
                                     const char **outcome, struct ms_error *err)
{
    struct ms_lfs_object object = {.outcome = NULL};
    const struct ms_lfs *lfs = self->crawl->lfs;
    if (!ms_lfs_pointer_read(*fd, *size, &object.pointer))
        return MS_OK;
    *outcome = "lfs_pointer";
    if (!lfs)
        return ms_error_set(err, MS_REJECT, "the file itself is in Git LFS");
    (void)close(*fd);
    *fd = -1;
    *size = object.pointer.size;
    if (*size > MS_LIMIT_VOLUME_SET_BYTES - self->end) {
        *outcome = "too_big";
        return ms_error_set(err, MS_REJECT, "the set is larger than one may be");
    }
    enum ms_status status = ms_lfs_ask(lfs, &object, 1, err);
    if (status == MS_OK && object.outcome) {
        *outcome = object.outcome;
        status = ms_error_set(err, MS_REJECT, "%s", object.reason);
    } else if (status == MS_OK) {
        status = ms_file_memory("lfs", fd, err);
        if (status == MS_OK)
            status = ms_lfs_fetch(lfs, &object, *fd, outcome, err);
    }
    ms_lfs_object_release(&object);
    return status;
}

static enum ms_status take_part(struct joining *self, size_t number, const char **outcome,
                                struct ms_error *err)
{
    const struct ms_entry *part = self->set->parts[number];
    uint64_t size;
    int fd = -1;
    enum ms_status status =
        self->crawl->fetch(self->crawl->fetch_ctx, part, &fd, &size, outcome, err);
    if (status == MS_OK)
        status = follow_pointer(self, &fd, &size, outcome, err);
    if (status == MS_OK && size > MS_LIMIT_VOLUME_SET_BYTES - self->end) {
        *outcome = "too_big";
        status = ms_error_set(err, MS_REJECT, "the set is larger than one may be");
    }
    if (status == MS_OK && !ms_volume_may_be(self->set, number, fd)) {
        self->set->apart = true;
    } else if (status == MS_OK) {
        self->bytes[number] = size;
        self->at[number] = self->end;
        status = copy(self, fd, 0, size, self->fd, err);
        self->end += size;
    }
    if (fd >= 0)
        (void)close(fd);
    return status;
}

static int by_entry(const void *a, const void *b)
{
    const struct ms_entry *left = *(const struct ms_entry *const *)a;
    const struct ms_entry *right = *(const struct ms_entry *const *)b;
    return (left > right) - (left < right);
}

static size_t number_of(const struct ms_volume_set *set, const struct ms_entry *part)
{
    size_t number = 0;
    while (set->parts[number] != part)
        number++;
    return number;
}

/* In the order of the paths, in which sources that fetch many files at a time expect to be asked.
 */
static enum ms_status take_parts(struct joining *self, bool *in_order, const char **outcome,
                                 struct ms_error *err)
{
    const struct ms_volume_set *set = self->set;
    const struct ms_entry **sorted = malloc(set->count * sizeof(struct ms_entry *));
    enum ms_status status = MS_OK;
    if (!sorted)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    memcpy(sorted, set->parts, set->count * sizeof(struct ms_entry *));
    qsort(sorted, set->count, sizeof(struct ms_entry *), by_entry);
    *in_order = memcmp(sorted, set->parts, set->count * sizeof(struct ms_entry *)) == 0;
    for (size_t i = 0; i < set->count && status == MS_OK && !set->apart; i++)
        status = take_part(self, *in_order ? i : number_of(set, sorted[i]), outcome, err);
    free(sorted);
    return status;
}

static enum ms_status put_in_order(struct joining *self, struct ms_error *err)
{
    int fd = -1;
    enum ms_status status = ms_file_memory("set", &fd, err);
    for (size_t i = 0; i < self->set->count && status == MS_OK; i++)
        status = copy(self, self->fd, self->at[i], self->bytes[i], fd, err);
    (void)close(self->fd);
    self->fd = fd;
    return status;
}

enum ms_status ms_join_fetch(struct ms_crawl *crawl, struct ms_volume_set *set,
                             struct ms_arena *arena, struct ms_intake_blob *blob,
                             const char **outcome, struct ms_error *err)
{
    struct joining self = {.crawl = crawl,
                           .set = set,
                           .block = malloc(COPY_BYTES),
                           .fd = -1,
                           .bytes = ms_arena_alloc_array(arena, set->count, sizeof(uint64_t)),
                           .at = ms_arena_alloc_array(arena, set->count, sizeof(uint64_t))};
    bool in_order = true;
    *outcome = "error";
    enum ms_status status = self.block && self.bytes && self.at
                                ? ms_file_memory("set", &self.fd, err)
                                : ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (status == MS_OK)
        status = take_parts(&self, &in_order, outcome, err);
    if (status == MS_OK && !set->apart && !in_order)
        status = put_in_order(&self, err);
    free(self.block);
    blob->fd = self.fd;
    if (status == MS_OK && !set->apart) {
        blob->size = self.end;
        blob->part_bytes = self.bytes;
        blob->parts = set->parts;
        blob->part_count = set->count;
    }
    return status;
}

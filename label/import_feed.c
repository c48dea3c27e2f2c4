/* The feeder's thread runs jobs of the confined worker; the pool's threads work on what they tell;
 * the caller takes items from the front of a ring. What one record needs: import_item.c. */
#include "label/import_feed.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "label/import_item.h"
#include "label/import_job.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RING = 1024,
    POOL_MOST = 64,
    BATCH_FILES = 512,
    BATCH_BYTES = 8 << 20, /* small files that are read by one job */
    SMALL_BYTES = 1 << 20,
    IN_FLIGHT_BYTES = 64 << 20 /* of bodies that came through the pipe */
};

enum slot_state { SLOT_RAW, SLOT_BUSY, SLOT_READY };

struct slot {
    enum slot_state state;
    struct ms_import_work work;
};

/* What one job or, after its death, several read: a file, or small ones copied one behind the
 * other. */
struct group {
    struct ms_import_source *source;
    const char *const *paths;
    uint64_t lengths[BATCH_FILES];
    size_t count;
    bool batch;                /* lengths hold */
    bool seekable;             /* the parent can read it too */
    uint64_t bytes, raw_bytes; /* read so far, about; and of the whole */
    /* How far it is read. */
    size_t part;
    uint64_t part_at; /* where the part begins, behind the source's start */
    struct ms_split_state state;
    uint64_t pieces; /* of the part, from `state` on, that are dealt with */
    bool mute, sliced;
    char why[256]; /* the worker's last death */
};

struct ms_import_feed {
    struct ms_import_options options;
    const char *const *paths;
    size_t path_count;
    pthread_mutex_t lock;
    /* One for each who waits: the feeder for room, threads of the pool for work, the caller for
     * the item at the head. */
    pthread_cond_t room, work_there, head_ready;
    size_t idle; /* threads of the pool that wait */
    bool feeder_waits;
    struct slot slots[RING];
    uint64_t head, work, tail; /* handed out, given to a thread, filled: counted for ever */
    uint64_t in_flight;
    uint64_t bytes;
    bool stop, ended, holding;
    struct ms_error error; /* what stopped it; MS_OK none */
    struct group group;    /* the feeder's own, as is `pending` */
    struct ms_buf pending;
    pthread_t feeder, pool[POOL_MOST];
    size_t pool_count;
    bool feeding;
    struct ms_import_desk *desk; /* of the caller, for finish */
};

static struct slot *slot_at(struct ms_import_feed *self, uint64_t index)
{
    return &self->slots[index % RING];
}

static void wake_all(struct ms_import_feed *self)
{
    (void)pthread_cond_broadcast(&self->room);
    (void)pthread_cond_broadcast(&self->work_there);
    (void)pthread_cond_broadcast(&self->head_ready);
}

static void set_error(struct ms_import_feed *self, const struct ms_error *error)
{
    (void)pthread_mutex_lock(&self->lock);
    if (self->error.status == MS_OK)
        self->error = *error;
    self->stop = true;
    wake_all(self);
    (void)pthread_mutex_unlock(&self->lock);
}

/* ---- into the ring ---- */

/* A free slot for the feeder to fill, once there is one; NULL when the run is being stopped. */
static struct slot *reserve(struct ms_import_feed *self, uint64_t bytes)
{
    struct slot *slot = NULL;
    (void)pthread_mutex_lock(&self->lock);
    while (!self->stop && (self->tail - self->head >= RING - 1 ||
                           (self->in_flight > 0 && self->in_flight + bytes > IN_FLIGHT_BYTES))) {
        self->feeder_waits = true;
        (void)pthread_cond_wait(&self->room, &self->lock);
    }
    self->feeder_waits = false;
    if (!self->stop) {
        slot = slot_at(self, self->tail);
        self->in_flight += bytes;
    }
    (void)pthread_mutex_unlock(&self->lock);
    if (slot)
        ms_import_work_clear(&slot->work);
    return slot;
}

static void publish(struct ms_import_feed *self, struct slot *slot)
{
    (void)pthread_mutex_lock(&self->lock);
    slot->state = slot->work.item.kind == MS_ITEM_RECORD ? SLOT_RAW : SLOT_READY;
    self->tail++;
    if (slot->state == SLOT_READY)
        (void)pthread_cond_signal(&self->head_ready);
    else if (self->idle > 0)
        (void)pthread_cond_signal(&self->work_there);
    (void)pthread_mutex_unlock(&self->lock);
}

static enum ms_status stopped(struct ms_error *err)
{
    return ms_error_set(err, MS_E_LATER, "the reading was stopped");
}

/* An item that is no record. */
static enum ms_status push_word(struct ms_import_feed *self, enum ms_import_item_kind kind,
                                const char *path, uint64_t byte, uint64_t line, struct ms_span why,
                                struct ms_error *err)
{
    struct slot *slot = reserve(self, 0);
    if (!slot)
        return stopped(err);
    struct ms_import_item *item = &slot->work.item;
    item->kind = kind;
    item->path = path;
    item->byte = byte;
    item->line = line;
    if (why.len)
        (void)ms_escape_bytes(why.data, why.len, item->why, sizeof item->why);
    publish(self, slot);
    return MS_OK;
}

static enum ms_status push_path_error(struct ms_import_feed *self, const char *path, int errnum,
                                      const char *why, struct ms_error *err)
{
    struct slot *slot = reserve(self, 0);
    if (!slot)
        return stopped(err);
    slot->work.item.kind = MS_ITEM_PATH;
    slot->work.item.path = path;
    slot->work.item.errnum = errnum;
    (void)snprintf(slot->work.item.why, sizeof slot->work.item.why, "%s", why);
    publish(self, slot);
    return MS_OK;
}

/* ---- frames ---- */

static enum ms_status lies(struct ms_error *err)
{
    return ms_error_set(err, MS_REJECT, "the reader of reports sent a bad frame");
}

static enum ms_status take_record(struct ms_import_feed *self, const struct ms_import_frame *frame,
                                  struct ms_error *err)
{
    struct group *group = &self->group;
    const char *path = group->paths[group->part];
    if (frame->sent ? self->pending.len != frame->body_bytes : !group->seekable)
        return lies(err);
    /* What a batch holds of other files is not this one's. */
    if (!frame->sent && group->batch &&
        (frame->byte > group->lengths[group->part] ||
         frame->body_bytes > group->lengths[group->part] - frame->byte))
        return lies(err);
    struct slot *slot = reserve(self, frame->sent ? frame->body_bytes : 0);
    if (!slot)
        return stopped(err);
    struct ms_import_work *work = &slot->work;
    work->item.kind = MS_ITEM_RECORD;
    work->item.path = path;
    work->item.byte = frame->byte;
    work->item.line = frame->line;
    work->item.body_bytes = frame->body_bytes;
    work->sum = frame->body_sum;
    work->at = group->part_at + frame->byte;
    if (frame->sent) {
        struct ms_buf body = work->body;
        work->body = self->pending;
        self->pending = body;
    } else {
        work->source = ms_import_source_share(group->source);
    }
    ms_buf_clear(&self->pending);
    if (ms_buf_append(&work->wire, frame->text.data, frame->text.len) != MS_OK) {
        ms_import_work_clear(work);
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    publish(self, slot);
    return MS_OK;
}

static enum ms_status take_part(struct ms_import_feed *self, const struct ms_import_frame *frame,
                                struct ms_error *err)
{
    struct group *group = &self->group;
    group->pieces = 0;
    group->mute = false;
    if (frame->more && (!group->seekable || group->batch || frame->state.byte <= group->state.byte))
        return lies(err);
    if (frame->more) {
        group->state = frame->state;
        group->sliced = true;
        return MS_OK;
    }
    enum ms_status status = push_word(self, MS_ITEM_FILE, group->paths[group->part], frame->byte,
                                      frame->line, frame->text, err);
    if (group->batch)
        group->part_at += group->lengths[group->part];
    group->state = (struct ms_split_state){.line = 1};
    group->part++;
    return status;
}

static enum ms_status take_reject(struct ms_import_feed *self, const struct ms_import_frame *frame,
                                  struct ms_error *err)
{
    const struct group *group = &self->group;
    struct ms_span why = frame->text;
    if (frame->word == MS_IMPORT_MUTED)
        why = ms_span_of(group->why, strlen(group->why));
    return push_word(self, MS_ITEM_REJECT, group->paths[group->part], frame->byte, frame->line, why,
                     err);
}

static enum ms_status take_frame(void *ctx, uint32_t type, struct ms_span bytes,
                                 struct ms_error *err)
{
    struct ms_import_feed *self = ctx;
    struct group *group = &self->group;
    struct ms_import_frame frame;
    enum ms_status status;
    if (!ms_import_frame_take(type, bytes, &frame) || group->sliced)
        return lies(err);
    if (frame.word == MS_IMPORT_BODY)
        return ms_buf_append(&self->pending, bytes.data, bytes.len) == MS_OK ? MS_OK : lies(err);
    if (group->part == group->count || frame.part != group->part || frame.byte > INT64_MAX ||
        (frame.word != MS_IMPORT_PART && frame.piece + 1 < group->pieces))
        return lies(err);
    if (frame.word == MS_IMPORT_PART) {
        status = take_part(self, &frame, err);
    } else {
        status = frame.word == MS_IMPORT_RECORD ? take_record(self, &frame, err)
                                                : take_reject(self, &frame, err);
        group->pieces = frame.piece + 1;
    }
    (void)pthread_mutex_lock(&self->lock);
    if (group->source->plain && !group->batch)
        group->bytes = frame.byte;
    (void)pthread_mutex_unlock(&self->lock);
    return status;
}

/* ---- jobs ---- */

static enum ms_status put_question(const struct group *group, struct ms_buf *out,
                                   struct ms_error *err)
{
    const struct ms_import_ask ask = {
        .lengths = group->batch ? group->lengths : NULL,
        .part_count = group->count,
        .first_part = group->part,
        .state = group->state,
        .skip = group->pieces,
        .mute = group->mute,
        .bodies = !group->seekable,
        .slice_bytes = group->seekable && !group->batch ? MS_LIMIT_IMPORT_SLICE_BYTES : 0};
    return ms_import_ask_put(&ask, out, err);
}

/* Runs a job over what is left of the group. */
static enum ms_status run_job(struct ms_import_feed *self, struct ms_worker_result *result,
                              struct ms_error *err)
{
    struct group *group = &self->group;
    bool whole = group->seekable || group->batch;
    const struct ms_worker_limits limits = {
        .cpu_s = group->source->plain ? MS_LIMIT_IMPORT_SLICE_CPU_S : MS_LIMIT_IMPORT_STREAM_CPU_S,
        .wall_ms = whole && group->source->plain ? 4000 * MS_LIMIT_IMPORT_SLICE_CPU_S
                                                 : 4000U * MS_LIMIT_IMPORT_STREAM_CPU_S,
        .output_bytes = 2 * MS_LIMIT_IMPORT_BYTES};
    struct ms_buf question;
    ms_buf_init(&question, 1 << 20);
    ms_buf_clear(&self->pending);
    group->sliced = false;
    enum ms_status status = put_question(group, &question, err);
    off_t at = (off_t)(group->source->start + group->part_at + group->state.byte);
    if (status == MS_OK && whole && lseek(group->source->fd, at, SEEK_SET) != at)
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot go to the rest of a file");
    if (status == MS_OK)
        status = ms_worker_run(self->options.worker, ms_import_kind.name, group->source->fd,
                               ms_span_of(question.data, question.len), &limits, take_frame, self,
                               result, err);
    ms_buf_release(&question);
    return status;
}

/* The rest of a part is given up. */
static enum ms_status leave_part(struct ms_import_feed *self, enum ms_status why,
                                 struct ms_error *err)
{
    struct group *group = &self->group;
    const char *path = group->paths[group->part];
    char text[400];
    enum ms_status status;
    (void)snprintf(text, sizeof text, "the rest of it is not read: %s", group->why);
    status = why == MS_E_IO ? push_path_error(self, path, 0, group->why, err)
                            : push_word(self, MS_ITEM_FILE, path, group->state.byte,
                                        group->state.line, ms_span_of(text, strlen(text)), err);
    if (group->batch)
        group->part_at += group->lengths[group->part];
    group->part++;
    group->pieces = 0;
    group->mute = false;
    group->state = (struct ms_split_state){.line = 1};
    return status;
}

/* A job died, or said what cannot be: the record it was at is passed over by the next one. */
static enum ms_status recover(struct ms_import_feed *self, enum ms_status why, unsigned *deaths,
                              struct ms_error *err)
{
    struct group *group = &self->group;
    bool whole = group->seekable || group->batch;
    ms_buf_clear(&self->pending);
    if (group->mute || !whole || why == MS_E_IO || ++*deaths > MS_LIMIT_IMPORT_CRASHES) {
        *deaths = 0;
        return leave_part(self, why, err);
    }
    group->mute = true;
    return MS_OK;
}

static enum ms_status read_group(struct ms_import_feed *self, struct ms_error *err)
{
    struct group *group = &self->group;
    unsigned deaths = 0;
    enum ms_status status = MS_OK;
    while (status == MS_OK && group->part < group->count) {
        struct ms_worker_result result = {.end = MS_WORKER_DONE};
        struct ms_error fault = {.status = MS_OK};
        size_t part = group->part;
        uint64_t pieces = group->pieces;
        enum ms_status ran = run_job(self, &result, &fault);
        if (ran != MS_OK && ran != MS_REJECT) {
            *err = fault;
            return ran;
        }
        bool done = ran == MS_OK && result.end == MS_WORKER_DONE && result.status == MS_OK;
        if (done && (group->sliced || group->part == group->count))
            continue;
        if (group->part == group->count)
            break;
        /* It got past what it was to pass over: the one it died of now is another. */
        if (group->part != part || group->pieces != pieces)
            group->mute = false;
        const char *text = ran == MS_REJECT ? fault.text : result.error.text;
        (void)snprintf(group->why, sizeof group->why, "%.250s",
                       text[0] ? text : "the reader of reports said nothing");
        status = recover(self, ran == MS_OK ? result.status : MS_REJECT, &deaths, err);
    }
    return status;
}

static enum ms_status finish_group(struct ms_import_feed *self, struct ms_error *err)
{
    struct group *group = &self->group;
    enum ms_status status = MS_OK;
    if (group->count > 0)
        status = read_group(self, err);
    (void)pthread_mutex_lock(&self->lock);
    self->bytes += group->raw_bytes;
    group->bytes = group->raw_bytes = 0;
    (void)pthread_mutex_unlock(&self->lock);
    ms_import_source_drop(group->source);
    group->source = NULL;
    group->count = 0;
    return status;
}

/* ---- files ---- */

static void begin_group(struct group *group, struct ms_import_source *source,
                        const char *const *paths, bool batch, bool seekable)
{
    group->source = source;
    group->paths = paths;
    group->batch = batch;
    group->seekable = seekable;
    group->part = 0;
    group->part_at = 0;
    group->state = (struct ms_split_state){.line = 1};
    group->pieces = 0;
    group->mute = group->sliced = false;
}

/* Copies a small file behind the others. *grown: it is larger than it was said to be. */
static enum ms_status copy_small(int from, int to, uint64_t *copied, struct ms_error *err)
{
    uint8_t block[65536];
    *copied = 0;
    for (;;) {
        ssize_t n = read(from, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ms_error_set_errno(err, MS_REJECT, errno, "read");
        if (n == 0 || *copied > 2 * (uint64_t)SMALL_BYTES)
            return MS_OK;
        enum ms_status status = ms_file_write_all(to, block, (size_t)n, err);
        if (status != MS_OK)
            return status;
        *copied += (uint64_t)n;
    }
}

static enum ms_status add_small(struct ms_import_feed *self, const char *const *path, int fd,
                                struct ms_error *err)
{
    struct group *group = &self->group;
    struct ms_error why = {.status = MS_OK};
    uint64_t copied = 0;
    enum ms_status status = MS_OK;
    if (group->count == 0) {
        struct ms_import_source *source;
        status = ms_import_source_memory(&source, err);
        if (status != MS_OK)
            return status;
        source->plain = true;
        begin_group(group, source, path, true, true);
    }
    status = copy_small(fd, group->source->fd, &copied, &why);
    group->lengths[group->count++] = copied;
    group->raw_bytes += copied;
    if (status == MS_REJECT) /* what was read of it is read; that it is not all is said */
        return push_path_error(self, *path, 0, why.text, err);
    if (status != MS_OK) {
        *err = why;
        return status;
    }
    return group->count == BATCH_FILES || group->raw_bytes >= BATCH_BYTES ? finish_group(self, err)
                                                                          : MS_OK;
}

static enum ms_status add_large(struct ms_import_feed *self, const char *const *path, int fd,
                                const struct stat *st, struct ms_error *err)
{
    struct ms_import_source *source;
    uint8_t magic[4] = {0};
    bool seekable = S_ISREG(st->st_mode);
    enum ms_status status = ms_import_source_new(fd, &source, err);
    if (status != MS_OK) {
        (void)close(fd);
        return status;
    }
    off_t at = seekable ? lseek(fd, 0, SEEK_CUR) : 0;
    source->start = at > 0 ? (uint64_t)at : 0;
    ssize_t n = seekable ? pread(fd, magic, sizeof magic, at) : 0;
    bool packed = n == 4 && ((magic[0] == 0x1f && magic[1] == 0x8b) || magic[0] == 0x28 ||
                             (magic[0] & 0xf0) == 0x50);
    source->plain = seekable && !packed;
    begin_group(&self->group, source, path, false, seekable);
    self->group.count = 1;
    self->group.raw_bytes = seekable && st->st_size > at ? (uint64_t)(st->st_size - at) : 0;
    return finish_group(self, err);
}

static enum ms_status add_file(struct ms_import_feed *self, size_t index, struct ms_error *err)
{
    const char *const *path = &self->paths[index];
    bool is_stdin = strcmp(*path, "-") == 0;
    struct stat st = {.st_size = 0};
    struct group *group = &self->group;
    /* O_NONBLOCK: a named pipe that nobody writes to must not hang the batch. */
    int fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                      : open(*path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    enum ms_status status = MS_OK;
    if (fd >= 0 && fstat(fd, &st) == 0 && !is_stdin)
        (void)fcntl(fd, F_SETFL, 0);
    bool small = fd >= 0 && S_ISREG(st.st_mode) && !is_stdin && st.st_size <= SMALL_BYTES;
    int errnum = fd < 0 ? errno : 0;
    /* A batch is of neighbours: its paths are those from its first on. */
    if (group->count > 0 && (!small || group->paths + group->count != path))
        status = finish_group(self, err);
    if (status == MS_OK && fd < 0)
        return push_path_error(self, *path, errnum, strerror(errnum), err);
    if (status == MS_OK && small)
        status = add_small(self, path, fd, err);
    else if (status == MS_OK)
        return add_large(self, path, fd, &st, err);
    if (fd >= 0)
        (void)close(fd);
    return status;
}

static void *feeder(void *ctx)
{
    struct ms_import_feed *self = ctx;
    struct ms_error err = {.status = MS_OK};
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < self->path_count && status == MS_OK; i++)
        status = add_file(self, i, &err);
    if (status == MS_OK)
        status = finish_group(self, &err);
    if (status != MS_OK)
        set_error(self, &err);
    ms_import_source_drop(self->group.source);
    (void)pthread_mutex_lock(&self->lock);
    self->ended = true;
    wake_all(self);
    (void)pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* ---- the pool ---- */

static void work_on(struct ms_import_feed *self, struct ms_import_desk *desk)
{
    struct ms_error err = {.status = MS_OK};
    while (!self->stop) {
        /* What is no record needs no work and may be gone already. */
        if (self->work < self->head)
            self->work = self->head;
        struct slot *slot = slot_at(self, self->work);
        if (self->work == self->tail && self->ended)
            return;
        if (self->work == self->tail) {
            self->idle++;
            (void)pthread_cond_wait(&self->work_there, &self->lock);
            self->idle--;
            continue;
        }
        self->work++;
        if (slot->state == SLOT_READY)
            continue;
        slot->state = SLOT_BUSY;
        (void)pthread_mutex_unlock(&self->lock);
        enum ms_status status = ms_import_work_do(&slot->work, desk, &err);
        if (status != MS_OK)
            set_error(self, &err);
        (void)pthread_mutex_lock(&self->lock);
        slot->state = SLOT_READY;
        if (slot == slot_at(self, self->head))
            (void)pthread_cond_signal(&self->head_ready);
    }
}

static void *worker(void *ctx)
{
    struct ms_import_feed *self = ctx;
    struct ms_import_desk *desk = NULL;
    struct ms_error err = {.status = MS_OK};
    if (ms_import_desk_new(self->options.rules, self->options.corpus, &desk, &err) != MS_OK) {
        set_error(self, &err);
        return NULL;
    }
    (void)pthread_mutex_lock(&self->lock);
    work_on(self, desk);
    (void)pthread_mutex_unlock(&self->lock);
    ms_import_desk_free(desk);
    return NULL;
}

/* ---- for the caller ---- */

static enum ms_status start_threads(struct ms_import_feed *self, struct ms_error *err)
{
    size_t jobs = self->options.jobs < POOL_MOST ? self->options.jobs : POOL_MOST;
    int rc = pthread_create(&self->feeder, NULL, feeder, self);
    self->feeding = rc == 0;
    for (size_t i = 0; i < jobs && rc == 0; i++) {
        rc = pthread_create(&self->pool[i], NULL, worker, self);
        self->pool_count += rc == 0;
    }
    return rc == 0 ? MS_OK : ms_error_set_errno(err, MS_E_IO, rc, "cannot start a thread");
}

enum ms_status ms_import_feed_start(const struct ms_import_options *options,
                                    const char *const *paths, size_t count,
                                    struct ms_import_feed **out, struct ms_error *err)
{
    struct ms_import_feed *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->options = *options;
    self->paths = paths;
    self->path_count = count;
    (void)pthread_mutex_init(&self->lock, NULL);
    (void)pthread_cond_init(&self->room, NULL);
    (void)pthread_cond_init(&self->work_there, NULL);
    (void)pthread_cond_init(&self->head_ready, NULL);
    ms_buf_init(&self->pending, MS_LIMIT_SCAN_BYTES);
    for (size_t i = 0; i < RING; i++)
        ms_import_work_init(&self->slots[i].work);
    enum ms_status status = ms_import_desk_new(options->rules, options->corpus, &self->desk, err);
    if (status == MS_OK)
        status = start_threads(self, err);
    if (status != MS_OK)
        ms_import_feed_stop(self);
    else
        *out = self;
    return status;
}

/* Gives the item handed out last back to the feeder. */
static void let_go(struct ms_import_feed *self)
{
    if (!self->holding)
        return;
    self->holding = false;
    struct slot *slot = slot_at(self, self->head);
    self->in_flight -= slot->work.body.len;
    self->head++;
    /* Not for every single slot: who is woken should find something to do. */
    if (self->feeder_waits &&
        (self->tail - self->head < RING / 2 || self->in_flight > 0 || self->tail == self->head))
        (void)pthread_cond_signal(&self->room);
}

enum ms_status ms_import_feed_next(struct ms_import_feed *self, struct ms_import_item **out,
                                   struct ms_error *err)
{
    enum ms_status status = MS_OK;
    *out = NULL;
    (void)pthread_mutex_lock(&self->lock);
    let_go(self);
    while (!self->stop && !(self->head == self->tail && self->ended) &&
           (self->head == self->tail || slot_at(self, self->head)->state != SLOT_READY))
        (void)pthread_cond_wait(&self->head_ready, &self->lock);
    if (self->error.status != MS_OK) {
        *err = self->error;
        status = self->error.status;
    } else if (!self->stop && self->head != self->tail) {
        *out = &slot_at(self, self->head)->work.item;
        self->holding = true;
    }
    (void)pthread_mutex_unlock(&self->lock);
    return status;
}

enum ms_status ms_import_feed_finish(struct ms_import_feed *self, struct ms_import_item *item,
                                     struct ms_error *err)
{
    struct slot *slot = slot_at(self, self->head);
    item->known = false;
    return ms_import_work_finish(&slot->work, self->desk, err);
}

void ms_import_feed_stop(struct ms_import_feed *self)
{
    if (!self)
        return;
    (void)pthread_mutex_lock(&self->lock);
    self->stop = true;
    wake_all(self);
    (void)pthread_mutex_unlock(&self->lock);
    if (self->feeding)
        (void)pthread_join(self->feeder, NULL);
    for (size_t i = 0; i < self->pool_count; i++)
        (void)pthread_join(self->pool[i], NULL);
    for (size_t i = 0; i < RING; i++)
        ms_import_work_release(&self->slots[i].work);
    ms_import_desk_free(self->desk);
    ms_buf_release(&self->pending);
    (void)pthread_cond_destroy(&self->room);
    (void)pthread_cond_destroy(&self->work_there);
    (void)pthread_cond_destroy(&self->head_ready);
    (void)pthread_mutex_destroy(&self->lock);
    free(self);
}

uint64_t ms_import_feed_bytes(struct ms_import_feed *self)
{
    (void)pthread_mutex_lock(&self->lock);
    uint64_t bytes = self->bytes + self->group.bytes;
    (void)pthread_mutex_unlock(&self->lock);
    return bytes;
}

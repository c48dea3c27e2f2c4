/* Threads that read reports ahead of the one that stores them. */
#include "extract/import_readers.h"

#include "store/vault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JOBS_MAX = 64 };

struct slot {
    struct ms_read_report report;
    bool ready;
};

struct ms_import_readers {
    const struct ms_ingest *ingest;
    const struct ms_import_list *list;
    size_t count, window;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t taken;  /* paths given to a reader */
    size_t handed; /* reports handed out by next */
    bool stop;
    pthread_t threads[JOBS_MAX];
    size_t thread_count;
    struct slot slots[JOBS_MAX + 1]; /* report i: slot i % (window + 1) */
};

/* O_NONBLOCK: a named pipe must not hang the batch. */
static int open_path(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static int open_item(const struct ms_import_readers *self, const struct ms_import_item *item,
                     struct ms_read_report *out)
{
    int fd = -1;
    if (item->again)
        out->status = ms_vault_open_report(self->ingest->corpus, item->digest, &fd, &out->error);
    else if (strcmp(item->path, "-") == 0)
        fd = STDIN_FILENO;
    else if ((fd = open_path(item->path)) < 0)
        out->open_errnum = errno;
    return fd;
}

static void read_one(const struct ms_import_readers *self, const struct ms_import_item *item,
                     struct ms_read_report *out)
{
    struct ms_intake_input input = {.fd = -1,
                                    .metadata_fd = -1,
                                    .found = item->found,
                                    .named = item->named,
                                    .again = item->again ? item->digest : NULL};
    *out = (struct ms_read_report){.item = item, .archive_fd = -1};
    if (!item->missing)
        input.fd = open_item(self, item, out);
    if (item->metadata && (input.metadata_fd = open_path(item->metadata)) < 0 && item->missing)
        out->open_errnum = errno;
    if (out->status == MS_OK && !out->open_errnum)
        out->status = ms_intake_read(self->ingest, &input, &out->intake, &out->error);
    if (input.metadata_fd >= 0)
        (void)close(input.metadata_fd);
    int held = -1;
    if (out->intake && ms_intake_is_archive(out->intake, &held)) {
        out->archive_fd = fcntl(held >= 0 ? held : input.fd, F_DUPFD_CLOEXEC, 3);
        if (out->archive_fd < 0)
            out->open_errnum = errno;
    }
    if (input.fd >= 0 && input.fd != STDIN_FILENO)
        (void)close(input.fd);
}

static struct slot *slot_of(struct ms_import_readers *self, size_t index)
{
    return &self->slots[index % (self->window + 1)];
}

static void *reader(void *ctx)
{
    struct ms_import_readers *self = ctx;
    (void)pthread_mutex_lock(&self->lock);
    for (;;) {
        while (!self->stop && self->taken < self->count &&
               self->taken - self->handed >= self->window)
            (void)pthread_cond_wait(&self->changed, &self->lock);
        if (self->stop || self->taken == self->count)
            break;
        size_t index = self->taken++;
        (void)pthread_mutex_unlock(&self->lock);
        struct ms_read_report report;
        read_one(self, &self->list->items[index], &report);
        (void)pthread_mutex_lock(&self->lock);
        struct slot *slot = slot_of(self, index);
        slot->report = report;
        slot->ready = true;
        (void)pthread_cond_broadcast(&self->changed);
    }
    (void)pthread_mutex_unlock(&self->lock);
    return NULL;
}

enum ms_status ms_import_readers_start(const struct ms_ingest *ingest,
                                       const struct ms_import_list *list, size_t jobs,
                                       struct ms_import_readers **out, struct ms_error *err)
{
    size_t count = list->count;
    struct ms_import_readers *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read reports");
    if (jobs > JOBS_MAX)
        jobs = JOBS_MAX;
    if (jobs > count)
        jobs = count ? count : 1;
    self->ingest = ingest;
    self->list = list;
    self->count = count;
    self->window = jobs;
    (void)pthread_mutex_init(&self->lock, NULL);
    (void)pthread_cond_init(&self->changed, NULL);
    /* A thread that cannot be made is one reader less; without any, next reads by itself. */
    while (jobs > 1 && self->thread_count < jobs &&
           pthread_create(&self->threads[self->thread_count], NULL, reader, self) == 0)
        self->thread_count++;
    *out = self;
    return MS_OK;
}

static void release(struct slot *slot)
{
    ms_intake_free(slot->report.intake);
    if (slot->report.archive_fd > 0)
        (void)close(slot->report.archive_fd);
    *slot = (struct slot){.ready = false};
}

struct ms_read_report *ms_import_readers_next(struct ms_import_readers *self)
{
    (void)pthread_mutex_lock(&self->lock);
    if (self->handed)
        release(slot_of(self, self->handed - 1));
    struct slot *slot = NULL;
    if (self->handed < self->count) {
        slot = slot_of(self, self->handed);
        if (!self->thread_count) {
            read_one(self, &self->list->items[self->taken++], &slot->report);
            slot->ready = true;
        }
        while (!slot->ready)
            (void)pthread_cond_wait(&self->changed, &self->lock);
        self->handed++;
        (void)pthread_cond_broadcast(&self->changed);
    }
    (void)pthread_mutex_unlock(&self->lock);
    return slot ? &slot->report : NULL;
}

void ms_import_readers_stop(struct ms_import_readers *self)
{
    if (!self)
        return;
    (void)pthread_mutex_lock(&self->lock);
    self->stop = true;
    (void)pthread_cond_broadcast(&self->changed);
    (void)pthread_mutex_unlock(&self->lock);
    for (size_t i = 0; i < self->thread_count; i++)
        (void)pthread_join(self->threads[i], NULL);
    for (size_t i = 0; i < sizeof self->slots / sizeof *self->slots; i++)
        release(&self->slots[i]);
    (void)pthread_cond_destroy(&self->changed);
    (void)pthread_mutex_destroy(&self->lock);
    free(self);
}

/* The folder of a run: opening, comparing, removing it, and when to write. The files are in
 * checkpoint_file.c. */
#include "train/checkpoint.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "train/checkpoint_file.h"
#include "train/nn/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char FORMAT[] = "malseq-checkpoint-1";
static const char LOCK[] = "lock";
static const char ANEW[] = "; without --resume the run begins anew";
enum { AFTER_EPOCH_MS = 5000, WITHIN_EPOCH_MS = 60000, WORTH_KEEPING_MS = 1000, PATH_BYTES = 4400 };

struct ms_checkpoint {
    char *folder;
    int lock;
    int64_t every;
    bool resume;
    atomic_bool complained;
    atomic_uint_least64_t kept_bytes; /* of finished trainings */
};

/* ---- the record of the run ---- */

static json_t *make_record(const struct ms_checkpoint_run *run)
{
    char processor[128];
    (void)snprintf(processor, sizeof processor, "%s, %s", ms_kernels_get()->name, ms_blas_core());
    json_t *r = json_object();
    (void)json_object_set_new(r, "format", json_string(FORMAT));
    (void)json_object_set_new(r, "version", json_string(MS_VERSION));
    (void)json_object_set_new(r, "processor", json_string(processor));
    (void)json_object_set_new(r, "dataset", ms_json_text(run->dataset));
    (void)json_object_set_new(r, "split", ms_json_text(run->split));
    (void)json_object_set_new(r, "settings", ms_json_text(run->settings));
    return r;
}

static void record_path(const struct ms_checkpoint_run *run, char out[PATH_BYTES])
{
    (void)snprintf(out, PATH_BYTES, "%s/run.json", run->folder);
}

static enum ms_status write_record(const struct ms_checkpoint_run *run, struct ms_error *err)
{
    char path[PATH_BYTES];
    record_path(run, path);
    json_t *record = make_record(run);
    char *text = record ? json_dumps(record, JSON_INDENT(1)) : NULL;
    json_decref(record);
    enum ms_status status =
        text ? ms_file_write_atomic(path, text, strlen(text), 0600, err)
             : ms_error_set(err, MS_E_NOMEM, "out of memory for the record of a run");
    free(text);
    return status;
}

/* Where two settings begin to differ: the words there. */
static void show_difference(const char *was, const char *is, struct ms_error *err)
{
    size_t at = 0, word = 0;
    for (; was[at] && was[at] == is[at]; at++)
        if (was[at] == ' ')
            word = at + 1;
    char a[80], b[80], shown_a[160], shown_b[160];
    (void)snprintf(a, sizeof a, "%.*s", (int)strcspn(was + word, " "), was + word);
    (void)snprintf(b, sizeof b, "%.*s", (int)strcspn(is + word, " "), is + word);
    (void)ms_error_set(err, MS_E_INPUT, "the run to resume has other settings: '%s', here '%s'%s",
                       ms_escape_text(a, shown_a, sizeof shown_a),
                       ms_escape_text(b, shown_b, sizeof shown_b), ANEW);
}

static enum ms_status compare(const json_t *was, const json_t *is, struct ms_error *err)
{
    static const char *const what[][2] = {{"format", "format of checkpoints"},
                                          {"version", "version of malseq"},
                                          {"processor", "kind of processor"},
                                          {"dataset", "dataset"},
                                          {"split", "split"}};
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        const char *a = json_string_value(json_object_get(was, what[i][0])),
                   *b = json_string_value(json_object_get(is, what[i][0]));
        char shown[160];
        if (!a || !b || strcmp(a, b) != 0)
            return ms_error_set(err, MS_E_INPUT,
                                "the run to resume has another %s: %.64s, here %.64s%s", what[i][1],
                                a ? ms_escape_text(a, shown, sizeof shown) : "none", b ? b : "none",
                                ANEW);
    }
    const char *a = json_string_value(json_object_get(was, "settings")),
               *b = json_string_value(json_object_get(is, "settings"));
    if (a && b && strcmp(a, b) == 0)
        return MS_OK;
    show_difference(a ? a : "", b ? b : "", err);
    return MS_E_INPUT;
}

static enum ms_status nothing_to_resume(const struct ms_checkpoint_run *run, struct ms_error *err)
{
    char shown[256];
    return ms_error_set(err, MS_E_INPUT, "there is no unfinished run to resume in '%s'",
                        ms_escape_text(run->folder, shown, sizeof shown));
}

static enum ms_status check_record(const struct ms_checkpoint_run *run, struct ms_error *err)
{
    char path[PATH_BYTES], shown[256];
    struct ms_buf text;
    json_error_t why;
    record_path(run, path);
    if (access(path, F_OK) != 0)
        return nothing_to_resume(run, err);
    ms_buf_init(&text, MS_LIMIT_CHECKPOINT_RECORD_BYTES);
    enum ms_status status = ms_file_read(path, &text, err);
    json_t *was = status == MS_OK ? json_loadb(ms_buf_text(&text), text.len, 0, &why) : NULL;
    json_t *is = make_record(run);
    if (status == MS_OK && !was)
        status = ms_error_set(err, MS_E_INPUT, "the record '%s' is damaged%s",
                              ms_escape_text(path, shown, sizeof shown), ANEW);
    if (status == MS_OK)
        status = compare(was, is, err);
    json_decref(was);
    json_decref(is);
    ms_buf_release(&text);
    return status;
}

/* ---- the folder ---- */

/* Removes what is in it but its lock, or only what a killed writer left half done. */
static bool empty_folder(const char *folder, bool temporaries)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return errno == ENOENT;
    bool good = true;
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, LOCK) != 0 && (!temporaries || strstr(entry->d_name, ".tmp.")))
            good = unlinkat(dirfd(dir), entry->d_name, 0) == 0 && good;
    (void)closedir(dir);
    return good;
}

/* The lock of the folder: *fd -1 when another has it. */
static enum ms_status take_lock(const char *folder, int *fd, struct ms_error *err)
{
    char path[PATH_BYTES], shown[256];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/%s", folder, LOCK);
    *fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (*fd < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot open '%s'",
                                  ms_escape_text(path, shown, sizeof shown));
    /* a file without a name is that of a run which has just ended */
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0 && fstat(*fd, &st) == 0 && st.st_nlink > 0)
        return MS_OK;
    (void)close(*fd);
    *fd = -1;
    return MS_OK;
}

static enum ms_status prepare(const struct ms_checkpoint_run *run, struct ms_error *err)
{
    char shown[256];
    enum ms_status status = run->resume ? check_record(run, err) : MS_OK;
    if (status == MS_OK && !empty_folder(run->folder, run->resume))
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot empty '%s'",
                                    ms_escape_text(run->folder, shown, sizeof shown));
    return status == MS_OK && !run->resume ? write_record(run, err) : status;
}

static enum ms_status open_folder(const struct ms_checkpoint_run *run, int *lock,
                                  struct ms_error *err)
{
    char shown[256];
    *lock = -1;
    if (run->resume && access(run->folder, F_OK) != 0)
        return nothing_to_resume(run, err);
    enum ms_status status = ms_file_make_dirs(run->folder, err);
    if (status == MS_OK)
        status = take_lock(run->folder, lock, err);
    if (status == MS_OK && *lock < 0 && run->resume)
        status = ms_error_set(err, MS_E_LATER, "the run in '%s' is still going",
                              ms_escape_text(run->folder, shown, sizeof shown));
    else if (status == MS_OK && *lock < 0)
        ms_log(MS_LOG_WARNING, "another run keeps its checkpoints in '%s': this one keeps none",
               ms_escape_text(run->folder, shown, sizeof shown));
    else if (status == MS_OK)
        status = prepare(run, err);
    return status;
}

enum ms_status ms_checkpoint_open(const struct ms_checkpoint_run *run, struct ms_checkpoint **out,
                                  struct ms_error *err)
{
    int lock;
    *out = NULL;
    enum ms_status status = open_folder(run, &lock, err);
    if (status == MS_OK && lock < 0)
        return MS_OK;
    struct ms_checkpoint *self = status == MS_OK ? calloc(1, sizeof *self) : NULL;
    char *folder = self ? strdup(run->folder) : NULL;
    if (status == MS_OK && !folder)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for checkpoints");
    if (status != MS_OK) {
        free(self);
        if (lock >= 0)
            (void)close(lock);
        return status;
    }
    self->folder = folder;
    self->lock = lock;
    self->every = run->every;
    self->resume = run->resume;
    *out = self;
    return MS_OK;
}

void ms_checkpoint_close(struct ms_checkpoint *self)
{
    if (!self)
        return;
    (void)close(self->lock);
    free(self->folder);
    free(self);
}

void ms_checkpoint_end(struct ms_checkpoint *self)
{
    char path[PATH_BYTES], shown[256];
    if (!self)
        return;
    (void)snprintf(path, sizeof path, "%s/%s", self->folder, LOCK);
    if (!empty_folder(self->folder, false) || unlink(path) != 0 || rmdir(self->folder) != 0)
        ms_log(MS_LOG_WARNING, "cannot remove '%s': %s",
               ms_escape_text(self->folder, shown, sizeof shown), strerror(errno));
    ms_checkpoint_close(self);
}

/* ---- states ---- */

static void state_path(const struct ms_checkpoint *self, const uint8_t key[MS_SHA256_BYTES],
                       char out[PATH_BYTES])
{
    char hex[MS_HASH_HEX_MAX];
    ms_hex_encode(key, MS_SHA256_BYTES, hex);
    (void)snprintf(out, PATH_BYTES, "%s/%s.safetensors", self->folder, hex);
}

enum ms_status ms_checkpoint_load(struct ms_checkpoint *self, const uint8_t key[MS_SHA256_BYTES],
                                  const struct ms_checkpoint_block *blocks, size_t count,
                                  enum ms_checkpoint_found *found, struct ms_error *err)
{
    char path[PATH_BYTES], shown[256];
    *found = MS_CHECKPOINT_NONE;
    state_path(self, key, path);
    if (!self->resume || access(path, F_OK) != 0)
        return MS_OK;
    bool finished = false;
    enum ms_status status = ms_checkpoint_read(path, FORMAT, blocks, count, &finished, err);
    if (status == MS_OK)
        *found = finished ? MS_CHECKPOINT_FINISHED : MS_CHECKPOINT_RUNNING;
    else
        ms_error_prepend(err, "checkpoint '%s'", ms_escape_text(path, shown, sizeof shown));
    return status;
}

bool ms_checkpoint_due(const struct ms_checkpoint *self, uint64_t batches, bool epoch_ended,
                       bool finished, int64_t *last_ms)
{
    int64_t now = ms_clock_mono_ms();
    if (*last_ms == 0)
        *last_ms = now;
    int64_t passed = now - *last_ms;
    bool due = false;
    if (self->every == MS_CHECKPOINT_AUTO)
        due = passed >= (finished      ? WORTH_KEEPING_MS
                         : epoch_ended ? AFTER_EPOCH_MS
                                       : WITHIN_EPOCH_MS);
    else if (self->every == MS_CHECKPOINT_EPOCH)
        due = epoch_ended || finished;
    else if (self->every > 0)
        due = finished || batches % (uint64_t)self->every == 0;
    if (due)
        *last_ms = now;
    return due;
}

static void complain(struct ms_checkpoint *self, const char *why)
{
    if (!atomic_exchange(&self->complained, true))
        ms_log(MS_LOG_WARNING, "no checkpoint is kept, training goes on: %s", why);
}

/* A finished net is worth its bytes only up to a sum: what is not kept is trained again. */
static bool may_keep(struct ms_checkpoint *self, const struct ms_checkpoint_block *blocks,
                     size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += blocks[i].lasting ? ms_checkpoint_bytes(&blocks[i]) : 0;
    return atomic_fetch_add(&self->kept_bytes, bytes) + bytes <= MS_LIMIT_CHECKPOINT_KEPT_BYTES;
}

void ms_checkpoint_save(struct ms_checkpoint *self, const uint8_t key[MS_SHA256_BYTES],
                        const struct ms_checkpoint_block *blocks, size_t count, bool finished)
{
    char path[PATH_BYTES];
    struct ms_error err = {0};
    state_path(self, key, path);
    if (finished && !may_keep(self, blocks, count)) {
        complain(self, "the finished nets of this run take too much room");
        return;
    }
    ms_step("train.checkpoint.begin");
    if (ms_checkpoint_write(path, FORMAT, blocks, count, finished, &err) != MS_OK)
        complain(self, err.text);
    ms_step("train.checkpoint.saved");
}

/* Folders and archives of a dataset of files: what is in them, and running the worker over it. What
 * a record becomes in the corpus is dataset_records.c's business. */
#include "extract/dataset_files.h"

#include "base/cli.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "extract/dataset_members.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMMIT_RECORDS = 256, NAME_ROOM = 400 };

struct ms_dataset_files {
    struct ms_arena arena;
    const char **paths; /* in order: lists of labels, archives, records */
    size_t count, cap;
    struct ms_dataset_labels labels;
    const char *path; /* the present one */
    uint64_t records; /* that the present job has sent */
    uint64_t stored;  /* since the last commit */
    uint64_t *names;  /* digests of the API names of all jobs: a table with free places, 0 */
    size_t name_count, name_cap;
    enum ms_status status;
};

static bool is_big(const struct ms_dataset_import *self)
{
    return self->kind->key == MS_DATASET_KEY_ID;
}

static enum ms_dataset_file kind_of(const struct ms_dataset_import *self, const char *path)
{
    return ms_dataset_file_of(ms_span_of(self->kind->name, strlen(self->kind->name)), path, NULL);
}

/* --- what there is --- */

static enum ms_status add_path(struct ms_dataset_files *files, const char *path,
                               struct ms_error *err)
{
    if (files->count == files->cap) {
        size_t cap = files->cap ? files->cap * 2 : 256;
        const char **paths = realloc(files->paths, cap * sizeof *paths);
        if (!paths)
            return ms_error_set(err, MS_E_NOMEM, "no memory for the list of files");
        files->paths = paths;
        files->cap = cap;
    }
    const char *copy = ms_arena_copy(&files->arena, path, strlen(path));
    if (!copy)
        return ms_error_set(err, MS_E_NOMEM, "no memory for the list of files");
    files->paths[files->count++] = copy;
    return MS_OK;
}

static enum ms_status visit(void *ctx, const char *path, const struct stat *st, int errnum,
                            struct ms_error *err)
{
    struct ms_dataset_import *self = ctx;
    char name[NAME_ROOM];
    if (!st) {
        ms_log(MS_LOG_ERROR, "cannot read '%s': %s", ms_escape_text(path, name, sizeof name),
               strerror(errnum));
        self->files->status = MS_E_IO;
        return MS_OK;
    }
    if (kind_of(self, path) == MS_DATASET_FILE_OTHER)
        return MS_OK;
    return add_path(self->files, path, err);
}

enum ms_status ms_dataset_open_files(struct ms_dataset_import *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    self->files = calloc(1, sizeof *self->files);
    if (!self->files)
        return ms_error_set(err, MS_E_NOMEM, "no memory for the list of files");
    ms_arena_init(&self->files->arena, MS_LIMIT_LIST_BYTES);
    ms_dataset_labels_init(&self->files->labels);
    for (size_t i = 0; status == MS_OK && i < self->path_count; i++) {
        struct stat st;
        const char *path = self->paths[i];
        char name[NAME_ROOM];
        if (stat(path, &st) != 0)
            return ms_error_set_errno(err, errno == ENOENT ? MS_E_INPUT : MS_E_IO, errno,
                                      "cannot open '%s'", ms_escape_text(path, name, sizeof name));
        if (S_ISDIR(st.st_mode))
            status = ms_file_walk(path, visit, self, err);
        else if (kind_of(self, path) == MS_DATASET_FILE_OTHER)
            status = ms_error_set(err, MS_E_INPUT, "'%s' is none of the files of %s",
                                  ms_escape_text(path, name, sizeof name), self->kind->name);
        else
            status = add_path(self->files, path, err);
    }
    return status;
}

void ms_dataset_files_free(struct ms_dataset_files *self)
{
    if (!self)
        return;
    ms_dataset_labels_release(&self->labels);
    ms_arena_release(&self->arena);
    free(self->paths);
    free(self->names);
    free(self);
}

/* --- running a job over a file --- */

static void say(struct ms_dataset_import *self, const char *key, uint64_t line, const char *why)
{
    char name[NAME_ROOM], where[40] = "";
    if (line)
        (void)snprintf(where, sizeof where, ", line %" PRIu64, line);
    ms_log(MS_LOG_WARNING, "%s, '%s'%s%s%s: %s", self->kind->name,
           ms_escape_text(self->files->path, name, sizeof name), *key ? ", " : "", key, where, why);
}

/* Runs a job over the present file. What the file is to blame for is in *why with MS_REJECT;
 * *crashed: its reader died, or took too long. */
static enum ms_status run_job(struct ms_dataset_import *self, const char *job, const char *arg,
                              ms_worker_frame on_frame, bool *crashed, struct ms_error *why,
                              struct ms_error *err)
{
    const struct ms_worker_limits limits = {.cpu_s = MS_LIMIT_PUBLISHED_CPU_S,
                                            .wall_ms = MS_LIMIT_PUBLISHED_WALL_MS,
                                            .output_bytes = MS_LIMIT_PUBLISHED_BYTES};
    struct ms_worker_result result = {.end = MS_WORKER_DONE};
    struct ms_error fault = {.status = MS_OK};
    *crashed = false;
    int fd = open(self->files->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        self->files->status = MS_E_IO;
        return ms_error_set_errno(why, MS_REJECT, errno, "cannot open");
    }
    self->files->records = 0;
    enum ms_status status = ms_worker_run(self->worker, job, fd, ms_span_of(arg, strlen(arg)),
                                          &limits, on_frame, self, &result, &fault);
    (void)close(fd);
    ms_trace_received_next(&self->received);
    if (status == MS_OK && (result.end != MS_WORKER_DONE || result.status != MS_OK)) {
        *crashed = result.end != MS_WORKER_DONE;
        return ms_error_set(why, MS_REJECT, "%s", result.error.text);
    }
    if (status == MS_REJECT)
        return ms_error_set(why, MS_REJECT, "%s", fault.text);
    if (status != MS_OK && err)
        *err = fault;
    return status;
}

/* --- labels --- */

static enum ms_status on_label(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct ms_dataset_import *self = ctx;
    struct ms_dataset_row row;
    struct ms_error why = {.status = MS_OK};
    char reason[200];
    enum ms_status status = type == MS_FRAME_ROW
                                ? ms_dataset_row_take(bytes, &row, err)
                                : ms_error_set(err, MS_REJECT, "an unexpected answer");
    if (status != MS_OK)
        return status;
    self->files->records++;
    if (row.reason.len)
        status =
            ms_error_set(&why, MS_REJECT, "%s",
                         ms_escape_bytes(row.reason.data, row.reason.len, reason, sizeof reason));
    else
        status = ms_dataset_labels_add(&self->files->labels, is_big(self), &row, &why);
    if (status == MS_REJECT) {
        self->rejected++;
        say(self, "", row.line, why.text);
        return MS_OK;
    }
    if (status != MS_OK && err)
        *err = why;
    return status;
}

static void on_contradiction(void *ctx, const struct ms_dataset_label *first, uint64_t line)
{
    struct ms_dataset_import *self = ctx;
    char why[120];
    self->rejected++;
    self->contradicting++;
    (void)snprintf(why, sizeof why, "it says something else than line %" PRIu64 ", which stays",
                   first->line);
    say(self, "", line, why);
}

/* From the lists that are there, and where there is none from the archives. */
static enum ms_status read_labels(struct ms_dataset_import *self, struct ms_error *err)
{
    struct ms_dataset_files *files = self->files;
    const enum ms_dataset_file places[] = {MS_DATASET_FILE_LABELS, MS_DATASET_FILE_ARCHIVE};
    struct ms_error why = {.status = MS_OK};
    bool crashed, found = false;
    for (size_t p = 0; p < 2 && !found; p++) {
        for (size_t i = 0; i < files->count; i++) {
            if (kind_of(self, files->paths[i]) != places[p])
                continue;
            files->path = files->paths[i];
            enum ms_status status = run_job(self, p == 0 ? "labels" : "archive-labels",
                                            self->kind->name, on_label, &crashed, &why, err);
            found |= files->records > 0;
            /* What an archive is like is told when its records are read. */
            if (status == MS_REJECT && (p == 0 || files->records))
                return ms_error_set(err, MS_E_INPUT, "%s: labels: %s", self->kind->name, why.text);
            if (status != MS_OK && status != MS_REJECT)
                return status;
        }
    }
    if (!found)
        return ms_error_set(err, MS_E_INPUT, "%s: there is no %s with labels among the files%s%s",
                            self->kind->name,
                            is_big(self) ? "trainLabels.csv" : "public_labels.csv",
                            why.text[0] ? ": " : "", why.text);
    ms_dataset_labels_finish(&files->labels, on_contradiction, self);
    return MS_OK;
}

/* --- records --- */

static enum ms_status commit_some(struct ms_dataset_import *self, struct ms_error *err)
{
    if (!self->corpus || ++self->files->stored < COMMIT_RECORDS)
        return MS_OK;
    self->files->stored = 0;
    ms_step("extract.dataset.some");
    enum ms_status status = ms_corpus_commit(self->corpus, err);
    return status == MS_OK ? ms_corpus_begin(self->corpus, err) : status;
}

static enum ms_status judge(struct ms_dataset_import *self, const struct ms_dataset_row *row,
                            struct ms_error *why)
{
    char reason[MS_ERROR_TEXT_BYTES];
    uint64_t calls = 0;
    if (row->reason.len)
        return ms_error_set(
            why, MS_REJECT, "%s",
            ms_escape_bytes(row->reason.data, row->reason.len, reason, sizeof reason));
    for (size_t i = 0; i < self->received.process_count; i++)
        calls += self->received.processes[i].calls;
    if (calls != row->calls || (row->what == MS_DATASET_REPORT) == is_big(self) ||
        row->what == MS_DATASET_ROW || row->bytes > INT64_MAX)
        return ms_error_set(why, MS_REJECT, "the reading process sent a malformed answer");
    struct ms_dataset_label *label =
        ms_dataset_labels_find(&self->files->labels, is_big(self), row->key);
    if (!label)
        return ms_error_set(why, MS_REJECT, "the list of labels does not have it");
    enum ms_status status = self->corpus ? ms_dataset_store_record(self, row, label, why) : MS_OK;
    label->used |= status == MS_OK && row->what != MS_DATASET_SIZE;
    return status;
}

static enum ms_status end_record(struct ms_dataset_import *self, struct ms_span bytes,
                                 struct ms_error *err)
{
    struct ms_dataset_row row;
    struct ms_error why = {.status = MS_OK};
    char key[100];
    enum ms_status status = ms_dataset_row_take(bytes, &row, err);
    if (status != MS_OK)
        return status;
    self->row++;
    self->files->records++;
    status = judge(self, &row, &why);
    if (status == MS_REJECT) {
        self->rejected++;
        say(self, ms_escape_bytes(row.key.data, row.key.len, key, sizeof key), row.line, why.text);
    } else if (status != MS_OK) {
        if (err)
            *err = why;
        return status;
    } else if (row.what == MS_DATASET_SIZE) {
        self->sizes++;
    } else {
        self->samples++;
        self->calls += row.calls;
        self->empty += row.state != MS_REPORT_OK;
    }
    ms_trace_received_next(&self->received);
    ms_progress_update(self->row);
    return commit_some(self, err);
}

/* --- names, which each job sends anew --- */

static bool put_name(uint64_t *names, size_t cap, uint64_t digest)
{
    size_t at = (size_t)digest & (cap - 1);
    while (names[at] && names[at] != digest)
        at = (at + 1) & (cap - 1);
    bool added = !names[at];
    names[at] = digest;
    return added;
}

static enum ms_status grow_names(struct ms_dataset_files *files, struct ms_error *err)
{
    size_t cap = files->name_cap ? files->name_cap * 2 : 4096;
    uint64_t *names = calloc(cap, sizeof *names);
    if (!names)
        return ms_error_set(err, MS_E_NOMEM, "no memory for names");
    for (size_t i = 0; i < files->name_cap; i++)
        if (files->names[i])
            (void)put_name(names, cap, files->names[i]);
    free(files->names);
    files->names = names;
    files->name_cap = cap;
    return MS_OK;
}

/* Counts the name received last, when no job has sent it before. */
static enum ms_status count_name(struct ms_dataset_import *self, struct ms_error *err)
{
    struct ms_dataset_files *files = self->files;
    const struct ms_received_api *api = &self->received.apis[self->received.api_count - 1];
    struct ms_span name = ms_trace_received_span(&self->received, api->name);
    uint8_t digest[MS_SHA256_BYTES];
    uint64_t word;
    enum ms_status status = MS_OK;
    if (files->name_count * 2 >= files->name_cap)
        status = grow_names(files, err);
    if (status == MS_OK)
        status = ms_hash_sha256(name.data, name.len, digest);
    if (status != MS_OK)
        return status;
    memcpy(&word, digest, sizeof word);
    bool added = put_name(files->names, files->name_cap, word ? word : 1);
    files->name_count += added;
    self->apis = files->name_count;
    return MS_OK;
}

static enum ms_status on_record(void *ctx, uint32_t type, struct ms_span bytes,
                                struct ms_error *err)
{
    struct ms_dataset_import *self = ctx;
    if (type == MS_FRAME_ROW)
        return end_record(self, bytes, err);
    enum ms_status status = ms_dataset_take_trace(self, type, bytes, err);
    return status == MS_OK && type == MS_FRAME_API ? count_name(self, err) : status;
}

/* The names of a job are numbered from 0 again. */
static enum ms_status fresh_names(struct ms_dataset_import *self, struct ms_error *err)
{
    ms_trace_received_release(&self->received);
    ms_trace_rows_release(&self->rows);
    ms_trace_received_init(&self->received);
    ms_trace_received_keep(&self->received, self->corpus);
    return ms_trace_rows_init(&self->rows, self->corpus, &self->received, err);
}

static enum ms_status read_single(struct ms_dataset_import *self, struct ms_error *err)
{
    char arg[MS_LIMIT_NAME_BYTES + 64];
    const char *slash = strrchr(self->files->path, '/');
    struct ms_error why = {.status = MS_OK};
    bool crashed;
    (void)snprintf(arg, sizeof arg, "%s/%s", self->kind->name,
                   slash ? slash + 1 : self->files->path);
    enum ms_status status = fresh_names(self, err);
    if (status == MS_OK)
        status = run_job(self, "member", arg, on_record, &crashed, &why, err);
    if (status != MS_REJECT)
        return status;
    self->rejected++;
    say(self, "", 0, why.text);
    return MS_OK;
}

/* A record that kills its reader costs itself: the next reader passes over what is done, and it. */
static enum ms_status read_archive(struct ms_dataset_import *self, struct ms_error *err)
{
    uint64_t done = 0;
    for (int crashes = 0;; crashes++) {
        char arg[64];
        struct ms_error why = {.status = MS_OK};
        bool crashed = false;
        (void)snprintf(arg, sizeof arg, "%s/%" PRIu64, self->kind->name, done);
        enum ms_status status = fresh_names(self, err);
        if (status == MS_OK)
            status = run_job(self, "members", arg, on_record, &crashed, &why, err);
        if (status != MS_REJECT)
            return status;
        self->rejected++;
        say(self, "", 0, why.text);
        done += self->files->records + 1;
        if (!crashed || crashes + 1 >= MS_LIMIT_IMPORT_CRASHES)
            return MS_OK;
    }
}

static void tell_unused(struct ms_dataset_import *self)
{
    uint64_t unused = 0;
    for (size_t i = 0; i < self->files->labels.count; i++)
        unused += !self->files->labels.items[i].used;
    if (unused)
        ms_log(MS_LOG_INFO, "%s: %" PRIu64 " of %zu labels belong to samples that were not there",
               self->kind->name, unused, self->files->labels.count);
}

enum ms_status ms_dataset_read_files(struct ms_dataset_import *self, struct ms_error *err)
{
    struct ms_dataset_files *files = self->files;
    ms_trace_received_init(&self->received);
    ms_trace_received_keep(&self->received, self->corpus);
    enum ms_status status = ms_trace_rows_init(&self->rows, self->corpus, &self->received, err);
    if (status == MS_OK)
        status = read_labels(self, err);
    for (size_t i = 0; status == MS_OK && i < files->count; i++) {
        files->path = files->paths[i];
        enum ms_dataset_file kind = kind_of(self, files->path);
        if (kind == MS_DATASET_FILE_ARCHIVE)
            status = read_archive(self, err);
        else if (kind == MS_DATASET_FILE_RECORD)
            status = read_single(self, err);
    }
    if (status == MS_OK)
        tell_unused(self);
    if (status == MS_OK && files->status != MS_OK)
        status = ms_error_set(err, files->status, "not every file could be read; see above");
    return status;
}

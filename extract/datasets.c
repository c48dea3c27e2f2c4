/* `extract dataset NAME PATH`: published datasets of API calls into the corpus. A dataset is one
 * transaction: its rows and its classes are paired by position, so half of it would be worth
 * nothing. */
#include "extract/datasets.h"

#include "base/cli.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/step.h"
#include "extract/dataset_files.h"
#include "extract/verbs.h"
#include "store/run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_in(const char *dir, const char *name)
{
    int fd = -1, dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return -1;
    fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int saved = errno;
    (void)close(dir_fd);
    errno = saved;
    return fd;
}

static enum ms_status cannot_open(const char *path, const char *what, struct ms_error *err)
{
    int errnum = errno;
    char name[400];
    ms_escape_text(path, name, sizeof name);
    return ms_error_set_errno(err, errnum == ENOENT || errnum == ENOTDIR ? MS_E_INPUT : MS_E_IO,
                              errnum, "cannot open '%s%s'", name, what);
}

/* The files of Mal-API-2019 in a folder, as published: the text may have been unpacked already. */
static enum ms_status open_mal_api(struct ms_dataset_import *self, struct ms_error *err)
{
    const char *dir = self->paths[0];
    self->classes_fd = open_in(dir, "labels.csv");
    if (self->classes_fd < 0)
        return cannot_open(dir, "/labels.csv", err);
    self->form = "text";
    self->rows_fd = open_in(dir, "all_analysis_data.txt");
    if (self->rows_fd >= 0 || errno != ENOENT)
        return self->rows_fd >= 0 ? MS_OK : cannot_open(dir, "/all_analysis_data.txt", err);
    self->form = "zip";
    self->rows_fd = open_in(dir, "mal-api-2019.zip");
    return self->rows_fd >= 0 ? MS_OK : cannot_open(dir, "/mal-api-2019.zip", err);
}

static enum ms_status open_table(struct ms_dataset_import *self, struct ms_error *err)
{
    self->form = self->kind->form;
    self->rows_fd = open(self->paths[0], O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return self->rows_fd >= 0 ? MS_OK : cannot_open(self->paths[0], "", err);
}

static const struct ms_dataset_kind kinds[] = {
    {.name = "mal-api-2019",
     .url = "https://github.com/ocatak/malware_api_class",
     .licence = "MIT",
     .claim = "malware",
     .as_of_ms = INT64_C(1546300800000), /* 2019-01-01 */
     .job = "rows",
     .key = MS_DATASET_KEY_NONE,
     .classes = true,
     .paths_max = 1,
     .open = open_mal_api,
     .read = ms_dataset_read_rows},
    {.name = "malbehavd-v1",
     .url = "https://github.com/mpasco/MalbehavD-V1",
     .licence = "MIT",
     .claim = "unknown",
     .as_of_ms = INT64_C(1640995200000), /* 2022-01-01 */
     .job = "table",
     .form = "malbehavd",
     .key = MS_DATASET_KEY_SHA256,
     .paths_max = 1,
     .open = open_table,
     .read = ms_dataset_read_rows},
    {.name = "oliveira",
     .url = "https://www.kaggle.com/datasets/ang3loliveira/malware-analysis-datasets-api-call-"
            "sequences",
     .licence = "CC-BY-4.0",
     .claim = "unknown",
     .as_of_ms = INT64_C(1571875200000), /* 2019-10-24 */
     .job = "table",
     .form = "oliveira",
     .key = MS_DATASET_KEY_MD5,
     .paths_max = 1,
     .open = open_table,
     .read = ms_dataset_read_rows},
    {.name = "avast-ctu",
     .url = "https://github.com/avast/avast-ctu-cape-dataset",
     .licence = "MIT",
     .claim = "malware",
     .as_of_ms = INT64_C(1662595200000), /* 2022-09-08; each label has a date of its own */
     .key = MS_DATASET_KEY_SHA256,
     .paths_max = SIZE_MAX,
     .open = ms_dataset_open_files,
     .read = ms_dataset_read_files},
    {.name = "big-2015",
     .url = "https://www.kaggle.com/c/malware-classification",
     .licence = "rules of the Kaggle competition",
     .claim = "malware",
     .as_of_ms = INT64_C(1422921600000), /* 2015-02-03 */
     .key = MS_DATASET_KEY_ID,
     .paths_max = SIZE_MAX,
     .open = ms_dataset_open_files,
     .read = ms_dataset_read_files},
};

static const struct ms_dataset_kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

static enum ms_status no_such_dataset(struct ms_error *err)
{
    char names[160] = "";
    for (size_t i = 0, at = 0; i < sizeof kinds / sizeof *kinds; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", kinds[i].name);
    return ms_error_set(err, MS_E_USAGE, "no dataset of that name is known; there are %s", names);
}

static enum ms_status store_all(struct ms_dataset_import *self, struct ms_error *err)
{
    struct ms_origin origin = {.kind = "dataset",
                               .name = self->kind->name,
                               .ref = "",
                               .url = self->kind->url,
                               .licence = self->kind->licence,
                               .claim = self->kind->claim,
                               .state = "ok"};
    enum ms_status status = MS_OK;
    if (self->kind->classes)
        status = ms_dataset_read_classes(self, err);
    if (status == MS_OK && self->corpus) {
        status = ms_corpus_begin(self->corpus, err);
        if (status == MS_OK)
            status = ms_origin_open(self->corpus, &origin, &self->origin, err);
        origin.id = self->origin;
        origin.checked_ms = ms_clock_wall_ms();
        if (status == MS_OK)
            status = ms_origin_update(self->corpus, &origin, err);
    }
    if (status == MS_OK) {
        ms_step("extract.dataset.begun");
        ms_progress_begin("importing a dataset", self->class_count, "samples");
        status = self->kind->read(self, err);
        ms_progress_end();
    }
    if (status == MS_OK && self->corpus) {
        ms_step("extract.dataset.rows");
        status = ms_corpus_commit(self->corpus, err);
    }
    if (status == MS_OK)
        ms_step("extract.dataset.committed");
    else if (self->corpus)
        ms_corpus_rollback(self->corpus);
    return status;
}

static enum ms_status print_summary(const struct ms_dataset_import *self, struct ms_error *err)
{
    if (!self->cli->common.json) {
        printf("%s: %" PRIu64 " samples, %" PRIu64 " calls, %" PRIu64 " without calls; %" PRIu64
               " new, %" PRIu64 " known, %" PRIu64 " rejected, %" PRIu64 " contradicting, %" PRIu64
               " sizes\n",
               self->kind->name, self->samples, self->calls, self->empty, self->fresh,
               self->samples - self->fresh, self->rejected, self->contradicting, self->sizes);
        return MS_OK;
    }
    json_t *line = json_object();
    json_object_set_new(line, "dataset", ms_json_text(self->kind->name));
    json_object_set_new(line, "samples", json_integer((json_int_t)self->samples));
    json_object_set_new(line, "calls", json_integer((json_int_t)self->calls));
    json_object_set_new(line, "without_calls", json_integer((json_int_t)self->empty));
    json_object_set_new(line, "apis", json_integer((json_int_t)self->apis));
    json_object_set_new(line, "new", json_integer((json_int_t)self->fresh));
    json_object_set_new(line, "known", json_integer((json_int_t)(self->samples - self->fresh)));
    json_object_set_new(line, "rejected", json_integer((json_int_t)self->rejected));
    json_object_set_new(line, "sizes", json_integer((json_int_t)self->sizes));
    json_object_set_new(line, "contradicting", json_integer((json_int_t)self->contradicting));
    return ms_json_line(stdout, line, err);
}

static enum ms_status store_in_corpus(struct ms_dataset_import *self, struct ms_error *err)
{
    const struct ms_common *common = &self->cli->common;
    char counts[160];
    struct ms_error ignored = {.status = MS_OK};
    enum ms_status status = ms_corpus_open(common->corpus, MS_CORPUS_CREATE, &self->corpus, err);
    if (status == MS_OK)
        status = ms_run_begin(self->corpus, "extract", self->cli->argc, self->cli->argv,
                              common->seed, &self->run, err);
    if (status != MS_OK)
        return status;
    status = store_all(self, err);
    if (status == MS_OK && self->rejected)
        status = MS_REJECT;
    (void)snprintf(counts, sizeof counts,
                   "{\"samples\":%" PRIu64 ",\"calls\":%" PRIu64 ",\"new\":%" PRIu64 "}",
                   self->samples, self->calls, self->fresh);
    bool good = status == MS_OK || status == MS_REJECT;
    enum ms_status ended = ms_run_end(self->corpus, self->run, ms_status_exit_code(status), counts,
                                      NULL, good ? err : &ignored);
    return good && ended != MS_OK ? ended : status;
}

static enum ms_status run_dataset(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_dataset_import self = {.cli = cli, .rows_fd = -1, .classes_fd = -1};
    struct ms_worker_options worker = {.kinds = ms_extract_kinds,
                                       .kind_count = ms_extract_kind_count,
                                       .no_confine = cli->common.no_confine};
    self.kind = find_kind(cli->operands[0]);
    if (!self.kind)
        return no_such_dataset(err);
    self.paths = (const char *const *)cli->operands + 1;
    self.path_count = cli->operand_count - 1;
    if (self.path_count > self.kind->paths_max)
        return ms_error_set(err, MS_E_USAGE, "%s takes %zu path", self.kind->name,
                            self.kind->paths_max);
    enum ms_status status = ms_worker_start(&worker, &self.worker, err);
    if (status == MS_OK)
        status = self.kind->open(&self, err);
    if (status == MS_OK)
        status = cli->common.dry_run ? store_all(&self, err) : store_in_corpus(&self, err);
    if (status == MS_OK || status == MS_REJECT) {
        enum ms_status printed = print_summary(&self, err);
        status = printed == MS_OK ? status : printed;
    }
    if (self.rows_fd >= 0)
        (void)close(self.rows_fd);
    if (self.classes_fd >= 0)
        (void)close(self.classes_fd);
    ms_dataset_files_free(self.files);
    ms_dataset_import_release(&self);
    ms_corpus_close(self.corpus);
    ms_worker_stop(self.worker);
    return status;
}

const struct ms_verb ms_extract_dataset_verb = {
    .name = "dataset",
    .synopsis = "NAME PATH…",
    .summary = "import a published dataset: mal-api-2019, malbehavd-v1, oliveira, avast-ctu or "
               "big-2015",
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .run = run_dataset,
};

/* A run of collect from start to end, and the exit it earns. The sources do the work. */
#include "collect/session.h"

#include "base/file.h"
#include "base/http_url.h"
#include "base/limits.h"
#include "base/log.h"
#include "collect/folder.h"
#include "collect/github.h"
#include "collect/job.h"
#include "collect/quick_job.h"
#include "collect/refresh.h"
#include "collect/source.h"
#include "collect/urls.h"
#include "store/run.h"
#include "store/vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SESSION_ARENA_BYTES = 512 << 20 };

void ms_collect_defaults(void *options)
{
    struct ms_collect_options *self = options;
    self->github_url = MS_GITHUB_URL;
    self->max_store_bytes = self->keep_free_bytes = UINT64_MAX;
    self->max_members = MS_LIMIT_UNPACK_ENTRIES;
    self->max_unpacked = MS_LIMIT_UNPACK_TOTAL_BYTES;
    self->max_member = MS_LIMIT_UNPACK_ENTRY_BYTES;
    self->max_depth = MS_LIMIT_UNPACK_DEPTH;
    self->max_file = MS_LIMIT_BLOB_BYTES;
}

static struct ms_collect_limits limits_of(const struct ms_collect_options *options)
{
    const struct ms_collect_limits limits = {.unpack = {.depth = (unsigned)options->max_depth,
                                                        .entries = options->max_members,
                                                        .total_bytes = options->max_unpacked,
                                                        .entry_bytes = options->max_member},
                                             .file_bytes = options->max_file,
                                             .cpu_s = (uint32_t)options->max_time};
    return ms_collect_limits_settle(&limits);
}

static enum ms_status read_passwords(struct ms_collect *self, struct ms_error *err)
{
    const char *path = self->options->password_list;
    struct ms_buf text;
    enum ms_status status = ms_passwords_init(&self->passwords, &self->arena, err);
    if (status != MS_OK || !path)
        return status;
    ms_buf_init(&text, MS_LIMIT_LIST_BYTES);
    status = ms_file_read(path, &text, err);
    if (status != MS_OK)
        status = err->status = MS_E_INPUT;
    if (status == MS_OK)
        status = ms_passwords_add_lines(&self->passwords, MS_PASSWORD_LIST,
                                        ms_span_of(text.data, text.len), err);
    ms_buf_release(&text);
    size_t listed = self->passwords.parts[MS_PASSWORD_LIST].count;
    if (status == MS_OK && listed > MS_LIMIT_UNPACK_PASSWORDS / 2)
        ms_log(MS_LOG_WARNING,
               "the password list holds %zu; at most %d are tried on one archive, the first ones",
               listed, MS_LIMIT_UNPACK_PASSWORDS);
    return status;
}

/* Is the token that lies in the environment meant for this API? It was given for GitHub; another
 * server gets one only when the command line says so. */
static enum ms_status ambient_token(const struct ms_collect *self, bool *use, struct ms_error *err)
{
    const char *ambient = getenv("GITHUB_TOKEN");
    struct ms_url here, github;
    *use = false;
    if (!ambient || !*ambient)
        return MS_OK;
    enum ms_status status = ms_url_parse(self->options->github_url, &here, err);
    if (status == MS_OK)
        status = ms_url_parse(MS_GITHUB_URL, &github, err);
    if (status != MS_OK)
        return status;
    *use = strcmp(here.origin, github.origin) == 0;
    if (!*use)
        ms_log(MS_LOG_WARNING,
               "$GITHUB_TOKEN is for %s and does not go to %s; --github-token env:GITHUB_TOKEN "
               "would send it there",
               github.host, here.origin);
    return MS_OK;
}

/* The token is optional: without it repositories are read by git's protocol instead of the API. */
static enum ms_status read_token(struct ms_collect *self, struct ms_error *err)
{
    const struct ms_cli_secret *given = &self->options->github_token;
    bool use = given->given;
    if (!self->options->github_list)
        return MS_OK;
    if (!use) {
        enum ms_status known = ambient_token(self, &use, err);
        if (known != MS_OK || !use)
            return known;
    }
    enum ms_status status = ms_secret_read(given->given ? given->spec : NULL, given->wipe,
                                           "GITHUB_TOKEN", "GitHub token", &self->token, err);
    return status == MS_OK ? ms_secret_bind(self->token, self->options->github_url, err) : status;
}

static enum ms_status start_worker(struct ms_collect *self, struct ms_error *err)
{
    const struct ms_worker_options options = {ms_job_kinds, MS_JOB_KINDS,
                                              self->cli->common.no_confine};
    enum ms_status status = ms_worker_start(&options, &self->worker, err);
    if (status == MS_OK && !ms_worker_confined(self->worker))
        ms_log(MS_LOG_WARNING, "untrusted files are read without a system call filter "
                               "(--no-confine)");
    /* Only faster: without it the worker reads everything. */
    const struct ms_quick_options quick = {.program = MS_QUICK_PROGRAM};
    if (status == MS_OK && ms_quick_start(&quick, &self->quick, NULL) != MS_OK)
        self->quick = NULL;
    return status;
}

static enum ms_status open_corpus(struct ms_collect *self, struct ms_error *err)
{
    struct ms_cli *cli = self->cli;
    bool dry = cli->common.dry_run;
    enum ms_status status = ms_corpus_open(
        cli->common.corpus, dry ? MS_CORPUS_READ : MS_CORPUS_CREATE, &self->corpus, err);
    if (dry) {
        /* Nothing is known of an absent corpus. */
        if (status != MS_OK)
            self->corpus = NULL;
        status = MS_OK;
    }
    if (status == MS_OK && !dry)
        status = ms_vault_limit(self->corpus, self->options->max_store_bytes,
                                self->options->keep_free_bytes, err);
    if (status == MS_OK && !dry)
        status = ms_run_begin(self->corpus, cli->tool->name, cli->argc, cli->argv, cli->common.seed,
                              &self->intake.run, err);
    self->intake.corpus = self->corpus;
    self->intake.worker = self->worker;
    self->intake.quick = self->quick;
    self->intake.dry = dry;
    self->intake.sfx = self->options->recurse_sfx;
    self->intake.limits = limits_of(self->options);
    self->intake.lock = &self->lock;
    return status;
}

static enum ms_status work(struct ms_collect *self, struct ms_error *err)
{
    const struct ms_collect_options *options = self->options;
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < options->dirs.count && status == MS_OK; i++)
        status = ms_folder_collect(self, options->dirs.items[i], err);
    /* --dir a b c: what follows belongs to it. */
    for (size_t i = 0; i < self->cli->operand_count && status == MS_OK; i++)
        status = ms_folder_collect(self, self->cli->operands[i], err);
    if (status != MS_OK)
        return status;
    struct ms_error lists[2] = {{MS_OK, 0, ""}, {MS_OK, 0, ""}};
    enum ms_status ends[2] = {MS_OK, MS_OK};
    if (options->github_list)
        ends[0] = ms_github_collect(self, options->github_list, &lists[0]);
    /* The limit of a list's servers is no other server's. */
    if (options->url_list && (ends[0] == MS_OK || ends[0] == MS_E_LATER))
        ends[1] = ms_urls_collect(self, options->url_list, &lists[1]);
    size_t which = ends[1] != MS_OK;
    if (ends[0] == MS_E_LATER && ends[1] == MS_E_LATER)
        which = lists[1].resume_at_ms < lists[0].resume_at_ms;
    if (ends[which] != MS_OK)
        *err = lists[which];
    return ends[which];
}

/* What the whole run comes to, when nothing stopped it. */
static enum ms_status conclude(const struct ms_collect *self, struct ms_error *err)
{
    const struct ms_collect_counts *counts = &self->counts;
    if (!self->cli->common.quiet)
        ms_log(MS_LOG_INFO,
               "%llu origins, %llu files, %llu opened: %llu samples, %llu of them new; %llu files "
               "failed, %llu kept out by forget%s",
               (unsigned long long)counts->origins, (unsigned long long)counts->files,
               (unsigned long long)counts->opened, (unsigned long long)counts->samples,
               (unsigned long long)counts->added, (unsigned long long)counts->failed,
               (unsigned long long)counts->skipped_forgotten,
               self->intake.dry ? " (dry run: nothing was written)" : "");
    if (self->remote_failed)
        return ms_error_set(
            err, MS_E_REMOTE, "%llu of %llu origins could not be read; what was had is kept",
            (unsigned long long)counts->origins_failed, (unsigned long long)counts->origins);
    if (counts->failed || counts->origins_failed || counts->bad_lines) {
        if (err)
            err->text[0] = '\0';
        return MS_REJECT;
    }
    return MS_OK;
}

static enum ms_status end_run(struct ms_collect *self, enum ms_status status, struct ms_error *err)
{
    char counts[256];
    if (!self->intake.run)
        return status;
    (void)snprintf(counts, sizeof counts,
                   "{\"origins\":%llu,\"files\":%llu,\"opened\":%llu,\"samples\":%llu,\"new\":%llu,"
                   "\"failed\":%llu}",
                   (unsigned long long)self->counts.origins, (unsigned long long)self->counts.files,
                   (unsigned long long)self->counts.opened,
                   (unsigned long long)self->counts.samples, (unsigned long long)self->counts.added,
                   (unsigned long long)self->counts.failed);
    struct ms_error end_err = {MS_OK, 0, ""};
    enum ms_status ended = ms_run_end(self->corpus, self->intake.run, ms_status_exit_code(status),
                                      counts, NULL, &end_err);
    if (ended == MS_OK || (status != MS_OK && status != MS_REJECT))
        return status;
    *err = end_err;
    return ended;
}

enum ms_status ms_collect_run(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_collect self = {
        .cli = cli, .options = cli->options, .lock = PTHREAD_MUTEX_INITIALIZER};
    if (!self.options->github_list && !self.options->url_list && !self.options->dirs.count)
        return ms_error_set(err, MS_E_USAGE,
                            "nothing to collect from: give --github-list FILE, --url-list FILE or "
                            "--dir PATH");
    if (self.options->history && self.options->releases)
        return ms_error_set(err, MS_E_USAGE,
                            "--releases needs GitHub's API and --history git's own protocol: make "
                            "two runs of it");
    if (cli->operand_count && !self.options->dirs.count)
        return ms_error_set(err, MS_E_USAGE, "local paths need --dir in front of them");
    ms_arena_init(&self.arena, SESSION_ARENA_BYTES);
    enum ms_status status = read_token(&self, err);
    if (status == MS_OK)
        status = start_worker(&self, err); /* before anything large is in memory */
    if (status == MS_OK)
        status = read_passwords(&self, err);
    if (status == MS_OK)
        status = open_corpus(&self, err);
    if (status == MS_OK && !self.intake.dry)
        status = ms_collect_refresh(&self, err);
    if (status == MS_OK)
        status = work(&self, err);
    /* Whatever ended the work: these were asked. */
    struct ms_error why = {MS_OK, 0, ""};
    if (ms_source_flush(&self, &why) != MS_OK && status == MS_OK) {
        *err = why;
        status = why.status;
    }
    if (status == MS_OK)
        status = conclude(&self, err);
    if (self.corpus)
        status = end_run(&self, status, err);
    ms_corpus_close(self.corpus);
    ms_quick_stop(self.quick);
    ms_worker_stop(self.worker);
    ms_secret_free(self.token);
    ms_arena_release(&self.arena);
    return status;
}

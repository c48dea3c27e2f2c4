/* Samples of the vault that no row names: each is read again in the worker and gets the row that a
 * killed run did not come to write. Where it was seen is not known to anybody; the next run over
 * the same places finds out. */
#define _GNU_SOURCE
#include "base/json.h"
#include "base/log.h"
#include "base/step.h"
#include "collect/job.h"
#include "collect/session.h"
#include "store/query.h"
#include "store/run.h"
#include "store/sample.h"
#include "store/vault.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ADOPT_ARENA_BYTES = 1 << 20 };

struct adoption {
    struct ms_cli *cli;
    struct ms_intake intake;
    struct ms_passwords passwords; /* none: the object itself is wanted, not what is in it */
    bool private_;
    uint64_t found, repaired;
};

/* In fsck's form, for that is who asks. */
static enum ms_status tell(struct adoption *self, const char *name, const char *what, bool repaired,
                           struct ms_error *err)
{
    char shown[300];
    self->found++;
    self->repaired += repaired;
    (void)ms_escape_text(name, shown, sizeof shown);
    if (!self->cli->common.json) {
        (void)printf("samples/%s: %s%s\n", shown, what, repaired ? " (repaired)" : "");
        return MS_OK;
    }
    char where[320];
    (void)snprintf(where, sizeof where, "samples/%s", shown);
    json_t *line = json_object();
    (void)json_object_set_new(line, "where", ms_json_text(where));
    (void)json_object_set_new(line, "what", ms_json_text(what));
    (void)json_object_set_new(line, "repaired", json_boolean(repaired));
    return ms_json_line(stdout, line, err);
}

static enum ms_status put_row(struct adoption *self, const struct ms_intake_program *program,
                              struct ms_error *err)
{
    struct ms_corpus *corpus = self->intake.corpus;
    int64_t id;
    bool inserted;
    enum ms_status status = ms_corpus_begin(corpus, err);
    if (status == MS_OK)
        status = ms_intake_put_sample(&self->intake, program, self->private_, &id, &inserted, err);
    if (status == MS_OK)
        status = ms_corpus_commit(corpus, err);
    if (status != MS_OK)
        ms_corpus_rollback(corpus);
    ms_step("collect.adopt.committed");
    return status;
}

/* The program that the object itself is, not one inside it. */
static const struct ms_intake_program *itself(const struct ms_intake_result *result,
                                              const uint8_t sha256[MS_SHA256_BYTES])
{
    for (size_t i = 0; i < result->program_count; i++)
        if (!result->programs[i].chain.len &&
            memcmp(result->programs[i].digests.sha256, sha256, MS_SHA256_BYTES) == 0)
            return &result->programs[i];
    return NULL;
}

static enum ms_status adopt(struct adoption *self, int fd, uint64_t size,
                            const uint8_t sha256[MS_SHA256_BYTES], const char *name,
                            struct ms_error *err)
{
    struct ms_intake_result result;
    const struct ms_intake_blob blob = {
        .fd = fd, .size = size, .origin_name = "", .passwords = &self->passwords};
    enum ms_status status = ms_intake_open(&self->intake, &blob, &result, err);
    const struct ms_intake_program *program = status == MS_OK ? itself(&result, sha256) : NULL;
    static const char *const unread[] = {"crash", "timeout", "limit", "error"};
    bool readable = true;
    for (size_t i = 0; status == MS_OK && i < sizeof unread / sizeof *unread; i++)
        readable = readable && strcmp(result.outcome, unread[i]) != 0;
    if (status == MS_OK && program) {
        status = put_row(self, program, err);
        if (status == MS_OK)
            status = tell(self, name, "no row named it", true, err);
    } else if (status == MS_OK && readable) {
        status = ms_vault_remove(self->intake.corpus, MS_VAULT_SAMPLE, sha256, err);
        if (status == MS_OK)
            status = tell(self, name, "no row named it, and it is no Windows program", true, err);
    } else if (status == MS_OK) {
        ms_log(MS_LOG_WARNING, "samples/%s stays without a row: it cannot be read (%s)", name,
               result.outcome);
    }
    ms_intake_result_release(&result);
    return status;
}

static enum ms_status visit(void *ctx, const uint8_t sha256[MS_SHA256_BYTES], const char *name,
                            struct ms_error *err)
{
    struct adoption *self = ctx;
    struct ms_error why = {MS_OK, 0, ""};
    bool forgotten = false;
    uint64_t size;
    int fd;
    enum ms_status status = ms_sample_is_forgotten(self->intake.corpus, sha256, &forgotten, err);
    if (status != MS_OK || forgotten) /* fsck removes it */
        return status;
    status = ms_vault_read_fd(self->intake.corpus, MS_VAULT_SAMPLE, sha256, &fd, &size, &why);
    if (status == MS_E_STORE || status == MS_REJECT) /* damaged: fsck tells and removes it */
        return MS_OK;
    if (status != MS_OK) {
        *err = why;
        return status;
    }
    status = adopt(self, fd, size, sha256, name, err);
    (void)close(fd);
    return status;
}

static enum ms_status work(struct adoption *self, struct ms_error *err)
{
    enum ms_status status = ms_corpus_has_private(self->intake.corpus, &self->private_, err);
    if (status == MS_OK)
        status = ms_fsck_foreach_orphan(self->intake.corpus, visit, self, err);
    if (status == MS_OK && self->repaired && self->private_)
        ms_log(MS_LOG_WARNING,
               "the corpus holds private samples: those that were taken in now count as private "
               "too, for nobody knows where they are from");
    return status;
}

enum ms_status ms_collect_adopt(struct ms_cli *cli, struct ms_error *err)
{
    struct adoption self = {.cli = cli};
    const struct ms_worker_options options = {ms_job_kinds, MS_JOB_KINDS, cli->common.no_confine};
    struct ms_corpus *corpus = NULL;
    struct ms_arena arena;
    int64_t run = 0;
    ms_arena_init(&arena, ADOPT_ARENA_BYTES);
    self.passwords = (struct ms_passwords){.arena = &arena};
    enum ms_status status = ms_worker_start(&options, &self.intake.worker, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, MS_CORPUS_WRITE, &corpus, err);
    if (status == MS_OK)
        status = ms_run_begin(corpus, cli->tool->name, cli->argc, cli->argv, cli->common.seed, &run,
                              err);
    /* Dry, as far as intake goes: the bytes are in the vault already. */
    self.intake.corpus = corpus;
    self.intake.run = run;
    self.intake.dry = true;
    if (status == MS_OK)
        status = work(&self, err);
    if (run) {
        struct ms_error end_err = {MS_OK, 0, ""};
        enum ms_status ended =
            ms_run_end(corpus, run, ms_status_exit_code(status), NULL, NULL, &end_err);
        if (status == MS_OK && ended != MS_OK) {
            *err = end_err;
            status = ended;
        }
    }
    ms_corpus_close(corpus);
    ms_worker_stop(self.intake.worker);
    ms_arena_release(&arena);
    return status;
}

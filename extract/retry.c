/* `extract retry --state STATE`: submissions that ended in a state back into the queue. Sends
 * nothing. */
#include "base/cli.h"
#include "base/clock.h"
#include "base/json.h"
#include "extract/task.h"
#include "extract/verbs.h"
#include "store/analysis.h"
#include "store/run.h"

#include <inttypes.h>
#include <stdio.h>

struct retry_options {
    const char *state;
};

struct retry {
    struct ms_corpus *corpus;
    uint64_t count;
};

static enum ms_status retry_one(void *ctx, int64_t id, struct ms_error *err)
{
    struct retry *self = ctx;
    struct ms_analysis row;
    enum ms_status status = ms_analysis_get(self->corpus, id, &row, err);
    if (status != MS_OK)
        return status;
    /* Rows of datasets, disassemblies and imported files have a settings digest too: there is
     * nothing of theirs to send. */
    if (row.has_settings_digest && ms_task_is_settings(row.settings)) {
        /* attempts stays: it is part of the job key, and the old task must not be taken for the
         * new. */
        struct ms_analysis next = row;
        next.state = "queued";
        next.reason = NULL;
        next.server = NULL;
        next.task_id = NULL;
        next.attempts = row.attempts + 1;
        next.deadline_ms = 0;
        status = ms_analysis_update(self->corpus, &next, ms_clock_wall_ms(), err);
        self->count++;
    }
    ms_analysis_release(&row);
    return status;
}

static enum ms_status show_queued(const struct ms_cli *cli, uint64_t count, struct ms_error *err)
{
    if (cli->common.json) {
        json_t *line = json_object();
        (void)json_object_set_new(line, "queued", json_integer((json_int_t)count));
        (void)json_object_set_new(line, "dry_run", json_boolean(cli->common.dry_run));
        return ms_json_line(stdout, line, err);
    }
    (void)printf("%" PRIu64 " %s\n", count,
                 cli->common.dry_run ? "would be queued again" : "queued again");
    return MS_OK;
}

static enum ms_status run_retry(struct ms_cli *cli, struct ms_error *err)
{
    const struct retry_options *options = cli->options;
    struct retry self = {0};
    int64_t run = 0;
    if (!options->state)
        return ms_error_set(err, MS_E_USAGE, "retry wants --state; see --help");
    enum ms_status status = ms_corpus_open(cli->common.corpus, MS_CORPUS_WRITE, &self.corpus, err);
    if (status == MS_OK)
        status = ms_run_begin(self.corpus, "extract", cli->argc, cli->argv, 0, &run, err);
    if (status == MS_OK)
        status = ms_corpus_begin(self.corpus, err);
    if (status == MS_OK)
        status = ms_analysis_foreach(self.corpus, options->state, NULL, retry_one, &self, err);
    if (status == MS_OK && cli->common.dry_run)
        ms_corpus_rollback(self.corpus);
    else if (status == MS_OK)
        status = ms_corpus_commit(self.corpus, err);
    if (status == MS_OK)
        status = ms_run_end(self.corpus, run, 0, NULL, NULL, err);
    if (status == MS_OK)
        status = show_queued(cli, self.count, err);
    if (self.corpus)
        ms_corpus_rollback(self.corpus);
    ms_corpus_close(self.corpus);
    return status;
}

static const struct ms_option retry_table[] = {
    {.name = "state",
     .kind = MS_OPT_CHOICE,
     .arg = "STATE",
     .choices = "failed|lost|refused|report_missing|report_invalid|no_behavior|no_calls|"
                "too_few_calls",
     .help = "which ends to try again",
     .offset = offsetof(struct retry_options, state)},
};

const struct ms_verb ms_extract_retry_verb = {
    .name = "retry",
    .synopsis = "--state STATE",
    .summary = "put submissions that ended in a state back into the queue",
    .options = retry_table,
    .option_count = sizeof retry_table / sizeof *retry_table,
    .options_bytes = sizeof(struct retry_options),
    .run = run_retry,
};

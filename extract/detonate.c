/* `extract --cuckoo URL…`: the samples of the vault through sandbox servers; `extract retry`:
 * failed ones back into the queue. The life cycle itself is in extract/task. */
#include "base/cli.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/step.h"
#include "extract/ingest.h"
#include "extract/task.h"
#include "extract/verbs.h"
#include "store/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERVERS_MAX = 32 };

struct detonate_options {
    struct ms_cli_list cuckoo;
    struct ms_cli_secret token;
    const char *sandbox, *route, *package, *machine, *tags;
    uint64_t timeout_s, in_flight, attempts, min_calls;
    uint64_t queue_s, run_s, process_s;
    double poll_s, grace_s;
};

/* One run. */
struct detonation {
    const struct ms_cli *cli;
    const struct detonate_options *options;
    struct ms_ingest ingest;
    struct ms_secret *token;
    struct ms_sandbox *servers[SERVERS_MAX];
    size_t server_count;
    bool head_printed;
};

static void set_defaults(void *ctx)
{
    struct detonate_options *options = ctx;
    *options = (struct detonate_options){.sandbox = "auto",
                                         .route = "none",
                                         .in_flight = 8,
                                         .attempts = 2,
                                         .queue_s = 86400,
                                         .run_s = 3600,
                                         .process_s = 21600,
                                         .poll_s = 5,
                                         .grace_s = 75};
}

static enum ms_status import_report(void *ctx, int fd, int64_t analysis, const char **state,
                                    struct ms_error *err)
{
    struct detonation *self = ctx;
    struct ms_ingest_outcome out;
    enum ms_status status = ms_ingest_report(&self->ingest, fd, analysis, &out, err);
    if (status == MS_OK)
        *state = out.state;
    if (status == MS_OK && out.reason[0])
        ms_log(MS_LOG_WARNING, "report of analysis %" PRId64 ": %s: %s", analysis, out.state,
               out.reason);
    return status;
}

static enum ms_status tell(void *ctx, const struct ms_task_end *end, struct ms_error *err)
{
    struct detonation *self = ctx;
    if (!self->cli->common.json) {
        if (!self->head_printed)
            printf("%-14s %-64s  %s\n", "state", "sample", "task");
        self->head_printed = true;
        printf("%-14s %-64s  %s%s%s%s\n", end->state, end->sha256, end->server,
               *end->task_id ? " #" : "", end->task_id, *end->reason ? ": " : "");
        if (*end->reason)
            printf("%14s %s\n", "", end->reason);
        return MS_OK;
    }
    json_t *line = json_object();
    json_object_set_new(line, "sample", ms_json_text(end->sha256));
    json_object_set_new(line, "state", ms_json_text(end->state));
    json_object_set_new(line, "reason", ms_json_text(*end->reason ? end->reason : NULL));
    json_object_set_new(line, "server", ms_json_text(*end->server ? end->server : NULL));
    json_object_set_new(line, "task", ms_json_text(*end->task_id ? end->task_id : NULL));
    json_object_set_new(line, "analysis", json_integer(end->analysis));
    return ms_json_line(stdout, line, err);
}

static enum ms_sandbox_kind kind_of(const char *word)
{
    if (strcmp(word, "cuckoo") == 0)
        return MS_SANDBOX_CUCKOO;
    return strcmp(word, "cape") == 0 ? MS_SANDBOX_CAPE : MS_SANDBOX_AUTO;
}

/* The token is for all servers named: a run with several needs one they share. It is read only when
 * given or set, since Cuckoo before 2.0.7 and CAPE as it comes have none. */
static enum ms_status read_token(struct detonation *self, struct ms_error *err)
{
    const struct ms_cli_secret *given = &self->options->token;
    if (!given->given && !getenv("CUCKOO_TOKEN"))
        return MS_OK;
    if (self->options->cuckoo.count > 1)
        return ms_error_set(err, MS_E_USAGE,
                            "a token is bound to one server: run extract once for each server");
    return ms_secret_read(given->spec, given->wipe, "CUCKOO_TOKEN", "sandbox token", &self->token,
                          err);
}

/* A server that does not answer at the start is left out as long as another one does. */
static enum ms_status open_servers(struct detonation *self, struct ms_error *err)
{
    struct ms_error fault = {.status = MS_OK};
    if (self->options->cuckoo.count > SERVERS_MAX)
        return ms_error_set(err, MS_E_USAGE, "at most %d servers", SERVERS_MAX);
    for (size_t i = 0; i < self->options->cuckoo.count; i++) {
        struct ms_sandbox_options options = {.url = self->options->cuckoo.items[i],
                                             .kind = kind_of(self->options->sandbox),
                                             .token = self->token,
                                             .seed = self->cli->common.seed + i};
        struct ms_sandbox *server;
        enum ms_status status = ms_sandbox_open(&options, &server, &fault);
        if (status == MS_E_REMOTE && self->options->cuckoo.count > 1) {
            ms_log(MS_LOG_WARNING, "%s; left out", fault.text);
            continue;
        }
        if (status != MS_OK) {
            if (err)
                *err = fault;
            return status;
        }
        self->servers[self->server_count++] = server;
        ms_log(MS_LOG_INFO, "%s is %s %s", ms_sandbox_url(server),
               ms_sandbox_kind_name(ms_sandbox_kind_get(server)), ms_sandbox_version(server));
    }
    if (self->server_count == 0)
        return ms_error_set(err, MS_E_REMOTE, "no sandbox is left: %s", fault.text);
    return MS_OK;
}

static struct ms_task_options task_options(struct detonation *self)
{
    const struct detonate_options *options = self->options;
    return (struct ms_task_options){
        .servers = self->servers,
        .server_count = self->server_count,
        .package = options->package,
        .route = strcmp(options->route, "default") == 0 ? NULL : options->route,
        .machine = options->machine,
        .tags = options->tags,
        .timeout_s = (uint32_t)options->timeout_s,
        .in_flight = options->in_flight,
        .poll_ms = (int64_t)(options->poll_s * 1000),
        .queue_ms = (int64_t)options->queue_s * 1000,
        .run_ms = (int64_t)options->run_s * 1000,
        .process_ms = (int64_t)options->process_s * 1000,
        .grace_ms = (int64_t)(options->grace_s * 1000),
        .attempts = (unsigned)options->attempts,
        .import = import_report,
        .on_end = tell,
        .ctx = self,
        .run = self->ingest.run,
    };
}

static enum ms_status run_tasks(struct detonation *self, struct ms_error *err)
{
    struct ms_task_counts counts;
    char json[200];
    struct ms_task_options tasks = task_options(self);
    enum ms_status status = ms_tasks_run(self->ingest.corpus, &tasks, &counts, err);
    if (status == MS_OK && counts.ended > 0)
        status = MS_REJECT;
    ms_log(MS_LOG_INFO,
           "%" PRIu64 " queued, %" PRIu64 " resumed: %" PRIu64 " submitted, %" PRIu64
           " with calls, %" PRIu64 " ended otherwise",
           counts.queued, counts.resumed, counts.submitted, counts.ok, counts.ended);
    (void)snprintf(json, sizeof json,
                   "{\"queued\":%" PRIu64 ",\"resumed\":%" PRIu64 ",\"submitted\":%" PRIu64
                   ",\"ok\":%" PRIu64 ",\"ended\":%" PRIu64 "}",
                   counts.queued, counts.resumed, counts.submitted, counts.ok, counts.ended);
    struct ms_error ignored = {.status = MS_OK};
    enum ms_status ended = ms_run_end(self->ingest.corpus, self->ingest.run,
                                      ms_status_exit_code(status), json, NULL, &ignored);
    if (ended != MS_OK && (status == MS_OK || status == MS_REJECT)) {
        if (err)
            *err = ignored;
        return ended;
    }
    return status;
}

/* What would be sent, without a word to any server. */
static enum ms_status dry_run(struct detonation *self, struct ms_error *err)
{
    uint64_t fresh = 0, active = 0;
    struct ms_task_options tasks = task_options(self);
    enum ms_status status =
        ms_corpus_open(self->cli->common.corpus, MS_CORPUS_READ, &self->ingest.corpus, err);
    if (status == MS_OK)
        status = ms_tasks_count(self->ingest.corpus, &tasks, &fresh, &active, err);
    if (status == MS_OK)
        printf("%" PRIu64 " samples would be submitted, %" PRIu64 " are queued or in flight\n",
               fresh, active);
    return status;
}

static enum ms_status detonate(struct detonation *self, struct ms_error *err)
{
    const struct ms_common *common = &self->cli->common;
    enum ms_status status = open_servers(self, err);
    if (status == MS_OK)
        status = ms_corpus_open(common->corpus, MS_CORPUS_WRITE, &self->ingest.corpus, err);
    if (status == MS_OK)
        status = ms_run_begin(self->ingest.corpus, "extract", self->cli->argc, self->cli->argv,
                              common->seed, &self->ingest.run, err);
    return status == MS_OK ? run_tasks(self, err) : status;
}

static enum ms_status run_detonate(struct ms_cli *cli, struct ms_error *err)
{
    const struct detonate_options *options = cli->options;
    struct detonation self = {
        .cli = cli, .options = options, .ingest = {.min_calls = options->min_calls}};
    if (options->cuckoo.count == 0)
        return ms_error_set(
            err, MS_E_USAGE,
            "nothing to do: give --cuckoo URL, or a verb such as import; see --help");
    enum ms_status status;
    if (cli->common.dry_run) {
        status = dry_run(&self, err);
        ms_corpus_close(self.ingest.corpus);
        return status;
    }
    struct ms_worker_options worker = {.kinds = ms_extract_kinds,
                                       .kind_count = ms_extract_kind_count,
                                       .no_confine = cli->common.no_confine};
    status = read_token(&self, err); /* before the worker is forked, which must not inherit it */
    if (status == MS_OK)
        status = ms_worker_start(&worker, &self.ingest.worker, err);
    if (status == MS_OK)
        status = detonate(&self, err);
    for (size_t i = 0; i < self.server_count; i++)
        ms_sandbox_close(self.servers[i]);
    ms_secret_free(self.token);
    ms_corpus_close(self.ingest.corpus);
    ms_worker_stop(self.ingest.worker);
    return status;
}

static const struct ms_option detonate_table[] = {
    {.name = "cuckoo",
     .kind = MS_OPT_LIST,
     .arg = "URL",
     .help = "a Cuckoo or CAPE server; may be given several times",
     .offset = offsetof(struct detonate_options, cuckoo)},
    {.name = "token",
     .kind = MS_OPT_SECRET,
     .arg = "SECRET",
     .help = "the server's API token: @FILE, env:NAME or the value; else CUCKOO_TOKEN",
     .offset = offsetof(struct detonate_options, token)},
    {.name = "sandbox",
     .kind = MS_OPT_CHOICE,
     .arg = "KIND",
     .choices = "auto|cuckoo|cape",
     .help = "what the servers are",
     .offset = offsetof(struct detonate_options, sandbox)},
    {.name = "route",
     .kind = MS_OPT_TEXT,
     .arg = "ROUTE",
     .help = "network route of the machine: none unless given; 'default' leaves it to the server",
     .offset = offsetof(struct detonate_options, route)},
    {.name = "package",
     .kind = MS_OPT_TEXT,
     .arg = "NAME",
     .help = "analysis package; else by the kind of program",
     .offset = offsetof(struct detonate_options, package)},
    {.name = "machine",
     .kind = MS_OPT_TEXT,
     .arg = "NAME",
     .help = "run on this machine only",
     .offset = offsetof(struct detonate_options, machine)},
    {.name = "tags",
     .kind = MS_OPT_TEXT,
     .arg = "LIST",
     .help = "run on machines with these tags, separated by commas",
     .offset = offsetof(struct detonate_options, tags)},
    {.name = "timeout",
     .kind = MS_OPT_NUMBER,
     .arg = "SECONDS",
     .max = 86400,
     .help = "how long a sample runs; else as the server is set up",
     .offset = offsetof(struct detonate_options, timeout_s)},
    {.name = "in-flight",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .min = 1,
     .max = 10000,
     .help = "tasks a server holds at once",
     .offset = offsetof(struct detonate_options, in_flight)},
    {.name = "attempts",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .min = 1,
     .max = 100,
     .help = "analyses of one sample before its failure is final",
     .offset = offsetof(struct detonate_options, attempts)},
    {.name = "min-calls",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .help = "record reports with fewer calls as too_few_calls",
     .offset = offsetof(struct detonate_options, min_calls)},
    {.name = "poll",
     .kind = MS_OPT_REAL,
     .arg = "SECONDS",
     .help = "between two looks at one task",
     .offset = offsetof(struct detonate_options, poll_s)},
    {.name = "grace",
     .kind = MS_OPT_REAL,
     .arg = "SECONDS",
     .help = "how long a submission may stay invisible before it is sent again",
     .offset = offsetof(struct detonate_options, grace_s)},
    {.name = "queue-deadline",
     .kind = MS_OPT_NUMBER,
     .arg = "SECONDS",
     .min = 1,
     .max = 31536000,
     .help = "give a task up that waits for a machine for longer",
     .offset = offsetof(struct detonate_options, queue_s)},
    {.name = "run-deadline",
     .kind = MS_OPT_NUMBER,
     .arg = "SECONDS",
     .min = 1,
     .max = 31536000,
     .help = "give a task up that runs for longer",
     .offset = offsetof(struct detonate_options, run_s)},
    {.name = "process-deadline",
     .kind = MS_OPT_NUMBER,
     .arg = "SECONDS",
     .min = 1,
     .max = 31536000,
     .help = "give a task up whose report takes longer",
     .offset = offsetof(struct detonate_options, process_s)},
};

const struct ms_verb ms_extract_detonate_verb = {
    .name = "",
    .synopsis = "--cuckoo URL…",
    .summary = "submit the samples of the vault to sandboxes and store their reports",
    .options = detonate_table,
    .option_count = sizeof detonate_table / sizeof *detonate_table,
    .options_bytes = sizeof(struct detonate_options),
    .defaults = set_defaults,
    .run = run_detonate,
};

/* ---- retry ---- */

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
    if (row.has_settings_digest) {
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

/* `extract --cuckoo URL…`: the samples of the vault through sandbox servers. The life cycle itself
 * is in extract/task, the servers in extract/sandbox/servers. */
#include "base/cli.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/stop.h"
#include "extract/ingest.h"
#include "extract/sandbox/servers.h"
#include "extract/task.h"
#include "extract/verbs.h"
#include "store/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct detonate_options {
    struct ms_cli_list cuckoo;
    struct ms_cli_secret token;
    const char *sandbox, *route, *package, *machine, *tags;
    uint64_t timeout_s, in_flight, max_pending, attempts, min_calls;
    uint64_t queue_s, run_s, process_s;
    double poll_s, grace_s, request_s;
    bool discard_reports;
};

/* One run. */
struct detonation {
    const struct ms_cli *cli;
    const struct detonate_options *options;
    struct ms_ingest ingest;
    struct ms_servers servers;
    struct ms_task_at at[MS_SERVERS_MAX];
    bool head_printed;
};

static void set_defaults(void *ctx)
{
    struct detonate_options *options = ctx;
    *options = (struct detonate_options){.sandbox = "auto",
                                         .route = "none",
                                         .in_flight = 8,
                                         .max_pending = 64,
                                         .attempts = 2,
                                         .queue_s = 86400,
                                         .run_s = 3600,
                                         .process_s = 21600,
                                         .poll_s = 5,
                                         .grace_s = 75,
                                         .request_s = 120};
}

static enum ms_status read_report(void *ctx, enum ms_sandbox_kind kind, int fd, void **read,
                                  struct ms_error *err)
{
    struct detonation *self = ctx;
    struct ms_intake *intake = NULL;
    const struct ms_intake_input input = {
        .fd = fd, .metadata_fd = -1, .log = kind == MS_SANDBOX_DRAKVUF ? "drakvuf" : NULL};
    enum ms_status status = ms_intake_read(&self->ingest, &input, &intake, err);
    *read = intake;
    return status;
}

static enum ms_status store_report(void *ctx, void *read, int64_t analysis, const char **state,
                                   struct ms_error *err)
{
    struct ms_ingest_outcome out;
    (void)ctx;
    enum ms_status status = ms_intake_store(read, analysis, &out, err);
    ms_intake_free(read);
    if (status == MS_OK)
        *state = out.state;
    if (status == MS_OK && out.reason[0])
        ms_log(MS_LOG_INFO, "report of analysis %" PRId64 ": %s: %s", analysis, out.state,
               out.reason);
    return status;
}

static void drop_report(void *ctx, void *read)
{
    (void)ctx;
    ms_intake_free(read);
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

static struct ms_task_options task_options(struct detonation *self)
{
    const struct detonate_options *options = self->options;
    return (struct ms_task_options){
        .servers = self->at,
        .server_count = self->servers.count,
        .package = options->package,
        .route = strcmp(options->route, "default") == 0 ? NULL : options->route,
        .machine = options->machine,
        .tags = options->tags,
        .timeout_s = (uint32_t)options->timeout_s,
        .max_pending = (int64_t)options->max_pending,
        .poll_ms = (int64_t)(options->poll_s * 1000),
        .queue_ms = (int64_t)options->queue_s * 1000,
        .run_ms = (int64_t)options->run_s * 1000,
        .process_ms = (int64_t)options->process_s * 1000,
        .grace_ms = (int64_t)(options->grace_s * 1000),
        .attempts = (unsigned)options->attempts,
        .read = read_report,
        .store = store_report,
        .drop = drop_report,
        .on_end = tell,
        .ctx = self,
        .run = self->ingest.run,
    };
}

/* The last line of --json: what the run did, in all and at each server. */
static enum ms_status show_counts(const struct detonation *self,
                                  const struct ms_task_counts *counts, struct ms_error *err)
{
    double seconds = (double)counts->took_ms / 1000;
    double done = (double)(counts->ok + counts->ended);
    if (!self->cli->common.json)
        return MS_OK;
    json_t *line = json_object(), *servers = json_array();
    for (size_t i = 0; i < self->servers.count; i++) {
        const struct ms_task_share *share = &counts->shares[i];
        json_t *server = json_object();
        struct ms_sandbox *sandbox = self->servers.items[i].sandbox;
        json_object_set_new(server, "server", ms_json_text(ms_sandbox_url(sandbox)));
        json_object_set_new(server, "kind",
                            ms_json_text(ms_sandbox_kind_name(ms_sandbox_kind_get(sandbox))));
        json_object_set_new(server, "submitted", json_integer((json_int_t)share->submitted));
        json_object_set_new(server, "ok", json_integer((json_int_t)share->ok));
        json_object_set_new(server, "ended", json_integer((json_int_t)share->ended));
        json_object_set_new(server, "requests", json_integer((json_int_t)share->requests));
        json_object_set_new(server, "faults", json_integer((json_int_t)share->faults));
        json_array_append_new(servers, server);
    }
    json_object_set_new(line, "queued", json_integer((json_int_t)counts->queued));
    json_object_set_new(line, "resumed", json_integer((json_int_t)counts->resumed));
    json_object_set_new(line, "submitted", json_integer((json_int_t)counts->submitted));
    json_object_set_new(line, "ok", json_integer((json_int_t)counts->ok));
    json_object_set_new(line, "ended", json_integer((json_int_t)counts->ended));
    json_object_set_new(line, "left", json_integer((json_int_t)counts->left));
    json_object_set_new(line, "seconds", json_real(seconds));
    json_object_set_new(line, "per_hour", json_real(seconds > 0 ? done * 3600 / seconds : 0));
    json_object_set_new(line, "servers", servers);
    return ms_json_line(stdout, line, err);
}

static enum ms_status run_tasks(struct detonation *self, struct ms_error *err)
{
    struct ms_task_share shares[MS_SERVERS_MAX] = {{0}};
    struct ms_task_counts counts = {.shares = shares};
    char json[240];
    struct ms_task_options tasks = task_options(self);
    ms_stop_watch();
    enum ms_status status = ms_tasks_run(self->ingest.corpus, &tasks, &counts, err);
    ms_stop_unwatch();
    if (status == MS_OK && counts.ended > 0)
        status = MS_REJECT;
    ms_log(MS_LOG_INFO,
           "%" PRIu64 " queued, %" PRIu64 " resumed: %" PRIu64 " submitted, %" PRIu64
           " with calls, %" PRIu64 " ended otherwise, %" PRIu64 " left",
           counts.queued, counts.resumed, counts.submitted, counts.ok, counts.ended, counts.left);
    (void)snprintf(json, sizeof json,
                   "{\"queued\":%" PRIu64 ",\"resumed\":%" PRIu64 ",\"submitted\":%" PRIu64
                   ",\"ok\":%" PRIu64 ",\"ended\":%" PRIu64 ",\"left\":%" PRIu64 "}",
                   counts.queued, counts.resumed, counts.submitted, counts.ok, counts.ended,
                   counts.left);
    struct ms_error later = {.status = MS_OK};
    enum ms_status shown = show_counts(self, &counts, &later);
    enum ms_status ended =
        ms_run_end(self->ingest.corpus, self->ingest.run,
                   ms_stop_signal() ? 128 + ms_stop_signal() : ms_status_exit_code(status), json,
                   NULL, shown == MS_OK ? &later : NULL);
    ended = shown == MS_OK ? ended : shown;
    if (ended != MS_OK && (status == MS_OK || status == MS_REJECT)) {
        if (err)
            *err = later;
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
    const struct ms_servers_options how = {.kind = ms_sandbox_kind_of(self->options->sandbox),
                                           .route = self->options->route,
                                           .machine = self->options->machine,
                                           .tags = self->options->tags,
                                           .package = self->options->package,
                                           .seed = common->seed,
                                           .request_ms =
                                               (uint32_t)(self->options->request_s * 1000)};
    enum ms_status status = ms_servers_open(&self->servers, &how, err);
    for (size_t i = 0; i < self->servers.count; i++)
        self->at[i] = (struct ms_task_at){.sandbox = self->servers.items[i].sandbox,
                                          .in_flight = self->servers.items[i].in_flight};
    if (status == MS_OK)
        status = ms_corpus_open(common->corpus, MS_CORPUS_WRITE, &self->ingest.corpus, err);
    if (status == MS_OK)
        status = ms_corpus_limit_cache(self->ingest.corpus, MS_INGEST_CACHE_BYTES, err);
    if (status == MS_OK)
        status = ms_run_begin(self->ingest.corpus, "extract", self->cli->argc, self->cli->argv,
                              common->seed, &self->ingest.run, err);
    return status == MS_OK ? run_tasks(self, err) : status;
}

static enum ms_status run_detonate(struct ms_cli *cli, struct ms_error *err)
{
    const struct detonate_options *options = cli->options;
    struct detonation self = {
        .cli = cli,
        .options = options,
        .ingest = {.min_calls = options->min_calls, .discard_reports = options->discard_reports}};
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
    /* Tokens are read before the worker is forked, which must not inherit them. */
    status =
        ms_servers_parse(&options->cuckoo, &options->token, options->in_flight, &self.servers, err);
    if (status == MS_OK)
        status = ms_worker_start(&worker, &self.ingest.worker, err);
    if (status == MS_OK)
        status = detonate(&self, err);
    ms_servers_close(&self.servers);
    ms_corpus_close(self.ingest.corpus);
    ms_worker_stop(self.ingest.worker);
    return status;
}

static const struct ms_option detonate_table[] = {
    {.name = "cuckoo",
     .kind = MS_OPT_LIST,
     .arg = "URL",
     .help = "a Cuckoo, CAPE or DRAKVUF server, may be given several times; behind the URL may "
             "stand ,weight=N (it holds N times as many tasks), ,in-flight=N, ,kind=KIND and "
             ",token=@FILE or ,token=env:NAME",
     .offset = offsetof(struct detonate_options, cuckoo)},
    {.name = "token",
     .kind = MS_OPT_SECRET,
     .arg = "SECRET",
     .help = "the server's API token: @FILE, env:NAME or the value; else CUCKOO_TOKEN",
     .offset = offsetof(struct detonate_options, token)},
    {.name = "sandbox",
     .kind = MS_OPT_CHOICE,
     .arg = "KIND",
     .choices = "auto|cuckoo|cape|drakvuf",
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
    {.name = "max-pending",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .max = 1000000,
     .help = "send nothing to a server where so many tasks of anybody wait; 0: no limit",
     .offset = offsetof(struct detonate_options, max_pending)},
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
    {.name = "discard-reports",
     .kind = MS_OPT_FLAG,
     .help = "keep the calls alone, not the reports",
     .offset = offsetof(struct detonate_options, discard_reports)},
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
    {.name = "request-timeout",
     .kind = MS_OPT_REAL,
     .arg = "SECONDS",
     .help = "how long a server may take to answer a request",
     .offset = offsetof(struct detonate_options, request_s)},
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

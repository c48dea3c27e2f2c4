/* A server's thread: what is due next, how busy and how well the server is. What is done with a
 * task: extract/task. */
#include "extract/task_server.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FAULTS_MAX = 5,   /* in a row, before a server counts as ill */
    REFUSALS_MAX = 5, /* of files in a row, before a server gets no more but now and then */
    BACKOFF_MS = 500,
    BACKOFF_MAX_MS = 60000,
    REST_MAX_MS = 600000,  /* who asks for a longer rest than this is set aside */
    SURVEY_MIN = 4,        /* fewer tasks in flight are looked at one by one */
    SURVEY_FAULTS_MAX = 3, /* of a server that does not give the lists */
    SEEN_APART = 4,        /* polls between two looks at a task that surveys may show */
    REFUSED_MS = 86400000, /* a token that is refused will not do later: for this run */
    SLICE_MS = 200         /* the longest sleep: an end is asked for in between */
};

void ms_task_server_rest(struct ms_task_server *server, int64_t wait_ms)
{
    int64_t until = ms_clock_mono_ms() + wait_ms;
    if (until > server->rest_until_ms)
        server->rest_until_ms = until;
    if (wait_ms > REST_MAX_MS)
        (void)ms_error_set(&server->fault, MS_E_LATER, "%s asks to wait",
                           ms_sandbox_url(server->sandbox));
}

bool ms_task_server_is_well(const struct ms_task_server *server)
{
    return !server->ill && server->rest_until_ms - ms_clock_mono_ms() <= REST_MAX_MS;
}

bool ms_task_server_takes(const struct ms_task_server *server)
{
    return server->refusals < REFUSALS_MAX && ms_task_server_is_well(server);
}

/* Longer each time. */
static int64_t backoff_ms(unsigned times)
{
    int64_t ms = (int64_t)BACKOFF_MS << (times < 8 ? times : 8);
    return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

void ms_task_server_took(struct ms_task_server *server)
{
    if (server->refusals >= REFUSALS_MAX)
        ms_log(MS_LOG_INFO, "%s takes files again", ms_sandbox_url(server->sandbox));
    server->refusals = 0;
    server->submit_after_ms = 0;
}

void ms_task_server_refused(struct ms_task_server *server, struct ms_task *task)
{
    int64_t taken = (int64_t)server->loop->counts->submitted;
    /* Others were taken since it was not: the sample is to blame. */
    if (task->refused_at >= 0 && task->refused_at < taken)
        return;
    task->refused_at = taken;
    server->refusals++;
    server->submit_after_ms = ms_clock_mono_ms() + backoff_ms(server->refusals);
    (void)snprintf(server->refusal, sizeof server->refusal, "%s", task->reason);
    if (server->refusals == REFUSALS_MAX)
        ms_log(MS_LOG_WARNING,
               "%s took none of %d files in a row (%s); set aside until it takes one",
               ms_sandbox_url(server->sandbox), REFUSALS_MAX, server->refusal);
}

static bool surveys(const struct ms_task_server *server)
{
    return server->active_count >= SURVEY_MIN && server->survey_faults < SURVEY_FAULTS_MAX;
}

int64_t ms_task_server_next_ms(const struct ms_task_server *server)
{
    int64_t polls = !surveys(server) ? 1 : server->surveys_whole ? 2 : SEEN_APART;
    return ms_clock_mono_ms() + polls * server->loop->options->poll_ms;
}

/* Counts a fault of the server: it rests longer each time and counts as ill after a few in a row.
 * Other statuses than MS_E_REMOTE stop the run. */
static enum ms_status note(struct ms_task_server *server, enum ms_status status,
                           const struct ms_error *fault)
{
    struct ms_task_loop *loop = server->loop;
    if (status == MS_OK) {
        if (server->ill)
            ms_log(MS_LOG_INFO, "%s answers again", ms_sandbox_url(server->sandbox));
        server->faults = 0;
        server->ill = false;
        return MS_OK;
    }
    if (status != MS_E_REMOTE) {
        if (!loop->stop) {
            loop->status = status;
            loop->error = *fault;
            loop->stop = true;
        }
        return status;
    }
    server->share.faults++;
    server->faults++;
    bool refused = ms_sandbox_token_refused(server->sandbox);
    ms_task_server_rest(server, refused ? REFUSED_MS : backoff_ms(server->faults));
    bool was_ill = server->ill;
    server->ill = was_ill || server->faults >= FAULTS_MAX || refused;
    server->fault = *fault;
    if (!was_ill)
        ms_log(MS_LOG_WARNING, "%s%s", fault->text,
               server->ill ? "; set aside until it answers again" : "");
    return MS_OK;
}

/* ---- surveys ---- */

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct ms_survey_task *)a)->task_id,
                  ((const struct ms_survey_task *)b)->task_id);
}

/* Each of the server's tasks as the survey shows it. What a whole survey does not show has ended,
 * or is not to be seen yet: it is looked at by itself. */
static enum ms_status take_up(struct ms_task_server *server, struct ms_error *err)
{
    struct ms_task_loop *loop = server->loop;
    const struct ms_survey *survey = &server->survey;
    enum ms_status status = MS_OK;
    /* From the end: a task that leaves is replaced by the last one. */
    for (size_t i = server->active_count; i-- > 0 && status == MS_OK;) {
        struct ms_task *task = &loop->tasks[server->active[i]];
        struct ms_survey_task wanted;
        if (task->phase < MS_PHASE_PENDING || task->phase > MS_PHASE_COMPLETED)
            continue;
        memcpy(wanted.task_id, task->task_id, sizeof wanted.task_id);
        const struct ms_survey_task *found =
            survey->count ? bsearch(&wanted, survey->tasks, survey->count, sizeof wanted, by_id)
                          : NULL;
        if (found)
            status = ms_task_seen(loop, server, task, found->status, err);
        else if (survey->whole && task->unknown_ms == 0)
            task->next_ms = ms_clock_mono_ms();
    }
    return status;
}

static enum ms_status run_survey(struct ms_task_server *server, struct ms_error *err)
{
    struct ms_task_loop *loop = server->loop;
    char owner[32];
    int64_t wait_ms;
    struct ms_error fault = {.status = MS_OK};
    size_t expected = server->active_count + 64;
    (void)snprintf(owner, sizeof owner, "malseq-%.16s", loop->settings_hex);
    pthread_mutex_unlock(&loop->lock);
    enum ms_status status =
        ms_sandbox_survey(server->sandbox, owner, expected, &server->survey, &wait_ms, &fault);
    if (status == MS_OK && server->survey.count)
        qsort(server->survey.tasks, server->survey.count, sizeof *server->survey.tasks, by_id);
    pthread_mutex_lock(&loop->lock);
    server->share.requests += 3;
    server->survey_next_ms = ms_clock_mono_ms() + loop->options->poll_ms;
    if (status == MS_E_REMOTE) {
        /* It is asked one by one meanwhile, which shows whether it is there at all. */
        server->survey_next_ms += 2 * loop->options->poll_ms;
        if (++server->survey_faults == SURVEY_FAULTS_MAX)
            ms_log(MS_LOG_INFO, "%s; its tasks are looked at one by one", fault.text);
        return MS_OK;
    }
    if (status != MS_OK) {
        if (err)
            *err = fault;
        return status;
    }
    if (wait_ms > 0) {
        ms_task_server_rest(server, wait_ms);
        return MS_OK;
    }
    server->survey_faults = 0;
    server->surveys_whole = server->survey.whole;
    status = ms_corpus_begin(loop->corpus, err);
    if (status == MS_OK)
        status = take_up(server, err);
    if (status == MS_OK)
        return ms_corpus_commit(loop->corpus, err);
    ms_corpus_rollback(loop->corpus);
    return status;
}

/* ---- submitting ---- */

/* Asks how much the server has to do, its other users included. */
static enum ms_status ask_load(struct ms_task_server *server, struct ms_error *err)
{
    struct ms_task_loop *loop = server->loop;
    struct ms_sandbox_load load;
    int64_t wait_ms;
    pthread_mutex_unlock(&loop->lock);
    enum ms_status status = ms_sandbox_load(server->sandbox, &load, &wait_ms, err);
    pthread_mutex_lock(&loop->lock);
    server->share.requests++;
    server->load_next_ms = ms_clock_mono_ms() + loop->options->poll_ms;
    if (status != MS_OK)
        return status;
    if (wait_ms > 0) {
        ms_task_server_rest(server, wait_ms);
        return MS_OK;
    }
    server->no_load = !load.known;
    server->pending = load.known ? load.pending : 0;
    return MS_OK;
}

/* Is there more to do than to find out what became of files that nobody took? */
static bool is_busy(const struct ms_task_loop *loop)
{
    for (size_t i = 0; i < loop->options->server_count; i++) {
        const struct ms_task_server *server = &loop->servers[i];
        if (ms_task_server_takes(server))
            return true;
        for (size_t k = 0; k < server->active_count && ms_task_server_is_well(server); k++)
            if (loop->tasks[server->active[k]].phase != MS_PHASE_SUBMITTING)
                return true;
    }
    return false;
}

/* A server that takes nothing gets another file as long as the run goes on for other reasons. */
static bool wants_more(const struct ms_task_server *server)
{
    return server->loop->queue_count > 0 && server->active_count < server->in_flight &&
           server->submit_after_ms <= ms_clock_mono_ms() &&
           (ms_task_server_takes(server) || is_busy(server->loop));
}

static bool is_held(const struct ms_task_server *server)
{
    int64_t most = server->loop->options->max_pending;
    return !server->no_load && most > 0 && server->pending >= most;
}

/* ---- the loop ---- */

/* A task in flight that is due, taken in turn. */
static struct ms_task *next_due(struct ms_task_server *server, int64_t now)
{
    for (size_t i = 0; i < server->active_count; i++) {
        server->cursor = (server->cursor + 1) % server->active_count;
        struct ms_task *task = &server->loop->tasks[server->active[server->cursor]];
        if (task->next_ms <= now)
            return task;
    }
    return NULL;
}

/* Does one thing; *idle when there was none to do. */
static enum ms_status do_one(struct ms_task_server *server, bool *idle, struct ms_error *err)
{
    struct ms_task_loop *loop = server->loop;
    int64_t now = ms_clock_mono_ms();
    *idle = false;
    if (server->rest_until_ms > now) {
        *idle = true;
        return MS_OK;
    }
    if (wants_more(server)) {
        bool ask = loop->options->max_pending > 0 && !server->no_load;
        if (ask && server->load_next_ms <= now)
            return ask_load(server, err);
        if (!is_held(server)) {
            struct ms_task *task = ms_task_take(loop, server);
            if (task)
                return ms_task_submit(loop, server, task, err);
        }
    }
    if (surveys(server) && server->survey_next_ms <= now)
        return run_survey(server, err);
    struct ms_task *task = next_due(server, now);
    if (task)
        return ms_task_step(loop, server, task, err);
    *idle = true;
    return MS_OK;
}

/* Until something may be due. */
static int64_t idle_ms(const struct ms_task_server *server)
{
    int64_t now = ms_clock_mono_ms(), due = now + SLICE_MS;
    if (server->rest_until_ms > now)
        return SLICE_MS;
    for (size_t i = 0; i < server->active_count; i++) {
        int64_t at = server->loop->tasks[server->active[i]].next_ms;
        due = at < due ? at : due;
    }
    if (surveys(server) && server->survey_next_ms < due)
        due = server->survey_next_ms;
    return due > now ? due - now : 1;
}

void *ms_task_server_run(void *ctx)
{
    struct ms_task_server *server = ctx;
    struct ms_task_loop *loop = server->loop;
    pthread_mutex_lock(&loop->lock);
    while (!loop->stop) {
        bool idle;
        struct ms_error fault = {.status = MS_OK};
        enum ms_status status = do_one(server, &idle, &fault);
        if (!idle && note(server, status, &fault) != MS_OK)
            break;
        int64_t wait_ms = idle ? idle_ms(server) : 0;
        pthread_mutex_unlock(&loop->lock);
        if (wait_ms > 0)
            ms_clock_sleep_ms(wait_ms);
        pthread_mutex_lock(&loop->lock);
    }
    pthread_mutex_unlock(&loop->lock);
    return NULL;
}

/* A run over all servers: threads begun and ended, progress, and how it ends. */
#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/stop.h"
#include "extract/task_server.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    TICK_MS = 200,
    REFUSING_MS = 3600000, /* nobody can say when a server is mended that takes no file */
};

/* Threads whose signals go to the main thread, which remembers them. */
static enum ms_status start_threads(struct ms_task_loop *loop, struct ms_error *err)
{
    sigset_t all, before;
    int errnum = 0;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 0; i < loop->options->server_count && errnum == 0; i++) {
        struct ms_task_server *server = &loop->servers[i];
        errnum = pthread_create(&server->thread, NULL, ms_task_server_run, server);
        server->started = errnum == 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return errnum ? ms_error_set_errno(err, MS_E_IO, errnum, "cannot start a thread") : MS_OK;
}

static void stop_threads(struct ms_task_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->stop = true;
    pthread_mutex_unlock(&loop->lock);
    for (size_t i = 0; i < loop->options->server_count; i++)
        if (loop->servers[i].started)
            (void)pthread_join(loop->servers[i].thread, NULL);
}

/* Is a server that is well at work, or could it be? What one did not take has to show itself there,
 * or not, before the run ends. */
static bool goes_on(const struct ms_task_loop *loop)
{
    for (size_t i = 0; i < loop->options->server_count; i++) {
        const struct ms_task_server *server = &loop->servers[i];
        if ((loop->queue_count > 0 && ms_task_server_takes(server)) ||
            (server->active_count > 0 && ms_task_server_is_well(server)))
            return true;
    }
    return false;
}

static void show(const struct ms_task_loop *loop)
{
    size_t in_flight = 0, running = 0, held = 0;
    for (size_t i = 0; i < loop->options->server_count; i++) {
        const struct ms_task_server *server = &loop->servers[i];
        in_flight += server->active_count;
        held += !ms_task_server_takes(server);
        for (size_t k = 0; k < server->active_count; k++)
            running += loop->tasks[server->active[k]].phase == MS_PHASE_RUNNING;
    }
    char ill[48] = "";
    if (held)
        (void)snprintf(ill, sizeof ill, ", %zu server%s set aside", held, held == 1 ? "" : "s");
    ms_progress_note("%zu queued, %zu in flight, %zu running%s", loop->queue_count, in_flight,
                     running, ill);
    ms_progress_update(loop->counts->ok + loop->counts->ended);
}

static void wait_for_end(struct ms_task_loop *loop)
{
    for (;;) {
        pthread_mutex_lock(&loop->lock);
        bool over = loop->stop || loop->undone == 0 || !goes_on(loop);
        show(loop);
        pthread_mutex_unlock(&loop->lock);
        if (over || ms_stop_signal())
            break;
        ms_clock_sleep_ms(TICK_MS);
    }
    if (ms_stop_signal())
        ms_log(MS_LOG_WARNING,
               "%s: the requests under way are finished; another one ends the run at once",
               ms_stop_name());
}

/* What is left, and why. */
static enum ms_status tell_left(const struct ms_task_loop *loop, struct ms_error *err)
{
    size_t in_flight = 0;
    int64_t later_ms = INT64_MAX, now = ms_clock_mono_ms();
    const struct ms_error *fault = NULL;
    const struct ms_task_server *refusing = NULL;
    for (size_t i = 0; i < loop->options->server_count; i++) {
        const struct ms_task_server *server = &loop->servers[i];
        in_flight += server->active_count;
        if (server->fault.status == MS_E_LATER && server->rest_until_ms - now < later_ms &&
            !server->ill)
            later_ms = server->rest_until_ms - now;
        if (ms_task_server_is_well(server) && !ms_task_server_takes(server))
            refusing = server;
        if (server->fault.status == MS_E_REMOTE || !fault)
            fault = &server->fault;
    }
    if (loop->undone == 0)
        return MS_OK;
    if (ms_stop_signal()) {
        ms_log(MS_LOG_WARNING,
               "%zu samples are queued and %zu in flight; the next run takes them up",
               loop->queue_count, in_flight);
        return MS_OK;
    }
    if (later_ms != INT64_MAX) {
        (void)ms_error_set(err, MS_E_LATER, "the servers ask to wait; %zu samples are left",
                           loop->undone);
        if (err)
            err->resume_at_ms = ms_clock_wall_ms() + (later_ms > 0 ? later_ms : 0);
        return MS_E_LATER;
    }
    if (refusing && loop->queue_count > 0) {
        (void)ms_error_set(err, MS_E_LATER,
                           "%s takes no file (%s); %zu samples are left for a later run",
                           ms_sandbox_url(refusing->sandbox), refusing->refusal, loop->undone);
        if (err)
            err->resume_at_ms = ms_clock_wall_ms() + REFUSING_MS;
        return MS_E_LATER;
    }
    if (loop->queue_count > 0)
        return ms_error_set(err, MS_E_REMOTE, "no sandbox is left: %s", fault->text);
    return ms_error_set(err, MS_E_REMOTE,
                        "%zu task%s in flight at servers that were set aside; the next run takes "
                        "%s up",
                        in_flight, in_flight == 1 ? " stays" : "s stay",
                        in_flight == 1 ? "it" : "them");
}

static enum ms_status run_all(struct ms_task_loop *loop, struct ms_error *err)
{
    int64_t begun_ms = ms_clock_mono_ms();
    ms_progress_begin("detonating", loop->undone, "samples");
    enum ms_status status = start_threads(loop, err);
    if (status == MS_OK)
        wait_for_end(loop);
    stop_threads(loop);
    ms_progress_end();
    loop->counts->left = loop->undone;
    loop->counts->took_ms = ms_clock_mono_ms() - begun_ms;
    for (size_t i = 0; loop->counts->shares && i < loop->options->server_count; i++)
        loop->counts->shares[i] = loop->servers[i].share;
    if (status == MS_OK && loop->status != MS_OK) {
        if (err)
            *err = loop->error;
        return loop->status;
    }
    if (status == MS_OK)
        status = ms_task_loop_tidy(loop, err);
    return status == MS_OK ? tell_left(loop, err) : status;
}

enum ms_status ms_tasks_run(struct ms_corpus *corpus, const struct ms_task_options *options,
                            struct ms_task_counts *counts, struct ms_error *err)
{
    struct ms_task_loop loop;
    struct ms_task_share *shares = counts->shares;
    *counts = (struct ms_task_counts){.shares = shares};
    enum ms_status status = ms_task_loop_init(&loop, corpus, options, counts, err);
    if (status == MS_OK)
        status = run_all(&loop, err);
    ms_task_loop_release(&loop);
    return status;
}

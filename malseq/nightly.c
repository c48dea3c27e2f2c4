/* malseq nightly: the rebuild that cron runs. The order of a night, its lock and its end; the parts
 * are in nightly_*.c. */
#define _GNU_SOURCE /* F_OFD_SETLK */
#include "malseq/nightly.h"
#include "malseq/malseq.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/step.h"
#include "base/stop.h"
#include "store/night.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4400, HISTORY_NIGHTS = 400, PAGE_MAX_BYTES = 64 << 20 };
static const uint64_t BUDGET_MS = 8 * 3600000ULL, GRACE_MS = 120000, WAIT_MS = 60000;
static const uint64_t KEEP_NIGHTS = 400, KEEP_LOGS = 14;

/* ---- the lock ---- */

/* Who holds it: the process that the kernel names, and what it wrote into the file. */
static enum ms_status say_holder(int fd, const char *corpus, struct ms_error *err)
{
    char text[64] = "", since[32] = "", shown[256];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    char *end = text;
    long pid = strtol(text, &end, 10);
    long long began = strtoll(end, NULL, 10);
    if (began > 0)
        ms_clock_format(began, since);
    return ms_error_set(err, MS_E_LATER,
                        "another nightly run holds the corpus '%s'%s%.0ld%s%s; try again when it "
                        "is done",
                        ms_escape_text(corpus, shown, sizeof shown), pid > 0 ? ": process " : "",
                        pid > 0 ? pid : 0, *since ? " since " : "", since);
}

/* A lock of the open file (not of the process), gone with it however it ends. */
static enum ms_status take_lock(const char *corpus, int *out, struct ms_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[PATH_BYTES], text[64], shown[256];
    (void)snprintf(path, sizeof path, "%s/nightly.lock", corpus);
    enum ms_status status = ms_file_make_dirs(corpus, err);
    if (status != MS_OK)
        return status;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot open '%s'",
                                  ms_escape_text(path, shown, sizeof shown));
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        status = errno == EAGAIN || errno == EACCES
                     ? say_holder(fd, corpus, err)
                     : ms_error_set_errno(err, MS_E_IO, errno, "cannot lock '%s'",
                                          ms_escape_text(path, shown, sizeof shown));
        (void)close(fd);
        return status;
    }
    int n =
        snprintf(text, sizeof text, "%ld %lld\n", (long)getpid(), (long long)ms_clock_wall_ms());
    /* Only for the message above: a full disk does not keep a night from beginning. */
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
        ms_log(MS_LOG_WARNING, "cannot write '%s': %s", ms_escape_text(path, shown, sizeof shown),
               strerror(errno));
    *out = fd;
    ms_step("nightly.locked");
    return MS_OK;
}

/* ---- what is asked for ---- */

/* The command line goes before the file, and the file before the environment. */
static const char *choose_corpus(const struct ms_cli *cli,
                                 const struct malseq_nightly_config *config)
{
    for (int i = 1; i < cli->argc; i++)
        if (strcmp(cli->argv[i], "--corpus") == 0 || strncmp(cli->argv[i], "--corpus=", 9) == 0)
            return cli->common.corpus;
    return malseq_config_text(config, "corpus", "dir", cli->common.corpus);
}

static enum ms_status read_stages(const struct malseq_nightly *options, unsigned *wanted,
                                  struct ms_error *err)
{
    char shown[64];
    *wanted = options->stages.count ? 0 : ~0u;
    for (size_t i = 0; i < options->stages.count; i++) {
        enum malseq_stage stage;
        if (!malseq_stage_parse(options->stages.items[i], &stage))
            return ms_error_set(err, MS_E_USAGE,
                                "--stage %s: must be collect, label, extract, train or audit",
                                ms_escape_text(options->stages.items[i], shown, sizeof shown));
        *wanted |= 1u << stage;
    }
    return MS_OK;
}

static enum ms_status read_config(struct ms_cli *cli, struct malseq_nightly_config *config,
                                  struct ms_error *err)
{
    const struct malseq_nightly *options = cli->options;
    const char *path = options->config;
    char beside[PATH_BYTES], shown[256];
    if (!path) {
        (void)snprintf(beside, sizeof beside, "%s/nightly.conf", cli->common.corpus);
        if (access(beside, F_OK) != 0)
            return ms_error_set(err, MS_E_USAGE,
                                "there is no '%s': copy share/doc/malseq/examples/nightly.conf "
                                "there, or name a file with --config",
                                ms_escape_text(beside, shown, sizeof shown));
        path = ms_arena_copy(&cli->memory, beside, strlen(beside));
    }
    return path ? malseq_nightly_config_read(path, &cli->memory, config, err)
                : ms_error_set(err, MS_E_NOMEM, "out of memory");
}

static void show_plan(const struct malseq_night *night)
{
    const struct malseq_plan *plan = night->plan;
    uint64_t sum = 0;
    for (int s = 0; s < MALSEQ_STAGES; s++)
        sum += plan->off[s] ? 0 : plan->share[s];
    for (size_t i = 0; i < plan->count; i++) {
        const struct malseq_step *step = &plan->steps[i];
        struct ms_buf text, safe;
        double share = sum ? (double)plan->share[step->stage] / (double)sum : 1;
        ms_buf_init(&text, 1 << 20);
        ms_buf_init(&safe, 1 << 22);
        malseq_step_show(step, &text);
        (void)ms_escape(&safe, text.data, text.len);
        printf("%-8s %5.0f min  %s%s\n", malseq_stage_name(step->stage),
               share * (double)night->budget_ms / 60000, ms_buf_text(&safe),
               step->kind == MALSEQ_STEP_TRAIN ? "   (when its dataset changed)" : "");
        ms_buf_release(&text);
        ms_buf_release(&safe);
    }
    for (int s = 0; s < MALSEQ_STAGES; s++)
        if (plan->off[s])
            printf("%-8s            off\n", malseq_stage_name((enum malseq_stage)s));
}

/* ---- the end ---- */

static enum ms_status write_text(const char *path, const struct ms_buf *text, struct ms_error *err)
{
    return ms_file_write_atomic(path, ms_buf_text(text), text->len, 0600, err);
}

/* The record, the page, and their copies where the file asks for them. */
static enum ms_status write_results(const struct malseq_night *night, const json_t *history,
                                    struct ms_error *err)
{
    char path[PATH_BYTES];
    struct ms_buf page, text;
    char *json = json_dumps(night->record, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    ms_buf_init(&page, PAGE_MAX_BYTES);
    ms_buf_init(&text, PAGE_MAX_BYTES);
    enum ms_status status = MS_OK;
    if (!json || ms_buf_append_text(&text, json) != MS_OK)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory for the night's record");
    free(json);
    if (status == MS_OK)
        status = malseq_night_page(night->record, history, &page, err);
    (void)snprintf(path, sizeof path, "%s/index.html", night->folder);
    if (status == MS_OK)
        status = write_text(path, &page, err);
    ms_step("nightly.page");
    /* Last: where this is, the night ended. */
    (void)snprintf(path, sizeof path, "%s/night.json", night->folder);
    if (status == MS_OK)
        status = write_text(path, &text, err);
    ms_step("nightly.record");
    const char *copy = malseq_config_text(night->config, "report", "html", NULL);
    if (status == MS_OK && copy)
        status = write_text(copy, &page, err);
    copy = malseq_config_text(night->config, "report", "json", NULL);
    if (status == MS_OK && copy)
        status = write_text(copy, &text, err);
    ms_buf_release(&page);
    ms_buf_release(&text);
    return status;
}

static enum ms_status print_summary(const struct malseq_night *night, bool written,
                                    struct ms_error *err)
{
    struct ms_buf text;
    if (night->cli->common.json)
        return ms_json_line(stdout, json_incref(night->record), err);
    ms_buf_init(&text, PAGE_MAX_BYTES);
    malseq_night_text(night->record, &text);
    if (written)
        (void)ms_buf_printf(&text, "\nThe page: %s/index.html\n", night->folder);
    (void)fwrite(ms_buf_text(&text), 1, text.len, stdout);
    ms_buf_release(&text);
    return MS_OK;
}

static enum ms_status sum_up(struct malseq_night *night, const json_t *history,
                             struct ms_error *err)
{
    night->ended_ms = ms_clock_wall_ms();
    night->last_run = malseq_night_newest_run(night->corpus);
    struct ms_error late = {.status = MS_OK};
    /* A corpus that cannot be read does not keep the summary from who waits for it: that is when it
     * is needed most. */
    if (malseq_census_json(night->corpus, &night->after, &late) != MS_OK) {
        ms_log(MS_LOG_WARNING, "the corpus cannot be counted: %s", late.text);
        night->after = NULL;
    }
    enum ms_status status = malseq_night_record(night, history, err);
    enum ms_status written = status == MS_OK ? write_results(night, history, err) : status;
    if (status == MS_OK) /* a full disk does not keep the summary from who waits for it */
        status = print_summary(night, written == MS_OK, err);
    if (status == MS_OK && written == MS_OK)
        written = malseq_nights_prune(
            night->corpus,
            malseq_config_number(night->config, "report", "keep-nights", KEEP_NIGHTS),
            malseq_config_number(night->config, "report", "keep-logs", KEEP_LOGS), err);
    return status != MS_OK ? status : written;
}

/* ---- the night ---- */

static void run_steps(struct malseq_night *night)
{
    for (size_t i = 0; i < night->plan->count; i++) {
        struct malseq_step *step = &night->plan->steps[i];
        struct ms_error err = {.status = MS_OK};
        ms_log(MS_LOG_INFO, "%s", step->name);
        enum ms_status status = malseq_step_run(night, step, i + 1, &err);
        if (status != MS_OK) { /* the machine gives no process, or no room for a log */
            step->state = MALSEQ_STEP_FAILED;
            step->code = ms_status_exit_code(status);
            (void)snprintf(step->why, sizeof step->why, "%.300s", err.text);
        }
        ms_log(step->state == MALSEQ_STEP_FAILED ? MS_LOG_WARNING : MS_LOG_INFO,
               "%s: %s after %.1f s%s%s", step->name, malseq_step_state_name(step->state),
               (double)step->ran_ms / 1000, *step->why ? ": " : "", step->why);
    }
}

static enum ms_status carry_out(struct malseq_night *night, struct ms_error *err)
{
    struct ms_error late;
    json_t *history = NULL;
    night->started_ms = ms_clock_wall_ms();
    night->started_mono_ms = ms_clock_mono_ms();
    night->end_mono_ms = night->started_mono_ms + night->budget_ms;
    /* Neither what is noted here nor the logs are worth a night: a full disk costs them alone. */
    enum ms_status status = malseq_nights_begin(night->corpus, night, err);
    ms_step("nightly.begun");
    /* A corpus that cannot be read is the first step's to report: nothing came from it, then. */
    if (status == MS_OK && malseq_census_json(night->corpus, &night->before, &late) != MS_OK)
        night->before = NULL;
    if (status == MS_OK && malseq_night_note_begin(night, &late) != MS_OK)
        ms_log(MS_LOG_WARNING, "what there was before is not noted: %s", late.text);
    night->first_run = malseq_night_newest_run(night->corpus);
    if (status == MS_OK)
        status = malseq_nights_read(night->corpus, HISTORY_NIGHTS, &history, err);
    if (json_array_size(history))
        night->last = json_array_get(history, json_array_size(history) - 1);
    if (status == MS_OK)
        run_steps(night);
    ms_step("nightly.summary");
    enum ms_status summed = status == MS_OK ? sum_up(night, history, err) : status;
    json_decref(history);
    json_decref(night->before);
    json_decref(night->after);
    json_decref(night->record);
    if (summed != MS_OK)
        return summed;
    return malseq_night_verdict(night, err);
}

enum ms_status malseq_nightly(struct ms_cli *cli, struct ms_error *err)
{
    struct malseq_nightly_config config;
    unsigned wanted = 0;
    int lock = -1;
    struct malseq_plan *plan = ms_arena_alloc(&cli->memory, sizeof *plan);
    enum ms_status status = plan ? read_stages(cli->options, &wanted, err)
                                 : ms_error_set(err, MS_E_NOMEM, "out of memory");
    if (status == MS_OK)
        status = read_config(cli, &config, err);
    if (status != MS_OK)
        return status;
    struct malseq_night night = {
        .cli = cli, .config = &config, .plan = plan, .stage = -1, .echo = cli->common.verbose > 0};
    night.corpus = choose_corpus(cli, &config);
    night.budget_ms = (int64_t)malseq_config_number(&config, "time", "budget", BUDGET_MS);
    night.grace_ms = (int64_t)malseq_config_number(&config, "time", "grace", GRACE_MS);
    night.wait_ms = (int64_t)malseq_config_number(&config, "time", "wait", WAIT_MS);
    status = malseq_plan_make(&config, night.corpus, &cli->common, wanted, plan, err);
    if (status == MS_OK && cli->common.dry_run) {
        show_plan(&night);
    } else if (status == MS_OK) {
        ms_stop_watch();
        status = take_lock(night.corpus, &lock, err);
        if (status == MS_OK)
            status = carry_out(&night, err);
    }
    malseq_plan_release(plan);
    if (lock >= 0)
        (void)close(lock);
    return status;
}

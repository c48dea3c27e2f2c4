/* malseq doctor: a line for each thing a night depends on. Prints; most checks are in
 * doctor_config, doctor_corpus, doctor_services and doctor_sandboxes. Mends nothing. */
#include "malseq/doctor.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/worker.h"
#include "store/corpus.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum { CHECK_COLUMNS = 12 };

#define MINUTE_MS ((int64_t)60000)

static const char *const state_names[] = {"ok", "warning", "fault"};

enum ms_status malseq_doctor_say(struct doctor *self, const char *check, enum doctor_state state,
                                 const char *todo, struct ms_error *err, const char *fmt, ...)
{
    char text[640], shown[900];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    self->warnings += state == DOCTOR_WARNING;
    self->faults += state == DOCTOR_FAULT;
    if (self->cli->common.json)
        return ms_json_line(stdout,
                            json_pack("{s:s,s:s,s:o,s:o}", "check", check, "state",
                                      state_names[state], "text", ms_json_text(text), "todo",
                                      ms_json_text(todo)),
                            err);
    printf("%-*s %-8s %s\n", CHECK_COLUMNS, check, state_names[state],
           ms_escape_text(text, shown, sizeof shown));
    if (todo)
        printf("%-*s %-8s -> %s\n", CHECK_COLUMNS, "", "",
               ms_escape_text(todo, shown, sizeof shown));
    return MS_OK;
}

/* ---- versions ---- */

static enum ms_status check_programs(struct doctor *self, struct ms_error *err)
{
    static const char *const tools[] = {"collect", "label", "extract", "train", "detect"};
    struct ms_error why;
    struct ms_buf path;
    ms_buf_init(&path, 8192);
    enum ms_status status = malseq_doctor_say(
        self, "programs", DOCTOR_OK, NULL, err, "malseq %s; SQLite %s, %s, zstd %s, jansson %s",
        MS_VERSION, ms_corpus_engine(), OpenSSL_version(OPENSSL_VERSION), ZSTD_versionString(),
        jansson_version_str());
    for (size_t i = 0; i < sizeof tools / sizeof *tools && status == MS_OK; i++)
        if (malseq_find_tool(tools[i], &path, &why) != MS_OK)
            status = malseq_doctor_say(self, "programs", DOCTOR_FAULT, "install malseq whole", err,
                                       "%s", why.text);
    ms_buf_release(&path);
    return status;
}

/* ---- confinement ---- */

/* Tries what a reader that was taken over would try first. */
static enum ms_status try_open(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                               struct ms_error *err)
{
    (void)input_fd;
    (void)arg;
    int could = access("/etc/passwd", R_OK) == 0;
    return ms_worker_emit(out, 1, &could, sizeof could) == MS_OK
               ? MS_OK
               : ms_error_set(err, MS_E_IO, "cannot answer");
}

static const struct ms_worker_kind probe = {.name = "doctor", .job = try_open};

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    int *could = ctx;
    (void)type;
    (void)err;
    if (bytes.len == sizeof *could)
        memcpy(could, bytes.data, sizeof *could);
    return MS_OK;
}

enum ms_status malseq_doctor_worker(struct doctor *self, struct ms_error *err)
{
    static const char todo[] = "let seccomp filters and no_new_privs be set (container settings, "
                               "kernel); with --no-confine untrusted files are read unconfined";
    const struct ms_worker_options options = {&probe, 1, false};
    struct ms_worker *worker = NULL;
    struct ms_worker_result result = {.end = MS_WORKER_CRASHED};
    struct ms_error why = {.text = ""};
    int could = -1;
    enum ms_status status = ms_worker_start(&options, &worker, &why);
    if (status == MS_OK)
        status = ms_worker_run(worker, "doctor", -1, ms_span_of("", 0), NULL, on_frame, &could,
                               &result, &why);
    bool confined = worker && ms_worker_confined(worker);
    ms_worker_stop(worker);
    if (status != MS_OK)
        return malseq_doctor_say(self, "confinement", DOCTOR_FAULT, todo, err, "%s", why.text);
    /* Killed by the filter is as good as refused. */
    if (confined && could != 1)
        return malseq_doctor_say(self, "confinement", DOCTOR_OK, NULL, err,
                                 "untrusted files are read without network, file system and exec");
    return malseq_doctor_say(self, "confinement", DOCTOR_FAULT, todo, err,
                             "the reader of untrusted files is not confined");
}

/* ---- clock ---- */

static enum ms_status check_clock(struct doctor *self, struct ms_error *err)
{
    static const char todo[] =
        "set the clock and keep it by NTP: quotas, deadlines and certificates "
        "go by it";
    char now[32];
    int64_t wall_ms = ms_clock_wall_ms();
    ms_clock_format(wall_ms, now);
    if (wall_ms < ms_day_parse("2026-01-01") || wall_ms > ms_day_parse("2100-01-01"))
        return malseq_doctor_say(self, "clock", DOCTOR_FAULT, todo, err, "it says %s", now);
    if (!self->has_drift)
        return malseq_doctor_say(self, "clock", DOCTOR_OK, NULL, err, "%s (nobody was asked)", now);
    int64_t off = self->drift_ms < 0 ? -self->drift_ms : self->drift_ms;
    enum doctor_state state = off > 10 * MINUTE_MS ? DOCTOR_FAULT
                              : off > MINUTE_MS    ? DOCTOR_WARNING
                                                   : DOCTOR_OK;
    return malseq_doctor_say(self, "clock", state, state == DOCTOR_OK ? NULL : todo, err,
                             "%s, %lld s %s than a server's", now, (long long)(off / 1000),
                             self->drift_ms < 0 ? "less" : "more");
}

/* ---- the verb ---- */

enum ms_status malseq_doctor(struct ms_cli *cli, struct ms_error *err)
{
    struct malseq_nightly_config config;
    struct doctor self = {.cli = cli, .options = cli->options, .corpus = cli->common.corpus};
    enum ms_status status = malseq_doctor_worker(&self, err);
    if (status == MS_OK)
        status = check_programs(&self, err);
    if (status == MS_OK)
        status = malseq_doctor_config(&self, &config, err);
    bool named = false;
    for (int i = 1; i < cli->argc; i++)
        named = named || strncmp(cli->argv[i], "--corpus", 8) == 0;
    if (!named)
        self.corpus = malseq_doctor_text(&self, NULL, "corpus", "dir", self.corpus);
    if (status == MS_OK)
        status = malseq_doctor_corpus(&self, err);
    if (status == MS_OK)
        status = malseq_doctor_services(&self, err);
    if (status == MS_OK)
        status = check_clock(&self, err);
    if (status == MS_OK && !cli->common.json)
        printf("%u faults, %u warnings\n", self.faults, self.warnings);
    return status == MS_OK && self.faults ? MS_REJECT : status;
}

/* Fuzz target: sandbox reports, from plain bytes to calls. What is given out is what a plain
 * reading of the whole document gives (plain_reader.h), and the counts agree with the events. */
#include "extract/report/read.h"
#include "json_mutator.h"
#include "plain_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const char *const json_mutator_names[] = {
    "info", "target", "behavior", "CAPE", "processes", "calls", "file", "version", "package",
    "sha256", "sha1", "md5", "name", "apistats", "generic", "encryptedbuffers", "pid", "process_id",
    "ppid", "parent_id", "process_name", "first_seen", "track", "api", "category", "time",
    "timestamp", "tid", "thread_id", "repeated", "arguments", "caller", "parentcaller",
    /* the emulator */
    "entry_points", "emu_version", "report_version", "emulation_total_runtime", "path", "filepath",
    "apis", "events", "event", "api_name", "ep_type", "start_addr", "pos", "ret_val",
    /* logs */
    "Plugin", "Event", "Method", "PID", "PPID", "TID", "TimeStamp", "ProcessName", "Module", NULL};

struct input {
    const uint8_t *data;
    size_t left;
};

/* Small odd pieces: tokens must survive any boundary. */
static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct input *self = ctx;
    size_t some = self->left < 7 ? self->left : 7;
    (void)err;
    *n = some < cap ? some : cap;
    memcpy(buf, self->data, *n);
    self->data += *n;
    self->left -= *n;
    return MS_OK;
}

struct seen {
    struct plain *out;
    struct plain_process *process;
    bool inside;
};

static enum ms_status on_process(void *ctx, const struct ms_process_info *process,
                                 struct ms_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    plain_require(process->name.len <= MS_LIMIT_NAME_BYTES);
    if (!seen->inside)
        seen->process = plain_process(seen->out);
    seen->inside = true;
    seen->process->pid = process->pid;
    seen->process->parent = process->parent_pid;
    seen->process->name = plain_digest(process->name.data, process->name.len, process->name.len);
    seen->process->first_seen = (struct plain_time){.us = process->first_seen_us};
    seen->process->tracked = process->tracked;
    return MS_OK;
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *call, struct ms_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    plain_require(seen->inside && call->api.len <= MS_LIMIT_API_NAME_BYTES &&
                  call->category.len <= MS_LIMIT_API_NAME_BYTES &&
                  call->repeated <= MS_LIMIT_REPEATED);
    const struct plain_call mine = {
        .api = plain_digest(call->api.data, call->api.len, call->api.len),
        .category = plain_digest(call->category.data, call->category.len, call->category.len),
        .space = call->space,
        .tid = call->tid,
        .repeated = call->repeated,
        .time = {.us = call->time_us}};
    plain_add(seen->out, seen->process, &mine);
    return MS_OK;
}

static enum ms_status on_process_end(void *ctx, struct ms_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    plain_require(seen->inside);
    seen->inside = false;
    return MS_OK;
}

static enum ms_status on_info(void *ctx, const struct ms_report_info *info, struct ms_error *err)
{
    struct seen *seen = ctx;
    const struct ms_span texts[PLAIN_FIELDS] = {
        info->sandbox,    info->version,     info->target_sha256, info->target_sha1,
        info->target_md5, info->target_name, info->package};
    (void)err;
    for (size_t i = 0; i < PLAIN_FIELDS; i++) {
        plain_require(texts[i].len <= PLAIN_FIELD_BYTES);
        seen->out->fields[i].len = texts[i].len;
        if (texts[i].len)
            memcpy(seen->out->fields[i].bytes, texts[i].data, texts[i].len);
    }
    return MS_OK;
}

/* The bad lines and the system calls of a log are told in words. */
static void check_remark(const char *remark, const struct plain *due)
{
    uint64_t bad = 0;
    if (due->bad_lines)
        plain_require(sscanf(remark, "%" SCNu64 " of ", &bad) == 1 && bad == due->bad_lines);
    plain_require((remark[0] != '\0') == (due->bad_lines || due->system_calls));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct plain got, due;
    struct input input = {data, size};
    struct seen seen = {.out = &got};
    const struct ms_trace_sink sink = {&seen, on_process, on_call, on_process_end, on_info, NULL};
    struct ms_report_result result;
    struct ms_error err;
    bool is_report;
    got.process_count = got.call_count = got.expanded = 0;
    enum ms_status status =
        ms_report_read(give, &input, MS_SCAN_CHECK_STRUCTURE, &sink, &result, &err);
    if (status == MS_OK) {
        plain_require(result.calls == got.call_count && result.calls_expanded == got.expanded);
        plain_require(result.processes == got.process_count && result.real_calls <= result.calls);
        plain_require(result.state != MS_REPORT_INVALID && !seen.inside);
    }
    if (!plain_read(&due, data, size, &is_report))
        return 0;
    plain_require((status == MS_OK) == is_report);
    if (status != MS_OK)
        return 0;
    plain_compare(&got, &due);
    plain_require(result.state == due.state && result.real_calls == due.real_calls);
    check_remark(result.remark, &due);
    return 0;
}

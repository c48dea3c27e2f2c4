/* Reports in archives, opened in the confined worker by base/unpack. Reading one: report_job.c. */
#include "base/limits.h"
#include "base/unpack.h"
#include "extract/report_job.h"
#include "extract/trace_frames.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct job {
    struct ms_worker_out *out;
    struct ms_span arg;
};

/* Programs and pictures are what archives of analyses have most of besides reports. */
static bool may_be_report(int fd)
{
    static const char *const others[] = {"MZ",      "\x89PNG", "\xff\xd8\xff",
                                         "\177ELF", "%PDF",    "\xd4\xc3\xb2\xa1"};
    char head[4] = {0};
    ssize_t n = pread(fd, head, sizeof head, 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (n >= (ssize_t)strlen(others[i]) && memcmp(head, others[i], strlen(others[i])) == 0)
            return false;
    return n > 0;
}

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    const struct job *job = ctx;
    (void)descend;
    if (member->is_container || member->is_dropped || !member->depth || !may_be_report(member->fd))
        return MS_OK;
    enum ms_status status =
        ms_worker_emit(job->out, MS_FRAME_MEMBER, member->chain.data, member->chain.len);
    if (status != MS_OK)
        return ms_error_set(err, status, "cannot answer");
    return ms_report_send(member->fd, job->arg, false, job->out, err);
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    const struct job *job = ctx;
    char why[MS_ERROR_TEXT_BYTES];
    struct ms_buf frame;
    (void)snprintf(why, sizeof why, "%s%s%.*s", ms_unpack_fault_name(fault), detail.len ? ": " : "",
                   (int)(detail.len < 200 ? detail.len : 200),
                   detail.len ? (const char *)detail.data : "");
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    ms_buf_append_varint(&frame, chain.len);
    ms_buf_append(&frame, chain.data, chain.len);
    ms_buf_append_text(&frame, why);
    enum ms_status status =
        frame.failed ? MS_E_NOMEM : ms_worker_emit(job->out, MS_FRAME_FAULT, frame.data, frame.len);
    ms_buf_release(&frame);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

enum ms_status ms_archive_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                              struct ms_error *err)
{
    static const char password[] = "infected";
    const struct ms_span passwords[] = {ms_span_of(password, sizeof password - 1)};
    const struct ms_unpack_limits limits = {.entries = MS_LIMIT_UNPACK_ENTRIES_MOST,
                                            .total_bytes = MS_LIMIT_IMPORT_BYTES,
                                            .entry_bytes = MS_LIMIT_UNPACK_ENTRY_BYTES_MOST};
    struct job job = {out, arg};
    const struct ms_unpack_events events = {&job, on_member, on_fault};
    return ms_unpack_walk(input_fd, passwords, 1, &limits, &events, err);
}

void ms_archive_prepare(void)
{
    ms_report_prepare();
    ms_unpack_prepare();
}

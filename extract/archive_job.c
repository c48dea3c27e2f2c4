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
    bool unproven; /* the last member was read, and is not known to be right */
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

static enum ms_status send_chain(const struct job *job, struct ms_span chain, struct ms_error *err)
{
    enum ms_status status = ms_worker_emit(job->out, MS_FRAME_MEMBER, chain.data, chain.len);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

/* What is told next is not that the member read before was right. */
static enum ms_status send_void(struct job *job, struct ms_error *err)
{
    if (!job->unproven)
        return MS_OK;
    job->unproven = false;
    enum ms_status status = ms_worker_emit(job->out, MS_FRAME_VOID, NULL, 0);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

static enum ms_status pull(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    return ms_unpack_read(ctx, buf, cap, n, err);
}

/* All reports begin with a bracket but logs whose first line is cut. Those are held. */
static bool begins_like_json(int fd)
{
    char head[64];
    ssize_t n = pread(fd, head, sizeof head, 0);
    for (ssize_t i = 0; i < n; i++)
        if (!head[i] || !strchr(" \t\r\n", head[i]))
            return head[i] == '{' || head[i] == '[';
    return false;
}

static enum ms_status on_large_member(void *ctx, const struct ms_unpack_member *member,
                                      struct ms_unpack_reading *reading, bool *taken,
                                      struct ms_error *err)
{
    struct job *job = ctx;
    *taken = begins_like_json(member->fd);
    if (!*taken)
        return MS_OK;
    enum ms_status status = send_void(job, err);
    if (status == MS_OK)
        status = send_chain(job, member->chain, err);
    if (status == MS_OK)
        status = ms_report_send_pulled(pull, reading, job->arg, job->out, err);
    job->unproven = true;
    return status;
}

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    struct job *job = ctx;
    (void)descend;
    if (member->is_streamed) {
        job->unproven = false;
        return MS_OK;
    }
    enum ms_status status = send_void(job, err);
    if (status != MS_OK || member->is_container || !member->depth || !may_be_report(member->fd))
        return status;
    status = send_chain(job, member->chain, err);
    if (status != MS_OK)
        return status;
    return ms_report_send(member->fd, job->arg, false, job->out, err);
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    struct job *job = ctx;
    char why[MS_ERROR_TEXT_BYTES];
    struct ms_buf frame;
    enum ms_status status = send_void(job, err);
    if (status != MS_OK)
        return status;
    (void)snprintf(why, sizeof why, "%s%s%.*s", ms_unpack_fault_name(fault), detail.len ? ": " : "",
                   (int)(detail.len < 200 ? detail.len : 200),
                   detail.len ? (const char *)detail.data : "");
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    ms_buf_append_varint(&frame, chain.len);
    ms_buf_append(&frame, chain.data, chain.len);
    ms_buf_append_text(&frame, why);
    status =
        frame.failed ? MS_E_NOMEM : ms_worker_emit(job->out, MS_FRAME_FAULT, frame.data, frame.len);
    ms_buf_release(&frame);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

enum ms_status ms_archive_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                              struct ms_error *err)
{
    static const char password[] = "infected";
    const struct ms_span passwords[] = {ms_span_of(password, sizeof password - 1)};
    struct job job = {.out = out, .arg = arg};
    const struct ms_unpack_streaming streaming = {&job, on_large_member};
    const struct ms_unpack_limits limits = {.entries = MS_LIMIT_UNPACK_ENTRIES_MOST,
                                            .total_bytes = MS_LIMIT_IMPORT_BYTES,
                                            .entry_bytes = MS_LIMIT_REPORT_BYTES,
                                            .undecided_bytes = MS_LIMIT_ARCHIVE_BEGINNING_BYTES,
                                            .streaming = &streaming};
    const struct ms_unpack_events events = {&job, on_member, on_fault};
    enum ms_status status = ms_unpack_walk(input_fd, passwords, 1, &limits, &events, err);
    return status == MS_OK ? send_void(&job, err) : status;
}

void ms_archive_prepare(void)
{
    ms_report_prepare();
    ms_unpack_prepare();
}

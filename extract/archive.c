/* The parent's side of an archive of reports: frames to one intake after the other. */
#include "extract/intake.h"

#include "base/limits.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct walk {
    const struct ms_ingest *ingest;
    ms_archive_visit visit;
    void *ctx;
    struct ms_intake *current; /* NULL before the first */
    struct ms_buf chain;       /* its name */
};

static enum ms_status end_current(struct walk *self, const char *why, struct ms_error *err)
{
    struct ms_intake *intake = self->current;
    self->current = NULL;
    if (!intake)
        return MS_OK;
    enum ms_status status = ms_intake_end(intake, why, err);
    intake->told_only = !intake->received.has_result;
    if (status == MS_OK)
        status = self->visit(self->ctx, ms_span_of(self->chain.data, self->chain.len), intake, err);
    ms_intake_free(intake);
    return status;
}

static enum ms_status begin(struct walk *self, struct ms_span chain, struct ms_error *err)
{
    enum ms_status status = end_current(self, "", err);
    ms_buf_clear(&self->chain);
    if (status == MS_OK && ms_buf_append(&self->chain, chain.data, chain.len) != MS_OK)
        return ms_error_set(err, MS_REJECT, "the reading process sent a malformed answer");
    if (status == MS_OK)
        status = ms_intake_new(self->ingest, &self->current, err);
    if (status == MS_OK) {
        self->current->found = true;
        self->current->named = ms_report_is_named(chain);
    }
    return status;
}

/* What could not be opened: a report_invalid about which nothing is stored. */
static enum ms_status tell_fault(struct walk *self, struct ms_span chain, const char *why,
                                 struct ms_error *err)
{
    enum ms_status status = begin(self, chain, err);
    if (status != MS_OK)
        return status;
    return end_current(self, why, err);
}

static enum ms_status take_fault(struct walk *self, struct ms_span frame, struct ms_error *err)
{
    uint64_t len;
    struct ms_span chain;
    char why[MS_ERROR_TEXT_BYTES];
    if (!ms_span_take_varint(&frame, &len) || !ms_span_take(&frame, len, &chain) || !frame.len)
        return ms_error_set(err, MS_REJECT, "the reading process sent a malformed answer");
    (void)snprintf(why, sizeof why, "%.*s", (int)(frame.len < 400 ? frame.len : 400),
                   (const char *)frame.data);
    return tell_fault(self, chain, why, err);
}

/* What came of a member is no report: its end was damaged. Nothing of it is stored yet. */
static enum ms_status drop_current(struct walk *self, struct ms_error *err)
{
    if (!self->current)
        return ms_error_set(err, MS_REJECT, "the reading process sent a malformed answer");
    ms_intake_free(self->current);
    self->current = NULL;
    return MS_OK;
}

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct walk *self = ctx;
    if (type == MS_FRAME_MEMBER)
        return begin(self, bytes, err);
    if (type == MS_FRAME_FAULT)
        return take_fault(self, bytes, err);
    if (type == MS_FRAME_VOID)
        return drop_current(self, err);
    if (!self->current || type == MS_FRAME_ARCHIVE)
        return ms_error_set(err, MS_REJECT, "the reading process sent a malformed answer");
    return ms_intake_frame(self->current, type, bytes, err);
}

enum ms_status ms_archive_read(const struct ms_ingest *ingest, int fd, ms_archive_visit visit,
                               void *ctx, struct ms_error *err)
{
    char letters[MS_INTAKE_LETTERS];
    struct walk self = {.ingest = ingest, .visit = visit, .ctx = ctx};
    struct ms_worker_limits limits = {.cpu_s = MS_LIMIT_ARCHIVE_CPU_S,
                                      .wall_ms = MS_LIMIT_ARCHIVE_WALL_MS,
                                      .output_bytes = MS_LIMIT_IMPORT_BYTES};
    struct ms_worker_result result = {.end = MS_WORKER_DONE};
    struct ms_error why = {.status = MS_OK};
    ms_buf_init(&self.chain, MS_LIMIT_FRAME_BYTES);
    struct ms_intake *model = NULL;
    enum ms_status status = ms_intake_new(ingest, &model, err);
    if (status == MS_OK && lseek(fd, 0, SEEK_SET) != 0)
        status = ms_error_set(err, MS_E_IO, "cannot read the archive again");
    if (status == MS_OK) {
        status = ms_worker_run(ingest->worker, "archive", fd, ms_intake_argument(model, letters),
                               &limits, on_frame, &self, &result, &why);
        if (status == MS_OK && (result.end != MS_WORKER_DONE || result.status != MS_OK)) {
            why = result.error;
            status = MS_REJECT;
        }
        bool broken = status == MS_REJECT;
        if (status != MS_OK && !broken && err)
            *err = why;
        if (status == MS_OK || broken)
            status = end_current(&self, broken ? why.text : "", err);
        if (status == MS_OK && broken)
            status = tell_fault(&self, ms_span_of("", 0), why.text, err);
    }
    ms_intake_free(model);
    ms_intake_free(self.current);
    ms_buf_release(&self.chain);
    return status;
}

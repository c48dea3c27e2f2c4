/* One sample's disassembly: from the vault through the worker to what is to be stored. It writes
 * nothing. */
#include "extract/opcodes_read.h"

#include "base/hash.h"
#include "store/vault.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Code of more entropy (thousandths of a bit a byte) is compressed or encrypted: programs have 5.5
 * to 6.8. Few bytes tell nothing. */
enum { PACKED_MILLI = 7200, PACKED_BYTES = 1024 };

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct ms_opcodes_read *self = ctx;
    if (type == MS_FRAME_CODE && !self->answered) {
        self->answered = true;
        return ms_opcodes_take(bytes, &self->found, err);
    }
    if (self->answered ||
        (type != MS_FRAME_API && type != MS_FRAME_TRACE && type != MS_FRAME_PROCESS))
        return ms_error_set(err, MS_REJECT, "an unexpected answer");
    return ms_trace_received_frame(&self->received, type, bytes, err);
}

/* Does what was sent agree with itself, and is it opcodes alone? */
static bool is_sound(const struct ms_opcodes_read *self)
{
    const struct ms_trace_received *received = &self->received;
    const size_t processes = self->found.opcodes ? 1 : 0;
    if (!self->answered || received->process_count != processes ||
        (self->found.state == MS_CODE_OK) != (processes == 1))
        return false;
    for (size_t i = 0; i < received->api_count; i++)
        if (received->apis[i].space != MS_API_OPCODE)
            return false;
    return !processes || received->processes[0].calls == self->found.opcodes;
}

bool ms_opcodes_packed(const struct ms_opcodes_found *found)
{
    return found->bytes >= PACKED_BYTES && found->entropy_milli >= PACKED_MILLI;
}

static void judge(struct ms_opcodes_read *self)
{
    static const char *const words[] = {"ok", "no_code", "unsupported"};
    const struct ms_opcodes_found *found = &self->found;
    self->state = words[found->state];
    self->reason[0] = '\0';
    if (found->state != MS_CODE_OK)
        (void)snprintf(self->reason, sizeof self->reason, "%s", found->why);
    else if (ms_opcodes_packed(found) || found->cut)
        (void)snprintf(self->reason, sizeof self->reason, "%s%s%s",
                       ms_opcodes_packed(found) ? "packed" : "",
                       ms_opcodes_packed(found) && found->cut ? ", " : "",
                       found->cut ? "cut: there is more code" : "");
}

static void fail(struct ms_opcodes_read *self, const char *why)
{
    self->state = "failed";
    self->found = (struct ms_opcodes_found){.state = MS_CODE_NONE};
    self->received.process_count = 0;
    (void)snprintf(self->reason, sizeof self->reason, "%s", why);
}

/* Whatever ends the worker but our own trouble is the sample's fault. */
static enum ms_status run_worker(struct ms_opcodes_read *self, struct ms_worker *worker, int fd,
                                 struct ms_error *err)
{
    struct ms_worker_result end = {.end = MS_WORKER_DONE};
    struct ms_error why = {.status = MS_OK};
    enum ms_status status = ms_worker_run(worker, MS_OPCODES_JOB, fd, ms_span_of("", 0), NULL,
                                          on_frame, self, &end, &why);
    if (status != MS_OK && status != MS_REJECT) {
        if (err)
            *err = why;
        return status;
    }
    if (status == MS_REJECT)
        fail(self, why.text);
    else if (end.end != MS_WORKER_DONE || end.status != MS_OK)
        fail(self, end.error.text);
    else if (!is_sound(self))
        fail(self, "the disassembling process sent a malformed answer");
    else
        judge(self);
    return MS_OK;
}

void ms_opcodes_read_init(struct ms_opcodes_read *self)
{
    *self = (struct ms_opcodes_read){0};
    ms_trace_received_init(&self->received);
}

void ms_opcodes_read_release(struct ms_opcodes_read *self)
{
    ms_trace_received_release(&self->received);
}

enum ms_status ms_opcodes_read(struct ms_opcodes_read *self, struct ms_corpus *corpus,
                               struct ms_worker *worker, const uint8_t sha256[32],
                               struct ms_error *err)
{
    struct ms_error why = {.status = MS_OK};
    uint64_t bytes;
    int fd = -1;
    ms_trace_received_release(&self->received);
    ms_trace_received_init(&self->received);
    ms_trace_received_keep(&self->received, corpus);
    ms_hex_encode(sha256, MS_SHA256_BYTES, self->hex);
    self->answered = false;
    self->found = (struct ms_opcodes_found){.state = MS_CODE_NONE};
    enum ms_status status = ms_vault_read_fd(corpus, MS_VAULT_SAMPLE, sha256, &fd, &bytes, &why);
    if (status == MS_REJECT || status == MS_E_STORE) {
        fail(self, why.text);
        self->state = "damaged";
        return MS_OK;
    }
    if (status != MS_OK) {
        if (err)
            *err = why;
        return status;
    }
    status = run_worker(self, worker, fd, err);
    (void)close(fd);
    return status;
}

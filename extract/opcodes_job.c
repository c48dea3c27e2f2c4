/* Disassembly in the confined worker. It stores nothing, and runs nothing of what it reads. */
#include "extract/opcodes_job.h"

#include "base/log.h"
#include "extract/opcodes/disassembly.h"
#include "extract/trace_frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { ENTROPY_MOST = 8000 };

static enum ms_status on_opcode(void *ctx, struct ms_span mnemonic, struct ms_error *err)
{
    const struct ms_trace_sink *sink = ctx;
    const struct ms_call_info call = {
        .api = mnemonic, .space = MS_API_OPCODE, .tid = MS_TID_NONE, .time_us = MS_TIME_NONE};
    return sink->call(sink->ctx, &call, err);
}

static enum ms_status send_found(const struct ms_opcodes_found *found, struct ms_worker_out *out,
                                 struct ms_error *err)
{
    struct ms_buf frame;
    const uint64_t numbers[] = {found->opcodes, found->bytes, found->unread, found->followed,
                                found->entropy_milli};
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    (void)ms_buf_append_byte(&frame, (uint8_t)found->state);
    (void)ms_buf_append_byte(&frame, found->cut);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)ms_buf_append_varint(&frame, numbers[i]);
    (void)ms_buf_append(&frame, found->why, strlen(found->why));
    enum ms_status status =
        frame.failed ? MS_E_NOMEM : ms_worker_emit(out, MS_FRAME_CODE, frame.data, frame.len);
    ms_buf_release(&frame);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

enum ms_status ms_opcodes_take(struct ms_span frame, struct ms_opcodes_found *out,
                               struct ms_error *err)
{
    uint8_t state, cut;
    uint64_t entropy;
    *out = (struct ms_opcodes_found){.state = MS_CODE_NONE};
    if (!ms_span_take_u8(&frame, &state) || state > MS_CODE_UNSUPPORTED ||
        !ms_span_take_u8(&frame, &cut) || cut > 1 || !ms_span_take_varint(&frame, &out->opcodes) ||
        !ms_span_take_varint(&frame, &out->bytes) || !ms_span_take_varint(&frame, &out->unread) ||
        !ms_span_take_varint(&frame, &out->followed) || !ms_span_take_varint(&frame, &entropy) ||
        entropy > ENTROPY_MOST || frame.len >= sizeof out->why ||
        out->bytes > MS_LIMIT_CODE_BYTES || out->opcodes > out->bytes || out->unread > out->bytes ||
        out->followed > out->opcodes)
        return ms_error_set(err, MS_REJECT, "the disassembling process sent a malformed answer");
    out->state = (enum ms_code_state)state;
    out->cut = cut;
    out->entropy_milli = (uint32_t)entropy;
    (void)ms_escape_bytes(frame.data, frame.len, out->why, sizeof out->why);
    return MS_OK;
}

static enum ms_status disassemble(struct ms_span file, const struct ms_code *code,
                                  struct ms_opcodes_found *found, struct ms_worker_out *out,
                                  struct ms_error *err)
{
    const struct ms_process_info process = {.first_seen_us = MS_TIME_NONE, .tracked = true};
    struct ms_trace_sender *sender = NULL;
    struct ms_disassembly made;
    enum ms_status status = ms_trace_sender_new(out, &sender, err);
    if (status != MS_OK)
        return status;
    struct ms_trace_sink sink = ms_trace_sender_sink(sender);
    status = sink.process(sink.ctx, &process, err);
    if (status == MS_OK)
        status = ms_disassemble(file, code, on_opcode, &sink, &made, err);
    if (status == MS_OK && made.opcodes)
        status = sink.process_end(sink.ctx, err);
    ms_trace_sender_free(sender);
    if (status != MS_OK)
        return status;
    found->opcodes = made.opcodes;
    found->unread = made.unread;
    found->followed = made.followed;
    found->entropy_milli = made.entropy_milli;
    if (!made.opcodes) {
        found->state = MS_CODE_NONE;
        (void)snprintf(found->why, sizeof found->why, "no instruction in %zu bytes of code",
                       code->bytes);
    }
    return MS_OK;
}

enum ms_status ms_opcodes_send(struct ms_span file, struct ms_worker_out *out, struct ms_error *err)
{
    struct ms_code code;
    enum ms_status status = MS_OK;
    ms_code_find(file, &code);
    struct ms_opcodes_found found = {.state = code.state, .cut = code.cut, .bytes = code.bytes};
    (void)snprintf(found.why, sizeof found.why, "%s", code.why);
    if (code.state == MS_CODE_OK)
        status = disassemble(file, &code, &found, out, err);
    return status == MS_OK ? send_found(&found, out, err) : status;
}

enum ms_status ms_opcodes_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                              struct ms_error *err)
{
    struct stat info;
    (void)arg;
    if (fstat(input_fd, &info) != 0 || info.st_size <= 0)
        return ms_opcodes_send(ms_span_of("", 0), out, err);
    void *at = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, input_fd, 0);
    if (at == MAP_FAILED)
        return ms_error_set(err, MS_E_LIMIT, "the sample cannot be held in memory");
    enum ms_status status = ms_opcodes_send(ms_span_of(at, (size_t)info.st_size), out, err);
    (void)munmap(at, (size_t)info.st_size);
    return status;
}

void ms_opcodes_prepare(void)
{
    ms_disassembly_prepare();
}

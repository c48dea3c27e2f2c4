/* The frame of a dataset's record, both ways. It knows no dataset. */
#include "extract/dataset_row.h"

#include "base/buf.h"
#include "base/limits.h"
#include "extract/trace_frames.h"

static void append_span(struct ms_buf *out, struct ms_span bytes)
{
    ms_buf_append_varint(out, bytes.len);
    ms_buf_append(out, bytes.data, bytes.len);
}

enum ms_status ms_dataset_row_send(struct ms_worker_out *out, const struct ms_dataset_row *row,
                                   struct ms_error *err)
{
    struct ms_buf frame;
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    ms_buf_append_byte(&frame, (uint8_t)row->what);
    ms_buf_append_byte(&frame, (uint8_t)row->state);
    const uint64_t numbers[] = {row->line, row->calls, row->bytes};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        ms_buf_append_varint(&frame, numbers[i]);
    append_span(&frame, row->key);
    append_span(&frame, row->label);
    append_span(&frame, row->second);
    append_span(&frame, row->date);
    append_span(&frame, row->reason);
    enum ms_status status =
        frame.failed ? MS_E_NOMEM : ms_worker_emit(out, MS_FRAME_ROW, frame.data, frame.len);
    ms_buf_release(&frame);
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "cannot answer");
}

static bool take_span(struct ms_span *rest, struct ms_span *out)
{
    uint64_t len;
    return ms_span_take_varint(rest, &len) && ms_span_take(rest, len, out);
}

enum ms_status ms_dataset_row_take(struct ms_span bytes, struct ms_dataset_row *out,
                                   struct ms_error *err)
{
    struct ms_span kinds, rest = bytes;
    *out = (struct ms_dataset_row){.what = MS_DATASET_ROW};
    bool good = ms_span_take(&rest, 2, &kinds) && kinds.data[0] <= MS_DATASET_SIZE &&
                kinds.data[1] <= MS_REPORT_INVALID && ms_span_take_varint(&rest, &out->line) &&
                ms_span_take_varint(&rest, &out->calls) &&
                ms_span_take_varint(&rest, &out->bytes) && take_span(&rest, &out->key) &&
                take_span(&rest, &out->label) && take_span(&rest, &out->second) &&
                take_span(&rest, &out->date) && take_span(&rest, &out->reason) && !rest.len;
    if (!good)
        return ms_error_set(err, MS_REJECT, "the reading process sent a malformed answer");
    out->what = (enum ms_dataset_what)kinds.data[0];
    out->state = (enum ms_report_state)kinds.data[1];
    return MS_OK;
}

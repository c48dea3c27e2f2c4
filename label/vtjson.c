/* Bodies of antivirus reports through the confined worker: one job reads many, and each ends in one
 * frame (vtframe.c says what is in it). */
#include "label/vtjson.h"

#include "base/file.h"
#include "base/limits.h"

#include <string.h>
#include <unistd.h>

/* FRAME_REJECT holds the reason. */
enum { FRAME_REPORT = 1, FRAME_REJECT = 2 };

/* ---- in the worker ---- */

static enum ms_status read_input(int input_fd, struct ms_buf *out, struct ms_error *err)
{
    enum { PIECE = 1 << 20 };
    for (;;) {
        if (ms_buf_reserve(out, PIECE) != MS_OK)
            return ms_error_set(err, MS_REJECT, "the reports are too large");
        ssize_t n = read(input_fd, out->data + out->len, PIECE);
        if (n < 0)
            return ms_error_set(err, MS_E_IO, "cannot read the reports");
        if (n == 0)
            return MS_OK;
        out->len += (size_t)n;
    }
}

/* The frame of one body. MS_REJECT: the reason is in err. */
static enum ms_status read_body(struct ms_record_reader *reader, struct ms_span body,
                                struct ms_buf *frame, struct ms_error *err)
{
    struct ms_record record;
    ms_buf_clear(frame);
    enum ms_status status = ms_record_read(reader, body, MS_RECORD_UNKNOWN, &record, err);
    return status == MS_OK ? ms_vt_report_encode(&record, frame, err) : status;
}

/* Bodies, each behind its length. */
static enum ms_status read_bodies(struct ms_record_reader *reader, struct ms_span rest,
                                  struct ms_worker_out *out, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    struct ms_span body;
    struct ms_buf frame;
    uint64_t n;
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    while (status == MS_OK && rest.len > 0) {
        struct ms_error why = {0};
        if (!ms_span_take_varint(&rest, &n) || !ms_span_take(&rest, n, &body)) {
            status = ms_error_set(err, MS_E_BUG, "the batch of reports is cut");
            break;
        }
        enum ms_status one = read_body(reader, body, &frame, &why);
        if (one == MS_OK)
            status = ms_worker_emit(out, FRAME_REPORT, frame.data, frame.len);
        else if (one == MS_REJECT)
            status = ms_worker_emit(out, FRAME_REJECT, why.text, strlen(why.text));
        else
            status = ms_error_set(err, one, "%s", why.text);
    }
    ms_buf_release(&frame);
    return status;
}

static enum ms_status read_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                               struct ms_error *err)
{
    struct ms_record_reader *reader = NULL;
    struct ms_buf input;
    (void)arg;
    ms_buf_init(&input, MS_LIMIT_SCAN_BATCH_BYTES + 2 * MS_LIMIT_SCAN_BYTES);
    enum ms_status status = read_input(input_fd, &input, err);
    if (status == MS_OK)
        status = ms_record_reader_new(&reader, err);
    if (status == MS_OK)
        status = read_bodies(reader, ms_span_of(input.data, input.len), out, err);
    ms_record_reader_free(reader);
    ms_buf_release(&input);
    return status;
}

const struct ms_worker_kind ms_vtjson_kind = {"vtjson", read_job, NULL};

/* ---- in the parent ---- */

enum ms_status ms_vtjson_parse(struct ms_span body, struct ms_vt_report *out, struct ms_error *err)
{
    struct ms_record_reader *reader = NULL;
    struct ms_buf frame;
    ms_buf_init(&frame, MS_LIMIT_FRAME_BYTES);
    enum ms_status status = ms_record_reader_new(&reader, err);
    if (status == MS_OK)
        status = read_body(reader, body, &frame, err);
    if (status == MS_OK)
        status = ms_vt_report_decode(ms_span_of(frame.data, frame.len), out, err);
    ms_record_reader_free(reader);
    ms_buf_release(&frame);
    return status;
}

/* The parent's side of a job over several bodies. */
struct batch {
    struct ms_vt_reading *readings;
    size_t count, done; /* those that have their frame */
};

static void reject(struct ms_vt_reading *reading, const void *why, size_t n)
{
    *reading = (struct ms_vt_reading){.status = MS_REJECT};
    n = n < sizeof reading->why ? n : sizeof reading->why - 1;
    if (n > 0)
        memcpy(reading->why, why, n);
    reading->why[n] = '\0';
}

static enum ms_status take_frame(void *ctx, uint32_t type, struct ms_span bytes,
                                 struct ms_error *err)
{
    struct batch *batch = ctx;
    if (batch->done == batch->count || (type != FRAME_REPORT && type != FRAME_REJECT))
        return ms_error_set(err, MS_REJECT, "the reader of reports says too much");
    struct ms_vt_reading *reading = &batch->readings[batch->done];
    if (type == FRAME_REJECT) {
        reject(reading, bytes.data, bytes.len);
    } else {
        enum ms_status status = ms_vt_report_decode(bytes, &reading->report, err);
        if (status != MS_OK)
            return status;
        reading->status = MS_OK;
        reading->why[0] = '\0';
    }
    batch->done++;
    return MS_OK;
}

static enum ms_status make_input(const struct ms_span *bodies, size_t count, int *fd,
                                 struct ms_error *err)
{
    struct ms_buf length;
    ms_buf_init(&length, 16);
    enum ms_status status = ms_file_memory("scans", fd, err);
    for (size_t i = 0; i < count && status == MS_OK; i++) {
        ms_buf_clear(&length);
        (void)ms_buf_append_varint(&length, bodies[i].len);
        status = ms_file_write_all(*fd, length.data, length.len, err);
        if (status == MS_OK)
            status = ms_file_write_all(*fd, bodies[i].data, bodies[i].len, err);
    }
    ms_buf_release(&length);
    if (status == MS_OK && lseek(*fd, 0, SEEK_SET) != 0)
        status = ms_error_set(err, MS_E_IO, "cannot rewind a file in memory");
    return status;
}

/* One job: as far as it comes. */
static enum ms_status run_batch(struct ms_worker *worker, const struct ms_span *bodies,
                                struct batch *batch, struct ms_error *err)
{
    struct ms_worker_result result = {0};
    struct ms_error fault = {0};
    const struct ms_worker_limits limits = {.cpu_s = 10 + (uint32_t)batch->count,
                                            .wall_ms = 20000 + 1000 * (uint32_t)batch->count,
                                            .address_bytes = (uint64_t)1 << 30,
                                            .output_bytes = (uint64_t)256 << 20};
    int fd = -1;
    enum ms_status status = make_input(bodies, batch->count, &fd, err);
    if (status == MS_OK)
        status = ms_worker_run(worker, ms_vtjson_kind.name, fd, (struct ms_span){0}, &limits,
                               take_frame, batch, &result, &fault);
    if (fd >= 0)
        close(fd);
    if (status != MS_OK && status != MS_REJECT) {
        for (size_t i = 0; i < batch->done; i++)
            if (batch->readings[i].status == MS_OK)
                ms_vt_report_release(&batch->readings[i].report);
        if (err && fault.text[0])
            *err = fault;
        return status;
    }
    /* What it was reading when it ended is the culprit. */
    if (batch->done < batch->count) {
        const char *why = status == MS_REJECT ? fault.text : result.error.text;
        why = why[0] ? why : "the reader of reports said nothing";
        reject(&batch->readings[batch->done++], why, strlen(why));
    }
    return MS_OK;
}

enum ms_status ms_vtjson_read_many(struct ms_worker *worker, const struct ms_span *bodies,
                                   size_t count, struct ms_vt_reading *out, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    size_t done = 0;
    while (done < count && status == MS_OK) {
        uint64_t bytes = 0;
        struct batch batch = {.readings = out + done};
        while (done + batch.count < count && batch.count < MS_LIMIT_SCAN_BATCH &&
               (batch.count == 0 ||
                bytes + bodies[done + batch.count].len <= MS_LIMIT_SCAN_BATCH_BYTES))
            bytes += bodies[done + batch.count++].len;
        status = run_batch(worker, bodies + done, &batch, err);
        if (status == MS_OK)
            done += batch.done;
    }
    for (size_t i = 0; i < done && status != MS_OK; i++)
        if (out[i].status == MS_OK)
            ms_vt_report_release(&out[i].report);
    return status;
}

enum ms_status ms_vtjson_read(struct ms_worker *worker, struct ms_span body,
                              struct ms_vt_report *out, struct ms_error *err)
{
    struct ms_vt_reading reading;
    enum ms_status status = ms_vtjson_read_many(worker, &body, 1, &reading, err);
    if (status == MS_OK && reading.status != MS_OK)
        status = ms_error_set(err, MS_REJECT, "%s", reading.why);
    if (status == MS_OK)
        *out = reading.report;
    return status;
}

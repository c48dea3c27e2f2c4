/* Fuzz target: what lies beside a report and says whose it is. Checks that what is given out is of
 * bounded length and the same however the bytes come. */
#include "extract/report/metadata.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIELDS = 5, FIELD_MAX_BYTES = 512 };

struct input {
    const uint8_t *data;
    size_t left, piece;
};

struct seen {
    unsigned infos;
    size_t len[FIELDS];
    uint8_t bytes[FIELDS][FIELD_MAX_BYTES];
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct input *self = ctx;
    size_t some = self->left < self->piece ? self->left : self->piece;
    (void)err;
    *n = some < cap ? some : cap;
    if (*n)
        memcpy(buf, self->data, *n);
    self->data += *n;
    self->left -= *n;
    return MS_OK;
}

static enum ms_status on_process(void *ctx, const struct ms_process_info *p, struct ms_error *err)
{
    (void)ctx, (void)p, (void)err;
    abort();
}

static enum ms_status on_call(void *ctx, const struct ms_call_info *call, struct ms_error *err)
{
    (void)ctx, (void)call, (void)err;
    abort();
}

static enum ms_status on_process_end(void *ctx, struct ms_error *err)
{
    (void)ctx, (void)err;
    abort();
}

static enum ms_status on_info(void *ctx, const struct ms_report_info *info, struct ms_error *err)
{
    struct seen *seen = ctx;
    const struct ms_span fields[FIELDS] = {info->sandbox, info->target_sha256, info->target_sha1,
                                           info->target_md5, info->target_name};
    (void)err;
    check(ms_span_equal_text(info->sandbox, "drakvuf") ||
          ms_span_equal_text(info->sandbox, "cuckoo2"));
    for (size_t i = 0; i < FIELDS; i++) {
        check(fields[i].len <= FIELD_MAX_BYTES);
        seen->len[i] = fields[i].len;
        if (fields[i].len)
            memcpy(seen->bytes[i], fields[i].data, fields[i].len);
    }
    seen->infos++;
    return MS_OK;
}

static enum ms_status read_in(struct ms_span document, size_t piece, struct seen *seen)
{
    struct input input = {document.data, document.len, piece};
    const struct ms_trace_sink sink = {seen, on_process, on_call, on_process_end, on_info, NULL};
    struct ms_error err;
    memset(seen, 0, sizeof *seen);
    enum ms_status status = ms_metadata_read(give, &input, &sink, &err);
    check(status == MS_OK || status == MS_REJECT);
    check(seen->infos == (status == MS_OK));
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seen whole, pieces;
    enum ms_status status = read_in(ms_span_of(data, size), SIZE_MAX, &whole);
    check(read_in(ms_span_of(data, size), 3, &pieces) == status);
    check(memcmp(&whole, &pieces, sizeof whole) == 0);
    return 0;
}

/* Fuzz target: files of reports, split and read as the import does it. The same bytes in other
 * blocks must give the same records at the same places, and each must lie where it is said to. */
#include "label/split.h"
#include "label/vtjson.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *bytes;
    size_t len, at, block;
};

struct tally {
    uint64_t pieces, faults, reports, places;
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct input *input = ctx;
    size_t left = input->len - input->at;
    (void)err;
    *n = input->block < left ? input->block : left;
    *n = *n < cap ? *n : cap;
    if (*n)
        memcpy(buf, input->bytes + input->at, *n);
    input->at += *n;
    return MS_OK;
}

/* What the parent makes of a report that the worker read. */
static bool is_report(struct ms_record_reader *reader, struct ms_span bytes)
{
    struct ms_record record;
    struct ms_vt_report report;
    struct ms_buf frame;
    bool good = false;
    ms_buf_init(&frame, 4 << 20);
    if (ms_record_read(reader, bytes, MS_RECORD_UNKNOWN, &record, NULL) == MS_OK &&
        ms_vt_report_encode(&record, &frame, NULL) == MS_OK) {
        check(ms_vt_report_decode(ms_span_of(frame.data, frame.len), &report, NULL) == MS_OK);
        check(report.engine_count == record.engine_count);
        ms_vt_report_release(&report);
        good = true;
    }
    ms_buf_release(&frame);
    return good;
}

static void take(struct ms_splitter *splitter, struct ms_record_reader *reader,
                 const struct input *input, struct ms_piece *piece, struct tally *tally)
{
    bool good = false;
    while (!piece->fault) {
        check(piece->byte + piece->bytes.len <= input->len && piece->bytes.len >= 2);
        check(memcmp(input->bytes + piece->byte, piece->bytes.data, piece->bytes.len) == 0);
        check(piece->bytes.data[0] == '{' && piece->bytes.data[piece->bytes.len - 1] == '}');
        good = is_report(reader, piece->bytes);
        if (good || piece->sure || ms_record_sound(reader))
            break;
        check(ms_splitter_refine(splitter, piece, NULL) == MS_OK);
    }
    tally->pieces++;
    tally->faults += piece->fault != NULL;
    tally->reports += good;
    tally->places = (tally->places ^ piece->byte ^ piece->line << 32 ^ piece->bytes.len << 16) *
                    0x9E3779B97F4A7C15U;
}

static struct tally count(const uint8_t *data, size_t size, size_t block)
{
    struct input input = {data, size, 0, block};
    struct tally tally = {0};
    struct ms_splitter *splitter = NULL;
    struct ms_record_reader *reader = NULL;
    uint64_t last = 0;
    check(ms_splitter_new(give, &input, block, NULL, &splitter, NULL) == MS_OK);
    check(ms_record_reader_new(&reader, NULL) == MS_OK);
    for (;;) {
        struct ms_piece piece;
        bool more;
        check(ms_splitter_next(splitter, &more, &piece, NULL) == MS_OK);
        if (!more)
            break;
        check(piece.byte >= last);
        last = piece.byte;
        take(splitter, reader, &input, &piece, &tally);
    }
    check(ms_splitter_state(splitter).byte == size);
    ms_record_reader_free(reader);
    ms_splitter_free(splitter);
    return tally;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tally whole = count(data, size, 1 << 16);
    size_t blocks[] = {1, 7, 16 + size % 61};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        struct tally parts = count(data, size, blocks[i]);
        check(memcmp(&whole, &parts, sizeof whole) == 0);
    }
    return 0;
}

/* Fuzz target: published datasets. The first byte says which job reads the rest; what it sends is
 * taken as the parent takes it, must be well formed, and be what a plain reading of the text gives
 * (plain_dataset.h). Tables, listings and dumps are also read in pieces of other sizes, which must
 * give the same. */
#include "base/file.h"
#include "base/stream.h"
#include "base/worker_private.h"
#include "extract/dataset_csv.h"
#include "extract/dataset_job.h"
#include "extract/dataset_labels.h"
#include "extract/dataset_listing.h"
#include "extract/dataset_members.h"
#include "extract/dataset_row.h"
#include "extract/dataset_table.h"
#include "extract/trace_frames.h"
#include "plain_dataset.h"
#include "store/trace/encode.h"
#include "worker_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    ms_worker_job job;
    const char *arg;
} jobs[] = {
    {ms_dataset_rows_job, "text"},
    {ms_dataset_rows_job, "zip"},
    {ms_dataset_classes_job, ""},
    {ms_dataset_table_job, "malbehavd"},
    {ms_dataset_table_job, "oliveira"},
    {ms_dataset_labels_job, "avast-ctu"},
    {ms_dataset_labels_job, "big-2015"},
    {ms_dataset_member_job,
     "avast-ctu/00000000000000000000000000000000000000000000000000000000000000ab.json"},
    {ms_dataset_member_job, "big-2015/a.asm"},
    {ms_dataset_member_job, "big-2015/a.bytes"},
    {ms_dataset_members_job, "avast-ctu/0"},
    {ms_dataset_members_job, "big-2015/1"},
    {ms_dataset_archive_labels_job, "avast-ctu"},
};

enum { JOBS = sizeof jobs / sizeof *jobs, CHOICES = JOBS + 1 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* --- what the parent makes of it --- */

struct seen {
    struct ms_trace_received received;
    struct ms_dataset_labels labels;
    bool listed, big;
    uint64_t apis[MS_LIMIT_APIS_PER_REPORT + 1]; /* digests of the names: they are sent once */
    size_t api_count;
    struct plain_rows *rows;
};

static void take_api(struct seen *seen)
{
    const struct ms_received_api *api = &seen->received.apis[seen->received.api_count - 1];
    check(seen->api_count <= MS_LIMIT_APIS_PER_REPORT);
    seen->apis[seen->api_count++] = plain_span(ms_trace_received_span(&seen->received, api->name));
}

/* The names of a process's calls, from its blob. */
static void sum_names(struct seen *seen, size_t process, struct plain_row *sum)
{
    static struct ms_trace_decoder *decoder;
    static struct ms_trace_call calls[256];
    const struct ms_received_process *p = &seen->received.processes[process];
    struct ms_buf blob;
    size_t n = 1;
    ms_buf_init(&blob, (size_t)64 << 20);
    check(ms_trace_received_head(&seen->received, process, &blob, NULL) == MS_OK);
    uint8_t *blocks = malloc(p->block_bytes + 1);
    check(blocks && ms_trace_received_blocks(&seen->received, process, 0, blocks, p->block_bytes,
                                             NULL) == MS_OK);
    check(ms_buf_append(&blob, blocks, p->block_bytes) == MS_OK);
    free(blocks);
    check(decoder || ms_trace_decoder_new(&decoder, NULL) == MS_OK);
    check(ms_trace_decoder_load(decoder, ms_span_of(blob.data, blob.len), NULL) == MS_OK);
    while (n) {
        check(ms_trace_decoder_next(decoder, calls, 256, &n, NULL) == MS_OK);
        for (size_t i = 0; i < n; i++) {
            check(calls[i].api < seen->api_count);
            plain_name(sum, seen->apis[calls[i].api]);
        }
    }
    ms_buf_release(&blob);
}

static void take_row(struct seen *seen, struct ms_span bytes)
{
    struct ms_dataset_row row;
    struct plain_row sum = {.names = 0};
    uint64_t calls = 0;
    check(ms_dataset_row_take(bytes, &row, NULL) == MS_OK);
    struct plain_row *mine = plain_next_row(seen->rows, row.line);
    for (size_t i = 0; i < seen->received.process_count; i++) {
        calls += seen->received.processes[i].calls;
        sum_names(seen, i, &sum);
    }
    check(sum.calls == calls);
    *mine = (struct plain_row){.line = row.line,
                               .calls = calls,
                               .names = sum.names,
                               .bytes = row.bytes,
                               .key = plain_span(row.key),
                               .label = plain_span(row.label),
                               .second = plain_span(row.second),
                               .date = plain_span(row.date),
                               .state = row.what == MS_DATASET_REPORT ? row.state : MS_REPORT_OK,
                               .refused = row.reason.len > 0};
    check(calls == row.calls || row.reason.len);
    check(row.what != MS_DATASET_SIZE || !calls);
    if (seen->listed && !row.reason.len)
        check(ms_dataset_labels_add(&seen->labels, seen->big, &row, NULL) != MS_E_NOMEM);
    ms_trace_received_next(&seen->received);
}

static void take_frames(struct seen *seen, struct ms_span rest)
{
    while (rest.len) {
        struct ms_worker_frame_head head;
        struct ms_span bytes;
        check(rest.len >= sizeof head);
        memcpy(&head, rest.data, sizeof head);
        rest = ms_span_of(rest.data + sizeof head, rest.len - sizeof head);
        check(ms_span_take(&rest, head.len, &bytes));
        if (head.type == MS_FRAME_ROW)
            take_row(seen, bytes);
        else
            check(ms_trace_received_frame(&seen->received, head.type, bytes, NULL) == MS_OK);
        if (head.type == MS_FRAME_API)
            take_api(seen);
    }
}

static void on_contradiction(void *ctx, const struct ms_dataset_label *first, uint64_t line)
{
    (void)ctx;
    check(first->line < line);
}

static void take_answers(struct seen *seen, int fd)
{
    off_t end = lseek(fd, 0, SEEK_END);
    check(end >= 0);
    size_t n = (size_t)end, at = 0;
    uint8_t *bytes = malloc(n ? n : 1);
    check(bytes != NULL);
    while (at < n) {
        ssize_t got = pread(fd, bytes + at, n - at, (off_t)at);
        check(got > 0);
        at += (size_t)got;
    }
    take_frames(seen, ms_span_of(bytes, n));
    ms_dataset_labels_finish(&seen->labels, on_contradiction, NULL);
    for (size_t i = 0; i < seen->labels.count; i++)
        check(ms_dataset_labels_find(&seen->labels, seen->big, seen->labels.items[i].key) ==
              &seen->labels.items[i]);
    free(bytes);
}

/* False: there is nothing to compare with. */
static bool read_plain(size_t which, struct ms_span text, struct plain_rows *due)
{
    bool table = which >= 3 && which <= 6;
    due->count = 0;
    due->refused = false;
    if (text.len > PLAIN_DOCUMENT_BYTES || (text.len && ms_stream_is_packed(text.data, text.len)) ||
        (table && text.len && memchr(text.data, '"', text.len)))
        return false;
    if (table && text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0)
        text = ms_span_of(text.data + 3, text.len - 3);
    if (which == 0)
        plain_names_rows(due, text);
    else if (which == 2)
        plain_class_rows(due, text);
    else if (which == 3 || which == 4)
        plain_table_rows(due, text, which == 4);
    else if (which == 5 || which == 6)
        plain_label_rows(due, text, which == 6);
    else if (which == 7)
        return plain_report(due, text, ms_span_of(jobs[7].arg + strlen("avast-ctu/"), 64));
    else if (which == 8)
        plain_listing(due, text);
    else if (which == 9)
        plain_dump(due, text);
    else
        return false;
    return due->count <= PLAIN_ROWS;
}

static void compare(size_t which, const struct plain_rows *got, const struct plain_rows *due,
                    enum ms_status status)
{
    check((status != MS_OK) == due->refused);
    if (status != MS_OK)
        return;
    check(got->count == due->count);
    for (size_t i = 0; i < due->count; i++) {
        const struct plain_row *a = &got->rows[i], *b = &due->rows[i];
        check(a->refused == b->refused);
        if (which >=
            7) { /* one record: its name is not in it, and its calls are void when refused */
            check(b->refused || (a->calls == b->calls && a->names == b->names &&
                                 a->bytes == b->bytes && a->state == b->state));
            continue;
        }
        check(a->line == b->line && a->calls == b->calls && a->names == b->names);
        check(a->key == b->key && a->label == b->label && a->second == b->second &&
              a->date == b->date);
    }
}

static void run_job(size_t which, const uint8_t *data, size_t size)
{
    static struct plain_rows got, due;
    static struct seen seen;
    seen.listed = which == 5 || which == 6 || which == 12;
    seen.big = which == 6;
    seen.rows = &got;
    seen.api_count = 0;
    struct ms_worker_out out;
    struct ms_error err = {.status = MS_OK};
    int input;
    got.count = 0;
    check(ms_file_memory("input", &input, NULL) == MS_OK);
    check(ms_file_memory("answers", &out.fd, NULL) == MS_OK);
    check(ms_file_write_all(input, data, size, NULL) == MS_OK && lseek(input, 0, SEEK_SET) == 0);
    ms_trace_received_init(&seen.received);
    ms_dataset_labels_init(&seen.labels);
    enum ms_status status =
        jobs[which].job(input, ms_span_of(jobs[which].arg, strlen(jobs[which].arg)), &out, &err);
    check(status != MS_E_BUG && (status == MS_OK || err.text[0]));
    take_answers(&seen, out.fd);
    if (read_plain(which, ms_span_of(data, size), &due))
        compare(which, &got, &due, status);
    ms_dataset_labels_release(&seen.labels);
    ms_trace_received_release(&seen.received);
    (void)close(input);
    (void)close(out.fd);
}

/* --- the same in other pieces --- */

struct sum {
    uint64_t value, count;
};

static void add(struct sum *sum, const uint8_t *bytes, size_t n, uint64_t more)
{
    uint64_t hash = sum->value ^ more;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3U;
    sum->value = hash * 0x9E3779B97F4A7C15U + n;
    sum->count++;
}

static enum ms_status on_field(void *ctx, uint64_t column, struct ms_span field, bool cut,
                               struct ms_error *err)
{
    (void)err;
    check(field.len <= MS_LIMIT_API_NAME_BYTES && (!cut || field.len == MS_LIMIT_API_NAME_BYTES));
    add(ctx, field.data, field.len, column << 1 | cut);
    return MS_OK;
}

static enum ms_status on_row(void *ctx, uint64_t line, uint64_t columns, bool damaged,
                             struct ms_error *err)
{
    (void)err;
    check(columns > 0 && line > 0);
    add(ctx, NULL, 0, line << 33 ^ columns << 1 ^ damaged);
    return MS_OK;
}

static enum ms_status on_instruction(void *ctx, struct ms_span mnemonic, struct ms_error *err)
{
    (void)err;
    check(mnemonic.len > 0 && mnemonic.len <= MS_MNEMONIC_BYTES);
    add(ctx, mnemonic.data, mnemonic.len, 1);
    return MS_OK;
}

/* LF, CR LF and CR each end a line. */
static uint64_t count_lines(const uint8_t *data, size_t size)
{
    uint64_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\r' || (data[i] == '\n' && !(i && data[i - 1] == '\r'));
    return lines;
}

static struct sum read_pieces(const uint8_t *data, size_t size, size_t piece)
{
    struct sum sum = {.value = 0}, code = {.value = 0};
    struct ms_csv csv = {.events = {&sum, on_field, on_row}};
    struct ms_listing listing = {.ctx = &code, .instruction = on_instruction};
    struct ms_dump dump = {.lines = 0};
    enum ms_status dumped = MS_OK;
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        check(ms_csv_take(&csv, data + at, n, NULL) == MS_OK);
        check(ms_listing_take(&listing, data + at, n, NULL) == MS_OK);
        if (dumped == MS_OK)
            dumped = ms_dump_take(&dump, data + at, n, NULL);
    }
    uint64_t lines = count_lines(data, size);
    check(ms_csv_end(&csv, NULL) == MS_OK && (csv.line == lines || csv.line == lines + 1));
    enum ms_status listed = ms_listing_end(&listing, NULL);
    check(listed == (listing.listed ? MS_OK : MS_REJECT));
    check(listing.instructions <= listing.listed && listing.listed <= listing.lines);
    if (dumped == MS_OK)
        dumped = ms_dump_end(&dump, NULL);
    add(&sum, NULL, 0, code.value ^ code.count ^ listing.lines << 40);
    add(&sum, NULL, 0, (uint64_t)dumped << 60 ^ dump.bytes << 20 ^ dump.lines);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t which = data[0] % CHOICES;
    if (which < JOBS) {
        run_job(which, data + 1, size - 1);
        return 0;
    }
    struct sum whole = read_pieces(data + 1, size - 1, size);
    struct sum bytes = read_pieces(data + 1, size - 1, 1);
    struct sum some = read_pieces(data + 1, size - 1, 7);
    check(whole.value == bytes.value && whole.count == bytes.count);
    check(whole.value == some.value && whole.count == some.count);
    return 0;
}

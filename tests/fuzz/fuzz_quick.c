/* Fuzz target: the quick reading of programs and zip files of programs. What it answers must be
 * what the ordinary job answers, frame by frame. The first byte says what the rest is: 'm' records
 * of which a zip file is written (tests/fuzz/sealed.h), so that changed bytes have the right
 * checksum; anything else is the file itself. The second chooses limits; see `order`. */
#include "base/file.h"
#include "base/limits.h"
#include "base/quick_private.h"
#include "collect/job.h"
#include "collect/quick_job.h"
#include "sealed.h"
#include "worker_memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FEW_ENTRIES = 2, FEW_BYTES = 3000, SMALL_ENTRY_BYTES = 1500, SMALL_ANSWER_BYTES = 24 << 10 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

static size_t answer_bytes(uint8_t choice)
{
    return choice & 0x10 ? SMALL_ANSWER_BYTES : MS_LIMIT_QUICK_BYTES - sizeof(struct ms_quick_head);
}

/* The argument of both jobs. */
static void order(uint8_t choice, struct ms_buf *out)
{
    const struct ms_unpack_limits limits = {.entries = choice & 1 ? FEW_ENTRIES : 0,
                                            .total_bytes = choice & 2 ? FEW_BYTES : 0,
                                            .entry_bytes = choice & 4 ? SMALL_ENTRY_BYTES : 0};
    const struct ms_unpack_input input = {.zip_named = choice & 8};
    const struct ms_span passwords[] = {{(const uint8_t *)"virus", 5},
                                        {(const uint8_t *)"infected", 8}};
    check(ms_job_argument(&limits, &input, passwords, 2, out, NULL) == MS_OK);
}

/* The frames as they are, but for those that are none, and with the pieces of a program's bytes in
 * one. */
static void join(struct ms_span frames, struct ms_buf *out)
{
    uint32_t last = 0;
    size_t last_at = 0;
    while (frames.len) {
        struct ms_worker_frame_head head;
        struct ms_span bytes;
        check(ms_span_take(&frames, sizeof head, &bytes));
        memcpy(&head, bytes.data, sizeof head);
        check(ms_span_take(&frames, head.len, &bytes));
        if (head.type == MS_QUICK_FRAME_GAP)
            continue;
        check(head.type >= MS_JOB_MEMBER && head.type <= MS_JOB_FEATURES);
        if (head.type == MS_JOB_DATA && last == MS_JOB_DATA) {
            struct ms_worker_frame_head whole;
            memcpy(&whole, out->data + last_at, sizeof whole);
            whole.len += head.len;
            memcpy(out->data + last_at, &whole, sizeof whole);
        } else {
            last_at = out->len;
            check(ms_buf_append(out, &head, sizeof head) == MS_OK);
        }
        check(ms_buf_append(out, bytes.data, bytes.len) == MS_OK);
        last = head.type;
    }
}

/* What the ordinary job sends, read back. */
static void ordinary(int fd, struct ms_span arg, struct ms_buf *out)
{
    static bool prepared;
    struct ms_worker_out sent;
    const struct ms_worker_kind *kind = &ms_job_kinds[MS_JOB_INTAKE];
    struct ms_buf frames;
    uint8_t piece[4096];
    ssize_t n;
    if (!prepared && kind->prepare)
        kind->prepare();
    prepared = true;
    check(ms_file_memory("answers", &sent.fd, NULL) == MS_OK && lseek(fd, 0, SEEK_SET) == 0);
    check(kind->job(fd, arg, &sent, NULL) == MS_OK && lseek(sent.fd, 0, SEEK_SET) == 0);
    ms_buf_init(&frames, 2 * MS_LIMIT_QUICK_BYTES);
    while ((n = read(sent.fd, piece, sizeof piece)) > 0)
        check(ms_buf_append(&frames, piece, (size_t)n) == MS_OK);
    (void)close(sent.fd);
    join(ms_span_of(frames.data, frames.len), out);
    ms_buf_release(&frames);
}

/* The answer's memory ends where it may: one block for each of the two sizes. */
static bool quick(int fd, uint8_t choice, struct ms_span arg, struct ms_buf *out)
{
    static uint8_t *memory[2];
    uint8_t **at = &memory[choice >> 4 & 1];
    if (!*at)
        *at = malloc(answer_bytes(choice));
    check(*at != NULL);
    struct ms_quick_answer answer = {.at = *at, .cap = answer_bytes(choice)};
    bool answered = ms_quick_job_work(fd, arg, &answer);
    ms_quick_job_forget();
    check(answer.used <= answer.cap);
    if (answered)
        join(ms_span_of(answer.at, answer.used), out);
    return answered;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ms_buf file, arg, answer, other;
    int fd;
    if (size < 2)
        return 0;
    ms_buf_init(&file, SEALED_MAX_BYTES);
    ms_buf_init(&arg, MS_LIMIT_QUICK_ARGUMENT_BYTES);
    ms_buf_init(&answer, 2 * MS_LIMIT_QUICK_BYTES);
    ms_buf_init(&other, 2 * MS_LIMIT_QUICK_BYTES);
    order(data[1], &arg);
    if (data[0] == 'm')
        seal_zip(ms_span_of(data + 2, size - 2), &file);
    else
        (void)ms_buf_append(&file, data + 2, size - 2);
    check(ms_file_memory("fuzz", &fd, NULL) == MS_OK);
    check(ms_file_write_all(fd, file.data, file.len, NULL) == MS_OK);
    if (quick(fd, data[1], ms_span_of(arg.data, arg.len), &answer)) {
        ordinary(fd, ms_span_of(arg.data, arg.len), &other);
        check(answer.len == other.len && memcmp(answer.data, other.data, other.len) == 0);
    }
    (void)close(fd);
    ms_buf_release(&file);
    ms_buf_release(&arg);
    ms_buf_release(&answer);
    ms_buf_release(&other);
    return 0;
}

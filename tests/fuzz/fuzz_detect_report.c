/* Fuzz target: files, archives and growing logs through the jobs that read them for detect. The
 * answer of a job must be one that its reader takes, report by report; and a log that came in
 * pieces ends as the same log that was there at once. */
#include "base/file.h"
#include "base/limits.h"
#include "base/worker_private.h"
#include "detect/follow_job.h"
#include "extract/report/drakvuf.h"
#include "worker_memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static int memory_of(const void *bytes, size_t n)
{
    int fd;
    check(ms_file_memory("fuzz", &fd, NULL) == MS_OK);
    check(ms_file_write_all(fd, bytes, n, NULL) == MS_OK && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

struct answer {
    struct ms_read_trace last;
    unsigned reports, finals;
};

static void take_frames(int fd, const struct ms_normal_options *view, struct answer *answer)
{
    struct ms_worker_frame_head head;
    uint8_t *body = NULL;
    check(lseek(fd, 0, SEEK_SET) == 0);
    while (read(fd, &head, sizeof head) == (ssize_t)sizeof head) {
        body = realloc(body, head.len + 1);
        check(body && head.len <= MS_LIMIT_FRAME_BYTES);
        check(read(fd, body, head.len) == (ssize_t)head.len);
        answer->finals += head.type == MS_READER_FINAL;
        if (head.type == MS_READER_FINAL)
            continue;
        if (answer->last.complete)
            ms_read_trace_reset(&answer->last);
        check(ms_read_trace_take(&answer->last, view, head.type, ms_span_of(body, head.len),
                                 NULL) == MS_OK);
        answer->reports += answer->last.complete;
    }
    check(answer->last.complete || !answer->reports);
    free(body);
}

static void run(const struct ms_worker_kind *kind, const char *arg, int input,
                const struct ms_normal_options *view, struct answer *answer)
{
    struct ms_worker_out out;
    struct ms_error err = {.status = MS_OK};
    check(ms_file_memory("answer", &out.fd, NULL) == MS_OK);
    memset(answer, 0, sizeof *answer);
    ms_read_trace_init(&answer->last);
    enum ms_status status = kind->job(input, ms_span_of(arg, strlen(arg)), &out, &err);
    check(status == MS_OK || status == MS_E_NOMEM || status == MS_E_IO);
    take_frames(out.fd, view, answer);
    check(status != MS_OK || answer->reports > 0);
    (void)close(out.fd);
}

static void compare(const struct ms_read_trace *a, const struct ms_read_trace *b)
{
    check(a->state == b->state && a->n == b->n && a->whole_length == b->whole_length);
    for (size_t i = 0; i < a->n; i++) {
        check(ms_span_equal(a->calls[i], b->calls[i]));
        check(a->origins[i].entry == b->origins[i].entry);
        check(a->processes[a->origins[i].process].pid == b->processes[b->origins[i].process].pid);
    }
}

/* The same bytes as commands, in pieces of odd sizes, with questions between. */
static int commands_of(const uint8_t *data, size_t size, size_t piece)
{
    struct ms_buf out;
    ms_buf_init(&out, SIZE_MAX / 2);
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        const uint8_t head[] = {
            MS_FOLLOW_BYTES, (uint8_t)n, (uint8_t)(n >> 8), 0, 0, MS_FOLLOW_ASK, 0, 0, 0, 0};
        check(ms_buf_append(&out, head, 5) == MS_OK && ms_buf_append(&out, data + at, n) == MS_OK);
        check(ms_buf_append(&out, head + 5, 5) == MS_OK);
    }
    const uint8_t end[] = {MS_FOLLOW_END, 0, 0, 0, 0};
    check(ms_buf_append(&out, end, sizeof end) == MS_OK);
    int fd = memory_of(out.data, out.len);
    ms_buf_release(&out);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ms_normal_options view = {
        .fold_case = true, .expand = true, .collapse = 1, .cut = MS_CUT_HEAD, .length = 50};
    char text[MS_NORMAL_TEXT_BYTES], arg[MS_NORMAL_TEXT_BYTES + 4];
    struct answer whole, followed;
    if (size > 1 << 20)
        return 0;
    ms_normal_options_text(&view, text);
    int fd = memory_of(data, size);
    run(&ms_detect_kind, text, fd, &view, &whole);
    (void)close(fd);
    fd = commands_of(data, size, 1 + size / 7);
    (void)snprintf(arg, sizeof arg, "%s\n3", text);
    run(&ms_detect_follow_kind, arg, fd, &view, &followed);
    (void)close(fd);
    check(followed.finals == 1);
    if (whole.reports == 1 && whole.last.state == MS_REPORT_OK && size < 60000 &&
        ms_drakvuf_is_log(ms_span_of(data, size), true))
        compare(&whole.last, &followed.last);
    ms_read_trace_release(&whole.last);
    ms_read_trace_release(&followed.last);
    return 0;
}

/* What the parent makes of a reading process that lies about a report, or dies over it: that report
 * alone is refused. */
#include "base/file.h"
#include "base/worker.h"
#include "extract/intake.h"
#include "extract/trace_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above. */
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

/* Says that there was a process with five calls, and sends none. */
static enum ms_status lying_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                struct ms_error *err)
{
    struct ms_report_result result = {
        .state = MS_REPORT_OK, .processes = 1, .calls = 5, .calls_expanded = 5, .real_calls = 5};
    (void)input_fd;
    (void)arg;
    return ms_trace_send_result(out, &result, "", err);
}

static void test_a_lying_reader_costs_its_report(void **state)
{
    (void)state;
    const struct ms_worker_kind kinds[] = {{"report", lying_job, NULL}};
    const struct ms_worker_options options = {.kinds = kinds, .kind_count = 1};
    struct ms_ingest ingest = {.worker = NULL};
    struct ms_ingest_outcome out;
    struct ms_error err = {.status = MS_OK};
    int fd = -1;
    assert_int_equal(ms_worker_start(&options, &ingest.worker, &err), MS_OK);
    assert_int_equal(ms_file_memory("report", &fd, &err), MS_OK);
    assert_int_equal(ms_file_write_all(fd, "{}", 2, &err), MS_OK);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(ms_ingest_report(&ingest, fd, 0, &out, &err), MS_OK);
    assert_string_equal(out.state, "report_invalid");
    assert_non_null(strstr(out.reason, "contradicts itself"));
    assert_int_equal(out.calls, 0);
    close(fd);
    ms_worker_stop(ingest.worker);
}

/* How a large member ends that was read as it came. */
static enum { RIGHT, VOID, DEATH } ending;

static enum ms_status archive_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                  struct ms_error *err)
{
    struct ms_report_result result = {.state = MS_REPORT_INVALID}; /* that is stored too */
    (void)input_fd;
    (void)arg;
    enum ms_status status = ms_worker_emit(out, MS_FRAME_MEMBER, "a", 1);
    if (status == MS_OK)
        status = ms_trace_send_result(out, &result, "", err);
    if (ending == DEATH)
        _exit(3);
    return status == MS_OK && ending == VOID ? ms_worker_emit(out, MS_FRAME_VOID, NULL, 0) : status;
}

static enum ms_status count_stored(void *ctx, struct ms_span chain, struct ms_intake *intake,
                                   struct ms_error *err)
{
    (void)err;
    if (chain.len == 1)
        *(int *)ctx += intake->told_only ? 100 : 1;
    return MS_OK;
}

/* Its result came; its checks, which come at its end, did not. */
static void test_a_member_is_believed_at_its_end(void **state)
{
    (void)state;
    const struct ms_worker_kind kinds[] = {{"archive", archive_job, NULL}};
    const struct ms_worker_options options = {.kinds = kinds, .kind_count = 1};
    const int wanted[] = {[RIGHT] = 1, [VOID] = 0, [DEATH] = 100}; /* told is not stored */
    for (ending = RIGHT; ending <= DEATH; ending++) {
        struct ms_ingest ingest = {.worker = NULL};
        struct ms_error err = {.status = MS_OK};
        int fd = -1, stored = 0;
        assert_int_equal(ms_worker_start(&options, &ingest.worker, &err), MS_OK);
        assert_int_equal(ms_file_memory("archive", &fd, &err), MS_OK);
        assert_int_equal(ms_archive_read(&ingest, fd, count_stored, &stored, &err), MS_OK);
        assert_int_equal(stored, wanted[ending]);
        close(fd);
        ms_worker_stop(ingest.worker);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_lying_reader_costs_its_report),
                                       cmocka_unit_test(test_a_member_is_believed_at_its_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

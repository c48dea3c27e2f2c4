/* The fast lane: what comes back, what a job must not be able to do, and that whatever goes wrong
 * is no answer and costs no other job anything. */
#define _GNU_SOURCE
#include "base/limits.h"
#include "base/quick_private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { LATE_BYTES = 100000 };

/* ---- jobs ------------------------------------------------------------------------------------ */

static bool put(struct ms_quick_answer *answer, uint32_t type, const void *bytes, size_t n)
{
    void *to = ms_quick_frame(answer, type, n);
    if (to && n)
        memcpy(to, bytes, n);
    return to != NULL;
}

static bool job_echo(int fd, struct ms_span arg, struct ms_quick_answer *answer)
{
    uint8_t bytes[64];
    ssize_t n = pread(fd, bytes, sizeof bytes, 0);
    return put(answer, 1, arg.data, arg.len) && n >= 0 && put(answer, 2, bytes, (size_t)n);
}

/* Frames in a gap, one taken back, and work beside them. */
static bool job_late(struct ms_quick_answer *answer)
{
    const struct ms_quick_part parts[] = {{5, ms_span_of("first", 5)}, {6, ms_span_of("", 0)}};
    const struct ms_quick_part large = {5, ms_span_of(answer->at, 1000)};
    size_t mark = ms_quick_mark(answer);
    ms_quick_ready(answer, LATE_BYTES);
    if (!ms_quick_gap(answer, 100))
        return false;
    uint8_t *bytes = ms_quick_frame(answer, 7, LATE_BYTES);
    uint8_t *beside = ms_quick_scratch(answer, LATE_BYTES);
    if (!bytes || !beside || beside < bytes + LATE_BYTES)
        return false;
    memset(beside, 'b', LATE_BYTES);
    memset(bytes, 'a', LATE_BYTES);
    size_t end = ms_quick_mark(answer);
    if (!put(answer, 8, "taken back", 10))
        return false;
    ms_quick_back(answer, end);
    return !ms_quick_fill(answer, mark, &large, 1) && ms_quick_fill(answer, mark, parts, 2);
}

/* What does not fit is refused, and what is there stays. */
static bool job_full(struct ms_quick_answer *answer)
{
    uint8_t block[4096] = {0};
    while (put(answer, 1, block, sizeof block))
        ;
    return answer->used <= answer->cap && answer->cap - answer->used < sizeof block + 8 &&
           !ms_quick_scratch(answer, sizeof block) && !ms_quick_gap(answer, sizeof block) &&
           !ms_quick_frame(answer, 1, SIZE_MAX) && !ms_quick_frame(answer, 1 << 20, 0);
}

static int by_byte(const void *a, const void *b)
{
    return *(const uint8_t *)a - *(const uint8_t *)b;
}

/* More than a kilobyte, for which the C library wants to know how much memory there is. */
static bool job_sort(struct ms_quick_answer *answer)
{
    uint8_t bytes[4000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    qsort(bytes, sizeof bytes, 1, by_byte);
    return put(answer, 4, bytes, sizeof bytes);
}

/* Says what it finds of those before it. */
static bool job_look(struct ms_quick_answer *answer)
{
    size_t found = 0;
    for (size_t i = 0; i < answer->cap; i++)
        found += answer->at[i] != 0;
    memset(answer->at + answer->cap / 2, 's', 1000);
    memset(answer->at + answer->cap - 1000, 's', 1000);
    return put(answer, 3, &found, sizeof found);
}

/* Ends as if it had answered: 0 claims more than there is, 1 a frame longer than the answer, 2 a
 * type that is none, 3 the beginning of a frame. */
static _Noreturn void lie(struct ms_quick_answer *answer, uint8_t which)
{
    struct ms_worker_frame_head head = {which == 2 ? 70000 : 1, which == 1 ? 4000000000U : 4};
    struct ms_quick_head claim = {which == 0 ? UINT64_MAX : which == 3 ? 5 : sizeof head + 4};
    memcpy(answer->at, &head, sizeof head);
    memcpy(answer->at - sizeof claim, &claim, sizeof claim);
    _exit(0);
}

static const long forbidden[][4] = {
    {SYS_openat, AT_FDCWD, 0, 0},
    {SYS_socket, AF_UNIX, SOCK_STREAM, 0},
    {SYS_execve, 0, 0, 0},
    {SYS_clone, SIGCHLD, 0, 0},
    {SYS_wait4, -1, 0, 0},
    {SYS_recvmsg, 3, 0, 0},
    {SYS_sendto, 3, 0, 0},
    {SYS_kill, 1, 0, 0},
    {SYS_ptrace, 0, 0, 0},
    {SYS_prctl, PR_SET_DUMPABLE, 1, 0},
    {SYS_prlimit64, 0, RLIMIT_CPU, 0},
    {SYS_close_range, 3, 3, 0},
    {SYS_pwrite64, MS_QUICK_FD_INPUT, 0, 0},
    {SYS_ftruncate, MS_QUICK_FD_INPUT, 0, 0},
    {SYS_memfd_create, 0, 0, 0},
    {SYS_mprotect, 0, 4096, PROT_EXEC},
    {SYS_nanosleep, 0, 0, 0},
    {SYS_ioctl, 0, 0, 0},
    {SYS_io_uring_setup, 1, 0, 0},
};
enum {
    FORBIDDEN = sizeof forbidden / sizeof *forbidden,
    MAP_SHARED_CASE = FORBIDDEN,
    MAP_EXEC_CASE
};

/* The call must not come back. */
static bool job_forbidden(int fd, uint8_t which, struct ms_quick_answer *answer)
{
    long got;
    if (which == MAP_SHARED_CASE)
        got = syscall(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    else if (which == MAP_EXEC_CASE)
        got = syscall(SYS_mmap, 0, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    else
        got = syscall(forbidden[which][0], forbidden[which][1], forbidden[which][2],
                      forbidden[which][3], 0, 0, 0);
    return put(answer, 9, &got, sizeof got);
}

static bool work(int fd, struct ms_span arg, struct ms_quick_answer *answer)
{
    volatile unsigned spin = 1;
    switch (arg.len ? arg.data[0] : 'e') {
    case 'l':
        return job_late(answer);
    case 'f':
        return job_full(answer);
    case 'o':
        return job_sort(answer);
    case 'k':
        return job_look(answer);
    case 'n':
        return put(answer, 1, "unsaid", 6) && false;
    case 'a':
        return put(answer, 1, "unsaid", 6) && (raise(SIGKILL), true);
    case 'q':
        _exit(0); /* an empty answer is none */
    case 's':
        for (; spin; spin |= 1)
            ;
        return true;
    case 'L':
        lie(answer, arg.data[1]);
    case 'F':
        return job_forbidden(fd, arg.data[1], answer);
    default:
        return job_echo(fd, arg, answer);
    }
}

/* ---- harness --------------------------------------------------------------------------------- */

static struct ms_quick *quick;
static int input;
static const struct ms_quick_options options = {.job = work};

static int start(void **state)
{
    (void)state;
    input = memfd_create("input", MFD_CLOEXEC);
    return ms_quick_start(&options, &quick, NULL) == MS_OK && write(input, "0123456789", 10) == 10
               ? 0
               : 1;
}

static int stop(void **state)
{
    (void)state;
    ms_quick_stop(quick);
    close(input);
    return 0;
}

struct seen {
    unsigned count;
    uint32_t types[8];
    size_t lens[8];
    uint8_t bytes[64]; /* of the last short one */
    enum ms_status answer;
};

static enum ms_status on_frame(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    struct seen *seen = ctx;
    if (seen->count < 8) {
        seen->types[seen->count] = type;
        seen->lens[seen->count] = bytes.len;
    }
    seen->count++;
    if (bytes.len && bytes.len < sizeof seen->bytes)
        memcpy(seen->bytes, bytes.data, bytes.len);
    return seen->answer == MS_OK ? MS_OK : ms_error_set(err, seen->answer, "enough");
}

static bool run(const char *arg, size_t n, struct seen *seen)
{
    struct ms_error err = {MS_OK, 0, ""};
    bool answered = true;
    memset(seen, 0, sizeof *seen);
    assert_int_equal(
        ms_quick_run(quick, input, ms_span_of(arg, n), on_frame, seen, &answered, &err), MS_OK);
    assert_true(answered || seen->count == 0);
    return answered;
}

static void assert_alive(void)
{
    struct seen seen;
    assert_true(run("echo", 4, &seen));
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.lens[0], 4);
    assert_memory_equal(seen.bytes, "0123456789", 10);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_frames(void **state)
{
    struct seen seen;
    (void)state;
    assert_alive();
    assert_true(run("", 0, &seen));
    assert_int_equal(seen.lens[0], 0);
    assert_true(run("late", 4, &seen));
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.types[0], 5);
    assert_int_equal(seen.types[1], 6);
    assert_int_equal(seen.types[2], 7);
    assert_int_equal(seen.lens[2], LATE_BYTES);
    assert_memory_equal(seen.bytes, "first", 5);
    assert_true(run("full", 4, &seen));
    assert_true(seen.count > 400);
    assert_true(run("order", 5, &seen));
    assert_int_equal(seen.lens[0], 4000);
    assert_alive();
}

static void test_argument(void **state)
{
    static char arg[MS_LIMIT_QUICK_ARGUMENT_BYTES + 1];
    struct seen seen;
    (void)state;
    memset(arg, 'e', sizeof arg);
    assert_true(run(arg, sizeof arg - 1, &seen));
    assert_int_equal(seen.lens[0], sizeof arg - 1);
    assert_false(run(arg, sizeof arg, &seen));
}

static void test_callback_ends_the_reading(void **state)
{
    struct seen seen = {.answer = MS_E_STORE};
    struct ms_error err;
    bool answered;
    (void)state;
    assert_int_equal(
        ms_quick_run(quick, input, ms_span_of("e", 1), on_frame, &seen, &answered, &err),
        MS_E_STORE);
    assert_int_equal(seen.count, 1);
    assert_alive();
}

static void test_no_answer(void **state)
{
    static const char *const args[] = {"n", "a", "q", "s"};
    struct seen seen;
    (void)state;
    for (size_t i = 0; i < sizeof args / sizeof *args; i++)
        assert_false(run(args[i], 1, &seen));
    for (char i = 0; i < 4; i++)
        assert_false(run((const char[]){'L', i}, 2, &seen));
    assert_alive();
}

static void test_forbidden(void **state)
{
    struct seen seen;
    (void)state;
    for (int i = 0; i <= MAP_EXEC_CASE; i++)
        if (run((const char[]){'F', (char)i}, 2, &seen))
            fail_msg("call %d of the list went through", i);
    assert_alive();
}

static void test_nothing_is_left_behind(void **state)
{
    struct seen seen;
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        size_t found = 1;
        assert_true(run("k", 1, &seen));
        memcpy(&found, seen.bytes, sizeof found);
        assert_int_equal(found, 0);
        assert_true(run("late", 4, &seen));
    }
}

static void *hammer(void *ctx)
{
    size_t good = 0;
    (void)ctx;
    for (unsigned i = 0; i < 100; i++) {
        char text[32];
        struct seen seen = {0};
        bool answered = false;
        int n = snprintf(text, sizeof text, "%s%p %u", i % 10 == 9 ? "n" : "e", (void *)&seen, i);
        enum ms_status status = ms_quick_run(quick, input, ms_span_of(text, (size_t)n), on_frame,
                                             &seen, &answered, NULL);
        good += status == MS_OK && answered == (i % 10 != 9) && (!answered || seen.count == 2);
    }
    return (void *)(uintptr_t)good;
}

static void test_threads(void **state)
{
    pthread_t threads[4];
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
    for (int i = 0; i < 4; i++) {
        void *good;
        assert_int_equal(pthread_join(threads[i], &good), 0);
        assert_int_equal((uintptr_t)good, 100);
    }
}

/* A program that is not there, or is another, gives no answers and no errors. */
static void test_no_program(void **state)
{
    static const char *const names[] = {"no-such-program", "../../../../../../bin/true"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct ms_quick_options other = {.program = names[i]};
        struct ms_quick *self = NULL;
        struct seen seen = {0};
        bool answered = true;
        assert_int_equal(ms_quick_start(&other, &self, NULL), MS_OK);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(
                ms_quick_run(self, input, ms_span_of("e", 1), on_frame, &seen, &answered, NULL),
                MS_OK);
            assert_false(answered);
        }
        ms_quick_stop(self);
    }
}

/* Everything ends with the process that started it: the pipe that only they hold open closes. */
static void test_parent_death(void **state)
{
    int held[2], status;
    char byte;
    (void)state;
    assert_int_equal(pipe(held), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct ms_quick *self;
        struct seen seen = {0};
        bool answered;
        close(held[0]);
        if (ms_quick_start(&options, &self, NULL) != MS_OK)
            _exit(1);
        alarm(1); /* the default action of SIGALRM ends this process in the middle of the job */
        enum ms_status ended =
            ms_quick_run(self, held[1], ms_span_of("s", 1), on_frame, &seen, &answered, NULL);
        _exit(ended == MS_OK ? 1 : 2);
    }
    close(held[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(read(held[0], &byte, 1), 0);
    close(held[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_argument),
        cmocka_unit_test(test_callback_ends_the_reading),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_forbidden),
        cmocka_unit_test(test_nothing_is_left_behind),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_program),
        cmocka_unit_test(test_parent_death),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

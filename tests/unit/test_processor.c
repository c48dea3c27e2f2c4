/* Threads that stay on one processor, and the fast lane's processes that follow them there. */
#define _GNU_SOURCE
#include "base/processor.h"
#include "base/quick.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include <cmocka.h>

enum { THREADS_MAX = 8, ROUNDS = 20 };

/* Says where it runs. */
static bool job_where(int fd, struct ms_span arg, struct ms_quick_answer *answer)
{
    (void)fd, (void)arg;
    int32_t now = ms_processor_now();
    void *to = ms_quick_frame(answer, 1, sizeof now);
    if (to)
        memcpy(to, &now, sizeof now);
    return to != NULL;
}

static struct ms_quick *quick;

static int start(void **state)
{
    static const struct ms_quick_options options = {.job = job_where};
    (void)state;
    return ms_quick_start(&options, &quick, NULL) == MS_OK ? 0 : 1;
}

static int stop(void **state)
{
    (void)state;
    ms_quick_stop(quick);
    return 0;
}

static unsigned allowed_count(void)
{
    cpu_set_t allowed;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    return (unsigned)CPU_COUNT(&allowed);
}

struct placed {
    int first;
    unsigned index;
    bool kept;
    int only, now;
};

static void *place(void *ctx)
{
    struct placed *self = ctx;
    self->kept = ms_processor_keep(self->first, self->index);
    self->only = ms_processor_only();
    self->now = ms_processor_now();
    return NULL;
}

/* As many threads as there are processors have one each; the next begins again. */
static void test_round_robin(void **state)
{
    (void)state;
    cpu_set_t seen;
    unsigned count = allowed_count(), used = count < THREADS_MAX ? count : THREADS_MAX;
    struct placed first = {.first = ms_processor_now()};
    CPU_ZERO(&seen);
    for (unsigned i = 0; i < used; i++) {
        struct placed one = {.first = first.first, .index = i};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, place, &one), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(one.kept, count > 1);
        if (!one.kept)
            continue;
        assert_true(one.only >= 0 && one.only == one.now);
        assert_false(CPU_ISSET((unsigned)one.only, &seen));
        CPU_SET((unsigned)one.only, &seen);
        if (i == 0)
            first = one;
    }
    struct placed again = {.first = first.first, .index = count};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, place, &again), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(!again.kept || (count > 1 && again.only == first.only));
    /* Nothing of that is this thread's. */
    assert_int_equal(allowed_count(), count);
    assert_int_equal(ms_processor_only() >= 0, count == 1);
}

/* Never to a processor that was not allowed, whatever is said to be the first. */
static void *narrow(void *ctx)
{
    struct placed *self = ctx;
    (void)place(self);
    struct placed more = {.first = self->only + 1, .index = 3};
    (void)place(&more);
    self->kept = more.kept;
    self->now = more.only;
    return NULL;
}

static void test_mask_respected(void **state)
{
    (void)state;
    struct placed one = {.first = -5, .index = 1};
    pthread_t thread;
    if (allowed_count() < 2) {
        print_message("one processor: nothing to narrow\n");
        return;
    }
    assert_int_equal(pthread_create(&thread, NULL, narrow, &one), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(one.kept); /* one is left: nothing to choose */
    assert_int_equal(one.now, one.only);
    assert_false(ms_processor_keep_to(-1));
    assert_false(ms_processor_keep_to(CPU_SETSIZE));
}

static enum ms_status on_where(void *ctx, uint32_t type, struct ms_span bytes, struct ms_error *err)
{
    (void)type, (void)err;
    memcpy(ctx, bytes.data, sizeof(int32_t));
    return MS_OK;
}

struct asked {
    int processor;
    bool good;
};

static void *ask(void *ctx)
{
    struct asked *self = ctx;
    int fd = memfd_create("input", MFD_CLOEXEC);
    self->good = fd >= 0 && ms_processor_keep_to(self->processor);
    for (int i = 0; i < ROUNDS && self->good; i++) {
        int32_t where = -1;
        bool answered;
        self->good = ms_quick_run(quick, fd, ms_span_of("", 0), on_where, &where, &answered,
                                  NULL) == MS_OK &&
                     answered && where == self->processor;
    }
    (void)close(fd);
    return NULL;
}

/* A child runs where the thread is kept that asked for it, also after others asked. */
static void test_seats_follow(void **state)
{
    (void)state;
    cpu_set_t allowed;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    for (unsigned round = 0; round < 2; round++)
        for (unsigned at = 0, used = 0; at < CPU_SETSIZE && used < THREADS_MAX; at++) {
            struct asked one = {.processor = (int)at};
            pthread_t thread;
            if (!CPU_ISSET(at, &allowed))
                continue;
            used++;
            assert_int_equal(pthread_create(&thread, NULL, ask, &one), 0);
            assert_int_equal(pthread_join(thread, NULL), 0);
            assert_true(one.good);
        }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_robin),
        cmocka_unit_test(test_mask_respected),
        cmocka_unit_test(test_seats_follow),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

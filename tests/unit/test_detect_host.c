/* libmalseq-detect in a host: one whose numbers have a comma, one with threads, one that runs out
 * of memory. */
#define _GNU_SOURCE
#include "tests/unit/detect_models.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>

#include "tests/unit/failing_allocator.h"

enum { THREADS = 4, NONE = 99 };

/* ---- a host with a comma ---- */

static atomic_bool comma;
double strtod(const char *text, char **end);

/* The C library's, but for a locale in which "0.5" is 0: such a locale need not be installed. */
double strtod(const char *text, char **end)
{
    static locale_t c;
    char *stop;
    if (!c)
        c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double value = strtod_l(text, &stop, c);
    char *point = memchr(text, '.', (size_t)(stop - text));
    if (point && atomic_load(&comma) && uselocale((locale_t)0) == LC_GLOBAL_LOCALE) {
        stop = point;
        value = trunc(value);
    }
    if (end)
        *end = stop;
    return value;
}

static void a_host_may_write_commas(void **state)
{
    (void)state;
    uint32_t calls[CALLS];
    make_calls(1, calls);
    struct malseq_model *model = open_model("model.safetensors");
    const struct malseq_verdict wanted = whole_verdict(model, calls, CALLS);
    malseq_model_close(model);
    char *end;
    atomic_store(&comma, true);
    assert_true(strtod("0.5", &end) == 0 && *end == '.'); /* the host's own numbers */
    model = open_model("model.safetensors");
    const struct malseq_verdict got = whole_verdict(model, calls, CALLS);
    assert_true(uselocale((locale_t)0) == LC_GLOBAL_LOCALE); /* and it keeps its locale */
    atomic_store(&comma, false);
    assert_true(malseq_model_threshold(model) == .4375);
    assert_int_equal(got.kind, wanted.kind);
    assert_true(got.score == wanted.score);
    malseq_model_close(model);
}

/* ---- threads ---- */

struct thread {
    pthread_t id;
    struct malseq_model *model;
    uint64_t from;
    struct malseq_verdict verdict[TRACES];
    int faults;
};

static void *work(void *arg)
{
    struct thread *self = arg;
    struct malseq_trace *trace;
    uint32_t calls[CALLS];
    if (malseq_trace_new(self->model, &trace, NULL) != MALSEQ_OK) {
        self->faults++;
        return NULL;
    }
    for (uint64_t k = 0; k < TRACES; k++) {
        make_calls((self->from + k) % TRACES, calls);
        self->verdict[k] = (struct malseq_verdict)MALSEQ_VERDICT_INIT;
        for (size_t i = 0; i < CALLS; i++)
            self->faults += malseq_trace_add(trace, i % 3, names[calls[i]], MALSEQ_NO_TIME, NULL);
        self->faults += malseq_trace_verdict(trace, &self->verdict[k], NULL);
        self->faults += malseq_trace_clear(trace, NULL);
        self->faults += malseq_model_class_count(self->model) != 2;
    }
    malseq_trace_free(trace);
    return NULL;
}

/* One model and a trace for each of several threads; others open models of their own meanwhile. */
static void threads_say_what_one_says(void **state)
{
    (void)state;
    struct malseq_model *model = open_model("model.safetensors");
    struct thread alone = {.model = model}, threads[THREADS];
    (void)work(&alone);
    assert_int_equal(alone.faults, 0);
    for (uint64_t i = 0; i < THREADS; i++) {
        threads[i] = (struct thread){.model = model, .from = i};
        assert_int_equal(pthread_create(&threads[i].id, NULL, work, &threads[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        malseq_model_close(open_model("model.safetensors"));
    for (uint64_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i].id, NULL), 0);
        assert_int_equal(threads[i].faults, 0);
        for (uint64_t k = 0; k < TRACES; k++)
            assert_same(&threads[i].verdict[k], &alone.verdict[(i + k) % TRACES]);
    }
    malseq_model_close(model);
}

/* ---- memory ---- */

static int use_once(void)
{
    struct malseq_model *model = NULL;
    struct malseq_trace *trace = NULL;
    struct malseq_verdict v = MALSEQ_VERDICT_INIT;
    struct malseq_error why = {0};
    int code = malseq_model_open(path_of("model.safetensors"), &model, &why);
    if (code == MALSEQ_OK)
        code = malseq_trace_new(model, &trace, &why);
    for (int i = 0; i < NAMES && code == MALSEQ_OK; i++)
        code = malseq_trace_add(trace, (uint64_t)i % 2, names[i], i, &why);
    if (code == MALSEQ_OK)
        code = malseq_trace_verdict(trace, &v, &why);
    if (code == MALSEQ_OK && v.kind == MALSEQ_UNKNOWN)
        code = NONE;
    if (code != MALSEQ_OK && code != NONE && why.code != code)
        code = NONE;
    malseq_trace_free(trace);
    malseq_model_close(model);
    return code;
}

static void *no_memory(size_t bytes)
{
    (void)bytes;
    return NULL;
}

/* A header that could not be held is no damaged one. */
static void no_memory_is_no_damage(void **state)
{
    (void)state;
    struct malseq_model *model;
    struct malseq_error why;
    json_malloc_t take;
    json_free_t give;
    json_get_alloc_funcs(&take, &give);
    json_set_alloc_funcs(no_memory, give);
    const int code = malseq_model_open(path_of("model.safetensors"), &model, &why);
    json_set_alloc_funcs(take, give);
    assert_int_equal(code, MALSEQ_E_MEMORY);
    assert_non_null(strstr(why.text, "out of memory"));
}

/* Each allocation fails once: that is said as what it is, and nothing leaks. But for those of
 * jansson, which stops a program when it has no memory for a text. */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    if (!REPLACED)
        skip();
#if REPLACED
    json_set_alloc_funcs(__libc_malloc, __libc_free);
#endif
    assert_int_equal(use_once(), MALSEQ_OK); /* what is made once a process is there now */
    long steps = 0, bad = 0;
    for (;; steps++) {
        const long before = atomic_load(&live);
        atomic_store(&failed, 0);
        atomic_store(&countdown, steps);
        const int code = use_once();
        atomic_store(&countdown, -1);
        const bool hit = atomic_load(&failed) > 0;
        if (hit && code != MALSEQ_E_MEMORY && code != MALSEQ_OK)
            bad++;
        assert_int_equal(atomic_load(&live), before);
        if (!hit) {
            assert_int_equal(code, MALSEQ_OK);
            break;
        }
    }
    assert_true(steps > 100);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_may_write_commas),
        cmocka_unit_test(threads_say_what_one_says),
        cmocka_unit_test(no_memory_is_no_damage),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

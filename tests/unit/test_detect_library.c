/* libmalseq-detect by its public header: what it says is what the model says of the same calls,
 * however they are fed; what is refused, and what is bounded. That it says what `detect` says of a
 * report is tested in tests/cli/test_train_detect.py. */
#define _GNU_SOURCE
#include "tests/unit/detect_models.h"

#include <math.h>
#include <sys/stat.h>
#include <time.h>

/* ---- what the model itself says: the view is made here, with nothing of what detect uses ---- */

struct own_view {
    uint32_t runs[CALLS], run_lengths[CALLS], run_count; /* runs of the whole trace */
    uint32_t calls[NAMES], lengths[NAMES], counts[NAMES], n;
    struct ms_gram grams[3 * CALLS];
    uint32_t gram_count;
};

/* The n-gram of `n` runs that ends with number `at`, unless it was there before. */
static void take_gram(struct own_view *v, uint32_t at, uint32_t n)
{
    struct ms_gram gram = {{MS_GRAM_NONE, MS_GRAM_NONE, MS_GRAM_NONE}};
    if (at + 1 < n)
        return;
    memcpy(gram.symbol, v->runs + at + 1 - n, n * sizeof *gram.symbol);
    for (uint32_t i = 0; i < v->gram_count; i++)
        if (memcmp(&v->grams[i], &gram, sizeof gram) == 0)
            return;
    v->grams[v->gram_count++] = gram;
}

static void make_view(const uint32_t *calls, size_t n, struct own_view *v)
{
    memset(v, 0, sizeof *v);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || calls[i] != calls[i - 1])
            v->runs[v->run_count++] = calls[i];
        v->run_lengths[v->run_count - 1]++;
    }
    for (uint32_t r = 0; r < v->run_count; r++) {
        uint32_t at = 0;
        while (at < v->n && v->calls[at] != v->runs[r])
            at++;
        if (at == v->n) {
            v->calls[v->n] = v->runs[r];
            v->lengths[v->n++] = v->run_lengths[r];
        }
        v->counts[at]++;
        for (uint32_t k = 1; k <= 3; k++)
            take_gram(v, r, k);
    }
}

static double own_score(const uint32_t *calls, size_t n)
{
    char text[NAMES][32];
    struct ms_span folded[NAMES];
    struct own_view view;
    struct ms_plan plan;
    struct ms_model *model = make_model(MS_MODEL_ENSEMBLE, &plan);
    struct ms_input_recipe recipe;
    struct ms_input_maker *maker;
    struct ms_input_row row = {0};
    double scores[2];
    fold_names(text, folded);
    make_view(calls, n, &view);
    const struct ms_gram_table table = {folded, NAMES, view.grams, view.gram_count};
    const struct ms_input_trace trace = {.calls = view.calls,
                                         .n = view.n,
                                         .run_lengths = view.lengths,
                                         .run_counts = view.counts,
                                         .grams = {NULL, view.gram_count}};
    ms_model_recipe(model, &recipe);
    assert_int_equal(ms_input_maker_new(&recipe, &table, &maker, NULL), MS_OK);
    assert_int_equal(ms_input_row_make(maker, &trace, &row, NULL), MS_OK);
    assert_int_equal(ms_model_scores(model, &row, 1, scores, NULL), MS_OK);
    ms_input_row_release(&row);
    ms_input_maker_free(maker);
    ms_model_free(model);
    return 1 / (1 + exp(-(1.5 * log(scores[0] / (1 - scores[0])) + .25)));
}

static void says_what_the_model_says(void **state)
{
    (void)state;
    struct malseq_model *model = open_model("model.safetensors");
    uint32_t calls[CALLS], malicious = 0;
    for (uint64_t seed = 0; seed < TRACES; seed++) {
        make_calls(seed, calls);
        const struct malseq_verdict v = whole_verdict(model, calls, CALLS);
        const double wanted = own_score(calls, CALLS);
        assert_true(fabs(v.score - wanted) < 1e-9);
        assert_int_equal(v.kind, wanted >= .4375 ? MALSEQ_MALICIOUS : MALSEQ_BENIGN);
        assert_string_equal(v.label, two_classes[v.kind == MALSEQ_BENIGN]);
        assert_string_equal(malseq_verdict_name(v.kind),
                            v.kind == MALSEQ_BENIGN ? "benign" : "malicious");
        assert_int_equal(v.calls, CALLS);
        assert_string_equal(v.reason, "");
        malicious += v.kind == MALSEQ_MALICIOUS;
    }
    assert_in_range(malicious, 1, TRACES - 1); /* or the threshold would be no test */
    malseq_model_close(model);
}

/* A verdict between two calls changes nothing, and is the one on the calls so far. */
static void pieces_are_the_whole(void **state)
{
    (void)state;
    struct malseq_model *model = open_model("model.safetensors");
    uint32_t calls[CALLS];
    make_calls(3, calls);
    for (size_t piece = 1; piece <= CALLS; piece += piece < 8 ? 1 : 9) {
        struct malseq_trace *trace = new_trace(model);
        for (size_t at = 0; at < CALLS; at += piece) {
            const size_t n = at + piece < CALLS ? piece : CALLS - at;
            add_calls(trace, calls + at, n);
            assert_int_equal(malseq_trace_calls(trace), at + n);
            const struct malseq_verdict so_far = verdict_of(trace),
                                        whole = whole_verdict(model, calls, at + n);
            assert_same(&so_far, &whole);
            assert_int_equal(so_far.kind == MALSEQ_UNKNOWN, at + n < 5);
        }
        malseq_trace_free(trace);
    }
    malseq_model_close(model);
}

/* Processes that take turns are those one after another; which comes first does make a difference.
 */
static void processes_take_turns(void **state)
{
    (void)state;
    struct malseq_model *model = open_model("model.safetensors");
    struct malseq_trace *turns = new_trace(model), *after = new_trace(model),
                        *other = new_trace(model);
    uint32_t a[CALLS], b[CALLS];
    make_calls(1, a);
    make_calls(2, b);
    for (size_t i = 0; i < CALLS; i++) {
        add(turns, 11, names[a[i]]);
        add(turns, UINT64_MAX, names[b[i]]);
    }
    for (size_t i = 0; i < 2 * CALLS; i++) {
        add(after, i < CALLS ? 11 : UINT64_MAX, names[i < CALLS ? a[i] : b[i - CALLS]]);
        add(other, i < CALLS ? UINT64_MAX : 11, names[i < CALLS ? b[i] : a[i - CALLS]]);
    }
    const struct malseq_verdict x = verdict_of(turns), y = verdict_of(after), z = verdict_of(other);
    assert_same(&x, &y);
    assert_true(x.score != z.score);
    assert_int_equal(x.calls, 2 * CALLS);
    malseq_trace_free(turns);
    malseq_trace_free(after);
    malseq_trace_free(other);
    malseq_model_close(model);
}

/* By a model whose view is in the order of time, times decide; extreme ones are times too. */
static void times_decide_where_they_should(void **state)
{
    static const char *const made[] = {"model.safetensors", "timed"};
    (void)state;
    for (int timed = 0; timed < 2; timed++) {
        struct malseq_model *model = open_model(made[timed]);
        struct malseq_trace *trace = new_trace(model);
        struct malseq_verdict verdict[2];
        for (int swapped = 0; swapped < 2; swapped++) {
            for (uint32_t i = 0; i < NAMES; i++) {
                const bool second = i >= NAMES / 2;
                const int64_t time =
                    second == (swapped == 1) ? INT64_MIN + 1 + i : INT64_MAX - NAMES + i;
                assert_int_equal(malseq_trace_add(trace, 1 + second, names[i], time, NULL),
                                 MALSEQ_OK);
            }
            verdict[swapped] = verdict_of(trace);
            assert_int_equal(malseq_trace_clear(trace, NULL), MALSEQ_OK);
        }
        /* Both views begin with the process that was seen first. */
        assert_true(verdict[0].score != verdict[1].score);
        /* Process 1 is that now both times; where calls take turns, only the order of time sees
         * it. */
        for (int turns = 0; turns < 2; turns++) {
            for (uint32_t i = 0; i < NAMES; i++) {
                const uint32_t at = i % (NAMES / 2), second = i >= NAMES / 2;
                const int64_t time = turns ? 2 * at + second : i;
                assert_int_equal(malseq_trace_add(trace, 1 + second, names[i], time, NULL),
                                 MALSEQ_OK);
            }
            verdict[turns] = verdict_of(trace);
            assert_int_equal(malseq_trace_clear(trace, NULL), MALSEQ_OK);
        }
        assert_int_equal(verdict[0].score != verdict[1].score, timed);
        malseq_trace_free(trace);
        malseq_model_close(model);
    }
}

static void traces_are_used_again(void **state)
{
    (void)state;
    struct malseq_model *model = open_model("model.safetensors");
    struct malseq_trace *trace = new_trace(model);
    uint32_t calls[CALLS];
    for (uint64_t seed = 0; seed < TRACES; seed++) {
        make_calls(seed, calls);
        add_calls(trace, calls, CALLS - seed);
        const struct malseq_verdict again = verdict_of(trace), twice = verdict_of(trace),
                                    fresh = whole_verdict(model, calls, CALLS - seed);
        assert_same(&again, &fresh);
        assert_same(&again, &twice);
        assert_int_equal(malseq_trace_clear(trace, NULL), MALSEQ_OK);
        assert_int_equal(malseq_trace_calls(trace), 0);
    }
    malseq_trace_free(trace);
    malseq_model_close(model);
}

/* ---- no verdict ---- */

static void unknown(struct malseq_trace *trace, const char *reason)
{
    const struct malseq_verdict v = verdict_of(trace);
    assert_int_equal(v.kind, MALSEQ_UNKNOWN);
    if (!strstr(v.reason, reason))
        fail_msg("'%s' where '%s' was due", v.reason, reason);
}

static void says_why_it_does_not_know(void **state)
{
    (void)state;
    struct malseq_model *model = open_model("model.safetensors"), *doubt = open_model("doubt");
    struct malseq_trace *trace = new_trace(model), *doubted = new_trace(doubt);
    uint32_t calls[CALLS];
    unknown(trace, "no_calls");
    assert_true(isnan(verdict_of(trace).score));
    assert_null(verdict_of(trace).label);
    add(trace, 1, "__exception__"); /* a pseudo-call is none */
    unknown(trace, "0 calls: the model needs at least 5");
    for (int i = 0; i < 4; i++)
        add(trace, 1, "NtClose");
    unknown(trace, "4 calls: the model needs at least 5");
    assert_int_equal(malseq_trace_clear(trace, NULL), MALSEQ_OK);
    for (int i = 0; i < 9; i++)
        add(trace, 1, i % 2 ? "" : "\xff\x01Strange");
    unknown(trace, "in the model's vocabulary");
    make_calls(1, calls);
    add_calls(doubted, calls, CALLS);
    unknown(doubted, "is no verdict");
    const struct malseq_verdict v = verdict_of(doubted);
    assert_true(isfinite(v.score));
    assert_non_null(v.label);
    malseq_trace_free(trace);
    malseq_trace_free(doubted);
    malseq_model_close(model);
    malseq_model_close(doubt);
}

/* ---- bounds ---- */

/* Names are cut at 256 bytes: what differs behind it is one call. */
static void names_have_a_bound(void **state)
{
    (void)state;
    struct malseq_model *model = open_model("model.safetensors");
    struct malseq_trace *trace = new_trace(model), *many = new_trace(model);
    enum { LONG = 300000 };
    char *name = malloc(LONG + 1);
    assert_non_null(name);
    memset(name, 'x', LONG);
    name[LONG] = '\0';
    for (int i = 0; i < 6; i++) {
        name[LONG - 1] = (char)('a' + i);
        add(trace, 1, name);
    }
    add(trace, 1, "NtClose");
    const struct malseq_verdict v = verdict_of(trace);
    assert_int_equal(v.tokens, 2);
    assert_int_equal(v.calls, 7);
    /* More names than a report may have share one pseudo-call: they are taken, and not counted. */
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(name, LONG, "Name%d", i);
        add(many, 1, name);
    }
    assert_int_equal(malseq_trace_calls(many), 5000);
    add(many, 1, "Name7");
    assert_int_equal(verdict_of(many).calls, 4096 + 1);
    free(name);
    malseq_trace_free(trace);
    malseq_trace_free(many);
    malseq_model_close(model);
}

static void processes_have_a_bound(void **state)
{
    (void)state;
    struct malseq_model *model = open_model("model.safetensors");
    struct malseq_trace *trace = new_trace(model);
    struct malseq_error why;
    for (uint64_t pid = 0; pid < 65536; pid++)
        add(trace, pid, names[pid % NAMES]);
    const struct malseq_verdict before = verdict_of(trace);
    assert_int_equal(malseq_trace_add(trace, 65536, "Sleep", MALSEQ_NO_TIME, &why), MALSEQ_E_LIMIT);
    assert_int_equal(why.code, MALSEQ_E_LIMIT);
    assert_string_equal(why.text, "too many processes");
    assert_int_equal(malseq_trace_calls(trace), 65536);
    const struct malseq_verdict after = verdict_of(trace);
    assert_same(&before, &after);
    add(trace, 65535, "NtClose"); /* known ones go on */
    assert_int_equal(malseq_trace_clear(trace, NULL), MALSEQ_OK);
    add(trace, 65536, "Sleep");
    malseq_trace_free(trace);
    malseq_model_close(model);
}

/* Process numbers that somebody chose so that a table with a known hash is one chain: 12,000 of
 * them, half a second and more a hundred thousand calls. */
static void chosen_numbers_cost_no_time(void **state)
{
    (void)state;
    struct malseq_model *model = open_model("model.safetensors");
    struct malseq_trace *trace = new_trace(model);
    const uint64_t step = UINT64_C(0x9e3779b97f4a7c15) * 31;
    uint64_t inverse = step; /* Newton's, modulo 2^64 */
    for (int i = 0; i < 6; i++)
        inverse *= 2 - step * inverse;
    assert_true(inverse * step == 1);
    const clock_t from = clock();
    for (int round = 0; round < 10; round++)
        for (uint64_t i = 0; i < 12000; i++)
            add(trace, inverse * (i << 49), "Sleep");
    assert_true((double)(clock() - from) / CLOCKS_PER_SEC < .5);
    malseq_trace_free(trace);
    malseq_model_close(model);
}

/* The time of 4,096 names in turns. Chosen ones are those that any seed of a weaker hash gives one
 * place: of two words each the topmost bit differs, and in the second what a product and a shift
 * made of it. */
static double time_of_names(struct malseq_model *model, bool chosen)
{
    struct malseq_trace *trace = new_trace(model);
    char name[12 * 16 + 1] = {0};
    const clock_t from = clock();
    for (int round = 0; round < 10; round++)
        for (unsigned i = 0; i < 4096; i++) {
            memset(name, 'A', sizeof name - 1);
            for (unsigned pair = 0; pair < 12; pair++)
                if (i >> pair & 1) {
                    name[16 * pair + 7] = name[16 * pair + 15] = (char)('A' ^ 0x80);
                    name[16 * pair + 12] = chosen ? 'A' ^ 4 : 'A' ^ 2;
                }
            add(trace, 1, name);
        }
    const double time = (double)(clock() - from) / CLOCKS_PER_SEC;
    malseq_trace_free(trace);
    return time;
}

static void chosen_names_cost_no_time(void **state)
{
    (void)state;
    struct malseq_model *model = open_model("model.safetensors");
    assert_true(time_of_names(model, true) < .1 + 4 * time_of_names(model, false));
    malseq_model_close(model);
}

/* ---- models that are none ---- */

static void refused(const char *path, const char *reason)
{
    struct malseq_model *model = (struct malseq_model *)&folder; /* stays as it was */
    struct malseq_error why = {0};
    assert_int_equal(malseq_model_open(path, &model, &why), MALSEQ_E_MODEL);
    assert_int_equal(why.code, MALSEQ_E_MODEL);
    if (!strstr(why.text, reason))
        fail_msg("'%s' where '%s' was due", why.text, reason);
    assert_ptr_equal(model, &folder);
    assert_int_equal(malseq_model_open(path, &model, NULL), MALSEQ_E_MODEL);
}

static char *read_model(size_t *n)
{
    FILE *f = fopen(path_of("model.safetensors"), "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *n = (size_t)ftell(f);
    char *bytes = malloc(*n);
    assert_non_null(bytes);
    rewind(f);
    assert_int_equal(fread(bytes, 1, *n, f), *n);
    (void)fclose(f);
    return bytes;
}

static void refuses_what_is_no_model(void **state)
{
    (void)state;
    size_t n;
    char *bytes = read_model(&n);
    refused(path_of("absent"), "absent");
    refused("/dev/zero", "no regular file");
    assert_int_equal(mkfifo(path_of("other"), 0600), 0); /* that nobody writes to */
    refused(path_of("other"), "no regular file");
    assert_int_equal(unlink(path_of("other")), 0);
    for (size_t cut = 0; cut < n; cut += cut < 16 ? 1 : n / 7) {
        write_file("other", bytes, cut);
        refused(path_of("other"), "model '");
    }
    static const char *const changes[][3] = {
        {"normalise-1", "normalise-9", "normalis"},
        {"malseq-model-2", "malseq-model-9", "model"},
        {"\"platt", "\"plott", "calibration"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const size_t length = strlen(changes[i][0]);
        char *at = memmem(bytes, n, changes[i][0], length);
        assert_non_null(at);
        memcpy(at, changes[i][1], length);
        write_file("other", bytes, n);
        refused(path_of("other"), changes[i][2]);
        memcpy(at, changes[i][0], length);
    }
    refused(path_of("opcodes"), "the model reads opcodes, not calls");
    refused(path_of("statics"), "static features");
    free(bytes);
}

/* The file, or the folder that holds it; boosted trees need no library of theirs. */
static void opens_models(void **state)
{
    (void)state;
    struct malseq_model *model;
    uint32_t calls[CALLS];
    make_calls(1, calls);
    assert_int_equal(malseq_model_open(folder, &model, NULL), MALSEQ_OK);
    assert_string_equal(malseq_model_target(model), "malware");
    assert_int_equal(malseq_model_class_count(model), 2);
    assert_string_equal(malseq_model_class_name(model, 1), "benign");
    assert_null(malseq_model_class_name(model, 2));
    assert_true(malseq_model_threshold(model) == .4375);
    assert_int_equal(malseq_model_min_calls(model), 5);
    malseq_model_close(model);
    model = open_model("boosted");
    const struct malseq_verdict v = whole_verdict(model, calls, CALLS);
    assert_int_equal(v.kind, MALSEQ_MALICIOUS);
    malseq_model_close(model);
}

/* ---- the interface ---- */

static void arguments_are_checked(void **state)
{
    (void)state;
    struct malseq_model *model = open_model("model.safetensors"), *none = NULL;
    struct malseq_trace *trace = new_trace(model), *no_trace = NULL;
    struct malseq_verdict v = MALSEQ_VERDICT_INIT, small = {.size = sizeof v - 1};
    struct malseq_error why = {0};
    assert_int_equal(malseq_model_open(NULL, &none, &why), MALSEQ_E_USAGE);
    assert_int_equal(malseq_model_open("x", NULL, &why), MALSEQ_E_USAGE);
    assert_int_equal(malseq_trace_new(NULL, &no_trace, &why), MALSEQ_E_USAGE);
    assert_int_equal(malseq_trace_new(model, NULL, &why), MALSEQ_E_USAGE);
    assert_int_equal(malseq_trace_clear(NULL, &why), MALSEQ_E_USAGE);
    assert_int_equal(malseq_trace_add(NULL, 1, "Sleep", 0, &why), MALSEQ_E_USAGE);
    assert_int_equal(malseq_trace_add(trace, 1, NULL, 0, &why), MALSEQ_E_USAGE);
    assert_int_equal(malseq_trace_verdict(NULL, &v, &why), MALSEQ_E_USAGE);
    assert_int_equal(malseq_trace_verdict(trace, NULL, &why), MALSEQ_E_USAGE);
    assert_int_equal(malseq_trace_verdict(trace, &small, &why), MALSEQ_E_USAGE);
    assert_int_equal(why.code, MALSEQ_E_USAGE);
    assert_int_equal(malseq_trace_verdict(trace, &small, NULL), MALSEQ_E_USAGE);
    assert_null(none);
    assert_null(no_trace);
    assert_null(malseq_verdict_name(-1));
    assert_null(malseq_verdict_name(MALSEQ_CLASSIFIED + 1));
    malseq_trace_free(NULL);
    malseq_model_close(NULL);
    malseq_trace_free(trace);
    malseq_model_close(model);
}

/* A caller that was built with a later header: what this library does not know of stays as it is.
 */
static void a_larger_verdict_is_left_alone(void **state)
{
    (void)state;
    struct malseq_model *model = open_model("model.safetensors");
    struct malseq_trace *trace = new_trace(model);
    struct {
        struct malseq_verdict known;
        char more[64];
    } larger;
    memset(&larger, 'x', sizeof larger);
    larger.known.size = sizeof larger;
    assert_int_equal(malseq_trace_verdict(trace, &larger.known, NULL), MALSEQ_OK);
    assert_int_equal(larger.known.size, sizeof larger);
    assert_int_equal(larger.known.kind, MALSEQ_UNKNOWN);
    for (size_t i = 0; i < sizeof larger.more; i++)
        assert_int_equal(larger.more[i], 'x');
    malseq_trace_free(trace);
    malseq_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_the_model_says),
        cmocka_unit_test(pieces_are_the_whole),
        cmocka_unit_test(processes_take_turns),
        cmocka_unit_test(times_decide_where_they_should),
        cmocka_unit_test(traces_are_used_again),
        cmocka_unit_test(says_why_it_does_not_know),
        cmocka_unit_test(names_have_a_bound),
        cmocka_unit_test(processes_have_a_bound),
        cmocka_unit_test(chosen_numbers_cost_no_time),
        cmocka_unit_test(chosen_names_cost_no_time),
        cmocka_unit_test(refuses_what_is_no_model),
        cmocka_unit_test(opens_models),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(a_larger_verdict_is_left_alone),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

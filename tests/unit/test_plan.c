/* The order in which hashes are asked: shares that starve none, priorities inside them, intervals,
 * and a queue too long for memory. */
#include "store_rows.h"

#include "base/clock.h"
#include "label/plan.h"
#include "store/db.h"

#define DAY ((int64_t)86400000)
#define NOW ((int64_t)1769810400000)

static int64_t now_ms = NOW;

static int64_t fake_now(void *ctx)
{
    (void)ctx;
    return now_ms;
}

static void fake_sleep(void *ctx, int64_t ms)
{
    (void)ctx;
    now_ms += ms;
}

static int set_up(void **state)
{
    static const struct ms_clock clock = {NULL, fake_now, fake_now, fake_sleep};
    now_ms = NOW;
    ms_clock_set(&clock);
    return fixture_set_up(state);
}

static int tear_down(void **state)
{
    ms_clock_set(NULL);
    return fixture_tear_down(state);
}

static void sql(struct ms_corpus *corpus, const char *text)
{
    struct ms_error err;
    assert_ok(ms_db_exec(corpus, text, &err), &err);
}

/* `count` samples with ids from `first`, whose look-ups are in `state`. */
static void fill(struct ms_corpus *corpus, int first, int count, const char *values)
{
    char text[900];
    snprintf(text, sizeof text,
             "WITH RECURSIVE n(i) AS (VALUES (%d) UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
             " INSERT INTO sample (id, sha256) SELECT i, CAST(printf('%%032d', i) AS BLOB) FROM n",
             first, first + count - 1);
    sql(corpus, text);
    snprintf(text, sizeof text,
             "INSERT INTO lookup (sample, state, tries, asked_ms, due_ms) SELECT id, %s FROM"
             " sample WHERE id BETWEEN %d AND %d",
             values, first, first + count - 1);
    sql(corpus, text);
}

static void label(struct ms_corpus *corpus, int sample, const char *values)
{
    char text[400];
    snprintf(text, sizeof text,
             "INSERT INTO label (sample, policy, verdict, class, family, positives, contested,"
             " as_of_ms, made_ms) VALUES (%d, 'p', %s, 1, 1)",
             sample, values);
    sql(corpus, text);
}

/* The next `most` classes of a plan as digits. */
static const char *classes(struct ms_plan *plan, size_t most)
{
    static char out[2048];
    struct ms_error err;
    size_t n = 0;
    assert_true(most < sizeof out);
    for (; n < most; n++) {
        struct ms_due due;
        bool found;
        assert_ok(ms_plan_next(plan, &due, &found, &err), &err);
        if (!found)
            break;
        out[n] = (char)('0' + due.class_);
    }
    out[n] = '\0';
    return out;
}

static struct ms_plan *plan_of(struct ms_corpus *corpus)
{
    struct ms_plan *plan = NULL;
    struct ms_error err;
    assert_ok(ms_plan_new(corpus, "p", &plan, &err), &err);
    return plan;
}

static size_t count_of(const char *text, char c)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == c;
    return n;
}

static void shares_starve_none(void **state)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    fill(corpus, 1, 600, "'pending', 0, NULL, 0");
    fill(corpus, 1001, 600, "'labelled', 1, 5, 100");
    fill(corpus, 2001, 600, "'not_found', 1, 5, 100");
    struct ms_plan *plan = plan_of(corpus);
    const char *order = classes(plan, 500);
    assert_int_equal(count_of(order, '0'), 350);
    assert_int_equal(count_of(order, '5'), 100);
    assert_int_equal(count_of(order, '6'), 50);
    assert_int_equal(strncmp(order, "0050005006", 10), 0); /* any ten, not only the whole */
    ms_plan_free(plan);

    /* What a share does not use flows on; nothing is left out, nothing comes twice. */
    sql(corpus, "DELETE FROM lookup WHERE sample BETWEEN 31 AND 1000 OR sample > 2003");
    plan = plan_of(corpus);
    order = classes(plan, 2000);
    assert_int_equal(strlen(order), 30 + 600 + 3);
    assert_int_equal(count_of(order, '0'), 30);
    assert_int_equal(count_of(order, '6'), 3);
    ms_plan_free(plan);
    plan = plan_of(corpus);
    sql(corpus, "DELETE FROM lookup");
    assert_string_equal(classes(plan, 5), "");
    ms_plan_free(plan);
}

/* One request a day: the turns go on from run to run, or the first class would take them all. */
static void one_a_day(void **state)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    struct ms_error err;
    char order[21] = "";
    fill(corpus, 1, 100, "'pending', 0, NULL, 0");
    fill(corpus, 1001, 100, "'labelled', 1, 5, 100");
    fill(corpus, 2001, 100, "'not_found', 1, 5, 100");
    for (size_t i = 0; i < 20; i++) {
        struct ms_plan *plan = plan_of(corpus);
        int64_t id;
        order[i] = classes(plan, 1)[0];
        assert_ok(ms_request_reserve(corpus, "k", "files", "x", NOW, true, &id, &err), &err);
        ms_plan_free(plan);
    }
    assert_string_equal(order, "00500050060050005006");
}

static void priorities(void **state)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    fill(corpus, 1, 12, "'labelled', 1, 5, 100");
    label(corpus, 1, "'malicious', 'Worm', 'x', 40, NULL");
    label(corpus, 2, "'malicious', NULL, 'x', 40, NULL");
    label(corpus, 3, "'malicious', 'Worm', NULL, 40, NULL");
    label(corpus, 4, "'benign', NULL, NULL, 0, NULL");
    label(corpus, 5, "'benign', NULL, NULL, 0, NULL");
    label(corpus, 6, "'benign', NULL, NULL, 1, NULL");
    label(corpus, 7, "'uncertain', NULL, NULL, 3, NULL");
    label(corpus, 8, "'immature', NULL, NULL, 3, NULL");
    label(corpus, 9, "'malicious', 'Worm', 'x', 40, 'benign'");
    sql(corpus, "INSERT INTO scan (sample, source, asked, fetched_ms, first_submission_ms,"
                " body_sha256, body) VALUES (4, 'v', 'x', 1, 50, x'', x''),"
                " (5, 'v', 'x', 1, 100 - 15552001000, x'', x'')"); /* 5 is 180 days and a second */
    sql(corpus, "UPDATE lookup SET rescan_ms = 6 WHERE sample = 10;"
                "UPDATE lookup SET state = 'error' WHERE sample = 11;"
                "UPDATE lookup SET state = 'pending' WHERE sample = 12;"
                "UPDATE lookup SET due_ms = 99 WHERE sample = 8");
    struct ms_due items[20];
    struct ms_error err;
    size_t count;
    assert_ok(ms_due_pull(corpus, MS_SHARE_AGAIN, "p", NOW, NULL, items, 20, &count, &err), &err);
    static const int order[] = {10, 11, 12, 8, 7, 9, 4, 2, 3, 1, 5, 6};
    static const int class_of[] = {1, 1, 1, 2, 2, 2, 3, 4, 4, 5, 5, 5};
    assert_int_equal(count, 12);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(items[i].lookup.sample, order[i]);
        assert_int_equal(items[i].class_, class_of[i]);
    }
    /* In pieces, and counted. */
    for (size_t i = 0; i < 12; i++) {
        struct ms_due one;
        assert_ok(ms_due_pull(corpus, MS_SHARE_AGAIN, "p", NOW, i ? &items[i - 1] : NULL, &one, 1,
                              &count, &err),
                  &err);
        assert_int_equal(one.lookup.sample, order[i]);
    }
    uint64_t counts[MS_DUE_CLASSES];
    assert_ok(ms_due_count(corpus, "p", NOW, counts, &err), &err);
    static const uint64_t expected[MS_DUE_CLASSES] = {0, 3, 3, 1, 2, 3, 0};
    assert_memory_equal(counts, expected, sizeof counts);
    /* Not yet due, invalid, private. */
    sql(corpus, "UPDATE lookup SET due_ms = 1769810400001 WHERE sample < 5;"
                "UPDATE lookup SET state = 'invalid' WHERE sample BETWEEN 5 AND 10;"
                "UPDATE sample SET private = 1 WHERE id = 11");
    assert_ok(ms_due_pull(corpus, MS_SHARE_AGAIN, "p", NOW, NULL, items, 20, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(items[0].lookup.sample, 12);
    assert_ok(ms_due_count(corpus, "p", NOW, counts, &err), &err);
    assert_int_equal(counts[1], 1);
    assert_int_equal(counts[0] + counts[2] + counts[3] + counts[4] + counts[5] + counts[6], 0);
}

/* A queue of a million costs neither memory nor a scan a chunk. */
static void a_long_queue(void **state)
{
    struct ms_corpus *corpus = ((struct fixture *)*state)->corpus;
    struct ms_error err;
#ifdef MS_SLOW
    int count = 100000;
#else
    int count = 1000000;
#endif
    sql(corpus, "BEGIN");
    fill(corpus, 1, count, "'pending', 0, NULL, 0");
    sql(corpus, "COMMIT");
    /* To its end without asking, as a dry run does: reading each chunk from the start of what is
     * due would take minutes. */
    struct ms_plan *plan = plan_of(corpus);
    for (int64_t i = 1;; i++) {
        struct ms_due due;
        bool found;
        assert_ok(ms_plan_next(plan, &due, &found, &err), &err);
        if (!found) {
            assert_int_equal(i, count + 1);
            break;
        }
        assert_int_equal(due.lookup.sample, i);
    }
    ms_plan_free(plan);
    assert_true(sizeof(struct ms_plan) < 1000000);
}

static void dealt_out(void **state)
{
    (void)state;
    uint64_t out[MS_DUE_CLASSES], sum = 0;
    const uint64_t plenty[MS_DUE_CLASSES] = {1000, 10, 20, 30, 40, 1000, 1000};
    ms_plan_deal(plenty, 500, 0, out);
    static const uint64_t expected[MS_DUE_CLASSES] = {350, 10, 20, 30, 40, 0, 50};
    assert_memory_equal(out, expected, sizeof out);
    ms_plan_deal(plenty, UINT64_MAX, 3, out); /* no limit: everything */
    assert_memory_equal(out, plenty, sizeof out);
    ms_plan_deal(plenty, 0, 3, out);
    for (unsigned i = 0; i < MS_DUE_CLASSES; i++)
        sum += out[i];
    assert_int_equal(sum, 0);
    const uint64_t few[MS_DUE_CLASSES] = {1000000, 0, 0, 0, 0, 3, 0};
    ms_plan_deal(few, 500, 0, out);
    assert_int_equal(out[0], 497);
    assert_int_equal(out[5], 3);
    const uint64_t one[MS_DUE_CLASSES] = {10, 0, 0, 0, 0, 10, 10};
    ms_plan_deal(one, 1, 9, out); /* the tenth turn is the not found's */
    assert_int_equal(out[6], 1);
}

static int64_t days(const char *verdict, int64_t positives, int64_t age_days, int64_t unchanged)
{
    const struct ms_label current = {.verdict = verdict, .positives = positives};
    int64_t first = age_days < 0 ? 0 : NOW - age_days * DAY;
    return (ms_plan_due_ms(&current, first, 90, unchanged, NOW) - NOW) / DAY;
}

static void intervals(void **state)
{
    (void)state;
    static const int64_t stable[] = {30, 60, 120, 365, 365}, missed[] = {7, 14, 28, 90, 90};
    for (int64_t i = 0; i < 5; i++) {
        assert_int_equal(days("malicious", 40, 1000, i), stable[i]);
        assert_int_equal(days("uncertain", 3, 1000, i), stable[i]);
        assert_int_equal(days("benign", 1, 10, i), stable[i]);
        assert_int_equal((ms_plan_not_found_due_ms(i + 1, NOW) - NOW) / DAY, missed[i]);
    }
    const struct ms_label contested = {.verdict = "benign", .contested = "malicious"};
    assert_int_equal((ms_plan_due_ms(&contested, NOW - DAY, 90, 0, NOW) - NOW) / DAY, 7);
    assert_int_equal((ms_plan_due_ms(&contested, NOW - DAY, 90, 3, NOW) - NOW) / DAY, 90);
    assert_int_equal(days("immature", 3, 10, 0), 80);
    assert_int_equal(days("immature", 3, 89, 3), 1);
    assert_int_equal(days("immature", 3, 200, 1), 60); /* of age, but not scanned since */
    assert_int_equal(days("immature", 3, -1, 0), 30);
    assert_int_equal(days("benign", 0, 0, 0), 30);
    assert_int_equal(days("benign", 0, 31, 0), 59);
    assert_int_equal(days("benign", 0, 91, 2), 89);
    assert_int_equal(days("benign", 0, 180, 1), 60);
    assert_int_equal(days("benign", 0, -1, 0), 30);
    assert_int_equal(days("benign", 0, 179, 9), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(shares_starve_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_a_day, set_up, tear_down),
        cmocka_unit_test_setup_teardown(priorities, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_long_queue, set_up, tear_down),
        cmocka_unit_test(dealt_out),
        cmocka_unit_test(intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

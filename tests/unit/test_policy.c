/* label/policy: thresholds, maturity, and when a sample is due again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "label/policy.h"

#include <string.h>

#define DAY ((int64_t)86400000)
#define START ((int64_t)1600000000000)

static enum ms_verdict judge(const char *policy, unsigned positives, unsigned groups,
                             unsigned responding, int64_t age_days)
{
    const struct ms_vt_report report = {.first_submission_ms = START,
                                        .last_analysis_ms = START + age_days * DAY};
    const struct ms_tally tally = {
        .positives = positives, .groups = groups, .responding = responding};
    const struct ms_policy *self = ms_policy_find(policy);
    assert_non_null(self);
    return ms_policy_judge(self, &report, &tally);
}

static void thresholds(void **state)
{
    static const struct {
        const char *policy;
        unsigned positives, groups, responding;
        int64_t age_days;
        enum ms_verdict verdict;
    } cases[] = {
        {"ember2024", 0, 0, 70, 400, MS_VERDICT_BENIGN},
        {"ember2024", 1, 1, 70, 400, MS_VERDICT_UNCERTAIN},
        {"ember2024", 9, 4, 70, 400, MS_VERDICT_UNCERTAIN}, /* nine engines, four opinions */
        {"ember2024", 5, 5, 70, 400, MS_VERDICT_MALICIOUS},
        {"ember2024", 60, 40, 70, 89, MS_VERDICT_IMMATURE},
        {"ember2024", 60, 40, 70, 90, MS_VERDICT_MALICIOUS},
        {"ember2024", 0, 0, 70, 89, MS_VERDICT_IMMATURE},
        {"ember2024", 0, 0, 0, 400, MS_VERDICT_UNCERTAIN}, /* nobody answered */
        {"ember2024", 0, 0, 9, 400, MS_VERDICT_UNCERTAIN}, /* too few did */
        {"ember2024", 0, 0, 10, 400, MS_VERDICT_BENIGN},
        {"sophos-1-5", 1, 1, 70, 0, MS_VERDICT_BENIGN},
        {"sophos-1-5", 2, 2, 70, 0, MS_VERDICT_UNCERTAIN},
        {"sophos-1-5", 4, 1, 70, 0, MS_VERDICT_UNCERTAIN},
        {"sophos-1-5", 5, 1, 70, 0, MS_VERDICT_MALICIOUS},
        {"ember2017", 40, 30, 70, 0, MS_VERDICT_UNCERTAIN},
        {"ember2017", 41, 30, 70, 0, MS_VERDICT_MALICIOUS},
        {"ratio30", 20, 20, 70, 0, MS_VERDICT_UNCERTAIN},
        {"ratio30", 21, 20, 70, 0, MS_VERDICT_MALICIOUS},
        {"ratio30", 0, 0, 70, 0, MS_VERDICT_BENIGN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum ms_verdict got = judge(cases[i].policy, cases[i].positives, cases[i].groups,
                                    cases[i].responding, cases[i].age_days);
        if (got != cases[i].verdict)
            fail_msg("case %zu: %s", i, ms_verdict_name(got));
    }
    assert_null(ms_policy_find("none of them"));
}

static void ages(void **state)
{
    struct ms_vt_report report = {.first_submission_ms = START, .last_analysis_ms = START - DAY};
    const struct ms_tally tally = {.positives = 9, .groups = 9, .responding = 70};
    (void)state;
    assert_int_equal(ms_policy_age_days(&report), 0);
    report.first_submission_ms = 0;
    assert_int_equal(ms_policy_age_days(&report), -1);
    /* Only dates can show that a scan came too early. */
    assert_int_equal(ms_policy_judge(ms_policy_find("ember2024"), &report, &tally),
                     MS_VERDICT_MALICIOUS);
}

static int64_t due(enum ms_verdict verdict, int64_t tries, int64_t age_days)
{
    const struct ms_vt_report report = {.first_submission_ms = START};
    int64_t now = START + age_days * DAY;
    return (ms_policy_due_ms(ms_policy_find("ember2024"), verdict, &report, tries, now) - now) /
           DAY;
}

static void due_dates(void **state)
{
    (void)state;
    assert_int_equal(due(MS_VERDICT_IMMATURE, 1, 10), 80);
    assert_int_equal(due(MS_VERDICT_IMMATURE, 1, 90), 30); /* of age, but never scanned again */
    assert_int_equal(due(MS_VERDICT_IMMATURE, 1, 89), 1);
    assert_int_equal(due(MS_VERDICT_UNCERTAIN, 1, 900), 30);
    assert_int_equal(due(MS_VERDICT_UNCERTAIN, 3, 900), 120);
    assert_int_equal(due(MS_VERDICT_UNCERTAIN, 1000000, 900), 365);
    assert_int_equal(due(MS_VERDICT_BENIGN, 1, 10), 20);
    assert_int_equal(due(MS_VERDICT_BENIGN, 1, 100), 80);
    assert_int_equal(due(MS_VERDICT_BENIGN, 1, 900), 365);
    assert_int_equal(due(MS_VERDICT_MALICIOUS, 7, 900), 365);
    static const int64_t days[] = {7, 14, 28, 90, 90};
    for (int i = 0; i < 5; i++)
        assert_int_equal(ms_policy_not_found_due_ms(i + 1, START), START + days[i] * DAY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(thresholds), cmocka_unit_test(ages),
                                       cmocka_unit_test(due_dates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

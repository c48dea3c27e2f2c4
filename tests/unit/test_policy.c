/* label/policy and malapi2019: reading policies, thresholds, maturity, grayware, the seed's rule.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "label/malapi2019.h"
#include "label/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY ((int64_t)86400000)
#define START ((int64_t)1600000000000)

static enum ms_verdict judge(const struct ms_policy *policy, unsigned positives, unsigned groups,
                             unsigned responding, int64_t age_days)
{
    const struct ms_vt_report report = {.first_submission_ms = START,
                                        .last_analysis_ms = START + age_days * DAY};
    const struct ms_tally tally = {.positives = positives,
                                   .groups = groups,
                                   .responding = responding,
                                   .class_ = MS_CLASS_NONE};
    assert_non_null(policy);
    return ms_policy_judge(policy, &report, &tally);
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
        {"ratio30", 3, 3, 9, 0, MS_VERDICT_UNCERTAIN}, /* a third of nearly nobody */
        {"ratio30", 3, 3, 10, 0, MS_VERDICT_MALICIOUS},
        {"malapi2019", 0, 0, 70, 400, MS_VERDICT_UNCERTAIN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum ms_verdict got = judge(ms_policy_find(cases[i].policy), cases[i].positives,
                                    cases[i].groups, cases[i].responding, cases[i].age_days);
        if (got != cases[i].verdict)
            fail_msg("case %zu: %s", i, ms_verdict_name(got));
    }
    assert_null(ms_policy_find("none of them"));
    for (unsigned i = 0; i < MS_VERDICT_COUNT; i++)
        assert_int_equal(ms_verdict_by_name(ms_verdict_name((enum ms_verdict)i)), i);
    assert_int_equal(ms_verdict_by_name("bad"), MS_VERDICT_COUNT);
}

static void ages(void **state)
{
    struct ms_vt_report report = {.first_submission_ms = START, .last_analysis_ms = START - DAY};
    const struct ms_tally tally = {
        .positives = 9, .groups = 9, .responding = 70, .class_ = MS_CLASS_NONE};
    const struct ms_policy *ember = ms_policy_find("ember2024");
    (void)state;
    assert_int_equal(ms_policy_age_days(&report), 0);
    report.first_submission_ms = 0;
    assert_int_equal(ms_policy_age_days(&report), -1);
    /* Only dates can show that a scan came too early. */
    assert_int_equal(ms_policy_judge(ember, &report, &tally), MS_VERDICT_MALICIOUS);
    /* v2 says so itself when there was no scan, or none yet. */
    report.format = MS_RECORD_VT2;
    report.response_code = MS_RECORD_NO_RESPONSE;
    assert_int_equal(ms_policy_judge(ember, &report, &tally), MS_VERDICT_MALICIOUS);
    report.response_code = -2;
    assert_int_equal(ms_policy_judge(ember, &report, &tally), MS_VERDICT_UNCERTAIN);
    report.response_code = 0;
    assert_int_equal(ms_policy_judge(ember, &report, &tally), MS_VERDICT_NOT_FOUND);
    report.response_code = 1;
    assert_int_equal(ms_policy_judge(ember, &report, &tally), MS_VERDICT_MALICIOUS);
}

/* Malicious by the count, but what the engines name is grayware, and half of them do. */
static void grayware(void **state)
{
    const struct ms_policy *ember = ms_policy_find("ember2024");
    const struct ms_vt_report report = {.first_submission_ms = START,
                                        .last_analysis_ms = START + 400 * DAY};
    struct ms_tally tally = {.positives = 20, .groups = 20, .responding = 70};
    (void)state;
    tally.class_ = MS_CLASS_TOOL;
    tally.votes[MS_CLASS_TOOL] = 2;
    tally.votes[MS_CLASS_TROJAN] = 4;
    assert_int_equal(ms_policy_judge(ember, &report, &tally), MS_VERDICT_MALICIOUS);
    tally.votes[MS_CLASS_PUA] = 2;
    assert_int_equal(ms_policy_judge(ember, &report, &tally), MS_VERDICT_GRAYWARE);
    tally.class_ = MS_CLASS_ADWARE; /* none of the policy's */
    assert_int_equal(ms_policy_judge(ember, &report, &tally), MS_VERDICT_MALICIOUS);
    tally.class_ = MS_CLASS_TOOL;
    tally.groups = 4; /* not malicious in the first place */
    assert_int_equal(ms_policy_judge(ember, &report, &tally), MS_VERDICT_UNCERTAIN);
}

static enum ms_status parse(const char *text, struct ms_policy **out, struct ms_error *err)
{
    return ms_policy_parse(ms_span_of(text, strlen(text)), out, err);
}

/* What is read, what it means, and that one content has one text. */
static void policies_as_data(void **state)
{
    static const char text[] =
        "{\"malicious\": 3, \"name\": \"ours\", \"engines\": [\"Kaspersky\", \"Dr.Web\", "
        "\"drweb\", \"ESET-NOD32\"], \"count\": \"engines\", \"groups\": [[\"Kaspersky\", "
        "\"Dr Web\"], {\"engines\": [\"ESET-NOD32\", \"Panda\"], \"from\": \"2020-01-01\"}], "
        "\"grayware\": [\"PUA\", \"Adware\"], \"classes\": [\"Worm\", \"Rootkit\"], \"confirm\": "
        "3, \"min_responding\": 40, \"min_age_days\": 30, \"summary\": \"what we trust\"}";
    static const char other[] =
        "{\"name\":\"ours\",\"summary\":\"what we trust\",\"rule\":\"threshold\",\"benign\":0,"
        "\"confirm\":3,\"min_age_days\":30,\"min_responding\":40,\"count\":\"engines\","
        "\"malicious\":3,\"classes\":[\"Rootkit\",\"Worm\"],\"grayware\":[\"Adware\",\"PUA\"],"
        "\"engines\":[\"drweb\",\"esetnod32\",\"KASPERSKY\"],\"groups\":[[\"Kaspersky\",\"Dr Web\"]"
        ",{\"engines\":[\"ESET-NOD32\",\"Panda\"],\"from\":\"2020-01-01\"}]}";
    struct ms_policy *one = NULL, *two = NULL, *again = NULL;
    struct ms_error err = {0};
    (void)state;
    assert_int_equal(parse(text, &one, &err), MS_OK);
    assert_int_equal(parse(other, &two, &err), MS_OK);
    assert_string_equal(one->text, two->text);
    assert_memory_equal(one->digest, two->digest, 32);
    assert_int_equal(parse(one->text, &again, &err), MS_OK); /* the canonical form is a policy */
    assert_string_equal(again->text, one->text);
    assert_int_equal(one->who.engine_count, 3);
    assert_string_equal(one->who.engines[0], "drweb");
    assert_int_equal(one->unit, MS_UNIT_ENGINES);
    assert_int_equal(one->confirm, 3);
    assert_int_equal(one->min_responding, 40);
    assert_int_equal(one->grayware, 1u << MS_CLASS_PUA | 1u << MS_CLASS_ADWARE);
    assert_int_equal(one->classes, 1u << MS_CLASS_WORM | 1u << MS_CLASS_ROOTKIT);
    assert_string_equal(ms_engine_group_at(one->who.groups, "Dr.Web", 0), "Kaspersky");
    assert_string_equal(ms_engine_group_at(one->who.groups, "Panda", START - 300 * DAY), "Panda");
    assert_string_equal(ms_engine_group_at(one->who.groups, "Panda", START), "ESET-NOD32");
    ms_policy_free(one);
    ms_policy_free(two);
    ms_policy_free(again);
    /* Built-in ones are texts like any other; the same content under the same name is the same. */
    const struct ms_policy *builtin;
    size_t count = 0;
    for (; (builtin = ms_policy_builtin(count)) != NULL; count++) {
        assert_int_equal(parse(builtin->text, &one, &err), MS_OK);
        assert_memory_equal(one->digest, builtin->digest, 32);
        ms_policy_free(one);
    }
    assert_int_equal(count, 5);
    assert_int_equal(ms_policy_find("malapi2019")->confirm, 1);
    assert_int_equal(ms_policy_find("ember2024")->confirm, 2);
    assert_false(ms_policy_find("ember2024")->classes & 1u << MS_CLASS_ROOTKIT);
    ms_policy_free(ms_policy_find("ember2024")); /* stays */
    assert_non_null(ms_policy_find("ember2024")->text);
}

static void bad_policies(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "not JSON"},
        {"[]", "JSON object"},
        {"{}", "\"name\" is missing"},
        {"{\"name\":\"x\"}", "\"malicious\" is missing"},
        {"{\"name\":\"x\",\"malicious\":5,\"name\":\"y\"}", "not JSON"},
        {"{\"name\":\"x\",\"malicious\":5,\"min_mal\":5}", "\"min_mal\" is no member"},
        {"{\"name\":\"x\",\"malicious\":\"5\"}", "whole number from 1 to 512"},
        {"{\"name\":\"x\",\"malicious\":5.0}", "whole number"},
        {"{\"name\":\"x\",\"malicious\":true}", "whole number"},
        {"{\"name\":\"x\",\"malicious\":0}", "whole number"},
        {"{\"name\":\"x\",\"malicious\":513}", "whole number"},
        {"{\"name\":\"x\",\"malicious\":-1}", "whole number"},
        {"{\"name\":\"x\",\"malicious\":18446744073709551621}", "not JSON"},
        {"{\"name\":\"x\",\"malicious\":5,\"benign\":5}", "below"},
        {"{\"name\":\"x\",\"malicious\":101,\"count\":\"percent\"}", "100 percent"},
        {"{\"name\":\"x\",\"malicious\":5,\"count\":\"votes\"}", "none of groups engines percent"},
        {"{\"name\":\"x\",\"malicious\":5,\"rule\":\"magic\"}", "none of threshold malapi2019"},
        {"{\"name\":\"x\",\"malicious\":5,\"rule\":\"malapi2019\"}", "means nothing"},
        {"{\"name\":\"x\",\"malicious\":5,\"confirm\":0}", "from 1 to 10"},
        {"{\"name\":\"x\",\"malicious\":5,\"confirm\":11}", "from 1 to 10"},
        {"{\"name\":\"x\",\"malicious\":5,\"min_age_days\":3651}", "from 0 to 3650"},
        {"{\"name\":\"x\",\"malicious\":5,\"engines\":[]}", "list of engines"},
        {"{\"name\":\"x\",\"malicious\":5,\"engines\":[\"...\"]}", "list of engines"},
        {"{\"name\":\"x\",\"malicious\":5,\"engines\":\"Avast\"}", "list of engines"},
        {"{\"name\":\"x\",\"malicious\":5,\"engines\":[1]}", "list of engines"},
        {"{\"name\":\"x\",\"malicious\":5,\"groups\":[\"Avast\"]}", "groups"},
        {"{\"name\":\"x\",\"malicious\":5,\"groups\":[[\"A|B\"]]}", "groups"},
        {"{\"name\":\"x\",\"malicious\":5,\"groups\":[{\"from\":\"2020-01-01\"}]}", "groups"},
        {"{\"name\":\"x\",\"malicious\":5,\"groups\":[{\"engines\":[\"A\"],\"form\":\"x\"}]}",
         "groups"},
        {"{\"name\":\"x\",\"malicious\":5,\"groups\":[{\"engines\":[\"A\"],\"from\":\"soon\"}]}",
         "YYYY-MM-DD"},
        {"{\"name\":\"x\",\"malicious\":5,\"groups\":[{\"engines\":[\"A\"],\"from\":\"2020-02-01\","
         "\"until\":\"2020-01-01\"}]}",
         "before it begins"},
        {"{\"name\":\"x\",\"malicious\":5,\"grayware\":[\"Worms\"]}", "class that there is not"},
        {"{\"name\":\"x\",\"malicious\":5,\"classes\":[null]}", "class that there is not"},
        {"{\"name\":\"x\",\"malicious\":5,\"classes\":[\"none\"]}", "class that there is not"},
        {"{\"name\":\"\",\"malicious\":5}", "not empty"},
        {"{\"name\":\"x@2020-01-01\",\"malicious\":5}", "letters, digits"},
        {"{\"name\":\"dataset:x\",\"malicious\":5}", "letters, digits"},
        {"{\"name\":\"x\\u0000y\",\"malicious\":5}", "not JSON"},
        {"{\"name\":\"x\\u202ey\",\"malicious\":5}", "plain ASCII"},
        {"{\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"malicious\":5}", "overlong"},
        {"{\"name\":\"ember2024\",\"malicious\":6}", "built-in policy with another content"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_policy *policy = NULL;
        struct ms_error err = {0};
        enum ms_status status = parse(cases[i].text, &policy, &err);
        if (status != MS_E_INPUT || !strstr(err.text, cases[i].why))
            fail_msg("case %zu: %d %s", i, (int)status, err.text);
        assert_null(policy);
    }
    const struct ms_policy *none = NULL;
    struct ms_error err = {0};
    assert_int_equal(ms_policy_open("nobody", &none, &err), MS_E_USAGE);
    assert_non_null(strstr(err.text, "malapi2019"));
    assert_int_equal(ms_policy_open("/nowhere/at/all.json", &none, &err), MS_E_IO);
}

/* ---- malapi2019 ---- */

static void seed(const char *const labels[], size_t count, struct ms_malapi *out)
{
    struct ms_vt_engine engines[16];
    const struct ms_vt_report report = {.engines = engines, .engine_count = count};
    for (size_t i = 0; i < count; i++)
        engines[i] = (struct ms_vt_engine){"Engine", labels[i], MS_VT_MALICIOUS};
    assert_int_equal(ms_malapi_count(&report, out, NULL), MS_OK);
}

static const char *seed_class(const char *label)
{
    struct ms_malapi result;
    seed(&label, 1, &result);
    return result.class_ ? result.class_ : "-";
}

static void seed_rule(void **state)
{
    static const struct {
        const char *label, *class_;
    } cases[] = {
        {"Win32:AutoRun [Wrm]", "Worms"},
        {"WORM_VB", "Worms"},
        {"not-a-virus:AdWare.Win32.Foo", "Adware"},
        {"not-a-virus:Downloader.Win32.LMN", "Virus"}, /* its authors' mistake, kept */
        {"W32.Expiro", "Virus"},
        {"Risk Ware.X", "Riskware"}, /* blanks go */
        {"TrojanSpy", "Spyware"},
        {"Trojan-Dropper", "Dropper"},
        {"TR/Crypt.XPACK", "Crypt"},
        {"Trojan.Agent", "Agent"},
        {"Trj/A", "Trojan"},
        {"Rootkit.X", "Rootkit"},
        {"Unclassified", "-"},
        {"Artemis!0123", "Undefined"},
        {"", "Undefined"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(seed_class(cases[i].label), cases[i].class_) != 0)
            fail_msg("%s: %s", cases[i].label, seed_class(cases[i].label));
    struct ms_malapi result;
    /* A label without any of the words votes for itself, case and all. */
    const char *const own[] = {"Foo", "Foo", "foo", "Worm.A", "Worm"};
    seed(own, 5, &result);
    assert_int_equal(result.votes, 2);
    assert_int_equal(result.margin, 0);
    /* "Foo" is 70+111+111 = 292, bucket 4; "Worms" is 87+111+114+109+115 = 536, bucket 2. */
    assert_string_equal(result.class_, "Worms");
    const char *const comma[] = {"part,Engine_Worm", "Worm.B"};
    seed(comma, 2, &result);
    assert_string_equal(result.class_, "Worms");
    assert_int_equal(result.votes, 2);
    assert_int_equal(result.margin, 1);
    seed(NULL, 0, &result);
    assert_null(result.class_);
    assert_int_equal(result.votes, 0);
}

/* Many labels of one row, each a candidate: no more than n log n of time. */
static void seed_rule_hostile(void **state)
{
    enum { ROWS = 400, TEXT = 512 };
    struct ms_vt_engine *engines = calloc(ROWS, sizeof *engines);
    char *text = malloc((size_t)ROWS * TEXT);
    struct ms_vt_report report = {.engines = engines, .engine_count = ROWS};
    struct ms_malapi result;
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        char *label = text + i * TEXT, *p = label;
        for (unsigned n = 0; p - label < TEXT - 16; n++)
            p += sprintf(p, ",_%zx%x\xff", i, n);
        engines[i] = (struct ms_vt_engine){"E_,x", label, MS_VT_MALICIOUS};
    }
    assert_int_equal(ms_malapi_count(&report, &result, NULL), MS_OK);
    assert_string_equal(result.class_, "Undefined");
    free(text);
    free(engines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds),        cmocka_unit_test(ages),
        cmocka_unit_test(grayware),          cmocka_unit_test(policies_as_data),
        cmocka_unit_test(bad_policies),      cmocka_unit_test(seed_rule),
        cmocka_unit_test(seed_rule_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The summary of a night: nothing of what it shows becomes markup or reaches a terminal raw, and
 * the exit code is that of what matters most. */
#include "malseq/nightly.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define EVIL "<script>x</script>\\\"'&\\u202e\\u001b[31m"

static const char record_text[] =
    "{\"night\":2,\"version\":\"" EVIL "\",\"corpus\":\"" EVIL "\",\"config\":\"" EVIL
    "\",\"started\":\"s\",\"ended\":\"e\",\"exit\":5,\"why\":\"" EVIL "\",\"steps\":[{\"stage\":"
    "\"train\",\"step\":\"train\",\"command\":\"" EVIL "\",\"state\":\"failed\",\"exit\":5,"
    "\"why\":\"" EVIL "\",\"resume_at\":null,\"seconds\":1.5,\"counts\":{\"" EVIL "\":3}}],"
    "\"off\":[\"" EVIL "\"],\"new\":{\"labels\":{\"" EVIL "\":-1}},\"census\":{\"labels\":{\"" EVIL
    "\":7},\"samples\":{\"all\":1234567}},\"failures\":[{\"what\":\"" EVIL "\",\"state\":\"" EVIL
    "\",\"reason\":\"" EVIL "\",\"count\":1}],\"quota\":[{\"key\":\"" EVIL
    "\",\"used_today\":1,\"allowed_a_day\":null}],\"disk\":{},\"models\":[{\"model\":\"" EVIL
    "\",\"accuracy\":0.6,\"accuracy_low\":0.5,\"accuracy_high\":0.7,\"majority_accuracy\":0.55}]}";
static const char before_text[] =
    "[{\"night\":1,\"models\":[{\"model\":\"" EVIL "\",\"accuracy\":0.9,\"accuracy_low\":0.8,"
    "\"accuracy_high\":0.95}]},{\"night\":\"x\",\"models\":3,\"census\":[]}]";

static void test_hostile_record(void **state)
{
    json_t *record = json_loads(record_text, 0, NULL), *before = json_loads(before_text, 0, NULL);
    struct ms_error err;
    struct ms_buf out;
    (void)state;
    assert_non_null(record);
    assert_non_null(before);
    ms_buf_init(&out, 1 << 20);
    assert_int_equal(malseq_night_page(record, before, &out, &err), MS_OK);
    const char *page = ms_buf_text(&out);
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "\xe2\x80\xae"));
    assert_null(strchr(page, 0x1b));
    assert_non_null(strstr(page, "&lt;script&gt;"));
    assert_non_null(strstr(page, "the accuracy fell from 0.900 to 0.600"));
    assert_non_null(strstr(page, "1&#8239;234&#8239;567"));
    assert_non_null(strstr(page, "default-src 'none'"));
    ms_buf_clear(&out);
    malseq_night_text(record, &out);
    assert_null(strstr(ms_buf_text(&out), "\xe2\x80\xae"));
    assert_null(strchr(ms_buf_text(&out), 0x1b));
    ms_buf_release(&out);
    json_decref(record);
    json_decref(before);
}

/* A record of another time, or a damaged one: every member is missing. */
static void test_empty_record(void **state)
{
    json_t *record = json_object();
    struct ms_error err;
    struct ms_buf out;
    (void)state;
    ms_buf_init(&out, 1 << 20);
    assert_int_equal(malseq_night_page(record, NULL, &out, &err), MS_OK);
    malseq_night_text(record, &out);
    assert_false(out.failed);
    ms_buf_release(&out);
    json_decref(record);
}

static void test_verdict(void **state)
{
    static struct malseq_plan plan = {.count = 4};
    const struct malseq_night night = {.plan = &plan};
    struct ms_error err;
    (void)state;
    for (int i = 0; i < 4; i++)
        plan.steps[i] = (struct malseq_step){.name = "step", .state = MALSEQ_STEP_DONE};
    plan.steps[1].state = MALSEQ_STEP_REJECTS;
    plan.steps[3].state = MALSEQ_STEP_SKIPPED;
    assert_int_equal(malseq_night_verdict(&night, &err), MS_OK);
    plan.steps[0] = (struct malseq_step){.name = "a", .state = MALSEQ_STEP_LATER, .code = 75};
    (void)snprintf(plan.steps[0].resume_at, 32, "2026-01-02T00:00:00Z");
    assert_int_equal(malseq_night_verdict(&night, &err), MS_E_LATER);
    assert_string_equal(err.text, "a is to go on later; try again at 2026-01-02T00:00:00Z");
    /* An error says more than "later", and the first of several stands. */
    plan.steps[2] = (struct malseq_step){.name = "b", .state = MALSEQ_STEP_FAILED, .code = 3};
    plan.steps[3] = (struct malseq_step){.name = "c", .state = MALSEQ_STEP_FAILED, .code = 4};
    assert_int_equal(malseq_night_verdict(&night, &err), MS_E_INPUT);
    assert_string_equal(err.text, "b failed");
    plan.steps[2].code = 128 + 9; /* the kernel's, when there is no memory: the machine's fault */
    assert_int_equal(malseq_night_verdict(&night, &err), MS_E_IO);
    plan.steps[2].code = 128 + 11;
    assert_int_equal(malseq_night_verdict(&night, &err), MS_E_BUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hostile_record),
                                       cmocka_unit_test(test_empty_record),
                                       cmocka_unit_test(test_verdict)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The normaliser's keep_pseudo option: text and tables. */
#include "store/trace/normalise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void keep_pseudo(void **state)
{
    (void)state;
    struct ms_normal_options options = {.cut = MS_CUT_TAIL, .length = 100}, back;
    char text[MS_NORMAL_TEXT_BYTES], plain[MS_NORMAL_TEXT_BYTES];
    ms_normal_options_text(&options, plain);
    options.keep_pseudo = true;
    ms_normal_options_text(&options, text);
    assert_string_not_equal(text, plain);
    assert_int_equal(ms_normal_options_parse(text, &back, NULL), MS_OK);
    assert_true(back.keep_pseudo);
    assert_int_equal(back.length, 100);
    assert_int_equal(ms_normal_options_parse(plain, &back, NULL), MS_OK);
    assert_false(back.keep_pseudo);

    const struct ms_span names[3] = {ms_span_of("__exception__", 13), ms_span_of("NtClose", 7),
                                     ms_span_of("", 0)};
    uint32_t fold[3];
    bool pseudo[3];
    assert_int_equal(ms_normal_apis_fill(&options, names, 3, fold, pseudo, NULL), MS_OK);
    assert_false(pseudo[0] || pseudo[1]);
    assert_true(pseudo[2]);
    options.keep_pseudo = false;
    assert_int_equal(ms_normal_apis_fill(&options, names, 3, fold, pseudo, NULL), MS_OK);
    assert_true(pseudo[0] && !pseudo[1] && pseudo[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keep_pseudo)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

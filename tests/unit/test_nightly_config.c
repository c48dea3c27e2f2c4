/* nightly.conf: bad input first, then what good input becomes, and the steps that follow. */
#include "base/file.h"
#include "malseq/nightly.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct ms_arena arena;
static struct malseq_nightly_config config;
static struct malseq_plan plan;
static struct ms_error err;

static enum ms_status parse_bytes(const char *text, size_t n)
{
    ms_arena_reset(&arena);
    err = (struct ms_error){.status = MS_OK};
    return malseq_nightly_config_parse(text, n, "/etc/x/nightly.conf", &arena, &config, &err);
}

static enum ms_status parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static enum ms_status make(const char *text, unsigned wanted)
{
    const struct ms_common common = {.seed = 1};
    malseq_plan_release(&plan);
    enum ms_status status = parse(text);
    return status == MS_OK ? malseq_plan_make(&config, "C", &common, wanted, &plan, &err) : status;
}

static void test_bad_input(void **state)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"[collekt]\ndir = a\n", "conf:1: there is no section [collekt]"},
        {"\n\n[collekt]\n", "conf:3: there is no section [collekt]"},
        {"[]\n", "conf:1: there is no section []"},
        {"[time x]\nbudget = 1h\n", "conf:1: [time] takes no name behind it"},
        {"[train ../x]\nname = a\n", "conf:1: [train NAME]: a name has up to 40"},
        {"[train  ]\nname = a\n", NULL},
        {"[train a]\n[train a]\n", "conf:2: [train a] is there twice; it began in line 1"},
        {"dir = a\n", "conf:1: a key stands before the first [section]"},
        {"[corpus]\nbudget = 1h\n", "conf:2: [corpus] has no key 'budget'"},
        {"[collect]\nDir = a\n", "conf:2: [collect] has no key 'Dir'"},
        {"[collect]\n# a\n\nbad line\n", "conf:4: this is neither [section] nor key = value"},
        {"[collect\ndir = a\n", "conf:1: this is neither [section] nor key = value"},
        {"[collect]\nhistory = maybe\n", "conf:2: history = maybe: must be yes or no"},
        {"[collect]\nhistory = yes\nhistory = no\n", "conf:3: history is given twice, here and in"},
        {"[collect]\ngithub-list = a\n  b\n", "conf:3: github-list is given twice"},
        {"[collect]\nclaim = malwar\n", "conf:2: claim = malwar: must be malware|benign|unknown"},
        {"[collect]\nclaim = malware|benign\n", "must be malware|benign|unknown"},
        {"[collect]\ndir =\n", "conf:2: dir: nothing stands behind the ="},
        {"[collect]\nmax-store = 5X\n", "must be a number of bytes"},
        {"[collect]\nmax-store = 99999999999999999999G\n", "must be a number of bytes"},
        {"[collect]\nmax-store = 18446744073709551615T\n", "must be a number of bytes"},
        {"[collect]\nmax-depth = 0\n", "conf:2: max-depth = 0: must be a whole number, at least 1"},
        {"[collect]\nmax-depth = -1\n", "must be a whole number"},
        {"[collect]\nmax-depth = 1e3\n", "must be a whole number"},
        {"[collect]\nshare = 1001\n", "must be a whole number from 0 to 1000"},
        {"[time]\nbudget = 8\n", "conf:2: budget = 8: must be a time as 90s, 30m, 8h or 2d"},
        {"[time]\nbudget = 8hh\n", "must be a time"},
        {"[time]\nbudget = 367d\n", "must be a time"},
        {"[time]\nbudget = h\n", "must be a time"},
        {"[extract]\npoll = 0\n", "conf:2: poll = 0: must be a number over 0"},
        {"[extract]\npoll = inf\n", "must be a number over 0"},
        {"[extract]\npoll = 0x2\n", "must be a number over 0"},
        {"[extract]\nroute = --no-confine\n", "must be no option of a command line"},
        {"[extract]\ncuckoo = ftp://x\n", "conf:2: cuckoo: a server begins with http"},
        {"[extract]\ncuckoo = http://\n", "conf:2: cuckoo: a server begins with http"},
        {"[label]\nvt-key = @\n", "conf:2: vt-key: a secret does not stand in this file"},
        {"[label]\nvt-key = env:\n", "conf:2: vt-key: a secret does not stand in this file"},
        {"[label]\nvt-key = env:A B\n", "a secret does not stand in this file"},
        {"[label]\nvt-key = \x01\n", "conf:2: there is a byte \\x01, which no text has"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum ms_status status = parse(cases[i].text);
        if (!cases[i].said) {
            assert_int_equal(status, MS_OK);
            continue;
        }
        if (status != MS_E_INPUT || !strstr(err.text, cases[i].said))
            fail_msg("%s: %s: %s", cases[i].text, cases[i].said, err.text);
    }
    assert_int_equal(parse_bytes("[collect]\ndir = a\0b\n", 20), MS_E_INPUT);
    assert_non_null(strstr(err.text, ":2: there is a byte \\x00"));
}

/* What stands where a secret should never be shown: it may be one. */
static void test_secrets_in_clear(void **state)
{
    static const char *const cases[] = {"[label]\nvt-key = hunter2hunter2\n",
                                        "[collect]\ngithub-token = hunter2hunter2\n",
                                        "[extract]\ntoken = hunter2hunter2\n",
                                        "[extract]\ncuckoo = http://a:8090,token=hunter2hunter2\n",
                                        "[extract]\ncuckoo = http://me:hunter2hunter2@a:8090\n",
                                        "[label]\nvt-url = https://me:hunter2hunter2@a/api\n",
                                        "[collect]\ngithub-url = https://hunter2hunter2@a\n",
                                        "[collect]\ngit-host = https://me:hunter2hunter2@a\n"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(parse(cases[i]), MS_E_INPUT);
        assert_non_null(strstr(err.text, ":2: "));
        assert_non_null(strstr(err.text, "a secret does not stand in this file"));
        assert_null(strstr(err.text, "hunter2"));
    }
}

static void test_long_lines(void **state)
{
    char text[1024], key[256];
    (void)state;
    memset(key, 'a', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    (void)snprintf(text, sizeof text, "[collect]\ndir = %s\n", key);
    assert_int_equal(parse(text), MS_E_INPUT);
    assert_non_null(strstr(err.text, ":2: the line is longer than"));
    /* A section whose name libinih would cut. */
    (void)snprintf(text, sizeof text, "[train %.60s]\nname = a\n", key);
    assert_int_equal(parse(text), MS_E_INPUT);
    assert_non_null(strstr(err.text, ":1: [train NAME]"));
}

static void test_good_input(void **state)
{
    (void)state;
    assert_int_equal(parse("\xef\xbb\xbf# a comment\n[corpus]\ndir = store ; behind a value\n"
                           "[time]\nbudget = 90s\ngrace=2m\n"
                           "[extract]\ncuckoo = http://a:1,token=@keys/a,weight=2\n  https://b\n"
                           "token = @/abs/key\n[label]\nvt-key = env:MY_KEY\n"),
                     MS_OK);
    assert_string_equal(malseq_config_text(&config, "corpus", "dir", ""), "/etc/x/store");
    assert_int_equal(malseq_config_number(&config, "time", "budget", 0), 90000);
    assert_int_equal(malseq_config_number(&config, "time", "grace", 0), 120000);
    assert_int_equal(malseq_config_number(&config, "time", "wait", 7), 7);
    const struct malseq_value *server = malseq_config_find(&config, "extract", "cuckoo");
    assert_string_equal(server->text, "http://a:1,token=@/etc/x/keys/a,weight=2");
    assert_string_equal(server->next->text, "https://b");
    assert_string_equal(malseq_config_text(&config, "extract", "token", ""), "@/abs/key");
    assert_string_equal(malseq_config_text(&config, "label", "vt-key", ""), "env:MY_KEY");
    assert_int_equal(parse(""), MS_OK);
}

/* The command line of a step, as it is shown. */
static const char *shown(size_t i, struct ms_buf *out)
{
    ms_buf_clear(out);
    malseq_step_show(&plan.steps[i], out);
    return ms_buf_text(out);
}

static void test_steps(void **state)
{
    struct ms_buf line;
    (void)state;
    ms_buf_init(&line, 1 << 16);
    assert_int_equal(
        make("[audit]\n[train b]\nkind = linear\n[train a]\nname = x\n[corpus]\njobs = 2\n"
             "[extract]\nimport = r1\n  r2\nopcodes = yes\nmin-calls = 3\n"
             "[collect]\nhistory = yes\nreleases = no\ndir = d\n"
             "[collect two]\nurl-list = it's\nenabled = yes\n"
             "[label]\nenabled = no\n",
             ~0u),
        MS_OK);
    assert_int_equal(plan.count, 7);
    assert_true(plan.off[MALSEQ_STAGE_LABEL]);
    assert_string_equal(shown(0, &line),
                        "malseq collect --corpus C --progress never --json --jobs 2 "
                        "--history --dir /etc/x/d");
    assert_string_equal(shown(1, &line),
                        "malseq collect --corpus C --progress never --json --jobs 2 "
                        "--url-list '/etc/x/it'\\''s'");
    assert_string_equal(shown(2, &line), "malseq extract import --corpus C --progress never --json "
                                         "--jobs 2 --min-calls 3 -- /etc/x/r1 /etc/x/r2");
    assert_string_equal(plan.steps[3].name, "extract opcodes");
    assert_string_equal(shown(4, &line), "malseq train --corpus C --progress never --json --jobs 2 "
                                         "--name b --kind linear");
    assert_string_equal(plan.steps[5].model, "x");
    assert_string_equal(shown(6, &line),
                        "malseq audit --corpus C --progress never --json --jobs 2");
    ms_buf_release(&line);
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    assert_int_equal(make("[collect]\nhistory = yes\n", ~0u), MS_E_INPUT);
    assert_non_null(
        strstr(err.text, ":1: [collect] has nothing to do: give github-list, url-list"));
    assert_int_equal(make("[extract a]\nopcodes = no\n", ~0u), MS_E_INPUT);
    assert_non_null(strstr(err.text, ":1: [extract a] has nothing to do"));
    assert_int_equal(make("[time]\nbudget = 1h\n", ~0u), MS_E_INPUT);
    assert_non_null(strstr(err.text, "there is nothing to do"));
    assert_int_equal(make("[audit]\n", 1u << MALSEQ_STAGE_TRAIN), MS_E_INPUT);
    assert_int_equal(make("[train]\n[train a]\nname = nightly\n", ~0u), MS_E_INPUT);
    assert_non_null(strstr(err.text, "would both train the model 'nightly'"));
}

/* The example has every key, and what it has in comments can be taken out of them. */
static void test_example(void **state)
{
    struct ms_buf text;
    size_t count;
    const struct malseq_key *keys = malseq_nightly_keys(&count);
    (void)state;
    ms_buf_init(&text, 1 << 20);
    assert_int_equal(ms_file_read("examples/nightly.conf", &text, &err), MS_OK);
    assert_int_equal(parse_bytes(ms_buf_text(&text), text.len), MS_OK);
    for (size_t i = 0; i + 2 < text.len; i++) {
        char *c = (char *)text.data + i;
        bool key = c[0] == '#' && (c[1] == '[' || (c[1] >= 'a' && c[1] <= 'z'));
        if (i == 0 || c[-1] != '\n' || (!key && !(c[0] == '#' && c[1] == ' ' && c[2] == ' ')))
            continue;
        c[0] = key ? '\n' : ' ';
    }
    if (parse_bytes(ms_buf_text(&text), text.len) != MS_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < count; i++)
        if (!malseq_config_find(&config, keys[i].section, keys[i].name))
            fail_msg("the example lacks [%s] %s", keys[i].section, keys[i].name);
    ms_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_input),  cmocka_unit_test(test_secrets_in_clear),
        cmocka_unit_test(test_long_lines), cmocka_unit_test(test_good_input),
        cmocka_unit_test(test_steps),      cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_example)};
    ms_arena_init(&arena, (size_t)16 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    malseq_plan_release(&plan);
    ms_arena_release(&arena);
    return failed;
}

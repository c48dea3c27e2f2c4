/* Unit tests of base/cli: parsing, hints, secrets, help width, man page and completion. Exit codes
 * of whole programs are tested in tests/cli. */
#define _GNU_SOURCE /* memmem */
#include "base/cli_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"

struct fetch {
    bool deep;
    unsigned times;
    const char *name;
    uint64_t size;
    double rate;
    uint64_t room;
    const char *mode;
    struct ms_cli_list lists;
    struct ms_cli_secret key;
};

#define AT(field) offsetof(struct fetch, field)
static const struct ms_option fetch_options[] = {
    {.name = "deep", .letter = 'd', .kind = MS_OPT_FLAG, .offset = AT(deep), .help = "go deep"},
    {.name = "times", .letter = 't', .kind = MS_OPT_COUNT, .offset = AT(times), .help = "count"},
    {.name = "name", .kind = MS_OPT_TEXT, .arg = "NAME", .offset = AT(name), .help = "a name"},
    {.name = "size",
     .letter = 'n',
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = AT(size),
     .min = 2,
     .max = 100,
     .help = "how many of the very many things there are to be had, said at "
             "such length that the line has to be broken somewhere"},
    {.name = "rate", .kind = MS_OPT_REAL, .arg = "R", .offset = AT(rate), .help = "a rate"},
    {.name = "room",
     .kind = MS_OPT_SIZE,
     .arg = "SIZE",
     .offset = AT(room),
     .min = 1024,
     .max = (uint64_t)2 << 40,
     .help = "room to take"},
    {.name = "mode",
     .kind = MS_OPT_CHOICE,
     .choices = "fast|slow",
     .offset = AT(mode),
     .help = "how fast"},
    {.name = "list", .kind = MS_OPT_LIST, .arg = "X", .offset = AT(lists), .help = "again"},
    {.name = "key",
     .kind = MS_OPT_SECRET,
     .arg = "SECRET",
     .arg_optional = true,
     .offset = AT(key),
     .help = "a key"},
    {.name = "secret-name", .kind = MS_OPT_FLAG, .offset = AT(deep), .help = "h", .hidden = true},
};

static void fetch_defaults(void *options)
{
    struct fetch *fetch = options;
    fetch->size = 15;
    fetch->room = (uint64_t)3 << 20;
    fetch->mode = "slow";
}

static enum ms_status run_nothing(struct ms_cli *cli, struct ms_error *err)
{
    (void)cli;
    (void)err;
    return MS_OK;
}

static const struct ms_verb verbs[] = {
    {.name = "",
     .synopsis = "[--deep] PATH…",
     .summary = "Fetch.",
     .options = fetch_options,
     .option_count = sizeof fetch_options / sizeof *fetch_options,
     .options_bytes = sizeof(struct fetch),
     .defaults = fetch_defaults,
     .min_operands = 1,
     .max_operands = SIZE_MAX,
     .run = run_nothing},
    {.name = "show",
     .synopsis = "HASH",
     .summary = "Show one.",
     .min_operands = 1,
     .max_operands = 1,
     .run = run_nothing},
    {.name = "other",
     .synopsis = "[ARG…]",
     .summary = "Run another.",
     .max_operands = SIZE_MAX,
     .passthrough = true,
     .run = run_nothing},
};

static const struct ms_tool tool = {
    .name = "fetch",
    .summary = "fetch things for the tests",
    .description =
        "First sentence here. Second one with a \\ and a - in it.\n\n.starts with a dot.",
    .verbs = verbs,
    .verb_count = 3,
    .examples = "# Fetch one\nfetch --deep 'a b'\n"};

/* Splits a command line at blanks into writable words and parses it. */
struct line {
    char text[512];
    char *argv[32];
    int argc;
    struct ms_cli cli;
    struct ms_error err;
};

static enum ms_status parse(struct line *line, const char *text)
{
    memset(line, 0, sizeof *line);
    strncpy(line->text, text, sizeof line->text - 1);
    for (char *word = strtok(line->text, " "); word; word = strtok(NULL, " "))
        line->argv[line->argc++] = word;
    return ms_cli_parse(&tool, line->argc, line->argv, &line->cli, &line->err);
}

static void fails(const char *text, const char *message)
{
    struct line line;
    enum ms_status status = parse(&line, text);
    if (status != MS_E_USAGE || !strstr(line.err.text, message))
        fail_msg("'%s' gave %s '%s', not '%s'", text, ms_status_name(status), line.err.text,
                 message);
    ms_cli_release(&line.cli);
}

static void test_every_kind(void **state)
{
    (void)state;
    struct line line;
    assert_int_equal(
        parse(&line, "fetch -dtt --name=a=b --size 7 --rate -2.5e1 --room 4g --mode fast --list "
                     "x one --list=y - -- --deep"),
        MS_OK);
    const struct fetch *got = line.cli.options;
    assert_true(got->deep);
    assert_int_equal(got->times, 2);
    assert_string_equal(got->name, "a=b");
    assert_int_equal(got->size, 7);
    assert_true(got->rate == -25.0);
    assert_true(got->room == (uint64_t)4 << 30);
    assert_string_equal(got->mode, "fast");
    assert_int_equal(got->lists.count, 2);
    assert_string_equal(got->lists.items[0], "x");
    assert_string_equal(got->lists.items[1], "y");
    assert_int_equal(line.cli.operand_count, 3);
    assert_string_equal(line.cli.operands[0], "one");
    assert_string_equal(line.cli.operands[1], "-");
    assert_string_equal(line.cli.operands[2], "--deep");
    assert_false(got->key.given);
    ms_cli_release(&line.cli);
}

static void test_defaults_and_common(void **state)
{
    (void)state;
    struct line line;
    (void)unsetenv("MALSEQ_CORPUS");
    assert_int_equal(parse(&line, "fetch x"), MS_OK);
    assert_int_equal(((const struct fetch *)line.cli.options)->size, 15);
    assert_string_equal(line.cli.common.corpus, "./corpus");
    assert_true(line.cli.common.jobs >= 1 && line.cli.common.jobs <= 64);
    assert_int_equal(line.cli.common.seed, 1);
    assert_string_equal(line.cli.common.progress, "auto");
    ms_cli_release(&line.cli);
    (void)setenv("MALSEQ_CORPUS", "/elsewhere", 1);
    assert_int_equal(parse(&line, "fetch x -n5 -qv --jobs 3 --json --dry-run"), MS_OK);
    assert_int_equal(((const struct fetch *)line.cli.options)->size, 5);
    assert_string_equal(line.cli.common.corpus, "/elsewhere");
    assert_int_equal(line.cli.common.jobs, 3);
    assert_true(line.cli.common.quiet && line.cli.common.json && line.cli.common.dry_run);
    assert_int_equal(line.cli.common.verbose, 1);
    ms_cli_release(&line.cli);
    (void)unsetenv("MALSEQ_CORPUS");
}

static void test_verbs(void **state)
{
    (void)state;
    struct line line;
    assert_int_equal(parse(&line, "fetch --corpus show --json show abc"), MS_OK);
    assert_string_equal(line.cli.verb->name, "show");
    assert_string_equal(line.cli.common.corpus, "show");
    assert_int_equal(line.cli.operand_count, 1);
    ms_cli_release(&line.cli);
    assert_int_equal(parse(&line, "fetch --deep show"), MS_OK);
    assert_string_equal(line.cli.verb->name, "");
    assert_string_equal(line.cli.operands[0], "show");
    ms_cli_release(&line.cli);
    assert_int_equal(parse(&line, "fetch other --deep -z -- --help"), MS_OK);
    assert_string_equal(line.cli.verb->name, "other");
    assert_int_equal(line.cli.operand_count, 4);
    assert_string_equal(line.cli.operands[3], "--help");
    ms_cli_release(&line.cli);
    assert_int_equal(parse(&line, "fetch show --help --no-such"), MS_OK);
    assert_int_equal(line.cli.ask, MS_CLI_HELP);
    assert_string_equal(line.cli.verb->name, "show");
    ms_cli_release(&line.cli);
    assert_int_equal(parse(&line, "fetch -V"), MS_OK);
    assert_int_equal(line.cli.ask, MS_CLI_VERSION);
    ms_cli_release(&line.cli);
}

static void test_refusals(void **state)
{
    (void)state;
    fails("fetch x --dep", "unknown option '--dep'; did you mean '--deep'?");
    fails("fetch x --corpsu=y", "unknown option '--corpsu'; did you mean '--corpus'?");
    fails("fetch x --de", "unknown option '--de'");
    fails("fetch x --secret-nam", "unknown option '--secret-nam'");
    fails("fetch x --\x1b[2J", "unknown option '--\\x1b[2J'");
    fails("fetch x -dz", "unknown option '-z'");
    fails("fetch x --deep=yes", "--deep takes no value");
    fails("fetch x --name", "--name needs a value (NAME)");
    fails("fetch x --name --deep", "--name needs a value (NAME) before '--deep'");
    fails("fetch x --room 1023",
          "--room wants a number of bytes, or one with K, M, G or T, from 1K to 2T, not '1023'");
    static const char *const rooms[] = {
        "3T", "1B", "1MB", "M", "-1M", "1 M", "", "18446744073709551616", "99999999999999T"};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        char command[80];
        (void)snprintf(command, sizeof command, "fetch x --room=%s", rooms[i]);
        fails(command, "--room wants a number of bytes");
    }
    static const char *const sizes[] = {"1024", "1K", "1k", "2T"};
    static const uint64_t bytes[] = {1024, 1024, 1024, (uint64_t)2 << 40};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct line line;
        char command[80];
        (void)snprintf(command, sizeof command, "fetch x --room %s", sizes[i]);
        assert_int_equal(parse(&line, command), MS_OK);
        assert_true(((const struct fetch *)line.cli.options)->room == bytes[i]);
        ms_cli_release(&line.cli);
    }
    fails("fetch x --size 1", "--size wants a whole number from 2 to 100, not '1'");
    fails("fetch x --size 101", "not '101'");
    fails("fetch x --size 7x", "not '7x'");
    fails("fetch x --size= ", "not ''");
    fails("fetch x --size -7", "not '-7'");
    fails("fetch x --size 99999999999999999999", "not '99999999999999999999'");
    fails("fetch x --rate inf", "--rate wants a number");
    fails("fetch x --rate 1.5z", "--rate wants a number");
    fails("fetch x --mode fas", "--mode must be one of fast|slow, not 'fas'");
    fails("fetch", "missing argument: [--deep] PATH…");
    fails("fetch show", "show: missing argument: HASH");
    fails("fetch show a b", "unexpected argument 'b'");
    fails("fetch show a --deep", "unknown option '--deep'");
    fails("fetch --jobs 0 x", "--jobs wants a whole number from 1 to 64");
}

static void test_secret_leaves_argv(void **state)
{
    (void)state;
    struct line line;
    assert_int_equal(parse(&line, "fetch x --key hunter2 --name=z"), MS_OK);
    struct ms_cli_secret key = ((const struct fetch *)line.cli.options)->key;
    assert_true(key.given);
    assert_string_equal(key.spec, "hunter2");
    assert_ptr_equal(key.wipe, key.spec);
    assert_null(memmem(line.text, sizeof line.text, "hunter2", 7));
    assert_string_equal(line.cli.argv[3], "***");
    assert_string_equal(line.cli.argv[4], "--name=z");
    ms_cli_release(&line.cli);
    assert_int_equal(parse(&line, "fetch x --key=hunter2"), MS_OK);
    assert_null(memmem(line.text, sizeof line.text, "hunter2", 7));
    assert_string_equal(line.cli.argv[2], "--key=***");
    ms_cli_release(&line.cli);
    assert_int_equal(parse(&line, "fetch --key @/a/file x"), MS_OK);
    assert_string_equal(line.cli.argv[2], "@/a/file");
    assert_null(((const struct fetch *)line.cli.options)->key.wipe);
    ms_cli_release(&line.cli);
    assert_int_equal(parse(&line, "fetch x --key --deep"), MS_OK);
    key = ((const struct fetch *)line.cli.options)->key;
    assert_true(key.given);
    assert_null(key.spec);
    ms_cli_release(&line.cli);
}

static void test_help_fits_80_columns(void **state)
{
    (void)state;
    struct ms_buf text;
    ms_buf_init(&text, 1 << 20);
    ms_cli_help(&tool, NULL, &text);
    ms_cli_help(&tool, &verbs[1], &text);
    const char *p = ms_buf_text(&text);
    assert_non_null(strstr(p, "usage: fetch [--deep] PATH…\n"));
    assert_non_null(strstr(p, "fetch show HASH\n"));
    assert_non_null(strstr(p, "  -d, --deep "));
    assert_non_null(strstr(p, "--key [SECRET]"));
    assert_non_null(strstr(p, "[default: 15]"));
    assert_non_null(strstr(p, "[default: 3M]"));
    assert_non_null(strstr(p, "--mode fast|slow"));
    assert_null(strstr(p, "secret-name"));
    size_t widest = 0;
    while (*p) {
        size_t n = strcspn(p, "\n");
        size_t width = ms_utf8_width(p, n);
        widest = width > widest ? width : widest;
        assert_true(n == 0 || p[n - 1] != ' ');
        p += n + (p[n] == '\n');
    }
    assert_in_range(widest, 60, 80);
    ms_buf_release(&text);
}

static void test_man_and_completion_name_every_option(void **state)
{
    (void)state;
    struct ms_buf man, completion;
    ms_buf_init(&man, 1 << 20);
    ms_buf_init(&completion, 1 << 20);
    ms_cli_man(&tool, &man);
    ms_cli_completion(&tool, &completion);
    for (size_t i = 0; i < sizeof fetch_options / sizeof *fetch_options; i++) {
        char man_form[64], word[64];
        const char *name = fetch_options[i].name;
        if (fetch_options[i].hidden)
            continue;
        (void)snprintf(man_form, sizeof man_form, "Fl \"\\-%s\"", name);
        (void)snprintf(word, sizeof word, " --%s", name);
        assert_non_null(strstr(ms_buf_text(&man), man_form));
        assert_non_null(strstr(ms_buf_text(&completion), word));
    }
    assert_null(strstr(ms_buf_text(&completion), "secret-name"));
    assert_non_null(strstr(ms_buf_text(&man), "\n\\&.starts"));
    assert_non_null(strstr(ms_buf_text(&man), "\\e"));
    ms_buf_release(&man);
    ms_buf_release(&completion);
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"collect", "label", "extract", "train", "detect"};
    assert_string_equal(ms_cli_nearest("colect", names, 5), "collect");
    assert_string_equal(ms_cli_nearest("tarin", names, 4), "train");
    assert_null(ms_cli_nearest("zzzzz", names, 5));
    assert_null(ms_cli_nearest("", names, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_defaults_and_common),
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_secret_leaves_argv),
        cmocka_unit_test(test_help_fits_80_columns),
        cmocka_unit_test(test_man_and_completion_name_every_option),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

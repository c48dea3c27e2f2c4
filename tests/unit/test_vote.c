/* label/taxonomy, groups, tokens, vote and vtjson: from engines' labels to votes, class and family;
 * hostile file objects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"
#include "label/vote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct row {
    const char *engine, *label; /* label NULL: undetected */
};

/* A file object with these rows, read by the real reader. */
static void make_report(const struct row *rows, size_t count, struct ms_vt_report *out)
{
    struct ms_buf body;
    ms_buf_init(&body, 1 << 20);
    (void)ms_buf_append_text(&body,
                             "{\"data\":{\"attributes\":{\"md5\":"
                             "\"0123456789abcdef0123456789abcdef\",\"last_analysis_results\":{");
    for (size_t i = 0; i < count; i++) {
        (void)ms_buf_printf(&body, "%s\"%s\":{\"category\":\"%s\",\"result\":", i ? "," : "",
                            rows[i].engine, rows[i].label ? "malicious" : "undetected");
        (void)ms_buf_printf(&body, rows[i].label ? "\"%s\"}" : "null}", rows[i].label);
    }
    (void)ms_buf_append_text(&body, "}}}}");
    assert_false(body.failed);
    assert_int_equal(ms_vtjson_parse(ms_span_of(body.data, body.len), out, NULL), MS_OK);
    assert_int_equal(out->engine_count, count);
    ms_buf_release(&body);
}

static void tally(const struct row *rows, size_t count, struct ms_tally *out)
{
    struct ms_vt_report report;
    make_report(rows, count, &report);
    assert_int_equal(ms_tally_count(out, &report, NULL, NULL), MS_OK);
    /* Groups may be named by the report's own texts. */
    for (size_t i = 0; i < out->ballot_count; i++)
        assert_non_null(out->ballots[i].group);
    ms_vt_report_release(&report);
}

#define TALLY(rows, out) tally(rows, sizeof(rows) / sizeof *(rows), out)

static enum ms_class class_of(const char *engine, const char *label)
{
    static const char *const hashes[3] = {"0123456789abcdef0123456789abcdef", NULL, NULL};
    struct ms_tokens tokens;
    char text[MS_LABEL_TEXT_BYTES];
    (void)ms_label_normalise(label, text);
    ms_tokens_read(&tokens, engine, text, hashes);
    return tokens.class_;
}

static void classes_of_labels(void **state)
{
    static const struct {
        const char *engine, *label;
        enum ms_class class_;
    } cases[] = {
        {"Kaspersky", "Trojan-Downloader.Win32.Beebone.a", MS_CLASS_DOWNLOADER},
        {"Kaspersky", "Trojan.Win32.Agent.dr", MS_CLASS_TROJAN}, /* a variant, no dropper */
        {"Kaspersky", "not-a-virus:AdWare.Win32.Foo.a", MS_CLASS_ADWARE},
        {"Kaspersky", "not-a-virus:HEUR:RiskTool.Win32.Foo.a", MS_CLASS_PUA},
        {"Kaspersky", "Virus.Win32.Sality.gen", MS_CLASS_VIRUS},
        {"Kaspersky", "Net-Worm.Win32.Kido.ih", MS_CLASS_WORM},
        {"Microsoft", "TrojanDropper:Win32/Sirefef.A!dll", MS_CLASS_DROPPER},
        {"Microsoft", "Worm:Win32/Vobfus.AA", MS_CLASS_WORM},
        {"Microsoft", "VirTool:Win32/Obfuscator.XZ", MS_CLASS_TOOL},
        {"Avira", "TR/Dldr.Agent.abc", MS_CLASS_DOWNLOADER},
        {"Avira", "TR/Crypt.XPACK.Gen", MS_CLASS_TROJAN},
        {"Avira", "BDS/Backdoor.Gen7", MS_CLASS_BACKDOOR},
        {"Avast", "Win32:Vobfus-AB [Trj]", MS_CLASS_TROJAN},
        {"Avast", "Win32:AutoRun-X.B [Wrm]", MS_CLASS_WORM},
        {"Yandex", "Trojan.DL.Agent!ab12", MS_CLASS_DOWNLOADER},
        {"DrWeb", "Trojan.MulDrop5.123", MS_CLASS_DROPPER},
        {"DrWeb", "Trojan.DownLoader36.1", MS_CLASS_DOWNLOADER},
        {"Fortinet", "W32/Foo.B!tr.dldr", MS_CLASS_DOWNLOADER},
        {"Fortinet", "W32/Foo.B!tr", MS_CLASS_TROJAN},
        {"Symantec", "Infostealer", MS_CLASS_SPYWARE},
        {"TrendMicro", "PE_SALITY.RL", MS_CLASS_VIRUS},
        {"SentinelOne", "Static AI - Malicious PE", MS_CLASS_NONE},
        {"ESET-NOD32", "a variant of Win32/Filecoder.WannaCryptor.D", MS_CLASS_RANSOMWARE},
        {"BitDefender", "Gen:Variant.Barys.1234", MS_CLASS_NONE},
        {"Elastic", "malicious (high confidence)", MS_CLASS_NONE},
        {"Antiy-AVL", "Trojan[Backdoor]/Win32.Foo", MS_CLASS_BACKDOOR},
        {"X", "", MS_CLASS_NONE},
        {"X", "....", MS_CLASS_NONE},
        {"X", "\xff\xfe\x01", MS_CLASS_NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (class_of(cases[i].engine, cases[i].label) != cases[i].class_)
            fail_msg("%s of %s is %s", cases[i].label, cases[i].engine,
                     ms_class_name(class_of(cases[i].engine, cases[i].label)));
    assert_int_equal(ms_class_by_name("Worms"), MS_CLASS_WORM);
    assert_int_equal(ms_class_by_name("spyware"), MS_CLASS_SPYWARE);
    assert_int_equal(ms_class_by_name("none"), MS_CLASS_NONE);
    for (int i = 0; i < MS_CLASS_COUNT; i++)
        assert_int_equal(ms_class_by_name(ms_class_name((enum ms_class)i)), i);
}

static void tokens_of_labels(void **state)
{
    static const char *const hashes[3] = {"abcdef99abcdef99abcdef99abcdef99", NULL, NULL};
    struct ms_tokens tokens;
    char text[MS_LABEL_TEXT_BYTES];
    (void)state;
    (void)ms_label_normalise("Malware.Trojan/Win32.Zelphira12.ABCDEF99ab.gen (B)", text);
    ms_tokens_read(&tokens, "X", text, hashes);
    assert_int_equal(tokens.count, 4); /* the prefix of the md5 is gone */
    assert_string_equal(tokens.items[0].text, "trojan");
    assert_string_equal(tokens.items[1].text, "win");
    assert_false(tokens.items[1].family);
    assert_string_equal(tokens.items[2].text, "zelphira");
    assert_true(tokens.items[2].family);
    assert_int_equal(ms_label_normalise("  Malware.TR/Foo (B)", text), 6);
    assert_string_equal(text, "TR/Foo");
    char endless[2000];
    memset(endless, 'a', sizeof endless - 1);
    for (size_t i = 9; i < sizeof endless; i += 10)
        endless[i] = '.';
    endless[sizeof endless - 1] = '\0';
    ms_tokens_read(&tokens, "X", endless, hashes);
    assert_int_equal(tokens.count, MS_TOKENS_MAX);
}

static const char *group_of(const char *engine)
{
    return ms_engine_group_at(ms_groups_builtin(), engine, 0);
}

static void engine_groups(void **state)
{
    (void)state;
    assert_string_equal(group_of("GData"), group_of("BitDefender"));
    assert_string_equal(group_of("AVware"), group_of("MicroWorld-eScan"));
    assert_string_equal(group_of("avg"), group_of("Avast"));
    assert_string_equal(group_of("F-Secure"), group_of("Avira"));
    assert_string_not_equal(group_of("Avira"), group_of("BitDefender"));
    assert_string_equal(group_of("Brand New AV"), "Brand New AV");
    assert_string_equal(group_of(""), "");
}

static const char *group_on(const char *engine, const char *day)
{
    return ms_engine_group_at(ms_groups_builtin(), engine, ms_day_parse(day));
}

/* Who licenses from whom changes. */
static void groups_have_dates(void **state)
{
    static const struct {
        const char *engine, *day, *group;
    } cases[] = {{"F-Secure", "2018-10-31", "BitDefender"},
                 {"F-Secure", "2018-11-01", "Avira"},
                 {"AVG", "2016-12-31", "AVG"},
                 {"AVG", "2017-01-01", "Avast"},
                 {"Emsisoft", "2012-10-31", "Emsisoft"},
                 {"Ikarus", "2012-10-31", "Emsisoft"},
                 {"a-squared", "2009-01-01", "Emsisoft"},
                 {"Emsisoft", "2013-01-01", "BitDefender"},
                 {"Ikarus", "2013-01-01", "Ikarus"},
                 {"Qihoo-360", "2015-01-01", "BitDefender"},
                 {"Qihoo-360", "2020-01-01", "Qihoo-360"},
                 {"VIPRE", "2013-01-01", "VIPRE"},
                 {"AVware", "2013-01-01", "VIPRE"},
                 {"VIPRE", "2024-01-01", "BitDefender"},
                 {"Varist", "2013-01-01", "Cyren"},
                 {"GData", "1970-01-02", "BitDefender"},
                 {"BitDefender", "9999-12-31", "BitDefender"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(group_on(cases[i].engine, cases[i].day), cases[i].group);
    assert_int_equal(ms_day_parse("1970-01-01"), 0);
    assert_int_equal(ms_day_parse("2018-11-01"), 1541030400000);
    assert_int_equal(ms_day_parse("2024-02-29"), 1709164800000);
    assert_int_equal(ms_day_parse("2100-12-31"), 4133894400000);
    static const char *const no_days[] = {"",           "2018-11",     "2023-02-29", "1900-02-01",
                                          "2018-13-01", "2018-00-01",  "2018-01-00", "2018-01-32",
                                          "2018/01/01", "2018-01-1x",  "x018-01-01", "2018-01-011",
                                          "2100-02-29", "-018-01-011", "1969-12-31"};
    for (size_t i = 0; i < sizeof no_days / sizeof *no_days; i++)
        assert_int_equal(ms_day_parse(no_days[i]), -1);
}

/* The rows in any order give the same groups; the name the table has first leads. */
static void own_groups(void **state)
{
    static const struct ms_group_row rows[] = {{"C D", NULL, NULL},
                                               {"A (new)|B one|", NULL, NULL},
                                               {"D A(New)", "2020-01-01", "2021-01-01"}};
    static const struct ms_group_row bad[] = {{"A B", "2020-01-01", "2020-01-01"},
                                              {"A B", "2020-02-01", "2020-01-01"},
                                              {"A B", "someday", NULL},
                                              {"A B", NULL, "2020-1-1"},
                                              {"|||", NULL, NULL}};
    struct ms_groups *groups = NULL;
    struct ms_error err = {0};
    (void)state;
    assert_int_equal(ms_groups_new(rows, 3, &groups, &err), MS_OK);
    assert_string_equal(ms_engine_group_at(groups, "B One", ms_day_parse("2019-12-31")), "A (new)");
    assert_string_equal(ms_engine_group_at(groups, "B One", ms_day_parse("2020-01-01")), "C");
    assert_string_equal(ms_engine_group_at(groups, "B One", ms_day_parse("2021-01-01")), "A (new)");
    assert_string_equal(ms_engine_group_at(groups, "Avast", 0), "Avast");
    ms_groups_free(groups);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(ms_groups_new(&bad[i], 1, &groups, &err), MS_E_INPUT);
    assert_int_equal(ms_groups_new(&bad[4], 1, &groups, &err), MS_OK); /* nobody in it */
    ms_groups_free(groups);
    char many[5 * (MS_LIMIT_GROUP_ENGINES + 1) + 1], *p = many;
    for (unsigned i = 0; i <= MS_LIMIT_GROUP_ENGINES; i++)
        p += snprintf(p, 6, "%04u ", i);
    const struct ms_group_row crowd = {many, NULL, NULL};
    assert_int_equal(ms_groups_new(&crowd, 1, &groups, &err), MS_E_INPUT);
    assert_non_null(strstr(err.text, "more than"));
    ms_groups_free(NULL);
}

/* F-Secure's copy of BitDefender's vote before 2018-11 is Avira's afterwards. */
static void votes_follow_the_date(void **state)
{
    static const struct row rows[] = {{"BitDefender", "Trojan.Zelphira.1"},
                                      {"F-Secure", "Worm.Zelphira.9"},
                                      {"Avira", "Worm/Foo.A"}};
    struct ms_vt_report report;
    struct ms_tally t;
    (void)state;
    make_report(rows, 3, &report);
    report.last_analysis_ms = ms_day_parse("2018-10-31");
    assert_int_equal(ms_tally_count(&t, &report, NULL, NULL), MS_OK);
    assert_int_equal(t.groups, 2);
    assert_int_equal(t.votes[MS_CLASS_WORM], 2);
    assert_int_equal(t.votes[MS_CLASS_TROJAN], 0);
    assert_int_equal(t.class_, MS_CLASS_WORM);
    ms_tally_release(&t);
    report.last_analysis_ms = ms_day_parse("2018-11-01");
    assert_int_equal(ms_tally_count(&t, &report, NULL, NULL), MS_OK);
    assert_int_equal(t.groups, 2);
    assert_int_equal(t.votes[MS_CLASS_WORM], 1);
    assert_int_equal(t.votes[MS_CLASS_TROJAN], 1);
    assert_int_equal(t.class_, MS_CLASS_NONE);
    ms_tally_release(&t);
    ms_vt_report_release(&report);
}

/* Only the engines of a list count, under whatever spelling; one engine named twice is one. */
static void an_engine_list(void **state)
{
    static const struct row rows[] = {{"Avast", "Worm.A"},          {"Kaspersky", "Worm.B"},
                                      {"DrWeb", "Trojan.C"},        {"Brand New", "Worm.D"},
                                      {"brand-new", "Worm.Zelphi"}, {"Panda", NULL}};
    static const char engines[][MS_ENGINE_KEY_BYTES] = {"avast", "brandnew", "panda"};
    const struct ms_electorate who = {ms_groups_builtin(), engines, 3};
    struct ms_vt_report report;
    struct ms_tally t;
    (void)state;
    make_report(rows, 6, &report);
    assert_int_equal(ms_tally_count(&t, &report, &who, NULL), MS_OK);
    assert_int_equal(t.positives, 3);
    assert_int_equal(t.responding, 4);
    assert_int_equal(t.groups, 2);
    assert_int_equal(t.responding_groups, 3);
    assert_int_equal(t.votes[MS_CLASS_WORM], 2);
    assert_int_equal(t.votes[MS_CLASS_TROJAN], 0);
    assert_false(t.ballots[1].counts);
    assert_false(t.ballots[2].detects);
    ms_tally_release(&t);
    ms_vt_report_release(&report);
}

static void votes_are_per_group(void **state)
{
    static const struct row rows[] = {{"BitDefender", "Trojan.Zelphira.1"},
                                      {"GData", "Trojan.Zelphira.1"},
                                      {"ALYac", "Trojan.Zelphira.2"},
                                      {"Kaspersky", "Worm.Win32.Zelphira.a"},
                                      {"ZoneAlarm", "Worm.Win32.Zelphira.b"},
                                      {"Microsoft", "Worm:Win32/Zelphira.A"},
                                      {"DrWeb", NULL},
                                      {"Panda", NULL}};
    struct ms_tally t;
    char votes[256];
    (void)state;
    TALLY(rows, &t);
    assert_int_equal(t.positives, 6);
    assert_int_equal(t.responding, 8);
    assert_int_equal(t.groups, 3);
    assert_int_equal(t.responding_groups, 5);
    assert_int_equal(t.class_, MS_CLASS_WORM);
    assert_int_equal(t.votes[MS_CLASS_WORM], 2);
    assert_int_equal(t.votes[MS_CLASS_TROJAN], 1);
    assert_int_equal(t.margin, 2);
    assert_int_equal(t.ballots[1].copy_of, 0);
    assert_int_equal(t.ballots[2].copy_of, -1);
    assert_string_equal(t.family, "zelphira");
    assert_int_equal(t.family_votes, 3);
    ms_tally_votes_json(&t, votes);
    assert_string_equal(votes, "{\"Trojan\":1,\"Worm\":2}");
    ms_tally_release(&t);
}

static void one_group_is_no_class(void **state)
{
    static const struct row one[] = {{"Kaspersky", "Worm.Win32.Zelphira.a"},
                                     {"ZoneAlarm", "Worm.Win32.Zelphira.b"},
                                     {"DrWeb", "Trojan.Foobar.1"}};
    static const struct row trojans[] = {{"Kaspersky", "Worm.Win32.Zelphira.a"},
                                         {"DrWeb", "Trojan.Foobar.1"},
                                         {"Microsoft", "Trojan:Win32/Barfoo"}};
    static const struct row ransom[] = {{"Kaspersky", "Trojan-Ransom.Win32.Foo.a"},
                                        {"DrWeb", "Trojan.Ransom.1"},
                                        {"Microsoft", "Trojan:Win32/Barfoo"},
                                        {"Panda", "Trj/A"},
                                        {"Ikarus", "Trojan.B"}};
    struct ms_tally t;
    (void)state;
    TALLY(one, &t);
    assert_int_equal(t.class_, MS_CLASS_NONE);
    assert_int_equal(t.margin, 0);
    ms_tally_release(&t);
    /* Trojan wins only because no specific class has two groups. */
    TALLY(trojans, &t);
    assert_int_equal(t.class_, MS_CLASS_TROJAN);
    ms_tally_release(&t);
    /* What is ransomware is not forced into the eight, not even into the many Trojans. */
    TALLY(ransom, &t);
    assert_int_equal(t.class_, MS_CLASS_RANSOMWARE);
    ms_tally_release(&t);
}

/* The order of independent engines must not decide anything. */
static void order_does_not_matter(void **state)
{
    static const struct row rows[] = {
        {"Kaspersky", "Worm.Win32.Aaaa.a"}, {"DrWeb", "BackDoor.Bbbb.1"},
        {"Microsoft", "Worm:Win32/Aaaa"},   {"Ikarus", "Backdoor.Win32.Cccc"},
        {"Panda", "Trj/Downloader.X"},      {"Sophos", "Troj/DwnLdr-A"},
        {"Symantec", "Backdoor.Bbbb"},      {"GData", "Trojan.Agent.1"}};
    enum { N = sizeof rows / sizeof *rows };
    struct row turned[N];
    struct ms_tally t;
    (void)state;
    for (size_t shift = 0; shift < N; shift++) {
        for (size_t i = 0; i < N; i++)
            turned[i] = rows[(i * 5 + shift) % N];
        TALLY(turned, &t);
        assert_int_equal(t.class_, MS_CLASS_BACKDOOR);
        assert_int_equal(t.votes[MS_CLASS_BACKDOOR], 3);
        assert_int_equal(t.margin, 1);
        assert_string_equal(t.family, "bbbb"); /* two groups each: the last in byte order */
        ms_tally_release(&t);
    }
}

static enum ms_status parse(const char *text, struct ms_vt_report *out)
{
    return ms_vtjson_parse(ms_span_of(text, strlen(text)), out, NULL);
}

static void file_objects(void **state)
{
    struct ms_vt_report report;
    (void)state;
    assert_int_equal(
        parse(
            "{\"data\":{\"id\":\"x\",\"attributes\":{\"sha256\":"
            "\"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855\",\"sha1\":\"no\","
            "\"size\":12,\"first_submission_date\":1600000000,\"last_analysis_date\":1700000000,"
            "\"nsrl_info\":{},\"popular_threat_classification\":{\"suggested_threat_label\":\"a.b/"
            "c\","
            "\"popular_threat_category\":[{\"count\":1,\"value\":\"x\"},{\"count\":5,\"value\":"
            "\"y\"}]},"
            "\"last_analysis_results\":{\"Z\":{\"category\":\"confirmed-timeout\",\"result\":null},"
            "\"A\":{\"category\":\"malicious\",\"result\":\"W\"},\"Q\":{\"category\":\"new\"},"
            "\"N\":null,\"M\":{\"category\":7,\"result\":{}},\"R\":{\"result\":\"W2\"},"
            "\"S\":{\"result\":null}}}}}",
            &report),
        MS_OK);
    assert_int_equal(strlen(report.sha256), 64);
    assert_int_equal(report.sha256[0], 'e');
    assert_string_equal(report.sha1, "");
    assert_int_equal(report.size, 12);
    assert_int_equal(report.first_submission_ms, 1600000000000);
    assert_int_equal(report.last_analysis_ms, 1700000000000);
    assert_true(report.trusted);
    assert_string_equal(report.category, "y");
    assert_string_equal(report.suggested, "a.b/c");
    assert_int_equal(report.engine_count, 7);
    assert_string_equal(report.engines[0].name, "Z"); /* document order */
    assert_int_equal(report.engines[0].category, MS_VT_TIMEOUT);
    assert_string_equal(report.engines[1].result, "W");
    assert_int_equal(report.engines[2].category, MS_VT_OTHER);
    assert_null(report.engines[4].result);
    assert_int_equal(report.engines[4].category, MS_VT_OTHER);
    assert_int_equal(report.engines[5].category, MS_VT_MALICIOUS); /* simplified rows */
    assert_int_equal(report.engines[6].category, MS_VT_UNDETECTED);
    ms_vt_report_release(&report);
    /* A line of a feed has no envelope; dates that make no sense are unknown. */
    assert_int_equal(parse("{\"attributes\":{\"first_submission_date\":-5,\"last_analysis_date\":"
                           "99999999999999,\"size\":\"big\"}}",
                           &report),
                     MS_OK);
    assert_int_equal(report.first_submission_ms, 0);
    assert_int_equal(report.last_analysis_ms, 0);
    assert_int_equal(report.size, -1);
    assert_int_equal(report.engine_count, 0);
    ms_vt_report_release(&report);
}

static void hostile_objects(void **state)
{
    static const char *const bad[] = {"",
                                      "null",
                                      "[]",
                                      "{}",
                                      "{\"data\":[]}",
                                      "{\"data\":{\"attributes\":[]}}",
                                      "{\"data\":{\"attributes\":{}}",
                                      "<html>quota</html>",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"data\":{\"attributes\":{\"md5\":\"\xff\"}}}"};
    struct ms_vt_report report;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parse(bad[i], &report), MS_REJECT);
    size_t n = 200000;
    char *deep = malloc(n + 1);
    memset(deep, '[', n);
    deep[n] = '\0';
    assert_int_equal(parse(deep, &report), MS_REJECT);
    free(deep);

    /* Too many engines; long names and labels are cut, NULs end them. */
    struct ms_buf body;
    ms_buf_init(&body, 1 << 22);
    (void)ms_buf_append_text(&body, "{\"attributes\":{\"last_analysis_results\":{");
    for (unsigned i = 0; i <= MS_LIMIT_ENGINES; i++)
        (void)ms_buf_printf(&body, "%s\"e%u\":{}", i ? "," : "", i);
    (void)ms_buf_append_text(&body, "}}}");
    assert_int_equal(ms_vtjson_parse(ms_span_of(body.data, body.len), &report, NULL), MS_REJECT);
    ms_buf_clear(&body);
    (void)ms_buf_append_text(&body, "{\"attributes\":{\"last_analysis_results\":{\"");
    for (int i = 0; i < 1000; i++)
        (void)ms_buf_append_text(&body, "long");
    (void)ms_buf_append_text(&body,
                             "\":{\"category\":\"malicious\",\"result\":\"Worm\\u0000x\"}}}}");
    assert_int_equal(ms_vtjson_parse(ms_span_of(body.data, body.len), &report, NULL), MS_OK);
    assert_int_equal(strlen(report.engines[0].name), MS_LIMIT_ENGINE_NAME_BYTES);
    assert_string_equal(report.engines[0].result, "Worm");
    ms_vt_report_release(&report);
    ms_buf_release(&body);
}

/* The whole way: the confined worker, the pipe, the frames. */
static void confined_reader(void **state)
{
    static const char good[] =
        "{\"data\":{\"attributes\":{\"md5\":\"0123456789abcdef0123456789abcdef\","
        "\"last_analysis_results\":{\"A\":{\"category\":\"malicious\","
        "\"result\":\"Worm\"}}}}}";
    const struct ms_worker_options options = {&ms_vtjson_kind, 1, false};
    struct ms_worker *worker = NULL;
    struct ms_vt_report report;
    struct ms_error err = {0};
    (void)state;
    assert_int_equal(ms_worker_start(&options, &worker, &err), MS_OK);
    assert_int_equal(ms_vtjson_read(worker, ms_span_of(good, sizeof good - 1), &report, &err),
                     MS_OK);
    assert_string_equal(report.engines[0].result, "Worm");
    assert_string_equal(report.md5, "0123456789abcdef0123456789abcdef");
    ms_vt_report_release(&report);
    assert_int_equal(ms_vtjson_read(worker, ms_span_of("<html>", 6), &report, &err), MS_REJECT);
    assert_non_null(strstr(err.text, "line 1, byte 0: not a JSON value"));
    assert_int_equal(ms_vtjson_read(worker, ms_span_of("", 0), &report, &err), MS_REJECT);
    assert_int_equal(ms_vtjson_read(worker, ms_span_of(good, sizeof good - 1), &report, &err),
                     MS_OK);
    ms_vt_report_release(&report);
    /* Many by one job: bad ones cost themselves alone, in whatever place. */
    enum { MANY = 150 };
    struct ms_span bodies[MANY];
    struct ms_vt_reading readings[MANY];
    char deep[1000];
    memset(deep, '[', sizeof deep);
    for (size_t i = 0; i < MANY; i++)
        bodies[i] = i % 7 == 0   ? ms_span_of("<html>", 6)
                    : i % 7 == 3 ? ms_span_of(deep, sizeof deep)
                    : i % 7 == 5 ? ms_span_of("", 0)
                                 : ms_span_of(good, sizeof good - 1);
    assert_int_equal(ms_vtjson_read_many(worker, bodies, MANY, readings, &err), MS_OK);
    for (size_t i = 0; i < MANY; i++) {
        bool bad = i % 7 == 0 || i % 7 == 3 || i % 7 == 5;
        assert_int_equal(readings[i].status, bad ? MS_REJECT : MS_OK);
        if (bad) {
            assert_non_null(strstr(readings[i].why, i % 7 == 3   ? "nested too deeply"
                                                    : i % 7 == 5 ? "empty"
                                                                 : "not a JSON value"));
            continue;
        }
        assert_string_equal(readings[i].report.engines[0].result, "Worm");
        ms_vt_report_release(&readings[i].report);
    }
    assert_int_equal(ms_vtjson_read_many(worker, bodies, 0, readings, &err), MS_OK);
    ms_worker_stop(worker);
}

/* Stands in for a reader that dies on one body: the job counts what it is asked and kills itself.
 */
static enum ms_status dying_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                struct ms_error *err)
{
    char input[64];
    ssize_t n = read(input_fd, input, sizeof input);
    (void)arg;
    (void)err;
    for (ssize_t at = 0; at < n; at += 1 + input[at]) {
        if (input[at + 1] == 'X')
            abort();
        if (ms_worker_emit(out, 2, "no", 2) != MS_OK)
            return MS_E_IO;
    }
    return MS_OK;
}

static void a_death_costs_one_body(void **state)
{
    const struct ms_worker_kind kind = {"vtjson", dying_job, NULL};
    const struct ms_worker_options options = {&kind, 1, false};
    struct ms_worker *worker = NULL;
    struct ms_vt_reading readings[6];
    const char *const texts[6] = {"a", "b", "X", "c", "X", "X"};
    struct ms_span bodies[6];
    (void)state;
    for (size_t i = 0; i < 6; i++)
        bodies[i] = ms_span_of(texts[i], 1);
    assert_int_equal(ms_worker_start(&options, &worker, NULL), MS_OK);
    assert_int_equal(ms_vtjson_read_many(worker, bodies, 6, readings, NULL), MS_OK);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(readings[i].status, MS_REJECT);
        assert_non_null(strstr(readings[i].why, texts[i][0] == 'X' ? "signal" : "no"));
    }
    ms_worker_stop(worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(confined_reader),
        cmocka_unit_test(a_death_costs_one_body),
        cmocka_unit_test(classes_of_labels),
        cmocka_unit_test(tokens_of_labels),
        cmocka_unit_test(engine_groups),
        cmocka_unit_test(groups_have_dates),
        cmocka_unit_test(own_groups),
        cmocka_unit_test(votes_follow_the_date),
        cmocka_unit_test(an_engine_list),
        cmocka_unit_test(votes_are_per_group),
        cmocka_unit_test(one_group_is_no_class),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(file_objects),
        cmocka_unit_test(hostile_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

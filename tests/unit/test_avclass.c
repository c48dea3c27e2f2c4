/* The AVClass engine on rules made for this test: each step of the judgement, malformed rules, and
 * labels that are hostile. */
#include "label/avclass.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char taxonomy[] = "# comment\n"
                               "\n"
                               "FAM:zbot\r\n"
                               "BEH:zbot\n" /* the first definition counts */
                               "class:Grayware:AdWare\n"
                               "CLASS:grayware\n"
                               "CLASS:downloader\n"
                               "FILE:os:windows\n"
                               "BEH:execdownload\n"
                               "GEN:trojan\n"
                               "GEN:generic\n"
                               "lonely\n"
                               "FAM:ab";
static const char tagging[] = "adload\tadware\n"
                              "win windows\n"
                              "dloader\tdownloader   trojan\n"
                              "dloader\tFAM:zbot\n"
                              "gone\ttrojan\n"
                              "same same\n"
                              "short\n"
                              "#zbot\tdownloader\n"
                              "zbotte\tZBOT\n"
                              "pup\tpathless\n";
static const char expansion[] = "downloader\texecdownload\n"
                                "execdownload\tzbot\n";

static const char md5[] = "0123456789abcdef0123456789abcdef";
static const char sha1[] = "deadbeefcafe0000111122223333444455556666";
static const char sha256[] = "feedface00000000000000000000000000000000000000000000000000000000";

static struct ms_span text_span(const char *text)
{
    return ms_span_of(text, strlen(text));
}

static struct ms_avclass *new_engine(void)
{
    const struct ms_avclass_rules rules = {text_span(taxonomy), text_span(tagging),
                                           text_span(expansion)};
    struct ms_avclass *engine = NULL;
    assert_int_equal(ms_avclass_new(&rules, &engine, NULL), MS_OK);
    return engine;
}

/* "engine=label" texts to "vt_count family pup path|count,…"; the result is static. */
static const char *judge(struct ms_avclass *engine, bool clean, const char *const *texts)
{
    static char out[1024];
    struct ms_avclass_label labels[16];
    struct ms_avclass_sample sample = {
        text_span(md5), text_span(sha1), text_span(sha256), labels, 0, clean};
    struct ms_avclass_verdict verdict;
    for (; *texts; texts++) {
        const char *split = strchr(*texts, '=');
        labels[sample.count++] = (struct ms_avclass_label){
            ms_span_of(*texts, (size_t)(split - *texts)), text_span(split + 1)};
    }
    assert_int_equal(ms_avclass_judge(engine, &sample, &verdict, NULL), MS_OK);
    int n = snprintf(out, sizeof out, "%zu %.*s%s %d", verdict.vt_count,
                     verdict.family ? (int)verdict.family->name.len : 1,
                     verdict.family ? (const char *)verdict.family->name.data : "-",
                     verdict.verified ? "!" : "", verdict.pup);
    for (size_t i = 0; i < verdict.tag_count; i++) {
        const struct ms_avclass_tag *tag = &verdict.tags[i];
        n += snprintf(out + n, sizeof out - (size_t)n, "%c%.*s|%zu", i ? ',' : ' ',
                      (int)tag->path.len, (const char *)tag->path.data, tag->count);
        assert_true(tag->known || memcmp(tag->path.data, "UNK:", 4) == 0);
    }
    return out;
}

#define EXPECT(expected, clean, ...)                                                            \
    do {                                                                                        \
        struct ms_avclass *engine = new_engine();                                               \
        const char *const texts[] = {__VA_ARGS__, NULL};                                        \
        assert_string_equal(judge(engine, clean, texts), expected);                             \
        assert_string_equal(judge(engine, clean, texts), expected); /* no trace of the first */ \
        ms_avclass_free(engine);                                                                \
    } while (0)

static void ranks_what_two_labels_say(void **state)
{
    (void)state;
    EXPECT("2 zbot! 0 FAM:zbot|2", false, "A=Trojan.Zbot.x", "B=Win32/ZBOT77.AB");
    EXPECT("1 - 0", false, "A=Zbot");
    EXPECT("2 - 0", false, "A=Zbot", "B=");
    EXPECT("2 wwwww 0 UNK:wwwww|2,UNK:aaaaa|2", false, "A=aaaaa.wwwww", "B=wwwww/aaaaa");
    EXPECT("2 - 0 lonely|2", false, "A=lonely a", "B=lonely b");
    EXPECT("2 - 0", false, "A=abc", "B=xyz abc9");
    EXPECT("2 - 0", false, "A=ab 1", "B=ab 2"); /* a family of two letters, but a token of two */
    EXPECT("2 foo1bar 0 UNK:foo1bar|2", false, "A=foo1bar22", "B=FOO1BAR");
    EXPECT("3 foobarq 0 UNK:foobarq|2", false, "A=Foobarq.Foobarq", "B=x", "C=foobarq");
}

static void applies_rules_and_expands_once(void **state)
{
    (void)state;
    /* downloader brings execdownload, which brings nothing further by itself. */
    EXPECT("2 zbot! 0 FAM:zbot|2,BEH:execdownload|2,CLASS:downloader|2", false, "A=dloader.a",
           "B=dloader.b");
    EXPECT("2 - 0 BEH:execdownload|2,CLASS:downloader|2", false, "A=downloader.a",
           "B=downloader.b");
    EXPECT("2 - 1 CLASS:grayware|2,CLASS:grayware:adware|2", false, "A=adload a", "B=Adware b");
    EXPECT("2 - 0 FILE:os:windows|2", false, "A=win a", "B=win32 b");
    EXPECT("2 - 0", false, "A=gone a", "B=gone b");               /* all it gives is generic */
    EXPECT("2 same 0 UNK:same|2", false, "A=same a", "B=same b"); /* no rule */
    EXPECT("2 short 0 UNK:short|2", false, "A=short a", "B=short b");
    EXPECT("2 pathless 0 UNK:pathless|2", false, "A=pup a", "B=pathless");
    EXPECT("2 zbot! 0 FAM:zbot|2", false, "A=zbotte", "B=zbot");
}

static void drops_copies_and_suffixes(void **state)
{
    (void)state;
    EXPECT("2 - 0", false, "BitDefender=Zbot.1", "Emsisoft=Zbot.1 (B)");
    EXPECT("2 - 0", false, "Avira=TR/Zbot.A", "F-Secure=Malware.TR/Zbot.A");
    EXPECT("2 zbot! 0 FAM:zbot|2", false, "A=zbot.x", "B=Zbot.x");
    EXPECT("2 - 0", false, "A=Malware.", "B= (B)");
    EXPECT("3 wxyzk 0 UNK:wxyzk|2", false, "B=Fooba.wxyzk", "GData=Fooba.wxyzk", "C=wxyzk y");
    EXPECT("3 - 0", false, "GData=Fooba.wxyzk", "B=Fooba.wxyzk", "C=wxyzk y");
    EXPECT("2 fooba 0 UNK:fooba|2", false, "AVG=Fooba.AZYG9", "X=azyg9 fooba");
    EXPECT("2 fooba 0 UNK:fooba|2,UNK:azyg|2", false, "AVG=Fooba.AZYg", "X=azyg fooba");
    EXPECT("2 fooba 0 UNK:fooba|2", false, "AVG=Fooba.AZYG\n", "X=azyg fooba");
    EXPECT("2 fooba 0 UNK:fooba|2", false, "Agnitum=Fooba!abcde", "X=fooba abcde");
    EXPECT("2 fooba 0 UNK:fooba|2", false, "Kaspersky=Fooba", "X=fooba a");
}

static void ignores_prefixes_of_the_hashes(void **state)
{
    (void)state;
    EXPECT("2 - 0", false, "A=x!0123456789AB", "B=y!0123456789ab");
    EXPECT("2 - 0", false, "A=x!DEADBEEFCAFE", "B=y!deadbeefcafe0000");
    EXPECT("2 - 0", false, "A=x feedf", "B=y feedf");
    EXPECT("2 feedb 0 UNK:feedb|2", false, "A=x feedb", "B=y feedb");
}

static void cleans_only_when_told(void **state)
{
    (void)state;
    EXPECT("2 zbot! 0 FAM:zbot|2", true, "A=\x01zb\xc3\xb6otte\x7f", "B=Zbotte qq");
    EXPECT("2 - 0", false, "A=zb\xc3\xb6tte", "B=Zbot qq");
    EXPECT("2 - 0", true, "A= zbot \t", "B=zbot");
    EXPECT("2 zbot! 0 FAM:zbot|2", false, "A= zbot ", "B=zbot");
    EXPECT("2 - 0", true, "A=\xff\xfe", "B=\x01");
}

static void marks_pup_by_the_first_class(void **state)
{
    (void)state;
    EXPECT("6 zbot! 0 FAM:zbot|5,CLASS:grayware|2,CLASS:grayware:adware|2", false, "A=Zbot a",
           "B=Zbot b", "C=Zbot c", "D=Zbot d", "E=Zbot e adware", "F=q adware");
    EXPECT("5 zbot! 1 FAM:zbot|4,CLASS:grayware|2,CLASS:grayware:adware|2", false, "A=Zbot a",
           "B=Zbot b", "C=Zbot c", "E=Zbot e adware", "F=q adware");
    EXPECT("4 - 0 BEH:execdownload|3,CLASS:downloader|3,CLASS:grayware|2,CLASS:grayware:adware|2",
           false, "A=downloader a", "B=downloader b", "C=downloader adware", "D=adware d");
}

static void counts_only_the_engines_of_a_list(void **state)
{
    (void)state;
    struct ms_avclass *engine = new_engine();
    const struct ms_span names[] = {text_span("B"), text_span("A")};
    const char *const texts[] = {"A=zbot a", "B=zbot b", "C=adware", "D=adware d", NULL};
    assert_int_equal(ms_avclass_only(engine, names, 2, NULL), MS_OK);
    assert_string_equal(judge(engine, false, texts), "2 zbot! 0 FAM:zbot|2");
    assert_int_equal(ms_avclass_only(engine, names, 1, NULL), MS_OK);
    assert_string_equal(judge(engine, false, texts), "1 - 0");
    assert_int_equal(ms_avclass_only(engine, NULL, 0, NULL), MS_OK);
    assert_string_equal(judge(engine, false, texts),
                        "0 zbot! 1 FAM:zbot|2,CLASS:grayware|2,CLASS:grayware:adware|2");
    ms_avclass_free(engine);
}

/* Rules of every shape that a file can have by accident or by intent compile, and give tags that
 * Python's reading of them would give. */
static void takes_any_rules(void **state)
{
    (void)state;
    static const char odd_taxonomy[] =
        "FAM:\n  \n:\n::::\nGEN::x\nFAM:fooba:barfo\n FAM:spaced out \r"
        "\x00\xff\nunk:knownunk\nFAM:fooba";
    static const char odd_tagging[] = "\tfooba\n fooba\tbarfo \x1f quxqu\nword :\nX:word2 Y:fooba:";
    const struct ms_avclass_rules rules = {ms_span_of(odd_taxonomy, sizeof odd_taxonomy - 1),
                                           text_span(odd_tagging),
                                           text_span("barfo barfo a:barfo")};
    struct ms_avclass *engine = NULL;
    assert_int_equal(ms_avclass_new(&rules, &engine, NULL), MS_OK);
    const char *const one[] = {"A=fooba a", "B=fooba b", NULL};
    assert_string_equal(judge(engine, false, one),
                        "2 quxqu 0 UNK:quxqu|2,FAM:fooba|2,FAM:fooba:barfo|2");
    const char *const two[] = {"A=word a", "B=word b", "C=knownunk", "D=knownunk d", NULL};
    assert_string_equal(judge(engine, false, two), "4 knownunk! 0 UNK:knownunk|2,FAM:|2");
    ms_avclass_free(engine);
    const struct ms_avclass_rules none = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    assert_int_equal(ms_avclass_new(&none, &engine, NULL), MS_OK);
    assert_string_equal(judge(engine, false, one), "2 fooba 0 UNK:fooba|2");
    ms_avclass_free(engine);
}

/* Rules whose tags multiply are refused at the limit instead of filling memory. */
static void refuses_rules_that_multiply(void **state)
{
    (void)state;
    enum { SIDE = 6000 };
    struct ms_avclass *engine = NULL;
    struct ms_error err = {0};
    char *tags = malloc(SIDE * 16), *sources = malloc(SIDE * 16);
    assert_non_null(tags);
    assert_non_null(sources);
    size_t n = (size_t)sprintf(tags, "hub"), m = 0;
    for (int i = 0; i < SIDE; i++) {
        n += (size_t)sprintf(tags + n, " t%d", i);
        m += (size_t)sprintf(sources + m, "s%dx hub\n", i);
    }
    const struct ms_avclass_rules rules = {{NULL, 0}, ms_span_of(sources, m), ms_span_of(tags, n)};
    assert_int_equal(ms_avclass_new(&rules, &engine, &err), MS_E_LIMIT);
    free(tags);
    free(sources);
}

/* Many labels of many words, none of which is known: all are kept apart, in linear time. */
static void keeps_many_words_apart(void **state)
{
    (void)state;
    enum { WORDS = 200000 };
    struct ms_avclass *engine = new_engine();
    char *text = malloc(WORDS * 12);
    struct ms_avclass_label labels[2];
    struct ms_avclass_verdict verdict;
    assert_non_null(text);
    size_t n = 0;
    for (int i = 0; i < WORDS; i++)
        n += (size_t)sprintf(text + n, "w%06dq ", i);
    labels[0] = (struct ms_avclass_label){text_span("A"), ms_span_of(text, n)};
    labels[1] = (struct ms_avclass_label){text_span("B"), ms_span_of(text, n - 1)};
    struct ms_avclass_sample sample = {
        text_span(md5), text_span(sha1), text_span(sha256), labels, 2, false};
    assert_int_equal(ms_avclass_judge(engine, &sample, &verdict, NULL), MS_OK);
    assert_int_equal(verdict.tag_count, WORDS);
    assert_memory_equal(verdict.tags[0].path.data, "UNK:w199999q", 12);
    assert_memory_equal(verdict.tags[WORDS - 1].path.data, "UNK:w000000q", 12);
    free(text);
    ms_avclass_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_what_two_labels_say),
        cmocka_unit_test(applies_rules_and_expands_once),
        cmocka_unit_test(drops_copies_and_suffixes),
        cmocka_unit_test(ignores_prefixes_of_the_hashes),
        cmocka_unit_test(cleans_only_when_told),
        cmocka_unit_test(marks_pup_by_the_first_class),
        cmocka_unit_test(counts_only_the_engines_of_a_list),
        cmocka_unit_test(takes_any_rules),
        cmocka_unit_test(refuses_rules_that_multiply),
        cmocka_unit_test(keeps_many_words_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

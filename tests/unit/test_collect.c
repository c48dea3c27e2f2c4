/* Passwords and repository lists of collect, and a worker that lies to it. */
#define _GNU_SOURCE
#include "base/limits.h"
#include "collect/github.h"
#include "collect/intake.h"
#include "collect/job.h"
#include "collect/list.h"
#include "collect/password.h"
#include "collect/pe_features.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static struct ms_span span(const char *text)
{
    return ms_span_of(text, strlen(text));
}

/* ---- passwords ------------------------------------------------------------------------------- */

static struct ms_arena arena;
static struct ms_passwords set;
static struct ms_error err;

static int fresh(void **state)
{
    (void)state;
    ms_arena_init(&arena, 64 << 20);
    return ms_passwords_init(&set, &arena, &err) == MS_OK ? 0 : 1;
}

static int drop(void **state)
{
    (void)state;
    ms_arena_release(&arena);
    return 0;
}

/* The candidates joined by '|', for a readable comparison. */
static const char *candidates(size_t max)
{
    static char text[16384];
    struct ms_span out[128];
    size_t used = 0;
    size_t count = ms_passwords_candidates(&set, out, max);
    assert_true(count <= max);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.*s", i ? "|" : "",
                                 (int)out[i].len, (const char *)out[i].data);
    return text;
}

static void assert_begins(const char *want)
{
    const char *have = candidates(64);
    if (strncmp(have, want, strlen(want)) != 0)
        print_error("have %s\nwant %s\n", have, want);
    assert_memory_equal(have, want, strlen(want));
}

static void test_order_of_sources(void **state)
{
    (void)state;
    assert_begins("infected|Infected|INFECTED|malware|virus|");
    assert_int_equal(ms_passwords_add_readme(&set, span("Password: from-readme\n"), &err), MS_OK);
    assert_int_equal(
        ms_passwords_add_lines(&set, MS_PASSWORD_BESIDE, span("from beside \r\n\n"), &err), MS_OK);
    assert_int_equal(ms_passwords_add_lines(&set, MS_PASSWORD_LIST, span("l1\nl2\nl1"), &err),
                     MS_OK);
    assert_int_equal(ms_passwords_add(&set, MS_PASSWORD_WORKED, span("virus"), &err), MS_OK);
    assert_begins("virus|l1|l2|from beside |from beside|from-readme|infected|Infected|INFECTED|"
                  "malware|password|");
}

static void test_passed_over(void **state)
{
    (void)state;
    char longest[200];
    memset(longest, 'x', sizeof longest);
    assert_int_equal(ms_passwords_add(&set, MS_PASSWORD_LIST, span(""), &err), MS_OK);
    assert_int_equal(ms_passwords_add(&set, MS_PASSWORD_LIST, ms_span_of("a\0b", 3), &err), MS_OK);
    assert_int_equal(ms_passwords_add(&set, MS_PASSWORD_LIST, ms_span_of(longest, 128), &err),
                     MS_OK);
    assert_int_equal(set.parts[MS_PASSWORD_LIST].count, 0);
    assert_int_equal(ms_passwords_add(&set, MS_PASSWORD_LIST, ms_span_of(longest, 127), &err),
                     MS_OK);
    assert_int_equal(set.parts[MS_PASSWORD_LIST].count, 1);
}

/* A list of thousands must not push out what is known to open most archives. */
static void test_every_source_keeps_a_share(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        char word[16];
        (void)snprintf(word, sizeof word, "w%u", i);
        assert_int_equal(ms_passwords_add(&set, MS_PASSWORD_LIST, span(word), &err), MS_OK);
    }
    assert_int_equal(ms_passwords_add(&set, MS_PASSWORD_BESIDE, span("beside"), &err), MS_OK);
    struct ms_span out[64];
    assert_int_equal(ms_passwords_candidates(&set, out, 64), 64);
    assert_begins("w0|w1|w2|");
    assert_non_null(strstr(candidates(64), "|beside|infected|"));
}

static void test_readmes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"All archives have the password `infected`.", "infected"},
        {"The password is **mistral-blau-7** (not the usual one).", "mistral-blau-7"},
        {"**Password**: s3cret", "s3cret"},
        {"Passwords: \"two words\"\n", "two words"},
        {"password for all of the zip files is infected666.\n", "infected666"},
        {"PASSWORD = mysubsarethebest", "mysubsarethebest"},
        {"zip password:\n\n    infected!\n", "infected!"},
        {"no such word here", ""},
        {"password", ""},
        {"password `", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set.parts[MS_PASSWORD_README].count = 0;
        assert_int_equal(ms_passwords_add_readme(&set, span(cases[i].text), &err), MS_OK);
        const struct ms_password_part *found = &set.parts[MS_PASSWORD_README];
        if (!cases[i].want[0]) {
            assert_int_equal(found->count, 0);
            continue;
        }
        assert_true(found->count >= 1);
        if (!ms_span_equal_text(found->items[0], cases[i].want))
            print_error("%s: %.*s\n", cases[i].text, (int)found->items[0].len,
                        (const char *)found->items[0].data);
        assert_true(ms_span_equal_text(found->items[0], cases[i].want));
    }
}

static void test_words_in_names(void **state)
{
    static const struct {
        const char *path, *origin, *want;
    } cases[] = {
        {"mal/zoo/Tapaoux.p.zip", "ytisf/theZoo", "infected666p|Tapaoux.p|Tapaoux|theZoo|"},
        {"a.tar.gz.zip", "https://host/x/repo.git", "infected666z|a.tar.gz|a.tar|a|repo|"},
        {"nothing", "", "infected666g|nothing|"},
        {".zip", ".git", "infected666p|.zip|.git|"},
        {"a/", "o/", ""},
        {"\xe3\x81\x82.zip", "b", "\xe3\x81\x82|b|"},
        {"--.zip", "b", "--|b|"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_password_part *found = &set.parts[MS_PASSWORD_NAME];
        char got[256] = "";
        found->count = 0;
        assert_int_equal(
            ms_passwords_add_names(&set, span(cases[i].path), span(cases[i].origin), &err), MS_OK);
        for (size_t k = 0; k < found->count; k++) {
            size_t n = strlen(got);
            (void)snprintf(got + n, sizeof got - n, "%.*s|", (int)found->items[k].len,
                           (const char *)found->items[k].data);
        }
        assert_string_equal(got, cases[i].want);
    }
}

static void test_digest(void **state)
{
    (void)state;
    uint8_t before[32], after[32];
    struct ms_span none = ms_span_of(NULL, 0);
    assert_int_equal(ms_passwords_digest(&set, none, before, &err), MS_OK);
    /* What is known already, from wherever, changes nothing; a new one does, and so do hints. */
    assert_int_equal(ms_passwords_add(&set, MS_PASSWORD_WORKED, span("infected"), &err), MS_OK);
    assert_int_equal(ms_passwords_digest(&set, none, after, &err), MS_OK);
    assert_memory_equal(before, after, 32);
    assert_int_equal(ms_passwords_digest(&set, span("x"), after, &err), MS_OK);
    assert_memory_not_equal(before, after, 32);
    assert_int_equal(ms_passwords_add(&set, MS_PASSWORD_WORKED, span("new"), &err), MS_OK);
    assert_int_equal(ms_passwords_digest(&set, none, after, &err), MS_OK);
    assert_memory_not_equal(before, after, 32);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const beside[] = {"a.pass", "X.PASS", "password.txt", "Passwords.TXT"};
    static const char *const readme[] = {"README", "readme.md", "ReadMe.txt"};
    static const char *const neither[] = {"pass", "password.zip", "readmore.txt", "x.passt", ""};
    for (size_t i = 0; i < 4; i++)
        assert_true(ms_password_is_beside(span(beside[i])));
    for (size_t i = 0; i < 3; i++)
        assert_true(ms_password_is_readme(span(readme[i])));
    for (size_t i = 0; i < 5; i++) {
        assert_false(ms_password_is_beside(span(neither[i])));
        assert_false(ms_password_is_readme(span(neither[i])));
    }
}

/* ---- repository lists ------------------------------------------------------------------------ */

static void test_list_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *name, *ref, *claim;
        bool private_;
    } good[] = {
        {"owner/repo", "owner/repo", "", NULL, false},
        {"  Owner/Re.po_1-x\t", "owner/re.po_1-x", "", NULL, false},
        {"o/r@v1.2 # a remark", "o/r", "v1.2", NULL, false},
        {"o/r@feature/x claim=benign private\r", "o/r", "feature/x", "benign", true},
        {"https://github.com/o/r.git private claim=malware", "o/r", "", "malware", true},
        {"http://www.github.com/o/r/tree/main", "o/r", "main", NULL, false},
        {"https://github.com/o/r/", "o/r", "", NULL, false},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct ms_repo repo;
        bool empty;
        enum ms_status status = ms_repo_parse(span(good[i].line), &repo, &empty, &err);
        if (status != MS_OK)
            print_error("%s: %s\n", good[i].line, err.text);
        assert_int_equal(status, MS_OK);
        assert_false(empty);
        assert_string_equal(repo.name, good[i].name);
        assert_string_equal(repo.ref, good[i].ref);
        assert_int_equal(repo.private_, good[i].private_);
        if (good[i].claim)
            assert_string_equal(repo.claim, good[i].claim);
        else
            assert_null(repo.claim);
    }
    static const char *const blank[] = {"", "   ", "# x/y", "\t# x"};
    for (size_t i = 0; i < 4; i++) {
        struct ms_repo repo;
        bool empty;
        assert_int_equal(ms_repo_parse(span(blank[i]), &repo, &empty, &err), MS_OK);
        assert_true(empty);
    }
}

static void test_urls_of_other_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *line, *url, *ref;
    } good[] = {
        {"https://GitLab.example/A/b/c.git claim=malware", "https://gitlab.example/A/b/c.git", ""},
        {"https://git.example:8443/~me/x@v1.0", "https://git.example:8443/~me/x", "v1.0"},
        {"https://git.example/a/../b.git/@feature/x", "https://git.example/b.git", "feature/x"},
        {"http://127.0.0.1:8080/a.git", "http://127.0.0.1:8080/a.git", ""},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct ms_repo repo;
        bool empty;
        enum ms_status status = ms_repo_parse(span(good[i].line), &repo, &empty, &err);
        if (status != MS_OK)
            print_error("%s: %s\n", good[i].line, err.text);
        assert_int_equal(status, MS_OK);
        assert_string_equal(repo.url, good[i].url);
        assert_string_equal(repo.ref, good[i].ref);
        assert_string_equal(repo.name, "");
    }
}

static void test_bad_list_lines(void **state)
{
    (void)state;
    static const char *const bad[] = {"owner",
                                      "owner/",
                                      "/repo",
                                      "a/b/c",
                                      "a/..",
                                      "../b",
                                      "a/b@",
                                      "a/b@x..y",
                                      "a/b@x y",
                                      "a/b claim=evil",
                                      "a/b privat",
                                      "http://example.com/a/b",
                                      "https://example.com",
                                      "https://example.com/",
                                      "https://user:word@example.com/a",
                                      "https://example.com/a?b",
                                      "https://example.com/a.git@",
                                      "https://example.com/a.git@x..y",
                                      "ftp://example.com/a",
                                      "git@example.com:a/b",
                                      "https://github.com/a",
                                      "https://github.com/a/b/issues",
                                      "a b/c",
                                      "\xc3\xa4/b",
                                      "a/b\x1b[2J",
                                      "a/b@\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ms_repo repo;
        bool empty;
        enum ms_status status = ms_repo_parse(span(bad[i]), &repo, &empty, &err);
        if (status != MS_REJECT)
            print_error("'%s' was taken\n", bad[i]);
        assert_int_equal(status, MS_REJECT);
        assert_null(strchr(err.text, '\x1b'));
    }
}

/* ---- a worker that was taken over ------------------------------------------------------------ */

/* Features of nothing, as which lie wants them: 'w' ends early, 'v' counts more than may be. */
static enum ms_status send_features(struct ms_worker_out *out, uint8_t which)
{
    static struct ms_pe_features features;
    struct ms_buf packed;
    features.library_count = 2;
    ms_buf_init(&packed, MS_LIMIT_FRAME_BYTES);
    enum ms_status status = ms_pe_features_pack(&features, &packed, NULL);
    if (which == 'v')
        memset(packed.data + offsetof(struct ms_pe_features, section_count), 0xff, 4);
    if (status == MS_OK)
        status = ms_worker_emit(out, MS_JOB_FEATURES, packed.data, packed.len - (which == 'w'));
    ms_buf_release(&packed);
    return status;
}

/* The blob's first byte says which lie to tell. */
static enum ms_status lie(int fd, struct ms_span arg, struct ms_worker_out *out,
                          struct ms_error *why)
{
    (void)arg, (void)why;
    uint8_t which = 0;
    static uint8_t bytes[64] = {'M', 'Z'};
    struct ms_job_member head = {.size = sizeof bytes, .password_index = -1};
    struct ms_job_summary summary = {1, 1, 0};
    uint32_t fault[2] = {99, 0};
    size_t n = sizeof bytes;
    uint32_t type = MS_JOB_MEMBER;
    (void)!read(fd, &which, 1);
    switch (which) {
    case 'k': /* an unknown kind */
        head.kind = 77;
        break;
    case 'p': /* a password that was not given */
        head.password_index = 63;
        break;
    case 's': /* larger than allowed */
        head.size = MS_LIMIT_UNPACK_ENTRY_BYTES + 1;
        break;
    case 'm': /* more bytes than announced */
        head.size = 63;
        break;
    case 'l': /* fewer */
        n = 63;
        break;
    case 'x': /* no program */
        bytes[0] = 'X';
        break;
    case 'u': /* features out of the blue */
        return send_features(out, which);
    case 'f': /* an unknown fault */
        return ms_worker_emit(out, MS_JOB_FAULT, fault, sizeof fault);
    case 't': /* an unknown frame */
        type = 55;
        break;
    case 'd': /* data out of the blue */
        return ms_worker_emit(out, MS_JOB_DATA, bytes, n);
    case 'e': /* an end without a beginning */
        return ms_worker_emit(out, MS_JOB_END, NULL, 0);
    case 'c': /* a summary in the middle of a program */
        return ms_worker_emit(out, MS_JOB_MEMBER, &head, sizeof head) == MS_OK
                   ? ms_worker_emit(out, MS_JOB_SUMMARY, &summary, sizeof summary)
                   : MS_E_IO;
    case 'n': /* nothing at all */
        return MS_OK;
    case 'r': /* it rejects */
        return ms_error_set(why, MS_E_STORE, "trust me");
    default: /* 'g': no lie */
        break;
    }
    enum ms_status status = ms_worker_emit(out, type, &head, sizeof head);
    if (status == MS_OK && which != 'o') /* 'o': none */
        status = send_features(out, which);
    if (status == MS_OK && which == '2') /* twice */
        status = send_features(out, which);
    if (status == MS_OK)
        status = ms_worker_emit(out, MS_JOB_DATA, bytes, n);
    if (status == MS_OK)
        status = ms_worker_emit(out, MS_JOB_END, NULL, 0);
    return status == MS_OK ? ms_worker_emit(out, MS_JOB_SUMMARY, &summary, sizeof summary) : status;
}

static const struct ms_worker_kind liar = {"intake", lie, NULL};
static struct ms_worker *worker;

static int start(void **state)
{
    static const struct ms_worker_options options = {&liar, 1, false};
    return fresh(state) == 0 && ms_worker_start(&options, &worker, &err) == MS_OK ? 0 : 1;
}

static int stop(void **state)
{
    ms_worker_stop(worker);
    return drop(state);
}

static void test_lies(void **state)
{
    (void)state;
    struct ms_intake intake = {.worker = worker, .dry = true};
    for (const char *which = "gkpsmlxftdecnruwvo2"; *which; which++) {
        struct ms_intake_result result;
        struct ms_intake_blob blob = {.fd = memfd_create("blob", MFD_CLOEXEC),
                                      .size = 1,
                                      .passwords = &set,
                                      .origin_name = "test"};
        assert_int_equal(write(blob.fd, which, 1), 1);
        assert_int_equal(ms_intake_open(&intake, &blob, &result, &err), MS_OK);
        if (*which == 'g') {
            assert_string_equal(result.outcome, "ok");
            assert_int_equal(result.program_count, 1);
        } else {
            const char *want = *which == 'n' || *which == 'r' ? "error" : "crash";
            if (strcmp(result.outcome, want) != 0 || result.program_count)
                print_error("lie '%c': %s, %zu programs\n", *which, result.outcome,
                            result.program_count);
            assert_string_equal(result.outcome, want);
            assert_int_equal(result.program_count, 0);
            assert_non_null(result.reason);
        }
        ms_intake_result_release(&result);
        close(blob.fd);
    }
}

/* Of an answer from elsewhere neither the quota nor a refusal is the API's. */
static void test_who_answered(void **state)
{
    static const struct {
        const char *base, *final_url;
        bool api;
    } cases[] = {
        {"https://api.github.com", "https://api.github.com/repos/a/b", true},
        {"https://api.github.com", "https://codeload.github.com/a/b/legacy.tar.gz/x", false},
        {"https://api.github.com", "https://api.github.com.example/repos/a/b", false},
        {"https://api.github.com", "https://api.github.com:444/repos/a/b", false},
        {"https://api.github.com", "https://api.github.com", false},
        {"https://git.example/api/v3", "https://git.example/api/v3/repos/a/b", true},
        {"https://git.example/api/v3", "https://git.example/api/v33/repos/a/b", false},
        {"https://git.example/api/v3", "", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct ms_github github = {.base = cases[i].base};
        struct ms_http_response response;
        ms_http_response_init(&response);
        (void)snprintf(response.final_url, sizeof response.final_url, "%s", cases[i].final_url);
        if (ms_github_answered(&github, &response) != cases[i].api)
            fail_msg("%s of %s", cases[i].final_url, cases[i].base);
        ms_http_response_release(&response);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order_of_sources, fresh, drop),
        cmocka_unit_test_setup_teardown(test_passed_over, fresh, drop),
        cmocka_unit_test_setup_teardown(test_every_source_keeps_a_share, fresh, drop),
        cmocka_unit_test_setup_teardown(test_readmes, fresh, drop),
        cmocka_unit_test_setup_teardown(test_words_in_names, fresh, drop),
        cmocka_unit_test_setup_teardown(test_digest, fresh, drop),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_list_lines),
        cmocka_unit_test(test_urls_of_other_hosts),
        cmocka_unit_test(test_bad_list_lines),
        cmocka_unit_test(test_who_answered),
        cmocka_unit_test_setup_teardown(test_lies, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Which files may leave, and where to: the two decisions of label --upload that are pure. */
#include "base/limits.h"
#include "label/submission.h"
#include "label/upload.h"
#include "label/vtsubmit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define DAY_MS ((int64_t)86400000)
#define NOW_MS ((int64_t)1773144000000)

static const struct ms_upload fine = {.sample = 1, .size = 4096, .sighted = true};

static void barred_for(struct ms_upload upload, const char *word)
{
    const char *why = ms_upload_bar(&upload, NOW_MS);
    assert_non_null(why);
    assert_non_null(strstr(why, word));
}

static void test_bar(void **state)
{
    (void)state;
    struct ms_upload upload = fine;
    assert_null(ms_upload_bar(&upload, NOW_MS));
    upload = fine, upload.private_ = true, barred_for(upload, "private");
    upload = fine, upload.benign = true, barred_for(upload, "benign");
    upload = fine, upload.sighted = false, barred_for(upload, "origin");
    upload = fine, upload.truncated = true, barred_for(upload, "cut short");
    upload = fine, upload.size = 0, barred_for(upload, "empty");
    upload = fine, upload.size = -1, barred_for(upload, "unknown size");
    upload = fine, upload.size = (int64_t)MS_LIMIT_UPLOAD_BYTES;
    assert_null(ms_upload_bar(&upload, NOW_MS));
    upload.size++;
    barred_for(upload, "650 MB");
}

static void test_bar_after_an_upload(void **state)
{
    (void)state;
    struct ms_upload upload = fine;
    upload.sent_status = 200;
    upload.sent_ms = NOW_MS - 30 * DAY_MS + 1;
    barred_for(upload, "uploaded");
    upload.sent_ms = NOW_MS - 30 * DAY_MS;
    assert_null(ms_upload_bar(&upload, NOW_MS));
    upload.sent_ms = NOW_MS + DAY_MS; /* the clock was set back */
    barred_for(upload, "uploaded");
    upload.sent_status = 413;
    barred_for(upload, "refused");
    /* The stronger reason is told. */
    upload.private_ = true;
    barred_for(upload, "private");
}

static bool may(const char *base, const char *to)
{
    struct ms_url a, b;
    assert_int_equal(ms_url_parse(base, &a, NULL), MS_OK);
    assert_int_equal(ms_url_parse(to, &b, NULL), MS_OK);
    return ms_vt_may_upload_to(&a, &b);
}

static void test_where_to(void **state)
{
    (void)state;
    const char *base = "https://www.virustotal.com/api/v3";
    assert_true(may(base, "https://www.virustotal.com/_ah/upload/AMmfu6"));
    assert_true(may(base, "https://WWW.VirusTotal.com:443/x"));
    assert_true(may(base, "https://virustotal.com/x"));
    assert_true(may(base, "https://upload.virustotal.com/x"));
    static const char *const elsewhere[] = {"http://www.virustotal.com/x",
                                            "https://www.virustotal.com:8443/x",
                                            "https://evilvirustotal.com/x",
                                            "https://www.virustotal.com.example.net/x",
                                            "https://virustotal.co/x",
                                            "https://com/x",
                                            "https://127.0.0.1/x",
                                            "https://10.0.0.1/x",
                                            "https://[::1]/x",
                                            "https://example.net/www.virustotal.com",
                                            "https://example.net/?.virustotal.com"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        assert_false(may(base, elsewhere[i]));
    /* Without "www." in front only the host itself and what lies below it. */
    assert_true(may("https://vt.example.co.uk/api/v3", "https://up.vt.example.co.uk/x"));
    assert_false(may("https://vt.example.co.uk/api/v3", "https://other.example.co.uk/x"));
    assert_false(may("https://www.example/api/v3", "https://evil.example/x"));
    /* On loopback nothing but the very same port. */
    assert_true(may("http://127.0.0.1:8080/api/v3", "http://127.0.0.1:8080/x"));
    assert_false(may("http://127.0.0.1:8080/api/v3", "http://127.0.0.1:8081/x"));
    assert_false(may("http://127.0.0.1:8080/api/v3", "http://localhost:8080/x"));
    assert_false(may("http://127.0.0.1:8080/api/v3", "https://www.virustotal.com/x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bar),
        cmocka_unit_test(test_bar_after_an_upload),
        cmocka_unit_test(test_where_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

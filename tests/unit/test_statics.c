/* Static features as marks: which there are for a file, and what is no file's. */
#include "train/model_statics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char FEATURES[] =
    "{\"version\":1,\"machine\":332,\"section_count\":2,\"timestamp\":1262304000,\"optional_header_"
    "size\":224,"
    "\"characteristics\":258,\"magic\":267,\"linker_major\":9,\"code_size\":5,\"entry_point\":4100,"
    "\"checksum\":0,"
    "\"image_base\":4194304,\"subsystem\":2,\"dll_characteristics\":32768,"
    "\"directories\":{\"export\":{\"address\":0,\"size\":0},\"import\":{\"address\":1,\"size\":3}},"
    "\"sections\":[{\"name\":\".text\",\"virtual_size\":100,\"address\":4096,\"raw_size\":0,\"raw_"
    "at\":0,"
    "\"characteristics\":3758096416,\"entropy\":1.25},{\"name\":\"UPX0\",\"virtual_size\":1,"
    "\"address\":8192,"
    "\"raw_size\":1,\"raw_at\":1,\"characteristics\":1073741888,\"entropy\":null}],"
    "\"imports\":{\"libraries\":1,\"functions\":2,\"ordinals\":0,\"bound\":0,\"names\":["
    "{\"name\":\"WS2_32.dll\",\"functions\":2},{\"name\":\"ws2_32.DLL\",\"functions\":1}]},"
    "\"delay_imports\":{\"libraries\":0,\"functions\":0,\"ordinals\":0},"
    "\"exports\":{\"functions\":1,\"names\":0,\"timestamp\":7},\"imphash\":\"00\",\"rich_hash\":"
    "null}";

static int has(const struct ms_statics *s, const char *name)
{
    int n = 0;
    for (size_t i = 0; i < s->count; i++)
        n += s->names[i].len == strlen(name) + 1 && s->names[i].data[0] == 1 &&
             memcmp(s->names[i].data + 1, name, strlen(name)) == 0;
    return n;
}

static void marks_of_a_file(void **state)
{
    static const char *const there[] = {"machine=332",
                                        "magic=267",
                                        "subsystem=2",
                                        "linker_major=9",
                                        "os_major=0",
                                        "image_base=4194304",
                                        "characteristics&0x2",
                                        "characteristics&0x100",
                                        "dll_characteristics&0x8000",
                                        "code_size>=2^0",
                                        "code_size>=2^2",
                                        "section_count>=2^1",
                                        "timestamp>=1992",
                                        "timestamp>=2010",
                                        "checksum=0",
                                        "directory.import",
                                        "directory.import.size>=2^1",
                                        "section..text",
                                        "section.UPX0",
                                        "section..text.entropy>=1.0",
                                        "entry.section=.text",
                                        "entry.entropy>=1.0",
                                        "sections.entropy>=1.0",
                                        "sections.write+execute",
                                        "sections.no-bytes",
                                        "import=ws2_32.dll",
                                        "imports.functions>=2^1",
                                        "exports.functions>=2^0"};
    static const char *const absent[] = {"code_size>=2^3",
                                         "timestamp>=2012",
                                         "directory.export",
                                         "section..text.entropy>=1.5",
                                         "section.UPX0.entropy>=0.5",
                                         "entry.section=UPX0",
                                         "import=WS2_32.dll",
                                         "delay_imports.functions>=2^0",
                                         "imports.ordinals>=2^0",
                                         "exports.timestamp>=2^0",
                                         "imphash=00"};
    struct ms_statics s = {0};
    struct ms_error err;
    (void)state;
    for (int twice = 0; twice < 2; twice++) {
        assert_int_equal(ms_statics_read(FEATURES, &s, &err), MS_OK);
        for (size_t i = 0; i < sizeof there / sizeof *there; i++)
            if (has(&s, there[i]) != 1)
                fail_msg("%s: %d times", there[i], has(&s, there[i]));
        for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
            if (has(&s, absent[i]))
                fail_msg("%s is there", absent[i]);
        for (size_t i = 1; i < s.count; i++) { /* in order, and each once */
            const struct ms_span a = s.names[i - 1], b = s.names[i];
            int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
            assert_true(order < 0 || (order == 0 && a.len < b.len));
        }
    }
    ms_statics_release(&s);
}

static void not_features(void **state)
{
    static const char *const texts[] = {"",
                                        "[]",
                                        "{",
                                        "{\"version\":1,\"error\":\"crash\"}",
                                        "{\"version\":2,\"machine\":332}",
                                        "{\"machine\":332}",
                                        "{\"version\":1,\"machine\":\"x\"}"};
    struct ms_statics s = {0};
    struct ms_error err;
    (void)state;
    assert_int_equal(ms_statics_read(NULL, &s, &err), MS_REJECT);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(ms_statics_read(texts[i], &s, &err), MS_REJECT);
    /* what is not there, or of another type, is nothing */
    assert_int_equal(ms_statics_read("{\"version\":1,\"machine\":1,\"sections\":7,\"imports\":[],"
                                     "\"directories\":{\"import\":3},\"code_size\":-5,"
                                     "\"timestamp\":99999999999}",
                                     &s, &err),
                     MS_OK);
    assert_int_equal(has(&s, "timestamp>=later"), 1);
    assert_int_equal(has(&s, "directory.import"), 0);
    ms_statics_release(&s);
}

static void words(void **state)
{
    enum ms_static_use use;
    struct ms_error err;
    (void)state;
    for (int i = 0; i <= MS_STATIC_ALONE; i++) {
        assert_int_equal(ms_static_use_parse(ms_static_use_name((enum ms_static_use)i), &use, &err),
                         MS_OK);
        assert_int_equal(use, i);
    }
    assert_int_equal(ms_static_use_parse("both", &use, &err), MS_E_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(marks_of_a_file),
                                       cmocka_unit_test(not_features), cmocka_unit_test(words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

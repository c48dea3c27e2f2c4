/* Unit tests of base/file and base/zstd: caps, atomic writes, folders, sorted walks, frames. */
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/zstd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static char home[64];

static int enter_folder(void **state)
{
    (void)state;
    (void)snprintf(home, sizeof home, "/tmp/malseq-test-file-XXXXXX");
    return mkdtemp(home) && chdir(home) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", home);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void make(const char *path, const char *text)
{
    struct ms_error err;
    assert_int_equal(ms_file_write_atomic(path, text, strlen(text), 0600, &err), MS_OK);
}

static void test_read(void **state)
{
    (void)state;
    struct ms_buf buf;
    struct ms_error err;
    make("five", "12345");
    ms_buf_init(&buf, 5);
    assert_int_equal(ms_file_read("five", &buf, &err), MS_OK);
    assert_string_equal(ms_buf_text(&buf), "12345");
    ms_buf_release(&buf);
    ms_buf_init(&buf, 4);
    assert_int_equal(ms_file_read("five", &buf, &err), MS_E_LIMIT);
    assert_non_null(strstr(err.text, "'five' is larger than the 4 bytes allowed"));
    ms_buf_release(&buf);
    ms_buf_init(&buf, 100);
    assert_int_equal(ms_file_read("no\x1bsuch", &buf, &err), MS_E_IO);
    assert_non_null(strstr(err.text, "cannot open 'no\\x1bsuch': No such file"));
    assert_int_equal(ms_file_read(".", &buf, &err), MS_E_IO);
    assert_non_null(strstr(err.text, "Is a directory"));
    ms_buf_release(&buf);
}

static void test_write_atomic(void **state)
{
    (void)state;
    struct stat st;
    struct ms_error err;
    make("file", "old");
    make("file", "new");
    assert_int_equal(stat("file", &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(ms_file_write_atomic("none/file", "x", 1, 0600, &err), MS_E_IO);
    assert_non_null(strstr(err.text, "cannot write 'none/file'"));
    /* A name that is a folder cannot be replaced; the temporary does not stay behind. */
    assert_int_equal(ms_file_make_dirs("folder/inner", &err), MS_OK);
    assert_int_equal(ms_file_write_atomic("folder", "x", 1, 0600, &err), MS_E_IO);
    assert_int_equal(system("ls | grep -q tmp"), 256);
}

static void test_make_dirs(void **state)
{
    (void)state;
    struct stat st;
    struct ms_error err;
    assert_int_equal(ms_file_make_dirs("a/b//c/", &err), MS_OK);
    assert_int_equal(ms_file_make_dirs("a/b/c", &err), MS_OK);
    assert_int_equal(stat("a/b/c", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    make("plain", "x");
    assert_int_equal(ms_file_make_dirs("plain", &err), MS_E_IO);
    assert_non_null(strstr(err.text, "not a folder"));
    assert_int_equal(ms_file_make_dirs("plain/below", &err), MS_E_IO);
    assert_int_equal(ms_file_make_dirs("/", &err), MS_OK);
}

static void test_memory(void **state)
{
    (void)state;
    int fd = -1;
    char got[4] = "";
    struct ms_error err;
    assert_int_equal(ms_file_memory("x", &fd, &err), MS_OK);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(ms_file_write_all(fd, "abc", 3, &err), MS_OK);
    assert_int_equal(pread(fd, got, 3, 0), 3);
    assert_string_equal(got, "abc");
    close(fd);
    fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(ms_file_write_all(fd, "abc", 3, &err), MS_E_IO);
    assert_non_null(strstr(err.text, "No space left"));
    close(fd);
}

struct seen {
    char text[512];
    unsigned count, stop_after;
    int errnum;
};

static enum ms_status note(void *ctx, const char *path, const struct stat *st, int errnum,
                           struct ms_error *err)
{
    struct seen *seen = ctx;
    size_t used = strlen(seen->text);
    (void)snprintf(seen->text + used, sizeof seen->text - used, "%s%s ", path, st ? "" : "!");
    if (errnum)
        seen->errnum = errnum;
    if (++seen->count == seen->stop_after)
        return ms_error_set(err, MS_E_LATER, "enough");
    return MS_OK;
}

static void test_walk(void **state)
{
    (void)state;
    struct ms_error err;
    struct seen seen = {.text = ""};
    assert_int_equal(ms_file_make_dirs("w/b", &err), MS_OK);
    make("w/z", "");
    make("w/B", "");
    make("w/b/1", "");
    make("w/a.txt", "");
    assert_int_equal(symlink("z", "w/link"), 0);
    assert_int_equal(symlink(".", "w/loop"), 0);
    assert_int_equal(mkfifo("w/pipe", 0600), 0);
    assert_int_equal(ms_file_walk("w", note, &seen, &err), MS_OK);
    assert_string_equal(seen.text, "w/B w/a.txt w/b/1 w/z ");
    seen = (struct seen){.stop_after = 2};
    assert_int_equal(ms_file_walk("w/", note, &seen, &err), MS_E_LATER);
    assert_string_equal(seen.text, "w/B w/a.txt ");
    seen = (struct seen){.text = ""};
    assert_int_equal(ms_file_walk("w/link", note, &seen, &err), MS_OK);
    assert_string_equal(seen.text, "w/link ");
    seen = (struct seen){.text = ""};
    assert_int_equal(ms_file_walk("nothing", note, &seen, &err), MS_OK);
    assert_string_equal(seen.text, "nothing! ");
    assert_int_equal(seen.errnum, ENOENT);
}

static void test_walk_is_bounded_in_depth(void **state)
{
    (void)state;
    struct ms_error err;
    struct seen seen = {.text = ""};
    char path[512] = "deep";
    for (int i = 0; i < 70; i++)
        strcat(path, "/d");
    assert_int_equal(ms_file_make_dirs(path, &err), MS_OK);
    assert_int_equal(ms_file_walk("deep", note, &seen, &err), MS_OK);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.errnum, ELOOP);
}

static void test_zstd(void **state)
{
    (void)state;
    struct ms_buf frame, plain;
    struct ms_error err;
    char text[5000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 7);
    ms_buf_init(&frame, 1 << 20);
    ms_buf_init(&plain, sizeof text);
    assert_int_equal(ms_zstd_compress(text, sizeof text, 3, &frame, &err), MS_OK);
    assert_true(frame.len < 200);
    assert_int_equal(ms_zstd_decompress(frame.data, frame.len, &plain, &err), MS_OK);
    assert_int_equal(plain.len, sizeof text);
    assert_memory_equal(plain.data, text, sizeof text);
    /* It was full to the last byte; there is no room for more. */
    assert_int_equal(ms_zstd_decompress(frame.data, frame.len, &plain, &err), MS_E_LIMIT);
    for (size_t cut = 0; cut < frame.len; cut++) {
        ms_buf_clear(&plain);
        assert_int_equal(ms_zstd_decompress(frame.data, cut, &plain, &err), MS_REJECT);
    }
    (void)ms_buf_append_byte(&frame, 'x');
    assert_int_equal(ms_zstd_decompress(frame.data, frame.len, &plain, &err), MS_REJECT);
    assert_int_equal(plain.len, 0);
    ms_buf_clear(&frame);
    assert_int_equal(ms_zstd_compress("", 0, 3, &frame, &err), MS_OK);
    assert_int_equal(ms_zstd_decompress(frame.data, frame.len, &plain, &err), MS_OK);
    assert_int_equal(plain.len, 0);
    /* A frame that claims 2^60 bytes costs nothing. */
    const uint8_t liar[] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0};
    assert_int_not_equal(ms_zstd_decompress(liar, sizeof liar, &plain, &err), MS_OK);
    ms_buf_release(&frame);
    ms_buf_release(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),      cmocka_unit_test(test_write_atomic),
        cmocka_unit_test(test_make_dirs), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_walk),      cmocka_unit_test(test_walk_is_bounded_in_depth),
        cmocka_unit_test(test_zstd),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}

/* label/keylock: whom it keeps out, whom it does not, and places it does not trust. */
#include "store_fixture.h"

#include "base/file.h"
#include "label/keylock.h"

static char root[160], state_home[200], folder[240];

static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "%.90s/malseq-keylock-XXXXXX", fixture_place());
    if (!mkdtemp(root))
        return -1;
    snprintf(state_home, sizeof state_home, "%s/state", root);
    snprintf(folder, sizeof folder, "%s/malseq", state_home);
    return setenv("XDG_STATE_HOME", state_home, 1) || setenv("HOME", root, 1);
}

static int tear_down(void **state)
{
    (void)state;
    (void)unsetenv("XDG_STATE_HOME");
    fixture_remove(AT_FDCWD, root);
    return 0;
}

static void untrusted_places(void **state)
{
    struct ms_error err = {0};
    char path[300];
    int fd;
    (void)state;
    /* A folder that is somebody's link, or open to others. */
    assert_int_equal(mkdir(state_home, 0700), 0);
    assert_int_equal(symlink(root, folder), 0);
    assert_int_equal(ms_keylock_take("0123abcd", "corpus", &fd, &err), MS_E_IO);
    assert_int_equal(fd, -1);
    assert_int_equal(unlink(folder), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(chmod(folder, 0770), 0);
    assert_int_equal(ms_keylock_take("0123abcd", "corpus", &fd, &err), MS_E_IO);
    assert_non_null(strstr(err.text, "open to others"));
    /* A lock file that leads elsewhere: nothing there is opened, made or cut. */
    assert_int_equal(chmod(folder, 0700), 0);
    snprintf(path, sizeof path, "%s/key-0123abcd.lock", folder);
    assert_int_equal(symlink("../elsewhere", path), 0);
    assert_int_equal(ms_keylock_take("0123abcd", "corpus", &fd, &err), MS_E_IO);
    snprintf(path, sizeof path, "%s/elsewhere", state_home);
    assert_int_equal(access(path, F_OK), -1);
}

static void one_run_a_key(void **state)
{
    struct ms_error err = {0};
    int first, other, second;
    (void)state;
    assert_ok(ms_keylock_take("0123abcd", "a\x1b[2Jb", &first, &err), &err);
    assert_int_equal(ms_keylock_take("0123abcd", "elsewhere", &second, &err), MS_E_LATER);
    assert_int_equal(second, -1);
    assert_non_null(strstr(err.text, "process "));
    assert_non_null(strstr(err.text, "[2Jb'"));
    assert_null(strchr(err.text, '\x1b'));
    assert_ok(ms_keylock_take("89abcdef", "elsewhere", &other, &err), &err);
    close(first);
    assert_ok(ms_keylock_take("0123abcd", "elsewhere", &second, &err), &err);
    /* Whatever the file says: garbage in it does no harm. */
    assert_int_equal(ftruncate(second, 0), 0);
    assert_int_equal(pwrite(second, "\xff\xfe", 2, 0), 2);
    assert_int_equal(ms_keylock_take("0123abcd", "third", &first, &err), MS_E_LATER);
    assert_null(strstr(err.text, "process "));
    close(second);
    close(other);
}

/* Without XDG_STATE_HOME, or with one that is no absolute path, it lies in the home. */
static void in_the_home(void **state)
{
    struct ms_error err = {0};
    char path[300];
    int fd;
    (void)state;
    assert_int_equal(setenv("XDG_STATE_HOME", "relative", 1), 0);
    assert_ok(ms_keylock_take("0123abcd", "corpus", &fd, &err), &err);
    close(fd);
    snprintf(path, sizeof path, "%s/.local/state/malseq/key-0123abcd.lock", root);
    assert_int_equal(access(path, F_OK), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(untrusted_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_run_a_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_the_home, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

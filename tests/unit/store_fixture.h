/* A fresh corpus under a temporary folder for each test of the store, removed afterwards. */
#ifndef MS_TESTS_STORE_FIXTURE_H
#define MS_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "store/corpus.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct fixture {
    char root[128]; /* the temporary folder */
    char dir[160];  /* the corpus in it */
    struct ms_corpus *corpus;
};

#define assert_ok(call, err)                        \
    do {                                            \
        if ((call) != MS_OK)                        \
            fail_msg("%s: %s", #call, (err)->text); \
    } while (0)

static inline void fixture_remove(int parent, const char *name)
{
    if (unlinkat(parent, name, 0) == 0)
        return;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            fixture_remove(fd, entry->d_name);
    if (dir)
        closedir(dir);
    unlinkat(parent, name, AT_REMOVEDIR);
}

/* TMPDIR, else memory where there is enough of it (thousands of fsyncs), else /tmp. */
static inline const char *fixture_place(void)
{
    struct statvfs st;
    const char *tmp = getenv("TMPDIR");
    if (tmp)
        return tmp;
    if (statvfs("/dev/shm", &st) == 0 && st.f_bavail * st.f_frsize > (512u << 20))
        return "/dev/shm";
    return "/tmp";
}

static inline int fixture_set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct ms_error err;
    snprintf(fixture->root, sizeof fixture->root, "%.90s/malseq-XXXXXX", fixture_place());
    if (!mkdtemp(fixture->root))
        return -1;
    snprintf(fixture->dir, sizeof fixture->dir, "%s/corpus", fixture->root);
    *state = fixture;
    if (ms_corpus_open(fixture->dir, MS_CORPUS_CREATE, &fixture->corpus, &err) != MS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    return 0;
}

static inline int fixture_tear_down(void **state)
{
    struct fixture *fixture = *state;
    ms_corpus_close(fixture->corpus);
    fixture_remove(AT_FDCWD, fixture->root);
    free(fixture);
    return 0;
}

#define fixture_test(function) \
    cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

static inline void fixture_reopen(struct fixture *fixture, enum ms_corpus_mode mode)
{
    struct ms_error err;
    ms_corpus_close(fixture->corpus);
    fixture->corpus = NULL;
    assert_ok(ms_corpus_open(fixture->dir, mode, &fixture->corpus, &err), &err);
}

/* Entries of a folder of the corpus. */
static inline int fixture_count(struct fixture *fixture, const char *folder)
{
    char path[256];
    int n = 0;
    snprintf(path, sizeof path, "%s/%s", fixture->dir, folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return n;
}

static inline size_t fixture_read(const char *path, uint8_t *out, size_t room)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, out, room);
    close(fd);
    assert_true(n >= 0);
    return (size_t)n;
}

/* Replaces a file, whatever its mode. */
static inline void fixture_write(const char *path, const uint8_t *bytes, size_t n)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

#endif

/* Checkpoints: what is written is read, bit by bit, and nothing else is taken for it. */
#include "train/checkpoint.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[4096], folder[8192];

static struct ms_checkpoint_run a_run(bool resume)
{
    return (struct ms_checkpoint_run){.folder = folder,
                                      .dataset = "00ff",
                                      .split = "11ee",
                                      .settings = "preset=default epochs=20 seed=1",
                                      .every = MS_CHECKPOINT_EPOCH,
                                      .resume = resume};
}

struct state {
    float params[5], moments[5];
    double curve[3];
    uint64_t place[2];
};

static const struct state FULL = {
    {1, -2, 3e-30f, 4, 5}, {.1f, .2f, .3f, .4f, .5f}, {.25, 1e300, -0.0}, {7, UINT64_MAX}};
static const uint8_t KEY[MS_SHA256_BYTES] = {1, 2, 3}, OTHER[MS_SHA256_BYTES] = {3, 2, 1};

enum { BLOCKS = 5 };

static void blocks_of(struct state *s, struct ms_checkpoint_block out[BLOCKS])
{
    const struct ms_checkpoint_block blocks[BLOCKS] = {
        {"place", MS_CHECKPOINT_U64, s->place, 2, true},
        {"curve", MS_CHECKPOINT_F64, s->curve, 3, true},
        {"params", MS_CHECKPOINT_F32, s->params, 5, true},
        {"moments", MS_CHECKPOINT_F32, s->moments, 5, false},
        {"average", MS_CHECKPOINT_F64, NULL, 0, false}};
    memcpy(out, blocks, sizeof blocks);
}

static struct ms_checkpoint *opened(bool resume)
{
    const struct ms_checkpoint_run run = a_run(resume);
    struct ms_checkpoint *c;
    struct ms_error err;
    if (ms_checkpoint_open(&run, &c, &err) != MS_OK)
        fail_msg("%s", err.text);
    return c;
}

static void save(struct ms_checkpoint *c, const uint8_t *key, bool finished)
{
    struct state s = FULL;
    struct ms_checkpoint_block blocks[BLOCKS];
    blocks_of(&s, blocks);
    ms_checkpoint_save(c, key, blocks, BLOCKS, finished);
}

static enum ms_status load(struct ms_checkpoint *c, const uint8_t *key, struct state *s,
                           enum ms_checkpoint_found *found, struct ms_error *err)
{
    struct ms_checkpoint_block blocks[BLOCKS];
    blocks_of(s, blocks);
    return ms_checkpoint_load(c, key, blocks, BLOCKS, found, err);
}

static void round_trip(void **test)
{
    (void)test;
    struct state s = {.moments = {9, 9, 9, 9, 9}};
    enum ms_checkpoint_found found;
    struct ms_checkpoint *c = opened(false);
    save(c, KEY, false);
    assert_int_equal(load(c, KEY, &s, &found, NULL), MS_OK);
    assert_int_equal(found, MS_CHECKPOINT_NONE); /* not a resumed run */
    ms_checkpoint_close(c);
    c = opened(true);
    assert_int_equal(load(c, OTHER, &s, &found, NULL), MS_OK);
    assert_int_equal(found, MS_CHECKPOINT_NONE);
    assert_int_equal(load(c, KEY, &s, &found, NULL), MS_OK);
    assert_int_equal(found, MS_CHECKPOINT_RUNNING);
    assert_memory_equal(&s, &FULL, sizeof s);
    save(c, KEY, true);
    s = (struct state){.moments = {9, 9, 9, 9, 9}};
    assert_int_equal(load(c, KEY, &s, &found, NULL), MS_OK);
    assert_int_equal(found, MS_CHECKPOINT_FINISHED);
    assert_memory_equal(s.params, FULL.params, sizeof s.params);
    assert_memory_equal(s.curve, FULL.curve, sizeof s.curve);
    assert_true(s.moments[4] == 9);
    ms_checkpoint_end(c);
    assert_int_not_equal(access(folder, F_OK), 0);
}

static void refused(const struct ms_checkpoint_run *run, const char *words)
{
    struct ms_checkpoint *c;
    struct ms_error err = {0};
    if (ms_checkpoint_open(run, &c, &err) != MS_E_INPUT || !strstr(err.text, words))
        fail_msg("'%s' where '%s' was due", err.text, words);
}

static void foreign_runs_are_refused(void **test)
{
    (void)test;
    struct ms_checkpoint_run run = a_run(true);
    refused(&run, "no unfinished run");
    ms_checkpoint_close(opened(false));
    run.dataset = "00fe";
    refused(&run, "another dataset: 00ff, here 00fe");
    run = a_run(true);
    run.split = "11";
    refused(&run, "another split");
    run = a_run(true);
    run.settings = "preset=default epochs=21 seed=1";
    refused(&run, "other settings: 'epochs=20', here 'epochs=21'");
    run.settings = "preset=default epochs=20 seed=12";
    refused(&run, "'seed=1', here 'seed=12'");
    char path[16384];
    (void)snprintf(path, sizeof path, "%s/run.json", folder);
    struct ms_buf text;
    ms_buf_init(&text, 1 << 16);
    assert_int_equal(ms_file_read(path, &text, NULL), MS_OK);
    char *at = strstr((char *)text.data, MS_VERSION);
    assert_non_null(at);
    *at = '9';
    assert_int_equal(ms_file_write_atomic(path, text.data, text.len, 0600, NULL), MS_OK);
    run = a_run(true);
    refused(&run, "another version of malseq");
    assert_int_equal(ms_file_write_atomic(path, text.data, text.len - 3, 0600, NULL), MS_OK);
    refused(&run, "damaged");
    ms_buf_release(&text);
    ms_checkpoint_close(opened(false)); /* begins anew */
    ms_checkpoint_end(opened(true));
}

/* The one state file of the folder. */
static void only_file(char path[16384])
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    unsigned found = 0;
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL)
        if (strstr(entry->d_name, ".safetensors")) {
            (void)snprintf(path, 16384, "%s/%s", folder, entry->d_name);
            found++;
        }
    (void)closedir(dir);
    assert_int_equal(found, 1);
}

static void damaged(const char *path, const uint8_t *bytes, size_t n)
{
    struct state s = {0};
    const struct state untouched = {0};
    enum ms_checkpoint_found found;
    struct ms_error err = {0};
    assert_int_equal(ms_file_write_atomic(path, bytes, n, 0600, NULL), MS_OK);
    struct ms_checkpoint *c = opened(true);
    assert_int_equal(load(c, KEY, &s, &found, &err), MS_E_INPUT);
    assert_non_null(strstr(err.text, "checkpoint '"));
    assert_memory_equal(&s, &untouched, sizeof s);
    ms_checkpoint_close(c);
}

static void every_damage_is_seen(void **test)
{
    (void)test;
    struct ms_checkpoint *c = opened(false);
    save(c, KEY, false);
    ms_checkpoint_close(c);
    char path[16384];
    only_file(path);
    struct ms_buf file;
    ms_buf_init(&file, 1 << 16);
    assert_int_equal(ms_file_read(path, &file, NULL), MS_OK);
    uint64_t header = file.data[0] + ((uint64_t)file.data[1] << 8);
    for (size_t i = 0; i<file.len; i += i> header + 8 || i < 16 ? 1 : 7) {
        if (i >= 8 && i < header + 8 && file.data[i] == ' ')
            continue; /* of blanks behind the header one more or less means nothing */
        file.data[i] ^= 4;
        damaged(path, file.data, file.len);
        file.data[i] ^= 4;
    }
    damaged(path, file.data, file.len - 1);
    damaged(path, file.data, 9);
    damaged(path, file.data, 0);
    ms_buf_release(&file);
    ms_checkpoint_end(opened(true));
}

static void other_blocks_are_refused(void **test)
{
    (void)test;
    struct ms_checkpoint *c = opened(false);
    save(c, KEY, false);
    ms_checkpoint_close(c);
    c = opened(true);
    struct state s = {0};
    struct ms_checkpoint_block blocks[BLOCKS];
    enum ms_checkpoint_found found;
    struct ms_error err;
    blocks_of(&s, blocks);
    blocks[2].count = 4;
    assert_int_equal(ms_checkpoint_load(c, KEY, blocks, BLOCKS, &found, &err), MS_E_INPUT);
    assert_non_null(strstr(err.text, "another state"));
    ms_checkpoint_end(c);
}

static unsigned warnings;
static void count_warning(void)
{
    warnings++;
}

/* A full disk: the state before stays, one warning, and room found again is used again. */
static void a_full_disk_is_survived(void **test)
{
    (void)test;
    struct ms_checkpoint *c = opened(false);
    struct state s = FULL;
    struct ms_checkpoint_block blocks[BLOCKS];
    enum ms_checkpoint_found found;
    struct rlimit was, small = {100, 100};
    save(c, KEY, false);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small.rlim_max = was.rlim_max;
    (void)signal(SIGXFSZ, SIG_IGN);
    warnings = 0;
    ms_log_set_hooks(count_warning, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    s.place[0] = 8;
    blocks_of(&s, blocks);
    for (int i = 0; i < 3; i++)
        ms_checkpoint_save(c, KEY, blocks, BLOCKS, false);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    ms_log_set_hooks(NULL, NULL);
    assert_int_equal(warnings, 1);
    ms_checkpoint_close(c);
    c = opened(true);
    assert_int_equal(load(c, KEY, &s, &found, NULL), MS_OK);
    assert_int_equal(s.place[0], 7);
    s.place[0] = 8;
    ms_checkpoint_save(c, KEY, blocks, BLOCKS, false);
    s.place[0] = 0;
    assert_int_equal(load(c, KEY, &s, &found, NULL), MS_OK);
    assert_int_equal(s.place[0], 8);
    ms_checkpoint_end(c);
}

static int64_t now_ms = 1000;
static int64_t mono(void *ctx)
{
    (void)ctx;
    return now_ms;
}

static bool due(const struct ms_checkpoint *c, uint64_t batches, bool epoch, bool finished,
                int64_t passed_ms)
{
    int64_t last = now_ms;
    now_ms += passed_ms;
    return ms_checkpoint_due(c, batches, epoch, finished, &last);
}

static void one_run_at_a_time(void **test)
{
    (void)test;
    struct ms_checkpoint_run run = a_run(true);
    struct ms_checkpoint *c = opened(false), *second = c;
    struct ms_error err = {0};
    assert_int_equal(ms_checkpoint_open(&run, &second, &err), MS_E_LATER);
    assert_null(second);
    run = a_run(false);
    warnings = 0;
    ms_log_set_hooks(count_warning, NULL);
    second = c;
    assert_int_equal(ms_checkpoint_open(&run, &second, &err), MS_OK);
    ms_log_set_hooks(NULL, NULL);
    assert_null(second);
    assert_int_equal(warnings, 1);
    save(c, KEY, false); /* the folder is as it was */
    ms_checkpoint_close(c);
    struct state s = {0};
    enum ms_checkpoint_found found;
    c = opened(true);
    assert_int_equal(load(c, KEY, &s, &found, NULL), MS_OK);
    assert_int_equal(found, MS_CHECKPOINT_RUNNING);
    ms_checkpoint_end(c);
}

static void when_it_is_due(void **test)
{
    (void)test;
    const struct ms_clock clock = {.mono_ms = mono};
    ms_clock_set(&clock);
    struct ms_checkpoint_run run = a_run(false);
    struct ms_checkpoint *c;
    assert_int_equal(ms_checkpoint_open(&run, &c, NULL), MS_OK);
    assert_true(due(c, 7, true, false, 0));
    assert_false(due(c, 7, false, false, 100000));
    ms_checkpoint_close(c);
    run.every = 3;
    assert_int_equal(ms_checkpoint_open(&run, &c, NULL), MS_OK);
    assert_true(due(c, 6, false, false, 0));
    assert_false(due(c, 7, true, false, 100000));
    ms_checkpoint_close(c);
    run.every = MS_CHECKPOINT_AUTO;
    assert_int_equal(ms_checkpoint_open(&run, &c, NULL), MS_OK);
    assert_false(due(c, 7, true, false, 4999));
    assert_true(due(c, 7, true, false, 5000));
    assert_false(due(c, 7, false, false, 59999));
    assert_true(due(c, 7, false, false, 60000));
    assert_false(due(c, 7, true, true, 999));
    assert_true(due(c, 7, true, true, 1000));
    ms_checkpoint_close(c);
    ms_clock_set(NULL);
    ms_checkpoint_end(opened(true));
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(root, sizeof root, "%s/checkpoint-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(root))
        return 1;
    (void)snprintf(folder, sizeof folder, "%s/models/name/checkpoint", root);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(foreign_runs_are_refused),
        cmocka_unit_test(every_damage_is_seen),
        cmocka_unit_test(other_blocks_are_refused),
        cmocka_unit_test(a_full_disk_is_survived),
        cmocka_unit_test(one_run_at_a_time),
        cmocka_unit_test(when_it_is_due),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)snprintf(folder, sizeof folder, "%s/models/name", root);
    (void)rmdir(folder);
    (void)snprintf(folder, sizeof folder, "%s/models", root);
    (void)rmdir(folder);
    (void)rmdir(root);
    return failed;
}

/* Imports whose confined reader dies, or says what cannot be: what it was at is named and passed
 * over, the rest of the files is read. */
#include "label/import_feed.h"
#include "label/import_job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILES = 3 };
static char folder[] = "/tmp/malseq-feed-XXXXXX";
static char paths[FILES][64];

/* The first byte of what the job is asked holds "mute" in its lowest bit. */
static bool is_muted(struct ms_span arg)
{
    return arg.len > 0 && (arg.data[0] & 1) != 0;
}

/* Dies of the first record of whatever it reads first. */
static enum ms_status die_once(int fd, struct ms_span arg, struct ms_worker_out *out,
                               struct ms_error *err)
{
    if (!is_muted(arg))
        abort();
    return ms_import_kind.job(fd, arg, out, err);
}

static enum ms_status die_always(int fd, struct ms_span arg, struct ms_worker_out *out,
                                 struct ms_error *err)
{
    (void)fd;
    (void)arg;
    (void)out;
    (void)err;
    abort();
}

/* Taken over: frames that are none, then places that are not there. */
static enum ms_status lie(int fd, struct ms_span arg, struct ms_worker_out *out,
                          struct ms_error *err)
{
    static const uint8_t record[] = {0, 0, 0xff, 0xff, 0x7f, 1, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    (void)fd;
    (void)err;
    if (is_muted(arg))
        return ms_worker_emit(out, MS_IMPORT_RECORD, "\xff\xff\xff", 3);
    return ms_worker_emit(out, MS_IMPORT_RECORD, record, sizeof record);
}

/* "file:line:result|" an item. */
static void read_with(ms_worker_job job, char *said, size_t room)
{
    const struct ms_worker_kind kind = {ms_import_kind.name, job, NULL};
    const struct ms_worker_options worker_options = {&kind, 1, true};
    const char *names[FILES] = {paths[0], paths[1], paths[2]};
    struct ms_worker *worker = NULL;
    struct ms_import_feed *feed = NULL;
    struct ms_import_item *item;
    struct ms_deriver deriver;
    struct ms_error err = {.status = MS_OK};
    size_t at = 0;
    assert_int_equal(ms_worker_start(&worker_options, &worker, &err), MS_OK);
    assert_int_equal(
        ms_deriver_open(&deriver, ms_policy_find("ember2024"), folder, NULL, NULL, &err), MS_OK);
    const struct ms_import_options options = {.worker = worker, .rules = &deriver, .jobs = 2};
    assert_int_equal(ms_import_feed_start(&options, names, FILES, &feed, &err), MS_OK);
    for (;;) {
        assert_int_equal(ms_import_feed_next(feed, &item, &err), MS_OK);
        if (!item)
            break;
        const char *what = item->kind == MS_ITEM_RECORD && item->status == MS_OK ? "good"
                           : item->kind == MS_ITEM_FILE && !item->why[0]         ? "end"
                           : item->kind == MS_ITEM_FILE                          ? "left"
                                                                                 : "bad";
        if (strcmp(what, "bad") == 0 || strcmp(what, "left") == 0)
            assert_non_null(strstr(item->why, job == lie ? "bad frame" : "SIGABRT"));
        at += (size_t)snprintf(said + at, room - at, "%c:%llu:%s|",
                               item->path[strlen(item->path) - 6], (unsigned long long)item->line,
                               what);
    }
    ms_import_feed_stop(feed);
    ms_deriver_close(&deriver);
    ms_worker_stop(worker);
}

static void test_death_costs_one_record(void **state)
{
    char said[512] = "";
    (void)state;
    read_with(ms_import_kind.job, said, sizeof said);
    assert_string_equal(said, "0:1:good|0:2:good|0:3:end|1:1:good|1:2:good|1:3:end|"
                              "2:1:good|2:2:good|2:3:end|");
    read_with(die_once, said, sizeof said);
    assert_string_equal(said, "0:1:bad|0:2:good|0:3:end|1:1:good|1:2:good|1:3:end|"
                              "2:1:good|2:2:good|2:3:end|");
}

static void test_death_and_lies_end(void **state)
{
    char said[512] = "";
    (void)state;
    read_with(die_always, said, sizeof said);
    assert_string_equal(said, "0:1:left|1:1:left|2:1:left|");
    read_with(lie, said, sizeof said);
    assert_string_equal(said, "0:1:left|1:1:left|2:1:left|");
}

static int write_files(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    for (int i = 0; i < FILES; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/%d.json", folder, i);
        FILE *file = fopen(paths[i], "w");
        if (!file)
            return -1;
        for (int k = 0; k < 2; k++)
            (void)fprintf(file,
                          "{\"md5\":\"%031d%d\",\"sha1\":\"%040d\",\"sha256\":\"%063d%d\","
                          "\"av_labels\":[[\"A\",\"Worm.X\"]]}\n",
                          i, k, 10 * i + k, i, k);
        (void)fclose(file);
    }
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++)
        (void)unlink(paths[i]);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_death_costs_one_record),
                                       cmocka_unit_test(test_death_and_lies_end)};
    return cmocka_run_group_tests(tests, write_files, remove_files);
}

/* Fuzz target: what train --resume reads. A state goes to the training that it is of, as it is and
 * with the digest that its bytes should have; what is taken up must train on without trouble. Text
 * that begins with a brace is the record of the run. */
#include "train/checkpoint.h"
#include "train/fit.h"
#include "train/plan.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS = 4, STEPS = 3, EPOCHS = 2, PATH_BYTES = 4400, FILE_MAX_BYTES = 1 << 20 };
static char folder[PATH_BYTES - 300], state_path[PATH_BYTES], record_path[PATH_BYTES];
static char *record;

static void must(bool good)
{
    if (!good)
        abort();
}

static struct ms_checkpoint_run a_run(bool resume)
{
    return (struct ms_checkpoint_run){.folder = folder,
                                      .dataset = "00ff",
                                      .split = "11ee",
                                      .settings = "preset=default epochs=2 seed=1",
                                      .every = resume ? MS_CHECKPOINT_NEVER : 1,
                                      .resume = resume};
}

/* The smallest training with every kind of block in its state. */
static enum ms_status train(struct ms_checkpoint *keeper)
{
    static const int32_t tokens[STEPS] = {1, 3, 2}, labels[ROWS] = {0, 1, 0, 1};
    static const struct ms_input_row made[2] = {{.tokens = (int32_t *)(uintptr_t)tokens, .n = 2},
                                                {.tokens = (int32_t *)(uintptr_t)tokens, .n = 3}};
    static const struct ms_input_row *const rows[ROWS] = {&made[0], &made[1], &made[1], &made[0]};
    const struct ms_fit_rows all = {rows, labels, ROWS};
    struct ms_plan plan;
    struct ms_fit_epoch curve[EPOCHS];
    struct ms_net *net = NULL;
    struct ms_error err;
    ms_plan_default(&plan);
    plan.inputs = (struct ms_input_options){0};
    plan.fit.config.embedding = plan.fit.config.recurrent[0].hidden = 2;
    plan.fit.epochs = EPOCHS;
    plan.fit.batch = 2;
    plan.fit.average = true;
    plan.fit.checkpoint = keeper;
    const struct ms_plan_shape shape = {.vocabulary = 4};
    must(ms_plan_config(&plan, 2, true, &shape, &plan.fit.config, &err) == MS_OK);
    enum ms_status status = ms_fit(&plan.fit, &all, NULL, &all, curve, &net, &err);
    ms_net_free(net);
    return status;
}

static void write_bytes(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0 && write(fd, bytes, size) == (ssize_t)size && close(fd) == 0);
}

static void clean_up(void)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/lock", folder);
    (void)unlink(state_path);
    (void)unlink(record_path);
    (void)unlink(path);
    (void)rmdir(folder);
    free(record);
}

/* Trains once, for the name of the state's file, which is the training's, and for the record. */
static void prepare(void)
{
    const char *parent = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/fuzz-checkpoint-XXXXXX", parent ? parent : "/tmp");
    must(mkdtemp(folder) != NULL);
    const struct ms_checkpoint_run run = a_run(false);
    struct ms_checkpoint *keeper;
    struct ms_error err;
    must(ms_checkpoint_open(&run, &keeper, &err) == MS_OK && train(keeper) == MS_OK);
    ms_checkpoint_close(keeper);
    DIR *dir = opendir(folder);
    must(dir != NULL);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (strstr(e->d_name, ".safetensors"))
            (void)snprintf(state_path, sizeof state_path, "%s/%s", folder, e->d_name);
    (void)closedir(dir);
    must(*state_path);
    (void)snprintf(record_path, sizeof record_path, "%s/run.json", folder);
    json_t *json = json_load_file(record_path, 0, NULL);
    record = json_dumps(json, 0);
    json_decref(json);
    must(record != NULL && atexit(clean_up) == 0);
}

static void resume(void)
{
    const struct ms_checkpoint_run run = a_run(true);
    struct ms_checkpoint *keeper = NULL;
    struct ms_error err;
    if (ms_checkpoint_open(&run, &keeper, &err) != MS_OK)
        return;
    enum ms_status status = train(keeper);
    must(status == MS_OK || status == MS_E_INPUT || status == MS_E_LIMIT);
    ms_checkpoint_close(keeper);
}

/* The header with the digest of what follows it: without that nothing but damage is ever seen. */
static bool mend(const uint8_t *data, size_t size, struct ms_buf *out)
{
    uint64_t length = 0;
    uint8_t digest[MS_SHA256_BYTES];
    char hex[MS_HASH_HEX_MAX];
    for (size_t i = 0; i < 8 && size >= 8; i++)
        length |= (uint64_t)data[i] << (8 * i);
    if (size < 8 || length > size - 8)
        return false;
    const uint8_t *rest = data + 8 + length;
    json_t *header = json_loadb((const char *)data + 8, (size_t)length, 0, NULL);
    json_t *facts = json_object_get(header, "__metadata__");
    must(ms_hash_sha256(rest, size - 8 - (size_t)length, digest) == MS_OK);
    ms_hex_encode(digest, sizeof digest, hex);
    bool good = facts && json_object_set_new(facts, "sha256", json_string(hex)) == 0;
    char *text = good ? json_dumps(header, JSON_COMPACT) : NULL;
    uint64_t n = text ? strlen(text) : 0;
    for (int i = 0; i < 8; i++)
        (void)ms_buf_append_byte(out, (uint8_t)(n >> (8 * i)));
    (void)ms_buf_append(out, text ? text : "", (size_t)n);
    (void)ms_buf_append(out, rest, size - 8 - (size_t)length);
    free(text);
    json_decref(header);
    return good && text && !out->failed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!*folder)
        prepare();
    if (size > FILE_MAX_BYTES)
        return 0;
    if (size && data[0] == '{') {
        write_bytes(record_path, data, size);
        resume();
        write_bytes(record_path, record, strlen(record));
        return 0;
    }
    struct ms_buf mended;
    ms_buf_init(&mended, 2 * (size_t)FILE_MAX_BYTES);
    write_bytes(state_path, data, size);
    resume();
    if (mend(data, size, &mended)) {
        write_bytes(state_path, mended.data, mended.len);
        resume();
    }
    ms_buf_release(&mended);
    return 0;
}

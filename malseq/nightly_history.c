/* The nights of a corpus as folders: nights/NNNNNN with a record, a page and logs. Numbers, and not
 * times, order them: clocks are set back. */
#include "malseq/nightly.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/step.h"
#include "store/census.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIGITS = 6, PATH_BYTES = 4400 };
static const char RECORD[] = "night.json", BEGIN[] = "begin.json";

/* ---- numbers ---- */

struct numbers {
    uint64_t *items; /* ascending */
    size_t count, cap;
};

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static enum ms_status push_number(struct numbers *self, uint64_t number, struct ms_error *err)
{
    if (self->count == self->cap) {
        size_t cap = self->cap ? self->cap * 2 : 64;
        void *items = realloc(self->items, cap * sizeof *self->items);
        if (!items)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        self->items = items;
        self->cap = cap;
    }
    self->items[self->count++] = number;
    return MS_OK;
}

/* What in nights/ is a night; nothing where there is no such folder. */
static enum ms_status list_numbers(const char *corpus, struct numbers *out, struct ms_error *err)
{
    char path[PATH_BYTES], shown[256];
    enum ms_status status = MS_OK;
    *out = (struct numbers){NULL, 0, 0};
    (void)snprintf(path, sizeof path, "%s/nights", corpus);
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? MS_OK
                               : ms_error_set_errno(err, MS_E_IO, errno, "cannot open '%s'",
                                                    ms_escape_text(path, shown, sizeof shown));
    for (struct dirent *entry; status == MS_OK && (entry = readdir(dir));) {
        size_t n = strlen(entry->d_name);
        if (n >= DIGITS && n <= 18 && strspn(entry->d_name, "0123456789") == n)
            status = push_number(out, strtoull(entry->d_name, NULL, 10), err);
    }
    (void)closedir(dir);
    if (out->count)
        qsort(out->items, out->count, sizeof *out->items, compare_numbers);
    return status;
}

static void name_folder(const char *corpus, uint64_t number, char out[PATH_BYTES])
{
    (void)snprintf(out, PATH_BYTES, "%s/nights/%0*llu", corpus, DIGITS, (unsigned long long)number);
}

enum ms_status malseq_nights_begin(const char *corpus, struct malseq_night *night,
                                   struct ms_error *err)
{
    struct numbers numbers;
    char path[PATH_BYTES];
    enum ms_status status = list_numbers(corpus, &numbers, err);
    night->number = numbers.count ? numbers.items[numbers.count - 1] + 1 : 1;
    free(numbers.items);
    name_folder(corpus, night->number, path);
    if (strlen(path) >= sizeof night->folder && status == MS_OK)
        status = ms_error_set(err, MS_E_IO, "the corpus' path is too long");
    if (status == MS_OK)
        memcpy(night->folder, path, strlen(path) + 1);
    struct ms_error late;
    if (status == MS_OK && ms_file_make_dirs(night->folder, &late) != MS_OK)
        ms_log(MS_LOG_WARNING, "this night is not kept: %s", late.text);
    return status;
}

/* ---- reading ---- */

enum ms_status malseq_nights_read(const char *corpus, size_t most, json_t **out,
                                  struct ms_error *err)
{
    struct numbers numbers;
    struct ms_buf text;
    struct ms_error ignored;
    *out = json_array();
    enum ms_status status = list_numbers(corpus, &numbers, err);
    ms_buf_init(&text, MS_LIMIT_NIGHT_RECORD_BYTES);
    size_t first = numbers.count > most ? numbers.count - most : 0;
    for (size_t i = first; i < numbers.count && status == MS_OK; i++) {
        char folder[PATH_BYTES], path[PATH_BYTES + 16];
        json_t *night = NULL;
        name_folder(corpus, numbers.items[i], folder);
        (void)snprintf(path, sizeof path, "%s/%s", folder, RECORD);
        ms_buf_clear(&text);
        /* One that was killed has none. */
        if (ms_file_read(path, &text, &ignored) == MS_OK &&
            ms_json_parse(text.data, text.len, &night, &ignored) == MS_OK && json_is_object(night))
            (void)json_array_append(*out, night);
        json_decref(night);
    }
    ms_buf_release(&text);
    free(numbers.items);
    return status;
}

/* ---- what there was before ---- */

enum ms_status malseq_night_note_begin(const struct malseq_night *night, struct ms_error *err)
{
    char path[PATH_BYTES];
    char *text = night->before ? json_dumps(night->before, JSON_COMPACT) : strdup("{}");
    (void)snprintf(path, sizeof path, "%s/%s", night->folder, BEGIN);
    enum ms_status status = text ? ms_file_write_atomic(path, text, strlen(text), 0600, err)
                                 : ms_error_set(err, MS_E_NOMEM, "out of memory");
    free(text);
    return status;
}

enum ms_status malseq_nights_base(const struct malseq_night *night, const json_t *history,
                                  json_t **out, struct ms_error *err)
{
    struct numbers numbers;
    struct ms_buf text;
    struct ms_error ignored;
    *out = NULL;
    for (size_t n = json_array_size(history); n > 0; n--) {
        json_t *census = json_object_get(json_array_get(history, n - 1), "census");
        if (json_is_object(census)) { /* null: that night could not read the corpus */
            *out = json_incref(census);
            return MS_OK;
        }
    }
    enum ms_status status = list_numbers(night->corpus, &numbers, err);
    ms_buf_init(&text, MS_LIMIT_NIGHT_RECORD_BYTES);
    for (size_t i = 0; i < numbers.count && status == MS_OK && !*out; i++) {
        char folder[PATH_BYTES], path[PATH_BYTES + 16];
        name_folder(night->corpus, numbers.items[i], folder);
        (void)snprintf(path, sizeof path, "%s/%s", folder, BEGIN);
        ms_buf_clear(&text);
        if (ms_file_read(path, &text, &ignored) == MS_OK &&
            ms_json_parse(text.data, text.len, out, &ignored) != MS_OK)
            *out = NULL;
    }
    ms_buf_release(&text);
    free(numbers.items);
    return status;
}

/* ---- removing ---- */

/* The files of a night, and the folder with them unless only the logs are to go. */
static void remove_files(const char *folder, bool logs_alone)
{
    char path[PATH_BYTES + 256];
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (logs_alone && (strcmp(name, RECORD) == 0 || strcmp(name, "index.html") == 0))
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        (void)unlink(path);
    }
    if (dir)
        (void)closedir(dir);
    if (!logs_alone)
        (void)rmdir(folder);
}

enum ms_status malseq_nights_prune(const char *corpus, uint64_t keep, uint64_t keep_logs,
                                   struct ms_error *err)
{
    struct numbers numbers;
    enum ms_status status = list_numbers(corpus, &numbers, err);
    for (size_t i = 0; i < numbers.count && status == MS_OK; i++) {
        char folder[PATH_BYTES], record[PATH_BYTES + 16];
        uint64_t newer = numbers.count - 1 - i;
        name_folder(corpus, numbers.items[i], folder);
        (void)snprintf(record, sizeof record, "%s/%s", folder, RECORD);
        bool ended = access(record, F_OK) == 0;
        if (newer >= keep || !ended)
            remove_files(folder, false);
        else if (newer >= keep_logs)
            remove_files(folder, true);
        ms_step("nightly.prune");
    }
    free(numbers.items);
    return status;
}

/* ---- the census ---- */

static enum ms_status on_count(void *ctx, const char *section, const char *name, int64_t value,
                               struct ms_error *err)
{
    json_t *all = ctx, *part = json_object_get(all, section);
    json_t *key = ms_json_text(name);
    if (!part && (part = json_object()))
        (void)json_object_set_new(all, section, part);
    int failed = !part || !key ||
                 json_object_set_new(part, json_string_value(key), json_integer(value)) != 0;
    json_decref(key);
    return failed ? ms_error_set(err, MS_E_NOMEM, "out of memory") : MS_OK;
}

enum ms_status malseq_census_json(const char *dir, json_t **out, struct ms_error *err)
{
    struct ms_corpus *corpus = NULL;
    char path[PATH_BYTES];
    *out = NULL;
    (void)snprintf(path, sizeof path, "%s/corpus.db", dir);
    if (access(path, F_OK) != 0)
        return MS_OK;
    enum ms_status status = ms_corpus_open(dir, MS_CORPUS_READ, &corpus, err);
    if (status != MS_OK)
        return status;
    *out = json_object();
    status = ms_census_run(corpus, ms_clock_wall_ms(), on_count, *out, err);
    if (status != MS_OK) {
        json_decref(*out);
        *out = NULL;
    }
    ms_corpus_close(corpus);
    return status;
}

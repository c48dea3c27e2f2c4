/* malseq status: counts of what the corpus holds, what waits, the quota, and the room it takes. */
#include "malseq/malseq.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "malseq/disk.h"
#include "store/census.h"

#include <stdio.h>
#include <string.h>

/* Either the JSON object that grows, or the section whose line is being printed. */
struct census {
    json_t *object;
    char section[64];
    size_t column;
    int64_t now_ms;
};

enum { SECTION_COLUMNS = 24, LINE_COLUMNS = 80 };

/* One "name value" of a section's line; long lines go on below. */
static void print_item(struct census *self, const char *section, const char *text)
{
    size_t width = strlen(text);
    if (strcmp(section, self->section) != 0) {
        printf("%s%-*s", self->section[0] ? "\n" : "", SECTION_COLUMNS, section);
        (void)snprintf(self->section, sizeof self->section, "%s", section);
        self->column = SECTION_COLUMNS;
    }
    bool first = self->column == SECTION_COLUMNS;
    if (!first && self->column + 2 + width > LINE_COLUMNS) {
        printf("\n%*s", SECTION_COLUMNS, "");
        self->column = SECTION_COLUMNS;
        first = true;
    }
    printf("%s%s", first ? "" : "  ", text);
    self->column += width + (first ? 0 : 2);
}

static enum ms_status on_count(void *ctx, const char *section, const char *name, int64_t value,
                               struct ms_error *err)
{
    struct census *self = ctx;
    char shown[160], text[224];
    (void)err;
    if (!self->object) {
        (void)snprintf(text, sizeof text, "%s %lld", ms_escape_text(name, shown, sizeof shown),
                       (long long)value);
        print_item(self, section, text);
        return MS_OK;
    }
    json_t *part = json_object_get(self->object, section);
    if (!part) {
        part = json_object();
        json_object_set_new(self->object, section, part);
    }
    json_t *key = ms_json_text(name);
    if (key)
        json_object_set_new(part, json_string_value(key), json_integer(value));
    json_decref(key);
    return MS_OK;
}

/* Adds to the array `name` of the object. */
static enum ms_status append(struct census *self, const char *name, json_t *item,
                             struct ms_error *err)
{
    json_t *list = json_object_get(self->object, name);
    if (!item || !list || json_array_append_new(list, item) != 0)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    return MS_OK;
}

static json_t *time_or_null(int64_t wall_ms)
{
    char text[32];
    if (wall_ms <= 0)
        return json_null();
    ms_clock_format(wall_ms, text);
    return ms_json_text(text);
}

static enum ms_status on_quota(void *ctx, const struct ms_quota_state *state, struct ms_error *err)
{
    struct census *self = ctx;
    char text[160], until[32], key[40];
    if (self->object)
        return append(self, "quota",
                      json_pack("{s:o,s:s,s:o,s:I,s:o,s:o,s:o}", "key",
                                ms_json_text(state->key_print), "window", state->window, "allowed",
                                state->allowed < 0 ? json_null() : json_integer(state->allowed),
                                "used", (json_int_t)state->used, "left",
                                state->left < 0 ? json_null() : json_integer(state->left), "resets",
                                time_or_null(state->resets_ms), "read",
                                time_or_null(state->read_ms)),
                      err);
    ms_clock_format(state->resets_ms, until);
    (void)ms_escape_text(state->key_print, key, sizeof key);
    if (state->allowed < 0)
        (void)snprintf(text, sizeof text, "%s %s: %lld used until %s", key, state->window,
                       (long long)state->used, until);
    else
        (void)snprintf(text, sizeof text, "%s %s: %lld of %lld left until %s", key, state->window,
                       (long long)state->left, (long long)state->allowed, until);
    print_item(self, "quota", text);
    return MS_OK;
}

static enum ms_status on_waiting(void *ctx, const struct ms_waiting *waiting, struct ms_error *err)
{
    struct census *self = ctx;
    char text[160], since[40] = "never", count[32] = "";
    if (self->object)
        return append(self, "waiting",
                      json_pack("{s:s,s:o,s:o}", "what", waiting->what, "count",
                                waiting->count < 0 ? json_null() : json_integer(waiting->count),
                                "since", time_or_null(waiting->since_ms)),
                      err);
    if (waiting->since_ms > 0) {
        (void)snprintf(since, sizeof since, "since ");
        ms_clock_format(waiting->since_ms, since + strlen(since));
    }
    if (waiting->count >= 0)
        (void)snprintf(count, sizeof count, "%lld, ", (long long)waiting->count);
    (void)snprintf(text, sizeof text, "%s: %s%s", waiting->what, count, since);
    print_item(self, "waiting", text);
    return MS_OK;
}

static enum ms_status show_room(const char *dir, bool exact, struct census *census,
                                struct ms_error *err)
{
    struct malseq_disk disk;
    enum ms_status status = malseq_disk_measure(dir, exact, &disk, err);
    const struct {
        const char *name;
        uint64_t bytes;
    } rows[] = {{"database", disk.database}, {"samples", disk.samples}, {"reports", disk.reports},
                {"models", disk.models},     {"other", disk.other},     {"free", disk.free}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows && status == MS_OK; i++)
        status = on_count(census, "disk bytes", rows[i].name, (int64_t)rows[i].bytes, err);
    if (status == MS_OK && census->object)
        json_object_set_new(census->object, "disk estimated", json_boolean(disk.estimated));
    else if (status == MS_OK && disk.estimated)
        print_item(census, "disk bytes", "(samples and reports: about)");
    return status;
}

enum ms_status malseq_status(struct ms_cli *cli, struct ms_error *err)
{
    const struct malseq_status *options = cli->options;
    struct ms_corpus *corpus = NULL;
    struct census census = {.now_ms = ms_clock_wall_ms()};
    const char *dir = cli->common.corpus;
    enum ms_status status = ms_corpus_open(dir, MS_CORPUS_READ, &corpus, err);
    if (status != MS_OK)
        return status;
    if (cli->common.json)
        census.object =
            json_pack("{s:o,s:[],s:[]}", "corpus", ms_json_text(dir), "quota", "waiting");
    status = ms_census_run(corpus, census.now_ms, on_count, &census, err);
    if (status == MS_OK)
        status = ms_census_quota(corpus, census.now_ms, on_quota, &census, err);
    if (status == MS_OK)
        status = ms_census_waiting(corpus, census.now_ms, on_waiting, &census, err);
    if (status == MS_OK)
        status = show_room(dir, options->exact, &census, err);
    if (census.object && status == MS_OK)
        status = ms_json_line(stdout, census.object, err);
    else if (census.object)
        json_decref(census.object);
    else
        printf("\n");
    ms_corpus_close(corpus);
    return status;
}

/* malseq status: counts of what the corpus holds and the room it takes. */
#include "malseq/malseq.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "store/census.h"

#include <stdio.h>
#include <string.h>

/* Either the JSON object that grows, or the section whose line is being printed. */
struct census {
    json_t *object;
    char section[64];
    size_t column;
};

enum { SECTION_COLUMNS = 24, LINE_COLUMNS = 80 };

static enum ms_status on_count(void *ctx, const char *section, const char *name, int64_t value,
                               struct ms_error *err)
{
    struct census *self = ctx;
    char shown[160], text[224];
    (void)err;
    if (self->object) {
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
    if (strcmp(section, self->section) != 0) {
        printf("%s%-*s", self->section[0] ? "\n" : "", SECTION_COLUMNS, section);
        (void)snprintf(self->section, sizeof self->section, "%s", section);
        self->column = SECTION_COLUMNS;
    }
    int n = snprintf(text, sizeof text, "%s %lld", ms_escape_text(name, shown, sizeof shown),
                     (long long)value);
    size_t width = n > 0 ? (size_t)n : 0;
    bool first = self->column == SECTION_COLUMNS;
    if (!first && self->column + 2 + width > LINE_COLUMNS) {
        printf("\n%*s", SECTION_COLUMNS, "");
        self->column = SECTION_COLUMNS;
        first = true;
    }
    printf("%s%s", first ? "" : "  ", text);
    self->column += width + (first ? 0 : 2);
    return MS_OK;
}

/* Bytes by the part of the corpus they lie in. */
struct room {
    size_t root_length;
    uint64_t database, samples, reports, models, other;
};

static enum ms_status on_file(void *ctx, const char *path, const struct stat *st, int errnum,
                              struct ms_error *err)
{
    struct room *self = ctx;
    (void)errnum;
    (void)err;
    if (!st)
        return MS_OK;
    const char *part = path + self->root_length;
    part += strspn(part, "/");
    /* What is taken on the disk, not how long the file says it is. */
    uint64_t bytes = (uint64_t)st->st_blocks * 512;
    if (strncmp(part, "corpus.db", 9) == 0)
        self->database += bytes;
    else if (strncmp(part, "samples/", 8) == 0)
        self->samples += bytes;
    else if (strncmp(part, "reports/", 8) == 0)
        self->reports += bytes;
    else if (strncmp(part, "models/", 7) == 0)
        self->models += bytes;
    else
        self->other += bytes;
    return MS_OK;
}

static enum ms_status count_room(const char *dir, struct census *census, struct ms_error *err)
{
    struct room room = {.root_length = strlen(dir)};
    enum ms_status status = ms_file_walk(dir, on_file, &room, err);
    const struct {
        const char *name;
        uint64_t bytes;
    } rows[] = {{"database", room.database},
                {"samples", room.samples},
                {"reports", room.reports},
                {"models", room.models},
                {"other", room.other}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows && status == MS_OK; i++)
        status = on_count(census, "disk bytes", rows[i].name, (int64_t)rows[i].bytes, err);
    return status;
}

enum ms_status malseq_status(struct ms_cli *cli, struct ms_error *err)
{
    struct ms_corpus *corpus = NULL;
    struct census census = {.object = NULL};
    const char *dir = cli->common.corpus;
    enum ms_status status = ms_corpus_open(dir, MS_CORPUS_READ, &corpus, err);
    if (status != MS_OK)
        return status;
    if (cli->common.json) {
        census.object = json_object();
        json_object_set_new(census.object, "corpus", ms_json_text(dir));
    }
    status = ms_census_run(corpus, ms_clock_wall_ms(), on_count, &census, err);
    if (status == MS_OK)
        status = count_room(dir, &census, err);
    if (census.object && status == MS_OK)
        status = ms_json_line(stdout, census.object, err);
    else if (census.object)
        json_decref(census.object);
    else
        printf("\n");
    ms_corpus_close(corpus);
    return status;
}

/* Antivirus reports: which format a document has, and the record of it. The walking is
 * record_walk.c's. */
#include "label/record_private.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

const char *ms_record_format_name(enum ms_record_format format)
{
    static const char *const names[] = {"unknown", "vt3", "vt2", "opswat", "simple"};
    return names[(unsigned)format <= MS_RECORD_SIMPLE ? format : MS_RECORD_UNKNOWN];
}

enum ms_status ms_record_reader_new(struct ms_record_reader **out, struct ms_error *err)
{
    struct ms_record_reader *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "no memory to read a report");
    /* Decoded text is no longer than its source; the rest is what rounding up costs. */
    ms_arena_init(&self->arena, 8 * MS_LIMIT_SCAN_BYTES);
    enum ms_status status = ms_scanner_new_memory(&self->scan, err);
    if (status != MS_OK) {
        ms_record_reader_free(self);
        return status;
    }
    ms_scanner_allow_non_finite(self->scan, true);
    *out = self;
    return MS_OK;
}

void ms_record_reader_free(struct ms_record_reader *self)
{
    if (!self)
        return;
    ms_scanner_free(self->scan);
    ms_arena_release(&self->arena);
    free(self->vt3_rows.at);
    free(self->vt2_rows.at);
    free(self->opswat_rows.at);
    free(self->simple_rows.at);
    free(self->index.slots);
    free(self->index.hashes);
    free(self->tags[0]);
    free(self->tags[1]);
    free(self);
}

/* ---- formats ---- */

/* The first member that AVClass needs and part or rows lack. */
static const char *missing(const struct ms_record_part *part, const struct ms_record_rows *rows,
                           const char *rows_name)
{
    if (rows->kind == MS_RECORD_ABSENT)
        return rows_name;
    if (part->md5.kind == MS_RECORD_ABSENT)
        return "md5";
    if (part->sha1.kind == MS_RECORD_ABSENT)
        return "sha1";
    return part->sha256.kind == MS_RECORD_ABSENT ? "sha256" : NULL;
}

static const char *missing_of(const struct ms_record_reader *self, enum ms_record_format format)
{
    switch (format) {
    case MS_RECORD_VT3:
        return self->vt3.kind == MS_RECORD_OBJECT
                   ? missing(&self->vt3, &self->vt3_rows, "last_analysis_results")
                   : "attributes";
    case MS_RECORD_VT2:
        return missing(&self->top, &self->vt2_rows, "scans");
    case MS_RECORD_OPSWAT:
        return missing(&self->opswat, &self->opswat_rows, "scan_details");
    default:
        return missing(&self->top, &self->simple_rows, "av_labels");
    }
}

/* What a report of a format cannot do without. */
static bool has_beginnings(const struct ms_record_reader *self, enum ms_record_format format)
{
    switch (format) {
    case MS_RECORD_VT3:
        return self->vt3.kind == MS_RECORD_OBJECT;
    case MS_RECORD_VT2:
        return self->vt2_rows.kind != MS_RECORD_ABSENT ||
               self->top.response_code != MS_RECORD_NO_RESPONSE;
    case MS_RECORD_OPSWAT:
        return self->opswat.kind == MS_RECORD_OBJECT;
    default:
        return self->simple_rows.kind != MS_RECORD_ABSENT;
    }
}

static enum ms_record_format guess(const struct ms_record_reader *self)
{
    for (int i = MS_RECORD_VT3; i <= MS_RECORD_SIMPLE; i++)
        if (!missing_of(self, (enum ms_record_format)i))
            return (enum ms_record_format)i;
    for (int i = MS_RECORD_VT3; i <= MS_RECORD_SIMPLE; i++)
        if (has_beginnings(self, (enum ms_record_format)i))
            return (enum ms_record_format)i;
    return MS_RECORD_UNKNOWN;
}

static void fill(const struct ms_record_reader *self, enum ms_record_format format,
                 struct ms_record *out)
{
    const struct ms_record_part *part = format == MS_RECORD_VT3      ? &self->vt3
                                        : format == MS_RECORD_OPSWAT ? &self->opswat
                                                                     : &self->top;
    const struct ms_record_rows *rows = format == MS_RECORD_VT3      ? &self->vt3_rows
                                        : format == MS_RECORD_VT2    ? &self->vt2_rows
                                        : format == MS_RECORD_OPSWAT ? &self->opswat_rows
                                                                     : &self->simple_rows;
    *out = (struct ms_record){.format = format,
                              .missing = missing_of(self, format),
                              .sha256 = part->sha256,
                              .sha1 = part->sha1,
                              .md5 = part->md5,
                              .id = part->id,
                              .type = part->type,
                              .size = part->size,
                              .first_submission_ms = part->first_ms,
                              .last_analysis_ms = part->last_ms,
                              .response_code = part->response_code,
                              .engines_kind = rows->kind,
                              .engines = rows->at,
                              .engine_count = rows->count,
                              .category = part->category,
                              .suggested = part->suggested,
                              .trusted = part->goodware || part->in_nsrl};
    if (format == MS_RECORD_VT3 || format == MS_RECORD_VT2) {
        size_t list = format == MS_RECORD_VT2;
        out->tags_kind = self->tags_kind[list];
        out->tags = self->tags[list];
        out->tag_count = self->tag_count[list];
    }
}

/* The record of what was walked through. */
static enum ms_status conclude(struct ms_record_reader *self, struct ms_record *out,
                               struct ms_error *err)
{
    static const char *const beginnings[] = {
        "no \"attributes\", \"scans\", \"scan_results\" or \"av_labels\"",
        "\"attributes\" is missing", "\"scans\" is missing", "\"scan_results\" is missing",
        "\"av_labels\" is missing"};
    enum ms_record_format format = self->wanted;
    if (format == MS_RECORD_UNKNOWN)
        format = guess(self);
    if (format == MS_RECORD_UNKNOWN || !has_beginnings(self, format))
        return ms_error_set(err, MS_REJECT, "no report of a known format: %s",
                            beginnings[self->wanted]);
    fill(self, format, out);
    return MS_OK;
}

/* ---- documents ---- */

static enum ms_status start(struct ms_record_reader *self, struct ms_span document,
                            enum ms_record_format format, struct ms_error *err)
{
    ms_arena_reset(&self->arena);
    self->sound = false;
    self->document = document;
    self->wanted = format;
    if ((unsigned)format > MS_RECORD_SIMPLE)
        return ms_error_set(err, MS_E_BUG, "no such format of reports");
    if (document.len > MS_LIMIT_SCAN_BYTES)
        return ms_error_set(err, MS_REJECT, "the report is larger than %zu bytes",
                            MS_LIMIT_SCAN_BYTES);
    ms_scanner_restart(self->scan, document);
    return MS_OK;
}

static enum ms_status finish(struct ms_record_reader *self, struct ms_error *err)
{
    enum ms_status status = ms_scanner_finish(self->scan, err);
    self->sound = status == MS_OK;
    return status;
}

enum ms_status ms_record_read(struct ms_record_reader *self, struct ms_span document,
                              enum ms_record_format format, struct ms_record *out,
                              struct ms_error *err)
{
    enum ms_status status = start(self, document, format, err);
    if (status == MS_OK)
        status = ms_record_walk(self, err);
    if (status == MS_OK)
        status = finish(self, err);
    return status == MS_OK ? conclude(self, out, err) : status;
}

bool ms_record_sound(const struct ms_record_reader *self)
{
    return self->sound;
}

/* Reads the value that is due as a report and shows it. */
static enum ms_status visit_one(struct ms_record_reader *self, ms_record_visit visit, void *ctx,
                                struct ms_error *err)
{
    struct ms_error why = {0};
    struct ms_record record;
    enum ms_scanner_kind kind;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    size_t from = (size_t)ms_scanner_byte(self->scan);
    ms_arena_reset(&self->arena);
    status = ms_record_walk(self, err);
    if (status != MS_OK)
        return status;
    struct ms_span element =
        ms_span_of(self->document.data + from, (size_t)ms_scanner_byte(self->scan) - from);
    status = conclude(self, &record, &why);
    return visit(ctx, element, status, status == MS_OK ? &record : NULL, &why, err);
}

static enum ms_status visit_array(struct ms_record_reader *self, ms_record_visit visit, void *ctx,
                                  struct ms_error *err)
{
    bool more = false;
    enum ms_status status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        status = ms_scanner_element(self->scan, &more, err);
        if (status != MS_OK || !more)
            break;
        status = visit_one(self, visit, ctx, err);
    }
    return status == MS_OK ? finish(self, err) : status;
}

enum ms_status ms_record_each(struct ms_record_reader *self, struct ms_span document,
                              enum ms_record_format format, ms_record_visit visit, void *ctx,
                              struct ms_error *err)
{
    struct ms_error why = {0};
    struct ms_record record;
    enum ms_scanner_kind kind;
    enum ms_status status = start(self, document, format, err);
    if (status == MS_OK)
        status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind == MS_SCAN_ARRAY)
        return visit_array(self, visit, ctx, err);
    size_t from = (size_t)ms_scanner_byte(self->scan);
    status = ms_record_walk(self, err);
    size_t to = (size_t)ms_scanner_byte(self->scan);
    if (status == MS_OK)
        status = finish(self, err);
    if (status != MS_OK)
        return status;
    status = conclude(self, &record, &why);
    if (status != MS_OK && self->listed.data &&
        (format == MS_RECORD_UNKNOWN || format == MS_RECORD_VT3)) {
        /* It was sound JSON a moment ago, so that no fault can have a place in the part alone. */
        status = start(self, self->listed, format, err);
        return status == MS_OK ? visit_array(self, visit, ctx, err) : status;
    }
    return visit(ctx, ms_span_of(document.data + from, to - from), status,
                 status == MS_OK ? &record : NULL, &why, err);
}

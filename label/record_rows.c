/* Engine rows of antivirus reports: how each format writes them, and that of an engine that occurs
 * twice the last row counts, at the place of the first. */
#include "base/limits.h"
#include "label/record_private.h"

#include <stdlib.h>
#include <string.h>

/* The longest way from a name's slot to a free one: guards the time spent on names chosen so that
 * they collide. */
enum { PROBES_MAX = 1024, FIRST_ROWS = 128 };

static enum ms_status grow_rows(struct ms_record_rows *rows, struct ms_error *err)
{
    size_t cap = rows->cap ? 2 * rows->cap : FIRST_ROWS;
    if (rows->count == MS_LIMIT_RECORD_ENGINES)
        return ms_error_set(err, MS_REJECT, "more than %zu engines", MS_LIMIT_RECORD_ENGINES);
    struct ms_record_engine *at = realloc(rows->at, cap * sizeof *at);
    if (!at)
        return ms_record_no_memory(err);
    rows->at = at;
    rows->cap = cap;
    return MS_OK;
}

static enum ms_status add_row(struct ms_record_rows *rows, struct ms_record_engine **out,
                              struct ms_error *err)
{
    if (rows->count == rows->cap) {
        enum ms_status status = grow_rows(rows, err);
        if (status != MS_OK)
            return status;
    }
    *out = &rows->at[rows->count++];
    **out = (struct ms_record_engine){0};
    return MS_OK;
}

static uint32_t hash_of(struct ms_span name)
{
    uint64_t hash = 0x9E3779B97F4A7C15u + name.len, word;
    size_t i = 0;
    for (; name.len - i >= 8; i += 8) {
        memcpy(&word, name.data + i, 8);
        hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
    }
    for (word = 0; i < name.len; i++)
        word = word << 8 | name.data[i];
    hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
    return (uint32_t)(hash >> 32);
}

/* Empties the index, with slots for twice as many rows as there are. */
static enum ms_status clear_index(struct ms_record_index *index, size_t rows, struct ms_error *err)
{
    size_t count = 4 * FIRST_ROWS;
    while (count < 4 * rows)
        count *= 2;
    if (count > index->slot_cap) {
        uint32_t *slots = realloc(index->slots, count * sizeof *slots);
        if (!slots)
            return ms_record_no_memory(err);
        index->slots = slots;
        uint32_t *hashes = realloc(index->hashes, count / 2 * sizeof *hashes);
        if (!hashes)
            return ms_record_no_memory(err);
        index->hashes = hashes;
        index->slot_cap = count;
    }
    index->slot_count = count;
    memset(index->slots, 0, count * sizeof *index->slots);
    return MS_OK;
}

static enum ms_status rehash(struct ms_record_index *index, size_t rows, struct ms_error *err)
{
    enum ms_status status = clear_index(index, rows, err);
    for (size_t row = 0; status == MS_OK && row < rows; row++) {
        size_t at = index->hashes[row] & (index->slot_count - 1);
        while (index->slots[at])
            at = (at + 1) & (index->slot_count - 1);
        index->slots[at] = (uint32_t)row + 1;
    }
    return status;
}

/* The row of an engine in an object: its first when the name was there before, else a new one. */
static enum ms_status find_row(struct ms_record_reader *self, struct ms_record_rows *rows,
                               const struct ms_scanner_text *key, struct ms_record_engine **out,
                               struct ms_error *err)
{
    struct ms_record_index *index = &self->index;
    uint32_t hash = hash_of(key->bytes);
    if (2 * (rows->count + 1) > index->slot_count) {
        enum ms_status status = rehash(index, rows->count, err);
        if (status != MS_OK)
            return status;
    }
    size_t at = hash & (index->slot_count - 1);
    for (unsigned probes = 0; index->slots[at]; probes++) {
        size_t row = index->slots[at] - 1;
        struct ms_record_engine *engine = &rows->at[row];
        if (index->hashes[row] == hash &&
            ms_span_equal(key->bytes, ms_span_of(engine->name.at, engine->name.len))) {
            *engine = (struct ms_record_engine){.name = engine->name};
            *out = engine;
            return MS_OK;
        }
        if (probes == PROBES_MAX)
            return ms_error_set(err, MS_REJECT, "names of engines made to collide");
        at = (at + 1) & (index->slot_count - 1);
    }
    enum ms_status status = add_row(rows, out, err);
    if (status != MS_OK)
        return status;
    index->slots[at] = (uint32_t)rows->count;
    index->hashes[rows->count - 1] = hash;
    return ms_record_hold(self, key->bytes, &(*out)->name, err);
}

static enum ms_vt_category category_of(const struct ms_scanner_text *word)
{
    if (IS(*word, "undetected"))
        return MS_VT_UNDETECTED;
    if (IS(*word, "malicious"))
        return MS_VT_MALICIOUS;
    if (IS(*word, "type-unsupported"))
        return MS_VT_UNSUPPORTED;
    if (IS(*word, "timeout") || IS(*word, "confirmed-timeout"))
        return MS_VT_TIMEOUT;
    if (IS(*word, "failure"))
        return MS_VT_FAILURE;
    if (IS(*word, "suspicious"))
        return MS_VT_SUSPICIOUS;
    return IS(*word, "harmless") ? MS_VT_HARMLESS : MS_VT_OTHER;
}

/* Whether Python holds a value for true. */
static bool is_true(const struct ms_scanner_field *field)
{
    const uint8_t *p = field->text.bytes.data;
    size_t n = field->text.bytes.len;
    bool full = false;
    switch (field->kind) {
    case MS_SCAN_TRUE:
        return true;
    case MS_SCAN_STRING:
        return n > 0;
    case MS_SCAN_NUMBER:
        /* Zero is what has no other digit in front of an exponent. */
        for (size_t i = 0; i < n && p[i] != 'e' && p[i] != 'E'; i++)
            full = full || (p[i] >= '1' && p[i] <= '9') || p[i] == 'N' || p[i] == 'I';
        return full;
    case MS_SCAN_OBJECT:
    case MS_SCAN_ARRAY:
        for (size_t i = 1; i + 1 < n; i++)
            full = full || p[i] > ' ';
        return full;
    default:
        return false;
    }
}

/* ---- rows of each format: what their members come to. `fields` is NULL for a row that is no
 * object. ---- */

enum { RESULT, CATEGORY, DETECTED = CATEGORY, CODE = CATEGORY, ROW_FIELDS };

static void conclude_vt3(struct ms_record_engine *engine, const struct ms_scanner_field *fields)
{
    engine->malformed = engine->label.kind == MS_RECORD_ABSENT;
    engine->counts = !engine->malformed && engine->label.kind != MS_RECORD_NULL;
    if (!fields)
        engine->category = MS_VT_OTHER;
    else if (fields[CATEGORY].found)
        engine->category = fields[CATEGORY].kind == MS_SCAN_STRING
                               ? category_of(&fields[CATEGORY].text)
                               : MS_VT_OTHER;
    else /* Simplified objects leave it out; in genuine answers a result stands exactly in malicious
            rows. */
        engine->category =
            engine->label.kind == MS_RECORD_STRING ? MS_VT_MALICIOUS : MS_VT_UNDETECTED;
}

static void conclude_vt2(struct ms_record_engine *engine, const struct ms_scanner_field *fields)
{
    bool said = fields && fields[DETECTED].found;
    engine->counts = said && is_true(&fields[DETECTED]);
    engine->malformed = !said || (engine->counts && engine->label.kind == MS_RECORD_ABSENT);
    engine->category = engine->counts ? MS_VT_MALICIOUS : MS_VT_UNDETECTED;
}

static void conclude_opswat(struct ms_record_engine *engine, const struct ms_scanner_field *fields)
{
    bool named = engine->label.kind != MS_RECORD_ABSENT && engine->label.kind != MS_RECORD_NULL;
    int64_t code = -1;
    /* Python holds true for equal to 1. */
    if (fields && fields[CODE].found && fields[CODE].kind == MS_SCAN_TRUE)
        code = 1;
    else if (fields && fields[CODE].found && fields[CODE].kind == MS_SCAN_NUMBER)
        code = ms_record_integer(fields[CODE].text.bytes, -1);
    engine->counts = named && code == 1;
    engine->malformed = engine->label.kind == MS_RECORD_ABSENT || (named && !fields[CODE].found);
    engine->category = code == 0                             ? MS_VT_UNDETECTED
                       : code == 1 || code == 4 || code == 6 ? MS_VT_MALICIOUS
                       : code == 2                           ? MS_VT_SUSPICIOUS
                       : code == 3 || code == 11             ? MS_VT_FAILURE
                                                             : MS_VT_UNSUPPORTED;
}

/* One format's rows. */
struct table {
    struct ms_record_rows *rows;
    struct ms_scanner_name names[ROW_FIELDS];
    void (*conclude)(struct ms_record_engine *engine, const struct ms_scanner_field *fields);
};

static enum ms_status read_row(struct ms_record_reader *self, const struct ms_scanner_text *key,
                               void *ctx, struct ms_error *err)
{
    const struct table *table = ctx;
    struct ms_scanner_field fields[ROW_FIELDS];
    struct ms_record_engine *engine;
    enum ms_scanner_kind kind;
    enum ms_status status = find_row(self, table->rows, key, &engine, err);
    if (status == MS_OK)
        status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind != MS_SCAN_OBJECT) {
        table->conclude(engine, NULL);
        return ms_scanner_skip(self->scan, err);
    }
    status = ms_scanner_fields(self->scan, table->names, ROW_FIELDS, fields, err);
    if (status == MS_OK && fields[RESULT].found)
        status = ms_record_text_of(self, &fields[RESULT], &engine->label, err);
    if (status == MS_OK)
        table->conclude(engine, fields);
    return status;
}

static enum ms_status read_rows(struct ms_record_reader *self, struct table table,
                                struct ms_error *err)
{
    table.rows->count = 0;
    enum ms_status status = clear_index(&self->index, 0, err);
    return status == MS_OK ? ms_record_each_member(self, read_row, &table, &table.rows->kind, err)
                           : status;
}

enum ms_status ms_record_read_vt3(struct ms_record_reader *self, struct ms_error *err)
{
    return read_rows(self,
                     (struct table){&self->vt3_rows,
                                    {MS_SCAN_NAME("result"), MS_SCAN_NAME("category")},
                                    conclude_vt3},
                     err);
}

enum ms_status ms_record_read_vt2(struct ms_record_reader *self, struct ms_error *err)
{
    return read_rows(self,
                     (struct table){&self->vt2_rows,
                                    {MS_SCAN_NAME("result"), MS_SCAN_NAME("detected")},
                                    conclude_vt2},
                     err);
}

enum ms_status ms_record_read_opswat(struct ms_record_reader *self, struct ms_error *err)
{
    return read_rows(self,
                     (struct table){&self->opswat_rows,
                                    {MS_SCAN_NAME("threat_found"), MS_SCAN_NAME("scan_result_i")},
                                    conclude_opswat},
                     err);
}

/* One [engine, label] of the simplified form. */
static enum ms_status read_pair(struct ms_record_reader *self, struct ms_record_engine *engine,
                                struct ms_error *err)
{
    struct ms_scanner_field fields[2] = {{.found = false}};
    enum ms_scanner_kind kind;
    size_t count = 0;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    engine->category = MS_VT_OTHER;
    engine->counts = engine->malformed = true;
    if (status != MS_OK || kind != MS_SCAN_ARRAY)
        return status != MS_OK ? status : ms_scanner_skip(self->scan, err);
    status = ms_scanner_items(self->scan, 2, fields, &count, err);
    if (status == MS_OK && count > 0)
        status = ms_record_text_of(self, &fields[0], &engine->name, err);
    if (status == MS_OK && count > 1)
        status = ms_record_text_of(self, &fields[1], &engine->label, err);
    /* The form lists detections; a pair without a label is none. */
    if (engine->label.len > 0)
        engine->category = MS_VT_MALICIOUS;
    engine->malformed = count != 2;
    return status;
}

enum ms_status ms_record_read_pairs(struct ms_record_reader *self, struct ms_error *err)
{
    struct ms_record_rows *rows = &self->simple_rows;
    struct ms_record_engine *engine;
    enum ms_scanner_kind kind;
    bool more = false;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    rows->count = 0;
    if (status != MS_OK)
        return status;
    rows->kind = ms_record_kind_of(kind);
    if (kind != MS_SCAN_ARRAY)
        return ms_scanner_skip(self->scan, err);
    status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        status = ms_scanner_element(self->scan, &more, err);
        if (status != MS_OK || !more)
            break;
        status = add_row(rows, &engine, err);
        if (status == MS_OK)
            status = read_pair(self, engine, err);
    }
    return status;
}

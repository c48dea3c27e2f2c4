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

static enum ms_status grow_index(struct ms_record_index *index, size_t rows, struct ms_error *err)
{
    size_t count = index->slot_count ? index->slot_count : 4 * FIRST_ROWS;
    while (count < 2 * rows)
        count *= 2;
    if (count != index->slot_count) {
        uint32_t *slots = realloc(index->slots, count * sizeof *slots);
        if (!slots)
            return ms_record_no_memory(err);
        index->slots = slots;
        index->slot_count = count;
        uint32_t *hashes = realloc(index->hashes, count / 2 * sizeof *hashes);
        if (!hashes)
            return ms_record_no_memory(err);
        index->hashes = hashes;
    }
    memset(index->slots, 0, index->slot_count * sizeof *index->slots);
    return MS_OK;
}

static enum ms_status rehash(struct ms_record_index *index, size_t rows, struct ms_error *err)
{
    enum ms_status status = grow_index(index, 2 * rows, err);
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
        enum ms_status status = rehash(index, rows->count + 1 > 1 ? rows->count : 0, err);
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
    static const struct {
        const char *word;
        enum ms_vt_category category;
    } words[] = {{"undetected", MS_VT_UNDETECTED},        {"malicious", MS_VT_MALICIOUS},
                 {"type-unsupported", MS_VT_UNSUPPORTED}, {"timeout", MS_VT_TIMEOUT},
                 {"confirmed-timeout", MS_VT_TIMEOUT},    {"failure", MS_VT_FAILURE},
                 {"suspicious", MS_VT_SUSPICIOUS},        {"harmless", MS_VT_HARMLESS}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (ms_span_equal_text(word->bytes, words[i].word))
            return words[i].category;
    return MS_VT_OTHER;
}

/* What a row says before it is known what that comes to. */
struct row {
    struct ms_record_engine *engine;
    bool has_category;                 /* v3 */
    enum ms_record_kind detected_kind; /* v2 */
    bool detected;
    enum ms_scanner_kind code_kind; /* OPSWAT; OBJECT: absent */
    int64_t code;
};

static enum ms_status vt3_row_member(struct ms_record_reader *self,
                                     const struct ms_scanner_text *key, void *ctx,
                                     struct ms_error *err)
{
    struct row *row = ctx;
    struct ms_scanner_text word;
    enum ms_scanner_kind kind;
    if (IS(*key, "result"))
        return ms_record_take_text(self, &row->engine->label, err);
    if (!IS(*key, "category"))
        return MS_OK;
    enum ms_status status = ms_scanner_take(self->scan, &kind, &word, err);
    if (status == MS_OK)
        row->engine->category = kind == MS_SCAN_STRING ? category_of(&word) : MS_VT_OTHER;
    row->has_category = true;
    return status;
}

static void conclude_vt3(struct row *row, enum ms_record_kind kind)
{
    struct ms_record_engine *engine = row->engine;
    engine->malformed = engine->label.kind == MS_RECORD_ABSENT;
    engine->counts = !engine->malformed && engine->label.kind != MS_RECORD_NULL;
    /* Simplified objects leave the category out; in genuine answers a result stands exactly in
     * malicious rows. */
    if (kind != MS_RECORD_OBJECT)
        engine->category = MS_VT_OTHER;
    else if (!row->has_category)
        engine->category =
            engine->label.kind == MS_RECORD_STRING ? MS_VT_MALICIOUS : MS_VT_UNDETECTED;
}

/* Whether Python holds a value for true. An object or array is looked into. */
static enum ms_status take_truth(struct ms_record_reader *self, struct row *row,
                                 struct ms_error *err)
{
    struct ms_scanner_text text;
    enum ms_scanner_kind kind;
    bool more = false;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    if (status != MS_OK)
        return status;
    row->detected_kind = ms_record_kind_of(kind);
    if (kind == MS_SCAN_OBJECT || kind == MS_SCAN_ARRAY) {
        status = ms_scanner_enter(self->scan, err);
        for (row->detected = false; status == MS_OK; row->detected = true) {
            status = kind == MS_SCAN_OBJECT ? ms_scanner_member(self->scan, &more, &text, err)
                                            : ms_scanner_element(self->scan, &more, err);
            if (status != MS_OK || !more)
                break;
        }
        return status;
    }
    status = ms_scanner_take(self->scan, &kind, &text, err);
    row->detected = kind == MS_SCAN_TRUE || (kind == MS_SCAN_STRING && text.bytes.len > 0);
    /* A number is zero when no digit in front of its exponent is another. */
    for (size_t i = 0; status == MS_OK && kind == MS_SCAN_NUMBER && i < text.bytes.len; i++) {
        uint8_t c = text.bytes.data[i];
        if (c == 'e' || c == 'E')
            break;
        row->detected = row->detected || (c >= '1' && c <= '9') || c == 'N' || c == 'I';
    }
    return status;
}

static enum ms_status vt2_row_member(struct ms_record_reader *self,
                                     const struct ms_scanner_text *key, void *ctx,
                                     struct ms_error *err)
{
    struct row *row = ctx;
    if (IS(*key, "result"))
        return ms_record_take_text(self, &row->engine->label, err);
    return IS(*key, "detected") ? take_truth(self, row, err) : MS_OK;
}

static void conclude_vt2(struct row *row, enum ms_record_kind kind)
{
    struct ms_record_engine *engine = row->engine;
    (void)kind;
    engine->counts = row->detected;
    engine->malformed = row->detected_kind == MS_RECORD_ABSENT ||
                        (row->detected && engine->label.kind == MS_RECORD_ABSENT);
    engine->category = row->detected ? MS_VT_MALICIOUS : MS_VT_UNDETECTED;
}

static enum ms_status opswat_row_member(struct ms_record_reader *self,
                                        const struct ms_scanner_text *key, void *ctx,
                                        struct ms_error *err)
{
    struct row *row = ctx;
    if (IS(*key, "threat_found"))
        return ms_record_take_text(self, &row->engine->label, err);
    return IS(*key, "scan_result_i")
               ? ms_record_take_integer(self, -1, &row->code, &row->code_kind, err)
               : MS_OK;
}

static void conclude_opswat(struct row *row, enum ms_record_kind kind)
{
    struct ms_record_engine *engine = row->engine;
    bool named = engine->label.kind != MS_RECORD_ABSENT && engine->label.kind != MS_RECORD_NULL;
    (void)kind;
    /* Python holds true for equal to 1. */
    if (row->code_kind == MS_SCAN_TRUE)
        row->code = 1;
    engine->counts = named && row->code == 1;
    engine->malformed =
        engine->label.kind == MS_RECORD_ABSENT || (named && row->code_kind == MS_SCAN_OBJECT);
    engine->category = row->code == 0                                       ? MS_VT_UNDETECTED
                       : row->code == 1 || row->code == 4 || row->code == 6 ? MS_VT_MALICIOUS
                       : row->code == 2                                     ? MS_VT_SUSPICIOUS
                       : row->code == 3 || row->code == 11                  ? MS_VT_FAILURE
                                                                            : MS_VT_UNSUPPORTED;
}

/* One format's rows. */
struct table {
    struct ms_record_rows *rows;
    ms_record_member read_member;
    void (*conclude)(struct row *row, enum ms_record_kind kind);
};

static enum ms_status read_row(struct ms_record_reader *self, const struct ms_scanner_text *key,
                               void *ctx, struct ms_error *err)
{
    const struct table *table = ctx;
    struct row row = {.code_kind = MS_SCAN_OBJECT, .code = -1};
    enum ms_record_kind kind = MS_RECORD_ABSENT;
    enum ms_status status = find_row(self, table->rows, key, &row.engine, err);
    if (status == MS_OK)
        status = ms_record_each_member(self, table->read_member, &row, &kind, err);
    if (status == MS_OK)
        table->conclude(&row, kind);
    return status;
}

static enum ms_status read_rows(struct ms_record_reader *self, const struct table *table,
                                struct ms_error *err)
{
    struct table copy = *table;
    copy.rows->count = 0;
    enum ms_status status = grow_index(&self->index, 1, err);
    return status == MS_OK ? ms_record_each_member(self, read_row, &copy, &copy.rows->kind, err)
                           : status;
}

enum ms_status ms_record_read_vt3(struct ms_record_reader *self, struct ms_error *err)
{
    const struct table table = {&self->vt3_rows, vt3_row_member, conclude_vt3};
    return read_rows(self, &table, err);
}

enum ms_status ms_record_read_vt2(struct ms_record_reader *self, struct ms_error *err)
{
    const struct table table = {&self->vt2_rows, vt2_row_member, conclude_vt2};
    return read_rows(self, &table, err);
}

enum ms_status ms_record_read_opswat(struct ms_record_reader *self, struct ms_error *err)
{
    const struct table table = {&self->opswat_rows, opswat_row_member, conclude_opswat};
    return read_rows(self, &table, err);
}

/* One [engine, label] of the simplified form. */
static enum ms_status read_pair(struct ms_record_reader *self, struct ms_record_engine *engine,
                                struct ms_error *err)
{
    enum ms_scanner_kind kind;
    bool more = false;
    size_t n = 0;
    enum ms_status status = ms_scanner_peek(self->scan, &kind, err);
    engine->category = MS_VT_OTHER;
    engine->counts = engine->malformed = true;
    if (status != MS_OK || kind != MS_SCAN_ARRAY)
        return status != MS_OK ? status : ms_scanner_skip(self->scan, err);
    status = ms_scanner_enter(self->scan, err);
    while (status == MS_OK) {
        status = ms_scanner_element(self->scan, &more, err);
        if (status != MS_OK || !more)
            break;
        if (n < 2)
            status = ms_record_take_text(self, n == 0 ? &engine->name : &engine->label, err);
        n++;
    }
    /* The form lists detections; a pair without a label is none. */
    if (engine->label.len > 0)
        engine->category = MS_VT_MALICIOUS;
    engine->malformed = n != 2;
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

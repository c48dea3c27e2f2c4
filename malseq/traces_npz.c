/* Traces as NumPy arrays: all calls behind one another, and where each trace begins. */
#include "malseq/traces.h"

#include "malseq/npz.h"
#include "malseq/spool.h"

#include <inttypes.h>
#include <string.h>

enum { BLOCK = 8192 };

static void put_le(uint8_t *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> 8 * i);
}

static enum ms_status put_number(struct malseq_npz *zip, uint64_t value, size_t bytes,
                                 struct ms_error *err)
{
    uint8_t out[8];
    put_le(out, value, bytes);
    return malseq_npz_put(zip, out, bytes, err);
}

/* calls: the tokens, as int16 where they fit. */
static enum ms_status put_tokens(struct traces *self, struct malseq_npz *zip, struct ms_error *err)
{
    uint32_t symbols[BLOCK];
    uint8_t tokens[BLOCK * 4];
    size_t width = malseq_tally_count(&self->vocabulary) < INT16_MAX ? 2 : 4;
    enum ms_status status =
        malseq_npz_begin(zip, "calls", width == 2 ? "<i2" : "<i4", self->call_count, err);
    if (status == MS_OK)
        status = malseq_spool_rewind(self->calls, err);
    for (uint64_t left = self->call_count; left && status == MS_OK;) {
        size_t n = left < BLOCK ? (size_t)left : BLOCK;
        status = malseq_spool_get(self->calls, symbols, n * sizeof *symbols, err);
        for (size_t i = 0; i < n && status == MS_OK; i++)
            put_le(tokens + i * width, self->token_of[symbols[i]], width);
        if (status == MS_OK)
            status = malseq_npz_put(zip, tokens, n * width, err);
        left -= n;
    }
    return status == MS_OK ? malseq_npz_end(zip, err) : status;
}

/* One column of the traces: number out of a spooled trace. */
enum column { VERDICT, CLASS, FAMILY, SANDBOX, LENGTH, CUT, SUBMISSION, OFFSETS };

static uint64_t rank(const struct malseq_tally *tally, int32_t number)
{
    return number < 0 ? UINT64_MAX : tally->rank[number];
}

static uint64_t column_of(const struct traces *self, enum column column,
                          const struct traces_meta *meta)
{
    switch (column) {
    case VERDICT:
        return rank(&self->verdicts, meta->verdict);
    case CLASS:
        return rank(&self->classes, meta->class_);
    case FAMILY:
        return rank(&self->families, meta->family);
    case SANDBOX:
        return rank(&self->sandboxes, meta->sandbox);
    case LENGTH:
        return (uint64_t)meta->length;
    case CUT:
        return meta->cut;
    case SUBMISSION:
        return (uint64_t)meta->first_submission_ms;
    case OFFSETS:
        return meta->calls;
    }
    return 0;
}

static enum ms_status put_column(struct traces *self, struct malseq_npz *zip, enum column column,
                                 const char *name, const char *descr, size_t width,
                                 struct ms_error *err)
{
    uint64_t offset = 0;
    enum ms_status status =
        malseq_npz_begin(zip, name, descr, self->rows + (column == OFFSETS), err);
    if (status == MS_OK)
        status = malseq_spool_rewind(self->meta, err);
    if (status == MS_OK && column == OFFSETS)
        status = put_number(zip, 0, width, err);
    for (uint64_t i = 0; i < self->rows && status == MS_OK; i++) {
        struct traces_meta meta;
        status = malseq_spool_get(self->meta, &meta, sizeof meta, err);
        if (status != MS_OK)
            break;
        uint64_t value = column_of(self, column, &meta);
        offset += value;
        status = put_number(zip, column == OFFSETS ? offset : value, width, err);
    }
    return status == MS_OK ? malseq_npz_end(zip, err) : status;
}

static void text_descr(size_t width, char out[32])
{
    (void)snprintf(out, 32, "<U%zu", width ? width : 1);
}

static enum ms_status put_keys(struct traces *self, struct malseq_npz *zip, struct ms_error *err)
{
    char descr[32], key[512];
    text_descr(self->key_width, descr);
    enum ms_status status = malseq_npz_begin(zip, "ids", descr, self->rows, err);
    if (status == MS_OK)
        status = malseq_spool_rewind(self->meta, err);
    if (status == MS_OK)
        status = malseq_spool_rewind(self->keys, err);
    for (uint64_t i = 0; i < self->rows && status == MS_OK; i++) {
        struct traces_meta meta;
        status = malseq_spool_get(self->meta, &meta, sizeof meta, err);
        if (status == MS_OK && meta.key_bytes > sizeof key)
            status = ms_error_set(err, MS_E_BUG, "a key of %" PRIu32 " bytes", meta.key_bytes);
        if (status == MS_OK)
            status = malseq_spool_get(self->keys, key, meta.key_bytes, err);
        if (status == MS_OK)
            status = malseq_npz_put_text(zip, key, meta.key_bytes,
                                         self->key_width ? self->key_width : 1, err);
    }
    return status == MS_OK ? malseq_npz_end(zip, err) : status;
}

/* The names of a tally in order; with `padding` an empty one in front, for token 0. */
static enum ms_status put_names(struct malseq_npz *zip, const char *name,
                                const struct malseq_tally *tally, bool padding,
                                struct ms_error *err)
{
    char descr[32];
    size_t width = 1;
    uint32_t n = malseq_tally_count(tally);
    for (uint32_t i = 0; i < n; i++) {
        struct ms_span text = malseq_tally_at(tally, i, NULL);
        size_t w = malseq_npz_width(text.data, text.len);
        width = w > width ? w : width;
    }
    text_descr(width, descr);
    enum ms_status status = malseq_npz_begin(zip, name, descr, (uint64_t)n + padding, err);
    if (status == MS_OK && padding)
        status = malseq_npz_put_text(zip, "", 0, width, err);
    for (uint32_t i = 0; i < n && status == MS_OK; i++) {
        struct ms_span text = malseq_tally_at(tally, i, NULL);
        status = malseq_npz_put_text(zip, text.data, text.len, width, err);
    }
    return status == MS_OK ? malseq_npz_end(zip, err) : status;
}

static enum ms_status npz_end(struct traces *self, struct ms_error *err)
{
    static const struct {
        enum column column;
        const char *name, *descr;
        size_t width;
    } columns[] = {{OFFSETS, "offsets", "<i8", 8}, {VERDICT, "verdict", "<i4", 4},
                   {CLASS, "class", "<i4", 4},     {FAMILY, "family", "<i4", 4},
                   {SANDBOX, "sandbox", "<i4", 4}, {LENGTH, "length", "<i8", 8},
                   {CUT, "cut", "|b1", 1},         {SUBMISSION, "first_submission_ms", "<i8", 8}};
    struct malseq_npz zip;
    malseq_npz_init(&zip, self->out);
    enum ms_status status = put_tokens(self, &zip, err);
    for (size_t i = 0; i < sizeof columns / sizeof *columns && status == MS_OK; i++)
        status = put_column(self, &zip, columns[i].column, columns[i].name, columns[i].descr,
                            columns[i].width, err);
    if (status == MS_OK)
        status = put_keys(self, &zip, err);
    if (status == MS_OK)
        status = put_names(&zip, "vocabulary", &self->vocabulary, true, err);
    if (status == MS_OK)
        status = put_names(&zip, "verdicts", &self->verdicts, false, err);
    if (status == MS_OK)
        status = put_names(&zip, "classes", &self->classes, false, err);
    if (status == MS_OK)
        status = put_names(&zip, "families", &self->families, false, err);
    if (status == MS_OK)
        status = put_names(&zip, "sandboxes", &self->sandboxes, false, err);
    return status == MS_OK ? malseq_npz_finish(&zip, err) : status;
}

const struct traces_format malseq_traces_npz = {
    .name = "npz", .needs_file = true, .spools = true, .row = malseq_traces_spool, .end = npz_end};

/* Traces as JSON lines and as comma-separated values: a trace a line, its calls by name. */
#include "malseq/traces.h"

#include "base/json.h"
#include "malseq/csv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_TEXT_BYTES = 1 << 16 };

/* The text of a symbol, made once. */
static const char *text_of(struct traces *self, uint32_t symbol,
                           void (*make)(struct ms_buf *out, struct ms_span name))
{
    if (!self->texts[symbol]) {
        struct ms_buf text;
        ms_buf_init(&text, NAME_TEXT_BYTES);
        make(&text, ms_names_get(ms_trace_reader_symbols(self->reader), symbol));
        size_t n;
        self->texts[symbol] = text.failed ? NULL : (char *)ms_buf_take(&text, &n);
        ms_buf_release(&text);
    }
    return self->texts[symbol];
}

/* The calls, with `between` between them. */
static enum ms_status put_calls(struct traces *self, const struct ms_trace_read *read, char between,
                                void (*make)(struct ms_buf *out, struct ms_span name),
                                struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t i = 0; i < read->n && status == MS_OK; i++) {
        const char *text = text_of(self, read->calls[i], make);
        if (!text)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        if (i)
            (void)ms_buf_append_byte(&self->line, (uint8_t)between);
        (void)ms_buf_append_text(&self->line, text);
        if (self->line.len > (1 << 16))
            status = malseq_traces_put_line(self, err);
    }
    return status;
}

/* ---- JSON lines ------------------------------------------------------------------------------ */

static void json_name(struct ms_buf *out, struct ms_span name)
{
    struct ms_error ignored;
    if (ms_json_append(out, ms_json_bytes(name.data, name.len), &ignored) != MS_OK)
        out->failed = true;
}

static enum ms_status add_json_name(void *ctx, struct ms_span name, struct ms_error *err)
{
    json_t *names = ctx;
    (void)err;
    (void)json_array_append_new(names, ms_json_bytes(name.data, name.len));
    return MS_OK;
}

static enum ms_status jsonl_row(struct traces *self, const struct ms_trace_row *row,
                                const struct ms_trace_read *read, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    json_t *line = json_object();
    (void)json_object_set_new(line, "id", ms_json_text(row->key));
    (void)json_object_set_new(line, "verdict", ms_json_text(row->verdict));
    (void)json_object_set_new(line, "class", ms_json_text(row->class_));
    (void)json_object_set_new(line, "family", ms_json_text(row->family));
    (void)json_object_set_new(line, "policy", ms_json_text(row->policy));
    (void)json_object_set_new(line, "sandbox", ms_json_text(row->sandbox));
    (void)json_object_set_new(line, "first_submission_ms",
                              row->first_submission_ms ? json_integer(row->first_submission_ms)
                                                       : json_null());
    (void)json_object_set_new(line, "length", json_integer((json_int_t)read->whole_length));
    (void)json_object_set_new(line, "cut", json_boolean(read->cut));
    if (self->options->names) {
        json_t *names = json_array();
        status = ms_trace_names(self->corpus, row->sample, add_json_name, names, err);
        (void)json_object_set_new(line, "names", names);
    }
    if (status == MS_OK)
        status = ms_json_append(&self->line, line, err);
    else
        json_decref(line);
    if (status != MS_OK)
        return status;
    self->line.len--; /* the closing brace: the calls follow */
    (void)ms_buf_append_text(&self->line, ",\"calls\":[");
    status = put_calls(self, read, ',', json_name, err);
    (void)ms_buf_append_text(&self->line, "]}\n");
    return status == MS_OK ? malseq_traces_put_line(self, err) : status;
}

const struct traces_format malseq_traces_jsonl = {.name = "jsonl", .row = jsonl_row};

/* ---- CSV ------------------------------------------------------------------------------------- */

/* A name inside of the cell of all calls: without the quotes around it. A blank would part it. */
static void csv_name(struct ms_buf *out, struct ms_span name)
{
    struct ms_buf cell;
    ms_buf_init(&cell, NAME_TEXT_BYTES);
    malseq_csv_text(&cell, name);
    for (size_t i = 1; i + 1 < cell.len; i++) {
        if (cell.data[i] == ' ')
            (void)ms_buf_append_text(out, "\\x20");
        else
            (void)ms_buf_append_byte(out, cell.data[i]);
    }
    out->failed |= cell.failed;
    ms_buf_release(&cell);
}

static void csv_cell(struct ms_buf *out, const char *text)
{
    (void)ms_buf_append_byte(out, ',');
    if (text)
        malseq_csv_text(out, ms_span_of(text, strlen(text)));
}

static enum ms_status add_csv_name(void *ctx, struct ms_span name, struct ms_error *err)
{
    struct ms_buf *names = ctx;
    (void)err;
    if (names->len)
        (void)ms_buf_append_byte(names, '|');
    (void)ms_buf_append(names, name.data, name.len);
    return MS_OK;
}

static enum ms_status csv_names(struct traces *self, const struct ms_trace_row *row,
                                struct ms_error *err)
{
    struct ms_buf names;
    ms_buf_init(&names, self->line.max / 8);
    enum ms_status status = ms_trace_names(self->corpus, row->sample, add_csv_name, &names, err);
    (void)ms_buf_append_byte(&self->line, ',');
    malseq_csv_text(&self->line, ms_span_of(names.data, names.len));
    self->line.failed |= names.failed;
    ms_buf_release(&names);
    return status;
}

static enum ms_status csv_begin(struct traces *self, struct ms_error *err)
{
    (void)ms_buf_printf(&self->line,
                        "id,verdict,class,family,policy,sandbox,first_submission_ms,length,cut%s,"
                        "calls\r\n",
                        self->options->names ? ",names" : "");
    return malseq_traces_put_line(self, err);
}

static enum ms_status csv_row(struct traces *self, const struct ms_trace_row *row,
                              const struct ms_trace_read *read, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    malseq_csv_text(&self->line, ms_span_of(row->key, strlen(row->key)));
    csv_cell(&self->line, row->verdict);
    csv_cell(&self->line, row->class_);
    csv_cell(&self->line, row->family);
    csv_cell(&self->line, row->policy);
    csv_cell(&self->line, row->sandbox);
    (void)ms_buf_append_byte(&self->line, ',');
    if (row->first_submission_ms)
        (void)ms_buf_printf(&self->line, "%" PRId64, row->first_submission_ms);
    (void)ms_buf_printf(&self->line, ",%" PRIu64 ",%d", read->whole_length, read->cut);
    if (self->options->names)
        status = csv_names(self, row, err);
    (void)ms_buf_append_text(&self->line, ",\"");
    /* Each name that a spreadsheet would run has its apostrophe: the first is that of the cell. */
    if (status == MS_OK)
        status = put_calls(self, read, ' ', csv_name, err);
    (void)ms_buf_append_text(&self->line, "\"\r\n");
    return status == MS_OK ? malseq_traces_put_line(self, err) : status;
}

const struct traces_format malseq_traces_csv = {.name = "csv", .begin = csv_begin, .row = csv_row};

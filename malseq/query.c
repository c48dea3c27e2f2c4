/* malseq query: one SELECT, as a table, CSV or JSON lines. What may be asked is decided in store/.
 */
#include "malseq/malseq.h"

#include "base/json.h"
#include "base/log.h"
#include "base/utf8.h"
#include "malseq/csv.h"
#include "store/query.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* SQL text; cells held back until the table's widths are known; the widest a column is padded to;
 * bytes of a blob shown in a table. */
enum {
    SQL_MAX_BYTES = 1 << 20,
    TEXT_MAX_BYTES = 1 << 30,
    ROWS_HELD = 200,
    WIDTH_MAX = 44,
    BLOB_SHOWN_BYTES = 64
};

struct printer {
    bool json, csv;
    uint64_t limit, rows;
    bool stopped;
    int columns;
    char **names;
    size_t *widths;
    bool *numeric; /* every value seen so far is a number */
    char **held;   /* cells of rows not printed yet */
    size_t held_rows;
    struct ms_buf cell;
};

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory");
}

static bool is_text(struct ms_span bytes)
{
    for (size_t i = 0; i < bytes.len;) {
        uint32_t code;
        size_t n = ms_utf8_decode(bytes.data + i, bytes.len - i, &code);
        if (n == 0 || code == 0)
            return false;
        i += n;
    }
    return true;
}

/* Blobs that are text (paths, passwords) are shown as such, digests and the like in hexadecimal. */
static void append_blob(struct ms_buf *out, struct ms_span bytes, size_t most)
{
    size_t n = bytes.len < most ? bytes.len : most;
    for (size_t i = 0; i < n; i++)
        (void)ms_buf_printf(out, "%02x", bytes.data[i]);
    if (n < bytes.len)
        (void)ms_buf_printf(out, "... (%zu bytes)", bytes.len);
}

static void append_real(struct ms_buf *out, double real)
{
    (void)ms_buf_printf(out, "%.15g", real);
}

/* One value as text into self->cell: escaped for a terminal, or as CSV. */
static void render(struct printer *self, const struct ms_value *value)
{
    struct ms_buf *out = &self->cell;
    ms_buf_clear(out);
    switch (value->kind) {
    case MS_VALUE_NULL:
        break;
    case MS_VALUE_INT:
        (void)ms_buf_printf(out, "%lld", (long long)value->integer);
        break;
    case MS_VALUE_REAL:
        append_real(out, value->real);
        break;
    case MS_VALUE_TEXT:
    case MS_VALUE_BLOB:
        if (value->kind == MS_VALUE_BLOB && !is_text(value->bytes)) {
            append_blob(out, value->bytes, self->csv ? SIZE_MAX : BLOB_SHOWN_BYTES);
        } else if (self->csv) {
            malseq_csv_text(out, value->bytes);
        } else {
            (void)ms_escape(out, value->bytes.data, value->bytes.len);
        }
        break;
    }
}

static json_t *json_value(const struct ms_value *value)
{
    struct ms_buf hex;
    json_t *json;
    switch (value->kind) {
    case MS_VALUE_INT:
        return json_integer(value->integer);
    case MS_VALUE_REAL:
        return isfinite(value->real) ? json_real(value->real) : json_null();
    case MS_VALUE_BLOB:
        if (is_text(value->bytes))
            return ms_json_bytes(value->bytes.data, value->bytes.len);
        ms_buf_init(&hex, TEXT_MAX_BYTES);
        append_blob(&hex, value->bytes, SIZE_MAX);
        json = ms_json_text(ms_buf_text(&hex));
        ms_buf_release(&hex);
        return json;
    case MS_VALUE_TEXT:
        return ms_json_bytes(value->bytes.data, value->bytes.len);
    case MS_VALUE_NULL:
        break;
    }
    return json_null();
}

static void put_cell(const struct printer *self, int column, const char *text)
{
    size_t width = self->widths[column] < WIDTH_MAX ? self->widths[column] : WIDTH_MAX;
    size_t used = ms_utf8_width(text, strlen(text));
    int pad = used < width ? (int)(width - used) : 0;
    bool last = column == self->columns - 1;
    if (self->numeric[column])
        printf("%*s%s%s", pad, "", text, last ? "\n" : "  ");
    else
        printf("%s%*s%s", text, last ? 0 : pad, "", last ? "\n" : "  ");
}

static void flush_held(struct printer *self)
{
    if (!self->held || self->json || self->csv)
        return;
    for (int c = 0; c < self->columns; c++)
        put_cell(self, c, self->names[c]);
    for (size_t i = 0; i < self->held_rows * (size_t)self->columns; i++) {
        put_cell(self, (int)(i % (size_t)self->columns), self->held[i]);
        free(self->held[i]);
    }
    free(self->held);
    self->held = NULL;
    self->held_rows = 0;
}

static void widen(struct printer *self, int column, const char *text)
{
    size_t width = ms_utf8_width(text, strlen(text));
    if (width > self->widths[column])
        self->widths[column] = width;
}

static enum ms_status on_head(void *ctx, const char *const *names, int count, struct ms_error *err)
{
    struct printer *self = ctx;
    size_t n = (size_t)count;
    self->columns = count;
    self->names = calloc(n + 1, sizeof *self->names);
    self->widths = calloc(n + 1, sizeof *self->widths);
    self->numeric = calloc(n + 1, sizeof *self->numeric);
    self->held = calloc(n * ROWS_HELD + 1, sizeof *self->held);
    if (!self->names || !self->widths || !self->numeric || !self->held)
        return no_memory(err);
    for (int c = 0; c < count; c++) {
        struct ms_value name = {.kind = MS_VALUE_TEXT};
        name.bytes = ms_span_of(names[c], strlen(names[c]));
        /* JSON members must differ. */
        bool again = false;
        for (int before = 0; self->json && before < c; before++)
            again = again || strcmp(names[before], names[c]) == 0;
        if (self->json) {
            ms_buf_clear(&self->cell);
            (void)ms_buf_append_text(&self->cell, names[c]);
            if (again)
                (void)ms_buf_printf(&self->cell, ":%d", c + 1);
        } else {
            render(self, &name);
        }
        self->names[c] = strdup(ms_buf_text(&self->cell));
        if (!self->names[c])
            return no_memory(err);
        self->numeric[c] = true;
        widen(self, c, self->names[c]);
        if (self->csv)
            printf("%s%s", self->names[c], c + 1 < count ? "," : "\r\n");
    }
    return MS_OK;
}

static enum ms_status json_row(struct printer *self, const struct ms_value *values,
                               struct ms_error *err)
{
    json_t *object = json_object();
    for (int c = 0; object && c < self->columns; c++) {
        json_t *key = ms_json_text(self->names[c]);
        if (!key || json_object_set_new(object, json_string_value(key), json_value(&values[c]))) {
            json_decref(object);
            object = NULL;
        }
        json_decref(key);
    }
    return ms_json_line(stdout, object, err);
}

static enum ms_status table_row(struct printer *self, const struct ms_value *values,
                                struct ms_error *err)
{
    for (int c = 0; c < self->columns; c++) {
        render(self, &values[c]);
        const char *text = ms_buf_text(&self->cell);
        if (self->cell.failed)
            return no_memory(err);
        if (self->csv) {
            printf("%s%s", text, c + 1 < self->columns ? "," : "\r\n");
        } else if (self->held) {
            char *copy = strdup(text);
            if (!copy)
                return no_memory(err);
            self->held[self->held_rows * (size_t)self->columns + (size_t)c] = copy;
            widen(self, c, text);
            self->numeric[c] = self->numeric[c] && values[c].kind <= MS_VALUE_REAL;
        } else {
            put_cell(self, c, text);
        }
    }
    if (self->held && !self->csv && ++self->held_rows == ROWS_HELD)
        flush_held(self);
    return MS_OK;
}

static enum ms_status on_row(void *ctx, const struct ms_value *values, int count,
                             struct ms_error *err)
{
    struct printer *self = ctx;
    (void)count;
    if (self->limit && self->rows == self->limit) {
        self->stopped = true;
        return ms_error_set(err, MS_REJECT, "stopped");
    }
    self->rows++;
    enum ms_status status = self->json ? json_row(self, values, err) : table_row(self, values, err);
    if (status == MS_OK && ferror(stdout))
        status = ms_error_set(err, MS_E_IO, "cannot write to standard output");
    return status;
}

static void release(struct printer *self)
{
    for (int c = 0; self->names && c < self->columns; c++)
        free(self->names[c]);
    for (size_t i = 0; self->held && i < (size_t)self->columns * ROWS_HELD; i++)
        free(self->held[i]);
    free(self->names);
    free(self->widths);
    free(self->numeric);
    free(self->held);
    ms_buf_release(&self->cell);
}

/* "-" reads the statement from standard input. */
static enum ms_status read_sql(const char *operand, struct ms_buf *sql, struct ms_error *err)
{
    if (strcmp(operand, "-") != 0)
        return ms_buf_append_text(sql, operand) == MS_OK
                   ? MS_OK
                   : ms_error_set(err, MS_E_USAGE, "the statement is too long");
    char chunk[4096];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, stdin)) > 0)
        if (ms_buf_append(sql, chunk, n) != MS_OK)
            return ms_error_set(err, MS_E_USAGE, "the statement is too long");
    if (ferror(stdin))
        return ms_error_set(err, MS_E_IO, "cannot read standard input");
    return MS_OK;
}

enum ms_status malseq_query(struct ms_cli *cli, struct ms_error *err)
{
    const struct malseq_query *options = cli->options;
    struct printer printer = {
        .json = cli->common.json, .csv = options->csv, .limit = options->limit};
    const struct ms_query_sink sink = {&printer, on_head, on_row};
    struct ms_corpus *corpus = NULL;
    struct ms_buf sql;
    if (options->csv && cli->common.json)
        return ms_error_set(err, MS_E_USAGE, "--json and --csv do not go together");
    ms_buf_init(&sql, SQL_MAX_BYTES);
    ms_buf_init(&printer.cell, TEXT_MAX_BYTES);
    enum ms_status status = read_sql(cli->operands[0], &sql, err);
    if (status == MS_OK)
        status = ms_corpus_open(cli->common.corpus, MS_CORPUS_READ, &corpus, err);
    if (status == MS_OK)
        status =
            ms_query_run(corpus, ms_buf_text(&sql), (int64_t)options->timeout_s * 1000, &sink, err);
    if (status == MS_REJECT && printer.stopped) {
        ms_log(MS_LOG_INFO, "stopped after %llu rows, as --limit says",
               (unsigned long long)printer.rows);
        status = MS_OK;
    }
    if (status == MS_OK)
        flush_held(&printer);
    ms_corpus_close(corpus);
    release(&printer);
    ms_buf_release(&sql);
    return status;
}

/* The static features of a sample as flat columns: one for each of the numbers that the literature
 * on PE headers uses. Which feature goes where is the table below and nothing else. */
#include "malseq/export.h"

#include "malseq/csv.h"

#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 128, CELLS_BYTES = 4 << 20 };

#define DIRECTORY(NAME)                                \
    {"directories." NAME ".address", NAME "_address"}, \
    {                                                  \
        "directories." NAME ".size", NAME "_size"      \
    }

/* In the order in which the features are written, so that each is found at the first try. */
static const struct column {
    const char *path; /* members joined by dots; [] for the elements of an array */
    const char *name;
} columns[] = {
    {"error", "features_error"},
    {"section_count", "section_count"},
    {"timestamp", "timestamp"},
    {"characteristics", "characteristics"},
    {"magic", "magic"},
    {"linker_major", "linker_major"},
    {"linker_minor", "linker_minor"},
    {"entry_point", "entry_point"},
    {"image_base", "image_base"},
    {"os_major", "os_major"},
    {"os_minor", "os_minor"},
    {"image_size", "image_size"},
    {"checksum", "checksum"},
    {"subsystem", "subsystem"},
    {"dll_characteristics", "dll_characteristics"},
    {"stack_reserve", "stack_reserve"},
    {"stack_commit", "stack_commit"},
    {"heap_reserve", "heap_reserve"},
    {"heap_commit", "heap_commit"},
    {"directory_count", "directory_count"},
    DIRECTORY("export"),
    DIRECTORY("import"),
    DIRECTORY("resource"),
    DIRECTORY("exception"),
    DIRECTORY("certificate"),
    DIRECTORY("relocation"),
    DIRECTORY("debug"),
    DIRECTORY("architecture"),
    DIRECTORY("global"),
    DIRECTORY("tls"),
    DIRECTORY("load_config"),
    DIRECTORY("bound_import"),
    DIRECTORY("iat"),
    DIRECTORY("delay_import"),
    DIRECTORY("clr"),
    DIRECTORY("reserved"),
    {"sections[].name", "section_names"},
    {"imports.libraries", "import_libraries"},
    {"imports.functions", "import_functions"},
    {"delay_imports.libraries", "delay_import_libraries"},
    {"delay_imports.functions", "delay_import_functions"},
    {"exports.functions", "export_functions"},
    {"exports.names", "export_names"},
    {"imphash", "imphash"},
    {"rich_hash", "rich_hash"},
};
enum { COLUMN_COUNT = sizeof columns / sizeof *columns };

/* A document on its way into cells. */
struct flat {
    struct ms_scanner *scanner;
    char path[PATH_BYTES];
    size_t next; /* the column that is most likely to come next */
    struct cell {
        size_t at, len;
        bool text, filled;
    } cells[COLUMN_COUNT];
    struct ms_buf texts;
};

static struct cell *cell_of(struct flat *self)
{
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        size_t at = (self->next + i) % COLUMN_COUNT;
        if (strcmp(columns[at].path, self->path) == 0) {
            self->next = at;
            return &self->cells[at];
        }
    }
    return NULL;
}

/* Several values for one column (names of sections) are joined by semicolons. They all come one
 * after the other, so that the cell's text stays in one piece. */
static void fill(struct flat *self, enum ms_scanner_kind kind, struct ms_span text)
{
    struct cell *cell = kind == MS_SCAN_NULL ? NULL : cell_of(self);
    if (!cell)
        return;
    if (cell->filled)
        (void)ms_buf_append_byte(&self->texts, ';');
    else
        cell->at = self->texts.len;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == ';')
            (void)ms_buf_append_text(&self->texts, "\\x3b");
        else
            (void)ms_buf_append_byte(&self->texts, text.data[i]);
    }
    cell->len = self->texts.len - cell->at;
    cell->text = kind == MS_SCAN_STRING;
    cell->filled = true;
}

/* The value that comes next, at self->path of `used` bytes. */
static enum ms_status flatten(struct flat *self, size_t used, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    struct ms_scanner_text text;
    bool more = false;
    enum ms_status status = ms_scanner_peek(self->scanner, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind != MS_SCAN_OBJECT && kind != MS_SCAN_ARRAY) {
        status = ms_scanner_take(self->scanner, &kind, &text, err);
        if (status == MS_OK)
            fill(self, kind, text.bytes);
        return status;
    }
    bool object = kind == MS_SCAN_OBJECT;
    status = ms_scanner_enter(self->scanner, err);
    while (status == MS_OK) {
        status = object ? ms_scanner_member(self->scanner, &more, &text, err)
                        : ms_scanner_element(self->scanner, &more, err);
        if (status != MS_OK || !more)
            break;
        int n = object ? snprintf(self->path + used, PATH_BYTES - used, "%s%.*s", used ? "." : "",
                                  (int)text.bytes.len, (const char *)text.bytes.data)
                       : snprintf(self->path + used, PATH_BYTES - used, "[]");
        if (n > 0 && (size_t)n < PATH_BYTES - used)
            status = flatten(self, used + (size_t)n, err);
        self->path[used] = '\0';
    }
    return status;
}

void malseq_columns_head(struct ms_buf *out)
{
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        (void)ms_buf_printf(out, ",%s", columns[i].name);
}

enum ms_status malseq_columns_row(struct ms_scanner *scanner, struct ms_span features,
                                  struct ms_buf *out, struct ms_error *err)
{
    struct flat self = {.scanner = scanner};
    enum ms_status status = MS_OK;
    ms_buf_init(&self.texts, CELLS_BYTES);
    if (features.data) {
        ms_scanner_restart(scanner, features);
        status = flatten(&self, 0, err);
        if (status == MS_OK)
            status = ms_scanner_finish(scanner, err);
    }
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        const struct cell *cell = &self.cells[i];
        (void)ms_buf_append_byte(out, ',');
        if (status != MS_OK || !cell->filled)
            continue;
        struct ms_span text = ms_span_of(self.texts.data + cell->at, cell->len);
        if (cell->text)
            malseq_csv_text(out, text);
        else
            (void)ms_buf_append(out, text.data, text.len);
    }
    out->failed |= self.texts.failed;
    ms_buf_release(&self.texts);
    return status;
}

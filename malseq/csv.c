/* Cells of comma-separated values (RFC 4180), safe to open in a spreadsheet and to show on a
 * terminal. */
#include "malseq/csv.h"

#include "base/log.h"

#include <string.h>

/* Spreadsheets run cells that begin so; an apostrophe makes them text. */
static bool is_formula(struct ms_span text)
{
    return text.len && text.data[0] && strchr("=+-@\t\r", text.data[0]);
}

void malseq_csv_text(struct ms_buf *out, struct ms_span text)
{
    struct ms_buf safe;
    ms_buf_init(&safe, out->max);
    (void)ms_escape(&safe, text.data, text.len);
    struct ms_span shown = ms_span_of(safe.data, safe.len);
    (void)ms_buf_append_byte(out, '"');
    if (is_formula(shown))
        (void)ms_buf_append_byte(out, '\'');
    for (size_t i = 0; i < shown.len; i++) {
        if (shown.data[i] == '"')
            (void)ms_buf_append_byte(out, '"');
        (void)ms_buf_append_byte(out, shown.data[i]);
    }
    (void)ms_buf_append_byte(out, '"');
    out->failed |= safe.failed;
    ms_buf_release(&safe);
}

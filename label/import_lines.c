/* Lines held back until what they say is stored. */
#include "label/import_lines.h"

#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { OF_STEP = '+', ANYWAY = '-' };

enum ms_status ms_import_lines_add(struct ms_import_lines *self, json_t *line, bool of_step,
                                   struct ms_error *err)
{
    if (!self->held)
        self->held = open_memstream(&self->text, &self->len);
    if (!self->held || putc(of_step ? OF_STEP : ANYWAY, self->held) == EOF) {
        json_decref(line);
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    }
    self->count++;
    return ms_json_line(self->held, line, err);
}

void ms_import_lines_release(struct ms_import_lines *self)
{
    if (self->held)
        (void)fclose(self->held);
    free(self->text);
    *self = (struct ms_import_lines){0};
}

enum ms_status ms_import_lines_flush(struct ms_import_lines *self, bool lost, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (!self->held)
        return MS_OK;
    bool whole = fclose(self->held) == 0;
    self->held = NULL;
    if (!whole)
        status = ms_error_set(err, MS_E_NOMEM, "out of memory");
    const char *end = self->text + self->len, *line = self->text;
    while (status == MS_OK && line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *next = newline ? newline + 1 : end;
        size_t n = (size_t)(next - line) - 1;
        if ((*line != OF_STEP || !lost) && fwrite(line + 1, 1, n, stdout) != n)
            status = ms_error_set_errno(err, MS_E_IO, errno, "cannot write to standard output");
        line = next;
    }
    ms_import_lines_release(self);
    return status;
}

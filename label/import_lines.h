/* The lines of `label import --json` that wait until their step is committed: a record is told as
 * imported when it is. Knows no corpus. */
#ifndef MS_LABEL_IMPORT_LINES_H
#define MS_LABEL_IMPORT_LINES_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* All zero at first. */
struct ms_import_lines {
    FILE *held; /* NULL: none wait */
    char *text; /* behind held: for each line, whether it is of the step, and its JSON */
    size_t len;
    size_t count;
};

/* Takes a line over. of_step: it is not true if the step comes to nothing. MS_E_NOMEM. */
enum ms_status ms_import_lines_add(struct ms_import_lines *self, json_t *line, bool of_step,
                                   struct ms_error *err) MS_MUST_USE;
/* Writes what waits to standard output, in order; lost: without the lines of the step. MS_E_IO,
 * MS_E_NOMEM. */
enum ms_status ms_import_lines_flush(struct ms_import_lines *self, bool lost,
                                     struct ms_error *err) MS_MUST_USE;
void ms_import_lines_release(struct ms_import_lines *self);

#endif

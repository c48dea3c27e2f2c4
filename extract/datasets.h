/* The import of a published dataset: what it is and how it stands. Private to extract. */
#ifndef MS_EXTRACT_DATASETS_H
#define MS_EXTRACT_DATASETS_H

#include "extract/ingest.h"
#include "extract/trace_frames.h"
#include "extract/trace_rows.h"
#include "store/sample.h"

struct ms_dataset_kind {
    const char *name, *url, *licence, *claim;
    int64_t as_of_ms; /* when its labels were made, roughly */
    bool classes;     /* rows are malware with a class in a second file; else hash and verdict stand
                         in the row */
};

struct ms_dataset_import {
    const struct ms_cli *cli;
    const struct ms_dataset_kind *kind;
    struct ms_worker *worker;
    struct ms_corpus *corpus; /* NULL: dry run */
    int64_t run, origin;
    int rows_fd, classes_fd;
    const char *form;     /* argument of the worker's job */
    const char **classes; /* static texts, by row */
    size_t class_count, class_cap;
    /* Of the rows job. */
    struct ms_trace_received received;
    struct ms_trace_rows rows;
    /* Counts. */
    uint64_t row, samples, calls, empty, fresh, rejected, apis;
};

/* Reads classes_fd in the worker into `classes`. MS_E_INPUT for a word that is no class. */
enum ms_status ms_dataset_read_classes(struct ms_dataset_import *self,
                                       struct ms_error *err) MS_MUST_USE;
/* Reads rows_fd in the worker and stores each row; needs an open transaction unless it is a dry
 * run. MS_E_INPUT when rows and classes are not equally many, when the input is damaged, or when
 * the corpus holds another version of the dataset. */
enum ms_status ms_dataset_read_rows(struct ms_dataset_import *self,
                                    struct ms_error *err) MS_MUST_USE;
void ms_dataset_import_release(struct ms_dataset_import *self);

#endif

/* The import of a published dataset: what it is and how it stands. Private to extract. */
#ifndef MS_EXTRACT_DATASETS_H
#define MS_EXTRACT_DATASETS_H

#include "extract/ingest.h"
#include "extract/trace_frames.h"
#include "extract/trace_rows.h"
#include "store/label.h"
#include "store/sample.h"

/* What a record is known by. */
enum ms_dataset_key {
    MS_DATASET_KEY_NONE,
    MS_DATASET_KEY_SHA256,
    MS_DATASET_KEY_MD5,
    MS_DATASET_KEY_ID
};

struct ms_dataset_import;
struct ms_dataset_files; /* extract/dataset_files.h */

struct ms_dataset_kind {
    const char *name, *url, *licence, *claim;
    int64_t as_of_ms; /* when its labels were made, roughly */
    const char *job;  /* of the worker; reads its records */
    const char *form; /* the argument of that job */
    enum ms_dataset_key key;
    bool classes; /* rows are malware with a class in a second file, paired by position */
    size_t paths_max;
    /* Opens what the command line names. */
    enum ms_status (*open)(struct ms_dataset_import *self, struct ms_error *err);
    /* Reads and stores all records, in the open transaction unless it is a dry run. */
    enum ms_status (*read)(struct ms_dataset_import *self, struct ms_error *err);
};

struct ms_dataset_import {
    const struct ms_cli *cli;
    const struct ms_dataset_kind *kind;
    struct ms_worker *worker;
    struct ms_corpus *corpus; /* NULL: dry run */
    int64_t run, origin;
    const char *const *paths;
    size_t path_count;
    int rows_fd, classes_fd;
    const char *form;     /* argument of the worker's job */
    const char **classes; /* static texts, by row */
    size_t class_count, class_cap;
    bool class_head;                /* the list of classes began with a line of names */
    struct ms_dataset_files *files; /* of the datasets of a file a sample */
    /* Of the job that reads records. */
    struct ms_trace_received received;
    struct ms_trace_rows rows;
    /* Counts. */
    uint64_t row, samples, calls, empty, fresh, rejected, contradicting, apis, sizes;
};

/* Runs one of the worker's jobs; any end but a good one is bad input (MS_E_INPUT, with the
 * dataset's name). on_frame gets self. */
enum ms_status ms_dataset_run_job(struct ms_dataset_import *self, const char *job, int fd,
                                  const char *arg, ms_worker_frame on_frame,
                                  struct ms_error *err) MS_MUST_USE;
/* Takes a frame with a part of a trace. */
enum ms_status ms_dataset_take_trace(struct ms_dataset_import *self, uint32_t type,
                                     struct ms_span bytes, struct ms_error *err) MS_MUST_USE;
/* A hash in hexadecimal, of either case. */
bool ms_dataset_read_key(enum ms_dataset_key kind, struct ms_span text,
                         struct ms_sample *out) MS_MUST_USE;
/* Puts the label, and counts it when the dataset said the opposite of the sample before. */
enum ms_status ms_dataset_put_label(struct ms_dataset_import *self, const struct ms_label *label,
                                    struct ms_error *err) MS_MUST_USE;
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

/* The worker's jobs that read datasets of a file a sample: Avast-CTU's reports, BIG 2015's listings
 * and dumps, singly or in the archives they are published in. */
#ifndef MS_EXTRACT_DATASET_MEMBERS_H
#define MS_EXTRACT_DATASET_MEMBERS_H

#include "base/worker.h"

#include <stdbool.h>

/* What a file of a dataset is by its name. */
enum ms_dataset_file {
    MS_DATASET_FILE_OTHER,   /* none of the dataset's; passed over */
    MS_DATASET_FILE_LABELS,  /* the list of labels */
    MS_DATASET_FILE_ARCHIVE, /* .zip .7z .tar */
    MS_DATASET_FILE_RECORD   /* a sample's report, listing or dump */
};

/* `dataset` is avast-ctu or big-2015; `path` has its folders. *key, when not NULL, is what the
 * record is known by: its name without folders and endings, borrowed from path. */
enum ms_dataset_file ms_dataset_file_of(struct ms_span dataset, const char *path,
                                        struct ms_span *key);

/* One record in a file of its own, plain, gzip or zstd; the argument is `DATASET/NAME`. Its calls
 * (API, TRACE, PROCESS frames), then a ROW frame (extract/dataset_row.h). A damaged one has the
 * reason in it. */
enum ms_status ms_dataset_member_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                     struct ms_error *err) MS_MUST_USE;

/* The same for every record of an archive, from front to back, each read as it is unpacked; the
 * argument is `DATASET/N`: the first N are passed over. Archives in it are entered once. A damaged
 * archive is MS_REJECT behind its last whole member. */
enum ms_status ms_dataset_members_job(int input_fd, struct ms_span arg, struct ms_worker_out *out,
                                      struct ms_error *err) MS_MUST_USE;

/* The list of labels in an archive, as ms_dataset_labels_job; the argument is the dataset. Nothing
 * is sent when there is none. */
enum ms_status ms_dataset_archive_labels_job(int input_fd, struct ms_span arg,
                                             struct ms_worker_out *out,
                                             struct ms_error *err) MS_MUST_USE;

#endif

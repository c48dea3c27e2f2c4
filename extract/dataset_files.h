/* Datasets of a file a sample, Avast-CTU and BIG 2015, on their way into the corpus. Private to
 * extract. */
#ifndef MS_EXTRACT_DATASET_FILES_H
#define MS_EXTRACT_DATASET_FILES_H

#include "extract/dataset_labels.h"
#include "extract/datasets.h"

/* Lists what the command line names: folders, archives, single files and the list of labels. */
enum ms_status ms_dataset_open_files(struct ms_dataset_import *self,
                                     struct ms_error *err) MS_MUST_USE;
/* Reads the labels and then every record, and stores those that have one. A damaged record, file or
 * archive costs itself. Commits now and then: what a run that is killed has stored the next one
 * knows. MS_E_INPUT without labels. */
enum ms_status ms_dataset_read_files(struct ms_dataset_import *self,
                                     struct ms_error *err) MS_MUST_USE;
void ms_dataset_files_free(struct ms_dataset_files *self);

/* Stores one record with its label: sample, analysis with the processes received, label.
 * MS_REJECT when it contradicts what the corpus holds. */
enum ms_status ms_dataset_store_record(struct ms_dataset_import *self,
                                       const struct ms_dataset_row *row,
                                       const struct ms_dataset_label *listed,
                                       struct ms_error *err) MS_MUST_USE;

#endif

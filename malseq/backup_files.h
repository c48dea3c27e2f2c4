/* Copying the files of a corpus into a backup. Knows nothing of the database. */
#ifndef MS_MALSEQ_BACKUP_FILES_H
#define MS_MALSEQ_BACKUP_FILES_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct malseq_backup_copy {
    const char *from, *to; /* folders */
    bool link;             /* make a second name of the same file where the file system can */
    bool distrust;         /* an earlier run may have died before its files were on the disk */
    uint64_t files, bytes; /* that were made */
};

/* Brings one file, `name` below both folders (its folders are made, 0700). One that is there with
 * the same size and, unless `fixed` (a name that stands for its content), the same time, is left
 * alone; another one that is not `fixed` stays as it is too, and the new one waits beside it for
 * malseq_backup_tree_settle. *there false: `from` has it not. Not synced. MS_E_IO. */
enum ms_status malseq_backup_file(struct malseq_backup_copy *self, const char *name, bool fixed,
                                  bool *there, struct ms_error *err) MS_MUST_USE;
/* The same of all files below a folder `name`, or of the file `name`: none of them fixed. What `to`
 * had before is there afterwards, unchanged. */
enum ms_status malseq_backup_tree(struct malseq_backup_copy *self, const char *name,
                                  struct ms_error *err) MS_MUST_USE;
/* What waits takes its place, and what `to` has there and `from` has not is removed. */
enum ms_status malseq_backup_tree_settle(struct malseq_backup_copy *self, const char *name,
                                         struct ms_error *err) MS_MUST_USE;

#endif

/* Copying the files of a corpus into a backup. Knows nothing of the database. */
#ifndef MS_MALSEQ_BACKUP_FILES_H
#define MS_MALSEQ_BACKUP_FILES_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* What the corpus has of a file. */
enum malseq_backup_source {
    MALSEQ_BACKUP_THERE,
    MALSEQ_BACKUP_ABSENT,
    MALSEQ_BACKUP_DAMAGED /* or not to be read; what the backup has stays */
};

/* Looks whether the corpus's file, whose name stands for its content, has that content. */
typedef enum ms_status (*malseq_backup_verify)(void *ctx, enum malseq_backup_source *source,
                                               struct ms_error *err);

struct malseq_backup_copy {
    const char *from, *to; /* folders */
    bool link;             /* make a second name of the same file where the system can */
    bool distrust;         /* an earlier run may have died before its files were on the disk */
    malseq_backup_verify verify; /* asked before a `fixed` file replaces another one, and when one
                                    cannot be copied */
    void *ctx;
    uint64_t files, bytes; /* that were made */
    uint64_t linked;       /* of these files: second names */
};

/* Brings one file, `name` below both folders (its folders are made, 0700). One that is there with
 * the same size and, unless `fixed` (a name that stands for its content), the same time, is left
 * alone; of a fixed one that differs the corpus's is verified first, and a second name becomes a
 * copy unless links are asked for. Another one that is not `fixed` stays as it is too, and the new
 * one waits beside it for malseq_backup_tree_settle; of a file that grows what it has now is
 * taken. Not synced. MS_OK, with the source as it is, when a fixed one cannot be read. MS_E_IO,
 * also when a file that is not fixed becomes shorter meanwhile. */
enum ms_status malseq_backup_file(struct malseq_backup_copy *self, const char *name, bool fixed,
                                  enum malseq_backup_source *source,
                                  struct ms_error *err) MS_MUST_USE;
/* The same of all files below a folder `name`, or of the file `name`: none of them fixed. What `to`
 * had before is there afterwards, unchanged. */
enum ms_status malseq_backup_tree(struct malseq_backup_copy *self, const char *name,
                                  struct ms_error *err) MS_MUST_USE;
/* What waits takes its place, and what `to` has there and `from` has not is removed. */
enum ms_status malseq_backup_tree_settle(struct malseq_backup_copy *self, const char *name,
                                         struct ms_error *err) MS_MUST_USE;

#endif

/* Which folder may take a backup. Makes and writes nothing. */
#ifndef MS_MALSEQ_BACKUP_FOLDER_H
#define MS_MALSEQ_BACKUP_FOLDER_H

#include "base/error.h"

#include <stdbool.h>

/* By these a folder is known as a backup. */
#define MALSEQ_BACKUP_RECORD "backup.json"
#define MALSEQ_BACKUP_LOCK "backup.lock"

/* `to` may be new, empty, or an earlier backup (*earlier) that nobody has begun to use as a corpus,
 * and is no part of the corpus. MS_E_USAGE with why not; MS_E_IO. */
enum ms_status malseq_backup_check(const char *corpus, const char *to, bool *earlier,
                                   struct ms_error *err) MS_MUST_USE;
/* MS_E_USAGE when `to` is the corpus's folder or lies in it; it need not be there. */
enum ms_status malseq_backup_apart(const char *corpus, const char *to,
                                   struct ms_error *err) MS_MUST_USE;

#endif

/* Local files and folders as origins: each file goes by its git blob id, as in a repository. */
#ifndef MS_COLLECT_FOLDER_H
#define MS_COLLECT_FOLDER_H

#include "collect/session.h"

/* Collects from one path given by the user: a folder (sorted walk, symbolic links not followed) or
 * a file. MS_E_INPUT when there is no such path. Unreadable files are told and counted. */
enum ms_status ms_folder_collect(struct ms_collect *session, const char *path,
                                 struct ms_error *err) MS_MUST_USE;

#endif

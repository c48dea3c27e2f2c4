/* One run a key: a lock that holds between corpora, because the key's quota is one. */
#ifndef MS_LABEL_KEYLOCK_H
#define MS_LABEL_KEYLOCK_H

#include "base/error.h"

/* Takes the lock of a key, named by its fingerprint (ms_secret_fingerprint), in
 * $XDG_STATE_HOME/malseq, else ~/.local/state/malseq, else /tmp/malseq-UID, which must belong to
 * this user and be closed to others. corpus: whose run it is, for the message of the next. Two runs
 * of one user never spend one key at the same time; other users and machines cannot be seen.
 * MS_E_LATER, naming the holder, when it is taken; MS_E_IO. *fd is closed by the caller, which
 * gives the lock back; a killed run leaves none behind. */
enum ms_status ms_keylock_take(const char *key_print, const char *corpus, int *fd,
                               struct ms_error *err) MS_MUST_USE;

#endif

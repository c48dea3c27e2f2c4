/* What a backup needs of a corpus: a checked copy of its database, and which objects that names.
 * Writes nothing to the corpus, waits for no lock, and holds nobody up: others may write meanwhile.
 * Only while the pages are copied the corpus's write-ahead log cannot be reset. */
#ifndef MS_STORE_BACKUP_H
#define MS_STORE_BACKUP_H

#include "store/corpus.h"
#include "store/vault.h"

#include <stdbool.h>
#include <stdint.h>

/* Writes the database as it is now to `path`, which must not be there: one file, without a
 * write-ahead log, mode 0600, checked by SQLite's quick_check and synced. The corpus is open for
 * reading. MS_E_STORE when the check finds something (the corpus's own database is damaged then) or
 * it cannot be written; MS_E_LATER when the process was asked to stop. What there is of the file
 * after a failure is the caller's to remove. */
enum ms_status ms_backup_copy(struct ms_corpus *corpus, const char *path,
                              struct ms_error *err) MS_MUST_USE;
/* Opens such a copy for the functions below, as it is until ms_corpus_close, which the caller owes
 * it. It has rows alone: a vault's functions find nothing. The file may be renamed meanwhile. */
enum ms_status ms_backup_open(const char *path, struct ms_corpus **out,
                              struct ms_error *err) MS_MUST_USE;

/* An object's path inside a corpus's folder: "samples/ab/cd/<sha256>" or "reports/….zst". */
enum { MS_OBJECT_PATH_BYTES = 96 };
void ms_object_path(enum ms_vault_kind kind, const uint8_t sha256[32],
                    char out[MS_OBJECT_PATH_BYTES]);

/* Each object that a row names, samples first, by rising digest; whether it is there is not looked
 * at. */
typedef enum ms_status (*ms_backup_visit)(void *ctx, enum ms_vault_kind kind,
                                          const uint8_t sha256[32], struct ms_error *err);
enum ms_status ms_backup_foreach(struct ms_corpus *corpus, ms_backup_visit visit, void *ctx,
                                 struct ms_error *err) MS_MUST_USE;
/* How many there are. */
enum ms_status ms_backup_count(struct ms_corpus *corpus, uint64_t *samples, uint64_t *reports,
                               struct ms_error *err) MS_MUST_USE;
/* Is this object one to keep: is its sample or analysis known, and was it not given up? Also what
 * the vault has lost (vaulted 0) is; what was forgotten is not. */
enum ms_status ms_backup_keeps(struct ms_corpus *corpus, enum ms_vault_kind kind,
                               const uint8_t sha256[32], bool *kept,
                               struct ms_error *err) MS_MUST_USE;

#endif

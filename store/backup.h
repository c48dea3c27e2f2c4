/* What a backup needs of a corpus: one view of its database for as long as it takes, a checked copy
 * of it, and which objects it names. Writes nothing to the corpus, waits for no lock, and holds
 * nobody up: others may write meanwhile. */
#ifndef MS_STORE_BACKUP_H
#define MS_STORE_BACKUP_H

#include "store/corpus.h"
#include "store/vault.h"

#include <stdbool.h>
#include <stdint.h>

/* From here to ms_backup_end all functions of this header see the database as it is now. The corpus
 * is open for reading. */
enum ms_status ms_backup_begin(struct ms_corpus *corpus, struct ms_error *err) MS_MUST_USE;
void ms_backup_end(struct ms_corpus *corpus);

/* Writes the database to `path`, which must not be there: one file, without a write-ahead log,
 * mode 0600, checked by SQLite's quick_check and synced. MS_E_STORE when the check finds something
 * (the corpus's own database is damaged then) or it cannot be written; MS_E_LATER when the process
 * was asked to stop. What there is of the file after a failure is the caller's to remove. */
enum ms_status ms_backup_copy(struct ms_corpus *corpus, const char *path,
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
/* Does a row name this object? */
enum ms_status ms_backup_names(struct ms_corpus *corpus, enum ms_vault_kind kind,
                               const uint8_t sha256[32], bool *named,
                               struct ms_error *err) MS_MUST_USE;

#endif

/* The content-addressed vault: samples (neutered) and reports (zstd), written so that a crash
 * leaves at most an orphan. MALSEQ_TEST_NAMED_TEMPORARY in the environment takes the way of file
 * systems without unnamed files, for tests. */
#ifndef MS_STORE_VAULT_H
#define MS_STORE_VAULT_H

#include "base/span.h"
#include "store/corpus.h"

#include <stdbool.h>
#include <stdint.h>

enum ms_vault_kind {
    MS_VAULT_SAMPLE, /* samples/ab/cd/<sha256>: header "MSQ1", flags, size; then zstd of the bytes,
                        every byte XORed with a keystream: not runnable, not matched by scanners;
                        0400 */
    MS_VAULT_REPORT  /* reports/ab/cd/<sha256>.zst: plain zstd; 0400 */
};

/* Sets what the objects of both kinds may take together (counted now, by one walk over the vault)
 * and what is to stay free on their disk, both in bytes; UINT64_MAX: no quota; the default floor, 2
 * % of the disk, at least 32 MiB and at most 1 GiB. Beyond them writing gives MS_E_STORE with what
 * to do, and nothing that was there is lost. To be called before threads use the vault. */
enum ms_status ms_vault_limit(struct ms_corpus *corpus, uint64_t max_store_bytes,
                              uint64_t keep_free_bytes, struct ms_error *err) MS_MUST_USE;
/* MS_E_STORE when no further object may be begun: asked before a download is made for nothing. */
enum ms_status ms_vault_room(struct ms_corpus *corpus, struct ms_error *err) MS_MUST_USE;
/* Was a limit met since the corpus was opened? */
bool ms_vault_is_full(const struct ms_corpus *corpus);

struct ms_vault_write;

/* Starts an object, if there is room. Bytes are compressed and (samples) neutered on their way: the
 * plain bytes never reach the disk. */
enum ms_status ms_vault_begin(struct ms_corpus *corpus, enum ms_vault_kind kind,
                              struct ms_vault_write **out, struct ms_error *err) MS_MUST_USE;
enum ms_status ms_vault_append(struct ms_vault_write *self, const void *bytes, size_t n,
                               struct ms_error *err) MS_MUST_USE;
/* Ends it: fsync, link under its SHA-256, fsync of the folder. An object that is already there is a
 * success (*existed true); one that is there but damaged is replaced (*existed false). Frees self,
 * also when it fails. Writers may run in several threads; nothing touches the database. */
enum ms_status ms_vault_commit(struct ms_vault_write *self, uint8_t sha256[32], uint64_t *size,
                               bool *existed, struct ms_error *err) MS_MUST_USE;
void ms_vault_abort(struct ms_vault_write *self);

/* Streams an object's plain bytes to `write` (NULL: to nobody); verifies the digest at the end:
 * MS_E_STORE when it is wrong or the object damaged in any other way (what was written until then
 * is not to be used), MS_REJECT when it is not there, MS_E_IO when the operating system does not
 * give its bytes, good or not. Thread-safe, as all of the vault. */
typedef enum ms_status (*ms_vault_sink)(void *ctx, const void *bytes, size_t n,
                                        struct ms_error *err);
enum ms_status ms_vault_read(struct ms_corpus *corpus, enum ms_vault_kind kind,
                             const uint8_t sha256[32], ms_vault_sink write, void *ctx,
                             struct ms_error *err) MS_MUST_USE;
/* The same into a new memory file positioned at 0; the caller closes it. MS_E_STORE also for bytes
 * that the operating system does not give; MS_E_IO is the memory file's. */
enum ms_status ms_vault_read_fd(struct ms_corpus *corpus, enum ms_vault_kind kind,
                                const uint8_t sha256[32], int *fd, uint64_t *size,
                                struct ms_error *err) MS_MUST_USE;
/* A report as it lies there: zstd, unverified. The caller closes fd. */
enum ms_status ms_vault_open_report(struct ms_corpus *corpus, const uint8_t sha256[32], int *fd,
                                    struct ms_error *err) MS_MUST_USE;
/* True also where the operating system cannot tell: nobody takes for lost what may be there. */
bool ms_vault_has(struct ms_corpus *corpus, enum ms_vault_kind kind, const uint8_t sha256[32]);
/* Removes an object, durably. Absent is fine. Of several: store/vault_group. */
enum ms_status ms_vault_remove(struct ms_corpus *corpus, enum ms_vault_kind kind,
                               const uint8_t sha256[32], struct ms_error *err) MS_MUST_USE;

/* Each object's digest in byte order of the digests; `name` is its path below samples/ or reports/;
 * `good_name` false for files that do not belong there (sha256 is then all zero). The object may be
 * removed by the visit. */
typedef enum ms_status (*ms_vault_visit)(void *ctx, const uint8_t sha256[32], bool good_name,
                                         const char *name, struct ms_error *err);
enum ms_status ms_vault_foreach(struct ms_corpus *corpus, enum ms_vault_kind kind,
                                ms_vault_visit visit, void *ctx, struct ms_error *err) MS_MUST_USE;

#endif

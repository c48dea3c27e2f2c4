/* What the files of the vault share: names, header, keystream, and an object on its way. */
#ifndef MS_STORE_VAULT_PRIVATE_H
#define MS_STORE_VAULT_PRIVATE_H

#include "store/internal.h"
#include "store/vault.h"

#include "base/hash.h"

#include <zstd.h>

/* Header of a sample object: "MSQ1", 4 bytes flags (0), 8 bytes size of the plain bytes, all
 * little-endian, in clear; the XORed zstd frame follows. */
enum { MS_VAULT_HEAD_BYTES = 16 };
#define MS_VAULT_MAGIC "MSQ1"

/* "ab/cd/<64 hex>.zst" */
enum { MS_VAULT_NAME_BYTES = 80 };
/* The object's path below its folder, and the shard's ("ab/cd") in shard[6] when not NULL. */
void ms_vault_name(enum ms_vault_kind kind, const uint8_t sha256[32], char out[MS_VAULT_NAME_BYTES],
                   char shard[6]);

/* XORs n bytes that lie at `offset` of the zstd frame with the keystream of that place. The stream
 * is the same for every object: it hides nothing from a person, it keeps a loader from running the
 * bytes and a scanner from finding a pattern, and the same sample gives the same object. */
void ms_vault_xor(uint8_t *bytes, size_t n, uint64_t offset);

/* The folder of a kind; -1 where the corpus has none (opened for reading). */
int ms_vault_folder(const struct ms_corpus *corpus, enum ms_vault_kind kind);

/* An error with the corpus's folder and the object's name in it. */
enum ms_status ms_vault_error(const struct ms_corpus *corpus, enum ms_vault_kind kind,
                              const uint8_t sha256[32], enum ms_status status, int errnum,
                              const char *what, struct ms_error *err);

enum { MS_VAULT_TEMPORARY_BYTES = 64 };

/* An object on its way. What only its writing needs (zstd, out, hasher) goes when that ends, for
 * many may wait for their names. */
struct ms_vault_write {
    struct ms_corpus *corpus;
    enum ms_vault_kind kind;
    int fd;
    char temporary[MS_VAULT_TEMPORARY_BYTES]; /* in tmp/; empty for an unnamed file */
    ZSTD_CCtx *zstd;
    struct ms_hasher *hasher;
    uint8_t *out;
    size_t out_bytes;
    uint64_t plain_bytes;
    uint64_t frame_bytes;
    bool failed;
    uint64_t room_bytes; /* booked and not yet a name's; ms_vault_abort gives them back */
    uint8_t sha256[32];
};

/* How an object's name is made durable. */
enum ms_vault_sync {
    MS_VAULT_SYNC_NOW,  /* what must be for it is synced, but for the last folder */
    MS_VAULT_SYNC_LATER /* nothing is: the caller syncs the file system */
};

/* ms_vault_begin with a context that is idle, or NULL; it is the object's from then on. */
enum ms_status ms_vault_begin_with(struct ms_corpus *corpus, enum ms_vault_kind kind,
                                   ZSTD_CCtx *zstd, struct ms_vault_write **out,
                                   struct ms_error *err) MS_MUST_USE;
/* Ends the writing: all bytes, header and mode; nothing is synced. */
enum ms_status ms_vault_end(struct ms_vault_write *self, struct ms_error *err) MS_MUST_USE;
/* The bytes it takes on the disk. */
uint64_t ms_vault_object_bytes(const struct ms_vault_write *self);
/* Books its room. */
enum ms_status ms_vault_book(struct ms_vault_write *self, struct ms_error *err) MS_MUST_USE;
/* Gives an ended, synced and booked object its name, in *shard (to be closed by the caller); where
 * the name is there already, its object is looked at. Sets *existed. */
enum ms_status ms_vault_give_name(struct ms_vault_write *self, enum ms_vault_sync sync, int *shard,
                                  bool *existed, struct ms_error *err) MS_MUST_USE;
/* An error of the object, which is of no use after it. */
enum ms_status ms_vault_fail(struct ms_vault_write *self, int errnum, const char *what,
                             struct ms_error *err);

/* An object grew: the quota and the disk are looked at once a megabyte. */
enum ms_status ms_vault_room_grow(struct ms_corpus *corpus, uint64_t before_bytes,
                                  uint64_t after_bytes, struct ms_error *err) MS_MUST_USE;
/* Books an object of this size before it gets its name, or gives MS_E_STORE; give takes it back. */
enum ms_status ms_vault_room_take(struct ms_corpus *corpus, uint64_t bytes,
                                  struct ms_error *err) MS_MUST_USE;
void ms_vault_room_give(struct ms_corpus *corpus, uint64_t bytes);

#endif

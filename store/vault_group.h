/* Objects of the vault that become durable together: written one by one, synced at once, then
 * named, and their folders synced at once. What a name points to is on the disk before the name is
 * there, whenever the power fails. */
#ifndef MS_STORE_VAULT_GROUP_H
#define MS_STORE_VAULT_GROUP_H

#include "base/hash.h"
#include "store/vault.h"

/* One thread at a time uses a group; groups of several threads do not disturb each other. */
struct ms_vault_group;

enum ms_status ms_vault_group_new(struct ms_corpus *corpus, enum ms_vault_kind kind,
                                  struct ms_vault_group **out, struct ms_error *err) MS_MUST_USE;
/* Drops what was not named, as if it had never been. NULL is fine. */
void ms_vault_group_free(struct ms_vault_group *self);

/* ms_vault_begin for an object of the group; ms_vault_append and ms_vault_abort are as ever. */
enum ms_status ms_vault_group_begin(struct ms_vault_group *self, struct ms_vault_write **out,
                                    struct ms_error *err) MS_MUST_USE;
/* Ends the object and keeps it for the next sync; its room is booked (MS_E_STORE when there is
 * none). What the vault or the group has already is not kept a second time. Frees the object, also
 * when it fails. No more than MS_LIMIT_VAULT_WAITING objects of all groups together wait: whoever
 * adds the last syncs and names his own. */
enum ms_status ms_vault_group_add(struct ms_vault_group *self, struct ms_vault_write *object,
                                  uint8_t sha256[32], uint64_t *size,
                                  struct ms_error *err) MS_MUST_USE;
/* Frees what only writing needs; the next object takes it again. */
void ms_vault_group_rest(struct ms_vault_group *self);

/* All of `from` becomes self's, both of one corpus and kind. `from` is empty afterwards. */
enum ms_status ms_vault_group_join(struct ms_vault_group *self, struct ms_vault_group *from,
                                   struct ms_error *err) MS_MUST_USE;

/* An object by its name. */
struct ms_vault_object {
    enum ms_vault_kind kind;
    uint8_t sha256[MS_SHA256_BYTES];
};
/* Removes objects (forget, retention), durably when this gives MS_OK: by a sync of each folder that
 * lost one, or of the file system where these are many. Absent ones are fine. Needs no group. */
enum ms_status ms_vault_remove_all(struct ms_corpus *corpus, const struct ms_vault_object *objects,
                                   size_t count, struct ms_error *err) MS_MUST_USE;

/* All objects added so far are durable under their names when this gives MS_OK: rows may be
 * written. After an error (MS_E_IO) none may; what waited is dropped. */
enum ms_status ms_vault_group_sync(struct ms_vault_group *self, struct ms_error *err) MS_MUST_USE;

#endif

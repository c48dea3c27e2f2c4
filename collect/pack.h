/* Git packs: the objects of one, deltas resolved, each under its id; and the trees among them.
 * Reads bytes in memory and stores nothing. The bytes are hostile: this runs in the confined worker
 * only. */
#ifndef MS_COLLECT_PACK_H
#define MS_COLLECT_PACK_H

#include "base/hash.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* gitformat-pack(5). */
enum ms_pack_type {
    MS_PACK_COMMIT = 1,
    MS_PACK_TREE = 2,
    MS_PACK_BLOB = 3,
    MS_PACK_TAG = 4,
    MS_PACK_OFS_DELTA = 6,
    MS_PACK_REF_DELTA = 7
};

struct ms_pack_limits { /* 0: the value in base/limits.h */
    uint64_t objects;
    uint64_t object_bytes; /* larger blobs are known by id and size alone */
    uint64_t total_bytes;  /* produced by inflating and by deltas, repetitions included */
    unsigned depth;        /* of a chain of deltas */
    size_t cache_bytes;
};

struct ms_pack;

struct ms_pack_object {
    enum ms_pack_type type; /* never a delta */
    uint64_t size;
    uint8_t id[MS_SHA1_BYTES];
    bool too_big; /* larger than object_bytes: cannot be read */
};

/* Reads the pack (versions 2 and 3) whole: its checksum, every object inflated, every delta
 * applied, every id computed. MS_REJECT with the reason for anything that is not right: the
 * checksum, a size that lies, a delta whose base is not exactly at an earlier object, a chain that
 * is too deep, too many objects or bytes, bytes behind the last object. Objects whose base is not
 * in the pack (thin packs are never asked for) or hangs on itself, and deltas too large, are left
 * out and counted. The bytes must outlive the pack. */
enum ms_status ms_pack_open(struct ms_span bytes, const struct ms_pack_limits *limits,
                            struct ms_pack **out, struct ms_error *err) MS_MUST_USE;
void ms_pack_free(struct ms_pack *self);
size_t ms_pack_count(const struct ms_pack *self);
size_t ms_pack_left_out(const struct ms_pack *self);
/* False for one that was left out. */
bool ms_pack_object(const struct ms_pack *self, size_t index, struct ms_pack_object *out);
/* The index of an object; false when it is not there. */
bool ms_pack_find(const struct ms_pack *self, const uint8_t id[MS_SHA1_BYTES], size_t *index);
/* Its bytes, borrowed until the next call. MS_REJECT when too big, or beyond total_bytes. */
enum ms_status ms_pack_read(struct ms_pack *self, size_t index, struct ms_span *out,
                            struct ms_error *err) MS_MUST_USE;

/* One entry of a tree; name is borrowed. */
struct ms_tree_item {
    uint32_t mode; /* octal in git: 0040000 folder, 0100644 file, 0120000 link, 0160000 submodule */
    struct ms_span name; /* not empty, without '/' and NUL */
    uint8_t id[MS_SHA1_BYTES];
};
/* Takes the first entry from the front; *end true when there is none. MS_REJECT when malformed. */
enum ms_status ms_tree_item_take(struct ms_span *tree, struct ms_tree_item *out, bool *end,
                                 struct ms_error *err) MS_MUST_USE;

/* The tree and parents of a commit. MS_REJECT when it has no tree. `parent` is called for each. */
enum ms_status ms_commit_read(struct ms_span commit, uint8_t tree[MS_SHA1_BYTES],
                              enum ms_status (*parent)(void *ctx, const uint8_t id[MS_SHA1_BYTES],
                                                       struct ms_error *err),
                              void *ctx, struct ms_error *err) MS_MUST_USE;

#endif

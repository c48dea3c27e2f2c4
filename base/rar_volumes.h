/* Makes one archive of the volumes of a RAR set: volume flags are gone, headers are plain, and the
 * pieces of a member that goes over several volumes lie together, still compressed and encrypted as
 * they were. Runs in the worker only; decodes nothing. */
#ifndef MS_BASE_RAR_VOLUMES_H
#define MS_BASE_RAR_VOLUMES_H

#include "base/decrypt_rar.h"

struct ms_rar_volumes {
    int fd; /* the volumes, one behind the other, in their order */
    const uint64_t *part_bytes;
    size_t part_count;
    struct ms_decrypt_keys *cache;
    struct ms_span password; /* of headers; ignored where they are plain */
};

struct ms_rar_joined {
    uint64_t bytes;
    size_t members;  /* whole ones */
    bool incomplete; /* a member, or the set, goes on in a volume that is not there, or not next */
};

/* Writes to out_fd, an empty memory file, at most max_bytes. NOT_ENCRYPTED: the first part is no
 * volume of that format. WRONG_PASSWORD: headers are encrypted, and not with this one. Others as in
 * base/decrypt.h. */
enum ms_decrypt_answer ms_rar5_join(const struct ms_rar_volumes *volumes, int out_fd,
                                    uint64_t max_bytes, struct ms_rar_joined *out,
                                    const char **why);
enum ms_decrypt_answer ms_rar4_join(const struct ms_rar_volumes *volumes, int out_fd,
                                    uint64_t max_bytes, struct ms_rar_joined *out,
                                    const char **why);

/* ---- what both share ---------------------------------------------------------------------------
 */

/* Where the bytes of a member that is being put together lie. */
struct ms_rar_piece {
    uint64_t at, bytes;
};

struct ms_rar_pieces {
    struct ms_rar_piece *items; /* room for one a part */
    size_t count;
    uint64_t bytes;
};

struct ms_rar_target {
    int fd;
    uint64_t at, max_bytes;
};

/* False when there is no room. */
bool ms_rar_put(struct ms_rar_target *to, const void *bytes, size_t n) MS_MUST_USE;
/* All pieces, one behind the other. */
enum ms_decrypt_answer ms_rar_put_pieces(struct ms_rar_target *to, int from_fd,
                                         const struct ms_rar_pieces *pieces, const char **why);
/* One more. False when it makes no sense. */
bool ms_rar_add_piece(struct ms_rar_pieces *pieces, size_t room, uint64_t at,
                      uint64_t bytes) MS_MUST_USE;

#endif

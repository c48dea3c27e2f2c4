/* What joining RAR volumes shares between the formats: bytes and pieces. Reads no header. */
#include "base/rar_volumes.h"

bool ms_rar_put(struct ms_rar_target *to, const void *bytes, size_t n)
{
    if (to->at > to->max_bytes || n > to->max_bytes - to->at ||
        !ms_decrypt_write(to->fd, to->at, bytes, n))
        return false;
    to->at += n;
    return true;
}

enum ms_decrypt_answer ms_rar_put_pieces(struct ms_rar_target *to, int from_fd,
                                         const struct ms_rar_pieces *pieces, const char **why)
{
    enum ms_decrypt_answer answer = MS_DECRYPT_DONE;
    for (size_t i = 0; i < pieces->count && answer == MS_DECRYPT_DONE; i++) {
        const struct ms_rar_piece *piece = &pieces->items[i];
        *why = "more bytes than may be held at a time";
        if (to->at > to->max_bytes || piece->bytes > to->max_bytes - to->at)
            return MS_DECRYPT_LIMIT_MEMORY;
        answer = ms_decrypt_copy(from_fd, piece->at, piece->bytes, to->fd, to->at, why);
        to->at += piece->bytes;
    }
    return answer;
}

bool ms_rar_add_piece(struct ms_rar_pieces *pieces, size_t room, uint64_t at, uint64_t bytes)
{
    if (pieces->count == room || !ms_add_u64(pieces->bytes, bytes, &pieces->bytes))
        return false;
    pieces->items[pieces->count++] = (struct ms_rar_piece){at, bytes};
    return true;
}

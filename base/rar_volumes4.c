/* The volumes of a RAR 3 or RAR 4 set into one archive. Reading blocks is
 * base/decrypt_rar4_read's business.
 *
 * A member that goes on in the next volume has a header in each; that in the last one has the
 * checksum of the member. Encryption and compression go on over the pieces as if they were one. */
#include "base/decrypt_rar4.h"
#include "base/limits.h"
#include "base/rar_volumes.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { END_MORE = 1, MAIN_BYTES = 13, CRC_AT = 16, NAME_BYTES_AT = 26 };

static const uint8_t signature[7] = {'R', 'a', 'r', '!', 0x1a, 7, 0};
static const char no_room[] = "cannot grow a memory file";

struct join4 {
    const struct ms_rar_volumes *volumes;
    struct ms_rar4_reader reader;
    uint64_t end; /* of the volume being read */
    struct ms_rar_target to;
    struct ms_rar_pieces pieces;
    bool begun;
    struct ms_buf first; /* the header of the member that was begun */
    struct ms_rar_joined *out;
    bool ends_set; /* the last volume read says so */
};

static void drop_begun(struct join4 *self)
{
    self->begun = false;
    self->pieces.count = 0;
    self->pieces.bytes = 0;
}

static void set32(uint8_t *at, uint64_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* Sets the header's CRC and writes it. */
static bool put_header(struct ms_rar_target *to, uint8_t *bytes, size_t n)
{
    uint32_t crc = (uint32_t)crc32(0, bytes + 2, (uInt)(n - 2));
    bytes[0] = (uint8_t)crc;
    bytes[1] = (uint8_t)(crc >> 8);
    return ms_rar_put(to, bytes, n);
}

/* A whole member: the header that was begun with the last one's checksum, and all pieces. */
static enum ms_decrypt_answer write_member(struct join4 *self, const struct ms_rar4_file *last,
                                           const char **why)
{
    uint8_t *bytes = self->first.data;
    unsigned flags = (unsigned)(bytes[3] | bytes[4] << 8) &
                     ~(unsigned)(MS_RAR4_FILE_SPLIT_BEFORE | MS_RAR4_FILE_SPLIT_AFTER);
    bytes[3] = (uint8_t)flags;
    bytes[4] = (uint8_t)(flags >> 8);
    set32(bytes + MS_RAR4_HEAD_BYTES, self->pieces.bytes);
    set32(bytes + CRC_AT, last->crc);
    if (flags & MS_RAR4_FILE_LARGE)
        set32(bytes + MS_RAR4_NAME_AT, self->pieces.bytes >> 32);
    *why = no_room;
    bool good = self->pieces.bytes <= UINT32_MAX && put_header(&self->to, bytes, self->first.len);
    enum ms_decrypt_answer answer =
        good ? ms_rar_put_pieces(&self->to, self->volumes->fd, &self->pieces, why)
             : MS_DECRYPT_LIMIT_MEMORY;
    self->out->members += answer == MS_DECRYPT_DONE;
    drop_begun(self);
    return answer;
}

/* The name, which is the same in all headers of a member. */
static bool same_name(const struct join4 *self, const struct ms_rar4_block *block,
                      const struct ms_rar4_file *file)
{
    const uint8_t *first = self->first.data;
    size_t n =
        (size_t)(block->whole.data[NAME_BYTES_AT] | block->whole.data[NAME_BYTES_AT + 1] << 8);
    size_t m = (size_t)(first[NAME_BYTES_AT] | first[NAME_BYTES_AT + 1] << 8);
    size_t at =
        MS_RAR4_NAME_AT + ((first[4] << 8) & MS_RAR4_FILE_LARGE ? (size_t)MS_RAR4_LARGE_BYTES : 0);
    return n == m && at + m <= self->first.len && n <= file->name_end &&
           memcmp(first + at, block->whole.data + file->name_end - n, n) == 0;
}

static enum ms_decrypt_answer take_file(struct join4 *self, const struct ms_rar4_block *block,
                                        const char **why)
{
    struct ms_rar4_file file;
    bool before = block->flags & MS_RAR4_FILE_SPLIT_BEFORE;
    bool after = block->flags & MS_RAR4_FILE_SPLIT_AFTER;
    *why = ms_rar4_damaged_header;
    if (!ms_rar4_read_file(block, &file))
        return MS_DECRYPT_CORRUPT;
    /* Another member than the one that was to go on here: a volume of another set. */
    if (self->begun && (!before || !same_name(self, block, &file))) {
        self->out->incomplete = true;
        drop_begun(self);
    }
    if (before && !self->begun) {
        self->out->incomplete = true;
        return MS_DECRYPT_DONE;
    }
    if (!before) {
        ms_buf_clear(&self->first);
        (void)ms_buf_append(&self->first, block->whole.data, block->whole.len);
        *why = "no memory for a RAR 4 header";
        if (self->first.failed)
            return MS_DECRYPT_LIMIT_MEMORY;
        self->begun = true;
    }
    *why = ms_rar4_damaged_header;
    if (!ms_rar_add_piece(&self->pieces, self->volumes->part_count, block->data_at,
                          block->data_bytes))
        return MS_DECRYPT_CORRUPT;
    return after ? MS_DECRYPT_DONE : write_member(self, &file, why);
}

static enum ms_decrypt_answer begin(struct join4 *self, unsigned flags, const char **why)
{
    uint8_t main_block[MAIN_BYTES] = {
        0, 0, MS_RAR4_MAIN, (uint8_t)(flags & MS_RAR4_MAIN_SOLID), 0, MAIN_BYTES};
    if (!(flags & MS_RAR4_MAIN_VOLUME))
        return MS_DECRYPT_NOT_ENCRYPTED;
    *why = no_room;
    return ms_rar_put(&self->to, signature, sizeof signature) &&
                   put_header(&self->to, main_block, sizeof main_block)
               ? MS_DECRYPT_DONE
               : MS_DECRYPT_LIMIT_MEMORY;
}

/* Everything behind the volume's own header. Volumes of RAR 2 have no end block. */
static enum ms_decrypt_answer take_blocks(struct join4 *self, uint64_t at, bool hidden,
                                          const char **why)
{
    struct ms_rar4_block block;
    enum ms_decrypt_answer answer = MS_DECRYPT_DONE;
    self->ends_set = true;
    for (size_t blocks = 0; at < self->end && answer == MS_DECRYPT_DONE; blocks++) {
        answer = ms_rar4_read_block(&self->reader, at, hidden, &block, why);
        /* There is no check value: a wrong password makes a damaged header. */
        bool first = self->end == self->volumes->part_bytes[0];
        if (answer == MS_DECRYPT_CORRUPT && hidden && first && blocks < 2) {
            *why = "wrong password";
            return MS_DECRYPT_WRONG_PASSWORD;
        }
        if (answer != MS_DECRYPT_DONE)
            return answer;
        *why = ms_rar4_damaged_header;
        if (block.kind == MS_RAR4_END) {
            self->ends_set = !(block.flags & END_MORE);
            return MS_DECRYPT_DONE;
        }
        if (blocks > 2 * MS_LIMIT_UNPACK_ENTRIES || block.next > self->end)
            return MS_DECRYPT_CORRUPT;
        if (block.kind == MS_RAR4_FILE_BLOCK)
            answer = take_file(self, &block, why);
        at = block.next;
    }
    return answer;
}

/* One volume. *next false: what is there is none. */
static enum ms_decrypt_answer take_volume(struct join4 *self, size_t part, uint64_t start,
                                          bool *next, const char **why)
{
    uint8_t head[sizeof signature];
    struct ms_rar4_block block;
    *next = false;
    if (self->end - start < sizeof head ||
        !ms_decrypt_read(self->reader.fd, start, head, sizeof head) ||
        memcmp(head, signature, sizeof head) != 0 ||
        ms_rar4_read_block(&self->reader, start + sizeof head, false, &block, why) !=
            MS_DECRYPT_DONE ||
        block.kind != MS_RAR4_MAIN)
        return part ? MS_DECRYPT_DONE : MS_DECRYPT_NOT_ENCRYPTED;
    *next = block.flags & MS_RAR4_MAIN_VOLUME;
    bool hidden = block.flags & MS_RAR4_MAIN_HIDDEN;
    uint64_t at = block.next;
    enum ms_decrypt_answer answer = part ? MS_DECRYPT_DONE : begin(self, block.flags, why);
    return answer == MS_DECRYPT_DONE && *next ? take_blocks(self, at, hidden, why) : answer;
}

static enum ms_decrypt_answer take_volumes(struct join4 *self, const char **why)
{
    uint8_t end_block[MS_RAR4_HEAD_BYTES] = {0, 0, MS_RAR4_END, 0, 0x40, MS_RAR4_HEAD_BYTES};
    uint64_t start = 0;
    bool next = true;
    for (size_t i = 0; i < self->volumes->part_count && next; i++) {
        self->end = start + self->volumes->part_bytes[i];
        enum ms_decrypt_answer answer = take_volume(self, i, start, &next, why);
        if (answer != MS_DECRYPT_DONE)
            return answer;
        start = self->end;
    }
    self->out->incomplete |= !next || self->begun || !self->ends_set;
    *why = no_room;
    return put_header(&self->to, end_block, sizeof end_block) ? MS_DECRYPT_DONE
                                                              : MS_DECRYPT_LIMIT_MEMORY;
}

enum ms_decrypt_answer ms_rar4_join(const struct ms_rar_volumes *volumes, int out_fd,
                                    uint64_t max_bytes, struct ms_rar_joined *out, const char **why)
{
    struct join4 self = {.volumes = volumes,
                         .reader = {.fd = volumes->fd, .cache = volumes->cache},
                         .to = {.fd = out_fd, .max_bytes = max_bytes},
                         .out = out};
    enum ms_decrypt_answer answer = MS_DECRYPT_LIMIT_MEMORY;
    *out = (struct ms_rar_joined){0};
    *why = "wrong password";
    if (volumes->password.len > sizeof self.reader.password)
        return MS_DECRYPT_WRONG_PASSWORD;
    if (volumes->password.len)
        memcpy(self.reader.password, volumes->password.data, volumes->password.len);
    self.reader.password_bytes = volumes->password.len;
    *why = "no memory for a RAR 4 header";
    ms_buf_init(&self.reader.header, UINT16_MAX + 16);
    ms_buf_init(&self.first, UINT16_MAX);
    self.pieces.items = calloc(volumes->part_count, sizeof *self.pieces.items);
    if (self.pieces.items)
        answer = take_volumes(&self, why);
    out->bytes = self.to.at;
    free(self.pieces.items);
    ms_buf_release(&self.reader.header);
    ms_buf_release(&self.first);
    OPENSSL_cleanse(&self.reader, sizeof self.reader);
    return answer;
}

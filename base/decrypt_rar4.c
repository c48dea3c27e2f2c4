/* Encrypted RAR 3 and RAR 4 archives, rewritten as plain ones. It decodes nothing. Solid compressed
 * members are left to nobody: libarchive has no decoder for them.
 *
 * A block is CRC16, type, flags, size of the header, and for some the size of the data behind it.
 * There is no password check: with hidden names the headers' CRC16 tells, else the member's CRC32,
 * which libarchive verifies in what is written here. */
#include "base/decrypt_rar4.h"
#include "base/buf.h"
#include "base/limits.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

/* The version needed to unpack: 29 is RAR 3, whose encryption is AES; before it came two ciphers of
 * RAR's own. */
enum { VERSION_AES = 29 };

static const uint8_t signature[7] = {'R', 'a', 'r', '!', 0x1a, 7, 0};
static const char wrong_checksum[] = "RAR 4 member with a wrong checksum";

struct member {
    uint64_t at;
    size_t unit;
};

struct unit {
    size_t first, last; /* members; those between need not belong to it */
    bool encrypted;
    enum ms_decrypt_answer answer; /* DONE, or what this unit stands for: no members, and `why` */
    const char *why;
};

struct rar4 {
    struct ms_rar4_reader reader;
    uint64_t bytes;
    uint64_t first_at; /* of the blocks behind the main one */
    bool hidden, volume, unlocked;
    struct member *members;
    size_t member_count, member_cap;
    struct unit *units;
    size_t unit_count, unit_cap;
};

/* ---- what is in the archive ------------------------------------------------------------------ */

static struct unit *add_unit(struct rar4 *self, enum ms_decrypt_answer answer, const char *why)
{
    if (self->unit_count == self->unit_cap) {
        size_t cap = self->unit_cap ? self->unit_cap * 2 : 16;
        struct unit *grown = realloc(self->units, cap * sizeof *grown);
        if (!grown)
            return NULL;
        self->units = grown;
        self->unit_cap = cap;
    }
    struct unit *unit = &self->units[self->unit_count++];
    *unit = (struct unit){
        .first = self->member_count, .last = self->member_count, .answer = answer, .why = why};
    return unit;
}

/* A member into a unit, or into a new one when *unit is SIZE_MAX. */
static bool add_member(struct rar4 *self, uint64_t at, bool encrypted, size_t *unit)
{
    if (self->member_count == self->member_cap) {
        size_t cap = self->member_cap ? self->member_cap * 2 : 16;
        struct member *grown = realloc(self->members, cap * sizeof *grown);
        if (!grown)
            return false;
        self->members = grown;
        self->member_cap = cap;
    }
    if (*unit == SIZE_MAX) {
        *unit = self->unit_count;
        if (!add_unit(self, MS_DECRYPT_DONE, ""))
            return false;
    }
    self->units[*unit].last = self->member_count;
    self->units[*unit].encrypted = encrypted;
    self->members[self->member_count++] = (struct member){.at = at, .unit = *unit};
    return true;
}

struct listing {
    size_t plain; /* the unit of all plain members; SIZE_MAX: none yet */
    size_t split, solid, old, wrong;
};

/* libarchive 3.6.2 verifies no stored member's checksum. That of an encrypted one has to wait until
 * it is written. */
static bool has_wrong_crc(const struct rar4 *self, const struct ms_rar4_block *block,
                          const struct ms_rar4_file *file)
{
    uint32_t crc;
    return !(block->flags & MS_RAR4_FILE_ENCRYPTED) && file->method == MS_RAR4_STORED &&
           ms_decrypt_crc32(self->reader.fd, block->data_at, block->data_bytes, &crc) &&
           crc != file->crc;
}

/* Puts a file's block into a unit. False without memory. */
static bool list_file(struct rar4 *self, uint64_t at, const struct ms_rar4_block *block,
                      struct listing *listing, enum ms_decrypt_answer *answer)
{
    struct ms_rar4_file file;
    size_t unit = SIZE_MAX;
    bool encrypted = block->flags & MS_RAR4_FILE_ENCRYPTED;
    if (!ms_rar4_read_file(block, &file)) {
        *answer = MS_DECRYPT_CORRUPT;
        return true;
    }
    /* What is empty opens under every password, and holds nothing. */
    if ((block->flags & MS_RAR4_FILE_FOLDER) == MS_RAR4_FILE_FOLDER || !block->data_bytes)
        return true;
    bool split = block->flags & (MS_RAR4_FILE_SPLIT_BEFORE | MS_RAR4_FILE_SPLIT_AFTER);
    bool solid = (block->flags & MS_RAR4_FILE_SOLID) && file.method != MS_RAR4_STORED;
    bool old = encrypted && file.version < VERSION_AES;
    bool wrong = !split && has_wrong_crc(self, block, &file);
    listing->split += split;
    listing->wrong += wrong;
    listing->solid += solid && !split;
    listing->old += old && !solid && !split;
    return split || solid || old || wrong ||
           add_member(self, at, encrypted, encrypted ? &unit : &listing->plain);
}

/* A unit for each thing that no password will bring. */
static bool list_rest(struct rar4 *self, const struct listing *listing,
                      enum ms_decrypt_answer answer, const char *why)
{
    bool good = true;
    if (listing->split)
        good = good && add_unit(self, MS_DECRYPT_INCOMPLETE, "one volume of several");
    if (listing->solid)
        good = good && add_unit(self, MS_DECRYPT_UNSUPPORTED, "solid RAR 4 is not supported");
    if (listing->old)
        good = good && add_unit(self, MS_DECRYPT_UNSUPPORTED,
                                "encryption of RAR 2 and before is not supported");
    if (listing->wrong)
        good = good && add_unit(self, MS_DECRYPT_CORRUPT, wrong_checksum);
    if (answer != MS_DECRYPT_DONE)
        good = good && add_unit(self, answer, why);
    return good;
}

/* Lists every block up to the end, or to the first damaged one, which becomes a unit. */
static bool list_blocks(struct rar4 *self)
{
    struct listing listing = {.plain = SIZE_MAX};
    struct ms_rar4_block block;
    enum ms_decrypt_answer answer = MS_DECRYPT_DONE;
    const char *why = "";
    uint64_t at = self->first_at;
    for (size_t blocks = 0; at < self->bytes && answer == MS_DECRYPT_DONE; blocks++) {
        if (blocks > 2 * MS_LIMIT_UNPACK_ENTRIES_MOST) {
            answer = MS_DECRYPT_LIMIT_MEMORY;
            why = "more RAR 4 blocks than one blob may have";
            break;
        }
        answer = ms_rar4_read_block(&self->reader, at, self->hidden, &block, &why);
        if (answer != MS_DECRYPT_DONE || block.kind == MS_RAR4_END)
            break;
        if (block.kind == MS_RAR4_FILE_BLOCK && !list_file(self, at, &block, &listing, &answer))
            return false;
        at = block.next;
    }
    return list_rest(self, &listing, answer, why);
}

/* ---- the format's functions ------------------------------------------------------------------ */

static void close_rar4(void *state)
{
    struct rar4 *self = state;
    ms_buf_release(&self->reader.header);
    free(self->members);
    free(self->units);
    OPENSSL_cleanse(self, sizeof *self);
    free(self);
}

/* Is there anything that libarchive cannot do as well? */
static bool is_ours(const struct rar4 *self)
{
    if (self->volume)
        return true;
    for (size_t i = 0; i < self->unit_count; i++)
        if (self->units[i].encrypted || self->units[i].answer == MS_DECRYPT_UNSUPPORTED ||
            self->units[i].why == wrong_checksum)
            return true;
    return false;
}

static enum ms_decrypt_answer look(struct rar4 *self, const char **why)
{
    struct ms_rar4_block block;
    const char *ignored;
    if (ms_rar4_read_block(&self->reader, sizeof signature, false, &block, &ignored) !=
            MS_DECRYPT_DONE ||
        block.kind != MS_RAR4_MAIN)
        return MS_DECRYPT_NOT_ENCRYPTED;
    self->first_at = block.next;
    self->hidden = block.flags & MS_RAR4_MAIN_HIDDEN;
    self->volume = block.flags & MS_RAR4_MAIN_VOLUME;
    if (self->hidden)
        return MS_DECRYPT_DONE;
    if (!list_blocks(self)) {
        *why = "no memory for the list of members";
        return MS_DECRYPT_LIMIT_MEMORY;
    }
    return is_ours(self) ? MS_DECRYPT_DONE : MS_DECRYPT_NOT_ENCRYPTED;
}

static enum ms_decrypt_answer open_rar4(int fd, struct ms_decrypt_keys *keys, void **state,
                                        bool *locked, const char **why)
{
    uint8_t head[sizeof signature];
    struct stat st;
    if (!ms_decrypt_read(fd, 0, head, sizeof head) || memcmp(head, signature, sizeof head) != 0 ||
        fstat(fd, &st) != 0)
        return MS_DECRYPT_NOT_ENCRYPTED;
    struct rar4 *self = calloc(1, sizeof *self);
    *why = "no memory for the list of members";
    if (!self)
        return MS_DECRYPT_LIMIT_MEMORY;
    self->reader.fd = fd;
    self->reader.cache = keys;
    self->bytes = (uint64_t)st.st_size;
    ms_buf_init(&self->reader.header, UINT16_MAX + 16);
    enum ms_decrypt_answer answer = look(self, why);
    *locked = self->hidden;
    if (answer == MS_DECRYPT_DONE)
        *state = self;
    else
        close_rar4(self);
    return answer;
}

/* Sixteen bits of CRC alone let one wrong password in 65,536 pass; that the first header also is of
 * a kind that can stand there, and makes sense, takes that to about one in ten million. */
static bool is_first(const struct ms_rar4_block *block)
{
    struct ms_rar4_file file;
    if (block->kind == MS_RAR4_END)
        return true;
    return (block->kind == MS_RAR4_FILE_BLOCK || block->kind == MS_RAR4_SERVICE) &&
           (block->flags & MS_RAR4_HAS_DATA) && ms_rar4_read_file(block, &file);
}

static enum ms_decrypt_answer unlock_rar4(void *state, struct ms_span password, const char **why)
{
    struct rar4 *self = state;
    struct ms_rar4_block block;
    if (!self->hidden || self->unlocked)
        return MS_DECRYPT_DONE;
    *why = "wrong password";
    if (password.len > sizeof self->reader.password)
        return MS_DECRYPT_WRONG_PASSWORD;
    if (password.len)
        memcpy(self->reader.password, password.data, password.len);
    self->reader.password_bytes = password.len;
    enum ms_decrypt_answer answer =
        ms_rar4_read_block(&self->reader, self->first_at, true, &block, why);
    if (answer == MS_DECRYPT_CORRUPT || (answer == MS_DECRYPT_DONE && !is_first(&block))) {
        *why = "wrong password";
        answer = MS_DECRYPT_WRONG_PASSWORD;
    }
    if (answer != MS_DECRYPT_DONE)
        return answer;
    self->unlocked = true;
    *why = "no memory for the list of members";
    return list_blocks(self) ? MS_DECRYPT_DONE : MS_DECRYPT_LIMIT_MEMORY;
}

static size_t unit_count(const void *state)
{
    return ((const struct rar4 *)state)->unit_count;
}

static bool unit_needs_password(const void *state, size_t unit)
{
    return ((const struct rar4 *)state)->units[unit].encrypted;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct target {
    int fd;
    uint64_t at, max_bytes;
    bool maybe; /* a compressed member was decrypted */
};

/* Sets the CRC and writes the header. */
static bool put_header(struct target *to, struct ms_buf *header)
{
    if (header->failed || to->at > to->max_bytes || header->len > to->max_bytes - to->at)
        return false;
    uint32_t crc = (uint32_t)crc32(0, header->data + 2, (uInt)(header->len - 2));
    header->data[0] = (uint8_t)crc;
    header->data[1] = (uint8_t)(crc >> 8);
    if (!ms_decrypt_write(to->fd, to->at, header->data, header->len))
        return false;
    to->at += header->len;
    return true;
}

static void set_u16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static void set_u32(uint8_t *at, uint64_t value)
{
    set_u16(at, (size_t)(value & 0xffff));
    set_u16(at + 2, (size_t)(value >> 16 & 0xffff));
}

/* The member's header without the salt, with the flags cleared and the new size. */
static bool plain_header(const struct ms_rar4_block *block, const struct ms_rar4_file *file,
                         uint64_t data_bytes, struct ms_buf *out)
{
    const struct ms_span whole = block->whole;
    size_t tail = file->name_end + file->salt.len;
    (void)ms_buf_append(out, whole.data, file->name_end);
    (void)ms_buf_append(out, whole.data + tail, whole.len - tail);
    if (out->failed)
        return false;
    set_u16(out->data + 3, block->flags & ~(unsigned)(MS_RAR4_FILE_ENCRYPTED | MS_RAR4_FILE_SALT |
                                                      MS_RAR4_FILE_SOLID));
    set_u16(out->data + 5, out->len);
    set_u32(out->data + MS_RAR4_HEAD_BYTES, data_bytes);
    if (block->flags & MS_RAR4_FILE_LARGE)
        set_u32(out->data + MS_RAR4_NAME_AT, data_bytes >> 32);
    return true;
}

static enum ms_decrypt_answer write_data(struct rar4 *self, const struct ms_rar4_block *block,
                                         struct ms_span salt, struct ms_span password,
                                         uint64_t keep, struct target *to, const char **why)
{
    struct ms_rar4_keys keys;
    enum ms_decrypt_answer answer;
    if (!(block->flags & MS_RAR4_FILE_ENCRYPTED)) {
        answer = ms_decrypt_copy(self->reader.fd, block->data_at, block->data_bytes, to->fd, to->at,
                                 why);
    } else {
        answer = ms_rar4_derive(self->reader.cache, password, salt, &keys, why);
        if (answer == MS_DECRYPT_DONE)
            answer = ms_decrypt_cbc(self->reader.fd, block->data_at, block->data_bytes, keys.key,
                                    sizeof keys.key, keys.iv, to->fd, to->at, keep, why);
        OPENSSL_cleanse(&keys, sizeof keys);
    }
    to->at += keep;
    return answer;
}

/* A stored member's checksum, which libarchive does not verify. Hidden headers that could be read
 * say that the password is right. */
static enum ms_decrypt_answer judge_stored(const struct rar4 *self, uint32_t said,
                                           const struct target *to, uint64_t bytes,
                                           const char **why)
{
    uint32_t crc;
    *why = "cannot compute a checksum";
    if (!ms_decrypt_crc32(to->fd, to->at - bytes, bytes, &crc))
        return MS_DECRYPT_LIMIT_MEMORY;
    *why = self->hidden ? wrong_checksum : "wrong password, or a wrong checksum";
    if (crc != said)
        return self->hidden ? MS_DECRYPT_CORRUPT : MS_DECRYPT_WRONG_PASSWORD;
    return MS_DECRYPT_DONE;
}

static enum ms_decrypt_answer write_member(struct rar4 *self, uint64_t from,
                                           struct ms_span password, struct target *to,
                                           const char **why)
{
    struct ms_rar4_block block;
    struct ms_rar4_file file;
    struct ms_buf header;
    enum ms_decrypt_answer answer =
        ms_rar4_read_block(&self->reader, from, self->hidden, &block, why);
    if (answer != MS_DECRYPT_DONE)
        return answer;
    *why = ms_rar4_damaged_header;
    if (!ms_rar4_read_file(&block, &file))
        return MS_DECRYPT_CORRUPT;
    /* Padding behind compressed data is harmless: it has an end mark of its own. */
    uint64_t keep = block.data_bytes;
    if ((block.flags & MS_RAR4_FILE_ENCRYPTED) && file.method == MS_RAR4_STORED) {
        *why = "stored RAR 4 member of the wrong size";
        if (file.unpacked_bytes > keep || keep - file.unpacked_bytes >= 16)
            return MS_DECRYPT_CORRUPT;
        keep = file.unpacked_bytes;
    }
    to->maybe |= (block.flags & MS_RAR4_FILE_ENCRYPTED) && file.method != MS_RAR4_STORED;
    ms_buf_init(&header, UINT16_MAX);
    *why = "more bytes than may be held at a time";
    answer = MS_DECRYPT_LIMIT_MEMORY;
    if (plain_header(&block, &file, keep, &header) && put_header(to, &header) &&
        block.data_bytes <= to->max_bytes - to->at)
        answer = write_data(self, &block, file.salt, password, keep, to, why);
    ms_buf_release(&header);
    if (answer == MS_DECRYPT_DONE && (block.flags & MS_RAR4_FILE_ENCRYPTED) &&
        file.method == MS_RAR4_STORED)
        answer = judge_stored(self, file.crc, to, keep, why);
    return answer;
}

static bool write_frame(struct target *to, bool end)
{
    static const uint8_t main_block[MS_RAR4_HEAD_BYTES + MS_RAR4_MAIN_BODY_BYTES] = {
        0, 0, MS_RAR4_MAIN, 0, 0, MS_RAR4_HEAD_BYTES + MS_RAR4_MAIN_BODY_BYTES};
    static const uint8_t end_block[MS_RAR4_HEAD_BYTES] = {0, 0,    MS_RAR4_END,
                                                          0, 0x40, MS_RAR4_HEAD_BYTES};
    struct ms_buf bytes;
    ms_buf_init(&bytes, sizeof main_block);
    if (end)
        (void)ms_buf_append(&bytes, end_block, sizeof end_block);
    else
        (void)ms_buf_append(&bytes, main_block, sizeof main_block);
    bool good = end || (to->max_bytes >= sizeof signature &&
                        ms_decrypt_write(to->fd, 0, signature, sizeof signature));
    to->at += good && !end ? sizeof signature : 0;
    good = good && put_header(to, &bytes);
    ms_buf_release(&bytes);
    return good;
}

static enum ms_decrypt_answer rewrite_rar4(void *state, size_t index, struct ms_span password,
                                           int out_fd, uint64_t max_bytes, uint64_t *bytes,
                                           const char **why)
{
    struct rar4 *self = state;
    const struct unit *unit = &self->units[index];
    struct target to = {.fd = out_fd, .max_bytes = max_bytes};
    *bytes = 0;
    *why = unit->why;
    if (unit->answer != MS_DECRYPT_DONE)
        return unit->answer;
    *why = "cannot grow a memory file";
    enum ms_decrypt_answer answer =
        write_frame(&to, false) ? MS_DECRYPT_DONE : MS_DECRYPT_LIMIT_MEMORY;
    for (size_t i = unit->first; i <= unit->last && answer == MS_DECRYPT_DONE; i++)
        if (self->members[i].unit == index)
            answer = write_member(self, self->members[i].at, password, &to, why);
    if (answer == MS_DECRYPT_DONE && !write_frame(&to, true)) {
        *why = "cannot grow a memory file";
        answer = MS_DECRYPT_LIMIT_MEMORY;
    }
    *bytes = to.at;
    return answer == MS_DECRYPT_DONE && to.maybe ? MS_DECRYPT_MAYBE : answer;
}

const struct ms_decrypt_format ms_decrypt_rar4 = {
    .name = "RAR 4",
    .method_is_data = true,
    .open = open_rar4,
    .unlock = unlock_rar4,
    .unit_count = unit_count,
    .unit_needs_password = unit_needs_password,
    .rewrite = rewrite_rar4,
    .close = close_rar4,
};

/* 7z under AES-256: keys, headers, and one folder at a time written anew without encryption. The
 * members are decoded, and their checksums verified, by whoever reads what is written.
 *
 * A folder is rewritten only when every member in it has a checksum: nothing else tells a wrong
 * password from a right one, and a stored member would come out as garbage. */
#define _GNU_SOURCE
#include "base/decrypt_7z.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/unpack_member.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum {
    KEY_BYTES = 32,
    SALT_MAX_BYTES = 16,
    PASSWORD_MAX_BYTES = 512,
    RAW_POWER = 0x3f, /* no derivation: salt and password are the key */
    HEADER_LAYERS = 4 /* a packed header in a packed header; 7-Zip writes one */
};

struct sevenzip {
    int fd;
    uint64_t file_bytes;
    struct ms_decrypt_keys *keys;
    struct ms_arena arena;      /* of `header`, or of `cover` while it is locked */
    struct ms_buf bytes;        /* what they borrow from */
    struct ms_7z_streams cover; /* the packed header */
    struct ms_7z_header header;
    size_t *folders;                 /* units: folders with members */
    const struct ms_7z_file **files; /* by stream; then the empty files */
    size_t folder_count, empty_count;
    bool encrypted; /* AES was seen somewhere */
};

/* ---- keys ------------------------------------------------------------------------------------ */

struct aes {
    unsigned power;
    uint8_t salt[SALT_MAX_BYTES];
    size_t salt_bytes;
    uint8_t iv[16];
};

static bool read_properties(struct ms_span from, struct aes *out)
{
    uint8_t first, second = 0;
    struct ms_span salt, iv;
    memset(out, 0, sizeof *out);
    if (!ms_span_take_u8(&from, &first))
        return false;
    out->power = first & 0x3f;
    if ((first & 0xc0) && !ms_span_take_u8(&from, &second))
        return false;
    out->salt_bytes = ((first >> 7) & 1u) + (second >> 4);
    if (!ms_span_take(&from, out->salt_bytes, &salt) ||
        !ms_span_take(&from, ((first >> 6) & 1u) + (second & 15u), &iv))
        return false;
    memcpy(out->salt, salt.data, salt.len);
    memcpy(out->iv, iv.data, iv.len);
    return true;
}

/* SHA-256 over 2^power times salt, password and a counter of eight bytes. Rounds are laid out many
 * at a time: one call of the hash function a round would cost more than the hashing. */
static bool hash_rounds(const struct aes *aes, const uint8_t *password, size_t n,
                        uint8_t key[KEY_BYTES])
{
    enum { BATCH = 128 };
    size_t unit = aes->salt_bytes + n + 8;
    uint64_t rounds = (uint64_t)1 << aes->power;
    unsigned got;
    uint8_t *batch = malloc(BATCH * unit);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = batch && ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; good && i < BATCH; i++) {
        memcpy(batch + i * unit, aes->salt, aes->salt_bytes);
        memcpy(batch + i * unit + aes->salt_bytes, password, n);
    }
    for (uint64_t round = 0; good && round < rounds;) {
        size_t part = rounds - round < BATCH ? (size_t)(rounds - round) : BATCH;
        for (size_t i = 0; i < part; i++, round++)
            for (unsigned byte = 0; byte < 8; byte++)
                batch[(i + 1) * unit - 8 + byte] = (uint8_t)(round >> (8 * byte));
        good = EVP_DigestUpdate(ctx, batch, part * unit) == 1;
    }
    good = good && EVP_DigestFinal_ex(ctx, key, &got) == 1;
    if (batch)
        OPENSSL_cleanse(batch, BATCH * unit);
    free(batch);
    EVP_MD_CTX_free(ctx);
    return good;
}

static enum ms_decrypt_answer derive(struct ms_decrypt_keys *keys, const struct aes *aes,
                                     struct ms_span password, uint8_t key[KEY_BYTES],
                                     const char **why)
{
    uint8_t wide[PASSWORD_MAX_BYTES];
    uint8_t id[MS_DECRYPT_ID_BYTES];
    uint8_t all[4 + SALT_MAX_BYTES + PASSWORD_MAX_BYTES] = {'7', 'z', 0, 0};
    unsigned got;
    size_t n = ms_decrypt_utf16(password, wide, sizeof wide);
    *why = "password too long, or empty";
    if (!n)
        return MS_DECRYPT_WRONG_PASSWORD;
    if (aes->power == RAW_POWER) {
        memset(key, 0, KEY_BYTES);
        memcpy(key, aes->salt, aes->salt_bytes);
        memcpy(key + aes->salt_bytes, wide,
               n < KEY_BYTES - aes->salt_bytes ? n : KEY_BYTES - aes->salt_bytes);
        return MS_DECRYPT_DONE;
    }
    *why = "key derivation takes more rounds than it may";
    if (aes->power > MS_LIMIT_DECRYPT_KDF_POWER)
        return MS_DECRYPT_LIMIT_WORK;
    all[2] = (uint8_t)aes->power;
    all[3] = (uint8_t)aes->salt_bytes;
    memcpy(all + 4, aes->salt, aes->salt_bytes);
    memcpy(all + 4 + aes->salt_bytes, wide, n);
    bool good = EVP_Digest(all, 4 + aes->salt_bytes + n, id, &got, EVP_sha256(), NULL) == 1;
    OPENSSL_cleanse(all, sizeof all);
    if (good && ms_decrypt_keys_find(keys, id, key, KEY_BYTES))
        return MS_DECRYPT_DONE;
    *why = "key derivation for this file costs more than it may";
    if (!ms_decrypt_keys_spend(keys, (uint64_t)(aes->salt_bytes + n + 8) << aes->power))
        return MS_DECRYPT_LIMIT_WORK;
    *why = "no memory for a key";
    if (!good || !hash_rounds(aes, wide, n, key))
        return MS_DECRYPT_LIMIT_MEMORY;
    ms_decrypt_keys_keep(keys, id, key, KEY_BYTES);
    return MS_DECRYPT_DONE;
}

/* ---- one folder ------------------------------------------------------------------------------ */

/* LZMA and PPMd begin with a zero byte, LZMA2 with a chunk that sets everything up, bzip2 with
 * "BZh", Deflate with one of three kinds of blocks: most wrong passwords show here, before all of
 * the data is decrypted. */
static bool may_begin(const struct ms_7z_coder *consumer, uint8_t first)
{
    if (ms_7z_coder_is(consumer, "\x03\x01\x01", 3) || ms_7z_coder_is(consumer, "\x03\x04\x01", 3))
        return first == 0;
    if (ms_7z_coder_is(consumer, "\x21", 1))
        return first <= 1 || first >= 0xe0;
    if (ms_7z_coder_is(consumer, "\x04\x02\x02", 3))
        return first == 'B';
    if (ms_7z_coder_is(consumer, "\x04\x01\x08", 3))
        return (first & 6) != 6;
    return true;
}

static enum ms_decrypt_answer decrypt_stream(const struct sevenzip *self, uint64_t from, uint64_t n,
                                             const struct ms_7z_coder *coder,
                                             const struct ms_7z_coder *consumer,
                                             struct ms_span password, int out_fd, uint64_t to,
                                             const char **why)
{
    struct aes aes;
    uint8_t key[KEY_BYTES];
    uint8_t first;
    *why = "AES with unknown settings";
    if (!read_properties(coder->properties, &aes))
        return MS_DECRYPT_CORRUPT;
    enum ms_decrypt_answer answer = derive(self->keys, &aes, password, key, why);
    if (answer == MS_DECRYPT_DONE && n && coder->unpack_size)
        answer = ms_decrypt_cbc(self->fd, from, n < 16 ? n : 16, key, KEY_BYTES, aes.iv, out_fd, to,
                                1, why);
    if (answer == MS_DECRYPT_DONE && n && coder->unpack_size) {
        *why = "the first bytes are not those of compressed data";
        if (!ms_decrypt_read(out_fd, to, &first, 1) || !may_begin(consumer, first))
            answer = MS_DECRYPT_WRONG_PASSWORD;
    }
    if (answer == MS_DECRYPT_DONE)
        answer = ms_decrypt_cbc(self->fd, from, n, key, KEY_BYTES, aes.iv, out_fd, to,
                                coder->unpack_size, why);
    OPENSSL_cleanse(key, sizeof key);
    return answer;
}

static enum ms_decrypt_answer rewrite_folder(const struct sevenzip *self,
                                             const struct ms_7z_streams *streams,
                                             const struct ms_7z_folder *folder,
                                             const struct ms_7z_file *const *files,
                                             struct ms_span password, int out_fd,
                                             uint64_t max_bytes, uint64_t *bytes, const char **why)
{
    struct ms_7z_plain plain;
    uint64_t sizes[MS_7Z_CODERS];
    uint64_t to = MS_7Z_START_BYTES;
    *bytes = 0;
    enum ms_decrypt_answer answer = ms_7z_plain_of(folder, &plain, why);
    for (unsigned p = 0; answer == MS_DECRYPT_DONE && p < folder->packed_count; p++) {
        uint64_t from = streams->pack_offsets[folder->first_pack + p];
        uint64_t n = streams->pack_sizes[folder->first_pack + p];
        const struct ms_7z_coder *aes = plain.aes[p] < 0 ? NULL : &folder->coders[plain.aes[p]];
        const struct ms_7z_coder *consumer =
            &plain.coders[ms_7z_coder_of_in(&plain.folder, plain.folder.packed[p])];
        sizes[p] = aes ? aes->unpack_size : n;
        *why = "cut short";
        if (from > self->file_bytes || n > self->file_bytes - from || sizes[p] > n)
            return MS_DECRYPT_CORRUPT;
        *why = "more bytes than may be held at a time";
        if (to > max_bytes || sizes[p] > max_bytes - to)
            return MS_DECRYPT_LIMIT_MEMORY;
        answer = aes ? decrypt_stream(self, from, n, aes, consumer, password, out_fd, to, why)
                     : ms_decrypt_copy(self->fd, from, n, out_fd, to, why);
        to += sizes[p];
        *bytes = to;
    }
    if (answer != MS_DECRYPT_DONE)
        return answer;
    answer = ms_7z_write(out_fd, &plain.folder, sizes, to - MS_7Z_START_BYTES,
                         &streams->streams[folder->first_stream], files, folder->stream_count,
                         bytes, why);
    return answer == MS_DECRYPT_DONE && folder->encrypted ? MS_DECRYPT_MAYBE : answer;
}

/* ---- headers --------------------------------------------------------------------------------- */

/* The one member of a small archive, whole and with its checksum right where it has one. */
static enum ms_decrypt_answer read_member(int fd, uint64_t size, struct ms_buf *out,
                                          const char **why)
{
    struct ms_unpack_stream *stream;
    uint8_t piece[4096];
    size_t n = 1;
    *why = "header cannot be unpacked";
    enum ms_status status = ms_unpack_stream_open(fd, "h", &stream, NULL);
    if (status != MS_OK)
        return status == MS_REJECT ? MS_DECRYPT_CORRUPT : MS_DECRYPT_LIMIT_MEMORY;
    while (status == MS_OK && n) {
        status = ms_unpack_stream_read(stream, size, piece, sizeof piece, &n, NULL);
        if (status == MS_OK)
            status = ms_buf_append(out, piece, n);
    }
    ms_unpack_stream_close(stream);
    if (status == MS_OK && out->len == size)
        return MS_DECRYPT_DONE;
    return status == MS_E_NOMEM ? MS_DECRYPT_LIMIT_MEMORY : MS_DECRYPT_CORRUPT;
}

/* Unpacks a packed header by way of a small archive: libarchive knows every method. DONE: its
 * checksum was right; MAYBE: it has none. */
static enum ms_decrypt_answer unpack_header(const struct sevenzip *self,
                                            const struct ms_7z_streams *cover,
                                            struct ms_span password, struct ms_buf *out,
                                            const char **why)
{
    static const struct ms_7z_file file = {.name = {(const uint8_t *)"h", 2}, .has_stream = true};
    const struct ms_7z_file *const files[] = {&file};
    const struct ms_7z_folder *folder = &cover->folders[0];
    uint64_t bytes;
    *why = "header larger than it may be";
    if (cover->streams[0].size > MS_LIMIT_DECRYPT_HEADER_BYTES)
        return MS_DECRYPT_LIMIT_MEMORY;
    int fd = memfd_create("header", MFD_CLOEXEC);
    *why = "cannot make a memory file";
    if (fd < 0)
        return MS_DECRYPT_LIMIT_MEMORY;
    enum ms_decrypt_answer answer =
        rewrite_folder(self, cover, folder, files, password, fd,
                       MS_LIMIT_DECRYPT_HEADER_BYTES + MS_7Z_START_BYTES, &bytes, why);
    if (answer == MS_DECRYPT_DONE || answer == MS_DECRYPT_MAYBE) {
        answer = read_member(fd, cover->streams[0].size, out, why);
        if (answer == MS_DECRYPT_CORRUPT && folder->encrypted)
            answer = MS_DECRYPT_WRONG_PASSWORD;
    }
    (void)close(fd);
    return answer == MS_DECRYPT_DONE && !cover->streams[0].has_crc ? MS_DECRYPT_MAYBE : answer;
}

static enum ms_decrypt_answer given_up(const struct ms_7z_reader *reader, const char **why)
{
    *why = reader->why ? reader->why : "damaged header";
    if (reader->limit)
        return MS_DECRYPT_LIMIT_MEMORY;
    return reader->unsupported ? MS_DECRYPT_UNSUPPORTED : MS_DECRYPT_CORRUPT;
}

/* Puts the units together: which folders have members, and whose the streams are. */
static enum ms_decrypt_answer list_units(struct sevenzip *self, const char **why)
{
    struct ms_7z_header *header = &self->header;
    size_t next = 0;
    self->folders =
        ms_arena_alloc_array(&self->arena, header->streams.folder_count, sizeof *self->folders);
    self->files = ms_arena_alloc_array(&self->arena, header->file_count, sizeof *self->files);
    *why = "no memory for the header";
    if (!self->folders || !self->files)
        return MS_DECRYPT_LIMIT_MEMORY;
    for (size_t i = 0; i < header->streams.folder_count; i++)
        if (header->streams.folders[i].stream_count)
            self->folders[self->folder_count++] = i;
    for (size_t i = 0; i < header->file_count; i++)
        if (header->files[i].has_stream)
            self->files[next++] = &header->files[i];
    for (size_t i = 0; i < header->file_count; i++)
        if (!header->files[i].has_stream && header->files[i].is_empty_file &&
            !header->files[i].is_anti)
            self->files[next + self->empty_count++] = &header->files[i];
    return MS_DECRYPT_DONE;
}

/* Reads what self->bytes holds, layer by layer. DONE or MAYBE: the header is read, or *locked says
 * that a password is needed (none given). */
static enum ms_decrypt_answer read_layers(struct sevenzip *self, struct ms_span password,
                                          bool *locked, const char **why)
{
    enum ms_decrypt_answer sure = MS_DECRYPT_DONE;
    *locked = false;
    for (unsigned layer = 0; layer < HEADER_LAYERS; layer++) {
        struct ms_7z_reader reader = {.rest = ms_span_of(self->bytes.data, self->bytes.len),
                                      .arena = &self->arena};
        uint64_t id;
        if (!ms_7z_number_take(&reader.rest, &id))
            return given_up(&reader, why);
        if (id == MS_7Z_HEADER)
            break;
        bool good = id == MS_7Z_ENCODED_HEADER && ms_7z_streams_read(&reader, &self->cover);
        self->encrypted |= reader.encrypted;
        if (!good || self->cover.folder_count != 1 || self->cover.stream_count != 1)
            return given_up(&reader, why);
        *locked = self->cover.folders[0].encrypted && !password.len;
        if (*locked)
            return MS_DECRYPT_DONE;
        struct ms_buf inner;
        ms_buf_init(&inner, MS_LIMIT_DECRYPT_HEADER_BYTES);
        enum ms_decrypt_answer answer = unpack_header(self, &self->cover, password, &inner, why);
        if (answer != MS_DECRYPT_DONE && answer != MS_DECRYPT_MAYBE) {
            ms_buf_release(&inner);
            return answer;
        }
        if (answer == MS_DECRYPT_MAYBE)
            sure = MS_DECRYPT_MAYBE;
        ms_buf_release(&self->bytes);
        self->bytes = inner;
    }
    struct ms_7z_reader reader = {.rest = ms_span_of(self->bytes.data, self->bytes.len),
                                  .arena = &self->arena};
    uint64_t id;
    bool good = ms_7z_number_take(&reader.rest, &id) && id == MS_7Z_HEADER &&
                ms_7z_header_read(&reader, &self->header);
    self->encrypted |= reader.encrypted;
    if (!good)
        /* Nothing but a checksum can say that the password was right. */
        return sure == MS_DECRYPT_MAYBE && password.len ? MS_DECRYPT_WRONG_PASSWORD
                                                        : given_up(&reader, why);
    enum ms_decrypt_answer answer = list_units(self, why);
    return answer == MS_DECRYPT_DONE ? sure : answer;
}

/* The start header, and the bytes of the header it points to, both with their checksums right. */
static bool read_start(struct sevenzip *self)
{
    uint8_t head[MS_7Z_START_BYTES];
    struct stat st;
    uint64_t at, n, end;
    uint32_t crc, header_crc;
    struct ms_span start = ms_span_of(head, sizeof head);
    if (!ms_decrypt_read(self->fd, 0, head, sizeof head) ||
        memcmp(head, "7z\xbc\xaf\x27\x1c", 6) != 0 || fstat(self->fd, &st) != 0)
        return false;
    self->file_bytes = (uint64_t)st.st_size;
    if (!ms_span_u32le(start, 8, &crc) || crc32_z(0, head + 12, 20) != crc ||
        !ms_span_u64le(start, 12, &at) || !ms_span_u64le(start, 20, &n) ||
        !ms_span_u32le(start, 28, &header_crc) || !n || n > MS_LIMIT_DECRYPT_HEADER_BYTES ||
        !ms_add_u64(at, MS_7Z_START_BYTES, &at) || !ms_add_u64(at, n, &end) ||
        end > self->file_bytes || ms_buf_reserve(&self->bytes, (size_t)n) != MS_OK ||
        !ms_decrypt_read(self->fd, at, self->bytes.data, (size_t)n))
        return false;
    self->bytes.len = (size_t)n;
    return crc32_z(0, self->bytes.data, self->bytes.len) == header_crc;
}

/* ---- the format ------------------------------------------------------------------------------ */

static void sevenzip_close(void *state)
{
    struct sevenzip *self = state;
    ms_arena_release(&self->arena);
    ms_buf_release(&self->bytes);
    free(self);
}

static struct sevenzip *sevenzip_new(int fd, struct ms_decrypt_keys *keys)
{
    struct sevenzip *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->fd = fd;
    self->keys = keys;
    ms_arena_init(&self->arena, 4 * MS_LIMIT_DECRYPT_HEADER_BYTES);
    ms_buf_init(&self->bytes, MS_LIMIT_DECRYPT_HEADER_BYTES);
    return self;
}

/* What is not encrypted, or damaged where that cannot be known yet, is left to libarchive, which
 * has its own words for damage. */
static enum ms_decrypt_answer sevenzip_open(int fd, struct ms_decrypt_keys *keys, void **state,
                                            bool *locked, const char **why)
{
    struct sevenzip *self = sevenzip_new(fd, keys);
    if (!self) {
        *why = "out of memory";
        return MS_DECRYPT_LIMIT_MEMORY;
    }
    enum ms_decrypt_answer answer = MS_DECRYPT_NOT_ENCRYPTED;
    if (read_start(self))
        answer = read_layers(self, ms_span_of("", 0), locked, why);
    bool encrypted = self->encrypted;
    if (encrypted && (answer == MS_DECRYPT_DONE || answer == MS_DECRYPT_MAYBE)) {
        *state = self;
        return MS_DECRYPT_DONE;
    }
    sevenzip_close(self);
    return encrypted ? answer : MS_DECRYPT_NOT_ENCRYPTED;
}

static enum ms_decrypt_answer sevenzip_unlock(void *state, struct ms_span password,
                                              const char **why)
{
    struct sevenzip *self = state;
    bool locked;
    struct sevenzip *fresh = sevenzip_new(self->fd, self->keys);
    *why = "out of memory";
    if (!fresh)
        return MS_DECRYPT_LIMIT_MEMORY;
    enum ms_decrypt_answer answer = MS_DECRYPT_CORRUPT;
    if (read_start(fresh))
        answer = read_layers(fresh, password, &locked, why);
    if (answer == MS_DECRYPT_DONE || answer == MS_DECRYPT_MAYBE) {
        struct sevenzip old = *self;
        *self = *fresh;
        *fresh = old;
    }
    sevenzip_close(fresh);
    return answer;
}

static size_t sevenzip_unit_count(const void *state)
{
    const struct sevenzip *self = state;
    return self->folder_count + (self->empty_count ? 1 : 0);
}

static bool sevenzip_unit_needs_password(const void *state, size_t unit)
{
    const struct sevenzip *self = state;
    return unit < self->folder_count && self->header.streams.folders[self->folders[unit]].encrypted;
}

static enum ms_decrypt_answer sevenzip_rewrite(void *state, size_t unit, struct ms_span password,
                                               int out_fd, uint64_t max_bytes, uint64_t *bytes,
                                               const char **why)
{
    const struct sevenzip *self = state;
    const struct ms_7z_streams *streams = &self->header.streams;
    *bytes = 0;
    if (unit >= self->folder_count)
        return ms_7z_write(out_fd, NULL, NULL, 0, NULL, self->files + streams->stream_count,
                           self->empty_count, bytes, why);
    const struct ms_7z_folder *folder = &streams->folders[self->folders[unit]];
    for (size_t i = 0; folder->encrypted && i < folder->stream_count; i++)
        if (!streams->streams[folder->first_stream + i].has_crc) {
            *why = "an encrypted member without a checksum, which alone tells the right password";
            return MS_DECRYPT_UNSUPPORTED;
        }
    return rewrite_folder(self, streams, folder, self->files + folder->first_stream, password,
                          out_fd, max_bytes, bytes, why);
}

const struct ms_decrypt_format ms_decrypt_7z = {
    .name = "7z",
    .open = sevenzip_open,
    .unlock = sevenzip_unlock,
    .unit_count = sevenzip_unit_count,
    .unit_needs_password = sevenzip_unit_needs_password,
    .rewrite = sevenzip_rewrite,
    .close = sevenzip_close,
};

/* Takes the AES coders out of a folder and writes small unencrypted 7z files. Moves no member's
 * bytes. */
#include "base/buf.h"
#include "base/decrypt_7z.h"
#include "base/limits.h"

#include <string.h>
#include <zlib.h>

/* ---- a folder without AES -------------------------------------------------------------------- */

/* A dictionary larger than what comes out is never used, yet libarchive would allocate it. */
static uint32_t fitting(uint32_t claimed, uint64_t unpack_size)
{
    uint64_t need = unpack_size < 4096 ? 4096 : unpack_size;
    return claimed < need ? claimed : (uint32_t)need;
}

static uint32_t lzma2_bytes(unsigned code)
{
    return code >= 40 ? UINT32_MAX : (uint32_t)(2 | (code & 1)) << (code / 2 + 11);
}

/* Copies the coder with a dictionary no larger than it needs. */
static enum ms_decrypt_answer take_coder(const struct ms_7z_coder *coder, struct ms_7z_coder *out,
                                         uint8_t properties[5], const char **why)
{
    uint32_t memory = 0;
    *out = *coder;
    *why = "a decoder that takes more memory than it may";
    if (ms_span_u32le(coder->properties, 1, &memory) && coder->properties.len == 5)
        memcpy(properties, coder->properties.data, 5);
    if (ms_7z_coder_is(coder, "\x03\x01\x01", 3) && coder->properties.len == 5) {
        memory = fitting(memory, coder->unpack_size);
        for (unsigned i = 0; i < 4; i++)
            properties[1 + i] = (uint8_t)(memory >> (8 * i));
        out->properties = ms_span_of(properties, 5);
    } else if (ms_7z_coder_is(coder, "\x21", 1) && coder->properties.len == 1) {
        unsigned code = coder->properties.data[0];
        if (code > 40) {
            *why = "LZMA2 with unknown settings";
            return MS_DECRYPT_CORRUPT;
        }
        while (code && lzma2_bytes(code - 1) >= coder->unpack_size)
            code--;
        memory = lzma2_bytes(code);
        properties[0] = (uint8_t)code;
        out->properties = ms_span_of(properties, 1);
    } else if (!ms_7z_coder_is(coder, "\x03\x04\x01", 3)) {
        memory = 0; /* only LZMA, LZMA2 and PPMd let the archive choose */
    }
    return memory > MS_LIMIT_DECRYPT_DICTIONARY_BYTES ? MS_DECRYPT_LIMIT_MEMORY : MS_DECRYPT_DONE;
}

/* The first in-stream of each coder. */
static void in_bases(const struct ms_7z_folder *folder, unsigned bases[MS_7Z_CODERS])
{
    unsigned at = 0;
    for (unsigned i = 0; i < folder->coder_count; i++) {
        bases[i] = at;
        at += folder->coders[i].in_count;
    }
}

/* Nothing but AES: the pack stream is the member. */
static enum ms_decrypt_answer lone(const struct ms_7z_folder *folder, struct ms_7z_plain *out)
{
    out->coders[0] = (struct ms_7z_coder){.id = ms_span_of("", 1),
                                          .properties = ms_span_of("", 0),
                                          .in_count = 1,
                                          .unpack_size = folder->coders[0].unpack_size};
    out->folder.coders = out->coders;
    out->folder.coder_count = out->folder.in_count = out->folder.packed_count = 1;
    out->aes[0] = 0;
    return MS_DECRYPT_DONE;
}

/* Which coder decrypts each pack stream, and which in-stream is fed by it then (in the old
 * numbers). */
static bool splice(const struct ms_7z_folder *folder, struct ms_7z_plain *out,
                   unsigned fed[MS_7Z_CODERS])
{
    unsigned aes = 0, spliced = 0;
    for (unsigned i = 0; i < folder->coder_count; i++) {
        aes += ms_7z_coder_is_aes(&folder->coders[i]);
        if (ms_7z_coder_is_aes(&folder->coders[i]) && folder->coders[i].in_count != 1)
            return false;
    }
    for (unsigned p = 0; p < folder->packed_count; p++) {
        unsigned coder = ms_7z_coder_of_in(folder, folder->packed[p]);
        out->aes[p] = -1;
        fed[p] = folder->packed[p];
        if (!ms_7z_coder_is_aes(&folder->coders[coder]))
            continue;
        for (unsigned b = 0; b < folder->bind_count; b++)
            if (folder->bind_out[b] == coder) {
                fed[p] = folder->bind_in[b];
                out->aes[p] = (int)coder;
                spliced++;
            }
    }
    /* AES behind another decoder, or AES on AES: no program writes that. */
    for (unsigned p = 0; p < folder->packed_count; p++)
        if (out->aes[p] >= 0 &&
            ms_7z_coder_is_aes(&folder->coders[ms_7z_coder_of_in(folder, fed[p])]))
            return false;
    return aes == spliced;
}

/* Methods that libarchive 3.6 does not decode: said before any password is tried, which would not
 * help. */
static const char *refusal_of(const struct ms_7z_folder *folder)
{
    static const struct {
        const char *id;
        size_t n;
        const char *why;
    } refused[] = {{"\x04\x01\x09", 3, "7z method Deflate64 is not supported"},
                   {"\x0a", 1, "7z filter ARM64 is not supported"},
                   {"\x0b", 1, "7z filter RISCV is not supported"},
                   {"\x02\x03\x02", 3, "7z filter Swap2 is not supported"},
                   {"\x02\x03\x04", 3, "7z filter Swap4 is not supported"}};
    for (unsigned i = 0; i < folder->coder_count; i++)
        for (size_t j = 0; j < sizeof refused / sizeof *refused; j++)
            if (ms_7z_coder_is(&folder->coders[i], refused[j].id, refused[j].n))
                return refused[j].why;
    return NULL;
}

enum ms_decrypt_answer ms_7z_plain_of(const struct ms_7z_folder *folder, struct ms_7z_plain *out,
                                      const char **why)
{
    unsigned old_base[MS_7Z_CODERS], new_base[MS_7Z_CODERS] = {0}, place[MS_7Z_CODERS] = {0};
    unsigned fed[MS_7Z_CODERS];
    struct ms_7z_folder *to = &out->folder;
    memset(out, 0, sizeof *out);
    if (folder->encrypted && folder->coder_count == 1 && folder->coders[0].in_count == 1)
        return lone(folder, out);
    *why = refusal_of(folder);
    if (*why)
        return MS_DECRYPT_UNSUPPORTED;
    *why = "AES in an unknown place among the decoders";
    if (!splice(folder, out, fed))
        return MS_DECRYPT_UNSUPPORTED;
    to->coders = out->coders;
    for (unsigned i = 0; i < folder->coder_count; i++) {
        if (ms_7z_coder_is_aes(&folder->coders[i]))
            continue;
        enum ms_decrypt_answer answer =
            take_coder(&folder->coders[i], &out->coders[to->coder_count],
                       out->properties[to->coder_count], why);
        if (answer != MS_DECRYPT_DONE)
            return answer;
        place[i] = to->coder_count++;
        new_base[i] = to->in_count;
        to->in_count += folder->coders[i].in_count;
    }
    in_bases(folder, old_base);
    to->packed_count = folder->packed_count;
    for (unsigned p = 0; p < folder->packed_count; p++) {
        unsigned coder = ms_7z_coder_of_in(folder, fed[p]);
        to->packed[p] = (uint8_t)(new_base[coder] + fed[p] - old_base[coder]);
    }
    for (unsigned b = 0; b < folder->bind_count; b++) {
        unsigned in = folder->bind_in[b];
        unsigned coder = ms_7z_coder_of_in(folder, in);
        if (ms_7z_coder_is_aes(&folder->coders[folder->bind_out[b]]))
            continue;
        to->bind_in[to->bind_count] = (uint8_t)(new_base[coder] + in - old_base[coder]);
        to->bind_out[to->bind_count++] = (uint8_t)place[folder->bind_out[b]];
    }
    return MS_DECRYPT_DONE;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_byte(struct ms_buf *to, unsigned byte)
{
    (void)ms_buf_append_byte(to, (uint8_t)byte);
}

static void put_number(struct ms_buf *to, uint64_t value)
{
    unsigned first = 0, mask = 0x80, more = 0;
    while (more < 8 && value >> (7 * (more + 1))) {
        first |= mask;
        mask >>= 1;
        more++;
    }
    if (more < 8)
        first |= (unsigned)(value >> (8 * more));
    put_byte(to, first);
    for (unsigned i = 0; i < more; i++)
        put_byte(to, (unsigned)(value >> (8 * i)) & 0xff);
}

static void put_u32(struct ms_buf *to, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        put_byte(to, (value >> (8 * i)) & 0xff);
}

/* A bit a file, first one highest. */
static void put_bits(struct ms_buf *to, const bool *bits, size_t n)
{
    for (size_t at = 0; at < n; at += 8) {
        unsigned byte = 0;
        for (size_t i = at; i < n && i < at + 8; i++)
            byte |= (unsigned)bits[i] << (7 - (i - at));
        put_byte(to, byte);
    }
}

static void put_folder(struct ms_buf *to, const struct ms_7z_folder *folder)
{
    put_number(to, folder->coder_count);
    for (unsigned i = 0; i < folder->coder_count; i++) {
        const struct ms_7z_coder *coder = &folder->coders[i];
        put_byte(to, (unsigned)coder->id.len | (coder->in_count > 1 ? 0x10 : 0) |
                         (coder->properties.len ? 0x20 : 0));
        (void)ms_buf_append(to, coder->id.data, coder->id.len);
        if (coder->in_count > 1) {
            put_number(to, coder->in_count);
            put_number(to, 1);
        }
        if (coder->properties.len) {
            put_number(to, coder->properties.len);
            (void)ms_buf_append(to, coder->properties.data, coder->properties.len);
        }
    }
    for (unsigned i = 0; i < folder->bind_count; i++) {
        put_number(to, folder->bind_in[i]);
        put_number(to, folder->bind_out[i]);
    }
    for (unsigned i = 0; folder->packed_count > 1 && i < folder->packed_count; i++)
        put_number(to, folder->packed[i]);
}

static void put_streams(struct ms_buf *to, const struct ms_7z_folder *folder,
                        const uint64_t *pack_sizes, const struct ms_7z_stream *streams,
                        size_t count)
{
    put_byte(to, MS_7Z_MAIN_STREAMS);
    put_byte(to, MS_7Z_PACK);
    put_number(to, 0);
    put_number(to, folder->packed_count);
    put_byte(to, MS_7Z_SIZE);
    for (unsigned i = 0; i < folder->packed_count; i++)
        put_number(to, pack_sizes[i]);
    put_byte(to, MS_7Z_END);
    put_byte(to, MS_7Z_UNPACK);
    put_byte(to, MS_7Z_FOLDER);
    put_number(to, 1);
    put_byte(to, 0);
    put_folder(to, folder);
    put_byte(to, MS_7Z_UNPACK_SIZE);
    for (unsigned i = 0; i < folder->coder_count; i++)
        put_number(to, folder->coders[i].unpack_size);
    put_byte(to, MS_7Z_END);
    put_byte(to, MS_7Z_SUBSTREAMS);
    put_byte(to, MS_7Z_STREAM_COUNT);
    put_number(to, count);
    if (count > 1)
        put_byte(to, MS_7Z_SIZE);
    for (size_t i = 0; i + 1 < count; i++)
        put_number(to, streams[i].size);
    put_byte(to, MS_7Z_CRC);
    bool all = true;
    for (size_t i = 0; i < count; i++)
        all &= streams[i].has_crc;
    put_byte(to, all);
    for (size_t i = 0; !all && i < count; i += 8) {
        bool defined[8] = {false};
        for (size_t k = 0; k < 8 && i + k < count; k++)
            defined[k] = streams[i + k].has_crc;
        put_bits(to, defined, 8);
    }
    for (size_t i = 0; i < count; i++)
        if (streams[i].has_crc)
            put_u32(to, streams[i].crc);
    put_byte(to, MS_7Z_END);
    put_byte(to, MS_7Z_END);
}

/* One property whose every file has a bit, all of them set. */
static void put_all_set(struct ms_buf *to, unsigned id, size_t count)
{
    static const bool ones[8] = {true, true, true, true, true, true, true, true};
    put_byte(to, id);
    put_number(to, (count + 7) / 8);
    for (size_t left = count; left;) {
        size_t part = left < 8 ? left : 8;
        put_bits(to, ones, part);
        left -= part;
    }
}

static void put_files(struct ms_buf *to, const struct ms_7z_file *const *files, size_t count,
                      bool empty)
{
    uint64_t names = 1;
    put_byte(to, MS_7Z_FILES);
    put_number(to, count);
    if (empty) {
        put_all_set(to, MS_7Z_EMPTY_STREAM, count);
        put_all_set(to, MS_7Z_EMPTY_FILE, count);
    }
    for (size_t i = 0; i < count; i++)
        names += files[i]->name.len + 2;
    put_byte(to, MS_7Z_NAMES);
    put_number(to, names);
    put_byte(to, 0);
    for (size_t i = 0; i < count; i++) {
        (void)ms_buf_append(to, files[i]->name.data, files[i]->name.len);
        put_byte(to, 0);
        put_byte(to, 0);
    }
    /* They tell links from files; one that is not there is written as none. */
    put_byte(to, MS_7Z_ATTRIBUTES);
    put_number(to, 2 + 4 * (uint64_t)count);
    put_byte(to, 1);
    put_byte(to, 0);
    for (size_t i = 0; i < count; i++)
        put_u32(to, files[i]->has_attributes ? files[i]->attributes : 0);
    put_byte(to, MS_7Z_END);
}

static uint32_t crc_of(const struct ms_buf *of)
{
    return (uint32_t)crc32_z(0, of->data, of->len);
}

enum ms_decrypt_answer ms_7z_write(int fd, const struct ms_7z_folder *folder,
                                   const uint64_t *pack_sizes, uint64_t pack_bytes,
                                   const struct ms_7z_stream *streams,
                                   const struct ms_7z_file *const *files, size_t count,
                                   uint64_t *bytes, const char **why)
{
    struct ms_buf header, tail, start;
    uint64_t at = MS_7Z_START_BYTES + pack_bytes;
    ms_buf_init(&header, 2 * MS_LIMIT_DECRYPT_HEADER_BYTES);
    ms_buf_init(&tail, MS_7Z_START_BYTES);
    ms_buf_init(&start, MS_7Z_START_BYTES);
    put_byte(&header, MS_7Z_HEADER);
    if (folder)
        put_streams(&header, folder, pack_sizes, streams, count);
    put_files(&header, files, count, folder == NULL);
    put_byte(&header, MS_7Z_END);
    /* What the start header's checksum covers: where the header is, its size and checksum. */
    for (unsigned i = 0; i < 8; i++)
        put_byte(&tail, (unsigned)(pack_bytes >> (8 * i)) & 0xff);
    for (unsigned i = 0; i < 8; i++)
        put_byte(&tail, (unsigned)((uint64_t)header.len >> (8 * i)) & 0xff);
    put_u32(&tail, header.len ? crc_of(&header) : 0);
    (void)ms_buf_append(&start, "7z\xbc\xaf\x27\x1c\0\4", 8);
    put_u32(&start, tail.len ? crc_of(&tail) : 0);
    (void)ms_buf_append(&start, tail.data, tail.len);
    enum ms_decrypt_answer answer = MS_DECRYPT_DONE;
    if (header.failed || tail.failed || start.failed ||
        !ms_decrypt_write(fd, 0, start.data, start.len) ||
        !ms_decrypt_write(fd, at, header.data, header.len)) {
        answer = MS_DECRYPT_LIMIT_MEMORY;
        *why = "no memory for the header";
    }
    *bytes = at + header.len;
    ms_buf_release(&header);
    ms_buf_release(&tail);
    ms_buf_release(&start);
    return answer;
}

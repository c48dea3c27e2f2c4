/* The structure of a 7z file as far as decryption needs it; for base/decrypt_7z*.c alone. Source:
 * 7zFormat.txt of the LZMA SDK. */
#ifndef MS_BASE_DECRYPT_7Z_H
#define MS_BASE_DECRYPT_7Z_H

#include "base/arena.h"
#include "base/decrypt.h"

/* 7-Zip's own cap on coders of a folder and on their streams. */
enum { MS_7Z_CODERS = 32, MS_7Z_START_BYTES = 32 };

enum ms_7z_id {
    MS_7Z_END,
    MS_7Z_HEADER,
    MS_7Z_ARCHIVE_PROPERTIES,
    MS_7Z_ADDITIONAL_STREAMS,
    MS_7Z_MAIN_STREAMS,
    MS_7Z_FILES,
    MS_7Z_PACK,
    MS_7Z_UNPACK,
    MS_7Z_SUBSTREAMS,
    MS_7Z_SIZE,
    MS_7Z_CRC,
    MS_7Z_FOLDER,
    MS_7Z_UNPACK_SIZE,
    MS_7Z_STREAM_COUNT,
    MS_7Z_EMPTY_STREAM,
    MS_7Z_EMPTY_FILE,
    MS_7Z_ANTI,
    MS_7Z_NAMES,
    MS_7Z_ATTRIBUTES = 0x15,
    MS_7Z_ENCODED_HEADER = 0x17
};

/* A size and, where the archive has one, the CRC-32 of the bytes. */
struct ms_7z_stream {
    uint64_t size;
    uint32_t crc;
    bool has_crc;
};

/* One decoder: in_count streams in, one out. */
struct ms_7z_coder {
    struct ms_span id;
    struct ms_span properties;
    unsigned in_count;
    uint64_t unpack_size;
};

/* Coders and how they hang together: in-stream bind_in[i] is fed by coder bind_out[i], in-stream
 * packed[i] by pack stream first_pack + i. In-streams are numbered through all coders. */
struct ms_7z_folder {
    struct ms_7z_coder *coders;
    unsigned coder_count, in_count, bind_count, packed_count;
    uint8_t bind_in[MS_7Z_CODERS], bind_out[MS_7Z_CODERS], packed[MS_7Z_CODERS];
    uint32_t crc;
    bool has_crc;
    bool encrypted; /* one of the coders is AES */
    size_t first_pack;
    size_t first_stream, stream_count; /* its members, in ms_7z_streams.streams */
};

struct ms_7z_streams {
    uint64_t pack_at; /* of the first pack stream, in the file */
    uint64_t *pack_sizes;
    uint64_t *pack_offsets; /* in the file */
    size_t pack_count;
    struct ms_7z_folder *folders;
    size_t folder_count;
    struct ms_7z_stream *streams;
    size_t stream_count;
};

struct ms_7z_file {
    struct ms_span name; /* UTF-16LE without its end */
    uint32_t attributes;
    bool has_stream, is_empty_file, is_anti, has_attributes;
};

struct ms_7z_header {
    struct ms_7z_streams streams;
    struct ms_7z_file *files;
    size_t file_count;
};

/* A reader; why and limit say why it gave up. Results live in the arena and borrow from `rest`. */
struct ms_7z_reader {
    struct ms_span rest;
    struct ms_arena *arena;
    const char *why;
    bool limit, unsupported;
    bool encrypted; /* an AES coder was seen, whether or not the rest could be read */
};

/* PackInfo, UnpackInfo and SubStreamsInfo behind the id that announces them. */
bool ms_7z_streams_read(struct ms_7z_reader *reader, struct ms_7z_streams *out);
/* What follows the header's id, to its end. */
bool ms_7z_header_read(struct ms_7z_reader *reader, struct ms_7z_header *out);
/* The number format: the leading ones of the first byte count the bytes that follow. */
bool ms_7z_number_take(struct ms_span *self, uint64_t *out);

bool ms_7z_coder_is(const struct ms_7z_coder *coder, const char *id, size_t n);
bool ms_7z_coder_is_aes(const struct ms_7z_coder *coder);
/* The highest coder fed by in-stream `in`; the coder's index. */
unsigned ms_7z_coder_of_in(const struct ms_7z_folder *folder, unsigned in);

/* The folder without its AES coders, in storage of the caller; what they fed is fed by the pack
 * streams. aes[i]: the index of the coder that decrypts pack stream i, -1 for none. */
struct ms_7z_plain {
    struct ms_7z_folder folder;
    struct ms_7z_coder coders[MS_7Z_CODERS];
    uint8_t properties[MS_7Z_CODERS][5];
    int aes[MS_7Z_CODERS];
};
enum ms_decrypt_answer ms_7z_plain_of(const struct ms_7z_folder *folder, struct ms_7z_plain *out,
                                      const char **why);

/* Writes start header and header around `pack_bytes` of pack streams that already stand behind the
 * place of the start header. folder NULL: files without bytes. *bytes: the size of the file. */
enum ms_decrypt_answer ms_7z_write(int fd, const struct ms_7z_folder *folder,
                                   const uint64_t *pack_sizes, uint64_t pack_bytes,
                                   const struct ms_7z_stream *streams,
                                   const struct ms_7z_file *const *files, size_t count,
                                   uint64_t *bytes, const char **why);

#endif

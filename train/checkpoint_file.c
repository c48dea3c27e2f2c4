/* Writes and reads one checkpoint file. A file is read only when it has the blocks that are asked
 * for, in their order, and nothing else. */
#include "train/checkpoint_file.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/span.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[] = {{"F32", 4}, {"F64", 8}, {"U64", 8}};

size_t ms_checkpoint_bytes(const struct ms_checkpoint_block *block)
{
    return block->count * types[block->type].size;
}

static bool is_part(const struct ms_checkpoint_block *block, bool finished)
{
    return block->count > 0 && (!finished || block->lasting);
}

static enum ms_status no_memory(struct ms_error *err)
{
    return ms_error_set(err, MS_E_NOMEM, "out of memory for a checkpoint");
}

static enum ms_status digest_of(const struct ms_checkpoint_block *blocks, size_t count,
                                bool finished, char hex[MS_HASH_HEX_MAX], struct ms_error *err)
{
    struct ms_hasher *hasher;
    struct ms_digests digests;
    enum ms_status status = ms_hasher_new(MS_HASH_SHA256, &hasher, err);
    if (status != MS_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        if (is_part(&blocks[i], finished))
            ms_hasher_update(hasher, blocks[i].data, ms_checkpoint_bytes(&blocks[i]));
    status = ms_hasher_finish(hasher, &digests, err);
    if (status == MS_OK)
        ms_hex_encode(digests.sha256, MS_SHA256_BYTES, hex);
    ms_hasher_free(hasher);
    return status;
}

/* The whole header as it must be; a reader compares with it. */
static json_t *make_header(const char *format, const struct ms_checkpoint_block *blocks,
                           size_t count, bool finished, const char *digest)
{
    json_t *header = json_object();
    (void)json_object_set_new(header, "__metadata__",
                              json_pack("{s:s, s:s, s:s}", "format", format, "state",
                                        finished ? "finished" : "running", "sha256", digest));
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const struct ms_checkpoint_block *b = &blocks[i];
        if (!is_part(b, finished))
            continue;
        size_t end = at + ms_checkpoint_bytes(b);
        (void)json_object_set_new(header, b->name,
                                  json_pack("{s:s, s:[I], s:[I, I]}", "dtype", types[b->type].name,
                                            "shape", (json_int_t)b->count, "data_offsets",
                                            (json_int_t)at, (json_int_t)end));
        at = end;
    }
    return header;
}

static enum ms_status write_parts(FILE *file, const struct ms_buf *head,
                                  const struct ms_checkpoint_block *blocks, size_t count,
                                  bool finished)
{
    bool good = fwrite(head->data, 1, head->len, file) == head->len;
    for (size_t i = 0; i < count && good; i++)
        if (is_part(&blocks[i], finished))
            good = fwrite(blocks[i].data, 1, ms_checkpoint_bytes(&blocks[i]), file) ==
                   ms_checkpoint_bytes(&blocks[i]);
    return good ? MS_OK : MS_E_IO;
}

enum ms_status ms_checkpoint_write(const char *path, const char *format,
                                   const struct ms_checkpoint_block *blocks, size_t count,
                                   bool finished, struct ms_error *err)
{
    char digest[MS_HASH_HEX_MAX];
    struct ms_buf head;
    struct ms_file_stream stream;
    enum ms_status status = digest_of(blocks, count, finished, digest, err);
    if (status != MS_OK)
        return status;
    json_t *header = make_header(format, blocks, count, finished, digest);
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    ms_buf_init(&head, MS_LIMIT_CHECKPOINT_RECORD_BYTES);
    size_t length = text ? strlen(text) : 0, padded = (length + 7) / 8 * 8;
    for (int i = 0; i < 8; i++)
        (void)ms_buf_append_byte(&head, (uint8_t)((uint64_t)padded >> (8 * i)));
    (void)ms_buf_append(&head, text, length);
    for (; length < padded; length++)
        (void)ms_buf_append_byte(&head, ' ');
    status = text && !head.failed ? ms_file_stream_open(path, 0600, &stream, err) : no_memory(err);
    free(text);
    if (status == MS_OK && write_parts(stream.file, &head, blocks, count, finished) != MS_OK) {
        status = ms_error_set_errno(err, MS_E_IO, errno, "cannot write '%s'", path);
        ms_file_stream_abort(&stream);
    } else if (status == MS_OK) {
        status = ms_file_stream_commit(&stream, err);
    }
    ms_buf_release(&head);
    return status;
}

/* Header and tensors of the bytes; *finished as its metadata say. */
static enum ms_status split(struct ms_span bytes, json_t **header, struct ms_span *data,
                            bool *finished, struct ms_error *err)
{
    uint64_t length;
    struct ms_span text;
    json_error_t why;
    if (!ms_span_take_u64le(&bytes, &length) || length > MS_LIMIT_CHECKPOINT_RECORD_BYTES ||
        !ms_span_take(&bytes, length, &text))
        return ms_error_set(err, MS_E_INPUT, "it is damaged: its header is cut short");
    *header = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    const char *state =
        json_string_value(json_object_get(json_object_get(*header, "__metadata__"), "state"));
    if (!state)
        return ms_error_set(err, MS_E_INPUT, "it is damaged: its header cannot be read");
    *finished = strcmp(state, "finished") == 0;
    *data = bytes;
    return MS_OK;
}

static enum ms_status check(const char *format, const json_t *header, struct ms_span data,
                            const struct ms_checkpoint_block *blocks, size_t count, bool finished,
                            struct ms_error *err)
{
    uint8_t digest[MS_SHA256_BYTES];
    char hex[MS_HASH_HEX_MAX];
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += is_part(&blocks[i], finished) ? ms_checkpoint_bytes(&blocks[i]) : 0;
    if (ms_hash_sha256(data.data, data.len, digest) != MS_OK)
        return no_memory(err);
    ms_hex_encode(digest, sizeof digest, hex);
    json_t *due = make_header(format, blocks, count, finished, hex);
    bool same = json_equal(header, due) != 0 && data.len == bytes;
    const char *said =
        json_string_value(json_object_get(json_object_get(header, "__metadata__"), "sha256"));
    bool whole = said && strcmp(said, hex) == 0;
    json_decref(due);
    if (same)
        return MS_OK;
    return ms_error_set(err, MS_E_INPUT,
                        whole ? "it holds another state than this training has"
                              : "it is damaged: its bytes are not those of its digest");
}

enum ms_status ms_checkpoint_read(const char *path, const char *format,
                                  const struct ms_checkpoint_block *blocks, size_t count,
                                  bool *finished, struct ms_error *err)
{
    struct ms_buf file;
    json_t *header = NULL;
    struct ms_span data = {0};
    ms_buf_init(&file, MS_LIMIT_CHECKPOINT_BYTES);
    enum ms_status status = ms_file_read(path, &file, err);
    if (status == MS_OK)
        status = split(ms_span_of(file.data, file.len), &header, &data, finished, err);
    if (status == MS_OK)
        status = check(format, header, data, blocks, count, *finished, err);
    size_t at = 0;
    for (size_t i = 0; i < count && status == MS_OK; i++)
        if (is_part(&blocks[i], *finished)) {
            memcpy(blocks[i].data, data.data + at, ms_checkpoint_bytes(&blocks[i]));
            at += ms_checkpoint_bytes(&blocks[i]);
        }
    json_decref(header);
    ms_buf_release(&file);
    return status;
}

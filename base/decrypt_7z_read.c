/* Reads the structure of a 7z file out of its plain header. Decrypts and decodes nothing. */
#include "base/decrypt_7z.h"
#include "base/limits.h"

#include <string.h>

bool ms_7z_number_take(struct ms_span *self, uint64_t *out)
{
    struct ms_span rest = *self;
    uint8_t first, byte;
    uint64_t value = 0;
    if (!ms_span_take_u8(&rest, &first))
        return false;
    unsigned mask = 0x80;
    for (unsigned i = 0; i < 8; i++, mask >>= 1) {
        if (!(first & mask)) {
            value |= (uint64_t)(first & (mask - 1)) << (8 * i);
            break;
        }
        if (!ms_span_take_u8(&rest, &byte))
            return false;
        value |= (uint64_t)byte << (8 * i);
    }
    *self = rest;
    *out = value;
    return true;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static bool give_up(struct ms_7z_reader *reader, const char *why)
{
    reader->why = why;
    return false;
}

static bool beyond(struct ms_7z_reader *reader, const char *why)
{
    reader->limit = true;
    return give_up(reader, why);
}

static bool take_number(struct ms_7z_reader *reader, uint64_t *out)
{
    return ms_7z_number_take(&reader->rest, out) || give_up(reader, "header cut short");
}

static bool take_byte(struct ms_7z_reader *reader, uint8_t *out)
{
    return ms_span_take_u8(&reader->rest, out) || give_up(reader, "header cut short");
}

/* A count of things to come. */
static bool take_count(struct ms_7z_reader *reader, size_t *out)
{
    uint64_t value;
    if (!take_number(reader, &value))
        return false;
    if (value > MS_LIMIT_DECRYPT_ITEMS)
        return beyond(reader, "more parts than a header may have");
    *out = (size_t)value;
    return true;
}

static bool take_id(struct ms_7z_reader *reader, uint64_t wanted)
{
    uint64_t id;
    return take_number(reader, &id) &&
           (id == wanted || give_up(reader, "header with parts out of order"));
}

/* Parts kept in another stream: no program is known to write them. */
static bool refuse_external(struct ms_7z_reader *reader)
{
    uint8_t external;
    if (!take_byte(reader, &external))
        return false;
    if (external) {
        reader->unsupported = true;
        return give_up(reader, "7z header with external parts");
    }
    return true;
}

static void *room(struct ms_7z_reader *reader, size_t count, size_t size)
{
    void *out = ms_arena_alloc_array(reader->arena, count, size);
    if (!out)
        (void)beyond(reader, "no memory for the header");
    return out;
}

/* n bits, first bit highest, one a byte in *out. */
static bool take_bits(struct ms_7z_reader *reader, size_t n, uint8_t **out)
{
    struct ms_span bytes;
    if (!ms_span_take(&reader->rest, (n + 7) / 8, &bytes))
        return give_up(reader, "header cut short");
    *out = room(reader, n, 1);
    for (size_t i = 0; *out && i < n; i++)
        (*out)[i] = (bytes.data[i / 8] >> (7 - i % 8)) & 1;
    return *out != NULL;
}

/* "All defined", or bits that say which are. */
static bool take_defined(struct ms_7z_reader *reader, size_t n, uint8_t **out)
{
    uint8_t all;
    if (!take_byte(reader, &all))
        return false;
    if (!all)
        return take_bits(reader, n, out);
    *out = room(reader, n, 1);
    if (*out)
        memset(*out, 1, n);
    return *out != NULL;
}

struct digest {
    uint32_t crc;
    bool defined;
};

static bool take_digests(struct ms_7z_reader *reader, size_t n, struct digest **out)
{
    uint8_t *defined;
    if (!take_defined(reader, n, &defined))
        return false;
    *out = room(reader, n, sizeof **out);
    if (!*out)
        return false;
    for (size_t i = 0; i < n; i++) {
        (*out)[i].defined = defined[i];
        if (defined[i] && !ms_span_take_u32le(&reader->rest, &(*out)[i].crc))
            return give_up(reader, "header cut short");
    }
    return true;
}

/* ---- folders --------------------------------------------------------------------------------- */

bool ms_7z_coder_is(const struct ms_7z_coder *coder, const char *id, size_t n)
{
    return ms_span_equal(coder->id, ms_span_of(id, n));
}

bool ms_7z_coder_is_aes(const struct ms_7z_coder *coder)
{
    return ms_7z_coder_is(coder, "\x06\xf1\x07\x01", 4);
}

unsigned ms_7z_coder_of_in(const struct ms_7z_folder *folder, unsigned in)
{
    unsigned coder = 0;
    while (coder + 1 < folder->coder_count && in >= folder->coders[coder].in_count)
        in -= folder->coders[coder++].in_count;
    return coder;
}

static bool take_coder(struct ms_7z_reader *reader, struct ms_7z_coder *out)
{
    uint8_t flags;
    uint64_t in = 1, outs = 1, size = 0;
    if (!take_byte(reader, &flags))
        return false;
    if (!ms_span_take(&reader->rest, flags & 15, &out->id))
        return give_up(reader, "header cut short");
    if ((flags & 0x10) && (!take_number(reader, &in) || !take_number(reader, &outs)))
        return false;
    if ((flags & 0x20) && !take_number(reader, &size))
        return false;
    if (!ms_span_take(&reader->rest, size, &out->properties))
        return give_up(reader, "header cut short");
    if ((flags & 0xc0) || !in || in > MS_7Z_CODERS || outs != 1)
        return give_up(reader, "coder of an unknown shape");
    out->in_count = (unsigned)in;
    reader->encrypted |= ms_7z_coder_is_aes(out);
    return true;
}

/* Every in-stream is fed once, every coder but the last feeds one. */
static bool take_links(struct ms_7z_reader *reader, struct ms_7z_folder *folder)
{
    uint64_t in, out;
    bool fed[MS_7Z_CODERS] = {false}, feeds[MS_7Z_CODERS] = {false};
    folder->bind_count = folder->coder_count - 1;
    if (folder->in_count < folder->bind_count + 1)
        return give_up(reader, "coders that do not hang together");
    for (unsigned i = 0; i < folder->bind_count; i++) {
        if (!take_number(reader, &in) || !take_number(reader, &out))
            return false;
        if (in >= folder->in_count || out >= folder->coder_count || fed[in] || feeds[out])
            return give_up(reader, "coders that do not hang together");
        fed[in] = feeds[out] = true;
        folder->bind_in[i] = (uint8_t)in;
        folder->bind_out[i] = (uint8_t)out;
    }
    folder->packed_count = folder->in_count - folder->bind_count;
    for (unsigned i = 0; i < folder->packed_count; i++) {
        in = 0;
        while (folder->packed_count == 1 && in < folder->in_count && fed[in])
            in++;
        if (folder->packed_count > 1 && !take_number(reader, &in))
            return false;
        if (in >= folder->in_count || fed[in])
            return give_up(reader, "coders that do not hang together");
        fed[in] = true;
        folder->packed[i] = (uint8_t)in;
    }
    return true;
}

static bool take_folder(struct ms_7z_reader *reader, struct ms_7z_folder *folder)
{
    uint64_t coders;
    if (!take_number(reader, &coders))
        return false;
    if (!coders || coders > MS_7Z_CODERS)
        return give_up(reader, "folder with too many coders, or none");
    folder->coder_count = (unsigned)coders;
    folder->coders = room(reader, folder->coder_count, sizeof *folder->coders);
    if (!folder->coders)
        return false;
    for (unsigned i = 0; i < folder->coder_count; i++) {
        if (!take_coder(reader, &folder->coders[i]))
            return false;
        folder->in_count += folder->coders[i].in_count;
        folder->encrypted |= ms_7z_coder_is_aes(&folder->coders[i]);
    }
    if (folder->in_count > MS_7Z_CODERS)
        return give_up(reader, "folder with too many streams");
    return take_links(reader, folder);
}

/* The out-stream that feeds nothing: what the folder gives. */
static uint64_t folder_size(const struct ms_7z_folder *folder)
{
    for (unsigned coder = 0; coder < folder->coder_count; coder++) {
        bool feeds = false;
        for (unsigned i = 0; i < folder->bind_count; i++)
            feeds |= folder->bind_out[i] == coder;
        if (!feeds)
            return folder->coders[coder].unpack_size;
    }
    return 0;
}

static bool take_unpack(struct ms_7z_reader *reader, struct ms_7z_streams *out)
{
    uint64_t id;
    struct digest *digests;
    if (!take_id(reader, MS_7Z_FOLDER) || !take_count(reader, &out->folder_count) ||
        !refuse_external(reader))
        return false;
    /* A folder takes two bytes at least. */
    if (out->folder_count > reader->rest.len / 2)
        return give_up(reader, "header cut short");
    out->folders = room(reader, out->folder_count, sizeof *out->folders);
    if (!out->folders)
        return false;
    for (size_t i = 0; i < out->folder_count; i++)
        if (!take_folder(reader, &out->folders[i]))
            return false;
    if (!take_id(reader, MS_7Z_UNPACK_SIZE))
        return false;
    for (size_t i = 0; i < out->folder_count; i++)
        for (unsigned coder = 0; coder < out->folders[i].coder_count; coder++)
            if (!take_number(reader, &out->folders[i].coders[coder].unpack_size))
                return false;
    if (!take_number(reader, &id))
        return false;
    if (id == MS_7Z_CRC) {
        if (!take_digests(reader, out->folder_count, &digests) || !take_number(reader, &id))
            return false;
        for (size_t i = 0; i < out->folder_count; i++) {
            out->folders[i].crc = digests[i].crc;
            out->folders[i].has_crc = digests[i].defined;
        }
    }
    return id == MS_7Z_END || give_up(reader, "header with parts out of order");
}

/* ---- pack streams and members ---------------------------------------------------------------- */

static bool take_pack(struct ms_7z_reader *reader, struct ms_7z_streams *out)
{
    uint64_t id, at;
    struct digest *unused;
    if (!take_number(reader, &at) || !take_count(reader, &out->pack_count) ||
        !take_number(reader, &id))
        return false;
    if (out->pack_count > reader->rest.len || (out->pack_count && id != MS_7Z_SIZE) ||
        !ms_add_u64(at, MS_7Z_START_BYTES, &at))
        return give_up(reader, "pack streams without sizes");
    out->pack_at = at;
    out->pack_sizes = room(reader, out->pack_count, sizeof *out->pack_sizes);
    out->pack_offsets = room(reader, out->pack_count, sizeof *out->pack_offsets);
    if (!out->pack_sizes || !out->pack_offsets)
        return false;
    if (id == MS_7Z_SIZE) {
        for (size_t i = 0; i < out->pack_count; i++) {
            if (!take_number(reader, &out->pack_sizes[i]))
                return false;
            out->pack_offsets[i] = at;
            if (!ms_add_u64(at, out->pack_sizes[i], &at))
                return give_up(reader, "pack streams beyond all files");
        }
        if (!take_number(reader, &id))
            return false;
    }
    if (id == MS_7Z_CRC &&
        (!take_digests(reader, out->pack_count, &unused) || !take_number(reader, &id)))
        return false;
    return id == MS_7Z_END || give_up(reader, "header with parts out of order");
}

static bool take_stream_counts(struct ms_7z_reader *reader, struct ms_7z_streams *out, uint64_t *id)
{
    for (size_t i = 0; i < out->folder_count; i++)
        out->folders[i].stream_count = 1;
    if (*id != MS_7Z_STREAM_COUNT)
        return true;
    for (size_t i = 0; i < out->folder_count; i++)
        if (!take_count(reader, &out->folders[i].stream_count))
            return false;
    return take_number(reader, id);
}

static bool make_streams(struct ms_7z_reader *reader, struct ms_7z_streams *out)
{
    out->stream_count = 0;
    for (size_t i = 0; i < out->folder_count; i++) {
        out->folders[i].first_stream = out->stream_count;
        out->stream_count += out->folders[i].stream_count;
        if (out->stream_count > MS_LIMIT_DECRYPT_ITEMS)
            return beyond(reader, "more parts than a header may have");
    }
    out->streams = room(reader, out->stream_count, sizeof *out->streams);
    return out->streams != NULL;
}

/* All sizes of a folder's members are there but the last, which is what is left. */
static bool take_sizes(struct ms_7z_reader *reader, struct ms_7z_streams *out, bool given)
{
    for (size_t i = 0; i < out->folder_count; i++) {
        const struct ms_7z_folder *folder = &out->folders[i];
        uint64_t left = folder_size(folder);
        for (size_t k = 0; k < folder->stream_count; k++) {
            struct ms_7z_stream *stream = &out->streams[folder->first_stream + k];
            stream->size = left;
            if (k + 1 == folder->stream_count)
                break;
            if (!given)
                return give_up(reader, "members without sizes");
            if (!take_number(reader, &stream->size))
                return false;
            if (stream->size > left)
                return give_up(reader, "members larger than what holds them");
            left -= stream->size;
        }
    }
    return true;
}

static bool is_known(const struct ms_7z_folder *folder)
{
    return folder->stream_count == 1 && folder->has_crc;
}

static bool take_member_digests(struct ms_7z_reader *reader, struct ms_7z_streams *out, bool given)
{
    struct digest *digests = NULL;
    size_t unknown = 0, next = 0;
    for (size_t i = 0; i < out->folder_count; i++)
        unknown += is_known(&out->folders[i]) ? 0 : out->folders[i].stream_count;
    if (given && !take_digests(reader, unknown, &digests))
        return false;
    for (size_t i = 0; i < out->folder_count; i++) {
        const struct ms_7z_folder *folder = &out->folders[i];
        for (size_t k = 0; k < folder->stream_count; k++) {
            struct ms_7z_stream *stream = &out->streams[folder->first_stream + k];
            if (is_known(folder)) {
                stream->crc = folder->crc;
                stream->has_crc = true;
            } else if (digests) {
                stream->crc = digests[next].crc;
                stream->has_crc = digests[next++].defined;
            }
        }
    }
    return true;
}

static bool take_substreams(struct ms_7z_reader *reader, struct ms_7z_streams *out, bool present)
{
    uint64_t id = MS_7Z_END;
    if (present && !take_number(reader, &id))
        return false;
    if (!take_stream_counts(reader, out, &id) || !make_streams(reader, out))
        return false;
    bool sizes = id == MS_7Z_SIZE;
    if (!take_sizes(reader, out, sizes) || (sizes && !take_number(reader, &id)))
        return false;
    bool digests = id == MS_7Z_CRC;
    if (!take_member_digests(reader, out, digests) || (digests && !take_number(reader, &id)))
        return false;
    return id == MS_7Z_END || give_up(reader, "header with parts out of order");
}

bool ms_7z_streams_read(struct ms_7z_reader *reader, struct ms_7z_streams *out)
{
    uint64_t id;
    *out = (struct ms_7z_streams){.pack_at = MS_7Z_START_BYTES};
    if (!take_number(reader, &id) ||
        (id == MS_7Z_PACK && (!take_pack(reader, out) || !take_number(reader, &id))) ||
        (id == MS_7Z_UNPACK && (!take_unpack(reader, out) || !take_number(reader, &id))))
        return false;
    bool present = id == MS_7Z_SUBSTREAMS;
    if (!take_substreams(reader, out, present) || (present && !take_number(reader, &id)))
        return false;
    if (id != MS_7Z_END)
        return give_up(reader, "header with parts out of order");
    size_t pack = 0;
    for (size_t i = 0; i < out->folder_count; i++) {
        out->folders[i].first_pack = pack;
        pack += out->folders[i].packed_count;
    }
    return pack <= out->pack_count || give_up(reader, "folders without pack streams");
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool take_names(struct ms_7z_reader *reader, struct ms_7z_header *out)
{
    if (!refuse_external(reader))
        return false;
    for (size_t i = 0; i < out->file_count; i++) {
        size_t n = 0;
        while (n + 2 <= reader->rest.len && (reader->rest.data[n] || reader->rest.data[n + 1]))
            n += 2;
        struct ms_span end;
        if (!ms_span_take(&reader->rest, n, &out->files[i].name) ||
            !ms_span_take(&reader->rest, 2, &end))
            return give_up(reader, "name without an end");
    }
    return true;
}

static bool take_attributes(struct ms_7z_reader *reader, struct ms_7z_header *out)
{
    uint8_t *defined;
    if (!take_defined(reader, out->file_count, &defined) || !refuse_external(reader))
        return false;
    for (size_t i = 0; i < out->file_count; i++) {
        out->files[i].has_attributes = defined[i];
        if (defined[i] && !ms_span_take_u32le(&reader->rest, &out->files[i].attributes))
            return give_up(reader, "header cut short");
    }
    return true;
}

/* Which files have no bytes; then, of those, which are files and which say "delete me". */
static bool take_empties(struct ms_7z_reader *reader, struct ms_7z_header *out, uint64_t id)
{
    uint8_t *bits;
    size_t empty = 0, next = 0;
    for (size_t i = 0; i < out->file_count; i++)
        empty += !out->files[i].has_stream;
    if (!take_bits(reader, id == MS_7Z_EMPTY_STREAM ? out->file_count : empty, &bits))
        return false;
    for (size_t i = 0; i < out->file_count; i++) {
        struct ms_7z_file *file = &out->files[i];
        if (id == MS_7Z_EMPTY_STREAM)
            file->has_stream = !bits[i];
        else if (!file->has_stream && id == MS_7Z_EMPTY_FILE)
            file->is_empty_file = bits[next++];
        else if (!file->has_stream)
            file->is_anti = bits[next++];
    }
    return true;
}

static bool take_files(struct ms_7z_reader *reader, struct ms_7z_header *out)
{
    uint64_t id, size;
    struct ms_span all;
    if (!take_count(reader, &out->file_count))
        return false;
    out->files = room(reader, out->file_count, sizeof *out->files);
    if (!out->files)
        return false;
    for (size_t i = 0; i < out->file_count; i++)
        out->files[i].has_stream = true;
    while (take_number(reader, &id) && id != MS_7Z_END) {
        bool good = true;
        struct ms_span part;
        if (!take_number(reader, &size))
            return false;
        if (!ms_span_take(&reader->rest, size, &part))
            return give_up(reader, "header cut short");
        all = reader->rest;
        reader->rest = part;
        if (id >= MS_7Z_EMPTY_STREAM && id <= MS_7Z_ANTI)
            good = take_empties(reader, out, id);
        else if (id == MS_7Z_NAMES)
            good = take_names(reader, out);
        else if (id == MS_7Z_ATTRIBUTES)
            good = take_attributes(reader, out);
        reader->rest = all;
        if (!good)
            return false;
    }
    return reader->why == NULL;
}

static bool skip_properties(struct ms_7z_reader *reader)
{
    uint64_t id, size;
    struct ms_span part;
    while (take_number(reader, &id)) {
        if (id == MS_7Z_END)
            return true;
        if (!take_number(reader, &size) || !ms_span_take(&reader->rest, size, &part))
            return give_up(reader, "header cut short");
    }
    return false;
}

bool ms_7z_header_read(struct ms_7z_reader *reader, struct ms_7z_header *out)
{
    uint64_t id;
    size_t with_stream = 0;
    *out = (struct ms_7z_header){.files = NULL};
    if (!take_number(reader, &id) ||
        (id == MS_7Z_ARCHIVE_PROPERTIES && (!skip_properties(reader) || !take_number(reader, &id))))
        return false;
    if (id == MS_7Z_ADDITIONAL_STREAMS) {
        reader->unsupported = true;
        return give_up(reader, "7z header with additional streams");
    }
    if (id == MS_7Z_MAIN_STREAMS &&
        (!ms_7z_streams_read(reader, &out->streams) || !take_number(reader, &id)))
        return false;
    if (id == MS_7Z_FILES && (!take_files(reader, out) || !take_number(reader, &id)))
        return false;
    if (id != MS_7Z_END)
        return give_up(reader, "header with parts out of order");
    for (size_t i = 0; i < out->file_count; i++)
        with_stream += out->files[i].has_stream;
    return with_stream == out->streams.stream_count ||
           give_up(reader, "as many names as members there are not");
}

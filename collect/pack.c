/* Reads a git pack: one pass that inflates everything, then the deltas in order. Trees and commits
 * are taken apart in collect/pack_tree.c. */
#define _GNU_SOURCE
#include "collect/pack.h"

#include "base/limits.h"
#include "collect/pack_delta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <zlib.h>

enum { HEAD_BYTES = 12, OBJECT_BYTES_MIN = 9, SCRATCH_BYTES = 64 << 10, PASSES = 64 };

#define NOWHERE SIZE_MAX

struct object {
    uint64_t data_offset; /* of the zlib stream */
    uint64_t offset;
    uint64_t stream_size; /* what the zlib stream inflates to */
    uint64_t size;        /* of the object, once known */
    size_t base;          /* index, or NOWHERE */
    uint8_t *cached;      /* its bytes, when at hand */
    unsigned depth;
    uint8_t id[MS_SHA1_BYTES]; /* REF_DELTA that is not known: its base's */
    uint8_t stored_type;
    uint8_t type;
    bool known, too_big;
};

struct ms_pack {
    struct ms_span bytes; /* without the checksum */
    struct ms_pack_limits limits;
    struct object *objects;
    size_t count, left_out;
    size_t *slots; /* index + 1 by id; 0: free */
    size_t slot_mask;
    uint64_t seed; /* so that ids cannot be chosen to collide */
    uint64_t produced;
    size_t cached_bytes, hand;
    struct ms_hasher *hasher;
    z_stream zlib;
    bool zlib_open;
    uint8_t scratch[SCRATCH_BYTES];
};

static enum ms_status damaged(struct ms_error *err, const char *what)
{
    return ms_error_set(err, MS_REJECT, "the pack is damaged: %s", what);
}

static enum ms_status spend(struct ms_pack *self, uint64_t bytes, struct ms_error *err)
{
    if (bytes > self->limits.total_bytes - self->produced)
        return ms_error_set(err, MS_REJECT, "the pack unfolds to more than %llu bytes",
                            (unsigned long long)self->limits.total_bytes);
    self->produced += bytes;
    return MS_OK;
}

/* ---- ids ------------------------------------------------------------------------------------- */

static size_t slot_of(const struct ms_pack *self, const uint8_t id[MS_SHA1_BYTES])
{
    uint64_t head, tail;
    memcpy(&head, id, sizeof head);
    memcpy(&tail, id + 8, sizeof tail);
    uint64_t mixed = (head ^ self->seed) * 0x9e3779b97f4a7c15U;
    mixed = (mixed ^ (mixed >> 29) ^ tail) * (self->seed | 1);
    return (size_t)(mixed >> 24) & self->slot_mask;
}

bool ms_pack_find(const struct ms_pack *self, const uint8_t id[MS_SHA1_BYTES], size_t *index)
{
    for (size_t slot = slot_of(self, id); self->slots[slot]; slot = (slot + 1) & self->slot_mask) {
        *index = self->slots[slot] - 1;
        if (memcmp(self->objects[*index].id, id, MS_SHA1_BYTES) == 0)
            return true;
    }
    return false;
}

static void make_known(struct ms_pack *self, size_t index, const uint8_t id[MS_SHA1_BYTES])
{
    struct object *object = &self->objects[index];
    size_t other;
    memcpy(object->id, id, MS_SHA1_BYTES);
    object->known = true;
    if (ms_pack_find(self, id, &other))
        return; /* the same object twice: the first one serves */
    size_t slot = slot_of(self, id);
    while (self->slots[slot])
        slot = (slot + 1) & self->slot_mask;
    self->slots[slot] = index + 1;
}

static void hash_begin(struct ms_pack *self, unsigned type, uint64_t size)
{
    static const char *const names[] = {"", "commit", "tree", "blob", "tag"};
    char head[48];
    int n = snprintf(head, sizeof head, "%s %llu", names[type], (unsigned long long)size);
    ms_hasher_update(self->hasher, head, (size_t)n + 1);
}

static enum ms_status hash_end(struct ms_pack *self, size_t index, struct ms_error *err)
{
    struct ms_digests digests;
    enum ms_status status = ms_hasher_finish(self->hasher, &digests, err);
    if (status == MS_OK)
        make_known(self, index, digests.sha1);
    return status;
}

/* ---- inflating ------------------------------------------------------------------------------- */

/* Inflates the stream at data_offset: into `out` (size bytes), or through the hasher, or away. It
 * must give exactly `size` bytes. */
static enum ms_status inflate_at(struct ms_pack *self, uint64_t data_offset, uint64_t size,
                                 uint8_t *out, bool hashed, uint64_t *consumed,
                                 struct ms_error *err)
{
    z_stream *zlib = &self->zlib;
    uint64_t done = 0;
    int code = inflateReset(zlib);
    enum ms_status status = spend(self, size, err);
    if (status != MS_OK)
        return status;
    union {
        const uint8_t *from;
        uint8_t *to;
    } in = {.from = self->bytes.data + data_offset}; /* zlib reads it, whatever its type says */
    size_t room = self->bytes.len - (size_t)data_offset;
    zlib->next_in = in.to;
    zlib->avail_in = (uInt)room;
    while (code == Z_OK) {
        bool direct = out && done < size;
        uint64_t left = size - done;
        zlib->next_out = direct ? out + done : self->scratch;
        zlib->avail_out = direct ? (uInt)left : SCRATCH_BYTES;
        uInt before = zlib->avail_out;
        code = inflate(zlib, Z_NO_FLUSH);
        uint64_t got = before - zlib->avail_out;
        if (got > left)
            return damaged(err, "an object is larger than it says");
        if (hashed)
            ms_hasher_update(self->hasher, self->scratch, (size_t)got);
        done += got;
    }
    if (code != Z_STREAM_END || done != size)
        return damaged(err, code == Z_STREAM_END ? "an object is smaller than it says"
                                                 : "an object does not inflate");
    *consumed = room - zlib->avail_in;
    return MS_OK;
}

/* ---- the cache ------------------------------------------------------------------------------- */

static void drop_cached(struct ms_pack *self, struct object *object)
{
    free(object->cached);
    object->cached = NULL;
    self->cached_bytes -= (size_t)object->size;
}

/* Room for the object's bytes; `keep` (its base) stays. */
static uint8_t *cache_place(struct ms_pack *self, struct object *object, const struct object *keep)
{
    size_t size = (size_t)object->size;
    for (size_t looked = 0; looked < self->count; looked++) {
        if (self->cached_bytes + size <= self->limits.cache_bytes)
            break;
        struct object *victim = &self->objects[self->hand];
        self->hand = self->hand + 1 == self->count ? 0 : self->hand + 1;
        if (victim->cached && victim != keep)
            drop_cached(self, victim);
    }
    object->cached = malloc(size ? size : 1);
    if (object->cached)
        self->cached_bytes += size;
    return object->cached;
}

static enum ms_status load_whole(struct ms_pack *self, struct object *object, struct ms_error *err)
{
    uint64_t consumed;
    if (!cache_place(self, object, NULL))
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status =
        inflate_at(self, object->data_offset, object->size, object->cached, false, &consumed, err);
    if (status != MS_OK)
        drop_cached(self, object);
    return status;
}

/* Bytes of a delta on the base, which is at hand. A result that is too large is no error: it is
 * marked and left. */
static enum ms_status load_delta(struct ms_pack *self, struct object *object, struct ms_error *err)
{
    const struct object *base = &self->objects[object->base];
    uint64_t consumed, base_size, size;
    uint8_t *delta = malloc((size_t)object->stream_size + 1);
    if (!delta)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_status status =
        inflate_at(self, object->data_offset, object->stream_size, delta, false, &consumed, err);
    struct ms_span steps = ms_span_of(delta, (size_t)object->stream_size);
    if (status == MS_OK)
        status = ms_delta_head_take(&steps, &base_size, &size, err);
    if (status == MS_OK && base_size != base->size)
        status = damaged(err, "a delta is made for another base");
    if (status == MS_OK && size > self->limits.object_bytes)
        object->too_big = true;
    if (status == MS_OK && !object->too_big)
        status = spend(self, size, err);
    if (status == MS_OK && !object->too_big) {
        object->size = size;
        status = cache_place(self, object, base)
                     ? ms_delta_apply(ms_span_of(base->cached, (size_t)base->size), steps,
                                      object->cached, (size_t)size, err)
                     : ms_error_set(err, MS_E_NOMEM, "out of memory");
        if (status != MS_OK && object->cached)
            drop_cached(self, object);
    }
    free(delta);
    return status;
}

/* Brings the object's bytes to hand: down its chain to what is there, and up again. */
static enum ms_status load(struct ms_pack *self, size_t index, struct ms_error *err)
{
    size_t chain[MS_LIMIT_GIT_DELTA_DEPTH + 1];
    size_t depth = 0;
    enum ms_status status = MS_OK;
    while (!self->objects[index].cached && self->objects[index].base != NOWHERE) {
        if (depth > self->limits.depth || depth == MS_LIMIT_GIT_DELTA_DEPTH)
            return ms_error_set(err, MS_REJECT, "the pack has deltas more than %u deep",
                                self->limits.depth);
        chain[depth++] = index;
        index = self->objects[index].base;
    }
    if (!self->objects[index].cached)
        status = load_whole(self, &self->objects[index], err);
    while (status == MS_OK && depth) {
        struct object *object = &self->objects[chain[--depth]];
        status = load_delta(self, object, err);
        if (status == MS_OK && object->too_big)
            break;
    }
    return status;
}

/* ---- the first pass -------------------------------------------------------------------------- */

/* Type and size: three and four bits in the first byte, seven more in each that follows. */
static enum ms_status take_head(struct ms_span *in, struct object *object, struct ms_error *err)
{
    uint8_t byte = 0;
    unsigned shift = 4;
    if (!ms_span_take_u8(in, &byte))
        return damaged(err, "it ends before its last object");
    object->stored_type = (byte >> 4) & 7;
    object->stream_size = byte & 15;
    while (byte & 0x80) {
        if (!ms_span_take_u8(in, &byte) || shift > 53)
            return damaged(err, "an object's size");
        object->stream_size |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    }
    if (object->stored_type == 0 || object->stored_type == 5)
        return damaged(err, "an object of no type");
    return MS_OK;
}

static size_t object_at(const struct ms_pack *self, size_t count, uint64_t offset)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (self->objects[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && self->objects[low].offset == offset ? low : NOWHERE;
}

/* A distance backwards, in the odd number form of gitformat-pack. */
static enum ms_status take_base_offset(struct ms_pack *self, struct ms_span *in, size_t index,
                                       struct ms_error *err)
{
    struct object *object = &self->objects[index];
    uint8_t byte = 0;
    if (!ms_span_take_u8(in, &byte))
        return damaged(err, "it ends before its last object");
    uint64_t distance = byte & 0x7f;
    while (byte & 0x80) {
        if (!ms_span_take_u8(in, &byte) || distance >> 55)
            return damaged(err, "a delta's base");
        distance = ((distance + 1) << 7) | (byte & 0x7f);
    }
    if (distance == 0 || distance > object->offset)
        return damaged(err, "a delta's base lies outside");
    object->base = object_at(self, index, object->offset - distance);
    return object->base == NOWHERE ? damaged(err, "a delta's base is no object") : MS_OK;
}

static enum ms_status take_object(struct ms_pack *self, struct ms_span *in, size_t index,
                                  struct ms_error *err)
{
    struct object *object = &self->objects[index];
    struct ms_span id;
    uint64_t consumed = 0;
    *object = (struct object){.base = NOWHERE, .offset = self->bytes.len - in->len};
    enum ms_status status = take_head(in, object, err);
    if (status == MS_OK && object->stored_type == MS_PACK_OFS_DELTA)
        status = take_base_offset(self, in, index, err);
    if (status == MS_OK && object->stored_type == MS_PACK_REF_DELTA) {
        if (ms_span_take(in, MS_SHA1_BYTES, &id))
            memcpy(object->id, id.data, MS_SHA1_BYTES);
        else
            status = damaged(err, "it ends before its last object");
    }
    bool delta = object->stored_type > MS_PACK_TAG;
    object->data_offset = self->bytes.len - in->len;
    if (status == MS_OK && delta && object->stream_size > self->limits.object_bytes)
        status = damaged(err, "a delta is larger than an object may be");
    if (status == MS_OK && !delta) {
        object->type = object->stored_type;
        object->size = object->stream_size;
        object->too_big = object->size > self->limits.object_bytes;
        hash_begin(self, object->type, object->size);
    }
    if (status == MS_OK)
        status = inflate_at(self, object->data_offset, object->stream_size, NULL, !delta, &consumed,
                            err);
    if (status == MS_OK && !delta)
        status = hash_end(self, index, err);
    *in = ms_span_of(self->bytes.data + object->data_offset + consumed,
                     self->bytes.len - (size_t)(object->data_offset + consumed));
    return status;
}

/* ---- deltas ---------------------------------------------------------------------------------- */

static enum ms_status resolve(struct ms_pack *self, size_t index, bool *done, struct ms_error *err)
{
    struct object *object = &self->objects[index];
    if (object->base == NOWHERE) {
        size_t base;
        if (!ms_pack_find(self, object->id, &base))
            return MS_OK;
        object->base = base;
    }
    const struct object *base = &self->objects[object->base];
    if (!base->known || base->too_big)
        return MS_OK;
    object->type = base->type;
    object->depth = base->depth + 1;
    if (object->depth > self->limits.depth)
        return ms_error_set(err, MS_REJECT, "the pack has deltas more than %u deep",
                            self->limits.depth);
    enum ms_status status = load(self, index, err);
    if (status != MS_OK || object->too_big)
        return status;
    *done = true;
    hash_begin(self, object->type, object->size);
    ms_hasher_update(self->hasher, object->cached, (size_t)object->size);
    return hash_end(self, index, err);
}

/* Bases by offset come earlier; bases by id may come later, hence again while that helps. */
static enum ms_status resolve_all(struct ms_pack *self, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    bool more = true;
    for (unsigned pass = 0; pass < PASSES && more && status == MS_OK; pass++) {
        more = false;
        for (size_t i = 0; i < self->count && status == MS_OK; i++) {
            if (self->objects[i].known || self->objects[i].too_big)
                continue;
            status = resolve(self, i, &more, err);
        }
    }
    for (size_t i = 0; i < self->count; i++)
        self->left_out += !self->objects[i].known;
    return status;
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum ms_status check_frame(struct ms_span bytes, const struct ms_pack_limits *limits,
                                  uint32_t *count, struct ms_hasher *hasher, struct ms_error *err)
{
    struct ms_digests digests;
    uint32_t version = 0;
    if (bytes.len < HEAD_BYTES + MS_SHA1_BYTES || memcmp(bytes.data, "PACK", 4) != 0 ||
        !ms_span_u32be(bytes, 4, &version) || !ms_span_u32be(bytes, 8, count))
        return damaged(err, "it is no pack");
    if (version != 2 && version != 3)
        return ms_error_set(err, MS_REJECT, "packs of version %lu are not supported",
                            (unsigned long)version);
    size_t body = bytes.len - MS_SHA1_BYTES;
    ms_hasher_update(hasher, bytes.data, body);
    enum ms_status status = ms_hasher_finish(hasher, &digests, err);
    if (status != MS_OK)
        return status;
    if (memcmp(digests.sha1, bytes.data + body, MS_SHA1_BYTES) != 0)
        return damaged(err, "its checksum is wrong");
    if (*count > limits->objects)
        return ms_error_set(err, MS_REJECT, "the pack holds %lu objects; at most %llu are read",
                            (unsigned long)*count, (unsigned long long)limits->objects);
    if (*count > (body - HEAD_BYTES) / OBJECT_BYTES_MIN)
        return damaged(err, "it holds fewer objects than it says");
    return MS_OK;
}

static enum ms_status make_tables(struct ms_pack *self, size_t count, struct ms_error *err)
{
    size_t slots = 16;
    while (slots < count * 2)
        slots *= 2;
    self->slot_mask = slots - 1;
    self->objects = calloc(count + 1, sizeof *self->objects);
    self->slots = calloc(slots, sizeof *self->slots);
    if (getrandom(&self->seed, sizeof self->seed, GRND_NONBLOCK) != (ssize_t)sizeof self->seed)
        self->seed = (uint64_t)(uintptr_t)self->slots;
    if (!self->objects || !self->slots || inflateInit(&self->zlib) != Z_OK)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->zlib_open = true;
    return MS_OK;
}

static struct ms_pack_limits limits_or_defaults(const struct ms_pack_limits *given)
{
    struct ms_pack_limits limits = given ? *given : (struct ms_pack_limits){0};
    limits.objects = limits.objects ? limits.objects : MS_LIMIT_GIT_OBJECTS;
    limits.object_bytes = limits.object_bytes ? limits.object_bytes : MS_LIMIT_GIT_BLOB_BYTES;
    limits.total_bytes = limits.total_bytes ? limits.total_bytes : MS_LIMIT_GIT_TOTAL_BYTES;
    limits.depth = limits.depth ? limits.depth : MS_LIMIT_GIT_DELTA_DEPTH;
    limits.cache_bytes = limits.cache_bytes ? limits.cache_bytes : MS_LIMIT_GIT_CACHE_BYTES;
    return limits;
}

enum ms_status ms_pack_open(struct ms_span bytes, const struct ms_pack_limits *limits,
                            struct ms_pack **out, struct ms_error *err)
{
    uint32_t count = 0;
    struct ms_pack *self = calloc(1, sizeof *self);
    if (!self)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    self->limits = limits_or_defaults(limits);
    enum ms_status status = bytes.len > MS_LIMIT_GIT_ANSWER_BYTES
                                ? ms_error_set(err, MS_REJECT, "the pack is too large")
                                : ms_hasher_new(MS_HASH_SHA1, &self->hasher, err);
    if (status == MS_OK)
        status = check_frame(bytes, &self->limits, &count, self->hasher, err);
    if (status == MS_OK)
        status = make_tables(self, count, err);
    if (status == MS_OK) {
        self->bytes = ms_span_of(bytes.data, bytes.len - MS_SHA1_BYTES);
        struct ms_span in = ms_span_of(bytes.data + HEAD_BYTES, self->bytes.len - HEAD_BYTES);
        for (; self->count < count && status == MS_OK; self->count++)
            status = take_object(self, &in, self->count, err);
        if (status == MS_OK && in.len)
            status = damaged(err, "there is something behind its last object");
    }
    if (status == MS_OK)
        status = resolve_all(self, err);
    if (status == MS_OK)
        *out = self;
    else
        ms_pack_free(self);
    return status;
}

void ms_pack_free(struct ms_pack *self)
{
    if (!self)
        return;
    for (size_t i = 0; i < self->count; i++)
        free(self->objects[i].cached);
    if (self->zlib_open)
        (void)inflateEnd(&self->zlib);
    ms_hasher_free(self->hasher);
    free(self->objects);
    free(self->slots);
    free(self);
}

size_t ms_pack_count(const struct ms_pack *self)
{
    return self->count;
}

size_t ms_pack_left_out(const struct ms_pack *self)
{
    return self->left_out;
}

bool ms_pack_object(const struct ms_pack *self, size_t index, struct ms_pack_object *out)
{
    if (index >= self->count || !self->objects[index].known)
        return false;
    const struct object *object = &self->objects[index];
    *out = (struct ms_pack_object){
        .type = (enum ms_pack_type)object->type, .size = object->size, .too_big = object->too_big};
    memcpy(out->id, object->id, MS_SHA1_BYTES);
    return true;
}

enum ms_status ms_pack_read(struct ms_pack *self, size_t index, struct ms_span *out,
                            struct ms_error *err)
{
    const struct object *object = &self->objects[index];
    if (!object->known || object->too_big)
        return ms_error_set(err, MS_REJECT, "an object is larger than %llu bytes",
                            (unsigned long long)self->limits.object_bytes);
    enum ms_status status = load(self, index, err);
    if (status == MS_OK)
        *out = ms_span_of(object->cached, (size_t)object->size);
    return status;
}

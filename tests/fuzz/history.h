/* For fuzz_pack: a small history out of records, with the ids that its objects really have, as the
 * answer of a git server. The fuzzer need not find hashes to reach what lies behind them. */
#ifndef MS_TESTS_FUZZ_HISTORY_H
#define MS_TESTS_FUZZ_HISTORY_H

#include "../unit/pack_maker.h"
#include "collect/pack.h"

#include <stdbool.h>
#include <stdio.h>

enum { HISTORY_OBJECTS = 24, HISTORY_BYTES = 4 << 20, HISTORY_PIECE_BYTES = 1000 };

struct history {
    uint8_t ids[HISTORY_OBJECTS][MS_SHA1_BYTES];
    size_t starts[HISTORY_OBJECTS];
    size_t count;
    struct ms_buf pack, answer;
};

/* The id of an earlier object; one that is nowhere when there is none of this number. */
static void history_id(const struct history *self, uint8_t number, size_t salt,
                       uint8_t out[MS_SHA1_BYTES])
{
    memset(out, number, MS_SHA1_BYTES);
    out[0] = (uint8_t)salt;
    out[1] = (uint8_t)(salt >> 8);
    if (number < self->count)
        memcpy(out, self->ids[number], MS_SHA1_BYTES);
}

/* A tree out of entries: a byte for the mode, one for the object, one for the length of the name,
 * and the name. */
static void history_tree(const struct history *self, struct ms_span in, struct ms_buf *out)
{
    static const char *const modes[] = {"100644", "40000", "100755", "120000", "160000", "0"};
    struct ms_span head, name;
    uint8_t id[MS_SHA1_BYTES];
    size_t salt = 0;
    while (ms_span_take(&in, 3, &head) &&
           ms_span_take(&in, head.data[2] < in.len ? head.data[2] : in.len, &name)) {
        history_id(self, head.data[1], salt++, id);
        (void)ms_buf_append_text(out, modes[head.data[0] % 6]);
        (void)ms_buf_append_byte(out, ' ');
        (void)ms_buf_append(out, name.data, name.len);
        (void)ms_buf_append_byte(out, 0);
        (void)ms_buf_append(out, id, sizeof id);
    }
}

/* A commit out of the numbers of its tree and parents. */
static void history_commit(const struct history *self, struct ms_span in, struct ms_buf *out)
{
    const char *word = "tree";
    uint8_t number, id[MS_SHA1_BYTES];
    char hex[2 * MS_SHA1_BYTES + 1];
    for (unsigned i = 0; i < 8 && ms_span_take_u8(&in, &number); i++, word = "parent") {
        history_id(self, number, 0, id);
        ms_hex_encode(id, sizeof id, hex);
        (void)ms_buf_printf(out, "%s %s\n", word, hex);
    }
    (void)ms_buf_append_text(out, "author a <a> 0 +0000\n\n");
    (void)ms_buf_append(out, in.data, in.len);
}

static void history_add(struct history *self, unsigned type, struct ms_span bytes)
{
    static const char *const names[] = {"", "commit", "tree", "blob", "tag"};
    struct ms_hasher *hasher;
    struct ms_digests digests;
    char head[48];
    int n = snprintf(head, sizeof head, "%s %zu", names[type], bytes.len);
    if (ms_hasher_new(MS_HASH_SHA1, &hasher, NULL) != MS_OK)
        abort();
    ms_hasher_update(hasher, head, (size_t)n + 1);
    ms_hasher_update(hasher, bytes.data, bytes.len);
    if (ms_hasher_finish(hasher, &digests, NULL) != MS_OK)
        abort();
    ms_hasher_free(hasher);
    memcpy(self->ids[self->count], digests.sha1, MS_SHA1_BYTES);
    (void)pack_add(&self->pack, type, bytes.len, bytes);
}

/* A record: kind, base, length (two bytes), bytes. Kinds 1 to 4 are objects as they are, 0 a tree
 * and 5 a commit of numbers, 6 and 7 deltas on an earlier object, which keep its id here. */
static bool history_take(struct history *self, struct ms_span *in)
{
    struct ms_span head, bytes;
    struct ms_buf made;
    if (!ms_span_take(in, 4, &head))
        return false;
    size_t n = (size_t)head.data[2] | (size_t)head.data[3] << 8;
    if (!ms_span_take(in, n < in->len ? n : in->len, &bytes))
        return false;
    unsigned kind = head.data[0] & 7;
    size_t from = self->count ? head.data[1] % self->count : 0;
    ms_buf_init(&made, HISTORY_BYTES);
    self->starts[self->count] = self->pack.len;
    if (kind >= MS_PACK_OFS_DELTA && !self->count)
        kind = MS_PACK_BLOB;
    if (kind == 0)
        history_tree(self, bytes, &made);
    else if (kind == 5)
        history_commit(self, bytes, &made);
    if (kind == 0 || kind == 5)
        bytes = ms_span_of(made.data, made.len);
    if (kind == MS_PACK_OFS_DELTA)
        (void)pack_add_offset_delta(&self->pack, self->pack.len - self->starts[from], bytes);
    else if (kind == MS_PACK_REF_DELTA)
        (void)pack_add_id_delta(&self->pack, self->ids[from], bytes);
    else
        history_add(self, kind == 0 ? MS_PACK_TREE : kind == 5 ? MS_PACK_COMMIT : kind, bytes);
    if (kind >= MS_PACK_OFS_DELTA)
        memcpy(self->ids[self->count], self->ids[from], MS_SHA1_BYTES);
    self->count++;
    ms_buf_release(&made);
    return true;
}

/* In several packets of the band for packs, some talk between them. */
static void history_answer(struct history *self)
{
    ms_buf_init(&self->answer, 2 * HISTORY_BYTES);
    (void)ms_buf_append_text(&self->answer, "000dpackfile\n000d\2talking\n");
    for (size_t at = 0; at < self->pack.len; at += HISTORY_PIECE_BYTES) {
        size_t left = self->pack.len - at, n = left;
        if (n > HISTORY_PIECE_BYTES)
            n = HISTORY_PIECE_BYTES;
        (void)ms_buf_printf(&self->answer, "%04x\1", (unsigned)n + 5);
        (void)ms_buf_append(&self->answer, self->pack.data + at, n);
    }
    (void)ms_buf_append_text(&self->answer, "0000");
}

static void history_make(struct history *self, struct ms_span in)
{
    self->count = 0;
    pack_begin(&self->pack, 0);
    while (self->count < HISTORY_OBJECTS && history_take(self, &in))
        continue;
    self->pack.data[11] = (uint8_t)self->count;
    pack_end(&self->pack);
    history_answer(self);
}

static void history_release(struct history *self)
{
    ms_buf_release(&self->pack);
    ms_buf_release(&self->answer);
}

#endif

/* Fuzz target: git packs, trees and answers. The first byte chooses: 0 a server's answer as it is;
 * 1 a tree; else records from which a pack with a right checksum is made, so that the fuzzer
 * reaches what lies behind it: kind (low three bits of a byte; its top bit adds a lie to the size),
 * a byte that chooses the base, two bytes of length, bytes. */
#include "../unit/pack_maker.h"
#include "base/hash.h"
#include "collect/gitjob.h"
#include "collect/pack.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OBJECT_MAX_BYTES = 64 << 10, TOTAL_MAX_BYTES = 4 << 20, OBJECTS_MAX = 64, DEPTH_MAX = 16 };

static enum ms_status take_frame(void *ctx, uint32_t type, const void *bytes, size_t n,
                                 struct ms_error *err)
{
    struct ms_span frame = ms_span_of(bytes, n), path;
    struct ms_gitjob_file file;
    bool end = false;
    (void)ctx;
    while (type <= MS_GITJOB_PAST && !end)
        if (ms_gitjob_file_take(&frame, &file, &path, &end, err) != MS_OK)
            abort(); /* the job must not send what its reader refuses */
    return MS_OK;
}

static void run_jobs(struct ms_span answer, const uint8_t id[MS_SHA1_BYTES])
{
    uint8_t arg[1 + MS_SHA1_BYTES];
    struct ms_error err;
    memcpy(arg + 1, id, MS_SHA1_BYTES);
    for (arg[0] = MS_GITJOB_TREE; arg[0] <= MS_GITJOB_BLOBS; arg[0]++)
        if (ms_gitjob_run(answer, ms_span_of(arg, sizeof arg), take_frame, NULL, &err) == MS_E_BUG)
            abort();
}

static void read_tree(struct ms_span tree)
{
    struct ms_tree_item item;
    bool end = false;
    while (!end && ms_tree_item_take(&tree, &item, &end, NULL) == MS_OK)
        if (!end && (!item.name.len || memchr(item.name.data, '/', item.name.len)))
            abort();
}

/* Every object must have the id of its bytes. */
static void check_object(struct ms_pack *pack, size_t index)
{
    static const char *const names[] = {"", "commit", "tree", "blob", "tag"};
    struct ms_pack_object object;
    struct ms_span bytes;
    struct ms_hasher *hasher;
    struct ms_digests digests;
    char head[48];
    if (!ms_pack_object(pack, index, &object) || object.too_big)
        return;
    if (ms_pack_read(pack, index, &bytes, NULL) != MS_OK)
        return; /* beyond total_bytes by now */
    if (bytes.len != object.size || bytes.len > OBJECT_MAX_BYTES || object.type > MS_PACK_TAG)
        abort();
    int n = snprintf(head, sizeof head, "%s %zu", names[object.type], bytes.len);
    if (ms_hasher_new(MS_HASH_SHA1, &hasher, NULL) != MS_OK)
        return;
    ms_hasher_update(hasher, head, (size_t)n + 1);
    ms_hasher_update(hasher, bytes.data, bytes.len);
    if (ms_hasher_finish(hasher, &digests, NULL) != MS_OK ||
        memcmp(digests.sha1, object.id, MS_SHA1_BYTES) != 0)
        abort();
    ms_hasher_free(hasher);
}

static unsigned add_records(struct ms_buf *out, struct ms_span in)
{
    size_t starts[OBJECTS_MAX];
    uint8_t ids[OBJECTS_MAX][MS_SHA1_BYTES];
    unsigned count = 0;
    uint8_t head, base, low, high;
    while (count < OBJECTS_MAX && ms_span_take_u8(&in, &head) && ms_span_take_u8(&in, &base) &&
           ms_span_take_u8(&in, &low) && ms_span_take_u8(&in, &high)) {
        struct ms_span bytes;
        size_t n = (size_t)high << 8 | low;
        if (!ms_span_take(&in, n < in.len ? n : in.len, &bytes))
            break;
        size_t lie = head & 0x80 ? 1 : 0;
        unsigned from = count ? base % count : 0;
        starts[count] = out->len;
        if (ms_hash_git_blob(bytes.data, bytes.len, ids[count]) != MS_OK)
            abort();
        if ((head & 7) == MS_PACK_OFS_DELTA)
            (void)pack_add_offset_delta(out, count ? out->len - starts[from] + lie : base, bytes);
        else if ((head & 7) == MS_PACK_REF_DELTA)
            (void)pack_add_id_delta(out, ids[from], bytes);
        else
            (void)pack_add(out, head & 7, bytes.len + lie, bytes);
        count++;
    }
    return count;
}

static void read_pack(struct ms_span in)
{
    static const struct ms_pack_limits limits = {.objects = OBJECTS_MAX,
                                                 .object_bytes = OBJECT_MAX_BYTES,
                                                 .total_bytes = TOTAL_MAX_BYTES,
                                                 .depth = DEPTH_MAX,
                                                 .cache_bytes = OBJECT_MAX_BYTES};
    struct ms_buf out;
    struct ms_pack *pack;
    pack_begin(&out, 0);
    out.data[11] = (uint8_t)add_records(&out, in);
    pack_end(&out);
    if (ms_pack_open(ms_span_of(out.data, out.len), &limits, &pack, NULL) == MS_OK) {
        for (size_t i = 0; i < ms_pack_count(pack); i++)
            check_object(pack, i);
        ms_pack_free(pack);
    }
    ms_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct ms_span rest = ms_span_of(data + 1, size - 1);
    if (data[0] == 1)
        read_tree(rest);
    else if (data[0] == 0 && rest.len > MS_SHA1_BYTES)
        run_jobs(ms_span_of(rest.data + MS_SHA1_BYTES, rest.len - MS_SHA1_BYTES), rest.data);
    else if (data[0] != 0)
        read_pack(rest);
    return 0;
}

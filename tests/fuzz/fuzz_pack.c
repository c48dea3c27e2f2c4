/* Fuzz target: git packs, trees, commits and answers. The first byte chooses: 0 a server's answer
 * as it is; 1 a tree; 'c' a commit; 'f' and 'r' what a server says of itself and its refs, as it
 * is, 'F' and 'R' the same with a pkt-line made of each line; 'a' a history, as records, whose
 * answer the job reads (tests/fuzz/history.h); else records from which a pack with a right checksum
 * is made, so that the fuzzer reaches what lies behind it: kind (low three bits of a byte; its top
 * bit adds a lie to the size), a byte that chooses the base, two bytes of length, bytes. */
#include "../unit/pack_maker.h"
#include "base/hash.h"
#include "collect/gitjob.h"
#include "collect/pack.h"
#include "collect/pkt.h"
#include "history.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OBJECT_MAX_BYTES = 64 << 10, TOTAL_MAX_BYTES = 4 << 20, OBJECTS_MAX = 64, DEPTH_MAX = 16 };

/* What the job has said so far, where it must make sense. */
struct heard {
    bool blob; /* one is being told, `left` bytes of it are to come */
    uint64_t left;
};

static void take_blob(struct heard *self, const void *bytes, size_t n)
{
    struct ms_gitjob_blob blob;
    if (self->blob || n != sizeof blob)
        abort();
    memcpy(&blob, bytes, sizeof blob);
    self->blob = !blob.too_big;
    self->left = blob.size;
}

static enum ms_status take_frame(void *ctx, uint32_t type, const void *bytes, size_t n,
                                 struct ms_error *err)
{
    struct heard *self = ctx;
    struct ms_span frame = ms_span_of(bytes, n), path;
    struct ms_gitjob_file file;
    bool end = false;
    while (type <= MS_GITJOB_PAST && !end)
        if (ms_gitjob_file_take(&frame, &file, &path, &end, err) != MS_OK)
            abort(); /* the job must not send what its reader refuses */
    if (type == MS_GITJOB_BLOB)
        take_blob(self, bytes, n);
    if (type == MS_GITJOB_DATA && (!self->blob || n > self->left))
        abort();
    self->left -= type == MS_GITJOB_DATA ? n : 0;
    if (type == MS_GITJOB_END && (!self->blob || self->left))
        abort();
    self->blob = self->blob && type != MS_GITJOB_END;
    return MS_OK;
}

/* ids: the commit, or the blobs wanted, one after the other. */
static void run_job(struct ms_span answer, uint8_t mode, const uint8_t *ids, size_t id_bytes)
{
    uint8_t arg[1 + HISTORY_OBJECTS * MS_SHA1_BYTES];
    struct heard heard = {false, 0};
    struct ms_error err;
    arg[0] = mode;
    memcpy(arg + 1, ids, id_bytes);
    if (ms_gitjob_run(answer, ms_span_of(arg, 1 + id_bytes), take_frame, &heard, &err) == MS_E_BUG)
        abort();
}

static enum ms_status on_parent(void *ctx, const uint8_t id[MS_SHA1_BYTES], struct ms_error *err)
{
    (void)err;
    *(unsigned *)ctx += id[0] ? 1 : 2;
    return MS_OK;
}

static void read_commit(struct ms_span commit)
{
    uint8_t tree[MS_SHA1_BYTES];
    unsigned seen = 0;
    if (ms_commit_read(commit, tree, on_parent, &seen, NULL) == MS_E_BUG)
        abort();
}

/* Lines become packets; an empty one is a flush, and one of a dot alone a delimiter. */
static void add_packets(struct ms_buf *out, struct ms_span in)
{
    char head[8];
    while (in.len) {
        const uint8_t *end = memchr(in.data, '\n', in.len);
        size_t n = end ? (size_t)(end - in.data) : in.len;
        if (n == 0 || (n == 1 && in.data[0] == '.')) {
            (void)ms_buf_append_text(out, n ? "0001" : "0000");
        } else if (n < 60000) {
            (void)snprintf(head, sizeof head, "%04x", (unsigned)n + 5);
            (void)ms_buf_append(out, head, 4);
            (void)ms_buf_append(out, in.data, n);
            (void)ms_buf_append_byte(out, '\n');
        }
        n += end ? 1 : 0;
        in = ms_span_of(in.data + n, in.len - n);
    }
}

static void read_lines(uint8_t mode, struct ms_span in)
{
    static const char *const wanted[] = {"", "main", "v1", "refs/heads/main"};
    struct ms_git_features features;
    uint8_t id[MS_SHA1_BYTES];
    struct ms_buf made;
    struct ms_error err;
    bool found;
    ms_buf_init(&made, (size_t)4 << 20);
    if (mode == 'F' || mode == 'R')
        add_packets(&made, in);
    else
        (void)ms_buf_append(&made, in.data, in.len);
    struct ms_span body = ms_span_of(made.data, made.len);
    if ((mode == 'f' || mode == 'F') && ms_git_features_read(body, &features, &err) == MS_E_BUG)
        abort();
    for (size_t i = 0; (mode == 'r' || mode == 'R') && i < sizeof wanted / sizeof *wanted; i++)
        if (ms_git_refs_read(body, wanted[i], &found, id, &err) == MS_E_BUG)
            abort();
    ms_buf_release(&made);
}

static void read_history(struct ms_span in)
{
    static struct history history;
    history_make(&history, in);
    struct ms_span answer = ms_span_of(history.answer.data, history.answer.len);
    if (history.count) {
        run_job(answer, MS_GITJOB_BLOBS, history.ids[0], history.count * MS_SHA1_BYTES);
        run_job(answer, MS_GITJOB_HISTORY, history.ids[history.count - 1], MS_SHA1_BYTES);
    }
    history_release(&history);
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
    switch (data[0]) {
    case 0:
        for (uint8_t mode = MS_GITJOB_TREE; rest.len > MS_SHA1_BYTES && mode <= MS_GITJOB_BLOBS;
             mode++)
            run_job(ms_span_of(rest.data + MS_SHA1_BYTES, rest.len - MS_SHA1_BYTES), mode,
                    rest.data, MS_SHA1_BYTES);
        break;
    case 1:
        read_tree(rest);
        break;
    case 'c':
        read_commit(rest);
        break;
    case 'f':
    case 'F':
    case 'r':
    case 'R':
        read_lines(data[0], rest);
        break;
    case 'a':
        read_history(rest);
        break;
    default:
        read_pack(rest);
    }
    return 0;
}

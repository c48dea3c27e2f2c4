/* The walk over containers: passwords, limits, nesting. Formats are base/unpack_format's business,
 * and what a member means is the caller's. */
#define _GNU_SOURCE
#include "base/unpack.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/unpack_volumes.h"
#include "base/unpack_walk.h"
#include "base/zip_directory.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* PROOF_BYTES: a CRC-32 on fewer bytes has no room to spare: what fits it is right, but a wrong
 * password may well have found it. */
enum { PROOF_BYTES = 4 };

const char *ms_unpack_fault_name(enum ms_unpack_fault fault)
{
    static const char *const names[] = {
        "ok",           "not_archive",   "corrupt",     "need_password", "unsupported",
        "limit_depth",  "limit_entries", "limit_total", "limit_entry",   "limit_work",
        "limit_memory", "incomplete",    "apart"};
    size_t index = (size_t)fault;
    return index < sizeof names / sizeof *names ? names[index] : "unknown";
}

/* ---- chain, faults --------------------------------------------------------------------------- */

struct ms_span ms_walk_chain(const struct ms_walk *walk)
{
    return ms_span_of(walk->chain.data ? walk->chain.data : (const uint8_t *)"", walk->chain.len);
}

enum ms_status ms_walk_push(struct ms_walk *walk, const char *name, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    if (walk->chain.len)
        status = ms_buf_append_byte(&walk->chain, '!');
    if (status == MS_OK)
        status = ms_buf_append(&walk->chain, name, strnlen(name, MS_LIMIT_NAME_BYTES));
    return status == MS_OK ? MS_OK : ms_error_set(err, status, "no memory for a member's name");
}

/* A set that ends too early lacks its last part. What lies deeper was cut by somebody else. */
static bool lacks_a_part(const struct ms_walk *walk, enum ms_unpack_fault fault, const char *text)
{
    return walk->part_named && fault == MS_UNPACK_CORRUPT &&
           (ms_unpack_is_cut(text) || strstr(text, "cut short")) &&
           !(walk->chain.len && memchr(walk->chain.data, '!', walk->chain.len));
}

enum ms_status ms_walk_fault(struct ms_walk *walk, enum ms_unpack_fault fault, const char *text,
                             struct ms_error *err)
{
    if (lacks_a_part(walk, fault, text))
        fault = MS_UNPACK_INCOMPLETE;
    return walk->events->fault(walk->events->ctx, ms_walk_chain(walk), fault,
                               ms_span_of(text, strlen(text)), err);
}

enum ms_status ms_walk_stop(struct ms_walk *walk, enum ms_unpack_fault fault, const char *text,
                            struct ms_error *err)
{
    walk->stopped = true;
    return ms_walk_fault(walk, fault, text, err);
}

/* ---- one member out of libarchive ------------------------------------------------------------ */

/* What the header promised must be what came; a sparse file may end in a hole. */
static void check_size(struct ms_walk *walk, struct archive_entry *entry,
                       struct ms_walk_memory *out, enum ms_unpack_fault *fault, const char **text)
{
    if (*fault != MS_UNPACK_OK || !archive_entry_size_is_set(entry))
        return;
    la_int64_t size = archive_entry_size(entry);
    if (size >= 0 && (uint64_t)size > out->bytes && archive_entry_sparse_count(entry) > 0) {
        (void)ms_walk_put(walk, out, "", 0, (uint64_t)size, walk->limits.entry_bytes, fault, text);
    }
    if (*fault == MS_UNPACK_OK && (size < 0 || (uint64_t)size != out->bytes)) {
        *fault = MS_UNPACK_CORRUPT;
        *text = "the length is not the one announced";
    }
    if (*fault == MS_UNPACK_OK && !out->dropped && ftruncate(out->fd, (off_t)out->bytes) != 0) {
        *fault = MS_UNPACK_LIMIT_MEMORY;
        *text = "cannot grow a memory file";
    }
}

/* A checksum that libarchive was not given, because it could not have verified it. */
static void check_crc(const struct ms_walk_level *level, const struct ms_walk_memory *memory,
                      enum ms_unpack_fault *fault, const char **text)
{
    const struct ms_decrypt *decrypt = level->decrypt;
    uint32_t crc;
    if (*fault != MS_UNPACK_OK || !decrypt || !decrypt->format->verify)
        return;
    if (memory->oversize) {
        crc = ms_walk_oversize_crc32(memory->oversize);
    } else if (!ms_decrypt_crc32(memory->fd, 0, memory->bytes, &crc)) {
        *fault = MS_UNPACK_LIMIT_MEMORY;
        *text = "cannot read a memory file";
        return;
    }
    if (!decrypt->format->verify(decrypt->state, level->member, crc)) {
        *fault = MS_UNPACK_CORRUPT;
        *text = "the checksum is wrong";
    }
}

/* ---- containers ------------------------------------------------------------------------------ */

/* Hands a whole member out and goes into it when it is a container. */
enum ms_status ms_walk_deliver(struct ms_walk *walk, const struct ms_walk_memory *memory,
                               unsigned depth, ptrdiff_t password, struct ms_error *err)
{
    enum ms_unpack_shape shape = ms_unpack_shape_of(memory->fd);
    if (lseek(memory->fd, 0, SEEK_SET) != 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "memory file");
    struct ms_unpack_member member = {.chain = ms_walk_chain(walk),
                                      .fd = memory->fd,
                                      .size = memory->bytes,
                                      .password_index = (int)password,
                                      .depth = depth,
                                      .is_dropped = memory->dropped,
                                      .is_streamed = memory->streamed,
                                      .is_container = shape != MS_SHAPE_PLAIN};
    bool descend = member.is_container;
    enum ms_status status = walk->events->member(walk->events->ctx, &member, &descend, err);
    if (status == MS_OK && ms_walk_memory_ends_like_zip(memory))
        status = ms_walk_fault(walk, MS_UNPACK_LIMIT_MEMORY,
                               "a zip file behind other data, which was not held", err);
    if (status == MS_OK && !member.is_container && !memory->dropped)
        return ms_walk_program(walk, memory->fd, memory->bytes, depth, err);
    if (status != MS_OK || !descend || !member.is_container)
        return status;
    return ms_walk_open(walk, memory->fd, shape, depth, err);
}

static bool is_pending(const struct ms_walk_level *level, size_t *cursor, uint32_t index)
{
    while (*cursor < level->pending_count && level->pending[*cursor] < index)
        (*cursor)++;
    return *cursor < level->pending_count && level->pending[*cursor] == index;
}

static enum ms_status add_pending(struct ms_walk_level *level, uint32_t index, struct ms_error *err)
{
    if (level->pending_count == level->pending_cap) {
        size_t cap = level->pending_cap ? level->pending_cap * 2 : 64;
        uint32_t *grown = realloc(level->pending, cap * sizeof *grown);
        if (!grown)
            return ms_error_set(err, MS_E_NOMEM, "out of memory");
        level->pending = grown;
        level->pending_cap = cap;
    }
    level->pending[level->pending_count++] = index;
    return MS_OK;
}

static const char *name_of(struct archive_entry *entry, uint32_t index, char synthetic[32])
{
    const char *name = archive_entry_pathname(entry);
    if (!name)
        name = archive_entry_pathname_utf8(entry);
    if (name && *name)
        return name;
    (void)snprintf(synthetic, 32, "member-%u", index);
    return synthetic;
}

/* A member that came out whole shows the password. */
static void accept_password(struct ms_walk_level *level, const struct ms_walk_memory *memory,
                            ptrdiff_t password)
{
    if (password < 0)
        return;
    level->walk->last_password = password;
    level->opened = true;
    level->proven |= level->rewritten && memory->bytes >= PROOF_BYTES;
}

/* Takes one member out with the current password (-1: none). *miss: the password did not fit. */
enum ms_status ms_walk_take_member(struct ms_walk_level *level, struct archive *a,
                                   struct archive_entry *entry, uint32_t index, ptrdiff_t password,
                                   bool *miss, struct ms_error *err)
{
    struct ms_walk *walk = level->walk;
    size_t mark = walk->chain.len;
    char synthetic[32];
    struct ms_walk_memory memory = {.fd = -1};
    enum ms_unpack_fault fault;
    const char *text = "";
    *miss = false;
    enum ms_status status = ms_walk_push(walk, name_of(entry, index, synthetic), err);
    if (status == MS_OK)
        status = ms_walk_memory_open(&memory, err);
    if (status != MS_OK)
        goto out;
    memory.may_drop = !level->decrypt || !level->decrypt->format->verify;
    memory.may_stream = memory.may_drop && !archive_entry_sparse_count(entry);
    status = ms_walk_extract(walk, a, walk->limits.entry_bytes, level->depth + 1, &memory, &fault,
                             &text, err);
    if (status != MS_OK)
        goto out;
    check_size(walk, entry, &memory, &fault, &text);
    level->spoiled = fault != MS_UNPACK_OK && ms_unpack_keeps_pieces(a);
    check_crc(level, &memory, &fault, &text);
    bool whole = fault == MS_UNPACK_OK;
    if (whole)
        accept_password(level, &memory, password);
    ms_walk_oversize_tell(&memory, &fault, &text);
    if (fault == MS_UNPACK_LIMIT_TOTAL) {
        status = ms_walk_stop(walk, fault, text, err);
    } else if (fault != MS_UNPACK_OK && fault != MS_UNPACK_LIMIT_ENTRY && password >= 0 &&
               !level->proven) {
        /* Wrong password, or a right one and damaged data: nothing says which but the AES check of
         * two bytes. The next candidate decides. */
        *miss = true;
        level->refused = fault == MS_UNPACK_UNSUPPORTED && level->rewritten &&
                         !level->decrypt->format->method_is_data;
        if (!ms_unpack_is_password_error(a))
            (void)snprintf(level->accepted, sizeof level->accepted, "%s", text);
        level->cut |= ms_unpack_is_cut(text);
        walk->produced_bytes -= memory.bytes;
    } else if (fault != MS_UNPACK_OK) {
        level->damaged |= level->rewritten && !whole;
        status = ms_walk_fault(walk, fault, text, err);
    } else {
        status = ms_walk_deliver(walk, &memory, level->depth + 1, password, err);
    }
out:
    ms_walk_memory_close(walk, &memory);
    walk->chain.len = mark;
    return status;
}

/* A failed header ends the container: what is behind it cannot be found. */
static enum ms_status bad_header(struct ms_walk_level *level, struct archive *a,
                                 struct ms_error *err)
{
    const char *text;
    enum ms_unpack_fault fault = ms_unpack_fault_of(a, &text);
    level->damaged = fault == MS_UNPACK_CORRUPT;
    return ms_walk_fault(level->walk, fault, text, err);
}

static bool begins_like_zip(int fd)
{
    uint8_t head[4];
    return ms_decrypt_read(fd, 0, head, sizeof head) && memcmp(head, "PK\3\4", 4) == 0;
}

/* An empty zip file that begins with a member: an end record behind the one that lists it, or in
 * its comment, says that there is none. */
static bool hides_members(const struct ms_walk_level *level, struct archive *a)
{
    return !level->source && (archive_format(a) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_ZIP &&
           begins_like_zip(level->fd);
}

/* First pass: everything that is not encrypted; notes what is. */
static enum ms_status plain_pass(struct ms_walk_level *level, struct ms_error *err)
{
    struct ms_walk *walk = level->walk;
    const char *why;
    struct archive *a = level->source ? ms_unpack_open_sequential(level->source, &why)
                                      : ms_unpack_open_archive(level->fd, NULL, &why);
    if (!a)
        return ms_walk_fault(walk, MS_UNPACK_CORRUPT, why, err);
    enum ms_status status = MS_OK;
    for (uint32_t index = 0; status == MS_OK && !walk->stopped && a; index++) {
        struct archive_entry *entry;
        bool miss;
        int rc = archive_read_next_header(a, &entry);
        if (rc == ARCHIVE_EOF) {
            if (index == 0 && hides_members(level, a))
                status =
                    ms_walk_fault(walk, MS_UNPACK_CORRUPT,
                                  "a member's header, but no member by the last end record", err);
            break;
        }
        if (++walk->entries > walk->limits.entries) {
            status = ms_walk_stop(walk, MS_UNPACK_LIMIT_ENTRIES,
                                  "more members than one blob may have", err);
            break;
        }
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN && rc != ARCHIVE_RETRY) {
            level->open_ended = level->pending_count && ms_unpack_is_password_error(a);
            level->open_from = index;
            if (!level->open_ended)
                status = bad_header(level, a, err);
            break;
        }
        if (rc == ARCHIVE_RETRY || !ms_unpack_is_file(entry))
            continue;
        if (!archive_entry_is_encrypted(entry))
            status = ms_walk_take_member(level, a, entry, index, -1, &miss, err);
        else if (ms_unpack_cannot_decrypt(a, &level->beyond_why))
            level->beyond++;
        else
            status = add_pending(level, index, err);
        if (status == MS_OK && level->spoiled)
            status = ms_walk_renew(level, level->fd, index + 1, &a, err);
    }
    (void)archive_read_free(a);
    return status;
}

/* A member that the plain pass could not see. It is counted here, and not tried again. */
static enum ms_status take_unlisted(struct ms_walk_level *level, struct archive *a,
                                    struct archive_entry *entry, uint32_t index, ptrdiff_t password,
                                    size_t *hits, struct ms_error *err)
{
    bool miss = true;
    if (++level->walk->entries > level->walk->limits.entries)
        return ms_walk_stop(level->walk, MS_UNPACK_LIMIT_ENTRIES,
                            "more members than one blob may have", err);
    if (!ms_unpack_is_file(entry))
        return MS_OK;
    enum ms_status status = ms_walk_take_member(level, a, entry, index, password, &miss, err);
    *hits += !miss;
    return status;
}

/* One pass with one candidate over the members that are still closed. */
static enum ms_status password_pass(struct ms_walk_level *level, ptrdiff_t password,
                                    struct ms_error *err)
{
    struct ms_walk *walk = level->walk;
    struct ms_span candidate = walk->passwords[password];
    char text[MS_LIMIT_SECRET_BYTES];
    if (!candidate.len || candidate.len >= sizeof text || memchr(candidate.data, 0, candidate.len))
        return MS_OK;
    memcpy(text, candidate.data, candidate.len);
    text[candidate.len] = '\0';
    const char *why;
    struct archive *a = ms_unpack_open_archive(level->fd, text, &why);
    if (!a)
        return MS_OK;
    enum ms_status status = MS_OK;
    size_t cursor = 0, kept = 0, hits = 0, misses = 0;
    for (uint32_t index = 0; status == MS_OK && !walk->stopped; index++) {
        struct archive_entry *entry;
        bool miss;
        int rc = archive_read_next_header(a, &entry);
        bool listed_done = cursor == level->pending_count;
        if ((rc != ARCHIVE_OK && rc != ARCHIVE_WARN && rc != ARCHIVE_RETRY) ||
            (listed_done && !level->open_ended) ||
            (!hits && misses >= MS_LIMIT_UNPACK_PASSWORD_MISSES))
            break;
        if (level->open_ended && index >= level->open_from) {
            status = take_unlisted(level, a, entry, index, password, &hits, err);
            continue;
        }
        if (!is_pending(level, &cursor, index))
            continue;
        status = ms_walk_take_member(level, a, entry, index, password, &miss, err);
        hits += !miss;
        misses += miss;
        if (miss)
            level->pending[kept++] = index;
        cursor++;
    }
    /* One password that opens anything ends the search for the rest. */
    level->open_ended &= hits == 0;
    while (cursor < level->pending_count)
        level->pending[kept++] = level->pending[cursor++];
    level->pending_count = kept;
    (void)archive_read_free(a);
    return status;
}

static enum ms_status report_closed(struct ms_walk_level *level, struct ms_error *err)
{
    char text[256];
    enum ms_status status = MS_OK;
    if (level->walk->stopped)
        return MS_OK;
    if (level->beyond) {
        (void)snprintf(text, sizeof text, "%llu members: %s", (unsigned long long)level->beyond,
                       level->beyond_why);
        status = ms_walk_fault(level->walk, MS_UNPACK_UNSUPPORTED, text, err);
    }
    /* A cut archive whose password is known: the cut is why members are missing. */
    bool explained = level->damaged && (level->opened || level->accepted[0]);
    if (status == MS_OK && level->cut && !level->damaged) {
        status = ms_walk_fault(level->walk, MS_UNPACK_CORRUPT, "cut short", err);
        explained = true;
    }
    if (status == MS_OK && level->pending_count && !explained) {
        (void)snprintf(text, sizeof text, "%zu members, %zu passwords tried%s%s",
                       level->pending_count, level->walk->password_count,
                       level->accepted[0] ? "; one was accepted, then: " : "", level->accepted);
        status = ms_walk_fault(level->walk, MS_UNPACK_NEED_PASSWORD, text, err);
    }
    return status;
}

static enum ms_status walk_archive(struct ms_walk *walk, int fd, unsigned depth,
                                   struct ms_error *err)
{
    struct ms_walk_level level = {.walk = walk, .fd = fd, .depth = depth};
    bool mine = false;
    enum ms_status status = MS_OK;
    if (begins_like_zip(fd) && ms_zip_has_two_ends(fd))
        status = ms_walk_fault(walk, MS_UNPACK_CORRUPT,
                               "two end records: what it lists depends on the reader", err);
    if (status == MS_OK)
        status = ms_walk_encrypted(walk, fd, depth, &mine, err);
    if (status != MS_OK || mine)
        return status;
    status = plain_pass(&level, err);
    ptrdiff_t first = walk->last_password;
    if (first >= 0 && status == MS_OK && level.pending_count && !walk->stopped)
        status = password_pass(&level, first, err);
    for (size_t i = 0; i < walk->password_count; i++)
        if (status == MS_OK && level.pending_count && !walk->stopped && (ptrdiff_t)i != first)
            status = password_pass(&level, (ptrdiff_t)i, err);
    if (status == MS_OK)
        status = report_closed(&level, err);
    free(level.pending);
    return status;
}

enum ms_status ms_walk_sequential(struct ms_walk *walk, const struct ms_unpack_source *source,
                                  unsigned depth, struct ms_error *err)
{
    struct ms_walk_level level = {.walk = walk, .fd = -1, .source = source, .depth = depth};
    if (depth >= walk->limits.depth)
        return ms_walk_fault(walk, MS_UNPACK_LIMIT_DEPTH, "containers nested too deep", err);
    enum ms_status status = plain_pass(&level, err);
    free(level.pending);
    return status;
}

/* ---- the walk ---------------------------------------------------------------------------------
 */

enum ms_status ms_walk_open(struct ms_walk *walk, int fd, enum ms_unpack_shape shape,
                            unsigned depth, struct ms_error *err)
{
    if (walk->stopped)
        return MS_OK;
    if (depth >= walk->limits.depth)
        return ms_walk_fault(walk, MS_UNPACK_LIMIT_DEPTH, "containers nested too deep", err);
    if (shape == MS_SHAPE_ARCHIVE)
        return walk_archive(walk, fd, depth, err);
    return ms_walk_stream(walk, fd, shape, depth, err);
}

static struct ms_unpack_limits with_defaults(const struct ms_unpack_limits *limits)
{
    struct ms_unpack_limits out = {.depth = 0};
    if (limits)
        out = *limits;
    if (!out.depth)
        out.depth = MS_LIMIT_UNPACK_DEPTH;
    if (!out.entries)
        out.entries = MS_LIMIT_UNPACK_ENTRIES;
    if (!out.total_bytes)
        out.total_bytes = MS_LIMIT_UNPACK_TOTAL_BYTES;
    if (!out.entry_bytes)
        out.entry_bytes = MS_LIMIT_UNPACK_ENTRY_BYTES;
    if (!out.undecided_bytes)
        out.undecided_bytes = MS_LIMIT_UNPACK_UNDECIDED_BYTES;
    if (!out.stream_bytes)
        out.stream_bytes = MS_LIMIT_UNPACK_STREAM_BYTES;
    return out;
}

/* The blob itself, or what its parts were joined into. */
static enum ms_status walk_blob(struct ms_walk *walk, int fd, uint64_t size, struct ms_error *err)
{
    enum ms_unpack_shape shape = ms_unpack_shape_of(fd);
    struct ms_unpack_member blob = {.chain = ms_walk_chain(walk),
                                    .fd = fd,
                                    .size = size,
                                    .password_index = -1,
                                    .is_container = shape != MS_SHAPE_PLAIN};
    bool descend = blob.is_container, oversize = false;
    enum ms_status status = lseek(fd, 0, SEEK_SET) == 0
                                ? MS_OK
                                : ms_error_set_errno(err, MS_E_IO, errno, "cannot seek");
    if (status == MS_OK && !blob.is_container)
        status = ms_walk_oversize_blob(walk, fd, size, &oversize, err);
    if (status == MS_OK && !oversize)
        status = walk->events->member(walk->events->ctx, &blob, &descend, err);
    if (status == MS_OK && !blob.is_container)
        status = ms_walk_fault(walk, MS_UNPACK_NOT_ARCHIVE, "", err);
    if (status == MS_OK && !blob.is_container)
        status = ms_walk_program(walk, fd, size, 0, err);
    else if (status == MS_OK && descend)
        status = ms_walk_open(walk, fd, shape, 0, err);
    return status;
}

enum ms_status ms_unpack_walk_input(const struct ms_unpack_input *input,
                                    const struct ms_span *passwords, size_t password_count,
                                    const struct ms_unpack_limits *limits,
                                    const struct ms_unpack_events *events, struct ms_error *err)
{
    struct stat st;
    if (fstat(input->fd, &st) != 0 || st.st_size < 0 || lseek(input->fd, 0, SEEK_SET) != 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot read the blob");
    struct ms_walk walk = {.passwords = passwords,
                           .password_count = password_count < MS_LIMIT_UNPACK_PASSWORDS
                                                 ? password_count
                                                 : MS_LIMIT_UNPACK_PASSWORDS,
                           .last_password = -1,
                           .limits = with_defaults(limits),
                           .events = events,
                           .part_named = input->part_named || input->part_count > 1,
                           .overlay = input->overlay};
    ms_buf_init(&walk.chain, ((size_t)walk.limits.depth + 2) * (MS_LIMIT_NAME_BYTES + 1));
    struct ms_walk_memory joined = {.fd = -1};
    enum ms_join how = MS_JOIN_AS_IS;
    enum ms_status status = MS_OK;
    uint64_t size = (uint64_t)st.st_size;
    struct ms_unpack_input one = *input;
    if (input->part_count < 2) {
        one.part_bytes = &size;
        one.part_count = 1;
    }
    if (walk.part_named || input->zip_named)
        status = ms_walk_join(&walk, &one, &joined, &how, err);
    if (status == MS_OK && how == MS_JOIN_AS_IS)
        status = walk_blob(&walk, input->fd, size, err);
    else if (status == MS_OK && how == MS_JOIN_DONE)
        status = walk_blob(&walk, joined.fd, joined.bytes, err);
    ms_walk_memory_close(&walk, &joined);
    ms_decrypt_keys_free(walk.keys);
    ms_buf_release(&walk.chain);
    return status;
}

enum ms_status ms_unpack_walk(int fd, const struct ms_span *passwords, size_t password_count,
                              const struct ms_unpack_limits *limits,
                              const struct ms_unpack_events *events, struct ms_error *err)
{
    const struct ms_unpack_input input = {.fd = fd};
    return ms_unpack_walk_input(&input, passwords, password_count, limits, events, err);
}

/* The memory files of a walk: what is held of a member, counted, and what is not. It knows no
 * container and no password. */
#define _GNU_SOURCE
#include "base/limits.h"
#include "base/unpack_walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* TAIL_BYTES: as far from its end as libarchive looks for a zip file's directory. */
enum { RETRIES = 16, PAGE_BYTES = 4096, TAIL_BYTES = 16 << 10 };

enum ms_status ms_walk_memory_open(struct ms_walk_memory *memory, struct ms_error *err)
{
    *memory = (struct ms_walk_memory){.fd = memfd_create("member", MFD_CLOEXEC)};
    if (memory->fd < 0)
        return ms_error_set_errno(err, MS_E_IO, errno, "cannot make a memory file");
    return MS_OK;
}

void ms_walk_memory_close(struct ms_walk *walk, struct ms_walk_memory *memory)
{
    walk->held_bytes -= memory->dropped ? 0 : memory->bytes;
    memory->bytes = 0;
    if (memory->fd >= 0)
        (void)close(memory->fd);
    memory->fd = -1;
    free(memory->tail);
    memory->tail = NULL;
    ms_walk_oversize_free(memory->oversize);
    memory->oversize = NULL;
}

/* Grows the memory file's accounted size to `end`; OK, or the limit that says no. */
static enum ms_unpack_fault account(struct ms_walk *walk, struct ms_walk_memory *memory,
                                    uint64_t end, uint64_t max_bytes)
{
    if (end <= memory->bytes)
        return MS_UNPACK_OK;
    uint64_t more = end - memory->bytes;
    if (end > max_bytes)
        return MS_UNPACK_LIMIT_ENTRY;
    if (more > walk->limits.total_bytes - walk->produced_bytes)
        return MS_UNPACK_LIMIT_TOTAL;
    if (!memory->dropped && more > MS_LIMIT_UNPACK_HELD_BYTES - walk->held_bytes)
        return MS_UNPACK_LIMIT_MEMORY;
    walk->produced_bytes += more;
    walk->held_bytes += memory->dropped ? 0 : more;
    memory->bytes = end;
    return MS_UNPACK_OK;
}

bool ms_walk_write(const struct ms_walk_memory *memory, const void *bytes, size_t n, uint64_t at)
{
    while (n) {
        ssize_t done = pwrite(memory->fd, bytes, n, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        bytes = (const uint8_t *)bytes + done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    return true;
}

const char *ms_walk_limit_text(enum ms_unpack_fault fault)
{
    switch (fault) {
    case MS_UNPACK_LIMIT_ENTRY:
        return "larger than a member may be";
    case MS_UNPACK_LIMIT_TOTAL:
        return "more bytes than one blob may give";
    case MS_UNPACK_LIMIT_MEMORY:
        return "more bytes than may be held at a time";
    default:
        return "";
    }
}

/* ---- holes ----------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *bytes, size_t n)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0;
}

/* Writes all but whole pages of zeros: programs of hundreds of megabytes are zeros for the most
 * part, and a hole takes no memory. */
static bool write_pages(struct ms_walk_memory *memory, const uint8_t *bytes, size_t n, uint64_t at)
{
    size_t done = 0;
    while (done < n) {
        size_t end = done;
        size_t page = 0;
        for (; end < n; end += page) {
            page = PAGE_BYTES - (size_t)((at + end) % PAGE_BYTES);
            page = page < n - end ? page : n - end;
            if (page == PAGE_BYTES && is_zero(bytes + end, page))
                break;
        }
        if (!ms_walk_write(memory, bytes + done, end - done, at + done))
            return false;
        memory->holes |= end < n;
        done = end < n ? end + page : n;
    }
    return true;
}

bool ms_walk_memory_finish(struct ms_walk_memory *memory)
{
    return memory->dropped || !memory->holes || ftruncate(memory->fd, (off_t)memory->bytes) == 0;
}

/* ---- what is not held ------------------------------------------------------------------------ */

/* May what begins like this be an archive for all that its first bytes show? An ISO image begins
 * with anything; a self-extracting program of other systems is read from its end. */
static bool may_hide_archive(int fd, const uint8_t head[16])
{
    uint8_t iso[5];
    return memcmp(head, "\177ELF", 4) == 0 ||
           (pread(fd, iso, sizeof iso, 32769) == (ssize_t)sizeof iso &&
            memcmp(iso, "CD001", sizeof iso) == 0);
}

bool ms_walk_memory_drop(struct ms_walk *walk, struct ms_walk_memory *memory)
{
    memory->tail = malloc((size_t)2 * TAIL_BYTES);
    if (!memory->tail || (!memory->offered && ftruncate(memory->fd, 0) != 0))
        return false;
    memory->tail_bytes = 0;
    memory->dropped = true;
    walk->held_bytes -= memory->bytes;
    return true;
}

/* Called once, when a member has become large: what nobody can use is only counted and checked from
 * here on. */
static void decide(struct ms_walk *walk, struct ms_walk_memory *memory)
{
    uint8_t head[16];
    const char *wanted = walk->limits.wanted;
    const bool streaming = walk->limits.streaming && memory->may_stream;
    memory->decided = true;
    if (!memory->may_drop || (!wanted && !streaming) ||
        pread(memory->fd, head, sizeof head, 0) != (ssize_t)sizeof head ||
        (wanted && strncmp((const char *)head, wanted, strlen(wanted)) == 0) ||
        may_hide_archive(memory->fd, head) || ms_unpack_shape_of(memory->fd) != MS_SHAPE_PLAIN)
        return;
    memory->offered = streaming;
    if (!streaming)
        (void)ms_walk_memory_drop(walk, memory);
}

static void keep_tail(struct ms_walk_memory *memory, const uint8_t *bytes, size_t n)
{
    if (n > TAIL_BYTES) {
        bytes += n - TAIL_BYTES;
        n = TAIL_BYTES;
    }
    if (memory->tail_bytes + n > (size_t)2 * TAIL_BYTES) {
        memmove(memory->tail, memory->tail + memory->tail_bytes - TAIL_BYTES, TAIL_BYTES);
        memory->tail_bytes = TAIL_BYTES;
    }
    if (n)
        memcpy(memory->tail + memory->tail_bytes, bytes, n);
    memory->tail_bytes += n;
}

bool ms_walk_memory_ends_like_zip(const struct ms_walk_memory *memory)
{
    return memory->dropped && memory->tail_bytes &&
           memmem(memory->tail, memory->tail_bytes, "PK\5\6", 4);
}

bool ms_walk_put(struct ms_walk *walk, struct ms_walk_memory *memory, const void *bytes, size_t n,
                 uint64_t at, uint64_t max_bytes, enum ms_unpack_fault *fault, const char **text)
{
    uint64_t end, before = memory->bytes;
    *fault = MS_UNPACK_CORRUPT;
    *text = "pieces out of order";
    if (!ms_add_u64(at, n, &end))
        return false;
    if (end > walk->limits.entry_bytes && !memory->oversize)
        ms_walk_oversize_begin(walk, memory, bytes, n, at);
    *fault = account(walk, memory, end, memory->oversize ? UINT64_MAX : max_bytes);
    *text = ms_walk_limit_text(*fault);
    if (*fault == MS_UNPACK_OK && memory->oversize) {
        ms_walk_oversize_add(memory->oversize, at > before ? at - before : 0, bytes, n);
    } else if (*fault == MS_UNPACK_OK && memory->dropped) {
        keep_tail(memory, bytes, n);
    } else if (*fault == MS_UNPACK_OK && n && !write_pages(memory, bytes, n, at)) {
        *fault = MS_UNPACK_LIMIT_MEMORY;
        *text = "cannot grow a memory file";
    }
    if (*fault == MS_UNPACK_OK && !memory->decided && end > walk->limits.undecided_bytes)
        decide(walk, memory);
    return *fault == MS_UNPACK_OK;
}

/* ---- one member ------------------------------------------------------------------------------ */

enum ms_status ms_walk_copy(struct ms_walk *walk, const struct ms_walk_source *source,
                            uint64_t max_bytes, unsigned depth, struct ms_walk_memory *out,
                            enum ms_unpack_fault *fault, const char **text, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    struct ms_span bytes;
    uint64_t at;
    *fault = MS_UNPACK_OK;
    while (status == MS_OK && !out->streamed &&
           source->next(source->ctx, &bytes, &at, fault, text) &&
           ms_walk_put(walk, out, bytes.data, bytes.len, at, max_bytes, fault, text))
        if (out->offered)
            status = ms_walk_offer(walk, source, max_bytes, depth, out, fault, text, err);
    if (*fault == MS_UNPACK_OK && !ms_walk_memory_finish(out)) {
        *fault = MS_UNPACK_LIMIT_MEMORY;
        *text = "cannot grow a memory file";
    }
    return status;
}

struct archived {
    struct archive *archive;
    uint64_t position;
    unsigned retries;
};

static bool next_archived(void *ctx, struct ms_span *bytes, uint64_t *at,
                          enum ms_unpack_fault *fault, const char **text)
{
    struct archived *self = ctx;
    const void *data;
    la_int64_t offset;
    size_t n;
    int rc;
    do {
        /* A RAR 5 member's piece may come later than it is promised: OK, no bytes, no place. */
        data = NULL;
        n = 0;
        offset = (la_int64_t)self->position;
        rc = archive_read_data_block(self->archive, &data, &n, &offset);
    } while (rc == ARCHIVE_RETRY && self->retries++ < RETRIES);
    if (rc == ARCHIVE_EOF)
        return false;
    if (rc != ARCHIVE_OK) { /* ARCHIVE_WARN too: that is how a wrong checksum is told */
        *fault = ms_unpack_fault_of(self->archive, text);
    } else if (offset < 0 || (uint64_t)offset < self->position) {
        *fault = MS_UNPACK_CORRUPT;
        *text = "pieces out of order";
    }
    *at = (uint64_t)offset;
    *bytes = ms_span_of(data, n);
    self->position = *at + n;
    return *fault == MS_UNPACK_OK;
}

enum ms_status ms_walk_extract(struct ms_walk *walk, struct archive *a, uint64_t max_bytes,
                               unsigned depth, struct ms_walk_memory *out,
                               enum ms_unpack_fault *fault, const char **text, struct ms_error *err)
{
    struct archived archived = {.archive = a};
    const struct ms_walk_source source = {&archived, next_archived};
    return ms_walk_copy(walk, &source, max_bytes, depth, out, fault, text, err);
}

enum ms_status ms_walk_renew(struct ms_walk_level *level, int fd, uint32_t headers,
                             struct archive **a, struct ms_error *err)
{
    (void)archive_read_free(*a);
    *a = NULL;
    level->spoiled = false;
    if (level->renewals++ < MS_LIMIT_UNPACK_RENEWALS)
        *a = ms_unpack_open_behind(fd, headers);
    if (*a || level->damaged)
        return MS_OK;
    level->damaged = true;
    return ms_walk_fault(level->walk, MS_UNPACK_CORRUPT,
                         "what follows a damaged RAR 5 member cannot be reached", err);
}

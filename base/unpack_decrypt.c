/* Encrypted containers in the walk: which password is tried on which unit, and what an attempt
 * proves. Rewriting is base/decrypt's business.
 *
 * A unit's members are handed out once their checksums are right. A password counts as proven when
 * that happened to a member of a few bytes or more, or when the container itself says so; from then
 * on a bad member is damage, before it the next candidate is tried. */
#define _GNU_SOURCE
#include "base/limits.h"
#include "base/unpack_walk.h"

#include <archive_entry.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct unit {
    struct ms_walk_level level;
    const struct ms_decrypt *decrypt;
    size_t index;
    ptrdiff_t headers_password; /* what opened the headers; -1: they were open */
    uint32_t done;              /* members that were handed out */
    uint32_t known;             /* members that were counted */
};

static enum ms_unpack_fault fault_of(enum ms_decrypt_answer answer)
{
    switch (answer) {
    case MS_DECRYPT_WRONG_PASSWORD:
        return MS_UNPACK_NEED_PASSWORD;
    case MS_DECRYPT_UNSUPPORTED:
        return MS_UNPACK_UNSUPPORTED;
    case MS_DECRYPT_LIMIT_WORK:
        return MS_UNPACK_LIMIT_WORK;
    case MS_DECRYPT_LIMIT_MEMORY:
        return MS_UNPACK_LIMIT_MEMORY;
    case MS_DECRYPT_INCOMPLETE:
        return MS_UNPACK_INCOMPLETE;
    default:
        return MS_UNPACK_CORRUPT;
    }
}

static bool is_open(enum ms_decrypt_answer answer)
{
    return answer == MS_DECRYPT_DONE || answer == MS_DECRYPT_MAYBE;
}

/* The n-th candidate to try: what worked last, then the others in their order; -1 behind the last.
 */
static ptrdiff_t candidate(const struct ms_walk *walk, ptrdiff_t first, size_t n)
{
    if (first >= 0) {
        if (n == 0)
            return first;
        n -= (ptrdiff_t)n <= first;
    }
    return n < walk->password_count ? (ptrdiff_t)n : -1;
}

static bool is_usable(struct ms_span password)
{
    return password.len && !memchr(password.data, 0, password.len);
}

/* ---- one unit -------------------------------------------------------------------------------- */

/* Members of the rewritten unit in fd. *miss: a member did not come out, and no password is proven.
 */
static enum ms_status read_unit(struct unit *unit, int fd, ptrdiff_t password, bool *miss,
                                struct ms_error *err)
{
    struct ms_walk_level *level = &unit->level;
    struct ms_walk *walk = level->walk;
    const char *why;
    *miss = false;
    const struct ms_decrypt *decrypt = unit->decrypt;
    bool bare = decrypt->format->unit_is_proven &&
                decrypt->format->unit_is_proven(decrypt->state, unit->index);
    struct archive *a = ms_unpack_open_rewritten(fd, decrypt->format->name, bare, &why);
    if (!a)
        return ms_walk_fault(walk, MS_UNPACK_CORRUPT, why, err);
    enum ms_status status = MS_OK;
    for (uint32_t index = 0; status == MS_OK && !walk->stopped && !*miss && a; index++) {
        struct archive_entry *entry;
        int rc = archive_read_next_header(a, &entry);
        if (rc == ARCHIVE_EOF)
            break;
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) {
            /* Behind a bad member, which was told, nothing can be found. */
            enum ms_unpack_fault fault = ms_unpack_fault_of(a, &why);
            *miss = password >= 0 && !level->proven;
            if (!*miss && !level->damaged)
                status = ms_walk_fault(walk, fault, why, err);
            break;
        }
        if (index >= unit->known) {
            unit->known = index + 1;
            if (++walk->entries > walk->limits.entries) {
                status = ms_walk_stop(walk, MS_UNPACK_LIMIT_ENTRIES,
                                      "more members than one blob may have", err);
                break;
            }
        }
        if (index < unit->done || !ms_unpack_is_file(entry))
            continue;
        uint32_t number = (uint32_t)(unit->index < UINT32_MAX / 2 ? unit->index : 0) + index;
        level->member = index;
        status = ms_walk_take_member(level, a, entry, number, password, miss, err);
        if (!*miss)
            unit->done = index + 1;
        if (status == MS_OK && !*miss && level->spoiled)
            status = ms_walk_renew(level, fd, index + 1, &a, err);
    }
    (void)archive_read_free(a);
    return status;
}

/* One attempt. *open: the unit was read to its end, or as far as its damage allows. */
static enum ms_status try_unit(struct unit *unit, ptrdiff_t password,
                               enum ms_decrypt_answer *answer, bool *open, const char **why,
                               struct ms_error *err)
{
    struct ms_walk *walk = unit->level.walk;
    struct ms_walk_memory memory;
    struct ms_span text =
        password >= 0 ? walk->passwords[password] : ms_span_of((const uint8_t *)"", 0);
    bool miss = true;
    *open = false;
    enum ms_status status = ms_walk_memory_open(&memory, err);
    if (status != MS_OK)
        return status;
    /* Held, and not among the bytes the blob gives: the members will be. */
    *answer = unit->decrypt->format->rewrite(unit->decrypt->state, unit->index, text, memory.fd,
                                             MS_LIMIT_UNPACK_HELD_BYTES - walk->held_bytes,
                                             &memory.bytes, why);
    walk->held_bytes += memory.bytes;
    unit->level.proven |= *answer == MS_DECRYPT_DONE && password >= 0;
    if (is_open(*answer)) {
        status = read_unit(unit, memory.fd, password, &miss, err);
        *open = !miss;
    }
    ms_walk_memory_close(walk, &memory);
    return status;
}

/* Tries what there is. *closed: no candidate opened it. */
static enum ms_status open_unit(struct unit *unit, bool *closed, struct ms_error *err)
{
    struct ms_walk *walk = unit->level.walk;
    enum ms_decrypt_answer answer = MS_DECRYPT_WRONG_PASSWORD;
    enum ms_status status = MS_OK;
    const char *why = "";
    char damage[160] = "";
    bool open = false;
    *closed = false;
    if (!unit->decrypt->format->unit_needs_password(unit->decrypt->state, unit->index)) {
        status = try_unit(unit, -1, &answer, &open, &why, err);
        return status == MS_OK && !is_open(answer) ? ms_walk_fault(walk, fault_of(answer), why, err)
                                                   : status;
    }
    /* The headers' password is almost surely the data's, whatever opened something inside since. */
    ptrdiff_t first = unit->headers_password >= 0 ? unit->headers_password : walk->last_password;
    ptrdiff_t password;
    for (size_t n = 0; status == MS_OK && !open && !walk->stopped; n++) {
        password = candidate(walk, first, n);
        if (password < 0)
            break;
        if (!is_usable(walk->passwords[password]))
            continue;
        status = try_unit(unit, password, &answer, &open, &why, err);
        if (answer == MS_DECRYPT_DAMAGED)
            (void)snprintf(damage, sizeof damage, "%s", why);
        else if (status == MS_OK && !is_open(answer) && answer != MS_DECRYPT_WRONG_PASSWORD)
            return ms_walk_fault(walk, fault_of(answer), why, err);
        if (status == MS_OK && !open && unit->level.refused)
            return ms_walk_fault(walk, MS_UNPACK_UNSUPPORTED, unit->level.accepted, err);
    }
    if (status == MS_OK && !open && !walk->stopped && damage[0])
        return ms_walk_fault(walk, MS_UNPACK_CORRUPT, damage, err);
    *closed = !open;
    return status;
}

/* ---- containers ------------------------------------------------------------------------------ */

/* Headers first. *open: they are readable now; if not, that was told. *proven: by a checksum. */
static enum ms_status unlock(struct ms_walk *walk, const struct ms_decrypt *decrypt, bool *open,
                             bool *proven, struct ms_error *err)
{
    const char *why = "";
    char text[128];
    ptrdiff_t first = walk->last_password, password;
    *open = !decrypt->locked;
    *proven = false;
    for (size_t n = 0; !*open; n++) {
        password = candidate(walk, first, n);
        if (password < 0)
            break;
        if (!is_usable(walk->passwords[password]))
            continue;
        enum ms_decrypt_answer answer =
            decrypt->format->unlock(decrypt->state, walk->passwords[password], &why);
        *open = is_open(answer);
        *proven = answer == MS_DECRYPT_DONE;
        if (!*open && answer != MS_DECRYPT_WRONG_PASSWORD)
            return ms_walk_fault(walk, fault_of(answer), why, err);
        if (*open)
            walk->last_password = password;
    }
    if (*open)
        return MS_OK;
    (void)snprintf(text, sizeof text, "the headers are encrypted, %zu passwords tried",
                   walk->password_count);
    return ms_walk_fault(walk, MS_UNPACK_NEED_PASSWORD, text, err);
}

static enum ms_status tell_closed(struct ms_walk *walk, size_t closed, bool proven,
                                  const char *accepted, struct ms_error *err)
{
    char text[320];
    if (!closed || walk->stopped)
        return MS_OK;
    /* The headers' password is almost surely the data's as well. */
    if (proven)
        return ms_walk_fault(walk, MS_UNPACK_CORRUPT,
                             accepted[0] ? accepted : "the headers' password does not fit the data",
                             err);
    (void)snprintf(text, sizeof text, "%zu encrypted parts, %zu passwords tried%s%s", closed,
                   walk->password_count, accepted[0] ? "; one was accepted, then: " : "", accepted);
    return ms_walk_fault(walk, MS_UNPACK_NEED_PASSWORD, text, err);
}

static enum ms_status walk_units(struct ms_walk *walk, const struct ms_decrypt *decrypt, int fd,
                                 unsigned depth, struct ms_error *err)
{
    bool open, proven, opened = false;
    size_t closed = 0;
    char accepted[160] = "";
    enum ms_status status = unlock(walk, decrypt, &open, &proven, err);
    size_t count = status == MS_OK && open ? decrypt->format->unit_count(decrypt->state) : 0;
    ptrdiff_t headers_password = walk->last_password;
    for (size_t i = 0; status == MS_OK && i < count && !walk->stopped; i++) {
        struct unit unit = {
            .level =
                {.walk = walk, .fd = fd, .depth = depth, .rewritten = true, .decrypt = decrypt},
            .decrypt = decrypt,
            .index = i,
            .headers_password = decrypt->locked ? headers_password : -1,
        };
        bool unit_closed = false;
        bool hopeless = !opened && closed >= MS_LIMIT_DECRYPT_UNIT_MISSES;
        if (hopeless && decrypt->format->unit_needs_password(decrypt->state, i)) {
            closed++;
            continue;
        }
        status = open_unit(&unit, &unit_closed, err);
        opened |= unit.level.opened;
        closed += unit_closed;
        if (!unit_closed)
            continue;
        memcpy(accepted, unit.level.accepted, sizeof accepted);
        /* It has a member at least, and all candidates were tried: that counts as one seen. */
        if (status == MS_OK && !unit.known && ++walk->entries > walk->limits.entries)
            status = ms_walk_stop(walk, MS_UNPACK_LIMIT_ENTRIES,
                                  "more members than one blob may have", err);
    }
    return status == MS_OK ? tell_closed(walk, closed, proven, accepted, err) : status;
}

enum ms_status ms_walk_encrypted(struct ms_walk *walk, int fd, unsigned depth, bool *mine,
                                 struct ms_error *err)
{
    struct ms_decrypt decrypt;
    const char *why = "";
    *mine = true;
    if (!walk->keys)
        walk->keys = ms_decrypt_keys_new();
    if (!walk->keys)
        return ms_error_set(err, MS_E_NOMEM, "out of memory");
    enum ms_decrypt_answer answer = ms_decrypt_open(fd, walk->keys, &decrypt, &why);
    if (answer == MS_DECRYPT_NOT_ENCRYPTED) {
        *mine = false;
        return MS_OK;
    }
    if (answer != MS_DECRYPT_DONE)
        return ms_walk_fault(walk, fault_of(answer), why, err);
    enum ms_status status = walk_units(walk, &decrypt, fd, depth, err);
    ms_decrypt_close(&decrypt);
    return status;
}

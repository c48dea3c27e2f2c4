/* Fuzz target: archives in several files, joined and walked, and archives behind programs, with
 * small limits that must hold. The first byte says how many parts there are (low three bits),
 * whether what begins with "MZ" is a program of 16 bytes with more behind it (0x20), whether the
 * parts are named like a set (0x40) and whether the checksums of each part's headers are mended
 * (0x80); two bytes a part are its size, the last takes the rest. */
#include "base/file.h"
#include "base/unpack.h"
#include "mended.h"
#include "worker_memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PARTS_MAX = 8, MEMBERS_MAX = 100, TOTAL_MAX_BYTES = 4 << 20, ENTRY_MAX_BYTES = 1 << 20 };
enum { DEPTH_MAX = 2, PROGRAM_BYTES = 16, PROGRAM = 0x20, NAMED = 0x40, MENDED = 0x80 };

struct walk {
    unsigned members;
    uint64_t total;
    bool apart; /* told to be no set: nothing may have been walked */
};

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    struct walk *self = ctx;
    (void)descend;
    (void)err;
    self->members++;
    self->total += member->depth ? member->size : 0;
    if (member->depth > DEPTH_MAX || (member->depth && member->size > ENTRY_MAX_BYTES) ||
        self->members > MEMBERS_MAX + 1 || self->total > TOTAL_MAX_BYTES || self->apart)
        abort();
    return MS_OK;
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    struct walk *self = ctx;
    (void)chain;
    (void)detail;
    (void)err;
    if (fault == MS_UNPACK_OK || !ms_unpack_fault_name(fault))
        abort();
    self->apart |= fault == MS_UNPACK_APART;
    return MS_OK;
}

static bool overlay(int fd, uint64_t size, uint64_t *at, uint64_t *end)
{
    (void)fd;
    *at = PROGRAM_BYTES;
    *end = size;
    return size > PROGRAM_BYTES;
}

static void walk_parts(int fd, const uint64_t *part_bytes, size_t count, uint8_t mode)
{
    static const struct ms_unpack_limits limits = {.depth = DEPTH_MAX,
                                                   .entries = MEMBERS_MAX,
                                                   .total_bytes = TOTAL_MAX_BYTES,
                                                   .entry_bytes = ENTRY_MAX_BYTES};
    const struct ms_span passwords[] = {{(const uint8_t *)"infected", 8}};
    struct walk walk = {0};
    const struct ms_unpack_events events = {&walk, on_member, on_fault};
    const struct ms_unpack_input input = {.fd = fd,
                                          .part_bytes = part_bytes,
                                          .part_count = count,
                                          .part_named = mode & NAMED,
                                          .overlay = mode & PROGRAM ? overlay : NULL};
    if (ms_unpack_walk_input(&input, passwords, 1, &limits, &events, NULL) == MS_E_BUG)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t part_bytes[PARTS_MAX];
    int fd = -1;
    if (!size)
        return 0;
    uint8_t mode = data[0];
    size_t count = (size_t)(mode & 7) + 1, at = 1 + 2 * (count - 1);
    if (size < at)
        return 0;
    size_t n = size - at, left = n;
    uint8_t *bytes = malloc(n ? n : 1);
    if (!bytes || ms_file_memory("fuzz", &fd, NULL) != MS_OK)
        abort();
    memcpy(bytes, data + at, n);
    for (size_t i = 0; i < count; i++) {
        size_t part = left;
        if (i + 1 < count)
            part = (size_t)data[1 + 2 * i] | (size_t)data[2 + 2 * i] << 8;
        part_bytes[i] = part < left ? part : left;
        uint8_t *start = bytes + (n - left);
        size_t before = part_bytes[i] > PROGRAM_BYTES && start[0] == 'M' ? PROGRAM_BYTES : 0;
        if (mode & MENDED)
            mend_any(start + before, (size_t)part_bytes[i] - before);
        left -= (size_t)part_bytes[i];
    }
    if (ms_file_write_all(fd, bytes, n, NULL) == MS_OK)
        walk_parts(fd, part_bytes, count, mode);
    close(fd);
    free(bytes);
    return 0;
}

/* Fuzz target: archives, nested ones too, with small limits that must hold. */
#include "base/file.h"
#include "base/unpack.h"
#include "worker_memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMBERS_MAX = 200, TOTAL_MAX_BYTES = 4 << 20, ENTRY_MAX_BYTES = 1 << 20, DEPTH_MAX = 3 };

struct walk {
    unsigned members;
    uint64_t total;
};

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    struct walk *self = ctx;
    (void)descend;
    (void)err;
    if (memchr(member->chain.data ? member->chain.data : (const uint8_t *)"", 0, member->chain.len))
        abort();
    if (member->depth > DEPTH_MAX || (member->depth && member->size > ENTRY_MAX_BYTES))
        abort();
    self->members++;
    self->total += member->depth ? member->size : 0;
    if (self->members > MEMBERS_MAX + 1 || self->total > TOTAL_MAX_BYTES)
        abort();
    return MS_OK;
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    (void)ctx;
    (void)chain;
    (void)detail;
    (void)err;
    if (fault == MS_UNPACK_OK || !ms_unpack_fault_name(fault))
        abort();
    return MS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ms_unpack_limits limits = {.depth = DEPTH_MAX,
                                                   .entries = MEMBERS_MAX,
                                                   .total_bytes = TOTAL_MAX_BYTES,
                                                   .entry_bytes = ENTRY_MAX_BYTES};
    const struct ms_span passwords[] = {{(const uint8_t *)"infected", 8}};
    struct walk walk = {0};
    const struct ms_unpack_events events = {&walk, on_member, on_fault};
    struct ms_error err;
    int fd = -1;
    static bool prepared;
    if (!prepared)
        ms_unpack_prepare();
    prepared = true;
    if (ms_file_memory("fuzz", &fd, &err) != MS_OK)
        return 0;
    if (ms_file_write_all(fd, data, size, &err) == MS_OK && lseek(fd, 0, SEEK_SET) == 0 &&
        ms_unpack_walk(fd, passwords, 1, &limits, &events, &err) == MS_E_BUG)
        abort();
    close(fd);
    return 0;
}

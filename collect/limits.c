/* Limits of a run: defaults, what the worker gets of them, and their written form. */
#include "collect/limits.h"

#include "base/json.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

enum { WALL_PER_CPU = 5, FRAMES_PER_MEMBER_BYTES = 16 << 10, FRAMES_BESIDE_BYTES = 64 << 20 };

/* The default's share of what the limits allow, rounded up. */
static uint64_t times(uint64_t now, uint64_t usual)
{
    return now / usual + (now % usual != 0);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

struct ms_collect_limits ms_collect_limits_settle(const struct ms_collect_limits *self)
{
    struct ms_collect_limits out = *self;
    struct ms_unpack_limits *unpack = &out.unpack;
    unpack->depth = unpack->depth ? unpack->depth : MS_LIMIT_UNPACK_DEPTH;
    unpack->entries = unpack->entries ? unpack->entries : MS_LIMIT_UNPACK_ENTRIES;
    unpack->total_bytes = unpack->total_bytes ? unpack->total_bytes : MS_LIMIT_UNPACK_TOTAL_BYTES;
    unpack->entry_bytes = unpack->entry_bytes ? unpack->entry_bytes : MS_LIMIT_UNPACK_ENTRY_BYTES;
    out.file_bytes = out.file_bytes ? out.file_bytes : MS_LIMIT_BLOB_BYTES;
    if (!out.cpu_s) {
        uint64_t scale = larger(times(unpack->total_bytes, MS_LIMIT_UNPACK_TOTAL_BYTES),
                                times(unpack->entries, MS_LIMIT_UNPACK_ENTRIES));
        uint64_t cpu_s = scale * MS_LIMIT_WORKER_CPU_S;
        out.cpu_s =
            (uint32_t)(cpu_s < MS_LIMIT_UNPACK_CPU_S_MOST ? cpu_s : MS_LIMIT_UNPACK_CPU_S_MOST);
    }
    return out;
}

struct ms_worker_limits ms_collect_limits_worker(const struct ms_collect_limits *self)
{
    const struct ms_unpack_limits *unpack = &self->unpack;
    uint64_t usual = MS_LIMIT_UNPACK_ENTRY_BYTES;
    uint64_t more = larger(unpack->entry_bytes, usual) - usual; /* a member is mapped whole */
    return (struct ms_worker_limits){
        .address_bytes = MS_LIMIT_WORKER_ADDRESS_BYTES + more,
        .cpu_s = self->cpu_s,
        .wall_ms = self->cpu_s * 1000 * WALL_PER_CPU,
        .output_bytes = larger(unpack->total_bytes, unpack->entry_bytes) +
                        unpack->entries * FRAMES_PER_MEMBER_BYTES + FRAMES_BESIDE_BYTES};
}

unsigned ms_collect_limit_of(enum ms_unpack_fault fault)
{
    switch (fault) {
    case MS_UNPACK_LIMIT_DEPTH:
        return MS_COLLECT_MAX_DEPTH;
    case MS_UNPACK_LIMIT_ENTRIES:
        return MS_COLLECT_MAX_MEMBERS;
    case MS_UNPACK_LIMIT_TOTAL:
        return MS_COLLECT_MAX_UNPACKED;
    case MS_UNPACK_LIMIT_ENTRY:
        return MS_COLLECT_MAX_MEMBER;
    default:
        return 0;
    }
}

/* ---- the written form ------------------------------------------------------------------------ */

struct named {
    const char *name;
    uint64_t value;
};

enum { NAMED = 6 };

/* In the order of the bits. */
static void name_all(const struct ms_collect_limits *self, struct named out[NAMED])
{
    const struct named all[NAMED] = {{"max-members", self->unpack.entries},
                                     {"max-unpacked", self->unpack.total_bytes},
                                     {"max-member", self->unpack.entry_bytes},
                                     {"max-depth", self->unpack.depth},
                                     {"max-time", self->cpu_s},
                                     {"max-file", self->file_bytes}};
    memcpy(out, all, sizeof all);
}

void ms_collect_limits_text(const struct ms_collect_limits *self, unsigned ended,
                            char out[MS_COLLECT_LIMITS_TEXT_BYTES])
{
    struct named all[NAMED];
    size_t n = 0;
    name_all(self, all);
    out[0] = '\0';
    for (size_t i = 0; i < NAMED; i++)
        if (ended >> i & 1)
            n += (size_t)snprintf(out + n, MS_COLLECT_LIMITS_TEXT_BYTES - n, "%s\"%s\":%llu",
                                  n ? "," : "{", all[i].name, (unsigned long long)all[i].value);
    if (n)
        (void)snprintf(out + n, MS_COLLECT_LIMITS_TEXT_BYTES - n, "}");
}

bool ms_collect_limits_raised(const struct ms_collect_limits *self, const char *text)
{
    struct named all[NAMED];
    json_t *ended;
    bool raised = false;
    if (!text[0] || ms_json_parse(text, strlen(text), &ended, NULL) != MS_OK)
        return false;
    name_all(self, all);
    for (size_t i = 0; i < NAMED; i++) {
        int64_t then = ms_json_int_at(ended, all[i].name, -1);
        raised |= then >= 0 && all[i].value > (uint64_t)then;
    }
    json_decref(ended);
    return raised;
}

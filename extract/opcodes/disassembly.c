/* Flow from the entry point, then a sweep of the gaps, over the regions of a file's code. Reads no
 * headers. */
#include "extract/opcodes/disassembly.h"

#include <capstone/capstone.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* INSIDE: a byte of an instruction behind its first. Lengths are 1 to 15. */
enum { INSIDE = 0xff, LENGTH_MOST = 15, ZEROS_LEAST = 8, PENDING_AT_FIRST = 256 };

struct work {
    struct ms_span file;
    const struct ms_code *code;
    csh handle;
    cs_insn *insn;
    uint8_t *length;   /* a byte of code each: 0, the length of what begins there, or INSIDE */
    uint16_t *id;      /* capstone's, of what begins there */
    uint32_t *pending; /* places that a jump or call leads to */
    size_t pending_count, pending_cap;
};

void ms_disassembly_text(char out[MS_DISASSEMBLY_TEXT_BYTES])
{
    int major = 0, minor = 0;
    (void)cs_version(&major, &minor);
    (void)snprintf(out, MS_DISASSEMBLY_TEXT_BYTES, "capstone %d.%d.%d flow+sweep %d", major, minor,
                   CS_VERSION_EXTRA, MS_DISASSEMBLY_METHOD);
}

void ms_disassembly_prepare(void)
{
    const cs_mode modes[] = {CS_MODE_32, CS_MODE_64};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        csh handle;
        if (cs_open(CS_ARCH_X86, modes[i], &handle) != CS_ERR_OK)
            continue;
        /* The first instruction of a process has capstone sort its tables: here, and not in each
         * confined child. */
        static const uint8_t ret[] = {0xc3};
        const uint8_t *bytes = ret;
        size_t left = sizeof ret;
        uint64_t address = 0;
        cs_insn *insn = cs_malloc(handle);
        if (insn) {
            (void)cs_disasm_iter(handle, &bytes, &left, &address, insn);
            cs_free(insn, 1);
        }
        (void)cs_close(&handle);
    }
}

static const uint8_t *bytes_at(const struct work *self, const struct ms_code_region *region,
                               size_t at)
{
    return self->file.data + (size_t)region->file_at + (at - region->at);
}

/* Decodes what begins at `at`, unless some of its bytes are another's. Its length, or 0. */
static size_t decode(struct work *self, const struct ms_code_region *region, size_t at)
{
    const uint8_t *bytes = bytes_at(self, region, at);
    size_t left = region->at + region->n - at;
    uint64_t address = region->address + (at - region->at);
    if (left > LENGTH_MOST)
        left = LENGTH_MOST;
    if (!cs_disasm_iter(self->handle, &bytes, &left, &address, self->insn))
        return 0;
    const size_t n = self->insn->size;
    if (n == 0 || n > LENGTH_MOST || n > region->at + region->n - at)
        return 0;
    for (size_t k = 0; k < n; k++)
        if (self->length[at + k])
            return 0;
    memset(self->length + at, INSIDE, n);
    self->length[at] = (uint8_t)n;
    self->id[at] = (uint16_t)self->insn->id;
    return n;
}

/* --- flow --- */

/* Where a direct jump or call of n bytes leads, relative to its end; false: it is none. Forms with
 * prefixes are rare, and left to the sweep. */
static bool branch_of(const uint8_t *bytes, size_t n, int64_t *distance)
{
    if (n == 2 && (bytes[0] == 0xeb || (bytes[0] & 0xf0) == 0x70 || (bytes[0] & 0xfc) == 0xe0)) {
        *distance = (bytes[1] ^ 0x80) - 0x80; /* its sign extended */
        return true;
    }
    const bool near = n == 5 && (bytes[0] == 0xe8 || bytes[0] == 0xe9);
    const bool conditional = n == 6 && bytes[0] == 0x0f && (bytes[1] & 0xf0) == 0x80;
    if (!near && !conditional)
        return false;
    const uint8_t *from = bytes + n - 4;
    const uint32_t word = (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
                          (uint32_t)from[3] << 24;
    *distance = (int32_t)word;
    return true;
}

/* Does nothing behind this instruction follow it: jmp, ret, iret, hlt, ud2? */
static bool ends_flow(const uint8_t *bytes, size_t n)
{
    static const uint8_t ends[] = {0xe9, 0xeb, 0xea, 0xc2, 0xc3, 0xca, 0xcb, 0xcf, 0xf4};
    if (memchr(ends, bytes[0], sizeof ends))
        return true;
    if (n >= 2 && bytes[0] == 0xff) /* jmp through memory or a register */
        return (bytes[1] >> 3 & 7) == 4 || (bytes[1] >> 3 & 7) == 5;
    return n == 2 && bytes[0] == 0x0f && bytes[1] == 0x0b;
}

static const struct ms_code_region *region_of(const struct ms_code *code, uint64_t address)
{
    for (size_t i = 0; i < code->count; i++)
        if (address >= code->regions[i].address &&
            address - code->regions[i].address < code->regions[i].n)
            return &code->regions[i];
    return NULL;
}

/* Addresses outside of the code, and places that were decoded, are nothing to follow. An
 * instruction brings one place at most, so there are never more than bytes of code. */
static enum ms_status add_pending(struct work *self, uint64_t address, struct ms_error *err)
{
    const struct ms_code_region *region = region_of(self->code, address);
    if (!region)
        return MS_OK;
    const size_t at = region->at + (size_t)(address - region->address);
    if (self->length[at])
        return MS_OK;
    if (self->pending_count == self->pending_cap) {
        size_t cap = self->pending_cap ? self->pending_cap * 2 : PENDING_AT_FIRST;
        uint32_t *longer = realloc(self->pending, cap * sizeof *longer);
        if (!longer)
            return ms_error_set(err, MS_E_NOMEM, "no memory to follow code");
        self->pending = longer;
        self->pending_cap = cap;
    }
    self->pending[self->pending_count++] = (uint32_t)at;
    return MS_OK;
}

static const struct ms_code_region *region_at(const struct ms_code *code, size_t at)
{
    size_t i = 0;
    while (at - code->regions[i].at >= code->regions[i].n)
        i++;
    return &code->regions[i];
}

/* The length of the padding that begins at `at`; 0: none. It ends before what is decoded. */
static size_t padding_at(const struct work *self, const struct ms_code_region *region, size_t at)
{
    const uint8_t *bytes = bytes_at(self, region, at);
    const size_t left = region->at + region->n - at;
    const uint8_t with = bytes[0];
    size_t n = 0;
    if (with != 0 && with != 0xcc)
        return 0;
    while (n < left && bytes[n] == with && !self->length[at + n])
        n++;
    return with == 0xcc || n >= ZEROS_LEAST ? n : 0;
}

/* From a place to where the flow ends, or meets what is known, or padding, or no instruction. */
static enum ms_status follow(struct work *self, size_t at, struct ms_disassembly *out,
                             struct ms_error *err)
{
    const struct ms_code_region *region = region_at(self->code, at);
    enum ms_status status = MS_OK;
    while (status == MS_OK && at < region->at + region->n) {
        const size_t n = padding_at(self, region, at) ? 0 : decode(self, region, at);
        if (!n)
            break;
        const uint8_t *bytes = bytes_at(self, region, at);
        int64_t distance;
        out->followed++;
        at += n;
        if (branch_of(bytes, n, &distance))
            status =
                add_pending(self, region->address + (at - region->at) + (uint64_t)distance, err);
        if (ends_flow(bytes, n))
            break;
    }
    return status;
}

static enum ms_status follow_all(struct work *self, struct ms_disassembly *out,
                                 struct ms_error *err)
{
    enum ms_status status = self->code->entry ? add_pending(self, self->code->entry, err) : MS_OK;
    while (status == MS_OK && self->pending_count)
        status = follow(self, self->pending[--self->pending_count], out, err);
    return status;
}

/* --- sweep --- */

static void sweep(struct work *self, const struct ms_code_region *region,
                  struct ms_disassembly *out)
{
    const size_t end = region->at + region->n;
    for (size_t at = region->at; at < end;) {
        size_t n = self->length[at];
        if (!n)
            n = padding_at(self, region, at);
        if (!n)
            n = decode(self, region, at);
        out->unread += n == 0;
        at += n ? n : 1;
    }
}

static enum ms_status visit_all(const struct work *self, ms_opcode_visit visit, void *ctx,
                                struct ms_disassembly *out, struct ms_error *err)
{
    enum ms_status status = MS_OK;
    for (size_t at = 0; status == MS_OK && at < self->code->bytes; at++) {
        if (!self->length[at] || self->length[at] == INSIDE)
            continue;
        const char *name = cs_insn_name(self->handle, self->id[at]);
        if (!name)
            continue;
        out->opcodes++;
        status = visit(ctx, ms_span_of(name, strlen(name)), err);
    }
    return status;
}

static uint32_t entropy_of(const struct work *self)
{
    uint64_t counts[256] = {0};
    double bits = 0;
    for (size_t i = 0; i < self->code->count; i++) {
        const struct ms_code_region *region = &self->code->regions[i];
        const uint8_t *bytes = bytes_at(self, region, region->at);
        for (size_t k = 0; k < region->n; k++)
            counts[bytes[k]]++;
    }
    for (size_t i = 0; i < 256; i++) {
        if (!counts[i])
            continue;
        const double share = (double)counts[i] / (double)self->code->bytes;
        bits -= share * log2(share);
    }
    return (uint32_t)(bits * 1000 + .5);
}

static enum ms_status begin(struct work *self, struct ms_error *err)
{
    const cs_mode mode = self->code->bits == 64 ? CS_MODE_64 : CS_MODE_32;
    if (cs_open(CS_ARCH_X86, mode, &self->handle) != CS_ERR_OK)
        return ms_error_set(err, MS_E_NOMEM, "no memory for the disassembler");
    self->insn = cs_malloc(self->handle);
    self->length = calloc(self->code->bytes, sizeof *self->length);
    self->id = calloc(self->code->bytes, sizeof *self->id);
    if (!self->insn || !self->length || !self->id)
        return ms_error_set(err, MS_E_NOMEM, "no memory to disassemble");
    return MS_OK;
}

enum ms_status ms_disassemble(struct ms_span file, const struct ms_code *code,
                              ms_opcode_visit visit, void *ctx, struct ms_disassembly *out,
                              struct ms_error *err)
{
    struct work self = {.file = file, .code = code};
    *out = (struct ms_disassembly){0};
    enum ms_status status = begin(&self, err);
    if (status == MS_OK)
        status = follow_all(&self, out, err);
    for (size_t i = 0; status == MS_OK && i < code->count; i++)
        sweep(&self, &code->regions[i], out);
    if (status == MS_OK)
        status = visit_all(&self, visit, ctx, out, err);
    if (status == MS_OK)
        out->entropy_milli = entropy_of(&self);
    if (self.insn)
        cs_free(self.insn, 1);
    if (self.handle)
        (void)cs_close(&self.handle);
    free(self.length);
    free(self.id);
    free(self.pending);
    return status;
}

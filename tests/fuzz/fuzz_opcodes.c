/* Fuzz target: the disassembly job on any bytes, its frames back through the parent's reading; the
 * same bytes are taken for a CODE frame, too. What the parent would store is checked. */
#include "extract/opcodes/disassembly.h"
#include "extract/opcodes_job.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t opcodes;
};

static enum ms_status on_opcode(void *ctx, struct ms_span mnemonic, struct ms_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    seen->opcodes++;
    if (mnemonic.len == 0 || mnemonic.len > 24)
        abort();
    for (size_t i = 0; i < mnemonic.len; i++)
        if (mnemonic.data[i] <= ' ' || mnemonic.data[i] > '~')
            abort();
    return MS_OK;
}

/* Regions lie in the file, behind one another in the code, and no byte of the file is in two. */
static void check_code(struct ms_span file, const struct ms_code *code)
{
    size_t bytes = 0;
    for (size_t i = 0; i < code->count; i++) {
        const struct ms_code_region *a = &code->regions[i];
        if (a->n == 0 || a->at != bytes || a->file_at > file.len || a->n > file.len - a->file_at)
            abort();
        bytes += a->n;
        for (size_t k = 0; k < i; k++) {
            const struct ms_code_region *b = &code->regions[k];
            if (a->file_at < b->file_at + b->n && b->file_at < a->file_at + a->n)
                abort();
        }
    }
    if (bytes != code->bytes || bytes > MS_LIMIT_CODE_BYTES ||
        (code->state == MS_CODE_OK) != (code->count > 0) ||
        (code->state == MS_CODE_OK) != (code->why[0] == '\0'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ms_code code;
    const struct ms_span file = ms_span_of(data, size);
    struct ms_disassembly made;
    struct ms_opcodes_found found;
    struct seen seen = {0};
    struct ms_error err = {.status = MS_OK};
    ms_code_find(file, &code);
    check_code(file, &code);
    if (code.state == MS_CODE_OK) {
        if (ms_disassemble(file, &code, on_opcode, &seen, &made, &err) != MS_OK)
            abort();
        if (made.opcodes != seen.opcodes || made.opcodes + made.unread > code.bytes ||
            made.followed > made.opcodes || made.entropy_milli > 8000)
            abort();
    }
    if (ms_opcodes_take(file, &found, &err) == MS_OK && found.bytes > MS_LIMIT_CODE_BYTES)
        abort();
    return 0;
}

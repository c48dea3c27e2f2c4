/* Fuzz target: the JSON scanner. Reading whole and in odd pieces, from a source and where the
 * document lies, by skipping, by walking and by taking objects and arrays whole, must come to the
 * same verdict at the same place, and see the same texts. Where only the structure of what is
 * skipped is checked, so must all paths for wide vectors, and they take what the strict ones do. */
#include "base/scan.h"
#include "base/scan_kernel.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t left, piece;
};

static enum ms_status give(void *ctx, void *buf, size_t cap, size_t *n, struct ms_error *err)
{
    struct input *self = ctx;
    (void)err;
    *n = self->left < self->piece ? self->left : self->piece;
    *n = *n < cap ? *n : cap;
    if (*n)
        memcpy(buf, self->data, *n);
    self->data += *n;
    self->left -= *n;
    return MS_OK;
}

/* What was seen: a sum over the texts in their order. */
static uint32_t seen;

static void see(struct ms_span bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        seen = (seen ^ bytes.data[i]) * 16777619u;
    seen = (seen ^ 0x100u) * 16777619u;
}

/* Takes the value that is due apart; the scanner's own cap on depth bounds the recursion. */
static enum ms_status walk(struct ms_scanner *scan, struct ms_error *err)
{
    enum ms_scanner_kind kind;
    struct ms_scanner_text text;
    bool more = true;
    enum ms_status status = ms_scanner_peek(scan, &kind, err);
    if (status != MS_OK)
        return status;
    if (kind != MS_SCAN_OBJECT && kind != MS_SCAN_ARRAY) {
        status = ms_scanner_text(scan, &text, err);
        if (status == MS_OK)
            see(text.bytes);
        return status;
    }
    status = ms_scanner_enter(scan, err);
    while (status == MS_OK) {
        status = kind == MS_SCAN_OBJECT ? ms_scanner_member(scan, &more, &text, err)
                                        : ms_scanner_element(scan, &more, err);
        if (status != MS_OK || !more)
            break;
        if (kind == MS_SCAN_OBJECT)
            see(text.bytes);
        status = walk(scan, err);
    }
    return status;
}

static enum ms_status run(const uint8_t *data, size_t size, size_t piece, size_t block, bool apart,
                          struct ms_error *err)
{
    struct input input = {data, size, piece};
    struct ms_scanner *scan = NULL;
    if (ms_scanner_new(give, &input, block, &scan, err) != MS_OK)
        abort();
    enum ms_status status = apart ? walk(scan, err) : MS_OK;
    if (status == MS_OK)
        status = ms_scanner_finish(scan, err);
    ms_scanner_free(scan);
    return status;
}

/* Where the document lies, with one scanner for all inputs. The copy ends where its memory does. */
enum way { SKIP, WALK, WHOLE };

static enum ms_status take_whole(struct ms_scanner *scan, struct ms_error *err)
{
    static const struct ms_scanner_name names[] = {MS_SCAN_NAME("a"), MS_SCAN_NAME("result")};
    struct ms_scanner_field fields[3] = {{.found = false}};
    enum ms_scanner_kind kind;
    size_t count = 0;
    enum ms_status status = ms_scanner_peek(scan, &kind, err);
    if (status != MS_OK || (kind != MS_SCAN_OBJECT && kind != MS_SCAN_ARRAY))
        return status;
    status = kind == MS_SCAN_OBJECT ? ms_scanner_fields(scan, names, 2, fields, err)
                                    : ms_scanner_items(scan, 3, fields, &count, err);
    for (size_t i = 0; status == MS_OK && i < 3; i++)
        if (fields[i].found)
            see(fields[i].text.bytes);
    return status;
}

static enum ms_status run_memory(struct ms_span document, enum way way, struct ms_error *err)
{
    static struct ms_scanner *scan;
    if (!scan && ms_scanner_new_memory(&scan, NULL) != MS_OK)
        abort();
    ms_scanner_restart(scan, document);
    enum ms_status status = way == WALK    ? walk(scan, err)
                            : way == WHOLE ? take_whole(scan, err)
                                           : MS_OK;
    return status == MS_OK ? ms_scanner_finish(scan, err) : status;
}

static void check(enum ms_status status, const struct ms_error *err, enum ms_status verdict,
                  const struct ms_error *first)
{
    if (status != verdict || strcmp(err->text, first->text) != 0)
        abort();
}

/* Elements, alike or not, of which two members are wanted. */
static enum ms_status walk_alike(struct ms_scanner *scan, struct ms_error *err)
{
    static const struct ms_scanner_name names[] = {MS_SCAN_NAME("a"), MS_SCAN_NAME("result")};
    struct ms_scanner_field fields[2];
    struct ms_scanner_form *form = NULL;
    enum ms_scanner_kind kind;
    uint32_t found;
    bool more;
    enum ms_status status = ms_scanner_peek(scan, &kind, err);
    if (status != MS_OK || kind != MS_SCAN_ARRAY)
        return status;
    if (ms_scanner_form_new(names, 2, &form, NULL) != MS_OK)
        abort();
    status = ms_scanner_enter(scan, err);
    while (status == MS_OK) {
        if (ms_scanner_next_alike(scan, form, fields, &found)) {
            for (size_t i = 0; i < 2; i++)
                if ((found >> i & 1) && fields[i].text.bytes.len == SIZE_MAX)
                    abort();
            continue;
        }
        status = ms_scanner_element(scan, &more, err);
        if (status != MS_OK || !more)
            break;
        status = ms_scanner_peek(scan, &kind, err);
        if (status == MS_OK && kind == MS_SCAN_OBJECT)
            status = ms_scanner_enter(scan, err);
        for (struct ms_scanner_text key; status == MS_OK && kind == MS_SCAN_OBJECT;) {
            status = ms_scanner_member(scan, &more, &key, err);
            if (!more)
                break;
        }
    }
    ms_scanner_form_free(form);
    return status;
}

static enum ms_status run_loose(const uint8_t *data, size_t size, size_t piece, bool alike,
                                const struct ms_scanner_kernel *kernel, uint64_t *byte,
                                struct ms_error *err)
{
    struct input input = {data, size, piece};
    struct ms_scanner *scan = NULL;
    ms_scanner_kernel_force(kernel);
    if (ms_scanner_new(give, &input, 512, &scan, err) != MS_OK)
        abort();
    ms_scanner_kernel_force(NULL);
    ms_scanner_check_skipped(scan, MS_SCAN_CHECK_STRUCTURE);
    enum ms_status status = alike ? walk_alike(scan, err) : MS_OK;
    if (status == MS_OK)
        status = ms_scanner_finish(scan, err);
    *byte = ms_scanner_byte(scan);
    ms_scanner_free(scan);
    return status;
}

static void compare_loose(const uint8_t *data, size_t size, enum ms_status strict)
{
    static const struct ms_scanner_kernel *const kernels[] = {&ms_scanner_bytes, &ms_scanner_avx2,
                                                              &ms_scanner_avx512};
    for (int alike = 0; alike < 2; alike++) {
        struct ms_error first = {.status = MS_OK};
        uint64_t place, byte;
        enum ms_status verdict =
            run_loose(data, size, SIZE_MAX, alike, &ms_scanner_bytes, &place, &first);
        if (strict == MS_OK && verdict != MS_OK)
            abort();
        for (size_t i = 0; i < 2 * sizeof kernels / sizeof *kernels; i++) {
            struct ms_error err = {.status = MS_OK};
            if (!ms_scanner_kernel_can(kernels[i / 2]))
                continue;
            check(run_loose(data, size, i % 2 ? 67 : SIZE_MAX, alike, kernels[i / 2], &byte, &err),
                  &err, verdict, &first);
            if (byte != place)
                abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t ways[][2] = {{SIZE_MAX, 0}, {1, 0}, {5, 3}};
    struct ms_error first = {.status = MS_OK};
    enum ms_status verdict = run(data, size, SIZE_MAX, 0, false, &first);
    uint32_t walked = 0;
    for (size_t i = 0; i < 2 * sizeof ways / sizeof *ways; i++) {
        struct ms_error err = {.status = MS_OK};
        seen = 0;
        check(run(data, size, ways[i / 2][0], ways[i / 2][1], i % 2, &err), &err, verdict, &first);
        if (i % 2 && walked && verdict == MS_OK && seen != walked)
            abort();
        if (i % 2)
            walked = seen;
    }
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    for (int way = SKIP; way <= WHOLE; way++) {
        struct ms_error err = {.status = MS_OK};
        seen = 0;
        check(run_memory(ms_span_of(copy, size), (enum way)way, &err), &err, verdict, &first);
        if (way == WALK && verdict == MS_OK && seen != walked)
            abort();
    }
    free(copy);
    compare_loose(data, size, verdict);
    return 0;
}

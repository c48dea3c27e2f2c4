/* Fuzz target: the JSON scanner. Reading whole and in odd pieces, from a source and where the
 * document lies, by skipping, by walking and by taking objects and arrays whole, must come to the
 * same verdict at the same place, and see the same texts. */
#include "base/scan.h"

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
    return 0;
}

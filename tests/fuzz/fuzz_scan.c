/* Fuzz target: the JSON scanner. Reading whole and in odd pieces, by skipping and by walking, must
 * come to the same verdict at the same place. */
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
        volatile uint8_t sum = 0;
        for (size_t i = 0; status == MS_OK && i < text.bytes.len; i++)
            sum = (uint8_t)(sum + text.bytes.data[i]);
        return status;
    }
    status = ms_scanner_enter(scan, err);
    while (status == MS_OK) {
        status = kind == MS_SCAN_OBJECT ? ms_scanner_member(scan, &more, &text, err)
                                        : ms_scanner_element(scan, &more, err);
        if (status != MS_OK || !more)
            break;
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t ways[][2] = {{SIZE_MAX, 0}, {1, 0}, {5, 3}};
    struct ms_error first = {.status = MS_OK};
    enum ms_status verdict = run(data, size, SIZE_MAX, 0, false, &first);
    for (size_t i = 0; i < 2 * sizeof ways / sizeof *ways; i++) {
        struct ms_error err = {.status = MS_OK};
        enum ms_status status = run(data, size, ways[i / 2][0], ways[i / 2][1], i % 2, &err);
        if (status != verdict || strcmp(err.text, first.text) != 0)
            abort();
    }
    return 0;
}

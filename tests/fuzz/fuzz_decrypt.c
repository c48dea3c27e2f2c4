/* Fuzz target: encrypted containers and their rewriting. The first byte chooses what is done with
 * the rest first, so that changed bytes get past checksums and ciphers. Checksums of headers are
 * mended: '7' for 7z, '5' and '4' for RAR. Sealed (tests/fuzz/sealed.h): 'h' the header of a 7z
 * file; 'E' and 'R' the members of RAR 5 and 4, 'e' and 'r' headers as well; 'm' a zip file is
 * written from records. Anything else stays as it is. What is written must no longer be encrypted,
 * and every answer must come with what it promises. */
#include "base/decrypt.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/unpack.h"
#include "mended.h"
#include "sealed.h"
#include "worker_memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { UNITS_MAX = 20, HASHED_BYTES = 3 << 19, OUT_MAX_BYTES = 4 << 20 };

static enum ms_status on_member(void *ctx, const struct ms_unpack_member *member, bool *descend,
                                struct ms_error *err)
{
    (void)ctx;
    (void)err;
    *descend = member->depth == 0;
    return MS_OK;
}

static enum ms_status on_fault(void *ctx, struct ms_span chain, enum ms_unpack_fault fault,
                               struct ms_span detail, struct ms_error *err)
{
    (void)ctx;
    (void)chain;
    (void)detail;
    (void)err;
    return fault == MS_UNPACK_OK ? MS_E_BUG : MS_OK;
}

static void read_written(int fd, struct ms_decrypt_keys *keys)
{
    static const struct ms_unpack_limits limits = {
        .depth = 1, .entries = 100, .total_bytes = OUT_MAX_BYTES, .entry_bytes = OUT_MAX_BYTES};
    const struct ms_unpack_events events = {NULL, on_member, on_fault};
    struct ms_decrypt again;
    const char *why;
    if (ms_decrypt_open(fd, keys, &again, &why) != MS_DECRYPT_NOT_ENCRYPTED ||
        ms_unpack_walk(fd, NULL, 0, &limits, &events, NULL) == MS_E_BUG)
        abort();
}

/* What the walk asks of a unit besides: any answer will do. */
static void ask_of_unit(const struct ms_decrypt *decrypt, size_t unit)
{
    const struct ms_decrypt_format *format = decrypt->format;
    (void)format->unit_needs_password(decrypt->state, unit);
    if (format->unit_is_proven)
        (void)format->unit_is_proven(decrypt->state, unit);
}

static void rewrite_unit(struct ms_decrypt *decrypt, struct ms_decrypt_keys *keys, size_t unit)
{
    const struct ms_span password = {(const uint8_t *)"infected", 8};
    const char *why = NULL;
    uint64_t bytes = UINT64_MAX;
    int fd;
    ask_of_unit(decrypt, unit);
    if (ms_file_memory("out", &fd, NULL) != MS_OK)
        return;
    enum ms_decrypt_answer answer =
        decrypt->format->rewrite(decrypt->state, unit, password, fd, OUT_MAX_BYTES, &bytes, &why);
    bool written = answer == MS_DECRYPT_DONE || answer == MS_DECRYPT_MAYBE;
    if (bytes == UINT64_MAX || answer == MS_DECRYPT_NOT_ENCRYPTED || (!written && !why))
        abort();
    for (size_t i = 0; written && decrypt->format->verify && i < 3; i++)
        (void)decrypt->format->verify(decrypt->state, i, 0);
    if (written)
        read_written(fd, keys);
    close(fd);
}

static void open_all(int fd, struct ms_decrypt_keys *keys)
{
    const struct ms_span password = {(const uint8_t *)"infected", 8};
    struct ms_decrypt decrypt;
    const char *why = NULL;
    enum ms_decrypt_answer answer = ms_decrypt_open(fd, keys, &decrypt, &why);
    if (answer != MS_DECRYPT_DONE) {
        if (answer != MS_DECRYPT_NOT_ENCRYPTED && !why)
            abort();
        return;
    }
    if (decrypt.locked)
        answer = decrypt.format->unlock(decrypt.state, password, &why);
    size_t count = 0;
    if (answer == MS_DECRYPT_DONE || answer == MS_DECRYPT_MAYBE)
        count = decrypt.format->unit_count(decrypt.state);
    for (size_t i = 0; i < count && i < UNITS_MAX; i++)
        rewrite_unit(&decrypt, keys, i);
    ms_decrypt_close(&decrypt);
}

/* What the first byte asks for; see the file's head. */
static void prepare(uint8_t mode, struct ms_span in, struct ms_buf *out)
{
    if (mode == 'e' || mode == 'E')
        seal_rar5(in, mode == 'e', out);
    else if (mode == 'r' || mode == 'R')
        seal_rar4(in, mode == 'r', out);
    else if (mode == 'h')
        seal_7z(in, out);
    else if (mode == 'm')
        seal_zip(in, out);
    else
        (void)ms_buf_append(out, in.data, in.len);
    if (mode == '7')
        mend_7z(out->data, out->len);
    else if (mode == '5')
        mend_rar5(out->data, out->len);
    else if (mode == '4')
        mend_rar4(out->data, out->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = -1;
    struct ms_buf bytes;
    if (!size)
        return 0;
    struct ms_decrypt_keys *keys = ms_decrypt_keys_new();
    /* A small budget for key derivation: time goes into parsing. */
    if (!keys || !ms_decrypt_keys_spend(keys, MS_LIMIT_DECRYPT_KDF_BYTES - HASHED_BYTES) ||
        ms_file_memory("fuzz", &fd, NULL) != MS_OK)
        abort();
    sealed_prime(keys);
    ms_buf_init(&bytes, SEALED_MAX_BYTES);
    prepare(data[0], ms_span_of(data + 1, size - 1), &bytes);
    if (ms_file_write_all(fd, bytes.data, bytes.len, NULL) == MS_OK)
        open_all(fd, keys);
    close(fd);
    ms_decrypt_keys_free(keys);
    ms_buf_release(&bytes);
    return 0;
}

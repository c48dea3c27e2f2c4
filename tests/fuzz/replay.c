/* Runs a fuzz target on its corpus where libFuzzer is not: every file as it is, cut short, and
 * changed at a fixed number of seeded places. Finds nothing new by itself. */
#include "base/file.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_MAX_BYTES = 1 << 20, CUTS = 40, CHANGES = 60 };

/* On the heap and of the exact size, so that the sanitiser sees a byte read too far. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static enum ms_status replay(void *ctx, const char *path, const struct stat *st, int errnum,
                             struct ms_error *err)
{
    unsigned *files = ctx;
    struct ms_buf bytes;
    struct ms_rng rng;
    (void)errnum;
    if (!st)
        return ms_error_set(err, MS_E_IO, "cannot read '%s'", path);
    ms_buf_init(&bytes, FILE_MAX_BYTES);
    enum ms_status status = ms_file_read(path, &bytes, err);
    if (status == MS_OK) {
        feed(bytes.data, bytes.len);
        ms_rng_init(&rng, 1, *files, 0);
        for (unsigned i = 0; i < CUTS; i++)
            feed(bytes.data, (size_t)ms_rng_below(&rng, bytes.len + 1));
        for (unsigned i = 0; i < CHANGES && bytes.len; i++) {
            size_t at = (size_t)ms_rng_below(&rng, bytes.len);
            uint8_t was = bytes.data[at];
            bytes.data[at] = (uint8_t)ms_rng_u64(&rng);
            feed(bytes.data, bytes.len);
            bytes.data[at] = was;
        }
        ++*files;
    }
    ms_buf_release(&bytes);
    return status;
}

int main(int argc, char **argv)
{
    struct ms_error err = {.text = ""};
    unsigned files = 0;
    for (int i = 1; i < argc; i++)
        if (ms_file_walk(argv[i], replay, &files, &err) != MS_OK) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
    printf("%u files, each cut %d and changed %d times\n", files, CUTS, CHANGES);
    return files == 0; /* a corpus that is gone proves nothing */
}

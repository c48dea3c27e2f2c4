/* Fuzz target: plain, gzip and zstd streams and one-shot frames. Nothing may come out beyond the
 * cap. */
#include "base/file.h"
#include "base/stream.h"
#include "base/zstd.h"

#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PLAIN_MAX_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t chunk[4096];
    struct ms_stream *stream = NULL;
    struct ms_error err;
    struct ms_buf plain;
    uint64_t total = 0;
    size_t n = 0;
    int fd = -1;
    if (ms_file_memory("fuzz", &fd, &err) != MS_OK)
        return 0;
    if (ms_file_write_all(fd, data, size, &err) == MS_OK && lseek(fd, 0, SEEK_SET) == 0 &&
        ms_stream_open(fd, PLAIN_MAX_BYTES, &stream, &err) == MS_OK) {
        while (ms_stream_read(stream, chunk, sizeof chunk, &n, &err) == MS_OK && n)
            total += n;
        if (total > PLAIN_MAX_BYTES || total != ms_stream_plain_bytes(stream))
            abort();
        ms_stream_close(stream);
    }
    close(fd);
    ms_buf_init(&plain, PLAIN_MAX_BYTES);
    if (ms_zstd_decompress(data, size, &plain, &err) != MS_OK && plain.len)
        abort();
    ms_buf_release(&plain);
    return 0;
}

/* Bytes of files at their places, for what decrypts and for what only looks. Knows no cipher. */
#define _GNU_SOURCE
#include "base/decrypt.h"

#include <errno.h>
#include <unistd.h>

bool ms_decrypt_read(int fd, uint64_t at, void *out, size_t n)
{
    uint8_t *to = out;
    while (n) {
        ssize_t got = at <= INT64_MAX ? pread(fd, to, n, (off_t)at) : 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        n -= (size_t)got;
        at += (uint64_t)got;
    }
    return true;
}

bool ms_decrypt_write(int fd, uint64_t at, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;
    while (n) {
        ssize_t done = at <= INT64_MAX ? pwrite(fd, from, n, (off_t)at) : -1;
        if (done < 0 && at <= INT64_MAX && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        from += done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    return true;
}

/* What the C library finds out once a process, and a confined one may not ask: before the first
 * child is made, which inherits it. Not part of base's public headers. */
#ifndef MS_BASE_SETTLE_H
#define MS_BASE_SETTLE_H

#include <stdint.h>
#include <stdlib.h>

static inline int ms_settle_same(const void *a, const void *b)
{
    (void)a;
    (void)b;
    return 0;
}

/* qsort(3) of more than a kilobyte asks how much memory there is, with sysinfo(2), and without an
 * answer glibc goes by what lies on the stack. */
static inline void ms_settle_libc(void)
{
    uint8_t bytes[4096] = {0};
    qsort(bytes, sizeof bytes, 1, ms_settle_same);
}

#endif

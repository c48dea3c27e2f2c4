/* An allocator that fails at one place, for tests that fail each allocation in turn: it stands in
 * for the C library's in the whole program, so not under ASan or TSan. `live` counts what was not
 * freed. */
#ifndef MS_TESTS_FAILING_ALLOCATOR_H
#define MS_TESTS_FAILING_ALLOCATOR_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define REPLACED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define REPLACED 0
#endif
#endif
#if !defined(REPLACED) && defined(__GLIBC__)
#define REPLACED 1
#elif !defined(REPLACED)
#define REPLACED 0
#endif

/* Fails the allocation that brings it to 0; negative: none. */
static atomic_long countdown = -1;
static atomic_long failed;
static atomic_long live __attribute__((unused));

#if REPLACED
#include <errno.h>

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *p, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);
extern void __libc_free(void *p);
void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void *realloc(void *p, size_t bytes);
int posix_memalign(void **out, size_t align, size_t bytes);
void free(void *p);

static int fails(void)
{
    if (atomic_load(&countdown) < 0 || atomic_fetch_sub(&countdown, 1) != 0)
        return 0;
    atomic_fetch_add(&failed, 1);
    errno = ENOMEM;
    return 1;
}

static void *counted(void *p)
{
    if (p)
        atomic_fetch_add(&live, 1);
    return p;
}

void *malloc(size_t bytes)
{
    return fails() ? NULL : counted(__libc_malloc(bytes));
}

void *calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : counted(__libc_calloc(count, bytes));
}

void *realloc(void *p, size_t bytes)
{
    if (fails())
        return NULL;
    return p ? __libc_realloc(p, bytes) : counted(__libc_realloc(p, bytes));
}

int posix_memalign(void **out, size_t align, size_t bytes)
{
    void *p = fails() ? NULL : counted(__libc_memalign(align, bytes));
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

void free(void *p)
{
    if (p)
        atomic_fetch_sub(&live, 1);
    __libc_free(p);
}
#endif

#endif

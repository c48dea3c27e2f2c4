/* For fuzz targets that open archives: memory as the worker has it, whose RLIMIT_AS lets an absurd
 * allocation of a decoder fail. Without this the sanitizer takes it for a fault of ours. */
#ifndef MS_TESTS_FUZZ_WORKER_MEMORY_H
#define MS_TESTS_FUZZ_WORKER_MEMORY_H

const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:max_allocation_size_mb=2000";
}

#endif

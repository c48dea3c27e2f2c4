/* Asks the processor for its instruction sets. */
#include "train/nn/cpu.h"

enum ms_cpu_set ms_cpu_set_at(size_t index)
{
    enum ms_cpu_set sets[MS_CPU_SETS];
    size_t count = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        sets[count++] = MS_CPU_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        sets[count++] = MS_CPU_AVX2;
#endif
    sets[count++] = MS_CPU_PORTABLE;
    return index < count ? sets[index] : MS_CPU_SETS;
}

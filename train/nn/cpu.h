/* Which instruction sets the net's loops are compiled for, and which of them this processor runs:
 * one choice for the element-wise loops and the matrix products. */
#ifndef MS_TRAIN_NN_CPU_H
#define MS_TRAIN_NN_CPU_H

#include <stddef.h>

/* What a function of each set is compiled for. */
#define PORTABLE_TARGET
#if defined(__x86_64__)
#define AVX2_TARGET __attribute__((target("avx2,fma")))
#define AVX512_TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx2,fma")))
#endif

enum ms_cpu_set { MS_CPU_PORTABLE, MS_CPU_AVX2, MS_CPU_AVX512, MS_CPU_SETS };

/* Set number `index` of those this processor can run, best first; MS_CPU_SETS behind the last. The
 * same on every call. */
enum ms_cpu_set ms_cpu_set_at(size_t index);

#endif

/* The loops of kernel_rows.c by instruction set, for the sets of kernel.c. Not for others: they are
 * called through ms_kernels. */
#ifndef MS_TRAIN_NN_KERNEL_ROWS_H
#define MS_TRAIN_NN_KERNEL_ROWS_H

#include "train/nn/kernel.h"

#define DECLARE_KERNELS(suffix)                                                                \
    void ms_scale_add_##suffix(size_t n, ms_real a, const ms_real *x, ms_real *y);             \
    void ms_gather_add_##suffix(size_t count, const uint32_t *ids, const ms_real *a, size_t n, \
                                const ms_real *table, ms_real *y);

DECLARE_KERNELS(portable)
#if defined(__x86_64__)
DECLARE_KERNELS(avx2)
DECLARE_KERNELS(avx512)
#endif

#undef DECLARE_KERNELS

#endif

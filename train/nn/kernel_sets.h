/* The loops of kernel_gru.c and kernel_rows.c by instruction set, for the sets of kernel.c. Not for
 * others: they are called through ms_kernels. */
#ifndef MS_TRAIN_NN_KERNEL_SETS_H
#define MS_TRAIN_NN_KERNEL_SETS_H

#include "train/nn/kernel.h"

#define DECLARE_KERNELS(suffix)                                                                 \
    void ms_gru_forward_##suffix(const struct ms_gru_forward *a, enum ms_net_activation act);   \
    void ms_gru_backward_##suffix(const struct ms_gru_backward *a, enum ms_net_activation act); \
    void ms_scale_add_##suffix(size_t n, ms_real a, const ms_real *x, ms_real *y);              \
    void ms_gather_add_##suffix(size_t count, const uint32_t *ids, const ms_real *a, size_t n,  \
                                const ms_real *table, ms_real *y);                              \
    ms_real ms_dot_##suffix(size_t n, const ms_real *x, const ms_real *y);                      \
    void ms_approach_##suffix(size_t n, ms_real a, const ms_real *x, ms_real *y);

DECLARE_KERNELS(portable)
#if defined(__x86_64__)
DECLARE_KERNELS(avx2)
DECLARE_KERNELS(avx512)
#endif

#undef DECLARE_KERNELS

#endif

/* Dropout masks from counted random streams: a mask depends on seed, step, site and row, never on
 * who computes it. */
#include "train/nn/private.h"

#include "base/rng.h"

#define PURPOSE_DROPOUT ((uint64_t)0x64726f70 << 32)

void ms_mask_fill(const struct ms_pass *p, unsigned site, double rate, size_t b, size_t n,
                  ms_real *out)
{
    const uint32_t drop_under = (uint32_t)(rate * 4294967296.0);
    const ms_real keep = (ms_real)(1 / (1 - rate));
    struct ms_rng rng;
    ms_rng_init(&rng, p->net->seed, PURPOSE_DROPOUT | site,
                p->mask_step * MS_LIMIT_NET_ROWS + p->pack.row[b]);
    for (size_t j = 0; j < n; j += 2) {
        uint64_t bits = ms_rng_u64(&rng);
        out[j] = (uint32_t)bits < drop_under ? 0 : keep;
        if (j + 1 < n)
            out[j + 1] = (uint32_t)(bits >> 32) < drop_under ? 0 : keep;
    }
}

ms_real *ms_mask_new(struct ms_pass *p, unsigned site, double rate, size_t n)
{
    if (!p->dropout || rate <= 0)
        return NULL;
    const size_t B = p->pack.rows;
    ms_real *mask = ms_scratch_reals(p->scratch, B * n);
    for (size_t b = 0; mask && b < B; b++)
        ms_mask_fill(p, site, rate, b, n, mask + b * n);
    return mask;
}

void ms_mask_apply_packed(const struct ms_pass *p, const ms_real *mask, size_t n,
                          const ms_real *tensor, ms_real *out)
{
    const struct ms_pack *k = &p->pack;
    for (size_t t = 0; t < k->steps; t++) {
        size_t at = k->offset[t] * n;
        p->net->kernels->multiply(k->active[t] * n, tensor + at, mask, out + at);
    }
}

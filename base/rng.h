/* Deterministic random numbers: xoshiro256** seeded by splitmix64, with independent streams by
 * (seed, purpose, index). */
#ifndef MS_BASE_RNG_H
#define MS_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018. Not for secrets. */
struct ms_rng {
    uint64_t s[4];
};

/* The same three numbers give the same stream on every machine; different ones give unrelated
 * streams. */
void ms_rng_init(struct ms_rng *self, uint64_t seed, uint64_t purpose, uint64_t index);

uint64_t ms_rng_u64(struct ms_rng *self);
/* Uniform in [0, bound), without modulo bias; bound 0 gives 0. */
uint64_t ms_rng_below(struct ms_rng *self, uint64_t bound);
/* Uniform in [0, 1) with 53 bits. */
double ms_rng_unit(struct ms_rng *self);
/* Standard normal (Box-Muller, one value a call). */
double ms_rng_normal(struct ms_rng *self);
/* Fisher-Yates over n indexes. */
void ms_rng_shuffle(struct ms_rng *self, uint32_t *items, size_t n);

#endif

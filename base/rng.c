/* xoshiro256** and what is drawn from it. */
#include "base/rng.h"

#include <math.h>

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void ms_rng_init(struct ms_rng *self, uint64_t seed, uint64_t purpose, uint64_t index)
{
    uint64_t state = seed;
    state = splitmix(&state) ^ purpose;
    state = splitmix(&state) ^ index;
    for (int i = 0; i < 4; i++)
        self->s[i] = splitmix(&state);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t ms_rng_u64(struct ms_rng *self)
{
    uint64_t *s = self->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t ms_rng_below(struct ms_rng *self, uint64_t bound)
{
    if (bound == 0)
        return 0;
    uint64_t reject_under = (0 - bound) % bound;
    uint64_t x;
    do
        x = ms_rng_u64(self);
    while (x < reject_under);
    return x % bound;
}

double ms_rng_unit(struct ms_rng *self)
{
    return (double)(ms_rng_u64(self) >> 11) * 0x1.0p-53;
}

double ms_rng_normal(struct ms_rng *self)
{
    double u = 1.0 - ms_rng_unit(self);
    double v = ms_rng_unit(self);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

void ms_rng_shuffle(struct ms_rng *self, uint32_t *items, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)ms_rng_below(self, i);
        uint32_t swap = items[i - 1];
        items[i - 1] = items[j];
        items[j] = swap;
    }
}

#include "examples/regime-switching/random.h"

#include <math.h>

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

void regime_random_init(struct regime_random *random, uint64_t seed)
{
    *random = (struct regime_random){0};
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix64(&seed);
}

uint64_t regime_random_next(struct regime_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[0] + s[3], 23) + s[0];
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double regime_random_uniform(struct regime_random *random, double low, double high)
{
    double unit = (double)(regime_random_next(random) >> 11) * 0x1p-53;
    return low + (high - low) * unit;
}

/* Marsaglia's polar method: a point in the unit disc gives two independent numbers. */
double regime_random_normal(struct regime_random *random)
{
    double u, v, s;

    if (random->have_spare) {
        random->have_spare = 0;
        return random->spare;
    }
    do {
        u = regime_random_uniform(random, -1, 1);
        v = regime_random_uniform(random, -1, 1);
        s = u * u + v * v;
    } while (s >= 1 || s == 0);
    double scale = sqrt(-2 * log(s) / s);
    random->spare = v * scale;
    random->have_spare = 1;
    return u * scale;
}

uint64_t regime_run_seed(uint64_t seed, uint64_t run)
{
    uint64_t state = seed;
    state = splitmix64(&state) + run;
    return splitmix64(&state) >> 11;
}

/*
 * Random numbers that are the same on every machine: xoshiro256++, its state filled by splitmix64.
 *
 * Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021 (public domain code).
 * Embedded by value, owns nothing, not shared between threads.
 */
#pragma once

#include <stdint.h>

struct regime_random {
    uint64_t state[4];
    double spare; /* the second of a pair of normal numbers */
    int have_spare;
};

void regime_random_init(struct regime_random *random, uint64_t seed);

uint64_t regime_random_next(struct regime_random *random);

/* Uniform in [low, high), with 53 random bits. */
double regime_random_uniform(struct regime_random *random, double low, double high);

/* Standard normal. */
double regime_random_normal(struct regime_random *random);

/*
 * The seed of one of many runs that were asked for with one seed: runs of neighbouring seeds share
 * no starts, which seed + run would. Below 2^53, so that every JSON reader keeps it exactly.
 */
uint64_t regime_run_seed(uint64_t seed, uint64_t run);

/*
 * hash: 64-bit hashing for tables, murmur2 for Kafka's default partitioner, CRC-32C for stored
 * bytes, and a seeded generator. All pure: the same input gives the same result everywhere.
 */
#pragma once

#include <stdint.h>

#include "base/str.h"

uint64_t th_hash(struct th_str s, uint64_t seed);

/* Java client's murmur2 (org.apache.kafka.common.utils.Utils.murmur2), sign bit included. */
uint32_t th_murmur2(struct th_str s);

/* The partition of an instance among `count`: toPositive(murmur2(id)) % count, as Kafka's own. */
uint32_t th_partition_of(struct th_str instance_id, uint32_t count);

uint32_t th_crc32c(uint32_t crc, const void *data, size_t len);

/* xoshiro256**: reproducible, not cryptographic. */
struct th_random {
    uint64_t state[4];
};

void th_random_seed(struct th_random *r, uint64_t seed);
uint64_t th_random_next(struct th_random *r);
uint64_t th_random_below(struct th_random *r, uint64_t bound); /* 0 ≤ result < bound, unbiased */
double th_random_unit(struct th_random *r);                    /* 0 ≤ result < 1 */

/* From the kernel, for seeds and incarnation ids; blocks only before the kernel is seeded. */
uint64_t th_random_system(void);

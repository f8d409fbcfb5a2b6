/*
 * hash: 64-bit hashing for tables, murmur2 for Kafka's default partitioner, CRC-32C for stored
 * bytes, and a seeded generator. All pure: the same input gives the same result everywhere.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

uint64_t th_hash(struct th_str s, uint64_t seed);

/* Java client's murmur2 (org.apache.kafka.common.utils.Utils.murmur2), sign bit included. */
uint32_t th_murmur2(struct th_str s);

/*
 * The partition of an instance among `count`. Children are placed beside their parents: SDKs derive
 * their ids from the parent's id or execution id, ':' and four hexadecimal digits, and of the first
 * fifteen of an execution only what stands before counts. 32 such digits in lower case, an
 * execution id or most generated ids, are placed by the last eight; everything else by
 * toPositive(murmur2(id)) % count, as Kafka's own partitioner does it.
 */
uint32_t th_partition_of(struct th_str instance_id, uint32_t count);

/* The way it does so. A hub keeps the one that it was made with: another one would look for its
 * instances elsewhere. (1: by murmur2 of the whole id.) */
#define TH_PLACEMENT 2

/* Whether an id is placed as the child of another one. */
bool th_is_beside_parent(struct th_str instance_id);

/* `number` with other low 32 bits, so that an id that ends with them (th_id_hex) is placed in
 * `partition`. */
uint64_t th_number_of_partition(uint64_t number, uint32_t partition, uint32_t count);

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

#include "base/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* Little-endian reads, so that every machine computes the same. */
static inline uint64_t read_u64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline uint32_t read_u32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    return v;
}

/*
 * th_hash folds 64×64→128-bit products, the construction of wyhash (Wang Yi, public domain) with
 * our own odd constants, about half of their bits set.
 */
#define K0 UINT64_C(0x9C6B4D1E35A7D28B)
#define K1 UINT64_C(0xE3971A5C2BD46C35)
#define K2 UINT64_C(0x4D8E72B9C51B5AA7)
#define K3 UINT64_C(0xB25AC6358F692D4B)

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* All but the last 1 to 16 bytes, which the caller reads itself. More than 16 bytes. */
static inline uint64_t hash_long(const unsigned char *p, size_t len, uint64_t h)
{
    if (len > 48) {
        uint64_t h1 = h;
        uint64_t h2 = h;
        do { /* three chains, because one waits for its multiplication */
            h = fold(read_u64(p) ^ K1, read_u64(p + 8) ^ h);
            h1 = fold(read_u64(p + 16) ^ K2, read_u64(p + 24) ^ h1);
            h2 = fold(read_u64(p + 32) ^ K3, read_u64(p + 40) ^ h2);
            p += 48;
            len -= 48;
        } while (len > 48);
        h ^= h1 ^ h2;
    }
    for (; len > 16; p += 16, len -= 16) {
        h = fold(read_u64(p) ^ K1, read_u64(p + 8) ^ h);
    }
    return h;
}

uint64_t th_hash(struct th_str s, uint64_t seed)
{
    const unsigned char *p = (const unsigned char *)s.data;
    size_t len = s.len;
    uint64_t h = seed ^ fold(seed ^ K0, K1);
    uint64_t a = 0;
    uint64_t b = 0;
    if (len > 16) {
        h = hash_long(p, len, h);
        a = read_u64(p + len - 16);
        b = read_u64(p + len - 8);
    } else if (len >= 8) {
        a = read_u64(p);
        b = read_u64(p + len - 8);
    } else if (len >= 4) {
        a = read_u32(p);
        b = read_u32(p + len - 4);
    } else if (len > 0) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[len / 2] << 8 | p[len - 1];
    }
    unsigned __int128 product = (unsigned __int128)(a ^ K1) * (b ^ h);
    return fold((uint64_t)product ^ K0 ^ len, (uint64_t)(product >> 64) ^ K1);
}

/* As org.apache.kafka.common.utils.Utils.murmur2; Java's int arithmetic wraps like uint32_t. */
uint32_t th_murmur2(struct th_str s)
{
    const uint32_t m = UINT32_C(0x5bd1e995);
    const unsigned char *p = (const unsigned char *)s.data;
    size_t left = s.len;
    uint32_t h = UINT32_C(0x9747b28c) ^ (uint32_t)left;
    for (; left >= 4; p += 4, left -= 4) {
        uint32_t k = read_u32(p) * m;
        k = (k ^ k >> 24) * m;
        h = (h * m) ^ k;
    }
    if (left > 0) {
        h ^= p[0];
        h ^= left > 1 ? (uint32_t)p[1] << 8 : 0;
        h ^= left > 2 ? (uint32_t)p[2] << 16 : 0;
        h *= m;
    }
    h = (h ^ h >> 13) * m;
    return h ^ h >> 15;
}

static bool is_lower_hex(struct th_str s)
{
    size_t n = 0;
    while (n < s.len &&
           ((s.data[n] >= '0' && s.data[n] <= '9') || (s.data[n] >= 'a' && s.data[n] <= 'f'))) {
        n++;
    }
    return n == s.len;
}

static struct th_str last(struct th_str s, size_t len)
{
    return th_str_n(s.data + s.len - len, len);
}

enum { CHILD_END = 5 }; /* ":000" and a digit */

bool th_is_beside_parent(struct th_str id)
{
    return id.len > CHILD_END && memcmp(id.data + id.len - CHILD_END, ":000", 4) == 0 &&
           is_lower_hex(last(id, 1));
}

static uint32_t number_at_end(struct th_str id)
{
    uint32_t number = 0;
    for (size_t n = id.len - 8; n < id.len; n++) {
        number =
            number << 4 | (uint32_t)(id.data[n] <= '9' ? id.data[n] - '0' : id.data[n] - 'a' + 10);
    }
    return number;
}

uint32_t th_partition_of(struct th_str instance_id, uint32_t count)
{
    struct th_str id = instance_id;
    if (count <= 1) {
        return 0;
    }
    if (th_is_beside_parent(id)) {
        id.len -= CHILD_END;
    }
    if (id.len == 32 && is_lower_hex(id)) {
        return number_at_end(id) % count;
    }
    /* toPositive clears the sign bit; it does not take the absolute value. */
    return (th_murmur2(id) & UINT32_C(0x7fffffff)) % count;
}

uint64_t th_number_of_partition(uint64_t number, uint32_t partition, uint32_t count)
{
    uint32_t end = (uint32_t)number;
    end -= end % count;
    end -= end > UINT32_MAX - partition ? count : 0;
    return (number & ~UINT64_C(0xffffffff)) | (end + partition);
}

/* splitmix64 (Steele, Lea, Flood): fills the state as the authors of xoshiro recommend. */
static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

void th_random_seed(struct th_random *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        r->state[i] = splitmix(&seed);
    }
}

static inline uint64_t rotate(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

/* xoshiro256** 1.0 (Blackman, Vigna). */
uint64_t th_random_next(struct th_random *r)
{
    uint64_t *s = r->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

/* Lemire, "Fast Random Integer Generation in an Interval": a division only when it may matter. */
uint64_t th_random_below(struct th_random *r, uint64_t bound)
{
    unsigned __int128 product = (unsigned __int128)th_random_next(r) * bound;
    if ((uint64_t)product < bound) {
        uint64_t rejected = -bound % bound;
        while ((uint64_t)product < rejected) {
            product = (unsigned __int128)th_random_next(r) * bound;
        }
    }
    return (uint64_t)(product >> 64);
}

double th_random_unit(struct th_random *r)
{
    return (double)(th_random_next(r) >> 11) * 0x1p-53;
}

uint64_t th_random_system(void)
{
    uint64_t value;
    ssize_t got;
    do {
        got = getrandom(&value, sizeof(value), 0);
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof(value)) {
        perror("taskhub: getrandom");
        abort(); /* guessable or repeated ids would be worse */
    }
    return value;
}

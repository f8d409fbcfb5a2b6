/*
 * Derived ids are part of what orchestrations recorded, so they rest on SHA-1, as RFC 4122 has
 * it for version 5, and not on th_hash, which may change with a release.
 */
#include "base/uuid.h"

#include <string.h>

static char *put_hex(char *out, uint64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        out[i] = "0123456789abcdef"[value & 0xF];
        value >>= 4;
    }
    return out + digits;
}

void th_id_hex(uint64_t high, uint64_t low, char out[static 33])
{
    *put_hex(put_hex(out, high, 16), low, 16) = '\0';
}

static void put_uuid(uint64_t high, uint64_t low, unsigned version, char *out)
{
    high = (high & ~UINT64_C(0xF000)) | (uint64_t)version << 12;
    low = (low & (UINT64_MAX >> 2)) | UINT64_C(1) << 63;
    char *p = put_hex(out, high >> 32, 8);
    *p++ = '-';
    p = put_hex(p, high >> 16, 4);
    *p++ = '-';
    p = put_hex(p, high, 4);
    *p++ = '-';
    p = put_hex(p, low >> 48, 4);
    *p++ = '-';
    p = put_hex(p, low, 12);
    *p = '\0';
}

void th_uuid_text(uint64_t high, uint64_t low, char out[static 37])
{
    put_uuid(high, low, 4, out);
}

/* SHA-1 (FIPS 180-4). Good for names; nothing here relies on it against attackers. */
struct sha1 {
    uint32_t h[5];
    unsigned char block[64];
    uint64_t total;
};

static uint32_t rotate(uint32_t v, int by)
{
    return v << by | v >> (32 - by);
}

static uint32_t round_function(int t, const uint32_t v[5])
{
    if (t < 20) {
        return ((v[1] & v[2]) | (~v[1] & v[3])) + UINT32_C(0x5A827999);
    }
    if (t < 40) {
        return (v[1] ^ v[2] ^ v[3]) + UINT32_C(0x6ED9EBA1);
    }
    if (t < 60) {
        return ((v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3])) + UINT32_C(0x8F1BBCDC);
    }
    return (v[1] ^ v[2] ^ v[3]) + UINT32_C(0xCA62C1D6);
}

static void sha1_block(struct sha1 *s)
{
    uint32_t w[80];
    for (int t = 0; t < 16; t++) {
        const unsigned char *p = s->block + 4 * t;
        w[t] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (int t = 16; t < 80; t++) {
        w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    }
    uint32_t v[5];
    memcpy(v, s->h, sizeof(v));
    for (int t = 0; t < 80; t++) {
        uint32_t first = rotate(v[0], 5) + round_function(t, v) + v[4] + w[t];
        v[4] = v[3];
        v[3] = v[2];
        v[2] = rotate(v[1], 30);
        v[1] = v[0];
        v[0] = first;
    }
    for (int i = 0; i < 5; i++) {
        s->h[i] += v[i];
    }
}

static void sha1_init(struct sha1 *s)
{
    *s = (struct sha1){.h = {UINT32_C(0x67452301), UINT32_C(0xEFCDAB89), UINT32_C(0x98BADCFE),
                             UINT32_C(0x10325476), UINT32_C(0xC3D2E1F0)}};
}

static void sha1_add(struct sha1 *s, const void *data, size_t len)
{
    const unsigned char *p = data;
    while (len > 0) {
        size_t used = s->total % sizeof(s->block);
        size_t n = sizeof(s->block) - used < len ? sizeof(s->block) - used : len;
        memcpy(s->block + used, p, n);
        s->total += n;
        p += n;
        len -= n;
        if (used + n == sizeof(s->block)) {
            sha1_block(s);
        }
    }
}

static void sha1_add_u64(struct sha1 *s, uint64_t value)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(value >> (56 - 8 * i));
    }
    sha1_add(s, bytes, sizeof(bytes));
}

static void sha1_finish(struct sha1 *s)
{
    uint64_t bits = s->total * 8;
    do {
        sha1_add(s, s->total * 8 == bits ? "\x80" : "", 1);
    } while (s->total % sizeof(s->block) != 56);
    sha1_add_u64(s, bits);
}

/* The lengths go into the name, so that ("ab", "c") and ("a", "bc") differ. */
void th_uuid_derive(const struct th_str *a, const struct th_str *b, uint64_t n, char out[static 37])
{
    /* The namespace is an arbitrary UUID of our own. It must never change. */
    static const unsigned char namespace[16] = {0x6b, 0x1f, 0x3c, 0x52, 0x9d, 0x0e, 0x4a, 0x77,
                                                0xb4, 0x2e, 0x58, 0xc1, 0x07, 0xe9, 0xd3, 0x6a};
    struct sha1 s;
    sha1_init(&s);
    sha1_add(&s, namespace, sizeof(namespace));
    sha1_add_u64(&s, a->len);
    sha1_add(&s, a->data, a->len);
    sha1_add_u64(&s, b->len);
    sha1_add(&s, b->data, b->len);
    sha1_add_u64(&s, n);
    sha1_finish(&s);
    put_uuid((uint64_t)s.h[0] << 32 | s.h[1], (uint64_t)s.h[2] << 32 | s.h[3], 5, out);
}

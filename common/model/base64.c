#include "model/base64.h"

#include <stdint.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

struct th_str th_base64_encode(struct th_arena *arena, struct th_str bytes)
{
    size_t len = (bytes.len + 2) / 3 * 4;
    char *out = th_arena_alloc(arena, len + 1);
    char *p = out;
    for (size_t i = 0; i < bytes.len; i += 3, p += 4) {
        size_t have = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t group = 0;
        for (size_t k = 0; k < 3; k++) {
            group = group << 8 | (k < have ? (uint8_t)bytes.data[i + k] : 0);
        }
        for (size_t k = 0; k < 4; k++) {
            p[k] = k <= have ? digits[group >> (18 - 6 * k) & 63] : '=';
        }
    }
    return (struct th_str){out, len};
}

static int digit_value(char c)
{
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* The 24 bits of four digits, of which only the last `padding` may be '='; -1: they are none. */
static int32_t group_of(const char *text, size_t padding)
{
    int32_t group = 0;
    for (size_t k = 0; k < 4; k++) {
        int value = k < 4 - padding ? digit_value(text[k]) : 0;
        if (value < 0) {
            return -1;
        }
        group = group << 6 | value;
    }
    bool spare_bits = (padding == 1 && (group & 0xff)) || (padding == 2 && (group & 0xffff));
    return spare_bits ? -1 : group;
}

bool th_base64_decode(struct th_arena *arena, struct th_str text, struct th_str *out)
{
    if (text.len % 4 != 0) {
        return false;
    }
    size_t padding = 0;
    while (padding < 2 && padding < text.len && text.data[text.len - 1 - padding] == '=') {
        padding++;
    }
    size_t len = text.len / 4 * 3;
    char *bytes = th_arena_alloc(arena, len + 1);
    for (size_t i = 0; i < text.len; i += 4) {
        int32_t group = group_of(text.data + i, i + 4 == text.len ? padding : 0);
        if (group < 0) {
            return false;
        }
        for (size_t k = 0; k < 3; k++) {
            bytes[i / 4 * 3 + k] = (char)(group >> (16 - 8 * k) & 0xff);
        }
    }
    *out = (struct th_str){bytes, len - padding};
    return true;
}

#include "base/str.h"

#include <limits.h>

#include "base/memory.h"

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool th_str_eq_nocase(struct th_str a, struct th_str b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.data[i]) != lower(b.data[i])) {
            return false;
        }
    }
    return true;
}

int th_str_cmp(struct th_str a, struct th_str b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

bool th_str_starts(struct th_str s, struct th_str prefix)
{
    return s.len >= prefix.len && th_str_eq((struct th_str){s.data, prefix.len}, prefix);
}

char *th_str_dup(struct th_str s)
{
    if (!th_str_present(s)) {
        return NULL;
    }
    char *copy = th_realloc(NULL, s.len + 1);
    memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    return copy;
}

bool th_str_to_i64(struct th_str s, long long *out)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    size_t i = negative;
    if (i == s.len) {
        return false;
    }
    /* Counts downwards, because the smallest number has no positive counterpart. */
    long long value = 0;
    for (; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, s.data[i] - '0', &value)) {
            return false;
        }
    }
    if (!negative && value == LLONG_MIN) {
        return false;
    }
    *out = negative ? value : -value;
    return true;
}

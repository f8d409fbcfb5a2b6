/*
 * str: a borrowed run of bytes. The base of every text and payload in Taskhub: ids, names, JSON.
 * A th_str owns nothing; it lives as long as what it points into. It may hold zero bytes and need
 * not end in NUL. {NULL, 0} is "absent"; {"", 0} is "present and empty" (th_str_present tells).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct th_str {
    const char *data;
    size_t len;
};

#define TH_STR(literal) ((struct th_str){(literal), sizeof(literal) - 1})
#define TH_STR_ABSENT   ((struct th_str){NULL, 0})

/* For printf: printf("%.*s", TH_PRI(s)). Clipped to what an int can say. */
#define TH_PRI(s) (int)((s).len > 0x7fffffff ? 0x7fffffff : (s).len), (s).data ? (s).data : ""

/* The bytes before the NUL of `text`; NULL gives the absent string. */
static inline struct th_str th_str_of(const char *text)
{
    return text ? (struct th_str){text, strlen(text)} : TH_STR_ABSENT;
}

static inline struct th_str th_str_n(const char *data, size_t len)
{
    return (struct th_str){data, len};
}

static inline bool th_str_present(struct th_str s)
{
    return s.data != NULL;
}

static inline bool th_str_eq(struct th_str a, struct th_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool th_str_eq_nocase(struct th_str a, struct th_str b); /* ASCII letters only */
int th_str_cmp(struct th_str a, struct th_str b);        /* bytewise, shorter first */
bool th_str_starts(struct th_str s, struct th_str prefix);

/* A NUL-terminated copy; the caller frees it. The absent string gives NULL. */
char *th_str_dup(struct th_str s);

/* A decimal integer that fills the whole of `s`; false when it is none or does not fit. */
bool th_str_to_i64(struct th_str s, long long *out);

/*
 * url: request targets taken apart and URLs put together. Lenient as the servers that clients were
 * written against: a '%' that begins no escape stands for itself, empty path segments do not
 * count. Pure; results live in the caller's arena and end in NUL.
 */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

struct th_pair {
    struct th_str name, value;
};

/* In the order of arrival; names may repeat. */
struct th_pairs {
    struct th_pair *items;
    size_t count, capacity;
};

void th_pairs_add(struct th_pairs *pairs, struct th_arena *arena, struct th_str name,
                  struct th_str value);
/* The first value of this name, without regard to case; absent: none. */
struct th_str th_pairs_get(const struct th_pairs *pairs, const char *name);

struct th_target {
    struct th_str path; /* as sent, without the query */
    struct th_str *segments;
    size_t segment_count;
    struct th_pairs query;
};

#define TH_TARGET_SEGMENTS 64
#define TH_TARGET_PAIRS    256

/* `text` is "/path?query" or "http://host/path?query". False: INVALID, when an escape yields NUL
 * or no UTF-8, or when there are too many segments or parameters. */
bool th_target_parse(struct th_str text, struct th_arena *arena, struct th_target *out,
                     struct th_error *error);

/* Percent-encodes all but letters, digits and "-._~". */
void th_url_put_encoded(struct th_buffer *out, struct th_str text);

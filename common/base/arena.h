/*
 * arena: allocations that die together. Decoders and episodes put what they build into the
 * caller's arena. Reset keeps the first block for the next round. One thread at a time.
 */
#pragma once

#include "base/str.h"

struct th_arena_block;

struct th_arena {
    struct th_arena_block *blocks;
    char *next;
    char *end;
    size_t total; /* bytes handed out since the last reset */
};

void *th_arena_alloc(struct th_arena *a, size_t size); /* zeroed, aligned for any type */
void *th_arena_alloc_array(struct th_arena *a, size_t size, size_t n); /* size * n may overflow */
void *th_arena_dup(struct th_arena *a, const void *p, size_t n);
struct th_str th_arena_str(struct th_arena *a, struct th_str s); /* copy; absent stays absent */
struct th_str th_arena_format(struct th_arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* What `from` holds lives on in `a`, where it is; `from` is empty then. */
void th_arena_adopt(struct th_arena *a, struct th_arena *from);
void th_arena_reset(struct th_arena *a);
void th_arena_deinit(struct th_arena *a);

#define TH_ARENA                  __attribute__((cleanup(th_arena_deinit))) struct th_arena
#define TH_ARENA_NEW(arena, type) ((type *)th_arena_alloc((arena), sizeof(type)))
#define TH_ARENA_ARRAY(arena, type, n) \
    ((type *)th_arena_alloc_array((arena), sizeof(type), (size_t)(n)))

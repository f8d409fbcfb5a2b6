/*
 * Blocks form a list; allocations come from its first one, and each new one is twice as large as
 * the one before, up to LARGEST. What does not fit well gets a block of its own behind the first,
 * so that the rest of the first one is not lost. A reset keeps the first block, by then as large
 * as the rounds so far needed, unless one huge request made it.
 *
 * Bytes not handed out are poisoned under AddressSanitizer: a use after the reset is reported.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

#ifdef __SANITIZE_ADDRESS__
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum {
    ALIGNMENT = alignof(max_align_t),
    SMALLEST = 512 - 48, /* most arenas hold the strings of one message or instance */
    LARGEST = 65536 - 64,
    OWN_BLOCK_SHARE = 4, /* requests above a 1/4 of a block do not replace the current one */
};

struct th_arena_block {
    struct th_arena_block *next;
    size_t size; /* of data */
    alignas(max_align_t) char data[];
};

static struct th_arena_block *block_new(size_t size)
{
    struct th_arena_block *block = th_realloc(NULL, sizeof(*block) + size);
    block->next = NULL;
    block->size = size;
    POISON(block->data, size);
    return block;
}

static void block_free(struct th_arena_block *block)
{
    UNPOISON(block->data, block->size);
    free(block);
}

static size_t next_size(const struct th_arena *a)
{
    if (!a->blocks) {
        return SMALLEST;
    }
    return a->blocks->size > LARGEST / 2 ? LARGEST : a->blocks->size * 2;
}

/* `padded` bytes that the current block does not have. */
__attribute__((noinline)) static char *take_from_new_block(struct th_arena *a, size_t padded)
{
    size_t size = next_size(a);
    if (a->blocks && padded > size / OWN_BLOCK_SHARE) {
        struct th_arena_block *own = block_new(padded);
        own->next = a->blocks->next;
        a->blocks->next = own;
        return own->data;
    }
    struct th_arena_block *block = block_new(size > padded ? size : padded);
    block->next = a->blocks;
    a->blocks = block;
    a->next = block->data + padded;
    a->end = block->data + block->size;
    return block->data;
}

/* Bytes as they are. Never NULL, even for no bytes. */
static char *take(struct th_arena *a, size_t size)
{
    if (size > SIZE_MAX / 2) {
        th_alloc(size); /* reports it */
    }
    size_t padded = (size + (size == 0) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    char *p = a->next;
    if (padded <= (size_t)(a->end - a->next)) {
        a->next += padded;
    } else {
        p = take_from_new_block(a, padded);
    }
    a->total += size;
    UNPOISON(p, size);
    return p;
}

void *th_arena_alloc(struct th_arena *a, size_t size)
{
    return memset(take(a, size), 0, size);
}

void *th_arena_alloc_array(struct th_arena *a, size_t size, size_t n)
{
    size_t bytes;
    if (__builtin_mul_overflow(size, n, &bytes)) {
        bytes = SIZE_MAX; /* take reports it; a wrapped product would be too short an array */
    }
    return th_arena_alloc(a, bytes);
}

void *th_arena_dup(struct th_arena *a, const void *p, size_t n)
{
    char *copy = take(a, n);
    if (n) {
        memcpy(copy, p, n);
    }
    return copy;
}

/* The NUL behind the text is for debuggers and C functions; the length does not count it. */
static struct th_str text_copy(struct th_arena *a, const char *text, size_t len)
{
    char *copy = take(a, len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return (struct th_str){copy, len};
}

struct th_str th_arena_str(struct th_arena *a, struct th_str s)
{
    return th_str_present(s) ? text_copy(a, s.data, s.len) : TH_STR_ABSENT;
}

struct th_str th_arena_format(struct th_arena *a, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len < 0) {
        len = 0;
        text[0] = '\0';
    }
    if ((size_t)len < sizeof(text)) {
        return text_copy(a, text, (size_t)len);
    }
    char *copy = take(a, (size_t)len + 1);
    va_start(arguments, format);
    vsnprintf(copy, (size_t)len + 1, format, arguments);
    va_end(arguments);
    return (struct th_str){copy, (size_t)len};
}

static void free_list(struct th_arena_block *block)
{
    while (block) {
        struct th_arena_block *next = block->next;
        block_free(block);
        block = next;
    }
}

void th_arena_adopt(struct th_arena *a, struct th_arena *from)
{
    if (!a->blocks) {
        *a = *from;
    } else if (from->blocks) {
        struct th_arena_block *last = from->blocks;
        while (last->next) {
            last = last->next;
        }
        last->next = a->blocks->next;
        a->blocks->next = from->blocks;
        a->total += from->total;
    }
    *from = (struct th_arena){0};
}

void th_arena_reset(struct th_arena *a)
{
    struct th_arena_block *kept = a->blocks;
    if (!kept || kept->size > LARGEST) {
        th_arena_deinit(a);
        return;
    }
    free_list(kept->next);
    kept->next = NULL;
    POISON(kept->data, kept->size);
    a->next = kept->data;
    a->end = kept->data + kept->size;
    a->total = 0;
}

void th_arena_deinit(struct th_arena *a)
{
    free_list(a->blocks);
    *a = (struct th_arena){0};
}

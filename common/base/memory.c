#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noreturn, cold)) static void out_of_memory(size_t size)
{
    fprintf(stderr, "taskhub: out of memory (%zu bytes wanted)\n", size);
    abort();
}

void *th_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p) {
        out_of_memory(size);
    }
    return p;
}

void *th_realloc(void *p, size_t size)
{
    /* realloc(p, 0) may free p and return NULL, which would look like a failure. */
    void *moved = realloc(p, size ? size : 1);
    if (!moved) {
        out_of_memory(size);
    }
    return moved;
}

void *th_memdup(const void *p, size_t n)
{
    return n ? memcpy(th_realloc(NULL, n), p, n) : NULL;
}

void th_free_ptr(void *pointer_to_pointer)
{
    void *p;
    memcpy(&p, pointer_to_pointer, sizeof(p)); /* it may point to a pointer of any type */
    free(p);
}

void *th_grow(void *items, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) {
        return items;
    }
    size_t wanted = *capacity < 4 ? 4 : *capacity;
    if (__builtin_add_overflow(wanted, wanted, &wanted) || wanted < need) {
        wanted = need;
    }
    size_t bytes;
    if (__builtin_mul_overflow(wanted, size, &bytes)) {
        out_of_memory((size_t)-1);
    }
    items = th_realloc(items, bytes);
    *capacity = wanted;
    return items;
}

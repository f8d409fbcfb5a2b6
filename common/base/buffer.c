#include "base/buffer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

enum { SMALLEST = 64 };

void th_buffer_deinit(struct th_buffer *b)
{
    free(b->data);
    *b = (struct th_buffer){0};
}

__attribute__((noinline)) static void enlarge(struct th_buffer *b, size_t extra)
{
    size_t need;
    if (__builtin_add_overflow(b->len, extra, &need)) {
        need = SIZE_MAX; /* th_realloc reports it */
    }
    size_t start = b->capacity ? 0 : SMALLEST;
    b->data = th_grow(b->data, &b->capacity, need > start ? need : start, 1);
}

void th_buffer_reserve(struct th_buffer *b, size_t extra)
{
    if (extra > b->capacity - b->len) {
        enlarge(b, extra);
    }
}

void th_buffer_add(struct th_buffer *b, const void *data, size_t len)
{
    if (len == 0) {
        return; /* `data` may be NULL then */
    }
    th_buffer_reserve(b, len);
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

void th_buffer_str(struct th_buffer *b, struct th_str s)
{
    th_buffer_add(b, s.data, s.len);
}

void th_buffer_text(struct th_buffer *b, const char *text)
{
    th_buffer_add(b, text, strlen(text));
}

void th_buffer_format(struct th_buffer *b, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    th_buffer_vformat(b, format, arguments);
    va_end(arguments);
}

void th_buffer_vformat(struct th_buffer *b, const char *format, va_list arguments)
{
    th_buffer_reserve(b, SMALLEST);
    size_t room = b->capacity - b->len;
    va_list again;
    va_copy(again, arguments);
    int written = vsnprintf(b->data + b->len, room, format, arguments);
    if (written > 0 && (size_t)written >= room) {
        th_buffer_reserve(b, (size_t)written + 1);
        vsnprintf(b->data + b->len, (size_t)written + 1, format, again);
    }
    va_end(again);
    b->len += written > 0 ? (size_t)written : 0;
}

struct th_str th_buffer_view(const struct th_buffer *b)
{
    return (struct th_str){b->data ? b->data : "", b->len};
}

char *th_buffer_take(struct th_buffer *b)
{
    th_buffer_add(b, "", 1);
    char *text = b->data;
    *b = (struct th_buffer){0};
    return text;
}

struct th_blob *th_blob_alloc(size_t len)
{
    size_t size;
    if (__builtin_add_overflow(sizeof(struct th_blob), len, &size)) {
        size = SIZE_MAX; /* th_realloc reports it */
    }
    struct th_blob *b = th_realloc(NULL, size);
    atomic_init(&b->references, 1);
    b->len = len;
    return b;
}

struct th_blob *th_blob_new(const void *data, size_t len)
{
    struct th_blob *b = th_blob_alloc(len);
    if (len) {
        memcpy(b->data, data, len);
    }
    return b;
}

struct th_blob *th_blob_ref(struct th_blob *b)
{
    if (b) {
        atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
    }
    return b;
}

void th_blob_unref(struct th_blob *b)
{
    /* The last one frees what others have read: their reads come before, its free after. */
    if (b && atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) == 1) {
        free(b);
    }
}

struct th_str th_blob_view(const struct th_blob *b)
{
    return b ? (struct th_str){b->data, b->len} : TH_STR_ABSENT;
}

/*
 * buffer: bytes that grow; blob: bytes that never change again and are shared by count.
 * A th_buffer belongs to one thread. A th_blob may be shared between threads: its count is atomic
 * and its bytes are constant.
 */
#pragma once

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/str.h"

struct th_buffer {
    char *data;
    size_t len;
    size_t capacity;
};

void th_buffer_deinit(struct th_buffer *b);
#define TH_BUFFER __attribute__((cleanup(th_buffer_deinit))) struct th_buffer
void th_buffer_reserve(struct th_buffer *b, size_t extra);
void th_buffer_add(struct th_buffer *b, const void *data, size_t len);
void th_buffer_str(struct th_buffer *b, struct th_str s);
void th_buffer_text(struct th_buffer *b, const char *text);
void th_buffer_format(struct th_buffer *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void th_buffer_vformat(struct th_buffer *b, const char *format, va_list arguments);
/* The content as a string that lives until the buffer changes; present even when empty. */
struct th_str th_buffer_view(const struct th_buffer *b);
/* The content as a NUL-terminated string the caller frees; leaves the buffer empty. */
char *th_buffer_take(struct th_buffer *b);

struct th_blob {
    atomic_int references;
    size_t len;
    char data[];
};

struct th_blob *th_blob_new(const void *data, size_t len); /* copies; one reference */
struct th_blob *th_blob_alloc(size_t len);                 /* bytes left for the caller to fill */
struct th_blob *th_blob_ref(struct th_blob *b);            /* NULL stays NULL */
void th_blob_unref(struct th_blob *b);                     /* NULL is fine */
struct th_str th_blob_view(const struct th_blob *b);       /* NULL gives the absent string */

/*
 * memory: allocation that does not fail. A durable engine treats running out of memory as a
 * crash: everything acknowledged is in the log, and the supervisor starts the process again, so
 * an error path in every caller would only add code that is never right. The functions print one
 * line and abort.
 */
#pragma once

#include <stddef.h>

void *th_alloc(size_t size);              /* zeroed */
void *th_realloc(void *p, size_t size);   /* new bytes are not zeroed */
void *th_memdup(const void *p, size_t n); /* NULL for n = 0 */

/* Cleanup attributes: a function has one way out. */
void th_free_ptr(void *pointer_to_pointer);
#define TH_AUTOFREE __attribute__((cleanup(th_free_ptr)))

#define TH_NEW(type)    ((type *)th_alloc(sizeof(type)))
#define TH_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Grows a dynamic array so that it can hold `need` items of `size` bytes; returns the array. */
void *th_grow(void *items, size_t *capacity, size_t need, size_t size);

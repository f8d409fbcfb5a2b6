/*
 * threads: a fixed number of threads for work that may block: client functions, hub callbacks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct th_threads;

/* At most `limit` jobs wait for a thread. */
struct th_threads *th_threads_new(unsigned count, size_t limit);

/* Any thread; does not block. False: too many wait already, or th_threads_stop was called. */
bool th_threads_run(struct th_threads *threads, void (*job)(void *argument), void *argument);

/* Finishes every job that was taken; later ones are refused. Blocks. */
void th_threads_stop(struct th_threads *threads);
/* After th_threads_stop, when nobody calls th_threads_run any more. */
void th_threads_free(struct th_threads *threads);

/*
 * queue: hands items from any thread to one consumer, which takes all there is at once.
 * Intrusive: an item embeds a th_link. The consumer waits on it together with a deadline.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/clock.h"

struct th_link {
    struct th_link *next;
};

struct th_queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    struct th_link *first;
    struct th_link **last;
    bool waiting;
    bool woken;
};

void th_queue_init(struct th_queue *q);
void th_queue_deinit(struct th_queue *q); /* must be empty */
void th_queue_push(struct th_queue *q, struct th_link *item);
/* Everything in order, or NULL when empty. Does not block. */
struct th_link *th_queue_take(struct th_queue *q);
/* Waits until the queue holds something, th_queue_wake was called, or the monotonic deadline
 * passed (TH_TIME_NONE: no deadline); then takes everything. */
struct th_link *th_queue_wait(struct th_queue *q, th_time monotonic_deadline);
void th_queue_wake(struct th_queue *q);

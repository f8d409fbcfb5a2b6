/*
 * `waiting` says that the consumer sleeps and nobody has signalled it yet. Both sides read and
 * write it under the mutex, so a push either finds the consumer asleep and signals it, or the
 * consumer finds the item before it sleeps. Whoever signals clears it: of many pushes during one
 * sleep only the first pays for the system call.
 *
 * The signal is sent with the mutex held. Behind the mutex it would reach a condition variable
 * that the consumer, awake for another reason, may already have destroyed with the queue.
 */
#include "base/queue.h"

#include <assert.h>
#include <errno.h>

void th_queue_init(struct th_queue *q)
{
    *q = (struct th_queue){.first = NULL};
    q->last = &q->first;
    pthread_mutexattr_t mutex;
    pthread_mutexattr_init(&mutex);
    /* Held for a few instructions only: spinning is shorter than sleeping. */
    pthread_mutexattr_settype(&mutex, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&q->mutex, &mutex);
    pthread_mutexattr_destroy(&mutex);
    pthread_condattr_t condition;
    pthread_condattr_init(&condition);
    pthread_condattr_setclock(&condition, CLOCK_MONOTONIC);
    pthread_cond_init(&q->filled, &condition);
    pthread_condattr_destroy(&condition);
}

void th_queue_deinit(struct th_queue *q)
{
    assert(!q->first);
    pthread_cond_destroy(&q->filled);
    pthread_mutex_destroy(&q->mutex);
}

static void signal_consumer(struct th_queue *q)
{
    if (q->waiting) {
        q->waiting = false;
        pthread_cond_signal(&q->filled);
    }
}

void th_queue_push(struct th_queue *q, struct th_link *item)
{
    item->next = NULL;
    pthread_mutex_lock(&q->mutex);
    *q->last = item;
    q->last = &item->next;
    signal_consumer(q);
    pthread_mutex_unlock(&q->mutex);
}

void th_queue_wake(struct th_queue *q)
{
    pthread_mutex_lock(&q->mutex);
    q->woken = true;
    signal_consumer(q);
    pthread_mutex_unlock(&q->mutex);
}

static struct th_link *take_all(struct th_queue *q)
{
    struct th_link *items = q->first;
    q->first = NULL;
    q->last = &q->first;
    return items;
}

struct th_link *th_queue_take(struct th_queue *q)
{
    pthread_mutex_lock(&q->mutex);
    struct th_link *items = take_all(q);
    pthread_mutex_unlock(&q->mutex);
    return items;
}

/* Sleeps until signalled; false when the deadline has passed. */
static bool sleep_until(struct th_queue *q, th_time deadline)
{
    q->waiting = true;
    int result;
    if (deadline == TH_TIME_NONE) {
        result = pthread_cond_wait(&q->filled, &q->mutex);
    } else {
        const struct timespec until = th_timespec(deadline);
        result = pthread_cond_timedwait(&q->filled, &q->mutex, &until);
    }
    q->waiting = false;
    return result != ETIMEDOUT;
}

struct th_link *th_queue_wait(struct th_queue *q, th_time monotonic_deadline)
{
    pthread_mutex_lock(&q->mutex);
    while (!q->first && !q->woken && sleep_until(q, monotonic_deadline)) {
    }
    q->woken = false; /* the caller is awake: whatever it was woken for, it looks now */
    struct th_link *items = take_all(q);
    pthread_mutex_unlock(&q->mutex);
    return items;
}

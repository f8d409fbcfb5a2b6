/*
 * pool: runs activities. A fixed number of threads take them from one queue, first come, first
 * served; a function may have a limit of its own, and what is above it waits beside the queue.
 *
 *     node's thread ──submit──▶ queue ──▶ threads ──done──▶ th_queue of the node's thread
 *
 * Time-outs: an attempt that neither ends nor sends a heartbeat in time fails with type
 * "ActivityTimeout"; what it returns later is dropped. A thread cannot be killed, so it counts as
 * lost and another takes its place; above a bound of lost threads the process should start anew,
 * which `exhausted` is told.
 */
#pragma once

#include "base/queue.h"
#include "node/node.h"
#include "sdk/application.h"
#include "worker/counters.h"
#include "worker/flight.h"

struct th_pool;

struct th_pool_limit {
    struct th_str name; /* activity; without regard to case */
    unsigned max;       /* attempts at once; at least 1 */
};

/* How an attempt ended. The receiver frees it with th_pool_result_free. */
struct th_pool_result {
    struct th_link link; /* for the receiver's queue */
    int kind;            /* the receiver's, to tell its items apart; 0 */
    uint64_t token;
    struct th_activity_result activity;
};

struct th_pool_options {
    const struct th_app *app; /* NULL: no activity is known */
    const struct th_log *log;
    struct th_flight *flight;     /* NULL: none */
    struct th_counters *counters; /* NULL: none */
    unsigned threads;             /* at least 1 */
    int64_t timeout_ms;           /* 0: none */
    unsigned max_lost;            /* 0: as many as there are threads */
    const struct th_pool_limit *limits;
    size_t limit_count;
    void *argument;
    /* Hands over an ended attempt; on a pool thread or in th_pool_watch; must not block. */
    void (*done)(void *argument, struct th_pool_result *result);
    /* Too many threads are lost; once, from th_pool_watch. */
    void (*exhausted)(void *argument, const char *reason);
};

struct th_pool *th_pool_new(const struct th_pool_options *options, struct th_error *error);

/* Node's thread. Copies what it keeps; does not block. */
void th_pool_submit(struct th_pool *pool, const struct th_activity_work *work);
/* Any thread. A waiting activity is dropped without an answer; a running one can see it. */
void th_pool_cancel(struct th_pool *pool, uint64_t token);

/* Any thread. Takes a waiting activity back, without an answer: true. False: it runs, or is not
 * known. */
bool th_pool_withdraw(struct th_pool *pool, uint64_t token);

/* Any thread, now and then: fails the attempts whose time is over at `now` (monotonic). */
void th_pool_watch(struct th_pool *pool, th_time now);

/* Starts nothing more: what waits is dropped, and re-dispatched by the partition's next owner. */
void th_pool_drain(struct th_pool *pool);
size_t th_pool_running(struct th_pool *pool); /* attempts under way or just being handed over; lost
                                                 ones apart */
size_t th_pool_waiting(struct th_pool *pool);

/* How busy it is, for deciding where the next activity runs. */
struct th_pool_load {
    unsigned threads;
    size_t running, waiting;
    th_time mean;    /* of recent attempts; TH_TIME_NONE: there was none */
    th_time elapsed; /* of all attempts under way, together */
};
void th_pool_get_load(struct th_pool *pool, struct th_pool_load *out);

/* Drains and waits for the running attempts, at most until `deadline` (monotonic). False: some
 * thread is still in the application's code; the pool is left to it and must not be used again,
 * nor may the application be unloaded. */
bool th_pool_free(struct th_pool *pool, th_time deadline);

void th_pool_result_free(struct th_pool_result *result);

/*
 * The state of the consumer of activity messages, all of it its thread's, but the queue of what is
 * done.
 *
 *   shared.c      the thread: opening, polling, back-pressure, commits
 *   sharedmove.c  partitions that come and go
 *   sharedwork.c  messages: run here, sent on, left to others, held
 */
#pragma once

#include <semaphore.h>
#include <stdatomic.h>
#include <uthash.h>
#include <utlist.h>

#include "base/memory.h"
#include "base/queue.h"
#include "worker/group.h"
#include "worker/offsets.h"
#include "worker/shared.h"

/* A message that was given to a host, to be run or to be sent on. */
struct flight {
    struct th_link link; /* shared->done */
    UT_hash_handle hh;   /* activities->flights, by offset */
    struct th_shared *shared;
    struct th_host *host;
    uint32_t partition;
    int64_t offset;
    uint64_t run; /* 0: it is being sent on */
    th_time arrived;
};

/* A message that waits: for the worker that runs it, or for one that serves its function. */
struct held {
    struct held *prev, *next;
    int64_t offset;
    th_time arrived, since; /* since: monotonic */
    bool seen;              /* the worker it was left to was alive */
    char *function;         /* NULL: it was left to a worker */
    char *version;
    struct th_blob *blob;
};

struct activities {
    uint32_t partition;
    bool assigned, known; /* known: `offsets` says what the group has committed */
    bool dirty;           /* there is something to commit */
    bool flows, paused;   /* flows: since it was assigned, something came of it, or its end */
    struct th_offsets offsets;
    struct {
        int64_t position;
        char *text;
    } said[2]; /* what was committed last, and before that: one of them stands */
    struct flight *flights;
    struct held *held;
};

struct th_shared {
    struct th_group group; /* first: callbacks are given its client */
    struct th_shared_options options;
    struct activities *parts; /* by partition; grows */
    size_t part_count, part_capacity;
    size_t in_flight, held_count, held_bytes;
    pthread_t thread;
    struct th_queue wake; /* flights that are done */
    atomic_bool leaving, stopping, others_changed;
    sem_t left;
    bool told_to_leave, has_left; /* the caller's */
    bool full, committing, report_due;
    th_time commit_at, tick_at;
    size_t next_host;
};

struct th_shared *shared_of(void *opaque); /* librdkafka's */
struct activities *shared_part(struct th_shared *shared, int32_t partition);
/* In the next heartbeat, or at once: then the serial of what is said. */
uint64_t shared_say(struct th_shared *shared, bool at_once);
/* The position, with all that rides along, of one partition. */
void shared_add_commit(struct th_shared *shared, rd_kafka_topic_partition_list_t *list,
                       struct activities *part, const struct th_offsets_running *running);

/* ---- sharedmove.c ---- */
void shared_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t what,
                      rd_kafka_topic_partition_list_t *list, void *opaque);
/* Asks again what an assignment could not learn. */
void shared_begin_unknown(struct th_shared *shared);

/* ---- sharedwork.c ---- */
void shared_take(struct th_shared *shared, const rd_kafka_message_t *message);
void shared_finish(struct th_shared *shared, struct flight *flight);
void shared_flight_free(struct th_shared *shared, struct flight *flight);
/* Looks whether what is held can go on. */
void shared_look_at_held(struct th_shared *shared);
void shared_drop_held(struct th_shared *shared, struct activities *part);

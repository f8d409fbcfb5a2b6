/*
 * lease: the worker's place in the consumer group on the hub's inboxes, which suggests to each
 * worker the partitions to claim. Nothing is read here: nodes read inboxes themselves, from the
 * positions in their logs. What the group hears of those is for the eyes of lag tools only.
 *
 *     broker ──assignment──▶ own thread ──take, release──▶ hosts
 *            ◀──positions────           ◀──who else has it── control
 *
 * The thread never waits for anybody, so that the group does not think the worker dead. plan.h says
 * what is taken and given up.
 */
#pragma once

#include "provider/kafka/kafka.h"
#include "worker/plan.h"

struct th_lease;

struct th_lease_options {
    const struct th_kafka_cluster *cluster; /* borrowed until close, as the log */
    const struct th_log *log;
    const char *hub;  /* its name; borrowed */
    const char *name; /* of this worker: how the group's members are listed */
    uint32_t partitions;
    int64_t session_ms; /* after which a dead worker's partitions are given to others; 0: 1,000 */
    bool stays_out;     /* wants no partitions: the thread only ticks */

    /* On lease's thread; must not block. */
    void *argument;
    void (*take)(void *argument, uint32_t partition);
    void (*release)(void *argument, uint32_t partition);
    struct th_former (*former)(void *argument, uint32_t partition);
    bool (*known)(void *argument); /* whether `former` can tell */
    bool (*position)(void *argument, uint32_t partition, int64_t *position);
    void (*tick)(void *argument); /* ten times a second */
};

/* Joins the group; does not wait for a broker. NULL: INVALID (properties), INTERNAL (no thread). */
struct th_lease *th_lease_open(const struct th_lease_options *options, struct th_error *error);

/* Something about others changed: any thread. */
void th_lease_wake(struct th_lease *lease);

/* False: why not. In the group, with an assignment, all of which is taken; or it stays out. Any
 * thread. */
bool th_lease_is_settled(struct th_lease *lease, struct th_error *error);

/* Gives all up and leaves the group: the others have the partitions within a moment. Blocks, a
 * second perhaps, or until `deadline` (monotonic); no callback comes after it. False: librdkafka
 * does not let go; never free it then. */
bool th_lease_leave(struct th_lease *lease, th_time deadline);
void th_lease_free(struct th_lease *lease); /* leaves first; NULL is fine */

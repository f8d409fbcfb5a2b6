/*
 * shared: runs activities that owners of partitions put among the hub's activity messages, for
 * whichever worker takes them. A consumer group gives each worker some of the topic's partitions;
 * what of them is finished, in whatever order, is committed (offsets.h).
 *
 *     <hub>.activities ──▶ own thread ──run──▶ hosts ──result──▶ inbox of the instance's partition
 *                              ▲                  │
 *                              └────── done ──────┘
 *
 * A move of a partition runs nothing twice: what runs here goes on, named in the commit and in this
 * worker's heartbeats until it has ended; the next consumer leaves it alone. What only waited here
 * is the next consumer's. Of a worker that dies, what was finished but not yet committed, for 200
 * ms at the most, and what it ran is run again.
 *
 * A message for a function that is not served here is sent on to a worker that does, or held, and
 * named in the heartbeat, until there is one.
 */
#pragma once

#include "worker/report.h"

struct th_shared;

struct th_shared_options {
    const struct th_kafka_cluster *cluster; /* borrowed, as all the following */
    const struct th_log *log;
    const struct th_hub_record *hub;
    const char *name; /* of this worker */
    const struct th_app *app;
    struct th_rpc_hub *rpc; /* its programs run what the application does not have; NULL: none */
    struct th_host *const *hosts;
    size_t host_count;
    struct th_control *control;
    struct th_report *report;
    size_t most;        /* messages taken and not finished, before no more are taken */
    int64_t session_ms; /* as th_lease_options */
};

/* Joins the group; does not wait for a broker. NULL: INVALID (properties), INTERNAL (no thread). */
struct th_shared *th_shared_open(const struct th_shared_options *options, struct th_error *error);

/* Something about others changed: any thread. */
void th_shared_wake(struct th_shared *shared);

/* Leaves the group; what runs goes on and is heard of. Blocks, a second perhaps, or until
 * `deadline` (monotonic); to begin it does not. False: librdkafka does not let go; never free it
 * then. */
void th_shared_begin_leaving(struct th_shared *shared);
bool th_shared_leave(struct th_shared *shared, th_time deadline);
/* After the hosts have stopped. Leaves first; NULL is fine. */
void th_shared_free(struct th_shared *shared);

/*
 * host: gives a node (node/node.h) a thread, real time and an activity pool. Commands come in from
 * any thread through the gateway, results from the pool, wake-ups from the provider; all reach the
 * node's thread over one queue, which it drains as a whole before each step. It sleeps until the
 * next one or until the node's deadline.
 *
 * A watchdog thread fails activities whose time is over, and aborts the process when an
 * orchestrator does not come back (with a flight recorder only, which then names the culprit).
 */
#pragma once

#include "node/node.h"
#include "worker/flight.h"
#include "worker/pool.h"

struct th_host;
struct th_rpc_hub;

/* Runs the application's functions in place of the host's own pool and executor, somewhere else.
 * Called on the node's thread unless said otherwise; must not block, but in `orchestrate`. */
struct th_runner {
    void *argument;
    /* Before the node's first step, and after its last: between them the runner may call the
     * functions at the end of this file. Both on the thread that starts and stops the host. */
    void (*attach)(void *argument, struct th_host *host);
    void (*detach)(void *argument);   /* blocks until no call is under way */
    void (*taken_up)(void *argument); /* th_host_application_up has arrived */
    void (*activity)(void *argument, const struct th_activity_work *work);
    void (*cancel)(void *argument, uint64_t token);
    /* As a node's hook: TH_EXECUTOR_CRASHED when the application is not there. */
    enum th_executor_result (*orchestrate)(void *argument, const struct th_episode *episode,
                                           struct th_arena *arena, struct th_actions *out);
    void (*forget)(void *argument, struct th_str instance_id);
    void (*drain)(void *argument);     /* start nothing more */
    size_t (*running)(void *argument); /* activities under way */
};

struct th_host_options {
    const struct th_app *app;     /* NULL: serves nothing, work waits */
    struct th_provider *provider; /* the host closes it, also when it fails to start */
    const struct th_log *log;
    struct th_flight *flight;       /* NULL: none; stays the caller's */
    const struct th_runner *runner; /* NULL: functions run here; copied */
    /* Programs that are connected over RPC run what the application does not have; NULL: nobody
     * does. It outlives the host. */
    struct th_rpc_hub *rpc;
    struct th_counters *counters; /* NULL: none; stays the caller's */
    const char *worker;           /* name in claims; NULL: made of host name and process id */
    uint64_t seed;                /* 0: random */

    unsigned activity_threads;   /* 0: 2 per processor, at least 4 */
    int64_t function_timeout_ms; /* 0: none */
    const struct th_pool_limit *limits;
    size_t limit_count;

    int64_t
        episode_limit_ms; /* how long one episode may take; default 10,000; negative: for ever */
    size_t max_warm;      /* suspended orchestrators kept; default 20,000 */
    bool replay_always;

    size_t max_instances; /* of the node, as the following; 0: its defaults */
    size_t checkpoint_records;
    uint32_t max_crashes; /* deaths in a row that one function may cost; default 3 */
    size_t max_payload_bytes;
    size_t max_operations; /* of an entity at once; 0: 50 */
    size_t max_entities;   /* as in node/node.h; 0: ten per processor */

    const char *version; /* as in node/node.h; outlives the host */
    enum th_version_match version_match;
    enum th_version_failure version_failure;

    /* A hub that other processes work on, too: partitions are taken with th_host_take, none at the
     * start. The hooks are the node's (node/node.h) and called on its thread; NULL as there. */
    bool leases;
    bool (*goes_out)(void *argument, struct th_host *host, struct th_str name,
                     struct th_str version);
    bool (*is_alive)(void *argument, struct th_str worker);
    void (*lease)(void *argument, uint32_t partition, int64_t epoch);

    void *argument;
    /* The process should start anew (too many lost threads); on any thread. NULL: only logged. */
    void (*exhausted)(void *argument, const char *reason);
};

/* Claims every partition (but see `leases`) and starts. The options are copied, what they point to
 * is not. */
struct th_host *th_host_start(const struct th_host_options *options, struct th_error *error);

/* Any thread, until th_host_stop. Callbacks run on the node's thread. */
struct th_gateway *th_host_gateway(struct th_host *host);

/* Any thread but the node's; waits for the end of the step under way. */
void th_host_stats(struct th_host *host, struct th_node_stats *out);

/* Starts nothing more, gives what runs up to `drain_ms` to become durable, answers what is left
 * with UNAVAILABLE, closes the provider. Blocks; not on the node's thread. False: activities are
 * still in the application's code; do not unload it, leave the process with _exit. */
bool th_host_stop(struct th_host *host, int64_t drain_ms);

/* ---- a shared hub; any thread ------------------------------------------------------------------
 */

/* As th_node_take, th_node_release (`within_ms` from now) and th_node_worker_gone. */
void th_host_take(struct th_host *host, uint32_t partition);
void th_host_release(struct th_host *host, uint32_t partition, int64_t within_ms);
void th_host_worker_gone(struct th_host *host, const char *worker);

/* Runs an activity message (TH_SEND_ACTIVITIES): `message` is referenced. `done` is called once the
 * result is durable, on the node's thread; not at all when the host stops before. The run's number;
 * 0: the bytes are no activity message. */
uint64_t th_host_run(struct th_host *host, struct th_blob *message, void (*done)(void *argument),
                     void *argument);
/* Takes a run back that only waits: true, and `done` is not called. */
bool th_host_withdraw(struct th_host *host, uint64_t run);
/* Sends an activity message on, as th_node_forward. */
void th_host_forward(struct th_host *host, struct th_blob *message, uint32_t activity_partition,
                     void (*done)(void *argument), void *argument);
/* Activities that run or wait in this process. */
size_t th_host_load(struct th_host *host);
/* Calls `seen` soon, once, on the node's thread, with the node; with NULL when the host stops. */
void th_host_look(struct th_host *host, void (*seen)(void *argument, const struct th_node *node),
                  void *argument);
/* Node's thread (in goes_out). What was placed here and is not in the pool yet counts as waiting.
 */
void th_host_get_load(struct th_host *host, struct th_pool_load *out);

/* ---- for a runner; any thread ---------------------------------------------------------------- */

/* An activity has ended; takes the result over. */
void th_host_result(struct th_host *host, struct th_pool_result *result);
/* The application's process died running this (th_node_crashed). */
void th_host_crash(struct th_host *host, const char *instance_id, int32_t task_id,
                   const char *reason);
/* The application is there (again): episodes may begin. Comes behind the crashes before it. */
void th_host_application_up(struct th_host *host);

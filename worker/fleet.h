/*
 * fleet: a worker of a hub that many processes work on, put together: hosts with a provider each,
 * the control topic, leases, shared activities and, if wanted, the HTTP port.
 *
 *     group of inboxes ──▶ lease ──take, release──▶ hosts (partition p: host p % threads)
 *     group of activities ──▶ shared ──run─────────▶   │
 *     control topic ◀──heartbeats── report ◀──looks────┘
 *
 * `taskhub-worker` starts one through here.
 */
#pragma once

#include "api/http.h"
#include "control/options.h"
#include "rpc/endpoint.h"
#include "worker/host.h"
#include "worker/placement.h"

struct th_fleet_worker;

struct th_fleet_worker_options {
    const struct th_fleet_place *place; /* where Kafka and Redis are */
    const struct th_kafka_hub *hub;     /* found; copied */
    const char *application;            /* path of its file, for the heartbeat; NULL: none */
    unsigned threads;                   /* of orchestrators: hosts; 0: 1 */
    enum th_placement placement;
    int64_t session_ms;          /* of the groups; 0: 1,000 */
    struct th_host_options host; /* app, log, flight, limits, runner; the rest is filled in */
    const char *default_version; /* NULL: the application's */
    th_reuse reuse;
    void *argument;
    void (*exhausted)(void *argument, const char *reason); /* as th_host_options; any thread */
    bool serve_rpc;                     /* the endpoint for programs with an SDK, with: */
    struct th_rpc_endpoint_options rpc; /* address, port, key, …; the hubs are filled in */
    bool rpc_elsewhere;                 /* it is one of another's `others` */
    /* Workers of other hubs in this process, which this one's endpoint serves, too. It is ready
     * when they are; they are stopped after it. */
    struct th_fleet_worker *const *others;
    size_t other_count;
    struct th_http_options http; /* port (or TH_HTTP_CLOSED), address, key, …; the rest is filled
          in */
};

/* Connects, and starts all of it; what the options point to must outlive it. Does not wait for the
 * groups. NULL: UNAVAILABLE, NOT_FOUND, PRECONDITION and the like of brokers and hub (another try
 * may help), INVALID of options (none will). */
struct th_fleet_worker *th_fleet_worker_start(const struct th_fleet_worker_options *options,
                                              struct th_error *error);

/* As th_kafka_bar. */
void th_fleet_worker_bar(struct th_fleet_worker *worker, const char *reason);

const char *th_fleet_worker_name(const struct th_fleet_worker *worker);
struct th_http *th_fleet_worker_http(struct th_fleet_worker *worker); /* NULL: it has none */
/* Where its endpoint for programs with an SDK is; NULL: it has none. */
const char *th_fleet_worker_rpc_url(const struct th_fleet_worker *worker);
struct th_gateway *th_fleet_worker_gateway(struct th_fleet_worker *worker);

/* Hands its partitions over at once and leaves the groups, or says so when one does not let go. To
 * be stopped then. */
void th_fleet_worker_leave(struct th_fleet_worker *worker);
/* Programs of a worker that has left are given nothing more, and may finish what they have until
 * `deadline` (monotonic). Blocks. */
void th_fleet_worker_quiet(struct th_fleet_worker *worker, th_time deadline);
/*
 * Hands its partitions over at once and leaves the groups; then gives what runs up to `drain_ms` to
 * end and to become durable; says farewell. False: activities are still in the application's code,
 * and others will run them again, or a group does not let go; leave the process with _exit.
 */
bool th_fleet_worker_stop(struct th_fleet_worker *worker, int64_t drain_ms);

/*
 * fleetrpc: a fleet's worker for programs with a Durable Task SDK: the endpoint they connect to,
 * and the relay that brings them the work of the other workers.
 */
#pragma once

#include "control/control.h"
#include "rpc/endpoint.h"

struct th_fleet_rpc;

struct th_fleet_rpc_options {
    const char *hub;  /* its name */
    const char *name; /* of the worker */
    const struct th_log *log;
    struct th_rpc_endpoint_options endpoint; /* where to listen; this hub is put before its hubs,
                                                the log is filled in */
    bool elsewhere; /* another hub's endpoint in this process serves it, see th_fleet_rpc_reach */
    /* Programs came or went, here or at another worker. On any thread; must not block. */
    void (*changed)(void *argument);
    void *argument;
};

/* Hosts may use its hub from now on; nobody can connect yet. */
struct th_fleet_rpc *th_fleet_rpc_new(const struct th_fleet_rpc_options *options);
struct th_rpc_hub *th_fleet_rpc_hub(struct th_fleet_rpc *rpc); /* NULL for NULL, as below */

/* Listens, unless that is done elsewhere. As th_rpc_endpoint_start. */
bool th_fleet_rpc_open(struct th_fleet_rpc *rpc, struct th_gateway *gateway,
                       struct th_error *error);
/* The endpoint elsewhere listens there (now). As th_fleet_rpc_open. */
bool th_fleet_rpc_reach(struct th_fleet_rpc *rpc, const char *url, struct th_error *error);
/* Where other workers reach it; lives as long as it does. NULL: it is not open. */
const char *th_fleet_rpc_url(const struct th_fleet_rpc *rpc);
int th_fleet_rpc_port(const struct th_fleet_rpc *rpc); /* 0: not open */

/* Something about the others has changed. Any thread. */
void th_fleet_rpc_look(struct th_fleet_rpc *rpc, struct th_control *control);

/* Programs are given nothing more, and may finish what they have until `deadline` (monotonic).
 * Blocks. */
void th_fleet_rpc_quiet(struct th_fleet_rpc *rpc, th_time deadline);
/* The same; then all calls end. Of a hub that is served elsewhere they go on, until that one's end.
 */
void th_fleet_rpc_close(struct th_fleet_rpc *rpc, th_time deadline);
/* After the hosts have stopped. */
void th_fleet_rpc_free(struct th_fleet_rpc *rpc);

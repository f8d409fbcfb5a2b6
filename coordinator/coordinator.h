/*
 * coordinator: the program, put together: the hub in its store, the fleet's provider, a host that
 * owns nothing, the client, the monitor, the purge and the HTTP API. Started from the storage up,
 * stopped from the API down. All of it can be thrown away at any moment.
 */
#pragma once

#include "api/http.h"
#include "control/options.h"
#include "coordinator/purge.h"
#include "rpc/endpoint.h"

struct th_coordinator;

struct th_coordinator_options {
    const struct th_fleet_place *place; /* borrowed, as are all texts */
    const struct th_log *log;
    const char *hub;
    uint32_t partitions;     /* that the hub has to have; 0: any number */
    uint32_t new_partitions; /* of a new one, when `partitions` is 0 */
    uint32_t activity_partitions;
    int replication;
    const char *default_version; /* of starts that name none; NULL: none */
    th_reuse reuse;
    const char *url; /* that others use; NULL: where the API listens */
    struct th_purge_policy purge;
    struct th_http_options http;        /* address, port (or TH_HTTP_CLOSED), key, …; the rest is
                                           filled in */
    bool serve_rpc;                     /* clients with an SDK, with: */
    struct th_rpc_endpoint_options rpc; /* address, port, key, …; this hub is put before its hubs */
    bool rpc_elsewhere; /* another coordinator's endpoint in this process serves it */
};

/* Blocks while the brokers are asked. UNAVAILABLE: try again; PRECONDITION, and all others:
 * somebody has to put it right first. */
struct th_coordinator *th_coordinator_start(const struct th_coordinator_options *options,
                                            struct th_error *error);
/* Its hub, for another coordinator's endpoint. */
struct th_rpc_hub *th_coordinator_rpc(struct th_coordinator *coordinator);
const char *th_coordinator_url(const struct th_coordinator *coordinator);
int th_coordinator_rpc_port(const struct th_coordinator *coordinator); /* 0: not served */
const struct th_hub_record *th_coordinator_hub(const struct th_coordinator *coordinator);

/* Whether the hub still is the one that is served; blocks. False: NOT_FOUND, it was deleted;
 * PRECONDITION, it was made again. While it lacks a topic nothing that clients send is taken. That
 * nobody answers says nothing. */
bool th_coordinator_check(struct th_coordinator *coordinator, struct th_error *error);

/* After the one whose endpoint serves it. */
void th_coordinator_stop(struct th_coordinator *coordinator); /* blocks; NULL is fine */

/*
 * hub: the embedded hub, put together: the file's hub, the provider, the host, the client and, if
 * wanted, the HTTP API. `taskhub dev`, `taskhub invoke`, `taskhub bench` and th_hub_open of
 * sdk/taskhub.h all start one through here.
 */
#pragma once

#include "api/http.h"
#include "rpc/endpoint.h"
#include "worker/host.h"

struct th_embedded;

struct th_embedded_options {
    const char *database;
    const char *hub;
    uint32_t partitions;         /* asked for by the user; 0: no wish */
    uint32_t new_partitions;     /* of a new hub when there is no wish; 0: 1 */
    uint32_t fsync_delay_us;     /* benchmarks */
    bool flight;                 /* keep <database>-<hub>.flight and guard the process */
    bool after_exit;             /* of th_flight_open */
    struct th_host_options host; /* app, log, limits; the provider is filled in */
    const char *default_version; /* NULL: the application's */
    th_reuse reuse;
    bool serve;                  /* start the HTTP API with: */
    struct th_http_options http; /* address, port, key, …; gateway, client, app are filled in */
    bool serve_rpc;              /* programs with a Durable Task SDK run functions, too */
    struct th_rpc_endpoint_options rpc; /* where they connect; this hub is put before its hubs */
    bool rpc_elsewhere;                 /* another embedded hub's endpoint serves this one */
};

/* Strings must outlive the hub. NULL: failed, see `error`. */
struct th_embedded *th_embedded_start(const struct th_embedded_options *options,
                                      struct th_error *error);
struct th_gateway *th_embedded_gateway(struct th_embedded *hub);
struct th_client *th_embedded_client(struct th_embedded *hub);
struct th_host *th_embedded_host(struct th_embedded *hub);
struct th_http *th_embedded_http(struct th_embedded *hub);   /* NULL: not served */
int th_embedded_rpc_port(const struct th_embedded *hub);     /* 0: it has no endpoint of its own */
struct th_rpc_hub *th_embedded_rpc(struct th_embedded *hub); /* NULL: none; lives as it does */
const struct th_hub_record *th_embedded_record(const struct th_embedded *hub);

/* False: activities are still in the application's code, see th_host_stop. */
bool th_embedded_stop(struct th_embedded *hub, int64_t drain_ms);

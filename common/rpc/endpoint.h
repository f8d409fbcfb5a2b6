/*
 * endpoint: serves hubs to Durable Task SDKs over gRPC (contracts section 1: the service
 * TaskHubSidecarService). Clients' calls go to a hub's gateway, programs that run functions to the
 * hub itself (hub.h). A call names its hub by the metadata field "taskhub"; without one it is the
 * first.
 */
#pragma once

#include "grpc/grpc.h"
#include "rpc/hub.h"

#define TH_RPC_PORT 4001 /* where SDKs look for it */

struct th_rpc_endpoint;

/* Strings are copied; hubs and log outlive the endpoint. */
struct th_rpc_endpoint_options {
    struct th_rpc_hub *const *hubs; /* at least one; all open */
    size_t hub_count;
    const struct th_log *log; /* NULL: silent */
    const char *address;      /* default "127.0.0.1" */
    int port;                 /* 0: any free one */
    const char *key;          /* NULL or "": none; demanded when the address is no loopback. Calls
                                 show it as metadata: "authorization: Bearer KEY", or "x-taskhub-key" */
    const char *certificate, *private_key, *client_ca; /* as th_grpc_server_options */
    size_t message_bytes;                              /* largest message taken; 0: 32 MiB */
    bool clients_only;                                 /* nothing is run through this process */
};

/* NULL: INVALID (an address that is no loopback without a key, a bad address or file), UNAVAILABLE
 * (an address in use). Any thread. */
struct th_rpc_endpoint *th_rpc_endpoint_start(const struct th_rpc_endpoint_options *options,
                                              struct th_error *error);
int th_rpc_endpoint_port(const struct th_rpc_endpoint *endpoint);

/* Ends all calls, after a moment for those that are being answered, waiting ones with UNAVAILABLE,
 * and frees it. Blocks. NULL is fine. */
void th_rpc_endpoint_stop(struct th_rpc_endpoint *endpoint);

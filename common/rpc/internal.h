/*
 * The state of a hub at its RPC endpoint, and what its files share.
 *
 *   hub.c       owners: work that is put in and taken back
 *   streams.c   GetWorkItems: programs that come and go
 *   answers.c   Complete… and Abandon…
 *   calls.c     calls of clients, through the gateway
 *   endpoint.c  the server and its table of methods
 */
#pragma once

#include <pthread.h>

#include "base/queue.h"
#include "grpc/grpc.h"
#include "rpc/client.h"
#include "rpc/dispatch.h"
#include "rpc/endpoint.h"
#include "rpc/work.h"

#define RPC_MESSAGE_BYTES (32u << 20)

struct th_rpc_hub {
    struct th_rpc_hub_options options;
    struct th_gateway *gateway;

    pthread_mutex_t lock; /* around all that follows, but for the thread's own */
    struct th_dispatch *dispatch;
    const struct th_rpc_owner **owners;
    size_t owner_count, owner_capacity;
    size_t answers; /* on their way to their owners */
    bool quiet;
    pthread_cond_t finished; /* it is quiet, and no program has anything any more */
    struct stream *streams;
    th_time due; /* when the thread wakes up, monotonic; TH_TIME_NONE: only when told */
    bool stop;

    pthread_t thread;     /* does what is due */
    struct th_queue wake; /* holds nothing */
};

/* A method of a hub: the user of each of its calls, until `begin` sets another. */
struct route {
    struct th_rpc_endpoint *endpoint;
    struct th_rpc_hub *hub;
    size_t index;                       /* of the method */
    enum th_function_kind kind;         /* of Complete… */
    const struct th_rpc_method *client; /* of a client's call */
};

/* ---- hub.c ---- */

void hub_lock(struct th_rpc_hub *hub);
/* Also sees to it that what is due by now is done in time, and tells whoever waits for rest. */
void hub_unlock(struct th_rpc_hub *hub);
/* Lock held: tells the owners that a stream came or went. */
void hub_changed(struct th_rpc_hub *hub, bool more);
/* Lock held: whether this owner is (still) here. */
bool hub_has(const struct th_rpc_hub *hub, const struct th_rpc_owner *owner);

/* ---- streams.c: hooks of the dispatcher, lock held ---- */

bool stream_send(void *argument, void *user, struct th_blob *blob, struct th_str token);
bool stream_ping(void *argument, void *user);
void streams_quiet(struct th_rpc_hub *hub);
/* A GetWorkItemsRequest for these functions; NULL: there are none. */
struct th_blob *stream_request(struct th_arena *arena,
                               const struct th_dispatch_filter filters[TH_DISPATCH_KINDS]);

/* ---- handlers ---- */

extern const struct th_grpc_handler stream_handler;     /* streams.c */
extern const struct th_grpc_handler completion_handler; /* answers.c */
extern const struct th_grpc_handler abandon_handler;
extern const struct th_grpc_handler client_handler; /* calls.c */

/* ---- endpoint.c ---- */

#define RELAY_FIELD "x-taskhub-relay" /* metadata of GetWorkItems: the process that relays */

/* The route of a call's hub, if the call may be made; its user then. NULL: it was finished. */
const struct route *call_admit(struct th_grpc_call *call, const struct th_grpc_request *request);
void call_begin(struct th_grpc_call *call, const struct th_grpc_request *request); /* no more */
void call_finish(struct th_grpc_call *call, enum th_grpc_status status, struct th_str message);
/* With an empty message. */
void call_answer_nothing(struct th_grpc_call *call);

/*
 * Calls of clients. On the loop's thread a request becomes a command; the gateway answers on a
 * thread of its own, where the response is made and sent. A client may give up at any moment.
 */
#include "rpc/internal.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/memory.h"
#include "rpc/dapr.h"

struct client_call {
    struct th_grpc_call *call;
    struct th_gateway *gateway;
    struct th_rpc_exchange exchange; /* the loop's until the first command, then the gateway's */
    th_time deadline;
    _Atomic uint64_t ticket; /* of the command under way; 0: none yet */
    atomic_bool over;
    atomic_int references; /* of the call, and of the command under way */
};

static void release(struct client_call *c)
{
    if (atomic_fetch_sub(&c->references, 1) > 1)
        return;
    th_rpc_end(&c->exchange);
    th_grpc_unref(c->call);
    free(c);
}

/* ---- answering, on any thread ---------------------------------------------------------------- */

static void send_all(struct client_call *c)
{
    struct th_rpc_exchange *x = &c->exchange;
    for (size_t i = 0; i < x->chunk_count; i++)
        th_grpc_send(c->call, x->chunks[i]);
    if (x->response)
        th_grpc_send(c->call, x->response);
    th_grpc_finish(c->call, x->status, x->message, (struct th_grpc_metadata){0});
}

static void on_reply(void *argument, const struct th_reply *reply);

/* Once the call is over nobody waits for the answer: whoever sees both gives the command up. */
static void give_up(struct client_call *c)
{
    uint64_t ticket = atomic_load(&c->ticket);
    if (ticket && c->gateway->cancel(c->gateway, ticket))
        release(c);
}

static void proceed(struct client_call *c, enum th_rpc_step step)
{
    if (step == TH_RPC_DONE || atomic_load(&c->over)) {
        send_all(c);
        release(c);
        return;
    }
    atomic_fetch_add(&c->references, 1); /* the answer may come before the return */
    uint64_t ticket = c->gateway->submit(c->gateway, &c->exchange.command, on_reply, c);
    atomic_store(&c->ticket, ticket);
    if (atomic_load(&c->over))
        give_up(c);
    release(c);
}

static void on_reply(void *argument, const struct th_reply *reply)
{
    struct client_call *c = argument;
    proceed(c, th_rpc_reply(&c->exchange, reply));
}

/* ---- the call, on the loop's thread ---------------------------------------------------------- */

static th_time wall_clock(th_time monotonic)
{
    return monotonic == TH_TIME_NONE ? TH_TIME_NONE : th_now() + monotonic - th_monotonic();
}

static void on_begin(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    const struct route *route = call_admit(call, request);
    if (!route)
        return;
    struct client_call *c = TH_NEW(struct client_call);
    c->call = th_grpc_ref(call);
    c->gateway = route->hub->gateway;
    c->exchange.method = route->client;
    /* Its restartInstance is a start of the same id; it has no policies. */
    c->exchange.reuses_ended = th_rpc_agent_has(request->user_agent, TH_STR("grpc-java"));
    c->exchange.has_actions = th_rpc_agent_has(request->user_agent, TH_STR("grpc-go"));
    c->deadline = wall_clock(request->deadline);
    atomic_init(&c->ticket, 0);
    atomic_init(&c->over, false);
    atomic_init(&c->references, 1);
    th_grpc_set_user(call, c);
}

static void on_message(struct th_grpc_call *call, struct th_blob *message)
{
    struct client_call *c = th_grpc_user(call);
    if (!c)
        return;
    atomic_fetch_add(&c->references, 1);
    proceed(c, th_rpc_begin(&c->exchange, c->exchange.method, th_blob_view(message), c->deadline));
}

static void on_ended(struct th_grpc_call *call, enum th_grpc_end why)
{
    struct client_call *c = th_grpc_user(call);
    if (!c)
        return;
    atomic_store(&c->over, true);
    give_up(c);
    release(c);
}

const struct th_grpc_handler client_handler = {
    .begin = on_begin, .message = on_message, .ended = on_ended};

/*
 * inbound: messages out of DATA. A message is a byte that says whether it is compressed, four of
 * its length, and its bytes, without regard to where DATA frames begin and end ("gRPC over
 * HTTP/2", Length-Prefixed-Message).
 *
 * Who may send how much. The connection's window is given back at once, so that a stream that
 * nobody reads does not hold up others; a stream's window is given back when everything whole has
 * been handed on. So a paused call holds no more than a window of bytes. A message may be larger
 * than the window: then window is given back while it is being received. Many streams doing so at
 * once could take all memory; from a quarter of held_bytes on only the stream that has waited
 * longest gets window, the others stand in the list `starved`. The windows that they have already
 * fill the rest only when they are hundreds; those that come then are refused.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "grpc/internal.h"

/* What a message costs beside its bytes; what is allocated before its bytes have come; what a
 * connection may hold whatever the others hold. */
enum { MESSAGE = 64, FIRST_ROOM = 16 << 10, OWN_SHARE = 256 << 10 };

/* ---- how much is held ---- */

static void hold(struct th_grpc_call *call, size_t bytes)
{
    call->held += bytes;
    call->connection->held += bytes;
    atomic_fetch_add_explicit(&call->connection->service->held, bytes, memory_order_relaxed);
}

static void release(struct th_grpc_call *call, size_t bytes)
{
    call->held -= bytes;
    call->connection->held -= bytes;
    atomic_fetch_sub_explicit(&call->connection->service->held, bytes, memory_order_relaxed);
}

static bool too_much(const struct th_grpc_connection *c)
{
    const struct th_grpc_limits *limits = &c->service->limits;
    return c->held > limits->held_bytes ||
           (c->held > OWN_SHARE && atomic_load_explicit(&c->service->held, memory_order_relaxed) >
                                       limits->total_held_bytes);
}

static bool much(const struct th_grpc_connection *c)
{
    return c->held > c->service->limits.held_bytes / 4;
}

/* ---- window ---- */

static void starve(struct th_grpc_call *call)
{
    if (!call->starved) {
        call->starved = true;
        DL_APPEND2(call->connection->starved, call, starved_prev, starved_next);
    }
}

static void feed(struct th_grpc_call *call)
{
    if (call->starved) {
        call->starved = false;
        DL_DELETE2(call->connection->starved, call, starved_prev, starved_next);
    }
}

static void give_window(struct th_grpc_call *call)
{
    if (call->unreturned) {
        nghttp2_session_consume_stream(call->connection->session, call->stream, call->unreturned);
        call->unreturned = 0;
    }
}

static void maybe_give_window(struct th_grpc_call *call)
{
    struct th_grpc_connection *c = call->connection;
    if (call->paused || call->inbox.first || call->half_closed) {
        feed(call);
    } else if (!much(c)) {
        feed(call);
        give_window(call);
    } else {
        starve(call);
        if (c->starved == call) {
            give_window(call);
        }
    }
}

void th_grpc_inbound_feed(struct th_grpc_connection *c)
{
    while (c->starved && !much(c)) {
        maybe_give_window(c->starved);
    }
    if (c->starved) {
        give_window(c->starved);
    }
}

/* ---- messages ---- */

static void refuse(struct th_grpc_call *call, enum th_grpc_status status, const char *text)
{
    th_grpc_call_refuse(call, TH_GRPC_REFUSED, status, "%s", text);
}

/* The prefix is there. False: refused. */
static bool begin_message(struct th_grpc_call *call)
{
    uint32_t len = (uint32_t)call->prefix[1] << 24 | (uint32_t)call->prefix[2] << 16 |
                   (uint32_t)call->prefix[3] << 8 | call->prefix[4];
    uint64_t most = call->connection->service->limits.message_bytes;
    if (call->prefix[0] == 1) {
        refuse(call, TH_GRPC_UNIMPLEMENTED,
               "compressed messages are not understood: the only "
               "grpc-encoding is identity");
    } else if (call->prefix[0] != 0) {
        refuse(call, TH_GRPC_INTERNAL, "a message begins with neither 0 nor 1");
    } else if (len > most) {
        th_grpc_call_refuse(call, TH_GRPC_REFUSED, TH_GRPC_RESOURCE_EXHAUSTED,
                            "a message of %lu bytes is larger than the limit of %llu",
                            (unsigned long)len, (unsigned long long)most);
    } else {
        call->partial_len = len;
        call->partial_got = 0;
        call->partial = th_blob_alloc(len < FIRST_ROOM ? len : FIRST_ROOM);
        hold(call, call->partial->len + MESSAGE);
        return true;
    }
    return false;
}

/* Doubles the room: a client that announces much and sends little gets little memory. */
static void enlarge(struct th_grpc_call *call)
{
    struct th_blob *blob = call->partial;
    size_t room = 2 * blob->len < call->partial_len ? 2 * blob->len : call->partial_len;
    hold(call, room - blob->len);
    blob = th_realloc(blob, sizeof(*blob) + room);
    blob->len = room;
    call->partial = blob;
}

static void complete_message(struct th_grpc_call *call)
{
    struct th_grpc_message *message = TH_NEW(struct th_grpc_message);
    message->blob = call->partial;
    call->partial = NULL;
    call->prefix_got = 0;
    *call->inbox.last = message;
    call->inbox.last = &message->next;
    th_grpc_call_event(call, 0);
}

static size_t take_prefix(struct th_grpc_call *call, const uint8_t *data, size_t len)
{
    size_t wanted = sizeof(call->prefix) - call->prefix_got;
    size_t n = len < wanted ? len : wanted;
    memcpy(call->prefix + call->prefix_got, data, n);
    call->prefix_got = (uint8_t)(call->prefix_got + n);
    return n;
}

static size_t take_bytes(struct th_grpc_call *call, const uint8_t *data, size_t len)
{
    if (call->partial_got == call->partial->len) {
        enlarge(call);
    }
    size_t room = call->partial->len - call->partial_got;
    size_t n = len < room ? len : room;
    memcpy(call->partial->data + call->partial_got, data, n);
    call->partial_got += n;
    return n;
}

/* How many bytes were of use; 0: refused. */
static size_t take(struct th_grpc_call *call, const uint8_t *data, size_t len)
{
    size_t n;
    if (!call->partial) {
        n = take_prefix(call, data, len);
        if (call->prefix_got == sizeof(call->prefix) && !begin_message(call)) {
            return 0;
        }
    } else {
        n = take_bytes(call, data, len);
    }
    if (call->partial && call->partial_got == call->partial_len) {
        complete_message(call);
    }
    if (too_much(call->connection)) {
        refuse(call, TH_GRPC_RESOURCE_EXHAUSTED, "too many bytes of messages wait on the server");
        return 0;
    }
    return n;
}

static bool deaf(const struct th_grpc_call *call)
{
    return call->over || call->finished;
}

void th_grpc_inbound_data(struct th_grpc_call *call, const uint8_t *data, size_t len)
{
    call->unreturned += len;
    if (deaf(call)) {
        give_window(call); /* a client may read the answer only when it has sent everything */
        return;
    }
    while (len > 0) {
        size_t n = take(call, data, len);
        if (n == 0) {
            return;
        }
        data += n;
        len -= n;
    }
    maybe_give_window(call);
}

void th_grpc_inbound_end(struct th_grpc_call *call)
{
    call->half_closed = true;
    if (deaf(call)) {
        return;
    }
    feed(call);
    if (call->partial || call->prefix_got > 0) {
        refuse(call, TH_GRPC_INTERNAL, "the last message is not complete");
    } else {
        th_grpc_call_event(call, TH_GRPC_EVENT_HALF_CLOSED);
    }
}

void th_grpc_inbound_drop(struct th_grpc_call *call)
{
    struct th_grpc_message *message, *next;
    for (message = call->inbox.first; message; message = next) {
        next = message->next;
        th_blob_unref(message->blob);
        free(message);
    }
    call->inbox = (struct th_grpc_messages){NULL, &call->inbox.first};
    th_blob_unref(call->partial);
    call->partial = NULL;
    call->prefix_got = 0;
    release(call, call->held);
    feed(call);
}

void th_grpc_inbound_discard(struct th_grpc_call *call)
{
    th_grpc_inbound_drop(call);
    give_window(call);
}

/* ---- handing on ---- */

static struct th_blob *next_message(struct th_grpc_call *call)
{
    struct th_grpc_message *message = call->inbox.first;
    struct th_blob *blob = message->blob;
    call->inbox.first = message->next;
    if (!call->inbox.first) {
        call->inbox.last = &call->inbox.first;
    }
    free(message);
    release(call, blob->len + MESSAGE);
    return blob;
}

/* One message, neither more nor less, when it is sure that there is not another. False: not now. */
static bool single_is_right(struct th_grpc_call *call)
{
    bool one = call->inbox.first && !call->inbox.first->next;
    if (call->half_closed ? !one : call->inbox.first && !one) {
        refuse(call, TH_GRPC_UNIMPLEMENTED, "this method takes exactly one message");
        return false;
    }
    return call->half_closed;
}

static bool may_hand_on(const struct th_grpc_call *call)
{
    return !call->paused && !deaf(call);
}

static void hand_on_messages(struct th_grpc_call *call)
{
    while (may_hand_on(call) && call->inbox.first) {
        struct th_blob *blob = next_message(call);
        call->taken = true;
        if (call->method->handler->message) {
            call->method->handler->message(call, blob);
        }
        th_blob_unref(blob);
    }
}

void th_grpc_inbound_deliver(struct th_grpc_call *call)
{
    bool single = call->method->single_request && !call->taken;
    if (may_hand_on(call) && single && !single_is_right(call)) {
        return;
    }
    hand_on_messages(call);
    if (may_hand_on(call) && call->events & TH_GRPC_EVENT_HALF_CLOSED) {
        call->events &= ~(unsigned)TH_GRPC_EVENT_HALF_CLOSED;
        if (call->method->handler->half_closed) {
            call->method->handler->half_closed(call);
        }
    }
    if (!deaf(call)) {
        maybe_give_window(call);
    }
}

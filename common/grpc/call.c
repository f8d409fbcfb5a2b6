/*
 * call: what becomes of a call, and its handler's turn.
 *
 *     HEADERS ─▶ begin ─▶ message… ─▶ half_closed        the client's side
 *                   └───▶ send… ─▶ finish                the handler's
 *     ended                                              once, and last
 *
 * The connection owns a reference while the stream is open, and another one from `begin` to
 * `ended`. Without a `begin` there is no `ended`: the handler never hears of a request that was
 * refused, or that was reset before its turn came.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "grpc/internal.h"

struct th_grpc_call *th_grpc_call_new(struct th_grpc_connection *c, int32_t stream)
{
    struct th_grpc_call *call = TH_NEW(struct th_grpc_call);
    atomic_init(&call->references, 1);
    call->mailbox = c->mailbox ? th_grpc_mailbox_ref(c->mailbox) : NULL;
    call->queue_mark = c->service->limits.queue_bytes;
    call->connection = c;
    call->stream = stream;
    call->timer.due = TH_TIME_NONE;
    call->inbox.last = &call->inbox.first;
    call->outbox.last = &call->outbox.first;
    call->head = th_grpc_head_new();
    DL_APPEND(c->calls, call);
    c->call_count++;
    atomic_fetch_add_explicit(&c->service->calls, 1, memory_order_relaxed);
    return call;
}

struct th_grpc_call *th_grpc_ref(struct th_grpc_call *call)
{
    atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed);
    return call;
}

void th_grpc_unref(struct th_grpc_call *call)
{
    if (!call || atomic_fetch_sub_explicit(&call->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (call->mailbox) {
        th_grpc_mailbox_unref(call->mailbox);
    }
    th_grpc_ending_deinit(&call->ending);
    free(call);
}

void *th_grpc_user(const struct th_grpc_call *call)
{
    return call->user;
}

void th_grpc_set_user(struct th_grpc_call *call, void *user)
{
    call->user = user;
}

/* ---- events ---- */

void th_grpc_call_event(struct th_grpc_call *call, unsigned event)
{
    struct th_grpc_connection *c = call->connection;
    call->events |= event;
    if (!call->ready) {
        call->ready = true;
        call->ready_next = NULL;
        *c->ready_last = call;
        c->ready_last = &call->ready_next;
        th_grpc_ref(call);
    }
}

static bool take_event(struct th_grpc_call *call, unsigned event)
{
    bool there = call->events & event;
    call->events &= ~event;
    return there;
}

static void turn(struct th_grpc_call *call, unsigned event, void (*function)(struct th_grpc_call *))
{
    if (take_event(call, event) && !call->over && function) {
        function(call);
    }
}

static void tell_end(struct th_grpc_call *call)
{
    if (take_event(call, TH_GRPC_EVENT_ENDED)) {
        if (call->method->handler->ended) {
            call->method->handler->ended(call, call->why);
        }
        th_grpc_unref(call);
    }
}

static void deliver(struct th_grpc_call *call)
{
    if (take_event(call, TH_GRPC_EVENT_BEGIN)) {
        th_grpc_head_begin(call);
    }
    if (call->known) {
        const struct th_grpc_handler *handler = call->method->handler;
        th_grpc_inbound_deliver(call);
        turn(call, TH_GRPC_EVENT_WRITABLE, handler->writable);
        turn(call, TH_GRPC_EVENT_DRAINING, handler->draining);
        tell_end(call);
    }
}

void th_grpc_calls_deliver(struct th_grpc_connection *c)
{
    struct th_grpc_call *call;
    while ((call = c->ready)) {
        c->ready = call->ready_next;
        if (!c->ready) {
            c->ready_last = &c->ready;
        }
        call->ready = false;
        deliver(call);
        th_grpc_unref(call);
    }
    th_grpc_inbound_feed(c);
}

/* ---- ends ---- */

void th_grpc_call_end(struct th_grpc_call *call, enum th_grpc_end why)
{
    if (call->over) {
        return;
    }
    th_grpc_inbound_drop(call);
    th_grpc_outbound_drop(call);
    th_grpc_heap_set(&call->connection->deadlines, &call->timer, TH_TIME_NONE);
    th_grpc_head_free(call->head);
    call->head = NULL;
    call->over = true;
    call->why = why;
    call->events = 0;
    if (call->known) {
        th_grpc_call_event(call, TH_GRPC_EVENT_ENDED);
    }
}

/* The status as soon as nothing has to be sent before it. */
static void finish(struct th_grpc_call *call)
{
    if (!call->finished || call->closing) {
        return;
    }
    if (call->outgoing == 0) {
        th_grpc_answer_trailers(call);
    }
}

/* A message of which a part is sent cannot be followed by a status. */
static void drop_queue(struct th_grpc_call *call)
{
    bool torn = call->sent > 0;
    th_grpc_outbound_drop(call);
    if (torn && !call->closing) {
        nghttp2_submit_rst_stream(call->connection->session, NGHTTP2_FLAG_NONE, call->stream,
                                  NGHTTP2_CANCEL);
        call->closing = call->torn = true;
    }
}

void th_grpc_call_finish(struct th_grpc_call *call, struct th_grpc_ending ending, bool at_once)
{
    bool first = !call->finished && !call->over;
    if (first) {
        call->finished = true;
        call->ending = ending;
        th_grpc_inbound_discard(call);
    } else {
        th_grpc_ending_deinit(&ending);
    }
    if (first && at_once) {
        drop_queue(call);
    }
    if (first) {
        finish(call);
    }
}

void th_grpc_call_refuse(struct th_grpc_call *call, enum th_grpc_end why,
                         enum th_grpc_status status, const char *format, ...)
{
    char text[256];
    bool complete;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (call->over) {
        return;
    }
    drop_queue(call);
    th_grpc_ending_deinit(&call->ending);
    call->ending =
        th_grpc_ending_of(status, th_str_of(text), (struct th_grpc_metadata){0}, &complete);
    call->finished = true;
    finish(call);
    th_grpc_call_end(call, why);
}

void th_grpc_call_forget(struct th_grpc_call *call)
{
    struct th_grpc_connection *c = call->connection;
    DL_DELETE(c->calls, call);
    c->call_count--;
    c->idle = c->now;
    atomic_fetch_sub_explicit(&c->service->calls, 1, memory_order_relaxed);
    call->connection = NULL;
    th_grpc_unref(call);
}

void th_grpc_call_closed(struct th_grpc_call *call, uint32_t code)
{
    bool ours = call->torn || (call->closing && code == NGHTTP2_NO_ERROR);
    if (!ours) {
        th_grpc_flood_count(call->connection, TH_GRPC_FLOOD_RESET);
    }
    th_grpc_call_end(call, ours ? TH_GRPC_DONE : TH_GRPC_RESET);
    th_grpc_call_forget(call);
}

/* ---- the handler's wishes ---- */

static bool deaf(const struct th_grpc_call *call)
{
    return call->over || call->finished;
}

void th_grpc_call_send(struct th_grpc_call *call, struct th_blob *message, bool told)
{
    if (deaf(call)) {
        atomic_fetch_sub(&call->queued, TH_GRPC_PREFIX + message->len);
        th_blob_unref(message);
        return;
    }
    if (message->len > UINT32_MAX) {
        atomic_fetch_sub(&call->queued, TH_GRPC_PREFIX + message->len);
        th_blob_unref(message);
        th_grpc_call_refuse(call, TH_GRPC_REFUSED, TH_GRPC_INTERNAL,
                            "the answer is a message of 4 GiB or more");
        return;
    }
    th_grpc_outbound_add(call, message);
    if (told) {
        th_grpc_outbound_tell(call);
    }
}

void th_grpc_call_headers(struct th_grpc_call *call, struct th_grpc_fields *fields)
{
    if (deaf(call) || call->answering) {
        free(fields);
    } else {
        th_grpc_answer_headers(call, fields);
    }
}

void th_grpc_call_pause(struct th_grpc_call *call, bool paused)
{
    if (!deaf(call) && call->paused != paused) {
        call->paused = paused;
        th_grpc_call_event(call, 0);
    }
}

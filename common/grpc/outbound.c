/*
 * outbound: messages into DATA. nghttp2 asks for the next bytes of a stream when the client's
 * windows have room for them, and says how long the frame is to be; the frame then goes into `out`
 * beside it, so a message's bytes are copied at most once.
 *
 * Room. A handler is told to stop at a mark of its call's queue or of the connection's, and may go
 * on at half of it.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "grpc/internal.h"

enum { PREFIX = TH_GRPC_PREFIX, FRAME_HEAD = 9 };

/* ---- room ---- */

bool th_grpc_outbound_room(const struct th_grpc_call *call)
{
    return atomic_load(&call->queued) < call->queue_mark && !atomic_load(&call->crowded);
}

static bool room_again(const struct th_grpc_call *call)
{
    return atomic_load(&call->queued) <= call->queue_mark / 2 && !call->connection->crowded;
}

static void no_longer_telling(struct th_grpc_call *call)
{
    if (call->telling) {
        call->telling = false;
        DL_DELETE2(call->connection->telling, call, telling_prev, telling_next);
    }
}

static void maybe_tell(struct th_grpc_call *call)
{
    if (call->telling && room_again(call)) {
        no_longer_telling(call);
        atomic_store(&call->crowded, false);
        th_grpc_call_event(call, TH_GRPC_EVENT_WRITABLE);
    }
}

void th_grpc_outbound_tell(struct th_grpc_call *call)
{
    if (!call->telling) {
        call->telling = true;
        DL_APPEND2(call->connection->telling, call, telling_prev, telling_next);
    }
    maybe_tell(call);
}

static void count_in(struct th_grpc_call *call, size_t bytes)
{
    struct th_grpc_connection *c = call->connection;
    call->outgoing += bytes;
    c->queued += bytes;
    c->crowded = c->crowded || c->queued >= c->service->limits.connection_queue_bytes;
    atomic_store(&call->crowded, c->crowded);
}

static void count_out(struct th_grpc_call *call, size_t bytes)
{
    struct th_grpc_connection *c = call->connection;
    struct th_grpc_call *other, *next;
    call->outgoing -= bytes;
    c->queued -= bytes;
    atomic_fetch_sub(&call->queued, bytes);
    if (!c->crowded || c->queued > c->service->limits.connection_queue_bytes / 2) {
        maybe_tell(call);
        return;
    }
    c->crowded = false;
    DL_FOREACH_SAFE2(c->telling, other, next, telling_next)
    {
        maybe_tell(other);
    }
}

/* ---- in ---- */

void th_grpc_outbound_add(struct th_grpc_call *call, struct th_blob *message)
{
    struct th_grpc_message *node = TH_NEW(struct th_grpc_message);
    node->blob = message;
    *call->outbox.last = node;
    call->outbox.last = &node->next;
    count_in(call, PREFIX + message->len);
    if (!call->answering) {
        th_grpc_answer_headers(call, NULL);
    } else {
        nghttp2_session_resume_data(call->connection->session, call->stream);
    }
}

static void remove_first(struct th_grpc_call *call)
{
    struct th_grpc_message *node = call->outbox.first;
    call->outbox.first = node->next;
    if (!call->outbox.first) {
        call->outbox.last = &call->outbox.first;
    }
    th_blob_unref(node->blob);
    free(node);
    call->sent = 0;
}

void th_grpc_outbound_drop(struct th_grpc_call *call)
{
    while (call->outbox.first) {
        remove_first(call);
    }
    if (call->outgoing) {
        count_out(call, call->outgoing);
    }
    no_longer_telling(call);
}

/* ---- out ---- */

ssize_t th_grpc_outbound_read(struct th_grpc_call *call, size_t length, uint32_t *flags)
{
    size_t n = call->outgoing < length ? call->outgoing : length;
    if (call->closing || call->over || (n == 0 && !call->finished)) {
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == call->outgoing && call->finished) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        th_grpc_answer_trailers(call);
    }
    return (ssize_t)n;
}

/* Of the first message; how many bytes. */
static size_t write_prefix(struct th_grpc_call *call, struct th_grpc_out *out, size_t most)
{
    size_t len = call->outbox.first->blob->len;
    const uint8_t prefix[PREFIX] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
                                    (uint8_t)(len >> 8), (uint8_t)len};
    size_t n = PREFIX - call->sent < most ? PREFIX - call->sent : most;
    th_grpc_out_copy(out, prefix + call->sent, n);
    return n;
}

static size_t write_bytes(struct th_grpc_call *call, struct th_grpc_out *out, size_t most)
{
    struct th_blob *blob = call->outbox.first->blob;
    size_t from = call->sent - PREFIX;
    size_t n = blob->len - from < most ? blob->len - from : most;
    th_grpc_out_blob(out, blob, from, n);
    return n;
}

void th_grpc_outbound_write(struct th_grpc_call *call, const uint8_t *frame, size_t length)
{
    struct th_grpc_out *out = &call->connection->out;
    th_grpc_out_copy(out, frame, FRAME_HEAD);
    for (size_t left = length; left > 0;) {
        size_t n =
            call->sent < PREFIX ? write_prefix(call, out, left) : write_bytes(call, out, left);
        left -= n;
        call->sent += n;
        if (call->sent == PREFIX + call->outbox.first->blob->len) {
            remove_first(call);
        }
    }
    if (length) {
        count_out(call, length);
    }
}

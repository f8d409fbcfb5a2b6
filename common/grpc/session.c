/*
 * session: what nghttp2 is told, and what it tells. It checks HTTP/2 and HTTP (which fields may
 * come, content-length, flow control, who may send when) and resets streams or sends GOAWAY by
 * itself; what a callback here adds is counted or noted, see internal.h.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "grpc/internal.h"

enum {
    CONNECTION_WINDOW = 1 << 20, /* at least; given back at once */
    CONTINUATIONS = 1024, /* nghttp2 counts pieces as they arrive; flood.c counts the frames */
    FIELDS_FACTOR = 16, /* fields beyond the limit are only counted; from here on that is a bomb */
};

static struct th_grpc_call *call_of(nghttp2_session *session, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(session, stream);
}

/* nghttp2 stops then, and th_grpc_connection_input sees why. */
static int flooded(bool good)
{
    return good ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* ---- frames that come ---- */

static int begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    ((struct th_grpc_connection *)user)->fields = 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        struct th_grpc_call *call = th_grpc_call_new(user, frame->hd.stream_id);
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
    }
    return 0;
}

/* Few bytes can name many fields: each may stand for one of 4 KiB in the compression's table. */
static bool is_bomb(struct th_grpc_connection *c)
{
    uint64_t most = c->service->limits.metadata_fields;
    if (most >= UINT64_MAX / FIELDS_FACTOR || ++c->fields <= most * FIELDS_FACTOR) {
        return false;
    }
    c->flood = "too_many_header_fields";
    return true;
}

/* A client's trailers say nothing that gRPC knows. */
static int header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                  nghttp2_rcbuf *value, uint8_t flags, void *user)
{
    struct th_grpc_connection *c = user;
    struct th_grpc_call *call = call_of(session, frame->hd.stream_id);
    if (call && call->head && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        th_grpc_head_add(call->head, &c->service->limits, name, value);
    }
    return flooded(!is_bomb(c));
}

static void took_headers(struct th_grpc_call *call, const nghttp2_frame *frame)
{
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        th_grpc_head_complete(call);
    }
}

static void took_stream_frame(nghttp2_session *session, const nghttp2_frame *frame)
{
    struct th_grpc_call *call = call_of(session, frame->hd.stream_id);
    if (!call) {
        return;
    }
    if (frame->hd.type == NGHTTP2_HEADERS) {
        took_headers(call, frame);
    }
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        th_grpc_inbound_end(call);
    }
}

static int took_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct th_grpc_connection *c = user;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        took_stream_frame(session, frame);
        break;
    case NGHTTP2_SETTINGS:
        c->phase = c->phase == TH_GRPC_PREFACE ? TH_GRPC_OPEN : c->phase;
        break;
    case NGHTTP2_RST_STREAM:
        return flooded(call_of(session, frame->hd.stream_id) ||
                       th_grpc_flood_count(c, TH_GRPC_FLOOD_FRAME));
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
            th_grpc_clocks_ponged(c, frame->ping.opaque_data);
        }
        break;
    default:
        break;
    }
    return 0;
}

static int took_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                     size_t len, void *user)
{
    struct th_grpc_call *call = call_of(session, stream);
    if (call) {
        th_grpc_inbound_data(call, data, len);
    }
    nghttp2_session_consume_connection(session, len);
    return 0;
}

/* A stream that nghttp2 refuses or resets. */
static int invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int problem,
                         void *user)
{
    return flooded(th_grpc_flood_count(user, TH_GRPC_FLOOD_RESET));
}

/* ---- frames that go ---- */

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                     size_t length, nghttp2_data_source *source, void *user)
{
    th_grpc_outbound_write(source->ptr, head, length);
    return 0;
}

/* Everything is said; what the client still wants to send is of no use (RFC 9113, section 8.1). */
static void answered(nghttp2_session *session, const nghttp2_frame *frame)
{
    struct th_grpc_call *call = call_of(session, frame->hd.stream_id);
    if (call && !call->half_closed) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_NO_ERROR);
    }
}

static void sent_goaway(struct th_grpc_connection *c, const nghttp2_goaway *goaway)
{
    if (goaway->last_stream_id == INT32_MAX && goaway->error_code == NGHTTP2_NO_ERROR) {
        return; /* the notice */
    }
    c->goaway_sent = true;
    if (goaway->error_code != NGHTTP2_NO_ERROR && !c->reason[0]) {
        c->reason = nghttp2_http2_strerror(goaway->error_code);
    }
}

static int sent_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct th_grpc_connection *c = user;
    th_grpc_flood_sent(c, frame);
    if (frame->hd.type == NGHTTP2_HEADERS && frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        answered(session, frame);
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        sent_goaway(c, &frame->goaway);
    }
    return 0;
}

/* Only a response for a client whose table has no room for it, or for a stream that is closed. */
static int did_not_send(nghttp2_session *session, const nghttp2_frame *frame, int problem,
                        void *user)
{
    if (frame->hd.type == NGHTTP2_HEADERS && call_of(session, frame->hd.stream_id)) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_INTERNAL_ERROR);
    }
    return 0;
}

static int closed(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
    struct th_grpc_call *call = call_of(session, stream);
    if (call) {
        nghttp2_session_set_stream_user_data(session, stream, NULL);
        th_grpc_call_closed(call, code);
    }
    return 0;
}

/* ---- the session ---- */

static void *allocate(size_t size, void *user)
{
    return th_realloc(NULL, size);
}

static void release(void *p, void *user)
{
    free(p);
}

static void *allocate_zeroed(size_t n, size_t size, void *user)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        bytes = SIZE_MAX; /* th_alloc reports it */
    }
    return th_alloc(bytes);
}

static void *reallocate(void *p, size_t size, void *user)
{
    return th_realloc(p, size);
}

static nghttp2_session_callbacks *callbacks_new(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        abort(); /* no memory, see base/memory.h */
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, took_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, took_data);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, invalid_frame);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, sent_frame);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, did_not_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, closed);
    return callbacks;
}

static nghttp2_option *option_new(void)
{
    nghttp2_option *option;
    if (nghttp2_option_new(&option) != 0) {
        abort();
    }
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_continuations(option, CONTINUATIONS);
    /* Counted in flood.c, on our clock; its own standard would be 1,000 at once. */
    nghttp2_option_set_stream_reset_rate_limit(option, UINT64_MAX, UINT64_MAX);
    return option;
}

static uint32_t setting(uint64_t limit)
{
    return limit < INT32_MAX ? (uint32_t)limit : INT32_MAX;
}

static void submit_settings(nghttp2_session *session, const struct th_grpc_limits *limits)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, setting(limits->streams)},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, setting(limits->window_bytes)},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, setting(limits->metadata_bytes)},
        /* Streams take turns then (RFC 9218); the older priorities cost a tree of streams. */
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, TH_COUNT(settings));
    uint32_t window = setting(limits->window_bytes);
    nghttp2_session_set_local_window_size(
        session, NGHTTP2_FLAG_NONE, 0,
        (int32_t)(window < CONNECTION_WINDOW ? CONNECTION_WINDOW : window));
}

nghttp2_session *th_grpc_session_new(struct th_grpc_connection *c)
{
    nghttp2_mem memory = {NULL, allocate, release, allocate_zeroed, reallocate};
    nghttp2_session_callbacks *callbacks = callbacks_new();
    nghttp2_option *option = option_new();
    nghttp2_session *session;
    if (nghttp2_session_server_new3(&session, callbacks, c, option, &memory) != 0) {
        abort();
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    submit_settings(session, &c->service->limits);
    return session;
}

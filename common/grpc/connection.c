/*
 * connection: from its first byte to its last, and the way in and out.
 *
 *     PREFACE ─▶ OPEN ─▶ NOTICED ─▶ DRAINING ─┐
 *        │         └─────────┴──────────┴─────┴─▶ FAILING ─▶ OVER
 *        └──────────────────────────────────────────────────▶
 *
 * A drain goes the upper way, a client that breaks the rules the lower one.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "grpc/internal.h"

enum {
    OUTPUT = 64 << 10,    /* gathered before it is sent */
    UNSENT_FRAMES = 1000, /* beside a few of each call, before the client has to take some */
};

static const char preface[] = NGHTTP2_CLIENT_MAGIC;

/* ---- beginning and end ---- */

struct th_grpc_connection *th_grpc_connection_new(const struct th_grpc_connection_options *options,
                                                  th_time now)
{
    struct th_grpc_connection *c = TH_NEW(struct th_grpc_connection);
    c->service = options->service;
    c->mailbox = options->mailbox;
    c->touched = options->touched;
    c->argument = options->argument;
    c->peer = th_str_dup(options->peer);
    c->reason = "";
    c->now = now;
    c->ready_last = &c->ready;
    th_grpc_clocks_start(c);
    c->session = th_grpc_session_new(c);
    return c;
}

static void lose_calls(struct th_grpc_connection *c)
{
    struct th_grpc_call *call;
    DL_FOREACH(c->calls, call) {
        th_grpc_call_end(call, TH_GRPC_LOST);
    }
}

void th_grpc_connection_end(struct th_grpc_connection *c, const char *reason)
{
    if (!c->reason[0]) {
        c->reason = reason;
    }
    c->phase = TH_GRPC_OVER;
    lose_calls(c);
}

void th_grpc_connection_fail(struct th_grpc_connection *c, uint32_t code, const char *reason)
{
    if (c->phase >= TH_GRPC_FAILING) {
        return;
    }
    if (!c->reason[0]) {
        c->reason = reason;
    }
    c->phase = TH_GRPC_FAILING;
    c->goaway_sent = false;
    c->goaway_at = c->now + TH_GRPC_ROUND_TRIP;
    nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(c->session), code,
                          (const uint8_t *)reason, strlen(reason));
    lose_calls(c);
}

/* nghttp2 forgets its streams without a word. */
static void forget_calls(struct th_grpc_connection *c)
{
    struct th_grpc_call *call, *next;
    DL_FOREACH_SAFE(c->calls, call, next) {
        nghttp2_session_set_stream_user_data(c->session, call->stream, NULL);
        th_grpc_call_forget(call);
    }
}

void th_grpc_connection_free(struct th_grpc_connection *c)
{
    if (!c) {
        return;
    }
    th_grpc_connection_end(c, "");
    th_grpc_calls_deliver(c);
    forget_calls(c);
    nghttp2_session_del(c->session);
    th_grpc_out_deinit(&c->out);
    th_grpc_heap_deinit(&c->deadlines);
    free(c->peer);
    free(c);
}

/* ---- in ---- */

/* Whoever speaks HTTP/1 is likely to show what it gets to a person. */
static void answer_http1(struct th_grpc_connection *c)
{
    static const char body[] = "This port speaks gRPC over HTTP/2 and nothing else.\n";
    TH_BUFFER answer = {0};
    th_buffer_format(&answer,
                     "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                     sizeof(body) - 1, body);
    th_grpc_out_copy(&c->out, answer.data, answer.len);
    th_grpc_connection_end(c, "the client speaks HTTP/1");
}

/* False: this is no HTTP/2. */
static bool check_preface(struct th_grpc_connection *c, struct th_str bytes)
{
    for (size_t i = 0; i < bytes.len && c->preface < sizeof(preface) - 1; i++) {
        char byte = bytes.data[i];
        bool letter = c->preface > 0 || (byte >= 'A' && byte <= 'Z');
        if (byte == preface[c->preface]) {
            c->preface++;
        } else if (letter && c->preface < 16) {
            answer_http1(c); /* before the 17th byte the preface looks like a request */
            return false;
        } else {
            th_grpc_connection_end(c, "the client does not speak HTTP/2");
            return false;
        }
    }
    return true;
}

static void flooded(struct th_grpc_connection *c)
{
    atomic_fetch_add_explicit(&c->service->flooded, 1, memory_order_relaxed);
    th_grpc_connection_fail(c, NGHTTP2_ENHANCE_YOUR_CALM, c->flood);
}

static void read_bytes(struct th_grpc_connection *c, struct th_str bytes)
{
    ssize_t n = nghttp2_session_mem_recv(c->session, (const uint8_t *)bytes.data, bytes.len);
    if (n == NGHTTP2_ERR_FLOODED && !c->flood) {
        c->flood = "too_many_pings"; /* of a client that takes no answers */
    }
    if (c->flood) {
        flooded(c);
    } else if (n < 0) {
        th_grpc_connection_fail(c, NGHTTP2_PROTOCOL_ERROR, nghttp2_strerror((int)n));
    }
}

void th_grpc_connection_input(struct th_grpc_connection *c, struct th_str bytes, th_time now)
{
    size_t before = c->preface;
    c->now = now;
    if (c->phase >= TH_GRPC_FAILING || bytes.len == 0) {
        return;
    }
    if (check_preface(c, bytes)) {
        size_t skip = c->preface - before;
        if (th_grpc_flood_scan(c, th_str_n(bytes.data + skip, bytes.len - skip))) {
            read_bytes(c, bytes);
        } else {
            flooded(c);
        }
    }
    th_grpc_calls_deliver(c);
}

bool th_grpc_connection_wants_input(const struct th_grpc_connection *c)
{
    return c->phase < TH_GRPC_FAILING &&
           nghttp2_session_get_outbound_queue_size(c->session) < UNSENT_FRAMES + 4 * c->call_count;
}

/* ---- out ---- */

static bool last_word_said(const struct th_grpc_connection *c)
{
    if (c->phase == TH_GRPC_FAILING) {
        return c->goaway_sent;
    }
    return !nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session);
}

/* Nothing before the client's preface: to one of HTTP/1, SETTINGS would be garbage. */
static void fill(struct th_grpc_connection *c)
{
    if (c->preface < sizeof(preface) - 1) {
        return;
    }
    while (c->phase != TH_GRPC_OVER && c->out.pending < OUTPUT) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(c->session, &data);
        if (n < 0) {
            th_grpc_connection_end(c, nghttp2_strerror((int)n));
            return;
        }
        th_grpc_out_copy(&c->out, data, (size_t)n);
        if (last_word_said(c)) {
            th_grpc_connection_end(c, "");
        }
        if (n == 0) {
            return;
        }
    }
}

size_t th_grpc_connection_output(struct th_grpc_connection *c, struct iovec *out, size_t max,
                                 th_time now)
{
    c->now = now;
    fill(c);
    while (c->ready) {
        th_grpc_calls_deliver(c);
        fill(c); /* what the handlers have just asked for goes along */
    }
    return th_grpc_out_peek(&c->out, out, max);
}

void th_grpc_connection_sent(struct th_grpc_connection *c, size_t bytes)
{
    th_grpc_out_sent(&c->out, bytes);
}

/* ---- what is asked of it ---- */

size_t th_grpc_connection_calls(const struct th_grpc_connection *c)
{
    return c->call_count;
}

bool th_grpc_connection_over(const struct th_grpc_connection *c)
{
    return c->phase == TH_GRPC_OVER;
}

const char *th_grpc_connection_reason(const struct th_grpc_connection *c)
{
    return c->reason;
}

/*
 * Any bytes as what a gRPC client sends, cut anywhere, while handlers echo, stream, wait and give
 * up, the socket is full, and time passes. The input is a list of commands, so that mutations reach
 * more than the first bad byte; grpc_seeds.c writes some.
 *
 *     r LL bytes      bytes of the client, as they are; LL: their number, low byte first
 *     p               the preface and SETTINGS
 *     h S M F         HEADERS on stream S, of method M; flags: end, timeout, metadata, …
 *     d S L C F       DATA on stream S: L bytes of C
 *     m S L F         DATA on stream S: a whole message of L bytes
 *     f T F S L       a frame of type T, flags F, on stream S, with L bytes of zero
 *     w S L           WINDOW_UPDATE on stream S by L, doubled ten times
 *     x S             RST_STREAM on stream S
 *     t L             time passes: L times 10 ms
 *     o L             the socket takes L times 256 bytes; 255: all there is
 *     a N A L         on the N-th call that began: send, finish, abort, pause, resume, headers
 *     g L             drain, L times 10 ms of patience
 */
#include "tests/fuzz/fuzz.h"

#include <nghttp2/nghttp2.h>
#include <utlist.h>

#include "base/memory.h"
#include "grpc/core.h"

/* ---- the input ---- */

struct reader {
    struct th_str left;
};

static uint8_t next(struct reader *r)
{
    if (r->left.len == 0) {
        return 0;
    }
    uint8_t byte = (uint8_t)r->left.data[0];
    r->left = th_str_n(r->left.data + 1, r->left.len - 1);
    return byte;
}

static struct th_str next_bytes(struct reader *r, size_t len)
{
    len = len < r->left.len ? len : r->left.len;
    struct th_str bytes = th_str_n(r->left.data, len);
    r->left = th_str_n(r->left.data + len, r->left.len - len);
    return bytes;
}

/* ---- the world ---- */

enum { MOST_CALLS = 64, STREAMS = 8, MESSAGE_LIMIT = 5000 };

struct world {
    struct th_grpc_service service;
    struct th_grpc_connection *connection;
    th_time now;
    struct record {
        struct world *world;
        struct th_grpc_call *call;
        bool ended, finished;
    } records[MOST_CALLS];
    size_t count;
    struct th_buffer out; /* what the client has got and nobody has looked at */
    nghttp2_hd_inflater *inflater;
    bool other_protocol; /* what comes is no HTTP/2, or may be cut off */
};

static void send_bytes(struct th_grpc_call *call, size_t len)
{
    struct th_blob *blob = th_blob_alloc(len);
    memset(blob->data, 's', len);
    th_grpc_send(call, blob);
    th_blob_unref(blob);
}

static void finish(struct th_grpc_call *call)
{
    th_grpc_finish(call, TH_GRPC_OK, TH_STR(""), (struct th_grpc_metadata){0});
}

static void begin(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    struct world *world = th_grpc_user(call);
    MUST(th_str_starts(request->path, TH_STR("/")));
    th_grpc_set_user(call, NULL);
    if (world->count == MOST_CALLS) {
        finish(call);
        return;
    }
    struct record *record = &world->records[world->count++];
    *record = (struct record){.world = world, .call = th_grpc_ref(call)};
    th_grpc_set_user(call, record);
}

static void ended(struct th_grpc_call *call, enum th_grpc_end why)
{
    struct record *record = th_grpc_user(call);
    if (record) {
        MUST(!record->ended);
        record->ended = true;
    }
}

static void alive(struct th_grpc_call *call)
{
    struct record *record = th_grpc_user(call);
    MUST(!record || !record->ended);
}

static void echo(struct th_grpc_call *call, struct th_blob *message)
{
    alive(call);
    MUST(message->len <= MESSAGE_LIMIT);
    th_grpc_send(call, message);
}

static void hear(struct th_grpc_call *call, struct th_blob *message)
{
    alive(call);
}

static void half_closed(struct th_grpc_call *call)
{
    alive(call);
    finish(call);
}

static void stream_on(struct th_grpc_call *call)
{
    alive(call);
    for (int i = 0; i < 20; i++) {
        send_bytes(call, 1000);
    }
}

static void stream_begin(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    begin(call, request);
    stream_on(call);
}

static const struct th_grpc_handler echoing = {
    .begin = begin, .message = echo, .half_closed = half_closed, .ended = ended};
static const struct th_grpc_handler streaming = {.begin = stream_begin,
                                                 .message = hear,
                                                 .half_closed = alive,
                                                 .writable = stream_on,
                                                 .draining = half_closed,
                                                 .ended = ended};
static const struct th_grpc_handler waiting = {
    .begin = begin, .message = hear, .half_closed = alive, .writable = alive, .ended = ended};

/* ---- what comes out ---- */

static uint32_t length_of(const uint8_t *head)
{
    return (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
}

static void check_block(struct world *world, const uint8_t *at, size_t len, bool last)
{
    for (;;) {
        nghttp2_nv field;
        int flags = 0;
        ssize_t n = nghttp2_hd_inflate_hd2(world->inflater, &field, &flags, at, len, last);
        MUST(n >= 0);
        at += n;
        len -= (size_t)n;
        if (flags & NGHTTP2_HD_INFLATE_FINAL) {
            nghttp2_hd_inflate_end_headers(world->inflater);
            return;
        }
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && len == 0) {
            return;
        }
    }
}

/* Whole frames are looked at and taken away. */
static void check_frames(struct world *world)
{
    const uint8_t *at = (const uint8_t *)world->out.data;
    size_t left = world->out.len;
    while (left >= 9 && left >= 9 + length_of(at)) {
        uint32_t len = length_of(at);
        MUST(len <= 16384);
        MUST(at[3] <= NGHTTP2_CONTINUATION);
        MUST(at[3] != NGHTTP2_PUSH_PROMISE && at[3] != NGHTTP2_PRIORITY);
        if (at[3] == NGHTTP2_HEADERS || at[3] == NGHTTP2_CONTINUATION) {
            check_block(world, at + 9, len, at[4] & NGHTTP2_FLAG_END_HEADERS);
        }
        at += 9 + len;
        left -= 9 + len;
    }
    memmove(world->out.data, at, left);
    world->out.len = left;
}

static void take_output(struct world *world, size_t most)
{
    struct iovec iov[5];
    size_t n;
    while (most > 0 && (n = th_grpc_connection_output(world->connection, iov, 5, world->now)) > 0) {
        size_t taken = 0;
        for (size_t i = 0; i < n && taken < most; i++) {
            size_t len = iov[i].iov_len < most - taken ? iov[i].iov_len : most - taken;
            th_buffer_add(&world->out, iov[i].iov_base, len);
            taken += len;
        }
        th_grpc_connection_sent(world->connection, taken);
        most -= taken;
    }
    if (world->out.len >= 5 && memcmp(world->out.data, "HTTP/", 5) == 0) {
        world->other_protocol = true;
    }
    if (!world->other_protocol && world->out.data) {
        check_frames(world);
    }
}

/* ---- commands ---- */

static void input(struct world *world, struct th_str bytes)
{
    if (!th_grpc_connection_wants_input(world->connection) || bytes.len == 0) {
        return;
    }
    TH_AUTOFREE char *copy = th_memdup(bytes.data, bytes.len);
    th_grpc_connection_input(world->connection, th_str_n(copy, bytes.len), world->now);
}

static void frame(struct world *world, int type, int flags, uint8_t stream, struct th_str payload)
{
    TH_BUFFER bytes = {0};
    const uint8_t head[] = {(uint8_t)(payload.len >> 16),
                            (uint8_t)(payload.len >> 8),
                            (uint8_t)payload.len,
                            (uint8_t)type,
                            (uint8_t)flags,
                            0,
                            0,
                            0,
                            stream};
    th_buffer_add(&bytes, head, sizeof(head));
    th_buffer_str(&bytes, payload);
    input(world, th_buffer_view(&bytes));
}

static void add_field(struct th_buffer *block, const char *name, const char *value)
{
    const char lens[] = {0, (char)strlen(name), (char)strlen(value)};
    th_buffer_add(block, &lens[0], 2);
    th_buffer_text(block, name);
    th_buffer_add(block, &lens[2], 1);
    th_buffer_text(block, value);
}

static void headers(struct world *world, struct reader *r)
{
    static const char *const paths[] = {"/t/Echo", "/t/Stream", "/t/Wait", "/t/One", "/none"};
    TH_BUFFER block = {0};
    uint8_t stream = next(r), path = next(r), flags = next(r);
    add_field(&block, ":method", flags & 64 ? "GET" : "POST");
    add_field(&block, ":scheme", "http");
    add_field(&block, ":path", paths[path % TH_COUNT(paths)]);
    add_field(&block, ":authority", "a");
    add_field(&block, "content-type", flags & 32 ? "text/plain" : "application/grpc");
    if (!(flags & 16)) {
        add_field(&block, "te", "trailers");
    }
    if (flags & 2) {
        add_field(&block, "grpc-timeout", "50m");
    }
    if (flags & 4) {
        add_field(&block, "k-bin", "Zm9v");
        add_field(&block, "k", "value");
    }
    if (flags & 8) {
        add_field(&block, "k-bin", "?");
    }
    frame(world, NGHTTP2_HEADERS,
          NGHTTP2_FLAG_END_HEADERS | (flags & 1 ? NGHTTP2_FLAG_END_STREAM : 0), stream,
          th_buffer_view(&block));
}

static void data(struct world *world, struct reader *r, bool message)
{
    char bytes[300] = {0};
    uint8_t stream = next(r);
    size_t len = next(r);
    bytes[4] = (char)len;
    if (!message) {
        memset(bytes, next(r), len);
    }
    frame(world, NGHTTP2_DATA, next(r) & 9, stream, th_str_n(bytes, len + (message ? 5 : 0)));
}

static void any_frame(struct world *world, struct reader *r)
{
    static const char zeros[256];
    uint8_t type = next(r), flags = next(r), stream = next(r);
    frame(world, type, flags, stream, th_str_n(zeros, next(r)));
}

static void four_bytes(struct world *world, int type, uint8_t stream, uint32_t value)
{
    const char bytes[] = {(char)(value >> 24), (char)(value >> 16), (char)(value >> 8),
                          (char)value};
    frame(world, type, 0, stream, th_str_n(bytes, sizeof(bytes)));
}

static void pass_time(struct world *world, th_time time)
{
    th_time until = world->now + time;
    for (;;) {
        th_time due = th_grpc_connection_due(world->connection);
        if (due == TH_TIME_NONE || due > until) {
            break;
        }
        world->now = due > world->now ? due : world->now;
        th_grpc_connection_tick(world->connection, world->now);
        due = th_grpc_connection_due(world->connection);
        MUST(due == TH_TIME_NONE || due > world->now);
    }
    world->now = until;
}

static void act(struct world *world, struct reader *r)
{
    const struct th_grpc_field fields[] = {{TH_STR("a-bin"), TH_STR("b")}};
    uint8_t number = next(r), what = next(r), len = next(r);
    if (world->count == 0) {
        return;
    }
    struct th_grpc_call *call = world->records[number % world->count].call;
    switch (what % 6) {
    case 0:
        send_bytes(call, (size_t)len * 100);
        break;
    case 1:
        th_grpc_finish(call, (enum th_grpc_status)(len % 17), TH_STR("why"),
                       (struct th_grpc_metadata){fields, len & 1});
        break;
    case 2:
        th_grpc_abort(call, TH_GRPC_ABORTED, TH_STR("at once"));
        break;
    case 3:
        th_grpc_pause(call);
        break;
    case 4:
        th_grpc_resume(call);
        break;
    default:
        th_grpc_headers(call, (struct th_grpc_metadata){fields, 1});
        break;
    }
}

static void step(struct world *world, struct reader *r)
{
    size_t len;
    switch (next(r)) {
    case 'r':
        len = next(r);
        len |= (size_t)next(r) << 8;
        input(world, next_bytes(r, len));
        break;
    case 'p':
        input(world, TH_STR(NGHTTP2_CLIENT_MAGIC "\0\0\0\4\0\0\0\0\0"));
        break;
    case 'h':
        headers(world, r);
        break;
    case 'd':
        data(world, r, false);
        break;
    case 'm':
        data(world, r, true);
        break;
    case 'f':
        any_frame(world, r);
        break;
    case 'w':
        len = next(r);
        four_bytes(world, NGHTTP2_WINDOW_UPDATE, (uint8_t)len, (uint32_t)next(r) << 10);
        break;
    case 'x':
        four_bytes(world, NGHTTP2_RST_STREAM, next(r), NGHTTP2_CANCEL);
        break;
    case 't':
        pass_time(world, next(r) * 10 * TH_MILLISECOND);
        break;
    case 'o':
        len = next(r);
        take_output(world, len == 255 ? SIZE_MAX : len * 256);
        break;
    case 'a':
        act(world, r);
        break;
    case 'g':
        th_grpc_connection_drain(world->connection, world->now + next(r) * 10 * TH_MILLISECOND,
                                 world->now);
        break;
    default:
        break;
    }
}

/* ---- a run ---- */

static void set_up(struct world *world)
{
    const struct th_grpc_method methods[] = {
        {.path = "/t/Echo", .handler = &echoing, .argument = world},
        {.path = "/t/Stream", .handler = &streaming, .argument = world},
        {.path = "/t/Wait", .handler = &waiting, .argument = world},
        {.path = "/t/One", .handler = &echoing, .argument = world, .single_request = true},
    };
    const struct th_grpc_server_options options = {.methods = methods,
                                                   .method_count = TH_COUNT(methods),
                                                   .limits = {.message_bytes = MESSAGE_LIMIT,
                                                              .metadata_bytes = 1000,
                                                              .metadata_fields = 20,
                                                              .streams = STREAMS,
                                                              .window_bytes = 4000,
                                                              .held_bytes = 20000,
                                                              .queue_bytes = 4000,
                                                              .connection_queue_bytes = 20000,
                                                              .handshake_ms = 1000,
                                                              .keepalive_ms = 2000,
                                                              .keepalive_timeout_ms = 1000,
                                                              .idle_ms = 5000,
                                                              .age_ms = 60000,
                                                              .age_grace_ms = 1000,
                                                              .reset_burst = 20,
                                                              .empty_burst = 20,
                                                              .frame_burst = 50}};
    *world = (struct world){.now = 1000 * TH_SECOND};
    MUST(th_grpc_service_init(&world->service, &options, NULL));
    MUST(nghttp2_hd_inflate_new(&world->inflater) == 0);
    world->connection = th_grpc_connection_new(
        &(struct th_grpc_connection_options){.service = &world->service, .peer = TH_STR("p")},
        world->now);
}

static void tear_down(struct world *world)
{
    th_grpc_connection_free(world->connection);
    for (size_t i = 0; i < world->count; i++) {
        struct th_grpc_call *call = world->records[i].call;
        MUST(world->records[i].ended);
        send_bytes(call, 10); /* to nobody */
        finish(call);
        MUST(th_grpc_queued(call) == 0);
        th_grpc_unref(call);
    }
    MUST(world->service.calls == 0 && world->service.held == 0);
    th_grpc_service_deinit(&world->service);
    nghttp2_hd_inflate_del(world->inflater);
    th_buffer_deinit(&world->out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data_, size_t size)
{
    static struct world world;
    struct reader reader = {input_of(data_, size)};
    set_up(&world);
    while (reader.left.len > 0 && !th_grpc_connection_over(world.connection)) {
        step(&world, &reader);
    }
    take_output(&world, SIZE_MAX);
    tear_down(&world);
    return 0;
}

/*
 * grpc: a server for gRPC (HTTP/2, in clear or with TLS). It moves messages and knows nothing of
 * what is in them: a message is a th_blob, a method is a path with the functions that serve it.
 *
 *     sockets ⇄ loop, a thread ⇄ connections ⇄ calls ⇄ handlers (on that thread)
 *                    ▲
 *                    └── th_grpc_send, th_grpc_finish, … from any thread
 *
 * Threads. A call belongs to one loop. Its handler's functions run on that loop's thread, one at a
 * time, and never from within a function of this header. They must not block: all other calls of
 * the loop wait meanwhile. Functions that take a call may be called on any thread where nothing
 * else is said; on another thread than the loop's they are queued, and take effect in the order in
 * which that thread made them. None of them blocks, and none can fail: what is asked of a call that
 * is over is dropped silently.
 *
 * Life of a call. `begin` comes first, `ended` comes last and exactly once; nothing is called
 * after it. The pointer is valid until `ended` returns, and longer while th_grpc_ref is owed an
 * unref. Whoever gets `begin` finishes the call: by th_grpc_finish or th_grpc_abort, sooner or
 * later, unless `ended` comes before.
 *
 * The protocol is "gRPC over HTTP/2" (PROTOCOL-HTTP2.md of the gRPC project) on RFC 9113.
 * core.h has the same without sockets, threads and clocks.
 */
#pragma once

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

/* google.rpc.Code; the names are those of the gRPC project's "Status codes". */
#define TH_GRPC_STATUSES(X)   \
    X(OK, 0)                  \
    X(CANCELLED, 1)           \
    X(UNKNOWN, 2)             \
    X(INVALID_ARGUMENT, 3)    \
    X(DEADLINE_EXCEEDED, 4)   \
    X(NOT_FOUND, 5)           \
    X(ALREADY_EXISTS, 6)      \
    X(PERMISSION_DENIED, 7)   \
    X(RESOURCE_EXHAUSTED, 8)  \
    X(FAILED_PRECONDITION, 9) \
    X(ABORTED, 10)            \
    X(OUT_OF_RANGE, 11)       \
    X(UNIMPLEMENTED, 12)      \
    X(INTERNAL, 13)           \
    X(UNAVAILABLE, 14)        \
    X(DATA_LOSS, 15)          \
    X(UNAUTHENTICATED, 16)

enum th_grpc_status {
#define X(name, number) TH_GRPC_##name = (number),
    TH_GRPC_STATUSES(X)
#undef X
};

/* "NOT_FOUND"; "UNKNOWN" for what is no status. */
const char *th_grpc_status_text(enum th_grpc_status status);

/* ---- what a client asks ---- */

/* A field of metadata. The name is in lower case. When it ends in "-bin" the value is any bytes
 * (they travel as base64), otherwise printable ASCII. A name may come several times. */
struct th_grpc_field {
    struct th_str name, value;
};

struct th_grpc_metadata {
    const struct th_grpc_field *fields;
    size_t count;
};

/* The first field of that name; absent when there is none. */
struct th_str th_grpc_metadata_get(struct th_grpc_metadata metadata, const char *name);

/* Borrowed until `begin` returns. What is not there is absent. */
struct th_grpc_request {
    struct th_str path;      /* "/package.Service/Method" */
    struct th_str authority; /* the server's name as the client wrote it */
    struct th_str user_agent;
    struct th_str peer; /* "192.0.2.1:50123", "[2001:db8::1]:50123" */
    /* All fields but HTTP's and gRPC's own. */
    struct th_grpc_metadata metadata;
    th_time deadline; /* on th_monotonic's clock; TH_TIME_NONE: the client waits for ever */
};

struct th_grpc_call;

/* Why a call is over. */
enum th_grpc_end {
    TH_GRPC_DONE,    /* as th_grpc_finish or th_grpc_abort said; the status is with the transport */
    TH_GRPC_RESET,   /* the client has cancelled it, or broke HTTP/2's rules on this stream */
    TH_GRPC_EXPIRED, /* its deadline passed; the client was told DEADLINE_EXCEEDED */
    TH_GRPC_REFUSED, /* what the client sent breaks a limit or a rule; it was told which */
    TH_GRPC_LOST,    /* the connection is gone, or a drain's patience is over */
};

/* Functions that are NULL are not called. */
struct th_grpc_handler {
    void (*begin)(struct th_grpc_call *call, const struct th_grpc_request *request);
    /* A whole message. Borrowed: th_blob_ref keeps it. */
    void (*message)(struct th_grpc_call *call, struct th_blob *message);
    /* There will be no more messages. */
    void (*half_closed)(struct th_grpc_call *call);
    /* After th_grpc_send returned false: there is room again. Once for all such sends. */
    void (*writable)(struct th_grpc_call *call);
    /* The connection is to be closed when its calls are over. A call that would last for ever is
     * to be finished now, with OK; the client then comes back, on another connection. */
    void (*draining)(struct th_grpc_call *call);
    void (*ended)(struct th_grpc_call *call, enum th_grpc_end why);
};

struct th_grpc_method {
    const char *path; /* "/package.Service/Method" */
    const struct th_grpc_handler *handler;
    void *argument; /* what th_grpc_user gives in `begin` */
    /* The client sends exactly one message: it is handed on when the client has half-closed, and
     * another number of them is answered UNIMPLEMENTED. */
    bool single_request;
};

/* ---- what is answered ---- */

/*
 * Puts a message into the call's queue and takes a reference of its own. False: the queue of the
 * call or of its connection has reached its mark (queue_bytes, connection_queue_bytes), so the
 * caller sends no more until `writable`. It is for the caller to stop: nothing is refused. On other
 * threads than the loop's the connection's part is as of the last send that arrived there.
 * The bytes are not copied when they are many; nobody may change them. Fewer than 4 GiB.
 */
bool th_grpc_send(struct th_grpc_call *call, struct th_blob *message);

/* Bytes that wait for the client to read: of messages and their 5-byte prefixes. */
size_t th_grpc_queued(const struct th_grpc_call *call);

/* Sends the response's headers now, with these fields, instead of with the first message. Later
 * than that, and the second time, it does nothing. False: some field cannot be sent (see
 * th_grpc_finish) and was left out. */
bool th_grpc_headers(struct th_grpc_call *call, struct th_grpc_metadata metadata);

/*
 * Ends the call, behind the messages that are queued. `message` is for people, UTF-8; of more than
 * 4 KiB the rest is left out. False: some fields of the metadata were left out, because a name is
 * not of [a-z0-9_.-] or begins with "grpc-", a value is not printable ASCII (and the name does not
 * end in "-bin"), or all together are more than 8 KiB; the call is finished all the same.
 * Only the first finish or abort counts.
 */
bool th_grpc_finish(struct th_grpc_call *call, enum th_grpc_status status, struct th_str message,
                    struct th_grpc_metadata metadata);

/* Ends the call at once: messages that are still queued are not sent. One that is partly sent
 * cannot be called back: the client then sees a reset stream instead of the status. */
void th_grpc_abort(struct th_grpc_call *call, enum th_grpc_status status, struct th_str message);

/* Takes no messages until th_grpc_resume: the client may send what its window holds, and then has
 * to wait. On the loop's thread, also within `begin` and `message`, no `message` and no
 * `half_closed` comes after it; calls are not paused at first. */
void th_grpc_pause(struct th_grpc_call *call);
void th_grpc_resume(struct th_grpc_call *call);

struct th_grpc_call *th_grpc_ref(struct th_grpc_call *call);
void th_grpc_unref(struct th_grpc_call *call); /* NULL is fine */

/* A pointer of the handler's own, at first its method's argument. The loop's thread only, or with
 * an order of the caller's making. */
void *th_grpc_user(const struct th_grpc_call *call);
void th_grpc_set_user(struct th_grpc_call *call, void *user);

/* Runs work(call, argument) on the call's loop, also when the call is over by then. True: it will
 * be run exactly once. False: the server has stopped. On the loop's thread it is run at once. */
bool th_grpc_run(struct th_grpc_call *call, void (*work)(struct th_grpc_call *call, void *argument),
                 void *argument);

/* ---- limits ---- */

/*
 * name, default, what it says. 0 means the default; UINT64_MAX no limit, never. The last ten are
 * floods: how many at once, and how many a second for ever; a client beyond that is sent GOAWAY
 * with ENHANCE_YOUR_CALM.
 */
#define TH_GRPC_LIMITS(X)                                                                       \
    X(message_bytes, 4 << 20, "a message of a client; larger: RESOURCE_EXHAUSTED")              \
    X(metadata_bytes, 16 << 10,                                                                 \
      "names, values and 32 bytes a field of a request (RFC 9113, "                             \
      "section 6.5.2); more: RESOURCE_EXHAUSTED")                                               \
    X(metadata_fields, 128, "fields of a request; more: RESOURCE_EXHAUSTED")                    \
    X(streams, 10000, "calls open on one connection; clients wait before they open more")       \
    X(calls, 50000, "calls open on the server; more: RESOURCE_EXHAUSTED")                       \
    X(window_bytes, 128 << 10, "what a client may send on a stream before it is taken")         \
    X(held_bytes, 64 << 20,                                                                     \
      "parts of messages, and messages of paused calls, that are held of "                      \
      "one connection; from a quarter of it on streams wait, more: "                            \
      "RESOURCE_EXHAUSTED")                                                                     \
    X(total_held_bytes, 256 << 20,                                                              \
      "the same of all connections, which may hold 256 KiB each "                               \
      "all the same")                                                                           \
    X(queue_bytes, 64 << 10, "the queue of a call at which th_grpc_send says stop")             \
    X(connection_queue_bytes, 1 << 20, "the queues of a connection's calls together")           \
    X(handshake_ms, 10000, "for TLS and the HTTP/2 preface, each")                              \
    X(keepalive_ms, 30000, "a connection that sends nothing so long is pinged")                 \
    X(keepalive_timeout_ms, 20000, "and dropped when then nothing comes so long")               \
    X(idle_ms, UINT64_MAX, "a connection without a call so long is drained")                    \
    X(age_ms, UINT64_MAX, "a connection is drained at that age")                                \
    X(age_grace_ms, 60000, "and its calls are ended so long after that")                        \
    X(ping_burst, 100, "pings")                                                                 \
    X(ping_rate, 10, "pings a second; those that follow an answer of ours do not count")        \
    X(settings_burst, 100, "SETTINGS frames")                                                   \
    X(settings_rate, 10, "SETTINGS frames a second")                                            \
    X(reset_burst, 20000, "calls that the client reset, or broke so that we had to")            \
    X(reset_rate, 2000, "such calls a second")                                                  \
    X(empty_burst, 1000, "DATA frames without data")                                            \
    X(empty_rate, 100, "such frames a second")                                                  \
    X(frame_burst, 10000, "frames that ask for nothing: PRIORITY, WINDOW_UPDATE, unknown ones") \
    X(frame_rate, 1000, "such frames a second; what we send pays for the answers to it")

struct th_grpc_limits {
#define X(name, standard, text) uint64_t name;
    TH_GRPC_LIMITS(X)
#undef X
};

/* ---- a server ---- */

struct th_grpc_server;

/* Strings and the array of methods are copied; what methods point to, and log, outlive the server.
 */
struct th_grpc_server_options {
    const struct th_grpc_method *methods;
    size_t method_count;
    /* For paths that are none of these; NULL, or a NULL answer: UNIMPLEMENTED. On a loop's thread;
     * must not block. What it returns is used until the call is over. */
    const struct th_grpc_method *(*find)(void *argument, struct th_str path);
    void *argument;
    struct th_grpc_limits limits;
    const struct th_log *log; /* NULL: silent */

    const char *address;      /* numeric, or a name: all its addresses; default "127.0.0.1". "::" is
                                 every address of IPv4 and IPv6 */
    int port;                 /* 0: any free one, see th_grpc_server_port */
    unsigned loops;           /* threads; default 1. Connections are dealt out in turn */
    unsigned max_connections; /* default 4096, never more than the process may open. At the limit
                                 the connection that has been without a call for longest is
                                 closed; when all have one, new clients wait to be accepted */

    /* PEM files; the certificate's chain follows it. Both or neither: TLS 1.2 or later with ALPN
     * "h2", or HTTP/2 in clear with prior knowledge. */
    const char *certificate, *key;
    const char *client_ca; /* PEM file: clients need a certificate by one of these; NULL: none */
};

/* Listens and serves at once. Blocks while a name is looked up. NULL: INVALID (an address, a file
 * of TLS), UNAVAILABLE (an address in use, no thread, no memory for one). Any thread. */
struct th_grpc_server *th_grpc_server_start(const struct th_grpc_server_options *options,
                                            struct th_error *error);

int th_grpc_server_port(const struct th_grpc_server *server);

/* Reads the files of TLS again, for connections that are made from then on. False: INVALID, and
 * the old ones stay in use. Blocks for reading. Any thread. */
bool th_grpc_server_reload(struct th_grpc_server *server, struct th_error *error);

/*
 * Listens no more, says GOAWAY on every connection and `draining` on every call, and closes each
 * connection when its calls are over. Calls that last longer than `patience` (microseconds) are
 * ended with UNAVAILABLE (`ended` with LOST). Returns at once. Any thread, also from a handler.
 * Once more, with less patience, it shortens it.
 */
void th_grpc_server_drain(struct th_grpc_server *server, th_time patience);

/*
 * Drains, waits until every connection is closed and the threads have ended, and frees the server.
 * After it no handler runs, and every call has had its `ended`. Blocks for `patience` and about a
 * second at most. Never from a handler. Calls that the user still has references of stay valid:
 * what is done to them is dropped. NULL is fine.
 */
void th_grpc_server_stop(struct th_grpc_server *server, th_time patience);

struct th_grpc_stats {
    uint64_t connections, calls; /* open now; a call is open while its stream is */
    uint64_t held_bytes;         /* see th_grpc_limits */
    uint64_t accepted, begun;    /* since the start: connections, calls */
    uint64_t shed, flooded;      /* connections closed to make room, and for ENHANCE_YOUR_CALM */
};

/* Figures of about now. Any thread. */
void th_grpc_server_stats(const struct th_grpc_server *server, struct th_grpc_stats *out);

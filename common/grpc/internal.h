/*
 * internal: what the files of this folder share. Not for others.
 *
 * The core, one connection at a time:
 *   service.c     what connections share         limits and methods
 *   connection.c  a connection from its first byte to its last; the way in and out
 *   session.c     nghttp2's settings and callbacks
 *   head.c        a request's fields             answer.c    a response's
 *   inbound.c     messages out of DATA           outbound.c  messages into DATA
 *   call.c        what becomes of a call, and its handler's turn
 *   clocks.c      deadlines, keepalive, drain    flood.c     clients that ask for nothing
 *   text.c        timeouts, percent, base64      out.c       bytes on their way to the socket
 *   heap.c        timers
 *
 * With threads and sockets:
 *   post.c        grpc.h's functions for a call, on whatever thread
 *   mailbox.c     what other threads leave for a loop
 *   loop.c        the thread                     socket.c    one socket and its connection
 *   listen.c      addresses                      accept.c    new connections
 *   tls.c         OpenSSL                        server.c    starting, draining, stopping
 *   loop.h        what these share
 *
 * Why so. nghttp2 calls back while it reads and while it writes, and forbids half of its functions
 * then. Its callbacks therefore only note what happened, as events of the call; the handlers are
 * called when it has returned (th_grpc_connection_deliver). So a handler may do anything, and
 * nothing in here has to be prepared to be entered twice.
 */
#pragma once

#include <nghttp2/nghttp2.h>
#include <utlist.h>

#include "grpc/core.h"

#define TH_GRPC_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* ---- service.c ---- */

const struct th_grpc_method *th_grpc_service_find(const struct th_grpc_service *service,
                                                  struct th_str path);

/* ---- text.c ---- */

/* The value of grpc-timeout, "100m", in microseconds, rounded up; false: malformed. */
bool th_grpc_timeout_parse(struct th_str text, th_time *out);
/* Adds `message` as grpc-message wants it; at most `limit` bytes, whole characters. */
void th_grpc_percent_encode(struct th_buffer *out, struct th_str message, size_t limit);
void th_grpc_base64_encode(struct th_buffer *out, struct th_str bytes); /* without padding */
/* With or without padding; several values joined by commas become one after the other. */
bool th_grpc_base64_decode(struct th_buffer *out, struct th_str text);
bool th_grpc_is_binary(struct th_str name); /* of a field: "…-bin" */

/* ---- heap.c ---- */

/* A part of what waits for a time. */
struct th_grpc_timer {
    th_time due;
    size_t at; /* its place in the heap, plus one; 0: in none */
};

struct th_grpc_heap {
    struct th_grpc_timer **items;
    size_t count, capacity;
};

/* Puts it in, or moves it; TH_TIME_NONE takes it out. */
void th_grpc_heap_set(struct th_grpc_heap *heap, struct th_grpc_timer *timer, th_time due);
struct th_grpc_timer *th_grpc_heap_first(const struct th_grpc_heap *heap); /* NULL: none */
void th_grpc_heap_deinit(struct th_grpc_heap *heap);

/* ---- out.c ---- */

/* Bytes in the order in which they are to be sent. Few bytes are copied into `text`, many are
 * referenced: each piece stands in front of text.data[at]. */
struct th_grpc_piece {
    size_t at;
    struct th_blob *blob;
    size_t from, len;
};

struct th_grpc_out {
    struct th_buffer text;
    size_t in_text; /* sent of it */
    struct th_grpc_piece *pieces;
    size_t piece, piece_count, piece_capacity; /* the next one; in it, `from` moves on */
    size_t pending;                            /* bytes that are not sent */
};

void th_grpc_out_copy(struct th_grpc_out *out, const void *data, size_t len);
void th_grpc_out_blob(struct th_grpc_out *out, struct th_blob *blob, size_t from, size_t len);
size_t th_grpc_out_peek(const struct th_grpc_out *out, struct iovec *iov, size_t max);
void th_grpc_out_sent(struct th_grpc_out *out, size_t len);
void th_grpc_out_deinit(struct th_grpc_out *out);

/* ---- flood.c ---- */

/* kind, the limits' names, what GOAWAY says. gRPC clients know "too_many_pings". */
#define TH_GRPC_FLOODS(X)                      \
    X(PING, ping, "too_many_pings")            \
    X(SETTINGS, settings, "too_many_settings") \
    X(RESET, reset, "too_many_resets")         \
    X(EMPTY, empty, "too_many_empty_frames")   \
    X(FRAME, frame, "too_many_frames")

enum th_grpc_flood {
#define X(kind, name, text) TH_GRPC_FLOOD_##kind,
    TH_GRPC_FLOODS(X)
#undef X
        TH_GRPC_FLOOD_KINDS
};

/* Millionths of a token: a rate of one a second is one of them a microsecond. */
struct th_grpc_bucket {
    int64_t spent;
    th_time since;
};

enum { TH_GRPC_FRAME_HEAD = 9 };

/* Where in its frames the client is. */
struct th_grpc_scan {
    uint8_t head[TH_GRPC_FRAME_HEAD], got; /* of the frame that is being received */
    uint32_t left;                         /* of its payload, once the head is there */
};

/* ---- a call ---- */

enum { TH_GRPC_PREFIX = 5 }; /* bytes in front of a message */

/* A request's fields on their way to `begin`. */
struct th_grpc_head {
    nghttp2_rcbuf *path, *authority, *user_agent;
    struct th_grpc_raw_field {
        nghttp2_rcbuf *name, *value;
    } * fields;
    size_t count, capacity;
    size_t bytes, seen; /* of all fields */
    th_time timeout;    /* TH_TIME_NONE: none */
    bool post, te, content_type, bad_timeout;
};

struct th_grpc_message {
    struct th_blob *blob;
    struct th_grpc_message *next;
};

struct th_grpc_messages {
    struct th_grpc_message *first, **last;
};

/* Fields of ours as nghttp2 takes them, one allocation. The first places are for those that only
 * the moment of sending knows. */
enum { TH_GRPC_PLACES = 4 };
struct th_grpc_fields {
    size_t count; /* of fields[], the places not counted */
    nghttp2_nv fields[];
};

/* How a call ends. */
struct th_grpc_ending {
    enum th_grpc_status status;
    struct th_grpc_fields *fields; /* grpc-message and metadata; NULL: none */
};

enum th_grpc_event {
    TH_GRPC_EVENT_BEGIN = 1,
    TH_GRPC_EVENT_HALF_CLOSED = 2,
    TH_GRPC_EVENT_WRITABLE = 4,
    TH_GRPC_EVENT_DRAINING = 8,
    TH_GRPC_EVENT_ENDED = 16,
};

struct th_grpc_call {
    /* Any thread. */
    atomic_int references;
    atomic_uint posted;   /* operations in the mailbox */
    atomic_size_t queued; /* bytes sent and not framed; also those still in the mailbox */
    atomic_bool crowded;  /* the connection's queue has reached its mark */
    struct th_grpc_mailbox *mailbox;
    uint64_t queue_mark;

    /* The loop's thread. */
    struct th_grpc_connection *connection; /* NULL: the stream is closed */
    int32_t stream;
    unsigned events;
    enum th_grpc_end why;
    bool known;                      /* `begin` was called */
    bool over;                       /* no event comes any more but `ended` */
    bool ready;                      /* in the connection's list of calls with events */
    bool paused, half_closed, taken; /* taken: a single request was handed on */
    bool answering;                  /* the response's headers are with nghttp2 */
    bool closing;                    /* so are the trailers, or a reset */
    bool torn;                       /* it is a reset, in the middle of a message */
    bool finished;                   /* `ending` is said */
    bool telling;                    /* `writable` is owed */
    bool starved;                    /* waits for window, see inbound.c */
    const struct th_grpc_method *method;
    void *user;
    struct th_grpc_head *head; /* until `begin` */
    struct th_grpc_ending ending;
    struct th_grpc_timer timer; /* the deadline */

    struct th_grpc_messages inbox; /* whole, to be handed on */
    struct th_blob *partial;       /* being received: len is what it has room for */
    size_t partial_len, partial_got;
    size_t unreturned; /* received bytes whose window the client has not got back */
    size_t held;       /* what it holds, for held_bytes */
    uint8_t prefix[TH_GRPC_PREFIX];
    uint8_t prefix_got;

    struct th_grpc_messages outbox;
    size_t outgoing; /* bytes in the outbox */
    size_t sent;     /* of the first one and its prefix */

    struct th_grpc_call *prev, *next;                 /* all calls of the connection */
    struct th_grpc_call *ready_next;                  /* with events */
    struct th_grpc_call *telling_prev, *telling_next; /* to be told that there is room */
    struct th_grpc_call *starved_prev, *starved_next;
};

/* ---- a connection ---- */

enum th_grpc_phase {
    TH_GRPC_PREFACE, /* until the client's first SETTINGS */
    TH_GRPC_OPEN,
    TH_GRPC_NOTICED,  /* GOAWAY without a last stream is on its way */
    TH_GRPC_DRAINING, /* GOAWAY with it */
    TH_GRPC_FAILING,  /* a last GOAWAY is to be sent, nothing is read */
    TH_GRPC_OVER,
};

struct th_grpc_connection {
    struct th_grpc_service *service;
    struct th_grpc_mailbox *mailbox;
    void (*touched)(void *argument);
    void *argument;
    char *peer;
    nghttp2_session *session;
    th_time now;
    enum th_grpc_phase phase;
    const char *reason;
    size_t preface; /* bytes of it that have come */
    struct th_grpc_scan scan;
    struct th_grpc_out out;
    struct th_grpc_bucket floods[TH_GRPC_FLOOD_KINDS];
    const char *flood;            /* what GOAWAY is to say, when there is one */
    size_t continuations, fields; /* of the header block being received */
    bool goaway_sent;             /* the last one */

    struct th_grpc_call *calls;
    size_t call_count;
    struct th_grpc_call *ready, **ready_last;
    struct th_grpc_call *telling, *starved;
    size_t queued, held; /* of all calls */
    bool crowded;        /* too much is queued */

    struct th_grpc_heap deadlines;
    th_time heard;  /* when a frame last came */
    th_time pinged; /* TH_TIME_NONE: no ping is on its way */
    th_time idle;   /* since when there is no call */
    th_time born;
    th_time drain_until; /* NOTICED, DRAINING: the end of patience; moves on once, see clocks.c */
    th_time goaway_at;   /* NOTICED, FAILING: the client has taken too long */
    bool impatient;      /* its calls have been ended */
};

/* How long the client may take to answer the ping between two GOAWAYs, and to read a last one. */
#define TH_GRPC_ROUND_TRIP TH_SECOND

/* ---- session.c ---- */

nghttp2_session *th_grpc_session_new(struct th_grpc_connection *c);

/* ---- connection.c ---- */

/* GOAWAY with this code and word; every call is LOST. */
void th_grpc_connection_fail(struct th_grpc_connection *c, uint32_t code, const char *reason);
void th_grpc_connection_end(struct th_grpc_connection *c, const char *reason); /* without a word */

/* ---- head.c ---- */

struct th_grpc_head *th_grpc_head_new(void);
void th_grpc_head_free(struct th_grpc_head *head); /* NULL is fine */
void th_grpc_head_add(struct th_grpc_head *head, const struct th_grpc_limits *limits,
                      nghttp2_rcbuf *name, nghttp2_rcbuf *value);
/* All fields are there: finds the method, or answers what is wrong. */
void th_grpc_head_complete(struct th_grpc_call *call);
/* Calls `begin` with what the head says, and frees it. */
void th_grpc_head_begin(struct th_grpc_call *call);

/* ---- answer.c ---- */

struct th_grpc_ending th_grpc_ending_of(enum th_grpc_status status, struct th_str message,
                                        struct th_grpc_metadata metadata, bool *complete);
void th_grpc_ending_deinit(struct th_grpc_ending *ending);
struct th_grpc_fields *th_grpc_fields_of(struct th_grpc_metadata metadata, bool *complete);

void th_grpc_answer_headers(struct th_grpc_call *call, struct th_grpc_fields *fields); /* frees */
void th_grpc_answer_trailers(struct th_grpc_call *call); /* with nothing to be sent before */
void th_grpc_answer_http(struct th_grpc_call *call, const char *status, const char *name,
                         const char *value);

/* ---- inbound.c ---- */

void th_grpc_inbound_data(struct th_grpc_call *call, const uint8_t *data, size_t len);
void th_grpc_inbound_end(struct th_grpc_call *call); /* the client has half-closed */
/* Hands on what may be handed on, and gives window back. */
void th_grpc_inbound_deliver(struct th_grpc_call *call);
void th_grpc_inbound_drop(struct th_grpc_call *call);
/* The same for a call that goes on: whatever the client still sends is thrown away, too. */
void th_grpc_inbound_discard(struct th_grpc_call *call);
void th_grpc_inbound_feed(struct th_grpc_connection *c); /* streams that wait for window */

/* ---- outbound.c ---- */

bool th_grpc_outbound_room(const struct th_grpc_call *call); /* any thread */
/* Takes over a message that is counted in call->queued already. */
void th_grpc_outbound_add(struct th_grpc_call *call, struct th_blob *message);
/* The handler was told to stop: `writable` when there is room. */
void th_grpc_outbound_tell(struct th_grpc_call *call);
ssize_t th_grpc_outbound_read(struct th_grpc_call *call, size_t length, uint32_t *flags);
void th_grpc_outbound_write(struct th_grpc_call *call, const uint8_t *frame, size_t length);
void th_grpc_outbound_drop(struct th_grpc_call *call);

/* ---- call.c ---- */

struct th_grpc_call *th_grpc_call_new(struct th_grpc_connection *c, int32_t stream);
void th_grpc_call_event(struct th_grpc_call *call, unsigned event);
/* The user hears why, at the next turn, and nothing else. */
void th_grpc_call_end(struct th_grpc_call *call, enum th_grpc_end why);
/* The same, and the client is told this instead of what is queued. */
void th_grpc_call_refuse(struct th_grpc_call *call, enum th_grpc_end why,
                         enum th_grpc_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void th_grpc_call_closed(struct th_grpc_call *call, uint32_t code); /* by nghttp2 */
void th_grpc_call_forget(struct th_grpc_call *call); /* takes it out of its connection */
void th_grpc_calls_deliver(struct th_grpc_connection *c);

/* What grpc.h's functions do once they are on the right thread; takes over what is given. */
void th_grpc_call_send(struct th_grpc_call *call, struct th_blob *message, bool told);
void th_grpc_call_headers(struct th_grpc_call *call, struct th_grpc_fields *fields);
void th_grpc_call_finish(struct th_grpc_call *call, struct th_grpc_ending ending, bool at_once);
void th_grpc_call_pause(struct th_grpc_call *call, bool paused);

/* ---- clocks.c ---- */

void th_grpc_clocks_start(struct th_grpc_connection *c);
void th_grpc_clocks_heard(struct th_grpc_connection *c); /* a whole frame has come */
void th_grpc_clocks_ponged(struct th_grpc_connection *c, const uint8_t data[static 8]);
void th_grpc_clocks_deadline(struct th_grpc_call *call, th_time timeout);

/* ---- mailbox.c ---- */

/* Something for a loop to do; whoever runs it frees it. */
struct th_grpc_post {
    struct th_grpc_post *next;
    void (*run)(struct th_grpc_post *post);
};

/* A loop's, with one reference; it wakes the loop by writing to the eventfd `wake`. */
struct th_grpc_mailbox *th_grpc_mailbox_new(int wake);
struct th_grpc_mailbox *th_grpc_mailbox_ref(struct th_grpc_mailbox *mailbox);
void th_grpc_mailbox_unref(struct th_grpc_mailbox *mailbox);

/* Any thread. False: it is closed, and the post is still the caller's. */
bool th_grpc_mailbox_post(struct th_grpc_mailbox *mailbox, struct th_grpc_post *post);

/* The loop's thread: it is this mailbox's from now on; it is about to sleep, so a later post wakes
 * it; it is awake; runs all there is; takes no more, and does not wake any more. */
void th_grpc_mailbox_own(struct th_grpc_mailbox *mailbox);
bool th_grpc_mailbox_own_is(const struct th_grpc_mailbox *mailbox);
void th_grpc_mailbox_sleeps(struct th_grpc_mailbox *mailbox, bool asleep);
void th_grpc_mailbox_run(struct th_grpc_mailbox *mailbox);
void th_grpc_mailbox_close(struct th_grpc_mailbox *mailbox);

/* ---- flood.c ---- */

/* False: too many; `flood` says which, and the connection is to fail. */
bool th_grpc_flood_count(struct th_grpc_connection *c, enum th_grpc_flood kind);
/* Counts the frames of what came. */
bool th_grpc_flood_scan(struct th_grpc_connection *c, struct th_str bytes);
void th_grpc_flood_sent(struct th_grpc_connection *c, const nghttp2_frame *frame);

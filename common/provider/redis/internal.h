/*
 * internal: what the files of this folder share. Not for others.
 *
 *   redis.c       the provider's table: submissions in, completions out (node's thread)
 *   project.c     batches            read.c   load, walk and state            query.c   queries
 *   row.c         rows and watermarks as bytes
 *   loop.c        the thread: tasks, sockets, clocks
 *   session.c     a connection that is made again and again        greeting.c  how it begins
 *   connection.c  one connection: requests out, answers in         command.c   one request's bytes
 *   resolve.c     host names         url.c    the URL              reason.c    what Redis answers
 *   tls.c         rediss://
 *   subscriber.c  news and replies   drop.c   the end of a hub
 *   projection.lua  what Redis does
 *
 * A submission becomes a task. The node's thread fills it, the loop's thread runs it and frees it;
 * what it leads to becomes a completion in the loop's outlet, from where the node's thread takes
 * it. Everything below is the loop's thread's alone unless it says otherwise.
 */
#pragma once

#include <hiredis/hiredis.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/queue.h"
#include "provider/provider.h"
#include "provider/redis/redis.h"

/* Names of the functions in projection.lua; its version is part of them. */
#define TH_REDIS_FUNCTION(name) "taskhub_1_" name

/* The source of the library, made from projection.lua; NUL-ended. */
extern const char th_redis_library[];

enum { TH_REDIS_TIMEOUT_MS = 5000 }; /* when the options say nothing */

/* What a member belongs to. */
#define TH_REDIS_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Keys of a partition, in the order of projection.lua. */
enum { TH_REDIS_STATUSES = 9, TH_REDIS_KEYS = 4 + TH_REDIS_STATUSES };
#define X(name, number, text, terminal) \
    _Static_assert((number) < TH_REDIS_STATUSES, "a status without a key");
TH_ALL_STATUSES(X)
#undef X

/* ---- url.c ---- */

struct th_redis_url {
    char *host;
    char *user, *password; /* NULL: none */
    unsigned port, database;
    char *name;            /* "host:port", for sentences */
    bool tls;              /* rediss:// */
    char *ca, *cert, *key; /* PEM files; NULL: the system's CAs, no certificate of our own */
};

bool th_redis_url_parse(const char *text, struct th_redis_url *out, struct th_error *error);
void th_redis_url_deinit(struct th_redis_url *url);

/* ---- reason.c ---- */

/* What an error answer of Redis means: `error` gets a code and a sentence with the server's name
 * and the answer. Returns false. */
bool th_redis_reason(struct th_error *error, const char *server, const char *answer);
bool th_redis_function_missing(const char *answer);
/* Whether the answer of a function begins with OK; fills `error` with what it says otherwise. */
bool th_redis_function_ok(const redisReply *reply, uint32_t partition, struct th_error *error);

/* The string at place `i` of an array; absent when there is none. Borrowed from the reply. */
struct th_str th_redis_string(const redisReply *array, size_t i);
/* The array at place `i`, NULL when there is none. */
const redisReply *th_redis_array(const redisReply *array, size_t i);

/* ---- command.c: any thread, one at a time ---- */

/* A request as it is sent. Short bytes are copied into `text`, long blobs are referenced: each
 * stands in front of text.data[at]. */
struct th_redis_piece {
    size_t at;
    struct th_blob *blob;
};

struct th_redis_command {
    struct th_buffer text;
    struct th_redis_piece *pieces;
    size_t piece_count, piece_capacity;
    size_t start; /* of the bytes in text, once finished */
    size_t arguments;
};

/* Arguments, the name of the command first. */
void th_redis_command_add(struct th_redis_command *c, struct th_str argument);
void th_redis_command_text(struct th_redis_command *c, const char *argument);
void th_redis_command_number(struct th_redis_command *c, unsigned long long argument);
void th_redis_command_blob(struct th_redis_command *c, struct th_blob *argument);
/* An argument of `len` bytes, given in parts between the two. */
void th_redis_command_open(struct th_redis_command *c, size_t len);
void th_redis_command_part(struct th_redis_command *c, struct th_str bytes);
void th_redis_command_part_blob(struct th_redis_command *c, struct th_blob *bytes);
void th_redis_command_close(struct th_redis_command *c);
/* A function and the keys of a partition; its arguments follow. */
void th_redis_command_function(struct th_redis_command *c, const char *function,
                               const struct th_hub_record *hub, uint32_t partition);
void th_redis_command_finish(struct th_redis_command *c); /* after the last argument */
void th_redis_command_deinit(struct th_redis_command *c);

struct th_redis_place {
    size_t in_text;
    size_t piece, in_piece; /* the next one, and how much of it is sent */
};
/* The next run of at most `max` bytes, and moves on; empty at the end. {0} is the beginning. */
struct th_str th_redis_command_next(const struct th_redis_command *c, struct th_redis_place *place,
                                    size_t max);

/* Names in Redis; `out` is overwritten. `key` is an index of projection.lua's KEYS, from 0. */
void th_redis_key(struct th_buffer *out, const struct th_hub_record *hub, uint32_t partition,
                  unsigned key);
void th_redis_news_channel(struct th_buffer *out, const struct th_hub_record *hub,
                           uint32_t partition);
void th_redis_reply_channel(struct th_buffer *out, const struct th_hub_record *hub,
                            const char *address);

/* ---- row.c: any thread ---- */

enum { TH_REDIS_MARK = 65, TH_REDIS_MARK_EQUAL = 32 };
/* TH_REDIS_MARK bytes; those before TH_REDIS_MARK_EQUAL decide whether two are the same. */
void th_redis_mark_write(const struct th_watermark *mark, char out[static TH_REDIS_MARK]);
bool th_redis_mark_read(struct th_str bytes, struct th_watermark *out);

/* They sort as bytes. */
void th_redis_time_write(th_time t, char out[static 8]);
void th_redis_number_write(uint64_t n, char out[static 8]);
/* What a member of a status's list says; false: too short. `id` is borrowed from it. */
bool th_redis_member_read(struct th_str member, th_time *created, struct th_str *id);

/* The arguments of `project` for one row. */
void th_redis_row_write(struct th_redis_command *c, const struct th_row *row);
/* How many of info, input, output, state. */
enum th_redis_values { TH_REDIS_LEAN = 1, TH_REDIS_PAYLOADS = 3, TH_REDIS_ALL = 4 };
/* An instance of an answer, with so many of its values; owns all it holds. */
bool th_redis_row_read(const redisReply *instance, enum th_redis_values values, struct th_row *out,
                       struct th_error *error);

/* ---- connection.c ---- */

struct th_redis_list {
    struct th_link *first;
    struct th_link **last;
};

void th_redis_list_init(struct th_redis_list *list);
void th_redis_list_add(struct th_redis_list *list, struct th_link *link);
void th_redis_list_move(struct th_redis_list *to, struct th_redis_list *from); /* empties it */
struct th_link *th_redis_list_take(struct th_redis_list *list); /* the first; NULL: none */

/* Sent by th_redis_session_send, which takes it over until `answered` is called: exactly once,
 * later, with an answer that is no error, or with an error. */
struct th_redis_request {
    struct th_link link;
    struct th_redis_command command;
    void (*answered)(struct th_redis_request *request, const redisReply *reply,
                     const struct th_error *error);
};

struct th_redis_connection {
    const char *server;             /* for sentences; borrowed */
    const struct th_redis_tls *tls; /* NULL: none; borrowed */
    redisContext *context;
    struct th_redis_channel *channel; /* from when the socket is connected; NULL: no TLS */
    bool connecting;                  /* the handshake of TLS included */
    struct th_redis_list requests;    /* not answered yet, oldest first */
    struct th_redis_request *writing; /* of those the first that is not wholly sent */
    struct th_redis_place place;
    th_time progress; /* when the oldest request last came nearer to its answer */
    /* Takes what is no answer to a request; false when it is one. NULL: every answer is. */
    bool (*message)(struct th_redis_connection *connection, const redisReply *reply);
    /* Sees every error answer first. */
    void (*complaint)(struct th_redis_connection *connection, const char *answer);
};

void th_redis_connection_init(struct th_redis_connection *c, const char *server,
                              const struct th_redis_tls *tls);
bool th_redis_connection_open(struct th_redis_connection *c, const char *address, unsigned port,
                              struct th_error *error);
void th_redis_connection_send(struct th_redis_connection *c, struct th_redis_request *request);
short th_redis_connection_events(const struct th_redis_connection *c);
/* After poll. False: it is broken, close it. */
bool th_redis_connection_ready(struct th_redis_connection *c, short events, struct th_error *error);
/* Ends it; every request is answered with `why`. */
void th_redis_connection_close(struct th_redis_connection *c, const struct th_error *why);

/* ---- tls.c ---- */

struct th_redis_tls;
struct th_redis_channel;

/* What connections to this URL share; NULL in `out` when it wants no TLS. INVALID: a file. */
bool th_redis_tls_new(const struct th_redis_url *url, struct th_redis_tls **out,
                      struct th_error *error);
void th_redis_tls_free(struct th_redis_tls *tls); /* NULL is fine, as below */

/* TLS on a connected socket that does not block. Borrows all it is given. NULL: no memory. */
struct th_redis_channel *th_redis_channel_new(const struct th_redis_tls *tls, int fd,
                                              const char *server);
void th_redis_channel_free(struct th_redis_channel *channel);
/* The next step of the handshake; before one, poll for what it wants. False: it failed. */
bool th_redis_channel_shake(struct th_redis_channel *channel, bool *done, struct th_error *error);
short th_redis_channel_wants(const struct th_redis_channel *channel);
/* How many bytes were taken or given; 0: none for now. False: the connection is broken. */
bool th_redis_channel_write(struct th_redis_channel *channel, struct th_str bytes, size_t *count,
                            struct th_error *error);
bool th_redis_channel_read(struct th_redis_channel *channel, char *bytes, size_t size,
                           size_t *count, struct th_error *error);

/* ---- resolve.c ---- */

struct th_redis_lookup;

/* Looks a host up on a thread of its own, because the C library may take long and cannot be
 * interrupted; writes to the eventfd `wake` when done. NULL: no thread. */
struct th_redis_lookup *th_redis_lookup_start(const char *host, int wake);
/* 0: not done; 1: done, `address` is a numeric one; -1: failed, `error` says why. Of several
 * addresses each `attempt` is given another one. */
int th_redis_lookup_result(struct th_redis_lookup *lookup, unsigned attempt,
                           char address[static 64], struct th_error *error);
void th_redis_lookup_drop(struct th_redis_lookup *lookup); /* done or not; NULL is fine */

/* ---- session.c ---- */

struct th_redis_loop;
struct th_redis_session;

enum th_redis_phase {
    TH_REDIS_WAITING,    /* until it is time for another attempt */
    TH_REDIS_LOOKING_UP, /* the host's address */
    TH_REDIS_CONNECTING,
    TH_REDIS_GREETING,
    TH_REDIS_READY,
};

/* What is different between the two sessions. */
struct th_redis_role {
    const char *name;
    void (*greet)(struct th_redis_session *session); /* connected: say what comes first */
    bool (*message)(struct th_redis_connection *connection, const redisReply *reply);
    void (*complaint)(struct th_redis_connection *connection, const char *answer);
};

struct th_redis_session {
    struct th_redis_connection connection; /* first: callbacks find the session by it */
    struct th_redis_loop *loop;
    const struct th_redis_role *role;
    _Atomic enum th_redis_phase phase; /* read by th_redis_up, on any thread */
    th_time until; /* WAITING: the next attempt; before READY: the end of this one */
    unsigned failures;
    bool waited_for;              /* no attempt has ended yet: requests wait for the first */
    bool loading;                 /* the functions are on their way */
    struct th_error load_failure; /* why they could not be loaded; they may be there */
    struct th_error reason;       /* why it is not ready */
    struct th_error refusal;      /* to be lost with this as soon as the stack is clear */
    struct th_redis_list held;    /* requests that wait, or whose failure is not told yet */
    struct th_redis_lookup *lookup;
};

void th_redis_session_init(struct th_redis_session *s, struct th_redis_loop *loop,
                           const struct th_redis_role *role);
/* Never calls `answered` itself. */
void th_redis_session_send(struct th_redis_session *s, struct th_redis_request *request);
/* For greetings: this connection will do, or will not. */
void th_redis_session_greeted(struct th_redis_session *s);
void th_redis_session_refuse(struct th_redis_session *s, const struct th_error *why);

/* For the loop: what to wait for, and what to do then. */
int th_redis_session_fd(const struct th_redis_session *s); /* -1: none */
short th_redis_session_events(const struct th_redis_session *s);
th_time th_redis_session_deadline(const struct th_redis_session *s);
void th_redis_session_step(struct th_redis_session *s, short events);
void th_redis_session_end(struct th_redis_session *s); /* nothing is sent any more */

/* ---- greeting.c, subscriber.c ---- */

extern const struct th_redis_role th_redis_command_role, th_redis_listener_role;

/* AUTH, when the URL has something to say. */
void th_redis_greet(struct th_redis_session *s);

/* ---- loop.c ---- */

struct th_redis_task {
    struct th_link link;
    void (*run)(struct th_redis_loop *loop, struct th_redis_task *task); /* and frees it, at last */
};

struct th_redis_loop {
    struct th_provider provider; /* first: it is what the node has of it */
    struct th_redis_url url;
    struct th_redis_tls *tls; /* NULL: none */
    const struct th_log *log;
    th_time timeout;
    struct th_random random;
    struct th_redis_session commands, listener;
    bool *watched; /* by partition */

    pthread_t thread;
    bool started;
    struct th_queue tasks;
    int wake;           /* eventfd */
    atomic_bool asleep; /* the next task has to wake it */
    atomic_bool stopping;
    pthread_mutex_t mutex;
    struct th_completions outlet; /* under the mutex */
};

bool th_redis_loop_start(struct th_redis_loop *loop, struct th_error *error);
void th_redis_loop_stop(struct th_redis_loop *loop); /* drops what is under way; joins */
void th_redis_loop_submit(struct th_redis_loop *loop, struct th_redis_task *task); /* any thread */
/* Takes over what `done` holds. Any thread. */
void th_redis_complete(struct th_redis_loop *loop, const struct th_completion *done);
void th_redis_wake(int wake); /* any thread */

/* ---- read.c ---- */

/* A submission that is one request and one completion. */
struct th_redis_op {
    struct th_redis_task task;
    struct th_redis_request request; /* its command is for the caller to fill */
    struct th_redis_loop *loop;
    struct th_completion done;
    /* Takes what stands behind the watermark of an answer that is OK; NULL: nothing does. */
    void (*read)(struct th_completion *done, const redisReply *reply);
};

/* NULL, and the completion is on its way, when there is no such partition. Node's thread. */
struct th_redis_op *th_redis_op_new(struct th_provider *provider, enum th_completion_kind kind,
                                    uint32_t partition, uint64_t tag);
void th_redis_op_submit(struct th_redis_op *op);

/* ---- the table: node's thread, as contract.h has it ---- */

void th_redis_project(struct th_provider *provider, const struct th_projection *batch,
                      uint64_t tag);
void th_redis_load(struct th_provider *provider, uint32_t partition, struct th_str instance_id,
                   bool history, uint64_t tag);
void th_redis_query(struct th_provider *provider, const struct th_query *query, uint64_t tag);
void th_redis_state(struct th_provider *provider, uint32_t partition, uint64_t tag);
void th_redis_walk(struct th_provider *provider, uint32_t partition, uint64_t full_below,
                   uint32_t limit, uint64_t tag);
void th_redis_reply(struct th_provider *provider, const char *address, struct th_blob *message);
void th_redis_watch(struct th_provider *provider, uint32_t partition, bool wanted);

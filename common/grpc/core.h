/*
 * core: the server without sockets, threads, clocks and chance. One connection: bytes in, bytes
 * out, and in between the calls of grpc.h. loop.c drives it with sockets; tests and the fuzzer do
 * so without.
 *
 * A connection and its calls belong to one thread at a time. Handlers are called from within
 * th_grpc_connection_input, _output, _tick, _drain and _free, when nothing of HTTP/2 is under
 * way; what they ask for takes effect at once, and its bytes come with the next _output. `now` is
 * on any clock that does not go back.
 *
 * In the order of a driver's turn:
 *
 *     while bytes arrive and _wants_input:   _input
 *     at _due:                               _tick
 *     always then:                           _output and _sent, until there is none
 *     when _over, and all output is sent:    _free
 */
#pragma once

#include <stdatomic.h>
#include <sys/uio.h>

#include "grpc/grpc.h"

/* What connections share: what is served, and how much of it. Constant but for the counters. */
struct th_grpc_service {
    struct th_grpc_limits limits;
    struct th_grpc_method *methods; /* by path */
    size_t method_count;
    const struct th_grpc_method *(*find)(void *argument, struct th_str path);
    void *argument;
    atomic_size_t calls, held; /* open calls; bytes held */
    atomic_size_t begun, flooded;
};

/* Takes methods, find, argument and limits of the options. Two methods of one path: INVALID. */
bool th_grpc_service_init(struct th_grpc_service *service,
                          const struct th_grpc_server_options *options, struct th_error *error);
/* After the last connection. */
void th_grpc_service_deinit(struct th_grpc_service *service);

struct th_grpc_connection;
struct th_grpc_mailbox;

struct th_grpc_connection_options {
    struct th_grpc_service *service; /* outlives the connection */
    struct th_str peer;              /* copied */
    struct th_grpc_mailbox *mailbox; /* of the loop; NULL: all is done on one thread */
    /* Called when a call was asked for something, so that there may be output; NULL: none. */
    void (*touched)(void *argument);
    void *argument;
};

struct th_grpc_connection *th_grpc_connection_new(const struct th_grpc_connection_options *options,
                                                  th_time now);

/* Calls that are still there end as LOST. NULL is fine. */
void th_grpc_connection_free(struct th_grpc_connection *connection);

/* Bytes that came from the client; all are taken. */
void th_grpc_connection_input(struct th_grpc_connection *connection, struct th_str bytes,
                              th_time now);

/* False: the client is to be made wait, because it does not take what we have to say, or because
 * the connection is over. Asked again after _sent. */
bool th_grpc_connection_wants_input(const struct th_grpc_connection *connection);

/* The next bytes for the client, in at most `max` pieces; their number. They stay where they are
 * until _sent says how many have been taken. Up to about 64 KiB; after _sent there may be more. */
size_t th_grpc_connection_output(struct th_grpc_connection *connection, struct iovec *out,
                                 size_t max, th_time now);
void th_grpc_connection_sent(struct th_grpc_connection *connection, size_t bytes);

/* When _tick is to be called; TH_TIME_NONE: not at all. Changes with every other call. */
th_time th_grpc_connection_due(const struct th_grpc_connection *connection);
void th_grpc_connection_tick(struct th_grpc_connection *connection, th_time now);

/* GOAWAY in two steps (RFC 9113, section 6.8): a notice, and one round trip later the last call
 * that is served. What is left at `until` is ended. Over when no call is left. */
void th_grpc_connection_drain(struct th_grpc_connection *connection, th_time until, th_time now);

/* GOAWAY at once, for a connection without calls; what the client has just sent it sends again
 * elsewhere. */
void th_grpc_connection_shed(struct th_grpc_connection *connection, th_time now);

size_t th_grpc_connection_calls(const struct th_grpc_connection *connection); /* open ones */

/* Nothing is read any more, and nothing is written beyond what _output has. */
bool th_grpc_connection_over(const struct th_grpc_connection *connection);

/* Why it is over, in words for a log; "" when there is nothing to say. */
const char *th_grpc_connection_reason(const struct th_grpc_connection *connection);

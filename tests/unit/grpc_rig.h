/*
 * grpc_rig: the core of the gRPC server, a client, and the bytes between them; time is a number.
 * What each call's handler was told stands in its record.
 *
 * Methods:
 *   /t/Unary   takes one message, answers it with the same one
 *   /t/Echo    answers each message with the same one, and the end with OK
 *   /t/Hold    does nothing; the test acts on the record's call
 *   /t/One     takes one message, and does nothing
 *   /t/Found   as /t/Hold, but no table knows it
 */
#pragma once

#include "base/memory.h"
#include "grpc/core.h"
#include "unit/base_test.h"
#include "unit/grpc_client.h"

struct grpc_record {
    struct grpc_rig *rig;
    struct th_grpc_call *call;
    struct th_buffer request; /* "path=/t/Hold\nauthority=…\nname=value\n" */
    th_time deadline;
    unsigned messages, half_closed, writable, draining, ended;
    struct th_buffer data; /* of all messages, one after the other */
    enum th_grpc_end why;
    void (*on_message)(struct grpc_record *record,
                       struct th_blob *message); /* the test's; or NULL */
    void (*on_writable)(struct grpc_record *record);
};

struct grpc_rig {
    struct th_grpc_service service;
    struct th_grpc_connection *connection;
    struct grpc_client *client;
    th_time now;
    size_t chunk;     /* bytes handed over at once; 0: all there are */
    bool socket_full; /* the client's machine takes nothing */
    unsigned touched;
    struct grpc_record *records[20000]; /* in the order of `begin` */
    size_t count;
    void (*on_begin)(struct grpc_record *record); /* the test's; or NULL */
};

/* NULL limits: the usual ones. A client with a window of `window` (0: HTTP/2's). */
struct grpc_rig *grpc_rig_new(const struct th_grpc_limits *limits, uint32_t window, bool stingy);
/* Checks that each call that began has ended once, and that nothing is held. */
void grpc_rig_free(struct grpc_rig *rig);

/* Moves bytes both ways until nothing moves. */
void grpc_rig_run(struct grpc_rig *rig);
/* Bytes of no client of ours; then as above. */
void grpc_rig_input(struct grpc_rig *rig, struct th_str bytes);
/* Time goes on, stopping wherever the connection is due. */
void grpc_rig_wait(struct grpc_rig *rig, th_time time);

/* The record of the last call. */
struct grpc_record *grpc_rig_last(struct grpc_rig *rig);

/* Sends `len` bytes of 'x' on a call; what th_grpc_send said. */
bool grpc_rig_send(struct th_grpc_call *call, size_t len);
void grpc_rig_finish(struct th_grpc_call *call); /* OK, without words */

#define assert_status(reply, wanted)                      \
    do {                                                  \
        struct grpc_reply *reply_ = (reply);              \
        assert_true(reply_->closed);                      \
        assert_int_equal(reply_->http, 200);              \
        assert_int_equal(reply_->status, (wanted));       \
        assert_int_equal(reply_->code, NGHTTP2_NO_ERROR); \
    } while (0)

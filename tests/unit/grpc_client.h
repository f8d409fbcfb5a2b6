/*
 * grpc_client: a gRPC client without sockets, for tests and benchmarks: calls in, bytes out; bytes
 * in, replies out. It obeys HTTP/2 (nghttp2 sees to that) but gRPC only as far as it is told to.
 */
#pragma once

#include <nghttp2/nghttp2.h>

#include "base/buffer.h"

/* What came for one call. */
struct grpc_reply {
    struct grpc_client *client;
    int32_t stream;
    int http;                /* :status; 0: not yet */
    int status;              /* grpc-status; -1: not yet */
    char *message;           /* grpc-message, as it came; NULL: none */
    struct th_buffer fields; /* all others: "name=value\n" */
    unsigned blocks;         /* of headers */
    struct th_buffer data;   /* as it came, prefixes included */
    size_t read;             /* bytes of it that grpc_reply_next has given */
    bool closed;
    uint32_t code; /* when closed */

    struct th_buffer sending;
    size_t sent;
    bool ending; /* END_STREAM behind what is being sent */
    void *user;
    struct grpc_reply *prev, *next;
};

struct grpc_client {
    nghttp2_session *session;
    struct th_buffer out;       /* to be sent; whoever sends empties it */
    struct grpc_reply *replies; /* all, in order */
    bool goaway;
    uint32_t goaway_code;
    int32_t goaway_last; /* the last stream it names */
    char goaway_text[64];
    unsigned goaways, pings, settings, acks; /* that came; acks: of our pings */
    uint32_t max_streams, window;            /* of the server's settings */
    bool stingy;                             /* gives no window back */
    bool deaf;                               /* does not answer pings */
    bool broken;                             /* the server broke HTTP/2 */
    /* Called when data has come, and when a reply is closed; may be NULL. */
    void (*took)(struct grpc_reply *reply);
    void (*closed)(struct grpc_reply *reply); /* may free it */
    void *user;
};

/* `window`: of each stream; 0: what HTTP/2 gives. */
struct grpc_client *grpc_client_new(uint32_t window, bool stingy);
void grpc_client_free(struct grpc_client *client);

/* Bytes of the server. False: they are not HTTP/2. */
bool grpc_client_take(struct grpc_client *client, struct th_str bytes);
/* Puts what there is to send into `out`. */
void grpc_client_fill(struct grpc_client *client);

/* A field without a value is left out, also of those that every request has: {"te", NULL}. */
struct grpc_client_field {
    const char *name, *value;
};

/* Sends the headers; the fields replace or follow the usual ones; the last has no name. */
struct grpc_reply *grpc_client_begin(struct grpc_client *client, const char *path,
                                     const struct grpc_client_field *fields);
void grpc_client_send(struct grpc_reply *reply, struct th_str message); /* with its prefix */
void grpc_client_raw(struct grpc_reply *reply, struct th_str bytes);    /* as they are */
void grpc_client_end(struct grpc_reply *reply);
void grpc_client_reset(struct grpc_reply *reply, uint32_t code);
/* All at once: one message, and the end. */
struct grpc_reply *grpc_client_unary(struct grpc_client *client, const char *path,
                                     const struct grpc_client_field *fields, struct th_str message);

void grpc_reply_free(struct grpc_reply *reply); /* a closed one; others go with their client */

/* The next whole message; absent when there is none. Lives until more comes. */
struct th_str grpc_reply_next(struct grpc_reply *reply);
/* The value of a field of the answer, NUL-ended; NULL: there is none. The caller frees it. */
char *grpc_reply_field(const struct grpc_reply *reply, const char *name);

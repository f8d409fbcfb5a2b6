/* grpc_wire: a grpc_client on a real socket, with or without TLS. One thread at a time. */
#pragma once

#include <openssl/ssl.h>
#include <sys/types.h>

#include "base/clock.h"
#include "unit/grpc_client.h"

struct grpc_wire {
    int fd;
    SSL *tls; /* NULL: in clear */
    struct grpc_client *client;
    bool eof;    /* the server has closed */
    size_t sent; /* of client->out */
};

enum {
    GRPC_WIRE_PATIENCE = 30
}; /* seconds, for whatever is awaited; then it is reported as missing */

struct grpc_wire_tls {
    const char *ca;                /* whom the server is to be certified by */
    const char *certificate, *key; /* ours, or NULL */
    const char *protocol;          /* ALPN; NULL: "h2"; "": none */
    int version;                   /* the highest; 0: any */
};

/* Connects, with TLS when it is not NULL. NULL: cannot. */
struct grpc_wire *grpc_wire_open(const char *address, int port, const struct grpc_wire_tls *tls);
void grpc_wire_close(struct grpc_wire *wire); /* NULL is fine */

/* Sends what there is and takes what comes, for at most `wait` microseconds if nothing comes. */
void grpc_wire_step(struct grpc_wire *wire, th_time wait);
/* Sends and takes what can be, without waiting. */
void grpc_wire_move(struct grpc_wire *wire);
/* Until the reply is closed, or the server has; false: patience is over. */
bool grpc_wire_finish(struct grpc_wire *wire, struct grpc_reply *reply);
/* Until the server has closed the connection; false: patience is over. */
bool grpc_wire_closed(struct grpc_wire *wire);

/* The whole wait of a test: moves bytes until the condition is true, or fails. */
#define grpc_wire_until(wire, condition)                                     \
    do {                                                                     \
        th_time deadline_ = th_monotonic() + GRPC_WIRE_PATIENCE * TH_SECOND; \
        while (!(condition) && th_monotonic() < deadline_) {                 \
            grpc_wire_step((wire), 5 * TH_MILLISECOND);                      \
        }                                                                    \
        assert_true(condition);                                              \
    } while (0)

/* A socket, connected; -1: cannot. */
int grpc_wire_connect(const char *address, int port);

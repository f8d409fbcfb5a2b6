/*
 * loop: what the files with threads and sockets share. Not for others.
 *
 * A loop is a thread that sleeps in epoll until a socket, a clock or the mailbox wants something.
 * What happens to a socket only marks it; at the end of a turn each marked socket is flushed once,
 * so the answers of many calls leave in one write. Sockets are freed at the end of a turn, too:
 * epoll may already have told of events that were meant for them.
 *
 * Everything here is the loop's thread's alone unless it says otherwise.
 */
#pragma once

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>

#include "grpc/internal.h"

/* ---- tls.c ---- */

struct th_grpc_tls;

/* NULL: INVALID, with the file. */
struct th_grpc_tls *th_grpc_tls_new(const char *certificate, const char *key, const char *client_ca,
                                    struct th_error *error);
bool th_grpc_tls_reload(struct th_grpc_tls *tls, struct th_error *error); /* any thread */
void th_grpc_tls_free(struct th_grpc_tls *tls);                           /* NULL is fine */
SSL *th_grpc_tls_session(struct th_grpc_tls *tls, int fd);                /* any thread */

/* What an operation on a session came to: bytes, or one of these. */
enum { TH_GRPC_WANT_READ = -1, TH_GRPC_WANT_WRITE = -2, TH_GRPC_CLOSED = -3 };

int th_grpc_tls_accept(SSL *session); /* 1: done */
ssize_t th_grpc_tls_read(SSL *session, char *out, size_t max);
ssize_t th_grpc_tls_write(SSL *session, const struct iovec *iov, size_t count);
/* NULL: it speaks h2; else why it cannot be served. */
const char *th_grpc_tls_unfit(SSL *session);
/* The last failure of this thread's, for a log. */
void th_grpc_tls_reason(char *out, size_t size);

/* ---- listen.c ---- */

enum { TH_GRPC_LISTENERS = 8, TH_GRPC_PEER = 64 };

struct th_grpc_listeners {
    int fds[TH_GRPC_LISTENERS];
    size_t count;
    int port;
};

/* Listens on every address of a name, on one port. False: INVALID, UNAVAILABLE. Blocks. */
bool th_grpc_listen(struct th_grpc_listeners *listeners, const char *address, int port,
                    struct th_error *error);
void th_grpc_listeners_close(struct th_grpc_listeners *listeners);
void th_grpc_peer_text(const struct sockaddr_storage *address, socklen_t len,
                       char out[static TH_GRPC_PEER]);

/* ---- loop.c ---- */

struct th_grpc_server;
struct th_grpc_loop;

/* What epoll looks at. */
struct th_grpc_watch {
    int fd;
    struct th_grpc_loop *loop;
    void (*ready)(struct th_grpc_watch *watch, uint32_t events);
};

struct th_grpc_loop {
    struct th_grpc_server *server;
    pthread_t thread;
    bool started;
    int epoll;
    struct th_grpc_watch wake; /* an eventfd */
    struct th_grpc_mailbox *mailbox;
    th_time now;
    struct th_grpc_heap timers;     /* of the sockets */
    struct th_grpc_socket *sockets; /* all */
    struct th_grpc_socket *marked;  /* to be flushed */
    unsigned turn;                  /* its number: what is marked now is flushed in the next */
    struct th_grpc_socket *idle;    /* without a call, the longest first */
    struct th_grpc_socket *dead;    /* to be freed */
    atomic_size_t socket_count;     /* read by any thread */
    bool stopping;
    th_time stop_at; /* stopping: sockets that are still there then are closed */
    char *buffer;    /* for reading, one socket at a time */

    /* The first loop's. */
    struct th_grpc_watch listeners[TH_GRPC_LISTENERS];
    size_t listener_count;
    th_time accept_at; /* accepting is paused until then; TH_TIME_NONE: it is not */
    bool troubled;     /* the last attempt failed */
    unsigned next;     /* whose turn it is to get a connection */
};

bool th_grpc_loop_start(struct th_grpc_loop *loop, struct th_grpc_server *server,
                        struct th_error *error);
void th_grpc_loop_join(struct th_grpc_loop *loop); /* after its stop was posted */
/* False: no room in the kernel. */
bool th_grpc_loop_watch(struct th_grpc_loop *loop, struct th_grpc_watch *watch, uint32_t events);
void th_grpc_loop_rewatch(struct th_grpc_loop *loop, struct th_grpc_watch *watch, uint32_t events);

/* ---- accept.c ---- */

/* The first loop's: begins, pauses, goes on when it is time, ends. */
void th_grpc_accept_start(struct th_grpc_loop *loop);
void th_grpc_accept_tick(struct th_grpc_loop *loop);
void th_grpc_accept_stop(struct th_grpc_loop *loop);

/* ---- socket.c ---- */

enum th_grpc_stage {
    TH_GRPC_HANDSHAKE, /* TLS */
    TH_GRPC_SERVING,
    TH_GRPC_LINGERING, /* all is said; what the client still sends is read, see socket.c */
    TH_GRPC_DEAD,
};

struct th_grpc_socket {
    struct th_grpc_watch watch; /* first */
    struct th_grpc_loop *loop;
    SSL *tls; /* NULL: in clear */
    struct th_grpc_connection *connection;
    enum th_grpc_stage stage;
    char peer[TH_GRPC_PEER];
    uint32_t watched; /* events */
    bool blocked;     /* for writing */
    bool more;        /* TLS has bytes that epoll does not see */
    bool wants_write; /* TLS has to write before it can read */
    bool marked, is_idle;
    unsigned turn; /* in which it was marked */
    struct th_grpc_timer timer;
    th_time until; /* HANDSHAKE, LINGERING */
    th_time idle_since;
    size_t lingered; /* bytes that were read in vain */
    struct th_grpc_socket *prev, *next;
    struct th_grpc_socket *marked_prev, *marked_next;
    struct th_grpc_socket *idle_prev, *idle_next;
};

void th_grpc_socket_new(struct th_grpc_loop *loop, int fd, const char *peer);
void th_grpc_socket_flush(struct th_grpc_socket *s);
void th_grpc_socket_tick(struct th_grpc_socket *s);
void th_grpc_socket_drain(struct th_grpc_socket *s, th_time until);
void th_grpc_socket_shed(struct th_grpc_socket *s);
void th_grpc_socket_kill(struct th_grpc_socket *s, const char *reason); /* freed later */
void th_grpc_socket_free(struct th_grpc_socket *s);

/* ---- server.c ---- */

struct th_grpc_server {
    struct th_grpc_service service;
    const struct th_log *log;
    struct th_grpc_tls *tls; /* NULL: in clear */
    struct th_grpc_listeners listeners;
    unsigned max_connections;
    atomic_size_t connections, accepted, shed;
    _Atomic th_time drain_until; /* TH_TIME_NONE: it does not drain */
    unsigned loop_count;
    struct th_grpc_loop loops[];
};

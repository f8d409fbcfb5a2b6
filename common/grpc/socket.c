/*
 * socket: one socket and its connection.
 *
 *     HANDSHAKE ─▶ SERVING ─▶ LINGERING ─▶ DEAD
 *         └───────────┴────────────────────▶  the client is gone, or too slow
 *
 * Lingering: when a socket is closed with bytes unread, the kernel resets the connection, and the
 * client may lose what it was told last. So after the last word only this side is shut, and what
 * the client still sends is read, for a while, until it closes, too.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "grpc/loop.h"

enum {
    PIECES = 32,     /* of a write */
    WRITES = 16,     /* of a turn: then others have theirs */
    READS = 4,       /* of a turn, with TLS: a record each */
    READ = 64 << 10, /* the loop's buffer */
    LINGER_BYTES = 1 << 20,
    UNSENT = 128 << 10, /* that the kernel keeps for a slow reader */
};
#define LINGER TH_SECOND

static const char category[] = "grpc";

static void mark(struct th_grpc_socket *s)
{
    if (!s->marked && s->stage != TH_GRPC_DEAD) {
        s->marked = true;
        s->turn = s->loop->turn;
        DL_APPEND2(s->loop->marked, s, marked_prev, marked_next);
    }
}

static void touched(void *argument)
{
    mark(argument);
}

/* ---- beginning and end ---- */

static void become_idle(struct th_grpc_socket *s, bool idle)
{
    if (idle && !s->is_idle) {
        s->idle_since = s->loop->now;
        DL_APPEND2(s->loop->idle, s, idle_prev, idle_next);
    } else if (!idle && s->is_idle) {
        DL_DELETE2(s->loop->idle, s, idle_prev, idle_next);
    }
    s->is_idle = idle;
}

void th_grpc_socket_kill(struct th_grpc_socket *s, const char *reason)
{
    struct th_grpc_loop *loop = s->loop;
    if (s->stage == TH_GRPC_DEAD) {
        return;
    }
    if (reason[0]) {
        th_log(loop->server->log, TH_LOG_DEBUG, category, "%s: %s", s->peer, reason);
    }
    s->stage = TH_GRPC_DEAD;
    become_idle(s, false);
    if (s->marked) {
        s->marked = false;
        DL_DELETE2(loop->marked, s, marked_prev, marked_next);
    }
    th_grpc_heap_set(&loop->timers, &s->timer, TH_TIME_NONE);
    DL_DELETE(loop->sockets, s);
    DL_APPEND(loop->dead, s);
    /* Now, not when it is freed: handlers hear of it as soon as it is known. */
    struct th_grpc_connection *connection = s->connection;
    s->connection = NULL;
    th_grpc_connection_free(connection);
}

void th_grpc_socket_free(struct th_grpc_socket *s)
{
    DL_DELETE(s->loop->dead, s);
    SSL_free(s->tls);
    close(s->watch.fd);
    atomic_fetch_sub(&s->loop->socket_count, 1);
    atomic_fetch_sub(&s->loop->server->connections, 1);
    free(s);
}

static void serve(struct th_grpc_socket *s)
{
    struct th_grpc_loop *loop = s->loop;
    s->stage = TH_GRPC_SERVING;
    s->connection = th_grpc_connection_new(
        &(struct th_grpc_connection_options){.service = &loop->server->service,
                                             .peer = th_str_of(s->peer),
                                             .mailbox = loop->mailbox,
                                             .touched = touched,
                                             .argument = s},
        loop->now);
    mark(s);
}

static th_time handshake_until(const struct th_grpc_loop *loop)
{
    uint64_t ms = loop->server->service.limits.handshake_ms;
    return ms > INT32_MAX ? TH_TIME_NONE : loop->now + (th_time)ms * TH_MILLISECOND;
}

static void begin(struct th_grpc_socket *s)
{
    struct th_grpc_server *server = s->loop->server;
    if (!server->tls) {
        serve(s);
        return;
    }
    s->tls = th_grpc_tls_session(server->tls, s->watch.fd);
    s->until = handshake_until(s->loop);
    th_grpc_heap_set(&s->loop->timers, &s->timer, s->until);
    if (!s->tls) {
        th_grpc_socket_kill(s, "no TLS session could be made");
    }
}

static void ready(struct th_grpc_watch *watch, uint32_t events);

static void set_options(int fd)
{
    int on = 1, unsent = UNSENT;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
}

void th_grpc_socket_new(struct th_grpc_loop *loop, int fd, const char *peer)
{
    struct th_grpc_socket *s = TH_NEW(struct th_grpc_socket);
    s->watch = (struct th_grpc_watch){fd, loop, ready};
    s->loop = loop;
    s->timer.due = TH_TIME_NONE;
    s->watched = EPOLLIN;
    memcpy(s->peer, peer, sizeof(s->peer));
    DL_APPEND(loop->sockets, s);
    atomic_fetch_add(&loop->socket_count, 1);
    set_options(fd);
    become_idle(s, true);
    if (!th_grpc_loop_watch(loop, &s->watch, s->watched)) {
        th_grpc_socket_kill(s, "epoll takes no more sockets");
        return;
    }
    begin(s);
    th_time until = atomic_load(&loop->server->drain_until);
    if (until != TH_TIME_NONE) {
        th_grpc_socket_drain(s, until);
    }
}

/* ---- reading ---- */

/* Bytes, or what outcome of TLS, see loop.h. */
static ssize_t read_some(struct th_grpc_socket *s)
{
    if (s->tls) {
        return th_grpc_tls_read(s->tls, s->loop->buffer, READ);
    }
    ssize_t n = recv(s->watch.fd, s->loop->buffer, READ, 0);
    if (n > 0) {
        return n;
    }
    bool later = n < 0 && (errno == EAGAIN || errno == EINTR);
    return later ? TH_GRPC_WANT_READ : TH_GRPC_CLOSED;
}

static void take_outcome(struct th_grpc_socket *s, ssize_t outcome)
{
    s->wants_write = outcome == TH_GRPC_WANT_WRITE;
    if (outcome == TH_GRPC_CLOSED) {
        th_grpc_socket_kill(s, s->stage == TH_GRPC_SERVING ? "the client has closed" : "");
    }
}

static void take_bytes(struct th_grpc_socket *s, size_t n)
{
    if (s->stage == TH_GRPC_SERVING) {
        th_grpc_connection_input(s->connection, th_str_n(s->loop->buffer, n), s->loop->now);
    } else {
        s->lingered += n;
    }
}

static bool wants_input(const struct th_grpc_socket *s)
{
    return s->stage == TH_GRPC_LINGERING ||
           (s->stage == TH_GRPC_SERVING && th_grpc_connection_wants_input(s->connection));
}

static void read_all(struct th_grpc_socket *s)
{
    s->more = false;
    for (int i = 0; wants_input(s) && i < (s->tls ? READS : 1); i++) {
        ssize_t n = read_some(s);
        if (n <= 0) {
            take_outcome(s, n);
            return;
        }
        take_bytes(s, (size_t)n);
    }
    s->more = s->tls && s->stage != TH_GRPC_DEAD && SSL_pending(s->tls) > 0;
    if (s->lingered > LINGER_BYTES) {
        th_grpc_socket_kill(s, "the client did not stop sending");
    }
}

/* ---- writing ---- */

/* As read_some. */
static ssize_t write_some(struct th_grpc_socket *s, struct iovec *iov, size_t count)
{
    if (s->tls) {
        return th_grpc_tls_write(s->tls, iov, count);
    }
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
    ssize_t n = sendmsg(s->watch.fd, &message, MSG_NOSIGNAL);
    if (n >= 0) {
        return n;
    }
    return errno == EAGAIN || errno == EINTR ? TH_GRPC_WANT_WRITE : TH_GRPC_CLOSED;
}

/* False: there is more to write than one turn's share, or than the socket takes. */
static bool write_all(struct th_grpc_socket *s)
{
    s->blocked = false;
    for (int i = 0; i < WRITES; i++) {
        struct iovec iov[PIECES];
        size_t count = th_grpc_connection_output(s->connection, iov, PIECES, s->loop->now);
        if (count == 0) {
            return true;
        }
        ssize_t n = write_some(s, iov, count);
        if (n <= 0) {
            s->blocked = n == TH_GRPC_WANT_WRITE;
            take_outcome(s, n);
            return false;
        }
        th_grpc_connection_sent(s->connection, (size_t)n);
    }
    mark(s);
    return false;
}

/* ---- a turn ---- */

static void linger(struct th_grpc_socket *s)
{
    const char *reason = th_grpc_connection_reason(s->connection);
    struct th_grpc_connection *connection = s->connection;
    if (reason[0]) {
        th_log(s->loop->server->log, TH_LOG_DEBUG, category, "%s: %s", s->peer, reason);
    }
    s->stage = TH_GRPC_LINGERING;
    s->until = s->loop->now + LINGER;
    s->connection = NULL;
    th_grpc_connection_free(connection);
    become_idle(s, false);
    if (s->tls) {
        SSL_shutdown(s->tls);
    }
    shutdown(s->watch.fd, SHUT_WR);
}

static void watch_again(struct th_grpc_socket *s)
{
    uint32_t events = wants_input(s) || s->stage == TH_GRPC_HANDSHAKE ? EPOLLIN : 0;
    if (s->blocked || s->wants_write) {
        events |= EPOLLOUT;
    }
    if (events != s->watched) {
        s->watched = events;
        th_grpc_loop_rewatch(s->loop, &s->watch, events);
    }
}

static th_time due(const struct th_grpc_socket *s)
{
    return s->stage == TH_GRPC_SERVING ? th_grpc_connection_due(s->connection) : s->until;
}

static void settle(struct th_grpc_socket *s)
{
    watch_again(s);
    th_grpc_heap_set(&s->loop->timers, &s->timer, due(s));
    if (s->stage == TH_GRPC_SERVING) {
        become_idle(s, wants_input(s) && th_grpc_connection_calls(s->connection) == 0);
    }
    if (s->more && wants_input(s)) {
        mark(s);
    }
}

void th_grpc_socket_flush(struct th_grpc_socket *s)
{
    if (s->more) {
        read_all(s);
    }
    if (s->stage == TH_GRPC_SERVING && write_all(s) && th_grpc_connection_over(s->connection)) {
        linger(s);
    }
    if (s->stage != TH_GRPC_DEAD) {
        settle(s);
    }
}

static void shake_hands(struct th_grpc_socket *s)
{
    int outcome = th_grpc_tls_accept(s->tls);
    if (outcome == TH_GRPC_CLOSED) {
        char reason[200];
        th_grpc_tls_reason(reason, sizeof(reason));
        th_grpc_socket_kill(s, reason);
        return;
    }
    s->wants_write = outcome == TH_GRPC_WANT_WRITE;
    if (outcome != 1) {
        watch_again(s);
        return;
    }
    const char *unfit = th_grpc_tls_unfit(s->tls);
    if (unfit) {
        th_grpc_socket_kill(s, unfit);
    } else {
        serve(s);
        s->more = true; /* what came along with the end of the handshake */
    }
}

static void ready(struct th_grpc_watch *watch, uint32_t events)
{
    struct th_grpc_socket *s = (struct th_grpc_socket *)watch;
    if (s->stage == TH_GRPC_HANDSHAKE) {
        shake_hands(s);
        return;
    }
    if (s->stage == TH_GRPC_SERVING && events & (EPOLLERR | EPOLLHUP)) {
        th_grpc_socket_kill(s, "the connection is lost");
        return;
    }
    if (s->stage != TH_GRPC_DEAD) {
        read_all(s);
        mark(s);
    }
}

void th_grpc_socket_tick(struct th_grpc_socket *s)
{
    if (s->stage == TH_GRPC_SERVING) {
        th_grpc_connection_tick(s->connection, s->loop->now);
        mark(s);
    } else {
        th_grpc_socket_kill(s, s->stage == TH_GRPC_HANDSHAKE ? "no TLS handshake in time" : "");
    }
}

void th_grpc_socket_drain(struct th_grpc_socket *s, th_time until)
{
    if (s->stage == TH_GRPC_SERVING) {
        th_grpc_connection_drain(s->connection, until, s->loop->now);
        mark(s);
    } else if (s->stage == TH_GRPC_HANDSHAKE) {
        th_grpc_socket_kill(s, "the server is leaving");
    }
}

void th_grpc_socket_shed(struct th_grpc_socket *s)
{
    atomic_fetch_add(&s->loop->server->shed, 1);
    if (s->stage == TH_GRPC_SERVING) {
        th_grpc_connection_shed(s->connection, s->loop->now);
        become_idle(s, false);
        mark(s);
    } else {
        th_grpc_socket_kill(s, "made room for another connection");
    }
}

/*
 * accept: new connections, on the first loop, dealt out to all. When there is no room, be it for
 * another connection or in the process for another file, accepting pauses: clients then wait in
 * the kernel's queue, and nothing spins. A connection that has no call makes room, the one that has
 * been so for longest: whoever only holds connections cannot keep others out.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "grpc/loop.h"

enum { ACCEPTS = 64 }; /* of a turn */
#define PAUSE     (50 * TH_MILLISECOND)
#define SAFE_TIME TH_SECOND /* in which a new connection may begin its first call */

static const char category[] = "grpc";

/* ---- making room ---- */

static void shed_one(struct th_grpc_loop *loop)
{
    struct th_grpc_socket *s = loop->idle;
    if (s && loop->now - s->idle_since >= SAFE_TIME) {
        th_grpc_socket_shed(s);
    }
}

struct shed {
    struct th_grpc_post post; /* first */
    struct th_grpc_loop *loop;
};

static void run_shed(struct th_grpc_post *post)
{
    shed_one(((struct shed *)post)->loop);
    free(post);
}

static void ask_to_shed(struct th_grpc_loop *loop)
{
    struct shed *shed = TH_NEW(struct shed);
    *shed = (struct shed){{.run = run_shed}, loop};
    if (!th_grpc_mailbox_post(loop->mailbox, &shed->post)) {
        free(shed);
    }
}

/* On the loop that has the most. */
static void make_room(struct th_grpc_loop *self)
{
    struct th_grpc_server *server = self->server;
    struct th_grpc_loop *most = self;
    for (unsigned i = 0; i < server->loop_count; i++) {
        if (atomic_load(&server->loops[i].socket_count) > atomic_load(&most->socket_count)) {
            most = &server->loops[i];
        }
    }
    if (most == self) {
        shed_one(self);
    } else {
        ask_to_shed(most);
    }
}

/* ---- pauses ---- */

static void watch_listeners(struct th_grpc_loop *loop, uint32_t events)
{
    for (size_t i = 0; i < loop->listener_count; i++) {
        th_grpc_loop_rewatch(loop, &loop->listeners[i], events);
    }
}

static void pause_accepting(struct th_grpc_loop *loop)
{
    if (loop->accept_at == TH_TIME_NONE) {
        watch_listeners(loop, 0);
    }
    loop->accept_at = loop->now + PAUSE;
    make_room(loop);
}

void th_grpc_accept_tick(struct th_grpc_loop *loop)
{
    if (loop->accept_at != TH_TIME_NONE && loop->accept_at <= loop->now) {
        loop->accept_at = TH_TIME_NONE;
        watch_listeners(loop, EPOLLIN);
    }
}

/* ---- dealing out ---- */

struct adoption {
    struct th_grpc_post post; /* first */
    struct th_grpc_loop *loop;
    int fd;
    char peer[TH_GRPC_PEER];
};

static void run_adoption(struct th_grpc_post *post)
{
    struct adoption *adoption = (struct adoption *)post;
    th_grpc_socket_new(adoption->loop, adoption->fd, adoption->peer);
    free(adoption);
}

static void give_to(struct th_grpc_loop *loop, int fd, const char *peer)
{
    struct adoption *adoption = TH_NEW(struct adoption);
    *adoption = (struct adoption){{.run = run_adoption}, loop, fd, ""};
    memcpy(adoption->peer, peer, sizeof(adoption->peer));
    if (!th_grpc_mailbox_post(loop->mailbox, &adoption->post)) {
        close(fd);
        atomic_fetch_sub(&loop->server->connections, 1);
        free(adoption);
    }
}

static void deal_out(struct th_grpc_loop *self, int fd, const char *peer)
{
    struct th_grpc_server *server = self->server;
    struct th_grpc_loop *loop = &server->loops[self->next++ % server->loop_count];
    atomic_fetch_add(&server->connections, 1);
    atomic_fetch_add(&server->accepted, 1);
    if (loop == self) {
        th_grpc_socket_new(loop, fd, peer);
    } else {
        give_to(loop, fd, peer);
    }
}

/* ---- accepting ---- */

static bool is_full(const struct th_grpc_server *server)
{
    return atomic_load(&server->connections) >= server->max_connections;
}

/* Said once, however often it is tried. */
static void cannot_accept(struct th_grpc_loop *loop, int problem)
{
    if (!loop->troubled) {
        th_log(loop->server->log, TH_LOG_WARN, category, "cannot accept connections: %s",
               strerror(problem));
    }
    loop->troubled = true;
    pause_accepting(loop);
}

/* False: no more for now. */
static bool accept_one(struct th_grpc_loop *loop, int listener)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    char peer[TH_GRPC_PEER];
    int fd = accept4(listener, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        loop->troubled = false;
        th_grpc_peer_text(&address, len, peer);
        deal_out(loop, fd, peer);
        return true;
    }
    if (errno == EINTR || errno == ECONNABORTED) {
        return true; /* that one is gone */
    }
    if (errno != EAGAIN) {
        cannot_accept(loop, errno);
    }
    return false;
}

static void ready(struct th_grpc_watch *watch, uint32_t events)
{
    struct th_grpc_loop *loop = watch->loop;
    for (int i = 0; i < ACCEPTS; i++) {
        if (is_full(loop->server)) {
            pause_accepting(loop);
            return;
        }
        if (!accept_one(loop, watch->fd)) {
            return;
        }
    }
}

/* ---- beginning and end ---- */

void th_grpc_accept_start(struct th_grpc_loop *loop)
{
    struct th_grpc_server *server = loop->server;
    if (loop != &server->loops[0]) {
        return;
    }
    for (size_t i = 0; i < server->listeners.count; i++) {
        loop->listeners[i] = (struct th_grpc_watch){server->listeners.fds[i], loop, ready};
        th_grpc_loop_watch(loop, &loop->listeners[i], EPOLLIN);
    }
    loop->listener_count = server->listeners.count;
}

void th_grpc_accept_stop(struct th_grpc_loop *loop)
{
    if (loop->listener_count) {
        th_grpc_listeners_close(&loop->server->listeners);
    }
    loop->listener_count = 0;
    loop->accept_at = TH_TIME_NONE;
}

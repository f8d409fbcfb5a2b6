/* loop: the thread, see loop.h. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/memory.h"
#include "grpc/loop.h"

enum { EVENTS = 256, BUFFER = 64 << 10 };

/* ---- epoll ---- */

static bool control(struct th_grpc_loop *loop, int operation, struct th_grpc_watch *watch,
                    uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    return epoll_ctl(loop->epoll, operation, watch->fd, &event) == 0;
}

bool th_grpc_loop_watch(struct th_grpc_loop *loop, struct th_grpc_watch *watch, uint32_t events)
{
    return control(loop, EPOLL_CTL_ADD, watch, events);
}

void th_grpc_loop_rewatch(struct th_grpc_loop *loop, struct th_grpc_watch *watch, uint32_t events)
{
    control(loop, EPOLL_CTL_MOD, watch, events);
}

static void woken(struct th_grpc_watch *watch, uint32_t events)
{
    uint64_t count;
    while (read(watch->fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
}

/* ---- a turn ---- */

/* Those that are marked meanwhile have the next turn. A flush may take others out of the list. */
static void flush_marked(struct th_grpc_loop *loop)
{
    struct th_grpc_socket *s;
    unsigned turn = loop->turn++;
    while ((s = loop->marked) && s->turn == turn) {
        s->marked = false;
        DL_DELETE2(loop->marked, s, marked_prev, marked_next);
        th_grpc_socket_flush(s);
    }
}

static void free_dead(struct th_grpc_loop *loop)
{
    while (loop->dead) {
        th_grpc_socket_free(loop->dead);
    }
}

static void run_timers(struct th_grpc_loop *loop)
{
    struct th_grpc_timer *timer;
    while ((timer = th_grpc_heap_first(&loop->timers)) && timer->due <= loop->now) {
        th_grpc_heap_set(&loop->timers, timer, TH_TIME_NONE); /* the flush puts it back */
        th_grpc_socket_tick(TH_GRPC_OF(timer, struct th_grpc_socket, timer));
    }
    th_grpc_accept_tick(loop);
}

static th_time next_due(const struct th_grpc_loop *loop)
{
    const struct th_grpc_timer *timer = th_grpc_heap_first(&loop->timers);
    th_time due = timer ? timer->due : INT64_MAX;
    if (loop->accept_at != TH_TIME_NONE && loop->accept_at < due) {
        due = loop->accept_at;
    }
    return loop->stopping && loop->stop_at < due ? loop->stop_at : due;
}

static bool goes_on(const struct th_grpc_loop *loop)
{
    return !loop->stopping || (loop->sockets && loop->now < loop->stop_at);
}

static int milliseconds(const struct th_grpc_loop *loop)
{
    th_time left = next_due(loop) - th_monotonic();
    if (loop->marked || left <= 0 || !goes_on(loop)) {
        return 0;
    }
    return left > 60 * TH_SECOND ? 60000 : (int)(left / TH_MILLISECOND) + 1;
}

static void turn(struct th_grpc_loop *loop)
{
    struct epoll_event events[EVENTS];
    th_grpc_mailbox_sleeps(loop->mailbox, true);
    th_grpc_mailbox_run(loop->mailbox);
    flush_marked(loop);
    free_dead(loop);
    int n = epoll_wait(loop->epoll, events, EVENTS, milliseconds(loop));
    th_grpc_mailbox_sleeps(loop->mailbox, false);
    loop->now = th_monotonic();
    for (int i = 0; i < n; i++) {
        struct th_grpc_watch *watch = events[i].data.ptr;
        watch->ready(watch, events[i].events);
    }
    run_timers(loop);
}

/* ---- the thread ---- */

static void end(struct th_grpc_loop *loop)
{
    struct th_grpc_socket *s, *next;
    th_grpc_accept_stop(loop);
    th_grpc_mailbox_close(loop->mailbox);
    DL_FOREACH_SAFE(loop->sockets, s, next) {
        th_grpc_socket_kill(s, "the server is gone");
    }
    free_dead(loop);
}

/* Signals are for the program's own threads, and SIGPIPE, which OpenSSL's writes may raise, would
 * end the process. */
static void block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void *loop_main(void *argument)
{
    struct th_grpc_loop *loop = argument;
    pthread_setname_np(pthread_self(), "grpc");
    block_signals();
    th_grpc_mailbox_own(loop->mailbox);
    loop->now = th_monotonic();
    th_grpc_accept_start(loop);
    while (goes_on(loop)) {
        turn(loop);
    }
    end(loop);
    return NULL;
}

bool th_grpc_loop_start(struct th_grpc_loop *loop, struct th_grpc_server *server,
                        struct th_error *error)
{
    loop->server = server;
    loop->accept_at = TH_TIME_NONE;
    loop->buffer = th_realloc(NULL, BUFFER);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wake = (struct th_grpc_watch){eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), loop, woken};
    loop->mailbox = th_grpc_mailbox_new(loop->wake.fd);
    loop->started = loop->epoll >= 0 && loop->wake.fd >= 0 &&
                    th_grpc_loop_watch(loop, &loop->wake, EPOLLIN) &&
                    pthread_create(&loop->thread, NULL, loop_main, loop) == 0;
    return loop->started ||
           th_fail(error, TH_UNAVAILABLE, "cannot start a thread for gRPC: %s", strerror(errno));
}

void th_grpc_loop_join(struct th_grpc_loop *loop)
{
    if (loop->started) {
        pthread_join(loop->thread, NULL);
    }
    if (!loop->mailbox) {
        return; /* never begun */
    }
    if (loop->wake.fd >= 0) {
        close(loop->wake.fd);
    }
    if (loop->epoll >= 0) {
        close(loop->epoll);
    }
    th_grpc_mailbox_unref(loop->mailbox);
    th_grpc_heap_deinit(&loop->timers);
    free(loop->buffer);
}

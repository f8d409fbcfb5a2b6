/*
 * server: starting, draining, stopping. What the loops are to do is posted to each of them.
 *
 * Stopping is a drain, and a moment behind its patience the end of the loops: a connection needs
 * up to a second to say its last word, and another to linger (socket.c).
 */
#include <stdlib.h>
#include <sys/resource.h>

#include "base/memory.h"
#include "grpc/loop.h"

enum {
    CONNECTIONS = 4096,
    SPARE_FILES = 64, /* left for everything that is no connection */
    MOST_LOOPS = 64,
};
#define LAST_WORDS (2 * TH_SECOND + TH_SECOND / 2)

static const char category[] = "grpc";

/* ---- posts ---- */

struct order {
    struct th_grpc_post post; /* first */
    struct th_grpc_loop *loop;
    th_time until;
};

static void post(struct th_grpc_loop *loop, void (*run)(struct th_grpc_post *post), th_time until)
{
    struct order *order = TH_NEW(struct order);
    *order = (struct order){{.run = run}, loop, until};
    if (!th_grpc_mailbox_post(loop->mailbox, &order->post)) {
        free(order);
    }
}

static void run_drain(struct th_grpc_post *post)
{
    struct order *order = (struct order *)post;
    struct th_grpc_loop *loop = order->loop;
    struct th_grpc_socket *s, *next;
    th_grpc_accept_stop(loop);
    DL_FOREACH_SAFE(loop->sockets, s, next) {
        th_grpc_socket_drain(s, order->until);
    }
    free(order);
}

static void run_stop(struct th_grpc_post *post)
{
    struct order *order = (struct order *)post;
    order->loop->stopping = true;
    order->loop->stop_at = order->until;
    free(order);
}

/* ---- starting ---- */

static unsigned most_connections(unsigned wanted)
{
    struct rlimit files;
    unsigned most = wanted ? wanted : CONNECTIONS;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < most + SPARE_FILES) {
        most = files.rlim_cur > 2 * SPARE_FILES ? (unsigned)files.rlim_cur - SPARE_FILES
                                                : (unsigned)files.rlim_cur / 2;
    }
    return most;
}

static bool open_tls(struct th_grpc_server *server, const struct th_grpc_server_options *options,
                     struct th_error *error)
{
    if (!options->certificate && !options->key) {
        return !options->client_ca ||
               th_fail(error, TH_INVALID,
                       "certificates of clients need TLS: give a certificate "
                       "and its key, too");
    }
    if (!options->certificate || !options->key) {
        return th_fail(error, TH_INVALID, "TLS needs both a certificate and its key");
    }
    server->tls = th_grpc_tls_new(options->certificate, options->key, options->client_ca, error);
    return server->tls != NULL;
}

static bool start_loops(struct th_grpc_server *server, struct th_error *error)
{
    /* The first one accepts, and deals out to the others. */
    for (unsigned i = server->loop_count; i-- > 0;) {
        if (!th_grpc_loop_start(&server->loops[i], server, error)) {
            return false;
        }
    }
    return true;
}

static void stop_loops(struct th_grpc_server *server, th_time until)
{
    for (unsigned i = 0; i < server->loop_count; i++) {
        if (server->loops[i].started) {
            post(&server->loops[i], run_stop, until);
        }
    }
    for (unsigned i = 0; i < server->loop_count; i++) {
        th_grpc_loop_join(&server->loops[i]);
    }
}

static void server_free(struct th_grpc_server *server)
{
    th_grpc_listeners_close(&server->listeners);
    th_grpc_tls_free(server->tls);
    th_grpc_service_deinit(&server->service);
    free(server);
}

static bool open_server(struct th_grpc_server *server, const struct th_grpc_server_options *options,
                        struct th_error *error)
{
    const char *address = options->address ? options->address : "127.0.0.1";
    return open_tls(server, options, error) &&
           th_grpc_listen(&server->listeners, address, options->port, error) &&
           start_loops(server, error);
}

struct th_grpc_server *th_grpc_server_start(const struct th_grpc_server_options *options,
                                            struct th_error *error)
{
    unsigned loops = options->loops ? options->loops : 1;
    loops = loops < MOST_LOOPS ? loops : MOST_LOOPS;
    struct th_grpc_server *server = th_alloc(sizeof(*server) + loops * sizeof(struct th_grpc_loop));
    server->log = options->log;
    server->loop_count = loops;
    server->drain_until = TH_TIME_NONE;
    server->max_connections = most_connections(options->max_connections);
    if (!th_grpc_service_init(&server->service, options, error)) {
        free(server);
        return NULL;
    }
    if (!open_server(server, options, error)) {
        stop_loops(server, 0);
        server_free(server);
        return NULL;
    }
    th_log(server->log, TH_LOG_INFO, category, "listening on %s, port %d%s",
           options->address ? options->address : "127.0.0.1", server->listeners.port,
           server->tls ? ", with TLS" : "");
    return server;
}

/* ---- while it runs ---- */

int th_grpc_server_port(const struct th_grpc_server *server)
{
    return server->listeners.port;
}

bool th_grpc_server_reload(struct th_grpc_server *server, struct th_error *error)
{
    return !server->tls || th_grpc_tls_reload(server->tls, error);
}

void th_grpc_server_stats(const struct th_grpc_server *server, struct th_grpc_stats *out)
{
    *out = (struct th_grpc_stats){
        .connections = atomic_load(&server->connections),
        .calls = atomic_load(&server->service.calls),
        .held_bytes = atomic_load(&server->service.held),
        .accepted = atomic_load(&server->accepted),
        .begun = atomic_load(&server->service.begun),
        .shed = atomic_load(&server->shed),
        .flooded = atomic_load(&server->service.flooded),
    };
}

/* ---- the end ---- */

static th_time after(th_time start, th_time time)
{
    th_time sum;
    return __builtin_add_overflow(start, time, &sum) ? INT64_MAX / 2 : sum;
}

/* False: it is drained already, with no more patience than this. */
static bool set_patience(struct th_grpc_server *server, th_time until)
{
    th_time before = atomic_load(&server->drain_until);
    do {
        if (before != TH_TIME_NONE && before <= until) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&server->drain_until, &before, until));
    return true;
}

void th_grpc_server_drain(struct th_grpc_server *server, th_time patience)
{
    th_time until = after(th_monotonic(), patience);
    if (!set_patience(server, until)) {
        return;
    }
    for (unsigned i = 0; i < server->loop_count; i++) {
        post(&server->loops[i], run_drain, until);
    }
}

void th_grpc_server_stop(struct th_grpc_server *server, th_time patience)
{
    if (!server) {
        return;
    }
    th_grpc_server_drain(server, patience);
    stop_loops(server, after(th_monotonic(), after(patience, LAST_WORDS)));
    server_free(server);
}

/*
 * How fast the gRPC transport is, and what calls cost: a server with one loop and its clients, in
 * one process, on the machine's processors together. The clients are nghttp2's, on one thread.
 *
 *     grpc_calls [--seconds N] [--certificates DIRECTORY]
 *
 * With a directory, which it fills with certificates, TLS is measured, too.
 */
#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "grpc/grpc.h"
#include "unit/grpc_certificates.h"
#include "unit/grpc_wire.h"

enum { SAMPLES = 1 << 20, MOST_CALLS = 10000 };

static struct {
    double seconds;
    struct th_grpc_server *server;
    const struct grpc_wire_tls *tls; /* NULL: in clear */
    const char *certificate, *key;
    int epoll;
    th_time end;
    /* Unary echo. */
    const char *payload;
    size_t payload_len;
    uint64_t done;
    uint32_t *latency;
    /* Streams. */
    struct th_grpc_call *calls[MOST_CALLS];
    _Atomic size_t begun;
    uint64_t messages;
} bench = {.seconds = 3, .payload = "0123456789012345678901234567890123456789", .payload_len = 40};

/* ---- the server ---- */

static void echo(struct th_grpc_call *call, struct th_blob *message)
{
    th_grpc_send(call, message);
    th_grpc_finish(call, TH_GRPC_OK, TH_STR(""), (struct th_grpc_metadata){0});
}

static void keep(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    bench.calls[bench.begun] = th_grpc_ref(call);
    bench.begun++;
}

static const struct th_grpc_handler echoing = {.message = echo};
static const struct th_grpc_handler keeping = {.begin = keep};
static const struct th_grpc_method methods[] = {
    {.path = "/b/Echo", .handler = &echoing, .single_request = true},
    {.path = "/b/Keep", .handler = &keeping},
};

static void start_server(void)
{
    struct th_error error;
    bench.begun = 0;
    bench.server =
        th_grpc_server_start(&(struct th_grpc_server_options){.methods = methods,
                                                              .method_count = TH_COUNT(methods),
                                                              .certificate = bench.certificate,
                                                              .key = bench.key,
                                                              .limits.message_bytes = 8 << 20},
                             &error);
    if (!bench.server) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
}

static void stop_server(void)
{
    for (size_t i = 0; i < bench.begun; i++) {
        th_grpc_unref(bench.calls[i]);
    }
    th_grpc_server_stop(bench.server, 0);
}

/* ---- figures ---- */

/* Processor time of the loop's thread, which is the one named grpc. */
static double loop_time(void)
{
    double seconds = 0;
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    while ((task = readdir(tasks))) {
        char path[300], name[32] = "";
        unsigned long long ns = 0;
        snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        bool is_loop = file && fgets(name, sizeof(name), file) && strcmp(name, "grpc\n") == 0;
        if (file) {
            fclose(file);
        }
        snprintf(path, sizeof(path), "/proc/self/task/%.20s/schedstat", task->d_name);
        file = is_loop ? fopen(path, "r") : NULL;
        if (file && fscanf(file, "%llu", &ns) == 1) {
            seconds += (double)ns / 1e9;
        }
        if (file) {
            fclose(file);
        }
    }
    closedir(tasks);
    return seconds;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void say_latency(void)
{
    size_t n = bench.done < SAMPLES ? bench.done : SAMPLES;
    qsort(bench.latency, n, sizeof(*bench.latency), by_value);
    printf("p50 %u us, p99 %u us", n ? bench.latency[n / 2] : 0,
           n ? bench.latency[n * 99 / 100] : 0);
}

/* ---- clients ---- */

static struct grpc_wire *open_wire(void)
{
    struct grpc_wire *wire =
        grpc_wire_open("127.0.0.1", th_grpc_server_port(bench.server), bench.tls);
    if (!wire) {
        fprintf(stderr, "cannot connect\n");
        exit(1);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = wire};
    epoll_ctl(bench.epoll, EPOLL_CTL_ADD, wire->fd, &event);
    return wire;
}

static void begin_call(struct grpc_client *client)
{
    struct grpc_reply *reply =
        grpc_client_unary(client, "/b/Echo", NULL, th_str_n(bench.payload, bench.payload_len));
    reply->user = (void *)(intptr_t)th_monotonic(); /* NOLINT: a number */
}

static void call_closed(struct grpc_reply *reply)
{
    th_time now = th_monotonic();
    struct grpc_client *client = reply->client;
    if (reply->status != 0) {
        fprintf(stderr, "a call ended with %d\n", reply->status);
        exit(1);
    }
    bench.latency[bench.done++ % SAMPLES] = (uint32_t)(now - (intptr_t)reply->user);
    grpc_reply_free(reply);
    if (now < bench.end) {
        begin_call(client);
    }
}

static void run_until(th_time end)
{
    while (th_monotonic() < end) {
        struct epoll_event events[64];
        int n = epoll_wait(bench.epoll, events, 64, 10);
        for (int i = 0; i < n; i++) {
            grpc_wire_move(events[i].data.ptr);
        }
    }
}

/* ---- unary echo ---- */

static void unary(const char *name, unsigned connections, unsigned clients)
{
    TH_AUTOFREE struct grpc_wire **wires = th_alloc(connections * sizeof(*wires));
    for (unsigned i = 0; i < connections; i++) {
        wires[i] = open_wire();
        wires[i]->client->closed = call_closed;
        grpc_wire_step(wires[i], 0);
    }
    bench.done = 0;
    double used = loop_time();
    th_time start = th_monotonic();
    bench.end = start + (th_time)(bench.seconds * TH_SECOND);
    for (unsigned i = 0; i < clients; i++) {
        begin_call(wires[i % connections]->client);
    }
    for (unsigned i = 0; i < connections; i++) {
        grpc_wire_move(wires[i]);
    }
    run_until(bench.end);
    double took = (double)(th_monotonic() - start) / TH_SECOND;
    used = loop_time() - used;
    uint64_t done = bench.done;
    printf("%-44s %8.0f/s, ", name, (double)done / took);
    say_latency();
    printf(", server %.2f us a call (%.0f %% of a processor), %.1f MB/s each way\n",
           used / (double)done * 1e6, used / took * 100,
           (double)done * (double)bench.payload_len / took / 1e6);
    for (unsigned i = 0; i < connections; i++) {
        grpc_wire_close(wires[i]);
    }
}

static void large(const char *name, size_t len)
{
    const char *before = bench.payload;
    TH_AUTOFREE char *bytes = th_alloc(len);
    bench.payload = bytes;
    bench.payload_len = len;
    unary(name, 1, 1);
    bench.payload = before;
    bench.payload_len = 40;
}

/* ---- memory ---- */

static long resident_kb(void)
{
    long pages = 0;
    malloc_trim(0);
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%*d %ld", &pages) != 1) {
        pages = 0;
    }
    if (file) {
        fclose(file);
    }
    return pages * 4;
}

/* Clients in a process of their own: their memory is not the server's. */
static pid_t fork_keepers(unsigned connections, unsigned calls, int *hold)
{
    int pipes[2];
    if (pipe(pipes) != 0) {
        exit(1);
    }
    pid_t child = fork();
    if (child != 0) {
        close(pipes[0]);
        *hold = pipes[1];
        return child;
    }
    close(pipes[1]);
    bench.epoll = epoll_create1(0);
    for (unsigned i = 0; i < connections; i++) {
        struct grpc_wire *wire = open_wire();
        for (unsigned k = 0; k < calls / connections; k++) {
            grpc_client_end(grpc_client_begin(wire->client, "/b/Keep", NULL));
        }
        grpc_wire_move(wire);
    }
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    char byte;
    while (read(pipes[0], &byte, 1) < 0) {
        run_until(th_monotonic() + 50 * TH_MILLISECOND);
    }
    _exit(0);
}

static void await_begun(unsigned calls)
{
    th_time end = th_monotonic() + 60 * TH_SECOND;
    while (bench.begun < calls && th_monotonic() < end) {
        usleep(1000);
    }
}

static void waiting(const char *name, unsigned connections, unsigned calls)
{
    int hold;
    start_server();
    long before = resident_kb();
    pid_t child = fork_keepers(connections, calls, &hold);
    await_begun(calls);
    long after = resident_kb();
    printf("%-44s %.1f MB resident with them, %.1f MB before: %.2f kB each\n", name,
           (double)after / 1024, (double)before / 1024, (double)(after - before) / calls);
    fflush(stdout);
    close(hold);
    waitpid(child, NULL, 0);
    stop_server();
}

/* Messages from another thread than the loop's, ten a second on each stream. */
static void streams(const char *name, unsigned connections, unsigned count)
{
    int hold;
    start_server();
    long before = resident_kb();
    pid_t child = fork_keepers(connections, count, &hold);
    await_begun(count);
    struct th_blob *blob = th_blob_new(bench.payload, bench.payload_len);
    double used = loop_time();
    struct rusage all, then;
    getrusage(RUSAGE_SELF, &all);
    th_time start = th_monotonic(), end = start + (th_time)(bench.seconds * TH_SECOND);
    uint64_t sent = 0;
    for (th_time now = start; now < end; now = th_monotonic()) {
        uint64_t due = (uint64_t)(now - start) * count * 10 / TH_SECOND;
        for (; sent < due; sent++) {
            th_grpc_send(bench.calls[sent % count], blob);
        }
        usleep(1000);
    }
    double took = (double)(th_monotonic() - start) / TH_SECOND;
    getrusage(RUSAGE_SELF, &then);
    th_blob_unref(blob);
    printf("%-44s %.0f messages/s, loop %.1f %% of a processor (%.2f us a message), %.2f kB a "
           "stream\n",
           name, (double)sent / took, (loop_time() - used) / took * 100,
           (loop_time() - used) / (double)sent * 1e6, (double)(resident_kb() - before) / count);
    fflush(stdout);
    close(hold);
    waitpid(child, NULL, 0);
    stop_server();
}

/* ---- the program ---- */

static void measure_calls(void)
{
    unary("unary echo, 1 client", 1, 1);
    unary("unary echo, 50 clients on 1 connection", 1, 50);
    unary("unary echo, 50 clients on 50 connections", 50, 50);
    unary("unary echo, 1,000 clients on 1,000 connections", 1000, 1000);
    large("echo of 4 MiB, 1 client", 4 << 20);
}

static void measure_tls(const char *directory)
{
    static char ca[512], certificate[512], key[512];
    const struct grpc_wire_tls tls = {.ca = ca};
    snprintf(ca, sizeof(ca), "%s/ca.pem", directory);
    snprintf(certificate, sizeof(certificate), "%s/server.pem", directory);
    snprintf(key, sizeof(key), "%s/server.key", directory);
    grpc_certificates(directory);
    bench.tls = &tls;
    bench.certificate = certificate;
    bench.key = key;
    puts("with TLS:");
    waiting("1,000 waiting calls on 1,000 connections", 1000, 1000);
    start_server();
    measure_calls();
    stop_server();
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"seconds", 1, NULL, 's'}, {"certificates", 1, NULL, 'c'}, {NULL, 0, NULL, 0}};
    const char *directory = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 's') {
            bench.seconds = atof(optarg);
        } else if (option == 'c') {
            directory = optarg;
        } else {
            return 2;
        }
    }
    bench.latency = th_alloc(SAMPLES * sizeof(*bench.latency));
    bench.epoll = epoll_create1(EPOLL_CLOEXEC);
    waiting("10,000 waiting calls on 10 connections", 10, 10000);
    waiting("1,000 waiting calls on 1,000 connections", 1000, 1000);
    streams("1,000 streams x 10/s on 10 connections", 10, 1000);
    streams("1,000 streams x 10/s on 1,000 connections", 1000, 1000);
    start_server();
    measure_calls();
    stop_server();
    if (directory) {
        measure_tls(directory);
    }
    free(bench.latency);
    close(bench.epoll);
    return 0;
}

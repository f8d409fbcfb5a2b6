/* The server on real sockets: addresses, threads, drains, limits. TLS is in grpc_tls_test.c. */
#include "grpc/grpc.h"

#include <pthread.h>
#include <sys/socket.h>

#include "unit/base_test.h"

#include "base/memory.h"
#include "unit/grpc_wire.h"

static const struct th_grpc_metadata none;

/* ---- handlers ---- */

enum { MOST_CALLS = 4096 };

/* Calls of /t/Hold. */
static struct {
    pthread_mutex_t mutex;
    struct th_grpc_call *calls[MOST_CALLS]; /* referenced */
    size_t count, ended, drained, writable;
    enum th_grpc_end why; /* of the last one that ended */
    pthread_t threads[MOST_CALLS];
} held = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static size_t held_figure(const size_t *figure)
{
    pthread_mutex_lock(&held.mutex);
    size_t value = *figure;
    pthread_mutex_unlock(&held.mutex);
    return value;
}

static void forget_held(void)
{
    pthread_mutex_lock(&held.mutex);
    for (size_t i = 0; i < held.count; i++) {
        th_grpc_unref(held.calls[i]);
    }
    held.count = held.ended = held.drained = held.writable = 0;
    pthread_mutex_unlock(&held.mutex);
}

static void hold(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    pthread_mutex_lock(&held.mutex);
    assert_true(held.count < MOST_CALLS);
    held.threads[held.count] = pthread_self();
    held.calls[held.count++] = th_grpc_ref(call);
    pthread_mutex_unlock(&held.mutex);
}

static void note_end(struct th_grpc_call *call, enum th_grpc_end why)
{
    pthread_mutex_lock(&held.mutex);
    held.ended++;
    held.why = why;
    pthread_mutex_unlock(&held.mutex);
}

static void note_writable(struct th_grpc_call *call)
{
    pthread_mutex_lock(&held.mutex);
    held.writable++;
    pthread_mutex_unlock(&held.mutex);
}

static void finish_when_draining(struct th_grpc_call *call)
{
    pthread_mutex_lock(&held.mutex);
    held.drained++;
    pthread_mutex_unlock(&held.mutex);
    if (th_grpc_user(call)) {
        th_grpc_finish(call, TH_GRPC_OK, TH_STR(""), none);
    }
}

static void echo(struct th_grpc_call *call, struct th_blob *message)
{
    th_grpc_send(call, message);
}

static void finish(struct th_grpc_call *call)
{
    th_grpc_finish(call, TH_GRPC_OK, TH_STR(""), none);
}

static const struct th_grpc_handler echoing = {.message = echo, .half_closed = finish};
static const struct th_grpc_handler holding = {
    .begin = hold, .writable = note_writable, .draining = finish_when_draining, .ended = note_end};

static char leaves[1];
static const struct th_grpc_method methods[] = {
    {.path = "/t/Echo", .handler = &echoing},
    {.path = "/t/Hold", .handler = &holding},
    {.path = "/t/Leave", .handler = &holding, .argument = leaves}, /* OK as soon as it drains */
};

/* ---- servers and clients ---- */

static struct th_grpc_server *start(struct th_grpc_server_options options)
{
    struct th_error error = {0};
    options.methods = methods;
    options.method_count = TH_COUNT(methods);
    struct th_grpc_server *server = th_grpc_server_start(&options, &error);
    if (!server) {
        print_error("%s\n", error.message);
    }
    assert_non_null(server);
    return server;
}

static struct grpc_wire *wire_to(const struct th_grpc_server *server)
{
    struct grpc_wire *wire = grpc_wire_open("127.0.0.1", th_grpc_server_port(server), NULL);
    assert_non_null(wire);
    return wire;
}

static void assert_serves(struct grpc_wire *wire)
{
    assert_non_null(wire);
    struct grpc_reply *reply = grpc_client_unary(wire->client, "/t/Echo", NULL, TH_STR("hello"));
    assert_true(grpc_wire_finish(wire, reply));
    assert_int_equal(reply->status, TH_GRPC_OK);
    assert_str(grpc_reply_next(reply), "hello");
}

static struct grpc_reply *begin_held(struct grpc_wire *wire, const char *path)
{
    size_t before = held_figure(&held.count);
    struct grpc_reply *reply = grpc_client_begin(wire->client, path, NULL);
    grpc_wire_until(wire, held_figure(&held.count) > before);
    return reply;
}

#define until(condition)                                                     \
    do {                                                                     \
        th_time deadline_ = th_monotonic() + GRPC_WIRE_PATIENCE * TH_SECOND; \
        while (!(condition) && th_monotonic() < deadline_) {                 \
            usleep(1000);                                                    \
        }                                                                    \
        assert_true(condition);                                              \
    } while (0)

static struct th_grpc_stats stats_of(const struct th_grpc_server *server)
{
    struct th_grpc_stats stats;
    th_grpc_server_stats(server, &stats);
    return stats;
}

static void stop(struct th_grpc_server *server)
{
    th_grpc_server_stop(server, 0);
    assert_int_equal(held.ended, held.count);
    forget_held();
}

static void send_text(struct th_grpc_call *call, const char *text, size_t len)
{
    struct th_blob *blob = th_blob_new(text, len);
    th_grpc_send(call, blob);
    th_blob_unref(blob);
}

/* ---- addresses ---- */

static void addresses(void **state)
{
    static const struct {
        const char *listen, *connect;
    } cases[] = {
        {NULL, "127.0.0.1"},
        {"127.0.0.1", "127.0.0.1"},
        {"::1", "::1"},
        {"::", "::1"},
        {"::", "127.0.0.1"},
        {"0.0.0.0", "127.0.0.1"},
        {"localhost", "127.0.0.1"},
    };
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        struct th_grpc_server *server =
            start((struct th_grpc_server_options){.address = cases[i].listen});
        struct grpc_wire *wire =
            grpc_wire_open(cases[i].connect, th_grpc_server_port(server), NULL);
        assert_serves(wire);
        grpc_wire_close(wire);
        stop(server);
    }
}

static void addresses_that_do_not_work(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){0});
    const struct {
        const char *address;
        int port;
        enum th_code code;
        const char *words;
    } cases[] = {
        {"127.0.0.1", th_grpc_server_port(server), TH_UNAVAILABLE, "does another server run there"},
        {"localhost", th_grpc_server_port(server), TH_UNAVAILABLE, "localhost"},
        {"no address", 0, TH_INVALID, "no address"},
        {"192.0.2.77", 0, TH_INVALID, "192.0.2.77"},
        {"127.0.0.1", 70000, TH_INVALID, "70000"},
        {"127.0.0.1", -1, TH_INVALID, "-1"},
    };
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        struct th_error error = {0};
        assert_null(th_grpc_server_start(
            &(struct th_grpc_server_options){.address = cases[i].address, .port = cases[i].port},
            &error));
        assert_int_equal(error.code, cases[i].code);
        assert_non_null(strstr(error.message, cases[i].words));
    }
    stop(server);
}

/* ---- threads ---- */

static void several_loops(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){.loops = 3});
    struct grpc_wire *wires[9];
    for (size_t i = 0; i < TH_COUNT(wires); i++) {
        wires[i] = wire_to(server);
        begin_held(wires[i], "/t/Hold");
        assert_serves(wires[i]);
    }
    for (size_t i = 3; i < TH_COUNT(wires); i++) {
        assert_true(pthread_equal(held.threads[i], held.threads[i - 3]));
        assert_false(pthread_equal(held.threads[i], held.threads[i - 1]));
    }
    for (size_t i = 0; i < TH_COUNT(wires); i++) {
        grpc_wire_close(wires[i]);
    }
    stop(server);
}

enum { SENDERS = 4, MESSAGES = 500, CALLS = 20 };

/* Each of these threads sends its own sequence to every call, and the last one finishes. */
struct sender {
    pthread_t thread;
    int number;
    atomic_int *left;
};

static void *send_sequence(void *argument)
{
    struct sender *sender = argument;
    for (int i = 0; i < MESSAGES; i++) {
        for (int call = 0; call < CALLS; call++) {
            char text[32];
            int len = snprintf(text, sizeof(text), "%d %d", sender->number, i);
            send_text(held.calls[call], text, (size_t)len);
        }
    }
    if (atomic_fetch_sub(sender->left, 1) == 1) {
        for (int call = 0; call < CALLS; call++) {
            finish(held.calls[call]);
        }
    }
    return NULL;
}

static void check_sequences(struct grpc_reply *reply)
{
    int next[SENDERS] = {0};
    struct th_str message;
    while (th_str_present(message = grpc_reply_next(reply))) {
        char text[32];
        int sender, number;
        snprintf(text, sizeof(text), "%.*s", TH_PRI(message));
        assert_int_equal(sscanf(text, "%d %d", &sender, &number), 2);
        assert_int_equal(number, next[sender]++);
    }
    for (int i = 0; i < SENDERS; i++) {
        assert_int_equal(next[i], MESSAGES);
    }
}

static void other_threads_send(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){.loops = 2});
    struct grpc_wire *wires[2] = {wire_to(server), wire_to(server)};
    struct grpc_reply *replies[CALLS];
    struct sender senders[SENDERS];
    atomic_int left = SENDERS;
    for (int i = 0; i < CALLS; i++) {
        replies[i] = begin_held(wires[i % 2], "/t/Hold");
    }
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.number = i, .left = &left};
        pthread_create(&senders[i].thread, NULL, send_sequence, &senders[i]);
    }
    for (int i = 0; i < CALLS; i++) {
        while (!replies[i]->closed) {
            grpc_wire_step(wires[0], TH_MILLISECOND);
            grpc_wire_step(wires[1], TH_MILLISECOND);
        }
        assert_int_equal(replies[i]->status, TH_GRPC_OK);
        check_sequences(replies[i]);
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
    }
    grpc_wire_close(wires[0]);
    grpc_wire_close(wires[1]);
    stop(server);
}

static void a_slow_reader_stops_other_threads(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){0});
    struct grpc_wire *wire = wire_to(server);
    wire->client->stingy = true;
    struct grpc_reply *reply = begin_held(wire, "/t/Hold");
    struct th_grpc_call *call = held.calls[0];
    struct th_blob *blob = th_blob_alloc(1000);
    memset(blob->data, 'x', blob->len);
    size_t sent = 0;
    th_time deadline = th_monotonic() + GRPC_WIRE_PATIENCE * TH_SECOND;
    while (th_grpc_send(call, blob) && th_monotonic() < deadline) {
        sent++;
        grpc_wire_step(wire, 0);
    }
    th_blob_unref(blob);
    assert_in_range(th_grpc_queued(call), 64 << 10, 140 << 10);
    nghttp2_session_consume(wire->client->session, reply->stream, 65535);
    wire->client->stingy = false;
    grpc_wire_until(wire, held_figure(&held.writable) == 1);
    finish(call);
    assert_true(grpc_wire_finish(wire, reply));
    assert_int_equal(reply->data.len, (sent + 1) * 1005);
    grpc_wire_close(wire);
    stop(server);
}

static void note_thread(struct th_grpc_call *call, void *argument)
{
    *(_Atomic pthread_t *)argument = pthread_self();
}

static void work_runs_on_the_loop(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){0});
    struct grpc_wire *wire = wire_to(server);
    _Atomic pthread_t ran = pthread_self();
    begin_held(wire, "/t/Hold");
    assert_true(th_grpc_run(held.calls[0], note_thread, &ran));
    until(pthread_equal(ran, held.threads[0]));
    grpc_wire_close(wire);
    stop(server);
}

/* A call may outlive its stream, its connection, its server. */
static void calls_outlive_their_server(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){0});
    struct grpc_wire *wire = wire_to(server);
    _Atomic pthread_t ran;
    begin_held(wire, "/t/Hold");
    struct th_grpc_call *call = th_grpc_ref(held.calls[0]);
    grpc_wire_close(wire);
    until(held_figure(&held.ended) == 1);
    assert_int_equal(held.why, TH_GRPC_LOST);
    send_text(call, "a", 1);
    until(th_grpc_queued(call) == 0);
    stop(server);
    send_text(call, "a", 1);
    assert_int_equal(th_grpc_queued(call), 0);
    assert_false(th_grpc_run(call, note_thread, &ran));
    th_grpc_finish(call, TH_GRPC_UNKNOWN, TH_STR("words"), none);
    th_grpc_headers(call, none);
    th_grpc_pause(call);
    th_grpc_unref(call);
}

/* ---- drain and stop ---- */

static void a_drain(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){.loops = 2});
    struct grpc_wire *stays = wire_to(server), *leaves_at_once = wire_to(server);
    struct grpc_reply *held_reply = begin_held(stays, "/t/Hold");
    struct grpc_reply *leaving = begin_held(leaves_at_once, "/t/Leave");
    th_grpc_server_drain(server, 60 * TH_SECOND);
    assert_true(grpc_wire_finish(leaves_at_once, leaving));
    assert_int_equal(leaving->status, TH_GRPC_OK);
    assert_true(grpc_wire_closed(leaves_at_once));
    grpc_wire_until(stays, stays->client->goaway && held_figure(&held.drained) == 2);
    until(grpc_wire_connect("127.0.0.1", th_grpc_server_port(server)) < 0);
    assert_false(held_reply->closed);
    finish(held.calls[0]);
    assert_true(grpc_wire_finish(stays, held_reply));
    assert_int_equal(held_reply->status, TH_GRPC_OK);
    assert_true(grpc_wire_closed(stays));
    until(stats_of(server).connections == 0);
    grpc_wire_close(stays);
    grpc_wire_close(leaves_at_once);
    stop(server);
}

static void stopping_with_calls(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){0});
    struct grpc_wire *wire = wire_to(server);
    struct grpc_reply *reply = begin_held(wire, "/t/Hold");
    th_time before = th_monotonic();
    stop(server);
    assert_true(th_monotonic() - before < 5 * TH_SECOND);
    assert_true(grpc_wire_finish(wire, reply));
    assert_int_equal(reply->status, TH_GRPC_UNAVAILABLE);
    assert_true(grpc_wire_closed(wire));
    grpc_wire_close(wire);
}

/* A stop in the middle of a long drain. */
static void stopping_a_drain(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){0});
    struct grpc_wire *wire = wire_to(server);
    struct grpc_reply *reply = begin_held(wire, "/t/Hold");
    th_grpc_server_drain(server, 60 * TH_SECOND);
    grpc_wire_until(wire, wire->client->goaway);
    th_time before = th_monotonic();
    stop(server);
    assert_true(th_monotonic() - before < 5 * TH_SECOND);
    assert_true(grpc_wire_finish(wire, reply));
    assert_int_equal(reply->status, TH_GRPC_UNAVAILABLE);
    grpc_wire_close(wire);
}

static void stopping_with_a_client_that_does_not_read(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){0});
    struct grpc_wire *wire = wire_to(server);
    nghttp2_submit_window_update(wire->client->session, 0, 0, 1 << 28);
    begin_held(wire, "/t/Hold");
    nghttp2_submit_window_update(wire->client->session, 0, 1, 1 << 28);
    grpc_wire_step(wire, TH_MILLISECOND);
    TH_AUTOFREE char *bytes = th_alloc(32 << 20);
    send_text(held.calls[0], bytes, 32 << 20);
    until(th_grpc_queued(held.calls[0]) < 31 << 20); /* the kernel has what it takes */
    th_time before = th_monotonic();
    stop(server);
    assert_true(th_monotonic() - before < 6 * TH_SECOND);
    grpc_wire_close(wire);
}

static void stopping_a_server_without_clients(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){.loops = 4});
    th_time before = th_monotonic();
    stop(server);
    assert_true(th_monotonic() - before < 2 * TH_SECOND);
    th_grpc_server_stop(NULL, 0);
}

/* ---- limits ---- */

/* Whoever only holds connections cannot keep others out. */
static void idle_connections_make_room(void **state)
{
    struct th_grpc_server *server =
        start((struct th_grpc_server_options){.max_connections = 4, .loops = 2});
    struct grpc_wire *busy = wire_to(server), *idle[3];
    begin_held(busy, "/t/Hold");
    for (size_t i = 0; i < TH_COUNT(idle); i++) {
        idle[i] = wire_to(server);
        assert_serves(idle[i]);
    }
    struct grpc_wire *late = wire_to(server);
    assert_serves(late);
    assert_int_equal(stats_of(server).shed, 1);
    size_t closed = 0;
    for (size_t i = 0; i < TH_COUNT(idle); i++) {
        grpc_wire_step(idle[i], 0);
        grpc_wire_step(idle[i], 0);
        closed += idle[i]->eof;
        assert_int_equal(idle[i]->eof, idle[i]->client->goaway);
    }
    assert_int_equal(closed, 1);
    assert_serves(busy);
    for (size_t i = 0; i < TH_COUNT(idle); i++) {
        grpc_wire_close(idle[i]);
    }
    grpc_wire_close(busy);
    grpc_wire_close(late);
    stop(server);
}

static void busy_connections_make_others_wait(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){.max_connections = 2});
    struct grpc_wire *a = wire_to(server), *b = wire_to(server);
    begin_held(a, "/t/Hold");
    begin_held(b, "/t/Hold");
    struct grpc_wire *late = wire_to(server);
    struct grpc_reply *reply = grpc_client_unary(late->client, "/t/Echo", NULL, TH_STR("hello"));
    th_time until_then = th_monotonic() + 300 * TH_MILLISECOND;
    while (th_monotonic() < until_then) {
        grpc_wire_step(late, 10 * TH_MILLISECOND);
    }
    assert_false(reply->closed || late->eof);
    grpc_wire_close(a);
    assert_true(grpc_wire_finish(late, reply));
    assert_int_equal(reply->status, TH_GRPC_OK);
    grpc_wire_close(b);
    grpc_wire_close(late);
    stop(server);
}

static th_time processor_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * TH_SECOND + t.tv_nsec / 1000;
}

/* Uses up all files but one, which the client takes. */
static size_t use_up_files(int *files, size_t most)
{
    size_t count = 0;
    while (count < most && (files[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        count++;
    }
    assert_true(count > 0 && count < most);
    close(files[--count]);
    return count;
}

static void no_more_files(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){0});
    struct grpc_wire *there = wire_to(server);
    assert_serves(there);
    static int files[4096];
    struct rlimit before, few;
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = 256;
    setrlimit(RLIMIT_NOFILE, &few);
    size_t count = use_up_files(files, TH_COUNT(files));
    struct grpc_wire *late = wire_to(server);
    struct grpc_reply *reply = grpc_client_unary(late->client, "/t/Echo", NULL, TH_STR("hello"));
    th_time start_of_it = th_monotonic(), used = processor_time();
    while (th_monotonic() < start_of_it + 500 * TH_MILLISECOND) {
        grpc_wire_step(late, 50 * TH_MILLISECOND);
    }
    assert_true(processor_time() - used < 200 * TH_MILLISECOND); /* it does not spin */
    assert_false(reply->closed);
    assert_serves(there);
    while (count > 0) {
        close(files[--count]);
    }
    setrlimit(RLIMIT_NOFILE, &before);
    assert_true(grpc_wire_finish(late, reply));
    grpc_wire_close(there);
    grpc_wire_close(late);
    stop(server);
}

/* ---- clients ---- */

static void a_client_that_vanishes(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){0});
    struct grpc_wire *wire = wire_to(server);
    begin_held(wire, "/t/Hold");
    struct linger at_once = {.l_onoff = 1};
    setsockopt(wire->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)); /* a reset */
    grpc_wire_close(wire);
    until(held_figure(&held.ended) == 1);
    assert_int_equal(held.why, TH_GRPC_LOST);
    until(stats_of(server).connections == 0);
    stop(server);
}

static void a_client_of_http1(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){0});
    int fd = grpc_wire_connect("127.0.0.1", th_grpc_server_port(server));
    /* More than the server looks at: what it leaves unread must not take the answer away. */
    TH_AUTOFREE char *request = th_alloc(200000);
    memset(request, 'x', 200000);
    memcpy(request, "GET / HTTP/1.1\r\n", 16);
    assert_int_equal(send(fd, request, 200000, MSG_NOSIGNAL), 200000);
    TH_BUFFER answer = {0};
    char bytes[1000];
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
        th_buffer_add(&answer, bytes, (size_t)n);
    }
    assert_int_equal(n, 0);
    th_buffer_add(&answer, "", 1);
    assert_true(th_str_starts(th_buffer_view(&answer), TH_STR("HTTP/1.1 505")));
    assert_non_null(strstr(answer.data, "speaks gRPC"));
    close(fd);
    stop(server);
}

static void a_large_echo(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){0});
    struct grpc_wire *wire = wire_to(server);
    size_t len = (4 << 20) - 7;
    TH_AUTOFREE char *bytes = th_alloc(len);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(i * 7 >> 2);
    }
    struct grpc_reply *reply =
        grpc_client_unary(wire->client, "/t/Echo", NULL, th_str_n(bytes, len));
    assert_true(grpc_wire_finish(wire, reply));
    assert_int_equal(reply->status, TH_GRPC_OK);
    assert_true(th_str_eq(grpc_reply_next(reply), th_str_n(bytes, len)));
    grpc_wire_close(wire);
    stop(server);
}

static void deadlines_pass_by_themselves(void **state)
{
    struct th_grpc_server *server = start((struct th_grpc_server_options){0});
    struct grpc_wire *wire = wire_to(server);
    const struct grpc_client_field fields[] = {{"grpc-timeout", "50m"}, {NULL, NULL}};
    th_time before = th_monotonic();
    struct grpc_reply *reply = grpc_client_begin(wire->client, "/t/Hold", fields);
    assert_true(grpc_wire_finish(wire, reply));
    assert_int_equal(reply->status, TH_GRPC_DEADLINE_EXCEEDED);
    assert_true(th_monotonic() - before >= 50 * TH_MILLISECOND);
    grpc_wire_close(wire);
    stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(addresses_that_do_not_work),
        cmocka_unit_test(several_loops),
        cmocka_unit_test(other_threads_send),
        cmocka_unit_test(a_slow_reader_stops_other_threads),
        cmocka_unit_test(work_runs_on_the_loop),
        cmocka_unit_test(calls_outlive_their_server),
        cmocka_unit_test(a_drain),
        cmocka_unit_test(stopping_with_calls),
        cmocka_unit_test(stopping_a_drain),
        cmocka_unit_test(stopping_with_a_client_that_does_not_read),
        cmocka_unit_test(stopping_a_server_without_clients),
        cmocka_unit_test(idle_connections_make_room),
        cmocka_unit_test(busy_connections_make_others_wait),
        cmocka_unit_test(no_more_files),
        cmocka_unit_test(a_client_that_vanishes),
        cmocka_unit_test(a_client_of_http1),
        cmocka_unit_test(a_large_echo),
        cmocka_unit_test(deadlines_pass_by_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

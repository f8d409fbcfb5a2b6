/* Requests that wait: many at once, callers that hang up, a server that stops. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/http.h"
#include "base/memory.h"
#include "unit/api_call.h"
#include "unit/api_fake.h"

#include <cmocka.h>

#define M "/runtime/webhooks/durabletask"

struct fixture {
    struct fake *fake;
    struct th_http *http;
};

static int set_up(void **state)
{
    struct fixture *f = TH_NEW(struct fixture);
    f->fake = fake_new("MyHub", false);
    f->http = th_http_start(
        &(struct th_http_options){.gateway = fake_gateway(f->fake), .idle_seconds = 2}, NULL);
    assert_non_null(f->http);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    th_http_stop(f->http);
    fake_free(f->fake);
    free(f);
    return 0;
}

static struct call go(const struct fixture *f, const char *method, const char *path,
                      const char *body)
{
    char url[512];
    snprintf(url, sizeof(url), "%s%s", th_http_url(f->http), path);
    return call_http(method, url, body,
                     (const char *const[]){"Content-Type: application/json", NULL});
}

static void expect(const struct fixture *f, int status, const char *method, const char *path,
                   const char *body)
{
    CALL_HTTP call = go(f, method, path, body);
    assert_int_equal(call.status, status);
}

/* ---- raw sockets ---------------------------------------------------------------------------- */

static int connect_to(const struct fixture *f)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)th_http_port(f->http)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s >= 0);
    assert_int_equal(connect(s, (struct sockaddr *)&to, sizeof(to)), 0);
    return s;
}

static void send_text(int s, const char *text)
{
    assert_int_equal(send(s, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What comes until the peer closes, or until `enough` is in it, for ten seconds. */
static const char *receive(int s, const char *enough)
{
    static char text[65536];
    size_t len = 0;
    text[0] = '\0';
    while (len < sizeof(text) - 1 && !(enough && strstr(text, enough))) {
        struct pollfd p = {.fd = s, .events = POLLIN};
        ssize_t got = poll(&p, 1, 10000) == 1 ? recv(s, text + len, sizeof(text) - 1 - len, 0) : -2;
        if (got == -2) {
            fail_msg("nothing comes after: %s", text);
        }
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
        text[len] = '\0';
    }
    return text;
}

#define WAIT_REQUEST "GET " M "/instances/i1/wait?timeout=60 HTTP/1.1\r\nHost: x\r\n\r\n"

/* ---- many ----------------------------------------------------------------------------------- */

static void allow_files(rlim_t count)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < count && files.rlim_max >= count) {
        files.rlim_cur = count;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int count_threads(void)
{
    char line[256];
    int count = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof(line), status)) {
        sscanf(line, "Threads: %d", &count);
    }
    fclose(status);
    return count;
}

static void test_thousand(void **state)
{
    enum { CLIENTS = 1000 };
    struct fixture *f = *state;
    int sockets[CLIENTS];
    expect(f, 202, "POST", M "/orchestrators/job/i1", "1");
    int threads = count_threads();
    for (int i = 0; i < CLIENTS; i++) {
        sockets[i] = connect_to(f);
        send_text(sockets[i], WAIT_REQUEST);
    }
    assert_true(fake_await_waiting(f->fake, CLIENTS));
    assert_int_equal(count_threads(), threads);
    /* The rest of the API goes on meanwhile. */
    expect(f, 202, "GET", M "/instances/i1", NULL);
    th_time begin = th_monotonic();
    expect(f, 202, "POST", M "/instances/i1/raiseEvent/finish", "\"done\"");
    for (int i = 0; i < CLIENTS; i++) {
        const char *answer = receive(sockets[i], "lastUpdatedTime");
        assert_non_null(strstr(answer, "HTTP/1.1 200"));
        assert_non_null(strstr(answer, "\"output\":\"done\""));
        close(sockets[i]);
    }
    print_message("1,000 waiting callers answered in %.1f ms\n",
                  (double)(th_monotonic() - begin) / 1000);
    assert_int_equal(fake_canceled(f->fake), 0);
}

/* ---- sync starts ---------------------------------------------------------------------------- */

struct later {
    const struct fixture *f;
    const char *path, *body;
};

static void *do_later(void *argument)
{
    struct later *later = argument;
    if (fake_await_waiting(later->f->fake, 1)) {
        CALL_HTTP call = go(later->f, "POST", later->path, later->body);
        (void)call;
    }
    return NULL;
}

static void test_sync_start(void **state)
{
    struct later later = {*state, M "/instances/i1/raiseEvent/finish", "{\"a\": 0.10}"};
    pthread_t thread;
    pthread_create(&thread, NULL, do_later, &later);
    CALL_HTTP call =
        go(*state, "POST", M "/orchestrators/job/i1?timeout=30&pollingInterval=1", "1");
    pthread_join(thread, NULL);
    assert_int_equal(call.status, 200);
    assert_string_equal(call.body, "{\"a\": 0.10}");
}

static void test_sync_start_terminated(void **state)
{
    struct later later = {*state, M "/instances/i1/terminate?reason=no", ""};
    pthread_t thread;
    pthread_create(&thread, NULL, do_later, &later);
    CALL_HTTP call =
        go(*state, "POST", M "/orchestrators/job/i1?timeout=30&pollingInterval=1", "1");
    pthread_join(thread, NULL);
    assert_int_equal(call.status, 200);
    assert_non_null(strstr(call.body, "\"runtimeStatus\":\"Terminated\""));
}

static void test_sync_start_too_slow(void **state)
{
    CALL_HTTP call =
        go(*state, "POST", M "/orchestrators/job/i1?timeout=0.1&pollingInterval=0.1", "1");
    assert_int_equal(call.status, 202);
    assert_non_null(strstr(call.body, "\"id\":\"i1\",\"statusQueryGetUri\""));
}

/* ---- callers that go away ------------------------------------------------------------------- */

static void test_hang_up(void **state)
{
    struct fixture *f = *state;
    expect(f, 202, "POST", M "/orchestrators/job/i1", "1");
    int stays = connect_to(f), goes = connect_to(f);
    send_text(stays, WAIT_REQUEST);
    send_text(goes, WAIT_REQUEST);
    assert_true(fake_await_waiting(f->fake, 2));
    close(goes);
    assert_true(fake_await_waiting(f->fake, 1));
    assert_int_equal(fake_canceled(f->fake), 1);
    expect(f, 202, "POST", M "/instances/i1/raiseEvent/finish", "1");
    assert_non_null(strstr(receive(stays, "lastUpdatedTime"), "HTTP/1.1 200"));
    close(stays);
}

static void test_slow_caller(void **state)
{
    struct fixture *f = *state;
    int silent = connect_to(f), head = connect_to(f), body = connect_to(f);
    send_text(head, "GET / HTTP/1.1\r\nHos");
    send_text(body,
              "POST " M "/orchestrators/job HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1");
    assert_string_equal(receive(silent, NULL), "");
    assert_null(strstr(receive(head, NULL), "200"));
    assert_null(strstr(receive(body, NULL), "202"));
    assert_int_equal(fake_submitted(f->fake), 0);
    close(silent);
    close(head);
    close(body);
}

static void test_malformed(void **state)
{
    static const char *const requests[] = {
        "\x16\x03\x01\x02\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    };
    for (size_t i = 0; i < TH_COUNT(requests); i++) {
        int s = connect_to(*state);
        send_text(s, requests[i]);
        const char *answer = receive(s, NULL);
        if (*answer && !strstr(answer, " 400 ") && !strstr(answer, " 413 ")) {
            fail_msg("%zu: %s", i, answer);
        }
        close(s);
    }
    expect(*state, 200, "GET", "/healthz", NULL);
}

static void test_large_head(void **state)
{
    enum { LEN = 100000 };
    char *text = th_alloc(LEN + 64);
    memset(text, 'a', LEN);
    memcpy(text, "GET /", 5);
    int s = connect_to(*state);
    send(s, text, LEN, MSG_NOSIGNAL);
    const char *answer = receive(s, NULL);
    assert_true(!*answer || strstr(answer, " 414 "));
    close(s);
    int n = snprintf(text, 64, "GET / HTTP/1.1\r\nHost: x\r\nX: ");
    memset(text + n, 'a', LEN - (size_t)n);
    s = connect_to(*state);
    send(s, text, LEN, MSG_NOSIGNAL);
    answer = receive(s, NULL);
    assert_true(!*answer || strstr(answer, " 431 "));
    close(s);
    free(text);
    expect(*state, 200, "GET", "/healthz", NULL);
}

static void test_keep_alive(void **state)
{
    int s = connect_to(*state);
    for (int i = 0; i < 3; i++) {
        send_text(s, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_non_null(strstr(receive(s, "ok\n"), "HTTP/1.1 200"));
    }
    /* Two requests at once on one connection are answered in order. */
    send_text(s, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
                 "GET " M "/instances/none HTTP/1.1\r\nHost: x\r\n\r\n");
    const char *answer = receive(s, " 404 ");
    assert_true(strstr(answer, " 200 ") < strstr(answer, " 404 "));
    close(s);
}

/* ---- stopping ------------------------------------------------------------------------------- */

static void test_stop(void **state)
{
    enum { CLIENTS = 50 };
    struct fixture *f = *state;
    int sockets[CLIENTS];
    struct fixture other = {.fake = f->fake};
    other.http = th_http_start(&(struct th_http_options){.gateway = fake_gateway(f->fake)}, NULL);
    expect(&other, 202, "POST", M "/orchestrators/job/i1", "1");
    for (int i = 0; i < CLIENTS; i++) {
        sockets[i] = connect_to(&other);
        send_text(sockets[i], WAIT_REQUEST);
    }
    assert_true(fake_await_waiting(f->fake, CLIENTS));
    th_time begin = th_monotonic();
    th_http_stop(other.http);
    assert_true(th_monotonic() - begin < 4 * TH_SECOND);
    assert_int_equal(fake_waiting(f->fake), 0);
    for (int i = 0; i < CLIENTS; i++) {
        const char *answer = receive(sockets[i], NULL);
        assert_non_null(strstr(answer, "HTTP/1.1 503"));
        assert_non_null(strstr(answer, "shutting down"));
        close(sockets[i]);
    }
}

/* Stops under load: every caller gets an answer or a closed connection, and nothing is left. */
struct load {
    char url[64];
    atomic_bool ends;
    atomic_int answers;
};

static void *put_load(void *argument)
{
    struct load *load = argument;
    char url[256];
    while (!load->ends) {
        snprintf(url, sizeof(url), "%s" M "/orchestrators/echo", load->url);
        CALL_HTTP call = call_http("POST", url, "1", NULL);
        assert_true(call.status == 202 || call.status == 503 || call.status == 0);
        snprintf(url, sizeof(url), "%s" M "/orchestrators/job?timeout=0.01&pollingInterval=0",
                 load->url);
        CALL_HTTP sync = call_http("POST", url, "1", NULL);
        assert_true(sync.status == 202 || sync.status == 503 || sync.status == 0);
        load->answers += call.status == 202;
    }
    return NULL;
}

static void test_stop_under_load(void **state)
{
    enum { THREADS = 4, ROUNDS = 10, ANSWERS = 30 };
    struct fixture *f = *state;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t threads[THREADS];
        struct load load = {.ends = false};
        struct th_http *http =
            th_http_start(&(struct th_http_options){.gateway = fake_gateway(f->fake)}, NULL);
        snprintf(load.url, sizeof(load.url), "%s", th_http_url(http));
        for (int i = 0; i < THREADS; i++) {
            pthread_create(&threads[i], NULL, put_load, &load);
        }
        while (load.answers < ANSWERS) {
            sched_yield();
        }
        th_http_stop(http);
        assert_int_equal(fake_waiting(f->fake), 0);
        load.ends = true;
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_thousand),
        TEST(test_sync_start),
        TEST(test_sync_start_terminated),
        TEST(test_sync_start_too_slow),
        TEST(test_hang_up),
        TEST(test_slow_caller),
        TEST(test_malformed),
        TEST(test_large_head),
        TEST(test_keep_alive),
        TEST(test_stop),
        TEST(test_stop_under_load),
    };
    allow_files(4096);
    return cmocka_run_group_tests_name("api wait", tests, NULL, NULL);
}

/* The application's own routes and cron functions. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/http.h"
#include "base/memory.h"
#include "unit/api_call.h"
#include "unit/api_fake.h"

#include <cmocka.h>

#define M "/runtime/webhooks/durabletask"

/* ---- the application ------------------------------------------------------------------------ */

static int unused_orchestrator(struct th_context *context)
{
    return TH_FAILED;
}

static int http_start(struct th_request *request)
{
    char id[TH_ID_MAX];
    struct th_client_error error;
    json_t *input = json_incref(th_request_json(request));
    if (!th_client_start(th_request_client(request), th_request_param(request, "functionName"),
                         input, NULL, id, &error)) {
        return th_respond_error(request, &error);
    }
    return th_respond_check_status(request, id);
}

static int echo_request(struct th_request *request)
{
    size_t len;
    const char *body = th_request_body(request, &len);
    const char *name = th_request_query(request, "name");
    const char *agent = th_request_header(request, "x-agent");
    th_respond_header(request, "X-Path", th_request_path(request));
    th_respond_header(request, "X-Bad", "a\r\nb");
    th_respond_header(request, "x-path", th_request_path(request)); /* replaces */
    return th_respond_text(request, 201, "%s %s %s %s %.*s %s", th_request_method(request),
                           th_request_param(request, "rest"), name ? name : "-",
                           agent ? agent : "-", (int)len, body, th_request_origin(request));
}

static int answer_json(struct th_request *request)
{
    th_respond_text(request, 200, "to be replaced");
    return th_respond_json(request, 202, json_pack("{s:b}", "ok", 1));
}

static int answer_file(struct th_request *request)
{
    return th_respond_file(request, th_request_query(request, "path"));
}

static int answer_nothing(struct th_request *request)
{
    return 0;
}

static int answer_failing(struct th_request *request)
{
    return TH_FAILED;
}

static int answer_odd_status(struct th_request *request)
{
    return th_respond(request, 42, "text/plain", "x", 1);
}

static int wait_for_ever(struct th_request *request)
{
    struct th_client_error error = {0};
    json_t *document = th_client_wait(th_request_client(request), "i1", -1, &error);
    json_decref(document);
    return document ? th_respond_text(request, 200, "ended") : th_respond_error(request, &error);
}

static atomic_int fired;

static int on_timer(struct th_request *request)
{
    bool fits = strcmp(th_request_method(request), "TIMER") == 0 &&
                strcmp(th_request_path(request), "tick") == 0 && !th_request_query(request, "x") &&
                !th_request_json(request);
    fired += fits ? 1 : 1000;
    return 0;
}

static void registration(struct th_app *app)
{
    th_orchestrator(app, "job", unused_orchestrator);
    th_orchestrator(app, "echo", unused_orchestrator);
    th_app_version(app, "3.1");
    th_http_route(app, "POST", "orchestrators/{functionName}", http_start);
    th_http_route(app, "GET,PUT", "echo/{first}/{rest}", echo_request);
    th_http_route(app, "GET", "json", answer_json);
    th_http_route(app, "POST", "json", echo_request);
    th_http_route(app, "GET", "file", answer_file);
    th_http_route(app, "GET", "nothing", answer_nothing);
    th_http_route(app, "GET", "failing", answer_failing);
    th_http_route(app, "GET", "odd", answer_odd_status);
    th_http_route(app, "GET", "wait", wait_for_ever);
    th_cron(app, "tick", "* * * * * *", on_timer);
}

/* ---- fixture -------------------------------------------------------------------------------- */

struct fixture {
    struct fake *fake;
    struct th_app *app;
    struct th_http *http;
};

static int set_up(void **state)
{
    struct fixture *f = TH_NEW(struct fixture);
    struct th_error error = {0};
    f->fake = fake_new("MyHub", false);
    f->app = th_app_from(registration, &error);
    if (!f->app) {
        fail_msg("%s", error.message);
    }
    f->http = th_http_start(&(struct th_http_options){.gateway = fake_gateway(f->fake),
                                                      .app = f->app,
                                                      .function_threads = 2},
                            &error);
    assert_non_null(f->http);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    th_http_stop(f->http);
    th_app_free(f->app);
    fake_free(f->fake);
    free(f);
    return 0;
}

static struct call go(const struct fixture *f, const char *method, const char *path,
                      const char *body)
{
    char url[1024];
    snprintf(url, sizeof(url), "%s%s", th_http_url(f->http), path);
    return call_http(method, url, body, (const char *const[]){"x-agent: me", NULL});
}

static void check(const struct fixture *f, const char *method, const char *path, const char *body,
                  int status, const char *says)
{
    CALL_HTTP call = go(f, method, path, body);
    if (call.status != status || !strstr(call.body, says)) {
        fail_msg("%s %s: %d %s", method, path, call.status, call.body);
    }
}

/* ---- routes --------------------------------------------------------------------------------- */

static void test_routes(void **state)
{
    struct fixture *f = *state;
    check(f, "POST", "/api/orchestrators/job", "{\"a\":1}", 202, "statusQueryGetUri");
    assert_string_equal(fake_last_start(f->fake)->data.data, "{\"a\":1}");
    assert_string_equal(fake_last_start(f->fake)->version.data, "3.1");
    check(f, "POST", "/api/orchestrators/none", "1", 400, "job");
    check(f, "POST", "/API/Orchestrators/JOB/", NULL, 202, "id");
    check(f, "PUT", "/api/echo/a/b%20c?name=x+y", "body", 201, "PUT b c x y me body http://");
    check(f, "GET", "/api/json", NULL, 202, "{\"ok\":true}");
    check(f, "POST", "/api/json", "", 201, "POST");
    check(f, "GET", "/api/nothing", NULL, 204, "");
    check(f, "GET", "/api/failing", NULL, 500, "failed without an answer");
    check(f, "GET", "/api/odd", NULL, 500, "x");
    check(f, "GET", "/api/none", NULL, 404, "nothing is at");
    check(f, "GET", "/orchestrators/job", NULL, 404, "");
    check(f, "GET", "/", NULL, 200, "/api/orchestrators/{functionName}");
}

static void test_headers(void **state)
{
    char value[128];
    CALL_HTTP call = go(*state, "GET", "/api/echo/x/y", NULL);
    assert_true(call_header(&call, "X-Path", value, sizeof(value)));
    assert_string_equal(value, "/api/echo/x/y");
    assert_false(call_header(&call, "X-Bad", value, sizeof(value)));
    assert_true(call_header(&call, "Content-Type", value, sizeof(value)));
    assert_string_equal(value, "text/plain; charset=utf-8");
}

static void test_method(void **state)
{
    char value[64];
    CALL_HTTP call = go(*state, "DELETE", "/api/json", NULL);
    assert_int_equal(call.status, 405);
    assert_true(call_header(&call, "Allow", value, sizeof(value)));
    assert_string_equal(value, "GET,POST");
    CALL_HTTP head = go(*state, "HEAD", "/api/json", NULL);
    assert_int_equal(head.status, 202);
    assert_int_equal(head.len, 0);
}

static void test_file(void **state)
{
    char path[] = "/tmp/taskhub-file-XXXXXX.json", query[256], value[64];
    int file = mkstemps(path, 5);
    assert_true(file >= 0);
    assert_int_equal(write(file, "{\"a\":1}", 7), 7);
    close(file);
    snprintf(query, sizeof(query), "/api/file?path=%s", path);
    CALL_HTTP call = go(*state, "GET", query, NULL);
    assert_int_equal(call.status, 200);
    assert_string_equal(call.body, "{\"a\":1}");
    assert_true(call_header(&call, "Content-Type", value, sizeof(value)));
    assert_string_equal(value, "application/json; charset=utf-8");
    unlink(path);
    check(*state, "GET", query, NULL, 404, "not there");
    check(*state, "GET", "/api/file?path=/tmp", NULL, 404, "not there");
}

/* With a key, nothing of the application shows or runs without it. */
static void test_key(void **state)
{
    struct fixture *f = *state;
    struct fixture other = {.fake = f->fake, .app = f->app};
    other.http = th_http_start(
        &(struct th_http_options){
            .gateway = fake_gateway(f->fake), .app = f->app, .no_cron = true, .api_key = "k"},
        NULL);
    check(&other, "GET", "/api/json", NULL, 401, "API key");
    check(&other, "GET", "/api/json?code=k", NULL, 202, "ok");
    check(&other, "GET", "/?code=k", NULL, 200, "job");
    CALL_HTTP index = go(&other, "GET", "/", NULL);
    assert_int_equal(index.status, 200);
    assert_null(strstr(index.body, "job"));
    th_http_stop(other.http);
}

/* An orchestrator that the application does not have is refused at the management API too. */
static void test_unknown_function(void **state)
{
    CALL_HTTP call = go(*state, "POST", M "/orchestrators/nope/i1", "1");
    assert_int_equal(call.status, 400);
    const char *message = call_message(&call);
    assert_non_null(strstr(message, "'nope'"));
    assert_non_null(strstr(message, "job"));
    assert_non_null(strstr(message, "echo"));
    check(*state, "POST", M "/orchestrators/JOB/i1", "1", 202, "i1");
}

static void test_prefixes(void **state)
{
    static const char *const table[][2] = {
        {"", "/json"}, {"/my/api/", "/my/api/json"}, {"v1", "/v1/json"}};
    struct fixture *f = *state;
    for (size_t i = 0; i < TH_COUNT(table); i++) {
        struct fixture other = {.fake = f->fake, .app = f->app};
        other.http = th_http_start(&(struct th_http_options){.gateway = fake_gateway(f->fake),
                                                             .app = f->app,
                                                             .no_cron = true,
                                                             .route_prefix = table[i][0]},
                                   NULL);
        check(&other, "GET", table[i][1], NULL, 202, "ok");
        check(&other, "GET", "/api/json", NULL, 404, "");
        th_http_stop(other.http);
    }
}

/* ---- functions that block ------------------------------------------------------------------- */

static void *call_wait(void *argument)
{
    CALL_HTTP call = go(argument, "GET", "/api/wait", NULL);
    return (void *)(intptr_t)call.status;
}

static void test_blocking(void **state)
{
    enum { CALLERS = 4 };
    struct fixture *f = *state;
    pthread_t threads[CALLERS];
    check(f, "POST", M "/orchestrators/job/i1", "1", 202, "");
    for (int i = 0; i < CALLERS; i++) {
        pthread_create(&threads[i], NULL, call_wait, f);
    }
    assert_true(fake_await_waiting(f->fake, 2)); /* as many as there are function threads */
    check(f, "GET", M "/instances/i1", NULL, 202, "Running"); /* others go on */
    fake_set(f->fake, "i1", TH_STATUS_COMPLETED, TH_STR("1"));
    for (int i = 0; i < CALLERS; i++) {
        void *status;
        pthread_join(threads[i], &status);
        assert_int_equal((intptr_t)status, 200);
    }
}

static void test_stop_while_blocked(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    void *status;
    check(f, "POST", M "/orchestrators/job/i1", "1", 202, "");
    struct fixture other = {.fake = f->fake, .app = f->app};
    other.http = th_http_start(
        &(struct th_http_options){.gateway = fake_gateway(f->fake), .app = f->app, .no_cron = true},
        NULL);
    pthread_create(&thread, NULL, call_wait, &other);
    assert_true(fake_await_waiting(f->fake, 1));
    th_http_stop(other.http);
    pthread_join(thread, &status);
    assert_int_equal((intptr_t)status, 503);
    assert_int_equal(fake_waiting(f->fake), 0);
}

/* ---- cron ----------------------------------------------------------------------------------- */

static void test_cron(void **state)
{
    th_time begin = th_monotonic();
    fired = 0;
    while (fired < 2 && th_monotonic() - begin < 10 * TH_SECOND) {
        poll(NULL, 0, 5);
    }
    /* Two due times are at least one second apart. */
    assert_true(fired == 2);
    assert_true(th_monotonic() - begin >= TH_SECOND * 9 / 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_routes),
        TEST(test_headers),
        TEST(test_method),
        TEST(test_file),
        TEST(test_blocking),
        TEST(test_stop_while_blocked),
        TEST(test_unknown_function),
        TEST(test_prefixes),
        TEST(test_cron),
        TEST(test_key),
    };
    return cmocka_run_group_tests_name("api functions", tests, NULL, NULL);
}

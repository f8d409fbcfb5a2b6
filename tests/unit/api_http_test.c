/* Every operation of the management API and every status it answers, over real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static int set_up_with(void **state, bool inside)
{
    struct fixture *f = TH_NEW(struct fixture);
    struct th_error error;
    f->fake = fake_new("MyHub", inside);
    f->http = th_http_start(
        &(struct th_http_options){.gateway = fake_gateway(f->fake), .default_version = "1.5"},
        &error);
    if (!f->http) {
        fail_msg("%s", error.message);
    }
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, false);
}

static int set_up_inside(void **state)
{
    return set_up_with(state, true);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    th_http_stop(f->http);
    fake_free(f->fake);
    free(f);
    return 0;
}

static const char *url_of(const struct fixture *f, const char *path)
{
    static _Thread_local char url[4096];
    snprintf(url, sizeof(url), "%s%s", th_http_url(f->http), path);
    return url;
}

static struct call go(const struct fixture *f, const char *method, const char *path,
                      const char *body)
{
    return call_http(method, url_of(f, path), body,
                     (const char *const[]){"Content-Type: application/json", NULL});
}

static int status_of(const struct fixture *f, const char *method, const char *path,
                     const char *body)
{
    CALL_HTTP call = go(f, method, path, body);
    return call.status;
}

static void start(const struct fixture *f, const char *name_and_id, const char *body)
{
    char path[512];
    snprintf(path, sizeof(path), M "/orchestrators/%s", name_and_id);
    assert_int_equal(status_of(f, "POST", path, body), 202);
}

/* ---- the table ------------------------------------------------------------------------------ */

struct row {
    const char *method, *path, *body;
    int status;
    const char *says; /* part of the body; NULL: anything, "": no body */
};

static void check_row(const struct fixture *f, const struct row *row)
{
    CALL_HTTP call = go(f, row->method, row->path, row->body);
    bool says = !row->says || (*row->says ? strstr(call.body, row->says) != NULL : call.len == 0);
    if (call.status != row->status || !says) {
        fail_msg("%s %s: %d %s", row->method, row->path, call.status, call.body);
    }
}

/* In order: each row sees what those before it did. */
static const struct row rows[] = {
    /* start */
    {"POST", M "/orchestrators/job/i1", "{\"a\":0.10}", 202, "\"id\":\"i1\""},
    {"POST", M "/orchestrators/job/i1", "1", 409, "in use"},
    {"POST", M "/orchestrators/echo/e1", "[1]", 202, NULL},
    {"POST", M "/orchestrators/echo/e1", "[2]", 202, NULL}, /* ended: replaced */
    {"POST", M "/ORCHESTRATORS/echo/e2/", NULL, 202, NULL},
    {"POST", M "/orchestrators/fail/f1", "null", 202, NULL},
    {"POST", "/durabletask/orchestrators/job/r1", "\"\"", 202, NULL},
    {"POST", M "/orchestrators/job/bad1", "{", 400, "Invalid JSON content"},
    {"POST", M "/orchestrators/job/%40entity", "1", 400, "ExceptionMessage"},
    {"GET", M "/orchestrators/job/i1", NULL, 404, "Message"},
    {"PUT", M "/orchestrators/job/i1", "1", 404, NULL},
    {"POST", M "/orchestrators", "1", 404, NULL},
    {"POST", M "/orchestrators/job/w?timeout=x&pollingInterval=1", "1", 400, "timeout"},
    {"POST", M "/orchestrators/job/w?timeout=-1&pollingInterval=1", "1", 400, "timeout"},
    {"POST", M "/orchestrators/job/w?timeout=1&pollingInterval=2", "1", 400, "pollingInterval"},
    {"POST", M "/orchestrators/job/w?timeout=0&pollingInterval=0", "1", 202, "statusQueryGetUri"},
    {"POST", M "/orchestrators/echo/w2?timeout=5&pollingInterval=1", "0.10", 200, "0.10"},
    {"POST", M "/orchestrators/echo/w3?timeout=5&pollingInterval=1", NULL, 200, "null"},
    {"POST", M "/orchestrators/fail/w4?timeout=5&pollingInterval=1", "1", 200, "\"Failed\""},
    {"POST",
     M "/orchestrators/fail/w5?timeout=5&pollingInterval=1&"
       "returnInternalServerErrorOnFailure=true",
     "1", 500, "\"Failed\""},
    {"POST", M "/orchestrators/job/s1?startAt=2999-01-01T00:00:00Z", "1", 202, NULL},
    {"POST", M "/orchestrators/job/s2?startAt=soon", "1", 400, "startAt"},
    /* status */
    {"GET", M "/instances/i1", NULL, 202, "\"runtimeStatus\":\"Running\",\"input\":{\"a\":0.10}"},
    {"GET", M "/instances/i1?showInput=false", NULL, 202, "\"input\":null"},
    {"GET", M "/instances/e1", NULL, 200, "\"output\":[2]"},
    {"GET", M "/instances/e2", NULL, 200, "\"input\":null,\"customStatus\":null,\"output\":null"},
    {"GET", M "/instances/s1", NULL, 202, "\"Pending\""},
    {"GET", M "/instances/f1", NULL, 200, "\"output\":\"it \\\"broke\\\"\""},
    {"GET", M "/instances/f1?returnInternalServerErrorOnFailure=true", NULL, 500, "Oops"},
    {"GET", M "/instances/e1?returnInternalServerErrorOnFailure=true", NULL, 200, NULL},
    {"GET", M "/instances/none", NULL, 404, ""},
    {"GET", "/DurableTask/Instances/i1/", NULL, 202, NULL},
    {"GET", M "/instances/e1?taskHub=myhub&connection=Storage", NULL, 200, NULL},
    {"GET", M "/instances/e1?taskHub=Other", NULL, 404, "'MyHub', not 'Other'"},
    {"GET", M "/instances/e1/wait?timeout=5", NULL, 200, "\"Completed\""},
    {"GET", M "/instances/i1/wait?timeout=0.05", NULL, 202, "\"Running\""},
    {"GET", M "/instances/i1/wait?started=true", NULL, 202, "\"Running\""},
    {"GET", M "/instances/none/wait?timeout=5", NULL, 404, ""},
    {"GET", M "/instances/i1/wait?timeout=x", NULL, 400, NULL},
    {"GET", M "/instances/e1/history", NULL, 200, "\"EventType\""},
    {"GET", M "/instances/none/history", NULL, 404, ""},
    /* messages */
    {"POST", M "/instances/none/raiseEvent/x", "1", 404, NULL},
    {"POST", M "/instances/e1/raiseEvent/x", "1", 410, NULL},
    {"POST", M "/instances/f1/raiseEvent/x", "1", 410, NULL},
    {"POST", M "/instances/i1/raiseEvent/x", "{", 400, "Invalid JSON content"},
    {"POST", M "/instances/i1/raiseEvent/x", "1", 202, ""},
    {"POST", M "/instances/i1/RaiseEvent/x/", "\"{\\\"a\\\":1}\"", 202, ""},
    {"POST", M "/instances/i1/raiseEvent", "1", 404, NULL},
    {"POST", M "/instances/i1/suspend?reason=a%20b", NULL, 202, ""},
    {"GET", M "/instances/i1", NULL, 202, "\"Suspended\""},
    {"POST", M "/instances/i1/resume", NULL, 202, ""},
    {"POST", M "/instances/none/suspend", NULL, 404, NULL},
    {"POST", M "/instances/e1/suspend", NULL, 410, NULL},
    {"POST", M "/instances/none/resume", NULL, 404, NULL},
    {"POST", M "/instances/e1/resume", NULL, 410, NULL},
    {"POST", M "/instances/none/terminate", NULL, 404, NULL},
    {"POST", M "/instances/e1/terminate?reason=x", NULL, 410, NULL},
    {"POST", M "/instances/i1/terminate?reason=why%20not", NULL, 202, ""},
    {"GET", M "/instances/i1", NULL, 200,
     "\"Terminated\",\"input\":{\"a\":0.10},"
     "\"customStatus\":null,\"output\":\"why not\""},
    {"POST", M "/instances/none/rewind", NULL, 404, NULL},
    {"POST", M "/instances/e1/rewind", NULL, 410, NULL},
    {"POST", M "/instances/i1/rewind", NULL, 410, NULL},
    {"POST", M "/instances/r1/rewind", NULL, 412, NULL},
    {"POST", M "/instances/f1/rewind?reason=again", NULL, 202, ""},
    {"POST", M "/instances/none/restart", NULL, 400,
     "InstanceId does not match a valid orchestration instance."},
    {"POST", M "/instances/r1/restart?restartWithNewInstanceId=false", NULL, 409, NULL},
    {"POST", M "/instances/e1/restart", NULL, 202, "\"id\":\"generated-"},
    {"POST", M "/instances/e1/restart?restartWithNewInstanceId=false", NULL, 202, "\"id\":\"e1\""},
    {"POST", M "/instances/e1/restart?timeout=5&pollingInterval=1", NULL, 200, "[2]"},
    /* lists and purges */
    {"GET", M "/instances?instanceIdPrefix=none", NULL, 200, "[]"},
    {"GET", M "/instances/?instanceIdPrefix=e1&showInput=false", NULL, 200, "\"input\":null"},
    {"GET", M "/instances?createdTimeFrom=yesterday", NULL, 400, "createdTimeFrom"},
    {"GET", M "/instances?createdTimeFrom=2026-01-01T00:00:00+01:00", NULL, 200, NULL},
    {"GET", M "/instances?createdTimeTo=2020-01-01T00:00:00.123456Z", NULL, 200, "[]"},
    {"GET", M "/instances?runtimeStatus=Terminated,Canceled", NULL, 200, "\"Terminated\""},
    {"GET", M "/instances?runtimeStatus=Canceled", NULL, 200, "[]"},
    {"GET", M "/instances?runtimeStatus=Fine", NULL, 400, "Fine"},
    {"GET", M "/instances?top=x", NULL, 400, "top"},
    {"DELETE", M "/instances/none", NULL, 404, "{\"instancesDeleted\":0}"},
    {"DELETE", M "/instances/r1", NULL, 412, NULL},
    {"DELETE", M "/instances/e2", NULL, 200, "{\"instancesDeleted\":1}"},
    {"GET", M "/instances/e2", NULL, 404, ""},
    {"DELETE", M "/instances", NULL, 400, "Please provide value for 'createdTimeFrom' parameter."},
    {"DELETE", M "/instances?createdTimeFrom=2020-01-01&runtimeStatus=Running", NULL, 404,
     "{\"instancesDeleted\":0}"},
    {"DELETE", M "/instances?createdTimeFrom=2020-01-01&runtimeStatus=Terminated", NULL, 200,
     "{\"instancesDeleted\":1}"},
    {"DELETE", M "/instances?createdTimeFrom=2020-01-01&createdTimeTo=2020-01-02", NULL, 404, NULL},
    /* the rest */
    {"GET", M "/entities/Counter/k", NULL, 404, ""},
    {"POST", M "/entities/Counter/k?op=set", "[7]", 202, ""},
    {"GET", M "/entities/COUNTER/k", NULL, 200, "[7]"},
    {"POST", M "/entities/Counter/$?op=set", "8", 202, ""},
    {"GET", M "/entities/counter/$", NULL, 200, "8"},
    {"POST", M "/entities/counter/later?op=lock&scheduledTime=2030-01-01", NULL, 202, ""},
    {"GET", M "/entities/counter/later", NULL, 404, ""}, /* it has no state */
    {"GET", M "/entities?fetchState=true", NULL, 200,
     "[{\"entityId\":{\"name\":\"counter\",\"key\":\"k\"},\"lastOperationTime\":"
     "\"1970-01-01T00:16:41.0000000Z\",\"state\":[7]},{\"entityId\":{\"name\":\"counter\",\"key\":\"\"}"},
    {"GET", M "/entities/Counter", NULL, 200, "\"state\":null}]"},
    {"GET", M "/entities/none", NULL, 200, "[]"},
    {"GET", M "/instances/@counter@k", NULL, 404, ""},
    {"GET", M "/entities?lastOperationTimeFrom=x", NULL, 400, "lastOperationTimeFrom"},
    {"GET", M "/instances?instanceIdPrefix=@", NULL, 200, "[]"},
    {"GET", M "/entities/coun%40ter", NULL, 400, "must not hold '@'"},
    {"POST", M "/entities/counter/k", "1", 400, "?op="},
    {"POST", M "/entities/counter/k?op=set", "{", 400, "Invalid JSON"},
    {"POST", M "/entities/coun@ter/k?op=set", "1", 400, "must not hold '@'"},
    {"DELETE", M "/entities/Counter/k", NULL, 202, ""},
    {"GET", M "/entities/Counter/k", NULL, 404, ""},
    {"POST", M "/makeprimary", NULL, 200, ""},
    {"GET", M "/hub", NULL, 200, "\"name\":\"MyHub\""},
    {"GET", M "/hub", NULL, 200, "\"unserved\":[{\"name\":\"lost\",\"kind\":\"activity\""},
    {"GET", M "/hubs", NULL, 501, NULL},
    {"POST", M "/hubs/x", "{}", 501, NULL},
    {"DELETE", M "/hubs/x", NULL, 501, NULL},
    {"GET", M "/hubs/x", NULL, 501, NULL},
    {"GET", M "/nothing", NULL, 404, "there is no operation GET"},
    {"GET", M, NULL, 404, NULL},
    {"GET", "/nothing", NULL, 404, "nothing is at"},
    {"GET", "/api/x", NULL, 404, NULL},
    {"GET", "/", NULL, 200, "Try"},
    {"GET", "/healthz", NULL, 200, "ok"},
    {"GET", "/readyz", NULL, 200, "ok"},
    {"GET", M "/instances/a%00b", NULL, 400, "NUL"},
    {"GET", M "/instances/%ff", NULL, 400, "UTF-8"},
};

static void test_table(void **state)
{
    for (size_t i = 0; i < TH_COUNT(rows); i++) {
        check_row(*state, &rows[i]);
    }
}

/* ---- documents ------------------------------------------------------------------------------ */

static void check_keys(const json_t *object, const char *const *keys, size_t count)
{
    const char *key;
    json_t *value;
    size_t i = 0;
    assert_int_equal(json_object_size(object), count);
    json_object_foreach((json_t *)object, key, value) {
        assert_string_equal(key, keys[i++]);
    }
}

static void test_check_status(void **state)
{
    static const char *const keys[] = {"id",
                                       "statusQueryGetUri",
                                       "sendEventPostUri",
                                       "terminatePostUri",
                                       "purgeHistoryDeleteUri",
                                       "restartPostUri",
                                       "suspendPostUri",
                                       "resumePostUri"};
    const char *base = "http://example.test:81" M "/instances/a%20b";
    const char *end = "taskHub=MyHub&connection=Storage";
    char wanted[512], header[512];
    CALL_HTTP call = call_http("POST", url_of(*state, M "/orchestrators/job/a%20b"), "1",
                               (const char *const[]){"Host: example.test:81", NULL});
    assert_int_equal(call.status, 202);
    json_auto_t *body = call_json(&call);
    check_keys(body, keys, TH_COUNT(keys));
    assert_string_equal(json_string_value(json_object_get(body, "id")), "a b");
    snprintf(wanted, sizeof(wanted), "%s?%s", base, end);
    assert_string_equal(json_string_value(json_object_get(body, "statusQueryGetUri")), wanted);
    assert_true(call_header(&call, "Location", header, sizeof(header)));
    assert_string_equal(header, wanted);
    assert_true(call_header(&call, "Retry-After", header, sizeof(header)));
    assert_string_equal(header, "10");
    assert_true(call_header(&call, "Content-Type", header, sizeof(header)));
    assert_string_equal(header, "application/json; charset=utf-8");
    snprintf(wanted, sizeof(wanted), "%s/raiseEvent/{eventName}?%s", base, end);
    assert_string_equal(json_string_value(json_object_get(body, "sendEventPostUri")), wanted);
    snprintf(wanted, sizeof(wanted), "%s/terminate?reason={text}&%s", base, end);
    assert_string_equal(json_string_value(json_object_get(body, "terminatePostUri")), wanted);
    snprintf(wanted, sizeof(wanted), "%s/restart?%s", base, end);
    assert_string_equal(json_string_value(json_object_get(body, "restartPostUri")), wanted);
}

static void test_asks_for_500(void **state)
{
    CALL_HTTP call =
        go(*state, "POST", M "/orchestrators/job/q?returnInternalServerErrorOnFailure=true", "1");
    json_auto_t *body = call_json(&call);
    const char *url = json_string_value(json_object_get(body, "statusQueryGetUri"));
    assert_non_null(strstr(url, "&returnInternalServerErrorOnFailure=true"));
    url = json_string_value(json_object_get(body, "restartPostUri"));
    assert_null(strstr(url, "returnInternalServerErrorOnFailure"));
}

static void test_status_document(void **state)
{
    static const char *const keys[] = {"name",        "instanceId",     "runtimeStatus",
                                       "input",       "customStatus",   "output",
                                       "createdTime", "lastUpdatedTime"};
    char header[512];
    start(*state, "job/d1", "{\"x\":1}");
    CALL_HTTP call = go(*state, "GET", M "/instances/d1?showInput=true&a=b", NULL);
    json_auto_t *body = call_json(&call);
    check_keys(body, keys, TH_COUNT(keys));
    const char *created = json_string_value(json_object_get(body, "createdTime"));
    assert_int_equal(strlen(created), strlen("2026-01-01T00:00:00Z"));
    assert_int_equal(created[19], 'Z');
    assert_true(call_header(&call, "Retry-After", header, sizeof(header)));
    assert_string_equal(header, "5");
    assert_true(call_header(&call, "Location", header, sizeof(header)));
    assert_string_equal(header, url_of(*state, M "/instances/d1?showInput=true&a=b"));
}

static void test_history_forms(void **state)
{
    start(*state, "echo/h1", "{\"x\":1}");
    CALL_HTTP plain = go(*state, "GET", M "/instances/h1", NULL);
    assert_null(strstr(plain.body, "historyEvents"));
    CALL_HTTP with = go(*state, "GET", M "/instances/h1?showHistory=true", NULL);
    json_auto_t *body = call_json(&with);
    json_t *events = json_object_get(body, "historyEvents");
    assert_int_equal(json_array_size(events), 2); /* the OrchestratorStarted ones are folded away */
    json_t *last = json_array_get(events, 1);
    assert_string_equal(json_string_value(json_object_get(last, "EventType")),
                        "ExecutionCompleted");
    assert_null(json_object_get(last, "Result"));
    CALL_HTTP output =
        go(*state, "GET", M "/instances/h1?showHistory=true&showHistoryOutput=true", NULL);
    json_auto_t *full = call_json(&output);
    last = json_array_get(json_object_get(full, "historyEvents"), 1);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(last, "Result"), "x")), 1);
    CALL_HTTP stored = go(*state, "GET", M "/instances/h1/history", NULL);
    json_auto_t *lossless = call_json(&stored);
    assert_int_equal(json_array_size(lossless), 4);
}

static void test_inputs_pass_unchanged(void **state)
{
    struct fixture *f = *state;
    static const char *const bodies[] = {"\"{\\\"a\\\": [1.10, 12345678901234567890123]}\"", "\"\"",
                                         " {\"a\" :1e3}", "\"\\u00e4\""};
    for (size_t i = 0; i < TH_COUNT(bodies); i++) {
        start(f, "echo/raw?traceparent=x", bodies[i]);
        struct th_str data = fake_last_start(f->fake)->data;
        assert_int_equal(data.len, strlen(bodies[i]));
        assert_memory_equal(data.data, bodies[i], data.len);
    }
    start(f, "echo/raw", NULL);
    assert_false(th_str_present(fake_last_start(f->fake)->data));
    start(f, "echo/raw", "");
    assert_false(th_str_present(fake_last_start(f->fake)->data));
}

static void test_versions(void **state)
{
    struct fixture *f = *state;
    start(f, "job?version=2.0", NULL);
    assert_string_equal(fake_last_start(f->fake)->version.data, "2.0");
    assert_false(th_str_present(fake_last_start(f->fake)->instance_id));
    start(f, "job", NULL);
    assert_string_equal(fake_last_start(f->fake)->version.data, "1.5");
}

static void test_binding(void **state)
{
    CALL_HTTP call = go(*state, "GET", M "/binding", NULL);
    json_auto_t *body = call_json(&call);
    assert_string_equal(json_string_value(json_object_get(body, "taskHubName")), "MyHub");
    json_t *urls = json_object_get(body, "managementUrls");
    assert_string_equal(json_string_value(json_object_get(urls, "id")), "INSTANCEID");
    assert_non_null(json_object_get(urls, "rewindPostUri"));
    const char *rpc = json_string_value(json_object_get(body, "rpcBaseUrl"));
    assert_string_equal(rpc, url_of(*state, "/durabletask/"));
}

/* ---- pages of a list ------------------------------------------------------------------------ */

static void test_paging(void **state)
{
    enum { INSTANCES = 25 };
    char token[256] = "", header[300];
    int pages = 0, found = 0;
    for (int i = 0; i < INSTANCES; i++) {
        char name[64];
        snprintf(name, sizeof(name), "echo/page-%02d", i);
        start(*state, name, "1");
    }
    do {
        snprintf(header, sizeof(header), "x-ms-continuation-token: %s", token);
        CALL_HTTP call =
            call_http("GET", url_of(*state, M "/instances/?instanceIdPrefix=page-&top=10"), NULL,
                      (const char *const[]){header, NULL});
        assert_int_equal(call.status, 200);
        json_auto_t *body = call_json(&call);
        found += (int)json_array_size(body);
        pages++;
        token[0] = '\0';
        call_header(&call, "x-ms-continuation-token", token, sizeof(token));
    } while (token[0] && pages < 10);
    assert_int_equal(pages, 3);
    assert_int_equal(found, INSTANCES);
}

static void test_bad_tokens(void **state)
{
    static const char *const tokens[] = {"x-ms-continuation-token: zz",
                                         "x-ms-continuation-token: abc",
                                         "x-ms-continuation-token: ab"};
    for (size_t i = 0; i < TH_COUNT(tokens); i++) {
        CALL_HTTP call = call_http("GET", url_of(*state, M "/instances"), NULL,
                                   (const char *const[]){tokens[i], NULL});
        assert_int_equal(call.status, 400);
    }
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void test_event_type(void **state)
{
    static const struct {
        const char *type;
        int status;
    } table[] = {
        {"Content-Type: application/json", 202},
        {"Content-Type: Application/JSON; charset=utf-8", 202},
        {"Content-Type: text/plain", 400},
        {"Content-Type: application/jsonx", 400},
        {"Content-Type:", 400},
    };
    start(*state, "job/ev", "1");
    for (size_t i = 0; i < TH_COUNT(table); i++) {
        CALL_HTTP call = call_http("POST", url_of(*state, M "/instances/ev/raiseEvent/a"), "1",
                                   (const char *const[]){table[i].type, NULL});
        assert_int_equal(call.status, table[i].status);
        if (table[i].status == 400) {
            assert_string_equal(call_message(&call),
                                "Only application/json request content is supported");
        }
    }
}

static void test_codes(void **state)
{
    static const struct {
        enum th_code code;
        int status;
    } table[] = {
        {TH_UNAVAILABLE, 503}, {TH_TOO_LARGE, 413}, {TH_INVALID, 400},
        {TH_INTERNAL, 500},    {TH_IO, 500},        {TH_UNSUPPORTED, 501},
    };
    struct fixture *f = *state;
    char header[64];
    for (size_t i = 0; i < TH_COUNT(table); i++) {
        static const struct row calls[] = {
            {"POST", M "/orchestrators/job", "1", 0, NULL},
            {"GET", M "/instances/x", NULL, 0, NULL},
            {"GET", M "/instances", NULL, 0, NULL},
            {"POST", M "/instances/x/raiseEvent/e", "1", 0, NULL},
            {"POST", M "/instances/x/rewind", NULL, 0, NULL},
            {"POST", M "/instances/x/restart", NULL, 0, NULL},
            {"DELETE", M "/instances/x", NULL, 0, NULL},
            {"DELETE", M "/instances?createdTimeFrom=2020-01-01", NULL, 0, NULL},
            {"GET", M "/hub", NULL, 0, NULL},
        };
        for (size_t c = 0; c < TH_COUNT(calls); c++) {
            fake_fail(f->fake, 1, table[i].code);
            CALL_HTTP call = go(f, calls[c].method, calls[c].path, calls[c].body);
            if (call.status != table[i].status) {
                fail_msg("%s %s: %d", calls[c].method, calls[c].path, call.status);
            }
            assert_non_null(strstr(call_message(&call), "told to fail"));
            assert_int_equal(call_header(&call, "Retry-After", header, sizeof(header)),
                             table[i].status == 503);
        }
    }
}

static void test_readiness(void **state)
{
    struct fixture *f = *state;
    fake_unowned(f->fake, 1);
    CALL_HTTP call = go(f, "GET", "/readyz", NULL);
    assert_int_equal(call.status, 503);
    assert_non_null(strstr(call.body, "1 of 2 partitions"));
    fake_fail(f->fake, 1, TH_UNAVAILABLE);
    CALL_HTTP again = go(f, "GET", "/readyz", NULL);
    assert_int_equal(again.status, 503);
    assert_int_equal(status_of(f, "GET", "/healthz", NULL), 200);
}

static void test_body_limit(void **state)
{
    struct fixture *f = *state;
    size_t limit = 16 * 1024 * 1024;
    char *body = th_alloc(2 * limit + 1);
    memset(body, '1', 2 * limit);
    body[0] = body[limit - 1] = '"';
    CALL_HTTP fits = call_bytes("POST", url_of(f, M "/orchestrators/echo/big"), body, limit, NULL);
    assert_int_equal(fits.status, 202);
    CALL_HTTP back = go(f, "GET", M "/instances/big", NULL);
    assert_int_equal(back.status, 200);
    assert_true(back.len > 2 * limit); /* input and output */
    static const char *const headers[][3] = {
        {NULL}, {"Expect:", NULL}, {"Transfer-Encoding: chunked", "Expect:", NULL}};
    for (size_t i = 0; i < TH_COUNT(headers); i++) {
        CALL_HTTP call = call_bytes("POST", url_of(f, M "/orchestrators/echo/big2"), body,
                                    limit + limit / 2, headers[i]);
        assert_int_equal(call.status, 413);
        assert_non_null(strstr(call_message(&call), "16842752")); /* the limit, in bytes */
    }
    free(body);
}

static void test_head(void **state)
{
    CALL_HTTP call = go(*state, "HEAD", "/healthz", NULL);
    assert_int_equal(call.status, 200);
    assert_int_equal(call.len, 0);
}

/* ---- who may ask ---------------------------------------------------------------------------- */

static void test_key(void **state)
{
    struct fixture *f = *state;
    struct th_error error;
    struct th_http *http = th_http_start(&(struct th_http_options){.gateway = fake_gateway(f->fake),
                                                                   .api_key = "s3cr&t",
                                                                   .address = "0.0.0.0"},
                                         &error);
    assert_non_null(http);
    char url[256], location[256];
    const char *const header[] = {"x-functions-key: s3cr&t", NULL};
    snprintf(url, sizeof(url), "http://127.0.0.1:%d" M "/instances", th_http_port(http));
    CALL_HTTP without = call_http("GET", url, NULL, NULL);
    assert_int_equal(without.status, 401);
    CALL_HTTP by_header = call_http("GET", url, NULL, header);
    assert_int_equal(by_header.status, 200);
    strncat(url, "?code=s3cr%26t", sizeof(url) - strlen(url) - 1);
    CALL_HTTP by_query = call_http("GET", url, NULL, NULL);
    assert_int_equal(by_query.status, 200);
    strncat(url, "x", sizeof(url) - strlen(url) - 1);
    CALL_HTTP wrong = call_http("GET", url, NULL, NULL);
    assert_int_equal(wrong.status, 401);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/durabletask/instances", th_http_port(http));
    CALL_HTTP rpc = call_http("GET", url, NULL, NULL);
    assert_int_equal(rpc.status, 401);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/metrics", th_http_port(http));
    CALL_HTTP metrics = call_http("GET", url, NULL, NULL);
    assert_int_equal(metrics.status, 401);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/healthz", th_http_port(http));
    CALL_HTTP health = call_http("GET", url, NULL, NULL);
    assert_int_equal(health.status, 200);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d" M "/orchestrators/job", th_http_port(http));
    CALL_HTTP started = call_http("POST", url, "1", header);
    assert_true(call_header(&started, "Location", location, sizeof(location)));
    assert_non_null(strstr(location, "?taskHub=MyHub&connection=Storage&code=s3cr%26t"));
    th_http_stop(http);
}

static void test_foreign_pages(void **state)
{
    const char *const header[] = {"Sec-Fetch-Site: cross-site", NULL};
    CALL_HTTP writes = call_http("POST", url_of(*state, M "/orchestrators/job"), "1", header);
    assert_int_equal(writes.status, 403);
    CALL_HTTP reads = call_http("GET", url_of(*state, M "/instances"), NULL, header);
    assert_int_equal(reads.status, 200);
}

static void test_forwarded(void **state)
{
    struct fixture *f = *state;
    struct th_http *http = th_http_start(
        &(struct th_http_options){.gateway = fake_gateway(f->fake), .trust_forwarded = true}, NULL);
    char location[256];
    const char *const good[] = {"X-Forwarded-Host: hub.example, inner", "X-Forwarded-Proto: https",
                                NULL};
    const char *const bad[] = {"X-Forwarded-Host: a\"b", "Host: x y", NULL};
    char url[256];
    snprintf(url, sizeof(url), "%s" M "/orchestrators/job", th_http_url(http));
    CALL_HTTP call = call_http("POST", url, "1", good);
    assert_true(call_header(&call, "Location", location, sizeof(location)));
    assert_int_equal(strncmp(location, "https://hub.example" M, 30), 0);
    CALL_HTTP odd = call_http("POST", url, "1", bad);
    assert_true(call_header(&odd, "Location", location, sizeof(location)));
    assert_int_equal(strncmp(location, th_http_url(http), strlen(th_http_url(http))), 0);
    th_http_stop(http);
    CALL_HTTP untrusted = call_http("POST", url_of(f, M "/orchestrators/job"), "1", good);
    assert_true(call_header(&untrusted, "Location", location, sizeof(location)));
    assert_null(strstr(location, "hub.example"));
}

static void test_addresses(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *address;
        int port;
        enum th_code code;
        const char *says;
    } table[] = {
        {"0.0.0.0", 0, TH_INVALID, "API key"},
        {"192.0.2.1", 0, TH_INVALID, "API key"},
        {"::", 0, TH_INVALID, "API key"},
        {"example", 0, TH_INVALID, "example"},
        {"127.0.0.1", 70000, TH_INVALID, "70000"},
        {"127.0.0.1", -1, TH_UNAVAILABLE, "in use"}, /* -1: the fixture's */
    };
    for (size_t i = 0; i < TH_COUNT(table); i++) {
        struct th_error error = {0};
        struct th_http_options options = {
            .gateway = fake_gateway(f->fake), .address = table[i].address, .port = table[i].port};
        options.port = options.port < 0 ? th_http_port(f->http) : options.port;
        assert_null(th_http_start(&options, &error));
        assert_int_equal(error.code, table[i].code);
        if (!strstr(error.message, table[i].says)) {
            fail_msg("%s: %s", table[i].address, error.message);
        }
    }
}

static void test_replaces_any(void **state)
{
    struct fixture *f = *state;
    struct th_http *http = th_http_start(
        &(struct th_http_options){.gateway = fake_gateway(f->fake), .reuse = TH_REUSE_ANY}, NULL);
    char url[256];
    snprintf(url, sizeof(url), "%s" M "/orchestrators/job/same", th_http_url(http));
    CALL_HTTP first = call_http("POST", url, "1", NULL);
    CALL_HTTP second = call_http("POST", url, "1", NULL);
    assert_int_equal(first.status, 202);
    assert_int_equal(second.status, 202);
    th_http_stop(http);
}

/* ---- other hubs ----------------------------------------------------------------------------- */

static json_t *list_hubs(void *argument, struct th_error *error)
{
    return json_pack("[s]", "MyHub");
}

static json_t *show_hub(void *argument, const char *name, struct th_error *error)
{
    th_fail(error, TH_NOT_FOUND, "no hub %s", name);
    return NULL;
}

static json_t *create_hub(void *argument, const char *name, const json_t *options,
                          struct th_error *error)
{
    return json_pack("{s:s,s:I}", "name", name, "partitions",
                     json_integer_value(json_object_get(options, "partitions")));
}

static bool remove_hub(void *argument, const char *name, struct th_error *error)
{
    return strcmp(name, "busy") != 0 || th_fail(error, TH_PRECONDITION, "hub %s is busy", name);
}

static void test_hubs(void **state)
{
    static const struct row table[] = {
        {"GET", M "/hubs", NULL, 200, "[\"MyHub\"]"},
        {"GET", M "/hubs/x", NULL, 404, "no hub x"},
        {"POST", M "/hubs/new", NULL, 201, "{\"name\":\"new\",\"partitions\":0}"},
        {"POST", M "/hubs", "{\"name\":\"n2\",\"partitions\":4}", 201, "\"partitions\":4"},
        {"POST", M "/hubs", "{}", 400, "name"},
        {"POST", M "/hubs", "[]", 400, "object"},
        {"POST", M "/hubs", "{", 400, "object"},
        {"DELETE", M "/hubs/x", NULL, 204, ""},
        {"DELETE", M "/hubs/busy", NULL, 412, "busy"},
    };
    struct fixture *f = *state;
    struct fixture other = {.fake = f->fake};
    other.http = th_http_start(&(struct th_http_options){.gateway = fake_gateway(f->fake),
                                                         .hubs = {.list = list_hubs,
                                                                  .show = show_hub,
                                                                  .create = create_hub,
                                                                  .remove = remove_hub}},
                               NULL);
    for (size_t i = 0; i < TH_COUNT(table); i++) {
        check_row(&other, &table[i]);
    }
    th_http_stop(other.http);
}

/* ---- a program that knows more than its gateway ---------------------------------------------- */

static bool tell_hub(void *argument, struct th_buffer *out, struct th_error *error)
{
    th_buffer_text(out, "{\"members\":[]}");
    return true;
}

static bool tell_no_lag(void *argument, struct th_buffer *out, struct th_error *error)
{
    th_buffer_text(out, "{\"half");
    return th_fail(error, TH_UNAVAILABLE, "no broker answers");
}

static bool tell_metrics(void *argument, struct th_buffer *out, struct th_error *error)
{
    th_buffer_text(out, "more 1\n");
    return true;
}

static bool not_ready(void *argument, struct th_error *error)
{
    return th_fail(error, TH_UNAVAILABLE, "partition 3 has no owner");
}

static void test_reports(void **state)
{
    static const struct row table[] = {
        {"GET", M "/hub", NULL, 200, "{\"members\":[]}"},
        {"GET", M "/lag", NULL, 503, "no broker answers"},
        {"GET", "/readyz", NULL, 503, "partition 3 has no owner"},
        {"GET", "/metrics", NULL, 200, "more 1\n"},
    };
    struct fixture *f = *state;
    struct fixture other = {.fake = f->fake};
    other.http = th_http_start(&(struct th_http_options){.gateway = fake_gateway(f->fake),
                                                         .reports = {.hub = tell_hub,
                                                                     .lag = tell_no_lag,
                                                                     .metrics = tell_metrics,
                                                                     .ready = not_ready}},
                               NULL);
    size_t asked = fake_submitted(f->fake);
    for (size_t i = 0; i < TH_COUNT(table); i++) {
        check_row(&other, &table[i]);
    }
    assert_int_equal(fake_submitted(f->fake), asked); /* the program knew it all */
    CALL_HTTP call = go(&other, "GET", "/metrics", NULL);
    char type[64];
    assert_null(strstr(call.body, "taskhub_lag_messages{")); /* nor is it told twice */
    assert_true(call_header(&call, "Content-Type", type, sizeof(type)));
    assert_string_equal(type, "text/plain; version=0.0.4; charset=utf-8");
    th_http_stop(other.http);
}

#define TEST(name)        cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_INSIDE(name) cmocka_unit_test_setup_teardown(name, set_up_inside, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_table),
        TEST_INSIDE(test_table),
        TEST(test_check_status),
        TEST(test_asks_for_500),
        TEST(test_status_document),
        TEST(test_history_forms),
        TEST(test_inputs_pass_unchanged),
        TEST(test_versions),
        TEST(test_binding),
        TEST(test_paging),
        TEST(test_bad_tokens),
        TEST(test_event_type),
        TEST(test_codes),
        TEST(test_readiness),
        TEST(test_body_limit),
        TEST(test_head),
        TEST(test_key),
        TEST(test_foreign_pages),
        TEST(test_forwarded),
        TEST(test_addresses),
        TEST(test_replaces_any),
        TEST(test_hubs),
        TEST(test_reports),
    };
    return cmocka_run_group_tests_name("api http", tests, NULL, NULL);
}

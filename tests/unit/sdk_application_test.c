/* Registration, look-up, loading, and single attempts at activities. */
#include "sdk/application.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"

#define APP    __attribute__((cleanup(free_app))) struct th_app *
#define RESULT __attribute__((cleanup(th_activity_result_deinit))) struct th_activity_result

static void free_app(struct th_app **app)
{
    th_app_free(*app);
}

/* ---- functions ------------------------------------------------------------------------------ */

static int nothing(struct th_context *ctx)
{
    return 0;
}

static int client(struct th_request *request)
{
    return 0;
}

static int echo(struct th_activity *a)
{
    return th_activity_return(a, json_pack("[O?,s,s,s]", th_activity_input(a), th_activity_name(a),
                                           th_activity_instance_id(a), th_activity_key(a)));
}

static int echo_bytes(struct th_activity *a)
{
    size_t len;
    const void *bytes = th_activity_input_bytes(a, &len);
    return th_activity_return_bytes(a, bytes, len);
}

static int fails(struct th_activity *a)
{
    const char *how = json_string_value(th_activity_input(a));
    if (!how) {
        return 7;
    }
    th_activity_return(a, json_string("to be forgotten"));
    return strcmp(how, "for good") ? th_activity_fail(a, "Busy", "try %s", "later")
                                   : th_activity_fail_for_good(a, "Never", "no");
}

static int empty(struct th_activity *a)
{
    return 0;
}

static int unprintable(struct th_activity *a)
{
    return th_activity_return(a, json_stringn_nocheck("\xff", 1));
}

static int beats(struct th_activity *a)
{
    while (th_activity_heartbeat(a)) {
        th_activity_log(a, "still at it");
    }
    return th_activity_fail(a, NULL, "cancelled");
}

static int quiet(struct th_entity *entity)
{
    return 0;
}

static const struct th_method lamp[] = {{"on", quiet}, {"off", quiet}, {NULL, NULL}};
static const struct th_method no_methods[] = {{NULL, NULL}};
static const struct th_method twice_on[] = {{"on", quiet}, {"ON", quiet}, {NULL, NULL}};
static const struct th_method void_method[] = {{"on", NULL}, {NULL, NULL}};

static void good(struct th_app *app)
{
    th_orchestrator(app, "Zebra", nothing);
    th_orchestrator(app, "apple", nothing);
    th_activity(app, "Echo", echo);
    th_activity(app, "echo_bytes", echo_bytes);
    th_activity(app, "fails", fails);
    th_activity(app, "empty", empty);
    th_activity(app, "unprintable", unprintable);
    th_activity(app, "beats", beats);
    th_entity(app, "Quiet", quiet);
    th_entity_methods(app, "lamp", lamp);
    th_http_route(app, "get, post", "orchestrators/{functionName}/{_id1}", client);
    th_http_route(app, "GET", "chart.png", client);
    th_cron(app, "nightly", "0 30 2 * * *", client);
    th_app_version(app, "1.2");
}

static struct th_app *good_app(void)
{
    struct th_error error = {.code = TH_OK};
    struct th_app *app = th_app_from(good, &error);
    if (!app) {
        fail_msg("%s", error.message);
    }
    return app;
}

/* ---- registration --------------------------------------------------------------------------- */

static void test_look_up_ignores_case(void **state)
{
    APP app = good_app();
    assert_true(th_app_orchestrator(app, TH_STR("ZEBRA")) == nothing);
    assert_true(th_app_orchestrator(app, TH_STR("Apple")) == nothing);
    assert_null(th_app_orchestrator(app, TH_STR("app")));
    assert_null(th_app_orchestrator(app, TH_STR("apples")));
    assert_null(th_app_orchestrator(app, TH_STR("")));
    assert_true(th_app_activity(app, TH_STR("eCHO")) == echo);
    assert_null(th_app_activity(app, TH_STR("zebra")));
    struct th_entity_code code;
    assert_true(th_app_entity(app, TH_STR("quiet"), &code));
    assert_true(code.function == quiet && !code.methods);
    assert_true(th_app_entity(app, TH_STR("LAMP"), &code));
    assert_true(code.methods == lamp && !code.function);
    assert_false(th_app_entity(app, TH_STR("echo"), &code));
}

static void test_what_is_registered_can_be_listed(void **state)
{
    APP app = good_app();
    TH_AUTOFREE char *names = th_app_orchestrator_names(app);
    assert_string_equal(names, "apple, Zebra");
    TH_AUTOFREE char *activities = th_app_activity_names(app);
    assert_string_equal(activities, "beats, Echo, echo_bytes, empty, fails, unprintable");
    TH_AUTOFREE char *entities = th_app_entity_names(app);
    assert_string_equal(entities, "lamp, Quiet");
    assert_string_equal(th_app_get_version(app), "1.2");
    assert_int_equal(th_app_http_count(app), 2);
    assert_string_equal(th_app_http(app, 0)->methods, "GET,POST");
    assert_string_equal(th_app_http(app, 0)->route, "orchestrators/{functionName}/{_id1}");
    assert_true(th_app_http(app, 1)->function == client);
    assert_int_equal(th_app_cron_count(app), 1);
    assert_string_equal(th_app_cron(app, 0)->schedule, "0 30 2 * * *");
}

static void none(struct th_app *app)
{
}

static void test_an_empty_application_is_fine(void **state)
{
    struct th_error error;
    APP app = th_app_from(none, &error);
    assert_non_null(app);
    TH_AUTOFREE char *names = th_app_orchestrator_names(app);
    assert_string_equal(names, "");
    assert_null(th_app_get_version(app));
}

static void twice(struct th_app *app)
{
    th_orchestrator(app, "same", nothing);
    th_orchestrator(app, "other", nothing);
    th_orchestrator(app, "SAME", nothing);
}

static void no_name(struct th_app *app)
{
    th_activity(app, "", echo);
    th_activity(app, "a second mistake", NULL);
}

static void control(struct th_app *app)
{
    th_activity(app, "line\nbreak", echo);
}

static void no_function(struct th_app *app)
{
    th_activity(app, "void", NULL);
}

static void entity_with_at(struct th_app *app)
{
    th_entity(app, "a@b", quiet);
}

static void entity_twice(struct th_app *app)
{
    th_entity(app, "Lamp", quiet);
    th_entity_methods(app, "lamp", lamp);
}

static void entity_without_function(struct th_app *app)
{
    th_entity(app, "lamp", NULL);
}

static void entity_without_operations(struct th_app *app)
{
    th_entity_methods(app, "lamp", no_methods);
}

static void operation_twice(struct th_app *app)
{
    th_entity_methods(app, "lamp", twice_on);
}

static void operation_without_function(struct th_app *app)
{
    th_entity_methods(app, "lamp", void_method);
}

static void slash_first(struct th_app *app)
{
    th_http_route(app, "GET", "/x", client);
}

static void bad_parameter(struct th_app *app)
{
    th_http_route(app, "GET", "x/{a b}", client);
}

static void query_in_route(struct th_app *app)
{
    th_http_route(app, "GET", "x?y=1", client);
}

static void no_method(struct th_app *app)
{
    th_http_route(app, "GET,,POST", "x", client);
}

static void route_twice(struct th_app *app)
{
    th_http_route(app, "GET", "x/{a}", client);
    th_http_route(app, "get", "X/{a}", client);
}

static void bad_cron(struct th_app *app)
{
    th_cron(app, "often", "0 61 * * * *", client);
}

static void cron_twice(struct th_app *app)
{
    th_cron(app, "a", "0 1 * * * *", client);
    th_cron(app, "A", "0 2 * * * *", client);
}

static void refused(void (*registration)(struct th_app *), const char *because)
{
    struct th_error error = {.code = TH_OK};
    assert_null(th_app_from(registration, &error));
    if (error.code == TH_OK || !strstr(error.message, because)) {
        fail_msg("wanted \"%s\", got \"%s\"", because, error.message);
    }
}

static void test_mistakes_are_named(void **state)
{
    refused(twice, "is registered twice");
    refused(no_name, "0 bytes");
    refused(control, "control character");
    refused(no_function, "\"void\" has no function");
    refused(entity_with_at, "entity name \"a@b\" must not hold '@'");
    refused(entity_twice, "is registered twice");
    refused(entity_without_function, "an entity \"lamp\" has no function");
    refused(entity_without_operations, "entity \"lamp\" has no operations");
    refused(operation_twice, "operation \"ON\" of entity \"lamp\" is registered twice");
    refused(operation_without_function, "operation \"on\" of entity \"lamp\" has no function");
    refused(slash_first, "\"/x\"");
    refused(bad_parameter, "\"x/{a b}\"");
    refused(query_in_route, "\"x?y=1\"");
    refused(no_method, "GET,,POST");
    refused(route_twice, "registered twice");
    refused(bad_cron, "61");
    refused(cron_twice, "registered twice");
}

static void test_no_such_file(void **state)
{
    struct th_error error;
    assert_null(th_app_load("no-such-application.so", &error));
    assert_non_null(strstr(error.message, "no-such-application.so"));
}

static void test_a_library_that_is_no_application(void **state)
{
    struct th_error error;
    assert_null(th_app_load("/lib/x86_64-linux-gnu/libm.so.6", &error));
#ifdef __x86_64__
    assert_non_null(strstr(error.message, "TH_APPLICATION"));
#endif
}

/* ---- activities ----------------------------------------------------------------------------- */

static void run(struct th_app *app, const char *name, const char *input, struct th_tags tags,
                struct th_activity_result *result)
{
    struct th_activity_call call = {.instance_id = TH_STR("i1"),
                                    .execution_id = TH_STR("e1"),
                                    .name = th_str_of(name),
                                    .input = th_str_of(input),
                                    .task_id = 4,
                                    .tags = tags};
    th_activity_run(app, &call, result);
}

static void gives(const char *name, const char *input, const char *output)
{
    APP app = good_app();
    RESULT result;
    run(app, name, input, (struct th_tags){0}, &result);
    assert_false(result.failed);
    if (!output) {
        assert_null(result.data);
        return;
    }
    assert_int_equal(result.len, strlen(output));
    assert_memory_equal(result.data, output, result.len);
}

static void test_activity_results(void **state)
{
    gives("ECHO", "5", "[5,\"ECHO\",\"i1\",\"e1-4\"]");
    gives("echo", NULL, "[null,\"echo\",\"i1\",\"e1-4\"]");
    gives("echo", "no json", "[null,\"echo\",\"i1\",\"e1-4\"]");
    gives("echo_bytes", "as it is", "as it is");
    gives("empty", NULL, NULL);
}

static void test_key_is_that_of_the_first_attempt(void **state)
{
    APP app = good_app();
    RESULT result;
    struct th_tag tag = {TH_STR("taskhub.step"), TH_STR("2")};
    run(app, "echo", NULL, (struct th_tags){&tag, 1}, &result);
    assert_non_null(strstr(result.data, "\"e1-2\""));
}

static void fails_as(const char *name, const char *input, const char *type, const char *message,
                     bool for_good)
{
    APP app = good_app();
    RESULT result;
    run(app, name, input, (struct th_tags){0}, &result);
    assert_true(result.failed);
    assert_null(result.data);
    assert_string_equal(result.failure_type, type);
    assert_non_null(strstr(result.failure_message, message));
    assert_int_equal(result.non_retriable, for_good);
}

static void test_activity_failures(void **state)
{
    fails_as("fails", "\"for good\"", "Never", "no", true);
    fails_as("fails", "\"now\"", "Busy", "try later", false);
    fails_as("fails", NULL, "ActivityFailed", "\"fails\" returned 7", false);
    fails_as("unprintable", NULL, "InvalidOutput", "unprintable", true);
    fails_as("missing", NULL, "FunctionNotFound", "Echo", true);
}

struct watch {
    int beats, lines;
};

static bool canceled(void *argument)
{
    return ((struct watch *)argument)->beats >= 3;
}

static void beat(void *argument)
{
    ((struct watch *)argument)->beats++;
}

static void line(void *argument, enum th_level level, const char *category, const char *text)
{
    ((struct watch *)argument)->lines++;
    assert_string_equal(category, "Function.beats");
    assert_string_equal(text, "[i1] still at it");
}

static void test_heartbeat_and_cancel(void **state)
{
    APP app = good_app();
    RESULT result;
    struct watch watch = {0};
    struct th_log log = {.level = TH_LOG_INFO, .sink = line, .argument = &watch};
    struct th_activity_call call = {.instance_id = TH_STR("i1"),
                                    .name = TH_STR("beats"),
                                    .log = &log,
                                    .canceled = canceled,
                                    .beat = beat,
                                    .argument = &watch};
    th_activity_run(app, &call, &result);
    assert_int_equal(watch.beats, 3);
    assert_int_equal(watch.lines, 2);
    assert_string_equal(result.failure_type, "ActivityFailed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look_up_ignores_case),
        cmocka_unit_test(test_what_is_registered_can_be_listed),
        cmocka_unit_test(test_an_empty_application_is_fine),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_no_such_file),
        cmocka_unit_test(test_a_library_that_is_no_application),
        cmocka_unit_test(test_activity_results),
        cmocka_unit_test(test_key_is_that_of_the_first_attempt),
        cmocka_unit_test(test_activity_failures),
        cmocka_unit_test(test_heartbeat_and_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

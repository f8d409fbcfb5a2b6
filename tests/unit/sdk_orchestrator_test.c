/* What orchestrators can do, episode by episode, in the words of sdk_text. */
#include "unit/sdk_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DRIVER __attribute__((cleanup(sdk_driver_deinit))) struct sdk_driver

static void registration(struct th_app *app);

static void begin(struct sdk_driver *d, const char *name, const char *input)
{
    sdk_driver_init(d, registration, (struct th_executor_options){0});
    sdk_start(d, name, input);
    sdk_run(d);
}

/* ---- one after the other -------------------------------------------------------------------- */

static int hello_cities(struct th_context *ctx)
{
    static const char *const cities[] = {"Tokyo", "Seattle", "London"};
    json_auto_t *greetings = json_array();

    for (int i = 0; i < 3; i++)
        if (json_array_append_new(greetings, th_call(ctx, "say_hello", json_string(cities[i]))))
            return TH_FAILED;
    return th_return(ctx, greetings);
}

static void test_sequence(void **state)
{
    DRIVER d;
    begin(&d, "HELLO_cities", NULL);
    sdk_expect(&d, "task 0 say_hello \"Tokyo\"");
    sdk_done(&d, 0, "\"Hello Tokyo!\"");
    sdk_run(&d);
    sdk_expect(&d, "task 1 say_hello \"Seattle\"");
    sdk_done(&d, 1, "\"Hello Seattle!\"");
    sdk_run(&d);
    sdk_done(&d, 2, "\"Hello London!\"");
    sdk_run(&d);
    sdk_expect(&d, "end Completed [\"Hello Tokyo!\",\"Hello Seattle!\",\"Hello London!\"]");
    assert_int_equal(d.history.count, 16);
    assert_int_equal(d.cold_runs, 0);
    assert_int_equal(th_executor_warm(d.executor), 0);
}

static void test_failure_passes_through(void **state)
{
    DRIVER d;
    begin(&d, "hello_cities", NULL);
    sdk_failed(&d, 0, "NoSuchCity", "there is no Tokyo");
    sdk_run(&d);
    sdk_expect(&d, "end Failed NoSuchCity");
    assert_string_equal(sdk_failure(&d, "NoSuchCity"), "there is no Tokyo");
}

static void test_unknown_and_repeated_answers_are_ignored(void **state)
{
    DRIVER d;
    begin(&d, "hello_cities", NULL);
    struct th_event stray = th_event_of(TH_EVENT_TASK_COMPLETED, 0);
    stray.related_id = 77;
    sdk_event(&d, stray);
    stray.kind = TH_EVENT_TIMER_FIRED; /* the id of an activity */
    stray.related_id = 0;
    sdk_event(&d, stray);
    sdk_run(&d);
    sdk_expect(&d, "");
    sdk_done(&d, 0, "1");
    sdk_done(&d, 0, "2");
    sdk_run(&d);
    sdk_expect(&d, "task 1 say_hello \"Seattle\"");
}

/* ---- results -------------------------------------------------------------------------------- */

static int echo_result(struct th_context *ctx)
{
    return th_return_new(ctx, th_call(ctx, "anything", NULL));
}

static void result_becomes(const char *result, const char *expected)
{
    DRIVER d;
    begin(&d, "echo_result", NULL);
    sdk_expect(&d, "task 0 anything");
    sdk_done(&d, 0, result);
    sdk_run(&d);
    sdk_expect(&d, expected);
}

static void test_results(void **state)
{
    char deep[300] = "";
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    deep[200] = '\0';
    char quoted[400];
    snprintf(quoted, sizeof(quoted), "end Completed \"%s\"", deep);

    result_becomes(NULL, "end Completed null");
    result_becomes("", "end Completed null");
    result_becomes("{\"a\": [1, true]}", "end Completed {\"a\":[1,true]}");
    result_becomes("not json", "end Completed \"not json\"");
    result_becomes("7", "end Completed 7");
    result_becomes(deep, quoted); /* too deep for a small stack: text */
    memset(deep + 64, ']', 64);
    deep[128] = '\0';
    snprintf(quoted, sizeof(quoted), "end Completed %s", deep);
    result_becomes(deep, quoted);
    result_becomes("\xff\xfe", "end Failed InvalidResult");
}

static void test_returning_the_result_of_a_failed_call_fails(void **state)
{
    DRIVER d;
    begin(&d, "echo_result", NULL);
    sdk_failed(&d, 0, "Boom", "it broke");
    sdk_run(&d);
    sdk_expect(&d, "end Failed Boom");
}

/* ---- ways to end ---------------------------------------------------------------------------- */

static int ends(struct th_context *ctx)
{
    const char *how = json_string_value(th_input(ctx));
    if (!how) {
        return 0;
    }
    if (!strcmp(how, "silent failure")) {
        return TH_FAILED;
    }
    if (!strcmp(how, "failure")) {
        return th_fail_with(ctx, "OutOfStock", "only %d left", 3);
    }
    if (!strcmp(how, "bytes")) {
        return th_return_bytes(ctx, "raw bytes", 9);
    }
    if (!strcmp(how, "undo")) {
        json_decref(th_call(ctx, "charge", NULL));
        json_decref(th_call(ctx, "refund", NULL));
        return TH_FAILED;
    }
    if (!strcmp(how, "unprintable")) {
        return th_return_new(ctx, json_stringn_nocheck("\xff", 1));
    }
    return th_return_new(ctx, json_pack("{s:s}", "how", how));
}

static void ends_as(const char *input, const char *expected)
{
    DRIVER d;
    begin(&d, "ends", input);
    sdk_expect(&d, expected);
}

static void test_ends(void **state)
{
    ends_as(NULL, "end Completed");
    ends_as("\"x\"", "end Completed {\"how\":\"x\"}");
    ends_as("\"bytes\"", "end Completed raw bytes");
    ends_as("\"failure\"", "end Failed OutOfStock");
    ends_as("\"silent failure\"", "end Failed OrchestratorFailed");
    ends_as("\"unprintable\"", "end Failed InvalidOutput");
}

static void test_silent_failure_names_the_orchestrator(void **state)
{
    DRIVER d;
    begin(&d, "Ends", "\"silent failure\"");
    assert_string_equal(sdk_failure(&d, "OrchestratorFailed"),
                        "orchestrator \"Ends\" returned -1 without saying why");
}

static void test_failure_survives_the_undoing(void **state)
{
    DRIVER d;
    begin(&d, "ends", "\"undo\"");
    sdk_failed(&d, 0, "CardDeclined", "no money");
    sdk_run(&d);
    sdk_expect(&d, "task 1 refund");
    sdk_done(&d, 1, "true");
    sdk_run(&d);
    assert_string_equal(sdk_failure(&d, "CardDeclined"), "no money");
}

static void test_unknown_orchestrator(void **state)
{
    DRIVER d;
    begin(&d, "nobody", NULL);
    const char *message = sdk_failure(&d, "FunctionNotFound");
    assert_non_null(strstr(message, "\"nobody\""));
    assert_non_null(strstr(message, "hello_cities"));
}

/* ---- all and any ---------------------------------------------------------------------------- */

static int fan_out(struct th_context *ctx)
{
    size_t n = (size_t)json_integer_value(th_input(ctx));
    struct th_task **tasks = calloc(n + 1, sizeof(*tasks));
    for (size_t i = 0; i < n; i++) {
        tasks[i] = th_schedule(ctx, "square", json_integer((json_int_t)i), NULL);
    }
    struct th_task *all = th_all(ctx, tasks, n);
    bool done = th_await(ctx, all);
    free(tasks);
    return done ? th_return_new(ctx, th_result(all)) : TH_FAILED;
}

static void test_all(void **state)
{
    DRIVER d;
    begin(&d, "fan_out", "3");
    sdk_expect(&d, "task 0 square 0; task 1 square 1; task 2 square 2");
    sdk_done(&d, 2, "4");
    sdk_run(&d);
    sdk_expect(&d, "");
    sdk_done(&d, 0, "0");
    sdk_done(&d, 1, "1");
    sdk_run(&d);
    sdk_expect(&d, "end Completed [0,1,4]");
}

static void test_all_fails_with_the_first_failure(void **state)
{
    DRIVER d;
    begin(&d, "fan_out", "3");
    sdk_failed(&d, 1, "First", "one");
    sdk_failed(&d, 0, "Second", "two");
    sdk_run(&d);
    sdk_expect(&d, "end Failed First");
}

static void test_all_of_nothing(void **state)
{
    DRIVER d;
    begin(&d, "fan_out", "0");
    sdk_expect(&d, "end Completed []");
}

/* (a and b) or (c within five seconds); tells which. */
static int nested(struct th_context *ctx)
{
    struct th_task *a = th_schedule(ctx, "a", NULL, NULL);
    struct th_task *b = th_schedule(ctx, "b", NULL, NULL);
    struct th_task *c = th_schedule(ctx, "c", NULL, NULL);
    struct th_task *timer = th_timer_in(ctx, 5000);
    struct th_task *both = th_all(ctx, (struct th_task *const[]){a, b}, 2);
    struct th_task *in_time = th_any(ctx, (struct th_task *const[]){c, timer}, 2);
    struct th_task *any = th_any(ctx, (struct th_task *const[]){both, in_time}, 2);
    th_await(ctx, any);
    if (th_winner(any) == both) {
        return th_return_new(ctx, json_string("both"));
    }
    return th_return_new(ctx, json_string(th_winner(in_time) == c ? "c" : "late"));
}

static void nested_says(const int32_t *done, size_t count, const char *expected)
{
    DRIVER d;
    begin(&d, "nested", NULL);
    sdk_expect(&d, "task 0 a; task 1 b; task 2 c; timer 3 +5000ms");
    for (size_t i = 0; i < count; i++) {
        if (done[i] == 3) {
            sdk_fired(&d, 3);
        } else {
            sdk_done(&d, done[i], "1");
        }
    }
    sdk_run(&d);
    sdk_expect(&d, expected);
}

static void test_nested(void **state)
{
    nested_says((int32_t[]){0, 1}, 2, "end Completed \"both\"");
    nested_says((int32_t[]){0, 2, 1}, 3, "end Completed \"c\"");
    nested_says((int32_t[]){3, 2}, 2, "end Completed \"late\"");
    nested_says((int32_t[]){1}, 1, "");
}

/* Takes results in the order they come: an `any` of what is left, again and again. */
static int as_they_come(struct th_context *ctx)
{
    struct th_task *left[4];
    size_t count = 4;
    json_auto_t *order = json_array();
    for (size_t i = 0; i < count; i++) {
        left[i] = th_schedule(ctx, "work", NULL, NULL);
    }
    while (count) {
        struct th_task *any = th_any(ctx, left, count);
        if (!th_await(ctx, any)) {
            return TH_FAILED;
        }
        json_array_append_new(order, th_result(any));
        for (size_t i = 0; i < count; i++) {
            if (left[i] == th_winner(any)) {
                left[i] = left[--count];
            }
        }
    }
    return th_return(ctx, order);
}

static void test_as_they_come(void **state)
{
    DRIVER d;
    begin(&d, "as_they_come", NULL);
    sdk_done(&d, 2, "2");
    sdk_done(&d, 0, "0");
    sdk_run(&d);
    sdk_done(&d, 3, "3");
    sdk_done(&d, 1, "1");
    sdk_run(&d);
    sdk_expect(&d, "end Completed [2,0,3,1]");
}

static int misuse(struct th_context *ctx)
{
    json_auto_t *types = json_array();
    struct th_task *tasks[] = {
        th_schedule(ctx, "", NULL, NULL),
        th_schedule(ctx, NULL, json_integer(1), NULL),
        th_schedule(ctx, "x", json_stringn_nocheck("\xff", 1), NULL),
        th_any(ctx, NULL, 0),
        th_all(ctx, (struct th_task *const[]){NULL}, 1),
    };
    for (size_t i = 0; i < sizeof(tasks) / sizeof(tasks[0]); i++) {
        bool ok = th_await(ctx, tasks[i]);
        const struct th_failure *why = th_task_failure(tasks[i]);
        json_array_append_new(types, json_string(ok ? "fine" : th_failure_type(why)));
    }
    json_array_append_new(types, json_boolean(th_await(ctx, NULL)));
    return th_return(ctx, types);
}

static void test_misuse_is_a_failure_not_a_crash(void **state)
{
    DRIVER d;
    begin(&d, "misuse", NULL);
    sdk_expect(&d, "end Completed [\"InvalidName\",\"InvalidName\",\"InvalidInput\","
                   "\"InvalidTask\",\"InvalidTask\",false]");
}

static int cancels(struct th_context *ctx)
{
    struct th_task *timer = th_timer_in(ctx, 1000);
    struct th_task *event = th_event_task(ctx, "go");
    struct th_task *any = th_any(ctx, (struct th_task *const[]){timer, event}, 2);
    th_cancel(ctx, timer);
    bool still_waiting = !th_done(any);
    bool canceled = th_failure_is(th_task_failure(timer), "Canceled");
    th_cancel(ctx, event);
    bool over = th_done(any) && !th_winner(any);
    json_t *go = th_wait_event(ctx, "go", -1);
    return th_return_new(ctx, json_pack("[b,b,b,o]", still_waiting, canceled, over, go));
}

static void test_cancel(void **state)
{
    DRIVER d;
    begin(&d, "cancels", NULL);
    sdk_fired(&d, 0);
    sdk_raised(&d, "go", "5");
    sdk_run(&d);
    sdk_expect(&d, "end Completed [true,true,true,5]");
}

/* ---- events --------------------------------------------------------------------------------- */

static int three_events(struct th_context *ctx)
{
    json_auto_t *got = json_array();
    if (th_sleep(ctx, 100)) {
        return TH_FAILED;
    }
    for (int i = 0; i < 3; i++) {
        json_array_append_new(got, th_wait_event(ctx, "Number", -1));
    }
    return th_return(ctx, got);
}

static void test_events_are_kept_in_order_whatever_their_case(void **state)
{
    DRIVER d;
    begin(&d, "three_events", NULL);
    sdk_raised(&d, "NUMBER", "1");
    sdk_raised(&d, "other", "0");
    sdk_raised(&d, "number", "2");
    sdk_run(&d);
    sdk_fired(&d, 0);
    sdk_run(&d);
    sdk_expect(&d, "");
    sdk_raised(&d, "Number", NULL);
    sdk_run(&d);
    sdk_expect(&d, "end Completed [1,2,null]");
}

static int two_waiters(struct th_context *ctx)
{
    struct th_task *first = th_event_task(ctx, "go");
    struct th_task *second = th_event_task(ctx, "GO");
    th_await(ctx, th_all(ctx, (struct th_task *const[]){second, first}, 2));
    return th_return_new(ctx, json_pack("[o,o]", th_result(first), th_result(second)));
}

static void test_waiters_are_served_in_order(void **state)
{
    DRIVER d;
    begin(&d, "two_waiters", NULL);
    sdk_raised(&d, "go", "1");
    sdk_run(&d);
    sdk_raised(&d, "go", "2");
    sdk_run(&d);
    sdk_expect(&d, "end Completed [1,2]");
}

static int approval(struct th_context *ctx)
{
    json_auto_t *answer = th_wait_event(ctx, "Approval", 3000);
    if (!answer) {
        return th_return_new(ctx, json_string(th_failure_type(th_last_failure(ctx))));
    }
    json_auto_t *second = th_wait_event(ctx, "approval", 3000);
    return th_return_new(ctx, json_pack("[O,O?]", answer, second));
}

static void test_event_wins(void **state)
{
    DRIVER d;
    begin(&d, "approval", NULL);
    sdk_expect(&d, "timer 0 +3000ms");
    sdk_raised(&d, "approval", "true");
    sdk_fired(&d, 0);
    sdk_run(&d);
    sdk_expect(&d, "timer 1 +3000ms");
    sdk_raised(&d, "approval", "false");
    sdk_run(&d);
    sdk_expect(&d, "end Completed [true,false]");
}

static void test_timeout_wins(void **state)
{
    DRIVER d;
    begin(&d, "approval", NULL);
    sdk_fired(&d, 0);
    sdk_raised(&d, "approval", "true");
    sdk_run(&d);
    sdk_expect(&d, "end Completed \"Timeout\"");
}

static void test_kept_event_needs_no_timer(void **state)
{
    DRIVER d;
    sdk_driver_init(&d, registration, (struct th_executor_options){0});
    sdk_start(&d, "three_events", NULL);
    sdk_raised(&d, "number", "1");
    sdk_raised(&d, "number", "2");
    sdk_raised(&d, "number", "3");
    sdk_run(&d);
    sdk_expect(&d, "timer 0 +100ms");
    sdk_fired(&d, 0);
    sdk_run(&d);
    sdk_expect(&d, "end Completed [1,2,3]");
}

static int sends(struct th_context *ctx)
{
    th_send_event(ctx, "someone", "news", json_integer(5));
    th_send_event(ctx, "another", "news", NULL);
    return 0;
}

static void test_send_event(void **state)
{
    DRIVER d;
    begin(&d, "sends", NULL);
    sdk_expect(&d, "send 0 news to someone 5; send 1 news to another; end Completed");
}

/* ---- children ------------------------------------------------------------------------------- */

static int parent(struct th_context *ctx)
{
    struct th_options named = {.instance_id = "child-1", .version = "2.0"};
    json_auto_t *one = th_call_child(ctx, "child", json_integer(1), &named);
    json_auto_t *two = th_call_child(ctx, "child", NULL, NULL);
    if (!two) {
        const struct th_failure *why = th_last_failure(ctx);
        return th_return_new(
            ctx, json_pack("[O,s,s]", one, th_failure_type(why), th_failure_message(why)));
    }
    return TH_FAILED;
}

static void test_children(void **state)
{
    DRIVER d;
    begin(&d, "parent", NULL);
    sdk_expect(&d, "child 0 child 1");
    assert_true(th_str_eq(d.last.items[0].instance_id, TH_STR("child-1")));
    assert_true(th_str_eq(d.last.items[0].version, TH_STR("2.0")));
    sdk_done(&d, 0, "10");
    sdk_run(&d);
    sdk_expect(&d, "child 1 child");
    assert_false(th_str_present(d.last.items[0].instance_id));
    assert_false(th_str_present(d.last.items[0].version));
    sdk_failed(&d, 1, "ChildTrouble", "the child says no");
    sdk_run(&d);
    sdk_expect(&d, "end Completed [10,\"ChildTrouble\",\"the child says no\"]");
}

/* ---- retries -------------------------------------------------------------------------------- */

static bool not_fatal(const struct th_failure *failure, void *argument)
{
    (*(int *)argument)++;
    return !th_failure_is(failure, "Fatal");
}

static int retries(struct th_context *ctx)
{
    int asked = 0;
    struct th_retry policy = {.max_attempts = 4,
                              .first_interval_ms = 1000,
                              .backoff_coefficient = 2,
                              .max_interval_ms = 3000,
                              .retry_if = not_fatal,
                              .argument = &asked};
    const char *const tags[] = {"team", "blue", NULL};
    struct th_options options = {.retry = &policy, .tags = tags};
    json_t *input = th_input(ctx);
    policy.timeout_ms = json_integer_value(json_object_get(input, "timeout"));
    return th_return_new(ctx, th_call_with(ctx, "flaky", json_string("in"), &options));
}

static void test_retries_back_off_and_end_with_the_last_failure(void **state)
{
    DRIVER d;
    begin(&d, "retries", NULL);
    sdk_expect(&d, "task 0 flaky \"in\"");
    assert_int_equal(d.last.items[0].tags.count, 1);
    sdk_failed(&d, 0, "E1", "one");
    sdk_run(&d);
    sdk_expect(&d, "timer 1 +1000ms");
    sdk_fired(&d, 1);
    sdk_run(&d);
    sdk_expect(&d, "task 2 flaky \"in\"");
    assert_int_equal(d.last.items[0].tags.count, 2); /* the step it repeats */
    assert_true(th_str_eq(d.last.items[0].tags.items[1].value, TH_STR("0")));
    sdk_failed(&d, 2, "E2", "two");
    sdk_run(&d);
    sdk_expect(&d, "timer 3 +2000ms");
    sdk_fired(&d, 3);
    sdk_run(&d);
    sdk_failed(&d, 4, "E3", "three");
    sdk_run(&d);
    sdk_expect(&d, "timer 5 +3000ms");
    sdk_fired(&d, 5);
    sdk_run(&d);
    sdk_failed(&d, 6, "E4", "four");
    sdk_run(&d);
    assert_string_equal(sdk_failure(&d, "E4"), "four");
}

static void test_retry_succeeds(void **state)
{
    DRIVER d;
    begin(&d, "retries", NULL);
    sdk_failed(&d, 0, "E1", "one");
    sdk_run(&d);
    sdk_done(&d, 0, "\"too late\""); /* the answered attempt answers no more */
    sdk_fired(&d, 1);
    sdk_run(&d);
    sdk_done(&d, 2, "\"yes\"");
    sdk_run(&d);
    sdk_expect(&d, "end Completed \"yes\"");
}

static void test_retry_predicate(void **state)
{
    DRIVER d;
    begin(&d, "retries", NULL);
    sdk_failed(&d, 0, "Fatal", "no use");
    sdk_run(&d);
    sdk_expect(&d, "end Failed Fatal");
}

static void test_non_retriable(void **state)
{
    DRIVER d;
    begin(&d, "retries", NULL);
    struct th_failure inner = {.type = TH_STR("Cause"), .message = TH_STR("deep")};
    struct th_failure why = {
        .type = TH_STR("Bad"), .message = TH_STR("never"), .non_retriable = true, .inner = &inner};
    struct th_event event = th_event_of(TH_EVENT_TASK_FAILED, 0);
    event.related_id = 0;
    event.failure = &why;
    sdk_event(&d, event);
    sdk_run(&d);
    sdk_failure(&d, "Bad");
    assert_true(d.end.failure->non_retriable);
    assert_true(th_str_eq(d.end.failure->inner->type, TH_STR("Cause")));
}

static void test_retry_timeout(void **state)
{
    DRIVER d;
    begin(&d, "retries", "{\"timeout\": 2500}");
    sdk_failed(&d, 0, "E1", "one"); /* a second later: may start at 2 s */
    sdk_run(&d);
    sdk_expect(&d, "timer 1 +1000ms");
    sdk_fired(&d, 1);
    sdk_run(&d);
    sdk_failed(&d, 2, "E2", "two");
    sdk_run(&d);
    sdk_expect(&d, "end Failed E2");
}

static int retried_in_parallel(struct th_context *ctx)
{
    struct th_retry policy = {.max_attempts = 2};
    struct th_options options = {.retry = &policy};
    struct th_task *tasks[2];
    for (int i = 0; i < 2; i++) {
        tasks[i] = th_schedule_child(ctx, "sub", json_integer(i), &options);
    }
    struct th_task *all = th_all(ctx, tasks, 2);
    return th_await(ctx, all) ? th_return_new(ctx, th_result(all)) : TH_FAILED;
}

static void test_retries_in_parallel(void **state)
{
    DRIVER d;
    begin(&d, "retried_in_parallel", NULL);
    sdk_expect(&d, "child 0 sub 0; child 1 sub 1");
    sdk_failed(&d, 1, "E", "x");
    sdk_failed(&d, 0, "E", "x");
    sdk_run(&d);
    sdk_expect(&d, "timer 2 +1000ms; timer 3 +1000ms");
    sdk_fired(&d, 3);
    sdk_fired(&d, 2);
    sdk_run(&d);
    sdk_expect(&d, "child 4 sub 0; child 5 sub 1");
    sdk_done(&d, 5, "50");
    sdk_done(&d, 4, "40");
    sdk_run(&d);
    sdk_expect(&d, "end Completed [40,50]");
}

/* ---- continue as new ------------------------------------------------------------------------ */

static int counter(struct th_context *ctx)
{
    json_int_t count = json_integer_value(th_input(ctx));
    json_auto_t *by = th_wait_event(ctx, "add", -1);
    json_int_t sum = count + json_integer_value(by);
    return sum < 10 ? th_continue_as_new(ctx, json_integer(sum), true)
                    : th_return_new(ctx, json_integer(sum));
}

static void test_continue_as_new_keeps_events(void **state)
{
    DRIVER d;
    begin(&d, "counter", "1");
    sdk_raised(&d, "add", "2");
    sdk_raised(&d, "Add", "3"); /* after the one that ends this generation */
    sdk_raised(&d, "other", "9");
    sdk_run(&d);
    sdk_expect(&d, "end ContinuedAsNew 3");
    assert_int_equal(d.end.carryover_count, 2);
    sdk_continue(&d);
    sdk_expect(&d, "end ContinuedAsNew 6");
    assert_int_equal(d.end.carryover_count, 1);
    sdk_continue(&d);
    sdk_raised(&d, "add", "4");
    sdk_run(&d);
    sdk_expect(&d, "end Completed 10");
}

static int forgetful(struct th_context *ctx)
{
    json_decref(th_wait_event(ctx, "add", -1));
    return th_continue_as_new(ctx, NULL, false);
}

static void test_continue_as_new_drops_events(void **state)
{
    DRIVER d;
    begin(&d, "forgetful", "1");
    sdk_raised(&d, "add", "2");
    sdk_raised(&d, "add", "3");
    sdk_run(&d);
    sdk_expect(&d, "end ContinuedAsNew");
    assert_int_equal(d.end.carryover_count, 0);
}

/* ---- the rest ------------------------------------------------------------------------------- */

static int status(struct th_context *ctx)
{
    th_set_custom_status(ctx, json_string("one"));
    th_set_custom_status(ctx, json_string("two"));
    th_sleep(ctx, 10);
    th_sleep(ctx, 10);
    th_set_custom_status(ctx, NULL);
    return 0;
}

static void test_custom_status(void **state)
{
    DRIVER d;
    begin(&d, "status", NULL);
    assert_true(d.last.has_custom_status);
    assert_true(th_str_eq(d.last.custom_status, TH_STR("\"two\"")));
    sdk_fired(&d, 0);
    sdk_run_cold(&d); /* said before: not said again */
    assert_false(d.last.has_custom_status);
    sdk_fired(&d, 1);
    sdk_run(&d);
    assert_true(d.last.has_custom_status);
    assert_true(th_str_present(d.last.custom_status));
    assert_int_equal(d.last.custom_status.len, 0);
}

static int identity(struct th_context *ctx)
{
    size_t len;
    const void *bytes = th_input_bytes(ctx, &len);
    return th_return_new(
        ctx, json_pack("[s,s,s,s,b,s%,s,b]", th_name(ctx), th_instance_id(ctx),
                       th_execution_id(ctx), th_version(ctx), th_input(ctx) == NULL, bytes, len,
                       th_tag(ctx, "team") ? th_tag(ctx, "team") : "", th_parent_id(ctx) == NULL));
}

static void test_identity(void **state)
{
    DRIVER d;
    sdk_driver_init(&d, registration, (struct th_executor_options){0});
    struct th_tag tags[] = {{TH_STR("team"), TH_STR("blue")}};
    struct th_event event = th_event_of(TH_EVENT_EXECUTION_STARTED, 0);
    event.name = TH_STR("Identity");
    event.version = TH_STR("1.5");
    event.data = TH_STR("no json");
    event.tags = (struct th_tags){tags, 1};
    event.execution_id = TH_STR("exec-0");
    sdk_event(&d, event);
    sdk_run(&d);
    sdk_expect(&d, "end Completed [\"Identity\",\"instance-1\",\"exec-0\",\"1.5\",true,"
                   "\"no json\",\"blue\",true]");
}

static int abandons(struct th_context *ctx)
{
    th_schedule(ctx, "slow", NULL, NULL);
    th_timer_in(ctx, 60000);
    struct th_task *failing = th_schedule(ctx, "failing", NULL, NULL);
    th_await(ctx, th_any(ctx, &failing, 1));
    return 0;
}

static void test_unawaited_failures_and_open_tasks_do_not_matter(void **state)
{
    DRIVER d;
    begin(&d, "abandons", NULL);
    sdk_failed(&d, 2, "E", "x");
    sdk_done(&d, 0, "1");
    sdk_run(&d);
    sdk_expect(&d, "end Completed");
}

static void registration(struct th_app *app)
{
    th_orchestrator(app, "hello_cities", hello_cities);
    th_orchestrator(app, "echo_result", echo_result);
    th_orchestrator(app, "ends", ends);
    th_orchestrator(app, "fan_out", fan_out);
    th_orchestrator(app, "nested", nested);
    th_orchestrator(app, "as_they_come", as_they_come);
    th_orchestrator(app, "misuse", misuse);
    th_orchestrator(app, "cancels", cancels);
    th_orchestrator(app, "three_events", three_events);
    th_orchestrator(app, "two_waiters", two_waiters);
    th_orchestrator(app, "approval", approval);
    th_orchestrator(app, "sends", sends);
    th_orchestrator(app, "parent", parent);
    th_orchestrator(app, "retries", retries);
    th_orchestrator(app, "retried_in_parallel", retried_in_parallel);
    th_orchestrator(app, "counter", counter);
    th_orchestrator(app, "forgetful", forgetful);
    th_orchestrator(app, "status", status);
    th_orchestrator(app, "identity", identity);
    th_orchestrator(app, "abandons", abandons);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequence),
        cmocka_unit_test(test_failure_passes_through),
        cmocka_unit_test(test_unknown_and_repeated_answers_are_ignored),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_returning_the_result_of_a_failed_call_fails),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_silent_failure_names_the_orchestrator),
        cmocka_unit_test(test_failure_survives_the_undoing),
        cmocka_unit_test(test_unknown_orchestrator),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_all_fails_with_the_first_failure),
        cmocka_unit_test(test_all_of_nothing),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_as_they_come),
        cmocka_unit_test(test_misuse_is_a_failure_not_a_crash),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_events_are_kept_in_order_whatever_their_case),
        cmocka_unit_test(test_waiters_are_served_in_order),
        cmocka_unit_test(test_event_wins),
        cmocka_unit_test(test_timeout_wins),
        cmocka_unit_test(test_kept_event_needs_no_timer),
        cmocka_unit_test(test_send_event),
        cmocka_unit_test(test_children),
        cmocka_unit_test(test_retries_back_off_and_end_with_the_last_failure),
        cmocka_unit_test(test_retry_succeeds),
        cmocka_unit_test(test_retry_predicate),
        cmocka_unit_test(test_non_retriable),
        cmocka_unit_test(test_retry_timeout),
        cmocka_unit_test(test_retries_in_parallel),
        cmocka_unit_test(test_continue_as_new_keeps_events),
        cmocka_unit_test(test_continue_as_new_drops_events),
        cmocka_unit_test(test_custom_status),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_unawaited_failures_and_open_tasks_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Eviction: whatever the code waits for, its cleanups run, and later it goes on from the history.
 */
#include "unit/sdk_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DRIVER __attribute__((cleanup(sdk_driver_deinit))) struct sdk_driver

static int alive; /* resources that orchestrators hold */

static void release(char **resource)
{
    free(*resource);
    alive--;
}

static char *acquire(void)
{
    alive++;
    return strdup("something on the heap"); /* a leak if its cleanup does not run */
}

#define HOLD __attribute__((cleanup(release))) char *held = acquire()

/* What the failing call said. */
static char last_type[64];
static int late_calls;

static void see(struct th_context *ctx)
{
    snprintf(last_type, sizeof(last_type), "%s", th_failure_type(th_last_failure(ctx)));
    late_calls += th_is_replaying(ctx);
}

static int in_call(struct th_context *ctx)
{
    HOLD;
    json_auto_t *result = th_call(ctx, "slow", json_string(held));
    see(ctx);
    return result ? th_return(ctx, result) : TH_FAILED;
}

static int in_child(struct th_context *ctx)
{
    HOLD;
    json_auto_t *result = th_call_child(ctx, "slow", NULL, NULL);
    see(ctx);
    return result ? 0 : TH_FAILED;
}

static int in_sleep(struct th_context *ctx)
{
    HOLD;
    int result = th_sleep(ctx, 1000);
    see(ctx);
    return result;
}

static int in_event(struct th_context *ctx)
{
    HOLD;
    json_auto_t *result = th_wait_event(ctx, "go", -1);
    see(ctx);
    return result ? 0 : TH_FAILED;
}

static int in_event_with_timeout(struct th_context *ctx)
{
    HOLD;
    json_auto_t *result = th_wait_event(ctx, "go", 5000);
    see(ctx);
    return result ? 0 : TH_FAILED;
}

static int in_any(struct th_context *ctx)
{
    HOLD;
    struct th_task *tasks[2] = {th_timer_in(ctx, 1000), th_event_task(ctx, "go")};
    struct th_task *all = th_all(ctx, tasks, 2);
    struct th_task *any = th_any(ctx, (struct th_task *const[]){all, tasks[1]}, 2);
    bool done = th_await(ctx, any);
    see(ctx);
    return done && th_winner(any) ? 0 : TH_FAILED;
}

static int in_retry(struct th_context *ctx)
{
    HOLD;
    struct th_retry policy = {.max_attempts = 3};
    struct th_options options = {.retry = &policy};
    json_auto_t *result = th_call_with(ctx, "slow", NULL, &options);
    see(ctx);
    return result ? 0 : TH_FAILED;
}

/* Its cleanups call on: every call fails, none waits. */
static int cleans_up_with_calls(struct th_context *ctx)
{
    HOLD;
    json_auto_t *result = th_call(ctx, "slow", NULL);
    if (!result) {
        json_decref(th_call(ctx, "undo", json_string("x")));
        json_decref(th_wait_event(ctx, "undone", 1000));
        th_send_event(ctx, "someone", "sorry", json_string("x"));
        th_set_custom_status(ctx, json_string("sorry"));
        struct th_task *late = th_schedule(ctx, "late", json_string("x"), NULL);
        if (th_await(ctx, late) || th_sleep(ctx, 5) == 0 || !th_task_failure(late)) {
            return 0; /* not reached */
        }
        see(ctx);
        return th_fail_with(ctx, "Gone", "never seen");
    }
    return th_return(ctx, result);
}

static int stubborn(struct th_context *ctx)
{
    while (alive >= 0) { /* for ever */
        json_decref(th_wait_event(ctx, "again", -1));
    }
    return 0;
}

static int sleeper(struct th_context *ctx)
{
    HOLD;
    return th_sleep(ctx, 1000);
}

static void registration(struct th_app *app)
{
    th_orchestrator(app, "in_call", in_call);
    th_orchestrator(app, "in_child", in_child);
    th_orchestrator(app, "in_sleep", in_sleep);
    th_orchestrator(app, "in_event", in_event);
    th_orchestrator(app, "in_event_with_timeout", in_event_with_timeout);
    th_orchestrator(app, "in_any", in_any);
    th_orchestrator(app, "in_retry", in_retry);
    th_orchestrator(app, "cleans_up_with_calls", cleans_up_with_calls);
    th_orchestrator(app, "stubborn", stubborn);
    th_orchestrator(app, "sleeper", sleeper);
}

static void evicted_while(const char *name)
{
    DRIVER d;
    alive = late_calls = 0;
    *last_type = '\0';
    sdk_driver_init(&d, registration, (struct th_executor_options){0});
    sdk_start(&d, name, NULL);
    sdk_run(&d);
    assert_int_equal(alive, 1);
    sdk_forget(&d);
    assert_int_equal(alive, 0);
    assert_string_equal(last_type, "Evicted");
    assert_int_equal(late_calls, 1);
    assert_int_equal(th_executor_warm(d.executor), 0);
    sdk_run(&d); /* replayed to where it was, and evicted again by the end of the test */
    assert_int_equal(alive, 1);
    assert_false(d.ended);
    sdk_driver_deinit(&d);
    assert_int_equal(alive, 0);
    d = (struct sdk_driver){0};
}

static void test_every_way_to_wait(void **state)
{
    evicted_while("in_call");
    evicted_while("in_child");
    evicted_while("in_sleep");
    evicted_while("in_event");
    evicted_while("in_event_with_timeout");
    evicted_while("in_any");
    evicted_while("in_retry");
    evicted_while("cleans_up_with_calls");
}

static void test_goes_on_after_eviction(void **state)
{
    DRIVER d;
    sdk_driver_init(&d, registration, (struct th_executor_options){0});
    sdk_start(&d, "in_call", NULL);
    sdk_run(&d);
    sdk_forget(&d);
    sdk_done(&d, 0, "5");
    sdk_run(&d);
    sdk_expect(&d, "end Completed 5");
    assert_int_equal(d.cold_runs, 1);
}

static void keep_line(void *argument, enum th_level level, const char *category, const char *line)
{
    snprintf(argument, 256, "%s", line);
}

static void test_stubborn_code_is_dropped_and_named(void **state)
{
    char line[256] = "";
    struct th_log log = {.level = TH_LOG_WARN, .sink = keep_line, .argument = line};
    DRIVER d;
    sdk_driver_init(&d, registration, (struct th_executor_options){.log = &log});
    sdk_start(&d, "stubborn", NULL);
    sdk_run(&d);
    sdk_forget(&d);
    assert_non_null(strstr(line, "\"stubborn\" does not return"));
    sdk_run(&d);
    assert_false(d.ended);
}

static struct th_actions run_sleeper(struct sdk_driver *d, const char *id)
{
    struct th_actions out;
    struct th_event fresh[2] = {th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, d->now),
                                th_event_of(TH_EVENT_EXECUTION_STARTED, d->now)};
    fresh[1].name = TH_STR("sleeper");
    struct th_episode e = {.instance_id = th_str_of(id),
                           .execution_id = TH_STR("e"),
                           .fresh = fresh,
                           .fresh_count = 2};
    assert_int_equal(TH_EXECUTOR_DONE, th_executor_run(d->executor, &e, &d->arena, &out));
    return out;
}

static bool is_warm(struct sdk_driver *d, const char *id)
{
    struct th_actions out;
    struct th_event fresh = th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, d->now);
    struct th_episode e = {.instance_id = th_str_of(id),
                           .execution_id = TH_STR("e"),
                           .past_count = 4,
                           .fresh = &fresh,
                           .fresh_count = 1};
    return th_executor_run(d->executor, &e, &d->arena, &out) == TH_EXECUTOR_DONE;
}

static void test_least_recently_run_goes_first(void **state)
{
    DRIVER d;
    char id[32];
    alive = 0;
    sdk_driver_init(&d, registration, (struct th_executor_options){.max_warm = 100});
    for (int i = 0; i < 150; i++) {
        snprintf(id, sizeof(id), "sleeper-%d", i);
        assert_int_equal(run_sleeper(&d, id).count, 1);
        if (i == 99) {
            assert_true(is_warm(&d, "sleeper-3"));
        }
    }
    assert_int_equal(th_executor_warm(d.executor), 100);
    assert_int_equal(alive, 100);
    assert_true(is_warm(&d, "sleeper-149"));
    assert_true(is_warm(&d, "sleeper-51"));
    assert_false(is_warm(&d, "sleeper-50"));
    assert_false(is_warm(&d, "sleeper-0"));
    sdk_driver_deinit(&d);
    assert_int_equal(alive, 0);
    d = (struct sdk_driver){0};
}

static void test_always_cold_keeps_none(void **state)
{
    DRIVER d;
    alive = 0;
    sdk_driver_init(&d, registration, (struct th_executor_options){.always_cold = true});
    run_sleeper(&d, "x");
    assert_int_equal(th_executor_warm(d.executor), 0);
    assert_int_equal(alive, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_way_to_wait),
        cmocka_unit_test(test_goes_on_after_eviction),
        cmocka_unit_test(test_stubborn_code_is_dropped_and_named),
        cmocka_unit_test(test_least_recently_run_goes_first),
        cmocka_unit_test(test_always_cold_keeps_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

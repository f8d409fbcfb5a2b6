#include "bench_functions.h"

#include <stdlib.h>
#include <string.h>

#define BIG_RESULT (4 * 1000 * 1000)

static int hello(struct th_activity *activity)
{
    const char *name = json_string_value(th_activity_input(activity));
    return th_activity_return(activity, json_sprintf("Hello %s!", name ? name : ""));
}

static int nothing(struct th_activity *activity)
{
    return th_activity_return_bytes(activity, "null", 4);
}

static int big(struct th_activity *activity)
{
    char *text = malloc(BIG_RESULT);
    if (!text)
        return th_activity_fail(activity, "OutOfMemory", "no room for the result");
    memset(text, 'x', BIG_RESULT);
    text[0] = text[BIG_RESULT - 1] = '"';
    int result = th_activity_return_bytes(activity, text, BIG_RESULT);
    free(text);
    return result;
}

static int hello5(struct th_context *ctx)
{
    static const char *const cities[] = {"Tokyo", "Seattle", "London", "Cairo", "Lima"};
    json_auto_t *greetings = json_array();
    for (int i = 0; i < 5; i++) {
        json_t *greeting = th_call(ctx, "hello", json_string(cities[i]));
        if (!greeting)
            return TH_FAILED;
        json_array_append_new(greetings, greeting);
    }
    return th_return(ctx, greetings);
}

static int child(struct th_context *ctx)
{
    return th_return_bytes(ctx, "1", 1);
}

static int call5(struct th_context *ctx)
{
    for (int i = 0; i < 5; i++) {
        json_auto_t *result = th_call_child(ctx, "child", NULL, NULL);
        if (!result)
            return TH_FAILED;
    }
    return th_return_bytes(ctx, "5", 1);
}

static int fanout(struct th_context *ctx)
{
    size_t count = (size_t)json_integer_value(th_input(ctx));
    struct th_task **tasks = calloc(count ? count : 1, sizeof(struct th_task *));
    for (size_t i = 0; tasks && i < count; i++)
        tasks[i] = th_schedule_bytes(ctx, "nothing", NULL, 0, NULL);
    bool ok = tasks && th_await(ctx, th_all(ctx, tasks, count));
    free(tasks);
    return ok ? th_return_new(ctx, json_integer((json_int_t)count)) : TH_FAILED;
}

static int timer(struct th_context *ctx)
{
    th_time due = json_integer_value(th_input(ctx));
    if (!th_await(ctx, th_timer_at(ctx, due)))
        return TH_FAILED;
    return th_return_bytes(ctx, "null", 4);
}

static int long_history(struct th_context *ctx)
{
    json_int_t count = json_integer_value(th_input(ctx));
    for (json_int_t i = 0; i < count; i++) {
        json_auto_t *result = th_call(ctx, "nothing", NULL);
        if (!result)
            return TH_FAILED;
    }
    th_set_custom_status(ctx, json_string("ready"));
    json_auto_t *go = th_wait_event(ctx, "go", -1);
    return go ? th_return_bytes(ctx, "null", 4) : TH_FAILED;
}

/* Waits until it is woken: for the memory of those that wait, and the time to wake one. */
static int sleeper(struct th_context *ctx)
{
    json_auto_t *wake = th_wait_event(ctx, "wake", -1);
    return wake ? th_return_bytes(ctx, "null", 4) : TH_FAILED;
}

static int big_payload(struct th_context *ctx)
{
    for (int i = 0; i < 5; i++) {
        struct th_task *task = th_schedule_bytes(ctx, "big", NULL, 0, NULL);
        if (!th_await(ctx, task))
            return TH_FAILED;
    }
    return th_return_bytes(ctx, "5", 1);
}

void bench_register(struct th_app *app)
{
    th_activity(app, "hello", hello);
    th_activity(app, "nothing", nothing);
    th_activity(app, "big", big);
    th_orchestrator(app, "hello5", hello5);
    th_orchestrator(app, "child", child);
    th_orchestrator(app, "call5", call5);
    th_orchestrator(app, "fanout", fanout);
    th_orchestrator(app, "timer", timer);
    th_orchestrator(app, "long_history", long_history);
    th_orchestrator(app, "sleeper", sleeper);
    th_orchestrator(app, "big_payload", big_payload);
}

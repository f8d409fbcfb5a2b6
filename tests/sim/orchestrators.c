/*
 * orchestrators: what runs in the hub. "program" interprets the steps that program.c made;
 * "collector" counts events over many generations; "endless" goes on as new, round by round. They
 * use taskhub.h alone and know nothing of the simulation. A step that returns NULL ends the
 * orchestration: it failed, or the instance is leaving memory.
 */
#include "tests/sim/sim.h"

static json_int_t number(const json_t *step, const char *key)
{
    return json_integer_value(json_object_get(step, key));
}

static const char *text(const json_t *step, const char *key)
{
    return json_string_value(json_object_get(step, key));
}

static bool evicted(struct th_context *ctx)
{
    const struct th_failure *failure = th_last_failure(ctx);

    return failure && th_failure_is(failure, "Evicted");
}

/* ---- steps ---- */

/* The input of "work" is the step itself: it says what the activity does. */
static json_t *work_input(const json_t *step, json_int_t n)
{
    json_t *input = json_deep_copy(step);

    json_object_set_new(input, "n", json_integer(n));
    return input;
}

/* Large results count by their length: only small ones travel on to a parent. */
static json_t *shrink(json_t *result)
{
    const json_t *pad = json_object_get(result, "pad");
    json_t *small;

    if (!pad)
        return result;
    small = json_pack("[OI]", json_object_get(result, "n"), (json_int_t)json_string_length(pad));
    json_decref(result);
    return small;
}

static json_t *shrink_all(json_t *results)
{
    json_t *small = json_array();
    json_t *result;
    size_t n;

    json_array_foreach(results, n, result)
        json_array_append_new(small, shrink(json_incref(result)));
    json_decref(results);
    return small;
}

static json_t *run_call(struct th_context *ctx, const json_t *step)
{
    return shrink(th_call(ctx, "work", work_input(step, number(step, "n"))));
}

static json_t *run_retry(struct th_context *ctx, const json_t *step)
{
    const struct th_retry retry = {.max_attempts = (int)number(step, "max"),
                                   .first_interval_ms = number(step, "ms"),
                                   .backoff_coefficient = 2};
    const struct th_options options = {.retry = &retry};
    json_t *result = th_call_with(ctx, "work", work_input(step, number(step, "n")), &options);

    return result || evicted(ctx) ? result : json_string("failed");
}

static json_t *run_fail_step(struct th_context *ctx, const json_t *step)
{
    json_t *result = run_call(ctx, step);

    if (result || evicted(ctx))
        return result;
    return json_string(th_failure_type(th_last_failure(ctx)));
}

#define MOST_TASKS 64

static size_t schedule(struct th_context *ctx, const json_t *step, struct th_task **tasks)
{
    const json_t *numbers = json_object_get(step, "numbers");
    const size_t count = json_array_size(numbers);

    for (size_t n = 0; n < count && n < MOST_TASKS; n++)
        tasks[n] = th_schedule(
            ctx, "work", work_input(step, json_integer_value(json_array_get(numbers, n))), NULL);
    return count;
}

static json_t *run_all(struct th_context *ctx, const json_t *step)
{
    struct th_task *tasks[MOST_TASKS], *all;

    all = th_all(ctx, tasks, schedule(ctx, step, tasks));
    return th_await(ctx, all) ? shrink_all(th_result(all)) : NULL;
}

static json_t *run_any(struct th_context *ctx, const json_t *step)
{
    struct th_task *tasks[MOST_TASKS], *any;

    any = th_any(ctx, tasks, schedule(ctx, step, tasks));
    return th_await(ctx, any) ? th_result(any) : NULL;
}

static json_t *run_timed(struct th_context *ctx, const json_t *step)
{
    struct th_task *both[2], *any;

    both[0] = th_schedule(ctx, "work", work_input(step, number(step, "n")), NULL);
    both[1] = th_timer_in(ctx, number(step, "ms"));
    any = th_any(ctx, both, 2);
    if (!th_await(ctx, any))
        return NULL;
    if (th_winner(any) == both[1])
        return json_string("late");
    th_cancel(ctx, both[1]);
    return th_result(any);
}

static json_t *run_sleep(struct th_context *ctx, const json_t *step)
{
    const th_time before = th_current_time(ctx);

    if (th_sleep(ctx, number(step, "ms")) != 0)
        return NULL;
    return json_boolean(th_current_time(ctx) >= before + number(step, "ms") * TH_MILLISECOND);
}

static struct th_task *schedule_child(struct th_context *ctx, const json_t *step, size_t n)
{
    char id[TH_ID_MAX];
    const struct th_options options = {
        .instance_id = json_is_true(json_object_get(step, "named")) ? id : NULL};
    json_t *program = json_array_get(json_object_get(step, "programs"), n);

    snprintf(id, sizeof(id), "%s.%lld.%zu", th_instance_id(ctx), (long long)number(step, "step"),
             n);
    return th_schedule_child(ctx, "program", json_deep_copy(program), &options);
}

static json_t *run_children(struct th_context *ctx, const json_t *step)
{
    struct th_task *tasks[MOST_TASKS], *all;
    const size_t count = json_array_size(json_object_get(step, "programs"));

    for (size_t n = 0; n < count && n < MOST_TASKS; n++)
        tasks[n] = schedule_child(ctx, step, n);
    all = th_all(ctx, tasks, count);
    return th_await(ctx, all) ? th_result(all) : NULL;
}

/* The parent goes on when a child fails. */
static json_t *run_caught(struct th_context *ctx, const json_t *step)
{
    json_t *result = run_children(ctx, step);

    return result || evicted(ctx) ? result : json_string("failed");
}

static json_t *run_wait(struct th_context *ctx, const json_t *step)
{
    return th_wait_event(ctx, text(step, "name"), -1);
}

/* Nobody raises this event: the time-out wins. */
static json_t *run_race(struct th_context *ctx, const json_t *step)
{
    json_t *event = th_wait_event(ctx, "never", number(step, "ms"));

    return event || evicted(ctx) ? event : json_string("timeout");
}

static json_t *item(struct th_context *ctx, const json_t *step, bool reply)
{
    json_t *event = json_object();
    const json_t *input = th_input(ctx);

    json_object_set(event, "from", json_object_get(input, "uid"));
    json_object_set_new(event, "seq",
                        json_integer(number(input, "round") * 1000 + number(step, "step")));
    if (reply)
        json_object_set_new(event, "reply", json_string(th_instance_id(ctx)));
    return event;
}

static json_t *run_send(struct th_context *ctx, const json_t *step)
{
    th_send_event(ctx, text(step, "to"), "item", item(ctx, step, false));
    return json_null();
}

/* An event there and one back. */
static json_t *run_ask(struct th_context *ctx, const json_t *step)
{
    th_send_event(ctx, text(step, "to"), "item", item(ctx, step, true));
    return th_wait_event(ctx, "ack", -1);
}

static json_t *run_chance_step(struct th_context *ctx, const json_t *step)
{
    char uuid[37];

    (void)step;
    th_new_uuid(ctx, uuid);
    return json_pack("[sb]", uuid, (int)(th_random_double(ctx) < 1));
}

static json_t *run_status(struct th_context *ctx, const json_t *step)
{
    th_set_custom_status(ctx, json_incref(json_object_get(step, "n")));
    return json_null();
}

typedef json_t *(*step_fn)(struct th_context *ctx, const json_t *step);

static step_fn step_of(const char *kind)
{
    static const struct {
        const char *kind;
        step_fn run;
    } steps[] = {
        {"call", run_call},         {"retry", run_retry},
        {"fail", run_fail_step},    {"all", run_all},
        {"any", run_any},           {"timed", run_timed},
        {"sleep", run_sleep},       {"wait", run_wait},
        {"children", run_children}, {"race", run_race},
        {"caught", run_caught},     {"send", run_send},
        {"ask", run_ask},           {"random", run_chance_step},
        {"status", run_status},
    };

    for (size_t n = 0; n < TH_COUNT(steps); n++)
        if (strcmp(steps[n].kind, kind) == 0)
            return steps[n].run;
    return run_call;
}

/* ---- the orchestrators ---- */

static json_t *copy_of(const json_t *input, const char *key)
{
    json_t *value = json_object_get(input, key);

    return value ? json_deep_copy(value) : json_array();
}

static int next_round(struct th_context *ctx, const json_t *out)
{
    json_t *input = json_deep_copy(th_input(ctx));

    json_object_set_new(input, "round", json_integer(number(input, "round") + 1));
    json_object_set_new(input, "out", json_deep_copy(out));
    return th_continue_as_new(ctx, input, true);
}

static int program(struct th_context *ctx)
{
    const json_t *input = th_input(ctx);
    json_auto_t *out = copy_of(input, "out");
    size_t n;
    json_t *step;

    json_array_foreach(json_object_get(input, "steps"), n, step) {
        json_t *result = step_of(text(step, "kind"))(ctx, step);

        if (!result)
            return TH_FAILED;
        json_array_append_new(out, result);
    }
    if (number(input, "round") + 1 < number(input, "rounds"))
        return next_round(ctx, out);
    return th_return_new(ctx,
                         json_pack("{sOsO}", "uid", json_object_get(input, "uid"), "out", out));
}

static bool seen_before(const json_t *seen, const json_t *item)
{
    size_t n;
    json_t *other;

    json_array_foreach(seen, n, other) {
        if (json_equal(json_array_get(other, 0), json_object_get(item, "from")) &&
            json_equal(json_array_get(other, 1), json_object_get(item, "seq")))
            return true;
    }
    return false;
}

static void note_item(struct th_context *ctx, json_t *seen, json_t *again, const json_t *item)
{
    const char *reply = text(item, "reply");

    json_array_append_new(
        seen_before(seen, item) ? again : seen,
        json_pack("[OO]", json_object_get(item, "from"), json_object_get(item, "seq")));
    if (reply)
        th_send_event(ctx, reply, "ack", json_incref(json_object_get(item, "seq")));
}

static int collector(struct th_context *ctx)
{
    const json_t *input = th_input(ctx);
    json_auto_t *seen = copy_of(input, "seen");
    json_auto_t *again = copy_of(input, "again");

    for (json_int_t n = 0; n < number(input, "batch"); n++) {
        json_auto_t *event = NULL;

        if ((json_int_t)json_array_size(seen) == number(input, "want"))
            break;
        event = th_wait_event(ctx, "item", -1);
        if (!event)
            return TH_FAILED;
        note_item(ctx, seen, again, event);
    }
    if ((json_int_t)json_array_size(seen) < number(input, "want")) {
        json_t *next = json_deep_copy(input);

        json_object_set(next, "seen", seen);
        json_object_set(next, "again", again);
        return th_continue_as_new(ctx, next, true);
    }
    return th_return_new(ctx, json_pack("{sOsO}", "seen", seen, "again", again));
}

static int endless(struct th_context *ctx)
{
    const json_t *input = th_input(ctx);
    const json_int_t round = number(input, "round");
    json_t *next;

    if (round == number(input, "rounds"))
        return th_return_new(ctx, json_integer(round));
    json_decref(th_call(ctx, "work", json_pack("{sI}", "n", round)));
    if (round % 7 == 0 && th_sleep(ctx, 1) != 0)
        return TH_FAILED;
    if (th_last_failure(ctx))
        return TH_FAILED;
    next = json_deep_copy(input);
    json_object_set_new(next, "round", json_integer(round + 1));
    return th_continue_as_new(ctx, next, true);
}

void orchestrators_register(struct th_app *app)
{
    th_orchestrator(app, "program", program);
    th_orchestrator(app, "collector", collector);
    th_orchestrator(app, "endless", endless);
}

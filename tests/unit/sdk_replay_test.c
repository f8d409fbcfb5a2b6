/*
 * Replays: whatever the grouping of events into episodes, warm or cold, the code decides alike;
 * and code that does not match its history says so.
 */
#include "unit/sdk_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/memory.h"

#define DRIVER __attribute__((cleanup(sdk_driver_deinit))) struct sdk_driver

/* The tests change the code under a running instance by changing this. */
static int variant;

static void registration(struct th_app *app);

static void begin(struct sdk_driver *d, const char *name, struct th_executor_options options)
{
    sdk_driver_init(d, registration, options);
    sdk_start(d, name, NULL);
    sdk_run(d);
}

/* ---- any grouping, warm or cold ------------------------------------------------------------- */

/*
 * Does whatever its random numbers say: activities, children, timers, events, retries, alone or
 * composed, and writes down what it saw. Everything that could differ between runs goes into the
 * inputs of later calls and into the output.
 */
static struct th_task *something(struct th_context *ctx, json_t *seen, int depth)
{
    struct th_retry policy = {.max_attempts = 3, .first_interval_ms = 10, .timeout_ms = 9000};
    struct th_options options = {.retry = &policy};
    char uuid[37];
    struct th_task *parts[4];
    size_t count = 1 + (size_t)(th_random_u64(ctx) % 4);

    switch (th_random_u64(ctx) % (depth > 2 ? 7 : 9)) {
    case 0:
        th_new_uuid(ctx, uuid);
        return th_schedule(ctx, "plain", json_string(uuid), NULL);
    case 1:
        return th_schedule(ctx, "retried", json_copy(seen), &options);
    case 2:
        return th_schedule_child(ctx, "child", json_real(th_random_double(ctx)), NULL);
    case 3:
        return th_timer_in(ctx, (int64_t)(th_random_u64(ctx) % 5000));
    case 4:
        return th_event_task(ctx, "alpha");
    case 5:
        return th_event_task(ctx, "BETA");
    case 6:
        th_signal_entity(ctx, "@log@1", "note", json_copy(seen));
        return th_schedule_entity(ctx, "@Counter@k", "add", json_integer(depth));
    default:
        for (size_t i = 0; i < count; i++) {
            parts[i] = something(ctx, seen, depth + 1);
        }
        return th_random_u64(ctx) % 2 ? th_all(ctx, parts, count) : th_any(ctx, parts, count);
    }
}

static void note(struct th_context *ctx, json_t *seen, struct th_task *task, bool ok)
{
    json_t *result = ok ? th_result(task) : NULL;
    json_array_append_new(seen, json_pack("{s:b, s:I, s:o?, s:s}", "ok", ok, "time",
                                          (json_int_t)th_current_time(ctx), "result", result, "why",
                                          th_failure_type(th_task_failure(task))));
    while (json_array_size(seen) > 3) {
        json_array_remove(seen, 0);
    }
}

static void within_a_section(struct th_context *ctx, json_t *seen)
{
    static const char *const set[] = {"@account@b", "@account@a"};

    if (th_lock(ctx, set, 2)) {
        return;
    }
    struct th_task *calls[] = {
        th_schedule_entity(ctx, set[th_random_u64(ctx) % 2], "first", json_copy(seen)),
        th_schedule_entity(ctx, set[th_random_u64(ctx) % 2], "second", NULL),
        th_timer_in(ctx, 5),
    };
    struct th_task *any = th_any(ctx, calls, 3);
    note(ctx, seen, any, th_await(ctx, any));
    if (th_random_u64(ctx) % 2) {
        th_cancel(ctx, calls[0]);
    }
    struct th_task *third = th_schedule_entity(ctx, set[0], "third", NULL);
    note(ctx, seen, third, th_await(ctx, third));
    json_array_append_new(seen, json_integer((json_int_t)th_locked(ctx, NULL)));
    th_unlock(ctx);
}

static int anything(struct th_context *ctx)
{
    json_auto_t *seen = json_array();

    for (int round = 0; round < 6; round++) {
        struct th_task *task = something(ctx, seen, 0);
        if (th_random_u64(ctx) % 4 == 0) {
            th_send_event(ctx, "friend", "note", json_copy(seen));
        }
        note(ctx, seen, task, th_await(ctx, task));
        if (th_random_u64(ctx) % 3 == 0) {
            within_a_section(ctx, seen);
        }
    }
    return th_return(ctx, seen);
}

/* What is still unanswered in the history. */
static size_t open_ids(const struct sdk_driver *d, int32_t *ids, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < d->history.count; i++) {
        enum th_event_kind kind = d->history.items[i].kind;
        bool open = kind == TH_EVENT_TASK_SCHEDULED || kind == TH_EVENT_CHILD_CREATED ||
                    kind == TH_EVENT_TIMER_CREATED || kind == TH_EVENT_ENTITY_CALLED ||
                    kind == TH_EVENT_ENTITY_LOCK_REQUESTED;
        for (size_t k = 0; open && k < d->history.count; k++) {
            open = d->history.items[k].related_id != d->history.items[i].id;
        }
        for (size_t k = 0; open && k < d->fresh.count; k++) {
            open = d->fresh.items[k].related_id != d->history.items[i].id;
        }
        if (open && count < max) {
            ids[count++] = d->history.items[i].id;
        }
    }
    return count;
}

static bool is_timer(const struct sdk_driver *d, int32_t id)
{
    for (size_t i = 0; i < d->history.count; i++) {
        if (d->history.items[i].id == id) {
            return d->history.items[i].kind == TH_EVENT_TIMER_CREATED;
        }
    }
    return false;
}

/* Queues one event that the world might send. */
static void poke(struct sdk_driver *d, struct th_random *r)
{
    int32_t ids[64];
    char json[64];
    size_t count = open_ids(d, ids, TH_COUNT(ids));
    snprintf(json, sizeof(json), "%llu", (unsigned long long)th_random_below(r, 1000));
    if (count == 0 || th_random_below(r, 4) == 0) {
        sdk_raised(d, th_random_below(r, 2) ? "Alpha" : "beta", json);
        return;
    }
    int32_t id = ids[th_random_below(r, count)];
    if (is_timer(d, id)) {
        sdk_fired(d, id);
    } else if (th_random_below(r, 4) == 0) {
        sdk_failed(d, id, "Random", json);
    } else {
        sdk_done(d, id, json);
    }
}

static void same_actions(const struct th_actions *a, const struct th_actions *b, uint64_t seed)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        const struct th_action *x = &a->items[i];
        const struct th_action *y = &b->items[i];
        same = x->kind == y->kind && x->id == y->id && x->fire_at == y->fire_at &&
               x->status == y->status && th_str_eq(x->name, y->name) &&
               th_str_eq(x->data, y->data) && th_str_eq(x->instance_id, y->instance_id) &&
               (x->entity ? y->entity && th_event_equal(x->entity, y->entity) : !y->entity);
    }
    if (!same) {
        fail_msg("seed %llu: a replay decides otherwise", (unsigned long long)seed);
    }
}

/* The same episode once more, by an executor that never saw the instance. */
static void check_against_replay(struct sdk_driver *d, struct th_executor *other, size_t before,
                                 uint64_t seed)
{
    struct th_actions again;
    size_t fresh = d->history.count - before;
    struct th_episode e = {.instance_id = TH_STR("instance-1"),
                           .execution_id = th_str_of(d->execution_id),
                           .past_loaded = true,
                           .past = d->history.items,
                           .past_count = before,
                           .fresh = d->history.items + before,
                           .fresh_count = fresh - d->last.count - 1};
    assert_int_equal(TH_EXECUTOR_DONE, th_executor_run(other, &e, &d->arena, &again));
    same_actions(&d->last, &again, seed);
}

static void one_life(uint64_t seed, struct th_executor_options options)
{
    struct th_random r;
    DRIVER d;
    th_random_seed(&r, seed);
    sdk_driver_init(&d, registration, options);
    struct th_executor *other =
        th_executor_new(&(struct th_executor_options){.app = d.app, .always_cold = true});
    snprintf(d.execution_id, sizeof(d.execution_id), "exec-%llu", (unsigned long long)seed);
    sdk_start(&d, "anything", NULL);
    for (int episode = 0; !d.ended && episode < 300; episode++) {
        size_t before = d.history.count;
        if (th_random_below(&r, 3) == 0) {
            sdk_forget(&d);
        }
        sdk_run(&d);
        check_against_replay(&d, other, before, seed);
        for (uint64_t n = 1 + th_random_below(&r, 3); n && !d.ended; n--) {
            poke(&d, &r);
        }
    }
    if (!d.ended || d.end.status != TH_STATUS_COMPLETED) {
        fail_msg("seed %llu: %s", (unsigned long long)seed, sdk_text(&d));
    }
    th_executor_free(other);
}

static void test_warm_and_cold_decide_alike(void **state)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        one_life(seed, (struct th_executor_options){0});
    }
}

static void test_replay_always_finds_nothing_in_good_code(void **state)
{
    for (uint64_t seed = 1000; seed < 1040; seed++) {
        one_life(seed, (struct th_executor_options){.replay_always = true});
    }
}

/* The same events in the same order, in one episode or in one each. */
static int racing(struct th_context *ctx)
{
    struct th_task *tasks[3];
    json_auto_t *order = json_array();
    for (int i = 0; i < 3; i++) {
        tasks[i] = th_schedule(ctx, "work", json_integer(i), NULL);
    }
    for (int left = 3; left; left--) {
        struct th_task *any = th_any(ctx, tasks, (size_t)left);
        if (!th_await(ctx, any)) {
            return TH_FAILED;
        }
        json_array_append_new(order, th_result(any));
        for (int i = 0; i < left; i++) {
            if (tasks[i] == th_winner(any)) {
                tasks[i] = tasks[left - 1];
                break;
            }
        }
    }
    return th_return(ctx, order);
}

static void test_every_grouping_of_every_order(void **state)
{
    static const int32_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t o = 0; o < 6; o++) {
        for (unsigned grouping = 0; grouping < 16; grouping++) {
            DRIVER d;
            char expected[64];
            begin(&d, "racing", (struct th_executor_options){0});
            for (size_t i = 0; i < 3; i++) {
                sdk_done(&d, orders[o][i], (const char *[]){"0", "1", "2"}[orders[o][i]]);
                if (grouping >> i & 1 || i == 2) {
                    if (grouping & 8) {
                        sdk_forget(&d);
                    }
                    sdk_run(&d);
                }
            }
            snprintf(expected, sizeof(expected), "end Completed [%d,%d,%d]", orders[o][0],
                     orders[o][1], orders[o][2]);
            sdk_expect(&d, expected);
        }
    }
}

/* ---- the same at every replay --------------------------------------------------------------- */

static int constants(struct th_context *ctx)
{
    json_auto_t *all = json_array();
    for (int i = 0; i < 3; i++) {
        char uuid[37];
        th_new_uuid(ctx, uuid);
        json_array_append_new(all, json_string(uuid));
        json_array_append_new(all, json_integer((json_int_t)(th_random_u64(ctx) >> 12)));
        json_array_append_new(all, json_real(th_random_double(ctx)));
        json_array_append_new(all, json_integer((json_int_t)th_current_time(ctx)));
        if (th_sleep(ctx, 1000)) {
            return TH_FAILED;
        }
    }
    return th_return(ctx, all);
}

static const char *constants_of(struct sdk_driver *d, bool cold)
{
    begin(d, "constants", (struct th_executor_options){.always_cold = cold});
    for (int32_t i = 0; i < 3; i++) {
        sdk_fired(d, i);
        sdk_run(d);
    }
    assert_int_equal(d->cold_runs, cold ? 3 : 0);
    return sdk_text(d);
}

static void test_time_random_and_uuids_repeat(void **state)
{
    DRIVER warm;
    DRIVER cold;
    const char *first = constants_of(&warm, false);
    assert_non_null(strstr(first, "end Completed"));
    assert_string_equal(first, constants_of(&cold, true));
}

/* They are part of what instances recorded: a release must not change them. */
static void test_random_never_changes(void **state)
{
    DRIVER d;
    const char *text = constants_of(&d, false);
    json_auto_t *list = json_loads(strchr(text, '['), 0, NULL);
    assert_string_equal(json_string_value(json_array_get(list, 0)),
                        "3fde7061-df0f-5358-85a1-cf59bc8a04a2");
    assert_int_equal(json_integer_value(json_array_get(list, 1)), INT64_C(0xac99697d07857));
}

static int replaying_log;

static int logs(struct th_context *ctx)
{
    replaying_log += th_is_replaying(ctx);
    th_log_info(ctx, "before");
    th_sleep(ctx, 1);
    th_log_info(ctx, "after");
    return 0;
}

static void count_line(void *argument, enum th_level level, const char *category, const char *line)
{
    (*(int *)argument)++;
    assert_string_equal(category, "Function.logs");
}

static void test_log_is_silent_while_replaying(void **state)
{
    int lines = 0;
    struct th_log log = {.level = TH_LOG_INFO, .sink = count_line, .argument = &lines};
    DRIVER d;
    replaying_log = 0;
    begin(&d, "logs", (struct th_executor_options){.log = &log});
    assert_int_equal(lines, 1);
    assert_int_equal(replaying_log, 0);
    sdk_forget(&d); /* its "after" is not said: it will be */
    assert_int_equal(lines, 1);
    sdk_fired(&d, 0);
    sdk_run(&d);
    assert_int_equal(lines, 2);
    assert_int_equal(replaying_log, 1);
}

/* ---- who may go on warm --------------------------------------------------------------------- */

static void test_another_count_needs_the_history(void **state)
{
    DRIVER d;
    begin(&d, "constants", (struct th_executor_options){0});
    assert_int_equal(th_executor_warm(d.executor), 1);
    struct th_event suspended = th_event_of(TH_EVENT_EXECUTION_SUSPENDED, 0);
    th_events_add(&d.history, suspended); /* an episode that needed no code */
    sdk_fired(&d, 0);
    sdk_run(&d);
    assert_int_equal(d.cold_runs, 1);
    sdk_expect(&d, "timer 1 +1000ms");
}

static void test_another_execution_needs_the_history(void **state)
{
    DRIVER d;
    begin(&d, "constants", (struct th_executor_options){0});
    strcpy(d.execution_id, "other");
    sdk_fired(&d, 0);
    sdk_run(&d);
    assert_int_equal(d.cold_runs, 1);
}

static void test_loaded_history_is_always_replayed(void **state)
{
    DRIVER d;
    begin(&d, "constants", (struct th_executor_options){0});
    sdk_fired(&d, 0);
    sdk_run_cold(&d);
    sdk_expect(&d, "timer 1 +1000ms");
    sdk_fired(&d, 1);
    sdk_run(&d); /* warm again */
    sdk_expect(&d, "timer 2 +1000ms");
    assert_int_equal(d.cold_runs, 1);
}

/* ---- code that was changed ------------------------------------------------------------------ */

static int shop(struct th_context *ctx)
{
    struct th_options options = {.instance_id = variant == 7 ? "box-2" : "box-1"};
    if (variant == 3) {
        th_schedule(ctx, "audit", NULL, NULL);
    }
    if (variant == 5) {
        return 0;
    }
    json_decref(th_call(ctx,
                        variant == 1    ? "ship"
                        : variant == 10 ? "CHARGE"
                                        : "charge",
                        json_integer(variant)));
    if (variant == 4) {
        th_schedule(ctx, "audit", NULL, NULL);
    }
    if (variant == 2) {
        json_decref(th_wait_event(ctx, "go", -1));
    }
    if (variant == 6) {
        th_timer_in(ctx, 5);
    }
    json_decref(th_call_child(ctx, "pack", NULL, &options));
    th_send_event(ctx, variant == 8 ? "mallory" : "alice", "sent", NULL);
    return variant == 9 ? th_fail_with(ctx, "X", "x") : 0;
}

/* Up to and including the call of the child, and its answer. */
static void shop_until_packed(struct sdk_driver *d)
{
    variant = 0;
    begin(d, "shop", (struct th_executor_options){0});
    sdk_done(d, 0, "1");
    sdk_run(d);
    sdk_expect(d, "child 1 pack");
    sdk_done(d, 1, "1");
    sdk_forget(d);
}

static void changed_to(int to, const char *message)
{
    DRIVER d;
    shop_until_packed(&d);
    variant = to;
    sdk_run(&d);
    variant = 0;
    const char *got = sdk_failure(&d, "NonDeterminism");
    if (strncmp(got, message, strlen(message)) != 0) {
        print_message("got:  %s\nwant: %s\n", got, message);
        fail();
    }
    assert_int_equal(d.last.count, 1);
    assert_int_equal(th_executor_warm(d.executor), 0);
}

static void test_changed_code_is_named(void **state)
{
    changed_to(1,
               "event 2 of the history is TaskScheduled \"charge\", but the code called activity "
               "\"ship\" (id 0); the code was changed");
    changed_to(2, "event 6 of the history is SubOrchestrationInstanceCreated \"pack\" (id 1), but "
                  "the code did not ask for it and waits for event \"go\"; the code was changed");
    changed_to(3,
               "event 2 of the history is TaskScheduled \"charge\", but the code called activity "
               "\"audit\" (id 0)");
    changed_to(4, "event 6 of the history is SubOrchestrationInstanceCreated \"pack\" for instance "
                  "\"box-1\", but the code called activity \"audit\" (id 1)");
    changed_to(5, "event 2 of the history is TaskScheduled \"charge\" (id 0), but the code did not "
                  "ask for it and has ended");
    changed_to(6, "event 6 of the history is SubOrchestrationInstanceCreated \"pack\" for instance "
                  "\"box-1\", but the code started a timer (id 1)");
    changed_to(7, "event 6 of the history is SubOrchestrationInstanceCreated \"pack\" for instance "
                  "\"box-1\", but the code called sub-orchestration \"pack\" as \"box-2\" (id 1)");
}

static void test_inputs_and_case_may_change(void **state)
{
    DRIVER d;
    shop_until_packed(&d);
    variant = 10;
    sdk_run(&d);
    variant = 0;
    sdk_expect(&d, "send 2 sent to alice; end Completed");
}

static int extra(struct th_context *ctx)
{
    json_decref(th_call(ctx, "one", NULL));
    if (variant == 1) {
        th_schedule(ctx, "more", NULL, NULL);
    }
    if (variant == 2) {
        return 0;
    }
    json_decref(th_wait_event(ctx, "go", -1));
    return 0;
}

static void extra_is(int to, const char *message)
{
    DRIVER d;
    variant = 0;
    begin(&d, "extra", (struct th_executor_options){0});
    sdk_done(&d, 0, "1");
    sdk_run(&d);
    sdk_expect(&d, "");
    sdk_raised(&d, "go", NULL);
    sdk_forget(&d);
    variant = to;
    sdk_run(&d);
    variant = 0;
    assert_int_equal(0, strncmp(sdk_failure(&d, "NonDeterminism"), message, strlen(message)));
}

static void test_what_the_history_lacks_is_named(void **state)
{
    extra_is(1, "before event 6 of the history the code asked for \"more\" (id 1), which the "
                "history does not have");
    extra_is(2, "the code ended before event 6 of the history, which goes on");
}

/* ---- finished histories: `taskhub replay` --------------------------------------------------- */

static const char *replayed(struct sdk_driver *d, int with)
{
    variant = with;
    struct th_episode e = {.instance_id = TH_STR("instance-1"),
                           .execution_id = th_str_of(d->execution_id),
                           .past_loaded = true,
                           .past = d->history.items,
                           .past_count = d->history.count};
    assert_int_equal(TH_EXECUTOR_DONE, th_executor_run(d->executor, &e, &d->arena, &d->last));
    variant = 0;
    if (d->last.count && d->last.items[0].failure) {
        return th_arena_str(&d->arena, d->last.items[0].failure->message).data;
    }
    return sdk_text(d);
}

static void test_replay_of_a_finished_history(void **state)
{
    DRIVER d;
    shop_until_packed(&d);
    sdk_run(&d);
    assert_true(d.ended);
    assert_string_equal(replayed(&d, 0), "");
    assert_non_null(strstr(replayed(&d, 8), "sent event \"sent\" to \"mallory\""));
    assert_string_equal(replayed(&d, 9),
                        "event 11 of the history is the end as Completed, but the code Failed");
    assert_non_null(strstr(replayed(&d, 5), "has ended"));
    assert_int_equal(th_executor_warm(d.executor), 0);
}

static void test_history_without_a_start(void **state)
{
    DRIVER d;
    sdk_driver_init(&d, registration, (struct th_executor_options){0});
    sdk_raised(&d, "go", NULL);
    sdk_run(&d);
    assert_non_null(strstr(sdk_failure(&d, "NonDeterminism"), "no ExecutionStarted"));
}

/* Histories come from files, too: whatever they hold, there is an answer. */
static void test_any_history_gets_an_answer(void **state)
{
    static const char *const names[] = {"plain", "retried", "child", "alpha", "anything", "", NULL};
    struct th_random r;
    th_random_seed(&r, 7);
    for (int round = 0; round < 3000; round++) {
        DRIVER d;
        struct th_event events[12];
        size_t count = 2 + (size_t)th_random_below(&r, 11);
        sdk_driver_init(&d, registration, (struct th_executor_options){.replay_always = round & 1});
        for (size_t i = 0; i < count; i++) {
            enum th_event_kind kind = (enum th_event_kind)th_random_below(&r, 42);
            events[i] = th_event_of(i == 1 ? TH_EVENT_EXECUTION_STARTED : kind, 1000);
            events[i].id = (int32_t)th_random_below(&r, 9) - 2;
            events[i].related_id = (int32_t)th_random_below(&r, 9) - 2;
            events[i].name = th_str_of(names[th_random_below(&r, TH_COUNT(names))]);
            events[i].status = (enum th_status)th_random_below(&r, 8);
        }
        events[1].name = th_random_below(&r, 20) ? TH_STR("anything") : events[1].name;
        size_t past = (size_t)th_random_below(&r, count + 1);
        struct th_episode e = {.instance_id = TH_STR("i"),
                               .execution_id = TH_STR("e"),
                               .past_loaded = true,
                               .past = events,
                               .past_count = past,
                               .fresh = events + past,
                               .fresh_count = count - past};
        assert_int_equal(TH_EXECUTOR_DONE, th_executor_run(d.executor, &e, &d.arena, &d.last));
        for (size_t i = 0; i + 1 < d.last.count; i++) {
            assert_int_not_equal(d.last.items[i].kind, TH_ACTION_COMPLETE);
        }
    }
}

/* ---- rewind --------------------------------------------------------------------------------- */

static int two_steps(struct th_context *ctx)
{
    json_auto_t *a = th_call(ctx, "a", NULL);
    json_auto_t *b = a ? th_call(ctx, "b", NULL) : NULL;
    return th_return(ctx, b);
}

/* What the engine leaves after a rewind: no failure, nor what led to it, nor the end. */
static void test_rewound_history_asks_again(void **state)
{
    DRIVER d;
    begin(&d, "two_steps", (struct th_executor_options){0});
    sdk_done(&d, 0, "1");
    sdk_run(&d);
    sdk_failed(&d, 1, "Broken", "x");
    sdk_run(&d);
    sdk_expect(&d, "end Failed Broken");
    struct th_events kept = {0};
    for (size_t i = 0; i < d.history.count; i++) {
        const struct th_event *e = &d.history.items[i];
        if (e->kind != TH_EVENT_TASK_FAILED && e->kind != TH_EVENT_EXECUTION_COMPLETED &&
            !(e->kind == TH_EVENT_TASK_SCHEDULED && e->id == 1)) {
            th_events_add(&kept, *e);
        }
    }
    th_events_deinit(&d.history);
    d.history = kept;
    d.ended = false;
    sdk_run(&d);
    sdk_expect(&d, "task 1 b");
    sdk_done(&d, 1, "2");
    sdk_forget(&d);
    sdk_run(&d);
    sdk_expect(&d, "end Completed 2");
}

/* ---- replay_always -------------------------------------------------------------------------- */

static int careless_calls;

static int careless(struct th_context *ctx)
{
    int n = careless_calls++;
    json_decref(th_call(ctx, "fine", NULL));
    if (variant == 1) {
        json_decref(th_call(ctx, "use", json_integer(n)));
    } else if (variant == 2 && n >= 2) {
        json_decref(th_call(ctx, "odd", NULL));
    } else {
        json_decref(th_call(ctx, "even", NULL));
    }
    return 0;
}

static const char *careless_message(struct sdk_driver *d, int with)
{
    variant = with;
    begin(d, "careless", (struct th_executor_options){.replay_always = true});
    sdk_expect(d, "task 0 fine");
    sdk_done(d, 0, NULL);
    sdk_run(d);
    variant = 0;
    return sdk_failure(d, "NonDeterminism");
}

static void test_replay_always_finds_careless_code(void **state)
{
    DRIVER a;
    DRIVER b;
    careless_calls = 0;
    assert_non_null(strstr(careless_message(&a, 1), "the input differs: first activity use (0)"));
    careless_calls = 0;
    assert_non_null(strstr(careless_message(&b, 2), "the name differs: first activity even"));
}

static void registration(struct th_app *app)
{
    th_orchestrator(app, "anything", anything);
    th_orchestrator(app, "racing", racing);
    th_orchestrator(app, "constants", constants);
    th_orchestrator(app, "logs", logs);
    th_orchestrator(app, "shop", shop);
    th_orchestrator(app, "extra", extra);
    th_orchestrator(app, "two_steps", two_steps);
    th_orchestrator(app, "careless", careless);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warm_and_cold_decide_alike),
        cmocka_unit_test(test_replay_always_finds_nothing_in_good_code),
        cmocka_unit_test(test_every_grouping_of_every_order),
        cmocka_unit_test(test_time_random_and_uuids_repeat),
        cmocka_unit_test(test_random_never_changes),
        cmocka_unit_test(test_log_is_silent_while_replaying),
        cmocka_unit_test(test_another_count_needs_the_history),
        cmocka_unit_test(test_another_execution_needs_the_history),
        cmocka_unit_test(test_loaded_history_is_always_replayed),
        cmocka_unit_test(test_changed_code_is_named),
        cmocka_unit_test(test_inputs_and_case_may_change),
        cmocka_unit_test(test_what_the_history_lacks_is_named),
        cmocka_unit_test(test_replay_of_a_finished_history),
        cmocka_unit_test(test_history_without_a_start),
        cmocka_unit_test(test_any_history_gets_an_answer),
        cmocka_unit_test(test_rewound_history_asks_again),
        cmocka_unit_test(test_replay_always_finds_careless_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

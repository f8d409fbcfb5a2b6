/* What orchestrators ask of entities: calls, signals, and how both stand in histories. */
#include "unit/sdk_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DRIVER __attribute__((cleanup(sdk_driver_deinit))) struct sdk_driver

/* The tests change the code under a running instance by changing this. */
static int variant;

static void registration(struct th_app *app);

static void begin_with(struct sdk_driver *d, const char *name, struct th_executor_options options)
{
    sdk_driver_init(d, registration, options);
    sdk_start(d, name, NULL);
    sdk_run(d);
}

static void begin(struct sdk_driver *d, const char *name)
{
    begin_with(d, name, (struct th_executor_options){0});
}

/* ---- calls and signals ----------------------------------------------------------------------- */

static int counting(struct th_context *ctx)
{
    char id[TH_ENTITY_ID_SIZE];

    th_make_entity_id(id, "Counter", "apples");
    if (th_signal_entity(ctx, id, "add", json_integer(1)) ||
        th_signal_entity_at(ctx, "@counter@pears", "add", json_integer(2),
                            th_current_time(ctx) + 5000000) ||
        th_signal_entity(ctx, "@counter@", "tick", NULL))
        return TH_FAILED;
    return th_return_new(ctx, th_call_entity(ctx, id, "get", NULL));
}

static void test_signals_and_a_call(void **state)
{
    DRIVER d;
    begin(&d, "counting");
    sdk_expect(&d, "signal 0 add of @counter@apples 1; "
                   "signal 1 add of @counter@pears +5000ms 2; signal 2 tick of @counter@; "
                   "call 3 get of @counter@apples");
    const struct th_event *call = d.last.items[3].entity;
    assert_int_equal(d.last.items[3].kind, TH_ACTION_ENTITY);
    assert_int_equal(call->kind, TH_EVENT_ENTITY_CALLED);
    assert_int_equal(call->request_id.len, 36);
    assert_false(th_str_eq(call->request_id, d.last.items[0].entity->request_id));
    sdk_done(&d, 3, "7");
    sdk_run(&d);
    sdk_expect(&d, "end Completed 7");
    assert_int_equal(d.cold_runs, 0);
}

static void test_a_failed_operation_is_the_callers_failure(void **state)
{
    DRIVER d;
    begin(&d, "counting");
    sdk_failed(&d, 3, "Overflow", "too many apples");
    sdk_run(&d);
    assert_string_equal(sdk_failure(&d, "Overflow"), "too many apples");
}

static void test_answers_of_other_kinds_are_ignored(void **state)
{
    DRIVER d;
    begin(&d, "counting");
    for (int kind = TH_EVENT_TASK_COMPLETED; kind <= TH_EVENT_ENTITY_LOCK_GRANTED; kind++) {
        struct th_event stray = th_event_of((enum th_event_kind)kind, 0);
        stray.related_id = kind == TH_EVENT_ENTITY_COMPLETED || kind == TH_EVENT_ENTITY_FAILED ||
                                   kind == TH_EVENT_ENTITY_CALLED
                               ? 2
                               : 3;
        if (kind != TH_EVENT_CONTINUE_AS_NEW && kind != TH_EVENT_ENTITY_SIGNALED) {
            sdk_event(&d, stray);
        }
    }
    sdk_run(&d);
    sdk_expect(&d, "");
    sdk_done(&d, 3, "7");
    sdk_run(&d);
    sdk_expect(&d, "end Completed 7");
}

/* ---- in composites --------------------------------------------------------------------------- */

static int all_of_them(struct th_context *ctx)
{
    struct th_task *tasks[3] = {
        th_schedule_entity(ctx, "@counter@a", "get", NULL),
        th_schedule_entity(ctx, "@counter@b", "get", NULL),
        th_schedule(ctx, "work", NULL, NULL),
    };
    struct th_task *all = th_all(ctx, tasks, 3);

    return th_await(ctx, all) ? th_return_new(ctx, th_result(all)) : TH_FAILED;
}

static void test_all(void **state)
{
    DRIVER d;
    begin(&d, "all_of_them");
    sdk_expect(&d, "call 0 get of @counter@a; call 1 get of @counter@b; task 2 work");
    sdk_done(&d, 1, "2");
    sdk_done(&d, 2, "3");
    sdk_run(&d);
    sdk_expect(&d, "");
    sdk_forget(&d);
    sdk_done(&d, 0, "1");
    sdk_run(&d);
    sdk_expect(&d, "end Completed [1,2,3]");
}

static int in_time(struct th_context *ctx)
{
    struct th_task *call = th_schedule_entity(ctx, "@counter@a", "get", NULL);
    struct th_task *timer = th_timer_in(ctx, 1000);
    struct th_task *any = th_any(ctx, (struct th_task *const[]){call, timer}, 2);

    if (!th_await(ctx, any))
        return TH_FAILED;
    if (th_winner(any) == call)
        return th_return_new(ctx, th_result(call));
    th_cancel(ctx, call);
    th_await(ctx, call);
    json_auto_t *next = th_call_entity(ctx, "@counter@a", "get", NULL);
    return th_return_new(ctx, json_pack("[s,O?]", th_failure_type(th_task_failure(call)), next));
}

static void test_any_and_cancel(void **state)
{
    for (int cold = 0; cold < 2; cold++) {
        DRIVER d;
        begin_with(&d, "in_time", (struct th_executor_options){.always_cold = cold});
        sdk_fired(&d, 1);
        sdk_run(&d);
        sdk_expect(&d, "call 2 get of @counter@a");
        sdk_done(&d, 0, "5"); /* too late */
        sdk_run(&d);
        sdk_expect(&d, "");
        sdk_done(&d, 2, "6");
        sdk_run(&d);
        sdk_expect(&d, "end Completed [\"Canceled\",6]");
    }
}

/* ---- what cannot be asked -------------------------------------------------------------------- */

static const char *failed_call(struct th_context *ctx, const char *id, const char *operation,
                               json_t *input)
{
    struct th_task *task = th_schedule_entity(ctx, id, operation, input);
    if (th_await(ctx, task) || th_last_failure(ctx) != th_task_failure(task))
        return "not failed";
    return th_failure_message(th_last_failure(ctx));
}

static const char *failed_signal(struct th_context *ctx, const char *id, const char *operation,
                                 json_t *input)
{
    if (!th_signal_entity(ctx, id, operation, input))
        return "not failed";
    return th_failure_type(th_last_failure(ctx));
}

static int impossible(struct th_context *ctx)
{
    char id[TH_ENTITY_ID_SIZE];
    char key[200] = "";

    memset(key, 'k', sizeof key - 1);
    return th_return_new(
        ctx, json_pack("[s,s,s,s,s,s,s]", failed_call(ctx, "counter", "add", json_integer(1)),
                       failed_call(ctx, NULL, "add", NULL),
                       failed_call(ctx, th_make_entity_id(id, "counter", key), "add", NULL),
                       failed_call(ctx, "@counter@k", "", json_integer(1)),
                       failed_call(ctx, "@counter@k", "add", json_stringn_nocheck("\xff", 1)),
                       failed_signal(ctx, "@@k", "add", json_integer(1)),
                       failed_signal(ctx, "@counter@k", NULL, json_integer(1))));
}

static void test_the_impossible(void **state)
{
    DRIVER d;
    begin(&d, "impossible");
    assert_int_equal(d.last.count, 1);
    sdk_expect(&d, "end Completed [\"entity id \\\"counter\\\" must have the form @name@key\","
                   "\"entity id \\\"\\\" must have the form @name@key\","
                   "\"entity id \\\"\\\" must have the form @name@key\","
                   "\"an operation's name has 1 to 256 bytes, not 0\","
                   "\"the input of add cannot be written as JSON\","
                   "\"InvalidEntityId\",\"InvalidName\"]");
}

/* ---- ids ------------------------------------------------------------------------------------- */

static int with_uuids(struct th_context *ctx)
{
    char uuid[37];

    for (int i = 0; i < variant; i++)
        th_new_uuid(ctx, uuid);
    return th_return_new(ctx, th_call_entity(ctx, "@counter@k", "get", NULL));
}

/* They stand in histories: neither a release nor more uuids change them. */
static void test_request_ids_never_change(void **state)
{
    for (variant = 0; variant < 3; variant++) {
        DRIVER d;
        begin(&d, "with_uuids");
        assert_string_equal(d.last.items[0].entity->request_id.data,
                            "b3450ad0-2292-5e24-bb4f-bcb629ccbce4");
    }
    variant = 0;
}

/* ---- code that was changed ------------------------------------------------------------------- */

static int shop(struct th_context *ctx)
{
    if (variant == 1)
        json_decref(th_call(ctx, "charge", NULL));
    if (variant == 2)
        th_signal_entity(ctx, "@stock@lamp", "take", json_integer(1));
    if (variant == 5)
        return 0;
    json_decref(th_call_entity(ctx, variant == 3 ? "@stock@lamps" : "@STOCK@lamp",
                               variant == 4   ? "give"
                               : variant == 8 ? "TAKE"
                                              : "take",
                               json_integer(variant)));
    if (variant == 6)
        th_signal_entity(ctx, "@mail@bob", "send", NULL);
    if (variant == 9)
        json_decref(th_wait_event(ctx, "go", -1));
    th_signal_entity(ctx, variant == 7 ? "@mail@bob" : "@mail@alice", "send", NULL);
    json_decref(th_call(ctx, "ship", NULL));
    return 0;
}

static void shop_until_shipped(struct sdk_driver *d)
{
    variant = 0;
    begin(d, "shop");
    sdk_done(d, 0, "1");
    sdk_run(d);
    sdk_expect(d, "signal 1 send of @mail@alice; task 2 ship");
    sdk_done(d, 2, "1");
    sdk_forget(d);
}

static void changed_to(int to, const char *message)
{
    DRIVER d;
    shop_until_shipped(&d);
    variant = to;
    sdk_run(&d);
    variant = 0;
    const char *got = sdk_failure(&d, "NonDeterminism");
    if (strncmp(got, message, strlen(message)) != 0) {
        print_message("got:  %s\nwant: %s\n", got, message);
        fail();
    }
}

static void test_changed_code_is_named(void **state)
{
    changed_to(1, "event 2 of the history is EntityOperationCalled \"take\" for entity "
                  "\"@stock@lamp\", but the code called activity \"charge\" (id 0); the code was "
                  "changed");
    changed_to(2, "event 2 of the history is EntityOperationCalled \"take\" for entity "
                  "\"@stock@lamp\", but the code asked for signal \"take\" to entity "
                  "\"@stock@lamp\" (id 0)");
    changed_to(3, "event 2 of the history is EntityOperationCalled \"take\" for entity "
                  "\"@stock@lamp\", but the code asked for operation \"take\" of entity "
                  "\"@stock@lamps\" (id 0)");
    changed_to(4, "event 2 of the history is EntityOperationCalled \"take\" for entity "
                  "\"@stock@lamp\", but the code asked for operation \"give\" of entity "
                  "\"@stock@lamp\" (id 0)");
    changed_to(5, "event 2 of the history is EntityOperationCalled \"take\" (id 0), but the code "
                  "did not ask for it and has ended");
    changed_to(6, "event 6 of the history is EntityOperationSignaled \"send\" for entity "
                  "\"@mail@alice\", but the code asked for signal \"send\" to entity "
                  "\"@mail@bob\" (id 1)");
    changed_to(7, "event 6 of the history is EntityOperationSignaled \"send\" for entity "
                  "\"@mail@alice\", but the code asked for signal \"send\" to entity "
                  "\"@mail@bob\" (id 1)");
    changed_to(9, "event 6 of the history is EntityOperationSignaled \"send\" (id 1), but the code "
                  "did not ask for it and waits for event \"go\"");
}

static void test_what_the_history_lacks_is_named(void **state)
{
    DRIVER d;
    variant = 0;
    begin(&d, "with_uuids");
    sdk_raised(&d, "noise", NULL);
    sdk_run(&d);
    sdk_raised(&d, "noise", NULL);
    sdk_forget(&d);
    d.history.items[2].kind = TH_EVENT_GENERIC; /* as if the call had never been made */
    sdk_run(&d);
    assert_non_null(strstr(sdk_failure(&d, "NonDeterminism"),
                           "before event 3 of the history the code asked for operation \"get\" of "
                           "entity \"@counter@k\" (id 0), which the history does not have"));
}

static void test_inputs_and_case_may_change(void **state)
{
    DRIVER d;
    shop_until_shipped(&d);
    variant = 8;
    sdk_run(&d);
    variant = 0;
    sdk_expect(&d, "end Completed");
}

static int waits(struct th_context *ctx)
{
    json_decref(th_call_entity(ctx, "@stock@lamp", "take", NULL));
    return 0;
}

static void test_what_it_waits_for_is_named(void **state)
{
    DRIVER d;
    begin(&d, "waits");
    struct th_event stray = th_event_of(TH_EVENT_TIMER_CREATED, 0);
    stray.id = 1;
    th_events_add(&d.history, stray);
    sdk_run(&d);
    assert_non_null(strstr(sdk_failure(&d, "NonDeterminism"),
                           "waits for an operation of entity \"@stock@lamp\" (id 0)"));
}

/* ---- rewind ---------------------------------------------------------------------------------- */

/* What the engine leaves of a failed call: nothing. */
static void test_rewound_history_calls_again(void **state)
{
    DRIVER d;
    begin(&d, "counting");
    sdk_failed(&d, 3, "Overflow", "x");
    sdk_run(&d);
    sdk_expect(&d, "end Failed Overflow");
    struct th_events kept = {0};
    for (size_t i = 0; i < d.history.count; i++) {
        const struct th_event *e = &d.history.items[i];
        if (e->kind != TH_EVENT_ENTITY_FAILED && e->kind != TH_EVENT_EXECUTION_COMPLETED &&
            e->kind != TH_EVENT_ENTITY_CALLED) {
            th_events_add(&kept, *e);
        }
    }
    th_events_deinit(&d.history);
    d.history = kept;
    d.ended = false;
    sdk_run(&d);
    sdk_expect(&d, "call 3 get of @counter@apples");
    sdk_done(&d, 3, "2");
    sdk_forget(&d);
    sdk_run(&d);
    sdk_expect(&d, "end Completed 2");
}

/* ---- replay_always --------------------------------------------------------------------------- */

static int careless_calls;

static int careless(struct th_context *ctx)
{
    int n = careless_calls++;
    char id[TH_ENTITY_ID_SIZE];

    json_decref(th_call_entity(ctx, "@counter@k", "get", NULL));
    if (variant == 1)
        th_signal_entity(ctx, "@counter@k", "add", json_integer(n));
    else if (variant == 2)
        th_signal_entity(ctx, th_make_entity_id(id, "counter", n > 1 ? "x" : "y"), "add", NULL);
    else if (variant == 3)
        th_signal_entity_at(ctx, "@counter@k", "add", NULL, n);
    else if (variant == 4 && n > 1)
        th_signal_entity(ctx, "@counter@k", "get", NULL);
    else if (variant == 4)
        json_decref(th_call_entity(ctx, "@counter@k", "get", NULL));
    json_decref(th_call(ctx, "last", NULL));
    return 0;
}

static void careless_is(int with, const char *message)
{
    DRIVER d;
    careless_calls = 0;
    variant = with;
    begin_with(&d, "careless", (struct th_executor_options){.replay_always = true});
    sdk_done(&d, 0, NULL);
    sdk_run(&d);
    variant = 0;
    if (!message)
        sdk_expect(&d, "task 1 last");
    else if (!strstr(sdk_failure(&d, "NonDeterminism"), message))
        fail_msg("%s", sdk_failure(&d, "NonDeterminism"));
}

static void test_replay_always_finds_careless_code(void **state)
{
    careless_is(0, NULL);
    careless_is(1, "the input differs: first signal \"add\" to entity \"@counter@k\" (0), then "
                   "signal \"add\" to entity \"@counter@k\" (");
    careless_is(2, "the entity differs: first signal \"add\" to entity \"@counter@y\" (), then "
                   "signal \"add\" to entity \"@counter@x\"");
    careless_is(3, "the time differs");
    careless_is(4, "the kind differs: first operation \"get\" of entity");
}

static void registration(struct th_app *app)
{
    th_orchestrator(app, "counting", counting);
    th_orchestrator(app, "all_of_them", all_of_them);
    th_orchestrator(app, "in_time", in_time);
    th_orchestrator(app, "impossible", impossible);
    th_orchestrator(app, "with_uuids", with_uuids);
    th_orchestrator(app, "shop", shop);
    th_orchestrator(app, "waits", waits);
    th_orchestrator(app, "careless", careless);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals_and_a_call),
        cmocka_unit_test(test_a_failed_operation_is_the_callers_failure),
        cmocka_unit_test(test_answers_of_other_kinds_are_ignored),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_any_and_cancel),
        cmocka_unit_test(test_the_impossible),
        cmocka_unit_test(test_request_ids_never_change),
        cmocka_unit_test(test_changed_code_is_named),
        cmocka_unit_test(test_what_the_history_lacks_is_named),
        cmocka_unit_test(test_inputs_and_case_may_change),
        cmocka_unit_test(test_what_it_waits_for_is_named),
        cmocka_unit_test(test_rewound_history_calls_again),
        cmocka_unit_test(test_replay_always_finds_careless_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Critical sections as orchestrators see them: entering, leaving, and the rules inside. */
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

/* ---- entering and leaving -------------------------------------------------------------------- */

static json_t *locked(struct th_context *ctx)
{
    const char *const *ids;
    json_t *list = json_array();
    size_t count = th_locked(ctx, &ids);

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(ids[i]));
    return list;
}

static int transfer(struct th_context *ctx)
{
    static const char *const accounts[] = {"@Account@b", "@account@a", "@ACCOUNT@b"};
    json_auto_t *before = locked(ctx);

    if (th_lock(ctx, accounts, 3))
        return TH_FAILED;
    json_auto_t *inside = locked(ctx);
    json_auto_t *taken = th_call_entity(ctx, "@account@b", "take", json_integer(5));
    json_auto_t *given = th_call_entity(ctx, "@account@a", "give", json_integer(5));
    if (!taken || !given || th_unlock(ctx))
        return TH_FAILED;
    json_auto_t *after = locked(ctx);
    return th_return_new(ctx, json_pack("[O,O,O]", before, inside, after));
}

static void transfer_until(struct sdk_driver *d, int cold, int steps)
{
    begin_with(d, "transfer", (struct th_executor_options){.always_cold = cold});
    sdk_expect(d, "lock 0 @account@a @account@b");
    for (int32_t id = 0; id < steps; id++) {
        sdk_done(d, id, "1");
        sdk_run(d);
    }
}

static void test_a_section(void **state)
{
    for (int cold = 0; cold < 2; cold++) {
        DRIVER d;
        transfer_until(&d, cold, 1);
        sdk_expect(&d, "call 1 take of @account@b 5");
        sdk_done(&d, 1, "1");
        sdk_run(&d);
        sdk_expect(&d, "call 2 give of @account@a 5");
        sdk_done(&d, 2, "1");
        sdk_run(&d);
        sdk_expect(&d, "unlock 3 @account@a; unlock 4 @account@b; "
                       "end Completed [[],[\"@account@a\",\"@account@b\"],[]]");
        assert_int_equal(d.cold_runs, cold ? 3 : 0);
    }
}

static void test_ids_of_a_section(void **state)
{
    DRIVER d;
    transfer_until(&d, 0, 0);
    const struct th_event *lock = d.last.items[0].entity;
    struct th_str section = th_arena_str(&d.arena, lock->request_id);
    assert_string_equal(section.data, "b3450ad0-2292-5e24-bb4f-bcb629ccbce4");
    assert_true(th_str_eq(lock->instance_id, TH_STR("@account@a")));
    for (int32_t id = 0; id < 3; id++) {
        sdk_done(&d, id, "1");
        sdk_forget(&d);
        sdk_run(&d);
    }
    assert_true(th_str_eq(d.last.items[0].entity->request_id, section));
    assert_true(th_str_eq(d.last.items[1].entity->request_id, section));
    assert_string_equal(d.last.items[1].entity->instance_id.data, "@account@b");
}

/* The engine releases: nothing is asked for. */
static int fails_inside(struct th_context *ctx)
{
    static const char *const one[] = {"@account@a"};

    if (th_lock(ctx, one, 1))
        return TH_FAILED;
    return th_return_new(ctx, th_call_entity(ctx, "@account@a", "take", NULL));
}

static void test_a_failure_inside(void **state)
{
    DRIVER d;
    begin(&d, "fails_inside");
    sdk_done(&d, 0, NULL);
    sdk_run(&d);
    sdk_failed(&d, 1, "Insufficient", "no");
    sdk_run(&d);
    sdk_expect(&d, "end Failed Insufficient");
}

static int goes_on_as_new(struct th_context *ctx)
{
    static const char *const one[] = {"@account@a"};

    if (th_locked(ctx, NULL) || th_lock(ctx, one, 1))
        return TH_FAILED;
    return th_continue_as_new(ctx, NULL, false);
}

static void test_continue_as_new_inside(void **state)
{
    DRIVER d;
    begin(&d, "goes_on_as_new");
    sdk_done(&d, 0, NULL);
    sdk_run(&d);
    sdk_expect(&d, "end ContinuedAsNew");
    struct th_str first = th_arena_str(&d.arena, d.history.items[2].request_id);
    sdk_continue(&d);
    sdk_expect(&d, "lock 0 @account@a");
    assert_false(th_str_eq(d.last.items[0].entity->request_id, first));
}

/* ---- rules ----------------------------------------------------------------------------------- */

static const char *why(struct th_context *ctx, bool succeeded)
{
    return succeeded ? "no failure" : th_failure_message(th_last_failure(ctx));
}

static int breaks_rules(struct th_context *ctx)
{
    static const char *const two[] = {"@account@a", "@account@b"};
    static const char *const bad[] = {"@account@a", "account"};
    char ids[65][TH_ENTITY_ID_SIZE];
    const char *many[65];
    json_auto_t *said = json_array();

    for (int i = 0; i < 65; i++) {
        snprintf(ids[i], sizeof ids[i], "@account@%d", i);
        many[i] = ids[i];
    }
    json_array_append_new(said, json_string(why(ctx, th_unlock(ctx) == 0)));
    json_array_append_new(said, json_string(why(ctx, th_lock(ctx, two, 0) == 0)));
    json_array_append_new(said, json_string(why(ctx, th_lock(ctx, bad, 2) == 0)));
    json_array_append_new(said, json_string(why(ctx, th_lock(ctx, many, 65) == 0)));
    json_array_append_new(said, json_string(th_failure_type(th_last_failure(ctx))));
    if (th_lock(ctx, two, 2))
        return TH_FAILED;
    json_array_append_new(said, json_string(why(ctx, th_lock(ctx, two, 2) == 0)));
    json_array_append_new(
        said,
        json_string(why(ctx, th_await(ctx, th_schedule_entity(ctx, "@account@c", "x", NULL)))));
    json_array_append_new(
        said, json_string(why(ctx, th_signal_entity(ctx, "@account@a", "x", NULL) == 0)));
    json_array_append_new(
        said, json_string(why(ctx, th_await(ctx, th_schedule_child(ctx, "child", NULL, NULL)))));
    struct th_task *first = th_schedule_entity(ctx, "@account@a", "x", NULL);
    json_array_append_new(
        said,
        json_string(why(ctx, th_await(ctx, th_schedule_entity(ctx, "@account@a", "y", NULL)))));
    /* what is allowed: */
    th_signal_entity(ctx, "@account@c", "fine", NULL);
    struct th_task *other = th_schedule_entity(ctx, "@account@b", "fine", NULL);
    struct th_task *activity = th_schedule(ctx, "fine", NULL, NULL);
    if (!th_await(ctx, th_all(ctx, (struct th_task *const[]){first, other, activity}, 3)))
        return TH_FAILED;
    json_decref(th_call_entity(ctx, "@account@a", "again", NULL));
    if (th_unlock(ctx))
        return TH_FAILED;
    json_array_append_new(said, json_string(why(ctx, th_unlock(ctx) == 0)));
    th_signal_entity(ctx, "@account@a", "outside", NULL);
    th_schedule_child(ctx, "child", NULL, NULL);
    return th_return(ctx, said);
}

static void test_the_rules(void **state)
{
    for (int cold = 0; cold < 2; cold++) {
        DRIVER d;
        begin_with(&d, "breaks_rules", (struct th_executor_options){.always_cold = cold});
        sdk_expect(&d, "lock 0 @account@a @account@b");
        sdk_done(&d, 0, NULL);
        sdk_run(&d);
        sdk_expect(&d, "call 1 x of @account@a; signal 2 fine of @account@c; "
                       "call 3 fine of @account@b; task 4 fine");
        sdk_done(&d, 1, NULL);
        sdk_run(&d);
        sdk_done(&d, 3, NULL);
        sdk_done(&d, 4, NULL);
        sdk_run(&d);
        sdk_expect(&d, "call 5 again of @account@a");
        sdk_done(&d, 5, NULL);
        sdk_run(&d);
        const char *got = sdk_text(&d);
        const char *wanted[] = {
            "unlock 6 @account@a; unlock 7 @account@b; signal 8 outside of @account@a; "
            "child 9 child; end Completed",
            "there is no critical section to leave",
            "a critical section has 1 to 64 entities, not 0",
            "entity id \\\"account\\\" must have the form @name@key",
            "a critical section has 1 to 64 entities, not 65",
            "\"LockRules\"",
            "a critical section within another is not possible",
            "entity \\\"@account@c\\\" is not locked by the critical section, so it cannot be "
            "called within it",
            "entity \\\"@account@a\\\" is locked by the critical section and can only be called "
            "within it, not signalled",
            "a sub-orchestration cannot be called within a critical section",
            "entity \\\"@account@a\\\" is locked and has not answered the last call yet",
            "there is no critical section to leave",
        };
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
            got = strstr(got, wanted[i]);
            if (!got)
                fail_msg("not said in its place: %s\n%s", wanted[i], sdk_text(&d));
        }
    }
}

/* A call that nobody waits for is under way all the same. */
static int cancels_inside(struct th_context *ctx)
{
    static const char *const one[] = {"@account@a"};

    if (th_lock(ctx, one, 1))
        return TH_FAILED;
    th_cancel(ctx, th_schedule_entity(ctx, "@account@a", "slow", NULL));
    struct th_task *early = th_schedule_entity(ctx, "@account@a", "early", NULL);
    json_decref(th_wait_event(ctx, "later", -1));
    struct th_task *late = th_schedule_entity(ctx, "@account@a", "late", NULL);
    return th_return_new(
        ctx, json_pack("[s,b]", th_failure_type(th_task_failure(early)), th_await(ctx, late)));
}

static void test_a_cancelled_call_is_under_way(void **state)
{
    for (int cold = 0; cold < 2; cold++) {
        DRIVER d;
        begin_with(&d, "cancels_inside", (struct th_executor_options){.always_cold = cold});
        sdk_done(&d, 0, NULL);
        sdk_run(&d);
        sdk_expect(&d, "call 1 slow of @account@a");
        sdk_done(&d, 1, NULL);
        sdk_raised(&d, "later", NULL);
        sdk_run(&d);
        sdk_expect(&d, "call 2 late of @account@a");
        sdk_done(&d, 2, NULL);
        sdk_run(&d);
        sdk_expect(&d, "end Completed [\"LockRules\",true]");
    }
}

/* ---- evicted --------------------------------------------------------------------------------- */

static int held;

static void release(int *one)
{
    held -= *one;
}

static int holds(struct th_context *ctx)
{
    static const char *const two[] = {"@account@a", "@account@b"};
    __attribute__((cleanup(release))) int one = 1;

    held++;
    if (th_lock(ctx, two, 2))
        return th_unlock(ctx);
    json_decref(th_wait_event(ctx, "go", -1));
    return th_unlock(ctx);
}

static void test_evicted_while_waiting_and_inside(void **state)
{
    DRIVER d;
    held = 0;
    begin(&d, "holds");
    assert_int_equal(held, 1);
    sdk_forget(&d);
    assert_int_equal(held, 0);
    sdk_run(&d);
    assert_int_equal(held, 1);
    sdk_expect(&d, "");
    sdk_forget(&d);
    sdk_done(&d, 0, NULL);
    sdk_run(&d);
    sdk_expect(&d, "");
    sdk_forget(&d);
    assert_int_equal(held, 0);
    sdk_raised(&d, "go", NULL);
    sdk_run(&d);
    sdk_expect(&d, "unlock 1 @account@a; unlock 2 @account@b; end Completed");
    assert_int_equal(held, 0);
}

/* ---- code that was changed ------------------------------------------------------------------- */

static int shop(struct th_context *ctx)
{
    static const char *const sets[][2] = {
        {"@account@a", "@account@b"}, {"@account@b", "@account@a"}, {"@account@a", "@account@c"}};

    if (variant == 3)
        json_decref(th_call_entity(ctx, "@account@a", "get", NULL));
    else if (th_lock(ctx, sets[variant < 3 ? variant : 0], variant == 4 ? 1 : 2))
        return TH_FAILED;
    if (variant == 5)
        json_decref(th_call(ctx, "early", NULL));
    if (variant != 6 && variant != 3 && th_unlock(ctx))
        return TH_FAILED;
    json_decref(th_call(ctx, "ship", NULL));
    return 0;
}

static void shop_until_shipped(struct sdk_driver *d)
{
    variant = 0;
    begin(d, "shop");
    sdk_done(d, 0, NULL);
    sdk_run(d);
    sdk_expect(d, "unlock 1 @account@a; unlock 2 @account@b; task 3 ship");
    sdk_done(d, 3, "1");
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
    changed_to(2, "event 2 of the history is EntityLockRequested over \"@account@a\", "
                  "\"@account@b\", but the code asked for a critical section over \"@account@a\", "
                  "\"@account@c\" (id 0); the code was changed");
    changed_to(3, "event 2 of the history is EntityLockRequested over \"@account@a\", "
                  "\"@account@b\", but the code asked for operation \"get\" of entity "
                  "\"@account@a\" (id 0)");
    changed_to(4, "event 2 of the history is EntityLockRequested over \"@account@a\", "
                  "\"@account@b\", but the code asked for a critical section over "
                  "\"@account@a\" (id 0)");
    changed_to(5, "event 6 of the history is EntityUnlockSent for entity \"@account@a\", but the "
                  "code called activity \"early\" (id 1)");
    changed_to(6, "event 6 of the history is EntityUnlockSent for entity \"@account@a\", but the "
                  "code called activity \"ship\" (id 1)");
}

static void test_the_order_of_a_set_may_change(void **state)
{
    DRIVER d;
    shop_until_shipped(&d);
    variant = 1;
    sdk_run(&d);
    variant = 0;
    sdk_expect(&d, "end Completed");
}

static int needs_no_lock(struct th_context *ctx)
{
    static const char *const one[] = {"@account@a"};

    if (variant == 1 && th_lock(ctx, one, 1))
        return TH_FAILED;
    json_decref(th_wait_event(ctx, "go", -1));
    return 0;
}

static void test_what_the_history_lacks_is_named(void **state)
{
    DRIVER d;
    begin(&d, "needs_no_lock");
    sdk_raised(&d, "other", NULL);
    sdk_run(&d);
    sdk_raised(&d, "other", NULL);
    sdk_forget(&d);
    variant = 1;
    sdk_run(&d);
    variant = 0;
    assert_non_null(strstr(sdk_failure(&d, "NonDeterminism"),
                           "the code asked for a critical section over \"@account@a\" (id 0), "
                           "which the history does not have"));
}

static int careless_calls;

static int careless(struct th_context *ctx)
{
    static const char *const accounts[] = {"@account@a", "@account@b", "@account@c"};

    return th_lock(ctx, accounts, (size_t)(2 + careless_calls++ % 2));
}

static void test_replay_always_finds_careless_code(void **state)
{
    DRIVER d;
    careless_calls = 0;
    begin_with(&d, "careless", (struct th_executor_options){.replay_always = true});
    assert_non_null(strstr(sdk_failure(&d, "NonDeterminism"),
                           "the set differs: first a critical section over \"@account@a\", "
                           "\"@account@b\" (), then a critical section over \"@account@a\", "
                           "\"@account@b\", \"@account@c\""));
}

static void test_replay_always_finds_nothing_in_good_code(void **state)
{
    DRIVER d;
    begin_with(&d, "transfer", (struct th_executor_options){.replay_always = true});
    for (int32_t id = 0; id < 3; id++) {
        sdk_done(&d, id, "1");
        sdk_run(&d);
    }
    assert_true(d.ended && d.end.status == TH_STATUS_COMPLETED);
}

static void registration(struct th_app *app)
{
    th_orchestrator(app, "transfer", transfer);
    th_orchestrator(app, "fails_inside", fails_inside);
    th_orchestrator(app, "goes_on_as_new", goes_on_as_new);
    th_orchestrator(app, "breaks_rules", breaks_rules);
    th_orchestrator(app, "cancels_inside", cancels_inside);
    th_orchestrator(app, "holds", holds);
    th_orchestrator(app, "shop", shop);
    th_orchestrator(app, "needs_no_lock", needs_no_lock);
    th_orchestrator(app, "careless", careless);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_section),
        cmocka_unit_test(test_ids_of_a_section),
        cmocka_unit_test(test_a_failure_inside),
        cmocka_unit_test(test_continue_as_new_inside),
        cmocka_unit_test(test_the_rules),
        cmocka_unit_test(test_a_cancelled_call_is_under_way),
        cmocka_unit_test(test_evicted_while_waiting_and_inside),
        cmocka_unit_test(test_changed_code_is_named),
        cmocka_unit_test(test_the_order_of_a_set_may_change),
        cmocka_unit_test(test_what_the_history_lacks_is_named),
        cmocka_unit_test(test_replay_always_finds_careless_code),
        cmocka_unit_test(test_replay_always_finds_nothing_in_good_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

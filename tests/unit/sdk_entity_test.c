/* Entities written in C: batches of operations, what each sees, and what a failed one leaves. */
#include "sdk/executor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "sdk/application.h"

/* ---- the entities ---------------------------------------------------------------------------- */

static int add(struct th_entity *e)
{
    json_auto_t *state = th_entity_state_or(e, json_integer(0));
    json_int_t sum = json_integer_value(state) + json_integer_value(th_entity_input(e));

    th_entity_set_state(e, json_integer(sum));
    return th_entity_return(e, json_integer(sum));
}

static int get(struct th_entity *e)
{
    return th_entity_return(e, th_entity_state(e));
}

/* Everything, and then it fails. */
static int spoil(struct th_entity *e)
{
    th_entity_set_state(e, json_string("spoilt"));
    th_entity_signal(e, "@counter@other", "add", json_integer(1));
    th_entity_start(e, "audit", NULL, NULL);
    th_entity_delete(e);
    th_entity_set_state_bytes(e, "again", 5);
    th_entity_return(e, json_string("to be forgotten"));
    return th_entity_fail(e, "Spoilt", "by %s", "intent");
}

static int give_up(struct th_entity *e)
{
    th_entity_set_state(e, json_integer(-1));
    return 7;
}

/* Says that it failed, but returns 0. */
static int mumble(struct th_entity *e)
{
    th_entity_fail(e, NULL, "quietly");
    return 0;
}

static int recover(struct th_entity *e)
{
    th_entity_fail(e, "Early", "not so fast");
    return th_entity_return(e, json_string("after all"));
}

static int reset(struct th_entity *e)
{
    return th_entity_delete(e);
}

static int poke(struct th_entity *e)
{
    static const char *const tags[] = {"why", "poke", NULL};
    const struct th_start start = {
        .instance_id = "audit-1", .version = "2", .start_at = 77, .tags = tags};

    return th_entity_signal(e, "@Counter@Other Key", "add", json_integer(1)) ||
           th_entity_signal_at(e, th_entity_own_id(e), "get", NULL, 5000) ||
           th_entity_start(e, "audit", json_pack("[i]", 1), &start) ||
           th_entity_start(e, "audit", NULL, NULL);
}

static const struct th_method counter[] = {
    {"add", add},         {"Get", get},       {"spoil", spoil},
    {"give up", give_up}, {"mumble", mumble}, {"recover", recover},
    {"reset", reset},     {"poke", poke},     {NULL, NULL},
};

static int who(struct th_entity *e)
{
    return th_entity_return(e,
                            json_pack("[s,s,s,s,b,O?]", th_entity_own_id(e), th_entity_own_name(e),
                                      th_entity_own_key(e), th_entity_operation(e),
                                      th_entity_is_signal(e), th_entity_input(e)));
}

/* What is there, as bytes: an empty state is one. */
static int look(struct th_entity *e)
{
    size_t len;
    const char *bytes = th_entity_state_bytes(e, &len);

    return th_entity_return(
        e, json_pack("[b,b,I]", th_entity_exists(e), bytes != NULL, (json_int_t)len));
}

static int put_bytes(struct th_entity *e)
{
    size_t len;
    const void *bytes = th_entity_input_bytes(e, &len);

    th_entity_set_state_bytes(e, bytes, len);
    return th_entity_return_bytes(e, bytes, len);
}

static int wrong(struct th_entity *e)
{
    const char *how = json_string_value(th_entity_input(e));

    if (strcmp(how, "target") == 0)
        th_entity_signal(e, "counter", "add", NULL);
    else if (strcmp(how, "long target") == 0)
        th_entity_signal_at(e,
                            "@counter@0123456789012345678901234567890123456789012345678901234567890"
                            "123456789012345678901234567890123456789",
                            "add", json_integer(1), 5);
    else if (strcmp(how, "operation") == 0)
        th_entity_signal(e, "@counter@k", "", json_integer(1));
    else if (strcmp(how, "input") == 0)
        th_entity_signal(e, "@counter@k", "add", json_stringn_nocheck("\xff", 1));
    else if (strcmp(how, "name") == 0)
        th_entity_start(e, NULL, json_integer(1), NULL);
    else if (strcmp(how, "id") == 0)
        th_entity_start(e, "audit", json_integer(1), &(struct th_start){.instance_id = "@a@b"});
    else if (strcmp(how, "no state") == 0)
        th_entity_set_state(e, NULL);
    else if (strcmp(how, "state") == 0)
        th_entity_set_state(e, json_stringn_nocheck("\xff", 1));
    else if (strcmp(how, "output") == 0)
        return th_entity_return(e, json_stringn_nocheck("\xff", 1));
    th_entity_fail(e, "Other", "not this one");
    return th_entity_return(e, json_string("as if nothing had been"));
}

static int sum_up(struct th_entity *e)
{
    json_decref(th_entity_state_or(e, json_integer(0)));
    return th_entity_return(e, json_string("fine"));
}

static int plain(struct th_entity *e)
{
    if (th_entity_is(e, "WHO"))
        return who(e);
    if (th_entity_is(e, "look"))
        return look(e);
    if (th_entity_is(e, "bytes"))
        return put_bytes(e);
    if (th_entity_is(e, "wrong"))
        return wrong(e);
    if (th_entity_is(e, "sum up"))
        return sum_up(e);
    if (th_entity_is(e, "null"))
        return th_entity_set_state(e, json_null());
    if (th_entity_is(e, "log"))
        th_entity_log(e, "hello from %s", th_entity_operation(e));
    if (th_entity_is(e, "time"))
        return th_entity_return(e, json_boolean(th_entity_time(e) > 1700000000 * TH_SECOND));
    return 0;
}

static void registration(struct th_app *app)
{
    th_app_version(app, "1.5");
    th_entity_methods(app, "Counter", counter);
    th_entity(app, "plain", plain);
}

/* ---- a batch --------------------------------------------------------------------------------- */

struct batch {
    struct th_app *app;
    struct th_executor *executor;
    struct th_arena arena;
    struct th_str id, state;
    struct th_events operations;
    struct th_actions out;
};

static void batch_deinit(struct batch *b)
{
    th_executor_free(b->executor);
    th_app_free(b->app);
    th_events_deinit(&b->operations);
    th_arena_deinit(&b->arena);
}

#define BATCH __attribute__((cleanup(batch_deinit))) struct batch

static void begin_with(struct batch *b, const char *id, const char *state,
                       struct th_executor_options options)
{
    struct th_error error = {.code = TH_OK};
    *b = (struct batch){.id = th_str_of(id), .state = th_str_of(state)};
    b->app = th_app_from(registration, &error);
    if (!b->app)
        fail_msg("%s", error.message);
    options.app = b->app;
    b->executor = th_executor_new(&options);
}

static void begin(struct batch *b, const char *id, const char *state)
{
    begin_with(b, id, state, (struct th_executor_options){0});
}

static struct th_event *operation(struct batch *b, const char *name, const char *input)
{
    struct th_event event = th_event_of(TH_EVENT_ENTITY_CALLED, 0);
    event.name = th_str_of(name);
    event.data = th_str_of(input);
    th_events_add(&b->operations, event);
    return &b->operations.items[b->operations.count - 1];
}

static void run(struct batch *b)
{
    struct th_episode episode = {.instance_id = b->id,
                                 .past_loaded = true,
                                 .fresh = b->operations.items,
                                 .fresh_count = b->operations.count,
                                 .entity = true,
                                 .state = b->state};
    assert_int_equal(TH_EXECUTOR_DONE, th_executor_run(b->executor, &episode, &b->arena, &b->out));
    assert_int_equal(th_executor_warm(b->executor), 0);
    b->state = b->out.state;
    b->operations.count = 0;
}

/* The results and the state as text: "1; 2; E: message | state". */
static void expect_at(struct batch *b, const char *expected, int line)
{
    TH_BUFFER got = {0};
    for (size_t i = 0; i < b->out.result_count; i++) {
        const struct th_operation_result *r = &b->out.results[i];
        th_buffer_text(&got, i ? "; " : "");
        if (r->failure)
            th_buffer_format(&got, "%.*s: %.*s", TH_PRI(r->failure->type),
                             TH_PRI(r->failure->message));
        else
            th_buffer_format(&got, "%.*s", TH_PRI(r->data.data ? r->data : TH_STR("none")));
    }
    th_buffer_format(&got, " | %.*s", TH_PRI(b->state.data ? b->state : TH_STR("none")));
    if (!th_str_eq(th_buffer_view(&got), th_str_of(expected)))
        fail_msg("line %d:\nexpected %s\n     got %.*s", line, expected,
                 TH_PRI(th_buffer_view(&got)));
}
#define expect(b, text) expect_at((b), (text), __LINE__)

/* ---- results and state ----------------------------------------------------------------------- */

static void test_each_sees_what_those_before_it_left(void **state)
{
    BATCH b;
    begin(&b, "@counter@k", NULL);
    operation(&b, "add", "3");
    operation(&b, "ADD", "4");
    operation(&b, "get", NULL);
    run(&b);
    expect(&b, "3; 7; 7 | 7");
    operation(&b, "add", "-7");
    run(&b);
    expect(&b, "0 | 0"); /* what looks like nothing is a state */
    assert_int_equal(b.out.count, 0);
}

static void test_a_failed_operation_leaves_nothing(void **state)
{
    BATCH b;
    begin(&b, "@counter@k", "5");
    operation(&b, "add", "1");
    operation(&b, "poke", NULL);
    operation(&b, "spoil", NULL);
    operation(&b, "get", NULL);
    operation(&b, "give up", NULL);
    operation(&b, "add", "1");
    run(&b);
    expect(&b, "6; none; Spoilt: by intent; 6; OperationFailed: operation \"give up\" of entity "
               "\"@counter@k\" returned 7 without saying why; 7 | 7");
    assert_int_equal(b.out.count, 4); /* those of poke */
    assert_null(b.out.failure);
}

static void test_the_first_operation_fails_and_nothing_was_there(void **state)
{
    BATCH b;
    begin(&b, "@counter@k", NULL);
    operation(&b, "spoil", NULL);
    run(&b);
    expect(&b, "Spoilt: by intent | none");
    assert_int_equal(b.out.count, 0);
}

static void test_the_last_result_counts(void **state)
{
    BATCH b;
    begin(&b, "@counter@k", NULL);
    operation(&b, "mumble", NULL);
    operation(&b, "recover", NULL);
    run(&b);
    expect(&b, "OperationFailed: quietly; \"after all\" | none");
}

static void test_deleting(void **state)
{
    BATCH b;
    begin(&b, "@counter@k", "5");
    operation(&b, "reset", NULL);
    operation(&b, "add", "2");
    operation(&b, "Delete", NULL); /* comes with the table */
    run(&b);
    expect(&b, "none; 2; none | none");
    assert_false(th_str_present(b.out.state));
}

static void test_absent_empty_and_null_states_differ(void **state)
{
    BATCH b;
    begin(&b, "@plain@", NULL);
    operation(&b, "look", NULL);
    operation(&b, "null", NULL);
    operation(&b, "look", NULL);
    operation(&b, "bytes", "");
    operation(&b, "look", NULL);
    run(&b);
    expect(&b, "[false,false,0]; none; [true,true,4]; ; [true,true,0] | ");
    assert_true(th_str_present(b.out.state));
    operation(&b, "look", NULL);
    operation(&b, "bytes", NULL);
    operation(&b, "look", NULL);
    run(&b);
    expect(&b, "[true,true,0]; ; [false,false,0] | none");
}

static void test_states_may_be_any_bytes(void **state)
{
    BATCH b;
    begin(&b, "@plain@x", NULL);
    operation(&b, "bytes", NULL)->data = th_str_n("\0\xff", 2);
    run(&b);
    assert_true(th_str_eq(b.state, th_str_n("\0\xff", 2)));
    assert_true(th_str_eq(b.out.results[0].data, th_str_n("\0\xff", 2)));
    operation(&b, "sum up", NULL);
    operation(&b, "look", NULL);
    run(&b);
    assert_string_equal(b.out.results[0].failure->type.data, "InvalidState");
    assert_string_equal(b.out.results[1].data.data, "[true,true,2]");
}

static void test_many_operations(void **state)
{
    BATCH b;
    begin(&b, "@counter@k", NULL);
    for (int i = 0; i < 4000; i++)
        operation(&b, i % 3 == 2 ? "spoil" : "add", "1");
    run(&b);
    assert_int_equal(b.out.result_count, 4000);
    assert_true(th_str_eq(b.state, TH_STR("2667")));
    assert_true(b.arena.total < 4000 * 1024);
}

/* ---- what it knows --------------------------------------------------------------------------- */

static void test_who_it_is(void **state)
{
    BATCH b;
    begin(&b, "@plain@a@b", NULL);
    operation(&b, "who", "{\"n\":1}");
    operation(&b, "Who", "no json")->kind = TH_EVENT_ENTITY_SIGNALED;
    operation(&b, "time", NULL);
    run(&b);
    expect(&b, "[\"@plain@a@b\",\"plain\",\"a@b\",\"who\",false,{\"n\":1}]; "
               "[\"@plain@a@b\",\"plain\",\"a@b\",\"Who\",true,null]; true | none");
}

static void keep_line(void *argument, enum th_level level, const char *category, const char *line)
{
    snprintf(argument, 256, "%s: %s", category, line);
}

static void test_log(void **state)
{
    char line[256] = "";
    struct th_log log = {.level = TH_LOG_INFO, .sink = keep_line, .argument = line};
    BATCH b;
    begin_with(&b, "@plain@k", NULL, (struct th_executor_options){.log = &log});
    operation(&b, "log", NULL);
    run(&b);
    assert_string_equal(line, "Function.plain: [@plain@k] hello from log");
}

static void test_unknown_operations_are_told_the_others(void **state)
{
    BATCH b;
    begin(&b, "@counter@k", "1");
    operation(&b, "multiply", NULL);
    operation(&b, "add", "1");
    run(&b);
    expect(&b, "UnknownOperation: entity \"counter\" has no operation \"multiply\"; it has: add, "
               "Get, spoil, give up, mumble, recover, reset, poke, delete; 2 | 2");
}

static void test_an_unknown_entity_fails_the_batch(void **state)
{
    BATCH b;
    begin(&b, "@ghost@k", "1");
    operation(&b, "add", "1");
    run(&b);
    assert_string_equal(b.out.failure->type.data, "EntityNotFound");
    assert_string_equal(b.out.failure->message.data, "entity \"ghost\" is not registered; this "
                                                     "application has: Counter, plain");
}

/* ---- what it asks for ------------------------------------------------------------------------ */

static void test_signals_and_starts(void **state)
{
    BATCH b;
    begin(&b, "@counter@k", NULL);
    operation(&b, "poke", NULL);
    run(&b);
    assert_int_equal(b.out.count, 4);
    const struct th_action *a = b.out.items;
    assert_int_equal(a[0].kind, TH_ACTION_SIGNAL);
    assert_string_equal(a[0].instance_id.data, "@counter@Other Key");
    assert_string_equal(a[0].name.data, "add");
    assert_string_equal(a[0].data.data, "1");
    assert_true(a[0].fire_at == TH_TIME_NONE);
    assert_string_equal(a[1].instance_id.data, "@counter@k");
    assert_true(a[1].fire_at == 5000 && !th_str_present(a[1].data));
    assert_int_equal(a[2].kind, TH_ACTION_START);
    assert_string_equal(a[2].name.data, "audit");
    assert_string_equal(a[2].instance_id.data, "audit-1");
    assert_string_equal(a[2].version.data, "2");
    assert_string_equal(a[2].data.data, "[1]");
    assert_true(a[2].fire_at == 77 && a[2].tags.count == 1);
    assert_string_equal(a[2].tags.items[0].value.data, "poke");
    assert_false(th_str_present(a[3].instance_id));
    assert_string_equal(a[3].version.data, "1.5"); /* the application's */
}

static void test_the_hosts_version_wins(void **state)
{
    BATCH b;
    begin_with(&b, "@counter@k", NULL, (struct th_executor_options){.default_version = "3"});
    operation(&b, "poke", NULL);
    run(&b);
    assert_string_equal(b.out.items[2].version.data, "2");
    assert_string_equal(b.out.items[3].version.data, "3");
}

static void wrong_is(const char *how, const char *message)
{
    TH_BUFFER expected = {0};
    TH_BUFFER input = {0};
    BATCH b;
    begin(&b, "@plain@k", "1");
    th_buffer_format(&input, "\"%s\"", how);
    operation(&b, "wrong", NULL)->data = th_buffer_view(&input);
    run(&b);
    th_buffer_format(&expected, "%s | 1", message);
    th_buffer_add(&expected, "", 1);
    expect(&b, expected.data);
    assert_int_equal(b.out.count, 0);
}

/* Whatever the code returns after it. */
static void test_the_impossible_fails_the_operation(void **state)
{
    wrong_is("target", "InvalidEntityId: entity id \"counter\" must have the form @name@key");
    wrong_is("long target", "InvalidEntityId: entity id has 109 bytes, 100 are allowed");
    wrong_is("operation", "InvalidName: the name of an operation has 1 to 256 bytes, not 0");
    wrong_is("input", "InvalidInput: the input of \"add\" cannot be written as JSON");
    wrong_is("name", "InvalidName: the name of an orchestrator has 1 to 256 bytes, not 0");
    wrong_is("id", "InvalidInstanceId: instance id \"@a@b\" must not start with '@', as the ids of "
                   "entities do");
    wrong_is("no state",
             "InvalidState: the state that operation \"wrong\" sets cannot be written as JSON");
    wrong_is("state",
             "InvalidState: the state that operation \"wrong\" sets cannot be written as JSON");
    wrong_is("output",
             "InvalidOutput: the output of operation \"wrong\" cannot be written as JSON");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_sees_what_those_before_it_left),
        cmocka_unit_test(test_a_failed_operation_leaves_nothing),
        cmocka_unit_test(test_the_first_operation_fails_and_nothing_was_there),
        cmocka_unit_test(test_the_last_result_counts),
        cmocka_unit_test(test_deleting),
        cmocka_unit_test(test_absent_empty_and_null_states_differ),
        cmocka_unit_test(test_states_may_be_any_bytes),
        cmocka_unit_test(test_many_operations),
        cmocka_unit_test(test_who_it_is),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_unknown_operations_are_told_the_others),
        cmocka_unit_test(test_an_unknown_entity_fails_the_batch),
        cmocka_unit_test(test_signals_and_starts),
        cmocka_unit_test(test_the_hosts_version_wins),
        cmocka_unit_test(test_the_impossible_fails_the_operation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The host and the embedded hub around it: every command is answered exactly once or cancelled,
 * whoever asks from whichever thread, and a stop leaves nothing open.
 */
#include "worker/hub.h"

#include "unit/base_test.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "base/memory.h"

#define PATIENCE (30 * TH_SECOND)

static int greet(struct th_activity *activity)
{
    return th_activity_return(
        activity, json_sprintf("Hello %s!", json_string_value(th_activity_input(activity))));
}

static int greeting(struct th_context *ctx)
{
    json_auto_t *text = th_call(ctx, "greet", json_incref(th_input(ctx)));
    return text ? th_return(ctx, text) : TH_FAILED;
}

static int approval(struct th_context *ctx)
{
    json_auto_t *answer = th_wait_event(ctx, "Approval", -1);
    return answer ? th_return(ctx, answer) : TH_FAILED;
}

/* A number that grows by one with each operation. */
static int tally(struct th_entity *entity)
{
    json_auto_t *before = th_entity_state_or(entity, json_integer(0));
    return th_entity_set_state(entity, json_integer(json_integer_value(before) + 1));
}

static void registration(struct th_app *app)
{
    th_entity(app, "tally", tally);
    th_activity(app, "greet", greet);
    th_orchestrator(app, "greeting", greeting);
    th_orchestrator(app, "approval", approval);
}

struct fixture {
    char directory[64];
    char database[96];
    struct th_app *app;
    struct th_embedded *hub;
    struct th_gateway *gateway;
};

static void open_hub_with(struct fixture *f, size_t max_operations)
{
    struct th_error error = {.code = TH_OK};
    struct th_embedded_options options = {
        .database = f->database,
        .hub = "Test",
        .host = {.app = f->app, .activity_threads = 4, .max_operations = max_operations}};
    f->hub = th_embedded_start(&options, &error);
    if (!f->hub)
        fail_msg("%s", error.message);
    f->gateway = th_embedded_gateway(f->hub);
}

static void open_hub(struct fixture *f)
{
    open_hub_with(f, 0);
}

static int setup(void **state)
{
    struct fixture *f = TH_NEW(struct fixture);
    strcpy(f->directory, "/tmp/taskhub-host-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->database, sizeof f->database, "%s/hub.db", f->directory);
    f->app = th_app_from(registration, NULL);
    open_hub(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    assert_true(th_embedded_stop(f->hub, 10000));
    th_app_free(f->app);
    DIR *directory = opendir(f->directory);
    for (struct dirent *entry; (entry = readdir(directory));)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    rmdir(f->directory);
    free(f);
    return 0;
}

/* ---- commands -------------------------------------------------------------------------------- */

struct answers {
    atomic_int count;
    atomic_int last; /* enum th_code */
    struct th_queue wake;
};

static void on_reply(void *argument, const struct th_reply *reply)
{
    struct answers *answers = argument;
    answers->last = (int)reply->error.code;
    answers->count++;
    th_queue_wake(&answers->wake);
}

static void wait_for(struct answers *answers, int count)
{
    th_time deadline = th_monotonic() + PATIENCE;
    while (answers->count < count) {
        assert_true(th_monotonic() < deadline);
        th_queue_wait(&answers->wake, deadline);
    }
}

static struct th_command command_of(enum th_command_kind kind, const char *id)
{
    return (struct th_command){.kind = kind,
                               .instance_id = th_str_of(id),
                               .start_at = TH_TIME_NONE,
                               .deadline = TH_TIME_NONE};
}

static void runs_an_instance(void **state)
{
    struct fixture *f = *state;
    struct th_client_error error = {.status = 0};
    char id[TH_ID_MAX];
    struct th_client *client = th_embedded_client(f->hub);
    assert_true(th_client_start(client, "greeting", json_string("Lima"), NULL, id, &error));
    json_t *status = th_client_wait(client, id, 30000, &error);
    assert_non_null(status);
    assert_string_equal(json_string_value(json_object_get(status, "output")), "Hello Lima!");
    json_decref(status);
}

static void cancels_what_waits(void **state)
{
    struct fixture *f = *state;
    struct answers answers = {.count = 0};
    th_queue_init(&answers.wake);
    struct th_command wait = command_of(TH_COMMAND_WAIT, "nobody");
    uint64_t ticket = f->gateway->submit(f->gateway, &wait, on_reply, &answers);
    assert_true(f->gateway->cancel(f->gateway, ticket));
    assert_false(f->gateway->cancel(f->gateway, ticket));
    assert_false(f->gateway->cancel(f->gateway, 12345678));
    struct th_command status = command_of(TH_COMMAND_STATUS, "nobody");
    ticket = f->gateway->submit(f->gateway, &status, on_reply, &answers);
    wait_for(&answers, 1);
    assert_int_equal(answers.last, TH_NOT_FOUND);
    assert_false(f->gateway->cancel(f->gateway, ticket));
    assert_int_equal(answers.count, 1);
    th_queue_deinit(&answers.wake);
}

static void times_out(void **state)
{
    struct fixture *f = *state;
    struct answers answers = {.count = 0};
    th_queue_init(&answers.wake);
    struct th_command wait = command_of(TH_COMMAND_WAIT, "nobody");
    wait.deadline = th_now() + 30 * TH_MILLISECOND;
    f->gateway->submit(f->gateway, &wait, on_reply, &answers);
    wait_for(&answers, 1);
    assert_int_equal(answers.last, TH_TIMEOUT);
    th_queue_deinit(&answers.wake);
}

struct caller {
    struct th_gateway *gateway;
    struct answers answers;
    uint64_t seed;
    int canceled;
};

enum { ROUNDS = 400 };

/* Asks, and gives half of it up again at a moment of its own. */
static void *call_and_cancel(void *argument)
{
    struct caller *c = argument;
    struct th_random random;
    th_random_seed(&random, c->seed);
    for (int i = 0; i < ROUNDS; i++) {
        struct th_command command = command_of(TH_COMMAND_STATUS, "nobody");
        struct th_tag tag = {TH_STR("key"), TH_STR("value")};
        command.tags = (struct th_tags){&tag, 1};
        uint64_t ticket = c->gateway->submit(c->gateway, &command, on_reply, &c->answers);
        if (th_random_below(&random, 2) && c->gateway->cancel(c->gateway, ticket))
            c->canceled++;
    }
    return NULL;
}

static void answers_each_call_once(void **state)
{
    enum { CALLERS = 4 };
    struct fixture *f = *state;
    pthread_t threads[CALLERS];
    static struct caller callers[CALLERS];
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.gateway = f->gateway, .seed = i};
        th_queue_init(&callers[i].answers.wake);
        pthread_create(&threads[i], NULL, call_and_cancel, &callers[i]);
    }
    for (size_t i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < CALLERS; i++)
        wait_for(&callers[i].answers, ROUNDS - callers[i].canceled);
    /* One more round trip: nothing comes behind the last answer. */
    struct th_node_stats stats;
    th_host_stats(th_embedded_host(f->hub), &stats);
    for (size_t i = 0; i < CALLERS; i++) {
        assert_int_equal(callers[i].answers.count, ROUNDS - callers[i].canceled);
        th_queue_deinit(&callers[i].answers.wake);
    }
    assert_int_equal(stats.waiting_commands, 0);
}

/* A callback may call the gateway. */
struct chain {
    struct th_gateway *gateway;
    struct answers answers;
    int left;
};

static void on_link(void *argument, const struct th_reply *reply)
{
    struct chain *chain = argument;
    struct th_command command = command_of(TH_COMMAND_STATUS, "nobody");
    struct th_command wait = command_of(TH_COMMAND_WAIT, "nobody");
    if (--chain->left == 0) {
        on_reply(&chain->answers, reply);
        return;
    }
    uint64_t ticket = chain->gateway->submit(chain->gateway, &wait, on_link, chain);
    chain->gateway->cancel(chain->gateway, ticket);
    chain->gateway->submit(chain->gateway, &command, on_link, chain);
}

static void callbacks_may_call(void **state)
{
    struct fixture *f = *state;
    struct chain chain = {.gateway = f->gateway, .left = 100};
    th_queue_init(&chain.answers.wake);
    struct th_command command = command_of(TH_COMMAND_STATUS, "nobody");
    f->gateway->submit(f->gateway, &command, on_link, &chain);
    wait_for(&chain.answers, 1);
    th_queue_deinit(&chain.answers.wake);
}

static void a_stop_answers_what_waits(void **state)
{
    struct fixture *f = *state;
    struct answers answers = {.count = 0};
    th_queue_init(&answers.wake);
    struct th_command wait = command_of(TH_COMMAND_WAIT, "nobody");
    for (int i = 0; i < 50; i++)
        f->gateway->submit(f->gateway, &wait, on_reply, &answers);
    assert_true(th_embedded_stop(f->hub, 10000));
    assert_int_equal(answers.count, 50);
    assert_int_equal(answers.last, TH_UNAVAILABLE);
    th_queue_deinit(&answers.wake);
    open_hub(f);
}

static void goes_on_after_a_stop(void **state)
{
    struct fixture *f = *state;
    struct th_client_error error = {.status = 0};
    struct th_start start = {.instance_id = "a1"};
    char id[TH_ID_MAX];
    assert_true(th_client_start(th_embedded_client(f->hub), "approval", NULL, &start, id, &error));
    assert_true(th_embedded_stop(f->hub, 10000));
    open_hub(f);
    struct th_client *client = th_embedded_client(f->hub);
    assert_true(th_client_raise_event(client, "a1", "Approval", json_integer(5), &error));
    json_t *status = th_client_wait(client, "a1", 30000, &error);
    assert_int_equal(json_integer_value(json_object_get(status, "output")), 5);
    json_decref(status);
}

/* ---- entities -------------------------------------------------------------------------------- */

static int64_t tallied(struct th_client *client)
{
    json_auto_t *state = th_client_entity_state(client, "@tally@t", NULL);
    return json_integer_value(state);
}

/* All at one moment; gives the episodes that they took. */
static uint64_t tally_at_once(struct fixture *f, int count, th_time delay)
{
    struct th_client *client = th_embedded_client(f->hub);
    struct th_node_stats before, after;
    th_time when = th_now() + delay, deadline = th_monotonic() + PATIENCE;
    int64_t first = tallied(client);
    th_host_stats(th_embedded_host(f->hub), &before);
    for (int i = 0; i < count; i++)
        assert_true(th_client_signal_entity(client, "@tally@t", "add", NULL, when, NULL));
    while (tallied(client) < first + count)
        assert_true(th_monotonic() < deadline);
    th_host_stats(th_embedded_host(f->hub), &after);
    assert_int_equal(tallied(client), first + count);
    return after.episodes - before.episodes;
}

static void operations_are_taken_in_batches(void **state)
{
    struct fixture *f = *state;
    assert_true(tally_at_once(f, 101, TH_SECOND) >= 3); /* fifty at a time, if nothing is said */
    assert_true(th_embedded_stop(f->hub, 10000));
    open_hub_with(f, 4);
    assert_true(tally_at_once(f, 13, TH_SECOND) >= 4);
}

static void refuses_a_second_owner(void **state)
{
    struct fixture *f = *state;
    struct th_error error = {.code = TH_OK};
    struct th_embedded_options options = {
        .database = f->database, .hub = "Test", .host = {.app = f->app}};
    assert_null(th_embedded_start(&options, &error));
    assert_int_equal(error.code, TH_UNAVAILABLE);
    assert_non_null(strstr(error.message, f->database));
}

static void public_hub(void **state)
{
    struct fixture *f = *state;
    struct th_client_error error = {.status = 0};
    char id[TH_ID_MAX];
    char database[128];
    snprintf(database, sizeof database, "%s/own.db", f->directory);
    struct th_hub_options options = {.database = database};
    struct th_hub *hub = th_hub_open(&options, registration, &error);
    assert_non_null(hub);
    assert_true(
        th_client_start(th_hub_client(hub), "greeting", json_string("Oslo"), NULL, id, &error));
    json_t *status = th_client_wait(th_hub_client(hub), id, 30000, &error);
    assert_string_equal(json_string_value(json_object_get(status, "output")), "Hello Oslo!");
    json_decref(status);
    assert_null(th_hub_open(&options, registration, &error)); /* it is open already */
    assert_int_equal(error.status, 503);
    th_hub_close(hub);
    options.hub = "1st";
    assert_null(th_hub_open(&options, registration, &error));
    assert_int_equal(error.status, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_an_instance, setup, teardown),
        cmocka_unit_test_setup_teardown(cancels_what_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(times_out, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_each_call_once, setup, teardown),
        cmocka_unit_test_setup_teardown(callbacks_may_call, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_answers_what_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(goes_on_after_a_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(operations_are_taken_in_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_second_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(public_hub, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

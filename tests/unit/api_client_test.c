/* th_client_* over the fake gateway. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/client.h"
#include "base/memory.h"
#include "unit/api_fake.h"

#include <cmocka.h>

struct fixture {
    struct fake *fake;
    struct th_client *client;
};

static int set_up_with(void **state, bool inside)
{
    struct fixture *f = TH_NEW(struct fixture);
    f->fake = fake_new("MyHub", inside);
    f->client = th_client_new(&(struct th_client_options){.gateway = fake_gateway(f->fake)});
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, false);
}

static int set_up_inside(void **state)
{
    return set_up_with(state, true);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    th_client_free(f->client);
    fake_free(f->fake);
    free(f);
    return 0;
}

static void start(struct fixture *f, const char *name, const char *id, json_t *input)
{
    char out[TH_ID_MAX];
    struct th_client_error error = {0};
    struct th_start options = {.instance_id = id};
    if (!th_client_start(f->client, name, input, &options, out, &error)) {
        fail_msg("%d %s", error.status, error.message);
    }
    assert_string_equal(out, id);
}

static void test_start(void **state)
{
    struct fixture *f = *state;
    const char *const tags[] = {"a", "1", "b", "2", NULL};
    struct th_start options = {.version = "2.0", .start_at = 5000000, .tags = tags};
    char id[TH_ID_MAX];
    assert_true(th_client_start(f->client, "job", json_pack("{s:i}", "x", 1), &options, id, NULL));
    assert_int_equal(strlen(id), 32);
    const struct th_command *command = fake_last_start(f->fake);
    assert_string_equal(command->instance_id.data, id);
    assert_string_equal(command->data.data, "{\"x\":1}");
    assert_string_equal(command->version.data, "2.0");
    assert_int_equal(command->start_at, 5000000);
    assert_int_equal(command->tags.count, 2);
    assert_string_equal(command->tags.items[1].value.data, "2");
    assert_int_equal(command->request_id.len, 32);
    assert_int_equal(command->reuse, TH_REUSE_TERMINAL);
    assert_true(th_client_start(f->client, "job", NULL, NULL, id, NULL));
    assert_false(th_str_present(fake_last_start(f->fake)->data));
}

static void expect_start(struct fixture *f, const char *name, const struct th_start *options,
                         int status)
{
    char id[TH_ID_MAX];
    struct th_client_error error = {0};
    bool done = th_client_start(f->client, name, NULL, options, id, &error);
    assert_int_equal(done ? 0 : error.status, status);
}

static void test_reuse(void **state)
{
    struct fixture *f = *state;
    const struct th_start plain = {.instance_id = "i1"};
    const struct th_start takes = {.instance_id = "i1", .replace_running = true};
    const struct th_start keeps = {.instance_id = "i2", .keep_existing = true};
    expect_start(f, "job", &plain, 0);
    expect_start(f, "job", &plain, 409);
    expect_start(f, "job", &takes, 0);
    expect_start(f, "echo", &keeps, 0);
    expect_start(f, "echo", &keeps, 409);
    expect_start(f, "", &plain, 400);
    expect_start(f, "job", &(struct th_start){.instance_id = "@x"}, 400);
}

static void test_status(void **state)
{
    struct fixture *f = *state;
    struct th_client_error error = {0};
    start(f, "echo", "i1", json_pack("[i]", 1));
    json_auto_t *document = th_client_status(f->client, "i1", &error);
    assert_string_equal(json_string_value(json_object_get(document, "runtimeStatus")), "Completed");
    assert_int_equal(json_array_size(json_object_get(document, "output")), 1);
    assert_null(th_client_status(f->client, "none", &error));
    assert_int_equal(error.status, 404);
    /* A payload that is JSON but more than the library can hold exactly. */
    fake_set(f->fake, "i1", TH_STATUS_COMPLETED, TH_STR("123456789012345678901234567890"));
    json_auto_t *large = th_client_status(f->client, "i1", &error);
    assert_true(json_is_real(json_object_get(large, "output")));
    fake_set(f->fake, "i1", TH_STATUS_COMPLETED, TH_STR("\"\\u0000\""));
    json_auto_t *nul = th_client_status(f->client, "i1", &error);
    assert_int_equal(json_string_length(json_object_get(nul, "output")), 1);
}

static void test_messages(void **state)
{
    struct fixture *f = *state;
    struct th_client_error error = {0};
    start(f, "job", "i1", NULL);
    assert_true(th_client_suspend(f->client, "i1", "because", &error));
    assert_true(th_client_resume(f->client, "i1", NULL, &error));
    assert_false(th_client_rewind(f->client, "i1", NULL, &error));
    assert_int_equal(error.status, 412);
    assert_true(th_client_raise_event(f->client, "i1", "finish", json_true(), &error));
    assert_false(th_client_raise_event(f->client, "i1", "finish", NULL, &error));
    assert_int_equal(error.status, 410);
    assert_false(th_client_raise_event(f->client, "i1", "", NULL, &error));
    assert_int_equal(error.status, 400);
    assert_false(th_client_terminate(f->client, "none", json_integer(1), true, &error));
    assert_int_equal(error.status, 404);
    assert_false(th_client_suspend(f->client, "i1", NULL, NULL));
}

static void test_restart(void **state)
{
    struct fixture *f = *state;
    char id[TH_ID_MAX];
    start(f, "echo", "i1", json_integer(7));
    assert_true(th_client_restart(f->client, "i1", true, id, NULL));
    assert_int_equal(strncmp(id, "generated-", 10), 0);
    assert_true(th_client_restart(f->client, "i1", false, id, NULL));
    assert_string_equal(id, "i1");
    assert_false(th_client_restart(f->client, "none", true, id, NULL));
}

static void test_purge(void **state)
{
    struct fixture *f = *state;
    struct th_client_error error = {0};
    size_t purged;
    start(f, "echo", "i1", NULL);
    start(f, "echo", "i2", NULL);
    start(f, "fail", "i3", NULL);
    start(f, "job", "i4", NULL);
    assert_true(th_client_purge(f->client, "i1", false, &purged, &error));
    assert_int_equal(purged, 1);
    assert_false(th_client_purge(f->client, "i4", false, NULL, &error));
    assert_int_equal(error.status, 412);
    assert_true(th_client_purge_by(f->client, 0, 0, "failed", &purged, &error));
    assert_int_equal(purged, 1);
    assert_true(th_client_purge_by(f->client, 0, 0, NULL, &purged, &error));
    assert_int_equal(purged, 1);
    assert_true(th_client_purge_by(f->client, 0, th_now() - TH_SECOND * 3600, NULL, &purged, NULL));
    assert_int_equal(purged, 0);
    assert_false(th_client_purge_by(f->client, 0, 0, "Running", &purged, &error));
    assert_int_equal(error.status, 400);
    assert_false(th_client_purge_by(f->client, 0, 0, "Odd", &purged, &error));
    assert_non_null(strstr(error.message, "Odd"));
}

/* ---- entities ------------------------------------------------------------------------------- */

static void test_signal(void **state)
{
    struct fixture *f = *state;
    struct th_client_error error = {0};
    json_auto_t *none = th_client_entity_state(f->client, "@counter@a", &error);
    assert_null(none);
    assert_int_equal(error.status, 404);
    assert_true(
        th_client_signal_entity(f->client, "@Counter@a", "set", json_pack("[i]", 7), 0, NULL));
    json_auto_t *made = th_client_entity_state(f->client, "@COUNTER@a", &error);
    assert_int_equal(json_integer_value(json_array_get(made, 0)), 7);
    fake_set(f->fake, "@counter@a", TH_STATUS_ENTITY, TH_STR("no json"));
    json_auto_t *text = th_client_entity_state(f->client, "@counter@a", &error);
    assert_string_equal(json_string_value(text), "no json");
    assert_true(th_client_signal_entity(f->client, "@counter@b", "lock", NULL, 0, NULL));
    assert_null(th_client_entity_state(f->client, "@counter@b", &error));
    assert_int_equal(error.status, 404);
}

static void test_bad_signals(void **state)
{
    struct fixture *f = *state;
    struct th_client_error error = {0};
    assert_false(th_client_signal_entity(f->client, "counter", "set", json_true(), 0, &error));
    assert_int_equal(error.status, 400);
    assert_non_null(strstr(error.message, "@name@key"));
    assert_false(th_client_signal_entity(f->client, "@c@k", "", NULL, 0, &error));
    assert_int_equal(error.status, 400);
    assert_null(th_client_entity_state(f->client, NULL, &error));
    assert_int_equal(error.status, 400);
    /* A signal must not arrive twice, so it is sent once. */
    fake_fail(f->fake, 100, TH_UNAVAILABLE);
    size_t before = fake_submitted(f->fake);
    assert_false(th_client_signal_entity(f->client, "@c@k", "set", NULL, 0, &error));
    assert_int_equal(error.status, 503);
    assert_int_equal(fake_submitted(f->fake), before + 1);
}

static const char *key_at(const json_t *list, size_t index)
{
    const json_t *id = json_object_get(json_array_get(list, index), "entityId");
    return json_string_value(json_object_get(id, "key"));
}

static void test_list(void **state)
{
    struct fixture *f = *state;
    struct th_client_error error = {0};
    for (int i = 0; i < 230; i++) {
        char id[32];
        snprintf(id, sizeof(id), "@counter@%03d", i);
        assert_true(th_client_signal_entity(f->client, id, i == 5 ? "lock" : "set", json_integer(i),
                                            0, NULL));
    }
    start(f, "job", "i1", NULL);
    json_auto_t *all = th_client_list_entities(f->client, NULL, &error);
    assert_int_equal(json_array_size(all), 229); /* over several pages; one has no state */
    assert_string_equal(key_at(all, 5), "006");
    assert_true(json_is_null(json_object_get(json_array_get(all, 0), "state")));
    const struct th_entity_query few = {.name = "Counter", .states = true, .limit = 3};
    json_auto_t *three = th_client_list_entities(f->client, &few, &error);
    assert_int_equal(json_array_size(three), 3);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(three, 2), "state")), 2);
    const struct th_entity_query bad = {.name = "a@b"};
    assert_null(th_client_list_entities(f->client, &bad, &error));
    assert_int_equal(error.status, 400);
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void *finish_later(void *argument)
{
    struct fixture *f = argument;
    if (fake_await_waiting(f->fake, 1)) {
        fake_set(f->fake, "i1", TH_STATUS_COMPLETED, TH_STR("\"x\""));
    }
    return NULL;
}

static void test_wait(void **state)
{
    struct fixture *f = *state;
    struct th_client_error error = {0};
    pthread_t thread;
    start(f, "job", "i1", NULL);
    assert_null(th_client_wait(f->client, "i1", 20, &error));
    assert_int_equal(error.status, 504);
    pthread_create(&thread, NULL, finish_later, f);
    json_auto_t *document = th_client_wait(f->client, "i1", -1, &error);
    pthread_join(thread, NULL);
    assert_string_equal(json_string_value(json_object_get(document, "output")), "x");
    json_auto_t *again = th_client_wait(f->client, "i1", 0, &error);
    assert_non_null(again);
    assert_null(th_client_wait(f->client, "none", -1, &error));
    assert_int_equal(error.status, 404);
}

static void *stop_later(void *argument)
{
    struct fixture *f = argument;
    if (fake_await_waiting(f->fake, 1)) {
        th_client_stop(f->client);
    }
    return NULL;
}

static void test_stop(void **state)
{
    struct fixture *f = *state;
    struct th_client_error error = {0};
    pthread_t thread;
    start(f, "job", "i1", NULL);
    pthread_create(&thread, NULL, stop_later, f);
    assert_null(th_client_wait(f->client, "i1", -1, &error));
    pthread_join(thread, NULL);
    assert_int_equal(error.status, 503);
    assert_int_equal(fake_waiting(f->fake), 0);
    assert_null(th_client_status(f->client, "i1", &error));
    assert_int_equal(error.status, 503);
}

/* ---- trying again --------------------------------------------------------------------------- */

static void test_retries(void **state)
{
    struct fixture *f = *state;
    struct th_client_error error = {0};
    char id[TH_ID_MAX], first[33];
    fake_fail(f->fake, 1, TH_UNAVAILABLE);
    size_t before = fake_submitted(f->fake);
    assert_true(th_client_start(f->client, "job", NULL, NULL, id, &error));
    assert_int_equal(fake_submitted(f->fake), before + 2);
    assert_int_equal(fake_last_start(f->fake)->request_id.len, 32);
    snprintf(first, sizeof(first), "%s", fake_last_start(f->fake)->request_id.data);
    fake_fail(f->fake, 100, TH_UNAVAILABLE);
    before = fake_submitted(f->fake);
    assert_null(th_client_status(f->client, id, &error));
    assert_int_equal(error.status, 503);
    assert_int_equal(fake_submitted(f->fake), before + 6); /* bounded */
    /* An event must not arrive twice, so it is sent once. */
    before = fake_submitted(f->fake);
    assert_false(th_client_raise_event(f->client, id, "x", NULL, &error));
    assert_int_equal(error.status, 503);
    assert_int_equal(fake_submitted(f->fake), before + 1);
    fake_fail(f->fake, 1, TH_INTERNAL);
    assert_false(th_client_start(f->client, "job", NULL, NULL, id, &error));
    assert_int_equal(error.status, 500);
    assert_string_not_equal(first, fake_last_start(f->fake)->request_id.data);
}

/* ---- many threads --------------------------------------------------------------------------- */

static void *start_many(void *argument)
{
    struct fixture *f = argument;
    for (int i = 0; i < 200; i++) {
        char id[TH_ID_MAX];
        assert_true(th_client_start(f->client, "echo", json_integer(i), NULL, id, NULL));
        json_auto_t *document = th_client_wait(f->client, id, -1, NULL);
        assert_int_equal(json_integer_value(json_object_get(document, "output")), i);
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[4];
    for (size_t i = 0; i < TH_COUNT(threads); i++) {
        pthread_create(&threads[i], NULL, start_many, *state);
    }
    for (size_t i = 0; i < TH_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
    }
}

#define TEST(name)        cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_INSIDE(name) cmocka_unit_test_setup_teardown(name, set_up_inside, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_start),          TEST(test_reuse),        TEST(test_status),
        TEST(test_messages),       TEST(test_restart),      TEST(test_purge),
        TEST(test_wait),           TEST(test_stop),         TEST(test_retries),
        TEST(test_threads),        TEST(test_signal),       TEST(test_bad_signals),
        TEST(test_list),           TEST_INSIDE(test_start), TEST_INSIDE(test_wait),
        TEST_INSIDE(test_threads),
    };
    return cmocka_run_group_tests_name("api client", tests, NULL, NULL);
}

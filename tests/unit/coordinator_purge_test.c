/* The purge policy: what it asks for, what it takes for an end, and that it removes what has ended
 * and nothing else. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/queue.h"
#include "coordinator/purge.h"
#include "unit/api_fake.h"

#include <cmocka.h>

#define COMPLETED  TH_STATUS_BIT(TH_STATUS_COMPLETED)
#define FAILED     TH_STATUS_BIT(TH_STATUS_FAILED)
#define TERMINATED TH_STATUS_BIT(TH_STATUS_TERMINATED)

/* ---- the policy ---- */

static void statuses(void **state)
{
    static const struct {
        const char *text;
        uint32_t bits;
    } good[] = {{NULL, 0},
                {"", 0},
                {"Completed", COMPLETED},
                {"completed,FAILED", COMPLETED | FAILED},
                {",Terminated,", TERMINATED}};
    static const char *const bad[] = {"Running", "Completed,Pending", "Gone", "Completed Failed"};
    uint32_t bits;
    struct th_error error;
    for (size_t i = 0; i < TH_COUNT(good); i++) {
        assert_true(th_purge_statuses(good[i].text, &bits, &error));
        assert_int_equal(bits, good[i].bits);
    }
    for (size_t i = 0; i < TH_COUNT(bad); i++) {
        assert_false(th_purge_statuses(bad[i], &bits, &error));
        assert_int_equal(error.code, TH_INVALID);
        assert_non_null(strstr(error.message, "Completed, Failed"));
    }
}

static void query(void **state)
{
    const struct th_purge_policy policy = {.age_ms = 60000, .statuses = FAILED};
    struct th_query q = th_purge_query(&policy, 1000 * TH_SECOND);
    assert_int_equal(q.completed_to, 940 * TH_SECOND);
    assert_true(q.completed_from == TH_TIME_NONE && q.from == TH_TIME_NONE && q.to == TH_TIME_NONE);
    assert_int_equal(q.statuses, FAILED);
    assert_true(q.limit > 0 && q.limit <= 1000 && !q.payloads);
    const struct th_purge_policy any = {.age_ms = 1};
    assert_int_equal(th_purge_query(&any, 0).statuses, TH_REUSE_TERMINAL);
}

static void intervals(void **state)
{
    static const struct {
        int64_t age_ms;
        th_time interval;
    } table[] = {
        {0, TH_SECOND}, {1000, TH_SECOND}, {30000, 3 * TH_SECOND}, {86400000, 60 * TH_SECOND}};
    for (size_t i = 0; i < TH_COUNT(table); i++) {
        const struct th_purge_policy policy = {.age_ms = table[i].age_ms};
        assert_int_equal(th_purge_interval(&policy), table[i].interval);
    }
}

/* ---- at work ---- */

struct hub {
    struct fake *fake;
    struct th_client *client;
    struct th_purge *purge;
};

static int set_up(void **state)
{
    struct hub *hub = TH_NEW(struct hub);
    hub->fake = fake_new("Hub", false);
    const struct th_client_options options = {.gateway = fake_gateway(hub->fake)};
    hub->client = th_client_new(&options);
    *state = hub;
    return 0;
}

static int tear_down(void **state)
{
    struct hub *hub = *state;
    th_client_stop(hub->client);
    th_purge_stop(hub->purge);
    th_client_free(hub->client);
    fake_free(hub->fake);
    free(hub);
    return 0;
}

static void start(struct hub *hub, const char *name, int number)
{
    char id[32];
    char started[TH_ID_MAX];
    snprintf(id, sizeof(id), "%s%d", name, number);
    const struct th_start options = {.instance_id = id};
    assert_true(th_client_start(hub->client, name, NULL, &options, started, NULL));
}

static bool exists(struct hub *hub, const char *id)
{
    json_auto_t *status = th_client_status(hub->client, id, NULL);
    return status != NULL;
}

static void follow(struct hub *hub, unsigned rate)
{
    struct th_error error;
    const struct th_purge_policy policy = {.age_ms = 0, .statuses = COMPLETED, .rate = rate};
    hub->purge = th_purge_start(&policy, hub->client, NULL, &error);
    assert_non_null(hub->purge);
}

static void await_count(struct hub *hub, uint64_t count)
{
    th_time deadline = th_monotonic() + 20 * TH_SECOND;
    while (th_purge_count(hub->purge) < count && th_monotonic() < deadline) {
        sched_yield();
    }
    assert_int_equal(th_purge_count(hub->purge), count);
}

/* More than a page of them. */
static void ends_are_purged(void **state)
{
    struct hub *hub = *state;
    for (int i = 0; i < 130; i++) {
        start(hub, "echo", i);
    }
    start(hub, "fail", 0);
    start(hub, "waits", 0);
    follow(hub, 100000);
    await_count(hub, 130);
    assert_false(exists(hub, "echo0"));
    assert_false(exists(hub, "echo129"));
    assert_true(exists(hub, "fail0")); /* not of the policy's statuses */
    assert_true(exists(hub, "waits0"));
}

static void a_hub_that_fails_is_asked_again(void **state)
{
    struct hub *hub = *state;
    start(hub, "echo", 0);
    fake_fail(hub->fake, 1, TH_UNAVAILABLE);
    follow(hub, 0);
    await_count(hub, 1);
}

static void the_rate_is_kept(void **state)
{
    struct hub *hub = *state;
    for (int i = 0; i < 6; i++) {
        start(hub, "echo", i);
    }
    th_time began = th_monotonic();
    follow(hub, 20);
    await_count(hub, 6);
    assert_true(th_monotonic() - began >= 250 * TH_MILLISECOND - 5 * TH_MILLISECOND);
}

static void stopping_does_not_wait_for_the_rate(void **state)
{
    struct hub *hub = *state;
    start(hub, "echo", 0);
    start(hub, "echo", 1);
    follow(hub, 1);
    await_count(hub, 1);
    th_time began = th_monotonic();
    th_purge_stop(hub->purge);
    hub->purge = NULL;
    assert_true(th_monotonic() - began < 900 * TH_MILLISECOND);
}

int main(void)
{
#define AT_WORK(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses),
        cmocka_unit_test(query),
        cmocka_unit_test(intervals),
        AT_WORK(ends_are_purged),
        AT_WORK(a_hub_that_fails_is_asked_again),
        AT_WORK(the_rate_is_kept),
        AT_WORK(stopping_does_not_wait_for_the_rate),
    };
    return cmocka_run_group_tests_name("purge policy", tests, NULL, NULL);
}

/*
 * The activity pool: results, limits, time-outs, cancellation, ends. The test's thread plays the
 * node: it submits and takes results from a queue with a deadline, never by sleeping.
 */
#include "worker/pool.h"

#include "unit/base_test.h"

#include <stdatomic.h>

#include "base/memory.h"

#define PATIENCE (20 * TH_SECOND)

/* What the activities of this test share with it; they have no argument of their own. */
static struct {
    atomic_int running, most, ran;
    atomic_bool gate; /* blocked activities wait for it */
    atomic_bool saw_cancel;
    atomic_int exhausted;
} shared;

static void pass_time(void)
{
    sched_yield();
}

static int echo(struct th_activity *activity)
{
    size_t len;
    const void *input = th_activity_input_bytes(activity, &len);
    shared.ran++;
    return th_activity_return_bytes(activity, input, len);
}

static int fails(struct th_activity *activity)
{
    return th_activity_fail_for_good(activity, "Broken", "no luck with %d", 7);
}

static int blocks(struct th_activity *activity)
{
    int now = ++shared.running;
    int most = shared.most;
    while (now > most && !atomic_compare_exchange_weak(&shared.most, &most, now)) {
    }
    while (!shared.gate)
        pass_time();
    shared.running--;
    shared.ran++;
    return th_activity_return_bytes(activity, "1", 1);
}

static int beats(struct th_activity *activity)
{
    th_time until = th_monotonic() + 300 * TH_MILLISECOND;
    while (th_monotonic() < until)
        if (!th_activity_heartbeat(activity))
            return th_activity_fail(activity, "Canceled", "told to");
    return th_activity_return_bytes(activity, "1", 1);
}

static int until_canceled(struct th_activity *activity)
{
    shared.running++;
    while (!th_activity_canceled(activity))
        pass_time();
    shared.saw_cancel = true;
    shared.running--;
    return th_activity_return_bytes(activity, "1", 1);
}

static void registration(struct th_app *app)
{
    th_activity(app, "echo", echo);
    th_activity(app, "fails", fails);
    th_activity(app, "blocks", blocks);
    th_activity(app, "beats", beats);
    th_activity(app, "until_canceled", until_canceled);
}

struct fixture {
    struct th_app *app;
    struct th_queue results;
    struct th_link *taken;
    struct th_pool *pool;
};

static void on_done(void *argument, struct th_pool_result *result)
{
    struct fixture *f = argument;
    th_queue_push(&f->results, &result->link);
}

static void on_exhausted(void *argument, const char *reason)
{
    shared.exhausted++;
}

static void open_pool(struct fixture *f, unsigned threads, int64_t timeout_ms,
                      const struct th_pool_limit *limits, size_t limit_count)
{
    memset(&shared, 0, sizeof shared);
    memset(f, 0, sizeof *f);
    f->app = th_app_from(registration, NULL);
    assert_non_null(f->app);
    th_queue_init(&f->results);
    struct th_pool_options options = {.app = f->app,
                                      .threads = threads,
                                      .timeout_ms = timeout_ms,
                                      .max_lost = 2,
                                      .limits = limits,
                                      .limit_count = limit_count,
                                      .argument = f,
                                      .done = on_done,
                                      .exhausted = on_exhausted};
    f->pool = th_pool_new(&options, NULL);
    assert_non_null(f->pool);
}

static struct th_pool_result *next(struct fixture *f)
{
    th_time deadline = th_monotonic() + PATIENCE;
    while (!f->taken) {
        assert_true(th_monotonic() < deadline);
        f->taken = th_queue_wait(&f->results, deadline);
    }
    struct th_link *link = f->taken;
    f->taken = link->next;
    return (struct th_pool_result *)link;
}

static void close_pool(struct fixture *f)
{
    assert_true(th_pool_free(f->pool, th_monotonic() + PATIENCE));
    for (struct th_link *link = th_queue_take(&f->results), *after; link; link = after) {
        after = link->next;
        th_pool_result_free((struct th_pool_result *)link);
    }
    th_queue_deinit(&f->results);
    th_app_free(f->app);
}

static void submit(struct fixture *f, uint64_t token, const char *name, const char *input)
{
    struct th_activity_work work = {.token = token,
                                    .instance_id = TH_STR("i"),
                                    .execution_id = TH_STR("e"),
                                    .name = th_str_of(name),
                                    .input = th_str_of(input)};
    th_pool_submit(f->pool, &work);
}

static void wait_for(atomic_int *value, int wanted)
{
    th_time deadline = th_monotonic() + PATIENCE;
    while (*value != wanted) {
        assert_true(th_monotonic() < deadline);
        pass_time();
    }
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void gives_every_result_once(void **state)
{
    enum { COUNT = 5000 };
    struct fixture f;
    static bool seen[COUNT];
    memset(seen, 0, sizeof seen);
    open_pool(&f, 4, 0, NULL, 0);
    for (int i = 0; i < COUNT; i++) {
        char input[16];
        snprintf(input, sizeof input, "%d", i);
        submit(&f, (uint64_t)i, "Echo", input);
    }
    for (int i = 0; i < COUNT; i++) {
        struct th_pool_result *result = next(&f);
        char expected[16];
        snprintf(expected, sizeof expected, "%d", (int)result->token);
        assert_false(seen[result->token]);
        seen[result->token] = true;
        assert_false(result->activity.failed);
        assert_str(th_str_n(result->activity.data, result->activity.len), expected);
        th_pool_result_free(result);
    }
    th_time deadline = th_monotonic() + PATIENCE;
    while (th_pool_running(f.pool) > 0 && th_monotonic() < deadline)
        pass_time(); /* the last one counts while it is handed over */
    assert_int_equal(th_pool_running(f.pool), 0);
    assert_int_equal(th_pool_waiting(f.pool), 0);
    close_pool(&f);
}

static void hands_over_failures(void **state)
{
    struct fixture f;
    open_pool(&f, 1, 0, NULL, 0);
    submit(&f, 1, "fails", NULL);
    struct th_pool_result *result = next(&f);
    assert_true(result->activity.failed);
    assert_true(result->activity.non_retriable);
    assert_string_equal(result->activity.failure_type, "Broken");
    assert_string_equal(result->activity.failure_message, "no luck with 7");
    th_pool_result_free(result);
    close_pool(&f);
}

static void names_what_there_is(void **state)
{
    struct fixture f;
    open_pool(&f, 1, 0, NULL, 0);
    submit(&f, 1, "nowhere", NULL);
    struct th_pool_result *result = next(&f);
    assert_true(result->activity.failed);
    assert_true(result->activity.non_retriable);
    assert_string_equal(result->activity.failure_type, "FunctionNotFound");
    assert_non_null(strstr(result->activity.failure_message, "\"nowhere\""));
    assert_non_null(strstr(result->activity.failure_message, "until_canceled"));
    th_pool_result_free(result);
    close_pool(&f);
}

static void spreads_long_activities_over_all_threads(void **state)
{
    struct fixture f;
    open_pool(&f, 6, 0, NULL, 0);
    for (uint64_t i = 0; i < 12; i++)
        submit(&f, i, "blocks", NULL);
    wait_for(&shared.running, 6);
    assert_int_equal(th_pool_running(f.pool), 6);
    assert_int_equal(th_pool_waiting(f.pool), 6);
    shared.gate = true;
    for (int i = 0; i < 12; i++)
        th_pool_result_free(next(&f));
    assert_int_equal(shared.most, 6);
    close_pool(&f);
}

static void keeps_a_functions_limit(void **state)
{
    struct fixture f;
    struct th_pool_limit limit = {.name = TH_STR("BLOCKS"), .max = 2};
    open_pool(&f, 6, 0, &limit, 1);
    for (uint64_t i = 0; i < 9; i++)
        submit(&f, i, "blocks", NULL);
    submit(&f, 100, "echo", "1");
    struct th_pool_result *first = next(&f); /* passes those that wait for the limit */
    assert_int_equal(first->token, 100);
    th_pool_result_free(first);
    wait_for(&shared.running, 2);
    th_pool_cancel(f.pool, 5); /* one that waits beside the queue is never run */
    shared.gate = true;
    for (int i = 0; i < 8; i++)
        th_pool_result_free(next(&f));
    assert_int_equal(shared.most, 2);
    assert_int_equal(shared.ran, 1 + 8);
    assert_int_equal(th_pool_waiting(f.pool), 0);
    close_pool(&f);
}

static void cancels_what_waits_and_tells_what_runs(void **state)
{
    struct fixture f;
    open_pool(&f, 1, 0, NULL, 0);
    submit(&f, 1, "until_canceled", NULL);
    submit(&f, 2, "echo", "2");
    submit(&f, 3, "echo", "3");
    wait_for(&shared.running, 1);
    th_pool_cancel(f.pool, 2);
    th_pool_cancel(f.pool, 99); /* unknown: nothing happens */
    th_pool_cancel(f.pool, 1);
    struct th_pool_result *first = next(&f);
    struct th_pool_result *second = next(&f);
    assert_int_equal(first->token, 1);
    assert_int_equal(second->token, 3);
    assert_true(shared.saw_cancel);
    assert_int_equal(shared.ran, 1);
    th_pool_result_free(first);
    th_pool_result_free(second);
    close_pool(&f);
}

static void fails_what_takes_too_long(void **state)
{
    struct fixture f;
    open_pool(&f, 1, 100, NULL, 0);
    submit(&f, 1, "blocks", NULL);
    wait_for(&shared.running, 1);
    th_time now = th_monotonic();
    th_pool_watch(f.pool, now); /* not yet */
    assert_int_equal(th_pool_running(f.pool), 1);
    th_pool_watch(f.pool, now + 200 * TH_MILLISECOND);
    struct th_pool_result *result = next(&f);
    assert_int_equal(result->token, 1);
    assert_string_equal(result->activity.failure_type, "ActivityTimeout");
    assert_non_null(strstr(result->activity.failure_message, "100 ms"));
    assert_false(result->activity.non_retriable);
    th_pool_result_free(result);
    /* Another thread has taken the lost one's place. */
    submit(&f, 2, "echo", "2");
    result = next(&f);
    assert_int_equal(result->token, 2);
    th_pool_result_free(result);
    /* The late result goes nowhere. */
    shared.gate = true;
    wait_for(&shared.running, 0);
    submit(&f, 3, "echo", "3");
    result = next(&f);
    assert_int_equal(result->token, 3);
    th_pool_result_free(result);
    close_pool(&f);
}

static void heartbeats_extend_the_time(void **state)
{
    struct fixture f;
    open_pool(&f, 1, 250, NULL, 0);
    submit(&f, 1, "beats", NULL);
    while (th_pool_waiting(f.pool) || th_pool_running(f.pool)) {
        th_pool_watch(f.pool, th_monotonic());
        pass_time();
    }
    struct th_pool_result *result = next(&f);
    assert_false(result->activity.failed);
    th_pool_result_free(result);
    close_pool(&f);
}

static void says_when_too_many_threads_are_lost(void **state)
{
    struct fixture f;
    open_pool(&f, 1, 100, NULL, 0);
    for (int i = 0; i < 3; i++) {
        submit(&f, (uint64_t)i, "blocks", NULL);
        wait_for(&shared.running, i + 1);
        assert_int_equal(shared.exhausted, 0);
        th_pool_watch(f.pool, th_monotonic() + TH_SECOND);
        th_pool_result_free(next(&f));
    }
    assert_int_equal(shared.exhausted, 1); /* max_lost is 2 */
    shared.gate = true;
    close_pool(&f);
}

static void drains(void **state)
{
    struct fixture f;
    open_pool(&f, 2, 0, NULL, 0);
    for (uint64_t i = 0; i < 5; i++)
        submit(&f, i, "blocks", NULL);
    wait_for(&shared.running, 2);
    th_pool_drain(f.pool);
    assert_int_equal(th_pool_waiting(f.pool), 0);
    submit(&f, 9, "echo", "9"); /* dropped */
    assert_false(th_pool_free(f.pool, th_monotonic() + 20 * TH_MILLISECOND));
    shared.gate = true;
    th_pool_result_free(next(&f));
    th_pool_result_free(next(&f));
    assert_int_equal(shared.ran, 2);
    close_pool(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_every_result_once),
        cmocka_unit_test(hands_over_failures),
        cmocka_unit_test(names_what_there_is),
        cmocka_unit_test(spreads_long_activities_over_all_threads),
        cmocka_unit_test(keeps_a_functions_limit),
        cmocka_unit_test(cancels_what_waits_and_tells_what_runs),
        cmocka_unit_test(fails_what_takes_too_long),
        cmocka_unit_test(heartbeats_extend_the_time),
        cmocka_unit_test(says_when_too_many_threads_are_lost),
        cmocka_unit_test(drains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

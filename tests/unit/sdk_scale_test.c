/*
 * What things cost: fan-outs, long lives, and instances that wait. Work is counted, not timed, so
 * that a busy machine changes nothing: this copy of the library is compiled to say whenever a basic
 * block of it runs. Limits catch the wrong order of growth. Times are printed for people.
 */
#include "unit/sdk_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DRIVER __attribute__((cleanup(sdk_driver_deinit))) struct sdk_driver

static size_t blocks;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
    blocks++;
}

static int fan_out(struct th_context *ctx)
{
    size_t n = (size_t)json_integer_value(th_input(ctx));
    struct th_task **tasks = calloc(n, sizeof(*tasks));
    for (size_t i = 0; i < n; i++) {
        tasks[i] = th_schedule(ctx, "work", json_integer((json_int_t)i), NULL);
    }
    struct th_task *all = th_all(ctx, tasks, n);
    free(tasks);
    if (!th_await(ctx, all)) {
        return TH_FAILED;
    }
    json_auto_t *results = th_result(all);
    return th_return_new(ctx, json_integer((json_int_t)json_array_size(results)));
}

static int in_a_row(struct th_context *ctx)
{
    for (json_int_t i = 0, n = json_integer_value(th_input(ctx)); i < n; i++) {
        json_auto_t *result = th_call(ctx, "work", json_integer(i));
        if (!result) {
            return TH_FAILED;
        }
    }
    return 0;
}

/* An ordinary waiter: some locals, a call behind it, an event with a time-out ahead. */
static int waiter(struct th_context *ctx)
{
    json_auto_t *first = th_call(ctx, "prepare", json_pack("{s:s}", "id", th_instance_id(ctx)));
    json_auto_t *approval = th_wait_event(ctx, "approval", 3600000);
    return approval && first ? th_return(ctx, approval) : TH_FAILED;
}

static void registration(struct th_app *app)
{
    th_orchestrator(app, "fan_out", fan_out);
    th_orchestrator(app, "in_a_row", in_a_row);
    th_orchestrator(app, "waiter", waiter);
}

/* The blocks that it takes, from its start to its end. */
static size_t fan_out_work(int n, bool cold)
{
    DRIVER d;
    char input[16];
    snprintf(input, sizeof(input), "%d", n);
    sdk_driver_init(&d, registration, (struct th_executor_options){0});
    th_time began = th_monotonic();
    size_t before = blocks;
    sdk_start(&d, "fan_out", input);
    sdk_run(&d);
    assert_int_equal(d.last.count, n);
    for (int32_t i = n - 1; i >= 0; i--) {
        struct th_event done = th_event_of(TH_EVENT_TASK_COMPLETED, d.now);
        done.related_id = i;
        done.data = TH_STR("{\"ok\":true}");
        sdk_event(&d, done);
    }
    if (cold) {
        sdk_forget(&d);
    }
    sdk_run(&d);
    sdk_expect(&d, th_arena_format(&d.arena, "end Completed %d", n).data);
    size_t work = blocks - before;
    print_message("fan-out of %d, %s: %zu blocks, %.1f ms\n", n, cold ? "cold" : "warm", work,
                  (double)(th_monotonic() - began) / 1e3);
    return work;
}

static void test_a_fan_out_costs_as_much_as_it_is_wide(void **state)
{
    for (int cold = 0; cold < 2; cold++) {
        size_t small = fan_out_work(1000, cold);
        assert_true(small > 1000); /* it is counted at all */
        assert_true(fan_out_work(10000, cold) < 11 * small);
    }
}

enum { STEPS = 10000 };

/* A long life in one generation: each step costs the same, warm, and in a replay. */
static void test_ten_thousand_calls_in_a_row(void **state)
{
    size_t at[11] = {0}; /* by thousands of steps */
    DRIVER d;
    sdk_driver_init(&d, registration, (struct th_executor_options){0});
    th_time began = th_monotonic();
    sdk_start(&d, "in_a_row", "10000");
    sdk_run(&d);
    for (int32_t i = 0; i < STEPS; i++) {
        if (i % 1000 == 0) {
            at[i / 1000] = blocks;
        }
        assert_int_equal(d.last.count, 1);
        struct th_event done = th_event_of(TH_EVENT_TASK_COMPLETED, d.now);
        done.related_id = i;
        done.data = TH_STR("1");
        sdk_event(&d, done);
        sdk_run(&d);
    }
    at[10] = blocks;
    assert_true(d.ended);
    double warm = (double)(th_monotonic() - began);
    size_t first = at[1] - at[0];
    size_t last = at[10] - at[9];
    assert_true(first > 1000);
    assert_true(last < first + first / 100);
    struct th_actions out;
    struct th_episode e = {.instance_id = TH_STR("instance-1"),
                           .execution_id = TH_STR("exec-0"),
                           .past_loaded = true,
                           .past = d.history.items,
                           .past_count = d.history.count};
    began = th_monotonic();
    th_executor_run(d.executor, &e, &d.arena, &out);
    assert_int_equal(out.count, 0);
    double cold = (double)(th_monotonic() - began);
    size_t replay = blocks - at[10];
    print_message("10,000 calls in a row: %.2f us each, warm; replayed in %.1f ms\n", warm / 1e4,
                  cold / 1e3);
    print_message("%zu blocks for the first thousand, %zu for the last, %zu for the replay\n",
                  first, last, replay);
    assert_true(replay < 2 * (at[10] - at[0]));
}

/* smaps adds up page tables; the cheaper counters of statm lag behind. */
static size_t resident(void)
{
    char line[256];
    size_t kib = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    while (f && fgets(line, sizeof(line), f) && sscanf(line, "Rss: %zu kB", &kib) != 1) {
    }
    if (!f || !kib) {
        fail_msg("no /proc/self/smaps_rollup");
    }
    fclose(f);
    return kib * 1024;
}

static void episode(struct sdk_driver *d, const char *id, size_t past, struct th_event news)
{
    struct th_actions out;
    struct th_event fresh[2] = {th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, d->now), news};
    struct th_episode e = {.instance_id = th_str_of(id),
                           .execution_id = TH_STR("0123456789abcdef0123456789abcdef"),
                           .past_count = past,
                           .fresh = fresh,
                           .fresh_count = 2};
    assert_int_equal(TH_EXECUTOR_DONE, th_executor_run(d->executor, &e, &d->arena, &out));
    assert_int_equal(out.count, 1);
    th_arena_reset(&d->arena);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { COUNT = 200, MOST = INT32_MAX }; /* ThreadSanitizer needs a megabyte for each */
#else
enum { COUNT = 8000, MOST = 12 * 1024 };
#endif

static void test_an_instance_that_waits_is_small(void **state)
{
    char id[40];
    DRIVER d;
    sdk_driver_init(&d, registration, (struct th_executor_options){.max_warm = COUNT});
    struct th_event start = th_event_of(TH_EVENT_EXECUTION_STARTED, 0);
    start.name = TH_STR("waiter");
    start.data = TH_STR("{\"customer\":\"somebody\",\"amount\":100}");
    struct th_event done = th_event_of(TH_EVENT_TASK_COMPLETED, 0);
    done.related_id = 0;
    done.data = TH_STR("{\"reserved\":true}");
    size_t before = resident();
    for (int i = 0; i < COUNT; i++) {
        snprintf(id, sizeof(id), "order-%08d", i);
        episode(&d, id, 0, start);
        episode(&d, id, 4, done);
    }
    assert_int_equal(th_executor_warm(d.executor), COUNT);
    size_t each = (resident() - before) / COUNT;
    print_message("an instance that waits: %zu bytes\n", each);
    assert_true(each < MOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_instance_that_waits_is_small), /* before the heap has holes */
        cmocka_unit_test(test_a_fan_out_costs_as_much_as_it_is_wide),
        cmocka_unit_test(test_ten_thousand_calls_in_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

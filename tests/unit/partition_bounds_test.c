/*
 * What grows, and what must not: long loops, large fan-outs, many timers, marks and letters. A
 * test that walks a list once per item would run into its time-out here.
 */
#include "unit/partition_desk.h"

enum { FAN = 10000 };

/* Each generation: an activity, a time-out that never comes, an event that it carries over. */
static void generation(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    if (code_count(e, TH_EVENT_TASK_SCHEDULED) == 0) {
        code_task(out, arena, 0, "Work");
        th_actions_add(out, arena, TH_ACTION_CREATE_TIMER, 1)->fire_at = 900000 * TH_SECOND;
    } else if (code_fresh_count(e, TH_EVENT_TASK_COMPLETED) > 0) {
        code_continue(out, arena, "\"next\"");
        out->items[0].carryover = code_last(e, TH_EVENT_EVENT_RAISED);
        out->items[0].carryover_count = out->items[0].carryover ? 1 : 0;
    }
}

static void fan(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    if (code_count(e, TH_EVENT_TASK_SCHEDULED) == 0)
        for (int32_t n = 0; n < FAN; n++)
            code_task(out, arena, n, "Work");
    else if (code_count(e, TH_EVENT_TASK_COMPLETED) == FAN)
        code_complete(out, arena, "\"all\"");
}

static void many(const struct th_episode *e, struct th_arena *arena, struct th_actions *out,
                 enum th_action_kind kind)
{
    if (e->past_count > 0)
        return;
    for (int32_t n = 0; n < FAN; n++) {
        struct th_action *a = th_actions_add(out, arena, kind, n);
        a->name = TH_STR("Idle");
        a->fire_at = 2000 * TH_SECOND + n % 7;
    }
}

static void code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    (void)d;
    if (code_is(e, "Generation"))
        generation(e, arena, out);
    else if (code_is(e, "Fan"))
        fan(e, arena, out);
    else if (code_is(e, "Timers"))
        many(e, arena, out, TH_ACTION_CREATE_TIMER);
    else if (code_is(e, "Children"))
        many(e, arena, out, TH_ACTION_CREATE_CHILD);
}

static void begin(struct desk *d, size_t checkpoint_records)
{
    desk_init(d, 1, code);
    d->quiet_trace = true;
    d->options.checkpoint_records = checkpoint_records;
    desk_open(d);
}

static size_t log_bytes(const struct desk *d)
{
    size_t bytes = 0;

    for (size_t n = 0; n < d->log_count; n++)
        bytes += d->log[n].bytes->len;
    return bytes;
}

static void test_thousands_of_generations(void **state)
{
    (void)state;
    enum { GENERATIONS = 4000 };
    struct desk d;
    size_t after_few = 0;

    begin(&d, 50);
    desk_deliver(&d, desk_start("a", "Generation"));
    desk_deliver(&d, desk_raise("a", "kept", "1"));
    desk_settle(&d);
    for (int n = 0; n < GENERATIONS; n++) {
        assert_true(desk_answer(&d, "a", 0, "1"));
        desk_settle(&d);
        if (n == 200)
            after_few = log_bytes(&d);
    }
    assert_int_equal(desk_info(&d, "a")->generation, GENERATIONS);
    desk_expect_history(&d, "a",
                        "OrchestratorStarted ExecutionStarted EventRaised TaskScheduled "
                        "TimerCreated OrchestratorCompleted");
    assert_int_equal(d.p->letter_count, 0);
    assert_int_equal(HASH_COUNT(d.p->tokens), 2);
    assert_int_equal(d.p->heap_count, 1);
    assert_int_equal(d.p->outbox_count, 0);
    assert_true(d.p->heap_capacity < 64 && d.p->effect_capacity < 64 && d.p->ready_capacity < 64);
    assert_true(log_bytes(&d) < 3 * after_few);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* Results gather while the last record travels: far fewer episodes than results. */
static void test_a_large_fan_out(void **state)
{
    (void)state;
    struct desk d;
    uint64_t before;

    begin(&d, SIZE_MAX);
    desk_deliver(&d, desk_start("a", "Fan"));
    desk_settle(&d);
    assert_int_equal(d.activity_count, FAN);
    before = d.p->stats.episodes;
    for (int32_t n = FAN; n-- > 0;) {
        const uint64_t token = d.activities[n].token;

        th_partition_answer(d.p, token, TH_STR("\"r\""), NULL, d.now);
        free(d.activities[n].id);
        d.activity_count--;
        desk_work(&d);
        if (n % 100 == 0)
            desk_ack(&d, SIZE_MAX);
    }
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_COMPLETED);
    assert_true(d.p->stats.episodes - before <= FAN / 100 + 30);
    assert_int_equal(d.p->task_count, 0);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_the_last_results_do_not_wait(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, SIZE_MAX);
    desk_deliver(&d, desk_start("a", "Fan"));
    desk_settle(&d);
    for (size_t n = 0; n < FAN - 5; n++)
        th_partition_answer(d.p, d.activities[n].token, TH_STR("1"), NULL, d.now);
    desk_settle(&d);
    for (size_t n = FAN - 5; n < FAN - 1; n++) {
        const uint64_t episodes = d.p->stats.episodes;

        th_partition_answer(d.p, d.activities[n].token, TH_STR("1"), NULL, d.now);
        desk_work(&d);
        assert_int_equal(d.p->stats.episodes, episodes + 1); /* without an acknowledgement */
    }
    desk_deinit(&d);
}

static void test_many_timers(void **state)
{
    (void)state;
    struct desk d;
    struct th_message terminate = desk_message("b", TH_EVENT_EXECUTION_TERMINATED);

    begin(&d, SIZE_MAX);
    desk_deliver(&d, desk_start("a", "Timers"));
    desk_deliver(&d, desk_start("b", "Timers"));
    desk_settle(&d);
    assert_int_equal(d.p->timer_count, 2 * FAN);
    assert_int_equal(th_partition_work(d.p, d.now), 2000 * TH_SECOND);
    desk_deliver(&d, terminate);
    desk_settle(&d);
    assert_int_equal(d.p->timer_count, FAN);
    assert_int_equal(d.p->heap_count, FAN);
    d.now = 2000 * TH_SECOND + 3;
    desk_settle(&d);
    assert_int_equal(d.p->heap_count, d.p->timer_count);
    d.now = 2000 * TH_SECOND + 6;
    desk_settle(&d);
    assert_int_equal(d.p->timer_count, 0);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* Timers fire in order, and those of one time in the order they were made. */
static void test_timers_fire_in_order(void **state)
{
    (void)state;
    struct desk d;
    TH_ARENA arena = {0};
    struct th_events history;
    const struct th_event *last = NULL;

    begin(&d, SIZE_MAX);
    desk_deliver(&d, desk_start("a", "Timers"));
    desk_settle(&d);
    d.now = 3000 * TH_SECOND;
    desk_settle(&d);
    history = desk_history(&d, "a", &arena);
    for (size_t n = 0; n < history.count; n++) {
        const struct th_event *e = &history.items[n];

        if (e->kind != TH_EVENT_TIMER_FIRED)
            continue;
        if (last)
            assert_true(last->fire_at < e->fire_at ||
                        (last->fire_at == e->fire_at && last->related_id < e->related_id));
        last = e;
    }
    assert_non_null(last);
    desk_deinit(&d);
}

static void test_many_children(void **state)
{
    (void)state;
    struct desk d;
    struct th_message terminate = desk_message("a", TH_EVENT_EXECUTION_TERMINATED);

    begin(&d, SIZE_MAX);
    d.p->options.max_unacked = SIZE_MAX;
    desk_deliver(&d, desk_start("a", "Children"));
    desk_work(&d);
    terminate.event.recurse = true;
    desk_deliver(&d, terminate);
    desk_work(&d);
    assert_int_equal(d.p->letter_count, 0);
    assert_int_equal(HASH_COUNT(d.p->tokens), 0);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_TERMINATED);
    desk_deinit(&d);
}

static void test_many_letters_for_one(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, SIZE_MAX);
    desk_deliver(&d, desk_start("a", "Idle"));
    for (int n = 0; n < 5 * FAN; n++)
        desk_deliver(&d, desk_raise("a", "e", "1"));
    desk_settle(&d);
    assert_int_equal(d.p->letter_count, 0);
    assert_true(d.p->stats.episodes < 20);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* One message that cannot be taken yet, and very many behind it that are. */
static void test_many_marks_above_the_position(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, SIZE_MAX);
    d.hold_loads = true;
    desk_deliver(&d, desk_start("slow", "Idle"));
    for (int n = 0; n < 2 * FAN; n++) {
        desk_deliver(&d, desk_raise("none", "e", "1"));
        if (n % 100 == 0) {
            desk_work(&d);
            th_partition_loaded(d.p, TH_STR("none"), NULL, d.now);
            desk_work(&d);
        }
    }
    desk_work(&d);
    desk_ack(&d, SIZE_MAX);
    assert_int_equal(d.p->position, 0);
    desk_expect_recovery(&d);
    desk_crash(&d);
    desk_open(&d);
    assert_int_equal(d.p->letter_count, 1);
    assert_int_equal(d.p->early_count, 0);
    desk_work(&d);
    desk_load(&d);
    desk_settle(&d);
    assert_int_equal(d.p->position, d.inbox_count);
    desk_deinit(&d);
}

static void test_many_effects_at_once(void **state)
{
    (void)state;
    struct desk d;
    struct th_effect e;

    begin(&d, SIZE_MAX);
    desk_work(&d);
    for (int n = 0; n < 10 * FAN; n++)
        effect_now(d.p, TH_EFFECT_CHANGED)->tag = (uint64_t)n;
    for (int n = 0; n < 10 * FAN; n++) { /* one out, one in: the ring stays full */
        assert_true(th_partition_effect(d.p, &e));
        assert_int_equal(e.tag, n);
        effect_now(d.p, TH_EFFECT_CHANGED);
        th_effect_deinit(&e);
    }
    desk_deinit(&d);
}

/* All are ready at once; no more run at once than may wait for their acknowledgement. */
static void test_many_ready_instances(void **state)
{
    (void)state;
    struct desk d;
    char id[40];

    begin(&d, SIZE_MAX);
    d.p->options.max_unacked = 100;
    d.hold_runs = true;
    for (int n = 0; n < FAN; n++) {
        snprintf(id, sizeof(id), "i%d", n);
        desk_deliver(&d, desk_start(id, "Idle"));
    }
    desk_work(&d);
    assert_int_equal(d.run_count, 100);
    assert_int_equal(d.p->turn_count, 100);
    d.hold_runs = false;
    desk_run(&d);
    desk_settle(&d);
    assert_int_equal(d.p->letter_count, 0);
    assert_int_equal(d.p->turn_count, 0);
    assert_true(d.p->free_turn_count <= 64);
    desk_deinit(&d);
}

static void test_many_appends_in_flight(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, SIZE_MAX);
    for (uint64_t n = 0; n < 5 * FAN; n++)
        flight_add(d.p, n);
    d.p->expected_offset = 0;
    d.p->reading_gap = true; /* none is believed yet, all come in */
    for (uint64_t n = 0; n < 5 * FAN; n++)
        th_partition_acked(d.p, n, (int64_t)n, d.now);
    assert_int_equal(d.p->flight_count, 5 * FAN);
    d.p->reading_gap = false;
    th_partition_acked(d.p, 0, 0, d.now);
    assert_int_equal(d.p->flight_count, 0);
    desk_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thousands_of_generations),
        cmocka_unit_test(test_a_large_fan_out),
        cmocka_unit_test(test_the_last_results_do_not_wait),
        cmocka_unit_test(test_many_timers),
        cmocka_unit_test(test_timers_fire_in_order),
        cmocka_unit_test(test_many_children),
        cmocka_unit_test(test_many_letters_for_one),
        cmocka_unit_test(test_many_marks_above_the_position),
        cmocka_unit_test(test_many_effects_at_once),
        cmocka_unit_test(test_many_ready_instances),
        cmocka_unit_test(test_many_appends_in_flight),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

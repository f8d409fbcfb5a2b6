/* A failed instance goes back to before its failures, and so do its children. */
#include "unit/engine_bench.h"

static struct th_event at(enum th_event_kind kind, int32_t id, int32_t related)
{
    struct th_event e = th_event_of(kind, THEN);

    e.id = id;
    e.related_id = related;
    if (kind == TH_EVENT_CHILD_CREATED) {
        e.name = TH_STR("Kid");
        e.instance_id = TH_STR("kid");
        e.data = TH_STR("7");
    }
    if (kind == TH_EVENT_EXECUTION_STARTED) {
        e.name = TH_STR("F");
        e.instance_id = TH_STR("i");
        e.execution_id = TH_STR("e1");
        e.parent = &bench_parent;
    }
    return e;
}

static void rewind_over(struct bench *b, const struct th_event *past, size_t count)
{
    bench_init(b, AT_FAILED);
    b->info.custom_status = TH_STR("halfway");
    b->info.generation = 3;
    bench_add(b, TH_EVENT_EXECUTION_REWOUND)->event.reason = TH_STR("fixed");
    assert_int_equal(bench_begin(b), TH_BEGIN_HISTORY);
    b->in.past = past;
    b->in.past_count = count;
    assert_int_equal(bench_begin(b), TH_BEGIN_RUN);
    bench_finish(b);
}

static void test_failures_go_and_work_stays(void **state)
{
    (void)state;
    const struct th_event past[] = {
        at(TH_EVENT_ORCHESTRATOR_STARTED, -1, -1),
        at(TH_EVENT_EXECUTION_STARTED, -1, -1),
        at(TH_EVENT_TASK_SCHEDULED, 0, -1),
        at(TH_EVENT_TASK_SCHEDULED, 1, -1),
        at(TH_EVENT_TIMER_CREATED, 2, -1),
        at(TH_EVENT_ORCHESTRATOR_COMPLETED, -1, -1),
        at(TH_EVENT_ORCHESTRATOR_STARTED, -1, -1),
        at(TH_EVENT_TASK_COMPLETED, -1, 0),
        at(TH_EVENT_TASK_FAILED, -1, 1),
        at(TH_EVENT_EXECUTION_COMPLETED, -1, -1),
        at(TH_EVENT_ORCHESTRATOR_COMPLETED, -1, -1),
    };
    struct bench b;
    struct th_instance_info info;

    rewind_over(&b, past, TH_COUNT(past));
    expect_events(&b.out.past,
                  "OrchestratorStarted ExecutionStarted TaskScheduled TimerCreated "
                  "OrchestratorCompleted OrchestratorStarted TaskCompleted OrchestratorCompleted");
    assert_int_equal(b.out.past.items[2].id, 0);
    expect_events(&b.out.fresh, "OrchestratorStarted");
    assert_true(b.out.replace_history);
    assert_str(b.out.execution_id, "e2");
    assert_str(b.out.past.items[1].execution_id, "e2");
    assert_int_equal(b.out.outgoing_count, 0);
    info = b.info;
    info.starting = true; /* as the fold does for a mended history */
    for (size_t n = 0; n < b.out.past.count; n++)
        th_info_apply(&info, &b.out.past.items[n]);
    assert_int_equal(info.status, TH_STATUS_RUNNING);
    assert_int_equal(info.completed, TH_TIME_NONE);
    assert_int_equal(info.generation, 3);
    assert_str(info.custom_status, "halfway");
    bench_deinit(&b);
}

/* A retry uses the id again: the failed attempt goes, the good one stays. */
static void test_a_retry_keeps_its_good_attempt(void **state)
{
    (void)state;
    const struct th_event past[] = {
        at(TH_EVENT_EXECUTION_STARTED, -1, -1), at(TH_EVENT_TASK_SCHEDULED, 1, -1),
        at(TH_EVENT_TASK_FAILED, -1, 1),        at(TH_EVENT_TASK_SCHEDULED, 1, -1),
        at(TH_EVENT_TASK_COMPLETED, -1, 1),     at(TH_EVENT_EXECUTION_COMPLETED, -1, -1),
    };
    struct bench b;

    rewind_over(&b, past, TH_COUNT(past));
    expect_events(&b.out.past, "ExecutionStarted TaskScheduled TaskCompleted");
    bench_deinit(&b);
}

static void test_children_are_told(void **state)
{
    (void)state;
    struct th_event past[] = {
        at(TH_EVENT_EXECUTION_STARTED, -1, -1),   at(TH_EVENT_CHILD_CREATED, 1, -1),
        at(TH_EVENT_CHILD_CREATED, 2, -1),        at(TH_EVENT_CHILD_CREATED, 3, -1),
        at(TH_EVENT_CHILD_COMPLETED, -1, 1),      at(TH_EVENT_CHILD_FAILED, -1, 2),
        at(TH_EVENT_EXECUTION_COMPLETED, -1, -1),
    };
    struct bench b;
    const struct th_message *m;

    past[1].instance_id = TH_STR("done");
    past[2].instance_id = TH_STR("failed");
    past[3].instance_id = TH_STR("running");
    rewind_over(&b, past, TH_COUNT(past));
    expect_events(&b.out.past, "ExecutionStarted SubOrchestrationInstanceCreated "
                               "SubOrchestrationInstanceCreated SubOrchestrationInstanceCreated "
                               "SubOrchestrationInstanceCompleted");
    assert_int_equal(b.out.outgoing_count, 2);
    m = sent(&b, "failed", TH_EVENT_EXECUTION_REWOUND);
    assert_str(m->event.parent->instance_id, "i");
    assert_str(m->event.parent->execution_id, "e2");
    assert_int_equal(m->event.parent->task_id, 2);
    assert_str(m->event.reason, "fixed");
    assert_str(m->event.name, "Kid");
    assert_str(m->event.data, "7");
    assert_int_equal(sent(&b, "running", TH_EVENT_EXECUTION_REWOUND)->event.parent->task_id, 3);
    bench_deinit(&b);
}

static void test_a_rewound_child_answers_the_new_execution(void **state)
{
    (void)state;
    struct th_parent renewed = bench_parent;
    const struct th_event past[] = {at(TH_EVENT_EXECUTION_STARTED, -1, -1),
                                    at(TH_EVENT_EXECUTION_COMPLETED, -1, -1)};
    struct bench b;

    renewed.execution_id = TH_STR("pe2");
    bench_init(&b, AT_FAILED);
    bench_add(&b, TH_EVENT_EXECUTION_REWOUND)->event.parent = &renewed;
    b.messages[0].event.name = TH_STR("F");
    b.in.past = past;
    b.in.past_count = 2;
    assert_int_equal(bench_begin(&b), TH_BEGIN_RUN);
    assert_str(b.out.past.items[0].parent->execution_id, "pe2");
    assert_str(b.out.past.items[0].parent->name, "Papa");
    bench_deinit(&b);

    bench_init(&b, AT_RUNNING); /* still running: it learns it */
    bench_add(&b, TH_EVENT_EXECUTION_REWOUND)->event.parent = &renewed;
    bench_begin(&b);
    assert_str(folded(&b).parent->execution_id, "pe2");
    bench_deinit(&b);

    bench_init(&b, AT_COMPLETED); /* it ended before: it says so once more */
    b.info.output = TH_STR("8");
    bench_add(&b, TH_EVENT_EXECUTION_REWOUND)->event.parent = &renewed;
    bench_begin(&b);
    assert_str(sent(&b, "papa", TH_EVENT_CHILD_COMPLETED)->execution_id, "pe2");
    assert_str(sent(&b, "papa", TH_EVENT_CHILD_COMPLETED)->event.data, "8");
    bench_deinit(&b);
}

static void test_a_child_that_is_gone_is_made_again(void **state)
{
    (void)state;
    struct bench b;

    bench_init(&b, AT_NONE);
    bench_add(&b, TH_EVENT_EXECUTION_REWOUND)->event.parent = &bench_parent;
    b.messages[0].event.name = TH_STR("Kid");
    b.messages[0].event.data = TH_STR("7");
    assert_int_equal(bench_begin(&b), TH_BEGIN_RUN);
    expect_events(&b.out.fresh, "OrchestratorStarted ExecutionStarted");
    assert_str(b.out.fresh.items[1].data, "7");
    assert_ptr_equal(b.out.fresh.items[1].parent, &bench_parent);
    bench_deinit(&b);
}

/* The id of the failed call belongs to another instance: that one is left alone. */
static void test_another_ones_instance_is_not_taken(void **state)
{
    (void)state;
    static const struct th_parent stranger = {
        .instance_id = {"stranger", 8}, .execution_id = {"se", 2}, .task_id = 7};
    struct bench b;

    bench_init(&b, AT_RUNNING);
    bench_add(&b, TH_EVENT_EXECUTION_REWOUND)->event.parent = &stranger;
    b.messages[0].event.name = TH_STR("Kid");
    assert_int_equal(bench_begin(&b), TH_BEGIN_NOTHING);
    assert_str(sent(&b, "stranger", TH_EVENT_CHILD_FAILED)->event.failure->type, "InstanceExists");
    bench_deinit(&b);
}

/* 20,000 failed tasks: a search per event would take minutes. */
static void test_a_long_history_is_no_trap(void **state)
{
    (void)state;
    enum { TASKS = 20000 };
    struct th_event *past = th_alloc((2 * TASKS + 1) * sizeof(*past));
    struct bench b;
    size_t count = 0;

    past[count++] = at(TH_EVENT_EXECUTION_STARTED, -1, -1);
    for (int32_t n = 0; n < TASKS; n++)
        past[count++] = at(TH_EVENT_TASK_SCHEDULED, n, -1);
    for (int32_t n = TASKS; n-- > 0;)
        past[count++] = at(n % 2 ? TH_EVENT_TASK_FAILED : TH_EVENT_TASK_COMPLETED, -1, n);
    rewind_over(&b, past, count);
    assert_int_equal(b.out.past.count, 1 + TASKS);
    free(past);
    bench_deinit(&b);
}

/* One call was answered, one failed, and the answer to one came too late. */
static void test_entities_are_called_again(void **state)
{
    (void)state;
    const struct th_event past[] = {
        at(TH_EVENT_ORCHESTRATOR_STARTED, -1, -1),   at(TH_EVENT_EXECUTION_STARTED, -1, -1),
        at(TH_EVENT_ENTITY_CALLED, 0, -1),           at(TH_EVENT_ENTITY_CALLED, 1, -1),
        at(TH_EVENT_ENTITY_CALLED, 2, -1),           at(TH_EVENT_ENTITY_SIGNALED, 3, -1),
        at(TH_EVENT_ORCHESTRATOR_COMPLETED, -1, -1), at(TH_EVENT_ORCHESTRATOR_STARTED, -1, -1),
        at(TH_EVENT_ENTITY_COMPLETED, -1, 0),        at(TH_EVENT_ENTITY_FAILED, -1, 1),
        at(TH_EVENT_EXECUTION_COMPLETED, -1, -1),    at(TH_EVENT_ORCHESTRATOR_COMPLETED, -1, -1),
    };
    struct bench b;

    rewind_over(&b, past, TH_COUNT(past));
    expect_events(&b.out.past, "OrchestratorStarted ExecutionStarted EntityOperationCalled "
                               "EntityOperationSignaled OrchestratorCompleted OrchestratorStarted "
                               "EntityOperationCompleted OrchestratorCompleted");
    assert_int_equal(b.out.past.items[2].id, 0);
    bench_deinit(&b);
}

/* Its entities are free again; code that goes on in the middle would believe them locked. */
static void test_a_critical_section_is_no_place_to_go_on(void **state)
{
    (void)state;
    static const struct th_str set = {"@a@", 3};
    struct th_event past[] = {
        at(TH_EVENT_ORCHESTRATOR_STARTED, -1, -1),   at(TH_EVENT_EXECUTION_STARTED, -1, -1),
        at(TH_EVENT_ENTITY_LOCK_REQUESTED, 0, -1),   at(TH_EVENT_ORCHESTRATOR_COMPLETED, -1, -1),
        at(TH_EVENT_ORCHESTRATOR_STARTED, -1, -1),   at(TH_EVENT_ENTITY_LOCK_GRANTED, -1, 0),
        at(TH_EVENT_ENTITY_UNLOCK_SENT, 1, -1),      at(TH_EVENT_EXECUTION_COMPLETED, -1, -1),
        at(TH_EVENT_ORCHESTRATOR_COMPLETED, -1, -1),
    };
    struct bench b;

    past[2].lock_set = (struct th_strs){&set, 1};
    past[2].request_id = past[6].request_id = TH_STR("x");
    past[6].instance_id = TH_STR("@a@");
    bench_init(&b, AT_FAILED);
    bench_add(&b, TH_EVENT_EXECUTION_REWOUND);
    b.in.past = past;
    b.in.past_count = TH_COUNT(past);
    assert_int_equal(bench_begin(&b), TH_BEGIN_NOTHING);
    assert_int_equal(b.offers[0].verdict, TH_VERDICT_DROPPED);
    assert_int_equal(b.offers[0].error.code, TH_PRECONDITION);
    bench_deinit(&b);
}

/* One that was over before is none of its business. */
static void test_an_earlier_critical_section(void **state)
{
    (void)state;
    static const struct th_str set = {"@a@", 3};
    struct th_event past[] = {
        at(TH_EVENT_ORCHESTRATOR_STARTED, -1, -1), at(TH_EVENT_EXECUTION_STARTED, -1, -1),
        at(TH_EVENT_ENTITY_LOCK_REQUESTED, 0, -1), at(TH_EVENT_ENTITY_UNLOCK_SENT, 1, -1),
        at(TH_EVENT_TASK_SCHEDULED, 2, -1),        at(TH_EVENT_ORCHESTRATOR_COMPLETED, -1, -1),
        at(TH_EVENT_ORCHESTRATOR_STARTED, -1, -1), at(TH_EVENT_TASK_FAILED, -1, 2),
        at(TH_EVENT_EXECUTION_COMPLETED, -1, -1),  at(TH_EVENT_ORCHESTRATOR_COMPLETED, -1, -1),
    };
    struct bench b;

    past[2].lock_set = (struct th_strs){&set, 1};
    past[2].request_id = past[3].request_id = TH_STR("x");
    past[3].instance_id = TH_STR("@a@");
    rewind_over(&b, past, TH_COUNT(past));
    assert_false(th_str_present(folded(&b).section));
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures_go_and_work_stays),
        cmocka_unit_test(test_a_retry_keeps_its_good_attempt),
        cmocka_unit_test(test_children_are_told),
        cmocka_unit_test(test_a_rewound_child_answers_the_new_execution),
        cmocka_unit_test(test_a_child_that_is_gone_is_made_again),
        cmocka_unit_test(test_another_ones_instance_is_not_taken),
        cmocka_unit_test(test_entities_are_called_again),
        cmocka_unit_test(test_a_critical_section_is_no_place_to_go_on),
        cmocka_unit_test(test_an_earlier_critical_section),
        cmocka_unit_test(test_a_long_history_is_no_trap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

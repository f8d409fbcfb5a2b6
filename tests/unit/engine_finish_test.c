/* What each action of an orchestrator becomes: events, messages, the end. */
#include "unit/engine_bench.h"

static void begin_running(struct bench *b)
{
    bench_init(b, AT_RUNNING);
    bench_add(b, TH_EVENT_EVENT_RAISED);
    assert_int_equal(bench_begin(b), TH_BEGIN_RUN);
}

static void test_a_task(void **state)
{
    (void)state;
    static const struct th_tag tag = {{"k", 1}, {"v", 1}};
    struct bench b;
    struct th_action *a;
    const struct th_event *e;

    begin_running(&b);
    a = bench_action(&b, TH_ACTION_SCHEDULE_TASK, 5);
    a->name = TH_STR("Work");
    a->data = TH_STR("[1]");
    a->tags = (struct th_tags){&tag, 1};
    a->trace = TH_STR("00-a-b-01");
    bench_action(&b, TH_ACTION_SCHEDULE_TASK, 6)->version = TH_STR("9");
    bench_finish(&b);
    expect_events(&b.out.produced, "TaskScheduled TaskScheduled OrchestratorCompleted");
    e = b.out.produced.items;
    assert_int_equal(e[0].id, 5);
    assert_str(e[0].name, "Work");
    assert_str(e[0].version, "1"); /* the orchestration's, unless it names one */
    assert_str(e[0].data, "[1]");
    assert_int_equal(e[0].tags.count, 1);
    assert_str(e[0].trace, "00-a-b-01");
    assert_int_equal(e[0].timestamp, NOW);
    assert_str(e[1].version, "9");
    assert_int_equal(b.out.outgoing_count, 0);
    bench_deinit(&b);
}

static void test_a_child(void **state)
{
    (void)state;
    struct bench b;
    struct th_action *a;
    const struct th_message *m;

    begin_running(&b);
    a = bench_action(&b, TH_ACTION_CREATE_CHILD, 10);
    a->name = TH_STR("Kid");
    a->data = TH_STR("2");
    a = bench_action(&b, TH_ACTION_CREATE_CHILD, 11);
    a->instance_id = TH_STR("given");
    a->trace = TH_STR("00-a-b-01");
    bench_finish(&b);
    expect_events(&b.out.produced, "SubOrchestrationInstanceCreated "
                                   "SubOrchestrationInstanceCreated OrchestratorCompleted");
    assert_str(b.out.produced.items[0].instance_id, "e1:000a");
    m = sent(&b, "e1:000a", TH_EVENT_EXECUTION_STARTED);
    assert_int_equal(m->reuse, TH_REUSE_TERMINAL);
    assert_str(m->event.name, "Kid");
    assert_str(m->event.version, "1");
    assert_str(m->event.data, "2");
    assert_str(m->event.parent->instance_id, "i");
    assert_str(m->event.parent->execution_id, "e1");
    assert_str(m->event.parent->name, "F");
    assert_int_equal(m->event.parent->task_id, 10);
    m = sent(&b, "given", TH_EVENT_EXECUTION_STARTED);
    assert_int_equal(m->event.parent->task_id, 11);
    assert_str(m->event.trace, "00-a-b-01");
    bench_deinit(&b);
}

static void test_a_timer_and_messages(void **state)
{
    (void)state;
    struct bench b;
    struct th_action *a;

    begin_running(&b);
    bench_action(&b, TH_ACTION_CREATE_TIMER, 1)->fire_at = NOW + 5;
    a = bench_action(&b, TH_ACTION_SEND_EVENT, 2);
    a->instance_id = TH_STR("other");
    a->name = TH_STR("hello");
    a->data = TH_STR("3");
    a = bench_action(&b, TH_ACTION_TERMINATE, 3);
    a->instance_id = TH_STR("victim");
    a->data = TH_STR("\"x\"");
    a->recurse = true;
    bench_finish(&b);
    expect_events(&b.out.produced, "TimerCreated EventSent OrchestratorCompleted");
    assert_int_equal(b.out.produced.items[0].fire_at, NOW + 5);
    assert_str(sent(&b, "other", TH_EVENT_EVENT_RAISED)->event.name, "hello");
    assert_str(sent(&b, "other", TH_EVENT_EVENT_RAISED)->event.data, "3");
    assert_true(sent(&b, "victim", TH_EVENT_EXECUTION_TERMINATED)->event.recurse);
    bench_deinit(&b);
}

static void test_an_end_answers_the_parent(void **state)
{
    (void)state;
    static const struct th_failure failure = {.type = {"T", 1}, .message = {"m", 1}};
    struct bench b;
    struct th_action *a;
    struct th_instance_info info;

    begin_running(&b);
    a = bench_action(&b, TH_ACTION_COMPLETE, -1);
    a->status = TH_STATUS_COMPLETED;
    a->data = TH_STR("42");
    bench_finish(&b);
    assert_str(sent(&b, "papa", TH_EVENT_CHILD_COMPLETED)->event.data, "42");
    info = folded(&b);
    assert_int_equal(info.status, TH_STATUS_COMPLETED);
    assert_int_equal(info.completed, NOW);
    assert_str(info.output, "42");
    bench_deinit(&b);

    begin_running(&b);
    a = bench_action(&b, TH_ACTION_COMPLETE, -1);
    a->status = TH_STATUS_FAILED;
    a->failure = &failure;
    bench_finish(&b);
    assert_str(sent(&b, "papa", TH_EVENT_CHILD_FAILED)->event.failure->type, "T");
    assert_ptr_equal(folded(&b).failure, &failure);
    bench_deinit(&b);
}

/* Whatever order the actions came in, nothing is opened behind the end. */
static void test_the_end_comes_last(void **state)
{
    (void)state;
    struct bench b;

    begin_running(&b);
    bench_action(&b, TH_ACTION_COMPLETE, -1)->status = TH_STATUS_COMPLETED;
    bench_action(&b, TH_ACTION_CREATE_TIMER, 1)->fire_at = NOW;
    bench_action(&b, TH_ACTION_COMPLETE, -1)->status = TH_STATUS_FAILED;
    bench_action(&b, TH_ACTION_SCHEDULE_TASK, 2);
    bench_finish(&b);
    expect_events(&b.out.produced,
                  "TimerCreated TaskScheduled ExecutionCompleted OrchestratorCompleted");
    assert_int_equal(b.out.produced.items[2].status, TH_STATUS_COMPLETED); /* the first one */
    assert_int_equal(b.out.outgoing_count, 1);
    bench_deinit(&b);
}

static void test_an_end_that_is_none_fails(void **state)
{
    (void)state;
    static const enum th_status none[] = {TH_STATUS_RUNNING, TH_STATUS_PENDING,
                                          TH_STATUS_SUSPENDED};

    for (size_t n = 0; n < TH_COUNT(none); n++) {
        struct bench b;
        begin_running(&b);
        bench_action(&b, TH_ACTION_COMPLETE, -1)->status = none[n];
        bench_finish(&b);
        assert_int_equal(folded(&b).status, TH_STATUS_FAILED);
        assert_str(folded(&b).failure->type, "InvalidCompletion");
        bench_deinit(&b);
    }
}

static void test_termination_needs_no_code(void **state)
{
    (void)state;
    struct bench b;

    bench_init(&b, AT_RUNNING);
    bench_add(&b, TH_EVENT_EXECUTION_TERMINATED)->event.data = TH_STR("\"enough\"");
    assert_int_equal(bench_begin(&b), TH_BEGIN_DECIDED);
    bench_finish(&b);
    expect_events(&b.out.produced, "ExecutionCompleted OrchestratorCompleted");
    assert_int_equal(folded(&b).status, TH_STATUS_TERMINATED);
    assert_str(folded(&b).output, "\"enough\"");
    assert_str(sent(&b, "papa", TH_EVENT_CHILD_FAILED)->event.failure->type, "Terminated");
    bench_deinit(&b);
}

static void test_a_crash_fails_instead_of_running(void **state)
{
    (void)state;
    struct bench b;

    begin_running(&b);
    th_engine_fail(&b.in, TH_STR("OrchestratorCrashed"), TH_STR("thrice"), &b.arena, &b.out);
    expect_events(&b.out.produced, "ExecutionCompleted OrchestratorCompleted");
    assert_int_equal(folded(&b).status, TH_STATUS_FAILED);
    assert_str(folded(&b).failure->message, "thrice");
    assert_true(folded(&b).failure->non_retriable);
    sent(&b, "papa", TH_EVENT_CHILD_FAILED);
    bench_deinit(&b);
}

/* ---- continue-as-new ---- */

static void continue_with(struct bench *b, const struct th_event *carried, size_t count)
{
    struct th_action *a = bench_action(b, TH_ACTION_COMPLETE, -1);

    a->status = TH_STATUS_CONTINUED_AS_NEW;
    a->data = TH_STR("\"again\"");
    a->carryover = carried;
    a->carryover_count = count;
}

static void test_continue_as_new(void **state)
{
    (void)state;
    struct th_event carried = th_event_of(TH_EVENT_EVENT_RAISED, THEN);
    struct bench b;
    const struct th_instance_info *next = &b.out.next;
    struct th_events back = {0};
    struct th_reader reader;

    carried.name = TH_STR("kept");
    begin_running(&b);
    b.info.generation = 6;
    b.info.custom_status = TH_STR("old");
    b.info.turn_trace = TH_STR("of the old execution");
    bench_action(&b, TH_ACTION_SEND_EVENT, 1)->instance_id = TH_STR("other");
    continue_with(&b, &carried, 1);
    b.actions.has_custom_status = true;
    b.actions.custom_status = TH_STR("new");
    b.actions.turn_trace = TH_STR("its last");
    bench_finish(&b);

    assert_true(b.out.continued);
    assert_str(b.out.execution_id, "e1");
    assert_str(next->execution_id, "e3");
    assert_str(next->name, "F");
    assert_str(next->version, "1");
    assert_str(next->input, "\"again\"");
    assert_str(next->custom_status, "new");
    assert_false(th_str_present(next->turn_trace));
    assert_int_equal(next->generation, 7);
    assert_int_equal(next->created, THEN);
    assert_int_equal(next->event_count, 0);
    assert_int_equal(next->status, TH_STATUS_RUNNING);
    assert_true(next->starting);
    assert_ptr_equal(next->parent, &bench_parent);
    reader = th_reader_of(next->carryover, &b.arena, NULL);
    assert_true(th_decode_events(&reader, &back));
    expect_events(&back, "EventRaised");
    sent(&b, "other", TH_EVENT_EVENT_RAISED);
    assert_int_equal(b.out.outgoing_count, 1); /* the parent goes on waiting */
    th_events_deinit(&back);
    bench_deinit(&b);
}

static void test_a_new_version_may_continue(void **state)
{
    (void)state;
    struct bench b;

    begin_running(&b);
    continue_with(&b, NULL, 0);
    b.actions.items[0].version = TH_STR("2");
    bench_finish(&b);
    assert_str(b.out.next.version, "2");
    bench_deinit(&b);
}

/* Or an answer for the first execution would be taken for one of the second. */
static void test_a_start_that_continues_gets_two_ids(void **state)
{
    (void)state;
    struct bench b;

    bench_init(&b, AT_NONE);
    bench_start(&b, "G");
    bench_begin(&b);
    continue_with(&b, NULL, 0);
    bench_finish(&b);
    assert_str(b.out.execution_id, "e2");
    assert_str(b.out.next.execution_id, "e3");
    bench_deinit(&b);
}

static void test_a_suspension_survives_continue_as_new(void **state)
{
    (void)state;
    struct bench b;
    struct th_instance_info next;

    bench_init(&b, AT_RUNNING);
    bench_add(&b, TH_EVENT_EVENT_RAISED);
    bench_add(&b, TH_EVENT_EXECUTION_SUSPENDED);
    bench_begin(&b);
    continue_with(&b, NULL, 0);
    bench_finish(&b);
    next = b.out.next;

    b.info = next;
    b.count = 0;
    bench_add(&b, TH_EVENT_EVENT_RAISED);
    assert_int_equal(bench_begin(&b), TH_BEGIN_RUN);
    expect_events(&b.out.fresh, "OrchestratorStarted ExecutionStarted ExecutionSuspended");
    assert_int_equal(b.offers[0].verdict, TH_VERDICT_PARKED);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_task),
        cmocka_unit_test(test_a_child),
        cmocka_unit_test(test_a_timer_and_messages),
        cmocka_unit_test(test_an_end_answers_the_parent),
        cmocka_unit_test(test_the_end_comes_last),
        cmocka_unit_test(test_an_end_that_is_none_fails),
        cmocka_unit_test(test_termination_needs_no_code),
        cmocka_unit_test(test_a_crash_fails_instead_of_running),
        cmocka_unit_test(test_continue_as_new),
        cmocka_unit_test(test_a_new_version_may_continue),
        cmocka_unit_test(test_a_start_that_continues_gets_two_ids),
        cmocka_unit_test(test_a_suspension_survives_continue_as_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

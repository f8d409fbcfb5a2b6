/*
 * Golden traces: what leaves the partition, and after what. I2: nothing before the record it
 * follows from is acknowledged; inside the partition nothing waits.
 */
#include "unit/partition_desk.h"

/* ---- the orchestrators ---- */

static void parallel(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    if (code_count(e, TH_EVENT_TASK_SCHEDULED) == 0) {
        code_task(out, arena, 0, "Left");
        code_task(out, arena, 1, "Right");
    } else if (code_count(e, TH_EVENT_TASK_COMPLETED) == 2) {
        code_complete(out, arena, "\"both\"");
    }
}

static void call_child(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    const struct th_event *started = code_last(e, TH_EVENT_EXECUTION_STARTED);
    const struct th_event *answer = code_last(e, TH_EVENT_CHILD_COMPLETED);
    const struct th_event *failed = code_last(e, TH_EVENT_CHILD_FAILED);
    struct th_action *a;

    if (answer) {
        code_complete(out, arena, "\"child done\"");
    } else if (failed) {
        a = th_actions_add(out, arena, TH_ACTION_COMPLETE, -1);
        a->status = TH_STATUS_FAILED;
        a->failure = failed->failure;
    } else if (code_count(e, TH_EVENT_CHILD_CREATED) == 0) {
        a = th_actions_add(out, arena, TH_ACTION_CREATE_CHILD, 0);
        a->name = TH_STR("Done");
        a->instance_id = started->data;
    }
}

static void sleep_once(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    if (code_count(e, TH_EVENT_TIMER_CREATED) == 0)
        th_actions_add(out, arena, TH_ACTION_CREATE_TIMER, 0)->fire_at = 1005 * TH_SECOND;
    else if (code_count(e, TH_EVENT_TIMER_FIRED) > 0)
        code_complete(out, arena, "\"slept\"");
}

static void code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    (void)d;
    if (code_is(e, "Parallel"))
        parallel(e, arena, out);
    else if (code_is(e, "Done"))
        code_complete(out, arena, "\"ok\"");
    else if (code_is(e, "Child"))
        call_child(e, arena, out);
    else if (code_is(e, "Sleep"))
        sleep_once(e, arena, out);
}

static void begin(struct desk *d, uint32_t partitions)
{
    desk_init(d, partitions, code);
    desk_open(d);
    desk_work(d);
    desk_forget(d);
}

/* ---- the histories Durable Functions documents ---- */

static void test_two_activities_twelve_events(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Parallel"));
    desk_work(&d);
    desk_expect(&d, "load a\n"
                    "run a: OrchestratorStarted ExecutionStarted\n"
                    "append 0 episode a\n");
    desk_ack(&d, 1);
    desk_work(&d);
    desk_expect(&d, "activity a/0 Left\n"
                    "activity a/1 Right\n"
                    "changed a\n");
    assert_true(desk_answer(&d, "a", 1, "2"));
    desk_work(&d);
    desk_expect(&d, "run a: OrchestratorStarted TaskCompleted\n"
                    "append 1 episode a\n");
    assert_true(desk_answer(&d, "a", 0, "1"));
    desk_work(&d);
    desk_expect(&d, "run a: OrchestratorStarted TaskCompleted\n"
                    "append 2 episode a\n");
    desk_ack(&d, 2);
    desk_work(&d);
    desk_expect(&d, "changed a\n");
    desk_expect_history(&d, "a",
                        "OrchestratorStarted ExecutionStarted TaskScheduled TaskScheduled "
                        "OrchestratorCompleted | OrchestratorStarted TaskCompleted "
                        "OrchestratorCompleted | OrchestratorStarted TaskCompleted "
                        "ExecutionCompleted OrchestratorCompleted");
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_COMPLETED);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_two_activities_ten_events(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Parallel"));
    desk_work(&d);
    desk_ack(&d, 1);
    desk_work(&d);
    desk_forget(&d);
    desk_answer(&d, "a", 0, "1");
    desk_answer(&d, "a", 1, "2");
    desk_work(&d);
    desk_expect(&d, "run a: OrchestratorStarted TaskCompleted TaskCompleted\n"
                    "append 1 episode a\n");
    desk_ack(&d, 1);
    desk_expect_history(&d, "a",
                        "OrchestratorStarted ExecutionStarted TaskScheduled TaskScheduled "
                        "OrchestratorCompleted | OrchestratorStarted TaskCompleted TaskCompleted "
                        "ExecutionCompleted OrchestratorCompleted");
    desk_settle(&d);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* What the hub shows between the two: contracts, section 7. */
static void test_the_hub_can_be_inspected(void **state)
{
    (void)state;
    struct desk d;
    struct th_partition_stats stats;
    const struct th_instance_info *info;
    bool durable;

    begin(&d, 1);
    d.hold_loads = true;
    desk_deliver(&d, desk_start("a", "Parallel"));
    assert_int_equal(th_partition_view(d.p, TH_STR("a"), &info, &durable), TH_VIEW_PRESENT);
    assert_int_equal(info->status, TH_STATUS_PENDING);
    assert_false(durable); /* an older instance may be stored: look again when it is loaded */
    th_partition_get_stats(d.p, &stats);
    assert_int_equal(stats.letters, 1);
    desk_work(&d);
    desk_load(&d);
    assert_int_equal(th_partition_view(d.p, TH_STR("a"), &info, &durable), TH_VIEW_PRESENT);
    assert_int_equal(info->status, TH_STATUS_PENDING);
    assert_true(durable);
    desk_work(&d);
    assert_int_equal(th_partition_view(d.p, TH_STR("a"), &info, &durable), TH_VIEW_PRESENT);
    assert_int_equal(info->status, TH_STATUS_RUNNING);
    assert_false(durable);
    desk_ack(&d, 1);
    th_partition_view(d.p, TH_STR("a"), &info, &durable);
    assert_true(durable);
    th_partition_get_stats(d.p, &stats);
    assert_int_equal(stats.letters, 0);
    assert_int_equal(stats.pending_tasks, 2);
    assert_int_equal(th_partition_view(d.p, TH_STR("b"), &info, &durable), TH_VIEW_UNKNOWN);
    desk_deinit(&d);
}

/* ---- I2 ---- */

static void test_nothing_leaves_before_its_ack(void **state)
{
    (void)state;
    struct desk d;
    char there[40];
    char expected[200];

    begin(&d, 4);
    desk_id(&d, "far", 2, there);
    char here[40];
    struct th_message start =
        desk_asked(desk_start(desk_id(&d, "near", 0, here), "Child"), "req-1");
    start.event.data = th_str_of(there);
    desk_deliver(&d, start);
    desk_work(&d);
    snprintf(expected, sizeof(expected),
             "load %s\nrun %s: OrchestratorStarted ExecutionStarted\nappend 0 episode %s\n", here,
             here, here);
    desk_expect(&d, expected);
    desk_work(&d);
    desk_expect(&d, "");
    desk_ack(&d, 1);
    desk_work(&d);
    snprintf(expected, sizeof(expected),
             "changed %s\nreply req-1 for %s: ok\nsend to 2, 0.0: ExecutionStarted for %s\n", here,
             here, there);
    desk_expect(&d, expected);
    desk_deinit(&d);
}

/* "Already exists" rests on a record, too. */
static void test_a_refusal_waits_as_well(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    desk_deliver(&d, desk_asked(desk_start("a", "Sleep"), "one"));
    desk_work(&d);
    desk_deliver(&d, desk_asked(desk_start("a", "Sleep"), "two"));
    desk_work(&d);
    desk_expect(&d, "load a\n"
                    "run a: OrchestratorStarted ExecutionStarted\n"
                    "append 0 episode a\n"
                    "append 1 marks\n");
    desk_ack(&d, 1);
    desk_work(&d);
    desk_expect(&d, "changed a\n"
                    "reply one for a: ok\n");
    desk_ack(&d, 1);
    desk_work(&d);
    desk_expect(&d, "reply two for a: instance \"a\" already exists: it is Running\n");
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* A request that comes twice is one start, whenever the second one comes. */
static void test_a_repeated_request_is_one_start(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    desk_deliver(&d, desk_asked(desk_start("a", "Done"), "one"));
    desk_deliver(&d, desk_asked(desk_start("a", "Done"), "one"));
    desk_settle(&d);
    desk_deliver(&d, desk_asked(desk_start("a", "Done"), "one"));
    desk_settle(&d);
    desk_expect(&d, "load a\n"
                    "run a: OrchestratorStarted ExecutionStarted\n"
                    "append 0 episode a\n"
                    "changed a\n"
                    "reply one for a: ok\n"
                    "reply one for a: ok\n"
                    "load a\n"
                    "append 1 marks\n"
                    "reply one for a: ok\n");
    desk_deinit(&d);
}

static void test_a_local_chain_does_not_wait(void **state)
{
    (void)state;
    struct desk d;
    struct th_message start = desk_start("a", "Child");

    begin(&d, 1);
    start.event.data = TH_STR("b");
    desk_deliver(&d, start);
    desk_work(&d);
    desk_expect(&d, "load a\n"
                    "run a: OrchestratorStarted ExecutionStarted\n"
                    "append 0 episode a\n"
                    "load b\n"
                    "run b: OrchestratorStarted ExecutionStarted\n"
                    "append 1 episode b\n"
                    "run a: OrchestratorStarted SubOrchestrationInstanceCompleted\n"
                    "append 2 episode a\n");
    desk_ack(&d, 3);
    desk_work(&d);
    desk_expect(&d, "changed a\nchanged b\nchanged a\n");
    assert_str(desk_info(&d, "a")->output, "\"child done\"");
    desk_settle(&d);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_a_timer(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Sleep"));
    desk_settle(&d);
    assert_int_equal(th_partition_work(d.p, d.now), 1005 * TH_SECOND);
    desk_forget(&d);
    d.now = 1005 * TH_SECOND - 1;
    desk_work(&d);
    desk_expect(&d, "");
    d.now++;
    desk_work(&d);
    desk_expect(&d, "load a\n" /* the history: this executor remembers nothing */
                    "run a: OrchestratorStarted TimerFired\n"
                    "append 1 episode a\n");
    assert_int_equal(th_partition_work(d.p, d.now), TH_TIME_NONE);
    desk_settle(&d);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* ---- I3 ---- */

static void raise_from(struct desk *d, int32_t partition, uint64_t sequence, uint32_t index)
{
    desk_deliver(d, desk_from(desk_raise("none", "e", NULL), partition, sequence, index));
}

static uint32_t accepted(const struct desk *d)
{
    return (uint32_t)d->p->letter_count;
}

static void test_each_sender_counts_up(void **state)
{
    (void)state;
    static const struct {
        int32_t partition;
        uint64_t sequence;
        uint32_t index;
        bool taken;
    } table[] = {
        {1, 0, 0, true},  {1, 0, 0, false}, {1, 0, 1, true},  {1, 0, 0, false}, {1, 5, 3, true},
        {1, 5, 2, false}, {1, 4, 9, false}, {1, 5, 4, true},  {2, 0, 0, true},  {2, 1, 0, true},
        {1, 6, 0, true},  {2, 1, 0, false}, {4, 0, 0, false}, /* there is no such partition */
        {-1, 0, 0, true},                                     /* a client: it has no order */
        {-1, 0, 0, true},
    };
    struct desk d;
    uint32_t expected = 0;

    begin(&d, 4);
    d.hold_loads = true;
    for (size_t n = 0; n < TH_COUNT(table); n++) {
        raise_from(&d, table[n].partition, table[n].sequence, table[n].index);
        expected += table[n].taken;
        assert_int_equal(accepted(&d), expected);
    }
    desk_work(&d);
    desk_load(&d);
    desk_settle(&d);
    assert_int_equal(d.p->position, TH_COUNT(table));
    assert_int_equal(d.p->vector_position[1].sequence, 7);
    assert_int_equal(d.p->vector_position[1].index, 0);
    assert_int_equal(d.p->vector_position[2].sequence, 2);
    desk_deinit(&d);
}

static void test_deliveries_come_once(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Sleep"));
    th_partition_deliver(d.p, 0, d.inbox[0], d.now);
    assert_int_equal(accepted(&d), 1);
    desk_work(&d);
    th_partition_deliver(d.p, 0, d.inbox[0], d.now);
    assert_int_equal(accepted(&d), 0);
    desk_deinit(&d);
}

static void test_what_cannot_be_read_blocks_nothing(void **state)
{
    (void)state;
    struct desk d;
    struct th_message nameless = desk_raise("a", "e", NULL);

    begin(&d, 1);
    nameless.instance_id = TH_STR_ABSENT;
    desk_deliver_bytes(&d, TH_STR("no message"));
    desk_deliver_bytes(&d, TH_STR(""));
    desk_deliver(&d, nameless);
    th_partition_deliver(d.p, 1000, NULL, d.now); /* and offsets without any message */
    assert_int_equal(d.p->position, 1001);
    assert_int_equal(accepted(&d), 0);
    desk_deinit(&d);
}

/* A log of messages that begins late is no reason to count up to it. */
static void test_an_inbox_may_begin_anywhere(void **state)
{
    (void)state;
    struct desk d;
    TH_BUFFER bytes = {0};
    struct th_message m = desk_start("a", "Sleep");
    struct th_blob *blob;

    begin(&d, 1);
    th_encode_message(&bytes, &m);
    blob = th_blob_new(bytes.data, bytes.len);
    th_partition_deliver(d.p, INT64_C(1) << 40, blob, d.now);
    th_blob_unref(blob);
    desk_work(&d);
    assert_int_equal(d.p->position, (INT64_C(1) << 40) + 1);
    desk_deinit(&d);
}

/* ---- the outbox ---- */

static void test_the_outbox_is_sent_again_in_order(void **state)
{
    (void)state;
    struct desk d;
    char far[3][40], near[3][40], stem[16];
    char expected[300];

    begin(&d, 4);
    for (int n = 0; n < 3; n++) {
        snprintf(stem, sizeof(stem), "far%d", n);
        desk_id(&d, stem, 1 + (uint32_t)n, far[n]);
        snprintf(stem, sizeof(stem), "near%d", n);
        struct th_message start = desk_start(desk_id(&d, stem, 0, near[n]), "Child");
        start.event.data = th_str_of(far[n]);
        desk_deliver(&d, start);
    }
    desk_work(&d);
    desk_ack(&d, 3);
    desk_work(&d);
    desk_forget(&d);
    desk_sent(&d, 1);
    desk_crash(&d);

    desk_open(&d); /* nothing says yet that the first one was sent */
    desk_work(&d);
    snprintf(expected, sizeof(expected),
             "send to 1, 0.0: ExecutionStarted for %s\nsend to 2, 1.0: ExecutionStarted for %s\n"
             "send to 3, 2.0: ExecutionStarted for %s\n",
             far[0], far[1], far[2]);
    desk_expect(&d, expected);
    desk_sent(&d, 2);
    desk_deliver(&d, desk_raise(near[0], "e", NULL)); /* the next record says so */
    desk_work(&d);
    desk_ack(&d, 1);
    desk_expect_recovery(&d);
    desk_crash(&d);

    desk_forget(&d);
    desk_open(&d);
    desk_work(&d);
    snprintf(expected, sizeof(expected), "send to 3, 2.0: ExecutionStarted for %s\n", far[2]);
    desk_expect(&d, expected);
    desk_deinit(&d);
}

/* One destination that does not answer must not make the others search through its queue. */
static void test_a_stuck_destination_costs_the_others_nothing(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct desk d;
    char text[40];

    begin(&d, 4);
    d.quiet_trace = true;
    for (uint32_t n = 0; n < COUNT; n++)
        outbox_add(d.p, 0, n, 1 + n % 2, th_str_n(text, 0));
    d.p->acked = 1;
    outbox_release(d.p);
    for (uint64_t tag = COUNT; tag > 0; tag--) /* the worst order there is */
        th_partition_sent(d.p, tag);
    assert_int_equal(d.p->outbox_count, 0);
    desk_deinit(&d);
}

/* ---- what becomes of activities ---- */

static void test_activities_of_an_ended_instance_are_ignored(void **state)
{
    (void)state;
    struct desk d;
    struct th_partition_stats stats;

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Parallel"));
    desk_settle(&d);
    desk_deliver(&d, desk_message("a", TH_EVENT_EXECUTION_TERMINATED));
    desk_forget(&d);
    desk_work(&d);
    desk_expect(&d, "append 1 episode a\n"); /* nothing is canceled before that is durable */
    desk_ack(&d, 1);
    desk_work(&d);
    desk_expect(&d, "cancel a/0\n"
                    "cancel a/1\n"
                    "changed a\n");
    assert_int_equal(d.activity_count, 0);
    th_partition_get_stats(d.p, &stats);
    assert_int_equal(stats.pending_tasks, 0);
    desk_settle(&d);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* Of the right execution, but nobody waits for it: another id, or one that was answered. */
static void test_an_answer_nobody_waits_for(void **state)
{
    (void)state;
    struct desk d;
    struct th_message answer = desk_message("a", TH_EVENT_TASK_COMPLETED);
    char execution[40];

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Parallel"));
    desk_settle(&d);
    desk_answer(&d, "a", 0, "1");
    desk_settle(&d);
    desk_forget(&d);
    snprintf(execution, sizeof(execution), "%.*s", TH_PRI(desk_info(&d, "a")->execution_id));
    answer.execution_id = th_str_of(execution);
    answer.event.related_id = 5;
    desk_deliver(&d, answer);
    answer.event.related_id = 0;
    desk_deliver(&d, answer);
    answer.event.related_id = 1;
    answer.execution_id = TH_STR("an earlier one");
    desk_deliver(&d, answer);
    desk_work(&d);
    desk_expect(&d, "append 2 marks\n");
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_RUNNING);
    desk_deinit(&d);
}

static void test_purging(void **state)
{
    (void)state;
    struct desk d;
    const struct th_instance_info *info;
    bool durable;

    begin(&d, 1);
    desk_deliver(&d, desk_start("a", "Done"));
    desk_settle(&d);
    assert_non_null(desk_row(&d, "a"));
    desk_forget(&d);
    desk_deliver(&d, desk_asked(desk_message("a", TH_EVENT_PURGE_REQUESTED), "p"));
    desk_work(&d);
    assert_int_equal(th_partition_view(d.p, TH_STR("a"), &info, &durable), TH_VIEW_ABSENT);
    assert_false(durable);
    desk_expect(&d, "load a\nappend 1 purge a\n");
    desk_ack(&d, 1);
    desk_work(&d);
    desk_expect(&d, "reply p for a: ok\n");
    desk_settle(&d);
    assert_null(desk_row(&d, "a"));
    desk_expect_recovery(&d);
    desk_deliver(&d, desk_start("a", "Done")); /* the id is free again */
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_COMPLETED);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* A client that did not hear that its start arrived asks again, after the instance came and went.
 */
static void test_a_start_repeated_after_its_purge(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, 1);
    d.options.checkpoint_records = 1;
    d.options.checkpoint_bytes = 1;
    desk_deliver(&d, desk_asked(desk_start("a", "Done"), "r"));
    desk_settle(&d);
    desk_deliver(&d, desk_message("a", TH_EVENT_PURGE_REQUESTED));
    desk_settle(&d);
    for (int n = 0; n < 2; n++) { /* also by one who reads the log, or a checkpoint */
        desk_forget(&d);
        desk_deliver(&d, desk_asked(desk_start("a", "Done"), "r"));
        desk_settle(&d);
        assert_null(desk_row(&d, "a"));
        desk_crash(&d);
        desk_open(&d);
    }
    d.now += 11 * 60 * TH_SECOND; /* past the window */
    desk_deliver(&d, desk_asked(desk_start("a", "Done"), "r"));
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_COMPLETED);
    desk_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_activities_twelve_events),
        cmocka_unit_test(test_two_activities_ten_events),
        cmocka_unit_test(test_the_hub_can_be_inspected),
        cmocka_unit_test(test_nothing_leaves_before_its_ack),
        cmocka_unit_test(test_a_refusal_waits_as_well),
        cmocka_unit_test(test_a_repeated_request_is_one_start),
        cmocka_unit_test(test_a_local_chain_does_not_wait),
        cmocka_unit_test(test_a_timer),
        cmocka_unit_test(test_each_sender_counts_up),
        cmocka_unit_test(test_deliveries_come_once),
        cmocka_unit_test(test_what_cannot_be_read_blocks_nothing),
        cmocka_unit_test(test_an_inbox_may_begin_anywhere),
        cmocka_unit_test(test_the_outbox_is_sent_again_in_order),
        cmocka_unit_test(test_a_stuck_destination_costs_the_others_nothing),
        cmocka_unit_test(test_activities_of_an_ended_instance_are_ignored),
        cmocka_unit_test(test_an_answer_nobody_waits_for),
        cmocka_unit_test(test_purging),
        cmocka_unit_test(test_a_start_repeated_after_its_purge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

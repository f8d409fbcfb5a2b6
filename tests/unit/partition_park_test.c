/* What cannot run now is parked by a record: the inbox goes on, and nothing is lost or overtaken.
 */
#include "unit/partition_desk.h"

/* Collects events; ends with "end". Its output is the names it saw, in order. */
static void collect(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    TH_BUFFER names = {0};
    bool end = false;

    for (size_t n = 0; n < e->past_count + e->fresh_count; n++) {
        const struct th_event *event =
            n < e->past_count ? &e->past[n] : &e->fresh[n - e->past_count];
        if (event->kind != TH_EVENT_EVENT_RAISED)
            continue;
        th_buffer_format(&names, "%.*s ", TH_PRI(event->name));
        end |= th_str_eq(event->name, TH_STR("end"));
    }
    th_buffer_add(&names, "", 1);
    if (end)
        code_complete(out, arena, names.data);
}

static void code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    (void)d;
    if (code_is(e, "Collect"))
        collect(e, arena, out);
    else if (code_is(e, "Timer") && code_count(e, TH_EVENT_TIMER_CREATED) == 0)
        th_actions_add(out, arena, TH_ACTION_CREATE_TIMER, 0)->fire_at = 1010 * TH_SECOND;
    else if (code_is(e, "Timer") && code_count(e, TH_EVENT_TIMER_FIRED) > 0)
        code_complete(out, arena, "\"rang\"");
    else if (code_is(e, "Task") && code_count(e, TH_EVENT_TASK_SCHEDULED) == 0)
        code_task(out, arena, 0, "Work");
    else if (code_is(e, "Task") && code_count(e, TH_EVENT_TASK_COMPLETED) > 0)
        code_complete(out, arena, "\"worked\"");
}

static void begin(struct desk *d)
{
    desk_init(d, 1, code);
    desk_open(d);
}

static void settle_after_crash(struct desk *d, bool crash)
{
    desk_settle(d);
    desk_expect_recovery(d);
    if (!crash)
        return;
    desk_crash(d);
    desk_open(d);
    desk_settle(d);
}

static void expect_consumed(const struct desk *d)
{
    assert_int_equal(d->p->position, d->inbox_count); /* lag 0 */
}

static struct th_message later(const char *id, const char *name, th_time when)
{
    struct th_message m = desk_asked(desk_start(id, name), "later");

    m.event.fire_at = when;
    return m;
}

/* ---- later starts ---- */

static void test_a_later_start(void **state)
{
    for (int crash = 0; crash < 2; crash++) {
        struct desk d;
        const struct desk_row *row;

        (void)state;
        begin(&d);
        desk_deliver(&d, later("a", "Collect", 1020 * TH_SECOND));
        desk_work(&d);
        desk_expect(&d, "load a\nappend 0 marks\n");
        desk_ack(&d, 1);
        desk_work(&d);
        desk_expect(&d, "reply later for a: ok\n");
        desk_deliver(&d, desk_raise("a", "early", NULL)); /* waits with it */
        settle_after_crash(&d, crash);
        expect_consumed(&d);
        assert_int_equal(desk_status(&d, "a"), TH_STATUS_PENDING);
        row = desk_row(&d, "a");
        assert_int_equal(row->row.status, TH_STATUS_PENDING);
        assert_int_equal(th_partition_work(d.p, d.now), 1020 * TH_SECOND);
        d.now = 1020 * TH_SECOND;
        desk_settle(&d);
        assert_int_equal(desk_status(&d, "a"), TH_STATUS_RUNNING);
        desk_deliver(&d, desk_raise("a", "end", NULL));
        desk_settle(&d);
        assert_str(desk_info(&d, "a")->output, "early end ");
        assert_int_equal(HASH_COUNT(d.p->locals), 0);
        desk_expect_recovery(&d);
        desk_deinit(&d);
    }
}

/* Messages behind a later start meet its placeholder, even in one delivery. */
static void test_a_later_start_can_be_terminated(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    desk_deliver(&d, later("a", "Collect", 1020 * TH_SECOND));
    desk_deliver(&d, desk_raise("a", "early", NULL));
    desk_deliver(&d, desk_asked(desk_message("a", TH_EVENT_EXECUTION_TERMINATED), "t"));
    desk_settle(&d);
    expect_consumed(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_TERMINATED);
    assert_int_equal(HASH_COUNT(d.p->locals), 0); /* neither start nor event waits any longer */
    assert_int_equal(d.p->heap_count, 0);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_a_later_start_can_be_replaced(void **state)
{
    (void)state;
    struct desk d;
    struct th_message now = desk_asked(desk_start("a", "Task"), "now");

    now.reuse = TH_REUSE_ANY;
    begin(&d);
    desk_deliver(&d, later("a", "Collect", 1020 * TH_SECOND));
    desk_settle(&d);
    desk_deliver(&d, now);
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_RUNNING);
    assert_str(desk_info(&d, "a")->name, "Task");
    d.now = 1020 * TH_SECOND;
    desk_settle(&d);
    assert_str(desk_info(&d, "a")->name, "Task");
    assert_int_equal(HASH_COUNT(d.p->locals), 0);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_a_later_start_over_a_running_instance(void **state)
{
    (void)state;
    struct desk d;
    struct th_message m = later("a", "Collect", 1020 * TH_SECOND);

    m.reuse = TH_REUSE_ANY;
    begin(&d);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_settle(&d);
    desk_deliver(&d, m);
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_PENDING);
    assert_int_equal(d.activity_count, 0); /* the old execution's were canceled */
    d.now = 1020 * TH_SECOND;
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_RUNNING);
    assert_str(desk_info(&d, "a")->name, "Collect");
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* Due, but its instance is still being loaded when the checkpoint is written. */
static void test_a_checkpoint_between_due_and_taken(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    d.options.max_instances = 0; /* it leaves memory at once */
    desk_crash(&d);
    desk_open(&d);
    desk_deliver(&d, later("a", "Collect", 1020 * TH_SECOND));
    desk_settle(&d);
    assert_false(instance_find(d.p, TH_STR("a"))->known);
    d.hold_loads = true;
    d.now = 1020 * TH_SECOND;
    desk_work(&d);
    assert_int_equal(d.load_count, 1);
    d.p->options.checkpoint_records = 0;
    desk_work(&d);
    assert_int_equal(d.p->stats.checkpoints, 1);
    desk_ack(&d, SIZE_MAX);
    desk_work(&d);
    assert_true(d.log[0].offset > 0); /* trimmed: the checkpoint is all there is */
    desk_crash(&d);
    d.hold_loads = false;
    desk_open(&d);
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_RUNNING);
    desk_deinit(&d);
}

/* ---- suspension ---- */

static void suspend(struct desk *d, const char *id)
{
    desk_deliver(d, desk_message(id, TH_EVENT_EXECUTION_SUSPENDED));
}

static void resume(struct desk *d, const char *id)
{
    desk_deliver(d, desk_message(id, TH_EVENT_EXECUTION_RESUMED));
}

static void test_a_suspended_instance_keeps_its_events(void **state)
{
    for (int crash = 0; crash < 2; crash++) {
        struct desk d;

        (void)state;
        begin(&d);
        desk_deliver(&d, desk_start("a", "Collect"));
        desk_settle(&d);
        suspend(&d, "a");
        desk_settle(&d);
        assert_int_equal(desk_status(&d, "a"), TH_STATUS_SUSPENDED);
        desk_forget(&d);
        desk_deliver(&d, desk_asked(desk_raise("a", "one", NULL), "e1"));
        desk_work(&d);
        desk_ack(&d, 1);
        desk_work(&d);
        desk_expect(&d, "append 2 marks\nreply e1 for a: ok\n");
        desk_deliver(&d, desk_raise("a", "two", NULL));
        settle_after_crash(&d, crash);
        expect_consumed(&d);
        resume(&d, "a");
        desk_deliver(&d, desk_raise("a", "three", NULL)); /* must not overtake the others */
        desk_deliver(&d, desk_raise("a", "end", NULL));
        settle_after_crash(&d, crash);
        assert_str(desk_info(&d, "a")->output, "one two three end ");
        assert_int_equal(HASH_COUNT(d.p->locals), 0);
        desk_expect_recovery(&d);
        desk_deinit(&d);
    }
}

/* Parked and resumed in one and the same episode. */
static void test_suspended_and_resumed_at_once(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    desk_deliver(&d, desk_start("a", "Collect"));
    desk_settle(&d);
    suspend(&d, "a");
    desk_deliver(&d, desk_raise("a", "one", NULL));
    resume(&d, "a");
    desk_deliver(&d, desk_raise("a", "end", NULL));
    desk_settle(&d);
    assert_str(desk_info(&d, "a")->output, "one end ");
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_answers_wait_for_a_suspended_instance(void **state)
{
    for (int crash = 0; crash < 2; crash++) {
        struct desk d;

        (void)state;
        begin(&d);
        desk_deliver(&d, desk_start("t", "Task"));
        desk_deliver(&d, desk_start("r", "Timer"));
        desk_settle(&d);
        suspend(&d, "t");
        suspend(&d, "r");
        desk_settle(&d);
        assert_true(desk_answer(&d, "t", 0, "\"result\""));
        d.now = 1010 * TH_SECOND;
        settle_after_crash(&d, crash);
        assert_int_equal(d.activity_count, 0); /* a parked answer: the task is not run again */
        assert_int_equal(desk_status(&d, "t"), TH_STATUS_SUSPENDED);
        assert_int_equal(desk_status(&d, "r"), TH_STATUS_SUSPENDED);
        resume(&d, "t");
        resume(&d, "r");
        desk_settle(&d);
        assert_str(desk_info(&d, "t")->output, "\"worked\"");
        assert_str(desk_info(&d, "r")->output, "\"rang\"");
        desk_expect_recovery(&d);
        desk_deinit(&d);
    }
}

static void test_a_suspended_instance_can_be_terminated(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_settle(&d);
    suspend(&d, "a");
    desk_deliver(&d, desk_raise("a", "one", NULL));
    desk_settle(&d);
    desk_answer(&d, "a", 0, "1");
    desk_settle(&d);
    desk_deliver(&d, desk_message("a", TH_EVENT_EXECUTION_TERMINATED));
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_TERMINATED);
    assert_int_equal(HASH_COUNT(d.p->locals), 0);
    assert_int_equal(d.p->task_count, 0);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* A suspended instance that left memory comes back with what waits for it. */
static void test_suspended_and_cold(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    d.options.max_instances = 0;
    desk_crash(&d);
    desk_open(&d);
    desk_deliver(&d, desk_start("a", "Collect"));
    suspend(&d, "a");
    desk_settle(&d);
    desk_deliver(&d, desk_raise("a", "one", NULL));
    desk_settle(&d);
    assert_false(instance_find(d.p, TH_STR("a"))->known);
    resume(&d, "a");
    desk_deliver(&d, desk_raise("a", "end", NULL));
    desk_settle(&d);
    assert_str(desk_info(&d, "a")->output, "one end ");
    assert_int_equal(d.p->stats.instances, 0);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* ---- nobody serves it ---- */

static void test_put_back_until_the_partition_is_taken_up_again(void **state)
{
    (void)state;
    struct desk d;
    void *cursor = NULL;
    enum th_function_kind kind;
    struct th_str name;

    begin(&d);
    d.hold_runs = true;
    desk_deliver(&d, desk_asked(desk_start("a", "Collect"), "s"));
    desk_work(&d);
    assert_int_equal(d.run_count, 1);
    th_partition_put_back(d.p, d.runs[0], d.now);
    d.run_count = 0;
    desk_deliver(&d, desk_raise("a", "end", NULL));
    desk_settle(&d);
    assert_true(th_partition_next_unserved(d.p, &cursor, &kind, &name));
    assert_int_equal(kind, TH_FUNCTION_ORCHESTRATOR);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_PENDING);
    desk_crash(&d);
    d.hold_runs = false;
    desk_open(&d);
    desk_settle(&d);
    assert_str(desk_info(&d, "a")->output, "end ");
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void put_back(struct desk *d)
{
    desk_work(d);
    assert_int_equal(d->run_count, 1);
    th_partition_put_back(d->p, d->runs[0], d->now);
    d->run_count = 0;
    desk_settle(d);
}

/* What needs no code does not wait for it, and the inbox never does. */
static void test_unserved_and_terminated(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    d.hold_runs = true;
    desk_deliver(&d, desk_start("a", "Collect"));
    put_back(&d);
    desk_deliver(&d, desk_raise("a", "one", NULL));
    desk_settle(&d);
    expect_consumed(&d);
    desk_deliver(&d, desk_message("a", TH_EVENT_EXECUTION_TERMINATED));
    desk_settle(&d);
    assert_int_equal(d.run_count, 0);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_TERMINATED);
    expect_consumed(&d);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void answered(struct desk *d)
{
    desk_work(d);
    desk_ack(d, d->append_count);
    desk_work(d);
}

static void ask(struct desk *d, struct th_message message, const char *request)
{
    desk_deliver(d, desk_asked(message, request));
    answered(d);
}

/* Whoever asks while the code runs elsewhere, for as long as it likes, is answered; and nothing of
 * that is lost with the process. */
static void test_answers_while_code_runs(void **state)
{
    for (int crash = 0; crash < 2; crash++) {
        (void)state;
        struct desk d;

        begin(&d);
        d.hold_runs = true;
        desk_deliver(&d, desk_asked(desk_start("a", "Collect"), "first"));
        desk_work(&d);
        assert_int_equal(d.run_count, 1);
        d.run_count = 0;
        assert_true(th_partition_accept(d.p, d.runs[0], d.now));
        answered(&d);
        assert_non_null(strstr(d.trace.data, "reply first for a: ok\n"));
        assert_int_equal(desk_status(&d, "a"), TH_STATUS_PENDING);
        assert_int_equal(d.run_count, 1); /* it comes again, and has nothing to say any more */
        assert_false(th_partition_accept(d.p, d.runs[0], d.now));

        ask(&d, desk_start("a", "Collect"), "again");
        assert_non_null(strstr(d.trace.data, "reply again for a: instance \"a\" already exists"));
        ask(&d, desk_message("a", TH_EVENT_PURGE_REQUESTED), "purge");
        assert_non_null(strstr(d.trace.data, "reply purge for a: instance \"a\" cannot be purged"));
        ask(&d, desk_raise("a", "one", NULL), "event");
        assert_non_null(strstr(d.trace.data, "reply event for a: ok\n"));
        ask(&d, desk_raise("a", "end", NULL), "end");
        expect_consumed(&d);
        d.hold_runs = false;
        if (crash) {
            desk_crash(&d);
            desk_open(&d);
        } else {
            desk_run(&d);
        }
        desk_settle(&d);
        assert_str(desk_info(&d, "a")->output, "one end ");
        desk_expect_recovery(&d);
        desk_deinit(&d);
    }
}

static void test_served_again_in_order(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    desk_deliver(&d, desk_start("a", "Collect"));
    desk_settle(&d);
    d.hold_runs = true;
    desk_deliver(&d, desk_raise("a", "one", NULL));
    put_back(&d);
    desk_deliver(&d, desk_raise("a", "two", NULL));
    put_back(&d);
    d.hold_runs = false;
    th_partition_serve_again(d.p, d.now);
    desk_deliver(&d, desk_raise("a", "end", NULL));
    desk_settle(&d);
    assert_str(desk_info(&d, "a")->output, "one two end ");
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* What was refused is refused, whatever becomes of the rest. */
static void test_a_refused_child_of_an_unserved_one(void **state)
{
    (void)state;
    struct desk d;
    struct th_message child = desk_start("a", "Collect"), sent;
    struct th_parent parent = {.execution_id = TH_STR("e1"), .name = TH_STR("P"), .task_id = 7};
    char id[40];
    TH_ARENA arena = {0};

    desk_init(&d, 2, code);
    desk_open(&d);
    parent.instance_id = th_str_of(desk_id(&d, "parent", 1, id));
    child.instance_id = th_str_of(desk_id(&d, "a", 0, (char[40]){0}));
    const char *held = th_arena_str(&arena, child.instance_id).data;
    child.instance_id = th_str_of(held);
    desk_deliver(&d, desk_start(held, "Collect"));
    desk_settle(&d);
    d.hold_runs = true;
    child.event.parent = &parent;
    desk_deliver(&d, desk_raise(held, "one", NULL));
    desk_deliver(&d, child);
    desk_work(&d);
    assert_int_equal(d.run_count, 1);
    th_partition_put_back(d.p, d.runs[0], d.now);
    d.run_count = 0;
    desk_work(&d);
    desk_ack(&d, d.append_count);
    desk_pull(&d);
    assert_int_equal(d.send_count, 1);
    assert_int_equal(d.sends[0].destination, 1);
    struct th_reader in = th_reader_of(th_blob_view(d.sends[0].blob), &arena, NULL);
    assert_true(th_decode_message(&in, &sent));
    assert_str(sent.instance_id, id);
    assert_int_equal(sent.event.kind, TH_EVENT_CHILD_FAILED);
    assert_int_equal(sent.event.related_id, 7);
    assert_str(sent.event.failure->type, "InstanceExists");
    desk_settle(&d);
    d.hold_runs = false; /* and it is told once only */
    th_partition_serve_again(d.p, d.now);
    desk_deliver(&d, desk_raise(held, "end", NULL));
    desk_work(&d);
    desk_ack(&d, d.append_count);
    desk_pull(&d);
    assert_int_equal(d.send_count, 0);
    desk_settle(&d);
    assert_str(desk_info(&d, held)->output, "one end ");
    desk_deinit(&d);
}

/* A message finds out that there is somebody, before anybody has said so. */
static void test_found_served(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    desk_deliver(&d, desk_start("a", "Collect"));
    desk_settle(&d);
    d.hold_runs = true;
    desk_deliver(&d, desk_raise("a", "one", NULL));
    put_back(&d);
    desk_deliver(&d, desk_raise("a", "end", NULL));
    desk_work(&d);
    assert_int_equal(d.run_count, 1);
    assert_false(th_partition_served(d.p, d.runs[0], d.now));
    d.run_count = 0;
    desk_work(&d);
    assert_int_equal(d.run_count, 1);
    assert_true(th_partition_served(d.p, d.runs[0], d.now));
    d.hold_runs = false;
    desk_settle(&d);
    assert_str(desk_info(&d, "a")->output, "one end ");
    desk_deinit(&d);
}

/* ---- the code runs elsewhere, and does not come back ---- */

static void test_terminated_while_away(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    d.hold_runs = true;
    desk_deliver(&d, desk_start("a", "Collect"));
    desk_work(&d);
    assert_int_equal(d.run_count, 1);
    desk_deliver(&d, desk_raise("a", "one", NULL)); /* this can wait */
    desk_pull(&d);
    assert_int_equal(d.run_count, 1);
    desk_deliver(&d, desk_message("a", TH_EVENT_EXECUTION_TERMINATED));
    desk_pull(&d);
    assert_int_equal(d.run_count, 0);
    d.hold_runs = false;
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_TERMINATED);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_later_start),
        cmocka_unit_test(test_a_later_start_can_be_terminated),
        cmocka_unit_test(test_a_later_start_can_be_replaced),
        cmocka_unit_test(test_a_later_start_over_a_running_instance),
        cmocka_unit_test(test_a_checkpoint_between_due_and_taken),
        cmocka_unit_test(test_a_suspended_instance_keeps_its_events),
        cmocka_unit_test(test_suspended_and_resumed_at_once),
        cmocka_unit_test(test_answers_wait_for_a_suspended_instance),
        cmocka_unit_test(test_a_suspended_instance_can_be_terminated),
        cmocka_unit_test(test_suspended_and_cold),
        cmocka_unit_test(test_put_back_until_the_partition_is_taken_up_again),
        cmocka_unit_test(test_unserved_and_terminated),
        cmocka_unit_test(test_answers_while_code_runs),
        cmocka_unit_test(test_served_again_in_order),
        cmocka_unit_test(test_a_refused_child_of_an_unserved_one),
        cmocka_unit_test(test_found_served),
        cmocka_unit_test(test_terminated_while_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

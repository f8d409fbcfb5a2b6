/* Activities that do not run beside their partition: sent to all processes, or left running when
 * the partition moves. */
#include "unit/partition_desk.h"

static void code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    (void)d;
    if (code_is(e, "Retry")) { /* as SDKs do that give each attempt the same number */
        if (code_count(e, TH_EVENT_TASK_COMPLETED) == 0)
            code_task(out, arena, 0, "Far");
        else
            code_complete(out, arena, "\"ok\"");
    } else if (code_fresh_count(e, TH_EVENT_TASK_COMPLETED) > 0) {
        code_complete(out, arena, "\"ok\"");
    } else if (code_count(e, TH_EVENT_TASK_SCHEDULED) == 0) {
        code_task(out, arena, 0, code_is(e, "Far") ? "Far" : "Near");
    }
}

static bool goes_out(void *argument, struct th_str name, struct th_str version)
{
    (void)argument;
    (void)version;
    return th_str_eq(name, TH_STR("Far"));
}

static bool alive(void *argument, struct th_str worker)
{
    return argument && th_str_eq(worker, th_str_of(argument));
}

static void begin(struct desk *d)
{
    desk_init(d, 1, code);
    d->options.goes_out = goes_out;
    d->options.is_alive = alive;
    desk_open(d);
}

/* Lives in the arena, longer than what was sent. */
static struct th_message sent_work(struct desk *d, struct th_arena *arena)
{
    struct th_reader in;
    struct th_message m;

    assert_int_equal(d->send_count, 1);
    assert_int_equal(d->sends[0].destination, TH_SEND_ACTIVITIES);
    in = th_reader_of(th_arena_str(arena, th_blob_view(d->sends[0].blob)), arena, NULL);
    assert_true(th_decode_message(&in, &m));
    return m;
}

static void answer(struct desk *d, const struct th_message *work, enum th_event_kind kind)
{
    struct th_message m = {.instance_id = work->instance_id,
                           .execution_id = work->execution_id,
                           .scheduled = work->scheduled,
                           .origin = {.partition = TH_FROM_CLIENT}};
    const struct th_failure failure = {.type = TH_STR("Bad"), .message = TH_STR("bad")};

    m.event = th_event_of(kind, d->now);
    m.event.related_id = work->event.id;
    if (kind == TH_EVENT_TASK_FAILED)
        m.event.failure = &failure;
    desk_deliver(d, m);
    desk_settle(d);
}

static bool pending_task_is_shared(struct desk *d, const char *id)
{
    const struct th_instance *i = instance_find(d->p, th_str_of(id));

    return i && i->pending && i->pending->shared;
}

/* ---- sent to all ---- */

static void test_work_is_sent(void **state)
{
    (void)state;
    struct desk d;
    TH_ARENA arena = {0};
    struct th_message work;

    begin(&d);
    desk_deliver(&d, desk_start("a", "Far"));
    desk_work(&d);
    assert_int_equal(d.send_count, 0); /* not before its record is durable */
    desk_ack(&d, 1);
    desk_work(&d);
    work = sent_work(&d, &arena);
    assert_int_equal(d.activity_count, 0);
    assert_str(work.instance_id, "a");
    assert_str(work.event.name, "Far");
    assert_int_equal(work.event.kind, TH_EVENT_TASK_SCHEDULED);
    desk_sent(&d, 1);
    answer(&d, &work, TH_EVENT_TASK_COMPLETED);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_COMPLETED);
    desk_deinit(&d);
}

static void test_a_new_owner_sends_it_again(void **state)
{
    (void)state;
    struct desk d;
    TH_ARENA arena = {0};

    begin(&d);
    desk_deliver(&d, desk_start("a", "Far"));
    desk_work(&d);
    desk_ack(&d, 1);
    desk_work(&d);
    sent_work(&d, &arena);
    desk_crash(&d); /* nobody heard that it arrived */
    desk_open(&d);
    desk_work(&d);
    sent_work(&d, &arena);
    assert_int_equal(d.activity_count, 0); /* it does not run here as well */
    desk_deinit(&d);
}

static void test_a_late_result_of_an_earlier_attempt(void **state)
{
    (void)state;
    struct desk d;
    TH_ARENA arena = {0};
    struct th_message first, second;

    begin(&d);
    desk_deliver(&d, desk_start("a", "Retry"));
    desk_work(&d);
    desk_ack(&d, 1);
    desk_work(&d);
    first = sent_work(&d, &arena);
    first.instance_id = TH_STR("a");
    first.execution_id = th_arena_str(&arena, first.execution_id);
    desk_sent(&d, 1);
    answer(&d, &first, TH_EVENT_TASK_FAILED);
    second = first;
    second.scheduled = first.scheduled + 1;
    answer(&d, &first, TH_EVENT_TASK_COMPLETED); /* it had been run twice */
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_RUNNING);
    answer(&d, &second, TH_EVENT_TASK_COMPLETED);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_COMPLETED);
    desk_deinit(&d);
}

static void test_a_checkpoint_keeps_the_place(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    d.quiet_trace = true;
    desk_deliver(&d, desk_start("a", "Far"));
    desk_settle(&d);
    d.p->options.checkpoint_records = 1;
    desk_deliver(&d, desk_raise("a", "e", "1"));
    desk_settle(&d);
    assert_true(d.log[0].offset > 0);
    desk_crash(&d);
    desk_open(&d);
    desk_work(&d);
    assert_int_equal(d.activity_count, 0);
    assert_true(pending_task_is_shared(&d, "a"));
    desk_deinit(&d);
}

/* ---- left running ---- */

static bool count_task(void *argument, const struct th_running_task *task)
{
    size_t *count = argument;

    assert_str(task->instance_id, "a");
    assert_true(task->scheduled > 0);
    (*count)++;
    return true;
}

static bool took_back(void *argument, const struct th_running_task *task)
{
    (void)argument;
    (void)task;
    return false;
}

static void start_near(struct desk *d)
{
    begin(d);
    desk_deliver(d, desk_start("a", "Near"));
    desk_settle(d);
    assert_int_equal(d->activity_count, 1);
}

static void hand_over(struct desk *d)
{
    size_t count = 0;

    th_partition_hand_over(d->p, count_task, &count, d->now);
    assert_int_equal(count, 1);
    desk_settle(d);
    desk_crash(d);
}

static void test_it_is_left_to_a_living_worker(void **state)
{
    (void)state;
    static char worker[] = "w";
    struct desk d;

    start_near(&d);
    hand_over(&d);
    d.options.argument = worker;
    desk_open(&d);
    desk_work(&d);
    assert_int_equal(d.activity_count, 0);
    th_partition_worker_gone(d.p, TH_STR("other"), d.now);
    desk_work(&d);
    assert_int_equal(d.activity_count, 0);
    th_partition_worker_gone(d.p, TH_STR("w"), d.now);
    desk_work(&d);
    assert_int_equal(d.activity_count, 1);
    desk_deinit(&d);
}

static void test_a_worker_that_is_gone_already(void **state)
{
    (void)state;
    struct desk d;

    start_near(&d);
    hand_over(&d);
    d.options.argument = NULL;
    desk_open(&d);
    desk_work(&d);
    assert_int_equal(d.activity_count, 1);
    desk_deinit(&d);
}

static void test_what_had_only_waited_is_the_next_owners(void **state)
{
    (void)state;
    static char worker[] = "w";
    struct desk d;

    start_near(&d);
    th_partition_hand_over(d.p, took_back, NULL, d.now);
    desk_settle(&d);
    desk_crash(&d);
    d.options.argument = worker;
    desk_open(&d);
    desk_work(&d);
    assert_int_equal(d.activity_count, 1);
    desk_deinit(&d);
}

static void test_nothing_starts_after_the_hand_over(void **state)
{
    (void)state;
    struct desk d;
    size_t count = 0;

    begin(&d);
    desk_deliver(&d, desk_start("a", "Near"));
    desk_work(&d); /* the activity waits for its record */
    th_partition_hand_over(d.p, count_task, &count, d.now);
    assert_int_equal(count, 0);
    desk_settle(&d);
    assert_int_equal(d.activity_count, 0);
    desk_crash(&d);
    desk_open(&d);
    desk_work(&d);
    assert_int_equal(d.activity_count, 1); /* the next owner's */
    desk_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work_is_sent),
        cmocka_unit_test(test_a_new_owner_sends_it_again),
        cmocka_unit_test(test_a_late_result_of_an_earlier_attempt),
        cmocka_unit_test(test_a_checkpoint_keeps_the_place),
        cmocka_unit_test(test_it_is_left_to_a_living_worker),
        cmocka_unit_test(test_what_had_only_waited_is_the_next_owners),
        cmocka_unit_test(test_a_worker_that_is_gone_already),
        cmocka_unit_test(test_nothing_starts_after_the_hand_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

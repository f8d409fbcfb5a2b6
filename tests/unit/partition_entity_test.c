/* Entities in a partition: what their records say, what is parked, and that all of it comes back.
 */
#include "unit/partition_desk.h"

#define COUNTER "@counter@k"

static struct th_str number_text(struct th_arena *arena, long long n)
{
    return th_arena_format(arena, "%lld", n);
}

static long long number_of(struct th_str text)
{
    long long n = 0;

    assert_true(!th_str_present(text) || th_str_to_i64(text, &n));
    return n;
}

/* add, get, delete; "one" answers only the first operation. */
static void count(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    struct th_operation_result *results =
        TH_ARENA_ARRAY(arena, struct th_operation_result, e->fresh_count);
    struct th_str state = e->state;

    for (size_t n = 0; n < e->fresh_count; n++) {
        const struct th_event *op = &e->fresh[n];

        if (th_str_eq(op->name, TH_STR("delete")))
            state = TH_STR_ABSENT;
        else if (!th_str_eq(op->name, TH_STR("get")))
            state = number_text(arena, number_of(state) + number_of(op->data));
        results[n].data = state;
        out->result_count = n + 1;
        if (th_str_eq(op->name, TH_STR("one")))
            break;
    }
    out->results = results;
    out->state = state;
}

static struct th_event *ask(struct th_actions *out, struct th_arena *arena, enum th_event_kind kind,
                            int32_t id, const char *request)
{
    struct th_event *event = TH_ARENA_NEW(arena, struct th_event);

    *event = th_event_of(kind, 0);
    event->instance_id = TH_STR(COUNTER);
    event->name = TH_STR("add");
    event->data = TH_STR("5");
    event->request_id = th_str_of(request);
    th_actions_add(out, arena, TH_ACTION_ENTITY, id)->entity = event;
    return event;
}

/* "Call" waits for one call; "Lock" asks for a lock, calls, and ends without releasing it. */
static void orchestrate(const struct th_episode *e, struct th_arena *arena, struct th_actions *out)
{
    static const struct th_str set = {COUNTER, sizeof(COUNTER) - 1};
    const bool locks = code_is(e, "Lock");

    if (code_count(e, TH_EVENT_ENTITY_COMPLETED) > 0)
        code_complete(out, arena, "\"done\"");
    else if (locks && code_count(e, TH_EVENT_ENTITY_LOCK_REQUESTED) == 0)
        ask(out, arena, TH_EVENT_ENTITY_LOCK_REQUESTED, 0, "section")->lock_set =
            (struct th_strs){&set, 1};
    else if (code_fresh_count(e, TH_EVENT_EVENT_RAISED) > 0 || !locks)
        ask(out, arena, TH_EVENT_ENTITY_CALLED, 1, "call");
}

static void code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    (void)d;
    if (e->entity)
        count(e, arena, out);
    else
        orchestrate(e, arena, out);
}

static void begin(struct desk *d)
{
    desk_init(d, 1, code);
    desk_open(d);
}

static struct th_message signal_of(const char *operation, const char *data)
{
    struct th_message m = desk_message(COUNTER, TH_EVENT_ENTITY_SIGNALED);

    m.event.name = th_str_of(operation);
    m.event.data = th_str_of(data);
    return m;
}

static void signal_it(struct desk *d, const char *operation, const char *data)
{
    desk_deliver(d, signal_of(operation, data));
    desk_settle(d);
}

static void expect_state(struct desk *d, const char *expected)
{
    const struct desk_row *row = desk_row(d, COUNTER);

    if (!expected) {
        assert_null(row);
        return;
    }
    assert_non_null(row);
    assert_str(th_blob_view(row->row.output), expected);
    assert_int_equal(row->row.status, TH_STATUS_ENTITY);
    assert_str(desk_info(d, COUNTER)->output, expected);
}

static void crash(struct desk *d)
{
    desk_crash(d);
    desk_open(d);
    desk_settle(d);
}

/* ---- state ---- */

static void test_state_comes_back(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    signal_it(&d, "add", "2");
    signal_it(&d, "add", "3");
    expect_state(&d, "5");
    assert_int_equal(desk_row(&d, COUNTER)->count, 0); /* no history */
    crash(&d);
    signal_it(&d, "add", "1");
    expect_state(&d, "6");
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_an_empty_one_leaves_nothing(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    signal_it(&d, "delete", "");
    assert_int_equal(d.row_count, 0);
    signal_it(&d, "add", "2");
    expect_state(&d, "2");
    signal_it(&d, "delete", "");
    expect_state(&d, NULL);
    crash(&d);
    expect_state(&d, NULL);
    signal_it(&d, "add", "7"); /* a new one */
    expect_state(&d, "7");
    desk_deinit(&d);
}

static void test_what_was_left_comes_next(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    desk_deliver(&d, signal_of("one", "1"));
    desk_deliver(&d, signal_of("one", "10"));
    desk_deliver(&d, signal_of("add", "100"));
    desk_work(&d);
    desk_expect(&d, "load @counter@k\n"
                    "run @counter@k: EntityOperationSignaled EntityOperationSignaled "
                    "EntityOperationSignaled\n"
                    "append 0 episode @counter@k\n"
                    "run @counter@k: EntityOperationSignaled EntityOperationSignaled\n"
                    "append 1 episode @counter@k\n"
                    "run @counter@k: EntityOperationSignaled\n"
                    "append 2 episode @counter@k\n");
    desk_settle(&d);
    expect_state(&d, "111");
    desk_deinit(&d);
}

static void test_batches_are_bounded(void **state)
{
    (void)state;
    struct desk d;

    desk_init(&d, 1, code);
    d.options.max_operations = 2;
    desk_open(&d);
    for (int n = 0; n < 5; n++)
        desk_deliver(&d, signal_of("add", "1"));
    desk_settle(&d);
    expect_state(&d, "5");
    desk_deinit(&d);
}

/* ---- calls ---- */

static void test_a_call_is_answered(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    desk_deliver(&d, desk_start("boss", "Call"));
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "boss"), TH_STATUS_COMPLETED);
    desk_expect_history(&d, "boss",
                        "OrchestratorStarted ExecutionStarted EntityOperationCalled "
                        "OrchestratorCompleted | OrchestratorStarted EntityOperationCompleted "
                        "ExecutionCompleted OrchestratorCompleted");
    expect_state(&d, "5");
    desk_deinit(&d);
}

/* Nobody serves the entity: whoever calls it waits, over crashes, too. */
static void test_a_call_waits_over_a_crash(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    d.hold_runs = true;
    desk_deliver(&d, desk_start("boss", "Call"));
    desk_work(&d);
    desk_run(&d); /* the orchestrator */
    desk_work(&d);
    desk_ack(&d, SIZE_MAX);
    desk_work(&d); /* the entity runs … */
    d.hold_runs = false;
    crash(&d);
    assert_int_equal(desk_status(&d, "boss"), TH_STATUS_COMPLETED);
    expect_state(&d, "5");
    desk_deinit(&d);
}

/* ---- locks ---- */

static void lock(struct desk *d)
{
    begin(d);
    desk_deliver(d, desk_start("boss", "Lock"));
    desk_settle(d);
    assert_str(desk_info(d, COUNTER)->locked_by, "boss");
    assert_str(desk_info(d, "boss")->section, "section");
}

static void test_others_wait_for_the_lock(void **state)
{
    (void)state;
    struct desk d;

    lock(&d);
    signal_it(&d, "add", "100");
    signal_it(&d, "delete", "");
    signal_it(&d, "add", "200");
    assert_int_equal(d.p->position, (int64_t)d.inbox_count); /* parked, not in the way */
    crash(&d);
    desk_expect_recovery(&d);
    desk_deliver(&d, desk_raise("boss", "go", ""));
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "boss"), TH_STATUS_COMPLETED); /* which releases it … */
    expect_state(&d, "200");                                        /* … and they come in order */
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_a_terminated_owner_releases(void **state)
{
    (void)state;
    struct desk d;

    lock(&d);
    signal_it(&d, "add", "100");
    desk_deliver(&d, desk_message("boss", TH_EVENT_EXECUTION_TERMINATED));
    desk_settle(&d);
    expect_state(&d, "100");
    assert_false(th_str_present(desk_info(&d, COUNTER)->section));
    desk_deinit(&d);
}

/* Locked without a state, then released: nothing is left, and who waited is served. */
static void test_a_released_one_may_be_nothing(void **state)
{
    (void)state;
    struct desk d;

    lock(&d);
    signal_it(&d, "get", "");
    desk_deliver(&d, desk_message("boss", TH_EVENT_EXECUTION_TERMINATED));
    desk_settle(&d);
    expect_state(&d, NULL);
    assert_int_equal(d.p->letter_count, 0);
    desk_deinit(&d);
}

/* ---- time ---- */

static void test_a_later_signal(void **state)
{
    (void)state;
    struct desk d;
    struct th_message later;

    begin(&d);
    later = signal_of("add", "4");
    later.event.fire_at = d.now + TH_SECOND;
    desk_deliver(&d, later);
    desk_settle(&d);
    expect_state(&d, NULL);
    crash(&d);
    d.now += 2 * TH_SECOND;
    desk_settle(&d);
    expect_state(&d, "4");
    desk_deinit(&d);
}

/* ---- crashes of the code ---- */

static void test_the_culprit_is_found(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    signal_it(&d, "add", "1");
    d.hold_runs = true; /* the process dies in the first of three */
    for (int n = 0; n < 3; n++)
        desk_deliver(&d, signal_of("add", "10"));
    for (int n = 0; n < 3; n++) {
        desk_work(&d);
        assert_int_equal(d.run_count, 1);
        desk_crash(&d);
        desk_open(&d);
        th_partition_crashed(d.p, TH_STR(COUNTER), -1, TH_STR("SIGSEGV"), d.now);
        desk_pull(&d);
        desk_ack(&d, SIZE_MAX);
    }
    d.hold_runs = false;
    desk_settle(&d);
    expect_state(&d, "21");
    desk_deinit(&d);
}

/* Dies whenever "boom" would run; everything else gets on, one record at a time. */
static int deaths_until_quiet(struct desk *d)
{
    int deaths = 0;

    for (int steps = 0; steps < 100; steps++) {
        desk_work(d);
        if (d->run_count > 0) {
            struct th_episode e;
            bool dies = false;

            th_partition_episode(d->p, d->runs[0], false, &e);
            for (size_t n = 0; n < e.fresh_count; n++)
                dies |= th_str_eq(e.fresh[n].name, TH_STR("boom"));
            if (!dies) {
                desk_run(d);
                continue;
            }
            deaths++;
            desk_crash(d);
            desk_open(d);
            th_partition_crashed(d->p, TH_STR(COUNTER), -1, TH_STR("SIGSEGV"), d->now);
            continue;
        }
        if (d->append_count == 0)
            break;
        desk_ack(d, 1); /* the storage is slower than the code */
    }
    return deaths;
}

/* Operations before the culprit are not blamed for it, however slow the storage is. */
static void test_nobody_is_blamed_for_another(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    d.hold_runs = true;
    for (int n = 0; n < 4; n++)
        desk_deliver(&d, signal_of("add", "10"));
    desk_deliver(&d, signal_of("boom", "5"));
    desk_deliver(&d, signal_of("add", "100"));
    assert_int_equal(deaths_until_quiet(&d), 1 + 3); /* with the others, and alone */
    d.hold_runs = false;
    desk_settle(&d);
    expect_state(&d, "140");
    desk_deinit(&d);
}

/* One that leaves no state is forgotten, and so is what it cost. */
static void test_a_culprit_without_state(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    d.hold_runs = true;
    desk_deliver(&d, signal_of("boom", "5"));
    assert_int_equal(deaths_until_quiet(&d), 3);
    desk_deliver(&d, signal_of("boom", "5"));
    assert_int_equal(deaths_until_quiet(&d), 3);
    d.hold_runs = false;
    signal_it(&d, "add", "7");
    expect_state(&d, "7");
    desk_deinit(&d);
}

/* ---- the log without rows ---- */

static void test_it_is_copied_forward(void **state)
{
    (void)state;
    struct desk d;

    desk_init(&d, 1, code);
    d.quiet_trace = true;
    d.options.traits =
        (struct th_provider_traits){.name = "desk", .shared = true, .max_record_bytes = 100000};
    d.options.checkpoint_records = 6;
    d.options.clean_bytes = 1;
    desk_open(&d);
    signal_it(&d, "add", "2");
    desk_deliver(&d, desk_start("boss", "Lock"));
    desk_settle(&d);
    signal_it(&d, "add", "100");
    for (int n = 0; n < 20; n++) {
        struct th_message other = signal_of("add", "1");
        other.instance_id = other.event.instance_id = TH_STR("@counter@other");
        desk_deliver(&d, other);
        desk_settle(&d);
    }
    assert_true(d.log[0].offset > 0);
    desk_wipe(&d);
    crash(&d);
    assert_str(desk_info(&d, COUNTER)->output, "2");
    assert_str(desk_info(&d, COUNTER)->locked_by, "boss");
    assert_str(desk_info(&d, "boss")->section, "section");
    desk_deliver(&d, desk_raise("boss", "go", ""));
    desk_settle(&d);
    expect_state(&d, "107");
    desk_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_comes_back),
        cmocka_unit_test(test_an_empty_one_leaves_nothing),
        cmocka_unit_test(test_what_was_left_comes_next),
        cmocka_unit_test(test_batches_are_bounded),
        cmocka_unit_test(test_a_call_is_answered),
        cmocka_unit_test(test_a_call_waits_over_a_crash),
        cmocka_unit_test(test_others_wait_for_the_lock),
        cmocka_unit_test(test_a_terminated_owner_releases),
        cmocka_unit_test(test_a_released_one_may_be_nothing),
        cmocka_unit_test(test_a_later_signal),
        cmocka_unit_test(test_the_culprit_is_found),
        cmocka_unit_test(test_nobody_is_blamed_for_another),
        cmocka_unit_test(test_a_culprit_without_state),
        cmocka_unit_test(test_it_is_copied_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

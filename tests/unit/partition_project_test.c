/* Rows for the projection: what they hold and when, and which instances leave memory. */
#include "unit/partition_desk.h"

static void code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    (void)d;
    if (code_is(e, "Done"))
        code_complete(out, arena, "\"ok\"");
    else if (code_is(e, "Again") && code_fresh_count(e, TH_EVENT_EVENT_RAISED) > 0)
        code_continue(out, arena, "\"next\"");
    else if (code_is(e, "Task") && code_count(e, TH_EVENT_TASK_SCHEDULED) == 0)
        code_task(out, arena, 0, "Work");
    else if (code_is(e, "Echo") && code_fresh_count(e, TH_EVENT_EVENT_RAISED) > 0)
        th_actions_add(out, arena, TH_ACTION_SEND_EVENT, 0)->instance_id = TH_STR("other");
}

static void begin(struct desk *d, bool ordered)
{
    desk_init(d, 1, code);
    d->options.traits.ordered = ordered;
    desk_open(d);
}

static void poke(struct desk *d, const char *id)
{
    desk_deliver(d, desk_raise(id, "e", "1"));
    desk_work(d);
}

/* ---- rows ---- */

static void test_a_row(void **state)
{
    (void)state;
    struct desk d;
    struct th_message start = desk_start("a", "Done");
    const struct th_row *row;
    TH_ARENA arena = {0};

    start.event.data = TH_STR("\"in\"");
    begin(&d, true);
    desk_deliver(&d, start);
    desk_work(&d);
    assert_int_equal(th_partition_dirty_since(d.p, false), d.now);
    assert_false(th_partition_flushed(d.p, d.now));
    assert_true(desk_project(&d));
    assert_false(th_partition_flushed(d.p, d.now));
    assert_int_equal(d.batch.count, 1);
    row = &d.batch.rows[0];
    assert_str(row->instance_id, "a");
    assert_str(row->name, "Done");
    assert_int_equal(row->status, TH_STATUS_COMPLETED);
    assert_int_equal(row->created, 900 * TH_SECOND);
    assert_int_equal(row->completed, d.now);
    assert_int_equal(row->last, 1);
    assert_str(th_blob_view(row->input), "\"in\"");
    assert_str(th_blob_view(row->output), "\"ok\"");
    assert_true(row->replace_history);
    desk_projected(&d, TH_OK);
    assert_true(th_partition_flushed(d.p, d.now));
    assert_false(
        th_partition_project(d.p, false, INT64_MAX, &d.batch)); /* nothing is left to store */
    assert_int_equal(desk_history(&d, "a", &arena).count, 4);
    desk_deinit(&d);
}

static void test_only_what_is_new(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, true);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_settle(&d);
    poke(&d, "a");
    poke(&d, "a");
    assert_true(desk_project(&d));
    assert_false(d.batch.rows[0].replace_history);
    assert_int_equal(d.batch.rows[0].history_count, 1);
    desk_projected(&d, TH_OK);
    desk_settle(&d);
    desk_expect_history(&d, "a",
                        "OrchestratorStarted ExecutionStarted TaskScheduled OrchestratorCompleted "
                        "| OrchestratorStarted EventRaised OrchestratorCompleted "
                        "| OrchestratorStarted EventRaised OrchestratorCompleted");
    desk_deinit(&d);
}

/* While a row that replaces the history travels, the instance goes on: the next row adds to it. */
static void test_an_instance_that_runs_on_meanwhile(void **state)
{
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        struct desk d;

        begin(&d, true);
        desk_deliver(&d, desk_start("a", "Task"));
        desk_work(&d);
        assert_true(desk_project(&d));
        poke(&d, "a");
        desk_projected(&d, fails ? TH_UNAVAILABLE : TH_OK);
        assert_true(desk_project(&d));
        assert_int_equal(d.batch.rows[0].replace_history, fails);
        desk_projected(&d, TH_OK);
        desk_settle(&d);
        desk_expect_history(&d, "a",
                            "OrchestratorStarted ExecutionStarted TaskScheduled "
                            "OrchestratorCompleted | OrchestratorStarted EventRaised "
                            "OrchestratorCompleted");
        desk_expect_recovery(&d);
        desk_deinit(&d);
    }
}

/* … or begins a new generation, which replaces what was just stored. */
static void test_a_generation_that_begins_meanwhile(void **state)
{
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        struct desk d;

        begin(&d, true);
        desk_deliver(&d, desk_start("a", "Again"));
        desk_work(&d);
        assert_true(desk_project(&d));
        poke(&d, "a");
        desk_projected(&d, fails ? TH_UNAVAILABLE : TH_OK);
        assert_true(desk_project(&d));
        assert_true(d.batch.rows[0].replace_history);
        desk_projected(&d, TH_OK);
        desk_settle(&d);
        assert_int_equal(desk_info(&d, "a")->generation, 1);
        desk_expect_history(&d, "a", "OrchestratorStarted ExecutionStarted OrchestratorCompleted");
        desk_expect_recovery(&d);
        desk_deinit(&d);
    }
}

static void test_a_purge_and_a_new_start_meanwhile(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, true);
    desk_deliver(&d, desk_start("a", "Done"));
    desk_settle(&d);
    desk_deliver(&d, desk_message("a", TH_EVENT_PURGE_REQUESTED));
    desk_work(&d);
    assert_true(desk_project(&d));
    assert_true(d.batch.rows[0].deleted);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_work(&d);
    desk_projected(&d, TH_OK);
    desk_settle(&d);
    assert_int_equal(desk_status(&d, "a"), TH_STATUS_RUNNING);
    desk_expect_history(&d, "a",
                        "OrchestratorStarted ExecutionStarted TaskScheduled "
                        "OrchestratorCompleted");
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* ---- the watermark ---- */

static void test_the_watermark(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, true); /* the claim stands at 0 */
    desk_deliver(&d, desk_start("a", "Task"));
    desk_work(&d);
    assert_true(desk_project(&d)); /* rows may be ahead of the acknowledgements */
    assert_int_equal(d.batch.previous.offset, -1);
    assert_int_equal(d.batch.next.offset, -1); /* the watermark may not */
    desk_projected(&d, TH_OK);
    desk_ack(&d, 1);
    poke(&d, "a");
    assert_true(desk_project(&d));
    assert_int_equal(d.batch.next.offset, 1);
    assert_int_equal(d.batch.next.epoch, 0);
    assert_int_equal(d.batch.next.sequence, 1);
    desk_projected(&d, TH_UNAVAILABLE);
    assert_int_equal(d.watermark.offset, -1);
    desk_ack(&d, 1);
    assert_true(desk_project(&d));
    assert_int_equal(d.batch.previous.offset, -1);
    assert_int_equal(d.batch.next.offset, 2);
    assert_int_equal(d.batch.next.sequence, 2);
    desk_projected(&d, TH_OK);
    desk_deinit(&d);
}

static void test_another_owner_moved_it(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, true);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_work(&d);
    desk_project(&d);
    desk_projected(&d, TH_FENCED);
    desk_pull(&d);
    assert_true(d.fenced);
    assert_int_equal(d.fence.code, TH_FENCED);
    desk_deinit(&d);
}

/* ---- where submissions are not ordered ---- */

static void test_rows_wait_for_acknowledgements(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, false);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_deliver(&d, desk_start("b", "Task"));
    desk_work(&d);
    assert_false(desk_project(&d)); /* nothing is durable */
    desk_ack(&d, 1);
    desk_work(&d);
    assert_true(desk_project(&d));
    assert_int_equal(d.batch.count, 1);
    assert_str(d.batch.rows[0].instance_id, "a");
    assert_int_equal(d.batch.next.offset, 1);
    assert_int_equal(d.batch.next.sequence, 1); /* "b" is missing from here on */
    assert_int_equal(d.batch.next.settled, 1);
    desk_projected(&d, TH_OK);
    desk_ack(&d, 1);
    assert_true(desk_project(&d));
    assert_str(d.batch.rows[0].instance_id, "b");
    assert_int_equal(d.batch.next.offset, 2);
    assert_int_equal(d.batch.next.sequence, 2);
    assert_int_equal(d.batch.next.settled, 2);
    desk_projected(&d, TH_OK);
    desk_deinit(&d);
}

/* What the log holds is settled when no row of it is left out. */
static void test_rows_left_out(void **state)
{
    (void)state;
    struct desk d;

    desk_init(&d, 1, code);
    d.options.max_rows = 1;
    d.options.traits.ordered = false;
    desk_open(&d);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_deliver(&d, desk_start("b", "Task"));
    desk_work(&d);
    desk_ack(&d, 2);
    desk_work(&d);
    assert_true(desk_project(&d));
    assert_int_equal(d.batch.count, 1);
    assert_int_equal(d.batch.next.offset, 2);
    assert_int_equal(d.batch.next.settled, -1);
    desk_projected(&d, TH_OK);
    assert_true(desk_project(&d));
    assert_int_equal(d.batch.next.settled, 2);
    desk_projected(&d, TH_OK);
    desk_deinit(&d);
}

/* An instance that never rests would never be acknowledged as a whole: it is held. */
static void test_a_busy_instance_is_held(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, false);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_work(&d);
    assert_false(desk_project(&d)); /* held from here on */
    desk_forget(&d);
    poke(&d, "a");
    desk_expect(&d, "");
    desk_ack(&d, 1);
    desk_work(&d);
    desk_expect(&d, "activity a/0 Work\nchanged a\n");
    assert_true(desk_project(&d));
    desk_work(&d);
    desk_expect(&d, "run a: OrchestratorStarted EventRaised\nappend 1 episode a\n");
    desk_projected(&d, TH_OK);
    desk_settle(&d);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* Held while it stands in the queue, not yet looked at: it must not be put there twice. */
static void test_held_in_the_queue(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, false);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_deliver(&d, desk_start("b", "Task"));
    desk_work(&d);
    desk_project(&d);
    th_partition_deliver(d.p, 2, d.inbox[0], d.now);
    desk_deliver(&d, desk_raise("a", "e", "1"));
    desk_deliver(&d, desk_raise("b", "e", "1"));
    desk_ack(&d, 2);
    assert_true(desk_project(&d));
    desk_deliver(&d, desk_raise("a", "e", "2"));
    desk_projected(&d, TH_OK);
    desk_settle(&d);
    assert_null(d.p->runnable);
    assert_null(d.p->deferred);
    assert_int_equal(d.p->letter_count, 0);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* ---- memory ---- */

static void test_the_least_used_leave(void **state)
{
    (void)state;
    struct desk d;
    static const char *const ids[] = {"a", "b", "c"};

    begin(&d, true);
    d.p->options.max_instances = 2;
    for (size_t n = 0; n < 3; n++) {
        desk_deliver(&d, desk_start(ids[n], "Task"));
        desk_settle(&d);
        if (n == 1) {
            poke(&d, "a"); /* now "b" is the one that rested longest */
            desk_settle(&d);
        }
    }
    desk_work(&d);
    assert_true(instance_find(d.p, TH_STR("a"))->known);
    assert_false(instance_find(d.p, TH_STR("b"))->known); /* its task is still in memory */
    assert_true(instance_find(d.p, TH_STR("c"))->known);
    assert_int_equal(d.p->stats.evictions, 1);
    desk_forget(&d);
    desk_answer(&d, "b", 0, "1");
    desk_work(&d);
    desk_expect(&d, "load b\nrun b: OrchestratorStarted TaskCompleted\nappend 4 episode b\n");
    desk_settle(&d);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_the_executor_is_told(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, true);
    d.p->options.max_instances = 0;
    desk_deliver(&d, desk_start("a", "Task"));
    desk_deliver(&d, desk_start("b", "Done")); /* ended: the executor forgot it by itself */
    desk_work(&d);
    desk_ack(&d, 2);
    desk_work(&d);
    desk_forget(&d);
    desk_project(&d);
    desk_projected(&d, TH_OK);
    desk_work(&d);
    desk_expect(&d, "forget a\n");
    assert_null(instance_find(d.p, TH_STR("b")));
    desk_deinit(&d);
}

/* Nothing that waits for its turn leaves, however little room there is. */
static void test_what_waits_stays(void **state)
{
    (void)state;
    struct desk d;
    struct th_message m = desk_start("a", "Echo");

    begin(&d, true);
    desk_deliver(&d, m);
    desk_deliver(&d, desk_start("other", "Task"));
    desk_settle(&d);
    d.p->options.max_instances = 0;
    d.p->options.max_unacked = 1;
    poke(&d, "a"); /* its event for "other" cannot be taken before the acknowledgement */
    assert_true(d.append_count == 1);
    assert_true(instance_find(d.p, TH_STR("other"))->known);
    desk_settle(&d);
    desk_expect_history(&d, "other",
                        "OrchestratorStarted ExecutionStarted TaskScheduled OrchestratorCompleted "
                        "| OrchestratorStarted EventRaised OrchestratorCompleted");
    assert_int_equal(d.p->letter_count, 0);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* A placeholder makes an idle instance dirty: its row must not be lost with it. */
static void test_a_placeholder_stays_until_it_is_stored(void **state)
{
    (void)state;
    struct desk d;
    struct th_message later = desk_start("a", "Task");

    later.event.fire_at = 2000 * TH_SECOND;
    begin(&d, true);
    d.p->options.max_instances = 0;
    desk_deliver(&d, later);
    desk_settle(&d);
    assert_int_equal(desk_row(&d, "a")->row.status, TH_STATUS_PENDING);
    desk_deinit(&d);
}

/* ---- loads ---- */

/* The answer to a LOAD was read before a row was stored whose chunks memory dropped. */
/* Code that begins from the start each time has its history loaded once. */
static void test_a_history_that_is_kept(void **state)
{
    (void)state;
    for (size_t most = 0; most <= 1 << 20; most += 1 << 20) {
        struct desk d;

        desk_init(&d, 1, code);
        d.options.max_kept_bytes = most;
        desk_open(&d);
        desk_deliver(&d, desk_start("a", "Task"));
        desk_settle(&d);
        poke(&d, "a");
        desk_settle(&d);
        d.hold_loads = true;
        poke(&d, "a");
        assert_int_equal(d.load_count, most == 0);
        desk_load(&d);
        d.hold_loads = false;
        desk_settle(&d);
        assert_int_equal(d.p->kept_bytes > 0, most > 0);
        desk_deliver(&d, desk_message("a", TH_EVENT_EXECUTION_TERMINATED));
        desk_settle(&d);
        assert_int_equal(d.p->kept_bytes, 0);
        desk_deinit(&d);
    }
}

static void test_an_answer_older_than_the_row(void **state)
{
    (void)state;
    struct desk d;
    struct th_row older;

    begin(&d, true);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_settle(&d);
    d.hold_loads = true;
    poke(&d, "a"); /* asks for the history, which memory dropped */
    assert_int_equal(d.load_count, 1);
    older = desk_row(&d, "a")->row;
    instance_find(d.p, TH_STR("a"))->row++; /* meanwhile another row is stored */
    desk_forget(&d);
    th_partition_loaded(d.p, TH_STR("a"), &older, d.now);
    desk_pull(&d);
    desk_expect(&d, "load a\n");
    instance_find(d.p, TH_STR("a"))->row--;
    instance_find(d.p, TH_STR("a"))->load_row--;
    desk_load(&d);
    desk_settle(&d);
    assert_int_equal(d.p->letter_count, 0);
    desk_deinit(&d);
}

static void test_a_row_that_is_gone(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, true);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_settle(&d);
    d.hold_loads = true;
    poke(&d, "a");
    desk_forget(&d);
    th_partition_loaded(d.p, TH_STR("a"), NULL, d.now);
    desk_pull(&d);
    desk_expect(&d, "fenced: the projection lost the row of instance \"a\"\n");
    desk_deinit(&d);
}

static void test_a_row_nobody_can_read(void **state)
{
    (void)state;
    struct desk d;
    struct th_row row = {.instance_id = TH_STR("a"), .last = 1, .info = th_blob_new("junk", 4)};

    begin(&d, true);
    d.hold_loads = true;
    desk_deliver(&d, desk_start("a", "Task"));
    desk_work(&d);
    th_partition_loaded(d.p, TH_STR("a"), &row, d.now);
    desk_pull(&d);
    assert_true(d.fenced);
    assert_int_equal(d.fence.code, TH_CORRUPT);
    th_blob_unref(row.info);
    desk_deinit(&d);
}

static void test_a_history_nobody_can_read(void **state)
{
    (void)state;
    struct desk d;
    struct th_blob *junk = th_blob_new("junk", 4);
    struct th_row row;

    begin(&d, true);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_settle(&d);
    d.hold_loads = true;
    poke(&d, "a");
    row = desk_row(&d, "a")->row;
    row.history = &junk;
    row.history_count = 1;
    th_partition_loaded(d.p, TH_STR("a"), &row, d.now);
    desk_work(&d);
    assert_true(d.fenced);
    assert_non_null(strstr(d.fence.message, "the history of instance \"a\": "));
    th_blob_unref(junk);
    desk_deinit(&d);
}

/* "fresh" says of a start that its id is new; of anything else it says nothing. */
static void test_fresh_is_for_starts(void **state)
{
    (void)state;
    struct desk d;
    struct th_message m = desk_asked(desk_raise("a", "e", "1"), "r");
    struct th_message start = desk_start("b", "Done");

    m.fresh = start.fresh = true;
    begin(&d, true);
    desk_deliver(&d, desk_start("a", "Task"));
    desk_settle(&d);
    desk_crash(&d);
    desk_open(&d);
    d.p->options.max_instances = 0;
    desk_settle(&d);
    desk_forget(&d);
    desk_deliver(&d, m);
    desk_deliver(&d, start);
    desk_work(&d);
    desk_expect(&d, "load a\n"
                    "run b: OrchestratorStarted ExecutionStarted\n"
                    "append 1 episode b\n"
                    "run a: OrchestratorStarted EventRaised\n"
                    "append 2 episode a\n");
    desk_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_row),
        cmocka_unit_test(test_only_what_is_new),
        cmocka_unit_test(test_an_instance_that_runs_on_meanwhile),
        cmocka_unit_test(test_a_generation_that_begins_meanwhile),
        cmocka_unit_test(test_a_purge_and_a_new_start_meanwhile),
        cmocka_unit_test(test_the_watermark),
        cmocka_unit_test(test_another_owner_moved_it),
        cmocka_unit_test(test_rows_wait_for_acknowledgements),
        cmocka_unit_test(test_rows_left_out),
        cmocka_unit_test(test_a_busy_instance_is_held),
        cmocka_unit_test(test_held_in_the_queue),
        cmocka_unit_test(test_the_least_used_leave),
        cmocka_unit_test(test_the_executor_is_told),
        cmocka_unit_test(test_what_waits_stays),
        cmocka_unit_test(test_a_placeholder_stays_until_it_is_stored),
        cmocka_unit_test(test_a_history_that_is_kept),
        cmocka_unit_test(test_an_answer_older_than_the_row),
        cmocka_unit_test(test_a_row_that_is_gone),
        cmocka_unit_test(test_a_row_nobody_can_read),
        cmocka_unit_test(test_a_history_nobody_can_read),
        cmocka_unit_test(test_fresh_is_for_starts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

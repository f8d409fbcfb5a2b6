/* Cleaning by copying forward, the floor, and a projection that is made again. */
#include "unit/partition_desk.h"

static void code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    (void)d;
    if (code_is(e, "Done"))
        code_complete(out, arena, "\"ok\"");
    else if (code_is(e, "Again") && code_fresh_count(e, TH_EVENT_EVENT_RAISED) > 0)
        code_continue(out, arena, "\"next\"");
}

static void begin_with(struct desk *d, size_t checkpoint_records, size_t clean_bytes)
{
    desk_init(d, 1, code);
    d->quiet_trace = true;
    d->options.traits =
        (struct th_provider_traits){.name = "desk", .shared = true, .max_record_bytes = 100000};
    d->options.checkpoint_records = checkpoint_records;
    d->options.clean_bytes = clean_bytes;
    desk_open(d);
}

static void run(struct desk *d, const char *id, const char *name)
{
    desk_deliver(d, desk_start(id, name));
    desk_settle(d);
}

static void poke(struct desk *d, const char *id)
{
    desk_deliver(d, desk_raise(id, "e", "1"));
    desk_settle(d);
}

static struct th_partition_stats stats_of(const struct desk *d)
{
    struct th_partition_stats stats;

    th_partition_get_stats(d->p, &stats);
    return stats;
}

/* ---- the floor ---- */

static void test_the_floor_follows_the_rows(void **state)
{
    (void)state;
    struct desk d;

    begin_with(&d, 4, SIZE_MAX);
    assert_int_equal(d.watermark.floor, -1);
    for (int n = 0; n < 3; n++)
        run(&d, n == 0 ? "a" : n == 1 ? "b" : "c", "Wait");
    poke(&d, "a");
    poke(&d, "b");
    assert_true(d.watermark.floor > 0);
    desk_expect_recovery(&d); /* from there */
    desk_deinit(&d);
}

/* A row is left out: the checkpoint behind its record cannot be where a reader begins. */
static void test_the_floor_waits_for_a_row_left_out(void **state)
{
    (void)state;
    struct desk d;

    begin_with(&d, SIZE_MAX, SIZE_MAX);
    run(&d, "a", "Wait");
    d.p->options.max_rows = 1;
    d.p->options.checkpoint_records = 3;
    desk_deliver(&d, desk_raise("a", "e", "1"));
    desk_work(&d);
    desk_ack(&d, SIZE_MAX);
    desk_deliver(&d, desk_start("b", "Wait"));
    desk_work(&d);
    desk_load(&d);
    desk_work(&d);
    desk_ack(&d, SIZE_MAX); /* two rows to store and a checkpoint behind their records */
    desk_work(&d);
    desk_ack(&d, SIZE_MAX);
    assert_int_equal(stats_of(&d).checkpoints, 1);
    assert_true(desk_project(&d));
    assert_int_equal(d.batch.count, 1);
    assert_int_equal(d.batch.next.floor, -1);
    desk_projected(&d, TH_OK);
    assert_true(desk_project(&d));
    assert_true(d.batch.next.floor > 0);
    desk_projected(&d, TH_OK);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

/* ---- cleaning ---- */

static int64_t log_start(const struct desk *d)
{
    return d->log[0].offset;
}

static void test_instances_are_copied_forward(void **state)
{
    (void)state;
    struct desk d;

    begin_with(&d, 6, 1);
    run(&d, "done", "Done");
    run(&d, "wait", "Wait");
    for (int n = 0; n < 6; n++)
        poke(&d, "wait");
    assert_true(stats_of(&d).cleanings > 0);
    assert_true(stats_of(&d).snapshots >= 2);
    assert_true(log_start(&d) > 2); /* the records of "done" are gone … */
    desk_wipe(&d);                  /* … and so are the rows */
    desk_crash(&d);
    desk_open(&d);
    assert_int_equal(desk_status(&d, "done"), TH_STATUS_COMPLETED);
    desk_expect_history(&d, "done",
                        "OrchestratorStarted ExecutionStarted ExecutionCompleted "
                        "OrchestratorCompleted");
    assert_str(desk_info(&d, "done")->output, "\"ok\"");
    assert_int_equal(desk_info(&d, "wait")->event_count, 3 + 6 * 3);
    desk_deinit(&d);
}

/* Nothing is dropped before the copies are stored: whoever deletes earlier loses the instance. */
static void test_the_log_waits_for_the_copies(void **state)
{
    (void)state;
    struct desk d;
    int64_t start;

    begin_with(&d, SIZE_MAX, SIZE_MAX);
    run(&d, "done", "Done");
    run(&d, "wait", "Wait");
    d.p->options.checkpoint_records = 1;
    poke(&d, "wait");
    d.p->options.checkpoint_records = SIZE_MAX;
    d.p->options.clean_bytes = 1;
    start = log_start(&d);
    desk_work(&d);
    assert_true(d.walk > 0);
    desk_walk(&d, SIZE_MAX);
    desk_work(&d);
    assert_true(d.append_count >= 2); /* the copies */
    desk_ack(&d, SIZE_MAX);
    desk_work(&d);
    assert_int_equal(d.walk, 0); /* they are durable, but in no row yet */
    assert_int_equal(log_start(&d), start);
    desk_settle(&d);
    assert_true(log_start(&d) > start);
    desk_deinit(&d);
}

/* A copy of what is not yet in a row holds that, too. */
static void test_a_copy_combines_row_and_memory(void **state)
{
    (void)state;
    struct desk d;

    begin_with(&d, SIZE_MAX, SIZE_MAX);
    run(&d, "wait", "Wait");
    d.p->options.checkpoint_records = 1;
    poke(&d, "wait");
    d.p->options.checkpoint_records = SIZE_MAX;
    d.p->options.clean_bytes = 1;
    desk_work(&d);
    desk_deliver(&d, desk_raise("wait", "e", "2")); /* while the rows are being read */
    desk_work(&d);
    desk_walk(&d, SIZE_MAX);
    desk_settle(&d);
    assert_true(stats_of(&d).cleanings > 0);
    desk_wipe(&d);
    desk_crash(&d);
    desk_open(&d);
    assert_int_equal(desk_info(&d, "wait")->event_count, 9);
    desk_deinit(&d);
}

static void begin_walk(struct desk *d)
{
    begin_with(d, SIZE_MAX, SIZE_MAX);
    run(d, "done", "Done");
    run(d, "wait", "Wait");
    d->p->options.checkpoint_records = 1;
    poke(d, "wait");
    d->p->options.checkpoint_records = SIZE_MAX;
    d->p->options.clean_bytes = 1;
    desk_work(d);
    assert_true(d->walk > 0);
}

static void expect_no_cleaning(struct desk *d)
{
    desk_work(d);
    assert_int_equal(d->append_count, 0);
    assert_int_equal(stats_of(d).cleanings, 0);
    assert_int_equal(log_start(d), 0);
}

static void test_missing_rows_stop_the_cleaning(void **state)
{
    (void)state;
    static const struct th_error fine = {.code = TH_OK};
    struct desk d;

    begin_walk(&d);
    th_partition_walked(d.p, NULL, 0, &d.watermark, d.row_count - 1, &fine, d.now);
    expect_no_cleaning(&d);
    desk_deinit(&d);
}

/* The projection was restored from an older copy: its rows would be copied over newer ones. */
static void test_old_rows_stop_the_cleaning(void **state)
{
    (void)state;
    struct desk d;
    struct th_watermark stored;

    begin_walk(&d);
    stored = d.watermark;
    d.watermark.batch--;
    desk_walk(&d, SIZE_MAX);
    d.watermark = stored;
    expect_no_cleaning(&d);
    desk_deinit(&d);
}

static void test_damaged_rows_end_the_lease(void **state)
{
    (void)state;
    static const struct th_error damaged = {.code = TH_CORRUPT};
    struct desk d;

    begin_walk(&d);
    th_partition_walked(d.p, NULL, 0, &d.watermark, d.row_count, &damaged, d.now);
    desk_pull(&d);
    assert_true(d.fenced);
    assert_int_equal(d.fence.code, TH_CORRUPT);
    desk_deinit(&d);
}

/* ---- a projection that is made again beside its owner ---- */

static struct th_partition *copy_of(struct desk *d, int64_t to)
{
    struct th_partition *copy = th_partition_again(d->p);
    struct th_error error;

    th_partition_begin(copy, (int64_t)d->p->epoch, log_start(d), &d->watermark, d->p->batch, true,
                       d->now);
    for (size_t n = 0; n < d->log_count && d->log[n].offset < to; n++)
        assert_true(th_partition_feed(copy, d->log[n].offset, d->log[n].bytes,
                                      n == 0 && d->log[n].offset > 0, &error));
    desk_bases(d, copy, true);
    assert_true(th_partition_fold(copy));
    return copy;
}

static void rebuild(struct desk *d, struct th_partition *copy)
{
    struct th_projection batch;

    while (th_partition_project(copy, false, INT64_MAX, &batch)) {
        assert_true(batch.next.building);
        desk_store(d, &batch);
        th_partition_projected(copy, NULL);
    }
    th_partition_projection_rebuilt(d->p, copy);
    th_partition_free(copy);
}

static void test_rows_are_made_again_beside_the_owner(void **state)
{
    (void)state;
    struct desk d;
    struct th_partition *copy;
    int64_t to;

    begin_with(&d, SIZE_MAX, SIZE_MAX);
    run(&d, "done", "Done");
    run(&d, "wait", "Wait");
    desk_deliver(&d, desk_raise("wait", "e", "1")); /* durable, but in no row */
    desk_work(&d);
    desk_ack(&d, SIZE_MAX);
    desk_wipe(&d);
    to = th_partition_projection_lost(d.p);
    assert_true(th_partition_rebuilding(d.p));
    assert_false(desk_project(&d)); /* its own rows wait */
    copy = copy_of(&d, to);
    desk_deliver(&d, desk_raise("wait", "e", "2")); /* it goes on meanwhile */
    desk_work(&d);
    desk_ack(&d, SIZE_MAX);
    rebuild(&d, copy);
    assert_true(d.watermark.building);
    desk_settle(&d);
    assert_false(d.watermark.building);
    assert_int_equal(d.row_count, 2);
    assert_non_null(desk_row(&d, "done"));
    desk_crash(&d);
    desk_open(&d);
    assert_int_equal(desk_info(&d, "wait")->event_count, 9);
    desk_expect_history(&d, "wait",
                        "OrchestratorStarted ExecutionStarted OrchestratorCompleted | "
                        "OrchestratorStarted EventRaised OrchestratorCompleted | "
                        "OrchestratorStarted EventRaised OrchestratorCompleted");
    desk_deinit(&d);
}

static void test_loads_wait_for_the_rows(void **state)
{
    (void)state;
    struct desk d;
    int64_t to;

    begin_with(&d, SIZE_MAX, SIZE_MAX);
    d.hold_loads = true;
    run(&d, "done", "Done"); /* it leaves memory */
    desk_wipe(&d);
    to = th_partition_projection_lost(d.p);
    desk_deliver(&d, desk_raise("done", "e", "1"));
    desk_work(&d);
    assert_int_equal(d.load_count, 0);
    rebuild(&d, copy_of(&d, to));
    desk_work(&d);
    assert_int_equal(d.load_count, 1);
    desk_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_floor_follows_the_rows),
        cmocka_unit_test(test_the_floor_waits_for_a_row_left_out),
        cmocka_unit_test(test_instances_are_copied_forward),
        cmocka_unit_test(test_the_log_waits_for_the_copies),
        cmocka_unit_test(test_a_copy_combines_row_and_memory),
        cmocka_unit_test(test_missing_rows_stop_the_cleaning),
        cmocka_unit_test(test_old_rows_stop_the_cleaning),
        cmocka_unit_test(test_damaged_rows_end_the_lease),
        cmocka_unit_test(test_rows_are_made_again_beside_the_owner),
        cmocka_unit_test(test_loads_wait_for_the_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

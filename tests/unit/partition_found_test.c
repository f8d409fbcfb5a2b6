/* What the simulation of a whole hub found in the partition core, each at its smallest. */
#include "unit/partition_desk.h"

/* Its output is the names of the events it took, in order; it ends with "end". */
static void code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    TH_BUFFER names = {0};
    bool end = code_is(e, "Short");

    (void)d;
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

static void begin(struct desk *d, bool ordered)
{
    desk_init(d, 1, code);
    d->options.traits.ordered = ordered;
    desk_open(d);
}

static struct th_message fresh_start(const char *id, const char *name)
{
    struct th_message m = desk_start(id, name);

    m.fresh = true;
    m.request_id = TH_STR("request");
    return m;
}

static struct th_message later(struct th_message start, th_time when)
{
    start.event.fire_at = when;
    return start;
}

/* "Fresh" says that the id was just generated, not that the message comes once. */
static void test_a_second_copy_of_a_fresh_start(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, false);
    desk_deliver(&d, fresh_start("a", "Short"));
    desk_settle(&d);
    assert_int_equal(desk_row(&d, "a")->row.status, TH_STATUS_COMPLETED);
    desk_deliver(&d, fresh_start("a", "Short"));
    desk_settle(&d);
    desk_expect_history(&d, "a",
                        "OrchestratorStarted ExecutionStarted ExecutionCompleted "
                        "OrchestratorCompleted");
    assert_int_equal(desk_row(&d, "a")->row.last, 1); /* nothing happened to it */
    desk_deinit(&d);
}

/* A parked start is fresh, too, but has left a placeholder. */
static void test_a_fresh_start_that_waits_outside_memory(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, true);
    desk_deliver(&d, later(fresh_start("a", "Short"), d.now + 10 * TH_SECOND));
    desk_settle(&d);
    desk_crash(&d); /* nothing of it is in memory but the start */
    desk_open(&d);
    d.p->options.max_instances = 0;
    desk_settle(&d);
    d.now += 11 * TH_SECOND;
    desk_settle(&d);
    assert_int_equal(desk_row(&d, "a")->row.status, TH_STATUS_COMPLETED);
    desk_deinit(&d);
}

/* As after a recovery: the older of two parked events is back in the mailbox alone. */
static void test_what_is_parked_again_keeps_its_place(void **state)
{
    (void)state;
    struct desk d;
    struct th_instance *a;

    begin(&d, true);
    desk_deliver(&d, later(desk_start("a", "Collect"), d.now + 10 * TH_SECOND));
    desk_deliver(&d, desk_raise("a", "one", NULL));
    desk_deliver(&d, desk_raise("a", "end", NULL));
    desk_settle(&d);
    a = instance_find(d.p, TH_STR("a"));
    assert_non_null(a);
    instance_unpark_due(a->parked->next); /* "one"; behind the start */
    desk_settle(&d);                      /* it is parked again */
    d.now += 11 * TH_SECOND;
    desk_settle(&d);
    assert_string_equal(desk_info(&d, "a")->output.data, "one end ");
    desk_deinit(&d);
}

static void test_what_is_back_already_stays_in_front(void **state)
{
    (void)state;
    struct desk d;
    struct th_instance *a;

    begin(&d, true);
    desk_deliver(&d, desk_start("a", "Collect"));
    desk_deliver(&d, desk_message("a", TH_EVENT_EXECUTION_SUSPENDED));
    desk_settle(&d);
    desk_deliver(&d, desk_raise("a", "one", NULL));
    desk_deliver(&d, desk_raise("a", "end", NULL));
    desk_settle(&d);
    a = instance_find(d.p, TH_STR("a"));
    assert_non_null(a);
    instance_unpark_due(a->parked);
    instance_unpark(a);
    assert_true(th_str_eq(a->mailbox->message.event.name, TH_STR("one")));
    desk_deliver(&d, desk_message("a", TH_EVENT_EXECUTION_RESUMED));
    desk_settle(&d);
    assert_string_equal(desk_info(&d, "a")->output.data, "one end ");
    desk_deinit(&d);
}

/* An event comes in the very moment in which the start is due. */
static void test_what_was_parked_goes_before_what_comes(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, true);
    desk_deliver(&d, later(desk_start("a", "Collect"), d.now + 10 * TH_SECOND));
    desk_deliver(&d, desk_raise("a", "one", NULL));
    desk_settle(&d);
    d.now += 11 * TH_SECOND;
    desk_deliver(&d, desk_raise("a", "end", NULL));
    desk_settle(&d);
    assert_string_equal(desk_info(&d, "a")->output.data, "one end ");
    desk_deinit(&d);
}

static const struct th_record claim = {
    .kind = TH_RECORD_CLAIM, .incarnation = 77, .worker = {"other", 5}, .nonce = 3};
static const struct th_record foreign = {
    .kind = TH_RECORD_CHECKPOINT, .incarnation = 77, .epoch = 1, .sequence = 0};

/* The claim in the gap is gone, because the claimant has trimmed the log since. */
static void test_a_claim_that_was_trimmed_away(void **state)
{
    (void)state;
    struct desk d;
    struct th_log_record rest;

    begin(&d, false);
    desk_deliver(&d, desk_start("a", "Collect"));
    desk_work(&d);
    desk_foreign(&d, &claim);
    desk_foreign(&d, &foreign);
    rest = d.log[d.log_count - 1];
    desk_ack(&d, 1);
    desk_work(&d);
    th_partition_gap(d.p, &rest, 1, d.now);
    desk_work(&d);
    assert_true(d.fenced);
    assert_int_equal(d.fence.code, TH_FENCED);
    assert_non_null(strstr(d.fence.message, "trimmed by another owner"));
    desk_deinit(&d);
}

/* Nothing is under way that an acknowledgement could tell of. */
static void test_a_claim_while_at_rest(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, false);
    desk_deliver(&d, desk_start("a", "Collect"));
    desk_settle(&d);
    const int64_t known = th_partition_acked_offset(d.p);
    th_partition_log_end(d.p, known, d.log_end, d.now);
    desk_work(&d);
    assert_int_equal(d.read_from, -1); /* all of it is our own */
    desk_foreign(&d, &claim);
    th_partition_log_end(d.p, known, d.log_end, d.now);
    desk_work(&d);
    desk_gap(&d);
    desk_work(&d);
    assert_true(d.fenced);
    desk_deinit(&d);
}

/* Asked before the last records were acknowledged, answered behind them: no sign of a lost end. */
static void test_an_answer_about_the_end_comes_late(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, false);
    desk_deliver(&d, desk_start("a", "Collect"));
    desk_settle(&d);
    const int64_t known = th_partition_acked_offset(d.p), end = d.log_end;
    desk_deliver(&d, desk_raise("a", "one", NULL));
    desk_settle(&d);
    assert_true(end < d.log_end);
    th_partition_log_end(d.p, known, end, d.now);
    desk_work(&d);
    assert_false(d.fenced);
    th_partition_log_end(d.p, th_partition_acked_offset(d.p), end, d.now); /* asked afterwards */
    desk_work(&d);
    assert_true(d.fenced);
    assert_int_equal(d.fence.code, TH_TRUNCATED);
    desk_deinit(&d);
}

/* A batch whose answer is lost must not fit a second time, even when it leaves out old records. */
static void test_every_batch_moves_the_watermark(void **state)
{
    (void)state;
    struct desk d;

    begin(&d, false);
    desk_deliver(&d, desk_start("a", "Collect"));
    desk_deliver(&d, desk_start("b", "Collect"));
    desk_work(&d);
    desk_ack(&d, SIZE_MAX);
    desk_deliver(&d, desk_raise("a", "one", NULL)); /* not acknowledged: a is left out */
    desk_work(&d);
    assert_true(desk_project(&d));
    assert_int_equal(d.batch.count, 1);
    assert_true(d.batch.next.offset > d.batch.previous.offset);
    desk_projected(&d, TH_OK);
    desk_settle(&d);
    assert_int_equal(d.watermark.sequence, d.p->acked);
    desk_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_second_copy_of_a_fresh_start),
        cmocka_unit_test(test_a_fresh_start_that_waits_outside_memory),
        cmocka_unit_test(test_what_is_parked_again_keeps_its_place),
        cmocka_unit_test(test_what_is_back_already_stays_in_front),
        cmocka_unit_test(test_what_was_parked_goes_before_what_comes),
        cmocka_unit_test(test_a_claim_that_was_trimmed_away),
        cmocka_unit_test(test_a_claim_while_at_rest),
        cmocka_unit_test(test_an_answer_about_the_end_comes_late),
        cmocka_unit_test(test_every_batch_moves_the_watermark),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Acknowledgements and their offsets: what a gap means, and how a lease ends. */
#include "unit/partition_desk.h"

static void code(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    (void)d;
    (void)e;
    code_task(out, arena, 0, "Work");
}

static void begin(struct desk *d)
{
    desk_init(d, 1, code);
    desk_open(d);
    desk_work(d);
    desk_deliver(d, desk_asked(desk_start("a", "F"), "one"));
    desk_work(d);
    desk_forget(d);
}

static const struct th_record zombie = {
    .kind = TH_RECORD_MARKS, .incarnation = 77, .epoch = 0, .sequence = 99};
static const struct th_record claim = {
    .kind = TH_RECORD_CLAIM, .incarnation = 77, .worker = {"other", 5}, .nonce = 3};

static void test_foreign_records_without_a_claim(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    desk_foreign(&d, &zombie);
    desk_foreign(&d, &zombie);
    desk_ack(&d, 1);
    desk_work(&d);
    desk_expect(&d, "read 1 to 3\n"); /* nothing is believed yet */
    desk_gap(&d);
    desk_work(&d);
    desk_expect(&d, "activity a/0 Work\n"
                    "changed a\n"
                    "reply one for a: ok\n");
    assert_int_equal(d.p->expected_offset, 4);
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_a_foreign_claim(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    desk_foreign(&d, &zombie);
    desk_foreign(&d, &claim);
    desk_ack(&d, 1);
    desk_work(&d);
    desk_gap(&d);
    desk_work(&d);
    desk_expect(&d, "read 1 to 3\n"
                    "fenced: worker \"other\" claimed partition 0 at offset 2\n");
    assert_int_equal(d.fence.code, TH_FENCED);
    assert_int_equal(th_partition_work(d.p, d.now), TH_TIME_NONE);
    desk_deinit(&d);
}

/* Acknowledgements that come while a gap is read wait for it, and then all count. */
static void test_more_than_one_gap(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    desk_deliver(&d, desk_start("b", "F"));
    desk_deliver(&d, desk_start("c", "F"));
    desk_work(&d);
    desk_forget(&d);
    desk_foreign(&d, &zombie);
    desk_ack(&d, 1); /* at 2 */
    desk_foreign(&d, &zombie);
    desk_ack(&d, 2); /* at 4 and 5 */
    desk_work(&d);
    desk_expect(&d, "read 1 to 2\n");
    desk_gap(&d);
    desk_work(&d);
    desk_expect(&d, "read 3 to 4\n"
                    "activity a/0 Work\n"
                    "changed a\n"
                    "reply one for a: ok\n");
    desk_gap(&d);
    desk_work(&d);
    desk_expect(&d, "activity b/0 Work\n"
                    "changed b\n"
                    "activity c/0 Work\n"
                    "changed c\n");
    desk_expect_recovery(&d);
    desk_deinit(&d);
}

static void test_a_log_that_lost_its_end(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    th_partition_acked(d.p, d.appends[0].tag, 0, d.now);
    desk_work(&d);
    desk_expect(&d, "fenced: the log of partition 0 lost its end: an append came to stand at 0, "
                    "expected 1 or later\n");
    assert_int_equal(d.fence.code, TH_TRUNCATED);
    desk_deinit(&d);
}

static void test_an_acknowledgement_without_an_offset(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    th_partition_acked(d.p, d.appends[0].tag, -1, d.now);
    desk_work(&d);
    desk_expect(&d, "fenced: partition 0: an append was acknowledged without its offset\n");
    desk_deinit(&d);
}

static void test_a_gap_nobody_can_read(void **state)
{
    (void)state;
    struct desk d;
    const struct th_log_record junk = {.offset = 1, .bytes = th_blob_new("junk", 4)};

    begin(&d);
    d.log_end++;
    desk_ack(&d, 1);
    desk_work(&d);
    th_partition_gap(d.p, &junk, 1, d.now);
    desk_work(&d);
    assert_true(d.fenced);
    assert_int_equal(d.fence.code, TH_CORRUPT);
    th_blob_unref(junk.bytes);
    desk_deinit(&d);
}

/* Nothing is appended behind an append that failed, and nothing speculative leaves. */
static void test_a_failed_append(void **state)
{
    (void)state;
    struct desk d;
    const struct th_error error = {.code = TH_IO, .message = "disk full"};

    begin(&d);
    desk_deliver(&d, desk_start("b", "F"));
    th_partition_work(d.p, d.now); /* its effects wait: a LOAD, later an APPEND */
    th_partition_append_failed(d.p, &error);
    desk_work(&d);
    desk_expect(&d, "fenced: an append to partition 0 failed: disk full\n");
    assert_int_equal(d.fence.code, TH_IO);
    th_partition_deliver(d.p, 50, d.inbox[0], d.now); /* late inputs are no trouble */
    th_partition_acked(d.p, 0, 1, d.now);
    th_partition_loaded(d.p, TH_STR("b"), NULL, d.now);
    th_partition_sent(d.p, 1);
    th_partition_answer(d.p, 1, TH_STR("1"), NULL, d.now);
    th_partition_crashed(d.p, TH_STR("a"), -1, TH_STR("x"), d.now);
    assert_false(th_partition_project(d.p, false, INT64_MAX, &d.batch));
    desk_work(&d);
    desk_expect(&d, "");
    desk_deinit(&d);
}

static void test_a_fence_with_an_episode_under_way(void **state)
{
    (void)state;
    struct desk d;
    const struct th_error error = {.code = TH_IO, .message = "gone"};

    begin(&d);
    d.hold_runs = true;
    desk_deliver(&d, desk_start("b", "F"));
    desk_work(&d);
    th_partition_append_failed(d.p, &error);
    desk_run(&d); /* the executor comes back after the end */
    desk_work(&d);
    assert_true(d.fenced);
    assert_int_equal(d.append_count, 1); /* the one from before */
    desk_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_foreign_records_without_a_claim),
        cmocka_unit_test(test_a_foreign_claim),
        cmocka_unit_test(test_more_than_one_gap),
        cmocka_unit_test(test_a_log_that_lost_its_end),
        cmocka_unit_test(test_an_acknowledgement_without_an_offset),
        cmocka_unit_test(test_a_gap_nobody_can_read),
        cmocka_unit_test(test_a_failed_append),
        cmocka_unit_test(test_a_fence_with_an_episode_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A connection that was cut: what was acknowledged is read back before more is believed. */
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
    desk_deliver(d, desk_start("a", "F"));
    desk_work(d);
    desk_ack(d, 1);
    desk_deliver(d, desk_start("b", "F"));
    desk_work(d);
    desk_forget(d);
    th_partition_doubt(d->p);
    desk_pull(d);
    desk_expect(d, "verify 1\n");
}

static void test_acknowledgements_wait(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    desk_ack(&d, 1);
    desk_work(&d);
    desk_expect(&d, ""); /* the activity of "b" does not start */
    desk_verify(&d);
    desk_work(&d);
    desk_expect(&d, "activity b/0 Work\n"
                    "changed b\n");
    desk_deinit(&d);
}

static void expect_stopped(struct desk *d)
{
    desk_verify(d);
    desk_pull(d);
    assert_true(d->fenced);
    assert_int_equal(d->fence.code, TH_TRUNCATED);
    desk_deinit(d);
}

static void test_the_record_is_gone(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    th_blob_unref(d.log[--d.log_count].bytes);
    desk_verify(&d);
    desk_work(&d);
    assert_false(d.fenced); /* it may only not be shown yet */
    d.now += 11 * TH_SECOND;
    desk_work(&d);
    expect_stopped(&d);
}

/* A new leader does not show all it has at once. */
static void test_the_record_is_shown_late(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    desk_ack(&d, 1);
    const size_t count = d.log_count;
    d.log_count = 1;
    desk_verify(&d);
    desk_work(&d);
    desk_expect(&d, "");
    assert_false(d.fenced);
    d.log_count = count;
    d.now += TH_SECOND;
    desk_work(&d);
    desk_verify(&d);
    desk_work(&d);
    desk_expect(&d, "verify 1\n"
                    "activity b/0 Work\n"
                    "changed b\n");
    assert_false(d.fenced);
    desk_deinit(&d);
}

/* Another owner's claim stands where the lost record was: the next acknowledgement would look fine.
 */
static void test_another_record_fills_the_hole(void **state)
{
    (void)state;
    static const struct th_record claim = {
        .kind = TH_RECORD_CLAIM, .incarnation = 77, .worker = {"other", 5}, .nonce = 3};
    struct desk d;

    begin(&d);
    th_blob_unref(d.log[--d.log_count].bytes);
    d.log_end--;
    desk_foreign(&d, &claim);
    desk_ack(&d, 1); /* at the expected offset */
    desk_work(&d);
    desk_expect(&d, "");
    expect_stopped(&d);
}

/* Another owner has been at work for so long that it cleaned the log. */
static void test_the_record_was_cleaned(void **state)
{
    (void)state;
    static const struct th_record checkpoint = {
        .kind = TH_RECORD_CHECKPOINT, .incarnation = 1, .epoch = 7, .sequence = 9};
    struct desk d;

    begin(&d);
    while (d.log_count > 0)
        th_blob_unref(d.log[--d.log_count].bytes);
    d.log_end = 9;
    desk_foreign(&d, &checkpoint);
    desk_verify(&d);
    desk_pull(&d);
    assert_true(d.fenced);
    assert_int_equal(d.fence.code, TH_FENCED);
    desk_deinit(&d);
}

/* Before its first record an owner reads back its claim. */
static void test_the_claim_itself(void **state)
{
    (void)state;
    struct desk d;

    desk_init(&d, 1, code);
    desk_open(&d);
    th_partition_doubt(d.p);
    desk_pull(&d);
    desk_expect(&d, "verify 0\n");
    desk_verify(&d);
    desk_pull(&d);
    assert_false(d.fenced);
    desk_deinit(&d);
}

static void test_another_claim_in_its_place(void **state)
{
    (void)state;
    static const struct th_record claim = {
        .kind = TH_RECORD_CLAIM, .incarnation = 77, .worker = {"other", 5}, .nonce = 3};
    struct desk d;

    desk_init(&d, 1, code);
    desk_open(&d);
    th_partition_doubt(d.p);
    desk_pull(&d);
    desk_expect(&d, "verify 0\n");
    th_blob_unref(d.log[--d.log_count].bytes);
    d.log_end--;
    desk_foreign(&d, &claim);
    expect_stopped(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acknowledgements_wait),
        cmocka_unit_test(test_the_record_is_gone),
        cmocka_unit_test(test_the_record_is_shown_late),
        cmocka_unit_test(test_another_record_fills_the_hole),
        cmocka_unit_test(test_the_record_was_cleaned),
        cmocka_unit_test(test_the_claim_itself),
        cmocka_unit_test(test_another_claim_in_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

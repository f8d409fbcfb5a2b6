/* The rules after a failure, without a broker: what completes, in which order, and how. */
#include "provider/kafka/internal.h"
#include "unit/base_test.h"

struct lane_test {
    struct th_kafka_lane lane;
    struct th_kafka_items done;
};

static void begin(struct lane_test *t, bool is_log)
{
    th_kafka_lane_init(&t->lane, is_log);
    th_kafka_items_init(&t->done);
}

static void end(struct lane_test *t)
{
    struct th_kafka_item *item;
    th_kafka_lane_deinit(&t->lane);
    while ((item = th_kafka_items_take(&t->done))) {
        th_kafka_item_free(item);
    }
}

/* Submitted at `time`; `held` says whether it was let through, to a writer. */
static struct th_kafka_item *submit(struct lane_test *t, enum th_completion_kind kind,
                                    uint64_t epoch, uint64_t tag)
{
    struct th_kafka_item *item = th_kafka_item_new(kind, 0, tag);
    item->epoch = epoch;
    item->submitted = (th_time)tag;
    item->held = th_kafka_lane_submit(&t->lane, item);
    th_kafka_lane_release(&t->lane, &t->done);
    return item;
}

static struct th_kafka_item *append(struct lane_test *t, uint64_t epoch, uint64_t tag)
{
    return submit(t, TH_DONE_APPEND, epoch, tag);
}

static struct th_kafka_item *message(struct lane_test *t, uint64_t tag)
{
    return submit(t, TH_DONE_SEND, 0, tag);
}

static void answer(struct lane_test *t, struct th_kafka_item *item, bool good)
{
    item->held = false;
    item->offset = (int64_t)item->tag;
    if (!good) {
        th_kafka_item_fail(item, TH_UNAVAILABLE, "a test's");
    }
    th_kafka_lane_answer(&t->lane, item);
    th_kafka_lane_release(&t->lane, &t->done);
}

/* The next completion, as poll hands it out: its tag, negative when it failed; 0: none. */
static long next(struct lane_test *t)
{
    struct th_completion out;
    struct th_kafka_item *item = th_kafka_items_take(&t->done);
    if (!item) {
        return 0;
    }
    th_kafka_lane_shown(item);
    th_kafka_item_complete(item, &out);
    assert_true(out.error.code == TH_OK || out.error.message[0] != '\0');
    return out.error.code == TH_OK ? (long)out.tag : -(long)out.tag;
}

static void completions_keep_the_order(void **state)
{
    struct lane_test t;
    begin(&t, false);
    struct th_kafka_item *first = message(&t, 1);
    struct th_kafka_item *second = message(&t, 2);
    struct th_kafka_item *third = message(&t, 3);
    answer(&t, third, true); /* spread over partitions, any may be first */
    answer(&t, second, true);
    assert_int_equal(next(&t), 0);
    answer(&t, first, true);
    assert_int_equal(next(&t), 1);
    assert_int_equal(next(&t), 2);
    assert_int_equal(next(&t), 3);
    end(&t);
}

static void messages_fail_until_it_is_shown(void **state)
{
    struct lane_test t;
    begin(&t, false);
    struct th_kafka_item *first = message(&t, 1);
    struct th_kafka_item *behind = message(&t, 2);
    answer(&t, first, false);
    assert_false(message(&t, 3)->held); /* not even sent */
    assert_int_equal(next(&t), -1);
    assert_int_equal(next(&t), 0);
    assert_false(message(&t, 4)->held); /* 2 and 3 are not shown yet */
    answer(&t, behind, true);           /* too late to be believed */
    assert_int_equal(next(&t), -2);
    assert_int_equal(next(&t), -3);
    assert_int_equal(next(&t), -4);
    struct th_kafka_item *again = message(&t, 5);
    assert_true(again->held);
    answer(&t, again, true);
    assert_int_equal(next(&t), 5);
    end(&t);
}

static void a_failed_epoch_stays_so(void **state)
{
    struct lane_test t;
    begin(&t, true);
    answer(&t, submit(&t, TH_DONE_CLAIM, 0, 10), true);
    struct th_kafka_item *first = append(&t, 10, 11);
    struct th_kafka_item *behind = append(&t, 10, 12);
    struct th_kafka_item *claim = submit(&t, TH_DONE_CLAIM, 0, 13);
    answer(&t, first, false);
    answer(&t, behind, true);
    assert_false(append(&t, 10, 14)->held);
    answer(&t, claim, true);
    assert_true(t.lane.claim == 13 && t.lane.claim > t.lane.broken);
    struct th_kafka_item *young = append(&t, 13, 15);
    assert_true(young->held);
    answer(&t, young, true);
    static const long expected[] = {10, -11, -12, 13, -14, 15, 0};
    for (size_t i = 0; i < TH_COUNT(expected); i++) {
        assert_int_equal(next(&t), expected[i]);
    }
    assert_false(append(&t, 10, 16)->held); /* for ever */
    assert_int_equal(next(&t), -16);
    end(&t);
}

static void a_deadline_ends_what_waits(void **state)
{
    struct lane_test t;
    begin(&t, true);
    struct th_kafka_item *old = append(&t, 10, 11);
    struct th_kafka_item *behind = append(&t, 10, 20); /* of the same epoch */
    struct th_kafka_item *claim = submit(&t, TH_DONE_CLAIM, 0, 21);
    assert_int_equal(th_kafka_lane_expire(&t.lane, 11, "", &t.done), 0);
    assert_int_equal(next(&t), 0);
    assert_int_equal(th_kafka_lane_expire(&t.lane, 12, "", &t.done), 11);
    assert_int_equal(next(&t), -11);
    assert_int_equal(next(&t), -20);
    assert_int_equal(next(&t), 0);
    assert_null(old->lane); /* still the writer's */
    assert_null(behind->lane);
    answer(&t, claim, true);
    assert_int_equal(next(&t), 21);
    th_kafka_item_free(old);
    th_kafka_item_free(behind);
    end(&t);
}

static void closing_leaves_the_writer_its_items(void **state)
{
    struct lane_test t;
    begin(&t, true);
    struct th_kafka_item *held = append(&t, 10, 11);
    end(&t);
    assert_null(held->lane);
    th_kafka_item_free(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(completions_keep_the_order),
        cmocka_unit_test(messages_fail_until_it_is_shown),
        cmocka_unit_test(a_failed_epoch_stays_so),
        cmocka_unit_test(a_deadline_ends_what_waits),
        cmocka_unit_test(closing_leaves_the_writer_its_items),
    };
    return cmocka_run_group_tests_name("lane", tests, NULL, NULL);
}

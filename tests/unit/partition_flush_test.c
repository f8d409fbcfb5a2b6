/*
 * Whether lists may be answered: everything that had changed when the question was asked has to be
 * in the projection by then, however long the batch takes and however often it fails.
 */
#include "unit/partition_desk.h"

static void done(struct desk *d, const struct th_episode *e, struct th_arena *arena,
                 struct th_actions *out)
{
    (void)d;
    (void)e;
    code_complete(out, arena, "\"ok\"");
}

/* An instance has changed; a moment later somebody asks, and later still the batch begins. */
static th_time ask(struct desk *d, const char *id)
{
    th_time asked;

    desk_deliver(d, desk_start(id, "Done"));
    desk_work(d);
    desk_ack(d, 1);
    asked = d->now += TH_SECOND;
    d->now += TH_SECOND;
    desk_work(d);
    return asked;
}

static void begin(struct desk *d)
{
    desk_init(d, 1, done);
    desk_open(d);
    desk_work(d);
    desk_settle(d);
}

static void test_a_batch_that_began_after_the_question(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    th_time asked = ask(&d, "a");
    assert_false(th_partition_flushed(d.p, asked));
    assert_true(desk_project(&d));
    assert_false(th_partition_flushed(d.p, asked));
    desk_projected(&d, TH_OK);
    assert_true(th_partition_flushed(d.p, asked));
    desk_deinit(&d);
}

static void test_a_batch_that_failed(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    th_time asked = ask(&d, "a");
    for (int i = 0; i < 3; i++) {
        assert_true(desk_project(&d));
        d.now += TH_SECOND;
        desk_work(&d);
        desk_projected(&d, TH_UNAVAILABLE);
        assert_false(th_partition_flushed(d.p, asked));
    }
    assert_true(desk_project(&d));
    desk_projected(&d, TH_OK);
    assert_true(th_partition_flushed(d.p, asked));
    desk_deinit(&d);
}

/* What changes after the question does not keep it waiting. */
static void test_a_later_change(void **state)
{
    (void)state;
    struct desk d;

    begin(&d);
    th_time asked = ask(&d, "a");
    assert_true(desk_project(&d));
    desk_deliver(&d, desk_start("b", "Done"));
    desk_work(&d);
    desk_projected(&d, TH_OK);
    assert_true(th_partition_dirty_since(d.p, false) != TH_TIME_NONE);
    assert_true(th_partition_flushed(d.p, asked));
    assert_false(th_partition_flushed(d.p, d.now));
    desk_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_batch_that_began_after_the_question),
        cmocka_unit_test(test_a_batch_that_failed),
        cmocka_unit_test(test_a_later_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

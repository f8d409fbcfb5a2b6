/* Which partitions are taken and given up: a script of what the group says, by lines. */
#include "worker/plan.h"

#include "base/buffer.h"
#include "unit/base_test.h"

struct plan_test {
    struct th_plan *plan;
    th_time now;
    const char *owned; /* partitions that somebody else says to own, "02" */
    th_time silent;
    bool unknown;
};

static void begin(struct plan_test *t)
{
    const struct th_plan_options options = {.partitions = 4};
    *t = (struct plan_test){.plan = th_plan_new(&options), .now = 1000 * TH_SECOND, .owned = ""};
}

static void end(struct plan_test *t)
{
    th_plan_free(t->plan);
}

static void assign(struct plan_test *t, const char *partitions)
{
    uint32_t list[4];
    size_t count = 0;
    for (; partitions[count]; count++) {
        list[count] = (uint32_t)(partitions[count] - '0');
    }
    th_plan_assigned(t->plan, list, count, t->now);
}

static void pass(struct plan_test *t, int64_t milliseconds)
{
    t->now += milliseconds * TH_MILLISECOND;
}

static struct th_former former(void *argument, uint32_t partition)
{
    const struct plan_test *t = argument;
    return (struct th_former){.owns = strchr(t->owned, (int)('0' + partition)) != NULL,
                              .silent = t->silent};
}

/* "+0+1-2": what is taken and given up now. */
static void expect(struct plan_test *t, const char *steps)
{
    TH_BUFFER seen = {0};
    enum th_plan_step step;
    uint32_t p;
    while ((step = th_plan_next(t->plan, !t->unknown, former, t, t->now, &p))) {
        th_buffer_format(&seen, "%c%u", step == TH_PLAN_TAKE ? '+' : '-', (unsigned)p);
    }
    th_buffer_add(&seen, "", 1);
    assert_string_equal(seen.data, steps);
}

static void what_nobody_has_is_taken_at_once(void **state)
{
    struct plan_test t;
    begin(&t);
    assign(&t, "02");
    assert_false(th_plan_settled(t.plan));
    expect(&t, "+0+2");
    expect(&t, "");
    assert_true(th_plan_settled(t.plan));
    assert_true(th_plan_taken(t.plan, 2) && !th_plan_taken(t.plan, 1));
    assert_true(th_plan_deadline(t.plan, t.now) == TH_TIME_NONE);
    end(&t);
}

static void a_rebalance_that_changes_nothing_does_nothing(void **state)
{
    struct plan_test t;
    begin(&t);
    assign(&t, "01");
    expect(&t, "+0+1");
    th_plan_revoked(t.plan, t.now);
    expect(&t, "");
    pass(&t, 9000);
    expect(&t, "");
    assert_false(th_plan_settled(t.plan));
    assign(&t, "01");
    pass(&t, 9000);
    expect(&t, "");
    assert_true(th_plan_settled(t.plan));
    end(&t);
}

static void what_went_to_another_is_given_up(void **state)
{
    struct plan_test t;
    begin(&t);
    assign(&t, "0123");
    expect(&t, "+0+1+2+3");
    th_plan_revoked(t.plan, t.now);
    assign(&t, "12");
    expect(&t, "-0-3");
    assign(&t, "");
    expect(&t, "-1-2");
    assign(&t, "3");
    expect(&t, "+3");
    end(&t);
}

static void a_former_owner_is_waited_for_but_not_long(void **state)
{
    struct plan_test t;
    begin(&t);
    t.owned = "01";
    assign(&t, "012");
    expect(&t, "+2");
    assert_true(th_plan_deadline(t.plan, t.now) > t.now);
    pass(&t, 100);
    expect(&t, "");
    t.owned = "1";
    expect(&t, "+0");
    pass(&t, 399);
    expect(&t, "");
    pass(&t, 1);
    expect(&t, "+1");
    end(&t);
}

static void one_who_is_silent_is_not_waited_for(void **state)
{
    struct plan_test t;
    begin(&t);
    t.owned = "0";
    assign(&t, "0");
    t.silent = 599 * TH_MILLISECOND;
    expect(&t, "");
    t.silent = 600 * TH_MILLISECOND;
    expect(&t, "+0");
    end(&t);
}

static void nothing_is_taken_before_others_are_known(void **state)
{
    struct plan_test t;
    begin(&t);
    t.unknown = true;
    assign(&t, "0");
    pass(&t, 60000);
    expect(&t, "");
    t.unknown = false;
    expect(&t, "+0");
    end(&t);
}

static void a_lost_session_costs_everything(void **state)
{
    struct plan_test t;
    begin(&t);
    t.owned = "2";
    assign(&t, "012");
    expect(&t, "+0+1");
    th_plan_lost(t.plan);
    expect(&t, "-0-1");
    pass(&t, 1000);
    expect(&t, "");
    assert_false(th_plan_wants(t.plan, 2));
    assign(&t, "2");
    t.owned = "";
    expect(&t, "+2");
    end(&t);
}

static void a_revocation_without_end_costs_everything(void **state)
{
    struct plan_test t;
    begin(&t);
    assign(&t, "0");
    expect(&t, "+0");
    th_plan_revoked(t.plan, t.now);
    assert_true(th_plan_deadline(t.plan, t.now) == t.now + 10 * TH_SECOND);
    pass(&t, 10000);
    expect(&t, "-0");
    pass(&t, 10000);
    expect(&t, "");
    end(&t);
}

static void what_was_expected_is_forgotten_when_it_is_revoked(void **state)
{
    struct plan_test t;
    begin(&t);
    t.owned = "0";
    assign(&t, "0");
    th_plan_revoked(t.plan, t.now);
    pass(&t, 600);
    expect(&t, "");
    assign(&t, "0"); /* the wait begins anew */
    expect(&t, "");
    pass(&t, 500);
    expect(&t, "+0");
    end(&t);
}

static void at_the_end_nothing_is_taken_any_more(void **state)
{
    struct plan_test t;
    begin(&t);
    assign(&t, "01");
    expect(&t, "+0+1");
    th_plan_end(t.plan);
    expect(&t, "-0-1");
    assign(&t, "01");
    expect(&t, "");
    end(&t);
}

/* A partition that is given up and comes back before anybody has looked is given up first. */
static void given_up_and_back_is_taken_anew(void **state)
{
    struct plan_test t;
    begin(&t);
    assign(&t, "0");
    expect(&t, "+0");
    assign(&t, "");
    expect(&t, "-0");
    assign(&t, "0");
    expect(&t, "+0");
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_has_is_taken_at_once),
        cmocka_unit_test(a_rebalance_that_changes_nothing_does_nothing),
        cmocka_unit_test(what_went_to_another_is_given_up),
        cmocka_unit_test(a_former_owner_is_waited_for_but_not_long),
        cmocka_unit_test(one_who_is_silent_is_not_waited_for),
        cmocka_unit_test(nothing_is_taken_before_others_are_known),
        cmocka_unit_test(a_lost_session_costs_everything),
        cmocka_unit_test(a_revocation_without_end_costs_everything),
        cmocka_unit_test(what_was_expected_is_forgotten_when_it_is_revoked),
        cmocka_unit_test(at_the_end_nothing_is_taken_any_more),
        cmocka_unit_test(given_up_and_back_is_taken_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

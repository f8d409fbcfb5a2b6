/* What the composite adds to its halves: states that are joined, turns in poll, one wake-up. Both
 * halves are simulated; only the operations of its half are asked of each. */
#include "provider/fleet/fleet.h"
#include "provider/provider.h"
#include "provider/simulated/simulated.h"
#include "unit/base_test.h"

struct fleet_test {
    struct th_sim_world *log, *projection;
    struct th_provider *fleet;
    unsigned wakes;
};

static void on_wake(void *argument)
{
    ((struct fleet_test *)argument)->wakes++;
}

static void begin(struct fleet_test *t)
{
    struct th_sim_options options = th_sim_defaults();
    options.partitions = 2;
    options.max_record_bytes = 1000;
    *t = (struct fleet_test){.log = th_sim_world_new(1, &options),
                             .projection = th_sim_world_new(2, &options)};
    t->fleet = th_fleet_open(th_sim_open(t->log, NULL), th_sim_open(t->projection, NULL));
    t->fleet->wake = on_wake;
    t->fleet->wake_argument = t;
}

static void end(struct fleet_test *t)
{
    t->fleet->ops->close(t->fleet);
    th_sim_world_free(t->log);
    th_sim_world_free(t->projection);
}

static void settle(struct fleet_test *t)
{
    while (th_sim_step(t->log) || th_sim_step(t->projection)) {
    }
}

static void append(struct fleet_test *t, uint64_t tag)
{
    struct th_blob *record = th_blob_new("r", 1);
    t->fleet->ops->append(t->fleet, 1, 0, record, tag);
    th_blob_unref(record);
}

static struct th_completion state_of(struct fleet_test *t)
{
    struct th_completion done = {.tag = 0};
    t->fleet->ops->state(t->fleet, 1, 77);
    settle(t);
    assert_int_equal(t->fleet->ops->poll(t->fleet, &done, 1), 1);
    assert_int_equal(done.kind, TH_DONE_STATE);
    assert_true(done.tag == 77 && done.partition == 1);
    return done;
}

static void take_one(struct fleet_test *t, enum th_completion_kind kind)
{
    struct th_completion done;
    settle(t);
    assert_int_equal(t->fleet->ops->poll(t->fleet, &done, 1), 1);
    assert_int_equal(done.kind, kind);
    assert_int_equal(done.error.code, TH_OK);
    th_completion_deinit(&done);
}

static void project(struct fleet_test *t)
{
    struct th_projection batch = {.partition = 1, .previous = TH_WATERMARK_NONE};
    batch.next = (struct th_watermark){.offset = 5, .epoch = 1, .sequence = 2, .floor = -1};
    t->fleet->ops->project(t->fleet, &batch, 1);
}

static void states_are_joined(void **state)
{
    struct fleet_test t;
    begin(&t);
    append(&t, 1);
    take_one(&t, TH_DONE_APPEND);
    project(&t);
    take_one(&t, TH_DONE_PROJECT);
    struct th_completion done = state_of(&t);
    assert_int_equal(done.error.code, TH_OK);
    assert_int_equal(done.log_end, 1);
    assert_int_equal(done.watermark.offset, 5);
    end(&t);
}

static void ends_come_without_the_projection(void **state)
{
    struct fleet_test t;
    begin(&t);
    append(&t, 1);
    take_one(&t, TH_DONE_APPEND);
    th_sim_projection_down(t.projection, true);
    struct th_completion done = state_of(&t);
    assert_int_equal(done.error.code, TH_UNAVAILABLE);
    assert_true(done.error.message[0] != '\0');
    assert_int_equal(done.log_end, 1);
    assert_int_equal(done.watermark.offset, -1);
    end(&t);
}

static void nothing_comes_without_the_log(void **state)
{
    struct fleet_test t;
    begin(&t);
    th_sim_options(t.log)->fail_answer = 1;
    struct th_completion done = state_of(&t);
    assert_int_equal(done.error.code, TH_UNAVAILABLE);
    end(&t);
}

static void both_halves_get_their_turn(void **state)
{
    struct fleet_test t;
    struct th_completion done[8];
    begin(&t);
    for (uint64_t i = 0; i < 20; i++) {
        append(&t, i);
        t.fleet->ops->load(t.fleet, 1, TH_STR("nobody"), false, i);
    }
    settle(&t);
    size_t appends = 0;
    assert_int_equal(t.fleet->ops->poll(t.fleet, done, 8), 8);
    for (size_t i = 0; i < 8; i++) {
        appends += done[i].kind == TH_DONE_APPEND;
        th_completion_deinit(&done[i]);
    }
    assert_int_equal(appends, 4);
    end(&t); /* with completions nobody took */
}

static void it_is_one_provider(void **state)
{
    struct fleet_test t;
    begin(&t);
    struct th_provider_traits traits = t.fleet->ops->traits(t.fleet);
    assert_string_equal(traits.name, "fleet");
    assert_int_equal(traits.max_record_bytes, 1000);
    assert_true(traits.shared && !traits.ordered && !traits.durable_projection);
    assert_int_equal(t.fleet->hub.partitions, 2);
    append(&t, 1);
    t.fleet->ops->load(t.fleet, 1, TH_STR("nobody"), false, 2);
    settle(&t);
    assert_int_equal(t.wakes, 2); /* each half tells when it has something */
    t.fleet->ops->state(t.fleet, 0, 3);
    end(&t); /* with a state under way */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_joined),
        cmocka_unit_test(ends_come_without_the_projection),
        cmocka_unit_test(nothing_comes_without_the_log),
        cmocka_unit_test(both_halves_get_their_turn),
        cmocka_unit_test(it_is_one_provider),
    };
    return cmocka_run_group_tests_name("fleet", tests, NULL, NULL);
}

/* What the simulated world offers beyond the contract: disasters, time, and a look at the truth. */
#include "provider/provider.h"
#include "provider/simulated/simulated.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LOGS = 2 };

static struct th_sim_world *world_of(const struct th_sim_options *given)
{
    struct th_sim_options options = given ? *given : th_sim_defaults();
    options.partitions = LOGS;
    return th_sim_world_new(42, &options);
}

static void append(struct th_provider *p, uint64_t epoch, const char *text, uint64_t tag)
{
    struct th_blob *record = th_blob_new(text, strlen(text));
    p->ops->append(p, 0, epoch, record, tag);
    th_blob_unref(record);
}

static void claim(struct th_provider *p, uint64_t tag)
{
    struct th_blob *record = th_blob_new("claim", 5);
    p->ops->claim(p, 0, record, tag);
    th_blob_unref(record);
}

static void send(struct th_provider *p, const char *text, uint64_t tag)
{
    struct th_blob *message = th_blob_new(text, strlen(text));
    p->ops->send(p, 0, 1, message, tag);
    th_blob_unref(message);
}

static void project(struct th_provider *p, struct th_watermark previous, struct th_watermark next,
                    const char *id, uint64_t tag)
{
    struct th_row row = {.instance_id = th_str_of(id), .name = TH_STR("n")};
    struct th_projection batch = {.previous = previous, .next = next, .rows = &row, .count = 1};
    p->ops->project(p, &batch, tag);
}

static void run(struct th_sim_world *world)
{
    while (th_sim_step(world)) {
    }
    assert_true(th_sim_idle(world));
}

/* Polls everything; the codes by tag. TH_INTERNAL: not completed. */
struct polled {
    enum th_code codes[16];
    size_t count, deliveries;
    int64_t log_end;
};

static struct polled poll_all(struct th_provider *p)
{
    struct polled polled = {0};
    struct th_completion done;
    for (size_t i = 0; i < sizeof(polled.codes) / sizeof(polled.codes[0]); i++) {
        polled.codes[i] = TH_INTERNAL;
    }
    while (p->ops->poll(p, &done, 1) > 0) {
        if (done.kind == TH_DONE_DELIVER) {
            polled.deliveries++;
        } else {
            polled.codes[done.tag] = done.error.code;
            polled.log_end = done.log_end;
            polled.count++;
        }
        th_completion_deinit(&done);
    }
    return polled;
}

static void a_paused_process_hears_nothing(void **state)
{
    struct th_sim_world *world = world_of(NULL);
    struct th_provider *p = th_sim_open(world, NULL);
    claim(p, 1);
    th_sim_step(world);
    th_sim_pause(p);
    append(p, 0, "a", 2);
    run(world);
    assert_int_equal(th_sim_log(world, 0).count, 2); /* it has landed all the same */
    assert_int_equal(poll_all(p).count, 0);
    th_sim_resume(p);
    run(world);
    assert_int_equal(poll_all(p).count, 2);
    p->ops->close(p);
    th_sim_world_free(world);
}

static size_t left_behind(double zombie)
{
    struct th_sim_options options = th_sim_defaults();
    options.zombie = zombie;
    struct th_sim_world *world = world_of(&options);
    struct th_provider *dead = th_sim_open(world, NULL);
    for (uint64_t i = 0; i < 10; i++) {
        append(dead, 0, "late", i);
    }
    th_sim_kill(dead);
    struct th_provider *heir = th_sim_open(world, NULL);
    claim(heir, 1);
    run(world);
    assert_int_equal(poll_all(dead).count, 0);
    assert_int_equal(poll_all(heir).count, 1);
    size_t count = th_sim_log(world, 0).count - 1;
    dead->ops->close(dead);
    heir->ops->close(heir);
    th_sim_world_free(world);
    return count;
}

static void the_dead_leave_a_prefix_behind(void **state)
{
    assert_int_equal(left_behind(0), 0);
    assert_in_range(left_behind(1), 1, 10); /* with this seed */
}

static void a_dead_process_does_nothing(void **state)
{
    struct th_sim_world *world = world_of(NULL);
    struct th_provider *p = th_sim_open(world, NULL);
    th_sim_power_cut(world);
    claim(p, 1);
    append(p, 0, "a", 2);
    p->ops->inbox_open(p, 0, 0);
    p->ops->trim_log(p, 0, 5);
    p->ops->state(p, 0, 3);
    project(p, TH_WATERMARK_NONE, TH_WATERMARK_NONE, "a", 4);
    assert_true(th_sim_idle(world));
    assert_int_equal(poll_all(p).count, 0);
    p->ops->close(p);
    th_sim_world_free(world);
}

static void projections_can_vanish_and_roll_back(void **state)
{
    static const struct th_watermark one = {1, 1, 1};
    static const struct th_watermark two = {2, 2, 2};
    struct th_sim_world *world = world_of(NULL);
    struct th_provider *p = th_sim_open(world, NULL);
    assert_false(th_sim_restore_projection(world, 0)); /* there is no copy yet */
    project(p, TH_WATERMARK_NONE, one, "a", 1);
    run(world);
    th_sim_dump_projection(world, 0);
    project(p, one, two, "b", 2);
    run(world);
    assert_int_equal(th_sim_projection(world, 0).count, 2);
    assert_true(th_sim_restore_projection(world, 0));
    assert_int_equal(th_sim_projection(world, 0).count, 1);
    struct th_watermark stored = th_sim_projection(world, 0).watermark;
    assert_true(th_watermark_equal(&stored, &one));
    assert_true(th_sim_wipe_projection(world, 0));
    assert_int_equal(th_sim_projection(world, 0).count, 0);
    assert_int_equal(th_sim_projection(world, 0).watermark.offset, -1);
    p->ops->close(p);
    th_sim_world_free(world);
}

static void durable_projections_stay(void **state)
{
    struct th_sim_options options = th_sim_defaults();
    options.durable_projection = true;
    struct th_sim_world *world = world_of(&options);
    th_sim_dump_projection(world, 0);
    assert_false(th_sim_wipe_projection(world, 0));
    assert_false(th_sim_restore_projection(world, 0));
    th_sim_world_free(world);
}

static void while_the_projection_is_down_the_log_goes_on(void **state)
{
    struct th_sim_world *world = world_of(NULL);
    struct th_provider *p = th_sim_open(world, NULL);
    th_sim_projection_down(world, true);
    claim(p, 1);
    run(world);
    project(p, TH_WATERMARK_NONE, (struct th_watermark){0, 0, 0}, "a", 2);
    p->ops->load(p, 0, TH_STR("a"), true, 3);
    p->ops->state(p, 0, 4);
    run(world);
    struct polled polled = poll_all(p);
    assert_int_equal(polled.codes[1], TH_OK);
    assert_int_equal(polled.codes[2], TH_UNAVAILABLE);
    assert_int_equal(polled.codes[3], TH_UNAVAILABLE);
    assert_int_equal(polled.codes[4], TH_UNAVAILABLE);
    th_sim_projection_down(world, false);
    p->ops->state(p, 0, 5);
    run(world);
    polled = poll_all(p);
    assert_int_equal(polled.codes[5], TH_OK);
    assert_int_equal(polled.log_end, 1);
    p->ops->close(p);
    th_sim_world_free(world);
}

static void logs_can_lose_their_end(void **state)
{
    struct th_sim_world *world = world_of(NULL);
    struct th_provider *p = th_sim_open(world, NULL);
    for (uint64_t i = 0; i < 5; i++) {
        append(p, 0, "a", i);
    }
    run(world);
    th_sim_truncate_log(world, 0, 3);
    assert_int_equal(th_sim_log(world, 0).count, 3);
    append(p, 0, "b", 5);
    run(world);
    assert_int_equal(th_sim_log(world, 0).records[3].offset, 3);
    p->ops->close(p);
    th_sim_world_free(world);
}

static void trimmed_records_can_be_kept_for_checkers(void **state)
{
    for (int keep = 0; keep < 2; keep++) {
        struct th_sim_options options = th_sim_defaults();
        options.keep_trimmed = keep;
        struct th_sim_world *world = world_of(&options);
        struct th_provider *p = th_sim_open(world, NULL);
        for (uint64_t i = 0; i < 5; i++) {
            append(p, 0, "a", i);
        }
        run(world);
        p->ops->trim_log(p, 0, 4);
        run(world);
        assert_int_equal(th_sim_log(world, 0).start, 4);
        assert_int_equal(th_sim_log(world, 0).count, keep ? 5 : 1);
        p->ops->close(p);
        th_sim_world_free(world);
    }
}

static void one_process_at_a_time_when_ordered(void **state)
{
    struct th_sim_options options = th_sim_defaults();
    options.ordered = true;
    struct th_sim_world *world = world_of(&options);
    struct th_provider *first = th_sim_open(world, NULL);
    struct th_error error = {0};
    assert_null(th_sim_open(world, &error));
    assert_int_equal(error.code, TH_UNAVAILABLE);
    th_sim_kill(first);
    struct th_provider *second = th_sim_open(world, NULL);
    assert_non_null(second);
    first->ops->close(first);
    second->ops->close(second);
    th_sim_world_free(world);
}

static void early_messages_die_with_their_process(void **state)
{
    struct th_sim_options options = th_sim_defaults();
    options.ordered = options.early_delivery = true;
    options.weight[TH_SIM_COMMIT] = 0; /* nothing becomes durable */
    struct th_sim_world *world = world_of(&options);
    struct th_provider *p = th_sim_open(world, NULL);
    p->ops->inbox_open(p, 1, 0);
    send(p, "early", 1);
    run(world);
    struct polled polled = poll_all(p);
    assert_int_equal(polled.deliveries, 1);
    assert_int_equal(polled.count, 0);
    assert_false(th_sim_inbox(world, 1).records[0].durable);
    th_sim_kill(p);
    assert_int_equal(th_sim_inbox(world, 1).count, 0);
    assert_int_equal(th_sim_inbox(world, 1).end, 0);
    p->ops->close(p);
    th_sim_world_free(world);
}

static void duplicates_come_after_the_first(void **state)
{
    struct th_sim_options options = th_sim_defaults();
    options.duplicate_send = 1;
    struct th_sim_world *world = world_of(&options);
    struct th_provider *p = th_sim_open(world, NULL);
    send(p, "a", 1);
    send(p, "b", 2);
    run(world);
    assert_int_equal(th_sim_inbox(world, 1).count, 4);
    assert_true(th_str_eq(th_blob_view(th_sim_inbox(world, 1).records[0].bytes), TH_STR("a")));
    assert_int_equal(poll_all(p).count, 2);
    p->ops->close(p);
    th_sim_world_free(world);
}

static void time_passes_by_steps_and_by_hand(void **state)
{
    struct th_sim_options options = th_sim_defaults();
    struct th_sim_world *world = world_of(&options);
    struct th_provider *p = th_sim_open(world, NULL);
    for (uint64_t i = 0; i < 10; i++) {
        append(p, 0, "a", i);
    }
    run(world);
    assert_in_range(th_sim_now(world) - options.start, 1, 20 * 10);
    assert_int_equal(th_sim_steps(world), 20);
    th_sim_advance(world, options.start + TH_SECOND);
    th_sim_advance(world, options.start);
    assert_int_equal(th_sim_now(world), options.start + TH_SECOND);
    p->ops->close(p);
    th_sim_world_free(world);
}

static void a_partition_that_is_none_is_refused(void **state)
{
    struct th_sim_world *world = world_of(NULL);
    struct th_provider *p = th_sim_open(world, NULL);
    p->ops->state(p, LOGS, 1);
    p->ops->trim_log(p, LOGS, 1);
    p->ops->inbox_open(p, LOGS, 0);
    assert_int_equal(poll_all(p).codes[1], TH_INVALID);
    p->ops->close(p);
    th_sim_world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_paused_process_hears_nothing),
        cmocka_unit_test(the_dead_leave_a_prefix_behind),
        cmocka_unit_test(a_dead_process_does_nothing),
        cmocka_unit_test(projections_can_vanish_and_roll_back),
        cmocka_unit_test(durable_projections_stay),
        cmocka_unit_test(while_the_projection_is_down_the_log_goes_on),
        cmocka_unit_test(logs_can_lose_their_end),
        cmocka_unit_test(trimmed_records_can_be_kept_for_checkers),
        cmocka_unit_test(one_process_at_a_time_when_ordered),
        cmocka_unit_test(early_messages_die_with_their_process),
        cmocka_unit_test(duplicates_come_after_the_first),
        cmocka_unit_test(time_passes_by_steps_and_by_hand),
        cmocka_unit_test(a_partition_that_is_none_is_refused),
    };
    return cmocka_run_group_tests_name("simulated world", tests, NULL, NULL);
}

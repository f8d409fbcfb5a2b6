/* The fold of a history, and its codec. */
#include "unit/engine_bench.h"

#include "base/hash.h"

static struct th_str text_of(struct th_random *r, struct th_arena *arena)
{
    static const char *const some[] = {"", "a", "\xff\x01", "a longer piece of text, for a change"};
    const uint64_t n = th_random_below(r, TH_COUNT(some) + 2);

    return n < TH_COUNT(some) ? th_arena_str(arena, th_str_of(some[n])) : TH_STR_ABSENT;
}

static struct th_strs texts_of(struct th_random *r, struct th_arena *arena)
{
    const size_t count = th_random_below(r, 4);
    struct th_str *items = TH_ARENA_ARRAY(arena, struct th_str, count);

    for (size_t n = 0; n < count; n++)
        items[n] = text_of(r, arena);
    return (struct th_strs){.items = items, .count = count};
}

static struct th_instance_info any_info(struct th_random *r, struct th_arena *arena)
{
    static const struct th_failure inner = {.type = {"In", 2}};
    static const struct th_failure failure = {
        .type = {"T", 1}, .message = {"m", 1}, .non_retriable = true, .inner = &inner};
    static const struct th_tag tags[] = {{{"k", 1}, {"", 0}}, {{"l", 1}, {"v", 1}}};
    struct th_instance_info info = {.instance_id = text_of(r, arena),
                                    .execution_id = text_of(r, arena),
                                    .name = text_of(r, arena),
                                    .version = text_of(r, arena),
                                    .input = text_of(r, arena),
                                    .output = text_of(r, arena),
                                    .custom_status = text_of(r, arena),
                                    .request_id = text_of(r, arena),
                                    .trace = text_of(r, arena),
                                    .turn_trace = text_of(r, arena),
                                    .carryover = text_of(r, arena),
                                    .section = text_of(r, arena),
                                    .locked_by = text_of(r, arena),
                                    .locked = texts_of(r, arena),
                                    .voided = texts_of(r, arena),
                                    .unlocked = th_random_below(r, 3),
                                    .has_state = th_random_below(r, 2)};

    info.status = (enum th_status)th_random_below(r, 9);
    info.created = (th_time)th_random_next(r) >> 8;
    info.updated = (th_time)th_random_next(r) >> 8;
    info.completed = th_random_below(r, 2) ? TH_TIME_NONE : -1;
    info.scheduled = th_random_below(r, 2) ? TH_TIME_NONE : 0;
    info.failure = th_random_below(r, 2) ? &failure : NULL;
    info.parent = th_random_below(r, 2) ? &bench_parent : NULL;
    info.tags = (struct th_tags){tags, th_random_below(r, 3)};
    info.generation = (uint32_t)th_random_next(r);
    info.event_count = (uint32_t)th_random_next(r);
    info.starting = th_random_below(r, 2);
    return info;
}

/* Every field, through an event, which can be compared. */
static void expect_same(const struct th_instance_info *a, const struct th_instance_info *b)
{
    const struct th_instance_info *both[2] = {a, b};
    struct th_event events[2][3];

    for (int n = 0; n < 2; n++) {
        const struct th_instance_info *i = both[n];
        events[n][0] = (struct th_event){.instance_id = i->instance_id,
                                         .execution_id = i->execution_id,
                                         .name = i->name,
                                         .version = i->version,
                                         .data = i->input,
                                         .reason = i->output,
                                         .trace = i->trace,
                                         .request_id = i->request_id,
                                         .timestamp = i->created,
                                         .fire_at = i->updated,
                                         .status = i->status,
                                         .failure = i->failure,
                                         .parent = i->parent,
                                         .tags = i->tags};
        events[n][1] = (struct th_event){.timestamp = i->completed,
                                         .fire_at = i->scheduled,
                                         .id = (int32_t)i->generation,
                                         .related_id = (int32_t)i->event_count,
                                         .recurse = i->starting,
                                         .name = i->custom_status,
                                         .data = i->carryover,
                                         .reason = i->section,
                                         .trace = i->locked_by,
                                         .lock_set = i->locked};
        events[n][2] = (struct th_event){.data = i->turn_trace,
                                         .lock_set = i->voided,
                                         .timestamp = (th_time)i->unlocked,
                                         .recurse = i->has_state};
    }
    assert_true(th_event_equal(&events[0][0], &events[1][0]));
    assert_true(th_event_equal(&events[0][1], &events[1][1]));
    assert_true(th_event_equal(&events[0][2], &events[1][2]));
}

static void test_infos_come_back(void **state)
{
    (void)state;
    struct th_random r;

    th_random_seed(&r, 5);
    for (int n = 0; n < 500; n++) {
        TH_ARENA arena = {0};
        TH_BUFFER bytes = {0};
        struct th_instance_info info = any_info(&r, &arena), back, copy;
        struct th_reader reader;

        th_encode_info(&bytes, &info, true);
        reader = th_reader_of(th_buffer_view(&bytes), &arena, NULL);
        assert_true(th_decode_info(&reader, &back));
        assert_ptr_equal(reader.at, reader.end);
        expect_same(&info, &back);
        copy = th_info_copy(&arena, &info);
        expect_same(&info, &copy);
        assert_true(!copy.name.data || copy.name.data != info.name.data);

        bytes.len = 0; /* a row's: input and output are columns of their own */
        th_encode_info(&bytes, &info, false);
        reader = th_reader_of(th_buffer_view(&bytes), &arena, NULL);
        assert_true(th_decode_info(&reader, &back));
        info.input = info.output = TH_STR_ABSENT;
        expect_same(&info, &back);
    }
}

static void test_cut_bytes_are_refused(void **state)
{
    (void)state;
    struct th_random r;
    TH_ARENA arena = {0};
    TH_BUFFER bytes = {0};
    struct th_instance_info info;

    th_random_seed(&r, 6);
    info = any_info(&r, &arena);
    th_encode_info(&bytes, &info, true);
    for (size_t n = 0; n < bytes.len; n++) {
        struct th_error error = {0};
        struct th_reader reader = th_reader_of(th_str_n(bytes.data, n), &arena, &error);
        struct th_instance_info back;

        assert_false(th_decode_info(&reader, &back));
        assert_int_equal(error.code, TH_CORRUPT);
    }
}

static void expect_refused(uint64_t field, uint64_t value, const char *words)
{
    TH_ARENA arena = {0};
    TH_BUFFER bytes = {0};
    struct th_error error = {0};
    struct th_instance_info back;
    struct th_reader reader;

    th_write_map(&bytes, 1);
    th_write_u64(&bytes, field);
    th_write_u64(&bytes, value);
    reader = th_reader_of(th_buffer_view(&bytes), &arena, &error);
    assert_false(th_decode_info(&reader, &back));
    assert_string_equal(error.message, words);
}

static void test_numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    expect_refused(15, 9, "9 is no such thing as a status");
    expect_refused(15, UINT64_C(1) << 32, "4294967296 is no such thing as a status");
    expect_refused(16, UINT64_C(1) << 32, "4294967296 is no such thing as a generation");
    expect_refused(17, UINT64_C(1) << 32, "4294967296 is no such thing as a count of events");
}

static void test_unknown_fields_are_skipped(void **state)
{
    (void)state;
    TH_ARENA arena = {0};
    TH_BUFFER bytes = {0};
    struct th_instance_info back;
    struct th_reader reader;

    th_write_map(&bytes, 2);
    th_write_u64(&bytes, 999);
    th_write_array(&bytes, 1);
    th_write_nil(&bytes);
    th_write_u64(&bytes, 3);
    th_write_str(&bytes, TH_STR("N"));
    reader = th_reader_of(th_buffer_view(&bytes), &arena, NULL);
    assert_true(th_decode_info(&reader, &back));
    assert_str(back.name, "N");
    assert_int_equal(back.completed, TH_TIME_NONE);
}

static void test_a_newer_format_is_refused(void **state)
{
    (void)state;
    TH_ARENA arena = {0};
    TH_BUFFER bytes = {0};
    struct th_error error = {.code = TH_OK};
    struct th_instance_info info = {.format = 2, .name = TH_STR("N")}, back;

    th_encode_info(&bytes, &info, true);
    struct th_reader old = th_reader_of(th_buffer_view(&bytes), &arena, &error);
    assert_false(th_decode_info(&old, &back));
    assert_int_equal(error.code, TH_UNSUPPORTED);
    struct th_reader new = th_reader_of(th_buffer_view(&bytes), &arena, &error);
    new.format = 2;
    assert_true(th_decode_info(&new, &back));
    assert_int_equal(back.format, 2); /* and is kept when it is written again */
}

/* ---- the fold ---- */

static void apply(struct th_instance_info *info, enum th_event_kind kind, th_time when)
{
    struct th_event e = th_event_of(kind, when);

    e.status = TH_STATUS_COMPLETED;
    e.name = TH_STR("F");
    e.data = TH_STR("d");
    th_info_apply(info, &e);
}

static void test_the_fold(void **state)
{
    (void)state;
    struct th_instance_info info = {.completed = TH_TIME_NONE};

    apply(&info, TH_EVENT_ORCHESTRATOR_STARTED, 10);
    assert_false(th_info_exists(&info));
    apply(&info, TH_EVENT_EXECUTION_STARTED, 9);
    assert_true(th_info_exists(&info));
    assert_int_equal(info.status, TH_STATUS_RUNNING);
    assert_int_equal(info.created, 9);
    assert_int_equal(info.updated, 10);
    apply(&info, TH_EVENT_EXECUTION_SUSPENDED, 11);
    assert_int_equal(info.status, TH_STATUS_SUSPENDED);
    apply(&info, TH_EVENT_EXECUTION_RESUMED, 12);
    assert_int_equal(info.status, TH_STATUS_RUNNING);
    apply(&info, TH_EVENT_EXECUTION_COMPLETED, 13);
    assert_int_equal(info.status, TH_STATUS_COMPLETED);
    assert_int_equal(info.completed, 13);
    assert_str(info.output, "d");
    assert_int_equal(info.event_count, 5);
    apply(&info, TH_EVENT_EXECUTION_STARTED, 20); /* another start with the id */
    assert_int_equal(info.created, 20);
    assert_int_equal(info.completed, TH_TIME_NONE);
    assert_false(th_str_present(info.output));
}

static void test_a_generation_keeps_its_age(void **state)
{
    (void)state;
    struct th_instance_info info = {.created = 1,
                                    .generation = 4,
                                    .starting = true,
                                    .custom_status = TH_STR("s"),
                                    .carryover = TH_STR("c")};

    apply(&info, TH_EVENT_EXECUTION_STARTED, 20);
    assert_int_equal(info.created, 1);
    assert_int_equal(info.generation, 4);
    assert_str(info.custom_status, "s");
    assert_false(info.starting);
    assert_false(th_str_present(info.carryover));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_infos_come_back),
        cmocka_unit_test(test_cut_bytes_are_refused),
        cmocka_unit_test(test_numbers_out_of_range_are_refused),
        cmocka_unit_test(test_unknown_fields_are_skipped),
        cmocka_unit_test(test_a_newer_format_is_refused),
        cmocka_unit_test(test_the_fold),
        cmocka_unit_test(test_a_generation_keeps_its_age),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What is finished, in whatever order, and what a commit carries to the next consumer. */
#include "worker/offsets.h"

#include "base/buffer.h"
#include "base/hash.h"
#include "unit/base_test.h"

enum { INCARNATION = 77 };

static void arrive(struct th_offsets *o, int64_t from, int64_t to)
{
    for (; from < to; from++) {
        assert_int_equal(th_offsets_arrive(o, from), TH_OFFSET_NEW);
    }
}

static void finish(struct th_offsets *o, const char *digits)
{
    for (; *digits; digits++) {
        th_offsets_finish(o, *digits - '0');
    }
}

/* "5 7-9": position and runs. */
static void expect(const struct th_offsets *o, const char *text)
{
    TH_BUFFER seen = {0};
    th_buffer_format(&seen, "%lld", (long long)o->position);
    for (size_t i = 0; i < o->run_count; i++) {
        th_buffer_format(&seen, " %lld-%lld", (long long)o->runs[i].from, (long long)o->runs[i].to);
    }
    th_buffer_add(&seen, "", 1);
    assert_string_equal(seen.data, text);
}

static void the_position_is_the_lowest_that_is_not_finished(void **state)
{
    struct th_offsets o;
    th_offsets_init(&o, 2);
    arrive(&o, 2, 10);
    finish(&o, "4");
    expect(&o, "2 4-5");
    finish(&o, "67");
    expect(&o, "2 4-5 6-8");
    finish(&o, "5");
    expect(&o, "2 4-8");
    finish(&o, "2");
    expect(&o, "3 4-8");
    finish(&o, "3");
    expect(&o, "8");
    finish(&o, "98");
    expect(&o, "10");
    assert_int_equal(o.end, 10);
    th_offsets_deinit(&o);
}

static void finishing_twice_changes_nothing(void **state)
{
    struct th_offsets o;
    th_offsets_init(&o, 0);
    arrive(&o, 0, 5);
    finish(&o, "3031");
    expect(&o, "2 3-4");
    th_offsets_deinit(&o);
}

static void offsets_that_do_not_exist_are_finished(void **state)
{
    struct th_offsets o;
    th_offsets_init(&o, 0);
    assert_int_equal(th_offsets_arrive(&o, 3), TH_OFFSET_NEW);
    expect(&o, "3");
    assert_int_equal(th_offsets_arrive(&o, 6), TH_OFFSET_NEW);
    expect(&o, "3 4-6");
    finish(&o, "36");
    expect(&o, "7");
    th_offsets_deinit(&o);
}

static void what_was_finished_comes_again_after_a_move(void **state)
{
    struct th_offsets o, next;
    char text[TH_OFFSETS_TEXT];
    th_offsets_init(&o, 0);
    arrive(&o, 0, 9);
    finish(&o, "023468");
    th_offsets_encode(&o, INCARNATION, NULL, text);
    assert_true(th_offsets_decode(&next, o.position, INCARNATION, th_str_of(text)));
    expect(&next, "1 2-5 6-7 8-9");
    assert_int_equal(th_offsets_arrive(&next, 1), TH_OFFSET_NEW);
    assert_int_equal(th_offsets_arrive(&next, 2), TH_OFFSET_FINISHED);
    assert_int_equal(th_offsets_arrive(&next, 3), TH_OFFSET_FINISHED);
    assert_int_equal(th_offsets_arrive(&next, 4), TH_OFFSET_FINISHED);
    assert_int_equal(th_offsets_arrive(&next, 5), TH_OFFSET_NEW);
    assert_int_equal(th_offsets_arrive(&next, 6), TH_OFFSET_FINISHED);
    finish(&next, "15");
    expect(&next, "7 8-9");
    th_offsets_deinit(&o);
    th_offsets_deinit(&next);
}

static void what_runs_is_left_to_its_worker(void **state)
{
    static const int64_t offsets[] = {1, 4};
    const struct th_offsets_running running = {offsets, 2, "box-1-aa", 9};
    struct th_offsets o, next, third;
    char text[TH_OFFSETS_TEXT];
    th_offsets_init(&o, 0);
    arrive(&o, 0, 6);
    finish(&o, "0235");
    th_offsets_encode(&o, INCARNATION, &running, text);
    assert_true(th_offsets_decode(&next, o.position, INCARNATION, th_str_of(text)));
    assert_int_equal(next.left_count, 2);
    assert_string_equal(next.left[1].worker, "box-1-aa");
    assert_int_equal(next.left[1].serial, 9);
    assert_int_equal(th_offsets_arrive(&next, 1), TH_OFFSET_LEFT);
    /* and through the next consumer's commit to a third one */
    th_offsets_encode(&next, INCARNATION, NULL, text);
    assert_true(th_offsets_decode(&third, next.position, INCARNATION, th_str_of(text)));
    assert_int_equal(third.left_count, 2);
    th_offsets_finish(&third, 4);
    assert_int_equal(third.left_count, 1);
    expect(&third, "1 2-6");
    th_offsets_take_back(&third, 1);
    assert_int_equal(third.left_count, 0);
    assert_int_equal(th_offsets_arrive(&third, 1), TH_OFFSET_NEW);
    th_offsets_deinit(&o);
    th_offsets_deinit(&next);
    th_offsets_deinit(&third);
}

/* Every second one is finished, far too many for the metadata: the lower ones are kept. */
static void what_does_not_fit_is_run_again(void **state)
{
    struct th_offsets o, next;
    char text[TH_OFFSETS_TEXT];
    th_offsets_init(&o, 0);
    arrive(&o, 0, 20000);
    for (int64_t offset = 1; offset < 20000; offset += 2) {
        th_offsets_finish(&o, offset);
    }
    th_offsets_encode(&o, INCARNATION, NULL, text);
    assert_true(strlen(text) > TH_OFFSETS_TEXT / 2 && strlen(text) < TH_OFFSETS_TEXT);
    assert_true(th_offsets_decode(&next, 0, INCARNATION, th_str_of(text)));
    assert_true(next.run_count > 1000);
    assert_int_equal(next.runs[0].from, 1);
    th_offsets_deinit(&o);
    th_offsets_deinit(&next);
}

static void very_many_that_run_fit_as_far_as_they_do(void **state)
{
    static int64_t offsets[20000];
    const struct th_offsets_running running = {offsets, 20000, "w", 1};
    struct th_offsets o, next;
    char text[TH_OFFSETS_TEXT];
    for (int64_t i = 0; i < 20000; i++) {
        offsets[i] = i * 1000;
    }
    th_offsets_init(&o, 0);
    th_offsets_encode(&o, INCARNATION, &running, text);
    assert_true(strlen(text) < TH_OFFSETS_TEXT);
    assert_true(th_offsets_decode(&next, 0, INCARNATION, th_str_of(text)));
    assert_true(next.left_count > 500);
    th_offsets_deinit(&next);
}

static void other_metadata_says_nothing(void **state)
{
    static const char *const texts[] = {"", "none of ours", "AAAA", "lQEB", "////", "3f//////"};
    struct th_offsets o;
    char text[TH_OFFSETS_TEXT];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_false(th_offsets_decode(&o, 5, INCARNATION, th_str_of(texts[i])));
        expect(&o, "5");
        th_offsets_deinit(&o);
    }
    th_offsets_init(&o, 5);
    th_offsets_encode(&o, INCARNATION, NULL, text);
    assert_false(th_offsets_decode(&o, 5, INCARNATION + 1, th_str_of(text)));
    th_offsets_deinit(&o);
}

/* Against a plain table of what is finished, through commits at any moment. */
static void random_orders_agree_with_a_table(void **state)
{
    enum { COUNT = 200 };
    struct th_random random;
    char text[TH_OFFSETS_TEXT];
    th_random_seed(&random, 1);
    for (int round = 0; round < 50; round++) {
        bool done[COUNT] = {false};
        struct th_offsets o;
        th_offsets_init(&o, 0);
        arrive(&o, 0, COUNT);
        for (int step = 0; step < 3 * COUNT; step++) {
            uint64_t offset = th_random_below(&random, COUNT);
            done[offset] = true;
            th_offsets_finish(&o, (int64_t)offset);
            if (th_random_below(&random, 20) == 0) {
                int64_t position = o.position;
                th_offsets_encode(&o, INCARNATION, NULL, text);
                th_offsets_deinit(&o);
                assert_true(th_offsets_decode(&o, position, INCARNATION, th_str_of(text)));
            }
            int64_t lowest = 0;
            while (lowest < COUNT && done[lowest]) {
                lowest++;
            }
            assert_int_equal(o.position, lowest);
        }
        for (int64_t offset = 0; offset < COUNT; offset++) {
            assert_int_equal(th_offsets_arrive(&o, offset),
                             done[offset] ? TH_OFFSET_FINISHED : TH_OFFSET_NEW);
        }
        th_offsets_deinit(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_position_is_the_lowest_that_is_not_finished),
        cmocka_unit_test(finishing_twice_changes_nothing),
        cmocka_unit_test(offsets_that_do_not_exist_are_finished),
        cmocka_unit_test(what_was_finished_comes_again_after_a_move),
        cmocka_unit_test(what_runs_is_left_to_its_worker),
        cmocka_unit_test(what_does_not_fit_is_run_again),
        cmocka_unit_test(very_many_that_run_fit_as_far_as_they_do),
        cmocka_unit_test(other_metadata_says_nothing),
        cmocka_unit_test(random_orders_agree_with_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

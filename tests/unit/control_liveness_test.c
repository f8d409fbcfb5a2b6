/* Who is there, by tables: each line is a record of the topic, and what changes with it. */
#include "control/liveness.h"
#include "unit/base_test.h"

enum { PATIENCE = 3000, STRIDE = 500 };

enum word { SPEAKS, ENDS, REMOVED };

struct line {
    char who; /* 'A' … */
    enum word word;
    int64_t at;          /* milliseconds, the broker's */
    const char *changes; /* "+A" joined, "A" changed, "-A" gone, "!A" farewell; "" nothing */
};

static struct th_member *member_of(char who, bool ended)
{
    TH_BUFFER bytes = {0};
    struct th_member said = {.kind = TH_MEMBER_WORKER,
                             .name = th_str_n(&who, 1),
                             .started = TH_TIME_NONE,
                             .ended = ended};
    th_member_encode(&bytes, &said);
    return th_member_decode(th_buffer_view(&bytes), NULL);
}

static void record(struct th_liveness *l, const struct line *line)
{
    char key[] = {'w', '/', line->who};
    struct th_member *member =
        line->word == REMOVED ? NULL : member_of(line->who, line->word == ENDS);
    th_liveness_record(l, th_str_n(key, sizeof(key)), member, line->at * TH_MILLISECOND);
}

static void add_change(struct th_buffer *out, const struct th_change *change)
{
    const struct th_member *about = change->now ? change->now : change->before;
    const char *sign = change->kind == TH_MEMBER_JOINED ? "+"
                       : change->kind == TH_MEMBER_GONE ? (change->farewell ? "!" : "-")
                                                        : "";
    assert_true(change->kind == TH_MEMBER_JOINED || change->before);
    th_buffer_format(out, "%s%s%.*s", out->len ? " " : "", sign, TH_PRI(about->name));
}

static void check_changes(struct th_liveness *l, const char *expected)
{
    TH_BUFFER seen = {0};
    struct th_change change;
    while (th_liveness_next(l, &change)) {
        add_change(&seen, &change);
        th_change_deinit(&change);
    }
    assert_str(th_buffer_view(&seen), expected);
}

static struct th_liveness *begin(void)
{
    return th_liveness_new(PATIENCE * TH_MILLISECOND, STRIDE * TH_MILLISECOND);
}

static void play(struct th_liveness *l, const struct line *lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        record(l, &lines[i]);
        check_changes(l, lines[i].changes);
    }
}

#define PLAY(l, ...)                                           \
    do {                                                       \
        const struct line lines_[] = {__VA_ARGS__};            \
        play((l), lines_, sizeof(lines_) / sizeof(lines_[0])); \
    } while (0)

static void silence_of_one_is_its_end(void **state)
{
    struct th_liveness *l = begin();
    th_liveness_begin(l);
    PLAY(l, {'A', SPEAKS, 1000, "+A"}, {'B', SPEAKS, 1100, "+B"});
    for (int64_t at = 1400; at < 4100; at += 300) {
        PLAY(l, {'A', SPEAKS, at, "A"});
    }
    PLAY(l, {'A', SPEAKS, 4100, "A -B"}, {'A', SPEAKS, 4400, "A"}, {'B', SPEAKS, 4500, "+B"});
    th_liveness_free(l);
}

static void a_farewell_counts_at_once(void **state)
{
    struct th_liveness *l = begin();
    th_liveness_begin(l);
    PLAY(l, {'A', SPEAKS, 1, "+A"}, {'A', ENDS, 2, "!A"}, {'A', ENDS, 3, ""},
         {'A', SPEAKS, 4, "+A"});
    assert_true(th_liveness_alive(l, TH_STR("A")));
    assert_false(th_liveness_alive(l, TH_STR("B")));
    th_liveness_free(l);
}

static void check_last(struct th_liveness *l, const char *name, bool ended)
{
    struct th_member *last = th_liveness_last_words(l, th_str_of(name));
    assert_non_null(last);
    assert_int_equal(last->ended, ended);
    th_member_unref(last);
}

static void last_words_stay_until_they_are_removed(void **state)
{
    struct th_liveness *l = begin();
    th_liveness_begin(l);
    PLAY(l, {'A', SPEAKS, 0, "+A"}, {'B', SPEAKS, 0, "+B"}, {'C', SPEAKS, 0, "+C"});
    PLAY(l, {'A', ENDS, 100, "!A"}, {'B', REMOVED, 200, "!B"});
    assert_null(th_liveness_last_words(l, TH_STR("B")));
    assert_null(th_liveness_last_words(l, TH_STR("C")));
    check_last(l, "A", true);
    for (int64_t at = 500; at < 3000; at += 400) {
        PLAY(l, {'D', SPEAKS, at, at == 500 ? "+D" : "D"});
    }
    PLAY(l, {'D', SPEAKS, 3200, "D -C"});
    check_last(l, "C", false);
    PLAY(l, {'A', REMOVED, 3300, ""}, {'C', SPEAKS, 3400, "+C"});
    assert_null(th_liveness_last_words(l, TH_STR("A")));
    assert_null(th_liveness_last_words(l, TH_STR("C")));
    th_liveness_free(l);
}

static void silence_of_all_is_the_brokers(void **state)
{
    struct th_liveness *l = begin();
    th_liveness_begin(l);
    PLAY(l, {'A', SPEAKS, 1000, "+A"}, {'B', SPEAKS, 1000, "+B"}, {'A', SPEAKS, 61000, "A"},
         {'A', SPEAKS, 62000, "A"}, {'B', SPEAKS, 63000, "B"}, {'A', SPEAKS, 63100, "A"});
    th_liveness_free(l);
}

static void the_past_is_caught_up_with_in_silence(void **state)
{
    struct th_liveness *l = begin();
    PLAY(l, {'A', SPEAKS, 1000, ""}, {'B', SPEAKS, 1100, ""}, {'C', SPEAKS, 1200, ""},
         {'C', ENDS, 1300, ""});
    for (int64_t at = 1400; at < 5000; at += 400) {
        PLAY(l, {'B', SPEAKS, at, ""});
    }
    th_liveness_begin(l);
    check_changes(l, "+B");
    th_liveness_free(l);
}

static void times_that_fall_do_no_harm(void **state)
{
    struct th_liveness *l = begin();
    th_liveness_begin(l);
    PLAY(l, {'A', SPEAKS, 5000, "+A"}, {'B', SPEAKS, 1000, "+B"}, {'A', SPEAKS, 1200, "A"},
         {'B', SPEAKS, 5100, "B"});
    assert_int_equal(th_liveness_now(l), 5100 * TH_MILLISECOND);
    th_liveness_free(l);
}

static void members_come_by_name(void **state)
{
    struct th_liveness *l = begin();
    size_t count;
    PLAY(l, {'C', SPEAKS, 1, ""}, {'A', SPEAKS, 2, ""}, {'B', SPEAKS, 3, ""}, {'B', ENDS, 4, ""});
    struct th_member **members = th_liveness_members(l, &count);
    assert_int_equal(count, 2);
    assert_str(members[0]->name, "A");
    assert_str(members[1]->name, "C");
    assert_int_equal(members[1]->heard, 1 * TH_MILLISECOND);
    th_member_unref(members[0]);
    th_member_unref(members[1]);
    free(members);
    th_liveness_free(l);
}

static void ghosts_are_told_once_and_late(void **state)
{
    struct th_liveness *l = begin();
    th_liveness_begin(l);
    PLAY(l, {'B', SPEAKS, 0, "+B"});
    for (int64_t at = 100; at < 10000; at += 100) {
        record(l, &(struct line){'A', SPEAKS, at, NULL});
        assert_false(th_str_present(th_liveness_ghost(l, 10 * TH_SECOND)));
    }
    record(l, &(struct line){'A', SPEAKS, 10000, NULL});
    assert_str(th_liveness_ghost(l, 10 * TH_SECOND), "w/B");
    assert_false(th_str_present(th_liveness_ghost(l, 10 * TH_SECOND)));
    th_liveness_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_of_one_is_its_end),
        cmocka_unit_test(a_farewell_counts_at_once),
        cmocka_unit_test(last_words_stay_until_they_are_removed),
        cmocka_unit_test(silence_of_all_is_the_brokers),
        cmocka_unit_test(the_past_is_caught_up_with_in_silence),
        cmocka_unit_test(times_that_fall_do_no_harm),
        cmocka_unit_test(members_come_by_name),
        cmocka_unit_test(ghosts_are_told_once_and_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

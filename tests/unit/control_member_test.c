/* What a member says arrives, whole; what it does not know is skipped; bytes that lie are refused.
 */
#include "control/member.h"
#include "model/codec.h"
#include "unit/base_test.h"

static const struct th_member_function functions[] = {
    {.kind = TH_FUNCTION_ORCHESTRATOR, .name = {"order", 5}, .requests = 7, .latency_max = 900},
    {.kind = TH_FUNCTION_ACTIVITY, .name = {"Ship", 4}, .errors = 2, .running = 1},
};
static const struct th_member_partition partitions[] = {
    {.index = 0, .epoch = 41, .position = 5, .end = 9, .oldest = 1000, .log_end = 77},
    {.index = 3, .epoch = -1, .oldest = TH_TIME_NONE, .trouble = {"the log lost its end", 20}},
};
static const struct th_member_activities activities[] = {
    {.partition = 2, .position = 100, .end = 104, .oldest = TH_TIME_NONE},
};
static const struct th_member_left left[] = {{1, 55}, {1, 58}};
static const struct th_member_unserved unserved[] = {
    {.kind = TH_FUNCTION_ACTIVITY, .name = {"paint", 5}, .waiting = 3},
};

static struct th_member full(void)
{
    return (struct th_member){
        .serial = 12,
        .kind = TH_MEMBER_WORKER,
        .name = TH_STR("box-17-0a0b0c0d"),
        .incarnation = UINT64_MAX,
        .pid = 17,
        .started = 123456,
        .functions = functions,
        .functions_count = 2,
        .partitions = partitions,
        .partitions_count = 2,
        .activities = activities,
        .activities_count = 1,
        .left = left,
        .left_count = 2,
        .unserved = unserved,
        .unserved_count = 1,
        .records = 99,
    };
}

static struct th_member *through(const struct th_member *member)
{
    TH_BUFFER bytes = {0};
    struct th_error error;
    th_member_encode(&bytes, member);
    struct th_member *read = th_member_decode(th_buffer_view(&bytes), &error);
    assert_non_null(read);
    return read;
}

static void arrives_whole(void **state)
{
    struct th_member said = full();
    struct th_member *read = through(&said);
    assert_int_equal(read->serial, 12);
    assert_str(read->name, "box-17-0a0b0c0d");
    assert_true(read->incarnation == UINT64_MAX);
    assert_int_equal(read->started, 123456);
    assert_false(th_str_present(read->url));
    assert_int_equal(read->functions_count, 2);
    assert_str(read->functions[1].name, "Ship");
    assert_int_equal(read->functions[0].latency_max, 900);
    assert_int_equal(read->partitions_count, 2);
    assert_int_equal(read->partitions[0].log_end, 77);
    assert_int_equal(read->partitions[1].epoch, -1);
    assert_true(read->partitions[1].oldest == TH_TIME_NONE);
    assert_str(read->partitions[1].trouble, "the log lost its end");
    assert_int_equal(read->activities[0].end, 104);
    assert_int_equal(read->left[1].offset, 58);
    assert_int_equal(read->unserved[0].waiting, 3);
    assert_int_equal(read->records, 99);
    th_member_unref(read);
}

static void is_found_by_function_and_partition(void **state)
{
    struct th_member said = full();
    struct th_member *read = through(&said);
    assert_true(th_member_serves(read, TH_FUNCTION_ACTIVITY, TH_STR("ship")));
    assert_false(th_member_serves(read, TH_FUNCTION_ORCHESTRATOR, TH_STR("ship")));
    assert_int_equal(th_member_partition(read, 0)->epoch, 41);
    assert_null(th_member_partition(read, 1));
    th_member_unref(read);
}

static void skips_what_a_later_program_adds(void **state)
{
    TH_BUFFER bytes = {0};
    th_write_map(&bytes, 3);
    th_write_u64(&bytes, 9000);
    th_write_array(&bytes, 1);
    th_write_str(&bytes, TH_STR("?"));
    th_write_u64(&bytes, 3);
    th_write_str(&bytes, TH_STR("w"));
    th_write_u64(&bytes, 2);
    th_write_u64(&bytes, 77);
    struct th_member *read = th_member_decode(th_buffer_view(&bytes), NULL);
    assert_non_null(read);
    assert_str(read->name, "w");
    assert_string_equal(th_member_kind_text(read->kind), "unknown");
    th_member_unref(read);
}

static void every_cut_is_refused(void **state)
{
    struct th_member said = full();
    TH_BUFFER bytes = {0};
    th_member_encode(&bytes, &said);
    for (size_t len = 0; len < bytes.len; len++) {
        struct th_error error = {.code = TH_OK};
        assert_null(th_member_decode(th_str_n(bytes.data, len), &error));
        assert_int_equal(error.code, TH_CORRUPT);
    }
}

static void is_shared_by_count(void **state)
{
    struct th_member said = full();
    struct th_member *read = through(&said);
    assert_ptr_equal(th_member_ref(read), read);
    th_member_unref(read);
    assert_str(read->name, "box-17-0a0b0c0d");
    th_member_unref(read);
}

static void names_differ_and_hold_no_spaces(void **state)
{
    char one[TH_MEMBER_NAME];
    char other[TH_MEMBER_NAME];
    th_member_name(one);
    th_member_name(other);
    assert_string_not_equal(one, other);
    assert_null(strchr(one, ' '));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrives_whole),
        cmocka_unit_test(is_found_by_function_and_partition),
        cmocka_unit_test(skips_what_a_later_program_adds),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(is_shared_by_count),
        cmocka_unit_test(names_differ_and_hold_no_spaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

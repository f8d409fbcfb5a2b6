/* Records come back as they were written; validity is decided alike by every reader (I1). */
#include "unit/base_test.h"

#include "base/hash.h"
#include "base/memory.h"
#include "partition/record.h"

static struct th_str text_of(struct th_random *r)
{
    static const char *const some[] = {"", "a", "\xff\x01", "a longer piece of text, for a change"};
    const uint64_t n = th_random_below(r, TH_COUNT(some) + 1);

    return n < TH_COUNT(some) ? th_str_of(some[n]) : TH_STR_ABSENT;
}

static int64_t any_i64(struct th_random *r)
{
    return (int64_t)(th_random_next(r) >> th_random_below(r, 64));
}

static void fill_lists(struct th_random *r, struct th_arena *arena, struct th_record *record)
{
    struct th_vector_entry *vector = TH_ARENA_ARRAY(arena, struct th_vector_entry, 4);
    int64_t *consumed = TH_ARENA_ARRAY(arena, int64_t, 4);
    struct th_local_ref *local = TH_ARENA_ARRAY(arena, struct th_local_ref, 4);
    struct th_task_ref *closed = TH_ARENA_ARRAY(arena, struct th_task_ref, 4);
    struct th_record_message *messages = TH_ARENA_ARRAY(arena, struct th_record_message, 4);

    for (int n = 0; n < 4; n++) {
        vector[n] = (struct th_vector_entry){.partition = (uint32_t)any_i64(r),
                                             .sequence = th_random_next(r),
                                             .index = (uint32_t)any_i64(r)};
        consumed[n] = any_i64(r);
        local[n] = (struct th_local_ref){.sequence = th_random_next(r), .index = th_random_next(r)};
        closed[n] = (struct th_task_ref){
            .instance_id = text_of(r), .execution_id = text_of(r), .event_id = (int32_t)any_i64(r)};
        messages[n] = (struct th_record_message){.destination = (uint32_t)any_i64(r),
                                                 .parked = th_random_below(r, 2),
                                                 .not_before = any_i64(r),
                                                 .bytes = text_of(r)};
    }
    record->vector = vector;
    record->vector_count = (uint32_t)th_random_below(r, 5);
    record->consumed = consumed;
    record->consumed_count = (uint32_t)th_random_below(r, 5);
    record->consumed_local = local;
    record->consumed_local_count = (uint32_t)th_random_below(r, 5);
    record->closed_tasks = closed;
    record->closed_task_count = (uint32_t)th_random_below(r, 5);
    record->messages = messages;
    record->message_count = (uint32_t)th_random_below(r, 5);
}

static struct th_record any_record(struct th_random *r, struct th_arena *arena)
{
    struct th_record record = {
        .kind = (enum th_record_kind)(1 + th_random_below(r, 8)),
        .incarnation = th_random_next(r),
        .epoch = th_random_next(r),
        .sequence = th_random_next(r),
        .time = any_i64(r),
        .worker = text_of(r),
        .nonce = th_random_next(r),
        .position = any_i64(r) & INT32_MAX,
        .sent = th_random_next(r),
        .instance_id = text_of(r),
        .execution_id = text_of(r),
        .replace_history = th_random_below(r, 2),
        .events = text_of(r),
        .has_custom_status = th_random_below(r, 2),
        .turn_trace = text_of(r),
        .next = text_of(r),
        .task_id = (int32_t)th_random_below(r, 3) - 1,
        .crashes = (uint32_t)any_i64(r),
        .reason = text_of(r),
        .body = text_of(r),
        .part = (uint32_t)any_i64(r),
        .parts = (uint32_t)any_i64(r),
    };

    if (record.has_custom_status)
        record.custom_status = text_of(r);
    if (record.kind == TH_RECORD_EPISODE || record.kind == TH_RECORD_PURGE ||
        record.kind == TH_RECORD_CRASH || record.kind == TH_RECORD_SNAPSHOT)
        record.instance_id = TH_STR("i");
    fill_lists(r, arena, &record);
    return record;
}

#define SAME(field) assert_true(a->field == b->field)
#define SAME_STR(field)                                                       \
    do {                                                                      \
        assert_int_equal(th_str_present(a->field), th_str_present(b->field)); \
        assert_true(th_str_eq(a->field, b->field));                           \
    } while (0)

static void expect_same_lists(const struct th_record *a, const struct th_record *b)
{
    SAME(vector_count);
    SAME(consumed_count);
    SAME(consumed_local_count);
    SAME(closed_task_count);
    SAME(message_count);
    for (uint32_t n = 0; n < a->vector_count; n++) {
        SAME(vector[n].partition);
        SAME(vector[n].sequence);
        SAME(vector[n].index);
    }
    for (uint32_t n = 0; n < a->consumed_count; n++)
        SAME(consumed[n]);
    for (uint32_t n = 0; n < a->consumed_local_count; n++) {
        SAME(consumed_local[n].sequence);
        SAME(consumed_local[n].index);
    }
    for (uint32_t n = 0; n < a->closed_task_count; n++) {
        SAME_STR(closed_tasks[n].instance_id);
        SAME_STR(closed_tasks[n].execution_id);
        SAME(closed_tasks[n].event_id);
    }
    for (uint32_t n = 0; n < a->message_count; n++) {
        SAME(messages[n].destination);
        SAME(messages[n].parked);
        SAME(messages[n].not_before);
        SAME_STR(messages[n].bytes);
    }
}

static void expect_same(const struct th_record *a, const struct th_record *b)
{
    SAME(kind);
    SAME(incarnation);
    SAME(epoch);
    SAME(sequence);
    SAME(time);
    SAME(nonce);
    SAME(position);
    SAME(sent);
    SAME(replace_history);
    SAME(has_custom_status);
    SAME(task_id);
    SAME(crashes);
    SAME(part);
    SAME(parts);
    SAME_STR(worker);
    SAME_STR(instance_id);
    SAME_STR(execution_id);
    SAME_STR(events);
    SAME_STR(custom_status);
    SAME_STR(turn_trace);
    SAME_STR(next);
    SAME_STR(reason);
    SAME_STR(body);
    expect_same_lists(a, b);
}

static void test_records_come_back(void **state)
{
    (void)state;
    struct th_random r;

    th_random_seed(&r, 9);
    for (int n = 0; n < 500; n++) {
        TH_ARENA arena = {0};
        TH_BUFFER bytes = {0};
        const struct th_record record = any_record(&r, &arena);
        struct th_record back;
        struct th_reader reader;

        th_buffer_text(&bytes, "before"); /* it may stand behind something else */
        th_encode_record(&bytes, &record);
        reader = th_reader_of(th_str_n(bytes.data + 6, bytes.len - 6), &arena, NULL);
        assert_true(th_decode_record(&reader, &back));
        assert_ptr_equal(reader.at, reader.end);
        expect_same(&record, &back);
    }
}

static void test_cut_records_are_refused(void **state)
{
    (void)state;
    struct th_random r;
    TH_ARENA arena = {0};

    th_random_seed(&r, 10);
    for (int n = 0; n < 20; n++) {
        TH_BUFFER bytes = {0};
        const struct th_record record = any_record(&r, &arena);

        th_encode_record(&bytes, &record);
        for (size_t len = 0; len < bytes.len; len++) {
            struct th_error error = {0};
            struct th_record back;
            struct th_reader reader = th_reader_of(th_str_n(bytes.data, len), &arena, &error);

            assert_false(th_decode_record(&reader, &back));
            assert_int_equal(error.code, TH_CORRUPT);
        }
    }
}

/* A map of one field that holds a number. */
static void expect_refused(uint64_t field, uint64_t value, const char *words)
{
    TH_ARENA arena = {0};
    TH_BUFFER bytes = {0};
    struct th_error error = {0};
    struct th_record back;
    struct th_reader reader;

    th_write_map(&bytes, 1);
    th_write_u64(&bytes, field);
    th_write_u64(&bytes, value);
    reader = th_reader_of(th_buffer_view(&bytes), &arena, &error);
    assert_false(th_decode_record(&reader, &back));
    assert_string_equal(error.message, words);
}

static void test_what_is_no_record_is_named(void **state)
{
    (void)state;
    expect_refused(1, 2,
                   "a record of format 2, which is newer than this program knows (1): upgrade it");
    expect_refused(2, 9, "unknown record kind 9");
    expect_refused(2, 0, "unknown record kind 0");
    expect_refused(2, (UINT64_C(1) << 32) + 2, "4294967298 does not fit 32 bits");
    expect_refused(22, UINT64_C(1) << 31, "2147483648 does not fit 32 bits");
    expect_refused(900, 1, "a record without a kind");
    expect_refused(2, 4, "a record of kind 4 names no instance");
    expect_refused(9, INT64_MAX, "9223372036854775807 is no position");
}

/* The bytes of a map with a pair more, that no program knows, in front of all others. */
static void put_in_front(struct th_buffer *out, struct th_str map16)
{
    const unsigned pairs = (unsigned)(uint8_t)map16.data[1] << 8 | (uint8_t)map16.data[2];

    assert_int_equal((uint8_t)map16.data[0], 0xde);
    th_buffer_add(out, (char[]){(char)0xde, (char)((pairs + 1) >> 8), (char)(pairs + 1)}, 3);
    th_write_u64(out, 900);
    th_write_map(out, 1);
    th_write_u64(out, 7);
    th_write_array(out, 2);
    th_write_str(out, TH_STR("what a later program adds"));
    th_write_nil(out);
    th_buffer_add(out, map16.data + 3, map16.len - 3);
}

/* What may be skipped needs no newer format. */
static void test_what_a_later_program_adds_is_skipped(void **state)
{
    (void)state;
    TH_ARENA arena = {0};
    TH_BUFFER bytes = {0};
    TH_BUFFER later = {0};
    const struct th_record record = {.kind = TH_RECORD_PURGE,
                                     .incarnation = 1,
                                     .epoch = 2,
                                     .sequence = 3,
                                     .position = 4,
                                     .instance_id = TH_STR("i")};
    struct th_record back;

    th_encode_record(&bytes, &record);
    put_in_front(&later, th_buffer_view(&bytes));
    struct th_reader reader = th_reader_of(th_buffer_view(&later), &arena, NULL);
    assert_true(th_decode_record(&reader, &back));
    expect_same(&record, &back);
}

/* Every program must see who owns the partition, and must not believe what it cannot read. */
static void test_formats(void **state)
{
    (void)state;
    for (int kind = TH_RECORD_CLAIM; kind <= TH_RECORD_PART; kind++) {
        TH_ARENA arena = {0};
        TH_BUFFER bytes = {0};
        struct th_error error = {.code = TH_OK};
        const struct th_record record = {
            .format = 2, .kind = (enum th_record_kind)kind, .instance_id = TH_STR("i")};
        struct th_record back;

        th_encode_record(&bytes, &record);
        struct th_reader old = th_reader_of(th_buffer_view(&bytes), &arena, &error);
        assert_int_equal(th_decode_record(&old, &back), kind == TH_RECORD_CLAIM);
        assert_int_equal(error.code, kind == TH_RECORD_CLAIM ? TH_OK : TH_UNSUPPORTED);
        struct th_reader new = th_reader_of(th_buffer_view(&bytes), &arena, &error);
        new.format = 2;
        assert_true(th_decode_record(&new, &back));
        assert_int_equal(back.format, kind == TH_RECORD_CLAIM ? 1 : 2);
    }
}

static void test_groups_must_be_whole(void **state)
{
    (void)state;
    TH_ARENA arena = {0};
    TH_BUFFER bytes = {0};
    struct th_error error = {0};
    struct th_record back;
    struct th_reader reader;

    th_write_map(&bytes, 1);
    th_write_u64(&bytes, 11);
    th_write_array(&bytes, 4);
    for (int n = 0; n < 4; n++)
        th_write_u64(&bytes, 0);
    reader = th_reader_of(th_buffer_view(&bytes), &arena, &error);
    assert_false(th_decode_record(&reader, &back));
    assert_string_equal(error.message, "an array of 4 values where groups of 3 are expected");
}

/* ---- I1 ---- */

static bool feed(struct th_validity *v, int64_t offset, enum th_record_kind kind, uint64_t epoch,
                 uint64_t sequence)
{
    const struct th_record record = {.kind = kind, .epoch = epoch, .sequence = sequence};

    return th_validity_feed(v, offset, &record, false);
}

static void test_validity(void **state)
{
    (void)state;
    static const struct {
        enum th_record_kind kind;
        uint64_t epoch, sequence;
        bool valid;
    } log[] = {
        {TH_RECORD_EPISODE, 0, 0, false},                                   /* before any claim */
        {TH_RECORD_CLAIM, 0, 0, false},                                     /* offset 1 */
        {TH_RECORD_EPISODE, 1, 0, true},  {TH_RECORD_EPISODE, 1, 0, false}, /* again */
        {TH_RECORD_EPISODE, 1, 2, false},                                   /* a hole */
        {TH_RECORD_EPISODE, 1, 1, true},  {TH_RECORD_CLAIM, 0, 0, false},   /* offset 6 */
        {TH_RECORD_EPISODE, 1, 2, false},                                   /* the fenced owner */
        {TH_RECORD_EPISODE, 6, 2, true},                                    /* sequences go on */
        {TH_RECORD_CLAIM, 0, 0, false}, /* a stray one, offset 9 */
        {TH_RECORD_EPISODE, 6, 3, false}, {TH_RECORD_EPISODE, 9, 3, true},
    };
    struct th_validity v = {0};

    for (size_t n = 0; n < TH_COUNT(log); n++)
        assert_int_equal(feed(&v, (int64_t)n, log[n].kind, log[n].epoch, log[n].sequence),
                         log[n].valid);
}

/* A log that lost its end: two claims stood at one offset, and what the first owner had under way
 * comes after the second's. */
static void test_two_claims_at_one_offset(void **state)
{
    (void)state;
    const struct th_record claim = {.kind = TH_RECORD_CLAIM, .nonce = 2};
    struct th_record record = {.kind = TH_RECORD_EPISODE, .epoch = 5, .nonce = 1};
    struct th_validity v = {0};

    assert_false(th_validity_feed(&v, 5, &claim, false));
    assert_false(th_validity_feed(&v, 6, &record, false));
    record.nonce = 2;
    assert_true(th_validity_feed(&v, 7, &record, false));
}

static void test_a_cleaned_log_begins_with_what_it_trusts(void **state)
{
    (void)state;
    const struct th_record first = {.kind = TH_RECORD_CHECKPOINT, .epoch = 40, .sequence = 12};
    struct th_validity v = {0};

    assert_true(th_validity_feed(&v, 100, &first, true));
    assert_false(feed(&v, 101, TH_RECORD_EPISODE, 39, 13));
    assert_true(feed(&v, 102, TH_RECORD_EPISODE, 40, 13));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_come_back),
        cmocka_unit_test(test_cut_records_are_refused),
        cmocka_unit_test(test_what_is_no_record_is_named),
        cmocka_unit_test(test_what_a_later_program_adds_is_skipped),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_groups_must_be_whole),
        cmocka_unit_test(test_validity),
        cmocka_unit_test(test_two_claims_at_one_offset),
        cmocka_unit_test(test_a_cleaned_log_begins_with_what_it_trusts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "unit/base_test.h"

#include <msgpack.h>

#include "base/clock.h"
#include "base/memory.h"
#include "model/codec.h"
#include "unit/model_sample.h"

enum { ROUNDS = 3000 };

static struct th_str bytes_of(const struct th_buffer *buffer)
{
    return th_buffer_view(buffer);
}

/* ---- round trips ---- */

static void events_come_back_as_they_were(void **state)
{
    struct th_random random;
    th_random_seed(&random, 1);
    for (int i = 0; i < ROUNDS; i++) {
        TH_ARENA arena = {0};
        TH_BUFFER out = {0};
        struct th_event event = sample_event(&random, &arena);
        struct th_event back;
        th_encode_event(&out, &event);
        struct th_reader in = th_reader_of(bytes_of(&out), &arena, NULL);
        assert_true(th_decode_event(&in, &back));
        assert_ptr_equal(in.at, in.end);
        assert_true(th_event_equal(&event, &back));
    }
}

static void assert_same_message(const struct th_message *a, const struct th_message *b)
{
#define SAME_STR(x, y) assert_true(th_str_eq(x, y) && th_str_present(x) == th_str_present(y))
    SAME_STR(a->instance_id, b->instance_id);
    SAME_STR(a->execution_id, b->execution_id);
    SAME_STR(a->request_id, b->request_id);
    SAME_STR(a->reply_to, b->reply_to);
    assert_int_equal(a->origin.partition, b->origin.partition);
    assert_true(a->origin.sequence == b->origin.sequence);
    assert_int_equal(a->origin.index, b->origin.index);
    assert_int_equal(a->reuse, b->reuse);
    assert_int_equal(a->fresh, b->fresh);
    assert_true(th_event_equal(&a->event, &b->event));
}

static void messages_come_back_as_they_were(void **state)
{
    struct th_random random;
    th_random_seed(&random, 2);
    for (int i = 0; i < ROUNDS; i++) {
        TH_ARENA arena = {0};
        TH_BUFFER out = {0};
        struct th_message message = sample_message(&random, &arena);
        struct th_message back;
        th_encode_message(&out, &message);
        struct th_reader in = th_reader_of(bytes_of(&out), &arena, NULL);
        assert_true(th_decode_message(&in, &back));
        assert_ptr_equal(in.at, in.end);
        assert_same_message(&message, &back);
    }
}

static void chunks_concatenate(void **state)
{
    struct th_random random;
    th_random_seed(&random, 3);
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    struct th_event events[10];
    for (size_t i = 0; i < TH_COUNT(events); i++) {
        events[i] = sample_event(&random, &arena);
    }
    th_encode_events(&out, events, 4);
    th_encode_events(&out, events + 4, 0);
    th_encode_events(&out, events + 4, 6);
    struct th_events back = {0};
    struct th_reader in = th_reader_of(bytes_of(&out), &arena, NULL);
    assert_true(th_decode_events(&in, &back));
    assert_int_equal(back.count, TH_COUNT(events));
    for (size_t i = 0; i < back.count; i++) {
        assert_true(th_event_equal(&events[i], &back.items[i]));
    }
    th_events_deinit(&back);
}

static void strings_point_into_the_input(void **state)
{
    TH_BUFFER out = {0};
    struct th_event event = th_event_of(TH_EVENT_EVENT_RAISED, 5);
    event.name = TH_STR("approval");
    th_encode_event(&out, &event);
    struct th_event back;
    struct th_reader in = th_reader_of(bytes_of(&out), NULL, NULL);
    assert_true(th_decode_event(&in, &back));
    assert_true(back.name.data > out.data && back.name.data < out.data + out.len);
}

static void defaults_cost_nothing(void **state)
{
    TH_BUFFER out = {0};
    struct th_event event = th_event_of(TH_EVENT_ORCHESTRATOR_COMPLETED, TH_TIME_NONE);
    th_encode_event(&out, &event);
    assert_int_equal(out.len, 3);
    assert_memory_equal(out.data, "\x81\x00\x0d", 3);
}

static void failures_are_cut_at_the_greatest_depth(void **state)
{
    struct th_failure chain[TH_FAILURE_DEPTH + 5] = {0};
    for (size_t i = 0; i + 1 < TH_COUNT(chain); i++) {
        chain[i].inner = &chain[i + 1];
    }
    struct th_event event = th_event_of(TH_EVENT_TASK_FAILED, 1);
    event.failure = chain;
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    th_encode_event(&out, &event);
    struct th_event back;
    struct th_reader in = th_reader_of(bytes_of(&out), &arena, NULL);
    assert_true(th_decode_event(&in, &back));
    int depth = 0;
    for (const struct th_failure *f = back.failure; f; f = f->inner) {
        depth++;
    }
    assert_int_equal(depth, TH_FAILURE_DEPTH);
}

/* ---- against msgpack-c ---- */

/* What one call of ours wrote is what msgpack-c's packer writes. */
#define SAME_BYTES(ours, theirs)                                    \
    do {                                                            \
        TH_BUFFER out = {0};                                        \
        msgpack_sbuffer expected;                                   \
        msgpack_packer pk;                                          \
        msgpack_sbuffer_init(&expected);                            \
        msgpack_packer_init(&pk, &expected, msgpack_sbuffer_write); \
        ours;                                                       \
        theirs;                                                     \
        assert_int_equal(out.len, expected.size);                   \
        assert_memory_equal(out.data, expected.data, out.len);      \
        msgpack_sbuffer_destroy(&expected);                         \
    } while (0)

static const int64_t edges[] = {0,          1,
                                127,        128,
                                255,        256,
                                32767,      32768,
                                65535,      65536,
                                INT32_MAX,  INT64_C(1) << 31,
                                UINT32_MAX, INT64_C(1) << 32,
                                INT64_MAX,  -1,
                                -32,        -33,
                                -128,       -129,
                                -32768,     -32769,
                                INT32_MIN,  INT32_MIN - INT64_C(1),
                                INT64_MIN};

static void numbers_are_written_as_msgpack_c_does(void **state)
{
    for (size_t i = 0; i < TH_COUNT(edges); i++) {
        SAME_BYTES(th_write_i64(&out, edges[i]), msgpack_pack_int64(&pk, edges[i]));
        SAME_BYTES(th_write_u64(&out, (uint64_t)edges[i]),
                   msgpack_pack_uint64(&pk, (uint64_t)edges[i]));
    }
}

static void other_values_are_written_as_msgpack_c_does(void **state)
{
    static char long_text[70000];
    static const uint32_t counts[] = {0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536};
    for (size_t i = 0; i < TH_COUNT(counts); i++) {
        uint32_t n = counts[i];
        SAME_BYTES(th_write_map(&out, n), msgpack_pack_map(&pk, n));
        SAME_BYTES(th_write_array(&out, n), msgpack_pack_array(&pk, n));
        SAME_BYTES(th_write_str(&out, th_str_n(long_text, n)),
                   msgpack_pack_bin_with_body(&pk, long_text, n));
    }
    SAME_BYTES(th_write_str(&out, TH_STR_ABSENT), msgpack_pack_nil(&pk));
    SAME_BYTES(th_write_nil(&out), msgpack_pack_nil(&pk));
    SAME_BYTES(th_write_bool(&out, true), msgpack_pack_true(&pk));
    SAME_BYTES(th_write_bool(&out, false), msgpack_pack_false(&pk));
}

static void numbers_of_every_width_are_read(void **state)
{
    for (size_t i = 0; i < TH_COUNT(edges); i++) {
        msgpack_sbuffer bytes;
        msgpack_packer pk;
        msgpack_sbuffer_init(&bytes);
        msgpack_packer_init(&pk, &bytes, msgpack_sbuffer_write);
        msgpack_pack_int64(&pk, edges[i]);
        msgpack_pack_fix_int64(&pk, edges[i]); /* always nine bytes */
        msgpack_pack_uint64(&pk, (uint64_t)edges[i]);
        struct th_reader in = th_reader_of(th_str_n(bytes.data, bytes.size), NULL, NULL);
        assert_true(th_read_i64(&in) == edges[i]);
        assert_true(th_read_i64(&in) == edges[i]);
        assert_true(th_read_u64(&in) == (uint64_t)edges[i]);
        assert_false(in.failed);
        assert_ptr_equal(in.at, in.end);
        msgpack_sbuffer_destroy(&bytes);
    }
}

/* Any event is one well-formed msgpack value, and skipping it ends where msgpack-c's does. */
static void msgpack_c_reads_what_we_write(void **state)
{
    struct th_random random;
    th_random_seed(&random, 4);
    for (int i = 0; i < ROUNDS; i++) {
        TH_ARENA arena = {0};
        TH_BUFFER out = {0};
        struct th_message message = sample_message(&random, &arena);
        th_encode_message(&out, &message);
        size_t len = out.len;
        th_buffer_text(&out, "rest");
        msgpack_unpacked value;
        msgpack_unpacked_init(&value);
        size_t at = 0;
        assert_int_equal(msgpack_unpack_next(&value, out.data, out.len, &at),
                         MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(at, len);
        assert_int_equal(value.data.type, MSGPACK_OBJECT_MAP);
        msgpack_unpacked_destroy(&value);
        struct th_reader in = th_reader_of(bytes_of(&out), NULL, NULL);
        th_read_skip(&in);
        assert_false(in.failed);
        assert_ptr_equal(in.at, out.data + len);
    }
}

static void pack_any(struct th_random *random, msgpack_packer *pk, int depth)
{
    static const char body[300];
    size_t n = th_random_below(random, 6);
    size_t len = th_random_below(random, sizeof(body));
    switch (th_random_below(random, depth > 6 ? 8 : 10)) {
    case 0:
        msgpack_pack_nil(pk);
        break;
    case 1:
        msgpack_pack_true(pk);
        break;
    case 2:
        msgpack_pack_int64(pk, (int64_t)th_random_next(random) >> th_random_below(random, 64));
        break;
    case 3:
        msgpack_pack_uint64(pk, th_random_next(random) >> th_random_below(random, 64));
        break;
    case 4:
        n & 1 ? msgpack_pack_double(pk, 0.5) : msgpack_pack_float(pk, 0.5f);
        break;
    case 5:
        msgpack_pack_str_with_body(pk, body, len);
        break;
    case 6:
        msgpack_pack_bin_with_body(pk, body, len);
        break;
    case 7:
        msgpack_pack_ext_with_body(pk, body, n & 1 ? (size_t)1 << n : len, 7);
        break;
    case 8:
        msgpack_pack_array(pk, n * n);
        for (size_t i = 0; i < n * n; i++) {
            pack_any(random, pk, depth + 1);
        }
        break;
    default:
        msgpack_pack_map(pk, n);
        for (size_t i = 0; i < 2 * n; i++) {
            pack_any(random, pk, depth + 1);
        }
    }
}

static void any_value_of_msgpack_is_skipped(void **state)
{
    struct th_random random;
    th_random_seed(&random, 5);
    for (int i = 0; i < ROUNDS; i++) {
        msgpack_sbuffer bytes;
        msgpack_packer pk;
        msgpack_sbuffer_init(&bytes);
        msgpack_packer_init(&pk, &bytes, msgpack_sbuffer_write);
        pack_any(&random, &pk, 0);
        struct th_reader in = th_reader_of(th_str_n(bytes.data, bytes.size), NULL, NULL);
        th_read_skip(&in);
        assert_false(in.failed);
        assert_ptr_equal(in.at, in.end);
        struct th_reader cut = th_reader_of(th_str_n(bytes.data, bytes.size - 1), NULL, NULL);
        th_read_skip(&cut);
        assert_true(cut.failed);
        msgpack_sbuffer_destroy(&bytes);
    }
}

static void unknown_fields_are_skipped(void **state)
{
    struct th_random random;
    th_random_seed(&random, 6);
    for (int i = 0; i < 200; i++) {
        msgpack_sbuffer bytes;
        msgpack_packer pk;
        msgpack_sbuffer_init(&bytes);
        msgpack_packer_init(&pk, &bytes, msgpack_sbuffer_write);
        msgpack_pack_map(&pk, 4);
        msgpack_pack_int(&pk, 99);
        pack_any(&random, &pk, 0);
        msgpack_pack_int(&pk, 0);
        msgpack_pack_int(&pk, TH_EVENT_TIMER_FIRED);
        msgpack_pack_int(&pk, 1000000);
        pack_any(&random, &pk, 0);
        msgpack_pack_int(&pk, 4); /* a writer may say str where ours says bin */
        msgpack_pack_str_with_body(&pk, "tick", 4);
        struct th_event event;
        struct th_reader in = th_reader_of(th_str_n(bytes.data, bytes.size), NULL, NULL);
        assert_true(th_decode_event(&in, &event));
        assert_int_equal(event.kind, TH_EVENT_TIMER_FIRED);
        assert_str(event.name, "tick");
        msgpack_sbuffer_destroy(&bytes);
    }
}

/* What an older program would misread it refuses, whatever else it meets behind that. */
static void newer_messages_are_refused(void **state)
{
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    struct th_error error = {0};
    struct th_message message = {.format = 2, .instance_id = TH_STR("i"), .origin.partition = -1};
    struct th_message back;
    message.event = th_event_of((enum th_event_kind)99, 0); /* one of format 2 */
    th_encode_message(&out, &message);
    struct th_reader in = th_reader_of(bytes_of(&out), &arena, &error);
    assert_false(th_decode_message(&in, &back));
    assert_int_equal(error.code, TH_UNSUPPORTED);
    assert_string_equal(error.message, "a message of format 2, which is newer than this program "
                                       "knows (1): upgrade it");
    out.len = 0;
    message.event.kind = TH_EVENT_EVENT_RAISED;
    th_encode_message(&out, &message);
    in = th_reader_of(bytes_of(&out), &arena, &error);
    in.format = 2;
    assert_true(th_decode_message(&in, &back));
    assert_int_equal(back.format, 2);
    size_t len = out.len;
    out.len = 0;
    message.format = 1; /* is not written */
    th_encode_message(&out, &message);
    assert_int_equal(out.len, len - 2);
}

/* ---- bytes from outside ---- */

#define BYTES(literal) TH_STR(literal)

static void refused(struct th_str bytes, const char *expected)
{
    TH_ARENA arena = {0};
    struct th_error error = {0};
    struct th_event event;
    struct th_reader in = th_reader_of(bytes, &arena, &error);
    assert_false(th_decode_event(&in, &event));
    assert_int_equal(error.code, TH_CORRUPT);
    assert_string_equal(error.message, expected);
}

static void errors_name_field_and_cause(void **state)
{
    refused(BYTES(""), "the bytes end in the middle of a value");
    refused(BYTES("\x80"), "an event without a kind");
    refused(BYTES("\xc0"), "expected a map, found nil (byte 0xc0, 1 bytes before the end)");
    refused(BYTES("\x81\x00\x23"), "unknown event kind 35");
    refused(BYTES("\x82\x00\x04\x04\x07"),
            "event field name: expected bytes, found a number (byte 0x07, 1 bytes before the end)");
    refused(BYTES("\x82\x00\x04\x01\xce\xff\xff\xff\xff"),
            "event field id: 4294967295 is out of range for 32 bits");
    refused(BYTES("\x82\x00\x04\x0a\x09"), "event field status: unknown status 9");
    refused(BYTES("\x82\x00\x04\x0a\xff"),
            "event field status: -1 is out of range: must not be negative");
    refused(BYTES("\x82\x00\x04\x04\xc4\x05"
                  "abcd"),
            "event field name: the bytes end in the middle of a value");
    refused(
        BYTES("\x82\x00\x06\x0b\x81\x05\x81\x01\xc2"),
        "event field failure: failure field type: expected bytes, found a boolean (byte 0xc2, 1 "
        "bytes before the end)");
    refused(BYTES("\xdf\xff\xff\xff\xff\x00\x04"),
            "a map of 4294967295, but only 2 bytes are left");
}

static void announced_counts_are_bounded_by_the_bytes(void **state)
{
    static const char tags[] = "\x82\x00\x04\x0d\xdf\x7f\xff\xff\xff\x00";
    TH_ARENA arena = {0};
    struct th_event event;
    struct th_reader in = th_reader_of(th_str_n(tags, sizeof(tags) - 1), &arena, NULL);
    assert_false(th_decode_event(&in, &event));
    assert_true(arena.total < 1000);
    in = th_reader_of(BYTES("\xdd\x00\x00\x00\x02\x00"), NULL, NULL);
    assert_int_equal(th_read_array(&in), 0);
    assert_true(in.failed);
}

static void nesting_is_bounded(void **state)
{
    char deep[200];
    memset(deep, 0x91, sizeof(deep));
    deep[64] = (char)0xc0;
    struct th_reader in = th_reader_of(th_str_n(deep, 65), NULL, NULL);
    th_read_skip(&in);
    assert_false(in.failed);
    deep[64] = (char)0x91;
    deep[65] = (char)0xc0;
    in = th_reader_of(th_str_n(deep, 66), NULL, NULL);
    th_read_skip(&in);
    assert_true(in.failed);

    TH_BUFFER out = {0}; /* an event with failures one too deep */
    th_write_map(&out, 2);
    th_write_u64(&out, 0);
    th_write_u64(&out, TH_EVENT_TASK_FAILED);
    th_write_u64(&out, 11);
    for (int i = 0; i < TH_FAILURE_DEPTH; i++) {
        th_write_map(&out, 1);
        th_write_u64(&out, 5);
    }
    th_write_map(&out, 0);
    TH_ARENA arena = {0};
    struct th_event event;
    in = th_reader_of(bytes_of(&out), &arena, NULL);
    assert_false(th_decode_event(&in, &event));
}

static void a_failed_reader_stays_failed(void **state)
{
    struct th_error error = {0};
    struct th_reader in = th_reader_of(BYTES("\xc3\x05\x06"), NULL, &error);
    assert_int_equal(th_read_i64(&in), 0);
    assert_true(in.failed);
    char first[sizeof(error.message)];
    strcpy(first, error.message);
    assert_int_equal(th_read_u64(&in), 0);
    assert_int_equal(th_read_map(&in), 0);
    assert_int_equal(th_read_array(&in), 0);
    assert_false(th_read_bool(&in));
    assert_false(th_str_present(th_read_str(&in)));
    th_read_skip(&in);
    assert_true(in.failed);
    assert_string_equal(error.message, first);
}

static void nested_values_need_an_arena(void **state)
{
    struct th_event event;
    struct th_reader in = th_reader_of(BYTES("\x82\x00\x06\x0b\x80"), NULL, NULL);
    assert_false(th_decode_event(&in, &event));
    in = th_reader_of(BYTES("\x82\x00\x04\x0d\x81\xc0\xc0"), NULL, NULL);
    assert_false(th_decode_event(&in, &event));
}

/* Every prefix is refused, and every flipped byte gives a value or an error. */
static void damaged_messages_are_survived(void **state)
{
    struct th_random random;
    th_random_seed(&random, 7);
    for (int i = 0; i < 60; i++) {
        TH_ARENA arena = {0};
        TH_BUFFER out = {0};
        struct th_message message = sample_message(&random, &arena);
        struct th_message back;
        th_encode_message(&out, &message);
        for (size_t len = 0; len < out.len; len += 1 + len / 64) {
            char *exact = th_memdup(out.data, len); /* so that a sanitizer sees the end */
            struct th_reader in = th_reader_of(th_str_n(exact, len), &arena, NULL);
            assert_false(th_decode_message(&in, &back));
            free(exact);
        }
        for (int k = 0; k < 300; k++) {
            size_t at = th_random_below(&random, out.len);
            char kept = out.data[at];
            out.data[at] = (char)th_random_next(&random);
            struct th_reader in = th_reader_of(bytes_of(&out), &arena, NULL);
            bool ok = th_decode_message(&in, &back);
            assert_int_equal(ok, !in.failed);
            out.data[at] = kept;
        }
    }
}

/* ---- figures ---- */

static struct th_event typical_event(void)
{
    struct th_event event = th_event_of(TH_EVENT_TASK_COMPLETED, INT64_C(1770000000000000));
    event.related_id = 17;
    event.data = TH_STR("{\"city\":\"Tokyo\",\"greeting\":\"Hello, Tokyo!\",\"attempt\":1}");
    return event;
}

static void speed(void **state)
{
    enum { COUNT = 200000 };
    struct th_event event = typical_event();
    TH_ARENA arena = {0};
    TH_BUFFER out = {0};
    th_time start = th_monotonic();
    for (int i = 0; i < COUNT; i++) {
        out.len = 0;
        th_encode_event(&out, &event);
    }
    th_time encoded = th_monotonic();
    struct th_event back;
    for (int i = 0; i < COUNT; i++) {
        struct th_reader in = th_reader_of(bytes_of(&out), &arena, NULL);
        assert_true(th_decode_event(&in, &back));
    }
    th_time decoded = th_monotonic();
    print_message("an event of %zu bytes: encode %.0f ns, decode %.0f ns\n", out.len,
                  (double)(encoded - start) * 1000 / COUNT,
                  (double)(decoded - encoded) * 1000 / COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_back_as_they_were),
        cmocka_unit_test(messages_come_back_as_they_were),
        cmocka_unit_test(chunks_concatenate),
        cmocka_unit_test(strings_point_into_the_input),
        cmocka_unit_test(defaults_cost_nothing),
        cmocka_unit_test(failures_are_cut_at_the_greatest_depth),
        cmocka_unit_test(numbers_are_written_as_msgpack_c_does),
        cmocka_unit_test(other_values_are_written_as_msgpack_c_does),
        cmocka_unit_test(numbers_of_every_width_are_read),
        cmocka_unit_test(msgpack_c_reads_what_we_write),
        cmocka_unit_test(any_value_of_msgpack_is_skipped),
        cmocka_unit_test(unknown_fields_are_skipped),
        cmocka_unit_test(newer_messages_are_refused),
        cmocka_unit_test(errors_name_field_and_cause),
        cmocka_unit_test(announced_counts_are_bounded_by_the_bytes),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(a_failed_reader_stays_failed),
        cmocka_unit_test(nested_values_need_an_arena),
        cmocka_unit_test(damaged_messages_are_survived),
        cmocka_unit_test(speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "rpc/event.h"

#include "unit/base_test.h"

#include "base/memory.h"
#include "unit/rpc_sample.h"

static const enum th_event_kind all_kinds[] = {
#define X(name, number, text) TH_EVENT_##name,
    TH_EVENT_KINDS(X)
#undef X
};

static struct th_event through_bytes(struct th_arena *arena, const struct th_event *event)
{
    TH_ARENA built = {0};
    struct th_error error = {0};
    struct th_event back;
    HistoryEvent *message = th_rpc_event(&built, event);
    assert_non_null(message);
    struct th_blob *bytes = th_rpc_pack(&message->base);
    const HistoryEvent *again =
        th_rpc_unpack(arena, &history_event__descriptor, th_blob_view(bytes), &error);
    if (!again) {
        fail_msg("%s: %s", th_event_kind_text(event->kind), error.message);
    }
    th_blob_unref(bytes); /* what was unpacked does not point there */
    assert_true(th_rpc_event_from(arena, again, &back, &error));
    return back;
}

static void every_kind_comes_back_as_it_was(void **state)
{
    struct th_random random;
    th_random_seed(&random, 5);
    for (size_t k = 0; k < TH_COUNT(all_kinds); k++) {
        for (int i = 0; i < 200; i++) {
            TH_ARENA made = {0}, read = {0};
            struct th_event event;
            bool sampled = rpc_sample_event(&random, &made, all_kinds[k], &event);
            assert_int_equal(sampled, th_rpc_event_leaves(all_kinds[k]));
            if (!sampled) {
                break;
            }
            struct th_event back = through_bytes(&read, &event);
            if (!th_event_equal(&event, &back)) {
                fail_msg("%s differs in round %d", th_event_kind_text(event.kind), i);
            }
        }
    }
}

static void some_kinds_stay(void **state)
{
    TH_ARENA arena = {0};
    struct th_event purge = th_event_of(TH_EVENT_PURGE_REQUESTED, 1);
    struct th_event events[] = {th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, 1),
                                th_event_of(TH_EVENT_ORCHESTRATOR_COMPLETED, 2),
                                th_event_of(TH_EVENT_TIMER_FIRED, 3)};
    size_t count;
    assert_null(th_rpc_event(&arena, &purge));
    assert_non_null(th_rpc_event(&arena, &events[1]));
    HistoryEvent **left = th_rpc_events(&arena, events, 3, &count);
    assert_int_equal(count, 2);
    assert_int_equal(left[0]->event_type_case, HISTORY_EVENT__EVENT_TYPE_ORCHESTRATOR_STARTED);
    assert_int_equal(left[1]->event_type_case, HISTORY_EVENT__EVENT_TYPE_TIMER_FIRED);
}

static void an_unknown_kind_is_named(void **state)
{
    static const char bytes[] = {0x08, 0x05, (char)0xfa, 0x01, 0x00}; /* event_id 5, field 31 */
    TH_ARENA arena = {0};
    struct th_error error;
    struct th_event event;
    const HistoryEvent *message =
        th_rpc_unpack(&arena, &history_event__descriptor, th_str_n(bytes, sizeof(bytes)), &error);
    assert_non_null(message);
    assert_false(th_rpc_event_from(&arena, message, &event, &error));
    assert_int_equal(error.code, TH_INVALID);
    assert_non_null(strstr(error.message, "31"));
}

static void payloads_that_are_no_text_leave_as_base64(void **state)
{
    static const struct {
        struct th_str bytes;
        const char *text;
    } cases[] = {{{"\xff\x00", 2}, "/wA="}, {{"a\0b", 3}, "YQBi"}, {{"", 0}, ""}, {{"a", 1}, "a"}};
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TH_ARENA arena = {0};
        struct th_event event = th_event_of(TH_EVENT_EVENT_RAISED, 1);
        event.data = cases[i].bytes;
        struct th_event back = through_bytes(&arena, &event);
        assert_true(th_str_eq(back.data, th_str_of(cases[i].text)));
    }
}

static void deep_failures_end_at_the_limit(void **state)
{
    TH_ARENA arena = {0};
    TaskFailureDetails *details = NULL;
    int depth = 0;
    for (int i = 0; i < TH_FAILURE_DEPTH + 5; i++) {
        TaskFailureDetails *outer = TH_ARENA_NEW(&arena, TaskFailureDetails);
        task_failure_details__init(outer);
        outer->inner_failure = details;
        details = outer;
    }
    for (const struct th_failure *f = th_rpc_failure_from(&arena, details); f; f = f->inner) {
        depth++;
    }
    assert_int_equal(depth, TH_FAILURE_DEPTH);
}

/* ---- times ---- */

static void times_are_those_of_the_protocol(void **state)
{
    static const struct {
        th_time time;
        int64_t seconds;
        int32_t nanos;
    } cases[] = {{0, 0, 0},
                 {1, 0, 1000},
                 {-1, -1, 999999000},
                 {-1000000, -1, 0},
                 {-1000001, -2, 999999000},
                 {1700000000123456, 1700000000, 123456000},
                 {INT64_MAX, 253402300799, 999999000},
                 {INT64_MIN + 1, -62135596800, 0}};
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TH_ARENA arena = {0};
        const Google__Protobuf__Timestamp *out = th_rpc_time(&arena, cases[i].time);
        assert_true(out->seconds == cases[i].seconds);
        assert_int_equal(out->nanos, cases[i].nanos);
    }
    assert_null(th_rpc_time(NULL, TH_TIME_NONE));
}

static void times_are_read_and_checked(void **state)
{
    static const struct {
        int64_t seconds;
        int32_t nanos;
        bool good;
        th_time time;
    } cases[] = {{0, 0, true, 0},
                 {5, 1, true, 5000001}, /* never early */
                 {-1, 999999999, true, 0},
                 {-1, 999999000, true, -1},
                 {253402300799, 0, true, 253402300799000000},
                 {253402300799, 999999999, true, 253402300799999999},
                 {253402300800, 0, false, 0},
                 {INT64_MIN, 0, false, 0},
                 {-62135596801, 0, false, 0},
                 {0, -1, false, 0},
                 {0, 1000000000, false, 0}};
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        Google__Protobuf__Timestamp in = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
        struct th_error error = {0};
        th_time time;
        in.seconds = cases[i].seconds;
        in.nanos = cases[i].nanos;
        assert_int_equal(th_rpc_time_of(&in, "fireAt", &time, &error), cases[i].good);
        if (cases[i].good) {
            assert_true(time == cases[i].time);
        } else {
            assert_int_equal(error.code, TH_INVALID);
            assert_non_null(strstr(error.message, "fireAt"));
        }
    }
}

/* ---- chunks ---- */

struct kept {
    struct th_arena arena;
    size_t chunks, events, largest, stop_after;
    int32_t next;
};

static bool keep(void *argument, struct th_blob *chunk)
{
    struct kept *k = argument;
    struct th_error error;
    const HistoryChunk *message =
        th_rpc_unpack(&k->arena, &history_chunk__descriptor, th_blob_view(chunk), &error);
    assert_non_null(message);
    assert_true(message->n_events > 0 && message->n_events <= TH_RPC_CHUNK_EVENTS);
    for (size_t i = 0; i < message->n_events; i++) {
        assert_int_equal(message->events[i]->event_id, k->next++);
    }
    k->events += message->n_events;
    k->largest = chunk->len > k->largest ? chunk->len : k->largest;
    th_blob_unref(chunk);
    return ++k->chunks != k->stop_after;
}

static struct th_event *raised(struct th_arena *arena, size_t count, size_t bytes)
{
    struct th_event *events = TH_ARENA_ARRAY(arena, struct th_event, count);
    char *data = th_arena_alloc(arena, bytes + 1);
    memset(data, 'x', bytes);
    for (size_t i = 0; i < count; i++) {
        events[i] = th_event_of(TH_EVENT_EVENT_RAISED, 1);
        events[i].id = (int32_t)i;
        events[i].data = th_str_n(data, bytes);
    }
    return events;
}

static void histories_come_in_chunks(void **state)
{
    static const struct {
        size_t count, bytes, chunks;
    } cases[] = {{0, 1, 0},   {1, 1, 1},         {100, 1, 1},      {101, 1, 2},
                 {250, 1, 3}, {4, 100 << 10, 2}, {3, 300 << 10, 3}};
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TH_ARENA arena = {0};
        struct kept kept = {0};
        struct th_event *events = raised(&arena, cases[i].count, cases[i].bytes);
        th_rpc_chunks(events, cases[i].count, keep, &kept);
        assert_int_equal(kept.events, cases[i].count);
        assert_int_equal(kept.chunks, cases[i].chunks);
        assert_true(kept.largest <= TH_RPC_CHUNK_BYTES || cases[i].bytes > TH_RPC_CHUNK_BYTES);
        th_arena_deinit(&kept.arena);
    }
}

static void chunks_stop_when_told(void **state)
{
    TH_ARENA arena = {0};
    struct kept kept = {.stop_after = 2};
    th_rpc_chunks(raised(&arena, 500, 1), 500, keep, &kept);
    assert_int_equal(kept.chunks, 2);
    th_arena_deinit(&kept.arena);
}

static void chunks_leave_out_what_stays(void **state)
{
    struct kept kept = {0};
    struct th_event events[] = {th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, 1),
                                th_event_of(TH_EVENT_ORCHESTRATOR_COMPLETED, 2),
                                th_event_of(TH_EVENT_TIMER_FIRED, 3)};
    events[0].id = 0;
    events[2].id = 1;
    th_rpc_chunks(events, 3, keep, &kept);
    assert_int_equal(kept.events, 2);
    th_arena_deinit(&kept.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_back_as_it_was),
        cmocka_unit_test(some_kinds_stay),
        cmocka_unit_test(an_unknown_kind_is_named),
        cmocka_unit_test(payloads_that_are_no_text_leave_as_base64),
        cmocka_unit_test(deep_failures_end_at_the_limit),
        cmocka_unit_test(times_are_those_of_the_protocol),
        cmocka_unit_test(times_are_read_and_checked),
        cmocka_unit_test(histories_come_in_chunks),
        cmocka_unit_test(chunks_stop_when_told),
        cmocka_unit_test(chunks_leave_out_what_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

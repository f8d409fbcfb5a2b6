#include "unit/base_test.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "model/base64.h"
#include "model/json.h"
#include "unit/model_sample.h"

/* The JSON as text, for comparing; drops the value. */
static char *text_of(json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(value);
    assert_non_null(text);
    return text;
}

static void same_text(json_t *value, const char *expected)
{
    char *text = text_of(value);
    assert_string_equal(text, expected);
    free(text);
}

/* ---- payloads ---- */

static void payloads_are_json_where_they_parse(void **state)
{
    same_text(th_payload_json(TH_STR_ABSENT), "null");
    same_text(th_payload_json(TH_STR("")), "\"\"");
    same_text(th_payload_json(TH_STR("{\"a\": [1, true, null]}")), "{\"a\":[1,true,null]}");
    same_text(th_payload_json(TH_STR("\"text\"")), "\"text\"");
    same_text(th_payload_json(TH_STR("17")), "17");
    same_text(th_payload_json(TH_STR("Hello Tokyo!")), "\"Hello Tokyo!\"");
    same_text(th_payload_json(TH_STR("{\"a\":")), "\"{\\\"a\\\":\"");
    same_text(th_payload_json(TH_STR("a\0b")), "\"a\\u0000b\"");
    same_text(th_payload_json(TH_STR("\"a\\u0000b\"")), "\"a\\u0000b\"");
    same_text(th_payload_json(TH_STR("12345678901234567890")), "1.2345678901234567e19");
    same_text(th_payload_json(TH_STR("1e999")), "\"1e999\"");
    same_text(th_payload_json(TH_STR("x\xff\xe2\x82\xac\xe2\x82")),
              "\"x\xef\xbf\xbd\xe2\x82\xac\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void base64_is_rfc_4648(void **state)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"\xff\xef", "/+8="}};
    static const char *const bad[] = {
        "Z", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zg =", "Zm\n8"};
    TH_ARENA arena = {0};
    struct th_str out;
    for (size_t i = 0; i < TH_COUNT(pairs); i++) {
        assert_str(th_base64_encode(&arena, th_str_of(pairs[i][0])), pairs[i][1]);
        assert_true(th_base64_decode(&arena, th_str_of(pairs[i][1]), &out));
        assert_str(out, pairs[i][0]);
    }
    for (size_t i = 0; i < TH_COUNT(bad); i++) {
        assert_false(th_base64_decode(&arena, th_str_of(bad[i]), &out));
    }
}

/* ---- the stored form ---- */

static void assert_comes_back(const struct th_event *events, size_t count)
{
    TH_ARENA arena = {0};
    struct th_events back = {0};
    struct th_error error = {0};
    char *text = text_of(th_history_to_json(events, count));
    if (!th_history_from_json(th_str_of(text), &arena, &back, &error)) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(back.count, count);
    for (size_t i = 0; i < count; i++) {
        if (!th_event_equal(&events[i], &back.items[i])) {
            fail_msg("event %zu of %s", i, text);
        }
    }
    th_events_deinit(&back);
    free(text);
}

static void stored_histories_come_back(void **state)
{
    struct th_random random;
    th_random_seed(&random, 21);
    for (int i = 0; i < 400; i++) {
        TH_ARENA arena = {0};
        struct th_event events[5];
        for (size_t k = 0; k < TH_COUNT(events); k++) {
            events[k] = sample_event(&random, &arena);
        }
        assert_comes_back(events, TH_COUNT(events));
    }
    assert_comes_back(NULL, 0);
}

static void times_of_any_year_come_back(void **state)
{
    static const th_time times[] = {0,
                                    INT64_C(-62167219200000000),
                                    INT64_C(-62167219200000001),
                                    INT64_C(253402300799999999),
                                    INT64_C(253402300800000000),
                                    INT64_MAX,
                                    INT64_MIN + 1};
    for (size_t i = 0; i < TH_COUNT(times); i++) {
        struct th_event event = th_event_of(TH_EVENT_TIMER_CREATED, times[i]);
        event.fire_at = times[i];
        assert_comes_back(&event, 1);
    }
}

static void events_have_durable_tasks_words(void **state)
{
    static const struct th_parent parent = {{"p", 1}, {"pe", 2}, {"Parent", 6}, {"1.0", 3}, 4};
    static const struct th_tag tag = {{"k", 1}, {"v", 1}};
    struct th_event started = th_event_of(TH_EVENT_EXECUTION_STARTED, INT64_C(1519795129345237));
    started.name = TH_STR("E1_HelloSequence");
    started.version = TH_STR("2.0");
    started.data = TH_STR("{\"a\":1}");
    started.instance_id = TH_STR("i1");
    started.execution_id = TH_STR("e1");
    started.parent = &parent;
    started.tags = (struct th_tags){&tag, 1};
    same_text(
        th_history_to_json(&started, 1),
        "[{\"EventType\":\"ExecutionStarted\",\"EventId\":-1,"
        "\"Timestamp\":\"2018-02-28T05:18:49.3452370Z\",\"Name\":\"E1_HelloSequence\","
        "\"Version\":\"2.0\",\"OrchestrationInstance\":{\"InstanceId\":\"i1\",\"ExecutionId\":"
        "\"e1\"},\"Input\":\"{\\\"a\\\":1}\",\"ParentInstance\":{\"Name\":\"Parent\",\"Version\":"
        "\"1.0\",\"TaskScheduleId\":4,\"OrchestrationInstance\":{\"InstanceId\":\"p\","
        "\"ExecutionId\":\"pe\"}},\"Tags\":{\"k\":\"v\"}}]");

    static const struct th_failure inner = {.type = {"Disk", 4}, .message = {"full", 4}};
    static const struct th_failure outer = {
        .type = {"Io", 2}, .message = {"no", 2}, .non_retriable = true, .inner = &inner};
    struct th_event failed = th_event_of(TH_EVENT_TASK_FAILED, 0);
    failed.related_id = 3;
    failed.failure = &outer;
    same_text(th_history_to_json(&failed, 1),
              "[{\"EventType\":\"TaskFailed\",\"EventId\":-1,\"TaskScheduledId\":3,\"Timestamp\":"
              "\"1970-01-01T00:00:00.0000000Z\",\"FailureDetails\":{\"ErrorType\":\"Io\","
              "\"ErrorMessage\":\"no\",\"IsNonRetriable\":true,\"InnerFailure\":{\"ErrorType\":"
              "\"Disk\",\"ErrorMessage\":\"full\",\"IsNonRetriable\":false}}}]");

    struct th_event fired = th_event_of(TH_EVENT_TIMER_FIRED, 0);
    fired.related_id = 5;
    fired.fire_at = 0;
    same_text(th_history_to_json(&fired, 1),
              "[{\"EventType\":\"TimerFired\",\"EventId\":-1,\"TimerId\":5,\"Timestamp\":\"1970-01-"
              "01T00:00:00.0000000Z\",\"FireAt\":\"1970-01-01T00:00:00.0000000Z\"}]");
}

/* ---- histories of others ---- */

static struct th_event only_event(struct th_arena *arena, const char *text)
{
    struct th_events events = {0};
    struct th_error error = {0};
    if (!th_history_from_json(th_str_of(text), arena, &events, &error)) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(events.count, 1);
    struct th_event event = events.items[0];
    th_events_deinit(&events);
    return event;
}

static void other_hubs_histories_are_read(void **state)
{
    TH_ARENA arena = {0};
    struct th_event event = only_event(
        &arena, "{\"instanceId\":\"i\",\"historyEvents\":[{\"EventType\":4,\"EventId\":0,"
                "\"IsPlayed\":true,\"Name\":\"a\",\"Version\":null,\"Input\":[1, 2],"
                "\"ParentTraceContext\":{\"TraceParent\":\"00-1\",\"TraceState\":null},"
                "\"Timestamp\":\"2018-02-28T05:18:49.3452372Z\"}]}");
    assert_int_equal(event.kind, TH_EVENT_TASK_SCHEDULED);
    assert_int_equal(event.id, 0);
    assert_str(event.data, "[1,2]");
    assert_str(event.trace, "00-1");
    assert_false(th_str_present(event.version));
    assert_true(event.timestamp == INT64_C(1519795129345237));
}

static void old_failures_are_read(void **state)
{
    TH_ARENA arena = {0};
    struct th_event event = only_event(
        &arena, "[{\"EventType\":\"TaskFailed\",\"TaskScheduledId\":1,\"Reason\":\"it broke\","
                "\"Details\":\"at line 3\"}]");
    assert_non_null(event.failure);
    assert_str(event.failure->message, "it broke");
    assert_str(event.failure->stack, "at line 3");
    assert_false(th_str_present(event.reason));
}

static void refused(const char *text, const char *expected)
{
    TH_ARENA arena = {0};
    struct th_events events = {0};
    struct th_error error = {0};
    assert_false(th_history_from_json(th_str_of(text), &arena, &events, &error));
    assert_int_equal(error.code, TH_INVALID);
    assert_string_equal(error.message, expected);
    th_events_deinit(&events);
}

static void errors_name_entry_and_field(void **state)
{
    const char *shape = "a history must be an array, or an object with an array historyEvents";
    refused("{}", shape);
    refused("{\"historyEvents\":3}", shape);
    refused("[\n{]", "line 2, column 2: string or '}' expected near ']'");
    refused("", "line 1, column 0: '[' or '{' expected near end of file");
    refused("[1]", "entry 0 must be an object");
    refused("[{}]", "entry 0 (?): EventType is missing");
    refused("[{\"EventType\":\"Oops\"}]",
            "entry 0 (?): EventType must be a kind of event such as \"TaskScheduled\"");
    refused("[{\"EventType\":33}]",
            "entry 0 (?): EventType must be a kind of event such as \"TaskScheduled\"");
#define ENTRY(rest) "[{\"EventType\":12},{\"EventType\":\"TaskScheduled\"," rest "}]"
    refused(ENTRY("\"EventId\":\"1\""),
            "entry 1 (TaskScheduled): EventId must be an integer of 32 bits");
    refused(ENTRY("\"EventId\":2147483648"),
            "entry 1 (TaskScheduled): EventId must be an integer of 32 bits");
    refused(ENTRY("\"Name\":5"), "entry 1 (TaskScheduled): Name must be a string");
    refused(ENTRY("\"Name\":{\"$base64\":\"?\"}"),
            "entry 1 (TaskScheduled): Name is not valid base64");
    refused(ENTRY("\"Timestamp\":\"yesterday\""),
            "entry 1 (TaskScheduled): Timestamp must be a time such as "
            "\"2026-11-22T10:19:42.1234567Z\"");
    refused(ENTRY("\"OrchestrationStatus\":\"Done\""),
            "entry 1 (TaskScheduled): OrchestrationStatus must be a status such as \"Completed\"");
    refused(ENTRY("\"Recurse\":1"), "entry 1 (TaskScheduled): Recurse must be true or false");
    refused(ENTRY("\"FailureDetails\":1"),
            "entry 1 (TaskScheduled): FailureDetails must be an object");
    refused(ENTRY("\"FailureDetails\":{\"InnerFailure\":1}"),
            "entry 1 (TaskScheduled): InnerFailure must be an object");
    refused(ENTRY("\"Tags\":1"), "entry 1 (TaskScheduled): Tags must be an object");
    refused(ENTRY("\"Tags\":{\"a\":1}"), "entry 1 (TaskScheduled): Tags must be a string");
    refused(ENTRY("\"ParentInstance\":[]"),
            "entry 1 (TaskScheduled): ParentInstance must be an object");
    refused("[{\"EventType\":\"TaskCompleted\",\"Result\":\"1\"}]",
            "entry 0 (TaskCompleted): TaskScheduledId is missing, so that nothing tells what this "
            "entry answers");
    refused(
        "[{\"EventType\":\"TaskCompleted\",\"FunctionName\":\"a\"}]",
        "entry 0 (TaskCompleted): FunctionName marks the folded history that showHistory gives; "
        "only a stored one will do");
}

static void failures_nested_for_ever_are_cut(void **state)
{
    TH_BUFFER text = {0};
    th_buffer_text(&text, "[{\"EventType\":\"TaskFailed\",\"TaskScheduledId\":1,"
                          "\"FailureDetails\":{\"ErrorType\":\"0\"");
    for (int i = 1; i < 100; i++) {
        th_buffer_format(&text, ",\"InnerFailure\":{\"ErrorType\":\"%d\"", i);
    }
    for (int i = 0; i < 100; i++) {
        th_buffer_text(&text, "}");
    }
    th_buffer_text(&text, "}]");
    TH_ARENA arena = {0};
    TH_AUTOFREE char *copy = th_buffer_take(&text);
    struct th_event event = only_event(&arena, copy);
    int depth = 0;
    for (const struct th_failure *f = event.failure; f; f = f->inner) {
        depth++;
    }
    assert_int_equal(depth, TH_FAILURE_DEPTH);
}

/* ---- the folded form ---- */

/* A list of events with a second between them, written in a few words. */
struct story {
    struct th_event items[32];
    size_t count;
};

static struct th_event *tell(struct story *story, enum th_event_kind kind)
{
    struct th_event *event = &story->items[story->count];
    *event = th_event_of(kind, INT64_C(1519795129000000) + (th_time)story->count * TH_SECOND);
    story->count++;
    return event;
}

static struct th_event *schedule(struct story *story, enum th_event_kind kind, int32_t id,
                                 const char *name, const char *input)
{
    struct th_event *event = tell(story, kind);
    event->id = id;
    event->name = th_str_of(name);
    event->data = th_str_of(input);
    return event;
}

static struct th_event *answer(struct story *story, enum th_event_kind kind, int32_t id,
                               const char *result)
{
    struct th_event *event = tell(story, kind);
    event->related_id = id;
    event->data = th_str_of(result);
    return event;
}

static void finish(struct story *story, const char *result)
{
    struct th_event *event = tell(story, TH_EVENT_EXECUTION_COMPLETED);
    event->status = TH_STATUS_COMPLETED;
    event->data = th_str_of(result);
    tell(story, TH_EVENT_ORCHESTRATOR_COMPLETED);
}

static void begin(struct story *story)
{
    tell(story, TH_EVENT_ORCHESTRATOR_STARTED);
    struct th_event *started = tell(story, TH_EVENT_EXECUTION_STARTED);
    started->name = TH_STR("E1_HelloSequence");
    started->data = TH_STR("\"in\"");
    started->instance_id = TH_STR("i1");
    started->execution_id = TH_STR("e1");
}

/* The example in Durable Functions' documentation of the HTTP API. */
static void a_sequence_folds_to_one_row_per_call(void **state)
{
    struct story story = {0};
    begin(&story);
    schedule(&story, TH_EVENT_TASK_SCHEDULED, 0, "E1_SayHello", "\"Tokyo\"");
    tell(&story, TH_EVENT_ORCHESTRATOR_COMPLETED);
    tell(&story, TH_EVENT_ORCHESTRATOR_STARTED);
    answer(&story, TH_EVENT_TASK_COMPLETED, 0, "\"Hello Tokyo!\"");
    finish(&story, "[\"Hello Tokyo!\"]");
    same_text(th_history_fold_json(story.items, story.count, false, true),
              "[{\"EventType\":\"ExecutionStarted\",\"FunctionName\":\"E1_HelloSequence\","
              "\"Timestamp\":\"2018-02-28T05:18:50.0000000Z\"},"
              "{\"EventType\":\"TaskCompleted\",\"FunctionName\":\"E1_SayHello\","
              "\"ScheduledTime\":\"2018-02-28T05:18:51.0000000Z\",\"Result\":\"Hello Tokyo!\","
              "\"Timestamp\":\"2018-02-28T05:18:54.0000000Z\"},"
              "{\"EventType\":\"ExecutionCompleted\",\"OrchestrationStatus\":\"Completed\","
              "\"Result\":[\"Hello Tokyo!\"],\"Timestamp\":\"2018-02-28T05:18:55.0000000Z\"}]");
    same_text(th_history_fold_json(story.items, story.count, true, false),
              "[{\"EventType\":\"ExecutionStarted\",\"FunctionName\":\"E1_HelloSequence\","
              "\"Input\":\"in\",\"Timestamp\":\"2018-02-28T05:18:50.0000000Z\"},"
              "{\"EventType\":\"TaskCompleted\",\"FunctionName\":\"E1_SayHello\",\"Input\":"
              "\"Tokyo\",\"ScheduledTime\":\"2018-02-28T05:18:51.0000000Z\","
              "\"Timestamp\":\"2018-02-28T05:18:54.0000000Z\"},"
              "{\"EventType\":\"ExecutionCompleted\",\"OrchestrationStatus\":\"Completed\","
              "\"Timestamp\":\"2018-02-28T05:18:55.0000000Z\"}]");
}

static void what_is_not_answered_stays(void **state)
{
    struct story story = {0};
    schedule(&story, TH_EVENT_TASK_SCHEDULED, 0, "a", NULL);
    schedule(&story, TH_EVENT_TIMER_CREATED, 1, NULL, NULL)->fire_at = 0;
    schedule(&story, TH_EVENT_CHILD_CREATED, 2, "Child", NULL)->instance_id = TH_STR("c");
    same_text(th_history_fold_json(story.items, story.count, true, true),
              "[{\"EventType\":\"TaskScheduled\",\"FunctionName\":\"a\",\"Timestamp\":"
              "\"2018-02-28T05:18:49.0000000Z\"},"
              "{\"EventType\":\"TimerCreated\",\"FireAt\":\"1970-01-01T00:00:00.0000000Z\","
              "\"Timestamp\":\"2018-02-28T05:18:50.0000000Z\"},"
              "{\"EventType\":\"SubOrchestrationInstanceCreated\",\"FunctionName\":\"Child\","
              "\"InstanceId\":\"c\",\"Timestamp\":\"2018-02-28T05:18:51.0000000Z\"}]");
}

/* Answers out of order, ids shared between kinds, an id used again by a retry. */
static void answers_find_what_they_answer(void **state)
{
    static const struct th_failure failure = {.type = {"T", 1}, .message = {"no", 2}};
    struct story story = {0};
    schedule(&story, TH_EVENT_TASK_SCHEDULED, 0, "first", NULL);
    schedule(&story, TH_EVENT_TASK_SCHEDULED, 1, "second", NULL);
    schedule(&story, TH_EVENT_CHILD_CREATED, 1, "child", NULL);
    answer(&story, TH_EVENT_TASK_COMPLETED, 1, "2");
    answer(&story, TH_EVENT_TASK_FAILED, 0, NULL)->failure = &failure;
    answer(&story, TH_EVENT_CHILD_COMPLETED, 1, "3");
    schedule(&story, TH_EVENT_TASK_SCHEDULED, 0, "again", NULL);
    answer(&story, TH_EVENT_TASK_COMPLETED, 0, "4");
    answer(&story, TH_EVENT_TASK_COMPLETED, 77, "5");
    json_t *rows = th_history_fold_json(story.items, story.count, true, true);
    static const char *const names[] = {"second", "first", "child", "again"};
    assert_int_equal(json_array_size(rows), 5);
    for (size_t i = 0; i < TH_COUNT(names); i++) {
        const json_t *name = json_object_get(json_array_get(rows, i), "FunctionName");
        assert_string_equal(json_string_value(name), names[i]);
    }
    json_t *failed = json_array_get(rows, 1);
    assert_string_equal(json_string_value(json_object_get(failed, "Reason")), "no");
    assert_true(json_is_null(json_object_get(failed, "Details")));
    assert_non_null(json_object_get(failed, "FailureDetails"));
    assert_null(json_object_get(json_array_get(rows, 4), "FunctionName"));
    json_decref(rows);
}

static void ids_are_not_shown(void **state)
{
    struct th_random random;
    th_random_seed(&random, 22);
    TH_ARENA arena = {0};
    struct th_event events[200];
    for (size_t i = 0; i < TH_COUNT(events); i++) {
        events[i] = sample_event(&random, &arena);
    }
    json_t *rows = th_history_fold_json(events, TH_COUNT(events), true, true);
    static const char *const hidden[] = {"EventId", "TaskScheduledId", "TimerId",
                                         "Version", "IsPlayed",        "OrchestrationInstance"};
    size_t index;
    json_t *row;
    json_array_foreach(rows, index, row) {
        for (size_t i = 0; i < TH_COUNT(hidden); i++) {
            assert_null(json_object_get(row, hidden[i]));
        }
    }
    json_decref(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payloads_are_json_where_they_parse),
        cmocka_unit_test(base64_is_rfc_4648),
        cmocka_unit_test(stored_histories_come_back),
        cmocka_unit_test(times_of_any_year_come_back),
        cmocka_unit_test(events_have_durable_tasks_words),
        cmocka_unit_test(other_hubs_histories_are_read),
        cmocka_unit_test(old_failures_are_read),
        cmocka_unit_test(errors_name_entry_and_field),
        cmocka_unit_test(failures_nested_for_ever_are_cut),
        cmocka_unit_test(a_sequence_folds_to_one_row_per_call),
        cmocka_unit_test(what_is_not_answered_stays),
        cmocka_unit_test(answers_find_what_they_answer),
        cmocka_unit_test(ids_are_not_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

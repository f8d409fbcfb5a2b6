/* What a lag's rows add up to, and how they are told: as JSON and as metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <jansson.h>

#include "api/lag.h"
#include "base/memory.h"

#include <cmocka.h>

#define NOW (INT64_C(1800000000) * TH_SECOND)

static const struct th_lag_row rows[] = {
    {.topic = TH_LAG_INSTANCES,
     .partition = 0,
     .end = 110,
     .position = 100,
     .source = TH_LAG_BY_OWNER,
     .oldest = NOW - 1500 * TH_MILLISECOND,
     .owner = {"w-1", 3},
     .epoch = 17},
    {.topic = TH_LAG_INSTANCES,
     .partition = 1,
     .end = 50,
     .position = 50,
     .source = TH_LAG_BY_PROJECTION,
     .oldest = NOW - TH_SECOND, /* of an older look */
     .epoch = -1,
     .trouble = {"the disk is full", 16}},
    {.topic = TH_LAG_ACTIVITIES,
     .partition = 0,
     .end = 7,
     .position = 4,
     .source = TH_LAG_BY_GROUP,
     .oldest = NOW - 4 * TH_SECOND,
     .epoch = -1},
};

static struct th_lag lag_of(const struct th_lag_row *items, size_t count)
{
    return (struct th_lag){.hub = TH_STR("Orders"),
                           .now = NOW,
                           .rows = items,
                           .count = count,
                           .queued_since = TH_TIME_NONE};
}

static void assert_seconds(double found, double wanted)
{
    assert_true(found > wanted - 1e-6 && found < wanted + 1e-6);
}

static void rows_have_messages_and_an_age(void **state)
{
    struct th_lag lag = lag_of(rows, TH_COUNT(rows));
    assert_int_equal(th_lag_messages(&rows[0]), 10);
    assert_seconds(th_lag_seconds(&lag, &rows[0]), 1.5);
    assert_int_equal(th_lag_messages(&rows[1]), 0);
    assert_seconds(th_lag_seconds(&lag, &rows[1]), 0);
    assert_int_equal(th_lag_messages(&rows[2]), 3);
    assert_seconds(th_lag_seconds(&lag, &rows[2]), 4);
}

/* A heartbeat may be newer than the ends, or a clock ahead: nothing is negative. */
static void nothing_is_negative(void **state)
{
    const struct th_lag_row ahead = {.end = 5, .position = 8, .oldest = NOW - TH_SECOND};
    const struct th_lag_row early = {.end = 5, .position = 4, .oldest = NOW + TH_SECOND};
    const struct th_lag_row unknown = {.end = 5, .position = -1, .oldest = TH_TIME_NONE};
    struct th_lag lag = lag_of(&early, 1);
    assert_int_equal(th_lag_messages(&ahead), 0);
    assert_int_equal(th_lag_messages(&early), 1);
    assert_seconds(th_lag_seconds(&lag, &early), 0);
    assert_int_equal(th_lag_messages(&unknown), 5);
    assert_true(th_lag_seconds(&lag, &unknown) < 0);
}

static void totals(void **state)
{
    struct th_lag lag = lag_of(rows, TH_COUNT(rows));
    struct th_lag_totals totals = th_lag_total(&lag);
    assert_int_equal(totals.messages[TH_LAG_INSTANCES], 10);
    assert_int_equal(totals.messages[TH_LAG_ACTIVITIES], 3);
    assert_seconds(totals.seconds, 4);
}

static void queued_activities_count_in_the_age(void **state)
{
    struct th_lag lag = lag_of(rows, TH_COUNT(rows));
    lag.queued = 12;
    lag.queued_since = NOW - 9 * TH_SECOND;
    assert_seconds(th_lag_total(&lag).seconds, 9);
    lag.queued = 0;
    assert_seconds(th_lag_total(&lag).seconds, 4);
}

static void an_idle_hub_shows_nothing_but_zeros(void **state)
{
    struct th_lag lag = lag_of(&rows[1], 1);
    struct th_lag_totals totals = th_lag_total(&lag);
    assert_int_equal(totals.messages[TH_LAG_INSTANCES] + totals.messages[TH_LAG_ACTIVITIES], 0);
    assert_seconds(totals.seconds, 0);
}

static void an_unknown_age_is_no_zero(void **state)
{
    struct th_lag_row row = rows[0];
    row.oldest = TH_TIME_NONE;
    struct th_lag lag = lag_of(&row, 1);
    assert_true(th_lag_total(&lag).seconds < 0);
}

static json_t *document_of(const struct th_lag *lag)
{
    TH_BUFFER text = {0};
    json_error_t why;
    th_document_lag(&text, lag);
    json_t *json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    if (!json) {
        fail_msg("%s: %.*s", why.text, (int)text.len, text.data);
    }
    return json;
}

static void assert_json(const json_t *found, const char *wanted)
{
    json_auto_t *expected = json_loads(wanted, JSON_DECODE_ANY, NULL);
    assert_non_null(expected);
    if (!json_equal(found, expected)) {
        TH_AUTOFREE char *text = json_dumps(found, JSON_ENCODE_ANY | JSON_PRESERVE_ORDER);
        fail_msg("%s instead of %s", text, wanted);
    }
}

static void document(void **state)
{
    struct th_lag lag = lag_of(rows, TH_COUNT(rows));
    lag.queued = 2;
    json_auto_t *json = document_of(&lag);
    assert_json(json_object_get(json, "hub"), "\"Orders\"");
    assert_json(json_object_get(json, "time"), "\"2027-01-15T08:00:00.000Z\"");
    assert_json(json_object_get(json, "totals"),
                "{\"lag\": 13, \"instances\": 10, \"activities\": 3, \"queuedActivities\": 2,"
                " \"queuedSince\": null, \"ageSeconds\": 4.0}");
    const json_t *list = json_object_get(json, "partitions");
    assert_int_equal(json_array_size(list), 3);
    assert_json(
        json_array_get(list, 0),
        "{\"topic\": \"instances\", \"partition\": 0, \"end\": 110, \"position\": 100,"
        " \"lag\": 10, \"ageSeconds\": 1.5, \"oldestMessage\": \"2027-01-15T07:59:58.500Z\","
        " \"owner\": \"w-1\", \"epoch\": 17, \"source\": \"owner\", \"trouble\": null}");
    assert_json(json_array_get(list, 1),
                "{\"topic\": \"instances\", \"partition\": 1, \"end\": 50, \"position\": 50,"
                " \"lag\": 0, \"ageSeconds\": 0.0, \"oldestMessage\": null, \"owner\": null,"
                " \"epoch\": null, \"source\": \"projection\", \"trouble\": \"the disk is full\"}");
}

static bool has_line(const struct th_buffer *text, const char *line)
{
    const char *found = strstr(text->data, line);
    size_t len = strlen(line);
    return found && (found == text->data || found[-1] == '\n') && found[len] == '\n';
}

static void metrics(void **state)
{
    TH_BUFFER text = {0};
    struct th_lag lag = lag_of(rows, TH_COUNT(rows));
    th_metrics_lag(&text, &lag);
    th_buffer_add(&text, "", 1);
#define AT(topic, partition) "{hub=\"Orders\",topic=\"" topic "\",partition=\"" partition "\"} "
    assert_true(has_line(&text, "taskhub_lag_messages" AT("instances", "0") "10"));
    assert_true(has_line(&text, "taskhub_lag_messages" AT("instances", "1") "0"));
    assert_true(has_line(&text, "taskhub_lag_messages" AT("activities", "0") "3"));
    assert_true(has_line(&text, "taskhub_lag_seconds" AT("instances", "0") "1.5"));
    assert_true(has_line(&text, "taskhub_lag_seconds" AT("instances", "1") "0"));
    assert_true(has_line(&text, "taskhub_topic_end_offset" AT("activities", "0") "7"));
    assert_true(has_line(&text, "taskhub_topic_position_offset" AT("instances", "1") "50"));
    assert_true(has_line(&text, "taskhub_queued_activities{hub=\"Orders\"} 0"));
    assert_true(has_line(&text, "taskhub_queued_activities_seconds{hub=\"Orders\"} 0"));
}

static struct th_hub_view view_of(struct th_hub_partition_view *partitions)
{
    static const struct th_unserved unserved[] = {{TH_FUNCTION_ACTIVITY, {"pay", 3}, 4},
                                                  {TH_FUNCTION_ORCHESTRATOR, {"order", 5}, 1}};
    return (struct th_hub_view){.record = {.name = "Orders", .partitions = 2},
                                .unserved = unserved,
                                .unserved_count = TH_COUNT(unserved),
                                .partitions = partitions};
}

static void of_a_view(void **state)
{
    TH_ARENA arena = {0};
    struct th_hub_partition_view partitions[] = {
        {.partition = 0,
         .owned = true,
         .owner = TH_STR("me"),
         .epoch = 3,
         .inbox_position = 4,
         .inbox_end = 9,
         .oldest = NOW - 2 * TH_SECOND},
        {.partition = 1, .inbox_position = 0, .inbox_end = 0, .oldest = TH_TIME_NONE}};
    struct th_hub_view view = view_of(partitions);
    struct th_lag lag;
    th_lag_of_view(&lag, &view, NOW, &arena);
    assert_int_equal(lag.count, 2);
    assert_int_equal(th_lag_messages(&lag.rows[0]), 5);
    assert_seconds(th_lag_seconds(&lag, &lag.rows[0]), 2);
    assert_int_equal(lag.rows[0].epoch, 3);
    assert_int_equal(lag.rows[1].epoch, -1);
    assert_false(th_str_present(lag.rows[1].owner));
}

static void metrics_of_a_view(void **state)
{
    TH_BUFFER text = {0};
    struct th_hub_partition_view partitions[] = {
        {.partition = 0, .owned = true, .owner = TH_STR("me"), .epoch = 3}, {.partition = 1}};
    struct th_hub_view view = view_of(partitions);
    th_metrics_view(&text, &view);
    th_buffer_add(&text, "", 1);
    assert_true(has_line(
        &text, "taskhub_partition_owner_info{hub=\"Orders\",partition=\"0\",owner=\"me\"} 1"));
    assert_true(has_line(&text, "taskhub_partition_epoch{hub=\"Orders\",partition=\"0\"} 3"));
    assert_null(strstr(text.data, "partition=\"1\""));
    assert_true(has_line(&text, "taskhub_partitions_without_owner{hub=\"Orders\"} 1"));
    assert_true(has_line(
        &text, "taskhub_unserved_work{hub=\"Orders\",kind=\"activity\",function=\"pay\"} 4"));
    assert_true(has_line(
        &text, "taskhub_unserved_work{hub=\"Orders\",kind=\"orchestrator\",function=\"order\"} 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_have_messages_and_an_age),
        cmocka_unit_test(nothing_is_negative),
        cmocka_unit_test(totals),
        cmocka_unit_test(queued_activities_count_in_the_age),
        cmocka_unit_test(an_idle_hub_shows_nothing_but_zeros),
        cmocka_unit_test(an_unknown_age_is_no_zero),
        cmocka_unit_test(document),
        cmocka_unit_test(metrics),
        cmocka_unit_test(of_a_view),
        cmocka_unit_test(metrics_of_a_view),
    };
    return cmocka_run_group_tests_name("lag", tests, NULL, NULL);
}

/* Heartbeats and what the brokers say, put together: who owns what, whose position counts, what is
 * added up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <jansson.h>

#include "api/document.h"
#include "base/memory.h"
#include "monitor/merge.h"

#include <cmocka.h>

#define NOW (INT64_C(1800000000) * TH_SECOND)

enum { PARTITIONS = 3, ACTIVITY_PARTITIONS = 2 };

static const struct th_hub_record hub = {
    .name = "Orders", .incarnation = 7, .partitions = PARTITIONS, .created = NOW};

/* ---- a fleet of two workers and a coordinator ---- */

static const struct th_member_partition of_first[] = {
    {.index = 0,
     .epoch = 11,
     .position = 95,
     .end = 100,
     .oldest = NOW - 2 * TH_SECOND,
     .log_start = 3,
     .log_end = 40,
     .pending = 6,
     .instances = 20,
     .letters = 2,
     .timers = 4},
    {.index = 1, .epoch = 5, .position = 10, .oldest = TH_TIME_NONE, .pending = 1, .instances = 3},
};
static const struct th_member_partition of_second[] = {
    {.index = 1, .epoch = 9, .position = 30, .oldest = TH_TIME_NONE, .instances = 1},
    {.index = 2, .epoch = -1, .trouble = {"the disk is full", 16}},
};
static const struct th_member_activities consumed[] = {
    {.partition = 1, .position = 8, .end = 9, .oldest = NOW - 7 * TH_SECOND}};
static const struct th_member_unserved unserved_of_first[] = {
    {.kind = TH_FUNCTION_ACTIVITY, .name = {"pay", 3}, .waiting = 2},
    {.kind = TH_FUNCTION_ORCHESTRATOR, .name = {"pay", 3}, .waiting = 1}};
static const struct th_member_unserved unserved_of_second[] = {
    {.kind = TH_FUNCTION_ACTIVITY, .name = {"pay", 3}, .waiting = 3}};
static const struct th_member_function functions[] = {{.kind = TH_FUNCTION_ACTIVITY,
                                                       .name = {"pay", 3},
                                                       .requests = 4,
                                                       .errors = 1,
                                                       .latency_sum = 10000,
                                                       .latency_max = 7000,
                                                       .running = 1}};

static struct th_member first = {.kind = TH_MEMBER_WORKER,
                                 .name = {"first", 5},
                                 .url = {"http://127.0.0.1:7081", 21},
                                 .pid = 4711,
                                 .started = NOW - 60 * TH_SECOND,
                                 .threads = 8,
                                 .waiting = 3,
                                 .queued_since = NOW - 4 * TH_SECOND,
                                 .partitions = of_first,
                                 .partitions_count = TH_COUNT(of_first),
                                 .unserved = unserved_of_first,
                                 .unserved_count = TH_COUNT(unserved_of_first),
                                 .functions = functions,
                                 .functions_count = TH_COUNT(functions),
                                 .heard = NOW - 200 * TH_MILLISECOND};
static struct th_member second = {.kind = TH_MEMBER_WORKER,
                                  .name = {"second", 6},
                                  .started = TH_TIME_NONE,
                                  .waiting = 1,
                                  .queued_since = NOW - 6 * TH_SECOND,
                                  .partitions = of_second,
                                  .partitions_count = TH_COUNT(of_second),
                                  .activities = consumed,
                                  .activities_count = TH_COUNT(consumed),
                                  .unserved = unserved_of_second,
                                  .unserved_count = TH_COUNT(unserved_of_second),
                                  .draining = 1,
                                  .heard = NOW};
static struct th_member third = {.kind = TH_MEMBER_COORDINATOR,
                                 .name = {"third", 5},
                                 .started = TH_TIME_NONE,
                                 .queued_since = TH_TIME_NONE,
                                 .heard = NOW};
static struct th_member *all[] = {&third, &first, &second};
static const struct th_control_view members = {
    .members = all, .count = TH_COUNT(all), .now = NOW, .ready = true};
static const struct th_control_view nobody = {.now = NOW, .ready = true};

/* ---- what the brokers say ---- */

struct brokers {
    struct th_monitor_topic instances, activities;
    int64_t offsets[8][PARTITIONS];
    th_time arrivals[2][PARTITIONS];
};

static struct th_monitor_topic topic_of(struct brokers *b, size_t first_row, uint32_t partitions)
{
    return (struct th_monitor_topic){.partitions = partitions,
                                     .ends = b->offsets[first_row],
                                     .starts = b->offsets[first_row + 1],
                                     .committed = b->offsets[first_row + 2],
                                     .projected = b->offsets[first_row + 3],
                                     .arrivals = b->arrivals[first_row / 4]};
}

static void tell(struct brokers *b)
{
    *b = (struct brokers){.offsets = {{100, 30, 50},
                                      {-1, -1, 40},
                                      {90, 30, -1},
                                      {-1, -1, -1},
                                      {12, 9},
                                      {0, -1},
                                      {-1, 6},
                                      {-1, -1}},
                          .arrivals = {{TH_TIME_NONE, TH_TIME_NONE, NOW - 3 * TH_SECOND},
                                       {NOW - 5 * TH_SECOND, TH_TIME_NONE}}};
    b->instances = topic_of(b, 0, PARTITIONS);
    b->activities = topic_of(b, 4, ACTIVITY_PARTITIONS);
}

static void merge(struct brokers *b, const struct th_control_view *who, struct th_arena *arena,
                  struct th_monitor_picture *out)
{
    th_monitor_merge(&hub, &b->instances, &b->activities, who, arena, out);
}

static void assert_str(struct th_str found, const char *wanted)
{
    if (!wanted) {
        assert_int_equal(found.len, 0);
    } else if (!th_str_eq(found, th_str_of(wanted))) {
        fail_msg("\"%.*s\" instead of \"%s\"", TH_PRI(found), wanted);
    }
}

/* ---- tests ---- */

static void the_later_claim_owns(void **state)
{
    assert_ptr_equal(th_monitor_owner(&members, 0), &first);
    assert_ptr_equal(th_monitor_owner(&members, 1), &second); /* epoch 9 against 5 */
    assert_null(th_monitor_owner(&members, 2));               /* wanted, but not owned */
    assert_null(th_monitor_owner(&nobody, 0));
    assert_str(th_monitor_trouble(&members, 2), "the disk is full");
    assert_str(th_monitor_trouble(&members, 0), NULL);
    assert_ptr_equal(th_monitor_consumer(&members, 1), &second);
    assert_null(th_monitor_consumer(&members, 0));
}

static void whose_position_counts(void **state)
{
    static const struct {
        bool owned;
        int64_t projected, committed, start, position;
        enum th_lag_source source;
    } table[] = {
        {true, 99, 98, 97, 77, TH_LAG_BY_OWNER},
        {false, 30, 20, 10, 30, TH_LAG_BY_PROJECTION},
        {false, 20, 20, 10, 20, TH_LAG_BY_PROJECTION},
        {false, 15, 20, 10, 20, TH_LAG_BY_GROUP}, /* a projection that lags behind */
        {false, -1, 20, -1, 20, TH_LAG_BY_GROUP},
        {false, 0, -1, 0, 0, TH_LAG_BY_PROJECTION},
        {false, -1, -1, 10, 10, TH_LAG_BY_START},
        {false, -1, -1, -1, 0, TH_LAG_BY_START},
    };
    const struct th_member_partition owned = {.position = 77, .epoch = 1};
    for (size_t i = 0; i < TH_COUNT(table); i++) {
        int64_t projected = table[i].projected, committed = table[i].committed;
        int64_t start = table[i].start;
        const struct th_monitor_topic topic = {
            .partitions = 1, .projected = &projected, .committed = &committed, .starts = &start};
        enum th_lag_source source;
        int64_t position = th_monitor_position(&topic, 0, table[i].owned ? &owned : NULL, &source);
        assert_int_equal(position, table[i].position);
        assert_int_equal(source, table[i].source);
    }
}

static void assert_row(const struct th_lag *lag, size_t i, uint64_t messages, double seconds,
                       const char *owner)
{
    double found = th_lag_seconds(lag, &lag->rows[i]);
    assert_int_equal(th_lag_messages(&lag->rows[i]), messages);
    assert_true(found > seconds - 1e-6 && found < seconds + 1e-6);
    assert_str(lag->rows[i].owner, owner);
}

static void lag(void **state)
{
    TH_ARENA arena = {0};
    struct brokers b;
    struct th_monitor_picture picture;
    tell(&b);
    merge(&b, &members, &arena, &picture);
    const struct th_lag *lag = &picture.lag;
    assert_int_equal(lag->count, PARTITIONS + ACTIVITY_PARTITIONS);
    assert_row(lag, 0, 5, 2, "first");
    assert_row(lag, 1, 0, 0, "second");
    assert_row(lag, 2, 10, 3, NULL); /* by where the topic begins, and by its first message */
    assert_row(lag, 3, 12, 5, NULL);
    assert_row(lag, 4, 3, 7, "second"); /* the group's offset counts, the consumer knows the age */
    assert_int_equal(lag->rows[4].source, TH_LAG_BY_GROUP);
    assert_int_equal(lag->rows[0].epoch, 11);
    assert_int_equal(lag->rows[2].epoch, -1);
    assert_str(lag->rows[2].trouble, "the disk is full");
    assert_int_equal(lag->queued, 4);
    assert_true(lag->queued_since == NOW - 6 * TH_SECOND);
    assert_true(th_lag_total(lag).seconds > 6.9);
}

/* The heartbeat is older than what it does not know of. */
static void what_came_since_the_heartbeat(void **state)
{
    TH_ARENA arena = {0};
    struct brokers b;
    struct th_monitor_picture picture;
    tell(&b);
    b.offsets[0][1] = 33;
    second.heard = NOW - 200 * TH_MILLISECOND;
    merge(&b, &members, &arena, &picture);
    second.heard = NOW;
    assert_row(&picture.lag, 1, 3, 0.2, "second");
}

/* A process that does not tell since when its activities wait must not make them wait since 1970.
 */
static void queued_since_nobody_knows_when(void **state)
{
    TH_ARENA arena = {0};
    struct brokers b;
    struct th_monitor_picture picture;
    struct th_member silent = {.kind = TH_MEMBER_WORKER, .waiting = 2};
    struct th_member *one[] = {&silent};
    const struct th_control_view view = {.members = one, .count = 1, .now = NOW};
    tell(&b);
    merge(&b, &view, &arena, &picture);
    assert_int_equal(picture.lag.queued, 2);
    assert_true(picture.lag.queued_since == TH_TIME_NONE);
}

static void view(void **state)
{
    TH_ARENA arena = {0};
    struct brokers b;
    struct th_monitor_picture picture;
    tell(&b);
    merge(&b, &members, &arena, &picture);
    const struct th_hub_view *v = &picture.view;
    assert_true(v->partitions[0].owned && v->partitions[1].owned && !v->partitions[2].owned);
    assert_str(v->partitions[0].owner, "first");
    assert_int_equal(v->partitions[0].epoch, 11);
    assert_int_equal(v->partitions[0].log_end, 40);
    assert_int_equal(v->partitions[2].inbox_end, 50);
    assert_str(v->partitions[2].trouble, "the disk is full");
    assert_int_equal(v->instance_messages, 5 + 10 + 2); /* in the inboxes, and taken from there */
    assert_int_equal(v->activity_messages, 6);          /* not what a former owner still says */
    assert_int_equal(v->timers, 4);
    assert_int_equal(v->instances_in_memory, 21);
    assert_int_equal(v->unserved_count, 2);
    assert_str(v->unserved[0].name, "pay");
    assert_int_equal(v->unserved[0].kind, TH_FUNCTION_ACTIVITY);
    assert_int_equal(v->unserved[0].waiting, 5);
    assert_int_equal(v->unserved[1].kind, TH_FUNCTION_ORCHESTRATOR);
    assert_int_equal(v->unserved[1].waiting, 1);
}

static json_t *document_of(const struct th_control_view *who)
{
    TH_ARENA arena = {0};
    TH_BUFFER text = {0};
    TH_BUFFER list = {0};
    struct brokers b;
    struct th_monitor_picture picture;
    json_error_t why;
    tell(&b);
    merge(&b, who, &arena, &picture);
    th_monitor_put_members(&list, who);
    th_document_hub(&text, &picture.view, th_buffer_view(&list));
    json_t *json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    if (!json) {
        fail_msg("%s: %.*s", why.text, (int)text.len, text.data);
    }
    return json;
}

static void document(void **state)
{
    json_auto_t *json = document_of(&members);
    json_auto_t *wanted = json_loads(
        "{\"name\": \"first\", \"kind\": \"worker\", \"url\": \"http://127.0.0.1:7081\","
        " \"application\": null, \"host\": null, \"pid\": 4711, \"version\": null,"
        " \"started\": \"2027-01-15T07:59:00.000Z\", \"silentSeconds\": 0.2, \"draining\": false,"
        " \"threads\": 8, \"running\": 0, \"waiting\": 3, \"episodes\": 0, \"records\": 0,"
        " \"activities\": 0, \"partitions\": [0, 1], \"activityPartitions\": [],"
        " \"functions\": [{\"kind\": \"activity\", \"name\": \"pay\", \"requests\": 4,"
        " \"errors\": 1, \"averageMs\": 2.5, \"longestMs\": 7.0, \"running\": 1, \"waiting\": 0}]}",
        0, NULL);
    assert_non_null(wanted);
    const json_t *list = json_object_get(json, "members");
    assert_int_equal(json_array_size(list), 3);
    if (!json_equal(json_array_get(list, 1), wanted)) {
        TH_AUTOFREE char *text = json_dumps(json_array_get(list, 1), JSON_PRESERVE_ORDER);
        fail_msg("%s", text);
    }
    const json_t *partition = json_array_get(json_object_get(json, "partitionDetails"), 2);
    assert_true(json_is_null(json_object_get(partition, "owner")));
    assert_int_equal(json_integer_value(json_object_get(partition, "lag")), 10);
}

static void nobody_is_there(void **state)
{
    json_auto_t *json = document_of(&nobody);
    assert_int_equal(json_array_size(json_object_get(json, "members")), 0);
    assert_int_equal(json_integer_value(json_object_get(json, "instanceMessages")), 10 + 0 + 10);
}

static void metrics(void **state)
{
    TH_BUFFER out = {0};
    th_monitor_put_metrics(&out, "Orders", &members);
    th_buffer_add(&out, "", 1);
    assert_non_null(strstr(out.data, "taskhub_members{hub=\"Orders\",kind=\"worker\"} 2\n"));
    assert_non_null(strstr(out.data, "taskhub_members{hub=\"Orders\",kind=\"coordinator\"} 1\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_later_claim_owns),
        cmocka_unit_test(whose_position_counts),
        cmocka_unit_test(lag),
        cmocka_unit_test(what_came_since_the_heartbeat),
        cmocka_unit_test(queued_since_nobody_knows_when),
        cmocka_unit_test(view),
        cmocka_unit_test(document),
        cmocka_unit_test(nobody_is_there),
        cmocka_unit_test(metrics),
    };
    return cmocka_run_group_tests_name("what is known of a fleet", tests, NULL, NULL);
}

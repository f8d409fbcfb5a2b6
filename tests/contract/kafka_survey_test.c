/* How far a hub has come, asked of a real broker: ends, committed offsets, arrivals, trims; and
 * that a hub's groups go with it. */
#include "contract/rig.h"
#include "provider/kafka/internal.h"
#include "provider/kafka/survey.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { PARTITIONS = 3 };

struct place {
    struct th_kafka_cluster cluster;
    struct th_kafka_hub hub;
    struct th_kafka_survey *survey;
    struct th_kafka_client client; /* a producer */
};

static void done(bool result, const struct th_error *error)
{
    if (!result) {
        fail_msg("%s", error->message);
    }
}

static int open_place(void **state)
{
    static struct place place;
    char name[64];
    struct th_error error;
    place = (struct place){.cluster = rig_cluster()};
    rig_hub_name(name);
    rig_create_hub(name, PARTITIONS);
    done(th_kafka_find_hub(&place.cluster, name, &place.hub, &error), &error);
    place.survey = th_kafka_survey_open(&place.cluster, &place.hub, &error);
    done(place.survey != NULL, &error);
    done(th_kafka_client_open(&place.client, RD_KAFKA_PRODUCER, &place.cluster, NULL, 0, &error),
         &error);
    *state = &place;
    return 0;
}

static int close_place(void **state)
{
    struct place *place = *state;
    th_kafka_client_close(&place->client);
    th_kafka_survey_close(place->survey);
    rig_delete_hub(place->hub.record.name);
    return 0;
}

static void produce(struct place *place, enum th_kafka_topic topic, int partition, size_t bytes)
{
    char name[TH_KAFKA_TOPIC_NAME];
    th_kafka_topic_name(topic, place->hub.record.name, name);
    TH_AUTOFREE char *value = th_alloc(bytes);
    assert_int_equal(rd_kafka_producev(place->client.rk, RD_KAFKA_V_TOPIC(name),
                                       RD_KAFKA_V_PARTITION(partition),
                                       RD_KAFKA_V_VALUE(value, bytes),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                     0);
    assert_int_equal(rd_kafka_flush(place->client.rk, 20000), 0);
}

/* As the workers' group does. */
static void commit(struct place *place, int partition, int64_t offset)
{
    char name[TH_KAFKA_TOPIC_NAME];
    struct th_error error;
    struct th_kafka_client member = {.rk = NULL};
    th_kafka_topic_name(TH_KAFKA_ACTIVITIES, place->hub.record.name, name);
    const struct th_kafka_property own[] = {{"group.id", name}};
    done(th_kafka_client_open(&member, RD_KAFKA_CONSUMER, &place->cluster, own, 1, &error), &error);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, name, partition)->offset = offset;
    assert_int_equal(rd_kafka_commit(member.rk, list, 0), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    th_kafka_client_close(&member);
}

static void assert_offsets(const int64_t *found, int64_t a, int64_t b, int64_t c)
{
    assert_int_equal(found[0], a);
    assert_int_equal(found[1], b);
    assert_int_equal(found[2], c);
}

static void ends(void **state)
{
    struct place *place = *state;
    int64_t offsets[PARTITIONS];
    struct th_error error;
    assert_int_equal(th_kafka_survey_partitions(place->survey, TH_KAFKA_INSTANCES), PARTITIONS);
    assert_int_equal(th_kafka_survey_partitions(place->survey, TH_KAFKA_CONTROL), 1);
    done(th_kafka_survey_ends(place->survey, TH_KAFKA_INSTANCES, offsets, &error), &error);
    assert_offsets(offsets, 0, 0, 0);
    for (int i = 0; i < 5; i++) {
        produce(place, TH_KAFKA_INSTANCES, 1, 10);
    }
    produce(place, TH_KAFKA_INSTANCES, 2, 10);
    done(th_kafka_survey_ends(place->survey, TH_KAFKA_INSTANCES, offsets, &error), &error);
    assert_offsets(offsets, 0, 5, 1);
    done(th_kafka_survey_starts(place->survey, TH_KAFKA_INSTANCES, offsets, &error), &error);
    assert_offsets(offsets, 0, 0, 0);
}

static void committed(void **state)
{
    struct place *place = *state;
    int64_t offsets[PARTITIONS];
    struct th_error error;
    done(th_kafka_survey_committed(place->survey, TH_KAFKA_ACTIVITIES, offsets, &error), &error);
    assert_offsets(offsets, -1, -1, -1);
    commit(place, 2, 7);
    done(th_kafka_survey_committed(place->survey, TH_KAFKA_ACTIVITIES, offsets, &error), &error);
    assert_offsets(offsets, -1, -1, 7);
}

/* A message larger than what is fetched ahead comes, too. */
static void arrivals(void **state)
{
    struct place *place = *state;
    const int64_t first[PARTITIONS] = {0, -1, 0};
    const int64_t beyond[PARTITIONS] = {1, 0, 9};
    th_time times[PARTITIONS];
    struct th_error error;
    th_time before = th_now();
    produce(place, TH_KAFKA_ACTIVITIES, 0, 100000);
    produce(place, TH_KAFKA_ACTIVITIES, 1, 10);
    done(th_kafka_survey_arrivals(place->survey, TH_KAFKA_ACTIVITIES, first, times, &error),
         &error);
    assert_true(times[0] >= before - TH_SECOND && times[0] <= th_now() + TH_SECOND);
    assert_true(times[1] == TH_TIME_NONE); /* was not asked for */
    assert_true(times[2] == TH_TIME_NONE); /* there is none */
    done(th_kafka_survey_arrivals(place->survey, TH_KAFKA_ACTIVITIES, beyond, times, &error),
         &error);
    assert_true(times[0] == TH_TIME_NONE);
    assert_true(times[1] >= before - TH_SECOND);
    assert_true(times[2] == TH_TIME_NONE); /* behind the end */
}

static void trims(void **state)
{
    struct place *place = *state;
    const int64_t below[PARTITIONS] = {0, 3, -1};
    const int64_t trimmed[PARTITIONS] = {-1, 0, -1};
    th_time times[PARTITIONS];
    int64_t offsets[PARTITIONS];
    struct th_error error;
    for (int i = 0; i < 4; i++) {
        produce(place, TH_KAFKA_ACTIVITIES, 1, 10);
    }
    done(th_kafka_survey_trim(place->survey, TH_KAFKA_ACTIVITIES, below, &error), &error);
    done(th_kafka_survey_starts(place->survey, TH_KAFKA_ACTIVITIES, offsets, &error), &error);
    assert_offsets(offsets, 0, 3, 0);
    done(th_kafka_survey_ends(place->survey, TH_KAFKA_ACTIVITIES, offsets, &error), &error);
    assert_offsets(offsets, 0, 4, 0);
    done(th_kafka_survey_arrivals(place->survey, TH_KAFKA_ACTIVITIES, trimmed, times, &error),
         &error);
    assert_true(times[1] == TH_TIME_NONE); /* it was trimmed meanwhile */
}

/* What they had committed must not be found by a hub that is made again. */
static void groups_go_with_the_hub(void **state)
{
    struct place *place = *state;
    const char *name = place->hub.record.name;
    struct th_kafka_hub_options options = {.name = name, .partitions = PARTITIONS};
    int64_t offsets[PARTITIONS];
    struct th_error error;
    commit(place, 0, 5);
    done(th_kafka_delete_hub(&place->cluster, name, &error), &error);
    done(th_kafka_create_hub(&place->cluster, &options, &place->hub, &error), &error);
    done(th_kafka_survey_committed(place->survey, TH_KAFKA_ACTIVITIES, offsets, &error), &error);
    assert_offsets(offsets, -1, -1, -1);
}

static void assign(rd_kafka_t *rk)
{
    rd_kafka_message_t *message = NULL;
    rd_kafka_topic_partition_list_t *list = NULL;
    do {
        if (list) {
            rd_kafka_topic_partition_list_destroy(list);
        }
        message = rd_kafka_consumer_poll(rk, 50);
        if (message) {
            rd_kafka_message_destroy(message);
        }
        assert_int_equal(rd_kafka_assignment(rk, &list), 0);
    } while (list->cnt == 0);
    rd_kafka_topic_partition_list_destroy(list);
}

static void a_hub_that_is_served_stays(void **state)
{
    struct place *place = *state;
    char name[TH_KAFKA_TOPIC_NAME];
    struct th_kafka_hub hub;
    struct th_error error;
    struct th_kafka_client member = {.rk = NULL};
    th_kafka_topic_name(TH_KAFKA_INSTANCES, place->hub.record.name, name);
    const struct th_kafka_property own[] = {{"group.id", name}};
    done(th_kafka_client_open(&member, RD_KAFKA_CONSUMER, &place->cluster, own, 1, &error), &error);
    rd_kafka_poll_set_consumer(member.rk);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, name, RD_KAFKA_PARTITION_UA);
    assert_int_equal(rd_kafka_subscribe(member.rk, topics), 0);
    rd_kafka_topic_partition_list_destroy(topics);
    assign(member.rk);
    assert_false(th_kafka_delete_hub(&place->cluster, place->hub.record.name, &error));
    assert_int_equal(error.code, TH_UNAVAILABLE);
    assert_non_null(strstr(error.message, "stop them first"));
    done(th_kafka_find_hub(&place->cluster, place->hub.record.name, &hub, &error), &error);
    rd_kafka_consumer_close(member.rk);
    th_kafka_client_close(&member);
}

int main(void)
{
#define PLACE(test) cmocka_unit_test_setup_teardown(test, open_place, close_place)
    const struct CMUnitTest tests[] = {
        PLACE(committed), /* first: the broker has no groups at all yet */
        PLACE(ends),
        PLACE(trims),
        PLACE(groups_go_with_the_hub),
        PLACE(arrivals),
        PLACE(a_hub_that_is_served_stays),
    };
    return cmocka_run_group_tests_name("how far a hub has come", tests, NULL, NULL);
}

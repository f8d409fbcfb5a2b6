/*
 * topics: what an administrator does to topics, for the tests of fleets.
 *
 *     topics make NAME PARTITIONS [PROPERTY=VALUE]...   waits until it is there
 *     topics remove NAME                                waits until it is gone
 *     topics count NAME                                 its partitions; 0: there is none
 *     topics write NAME KEY VALUE                       one record into partition 0
 *
 * The brokers are those of TASKHUB_KAFKA.
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 20000

static rd_kafka_t *rk;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "topics: %s: %s\n", what, why);
    exit(1);
}

static void connect_to_brokers(void)
{
    char why[256];
    const char *brokers = getenv("TASKHUB_KAFKA");
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    if (!brokers)
        fail("TASKHUB_KAFKA", "is not set");
    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof(why)))
        fail(brokers, why);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    if (!rk)
        fail(brokers, why);
}

/* All topics are asked for: asking for one by name may create it. */
static int count(const char *name)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t error = rd_kafka_metadata(rk, 1, NULL, &metadata, PATIENCE_MS);
    int partitions = 0;

    if (error)
        fail(name, rd_kafka_err2str(error));
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (strcmp(metadata->topics[i].topic, name) == 0)
            partitions = metadata->topics[i].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    return partitions;
}

/* The answer of a broker to one or the other. */
static void check(const char *name, rd_kafka_event_t *event)
{
    const rd_kafka_topic_result_t **results;
    size_t result_count;

    if (!event || rd_kafka_event_error(event))
        fail(name, event ? rd_kafka_event_error_string(event) : "no answer");
    if (rd_kafka_event_CreateTopics_result(event))
        results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event),
                                                      &result_count);
    else
        results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event),
                                                      &result_count);
    for (size_t i = 0; i < result_count; i++)
        if (rd_kafka_topic_result_error(results[i]))
            fail(name, rd_kafka_err2str(rd_kafka_topic_result_error(results[i])));
}

static void make(const char *name, int partitions, char **settings, int setting_count)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, -1, NULL, 0);
    rd_kafka_event_t *event;

    for (int i = 0; i < setting_count; i++) {
        char *value = strchr(settings[i], '=');

        if (!value)
            fail(settings[i], "is not PROPERTY=VALUE");
        *value++ = '\0';
        rd_kafka_NewTopic_set_config(topic, settings[i], value);
    }
    rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
    event = rd_kafka_queue_poll(queue, PATIENCE_MS);
    check(name, event);
    rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
    while (count(name) != partitions) {
    }
}

static void take_away(const char *name)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_event_t *event;

    rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
    event = rd_kafka_queue_poll(queue, PATIENCE_MS);
    check(name, event);
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
    while (count(name) != 0) {
    }
}

static void write_record(const char *name, const char *key, const char *value)
{
    rd_kafka_resp_err_t error = rd_kafka_producev(
        rk, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY(key, strlen(key)),
        RD_KAFKA_V_VALUE((void *)value, strlen(value)), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_END);

    if (!error)
        error = rd_kafka_flush(rk, PATIENCE_MS);
    if (error)
        fail(name, rd_kafka_err2str(error));
}

int main(int argc, char **argv)
{
    const char *command = argc > 2 ? argv[1] : "";

    connect_to_brokers();
    if (strcmp(command, "make") == 0 && argc > 3)
        make(argv[2], atoi(argv[3]), argv + 4, argc - 4);
    else if (strcmp(command, "remove") == 0)
        take_away(argv[2]);
    else if (strcmp(command, "count") == 0)
        printf("%d\n", count(argv[2]));
    else if (strcmp(command, "write") == 0 && argc > 4)
        write_record(argv[2], argv[3], argv[4]);
    else
        fail("usage", "make|remove|count|write NAME ...");
    rd_kafka_destroy(rk);
    return 0;
}

/*
 * trim: DeleteRecords for what the node has asked for since the last request. An owner may trim
 * after every record; the brokers are asked a few times a second, for all partitions at once, and a
 * failed request is not repeated: the next trim of that partition covers it.
 */
#include <stdlib.h>

#include "provider/kafka/internal.h"

static int which(enum th_kafka_topic topic)
{
    return topic == TH_KAFKA_HISTORY ? 0 : 1;
}

void th_kafka_trim(struct th_kafka *kafka, enum th_kafka_topic topic, uint32_t partition,
                   int64_t below)
{
    int64_t *wanted = &kafka->trims.wanted[which(topic)][partition];
    if (!kafka->options.cluster.keep && below > *wanted) {
        *wanted = below;
        kafka->trims.due = true;
        th_kafka_want_tick(kafka);
    }
}

bool th_kafka_trims_pending(const struct th_kafka_trims *trims)
{
    return trims->due || trims->answers;
}

static void add_topic(struct th_kafka *kafka, enum th_kafka_topic topic,
                      rd_kafka_topic_partition_list_t *list)
{
    char name[TH_KAFKA_TOPIC_NAME];
    int64_t *wanted = kafka->trims.wanted[which(topic)];
    int64_t *asked = kafka->trims.asked[which(topic)];
    th_kafka_topic_name(topic, kafka->hub.record.name, name);
    for (uint32_t p = 0; p < kafka->hub.record.partitions; p++) {
        if (wanted[p] > asked[p]) {
            rd_kafka_topic_partition_list_add(list, name, (int32_t)p)->offset = wanted[p];
            asked[p] = wanted[p];
        }
    }
}

static void request(struct th_kafka *kafka)
{
    struct th_kafka_trims *trims = &kafka->trims;
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)kafka->hub.record.partitions);
    add_topic(kafka, TH_KAFKA_HISTORY, list);
    add_topic(kafka, TH_KAFKA_INSTANCES, list);
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
    trims->answers = rd_kafka_queue_new(kafka->logs.rk);
    rd_kafka_DeleteRecords(kafka->logs.rk, &records, 1, NULL, trims->answers);
    rd_kafka_DeleteRecords_destroy(records);
    rd_kafka_topic_partition_list_destroy(list);
    trims->due = false;
}

static void look_at(const struct th_kafka *kafka, rd_kafka_event_t *event)
{
    const struct th_log *log = kafka->options.cluster.log;
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        th_log(log, TH_LOG_WARN, "Kafka", "hub %s was not trimmed: %s", kafka->hub.record.name,
               rd_kafka_event_error_string(event));
        return;
    }
    const rd_kafka_topic_partition_list_t *list =
        rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *p = &list->elems[i];
        if (p->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            th_log(log, TH_LOG_WARN, "Kafka", "topic %s, partition %d, was not trimmed: %s",
                   p->topic, (int)p->partition, rd_kafka_err2str(p->err));
        }
    }
}

void th_kafka_trim_tick(struct th_kafka *kafka)
{
    struct th_kafka_trims *trims = &kafka->trims;
    rd_kafka_event_t *event = trims->answers ? rd_kafka_queue_poll(trims->answers, 0) : NULL;
    if (event) {
        look_at(kafka, event);
        rd_kafka_event_destroy(event);
        rd_kafka_queue_destroy(trims->answers);
        trims->answers = NULL;
    }
    if (trims->due && !trims->answers) {
        request(kafka);
    }
}

void th_kafka_trims_deinit(struct th_kafka_trims *trims)
{
    if (trims->answers) {
        rd_kafka_queue_destroy(trims->answers);
    }
    for (int i = 0; i < 2; i++) {
        free(trims->wanted[i]);
        free(trims->asked[i]);
    }
}

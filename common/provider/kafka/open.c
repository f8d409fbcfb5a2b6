/*
 * open: the birth and death of a provider. Nothing of a hub's topics is asked for by name before
 * the hub was found: the question would create them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "provider/kafka/internal.h"

#define APPEND_DEADLINE (30 * TH_SECOND)
#define CLIENT_TIMEOUT  (10 * TH_SECOND)

/* ---- closing ---- */

static void close_consumer(struct th_kafka_client *client, rd_kafka_topic_t *topic)
{
    if (topic) {
        rd_kafka_topic_destroy(topic);
    }
    th_kafka_client_close(client);
}

static void close_lanes(struct th_kafka *kafka)
{
    uint32_t partitions = kafka->hub.record.partitions;
    for (uint32_t p = 0; p < partitions; p++) {
        th_kafka_lane_deinit(&kafka->log_lanes[p]);
    }
    for (uint32_t row = 0; row <= partitions; row++) {
        for (uint32_t i = 0; kafka->send_lanes[row] && i <= partitions; i++) {
            th_kafka_lane_deinit(&kafka->send_lanes[row][i]);
        }
        free(kafka->send_lanes[row]);
    }
    free(kafka->log_lanes);
    free(kafka->send_lanes);
}

static void close_writers(struct th_kafka *kafka)
{
    struct th_kafka_item *item;
    for (enum th_kafka_role role = 0; role < TH_KAFKA_ROLE_COUNT; role++) {
        if (kafka->slots[role].writer) {
            th_kafka_writer_close(kafka->slots[role].writer);
        }
        while ((item = th_kafka_items_take(&kafka->slots[role].waiting))) {
            th_kafka_item_free(item);
        }
    }
    while (kafka->retired) {
        struct th_kafka_writer *writer = kafka->retired;
        kafka->retired = writer->next;
        th_kafka_writer_close(writer);
    }
}

void th_kafka_close(struct th_provider *provider)
{
    struct th_kafka *kafka = th_kafka_of(provider);
    struct th_kafka_item *item;
    th_kafka_desk_stop(&kafka->desk);
    for (uint32_t i = 0; i < kafka->hub.record.partitions; i++) {
        th_kafka_reader_deinit(&kafka->readers[i]);
        th_kafka_inbox_close(&kafka->inbox[i]);
    }
    close_lanes(kafka);
    close_writers(kafka);
    th_kafka_trims_deinit(&kafka->trims);
    close_consumer(&kafka->logs, kafka->log_topic);
    close_consumer(&kafka->inboxes, kafka->inbox_topic);
    while ((item = th_kafka_items_take(&kafka->done))) {
        th_kafka_item_free(item);
    }
    th_queue_take(&kafka->ready); /* streams, which go with their arrays */
    th_queue_deinit(&kafka->ready);
    pthread_mutex_destroy(&kafka->bar_lock);
    free(kafka->readers);
    free(kafka->inbox);
    free(kafka);
}

/* ---- opening ---- */

/* What is fetched ahead, and how long a broker may wait for something new before it answers: while
 * it does, it answers nothing else on that connection. */
static bool open_consumer(struct th_kafka *kafka, bool is_log, struct th_error *error)
{
    struct th_kafka_client *client = is_log ? &kafka->logs : &kafka->inboxes;
    char ahead[24];
    char fetch[24];
    char largest[24];
    char receive[24];
    size_t message = kafka->hub.max_message_bytes + TH_KAFKA_OVERHEAD;
    snprintf(ahead, sizeof(ahead), "%d",
             (is_log ? TH_KAFKA_LOG_AHEAD : TH_KAFKA_INBOX_AHEAD) >> 10);
    snprintf(fetch, sizeof(fetch), "%d", is_log ? TH_KAFKA_LOG_FETCH : TH_KAFKA_INBOX_FETCH);
    snprintf(largest, sizeof(largest), "%zu", message);
    snprintf(receive, sizeof(receive), "%zu", message + (1 << 20));
    const struct th_kafka_property own[] = {
        {"auto.offset.reset", "error"},
        {"enable.auto.commit", "false"},
        {"allow.auto.create.topics", "false"},
        {"isolation.level", "read_uncommitted"},
        {"check.crcs", "true"},
        {"enable.partition.eof", is_log ? "true" : "false"},
        {"fetch.wait.max.ms", is_log ? "0" : "100"},
        {"fetch.error.backoff.ms", "50"},
        {"queued.max.messages.kbytes", ahead},
        {"fetch.message.max.bytes", fetch},
        {"message.max.bytes", largest},
        {"fetch.max.bytes", largest},
        {"receive.message.max.bytes", receive},
    };
    return th_kafka_client_open(client, RD_KAFKA_CONSUMER, &kafka->options.cluster, own,
                                TH_COUNT(own), error);
}

static rd_kafka_topic_t *open_topic(struct th_kafka *kafka, bool is_log)
{
    char name[TH_KAFKA_TOPIC_NAME];
    const rd_kafka_metadata_t *metadata;
    struct th_kafka_client *client = is_log ? &kafka->logs : &kafka->inboxes;
    th_kafka_topic_name(is_log ? TH_KAFKA_HISTORY : TH_KAFKA_INSTANCES, kafka->hub.record.name,
                        name);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client->rk, name, NULL);
    int wait = th_kafka_milliseconds(th_kafka_patience(client->cluster));
    if (rd_kafka_metadata(client->rk, 0, topic, &metadata, wait) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_metadata_destroy(metadata);
    }
    th_kafka_client_listen(client, th_kafka_wake, kafka);
    return topic;
}

static void make_partitions(struct th_kafka *kafka)
{
    uint32_t partitions = kafka->hub.record.partitions;
    kafka->log_lanes = th_alloc(partitions * sizeof(*kafka->log_lanes));
    kafka->send_lanes = th_alloc((partitions + 1) * sizeof(*kafka->send_lanes));
    kafka->readers = th_alloc(partitions * sizeof(*kafka->readers));
    kafka->inbox = th_alloc(partitions * sizeof(*kafka->inbox));
    for (uint32_t p = 0; p < partitions; p++) {
        th_kafka_lane_init(&kafka->log_lanes[p], true);
        kafka->readers[p].last = &kafka->readers[p].first;
        th_kafka_stream_init(&kafka->readers[p].stream, kafka, true, p);
        th_kafka_stream_init(&kafka->inbox[p].stream, kafka, false, p);
    }
    for (int i = 0; i < 2; i++) {
        kafka->trims.wanted[i] = th_alloc(partitions * sizeof(int64_t));
        kafka->trims.asked[i] = th_alloc(partitions * sizeof(int64_t));
    }
}

static bool start(struct th_kafka *kafka, struct th_error *error)
{
    if (!open_consumer(kafka, true, error) || !open_consumer(kafka, false, error)) {
        make_partitions(kafka);
        return false;
    }
    kafka->log_topic = open_topic(kafka, true);
    kafka->inbox_topic = open_topic(kafka, false);
    make_partitions(kafka);
    for (enum th_kafka_role role = 0; role < TH_KAFKA_ROLE_COUNT; role++) {
        struct th_kafka_writer *writer = th_kafka_writer_open(kafka, role, error);
        if (!writer) {
            return false;
        }
        th_kafka_slot_fill(kafka, writer);
    }
    return th_kafka_desk_start(&kafka->desk, kafka, error);
}

static struct th_kafka *make(const struct th_kafka_options *options)
{
    struct th_kafka *kafka = TH_NEW(struct th_kafka);
    struct th_kafka_options *o = &kafka->options;
    *o = *options;
    o->append_deadline = o->append_deadline > 0 ? o->append_deadline : APPEND_DEADLINE;
    o->client_timeout = o->client_timeout > 0 ? o->client_timeout : CLIENT_TIMEOUT;
    o->compression = o->compression ? o->compression : "lz4";
    kafka->max_record_bytes =
        o->max_record_bytes > 0 ? o->max_record_bytes : TH_KAFKA_DEFAULT_RECORD;
    kafka->base.ops = &th_kafka_ops;
    pthread_mutex_init(&kafka->bar_lock, NULL);
    th_queue_init(&kafka->ready);
    kafka->ready_last = &kafka->ready_first;
    th_kafka_items_init(&kafka->done);
    for (size_t role = 0; role < TH_KAFKA_ROLE_COUNT; role++) {
        th_kafka_items_init(&kafka->slots[role].waiting);
    }
    return kafka;
}

struct th_provider *th_kafka_open(const struct th_kafka_options *options, struct th_error *error)
{
    struct th_kafka_hub hub;
    if (options->max_record_bytes > TH_KAFKA_MESSAGE_BYTES) {
        th_fail(error, TH_INVALID, "a record of a log has at most %zu bytes, not %zu",
                TH_KAFKA_MESSAGE_BYTES, options->max_record_bytes);
        return NULL;
    }
    if (!th_kafka_find_hub(&options->cluster, options->hub, &hub, error)) {
        return NULL;
    }
    struct th_kafka *kafka = make(options);
    kafka->hub = hub;
    kafka->base.hub = hub.record;
    if (start(kafka, error)) {
        return &kafka->base;
    }
    th_kafka_close(&kafka->base);
    return NULL;
}

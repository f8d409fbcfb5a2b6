/*
 * writer: producers. Three of them, because librdkafka's rules hold for a whole instance:
 *
 *   log        a record that is not acknowledged in time costs the lease, not the connection of
 *              everybody else's messages
 *   messages   retried without a bound and without gaps: after any loss the instance stops
 *   clients    given up after a while, all of them together. An idempotent producer that gives up
 *              one message alone takes a new id, and sends under it what else it has in doubt: that
 *              would be written twice, and nothing tells the two apart.
 *
 * A writer that cannot go on (a fatal error; no acknowledgement of anything for the append
 * deadline; of one client's message in the time for clients) is retired: it is purged, polled until
 * it has given back what it held, and closed by the desk, which also opens the next one. Meanwhile
 * submissions wait in the slot. What was on the wire may still land, before or after what the next
 * one writes; readers of the log and of the inbox can tell.
 */
#include <stdio.h>
#include <stdlib.h>

#include "provider/kafka/internal.h"

/* A purged message is given back by the thread of its broker, which may be busy for a moment. */
#define GIVE_BACK (5 * TH_SECOND)

/* ---- acknowledgements ---- */

/* A message that waits to be sent again is in the queue, too. */
static bool is_in_doubt(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT || code == RD_KAFKA_RESP_ERR__PURGE_QUEUE;
}

static void fail_item(struct th_kafka_writer *writer, struct th_kafka_item *item,
                      rd_kafka_resp_err_t code)
{
    const char *why = rd_kafka_err2str(code);
    char text[64];
    th_kafka_item_name(item, text);
    if (th_kafka_code(code) == TH_NOT_FOUND) {
        th_kafka_item_fail(item, TH_UNAVAILABLE, "%s was not written: topic %s is not there", text,
                           rd_kafka_topic_name(writer->topics[item->topic]));
        return;
    }
    if ((is_in_doubt(code) || code == RD_KAFKA_RESP_ERR__FATAL) && *writer->client.trouble) {
        why = writer->client.trouble; /* librdkafka's code says only that it gave up */
    }
    th_kafka_item_fail(item, th_kafka_code(code),
                       is_in_doubt(code) ? "%s was not acknowledged, it may be written still: %s"
                                         : "%s was not written: %s",
                       text, why);
}

static void doubt_after_cut(struct th_kafka_writer *writer, bool acknowledged)
{
    unsigned mended = atomic_load(&writer->cuts.mended);
    unsigned cut = atomic_load(&writer->cuts.cut);
    if (writer->seen_mended != mended || (acknowledged && writer->seen_cut != cut)) {
        writer->seen_mended = mended;
        writer->seen_cut = cut;
        th_kafka_doubt(writer->kafka);
    }
}

static void acknowledge(struct th_kafka_writer *writer, struct th_kafka_item *item, int64_t offset)
{
    writer->last_acknowledged = th_monotonic();
    writer->client.trouble[0] = '\0'; /* is over */
    if (writer->role == TH_KAFKA_LOG) {
        doubt_after_cut(writer, true);
    }
    if (offset >= 0) {
        item->offset = offset;
    } else if (item->kind == TH_DONE_SEND) {
        item->offset = 0; /* unknown; nobody needs it */
    } else {
        th_kafka_item_fail(item, TH_UNAVAILABLE,
                           "a record for log %u was acknowledged without its offset",
                           (unsigned)item->partition);
    }
}

static struct th_kafka_writer *writer_of(struct th_kafka_client *client)
{
    return (struct th_kafka_writer *)client; /* its first member */
}

static void on_delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct th_kafka_writer *writer = writer_of(th_kafka_client_of(opaque));
    struct th_kafka_item *item = message->_private;
    writer->held--;
    item->held = false;
    if (!item->lane) {
        th_kafka_item_free(item);
        return;
    }
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        acknowledge(writer, item, message->offset);
    } else {
        fail_item(writer, item, message->err);
    }
    struct th_kafka_lane *lane = item->lane;
    th_kafka_lane_answer(lane, item);
    th_kafka_lane_release(lane, &writer->kafka->done);
}

/* ---- opening and closing ---- */

static void configure(struct th_kafka_client *client, rd_kafka_conf_t *conf)
{
    struct th_kafka_writer *writer = writer_of(client);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivered);
    th_kafka_cuts_watch(&writer->cuts, conf);
}

static bool open_client(struct th_kafka_writer *writer, struct th_error *error)
{
    const struct th_kafka_options *options = &writer->kafka->options;
    char bytes[24];
    snprintf(bytes, sizeof(bytes), "%zu", writer->kafka->hub.max_message_bytes + TH_KAFKA_OVERHEAD);
    const struct th_kafka_property own[] = {
        {"enable.idempotence", "true"},
        {"enable.gapless.guarantee", "true"},
        {"allow.auto.create.topics",
         "false"}, /* one that was deleted would come back as it must not */
        {"acks", "all"},
        {"linger.ms", "0"},          /* batches form by themselves while one is under way */
        {"message.timeout.ms", "0"}, /* what waits too long is given up here */
        {"message.max.bytes", bytes},
        {"compression.type", options->compression},
        {"queue.buffering.max.messages", "0"}, /* no bound: messages are held by reference */
        {"queue.buffering.max.kbytes", "2147483647"},
    };
    return th_kafka_client_open(&writer->client, RD_KAFKA_PRODUCER, &options->cluster, own,
                                TH_COUNT(own), error);
}

static bool writes(enum th_kafka_role role, enum th_kafka_topic topic)
{
    return role == TH_KAFKA_LOG ? topic == TH_KAFKA_HISTORY
                                : topic == TH_KAFKA_INSTANCES || topic == TH_KAFKA_ACTIVITIES;
}

/* The first message to a topic whose leaders are unknown waits up to a second for them. */
static void open_topics(struct th_kafka_writer *writer)
{
    int wait = th_kafka_milliseconds(th_kafka_patience(writer->client.cluster));
    for (enum th_kafka_topic t = 0; t < TH_KAFKA_TOPIC_COUNT; t++) {
        char name[TH_KAFKA_TOPIC_NAME];
        const rd_kafka_metadata_t *metadata;
        if (!writes(writer->role, t)) {
            continue;
        }
        th_kafka_topic_name(t, writer->kafka->hub.record.name, name);
        writer->topics[t] = rd_kafka_topic_new(writer->client.rk, name, NULL);
        if (wait > 0 && rd_kafka_metadata(writer->client.rk, 0, writer->topics[t], &metadata,
                                          wait) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_metadata_destroy(metadata);
        } else {
            wait = 0; /* they do not answer; messages wait in the producer */
        }
    }
}

struct th_kafka_writer *th_kafka_writer_open(struct th_kafka *kafka, enum th_kafka_role role,
                                             struct th_error *error)
{
    struct th_kafka_writer *writer = TH_NEW(struct th_kafka_writer);
    writer->kafka = kafka;
    writer->role = role;
    writer->client.configure = configure;
    th_kafka_cuts_init(&writer->cuts, th_kafka_wake, kafka);
    if (!open_client(writer, error)) {
        th_kafka_cuts_deinit(&writer->cuts);
        free(writer);
        return NULL;
    }
    open_topics(writer);
    return writer;
}

void th_kafka_writer_close(struct th_kafka_writer *writer)
{
    th_time deadline = th_monotonic() + GIVE_BACK;
    rd_kafka_purge(writer->client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (writer->held > 0 && th_monotonic() < deadline) {
        rd_kafka_poll(writer->client.rk, 100);
    }
    for (size_t t = 0; t < TH_KAFKA_TOPIC_COUNT; t++) {
        if (writer->topics[t]) {
            rd_kafka_topic_destroy(writer->topics[t]);
        }
    }
    th_kafka_cuts_forget(&writer->cuts);
    if (th_kafka_client_close(&writer->client)) {
        th_kafka_cuts_deinit(&writer->cuts);
        free(writer);
    }
}

/* ---- slots ---- */

static void produce(struct th_kafka_writer *writer, struct th_kafka_item *item)
{
    if (rd_kafka_produce(writer->topics[item->topic], item->topic_partition, 0, item->blob->data,
                         item->blob->len, NULL, 0, item) == 0) {
        writer->held++;
        return;
    }
    rd_kafka_resp_err_t code = rd_kafka_last_error();
    writer->client.fatal |= code == RD_KAFKA_RESP_ERR__FATAL;
    item->held = false;
    fail_item(writer, item, code);
    th_kafka_lane_answer(item->lane, item);
    th_kafka_lane_release(item->lane, &writer->kafka->done);
}

void th_kafka_slot_submit(struct th_kafka *kafka, enum th_kafka_role role,
                          struct th_kafka_item *item)
{
    struct th_kafka_slot *slot = &kafka->slots[role];
    item->held = true;
    if (slot->writer) {
        produce(slot->writer, item);
    } else {
        th_kafka_items_add(&slot->waiting, item);
    }
}

void th_kafka_slot_fill(struct th_kafka *kafka, struct th_kafka_writer *writer)
{
    struct th_kafka_slot *slot = &kafka->slots[writer->role];
    struct th_kafka_item *item;
    slot->writer = writer;
    th_kafka_client_listen(&writer->client, th_kafka_wake, kafka);
    while ((item = th_kafka_items_take(&slot->waiting))) {
        if (item->lane) {
            produce(writer, item);
        } else {
            th_kafka_item_free(item);
        }
    }
}

void th_kafka_slot_retire(struct th_kafka *kafka, enum th_kafka_role role, const char *why)
{
    struct th_kafka_writer *writer = kafka->slots[role].writer;
    if (!writer) {
        return;
    }
    th_log(kafka->options.cluster.log, TH_LOG_WARN, "Kafka", "hub %s takes a new producer: %s",
           kafka->hub.record.name, why);
    kafka->slots[role].writer = NULL;
    writer->next = kafka->retired;
    kafka->retired = writer;
    rd_kafka_purge(writer->client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                          RD_KAFKA_PURGE_F_NON_BLOCKING);
    if (role == TH_KAFKA_LOG) {
        th_kafka_doubt(kafka);
    }
    struct th_kafka_job job = {.kind = TH_KAFKA_JOB_OPEN, .role = role};
    th_kafka_desk_ask(&kafka->desk, &job);
}

static void poll_retired(struct th_kafka *kafka)
{
    struct th_kafka_writer **at = &kafka->retired;
    while (*at) {
        struct th_kafka_writer *writer = *at;
        th_kafka_client_poll(&writer->client);
        if (writer->held > 0) {
            at = &writer->next;
            continue;
        }
        *at = writer->next;
        struct th_kafka_job job = {.kind = TH_KAFKA_JOB_CLOSE, .writer = writer};
        th_kafka_desk_ask(&kafka->desk, &job);
    }
}

void th_kafka_slots_poll(struct th_kafka *kafka)
{
    for (enum th_kafka_role role = 0; role < TH_KAFKA_ROLE_COUNT; role++) {
        struct th_kafka_writer *writer = kafka->slots[role].writer;
        if (!writer) {
            continue;
        }
        th_kafka_client_poll(&writer->client);
        if (role == TH_KAFKA_LOG) {
            doubt_after_cut(writer, false);
        }
        if (writer->client.fatal) {
            th_kafka_slot_retire(kafka, role, writer->client.trouble);
        }
    }
    poll_retired(kafka);
}

static const char *trouble_of(const struct th_kafka_writer *writer)
{
    return writer ? writer->client.trouble : "";
}

/* Without an acknowledgement of anything since, it is the producer that is stuck; otherwise only
 * this log's leader is, and the others' leases must not suffer: what was given up stays with the
 * producer, and the next claim goes behind it. */
static bool expire_logs(struct th_kafka *kafka, th_time now)
{
    const struct th_kafka_writer *writer = kafka->slots[TH_KAFKA_LOG].writer;
    th_time limit = now - kafka->options.append_deadline;
    bool waits = false;
    bool stuck = false;
    for (uint32_t p = 0; p < kafka->hub.record.partitions; p++) {
        th_time oldest =
            th_kafka_lane_expire(&kafka->log_lanes[p], limit, trouble_of(writer), &kafka->done);
        stuck |= oldest && writer && writer->last_acknowledged < oldest;
        waits |= kafka->log_lanes[p].first != NULL;
    }
    if (stuck) {
        th_kafka_slot_retire(kafka, TH_KAFKA_LOG, "no record was acknowledged in time");
    }
    return waits;
}

static bool expire_clients(struct th_kafka *kafka, th_time now)
{
    const uint32_t partitions = kafka->hub.record.partitions;
    const struct th_kafka_writer *writer = kafka->slots[TH_KAFKA_CLIENTS].writer;
    struct th_kafka_lane *lanes = kafka->send_lanes[partitions];
    th_time limit = now - kafka->options.client_timeout;
    bool waits = false;
    bool late = false;
    for (uint32_t i = 0; lanes && i <= partitions; i++) {
        late |= th_kafka_lane_expire(&lanes[i], limit, trouble_of(writer), &kafka->done) != 0;
        waits |= lanes[i].first != NULL;
    }
    if (late) {
        th_kafka_slot_retire(kafka, TH_KAFKA_CLIENTS,
                             "a client's message was not acknowledged in time");
    }
    return waits;
}

bool th_kafka_slots_tick(struct th_kafka *kafka, th_time now)
{
    bool waits = expire_logs(kafka, now);
    waits |= expire_clients(kafka, now);
    waits |= kafka->retired != NULL;
    for (enum th_kafka_role role = 0; role < TH_KAFKA_ROLE_COUNT; role++) {
        struct th_kafka_slot *slot = &kafka->slots[role];
        if (slot->missing) {
            struct th_kafka_job job = {.kind = TH_KAFKA_JOB_OPEN, .role = role};
            slot->missing = false;
            th_kafka_desk_ask(&kafka->desk, &job);
        }
        waits |= slot->writer == NULL;
    }
    return waits;
}

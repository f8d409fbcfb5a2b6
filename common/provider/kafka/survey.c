/*
 * survey: questions about whole topics, each of them one request per broker. Ends are asked for by
 * the times -1 and -2, which ListOffsets takes for "the end" and "the start" (Kafka's protocol
 * guide): librdkafka 2.0 has no call for many partitions at once, but hands these on.
 */
#include <stdio.h>
#include <stdlib.h>

#include "provider/kafka/internal.h"
#include "provider/kafka/survey.h"

#define AGAIN (20 * TH_MILLISECOND)

struct th_kafka_survey {
    struct th_kafka_talk talk;
    struct th_kafka_hub hub;
    struct th_kafka_client groups[TH_KAFKA_TOPIC_COUNT]; /* opened when they are asked */
    rd_kafka_topic_t *topics[TH_KAFKA_TOPIC_COUNT];      /* NULL: nothing was read of it yet */
};

/* Only first messages are of interest, so as little as possible is fetched ahead. */
struct th_kafka_survey *th_kafka_survey_open(const struct th_kafka_cluster *cluster,
                                             const struct th_kafka_hub *hub, struct th_error *error)
{
    static const struct th_kafka_property own[] = {
        {"allow.auto.create.topics", "false"}, {"enable.auto.commit", "false"},
        {"auto.offset.reset", "error"},        {"enable.partition.eof", "true"},
        {"fetch.wait.max.ms", "10"},           {"queued.min.messages", "1"},
        {"queued.max.messages.kbytes", "1"},   {"fetch.message.max.bytes", "1024"},
    };
    struct th_kafka_survey *survey = TH_NEW(struct th_kafka_survey);
    survey->hub = *hub;
    if (!th_kafka_client_open(&survey->talk.client, RD_KAFKA_CONSUMER, cluster, own, TH_COUNT(own),
                              error)) {
        free(survey);
        return NULL;
    }
    survey->talk.queue = rd_kafka_queue_new(survey->talk.client.rk);
    return survey;
}

void th_kafka_survey_close(struct th_kafka_survey *survey)
{
    if (!survey) {
        return;
    }
    for (size_t t = 0; t < TH_KAFKA_TOPIC_COUNT; t++) {
        th_kafka_client_close(&survey->groups[t]);
        if (survey->topics[t]) {
            rd_kafka_topic_destroy(survey->topics[t]);
        }
    }
    th_kafka_talk_close(&survey->talk);
    free(survey);
}

uint32_t th_kafka_survey_partitions(const struct th_kafka_survey *survey, enum th_kafka_topic topic)
{
    switch (topic) {
    case TH_KAFKA_CONTROL:
        return 1;
    case TH_KAFKA_ACTIVITIES:
        return survey->hub.activity_partitions;
    default:
        return survey->hub.record.partitions;
    }
}

/* ---- lists of partitions ---- */

static rd_kafka_topic_partition_list_t *list_of(const struct th_kafka_survey *survey,
                                                enum th_kafka_topic topic, int64_t offset)
{
    char name[TH_KAFKA_TOPIC_NAME];
    uint32_t count = th_kafka_survey_partitions(survey, topic);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    th_kafka_topic_name(topic, survey->hub.record.name, name);
    for (uint32_t p = 0; p < count; p++) {
        rd_kafka_topic_partition_list_add(list, name, (int32_t)p)->offset = offset;
    }
    return list;
}

static rd_kafka_resp_err_t first_error(const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        if (list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return list->elems[i].err;
        }
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* By partition: answers come in any order. */
static void offsets_of(const rd_kafka_topic_partition_list_t *list, uint32_t count, int64_t *out)
{
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *p = &list->elems[i];
        if (p->partition >= 0 && (uint32_t)p->partition < count) {
            out[p->partition] = p->offset < 0 ? -1 : p->offset;
        }
    }
}

static bool refused(struct th_kafka_survey *survey, enum th_kafka_topic topic,
                    rd_kafka_resp_err_t code, const char *what, struct th_error *error)
{
    char name[TH_KAFKA_TOPIC_NAME];
    if (code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT) {
        return th_kafka_client_silent(&survey->talk.client, error);
    }
    th_kafka_topic_name(topic, survey->hub.record.name, name);
    return th_fail(error, th_kafka_code(code), "%s of topic %s at %s: %s", what, name,
                   survey->talk.client.cluster->brokers, rd_kafka_err2str(code));
}

/* ---- ends ---- */

/* A leader that moves is refused for a while. */
static bool passes(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE;
}

static rd_kafka_resp_err_t ask_bounds(struct th_kafka_survey *survey, enum th_kafka_topic topic,
                                      int64_t which, int64_t *out)
{
    int wait = th_kafka_milliseconds(th_kafka_patience(survey->talk.client.cluster));
    rd_kafka_topic_partition_list_t *list = list_of(survey, topic, which);
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(survey->talk.client.rk, list, wait);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = first_error(list);
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        offsets_of(list, th_kafka_survey_partitions(survey, topic), out);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

static bool bounds(struct th_kafka_survey *survey, enum th_kafka_topic topic, int64_t which,
                   int64_t *out, struct th_error *error)
{
    char name[TH_KAFKA_TOPIC_NAME];
    th_time deadline = th_monotonic() + th_kafka_patience(survey->talk.client.cluster);
    rd_kafka_resp_err_t code;
    th_kafka_topic_name(topic, survey->hub.record.name, name);
    for (;;) {
        th_kafka_client_learn(&survey->talk.client, name);
        code = ask_bounds(survey, topic, which, out);
        if (!passes(code) || th_monotonic() >= deadline) {
            break;
        }
        rd_kafka_poll(survey->talk.client.rk, th_kafka_milliseconds(AGAIN));
    }
    return code == RD_KAFKA_RESP_ERR_NO_ERROR || refused(survey, topic, code, "the ends", error);
}

bool th_kafka_survey_starts(struct th_kafka_survey *survey, enum th_kafka_topic topic, int64_t *out,
                            struct th_error *error)
{
    return bounds(survey, topic, RD_KAFKA_OFFSET_BEGINNING, out, error);
}

bool th_kafka_survey_ends(struct th_kafka_survey *survey, enum th_kafka_topic topic, int64_t *out,
                          struct th_error *error)
{
    return bounds(survey, topic, RD_KAFKA_OFFSET_END, out, error);
}

/* ---- administrative questions ---- */

/* The request's time-out, as every other question's. */
static rd_kafka_AdminOptions_t *options_for(struct th_kafka_survey *survey, rd_kafka_admin_op_t op)
{
    char reason[128];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(survey->talk.client.rk, op);
    int wait = th_kafka_milliseconds(th_kafka_patience(survey->talk.client.cluster));
    rd_kafka_AdminOptions_set_request_timeout(options, wait, reason, sizeof(reason));
    return options;
}

/* ---- what was committed ---- */

/* A client that is a member of the topic's group by name. */
static struct th_kafka_client *client_of_group(struct th_kafka_survey *survey,
                                               enum th_kafka_topic topic, struct th_error *error)
{
    struct th_kafka_client *client = &survey->groups[topic];
    char group[TH_KAFKA_TOPIC_NAME];
    th_kafka_topic_name(topic, survey->hub.record.name, group);
    const struct th_kafka_property own[] = {{"group.id", group},
                                            {"allow.auto.create.topics", "false"},
                                            {"enable.auto.commit", "false"}};
    bool open =
        client->rk || th_kafka_client_open(client, RD_KAFKA_CONSUMER, survey->talk.client.cluster,
                                           own, TH_COUNT(own), error);
    return open ? client : NULL;
}

/* Asked as a member would, who need not have joined for it. The administrative request for the same
 * brings the process down when the connection breaks at the wrong moment: librdkafka frees it twice
 * (up to 2.13 at least; its issue 3663, and 5040 for a client without a group). */
bool th_kafka_survey_committed(struct th_kafka_survey *survey, enum th_kafka_topic topic,
                               int64_t *out, struct th_error *error)
{
    int wait = th_kafka_milliseconds(th_kafka_patience(survey->talk.client.cluster));
    uint32_t count = th_kafka_survey_partitions(survey, topic);
    for (uint32_t p = 0; p < count; p++) {
        out[p] = -1;
    }
    struct th_kafka_client *client = client_of_group(survey, topic, error);
    if (!client) {
        return false;
    }
    rd_kafka_topic_partition_list_t *list = list_of(survey, topic, RD_KAFKA_OFFSET_INVALID);
    rd_kafka_resp_err_t code = rd_kafka_committed(client->rk, list, wait);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = first_error(list);
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        offsets_of(list, count, out);
    }
    rd_kafka_topic_partition_list_destroy(list);
    th_kafka_client_poll(client);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           refused(survey, topic, code, "the committed offsets", error);
}

/* ---- trimming ---- */

static rd_kafka_topic_partition_list_t *list_below(const struct th_kafka_survey *survey,
                                                   enum th_kafka_topic topic, const int64_t *below)
{
    rd_kafka_topic_partition_list_t *list = list_of(survey, topic, 0);
    for (int i = list->cnt - 1; i >= 0; i--) {
        int64_t offset = below[list->elems[i].partition];
        list->elems[i].offset = offset;
        if (offset <= 0) {
            rd_kafka_topic_partition_list_del_by_idx(list, i);
        }
    }
    return list;
}

static bool delete_below(struct th_kafka_survey *survey, enum th_kafka_topic topic,
                         const rd_kafka_topic_partition_list_t *list, struct th_error *error)
{
    struct th_kafka_talk *talk = &survey->talk;
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
    rd_kafka_AdminOptions_t *options = options_for(survey, RD_KAFKA_ADMIN_OP_DELETERECORDS);
    rd_kafka_DeleteRecords(talk->client.rk, &records, 1, options, talk->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_DeleteRecords_destroy(records);
    rd_kafka_event_t *event = th_kafka_client_await(&talk->client, talk->queue, error);
    if (!event) {
        return false;
    }
    rd_kafka_resp_err_t code = first_error(
        rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event)));
    rd_kafka_event_destroy(event);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           refused(survey, topic, code, "the first messages", error);
}

bool th_kafka_survey_trim(struct th_kafka_survey *survey, enum th_kafka_topic topic,
                          const int64_t *below, struct th_error *error)
{
    rd_kafka_topic_partition_list_t *list = list_below(survey, topic, below);
    bool done = list->cnt == 0 || survey->talk.client.cluster->keep ||
                delete_below(survey, topic, list, error);
    rd_kafka_topic_partition_list_destroy(list);
    return done;
}

/* ---- arrivals ---- */

/* How many partitions were begun to be read. */
static uint32_t start_reading(rd_kafka_topic_t *topic, rd_kafka_queue_t *queue, const int64_t *from,
                              uint32_t count)
{
    uint32_t begun = 0;
    for (uint32_t p = 0; p < count; p++) {
        begun +=
            from[p] >= 0 && rd_kafka_consume_start_queue(topic, (int32_t)p, from[p], queue) == 0;
    }
    return begun;
}

/* The first thing that comes of a partition counts: a message, or that there is none. An offset
 * that was trimmed meanwhile has none either. */
static void take_first(const rd_kafka_message_t *message, bool *seen, uint32_t count,
                       uint32_t *missing, th_time *out)
{
    rd_kafka_timestamp_type_t type;
    if (message->partition < 0 || (uint32_t)message->partition >= count ||
        seen[message->partition]) {
        return;
    }
    seen[message->partition] = true;
    (*missing)--;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        int64_t milliseconds = rd_kafka_message_timestamp(message, &type);
        out[message->partition] =
            type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? TH_TIME_NONE : milliseconds * TH_MILLISECOND;
    }
}

static bool read_firsts(struct th_kafka_survey *survey, rd_kafka_queue_t *queue, uint32_t count,
                        uint32_t missing, th_time *out)
{
    th_time deadline = th_monotonic() + th_kafka_patience(survey->talk.client.cluster);
    bool *seen = th_alloc(count * sizeof(*seen));
    while (missing > 0 && th_monotonic() < deadline) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(queue, 100);
        if (message) {
            take_first(message, seen, count, &missing, out);
            rd_kafka_message_destroy(message);
        }
    }
    free(seen);
    return missing == 0;
}

bool th_kafka_survey_arrivals(struct th_kafka_survey *survey, enum th_kafka_topic topic,
                              const int64_t *from, th_time *out, struct th_error *error)
{
    char name[TH_KAFKA_TOPIC_NAME];
    uint32_t count = th_kafka_survey_partitions(survey, topic);
    th_kafka_topic_name(topic, survey->hub.record.name, name);
    if (!survey->topics[topic]) {
        survey->topics[topic] = rd_kafka_topic_new(survey->talk.client.rk, name, NULL);
    }
    for (uint32_t p = 0; p < count; p++) {
        out[p] = TH_TIME_NONE;
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(survey->talk.client.rk);
    uint32_t begun = start_reading(survey->topics[topic], queue, from, count);
    bool done = read_firsts(survey, queue, count, begun, out);
    for (uint32_t p = 0; begun > 0 && p < count; p++) {
        if (from[p] >= 0) {
            rd_kafka_consume_stop(survey->topics[topic], (int32_t)p);
        }
    }
    rd_kafka_queue_destroy(queue);
    return done || th_kafka_client_silent(&survey->talk.client, error);
}

/* ---- whole topics ---- */

struct reading {
    struct th_kafka_client client;
    rd_kafka_topic_t *topic;
    int32_t partition;
    int64_t at, to;
    bool done;
    bool (*visit)(void *argument, int64_t offset, struct th_str bytes);
    void *argument;
};

/* Another client than the survey's, which fetches as little as possible. */
static bool reading_open(struct reading *r, const struct th_kafka_survey *survey,
                         enum th_kafka_topic topic, struct th_error *error)
{
    static const struct th_kafka_property own[] = {
        {"allow.auto.create.topics", "false"}, {"enable.auto.commit", "false"},
        {"auto.offset.reset", "earliest"},     {"enable.partition.eof", "true"},
        {"fetch.wait.max.ms", "10"},           {"queued.max.messages.kbytes", "16384"},
    };
    char name[TH_KAFKA_TOPIC_NAME];

    if (!th_kafka_client_open(&r->client, RD_KAFKA_CONSUMER, survey->talk.client.cluster, own,
                              TH_COUNT(own), error)) {
        return false;
    }
    th_kafka_topic_name(topic, survey->hub.record.name, name);
    r->topic = rd_kafka_topic_new(r->client.rk, name, NULL);
    rd_kafka_consume_start(r->topic, r->partition, r->at);
    return true;
}

static void reading_close(struct reading *r)
{
    if (r->topic) {
        rd_kafka_consume_stop(r->topic, r->partition);
        rd_kafka_topic_destroy(r->topic);
    }
    th_kafka_client_close(&r->client);
}

/* The end of the partition comes when everything before it was read. */
static void take_next(struct reading *r, const rd_kafka_message_t *message)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        r->done = message->offset >= r->to;
        return;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return;
    }
    r->done = message->offset >= r->to ||
              !r->visit(r->argument, message->offset,
                        th_str_n(message->payload, message->payload ? message->len : 0)) ||
              message->offset + 1 >= r->to;
}

bool th_kafka_survey_read(struct th_kafka_survey *survey, enum th_kafka_topic topic,
                          uint32_t partition, int64_t from, int64_t to,
                          bool (*visit)(void *argument, int64_t offset, struct th_str bytes),
                          void *argument, struct th_error *error)
{
    struct reading r = {.partition = (int32_t)partition,
                        .at = from,
                        .to = to,
                        .done = from >= to,
                        .visit = visit,
                        .argument = argument};
    th_time patience = th_kafka_patience(survey->talk.client.cluster);
    th_time deadline = th_monotonic() + patience;

    if (r.done) {
        return true;
    }
    if (!reading_open(&r, survey, topic, error)) {
        return false;
    }
    while (!r.done && th_monotonic() < deadline) {
        rd_kafka_message_t *message = rd_kafka_consume(r.topic, r.partition, 100);
        if (message) {
            take_next(&r, message);
            deadline = th_monotonic() + patience;
            rd_kafka_message_destroy(message);
        }
    }
    bool done = r.done || th_kafka_client_silent(&r.client, error);
    reading_close(&r);
    return done;
}

/*
 * topic: the four topics of a hub, their rules, and the talk with the brokers about them.
 *
 * A question for one topic by name makes a stock broker create it (auto.create.topics.enable), with
 * one partition and retention by time. So topics are looked for in the list of all.
 */
#include <stdio.h>
#include <stdlib.h>

#include "provider/kafka/internal.h"

static const char *const suffixes[] = {
#define X(name, suffix) suffix,
    TH_KAFKA_TOPICS(X)
#undef X
};

void th_kafka_topic_name(enum th_kafka_topic topic, const char *hub,
                         char out[static TH_KAFKA_TOPIC_NAME])
{
    snprintf(out, TH_KAFKA_TOPIC_NAME, "%s.%s", hub, suffixes[topic]);
}

/* ---- the rules ---- */

/*
 * topics, setting, value at creation, how it is checked. Nothing in these topics may go by time or
 * size: what is not yet folded lives only here. A leader that is elected uncleanly lacks
 * acknowledged records. The record's topic is small and compacted: other records in it are states
 * of which the last counts; its segments are small so that compaction gets at them at all (the
 * newest segment is never compacted; Kafka 4 allows no segment below 1 MiB). The broker sets the
 * times: of a writer whose clock is an hour ahead Kafka 4 refuses every record
 * (message.timestamp.after.max.ms), and a refused record ends its producer.
 */
#define LOGS    (1u << TH_KAFKA_INSTANCES | 1u << TH_KAFKA_HISTORY | 1u << TH_KAFKA_ACTIVITIES)
#define CONTROL (1u << TH_KAFKA_CONTROL)
#define RULES(X)                                                      \
    X(LOGS, "cleanup.policy", "delete", IS)                           \
    X(LOGS, "retention.ms", "-1", IS)                                 \
    X(LOGS, "retention.bytes", "-1", IS)                              \
    X(LOGS, "max.message.bytes", "18874368", AT_LEAST_MESSAGE)        \
    X(LOGS | CONTROL, "unclean.leader.election.enable", "false", IS)  \
    X(LOGS | CONTROL, "message.timestamp.type", "LogAppendTime", ANY) \
    X(CONTROL, "cleanup.policy", "compact", IS)                       \
    X(CONTROL, "segment.bytes", "1048576", ANY)

enum check { IS, AT_LEAST_MESSAGE, ANY };

static const struct rule {
    unsigned topics;
    const char *setting, *value;
    enum check check;
} rules[] = {
#define X(topics, setting, value, check) {topics, setting, value, check},
    RULES(X)
#undef X
};

/* ---- the talk ---- */

bool th_kafka_talk_open(struct th_kafka_talk *talk, const struct th_kafka_cluster *cluster,
                        struct th_error *error)
{
    static const struct th_kafka_property own[] = {
        {"allow.auto.create.topics", "false"}, {"enable.auto.commit", "false"},
        {"auto.offset.reset", "error"},        {"enable.partition.eof", "true"},
        {"fetch.wait.max.ms", "10"},
    };
    if (!th_kafka_client_open(&talk->client, RD_KAFKA_CONSUMER, cluster, own, TH_COUNT(own),
                              error)) {
        return false;
    }
    talk->queue = rd_kafka_queue_new(talk->client.rk);
    return true;
}

void th_kafka_talk_close(struct th_kafka_talk *talk)
{
    if (talk->queue) {
        rd_kafka_queue_destroy(talk->queue);
        talk->queue = NULL;
    }
    th_kafka_client_close(&talk->client);
}

static int patience_ms(const struct th_kafka_talk *talk)
{
    return th_kafka_milliseconds(th_kafka_patience(talk->client.cluster));
}

bool th_kafka_metadata(struct th_kafka_talk *talk, const rd_kafka_metadata_t **out,
                       struct th_error *error)
{
    rd_kafka_resp_err_t code = rd_kafka_metadata(talk->client.rk, 1, NULL, out, patience_ms(talk));
    if (code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT) {
        return th_kafka_client_silent(&talk->client, error);
    }
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           th_fail(error, th_kafka_code(code), "the brokers at %s do not list their topics: %s",
                   talk->client.cluster->brokers, rd_kafka_err2str(code));
}

/* The request's options: its time-out at the client and at the broker. */
static rd_kafka_AdminOptions_t *options_for(struct th_kafka_talk *talk, rd_kafka_admin_op_t op)
{
    char reason[128];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(talk->client.rk, op);
    rd_kafka_AdminOptions_set_request_timeout(options, patience_ms(talk), reason, sizeof(reason));
    if (op != RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS) {
        rd_kafka_AdminOptions_set_operation_timeout(options, patience_ms(talk), reason,
                                                    sizeof(reason));
    }
    return options;
}

/* ---- counting ---- */

static uint32_t leaderless(const rd_kafka_metadata_topic_t *topic)
{
    uint32_t count = 0;
    for (int i = 0; i < topic->partition_cnt; i++) {
        count += topic->partitions[i].leader < 0;
    }
    return count;
}

static void count_topic(const rd_kafka_metadata_topic_t *topic, const char *hub,
                        struct th_kafka_topics *out)
{
    char name[TH_KAFKA_TOPIC_NAME];
    for (enum th_kafka_topic t = 0; t < TH_KAFKA_TOPIC_COUNT; t++) {
        th_kafka_topic_name(t, hub, name);
        if (strcmp(topic->topic, name) == 0 && topic->partition_cnt > 0) {
            out->partitions[t] = (uint32_t)topic->partition_cnt;
            out->leaderless += leaderless(topic);
        }
    }
}

bool th_kafka_topics_count(struct th_kafka_talk *talk, const char *hub, struct th_kafka_topics *out,
                           struct th_error *error)
{
    const rd_kafka_metadata_t *metadata;
    *out = (struct th_kafka_topics){0};
    if (!th_kafka_metadata(talk, &metadata, error)) {
        return false;
    }
    out->brokers = metadata->broker_cnt;
    for (int i = 0; i < metadata->topic_cnt; i++) {
        count_topic(&metadata->topics[i], hub, out);
    }
    rd_kafka_metadata_destroy(metadata);
    return true;
}

/* ---- creating ---- */

static uint32_t wanted(enum th_kafka_topic topic, const struct th_kafka_hub_options *options)
{
    switch (topic) {
    case TH_KAFKA_CONTROL:
        return 1;
    case TH_KAFKA_ACTIVITIES:
        return options->activity_partitions ? options->activity_partitions : options->partitions;
    default:
        return options->partitions;
    }
}

static rd_kafka_NewTopic_t *new_topic(enum th_kafka_topic topic,
                                      const struct th_kafka_hub_options *options,
                                      struct th_error *error)
{
    char name[TH_KAFKA_TOPIC_NAME];
    char reason[256];
    th_kafka_topic_name(topic, options->name, name);
    rd_kafka_NewTopic_t *made = rd_kafka_NewTopic_new(
        name, (int)wanted(topic, options), options->replication ? options->replication : -1, reason,
        sizeof(reason));
    if (!made) {
        th_fail(error, TH_INVALID, "topic %s cannot be created: %s", name, reason);
        return NULL;
    }
    for (size_t i = 0; i < TH_COUNT(rules); i++) {
        if (rules[i].topics & 1u << topic) {
            rd_kafka_NewTopic_set_config(made, rules[i].setting, rules[i].value);
        }
    }
    return made;
}

/* Somebody else may have been faster with any of them. */
static bool created(const rd_kafka_event_t *event, struct th_error *error)
{
    size_t count;
    const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result((rd_kafka_event_t *)event), &count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            const char *why = rd_kafka_topic_result_error_string(results[i]);
            enum th_code mapped = code == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR
                                      ? TH_INVALID
                                      : th_kafka_code(code);
            return th_fail(error, mapped, "topic %s cannot be created: %s",
                           rd_kafka_topic_result_name(results[i]),
                           why ? why : rd_kafka_err2str(code));
        }
    }
    return true;
}

static bool request_topics(struct th_kafka_talk *talk, rd_kafka_NewTopic_t **topics, size_t count,
                           struct th_error *error)
{
    rd_kafka_AdminOptions_t *options = options_for(talk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_CreateTopics(talk->client.rk, topics, count, options, talk->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_event_t *event = th_kafka_client_await(&talk->client, talk->queue, error);
    bool done = event && created(event, error);
    if (event) {
        rd_kafka_event_destroy(event);
    }
    return done;
}

bool th_kafka_topics_any(const struct th_kafka_topics *topics)
{
    for (size_t t = 0; t < TH_KAFKA_TOPIC_COUNT; t++) {
        if (topics->partitions[t] > 0) {
            return true;
        }
    }
    return false;
}

bool th_kafka_topics_all(const struct th_kafka_topics *topics)
{
    for (size_t t = 0; t < TH_KAFKA_TOPIC_COUNT; t++) {
        if (topics->partitions[t] == 0) {
            return false;
        }
    }
    return true;
}

/* Brokers learn of a new topic, or of a deletion, one after the other, and each question goes to
 * any of them; so the answer has to come as often in a row as there are brokers. */
bool th_kafka_topics_await(struct th_kafka_talk *talk, const char *hub, bool there,
                           th_time patience, struct th_kafka_topics *out, struct th_error *error)
{
    th_time deadline = th_monotonic() + patience;
    int in_a_row = 0;
    while (th_kafka_topics_count(talk, hub, out, error)) {
        bool so =
            there ? th_kafka_topics_all(out) && out->leaderless == 0 : !th_kafka_topics_any(out);
        in_a_row = so ? in_a_row + 1 : 0;
        if (in_a_row >= out->brokers) {
            return true;
        }
        if (th_monotonic() > deadline) {
            return th_fail(error, TH_UNAVAILABLE,
                           there ? "the brokers at %s do not all lead the topics of hub %s"
                                 : "the brokers at %s still have topics of hub %s",
                           talk->client.cluster->brokers, hub);
        }
        rd_kafka_poll(talk->client.rk, so ? 0 : 10);
    }
    return false;
}

bool th_kafka_topics_create(struct th_kafka_talk *talk, const struct th_kafka_hub_options *options,
                            struct th_kafka_topics *topics, struct th_error *error)
{
    rd_kafka_NewTopic_t *missing[TH_KAFKA_TOPIC_COUNT];
    size_t count = 0;
    bool good = true;
    for (enum th_kafka_topic t = 0; good && t < TH_KAFKA_TOPIC_COUNT; t++) {
        if (topics->partitions[t] == 0) {
            missing[count] = new_topic(t, options, error);
            good = missing[count] != NULL;
            count += good;
        }
    }
    good = good && (count == 0 || request_topics(talk, missing, count, error));
    rd_kafka_NewTopic_destroy_array(missing, count);
    return good && th_kafka_topics_await(talk, options->name, true,
                                         th_kafka_patience(talk->client.cluster), topics, error);
}

/* ---- checking ---- */

/* Nothing of ours makes it again: whoever finds an empty log where a full one was takes all
 * instances for gone. */
static bool lacks(const char *hub, enum th_kafka_topic topic, uint32_t needed,
                  struct th_error *error)
{
    char name[TH_KAFKA_TOPIC_NAME];
    th_kafka_topic_name(topic, hub, name);
    if (topic == TH_KAFKA_ACTIVITIES) {
        return th_fail(error, TH_IO,
                       "hub %s lacks its topic %s; make it again with %u partitions and the "
                       "settings of %s.instances: what was in it is sent again",
                       hub, name, (unsigned)needed, hub);
    }
    return th_fail(error, TH_IO,
                   "hub %s lacks its topic %s, which holds %s and cannot be made again; restore it "
                   "from a backup of the brokers, or delete the hub (`taskhub hub delete %s`) and "
                   "make a new one",
                   hub, name,
                   topic == TH_KAFKA_HISTORY ? "all that is known of its instances"
                                             : "what its instances were sent",
                   hub);
}

static bool check_counts(const char *hub, uint32_t partitions, uint32_t activity_partitions,
                         const struct th_kafka_topics *topics, struct th_error *error)
{
    const uint32_t needed[] = {
        [TH_KAFKA_INSTANCES] = partitions,
        [TH_KAFKA_HISTORY] = partitions,
        [TH_KAFKA_ACTIVITIES] = activity_partitions,
        [TH_KAFKA_CONTROL] = 1,
    };
    for (enum th_kafka_topic t = 0; t < TH_KAFKA_TOPIC_COUNT; t++) {
        char name[TH_KAFKA_TOPIC_NAME];
        th_kafka_topic_name(t, hub, name);
        if (topics->partitions[t] == 0) {
            return lacks(hub, t, needed[t], error);
        }
        if (topics->partitions[t] != needed[t]) {
            return th_fail(error, TH_PRECONDITION, "topic %s has %u partitions, hub %s needs %u",
                           name, (unsigned)topics->partitions[t], hub, (unsigned)needed[t]);
        }
    }
    return true;
}

static bool check_setting(const char *topic, const struct rule *rule, const char *found,
                          struct th_error *error)
{
    long long value = 0;
    if (rule->check == ANY || (rule->check == IS && strcmp(found, rule->value) == 0)) {
        return true;
    }
    if (rule->check == IS) {
        return th_fail(error, TH_PRECONDITION, "topic %s has %s=%.80s and needs %s", topic,
                       rule->setting, found, rule->value);
    }
    size_t needed = TH_KAFKA_MESSAGE_BYTES + TH_KAFKA_OVERHEAD;
    return (th_str_to_i64(th_str_of(found), &value) && value >= (long long)needed) ||
           th_fail(error, TH_PRECONDITION, "topic %s has %s=%.80s and needs %zu or more", topic,
                   rule->setting, found, needed);
}

static const char *setting_of(const rd_kafka_ConfigResource_t *resource, const char *setting)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (value && strcmp(rd_kafka_ConfigEntry_name(entries[i]), setting) == 0) {
            return value;
        }
    }
    return "(unknown)";
}

static bool check_resource(const rd_kafka_ConfigResource_t *resource, const char *hub,
                           struct th_kafka_topics *topics, struct th_error *error)
{
    const char *topic = rd_kafka_ConfigResource_name(resource);
    if (rd_kafka_ConfigResource_error(resource) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return th_fail(error, th_kafka_code(rd_kafka_ConfigResource_error(resource)),
                       "the settings of topic %s cannot be read: %s", topic,
                       rd_kafka_ConfigResource_error_string(resource));
    }
    enum th_kafka_topic which = 0;
    char name[TH_KAFKA_TOPIC_NAME];
    for (; which < TH_KAFKA_TOPIC_COUNT; which++) {
        th_kafka_topic_name(which, hub, name);
        if (strcmp(name, topic) == 0) {
            break;
        }
    }
    for (size_t i = 0; i < TH_COUNT(rules); i++) {
        if ((rules[i].topics & 1u << which) &&
            !check_setting(topic, &rules[i], setting_of(resource, rules[i].setting), error)) {
            return false;
        }
    }
    long long bytes = 0;
    th_str_to_i64(th_str_of(setting_of(resource, "max.message.bytes")), &bytes);
    topics->max_message_bytes[which] = (size_t)bytes;
    return true;
}

static bool check_resources(const rd_kafka_event_t *event, const char *hub,
                            struct th_kafka_topics *topics, struct th_error *error)
{
    size_t count;
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result((rd_kafka_event_t *)event), &count);
    bool good = true;
    for (size_t i = 0; good && i < count; i++) {
        good = check_resource(resources[i], hub, topics, error);
    }
    return good;
}

static bool describe(struct th_kafka_talk *talk, const char *hub, struct th_kafka_topics *topics,
                     struct th_error *error)
{
    rd_kafka_ConfigResource_t *resources[TH_KAFKA_TOPIC_COUNT];
    for (enum th_kafka_topic t = 0; t < TH_KAFKA_TOPIC_COUNT; t++) {
        char name[TH_KAFKA_TOPIC_NAME];
        th_kafka_topic_name(t, hub, name);
        resources[t] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    }
    rd_kafka_AdminOptions_t *options = options_for(talk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_DescribeConfigs(talk->client.rk, resources, TH_KAFKA_TOPIC_COUNT, options,
                             talk->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy_array(resources, TH_KAFKA_TOPIC_COUNT);
    rd_kafka_event_t *event = th_kafka_client_await(&talk->client, talk->queue, error);
    bool good = event && check_resources(event, hub, topics, error);
    if (event) {
        rd_kafka_event_destroy(event);
    }
    return good;
}

bool th_kafka_topics_check(struct th_kafka_talk *talk, const char *hub, uint32_t partitions,
                           uint32_t activity_partitions, struct th_kafka_topics *topics,
                           struct th_error *error)
{
    th_time deadline = th_monotonic() + th_kafka_patience(talk->client.cluster);
    struct th_error why = {.code = TH_OK};
    if (!check_counts(hub, partitions, activity_partitions, topics, error)) {
        return false;
    }
    /* The broker that is asked may not have heard of a topic that another one has shown us. */
    bool good;
    while (!(good = describe(talk, hub, topics, &why)) && why.code == TH_NOT_FOUND &&
           th_monotonic() < deadline) {
        rd_kafka_poll(talk->client.rk, 10);
    }
    return good || th_fail(error, why.code, "%s", why.message);
}

/* ---- deleting ---- */

static bool deleted(const rd_kafka_event_t *event, struct th_error *error)
{
    size_t count;
    const rd_kafka_topic_result_t **results = rd_kafka_DeleteTopics_result_topics(
        rd_kafka_event_DeleteTopics_result((rd_kafka_event_t *)event), &count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
            return th_fail(error, th_kafka_code(code), "topic %s cannot be deleted: %s",
                           rd_kafka_topic_result_name(results[i]), rd_kafka_err2str(code));
        }
    }
    return true;
}

static bool delete_some(struct th_kafka_talk *talk, const char *hub,
                        const struct th_kafka_topics *topics, unsigned which,
                        struct th_error *error)
{
    rd_kafka_DeleteTopic_t *doomed[TH_KAFKA_TOPIC_COUNT];
    size_t count = 0;
    for (enum th_kafka_topic t = 0; t < TH_KAFKA_TOPIC_COUNT; t++) {
        char name[TH_KAFKA_TOPIC_NAME];
        if (topics->partitions[t] > 0 && (which & 1u << t)) {
            th_kafka_topic_name(t, hub, name);
            doomed[count++] = rd_kafka_DeleteTopic_new(name);
        }
    }
    if (count == 0) {
        return true;
    }
    rd_kafka_AdminOptions_t *options = options_for(talk, RD_KAFKA_ADMIN_OP_DELETETOPICS);
    rd_kafka_DeleteTopics(talk->client.rk, doomed, count, options, talk->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_DeleteTopic_destroy_array(doomed, count);
    rd_kafka_event_t *event = th_kafka_client_await(&talk->client, talk->queue, error);
    bool done = event && deleted(event, error);
    if (event) {
        rd_kafka_event_destroy(event);
    }
    return done;
}

bool th_kafka_topics_delete(struct th_kafka_talk *talk, const char *hub,
                            const struct th_kafka_topics *topics, struct th_error *error)
{
    return delete_some(talk, hub, topics, LOGS, error) &&
           delete_some(talk, hub, topics, CONTROL, error);
}

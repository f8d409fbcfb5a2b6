/*
 * record: what a hub is, as a record in its control topic.
 *
 * Several may create a hub at the same moment, and exactly one of their records must be in force,
 * for everybody and for ever. Each proposes one under a key of its own, "hub/" and its incarnation;
 * the proposal with the lowest offset is the hub's record. Keys that differ never compact each
 * other away and compaction keeps offsets, so whoever looks, whenever, finds the same one. A
 * proposal that came too late stays behind, unread.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/hash.h"
#include "model/codec.h"
#include "provider/kafka/internal.h"

#define KEY_PREFIX "hub/"

/* field number, member, type */
enum {
    FIELD_NAME = 1,
    FIELD_INCARNATION,
    FIELD_PARTITIONS,
    FIELD_ACTIVITY_PARTITIONS,
    FIELD_CREATED,
    FIELD_PLACEMENT
};

static void encode(struct th_buffer *out, const struct th_kafka_hub *hub)
{
    th_write_map(out, 6);
    th_write_u64(out, FIELD_NAME);
    th_write_str(out, th_str_of(hub->record.name));
    th_write_u64(out, FIELD_INCARNATION);
    th_write_u64(out, hub->record.incarnation);
    th_write_u64(out, FIELD_PARTITIONS);
    th_write_u64(out, hub->record.partitions);
    th_write_u64(out, FIELD_ACTIVITY_PARTITIONS);
    th_write_u64(out, hub->activity_partitions);
    th_write_u64(out, FIELD_CREATED);
    th_write_i64(out, hub->record.created);
    th_write_u64(out, FIELD_PLACEMENT);
    th_write_u64(out, TH_PLACEMENT);
}

static void decode_field(struct th_reader *in, struct th_kafka_hub *out, uint64_t *placement)
{
    struct th_str name;
    switch (th_read_u64(in)) {
    case FIELD_NAME:
        name = th_read_str(in);
        snprintf(out->record.name, sizeof(out->record.name), "%.*s", TH_PRI(name));
        break;
    case FIELD_INCARNATION:
        out->record.incarnation = th_read_u64(in);
        break;
    case FIELD_PARTITIONS:
        out->record.partitions = (uint32_t)th_read_u64(in);
        break;
    case FIELD_ACTIVITY_PARTITIONS:
        out->activity_partitions = (uint32_t)th_read_u64(in);
        break;
    case FIELD_CREATED:
        out->record.created = th_read_i64(in);
        break;
    case FIELD_PLACEMENT:
        *placement = th_read_u64(in);
        break;
    default:
        th_read_skip(in);
    }
}

static bool plausible(const struct th_kafka_hub *hub)
{
    return hub->record.partitions >= 1 && hub->record.partitions <= TH_KAFKA_MAX_PARTITIONS &&
           hub->activity_partitions >= 1 && hub->record.incarnation != 0;
}

static bool decode(const rd_kafka_message_t *message, const char *hub, struct th_kafka_hub *out,
                   struct th_error *error)
{
    TH_ARENA arena = {0};
    struct th_reader in = th_reader_of(th_str_n(message->payload, message->len), &arena, NULL);
    uint64_t placement = 1;
    *out = (struct th_kafka_hub){0};
    for (uint32_t pairs = th_read_map(&in); pairs > 0 && !in.failed; pairs--) {
        decode_field(&in, out, &placement);
    }
    if (in.failed || !plausible(out)) {
        return th_fail(error, TH_CORRUPT, "the record of hub %s in topic %s.control is damaged",
                       hub, hub);
    }
    if (strcmp(out->record.name, hub) != 0) {
        return th_fail(error, TH_PRECONDITION,
                       "topic %s.control holds the record of another hub, %s", hub,
                       out->record.name);
    }
    return placement == TH_PLACEMENT ||
           th_fail(
               error, TH_PRECONDITION,
               "hub %s was made by a version that places instances in another way (%llu; this one: "
               "%d): let that version bring it to its end, and make a new hub",
               hub, (unsigned long long)placement, TH_PLACEMENT);
}

/* ---- reading ---- */

static bool is_proposal(const rd_kafka_message_t *message)
{
    return message->payload && message->key &&
           th_str_starts(th_str_n(message->key, message->key_len), TH_STR(KEY_PREFIX));
}

/* Looks at one message; true when the search is over, *found saying how. */
static bool look(const rd_kafka_message_t *message, const char *hub, struct th_kafka_hub *out,
                 bool *found, struct th_error *error)
{
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        *found = is_proposal(message) && decode(message, hub, out, error);
        return is_proposal(message);
    }
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        th_fail(error, TH_NOT_FOUND, "there is no hub %s: topic %s.control holds no record of it",
                hub, hub);
    } else {
        th_fail(error, th_kafka_code(message->err), "topic %s.control cannot be read: %s", hub,
                rd_kafka_message_errstr(message));
    }
    return true;
}

static bool search(struct th_kafka_talk *talk, rd_kafka_topic_t *topic, const char *hub,
                   struct th_kafka_hub *out, struct th_error *error)
{
    int wait = th_kafka_milliseconds(th_kafka_patience(talk->client.cluster));
    bool over = false;
    bool found = false;
    while (!over) {
        rd_kafka_message_t *message = rd_kafka_consume(topic, 0, wait);
        if (!message) {
            return th_kafka_client_silent(&talk->client, error);
        }
        over = look(message, hub, out, &found, error);
        rd_kafka_message_destroy(message);
    }
    return found;
}

bool th_kafka_record_read(struct th_kafka_talk *talk, const char *hub, struct th_kafka_hub *out,
                          struct th_error *error)
{
    char name[TH_KAFKA_TOPIC_NAME];
    th_kafka_topic_name(TH_KAFKA_CONTROL, hub, name);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(talk->client.rk, name, NULL);
    rd_kafka_consume_start(topic, 0, RD_KAFKA_OFFSET_BEGINNING);
    bool found = search(talk, topic, hub, out, error);
    rd_kafka_consume_stop(topic, 0);
    rd_kafka_topic_destroy(topic);
    return found;
}

/* ---- writing ---- */

struct proposal {
    struct th_kafka_client client; /* first: callbacks are given it */
    bool answered;
    rd_kafka_resp_err_t code;
};

static void on_written(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct proposal *proposal = (struct proposal *)th_kafka_client_of(opaque);
    proposal->answered = true;
    proposal->code = message->err;
}

static void configure(struct th_kafka_client *client, rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_dr_msg_cb(conf, on_written);
}

static bool produce(struct proposal *proposal, const struct th_kafka_hub *hub,
                    struct th_error *error)
{
    char name[TH_KAFKA_TOPIC_NAME];
    char key[32];
    TH_BUFFER record = {0};
    rd_kafka_t *rk = proposal->client.rk;
    th_time deadline = th_monotonic() + 2 * th_kafka_patience(proposal->client.cluster);
    th_kafka_topic_name(TH_KAFKA_CONTROL, hub->record.name, name);
    snprintf(key, sizeof(key), KEY_PREFIX "%016" PRIx64, hub->record.incarnation);
    encode(&record, hub);
    proposal->code = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_KEY(key, strlen(key)),
                                       RD_KAFKA_V_VALUE(record.data, record.len),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    while (proposal->code == RD_KAFKA_RESP_ERR_NO_ERROR && !proposal->answered &&
           th_monotonic() < deadline) {
        rd_kafka_poll(rk, 100);
    }
    if (!proposal->answered && proposal->code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return th_kafka_client_silent(&proposal->client, error);
    }
    return proposal->code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           th_fail(error, th_kafka_code(proposal->code), "topic %s cannot be written: %s", name,
                   rd_kafka_err2str(proposal->code));
}

bool th_kafka_record_write(struct th_kafka_talk *talk, const struct th_kafka_hub *hub,
                           struct th_error *error)
{
    char timeout[24];
    const struct th_kafka_cluster *cluster = talk->client.cluster;
    snprintf(timeout, sizeof(timeout), "%d", th_kafka_milliseconds(th_kafka_patience(cluster)));
    const struct th_kafka_property own[] = {
        {"enable.idempotence", "true"},
        {"allow.auto.create.topics", "false"},
        {"linger.ms", "0"},
        {"message.timeout.ms", timeout},
    };
    struct proposal proposal = {.client.configure = configure};
    if (!th_kafka_client_open(&proposal.client, RD_KAFKA_PRODUCER, cluster, own, TH_COUNT(own),
                              error)) {
        return false;
    }
    bool written = produce(&proposal, hub, error);
    rd_kafka_purge(proposal.client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    th_kafka_client_close(&proposal.client);
    return written;
}

/*
 * property: names of librdkafka's properties on which the protocol rests. Whoever runs a fleet may
 * set any other: addresses of certificates, mechanisms, buffers, time-outs.
 */
#include "provider/kafka/internal.h"

#define SUFFIX " may follow one that failed: a log would lose its middle"

/* name, why nobody else may set it */
#define REFUSED(X)                                                                                \
    X("bootstrap.servers", "the brokers are given on their own")                                  \
    X("metadata.broker.list", "the brokers are given on their own")                               \
    X("enable.idempotence", "without it a record" SUFFIX)                                         \
    X("enable.gapless.guarantee", "without it a record" SUFFIX)                                   \
    X("max.in.flight", "above its default a record" SUFFIX)                                       \
    X("max.in.flight.requests.per.connection", "above its default a record" SUFFIX)               \
    X("retries", "below its default a record" SUFFIX)                                             \
    X("message.send.max.retries", "below its default a record" SUFFIX)                            \
    X("message.timeout.ms", "a record that is given up" SUFFIX "; there is an append deadline")   \
    X("delivery.timeout.ms", "a record that is given up" SUFFIX "; there is an append deadline")  \
    X("queuing.strategy", "records are written in order")                                         \
    X("acks", "a record counts when every replica in sync has it")                                \
    X("request.required.acks", "a record counts when every replica in sync has it")               \
    X("transactional.id", "logs are fenced by their records, not by transactions")                \
    X("delivery.report.only.error", "every record is waited for")                                 \
    X("compression.codec", "compression is given on its own")                                     \
    X("compression.type", "compression is given on its own")                                      \
    X("message.max.bytes", "it follows from the topics' max.message.bytes")                       \
    X("receive.message.max.bytes", "it follows from the topics' max.message.bytes")               \
    X("fetch.max.bytes", "it follows from the topics' max.message.bytes")                         \
    X("queue.buffering.max.messages", "the node bounds what is under way")                        \
    X("queue.buffering.max.kbytes", "the node bounds what is under way")                          \
    X("group.id", "groups are named after the hub")                                               \
    X("enable.auto.commit", "positions are kept in the log")                                      \
    X("auto.commit.enable", "positions are kept in the log")                                      \
    X("enable.auto.offset.store", "positions are kept in the log")                                \
    X("auto.offset.reset", "a position outside of the log must be noticed")                       \
    X("isolation.level", "logs hold no transactions")                                             \
    X("enable.partition.eof", "the end of a log is found by it")                                  \
    X("allow.auto.create.topics", "a hub's topics are created with their settings or not at all") \
    X("enabled_events", "the program handles them itself")                                        \
    X("log.queue", "log lines would stay in it")

static const struct {
    const char *name, *reason;
} refused[] = {
#define X(name, reason) {name, reason},
    REFUSED(X)
#undef X
};

bool th_kafka_refuse(const struct th_kafka_cluster *cluster, struct th_error *error)
{
    for (size_t i = 0; i < cluster->property_count; i++) {
        struct th_str name = th_str_of(cluster->properties[i].name);
        for (size_t n = 0; n < TH_COUNT(refused); n++) {
            if (th_str_eq(name, th_str_of(refused[n].name))) {
                return th_fail(error, TH_INVALID, "the Kafka property %s cannot be set: %s",
                               refused[n].name, refused[n].reason);
            }
        }
    }
    return true;
}

bool th_kafka_apply(rd_kafka_conf_t *conf, const struct th_kafka_property *properties, size_t count,
                    struct th_error *error)
{
    char reason[256];
    for (size_t i = 0; i < count; i++) {
        const struct th_kafka_property *p = &properties[i];
        if (rd_kafka_conf_set(conf, p->name, p->value, reason, sizeof(reason)) !=
            RD_KAFKA_CONF_OK) {
            return th_fail(error, TH_INVALID, "the Kafka property %s cannot be \"%.80s\": %s",
                           p->name, p->value, reason);
        }
    }
    return true;
}

bool th_kafka_check_properties(const struct th_kafka_cluster *cluster, struct th_error *error)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool good = th_kafka_refuse(cluster, error) &&
                th_kafka_apply(conf, cluster->properties, cluster->property_count, error);
    rd_kafka_conf_destroy(conf);
    return good;
}

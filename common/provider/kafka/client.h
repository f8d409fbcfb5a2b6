/*
 * client: one instance of librdkafka, for this provider and for whoever else of the program talks
 * to the cluster (leases by consumer groups, the control topic): the cluster's brokers and
 * properties, log lines that go to its log, errors that name the broker.
 *
 * An instance belongs to one thread, the one that polls it; librdkafka's callbacks for errors and
 * acknowledgements run within its polls.
 */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "provider/kafka/kafka.h"

/* ---- a hub's topics ---- */

#define TH_KAFKA_TOPICS(X)      \
    X(INSTANCES, "instances")   \
    X(HISTORY, "history")       \
    X(ACTIVITIES, "activities") \
    X(CONTROL, "control")

enum th_kafka_topic {
#define X(name, suffix) TH_KAFKA_##name,
    TH_KAFKA_TOPICS(X)
#undef X
        TH_KAFKA_TOPIC_COUNT
};

/* Kafka limits a topic's name to 249 characters, a hub's is shorter. */
#define TH_KAFKA_TOPIC_NAME 96
void th_kafka_topic_name(enum th_kafka_topic topic, const char *hub,
                         char out[static TH_KAFKA_TOPIC_NAME]);

/* ---- instances ---- */

struct th_kafka_voice;

/* Embedded by what uses it; begins zeroed. */
struct th_kafka_client {
    rd_kafka_t *rk;
    struct th_kafka_voice *voice; /* what librdkafka knows of it */
    rd_kafka_queue_t *main;       /* acknowledgements and errors; served by rd_kafka_poll */
    const struct th_kafka_cluster *cluster;
    /* Callbacks of its own, set before the instance is made; NULL: none. */
    void (*configure)(struct th_kafka_client *, rd_kafka_conf_t *);
    char trouble[256]; /* the brokers' last error; polling thread */
    bool fatal;        /* it will do nothing any more: `trouble` says why */
    atomic_bool ready; /* the queue has something; see th_kafka_client_listen */
    void (*wake)(void *argument);
    void *wake_argument;
};

/* `own`: the properties this instance needs; those of the cluster are added. The cluster is
 * borrowed until closing. Does not wait for brokers. INVALID: a property. */
bool th_kafka_client_open(struct th_kafka_client *client, rd_kafka_type_t type,
                          const struct th_kafka_cluster *cluster,
                          const struct th_kafka_property *own, size_t own_count,
                          struct th_error *error);
/* Within librdkafka's callbacks: whose they are, by their opaque. */
struct th_kafka_client *th_kafka_client_of(void *opaque);

/* Blocks, at most about 5 s; a zeroed one is fine. False: it did not close and was abandoned, with
 * its threads. They call nobody any more but interceptors, whose arguments must not be freed. */
bool th_kafka_client_close(struct th_kafka_client *client);

/* A member of a group leaves it and is closed; callbacks of the group come within. Blocks, at most
 * about 15 s: librdkafka waits for a coordinator as long as it takes (its issue 3740), and
 * sometimes for ever. Then it is abandoned, and the group forgets the member when its session is
 * over. */
void th_kafka_client_leave(struct th_kafka_client *client);

/* From now on `wake` is called, on any thread, when the queue has something after being empty. */
void th_kafka_client_listen(struct th_kafka_client *client, void (*wake)(void *), void *argument);
/* Serves the queue if it has something. Does not wait. */
void th_kafka_client_poll(struct th_kafka_client *client);

/* What is kept of a partition: its first offset, and that of the next record. */
struct th_kafka_span {
    const char *topic;
    int32_t partition;
    int64_t start, end;
};

/* Fills the starts and ends of `count` spans, none of them twice; the first error, and which one it
 * is of in `*failed`. Blocks up to twice the time; any thread. */
rd_kafka_resp_err_t th_kafka_client_spans(struct th_kafka_client *client,
                                          struct th_kafka_span *spans, size_t count,
                                          th_time patience, size_t *failed);

th_time th_kafka_patience(const struct th_kafka_cluster *cluster);
enum th_code th_kafka_code(rd_kafka_resp_err_t error);
/* UNAVAILABLE, "no broker answers at …: why"; false. Serves the queue to learn why. */
bool th_kafka_client_silent(struct th_kafka_client *client, struct th_error *error);
/* Asks who leads the topic's partitions now: librdkafka asks whom it knows, is refused, and learns
 * by itself of another leader only where it reads the topic or writes to it. Of a consumer, which
 * makes no topic by asking. Blocks for a second at most. */
void th_kafka_client_learn(struct th_kafka_client *client, const char *topic);
/* The result of an administrative request on `queue`, which the caller destroys, or NULL with an
 * error. Blocks up to twice the patience. */
rd_kafka_event_t *th_kafka_client_await(struct th_kafka_client *client, rd_kafka_queue_t *queue,
                                        struct th_error *error);

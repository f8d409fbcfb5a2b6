/*
 * group: this worker's membership in one of a hub's consumer groups. Opening makes the client,
 * joining subscribes to the group's topic, leaving lets the others have the partitions at once.
 * What the members do with their partitions is lease's and shared's business.
 *
 * All on the thread of whoever embeds it as its first member; callbacks of librdkafka come within
 * its polls and within leaving.
 */
#pragma once

#include "base/queue.h"
#include "provider/kafka/client.h"

struct th_group_options {
    const struct th_kafka_cluster *cluster; /* borrowed until close, as the log */
    const struct th_log *log;
    const char *component; /* in the log */
    const char *hub;       /* its name; borrowed */
    const char *suffix;    /* the group is <hub>.<suffix> */
    const char *member;    /* how it is listed */
    enum th_kafka_topic topic;
    int64_t session_ms; /* 0: 1,000 */
    bool tells_session; /* in the log, that brokers want a longer one */
    /* How it fetches, besides what all members have in common. */
    const struct th_kafka_property *own;
    size_t own_count;
    void (*configure)(struct th_kafka_client *client, rd_kafka_conf_t *conf);
    struct th_queue *wake; /* when there is something to be polled */
};

struct th_group {
    struct th_kafka_client client; /* first: callbacks are given it */
    struct th_group_options options;
    char name[TH_KAFKA_TOPIC_NAME], topic[TH_KAFKA_TOPIC_NAME];
    int64_t session_ms;
    bool joined;

    /* its own */
    rd_kafka_queue_t *queue;
    bool refused;    /* the session is too short for the brokers */
    th_time open_at; /* again; TH_TIME_NONE: it is open */
    rd_kafka_resp_err_t told;
};

void th_group_init(struct th_group *group, const struct th_group_options *options);
/* Does not wait for a broker. INVALID: a property. */
bool th_group_open(struct th_group *group, struct th_error *error);
void th_group_join(struct th_group *group);
/* Leaves if it has joined. Blocks, a moment or as th_kafka_client_leave; nothing is called back
 * afterwards. */
void th_group_leave(struct th_group *group);
/* One that never joined. */
void th_group_close(struct th_group *group);

/* An error that a poll has brought. False: it is one that mends by itself in th_group_mend. */
bool th_group_error(struct th_group *group, const rd_kafka_message_t *message);
/* All is well: the next error is worth a line. */
void th_group_well(struct th_group *group);
/* Leaves and joins again when that is due. True: it has left meanwhile, and what was asked of the
 * former client gets no answer. */
bool th_group_mend(struct th_group *group, th_time now);

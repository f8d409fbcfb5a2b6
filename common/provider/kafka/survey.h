/*
 * survey: how far a hub's topics reach and how far its groups have come, as the brokers know it:
 * for lag, and for trimming what was processed. The group that reads a topic has the topic's name.
 *
 * Every function asks the brokers and blocks, at most about the cluster's patience. A survey
 * belongs to one thread. Arrays have one item per partition of the topic
 * (th_kafka_survey_partitions). UNAVAILABLE: no broker answers, or one refuses for now; NOT_FOUND:
 * the topic is gone.
 */
#pragma once

#include "provider/kafka/client.h"

struct th_kafka_survey;

/* The hub exists; the cluster is borrowed until closing. NULL: INVALID, a property. */
struct th_kafka_survey *th_kafka_survey_open(const struct th_kafka_cluster *cluster,
                                             const struct th_kafka_hub *hub,
                                             struct th_error *error);
void th_kafka_survey_close(struct th_kafka_survey *survey); /* NULL is fine */

uint32_t th_kafka_survey_partitions(const struct th_kafka_survey *survey,
                                    enum th_kafka_topic topic);

/* The first offset that is kept; the offset of the next message. */
bool th_kafka_survey_starts(struct th_kafka_survey *survey, enum th_kafka_topic topic, int64_t *out,
                            struct th_error *error);
bool th_kafka_survey_ends(struct th_kafka_survey *survey, enum th_kafka_topic topic, int64_t *out,
                          struct th_error *error);

/* What the topic's group has committed; -1: nothing. */
bool th_kafka_survey_committed(struct th_kafka_survey *survey, enum th_kafka_topic topic,
                               int64_t *out, struct th_error *error);

/* When the first message at or behind an offset arrived, by the broker's clock; TH_TIME_NONE: there
 * is none now. Negative offsets ask for nothing. */
bool th_kafka_survey_arrivals(struct th_kafka_survey *survey, enum th_kafka_topic topic,
                              const int64_t *from, th_time *out, struct th_error *error);

/* Drops what lies below (DeleteRecords); offsets of 0 and less drop nothing. */
bool th_kafka_survey_trim(struct th_kafka_survey *survey, enum th_kafka_topic topic,
                          const int64_t *below, struct th_error *error);

/* Every message that is kept in [from, to), in order, until `visit` says false; `bytes` NULL: it
 * has none. What is trimmed meanwhile is left out. Bytes live during the call. */
bool th_kafka_survey_read(struct th_kafka_survey *survey, enum th_kafka_topic topic,
                          uint32_t partition, int64_t from, int64_t to,
                          bool (*visit)(void *argument, int64_t offset, struct th_str bytes),
                          void *argument, struct th_error *error);

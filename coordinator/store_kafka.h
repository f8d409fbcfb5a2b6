/*
 * store_kafka: hubs in the topics of a Kafka cluster, with what a Redis holds of them.
 */
#pragma once

#include "coordinator/provisioning.h"
#include "provider/kafka/kafka.h"

struct th_kafka_store {
    struct th_hub_store store; /* first; made by th_kafka_store */
    const struct th_kafka_cluster *cluster;
    const char *redis;            /* rows of a removed hub are dropped there; NULL: are left */
    uint32_t activity_partitions; /* of a new hub; 0: as many as partitions */
    int replication;              /* of its topics; 0: the broker's default */
};

/* Fills in `store`; what the fields point to is borrowed. */
void th_kafka_store(struct th_kafka_store *store);

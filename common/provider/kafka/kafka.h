/*
 * kafka: logs and inboxes on Apache Kafka (or what speaks its protocol), and the hubs of a cluster.
 * It is one half of the fleet's provider: of the table in contract.h it has what concerns logs and
 * inboxes, and the ends in STATE; project, load, query, walk, reply and watch are NULL.
 *
 * A hub is four topics: <hub>.instances (the inboxes), <hub>.history (the logs),
 * <hub>.activities (work for whichever process takes it) and <hub>.control (compacted, one
 * partition), which holds the hub's record.
 *
 * Beyond contract.h:
 *   - A record or message is written by reference: its blob is held until librdkafka gives it back.
 *   - A claim or append that is not acknowledged within the append deadline fails with UNAVAILABLE
 *     and may still land. What a partition sends is kept and retried without a bound; what a client
 *     sends fails with UNAVAILABLE after the client time-out.
 *   - A read fails with UNAVAILABLE when nothing of it comes for the append deadline.
 *   - An inbox whose position lies behind its end, or that holds bytes nobody can read, tells so
 *     with one DELIVER that carries the error, and delivers nothing more until it is opened again.
 *   - Trims are gathered and sent a few times a second.
 */
#pragma once

#include "base/log.h"
#include "provider/contract.h"

/* ---- a cluster ---- */

/* A property of librdkafka (its CONFIGURATION.md). Those on which the protocol rests are refused.
 */
struct th_kafka_property {
    const char *name, *value;
};

/* How to reach a cluster. Everything is borrowed during a call, by th_kafka_open until close. */
struct th_kafka_cluster {
    const char *brokers; /* host:port, several with commas */
    const struct th_kafka_property *properties;
    size_t property_count;
    const struct th_log *log; /* may be NULL */
    th_time patience;         /* of one question to the brokers; 0: 10 s */
    bool keep;                /* trims drop nothing, for those who examine a hub; the topics grow */
};

/* INVALID, with the reason, for a property that would break the protocol, and for one that
 * librdkafka does not know or whose value it refuses. */
bool th_kafka_check_properties(const struct th_kafka_cluster *cluster, struct th_error *error);

/* ---- hubs of a cluster: blocking, from any thread, any number of processes at once ---- */

struct th_kafka_hub {
    struct th_hub_record record;
    uint32_t activity_partitions;
    size_t max_message_bytes; /* what its inboxes and activities accept */
};

struct th_kafka_hub_options {
    const char *name;
    uint32_t partitions;          /* 1 to 1024 */
    uint32_t activity_partitions; /* 0: as many as partitions */
    int replication;              /* 0: the broker's default */
};

/*
 * Creates the topics that are missing and, last, the hub's record; so what an earlier attempt left
 * unfinished, or an administrator has prepared, is completed. Of several that create the same hub
 * at once one wins, and the others say EXISTS. `out` may be NULL; it is filled also when the hub
 * EXISTS. INVALID: the name or a number. PRECONDITION: a topic that is there does not fit, named
 * with setting, value and what is needed. IO: the hub is there but for a topic, which is named with
 * what to do. UNAVAILABLE: no broker answers, named with its address.
 */
bool th_kafka_create_hub(const struct th_kafka_cluster *cluster,
                         const struct th_kafka_hub_options *options, struct th_kafka_hub *out,
                         struct th_error *error);

/* Reads the hub's record and checks its topics. Never makes a topic come into being, whatever the
 * broker's auto.create.topics.enable says. NOT_FOUND: no topics, or no record in them.
 * PRECONDITION, IO, UNAVAILABLE: as above. CORRUPT: the record is damaged. */
bool th_kafka_find_hub(const struct th_kafka_cluster *cluster, const char *name,
                       struct th_kafka_hub *out, struct th_error *error);

/* By name: the hubs that have a record, whether or not their topics fit. The caller frees *hubs. */
bool th_kafka_list_hubs(const struct th_kafka_cluster *cluster, struct th_hub_record **hubs,
                        size_t *count, struct th_error *error);

/* Deletes the topics, that of the record last, so that an interrupted one can be repeated.
 * Before them go the consumer groups of its workers, with what they have committed. NOT_FOUND:
 * there is no topic of it. UNAVAILABLE: workers serve it, or no broker answers. */
bool th_kafka_delete_hub(const struct th_kafka_cluster *cluster, const char *name,
                         struct th_error *error);

/* ---- one hub ---- */

struct th_kafka_options {
    struct th_kafka_cluster cluster;
    const char *hub;
    size_t max_record_bytes; /* 0: 900,000 */
    th_time append_deadline; /* 0: 30 s */
    th_time client_timeout;  /* 0: 10 s */
    const char *compression; /* of librdkafka: "none", "lz4", "zstd", …; NULL: "lz4" */
};

/* Opens an existing hub: errors as for th_kafka_find_hub, and INVALID for properties. Blocks. */
struct th_provider *th_kafka_open(const struct th_kafka_options *options, struct th_error *error);

/* From now on what clients send is refused as UNAVAILABLE, for this reason; NULL: no longer. Any
 * thread. */
void th_kafka_bar(struct th_provider *provider, const char *reason);

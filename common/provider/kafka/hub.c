/*
 * hub: the hubs of a cluster. Nothing is kept here: each call asks the brokers.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "model/name.h"
#include "provider/kafka/internal.h"

static bool check_options(const struct th_kafka_hub_options *o, struct th_error *error)
{
    if (!th_hub_name_check(th_str_of(o->name), error)) {
        return false;
    }
    if (o->partitions < 1 || o->partitions > TH_KAFKA_MAX_PARTITIONS) {
        return th_fail(error, TH_INVALID, "a hub has 1 to %d partitions, not %u",
                       TH_KAFKA_MAX_PARTITIONS, (unsigned)o->partitions);
    }
    if (o->activity_partitions > TH_KAFKA_MAX_PARTITIONS) {
        return th_fail(error, TH_INVALID, "a hub has 1 to %d activity partitions, not %u",
                       TH_KAFKA_MAX_PARTITIONS, (unsigned)o->activity_partitions);
    }
    return (o->replication >= 0 && o->replication <= INT16_MAX) ||
           th_fail(error, TH_INVALID, "%d is no replication factor", o->replication);
}

static size_t message_bytes(const struct th_kafka_topics *topics)
{
    size_t instances = topics->max_message_bytes[TH_KAFKA_INSTANCES];
    size_t activities = topics->max_message_bytes[TH_KAFKA_ACTIVITIES];
    size_t least = instances < activities ? instances : activities;
    return (least < TH_KAFKA_LARGEST ? least : TH_KAFKA_LARGEST) - TH_KAFKA_OVERHEAD;
}

/* ---- finding ---- */

/* For how long some of the topics may be missing because a broker has not heard of them yet. */
#define HEARSAY (2 * TH_SECOND)

static bool count_topics(struct th_kafka_talk *talk, const char *name,
                         struct th_kafka_topics *topics, struct th_error *error)
{
    if (!th_kafka_topics_count(talk, name, topics, error)) {
        return false;
    }
    if (topics->partitions[TH_KAFKA_CONTROL] > 0 && !th_kafka_topics_all(topics)) {
        th_kafka_topics_await(talk, name, true, HEARSAY, topics, NULL); /* or not: it is checked */
    }
    return true;
}

/* With the record in hand: do the topics fit it? */
static bool check_topics(struct th_kafka_talk *talk, struct th_kafka_hub *hub,
                         struct th_kafka_topics *topics, struct th_error *error)
{
    if (!th_kafka_topics_check(talk, hub->record.name, hub->record.partitions,
                               hub->activity_partitions, topics, error)) {
        return false;
    }
    hub->max_message_bytes = message_bytes(topics);
    return true;
}

bool th_kafka_find_hub(const struct th_kafka_cluster *cluster, const char *name,
                       struct th_kafka_hub *out, struct th_error *error)
{
    TH_KAFKA_TALK talk = {0};
    struct th_kafka_topics topics;
    if (!th_hub_name_check(th_str_of(name), error) || !th_kafka_talk_open(&talk, cluster, error) ||
        !count_topics(&talk, name, &topics, error)) {
        return false;
    }
    if (topics.partitions[TH_KAFKA_CONTROL] == 0) {
        return th_fail(error, TH_NOT_FOUND, "there is no hub %s at %s: topic %s.control is missing",
                       name, cluster->brokers, name);
    }
    return th_kafka_record_read(&talk, name, out, error) &&
           check_topics(&talk, out, &topics, error);
}

/* ---- creating ---- */

static struct th_kafka_hub proposed(const struct th_kafka_hub_options *options,
                                    const struct th_kafka_topics *topics)
{
    struct th_kafka_hub hub = {
        .record.partitions = options->partitions,
        .record.created = th_now(),
        .activity_partitions = options->activity_partitions
                                   ? options->activity_partitions
                                   : topics->partitions[TH_KAFKA_ACTIVITIES],
    };
    memcpy(hub.record.name, options->name, strlen(options->name) + 1);
    while (hub.record.incarnation == 0) {
        hub.record.incarnation = th_random_system();
    }
    return hub;
}

static bool exists(const struct th_kafka_hub *hub, const char *brokers, struct th_error *error)
{
    return th_fail(error, TH_EXISTS, "hub %s at %s exists already", hub->record.name, brokers);
}

/* The topics are there; whose record is the first? */
static bool propose(struct th_kafka_talk *talk, const struct th_kafka_hub_options *options,
                    struct th_kafka_topics *topics, struct th_kafka_hub *out,
                    struct th_error *error)
{
    struct th_kafka_hub own = proposed(options, topics);
    if (!check_topics(talk, &own, topics, error) || !th_kafka_record_write(talk, &own, error) ||
        !th_kafka_record_read(talk, options->name, out, error)) {
        return false;
    }
    out->max_message_bytes = own.max_message_bytes;
    return out->record.incarnation == own.record.incarnation ||
           exists(out, talk->client.cluster->brokers, error);
}

/* Nothing is created beside a record that is there: what its topics lack is somebody's mistake. */
static bool find_or_create(struct th_kafka_talk *talk, const struct th_kafka_hub_options *options,
                           struct th_kafka_hub *out, struct th_error *error)
{
    struct th_kafka_topics topics;
    struct th_error none = {.code = TH_NOT_FOUND};
    if (!th_kafka_topics_count(talk, options->name, &topics, error)) {
        return false;
    }
    if (topics.partitions[TH_KAFKA_CONTROL] > 0 &&
        th_kafka_record_read(talk, options->name, out, &none)) {
        return check_topics(talk, out, &topics, error) &&
               exists(out, talk->client.cluster->brokers, error);
    }
    if (none.code != TH_NOT_FOUND) {
        return th_fail(error, none.code, "%s", none.message);
    }
    return th_kafka_topics_create(talk, options, &topics, error) &&
           propose(talk, options, &topics, out, error);
}

bool th_kafka_create_hub(const struct th_kafka_cluster *cluster,
                         const struct th_kafka_hub_options *options, struct th_kafka_hub *out,
                         struct th_error *error)
{
    TH_KAFKA_TALK talk = {0};
    struct th_kafka_hub hub;
    return check_options(options, error) && th_kafka_talk_open(&talk, cluster, error) &&
           find_or_create(&talk, options, out ? out : &hub, error);
}

/* ---- listing ---- */

static bool hub_name_of(const char *topic, char name[static TH_HUB_NAME_MAX + 1])
{
    static const struct th_str suffix = {".control", sizeof(".control") - 1};
    struct th_str text = th_str_of(topic);
    if (text.len <= suffix.len || text.len - suffix.len > TH_HUB_NAME_MAX ||
        !th_str_eq(th_str_n(text.data + text.len - suffix.len, suffix.len), suffix)) {
        return false;
    }
    memcpy(name, text.data, text.len - suffix.len);
    name[text.len - suffix.len] = '\0';
    return th_hub_name_check(th_str_of(name), NULL);
}

static int by_name(const void *a, const void *b)
{
    const struct th_hub_record *x = a;
    const struct th_hub_record *y = b;
    return strcmp(x->name, y->name);
}

static bool collect(struct th_kafka_talk *talk, const rd_kafka_metadata_t *metadata,
                    struct th_hub_record **hubs, size_t *count, struct th_error *error)
{
    size_t capacity = 0;
    for (int i = 0; i < metadata->topic_cnt; i++) {
        char name[TH_HUB_NAME_MAX + 1];
        struct th_kafka_hub hub;
        struct th_error why = {.code = TH_OK};
        if (!hub_name_of(metadata->topics[i].topic, name)) {
            continue;
        }
        if (th_kafka_record_read(talk, name, &hub, &why)) {
            *hubs = th_grow(*hubs, &capacity, *count + 1, sizeof(**hubs));
            (*hubs)[(*count)++] = hub.record;
        } else if (why.code == TH_UNAVAILABLE) {
            return th_fail(error, why.code, "%s", why.message);
        } /* else: another application's topic, or half a hub */
    }
    return true;
}

bool th_kafka_list_hubs(const struct th_kafka_cluster *cluster, struct th_hub_record **hubs,
                        size_t *count, struct th_error *error)
{
    TH_KAFKA_TALK talk = {0};
    const rd_kafka_metadata_t *metadata;
    *hubs = NULL;
    *count = 0;
    if (!th_kafka_talk_open(&talk, cluster, error) || !th_kafka_metadata(&talk, &metadata, error)) {
        return false;
    }
    bool done = collect(&talk, metadata, hubs, count, error);
    rd_kafka_metadata_destroy(metadata);
    if (done) {
        if (*count > 1) {
            qsort(*hubs, *count, sizeof(**hubs), by_name);
        }
        return true;
    }
    free(*hubs);
    *hubs = NULL;
    *count = 0;
    return false;
}

/* ---- deleting ---- */

bool th_kafka_delete_hub(const struct th_kafka_cluster *cluster, const char *name,
                         struct th_error *error)
{
    TH_KAFKA_TALK talk = {0};
    struct th_kafka_topics topics;
    if (!th_hub_name_check(th_str_of(name), error) || !th_kafka_talk_open(&talk, cluster, error) ||
        !th_kafka_topics_count(&talk, name, &topics, error)) {
        return false;
    }
    if (!th_kafka_topics_any(&topics)) {
        return th_fail(error, TH_NOT_FOUND, "there is no hub %s at %s", name, cluster->brokers);
    }
    return th_kafka_groups_delete(&talk, name, error) &&
           th_kafka_topics_delete(&talk, name, &topics, error) &&
           th_kafka_topics_await(&talk, name, false, th_kafka_patience(cluster), &topics, error);
}

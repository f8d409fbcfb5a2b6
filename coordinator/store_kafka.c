#include "coordinator/store_kafka.h"

#include "provider/redis/redis.h"

static const struct th_kafka_store *kafka_of(const struct th_hub_store *store)
{
    return (const struct th_kafka_store *)store; /* its first member */
}

static bool list(const struct th_hub_store *store, struct th_hub_record **hubs, size_t *count,
                 struct th_error *error)
{
    return th_kafka_list_hubs(kafka_of(store)->cluster, hubs, count, error);
}

static bool find(const struct th_hub_store *store, const char *name, struct th_hub_record *out,
                 struct th_error *error)
{
    struct th_kafka_hub hub;
    if (!th_kafka_find_hub(kafka_of(store)->cluster, name, &hub, error))
        return false;
    *out = hub.record;
    return true;
}

static bool create(const struct th_hub_store *store, const char *name, uint32_t partitions,
                   struct th_hub_record *out, struct th_error *error)
{
    const struct th_kafka_store *kafka = kafka_of(store);
    const struct th_kafka_hub_options options = {
        .name = name,
        .partitions = partitions,
        .activity_partitions = kafka->activity_partitions,
        .replication = kafka->replication,
    };
    struct th_kafka_hub hub = {.max_message_bytes = 0};
    bool made = th_kafka_create_hub(kafka->cluster, &options, &hub, error);
    *out = hub.record;
    return made;
}

/* Nobody reads rows of an incarnation that is no more: they only take room. */
static void drop_rows(const struct th_kafka_store *kafka, const struct th_hub_record *hub)
{
    struct th_error error;
    const struct th_redis_options options = {.url = kafka->redis, .log = kafka->cluster->log};
    if (kafka->redis && !th_redis_drop_hub(&options, hub, &error))
        th_log(kafka->cluster->log, TH_LOG_WARN, "coordinator",
               "hub %s is gone, but not its rows in Redis: %s", hub->name, error.message);
}

/* One that lost a topic can be removed, too; its incarnation is not known then. */
static bool remove_hub(const struct th_hub_store *store, const char *name, struct th_error *error)
{
    const struct th_kafka_store *kafka = kafka_of(store);
    struct th_kafka_hub hub;
    bool known = th_kafka_find_hub(kafka->cluster, name, &hub, NULL);
    if (!th_kafka_delete_hub(kafka->cluster, name, error))
        return false;
    if (known)
        drop_rows(kafka, &hub.record);
    return true;
}

void th_kafka_store(struct th_kafka_store *store)
{
    store->store = (struct th_hub_store){.where = store->cluster->brokers,
                                         .option = "--kafka",
                                         .list = list,
                                         .find = find,
                                         .create = create,
                                         .remove = remove_hub};
}

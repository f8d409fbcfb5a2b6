#include "contract/subject_fleet.h"

#include <stdlib.h>

#include "base/memory.h"
#include "contract/redis_server.h"
#include "contract/rig.h"
#include "provider/fleet/fleet.h"
#include "provider/redis/redis.h"

struct storage {
    char hub[64];
    struct redis_server *redis;
};

static void *create(const struct subject *subject, uint32_t partitions, unsigned number)
{
    struct storage *s = TH_NEW(struct storage);
    s->redis = redis_server_start(NULL);
    rig_hub_name(s->hub);
    rig_create_hub(s->hub, partitions);
    return s;
}

/* The deadline is what a frozen broker costs; a busy machine must not reach it by itself. */
static struct th_provider *open_hub(void *storage, struct th_error *error)
{
    struct storage *s = storage;
    struct th_kafka_options options = {
        .cluster = rig_cluster(), .hub = s->hub, .append_deadline = 4 * TH_SECOND};
    struct th_provider *log = th_kafka_open(&options, error);
    if (!log) {
        return NULL;
    }
    struct th_redis_options redis = {.url = redis_server_url(s->redis, NULL)};
    struct th_provider *projection = th_redis_open(&redis, &log->hub, error);
    if (!projection) {
        log->ops->close(log);
        return NULL;
    }
    return th_fleet_open(log, projection);
}

static void destroy(void *storage)
{
    struct storage *s = storage;
    rig_delete_hub(s->hub);
    redis_server_stop(s->redis);
    free(s);
}

static void fail_appends(void *storage, bool on)
{
    rig_freeze(on);
}

const struct subject fleet_subject = {
    .name = "fleet",
    .create = create,
    .open = open_hub,
    .destroy = destroy,
    .fail_appends = fail_appends,
};

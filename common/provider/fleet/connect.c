#include "provider/fleet/connect.h"

#include "provider/fleet/fleet.h"
#include "provider/redis/redis.h"

struct th_provider *th_fleet_connect(const struct th_kafka_options *options, const char *redis,
                                     struct th_error *error)
{
    const struct th_redis_options projection_options = {.url = redis, .log = options->cluster.log};
    struct th_provider *log = th_kafka_open(options, error);
    if (!log) {
        return NULL;
    }
    struct th_provider *projection = th_redis_open(&projection_options, &log->hub, error);
    if (!projection) {
        log->ops->close(log);
        return NULL;
    }
    return th_fleet_open(log, projection);
}

void th_fleet_bar(struct th_provider *fleet, const char *reason)
{
    th_kafka_bar(th_fleet_log_half(fleet), reason);
}

bool th_fleet_redis_up(struct th_provider *fleet)
{
    return th_redis_up(th_fleet_projection(fleet));
}

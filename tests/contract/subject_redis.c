#include "contract/subject_redis.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "provider/redis/redis.h"

struct storage {
    const struct redis_access *access;
    struct th_hub_record hub;
};

static struct th_redis_options options_of(const struct redis_access *access)
{
    return (struct th_redis_options){.url = redis_server_url(access->server, access->user),
                                     .timeout_ms = access->timeout_ms,
                                     .log = access->log};
}

static void *create(const struct subject *subject, uint32_t partitions, unsigned number)
{
    struct storage *s = TH_NEW(struct storage);
    s->access = subject->argument;
    s->hub = (struct th_hub_record){.name = "contract",
                                    .incarnation = th_random_system(),
                                    .partitions = partitions,
                                    .created = 1};
    return s;
}

static struct th_provider *open_hub(void *storage, struct th_error *error)
{
    struct storage *s = storage;
    struct th_redis_options options = options_of(s->access);
    return th_redis_open(&options, &s->hub, error);
}

/* A case may leave its server dead. */
static void destroy(void *storage)
{
    struct storage *s = storage;
    struct th_redis_options options = options_of(s->access);
    th_redis_drop_hub(&options, &s->hub, NULL);
    free(s);
}

struct subject redis_subject(const struct redis_access *access)
{
    return (struct subject){.name = "redis",
                            .half = PROJECTION_HALF,
                            .argument = access,
                            .create = create,
                            .open = open_hub,
                            .destroy = destroy};
}

const struct redis_access *redis_access_of(const struct fixture *f)
{
    return f->subject->argument;
}

const char *redis_keys_of(struct fixture *f, uint32_t partition)
{
    const struct th_hub_record *hub = &f->provider->hub;
    return text_of(f, "{%s:%u}:%016llx:1:", hub->name, partition,
                   (unsigned long long)hub->incarnation);
}

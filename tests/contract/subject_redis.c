#include "contract/subject_redis.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "provider/redis/redis.h"

struct storage {
    struct redis_server *server;
    struct th_hub_record hub;
};

static void *create(const struct subject *subject, uint32_t partitions, unsigned number)
{
    struct storage *s = TH_NEW(struct storage);
    s->server = (struct redis_server *)subject->argument;
    s->hub = (struct th_hub_record){.name = "contract",
                                    .incarnation = th_random_system(),
                                    .partitions = partitions,
                                    .created = 1};
    return s;
}

static struct th_provider *open_hub(void *storage, struct th_error *error)
{
    struct storage *s = storage;
    struct th_redis_options options = {.url = redis_server_url(s->server, NULL)};
    return th_redis_open(&options, &s->hub, error);
}

static void destroy(void *storage)
{
    struct storage *s = storage;
    struct th_redis_options options = {.url = redis_server_url(s->server, NULL)};
    struct th_error error = {0};
    if (!th_redis_drop_hub(&options, &s->hub, &error)) {
        fprintf(stderr, "%s\n", error.message);
        abort();
    }
    free(s);
}

struct subject redis_subject(struct redis_server *server)
{
    return (struct subject){.name = "redis",
                            .half = PROJECTION_HALF,
                            .argument = server,
                            .create = create,
                            .open = open_hub,
                            .destroy = destroy};
}

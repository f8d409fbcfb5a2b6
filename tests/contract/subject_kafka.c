#include "contract/subject_kafka.h"

#include <stdlib.h>

#include "base/memory.h"
#include "contract/rig.h"

static void *create(const struct subject *subject, uint32_t partitions, unsigned number)
{
    struct kafka_storage *s = TH_NEW(struct kafka_storage);
    s->options = subject->argument;
    rig_hub_name(s->hub);
    rig_create_hub(s->hub, partitions);
    return s;
}

static struct th_provider *open_hub(void *storage, struct th_error *error)
{
    struct kafka_storage *s = storage;
    struct th_kafka_options options = *s->options;
    options.cluster = rig_cluster();
    options.hub = s->hub;
    return th_kafka_open(&options, error);
}

static void destroy(void *storage)
{
    struct kafka_storage *s = storage;
    rig_delete_hub(s->hub);
    free(s);
}

struct subject kafka_subject(const char *name, const struct th_kafka_options *options)
{
    return (struct subject){
        .name = name,
        .argument = options,
        .create = create,
        .open = open_hub,
        .destroy = destroy,
    };
}

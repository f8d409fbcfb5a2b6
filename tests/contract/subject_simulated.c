#include "contract/subject_simulated.h"

#include <stdlib.h>

#include "base/memory.h"

void *sim_subject_create(const struct subject *subject, uint32_t partitions, unsigned number)
{
    const struct th_sim_options *given = subject->argument;
    struct th_sim_options options = given ? *given : th_sim_defaults();
    options.partitions = partitions;
    struct sim_storage *storage = TH_NEW(struct sim_storage);
    storage->subject = subject;
    storage->world = th_sim_world_new(1000 + number, &options);
    return storage;
}

struct th_provider *sim_subject_open(void *storage, struct th_error *error)
{
    return th_sim_open(((struct sim_storage *)storage)->world, error);
}

void sim_subject_destroy(void *storage)
{
    th_sim_world_free(((struct sim_storage *)storage)->world);
    free(storage);
}

bool sim_subject_pump(void *storage)
{
    return th_sim_step(((struct sim_storage *)storage)->world);
}

void sim_subject_fail_appends(void *storage, bool on)
{
    th_sim_options(((struct sim_storage *)storage)->world)->lose_append = on ? 1 : 0;
}

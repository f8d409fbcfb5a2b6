#include "contract/subject_faulty.h"

#include <stdlib.h>

#include "base/memory.h"

struct storage {
    const struct faulty_argument *argument;
    void *inner;
    struct th_provider *provider; /* the one opened last */
};

static void *create(const struct subject *subject, uint32_t partitions, unsigned number)
{
    struct storage *s = TH_NEW(struct storage);
    s->argument = subject->argument;
    s->inner = s->argument->inner->create(s->argument->inner, partitions, number);
    return s;
}

static struct th_provider *open_faulty(void *storage, struct th_error *error)
{
    struct storage *s = storage;
    struct th_provider *inner = s->argument->inner->open(s->inner, error);
    s->provider = inner ? th_faulty_open(inner, &s->argument->plan) : NULL;
    return s->provider;
}

static void destroy(void *storage)
{
    struct storage *s = storage;
    s->argument->inner->destroy(s->inner);
    free(s);
}

static bool pump(void *storage)
{
    struct storage *s = storage;
    return s->argument->inner->pump(s->inner);
}

static void fail_appends(void *storage, bool on)
{
    struct storage *s = storage;
    th_faulty_plan(s->provider)->fail_log = on ? 1 : 0;
}

struct subject faulty_subject(const char *name, const struct faulty_argument *argument)
{
    return (struct subject){
        .name = name,
        .argument = argument,
        .create = create,
        .open = open_faulty,
        .destroy = destroy,
        .pump = argument->inner->pump ? pump : NULL,
        .fail_appends = fail_appends,
    };
}

#include "contract/half_simulated.h"

#include <stdlib.h>

#include "base/memory.h"
#include "provider/provider.h"

struct half {
    struct th_provider base;
    struct th_sim_world *world;
    struct th_provider *inner;
};

static struct half *half_of(struct th_provider *provider)
{
    return (struct half *)provider; /* its first member */
}

static void settle(struct half *h)
{
    while (th_sim_step(h->world)) {
    }
}

static struct th_provider_traits traits(struct th_provider *p)
{
    return half_of(p)->inner->ops->traits(half_of(p)->inner);
}

static void project(struct th_provider *p, const struct th_projection *batch, uint64_t tag)
{
    struct half *h = half_of(p);
    h->inner->ops->project(h->inner, batch, tag);
    settle(h);
}

static void load(struct th_provider *p, uint32_t partition, struct th_str instance_id, bool history,
                 uint64_t tag)
{
    struct half *h = half_of(p);
    h->inner->ops->load(h->inner, partition, instance_id, history, tag);
    settle(h);
}

static void query(struct th_provider *p, const struct th_query *asked, uint64_t tag)
{
    struct half *h = half_of(p);
    h->inner->ops->query(h->inner, asked, tag);
    settle(h);
}

static void state(struct th_provider *p, uint32_t partition, uint64_t tag)
{
    struct half *h = half_of(p);
    h->inner->ops->state(h->inner, partition, tag);
    settle(h);
}

static size_t poll_inner(struct th_provider *p, struct th_completion *out, size_t max)
{
    return half_of(p)->inner->ops->poll(half_of(p)->inner, out, max);
}

static void close_inner(struct th_provider *p)
{
    struct half *h = half_of(p);
    h->inner->ops->close(h->inner);
    free(h);
}

static const struct th_provider_ops ops = {
    .traits = traits,
    .project = project,
    .load = load,
    .query = query,
    .state = state,
    .poll = poll_inner,
    .close = close_inner,
};

static void relay_wake(void *argument)
{
    th_provider_wake(argument);
}

struct th_provider *half_simulated_open(struct th_sim_world *world, struct th_error *error)
{
    struct th_provider *inner = th_sim_open(world, error);
    if (!inner) {
        return NULL;
    }
    struct half *h = TH_NEW(struct half);
    h->base.ops = &ops;
    h->base.hub = inner->hub;
    h->world = world;
    h->inner = inner;
    inner->wake = relay_wake;
    inner->wake_argument = &h->base;
    return &h->base;
}

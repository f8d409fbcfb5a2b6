#include "worker/spread.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"

struct th_spread {
    struct th_gateway base; /* first */
    _Atomic size_t turn;
    size_t count;
    struct th_gateway *gateways[];
};

/* Starts that name no instance may begin anywhere. */
static size_t choose(struct th_spread *spread, const struct th_command *command)
{
    if (command->instance_id.len > 0)
        return th_partition_of(command->instance_id, spread->base.hub->partitions) % spread->count;
    return command->kind == TH_COMMAND_START ? atomic_fetch_add(&spread->turn, 1) % spread->count
                                             : 0;
}

/* A ticket says which gateway gave it. */
static uint64_t submit(struct th_gateway *gateway, const struct th_command *command,
                       th_reply_fn reply, void *argument)
{
    struct th_spread *spread = (struct th_spread *)gateway;
    size_t index = choose(spread, command);
    struct th_gateway *chosen = spread->gateways[index];
    return chosen->submit(chosen, command, reply, argument) * spread->count + index;
}

static bool cancel(struct th_gateway *gateway, uint64_t ticket)
{
    struct th_spread *spread = (struct th_spread *)gateway;
    struct th_gateway *chosen = spread->gateways[ticket % spread->count];
    return chosen->cancel(chosen, ticket / spread->count);
}

struct th_spread *th_spread_new(struct th_gateway *const *gateways, size_t count)
{
    struct th_spread *spread = th_alloc(sizeof *spread + count * sizeof spread->gateways[0]);
    spread->base = (struct th_gateway){.submit = submit, .cancel = cancel, .hub = gateways[0]->hub};
    spread->count = count;
    for (size_t i = 0; i < count; i++)
        spread->gateways[i] = gateways[i];
    return spread;
}

void th_spread_free(struct th_spread *spread)
{
    free(spread);
}

struct th_gateway *th_spread_gateway(struct th_spread *spread)
{
    return &spread->base;
}

/*
 * spread: one gateway in front of several hosts of a hub. What concerns an instance goes to the
 * host that would own its partition, the rest to the first, or in turn. Any thread.
 */
#pragma once

#include "node/command.h"

struct th_spread;

/* The gateways outlive it; partition p of the hub is gateway p % count's. */
struct th_spread *th_spread_new(struct th_gateway *const *gateways, size_t count);
void th_spread_free(struct th_spread *spread);
struct th_gateway *th_spread_gateway(struct th_spread *spread);

/*
 * connect: a fleet's hub by the addresses of its brokers and of its Redis. Programs open it here;
 * what the two halves are is nobody else's business.
 */
#pragma once

#include "provider/kafka/kafka.h"

/* Opens a hub that exists: errors as for th_kafka_open, and INVALID or UNSUPPORTED for the URL of
 * Redis, which need not answer yet. `options`, and what it points to, and `redis` are borrowed
 * until the provider is closed. Blocks while brokers are asked. */
struct th_provider *th_fleet_connect(const struct th_kafka_options *options, const char *redis,
                                     struct th_error *error);

/* As th_kafka_bar, of a hub opened here. */
void th_fleet_bar(struct th_provider *fleet, const char *reason);

/* Whether the Redis of a hub opened here answers now; any thread. */
bool th_fleet_redis_up(struct th_provider *fleet);

/*
 * fleet: one provider made of two halves. The log half has logs and inboxes (kafka/), the
 * projection half rows, replies and news (redis/). Operations go to the half that has them and
 * their completions come back through one poll; STATE is asked of both and answered once, with the
 * ends from the one and the watermark from the other. No thread of its own; no locks.
 */
#pragma once

#include "provider/contract.h"

/* Takes over both halves: they are closed with the provider returned, which never is NULL. The hub
 * is the log half's, the address for replies the projection half's. */
struct th_provider *th_fleet_open(struct th_provider *log, struct th_provider *projection);

/* The half it was made of. */
struct th_provider *th_fleet_projection(struct th_provider *fleet);
struct th_provider *th_fleet_log_half(struct th_provider *fleet);

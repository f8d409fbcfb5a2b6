/*
 * metrics: what a host can tell of itself in GET /metrics. Any thread; waits for the end of the
 * node's step under way.
 */
#pragma once

#include "worker/counters.h"
#include "worker/host.h"

/* Families of api/metrics.h, those of a process that has a host. `counters` may be NULL. */
void th_host_metrics(struct th_host *host, struct th_counters *counters, struct th_buffer *out);

/*
 * metrics: what a process can tell of its hosts in GET /metrics. Any thread; waits for the end of
 * the nodes' steps under way.
 */
#pragma once

#include "worker/counters.h"
#include "worker/host.h"

/* Families of api/metrics.h, those of a process that has hosts, at least one, all of one hub.
 * `counters` may be NULL. */
void th_host_metrics(struct th_host *const *hosts, size_t count, struct th_counters *counters,
                     struct th_buffer *out);

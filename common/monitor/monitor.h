/*
 * monitor: what can be said of a hub that many processes work on. The brokers know how far its
 * topics reach, the members' heartbeats (control/control.h) who owns what and how far each has
 * come; put together they are the hub's view, its lag and its metrics. Workers and coordinators
 * answer with the same; nobody keeps it.
 *
 *     brokers ──ends, committed offsets──▶ own thread ─┐
 *     control ──members───────────────────────────────▶ merge ──▶ /hub  /lag  /metrics  /readyz
 *     gateway ──positions of what nobody owns─▶ own thread
 *
 * One that keeps house also warns about partitions that stay without an owner, and has the brokers
 * drop activity messages that are processed (inboxes and logs are trimmed by their owners).
 */
#pragma once

#include "api/http.h"
#include "control/control.h"

struct th_monitor;

struct th_monitor_options {
    const struct th_kafka_cluster *cluster; /* borrowed until close, as all that follows */
    const struct th_kafka_hub *hub;         /* copied */
    struct th_control *control;
    struct th_gateway *gateway; /* NULL: where nobody owns a partition, committed offsets are all
                                   there is */
    const struct th_log *log;   /* NULL: silent */
    bool keeps_house;
    bool tells_hub; /* /metrics has the families of the hub */
    /* The families that this process tells of itself; any thread. NULL: none. */
    void (*metrics)(void *argument, struct th_buffer *out);
    void *argument;
};

/* Starts the thread; does not wait for a broker. NULL: INVALID (properties), INTERNAL (no thread).
 */
struct th_monitor *th_monitor_open(const struct th_monitor_options *options,
                                   struct th_error *error);
/* Blocks until a question that is under way is answered or given up, a few seconds at most. No
 * report may be under way. NULL is fine. */
void th_monitor_close(struct th_monitor *monitor);

/* For th_http_start; the server ends before the monitor. */
struct th_http_reports th_monitor_reports(struct th_monitor *monitor);

/* The document of GET /lag, from any thread; blocks, at most five seconds. UNAVAILABLE: no broker
 * answers. */
bool th_monitor_lag(struct th_monitor *monitor, struct th_buffer *out, struct th_error *error);

/* Activity messages that the brokers were asked to drop so far; any thread. */
uint64_t th_monitor_trimmed(struct th_monitor *monitor);

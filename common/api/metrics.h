/*
 * metrics: what GET /metrics says, in Prometheus' text format 0.0.4. The metrics are one table:
 * text, documentation (docs/metrics.md) and tests come from it. Whoever knows figures writes
 * families, in any order but each of them once: begin, then its samples.
 */
#pragma once

#include <stdint.h>

#include "base/buffer.h"

/*
 * name, type, told by, full name, labels, meaning
 * Told by: HUB, once for all processes of a hub (coordinators and the embedded hub; several
 * coordinators say the same); PROCESS, by each process of itself.
 */
#define TH_METRICS(X)                                                                              \
    X(LAG_MESSAGES, GAUGE, HUB, "taskhub_lag_messages", "hub,topic,partition",                     \
      "messages that nobody has processed yet")                                                    \
    X(LAG_SECONDS, GAUGE, HUB, "taskhub_lag_seconds", "hub,topic,partition",                       \
      "age of the oldest of them; 0: there is none")                                               \
    X(TOPIC_END, GAUGE, HUB, "taskhub_topic_end_offset", "hub,topic,partition",                    \
      "offset of the next message")                                                                \
    X(TOPIC_POSITION, GAUGE, HUB, "taskhub_topic_position_offset", "hub,topic,partition",          \
      "offset below which everything is processed")                                                \
    X(QUEUED, GAUGE, HUB, "taskhub_queued_activities", "hub",                                      \
      "activities that workers have taken and that wait there for a free thread")                  \
    X(QUEUED_SECONDS, GAUGE, HUB, "taskhub_queued_activities_seconds", "hub",                      \
      "how long the first of them has waited")                                                     \
    X(OWNER, GAUGE, HUB, "taskhub_partition_owner_info", "hub,partition,owner",                    \
      "1 for the process that owns the partition")                                                 \
    X(EPOCH, GAUGE, HUB, "taskhub_partition_epoch", "hub,partition",                               \
      "log offset of the claim under which it is owned; it grows with each new owner")             \
    X(UNOWNED, GAUGE, HUB, "taskhub_partitions_without_owner", "hub",                              \
      "partitions that nobody owns now")                                                           \
    X(MEMBERS, GAUGE, HUB, "taskhub_members", "hub,kind", "processes that work on the hub")        \
    X(UNSERVED, GAUGE, HUB, "taskhub_unserved_work", "hub,kind,function",                          \
      "work that waits because nobody serves its function")                                        \
    X(BUILD, GAUGE, PROCESS, "taskhub_build_info", "version", "1 for the version that runs")       \
    X(RESIDENT, GAUGE, PROCESS, "process_resident_memory_bytes", "", "memory in use")              \
    X(CPU, COUNTER, PROCESS, "process_cpu_seconds_total", "", "processor time, user and system")   \
    X(START, GAUGE, PROCESS, "process_start_time_seconds", "", "start, in seconds since 1970")     \
    X(FILES, GAUGE, PROCESS, "process_open_fds", "", "open files and sockets")                     \
    X(REQUESTS, COUNTER, PROCESS, "taskhub_function_requests_total", "hub,kind,function",          \
      "episodes of an orchestrator, or attempts at an activity, that have ended")                  \
    X(ERRORS, COUNTER, PROCESS, "taskhub_function_errors_total", "hub,kind,function",              \
      "of these, those that failed")                                                               \
    X(LATENCY, HISTOGRAM, PROCESS, "taskhub_function_duration_seconds", "hub,kind,function",       \
      "how long they took, by the function's own time")                                            \
    X(RUNNING, GAUGE, PROCESS, "taskhub_function_running", "hub,kind,function", "under way now")   \
    X(WAITING, GAUGE, PROCESS, "taskhub_function_waiting", "hub,kind,function",                    \
      "taken, and waiting for a free thread or the function's limit")                              \
    X(OWNED, GAUGE, PROCESS, "taskhub_partitions_owned", "hub", "partitions this process owns")    \
    X(INSTANCES, GAUGE, PROCESS, "taskhub_instances_in_memory", "hub",                             \
      "instances of its partitions that are in memory")                                            \
    X(PENDING, GAUGE, PROCESS, "taskhub_activities_pending", "hub",                                \
      "activities that were scheduled by them and have not completed")                             \
    X(TIMERS, GAUGE, PROCESS, "taskhub_timers_pending", "hub", "timers that are not due yet")      \
    X(UNPROJECTED, GAUGE, PROCESS, "taskhub_instances_unprojected", "hub",                         \
      "instances whose rows the projection does not have yet")                                     \
    X(REBUILDING, GAUGE, PROCESS, "taskhub_projections_rebuilding", "hub",                         \
      "partitions whose projection is being made again from the log")                              \
    X(HELD_BACK, GAUGE, PROCESS, "taskhub_partitions_held_back", "hub",                            \
      "partitions that take nothing in until the projection follows")                              \
    X(COMMANDS, GAUGE, PROCESS, "taskhub_commands_waiting", "hub",                                 \
      "clients that wait for answers")                                                             \
    X(EPISODES, COUNTER, PROCESS, "taskhub_episodes_total", "hub", "episodes of orchestrators")    \
    X(REPLAYS, COUNTER, PROCESS, "taskhub_replays_total", "hub",                                   \
      "episodes that began with a replay of the instance's history")                               \
    X(RECORDS, COUNTER, PROCESS, "taskhub_records_total", "hub", "records appended to logs")       \
    X(MESSAGES, COUNTER, PROCESS, "taskhub_messages_total", "hub", "messages taken from inboxes")  \
    X(ACTIVITIES, COUNTER, PROCESS, "taskhub_activities_total", "hub", "activities started")       \
    X(LOADS, COUNTER, PROCESS, "taskhub_loads_total", "hub",                                       \
      "instances that came back into memory")                                                      \
    X(EVICTIONS, COUNTER, PROCESS, "taskhub_evictions_total", "hub", "instances that left memory") \
    X(PROJECTIONS, COUNTER, PROCESS, "taskhub_projections_total", "hub",                           \
      "batches of rows sent to the projection")                                                    \
    X(REBUILDS, COUNTER, PROCESS, "taskhub_rebuilds_total", "hub",                                 \
      "projections that were begun to be made again from a log")                                   \
    X(SNAPSHOTS, COUNTER, PROCESS, "taskhub_snapshots_total", "hub",                               \
      "instances that were copied forward so that a log could be cut")                             \
    X(CLEANINGS, COUNTER, PROCESS, "taskhub_cleanings_total", "hub", "logs that were cut")         \
    X(LEASES_TAKEN, COUNTER, PROCESS, "taskhub_leases_taken_total", "hub",                         \
      "partitions that became this process's")                                                     \
    X(LEASES_LOST, COUNTER, PROCESS, "taskhub_leases_lost_total", "hub",                           \
      "partitions that it lost without having given them up")                                      \
    X(KAFKA_UP, GAUGE, PROCESS, "taskhub_kafka_up", "hub",                                         \
      "1: the brokers take this process's heartbeats")                                             \
    X(REDIS_UP, GAUGE, PROCESS, "taskhub_redis_up", "hub", "1: Redis answers")                     \
    X(PURGED, COUNTER, PROCESS, "taskhub_purged_instances_total", "hub",                           \
      "instances that this coordinator's purge policy removed")                                    \
    X(TRIMMED, COUNTER, PROCESS, "taskhub_trimmed_activity_messages_total", "hub",                 \
      "processed activity messages that this coordinator had the brokers drop")

enum th_metric {
#define X(name, ...) TH_METRIC_##name,
    TH_METRICS(X)
#undef X
        TH_METRIC_COUNT
};

#define TH_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The lines above a family's samples. */
void th_metric_begin(struct th_buffer *out, enum th_metric metric);
/* One sample; `labels`: a value for each of the metric's labels, in their order. */
void th_metric_add(struct th_buffer *out, enum th_metric metric, const char *const *labels,
                   double value);
/* A family with a single sample, whose one label is the hub. */
void th_metric_one(struct th_buffer *out, enum th_metric metric, const char *hub, double value);

/* A histogram's buckets: bounds[i] is the upper bound of counts[i], which holds what is above the
 * bound before; counts[bounds] holds the rest. */
struct th_metric_histogram {
    const double *bounds;
    size_t bound_count;
    const uint64_t *counts;
    double sum;
};
void th_metric_add_histogram(struct th_buffer *out, enum th_metric metric,
                             const char *const *labels,
                             const struct th_metric_histogram *histogram);

/* The families about this process that the operating system knows: its memory, its time, … */
void th_metrics_process(struct th_buffer *out);

const char *th_metric_name(enum th_metric metric);
/* All metrics: a markdown table. */
void th_metrics_document(struct th_buffer *out);

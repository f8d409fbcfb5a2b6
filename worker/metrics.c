#include "worker/metrics.h"

#include "api/metrics.h"
#include "base/memory.h"

/* metric, field of struct th_node_stats */
#define FIGURES(X)                 \
    X(OWNED, owned)                \
    X(INSTANCES, instances)        \
    X(PENDING, pending_activities) \
    X(TIMERS, timers)              \
    X(UNPROJECTED, unprojected)    \
    X(REBUILDING, rebuilding)      \
    X(HELD_BACK, held_back)        \
    X(COMMANDS, waiting_commands)  \
    X(EPISODES, episodes)          \
    X(REPLAYS, replays)            \
    X(RECORDS, records)            \
    X(MESSAGES, messages)          \
    X(ACTIVITIES, activities)      \
    X(LOADS, loads)                \
    X(EVICTIONS, evictions)        \
    X(PROJECTIONS, projections)    \
    X(REBUILDS, rebuilds)          \
    X(SNAPSHOTS, snapshots)        \
    X(CLEANINGS, cleanings)        \
    X(LEASES_TAKEN, leases_taken)  \
    X(LEASES_LOST, leases_lost)

static double seconds_of(uint64_t microseconds)
{
    return (double)microseconds / TH_SECOND;
}

static void put_latency(struct th_buffer *out, const char *const *labels,
                        const struct th_counter_values *v)
{
    double bounds[TH_COUNTER_BUCKETS - 1];
    for (size_t i = 0; i < TH_COUNTER_BUCKETS - 1; i++)
        bounds[i] = seconds_of((uint64_t)th_counter_bounds[i]);
    const struct th_metric_histogram histogram = {.bounds = bounds,
                                                  .bound_count = TH_COUNTER_BUCKETS - 1,
                                                  .counts = v->buckets,
                                                  .sum = seconds_of(v->latency_sum)};
    th_metric_add_histogram(out, TH_METRIC_LATENCY, labels, &histogram);
}

static void put_function(struct th_buffer *out, enum th_metric metric, const char *const *labels,
                         const struct th_counter_values *v)
{
    switch (metric) {
    case TH_METRIC_REQUESTS:
        th_metric_add(out, metric, labels, (double)v->requests);
        break;
    case TH_METRIC_ERRORS:
        th_metric_add(out, metric, labels, (double)v->errors);
        break;
    case TH_METRIC_RUNNING:
        th_metric_add(out, metric, labels, (double)v->running);
        break;
    case TH_METRIC_WAITING:
        th_metric_add(out, metric, labels, (double)v->waiting);
        break;
    default:
        put_latency(out, labels, v);
    }
}

static void put_functions(struct th_buffer *out, enum th_metric metric, const char *hub,
                          struct th_counters *counters)
{
    size_t count = counters ? th_counters_count(counters) : 0;
    th_metric_begin(out, metric);
    for (size_t i = 0; i < count; i++) {
        TH_ARENA arena = {NULL, NULL, NULL, 0};
        struct th_counter_values values;
        th_counters_read(counters, i, false, &values);
        const char *const labels[] = {hub, th_function_kind_text(values.kind),
                                      th_arena_format(&arena, "%.*s", TH_PRI(values.name)).data};
        put_function(out, metric, labels, &values);
    }
}

static void add_up(struct th_host *const *hosts, size_t count, struct th_node_stats *sum)
{
    *sum = (struct th_node_stats){0};
    for (size_t i = 0; i < count; i++) {
        struct th_node_stats stats;
        th_host_stats(hosts[i], &stats);
#define X(metric, field) sum->field += stats.field;
        FIGURES(X)
#undef X
    }
}

void th_host_metrics(struct th_host *const *hosts, size_t count, struct th_counters *counters,
                     struct th_buffer *out)
{
    static const enum th_metric of_functions[] = {TH_METRIC_REQUESTS, TH_METRIC_ERRORS,
                                                  TH_METRIC_LATENCY, TH_METRIC_RUNNING,
                                                  TH_METRIC_WAITING};
    const char *hub = th_host_gateway(hosts[0])->hub->name;
    struct th_node_stats stats;
    add_up(hosts, count, &stats);
#define X(metric, field) th_metric_one(out, TH_METRIC_##metric, hub, (double)stats.field);
    FIGURES(X)
#undef X
    for (size_t i = 0; i < TH_COUNT(of_functions); i++)
        put_functions(out, of_functions[i], hub, counters);
}

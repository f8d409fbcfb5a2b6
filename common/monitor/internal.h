/*
 * internal: the monitor's thread and what it has found. Not for others.
 *
 *   monitor.c  opening, closing, the thread, and whoever waits for it
 *   look.c     one look: what the brokers and the gateway say
 *   merge.c    a look and the heartbeats become a picture
 *   house.c    what is to be done about it
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/memory.h"
#include "monitor/merge.h"
#include "monitor/monitor.h"
#include "provider/kafka/survey.h"

/* What one look has found; never changes after that. */
struct th_monitor_look {
    atomic_int references;
    struct th_monitor_topic topics[2]; /* by enum th_lag_topic */
    struct th_arena arena;
};

/* Of a partition without an owner. */
struct th_monitor_lease {
    th_time unowned; /* since when, monotonic; TH_TIME_NONE: it has an owner */
    bool told;
};

struct th_monitor {
    struct th_monitor_options options;
    struct th_kafka_cluster cluster; /* with less patience */
    struct th_kafka_hub hub;
    struct th_kafka_survey *survey;
    pthread_t thread;
    _Atomic uint64_t trimmed;

    pthread_mutex_t lock; /* guards the following */
    pthread_cond_t changed;
    bool stopping;
    uint64_t asked, answered;       /* looks: wanted by somebody; of which the last answer is */
    struct th_monitor_look *latest; /* NULL: it failed, see `error` */
    struct th_error error;

    /* the thread's only */
    struct th_monitor_lease *leases;
    int64_t *kept; /* first offset of each activity partition, as far as this process had it cut */
    th_time trim_at, watch_at;
    bool trouble_told;
};

/* ---- look.c: on the thread ---- */

/* NULL: no broker answers. */
struct th_monitor_look *th_monitor_look_new(struct th_monitor *monitor, struct th_error *error);
void th_monitor_look_unref(struct th_monitor_look *look); /* NULL is fine; any thread */

/* ---- house.c: on the thread ---- */

/* Warns of partitions that have been without an owner for too long, once each. */
void th_monitor_watch_leases(struct th_monitor *monitor, th_time now);
void th_monitor_trim(struct th_monitor *monitor);

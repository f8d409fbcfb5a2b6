/*
 * counters: what each function of an application did, since the process began, for heartbeats and
 * metrics. Any thread; nothing is locked, so the figures of one moment may differ by one.
 */
#pragma once

#include "base/clock.h"
#include "sdk/application.h"

struct th_counters;
struct th_counter; /* of one function */

/* Upper bounds of the latency buckets, in microseconds; above the last there is one more. */
#define TH_COUNTER_BOUNDS                                                                     \
    1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, \
        10000000, 30000000, 60000000, 300000000
#define TH_COUNTER_BUCKETS 17
extern const th_time th_counter_bounds[TH_COUNTER_BUCKETS - 1];

/* Of the functions that `app` has, which outlives the counters; NULL: none. */
struct th_counters *th_counters_new(const struct th_app *app);
void th_counters_free(struct th_counters *counters);

/* NULL: there is no such function. A NULL counter counts nothing, in every call below. */
struct th_counter *th_counters_find(struct th_counters *counters, enum th_function_kind kind,
                                    struct th_str name);

void th_counter_wait(struct th_counter *counter);               /* it was taken, and waits */
void th_counter_begin(struct th_counter *counter, bool waited); /* … and waits no longer */
void th_counter_drop(struct th_counter *counter);               /* it waited in vain */
void th_counter_end(struct th_counter *counter, th_time took, bool failed);

struct th_counter_values {
    enum th_function_kind kind;
    struct th_str name; /* lives as long as the application */
    uint64_t requests, errors, latency_sum, running, waiting;
    uint64_t latency_max; /* since the last reading but one that was a report */
    uint64_t buckets[TH_COUNTER_BUCKETS];
};
size_t th_counters_count(const struct th_counters *counters);
/* `report`: the reader is the one from whose readings the maximum counts. */
void th_counters_read(struct th_counters *counters, size_t index, bool report,
                      struct th_counter_values *out);

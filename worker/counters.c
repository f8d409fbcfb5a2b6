#include "worker/counters.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/memory.h"

const th_time th_counter_bounds[TH_COUNTER_BUCKETS - 1] = {TH_COUNTER_BOUNDS};

struct th_counter {
    _Atomic uint64_t requests, errors, latency_sum;
    _Atomic int64_t running, waiting;
    _Atomic int64_t max, max_before; /* since the last report; between the two before */
    _Atomic uint64_t buckets[TH_COUNTER_BUCKETS];
};

static const enum th_function_kind kinds[] = {TH_FUNCTION_ORCHESTRATOR, TH_FUNCTION_ENTITY,
                                              TH_FUNCTION_ACTIVITY};

/* Kind by kind, each in the application's order. */
struct th_counters {
    const struct th_app *app;
    size_t count;
    struct th_counter items[];
};

struct th_counters *th_counters_new(const struct th_app *app)
{
    size_t count = 0;
    for (size_t k = 0; app && k < TH_COUNT(kinds); k++)
        count += th_app_function_count(app, kinds[k]);
    struct th_counters *counters = th_alloc(sizeof(*counters) + count * sizeof(counters->items[0]));
    counters->app = app;
    counters->count = count;
    return counters;
}

void th_counters_free(struct th_counters *counters)
{
    free(counters);
}

struct th_counter *th_counters_find(struct th_counters *counters, enum th_function_kind kind,
                                    struct th_str name)
{
    if (!counters || !counters->app)
        return NULL;
    size_t index = th_app_function_index(counters->app, kind, name);
    if (index == SIZE_MAX)
        return NULL;
    for (size_t k = 0; kinds[k] != kind; k++)
        index += th_app_function_count(counters->app, kinds[k]);
    return &counters->items[index];
}

/* ---- counting -------------------------------------------------------------------------------- */

void th_counter_wait(struct th_counter *counter)
{
    if (counter)
        atomic_fetch_add_explicit(&counter->waiting, 1, memory_order_relaxed);
}

void th_counter_drop(struct th_counter *counter)
{
    if (counter)
        atomic_fetch_sub_explicit(&counter->waiting, 1, memory_order_relaxed);
}

void th_counter_begin(struct th_counter *counter, bool waited)
{
    if (!counter)
        return;
    if (waited)
        th_counter_drop(counter);
    atomic_fetch_add_explicit(&counter->running, 1, memory_order_relaxed);
}

static void raise_to(_Atomic int64_t *max, int64_t value)
{
    int64_t known = atomic_load_explicit(max, memory_order_relaxed);
    while (value > known && !atomic_compare_exchange_weak(max, &known, value)) {
    }
}

static size_t bucket_of(th_time took)
{
    size_t i = 0;
    while (i < TH_COUNTER_BUCKETS - 1 && took > th_counter_bounds[i])
        i++;
    return i;
}

void th_counter_end(struct th_counter *counter, th_time took, bool failed)
{
    if (!counter)
        return;
    took = took > 0 ? took : 0;
    atomic_fetch_sub_explicit(&counter->running, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counter->requests, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counter->errors, failed, memory_order_relaxed);
    atomic_fetch_add_explicit(&counter->latency_sum, (uint64_t)took, memory_order_relaxed);
    atomic_fetch_add_explicit(&counter->buckets[bucket_of(took)], 1, memory_order_relaxed);
    raise_to(&counter->max, took);
}

/* ---- reading --------------------------------------------------------------------------------- */

size_t th_counters_count(const struct th_counters *counters)
{
    return counters ? counters->count : 0;
}

static uint64_t longest(struct th_counter *counter, bool report)
{
    int64_t before = atomic_load(&counter->max_before);
    int64_t now = report ? atomic_exchange(&counter->max, 0) : atomic_load(&counter->max);
    if (report)
        atomic_store(&counter->max_before, now);
    return (uint64_t)(now > before ? now : before);
}

static uint64_t not_negative(int64_t value)
{
    return value > 0 ? (uint64_t)value : 0;
}

void th_counters_read(struct th_counters *counters, size_t index, bool report,
                      struct th_counter_values *out)
{
    struct th_counter *counter = &counters->items[index];
    size_t k = 0;
    size_t of_kind = index;
    for (size_t n; of_kind >= (n = th_app_function_count(counters->app, kinds[k])); k++)
        of_kind -= n;
    *out = (struct th_counter_values){
        .kind = kinds[k],
        .name = th_app_function_name(counters->app, kinds[k], of_kind),
        .requests = atomic_load(&counter->requests),
        .errors = atomic_load(&counter->errors),
        .latency_sum = atomic_load(&counter->latency_sum),
        .running = not_negative(atomic_load(&counter->running)),
        .waiting = not_negative(atomic_load(&counter->waiting)),
        .latency_max = longest(counter, report),
    };
    for (size_t i = 0; i < TH_COUNTER_BUCKETS; i++)
        out->buckets[i] = atomic_load(&counter->buckets[i]);
}

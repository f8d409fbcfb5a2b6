/*
 * Workloads about what a hub keeps: instances that sleep, a projection that is made again from the
 * logs, and how soon a start shows in the lag.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/bench_fleet.h"
#include "monitor/monitor.h"
#include "provider/redis/redis.h"

#define START_WINDOW  512 /* starts under way */
#define WAKE_SAMPLES  200
#define LAG_SAMPLES   100
#define CATCH_UP_TIME (600 * TH_SECOND)

#define PREFIX_SIZE 40

/* Of the ids of this run: what an earlier one left in the hub must not be taken for it. */
static void make_prefix(char out[static PREFIX_SIZE], const char *kind)
{
    snprintf(out, PREFIX_SIZE, "%s-%" PRIx64 "-", kind, (uint64_t)th_now());
}

/* ---- many starts, answered when durable ------------------------------------------------------ */

struct starter {
    struct bench *bench;
    const char *orchestrator, *prefix;
    int64_t next, count;
};

static void start_next(struct starter *s);

static void on_started(void *argument, const struct th_reply *reply)
{
    struct starter *s = argument;
    struct bench *b = s->bench;
    if (reply->error.code != TH_OK)
        bench_fail(b, reply->error.message);
    start_next(s);
    if (--b->outstanding == 0)
        th_queue_wake(&b->wake);
}

static void start_next(struct starter *s)
{
    char id[64];
    if (s->next >= s->count)
        return;
    snprintf(id, sizeof id, "%s%" PRId64, s->prefix, s->next++);
    struct th_command command = bench_command(TH_COMMAND_START, id);
    command.name = th_str_of(s->orchestrator);
    command.reuse = TH_REUSE_ANY;
    s->bench->outstanding++;
    s->bench->gateway->submit(s->bench->gateway, &command, on_started, s);
}

/* Replies come on the node's thread, so the first ones have to go there, too: all starts but these
 * follow from replies, one at a time. */
static bool start_many(struct bench *b, const char *orchestrator, const char *prefix, int64_t count)
{
    struct starter starters[START_WINDOW];
    b->outstanding++;
    for (int64_t i = 0; i < START_WINDOW; i++) {
        starters[i] = (struct starter){.bench = b,
                                       .orchestrator = orchestrator,
                                       .prefix = prefix,
                                       .next = count * i / START_WINDOW,
                                       .count = count * (i + 1) / START_WINDOW};
        start_next(&starters[i]);
    }
    b->outstanding--;
    return bench_wait_all(b, th_monotonic() + CATCH_UP_TIME) && b->failed == 0;
}

/* Each instance is in the state, as its row says; asked of the last started of each stretch. */
static bool await_status(struct bench *b, const char *prefix, int64_t count, enum th_status wanted)
{
    th_time deadline = th_monotonic() + CATCH_UP_TIME;
    for (int64_t i = 1; i <= START_WINDOW; i++) {
        char id[64];
        struct bench_answer answer;
        snprintf(id, sizeof id, "%s%" PRId64, prefix, count * i / START_WINDOW - 1);
        const struct th_command look = bench_command(TH_COMMAND_STATUS, id);
        while (bench_ask(b, &look, &answer) && answer.status != wanted) {
            if (th_monotonic() > deadline)
                return false;
            bench_pause(b, 10 * TH_MILLISECOND);
        }
        if (answer.error.code != TH_OK)
            return false;
    }
    return true;
}

/* ---- sleepers -------------------------------------------------------------------------------- */

static bool wake_one(struct bench *b, const char *prefix, int64_t number)
{
    char id[64];
    struct bench_answer answer;
    snprintf(id, sizeof id, "%s%" PRId64, prefix, number);
    struct th_command raise = bench_command(TH_COMMAND_RAISE, id);
    const struct th_command wait = bench_command(TH_COMMAND_WAIT, id);
    raise.name = TH_STR("wake");
    raise.data = TH_STR("null");
    th_time began = th_monotonic();
    if (!bench_ask(b, &raise, &answer) || !bench_ask(b, &wait, &answer))
        return false;
    bench_sample(b, th_monotonic() - began);
    b->completed++;
    return answer.status == TH_STATUS_COMPLETED;
}

bool bench_sleepers(struct bench *b)
{
    int64_t count = bench_given(b->options->count, 100000);
    int64_t woken = count < WAKE_SAMPLES ? count : WAKE_SAMPLES;
    double before = bench_resident_mb(b);
    char prefix[PREFIX_SIZE];
    make_prefix(prefix, "sleeper");
    th_time began = th_monotonic();
    bool ok = count >= START_WINDOW && start_many(b, "sleeper", prefix, count) &&
              await_status(b, prefix, count, TH_STATUS_RUNNING);
    double starting = bench_seconds_since(began);
    double asleep = bench_resident_mb(b);
    began = th_monotonic();
    for (int64_t i = 0; ok && i < woken; i++)
        ok = wake_one(b, prefix, count / woken * i);
    b->seconds = bench_seconds_since(began);
    json_object_set_new(b->extra, "sleepers", json_integer(count));
    bench_figure(b, "starts_per_second", (double)count / starting);
    bench_figure(b, "resident_mb", asleep);
    bench_figure(b, "bytes_per_sleeper", (asleep - before) * 1024 * 1024 / (double)count);
    if (!ok)
        bench_fail(b, "not all sleepers slept, or woke");
    return b->outstanding == 0;
}

/* ---- cold-rebuild ---------------------------------------------------------------------------- */

static bool await_projection(struct bench *b, bool wanted, struct bench_answer *answer)
{
    const struct th_command hub = bench_command(TH_COMMAND_HUB, "");
    th_time deadline = th_monotonic() + CATCH_UP_TIME;
    while (bench_ask(b, &hub, answer) && answer->projected != wanted) {
        if (th_monotonic() > deadline)
            return false;
        bench_pause(b, 5 * TH_MILLISECOND);
    }
    return answer->error.code == TH_OK;
}

static bool empty_redis(struct bench *b)
{
    struct th_error error;
    const struct th_redis_options redis = {.url = b->fleet->place.place.redis};
    if (th_redis_drop_hub(&redis, &b->fleet->hub.record, &error))
        return true;
    bench_fail(b, error.message);
    return false;
}

bool bench_cold_rebuild(struct bench *b)
{
    struct bench_answer answer = {.bench = b};
    int64_t count = bench_given(b->options->count, 100000);
    char prefix[PREFIX_SIZE];
    make_prefix(prefix, "cold");
    bool ok = count >= START_WINDOW && start_many(b, "child", prefix, count) &&
              await_status(b, prefix, count, TH_STATUS_COMPLETED) &&
              await_projection(b, true, &answer);
    th_time began = th_monotonic();
    ok = ok && empty_redis(b) && await_projection(b, true, &answer);
    b->seconds = bench_seconds_since(began);
    b->completed = ok ? count : 0;
    json_object_set_new(b->extra, "instances", json_integer(count));
    bench_figure(b, "log_records", answer.log_records);
    bench_figure(b, "records_per_second", b->seconds > 0 ? answer.log_records / b->seconds : 0);
    if (!ok)
        bench_fail(b, "the projection was not made again in time");
    return b->outstanding == 0;
}

/* ---- lag ------------------------------------------------------------------------------------- */

static double field(const json_t *lag, const char *name)
{
    return json_number_value(json_object_get(json_object_get(lag, "totals"), name));
}

/* Ends of the inboxes, together, as the monitor sees them; and what of it is not processed. */
static bool look(struct bench *b, struct th_monitor *monitor, double *ends, double *behind)
{
    struct th_error error;
    TH_BUFFER text = {NULL, 0, 0};
    size_t i;
    json_t *row;
    if (!th_monitor_lag(monitor, &text, &error)) {
        bench_fail(b, error.message);
        return false;
    }
    json_auto_t *lag = json_loadb(text.data, text.len, 0, NULL);
    *ends = 0;
    *behind = field(lag, "instances");
    json_array_foreach(json_object_get(lag, "partitions"), i, row) {
        if (strcmp(json_string_value(json_object_get(row, "topic")), "instances") == 0)
            *ends += json_number_value(json_object_get(row, "end"));
    }
    return true;
}

static void on_lag_started(void *argument, const struct th_reply *reply)
{
    struct bench *b = argument;
    if (reply->error.code != TH_OK)
        bench_fail(b, reply->error.message);
    if (--b->outstanding == 0)
        th_queue_wake(&b->wake);
}

/* From the moment a client asks for a start until the monitor's figures have it. */
static bool sample_lag(struct bench *b, struct th_monitor *monitor, int64_t *seen_behind)
{
    double before, ends, behind;
    struct th_command start = bench_command(TH_COMMAND_START, "");
    start.instance_id = TH_STR_ABSENT;
    start.name = TH_STR("child");
    if (!look(b, monitor, &before, &behind))
        return false;
    th_time began = th_monotonic();
    b->outstanding++;
    b->gateway->submit(b->gateway, &start, on_lag_started, b);
    do {
        if (!look(b, monitor, &ends, &behind))
            return false;
    } while (ends == before && th_monotonic() < began + 10 * TH_SECOND);
    bench_sample(b, th_monotonic() - began);
    *seen_behind += behind > 0;
    b->completed++;
    return bench_wait_all(b, th_monotonic() + 10 * TH_SECOND) && ends > before;
}

bool bench_lag(struct bench *b)
{
    struct bench_fleet *fleet = b->fleet;
    struct th_error error;
    int64_t behind = 0;
    const struct th_monitor_options options = {
        .cluster = &fleet->place.place.cluster, .hub = &fleet->hub, .control = fleet->control};
    struct th_monitor *monitor = th_monitor_open(&options, &error);
    th_time began = th_monotonic();
    bool ok = monitor != NULL;
    for (int64_t i = 0; ok && i < bench_given(b->options->count, LAG_SAMPLES); i++)
        ok = sample_lag(b, monitor, &behind);
    b->seconds = bench_seconds_since(began);
    th_monitor_close(monitor);
    json_object_set_new(b->extra, "seen_unprocessed", json_integer(behind));
    if (!ok)
        bench_fail(b, "a start did not show in the lag");
    return b->outstanding == 0;
}

/*
 * Workloads that are no closed loop: timers that are all pending at once, and one instance with a
 * history that grows long.
 */
#include "cli/bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* ---- timers ---------------------------------------------------------------------------------- */

struct timer_client {
    struct bench_client client;
    char input[24];
};

/* They are due evenly over `spread`, the first one when all of them should have been started. */
static void start_timers(struct bench *b, struct timer_client *all, int64_t count, th_time first,
                         th_time spread)
{
    for (int64_t i = 0; i < count; i++) {
        th_time due = first + spread / count * i;
        struct timer_client *t = &all[i];
        snprintf(t->input, sizeof t->input, "%" PRId64, due);
        t->client = (struct bench_client){.bench = b,
                                          .orchestrator = "timer",
                                          .input = t->input,
                                          .input_len = strlen(t->input),
                                          .due = due,
                                          .once = true};
        bench_client_start(&t->client);
    }
}

bool bench_timers(struct bench *b)
{
    int64_t count = bench_given(b->options->count, 100000);
    th_time spread = bench_given(b->options->seconds, 60) * TH_SECOND;
    th_time head_start = 2 * TH_SECOND + count * (TH_SECOND / 4000);
    if (count < 1)
        return false;
    TH_AUTOFREE struct timer_client *all = th_alloc((size_t)count * sizeof *all);
    double before = bench_resident_mb(b);
    th_time began = th_monotonic();
    b->measuring = true;
    start_timers(b, all, count, th_now() + head_start, spread);
    bench_sleep_until(b, began + head_start);
    double pending = bench_resident_mb(b);
    bool ended = bench_wait_all(b, began + head_start + spread + 60 * TH_SECOND);
    b->measuring = false;
    b->seconds = bench_seconds_since(began + head_start);
    json_object_set_new(b->extra, "timers", json_integer(count));
    bench_figure(b, "bytes_per_timer", (pending - before) * 1024 * 1024 / (double)count);
    return ended;
}

/* ---- long-history ---------------------------------------------------------------------------- */

static int64_t per_step(const struct th_event *events, size_t count, size_t from, size_t to)
{
    size_t steps = 0;
    th_time first = TH_TIME_NONE;
    th_time last = TH_TIME_NONE;
    for (size_t i = from; i < to && i < count; i++) {
        if (events[i].kind != TH_EVENT_TASK_SCHEDULED)
            continue;
        if (first == TH_TIME_NONE)
            first = events[i].timestamp;
        last = events[i].timestamp;
        steps++;
    }
    return steps > 1 ? (last - first) / (int64_t)(steps - 1) : 0;
}

static void sample_steps(struct bench *b, const struct th_events *history)
{
    th_time last = TH_TIME_NONE;
    for (size_t i = 0; i < history->count; i++) {
        if (history->items[i].kind != TH_EVENT_TASK_SCHEDULED)
            continue;
        if (last != TH_TIME_NONE)
            bench_sample(b, history->items[i].timestamp - last);
        last = history->items[i].timestamp;
        b->completed++;
    }
}

/* Where a shared hub's projection has lost rows or is made again, positions are not known. */
static void keep_hub(struct bench_answer *a, const struct th_hub_view *hub)
{
    a->projected = true;
    for (uint32_t p = 0; p < hub->record.partitions; p++) {
        const struct th_hub_partition_view *v = &hub->partitions[p];
        a->inbox_end += v->inbox_end;
        a->log_records += (double)(v->log_end - v->log_start);
        a->projected = a->projected && v->inbox_position >= 0;
    }
}

static void keep(struct bench_answer *a, const struct th_reply *reply)
{
    a->error = reply->error;
    snprintf(a->id, sizeof a->id, "%.*s", TH_PRI(reply->instance_id));
    if (reply->info) {
        a->status = reply->info->status;
        a->ready = th_str_eq(reply->info->custom_status, TH_STR("\"ready\""));
    }
    if (reply->hub)
        keep_hub(a, reply->hub);
    if (reply->history.count) {
        size_t n = reply->history.count;
        a->early = per_step(reply->history.items, n, 0, n / 10);
        a->late = per_step(reply->history.items, n, n - n / 10, n);
        sample_steps(a->bench, &reply->history);
    }
}

static void on_answer(void *argument, const struct th_reply *reply)
{
    struct bench_answer *a = argument;
    keep(a, reply);
    if (--a->bench->outstanding == 0)
        th_queue_wake(&a->bench->wake);
}

bool bench_ask(struct bench *b, const struct th_command *command, struct bench_answer *out)
{
    *out = (struct bench_answer){.bench = b};
    b->outstanding++;
    b->gateway->submit(b->gateway, command, on_answer, out);
    bench_wait_all(b, th_monotonic() + 600 * TH_SECOND);
    if (out->error.code != TH_OK)
        bench_fail(b, out->error.message);
    return out->error.code == TH_OK;
}

struct th_command bench_command(enum th_command_kind kind, const char *id)
{
    return (struct th_command){.kind = kind,
                               .instance_id = th_str_of(id),
                               .start_at = TH_TIME_NONE,
                               .deadline = TH_TIME_NONE};
}

static bool start_long(struct bench *b, int64_t steps)
{
    char input[24];
    struct bench_answer answer;
    struct th_command command = bench_command(TH_COMMAND_START, "long");
    snprintf(input, sizeof input, "%" PRId64, steps);
    command.name = TH_STR("long_history");
    command.data = th_str_of(input);
    command.reuse = TH_REUSE_ANY;
    return bench_ask(b, &command, &answer);
}

/* Asks now and then; the last step is seen within 20 ms of it. */
static bool wait_until_ready(struct bench *b)
{
    struct bench_answer answer;
    struct th_command command = bench_command(TH_COMMAND_STATUS, "long");
    do {
        th_queue_wait(&b->wake, th_monotonic() + 20 * TH_MILLISECOND);
        if (!bench_ask(b, &command, &answer) || th_status_terminal(answer.status))
            return false;
    } while (!answer.ready);
    return true;
}

/* A new process's first episode: load, replay, one event. */
static bool wake_cold(struct bench *b, double *seconds)
{
    struct th_error error;
    struct bench_answer answer;
    struct th_command raise = bench_command(TH_COMMAND_RAISE, "long");
    struct th_command wait = bench_command(TH_COMMAND_WAIT, "long");
    if (!bench_close(b) || !bench_open(b, &error))
        return false;
    raise.name = TH_STR("go");
    raise.data = TH_STR("null");
    th_time began = th_monotonic();
    bool ok = bench_ask(b, &raise, &answer) && bench_ask(b, &wait, &answer);
    *seconds = bench_seconds_since(began);
    return ok && answer.status == TH_STATUS_COMPLETED;
}

bool bench_long_history(struct bench *b)
{
    struct bench_answer answer;
    double cold = 0;
    int64_t events = bench_given(b->options->count, 100000);
    struct th_command history = bench_command(TH_COMMAND_STATUS, "long");
    history.history = true;
    th_time began = th_monotonic();
    bool ok = start_long(b, events / 4) && wait_until_ready(b); /* a step leaves four events */
    b->seconds = bench_seconds_since(began);
    ok = ok && bench_ask(b, &history, &answer);
    int64_t early = answer.early;
    int64_t late = answer.late;
    ok = ok && wake_cold(b, &cold);
    json_object_set_new(b->extra, "events", json_integer(events));
    bench_figure(b, "first_tenth_step_ms", (double)early / 1000);
    bench_figure(b, "last_tenth_step_ms", (double)late / 1000);
    bench_figure(b, "cold_load_ms", cold * 1000);
    if (!ok)
        b->failed++;
    return b->outstanding == 0 && b->hub;
}

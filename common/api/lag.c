#include "api/lag.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/metrics.h"
#include "api/text.h"

static const char *const topics[] = {
#define X(name, text) text,
    TH_LAG_TOPICS(X)
#undef X
};

static const char *const sources[] = {
#define X(name, text, meaning) text,
    TH_LAG_SOURCES(X)
#undef X
};

const char *th_lag_topic_text(enum th_lag_topic topic)
{
    return topics[topic];
}

const char *th_lag_source_text(enum th_lag_source source)
{
    return sources[source];
}

/* ---- figures ------------------------------------------------------------------------------- */

/* A position may be newer than the end it is compared with. */
uint64_t th_lag_messages(const struct th_lag_row *row)
{
    int64_t position = row->position < 0 ? 0 : row->position;
    return row->end > position ? (uint64_t)(row->end - position) : 0;
}

/* The clocks of arrival and of `now` may differ by a little. */
static double age(const struct th_lag *lag, th_time since)
{
    if (since == TH_TIME_NONE) {
        return -1;
    }
    return since < lag->now ? (double)(lag->now - since) / TH_SECOND : 0;
}

double th_lag_seconds(const struct th_lag *lag, const struct th_lag_row *row)
{
    return th_lag_messages(row) == 0 ? 0 : age(lag, row->oldest);
}

static void note_age(struct th_lag_totals *totals, double seconds, bool *unknown)
{
    *unknown = *unknown || seconds < 0;
    totals->seconds = seconds > totals->seconds ? seconds : totals->seconds;
}

struct th_lag_totals th_lag_total(const struct th_lag *lag)
{
    struct th_lag_totals totals = {.seconds = 0};
    bool unknown = false;
    for (size_t i = 0; i < lag->count; i++) {
        totals.messages[lag->rows[i].topic] += th_lag_messages(&lag->rows[i]);
        note_age(&totals, th_lag_seconds(lag, &lag->rows[i]), &unknown);
    }
    if (lag->queued > 0) {
        note_age(&totals, age(lag, lag->queued_since), &unknown);
    }
    if (totals.seconds == 0 && unknown) {
        totals.seconds = -1;
    }
    return totals;
}

void th_lag_of_view(struct th_lag *out, const struct th_hub_view *view, th_time now,
                    struct th_arena *arena)
{
    size_t count = view->partitions ? view->record.partitions : 0;
    struct th_lag_row *rows = TH_ARENA_ARRAY(arena, struct th_lag_row, count);
    for (size_t i = 0; i < count; i++) {
        const struct th_hub_partition_view *p = &view->partitions[i];
        rows[i] = (struct th_lag_row){.topic = TH_LAG_INSTANCES,
                                      .partition = p->partition,
                                      .end = p->inbox_end,
                                      .position = p->inbox_position,
                                      .source = TH_LAG_BY_OWNER,
                                      .oldest = p->oldest,
                                      .owner = p->owner,
                                      .epoch = p->owned ? (int64_t)p->epoch : -1,
                                      .trouble = p->trouble};
    }
    *out = (struct th_lag){.hub = th_str_of(view->record.name),
                           .now = now,
                           .rows = rows,
                           .count = count,
                           .queued_since = TH_TIME_NONE};
}

/* ---- the document -------------------------------------------------------------------------- */

static void put_text(struct th_buffer *out, const char *key, struct th_str text)
{
    th_buffer_format(out, ",\"%s\":", key);
    if (th_str_present(text)) {
        th_json_put_string(out, text);
    } else {
        th_buffer_text(out, "null");
    }
}

static void put_time(struct th_buffer *out, const char *key, th_time time)
{
    char text[40];
    if (time == TH_TIME_NONE) {
        put_text(out, key, TH_STR_ABSENT);
        return;
    }
    th_time_format(time, 3, text);
    put_text(out, key, th_str_of(text));
}

static void put_seconds(struct th_buffer *out, const char *key, double seconds)
{
    if (seconds < 0) {
        put_text(out, key, TH_STR_ABSENT);
    } else {
        th_buffer_format(out, ",\"%s\":%.3f", key, seconds);
    }
}

static void put_row(struct th_buffer *out, const struct th_lag *lag, const struct th_lag_row *row)
{
    uint64_t messages = th_lag_messages(row);
    th_buffer_format(out, "{\"topic\":\"%s\",\"partition\":%u", topics[row->topic],
                     (unsigned)row->partition);
    th_buffer_format(out, ",\"end\":%" PRId64 ",\"position\":%" PRId64 ",\"lag\":%" PRIu64,
                     row->end, row->position, messages);
    put_seconds(out, "ageSeconds", th_lag_seconds(lag, row));
    put_time(out, "oldestMessage", messages > 0 ? row->oldest : TH_TIME_NONE);
    put_text(out, "owner", row->owner);
    if (row->epoch < 0) {
        put_text(out, "epoch", TH_STR_ABSENT);
    } else {
        th_buffer_format(out, ",\"epoch\":%" PRId64, row->epoch);
    }
    th_buffer_format(out, ",\"source\":\"%s\"", sources[row->source]);
    put_text(out, "trouble", row->trouble);
    th_buffer_text(out, "}");
}

static void put_totals(struct th_buffer *out, const struct th_lag *lag)
{
    struct th_lag_totals totals = th_lag_total(lag);
    th_buffer_format(out, ",\"totals\":{\"lag\":%" PRIu64, totals.messages[0] + totals.messages[1]);
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        th_buffer_format(out, ",\"%s\":%" PRIu64, topics[i], totals.messages[i]);
    }
    th_buffer_format(out, ",\"queuedActivities\":%" PRIu64, lag->queued);
    put_time(out, "queuedSince", lag->queued > 0 ? lag->queued_since : TH_TIME_NONE);
    put_seconds(out, "ageSeconds", totals.seconds);
    th_buffer_text(out, "}");
}

void th_document_lag(struct th_buffer *out, const struct th_lag *lag)
{
    th_buffer_text(out, "{\"hub\":");
    th_json_put_string(out, lag->hub);
    put_time(out, "time", lag->now);
    put_totals(out, lag);
    th_buffer_text(out, ",\"partitions\":[");
    for (size_t i = 0; i < lag->count; i++) {
        th_buffer_text(out, i ? "," : "");
        put_row(out, lag, &lag->rows[i]);
    }
    th_buffer_text(out, "]}");
}

/* ---- metrics ------------------------------------------------------------------------------- */

static double figure_of(enum th_metric metric, const struct th_lag *lag,
                        const struct th_lag_row *row)
{
    switch (metric) {
    case TH_METRIC_LAG_MESSAGES:
        return (double)th_lag_messages(row);
    case TH_METRIC_LAG_SECONDS:
        return th_lag_seconds(lag, row);
    case TH_METRIC_TOPIC_END:
        return (double)row->end;
    default:
        return (double)row->position;
    }
}

/* What is not known is left out: a missing sample is Prometheus' way to say so. */
static void put_family(struct th_buffer *out, enum th_metric metric, const struct th_lag *lag,
                       const char *hub)
{
    th_metric_begin(out, metric);
    for (size_t i = 0; i < lag->count; i++) {
        const struct th_lag_row *row = &lag->rows[i];
        char partition[16];
        double figure = figure_of(metric, lag, row);
        snprintf(partition, sizeof(partition), "%u", (unsigned)row->partition);
        const char *const labels[] = {hub, topics[row->topic], partition};
        if (figure >= 0) {
            th_metric_add(out, metric, labels, figure);
        }
    }
}

void th_metrics_lag(struct th_buffer *out, const struct th_lag *lag)
{
    static const enum th_metric families[] = {TH_METRIC_LAG_MESSAGES, TH_METRIC_LAG_SECONDS,
                                              TH_METRIC_TOPIC_END, TH_METRIC_TOPIC_POSITION};
    char hub[64];
    double waited = lag->queued > 0 ? age(lag, lag->queued_since) : 0;
    snprintf(hub, sizeof(hub), "%.*s", TH_PRI(lag->hub));
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        put_family(out, families[i], lag, hub);
    }
    th_metric_one(out, TH_METRIC_QUEUED, hub, (double)lag->queued);
    if (waited >= 0) {
        th_metric_one(out, TH_METRIC_QUEUED_SECONDS, hub, waited);
    }
}

static const char *text_of(struct th_arena *arena, struct th_str text)
{
    return th_arena_format(arena, "%.*s", TH_PRI(text)).data;
}

static void put_owners(struct th_buffer *out, enum th_metric metric, const struct th_hub_view *view)
{
    TH_ARENA arena = {0};
    th_metric_begin(out, metric);
    for (uint32_t p = 0; view->partitions && p < view->record.partitions; p++) {
        const struct th_hub_partition_view *v = &view->partitions[p];
        const char *const labels[] = {view->record.name,
                                      th_arena_format(&arena, "%u", (unsigned)v->partition).data,
                                      text_of(&arena, v->owner)};
        if (v->owned) {
            th_metric_add(out, metric, labels, metric == TH_METRIC_OWNER ? 1 : (double)v->epoch);
        }
    }
}

static void put_unserved(struct th_buffer *out, const struct th_hub_view *view)
{
    TH_ARENA arena = {0};
    th_metric_begin(out, TH_METRIC_UNSERVED);
    for (size_t i = 0; i < view->unserved_count; i++) {
        const struct th_unserved *u = &view->unserved[i];
        const char *const labels[] = {view->record.name, th_function_kind_text(u->kind),
                                      text_of(&arena, u->name)};
        th_metric_add(out, TH_METRIC_UNSERVED, labels, (double)u->waiting);
    }
}

void th_metrics_view(struct th_buffer *out, const struct th_hub_view *view)
{
    uint32_t unowned = 0;
    for (uint32_t p = 0; view->partitions && p < view->record.partitions; p++) {
        unowned += !view->partitions[p].owned;
    }
    put_owners(out, TH_METRIC_OWNER, view);
    put_owners(out, TH_METRIC_EPOCH, view);
    th_metric_one(out, TH_METRIC_UNOWNED, view->record.name, unowned);
    put_unserved(out, view);
}

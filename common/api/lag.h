/*
 * lag: how far the processing of a hub is behind what has come in. A row per partition of the inbox
 * topic and of the activity topic, and the activities that a worker has taken but not begun. The
 * embedded hub makes one of its own view; of a fleet, common/monitor collects it. Pure.
 */
#pragma once

#include "base/arena.h"
#include "node/command.h"

/* name, text: the topic's name behind the hub's */
#define TH_LAG_TOPICS(X)      \
    X(INSTANCES, "instances") \
    X(ACTIVITIES, "activities")

enum th_lag_topic {
#define X(name, text) TH_LAG_##name,
    TH_LAG_TOPICS(X)
#undef X
};

/* name, text, who said where the position is */
#define TH_LAG_SOURCES(X)                                             \
    X(OWNER, "owner", "the partition's owner, in its last heartbeat") \
    X(PROJECTION, "projection", "the projection: nobody owns it now") \
    X(GROUP, "group", "the consumer group's committed offset")        \
    X(START, "start", "nobody: it is where the topic begins")

enum th_lag_source {
#define X(name, text, meaning) TH_LAG_BY_##name,
    TH_LAG_SOURCES(X)
#undef X
};

struct th_lag_row {
    enum th_lag_topic topic;
    uint32_t partition;
    int64_t end;      /* offset of the next message */
    int64_t position; /* everything below is processed */
    enum th_lag_source source;
    th_time oldest;      /* arrival of the first that is not; TH_TIME_NONE: not known, or none is */
    struct th_str owner; /* absent: nobody */
    int64_t epoch;       /* of its claim; -1: none, or the topic has no claims */
    struct th_str trouble; /* what keeps it from going on; absent: nothing */
};

struct th_lag {
    struct th_str hub;
    th_time now; /* by the clock of the arrivals */
    const struct th_lag_row *rows;
    size_t count;
    uint64_t queued;      /* activities that wait in some worker for a free thread */
    th_time queued_since; /* the first of them; TH_TIME_NONE: none, or not known */
};

struct th_lag_totals {
    uint64_t messages[2]; /* by topic */
    double seconds;       /* age of the oldest of all; 0: nothing waits; negative: not known */
};

const char *th_lag_topic_text(enum th_lag_topic topic);
const char *th_lag_source_text(enum th_lag_source source);

uint64_t th_lag_messages(const struct th_lag_row *row);
/* Age of the oldest unprocessed message: 0 without one, negative where it is not known. */
double th_lag_seconds(const struct th_lag *lag, const struct th_lag_row *row);
struct th_lag_totals th_lag_total(const struct th_lag *lag);

/* Of a hub that this process has to itself. Rows live in the arena, names in the view. */
void th_lag_of_view(struct th_lag *out, const struct th_hub_view *view, th_time now,
                    struct th_arena *arena);

void th_document_lag(struct th_buffer *out, const struct th_lag *lag);

/* Families of api/metrics.h: of the lag; of owners and of work that nobody serves. */
void th_metrics_lag(struct th_buffer *out, const struct th_lag *lag);
void th_metrics_view(struct th_buffer *out, const struct th_hub_view *view);

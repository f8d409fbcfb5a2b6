/*
 * look: first how far the topics reach, then how far each group has come: in this order nothing
 * seems processed before it came in. Where nobody tells a partition's position or the age of its
 * oldest message, the projection and the messages themselves are asked.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "monitor/internal.h"

#define GATEWAY_TIME (1 * TH_SECOND)

static const enum th_kafka_topic kafka_topics[] = {
    [TH_LAG_INSTANCES] = TH_KAFKA_INSTANCES, [TH_LAG_ACTIVITIES] = TH_KAFKA_ACTIVITIES};

void th_monitor_look_unref(struct th_monitor_look *look)
{
    if (look && atomic_fetch_sub(&look->references, 1) == 1) {
        th_arena_deinit(&look->arena);
        free(look);
    }
}

/* ---- the brokers ---------------------------------------------------------------------------- */

static int64_t *unknown_offsets(struct th_arena *arena, uint32_t count)
{
    int64_t *offsets = TH_ARENA_ARRAY(arena, int64_t, count);
    for (uint32_t p = 0; p < count; p++) {
        offsets[p] = -1;
    }
    return offsets;
}

static void make_topic(struct th_monitor_topic *topic, uint32_t partitions, struct th_arena *arena)
{
    topic->partitions = partitions;
    topic->ends = unknown_offsets(arena, partitions);
    topic->starts = unknown_offsets(arena, partitions);
    topic->committed = unknown_offsets(arena, partitions);
    topic->projected = unknown_offsets(arena, partitions);
    topic->arrivals = TH_ARENA_ARRAY(arena, th_time, partitions);
    for (uint32_t p = 0; p < partitions; p++) {
        topic->arrivals[p] = TH_TIME_NONE;
    }
}

static bool is_any_missing(const struct th_monitor_topic *topic)
{
    for (uint32_t p = 0; p < topic->partitions; p++) {
        if (topic->committed[p] < 0) {
            return true;
        }
    }
    return false;
}

static bool look_at_topic(struct th_monitor *monitor, struct th_monitor_look *look,
                          enum th_lag_topic which, struct th_error *error)
{
    struct th_monitor_topic *topic = &look->topics[which];
    enum th_kafka_topic name = kafka_topics[which];
    make_topic(topic, th_kafka_survey_partitions(monitor->survey, name), &look->arena);
    return th_kafka_survey_ends(monitor->survey, name, topic->ends, error) &&
           th_kafka_survey_committed(monitor->survey, name, topic->committed, error) &&
           (!is_any_missing(topic) ||
            th_kafka_survey_starts(monitor->survey, name, topic->starts, error));
}

/* ---- the projection, through the gateway ---------------------------------------------------- */

struct question {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool answered;
    struct th_monitor_topic *topic;
};

static void on_view(void *argument, const struct th_reply *reply)
{
    struct question *q = argument;
    const struct th_hub_view *view = reply->hub;
    pthread_mutex_lock(&q->lock);
    for (uint32_t p = 0; view && view->partitions && p < q->topic->partitions; p++) {
        q->topic->projected[p] = view->partitions[p].inbox_position;
    }
    q->answered = true;
    pthread_cond_signal(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

static void wait_for_view(struct question *q)
{
    th_time until = th_now() + GATEWAY_TIME;
    struct timespec deadline = {.tv_sec = until / TH_SECOND,
                                .tv_nsec = until % TH_SECOND * (1000000000 / TH_SECOND)};
    pthread_mutex_lock(&q->lock);
    while (!q->answered && pthread_cond_timedwait(&q->changed, &q->lock, &deadline) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&q->lock);
}

static void ask_gateway(struct th_gateway *gateway, struct th_monitor_topic *topic)
{
    struct question q = {.topic = topic};
    const struct th_command command = {
        .kind = TH_COMMAND_HUB, .start_at = TH_TIME_NONE, .deadline = TH_TIME_NONE};
    pthread_mutex_init(&q.lock, NULL);
    pthread_cond_init(&q.changed, NULL);
    uint64_t ticket = gateway->submit(gateway, &command, on_view, &q);
    wait_for_view(&q);
    if (!q.answered) {
        gateway->cancel(gateway, ticket); /* after which nobody touches the question any more */
    }
    pthread_cond_destroy(&q.changed);
    pthread_mutex_destroy(&q.lock);
}

/* ---- what nobody tells ---------------------------------------------------------------------- */

static bool is_owned(const struct th_control_view *members, enum th_lag_topic which, uint32_t p)
{
    return which == TH_LAG_INSTANCES ? th_monitor_owner(members, p) != NULL
                                     : th_monitor_consumer(members, p) != NULL;
}

/* From where to look for the first unprocessed message of partitions nobody tells about. */
static bool untold(const struct th_monitor_topic *topic, enum th_lag_topic which,
                   const struct th_control_view *members, int64_t *from)
{
    bool any = false;
    enum th_lag_source source;
    for (uint32_t p = 0; p < topic->partitions; p++) {
        int64_t position = th_monitor_position(topic, p, NULL, &source);
        bool wanted = !is_owned(members, which, p) && position < topic->ends[p];
        from[p] = wanted ? position : -1;
        any = any || wanted;
    }
    return any;
}

static bool is_any_unowned(const struct th_monitor_topic *topic,
                           const struct th_control_view *members)
{
    for (uint32_t p = 0; p < topic->partitions; p++) {
        if (!th_monitor_owner(members, p)) {
            return true;
        }
    }
    return false;
}

static bool look_deeper(struct th_monitor *monitor, struct th_monitor_look *look,
                        struct th_error *error)
{
    TH_CONTROL_VIEW members = {.members = NULL};
    bool done = true;
    th_control_look(monitor->options.control, &members);
    if (monitor->options.gateway && is_any_unowned(&look->topics[TH_LAG_INSTANCES], &members)) {
        ask_gateway(monitor->options.gateway, &look->topics[TH_LAG_INSTANCES]);
    }
    for (enum th_lag_topic t = 0; done && t < TH_COUNT(look->topics); t++) {
        struct th_monitor_topic *topic = &look->topics[t];
        int64_t *from = TH_ARENA_ARRAY(&look->arena, int64_t, topic->partitions);
        done = !untold(topic, t, &members, from) ||
               th_kafka_survey_arrivals(monitor->survey, kafka_topics[t], from, topic->arrivals,
                                        error);
    }
    return done;
}

struct th_monitor_look *th_monitor_look_new(struct th_monitor *monitor, struct th_error *error)
{
    struct th_monitor_look *look = TH_NEW(struct th_monitor_look);
    atomic_init(&look->references, 1);
    if (look_at_topic(monitor, look, TH_LAG_INSTANCES, error) &&
        look_at_topic(monitor, look, TH_LAG_ACTIVITIES, error) &&
        look_deeper(monitor, look, error)) {
        return look;
    }
    th_monitor_look_unref(look);
    return NULL;
}

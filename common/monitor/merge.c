#include "monitor/merge.h"

#include <inttypes.h>

#include "api/metrics.h"
#include "api/text.h"
#include "base/memory.h"

/* ---- who does what -------------------------------------------------------------------------- */

const struct th_member *th_monitor_owner(const struct th_control_view *members, uint32_t partition)
{
    const struct th_member *owner = NULL;
    int64_t epoch = -1;
    for (size_t i = 0; i < members->count; i++) {
        const struct th_member_partition *p = th_member_partition(members->members[i], partition);
        if (p && p->epoch > epoch) {
            owner = members->members[i];
            epoch = p->epoch;
        }
    }
    return owner;
}

struct th_str th_monitor_trouble(const struct th_control_view *members, uint32_t partition)
{
    for (size_t i = 0; i < members->count; i++) {
        const struct th_member_partition *p = th_member_partition(members->members[i], partition);
        if (p && p->trouble.len > 0) {
            return p->trouble;
        }
    }
    return TH_STR_ABSENT;
}

const struct th_member *th_monitor_consumer(const struct th_control_view *members,
                                            uint32_t partition)
{
    for (size_t i = 0; i < members->count; i++) {
        const struct th_member *m = members->members[i];
        for (size_t n = 0; n < m->activities_count; n++) {
            if (m->activities[n].partition == partition) {
                return m;
            }
        }
    }
    return NULL;
}

/* ---- positions ------------------------------------------------------------------------------ */

int64_t th_monitor_position(const struct th_monitor_topic *topic, uint32_t partition,
                            const struct th_member_partition *owned, enum th_lag_source *source)
{
    if (owned) {
        *source = TH_LAG_BY_OWNER;
        return owned->position;
    }
    if (topic->projected[partition] >= 0 &&
        topic->projected[partition] >= topic->committed[partition]) {
        *source = TH_LAG_BY_PROJECTION;
        return topic->projected[partition];
    }
    if (topic->committed[partition] >= 0) {
        *source = TH_LAG_BY_GROUP;
        return topic->committed[partition];
    }
    *source = TH_LAG_BY_START;
    return topic->starts[partition] < 0 ? 0 : topic->starts[partition];
}

/* What has come since the heartbeat waits no longer than since then. */
static th_time since_heard(const struct th_member *teller, th_time oldest)
{
    return teller && oldest == TH_TIME_NONE ? teller->heard : oldest;
}

static struct th_lag_row row_of_instances(const struct th_monitor_topic *topic, uint32_t partition,
                                          const struct th_control_view *members)
{
    const struct th_member *owner = th_monitor_owner(members, partition);
    const struct th_member_partition *owned = owner ? th_member_partition(owner, partition) : NULL;
    struct th_lag_row row = {
        .topic = TH_LAG_INSTANCES,
        .partition = partition,
        .end = topic->ends[partition],
        .oldest = since_heard(owner, owned ? owned->oldest : topic->arrivals[partition]),
        .owner = owner ? owner->name : TH_STR_ABSENT,
        .epoch = owned ? owned->epoch : -1,
        .trouble = th_monitor_trouble(members, partition),
    };
    row.position = th_monitor_position(topic, partition, owned, &row.source);
    return row;
}

static th_time oldest_of(const struct th_member *consumer, uint32_t partition)
{
    for (size_t n = 0; consumer && n < consumer->activities_count; n++) {
        if (consumer->activities[n].partition == partition) {
            return consumer->activities[n].oldest;
        }
    }
    return TH_TIME_NONE;
}

/* The group's offset counts, as it does for Kafka's own tools; the consumer knows the age. */
static struct th_lag_row row_of_activities(const struct th_monitor_topic *topic, uint32_t partition,
                                           const struct th_control_view *members)
{
    const struct th_member *consumer = th_monitor_consumer(members, partition);
    th_time oldest = oldest_of(consumer, partition);
    struct th_lag_row row = {
        .topic = TH_LAG_ACTIVITIES,
        .partition = partition,
        .end = topic->ends[partition],
        .oldest =
            since_heard(consumer, oldest == TH_TIME_NONE ? topic->arrivals[partition] : oldest),
        .owner = consumer ? consumer->name : TH_STR_ABSENT,
        .epoch = -1,
    };
    row.position = th_monitor_position(topic, partition, NULL, &row.source);
    return row;
}

/* One that says nothing about since when has no time, or zero. */
static void add_queued(const struct th_member *m, struct th_lag *out)
{
    out->queued += m->waiting;
    if (m->waiting > 0 && m->queued_since > 0 &&
        (out->queued_since == TH_TIME_NONE || m->queued_since < out->queued_since)) {
        out->queued_since = m->queued_since;
    }
}

static void merge_lag(const struct th_hub_record *hub, const struct th_monitor_topic *instances,
                      const struct th_monitor_topic *activities,
                      const struct th_control_view *members, struct th_arena *arena,
                      struct th_lag *out)
{
    uint32_t count = instances->partitions + activities->partitions;
    struct th_lag_row *rows = TH_ARENA_ARRAY(arena, struct th_lag_row, count);
    for (uint32_t p = 0; p < instances->partitions; p++) {
        rows[p] = row_of_instances(instances, p, members);
    }
    for (uint32_t p = 0; p < activities->partitions; p++) {
        rows[instances->partitions + p] = row_of_activities(activities, p, members);
    }
    *out = (struct th_lag){.hub = th_str_of(hub->name),
                           .now = members->now == TH_TIME_NONE ? th_now() : members->now,
                           .rows = rows,
                           .count = count,
                           .queued_since = TH_TIME_NONE};
    for (size_t i = 0; i < members->count; i++) {
        add_queued(members->members[i], out);
    }
}

/* ---- the view ------------------------------------------------------------------------------- */

static void add_unserved(struct th_hub_view *view, struct th_unserved *all,
                         const struct th_member_unserved *more)
{
    size_t at = 0;
    while (at < view->unserved_count &&
           !(all[at].kind == more->kind && th_str_eq(all[at].name, more->name))) {
        at++;
    }
    if (at == view->unserved_count) {
        all[view->unserved_count++] = (struct th_unserved){.kind = more->kind, .name = more->name};
    }
    all[at].waiting += more->waiting;
}

static void merge_unserved(const struct th_control_view *members, struct th_arena *arena,
                           struct th_hub_view *view)
{
    size_t most = 0;
    for (size_t i = 0; i < members->count; i++) {
        most += members->members[i]->unserved_count;
    }
    struct th_unserved *all = TH_ARENA_ARRAY(arena, struct th_unserved, most);
    for (size_t i = 0; i < members->count; i++) {
        const struct th_member *m = members->members[i];
        for (size_t n = 0; n < m->unserved_count; n++) {
            add_unserved(view, all, &m->unserved[n]);
        }
    }
    view->unserved = all;
}

static void merge_partition(const struct th_lag_row *row, const struct th_control_view *members,
                            struct th_hub_partition_view *v, struct th_hub_view *view)
{
    const struct th_member *owner = th_monitor_owner(members, row->partition);
    const struct th_member_partition *owned =
        owner ? th_member_partition(owner, row->partition) : NULL;
    *v = (struct th_hub_partition_view){
        .partition = row->partition,
        .owned = owned != NULL,
        .owner = row->owner,
        .epoch = row->epoch < 0 ? 0 : (uint64_t)row->epoch,
        .inbox_position = row->position,
        .inbox_end = row->end,
        .oldest = th_lag_messages(row) > 0 ? row->oldest : TH_TIME_NONE,
        .trouble = row->trouble,
    };
    view->instance_messages += th_lag_messages(row);
    if (owned) {
        v->log_start = owned->log_start;
        v->log_end = owned->log_end;
        view->instance_messages += owned->letters;
        view->activity_messages += owned->pending;
        view->timers += owned->timers;
        view->instances_in_memory += owned->instances;
    }
}

void th_monitor_merge(const struct th_hub_record *hub, const struct th_monitor_topic *instances,
                      const struct th_monitor_topic *activities,
                      const struct th_control_view *members, struct th_arena *arena,
                      struct th_monitor_picture *out)
{
    struct th_hub_view *view = &out->view;
    merge_lag(hub, instances, activities, members, arena, &out->lag);
    *view = (struct th_hub_view){.record = *hub};
    view->partitions = TH_ARENA_ARRAY(arena, struct th_hub_partition_view, hub->partitions);
    for (uint32_t p = 0; p < instances->partitions; p++) {
        merge_partition(&out->lag.rows[p], members, &view->partitions[p], view);
    }
    merge_unserved(members, arena, view);
}

/* ---- members as JSON ------------------------------------------------------------------------ */

static void put_text(struct th_buffer *out, const char *key, struct th_str text)
{
    th_buffer_format(out, ",\"%s\":", key);
    if (text.len > 0) {
        th_json_put_string(out, text);
    } else {
        th_buffer_text(out, "null");
    }
}

static void put_time(struct th_buffer *out, const char *key, th_time time)
{
    char text[40] = "";
    if (time != TH_TIME_NONE) {
        th_time_format(time, 3, text);
    }
    put_text(out, key, th_str_of(text));
}

static void put_count(struct th_buffer *out, const char *key, uint64_t count)
{
    th_buffer_format(out, ",\"%s\":%" PRIu64, key, count);
}

static void put_function(struct th_buffer *out, const struct th_member_function *f)
{
    double average = f->requests > 0 ? (double)f->latency_sum / (double)f->requests / 1000 : 0;
    th_buffer_format(out, "{\"kind\":\"%s\",\"name\":", th_function_kind_text(f->kind));
    th_json_put_string(out, f->name);
    put_count(out, "requests", f->requests);
    put_count(out, "errors", f->errors);
    th_buffer_format(out, ",\"averageMs\":%.3f,\"longestMs\":%.3f", average,
                     (double)f->latency_max / 1000);
    put_count(out, "running", f->running);
    put_count(out, "waiting", f->waiting);
    th_buffer_text(out, "}");
}

static void put_functions(struct th_buffer *out, const struct th_member *m)
{
    th_buffer_text(out, ",\"functions\":[");
    for (size_t i = 0; i < m->functions_count; i++) {
        th_buffer_text(out, i ? "," : "");
        put_function(out, &m->functions[i]);
    }
    th_buffer_text(out, "]");
}

static void put_owned(struct th_buffer *out, const struct th_member *m)
{
    const char *separator = "";
    th_buffer_text(out, ",\"partitions\":[");
    for (size_t i = 0; i < m->partitions_count; i++) {
        if (m->partitions[i].epoch >= 0) {
            th_buffer_format(out, "%s%" PRIu32, separator, m->partitions[i].index);
            separator = ",";
        }
    }
    th_buffer_text(out, "],\"activityPartitions\":[");
    for (size_t i = 0; i < m->activities_count; i++) {
        th_buffer_format(out, "%s%" PRIu32, i ? "," : "", m->activities[i].partition);
    }
    th_buffer_text(out, "]");
}

static void put_member(struct th_buffer *out, const struct th_member *m, th_time now)
{
    bool known = now != TH_TIME_NONE && m->heard != TH_TIME_NONE && now > m->heard;
    th_buffer_text(out, "{\"name\":");
    th_json_put_string(out, m->name);
    put_text(out, "kind", th_str_of(th_member_kind_text(m->kind)));
    put_text(out, "url", m->url);
    put_text(out, "application", m->application);
    put_text(out, "host", m->host);
    put_count(out, "pid", m->pid);
    put_text(out, "version", m->version);
    put_time(out, "started", m->started);
    th_buffer_format(out, ",\"silentSeconds\":%.3f",
                     known ? (double)(now - m->heard) / TH_SECOND : 0);
    th_buffer_format(out, ",\"draining\":%s", m->draining ? "true" : "false");
    put_count(out, "threads", m->threads);
    put_count(out, "running", m->running);
    put_count(out, "waiting", m->waiting);
    put_count(out, "episodes", m->episodes);
    put_count(out, "records", m->records);
    put_count(out, "activities", m->activities_run);
    put_owned(out, m);
    put_functions(out, m);
    th_buffer_text(out, "}");
}

void th_monitor_put_members(struct th_buffer *out, const struct th_control_view *members)
{
    th_buffer_text(out, "\"members\":[");
    for (size_t i = 0; i < members->count; i++) {
        th_buffer_text(out, i ? "," : "");
        put_member(out, members->members[i], members->now);
    }
    th_buffer_text(out, "],");
}

/* ---- metrics -------------------------------------------------------------------------------- */

void th_monitor_put_metrics(struct th_buffer *out, const char *hub,
                            const struct th_control_view *members)
{
    static const uint32_t kinds[] = {TH_MEMBER_WORKER, TH_MEMBER_COORDINATOR};
    th_metric_begin(out, TH_METRIC_MEMBERS);
    for (size_t k = 0; k < TH_COUNT(kinds); k++) {
        const char *const labels[] = {hub, th_member_kind_text(kinds[k])};
        double count = 0;
        for (size_t i = 0; i < members->count; i++) {
            count += members->members[i]->kind == kinds[k];
        }
        th_metric_add(out, TH_METRIC_MEMBERS, labels, count);
    }
}

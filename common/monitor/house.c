/* house: what a coordinator does about what it sees. Several coordinators may do the same twice. */
#include "monitor/internal.h"

#define UNOWNED_TIME (5 * TH_SECOND)

/* ---- partitions without an owner ------------------------------------------------------------ */

enum news { NO_NEWS, OWNED_AGAIN, UNOWNED };

static enum news watch_lease(struct th_monitor_lease *lease, bool owned, th_time now)
{
    if (owned) {
        bool told = lease->told;
        *lease = (struct th_monitor_lease){.unowned = TH_TIME_NONE};
        return told ? OWNED_AGAIN : NO_NEWS;
    }
    if (lease->unowned == TH_TIME_NONE) {
        lease->unowned = now;
    }
    if (lease->told || now - lease->unowned < UNOWNED_TIME) {
        return NO_NEWS;
    }
    lease->told = true;
    return UNOWNED;
}

static struct th_str reason(const struct th_control_view *members, uint32_t partition)
{
    struct th_str why = th_monitor_trouble(members, partition);
    for (size_t i = 0; why.len == 0 && i < members->count; i++) {
        if (members->members[i]->kind == TH_MEMBER_WORKER) {
            return TH_STR("no worker says why");
        }
    }
    return why.len > 0 ? why : TH_STR("no worker runs");
}

/* Those of one kind, as "0-3, 7", and in one line. */
static void tell(const struct th_monitor *monitor, const enum news *news, enum news kind,
                 const struct th_control_view *members)
{
    TH_BUFFER list = {0};
    uint32_t count = monitor->hub.record.partitions;
    struct th_str why = TH_STR_ABSENT;
    for (uint32_t p = 0; p < count; p++) {
        uint32_t last = p;
        if (news[p] != kind) {
            continue;
        }
        while (last + 1 < count && news[last + 1] == kind) {
            last++;
        }
        th_buffer_format(&list, "%s%u", list.len > 0 ? ", " : "", (unsigned)p);
        if (last > p) {
            th_buffer_format(&list, "-%u", (unsigned)last);
        }
        why = why.len > 0 || kind == OWNED_AGAIN ? why : reason(members, p);
        p = last;
    }
    if (list.len > 0 && kind == UNOWNED) {
        th_log(monitor->options.log, TH_LOG_WARN, "coordinator",
               "partitions without an owner for %lld s: %.*s of hub %s: %.*s",
               (long long)(UNOWNED_TIME / TH_SECOND), TH_PRI(th_buffer_view(&list)),
               monitor->hub.record.name, TH_PRI(why));
    } else if (list.len > 0) {
        th_log(monitor->options.log, TH_LOG_INFO, "coordinator",
               "partitions that have an owner again: %.*s of hub %s", TH_PRI(th_buffer_view(&list)),
               monitor->hub.record.name);
    }
}

/* What is not read through yet says nothing about owners; nor does silence of the brokers. */
void th_monitor_watch_leases(struct th_monitor *monitor, th_time now)
{
    TH_ARENA arena = {0};
    TH_CONTROL_VIEW members = {.members = NULL};
    enum news *news = TH_ARENA_ARRAY(&arena, enum news, monitor->hub.record.partitions);
    th_control_look(monitor->options.control, &members);
    for (uint32_t p = 0; members.ready && p < monitor->hub.record.partitions; p++) {
        news[p] = watch_lease(&monitor->leases[p], th_monitor_owner(&members, p) != NULL, now);
    }
    tell(monitor, news, UNOWNED, &members);
    tell(monitor, news, OWNED_AGAIN, &members);
}

/* ---- activity messages that are processed --------------------------------------------------- */

static void note_trouble(struct th_monitor *monitor, const struct th_error *error)
{
    if (!monitor->trouble_told) {
        th_log(monitor->options.log, TH_LOG_WARN, "coordinator",
               "processed activity messages of hub %s cannot be dropped: %s",
               monitor->hub.record.name, error->message);
    }
    monitor->trouble_told = true;
}

/* Counted from where this process first saw each partition begin. */
static void count(struct th_monitor *monitor, const int64_t *below, uint32_t partitions)
{
    for (uint32_t p = 0; p < partitions; p++) {
        if (below[p] > monitor->kept[p]) {
            atomic_fetch_add(&monitor->trimmed, (uint64_t)(below[p] - monitor->kept[p]));
            monitor->kept[p] = below[p];
        }
    }
}

void th_monitor_trim(struct th_monitor *monitor)
{
    TH_ARENA arena = {0};
    struct th_kafka_survey *survey = monitor->survey;
    struct th_error error = {.code = TH_OK};
    uint32_t partitions = th_kafka_survey_partitions(survey, TH_KAFKA_ACTIVITIES);
    int64_t *below = TH_ARENA_ARRAY(&arena, int64_t, partitions);
    if (!monitor->kept) {
        monitor->kept = th_alloc(partitions * sizeof(*monitor->kept));
        if (!th_kafka_survey_starts(survey, TH_KAFKA_ACTIVITIES, monitor->kept, &error)) {
            free(monitor->kept);
            monitor->kept = NULL;
            note_trouble(monitor, &error);
            return;
        }
    }
    if (!th_kafka_survey_committed(survey, TH_KAFKA_ACTIVITIES, below, &error)) {
        note_trouble(monitor, &error);
        return;
    }
    for (uint32_t p = 0; p < partitions; p++) {
        below[p] = below[p] > monitor->kept[p] ? below[p] : 0;
    }
    if (!th_kafka_survey_trim(survey, TH_KAFKA_ACTIVITIES, below, &error)) {
        note_trouble(monitor, &error);
        return;
    }
    monitor->trouble_told = false;
    count(monitor, below, partitions);
}

/* house: what a coordinator does about what it sees. Several coordinators may do the same twice. */
#include "monitor/internal.h"

#define UNOWNED_TIME (5 * TH_SECOND)

/* ---- partitions without an owner ------------------------------------------------------------ */

static void warn(const struct th_monitor *monitor, uint32_t partition,
                 const struct th_control_view *members)
{
    struct th_str why = th_monitor_trouble(members, partition);
    size_t workers = 0;
    for (size_t i = 0; i < members->count; i++) {
        workers += members->members[i]->kind == TH_MEMBER_WORKER;
    }
    if (why.len == 0) {
        why = workers == 0 ? TH_STR("no worker runs") : TH_STR("no worker says why");
    }
    th_log(monitor->options.log, TH_LOG_WARN, "coordinator",
           "partition %u of hub %s has had no owner for %lld s: %.*s", (unsigned)partition,
           monitor->hub.record.name, (long long)(UNOWNED_TIME / TH_SECOND), TH_PRI(why));
}

static void watch_lease(struct th_monitor *monitor, uint32_t partition,
                        const struct th_control_view *members, th_time now)
{
    struct th_monitor_lease *lease = &monitor->leases[partition];
    const struct th_member *owner = th_monitor_owner(members, partition);
    if (owner) {
        if (lease->told) {
            th_log(monitor->options.log, TH_LOG_INFO, "coordinator",
                   "partition %u of hub %s is owned by %.*s", (unsigned)partition,
                   monitor->hub.record.name, TH_PRI(owner->name));
        }
        *lease = (struct th_monitor_lease){.unowned = TH_TIME_NONE};
    } else if (lease->unowned == TH_TIME_NONE) {
        lease->unowned = now;
    } else if (!lease->told && now - lease->unowned >= UNOWNED_TIME) {
        lease->told = true;
        warn(monitor, partition, members);
    }
}

/* What is not read through yet says nothing about owners; nor does silence of the brokers. */
void th_monitor_watch_leases(struct th_monitor *monitor, th_time now)
{
    TH_CONTROL_VIEW members = {.members = NULL};
    th_control_look(monitor->options.control, &members);
    for (uint32_t p = 0; members.ready && p < monitor->hub.record.partitions; p++) {
        watch_lease(monitor, p, &members, now);
    }
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

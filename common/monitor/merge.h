/*
 * merge: heartbeats and what the brokers say become one picture of a hub. Pure. What lies in the
 * picture lives in its arena and in the members.
 */
#pragma once

#include "api/lag.h"
#include "control/control.h"

/* What the brokers say of one topic; a value per partition. */
struct th_monitor_topic {
    uint32_t partitions;
    int64_t *ends;
    int64_t *starts;    /* first offset that is kept; only where nothing is committed, else -1 */
    int64_t *committed; /* by the topic's group; -1: nothing */
    int64_t *projected; /* position of the projection, where nobody owns it; -1: not known */
    th_time *arrivals; /* of the first unprocessed message, where nobody tells; else TH_TIME_NONE */
};

struct th_monitor_picture {
    struct th_lag lag;
    struct th_hub_view view;
};

/* The member that owns a partition; where two say so, the one with the later claim. NULL: nobody.
 */
const struct th_member *th_monitor_owner(const struct th_control_view *members, uint32_t partition);
/* Of the first member that says what keeps it from owning the partition; absent: nobody does. */
struct th_str th_monitor_trouble(const struct th_control_view *members, uint32_t partition);
/* The member that consumes a partition of the activities; NULL: nobody. */
const struct th_member *th_monitor_consumer(const struct th_control_view *members,
                                            uint32_t partition);

/* Offset below which everything is processed, and who says so. */
int64_t th_monitor_position(const struct th_monitor_topic *topic, uint32_t partition,
                            const struct th_member_partition *owned, enum th_lag_source *source);

void th_monitor_merge(const struct th_hub_record *hub, const struct th_monitor_topic *instances,
                      const struct th_monitor_topic *activities,
                      const struct th_control_view *members, struct th_arena *arena,
                      struct th_monitor_picture *out);

/* "members":[…], for th_document_hub. */
void th_monitor_put_members(struct th_buffer *out, const struct th_control_view *members);
/* Families of api/metrics.h: how many members there are. */
void th_monitor_put_metrics(struct th_buffer *out, const char *hub,
                            const struct th_control_view *members);

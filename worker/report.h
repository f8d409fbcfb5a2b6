/*
 * report: what this worker says of itself in the control topic, put together from those who know:
 * the hosts their partitions, the consumer of activities its messages, the counters the functions.
 * Any thread; nothing here waits for a host or a broker.
 */
#pragma once

#include "control/control.h"
#include "worker/host.h"

struct th_report;

struct th_report_options {
    const char *name;        /* of the member */
    const char *application; /* its file; NULL: none */
    const struct th_app *app;
    struct th_counters *counters;
    uint32_t partitions; /* of the hub; partition p is host p % host_count's */
    unsigned threads;    /* for activities */
};

/* What the options point to outlives it. */
struct th_report *th_report_new(const struct th_report_options *options);
/* After the hosts have stopped. */
void th_report_free(struct th_report *report);
/* Once each, before they are used: from then on it publishes and looks. */
void th_report_set_control(struct th_report *report, struct th_control *control);
void th_report_set_hosts(struct th_report *report, struct th_host *const *hosts, size_t count);
void th_report_set_url(struct th_report *report, const char *url); /* copied */
void th_report_drains(struct th_report *report);

/* Says what is known now; as th_control_publish. 0: there is no control yet. */
uint64_t th_report_publish(struct th_report *report, bool at_once);

/* ---- of partitions ---- */

/* The host's hook (worker/host.h): said at once. Node's thread. */
void th_report_lease(struct th_report *report, uint32_t partition, int64_t epoch);
/* The worker wants it, or no longer. */
void th_report_want(struct th_report *report, uint32_t partition, bool wanted);
/* Asks the hosts how their partitions stand, and says so with the next heartbeat. */
void th_report_look(struct th_report *report);
/* As it was last seen; false: the partition is not active here. */
bool th_report_position(struct th_report *report, uint32_t partition, int64_t *position);
/* False: why not. Every partition it wants is active, and each host has answered of late. */
bool th_report_is_sound(struct th_report *report, struct th_error *error);
bool th_report_is_alive(struct th_report *report, struct th_error *error); /* the latter alone */

/* ---- of activity messages ---- */

struct th_report_activities {
    const struct th_member_activities *partitions;
    size_t partition_count;
    const struct th_member_left *left;
    size_t left_count;
    const struct th_member_unserved *unserved;
    size_t unserved_count;
};
/* Copied; in place of what was said before. */
void th_report_activities(struct th_report *report, const struct th_report_activities *activities);

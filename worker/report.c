#include "worker/report.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "partition/record.h"

/* Going through all instances for those that nobody serves is not for every heartbeat. */
#define UNSERVED_INTERVAL (2 * TH_SECOND)
#define LONGEST_INTERVAL  (10 * TH_SECOND) /* of which a function's longest call is told */
#define DEAF              (5 * TH_SECOND)  /* a host that does not answer for so long */

/* A partition, as it was last seen. */
struct part {
    bool wanted;
    int64_t owned; /* epoch, by the host's hook; -1: not ours */
    struct th_node_partition seen;
    char trouble[256]; /* seen.trouble points here */
};

/* One host, and the look at it that is under way. */
struct house {
    struct th_report *report;
    struct th_host *host;
    size_t index;
    bool looking;
    th_time answered; /* monotonic */
    th_time counted;  /* unserved ones, monotonic */
    struct th_node_stats stats;
    struct th_pool_load load;
    struct th_member_unserved *unserved; /* names are owned */
    size_t unserved_count, unserved_capacity;
};

struct th_report {
    struct th_report_options options;
    struct th_control *control;
    char host_name[65];
    char *url, *rpc;
    th_time started;
    pthread_mutex_t lock; /* guards what follows */
    bool drains;
    struct part *parts;
    struct house *houses;
    size_t house_count;
    struct th_arena arena; /* of `activities` */
    struct th_report_activities activities;
    th_time longest_at;
};

struct th_report *th_report_new(const struct th_report_options *options)
{
    struct th_report *report = TH_NEW(struct th_report);
    report->options = *options;
    report->parts = th_alloc((options->partitions + 1) * sizeof *report->parts);
    for (uint32_t p = 0; p < options->partitions; p++)
        report->parts[p] = (struct part){.owned = -1, .seen = {.trouble = "", .epoch = -1}};
    if (gethostname(report->host_name, sizeof report->host_name - 1) != 0)
        strcpy(report->host_name, "host");
    report->started = th_now();
    pthread_mutex_init(&report->lock, NULL);
    return report;
}

static void forget_unserved(struct house *house)
{
    for (size_t i = 0; i < house->unserved_count; i++)
        free((char *)house->unserved[i].name.data);
    house->unserved_count = 0;
}

void th_report_free(struct th_report *report)
{
    if (!report)
        return;
    for (size_t i = 0; i < report->house_count; i++) {
        forget_unserved(&report->houses[i]);
        free(report->houses[i].unserved);
    }
    th_arena_deinit(&report->arena);
    pthread_mutex_destroy(&report->lock);
    free(report->houses);
    free(report->parts);
    free(report->rpc);
    free(report->url);
    free(report);
}

void th_report_set_control(struct th_report *report, struct th_control *control)
{
    report->control = control;
}

void th_report_set_hosts(struct th_report *report, struct th_host *const *hosts, size_t count)
{
    pthread_mutex_lock(&report->lock);
    report->houses = th_alloc((count + 1) * sizeof *report->houses);
    for (size_t i = 0; i < count; i++)
        report->houses[i] = (struct house){
            .report = report, .host = hosts[i], .index = i, .answered = th_monotonic()};
    report->house_count = count;
    pthread_mutex_unlock(&report->lock);
}

void th_report_set_rpc(struct th_report *report, const char *url)
{
    pthread_mutex_lock(&report->lock);
    free(report->rpc);
    report->rpc = th_str_dup(th_str_of(url));
    pthread_mutex_unlock(&report->lock);
}

void th_report_set_url(struct th_report *report, const char *url)
{
    pthread_mutex_lock(&report->lock);
    free(report->url);
    report->url = th_str_dup(th_str_of(url));
    pthread_mutex_unlock(&report->lock);
}

void th_report_drains(struct th_report *report)
{
    pthread_mutex_lock(&report->lock);
    report->drains = true;
    pthread_mutex_unlock(&report->lock);
}

/* ---- putting it together: lock held ---------------------------------------------------------- */

static void add_functions(struct th_report *report, struct th_member *member,
                          struct th_arena *arena)
{
    struct th_counters *counters = report->options.counters;
    size_t count = th_counters_count(counters);
    struct th_member_function *functions = TH_ARENA_ARRAY(arena, struct th_member_function, count);
    th_time now = th_monotonic();
    bool anew = now - report->longest_at >= LONGEST_INTERVAL;
    if (anew)
        report->longest_at = now;
    for (size_t i = 0; i < count; i++) {
        struct th_counter_values values;
        th_counters_read(counters, i, anew, &values);
        functions[i] = (struct th_member_function){
            .kind = values.kind,
            .name = values.name,
            .requests = values.requests,
            .errors = values.errors,
            .latency_sum = values.latency_sum,
            .latency_max = values.latency_max,
            .running = values.running,
            .waiting = values.waiting,
        };
        member->activities_run += values.kind == TH_FUNCTION_ACTIVITY ? values.requests : 0;
    }
    member->functions = functions;
    member->functions_count = count;
}

static struct th_member_partition say_partition(uint32_t index, const struct part *part)
{
    const struct th_node_partition *seen = &part->seen;
    bool active = part->owned >= 0 && seen->epoch == part->owned;
    return (struct th_member_partition){
        .index = index,
        .epoch = part->owned,
        .position = active ? seen->position : 0,
        .end = active ? seen->end : 0,
        .oldest = active ? seen->oldest : TH_TIME_NONE,
        .log_start = active ? seen->log_start : 0,
        .log_end = active ? seen->log_end : 0,
        .trouble = *part->trouble ? th_str_of(part->trouble) : TH_STR_ABSENT,
        .pending = active ? seen->pending_activities : 0,
        .instances = active ? seen->instances : 0,
    };
}

static void add_partitions(struct th_report *report, struct th_member *member,
                           struct th_arena *arena)
{
    struct th_member_partition *partitions =
        TH_ARENA_ARRAY(arena, struct th_member_partition, report->options.partitions);
    for (uint32_t p = 0; p < report->options.partitions; p++)
        if (report->parts[p].wanted || report->parts[p].owned >= 0)
            partitions[member->partitions_count++] = say_partition(p, &report->parts[p]);
    member->partitions = partitions;
}

static void add_houses(struct th_report *report, struct th_member *member)
{
    for (size_t i = 0; i < report->house_count; i++) {
        const struct house *house = &report->houses[i];
        member->running += house->load.running;
        member->waiting += house->load.waiting;
        member->handed += house->stats.handed;
        member->episodes += house->stats.episodes;
        member->records += house->stats.records;
    }
}

static void add_unserved(struct th_report *report, struct th_member *member, struct th_arena *arena)
{
    size_t count = report->activities.unserved_count;
    for (size_t i = 0; i < report->house_count; i++)
        count += report->houses[i].unserved_count;
    struct th_member_unserved *all = TH_ARENA_ARRAY(arena, struct th_member_unserved, count);
    for (size_t i = 0; i < report->activities.unserved_count; i++)
        all[member->unserved_count++] = report->activities.unserved[i];
    for (size_t i = 0; i < report->house_count; i++)
        for (size_t n = 0; n < report->houses[i].unserved_count; n++)
            all[member->unserved_count++] = report->houses[i].unserved[n];
    member->unserved = all;
}

static uint64_t publish(struct th_report *report, bool at_once)
{
    TH_ARENA arena = {0};
    struct th_member member = {
        .kind = TH_MEMBER_WORKER,
        .name = th_str_of(report->options.name),
        .host = th_str_of(report->host_name),
        .pid = (uint32_t)getpid(),
        .version = TH_STR(TASKHUB_VERSION),
        .format = TH_RECORD_FORMAT,
        .started = report->started,
        .url = th_str_of(report->url),
        .rpc = th_str_of(report->rpc),
        .application = th_str_of(report->options.application),
        .threads = report->options.threads,
        .draining = report->drains,
        .activities = report->activities.partitions,
        .activities_count = report->activities.partition_count,
        .left = report->activities.left,
        .left_count = report->activities.left_count,
    };
    if (!report->control)
        return 0;
    add_functions(report, &member, &arena);
    add_partitions(report, &member, &arena);
    add_houses(report, &member);
    add_unserved(report, &member, &arena);
    return th_control_publish(report->control, &member, at_once);
}

uint64_t th_report_publish(struct th_report *report, bool at_once)
{
    pthread_mutex_lock(&report->lock);
    uint64_t serial = publish(report, at_once);
    pthread_mutex_unlock(&report->lock);
    return serial;
}

/* ---- partitions ------------------------------------------------------------------------------ */

void th_report_lease(struct th_report *report, uint32_t partition, int64_t epoch)
{
    pthread_mutex_lock(&report->lock);
    report->parts[partition].owned = epoch;
    publish(report, true);
    pthread_mutex_unlock(&report->lock);
}

void th_report_want(struct th_report *report, uint32_t partition, bool wanted)
{
    pthread_mutex_lock(&report->lock);
    report->parts[partition].wanted = wanted;
    pthread_mutex_unlock(&report->lock);
}

bool th_report_position(struct th_report *report, uint32_t partition, int64_t *position)
{
    pthread_mutex_lock(&report->lock);
    const struct part *part = &report->parts[partition];
    bool active = part->owned >= 0 && part->seen.active;
    *position = part->seen.position;
    pthread_mutex_unlock(&report->lock);
    return active;
}

static bool hears(const struct th_report *report, struct th_error *error)
{
    for (size_t i = 0; i < report->house_count; i++)
        if (th_monotonic() - report->houses[i].answered > DEAF)
            return th_fail(error, TH_UNAVAILABLE,
                           "a thread of orchestrators has not answered for %d s",
                           (int)(DEAF / TH_SECOND));
    return true;
}

static bool has_what_it_wants(const struct th_report *report, struct th_error *error)
{
    for (uint32_t p = 0; p < report->options.partitions; p++) {
        const struct part *part = &report->parts[p];
        if (part->wanted && part->owned < 0)
            return th_fail(error, TH_UNAVAILABLE, "partition %u is not active yet%s%s", (unsigned)p,
                           *part->trouble ? ": " : "", part->trouble);
    }
    return true;
}

bool th_report_is_sound(struct th_report *report, struct th_error *error)
{
    pthread_mutex_lock(&report->lock);
    bool sound = hears(report, error) && has_what_it_wants(report, error);
    pthread_mutex_unlock(&report->lock);
    return sound;
}

bool th_report_is_alive(struct th_report *report, struct th_error *error)
{
    pthread_mutex_lock(&report->lock);
    bool alive = hears(report, error);
    pthread_mutex_unlock(&report->lock);
    return alive;
}

/* ---- looks at the hosts, on their nodes' threads --------------------------------------------- */

static void see_partition(struct part *part, const struct th_node *node, uint32_t partition)
{
    th_node_look(node, partition, &part->seen);
    snprintf(part->trouble, sizeof part->trouble, "%s", part->seen.trouble);
    part->seen.trouble = part->trouble;
}

static void count_unserved(void *argument, enum th_function_kind kind, struct th_str name,
                           size_t waiting)
{
    struct house *house = argument;
    size_t at = 0;
    while (at < house->unserved_count &&
           !(house->unserved[at].kind == kind && th_str_eq(house->unserved[at].name, name)))
        at++;
    if (at == house->unserved_count) {
        house->unserved =
            th_grow(house->unserved, &house->unserved_capacity, at + 1, sizeof *house->unserved);
        char *copy = th_str_dup(name);
        house->unserved[house->unserved_count++] =
            (struct th_member_unserved){.kind = kind, .name = th_str_of(copy)};
    }
    house->unserved[at].waiting += waiting;
}

static void see_house(struct house *house, const struct th_node *node)
{
    struct th_report *report = house->report;
    th_time now = th_monotonic();
    house->answered = now;
    th_node_get_stats(node, &house->stats);
    th_host_get_load(house->host, &house->load);
    for (size_t p = house->index; p < report->options.partitions; p += report->house_count)
        see_partition(&report->parts[p], node, (uint32_t)p);
    if (now - house->counted < UNSERVED_INTERVAL)
        return;
    house->counted = now;
    forget_unserved(house);
    th_node_unserved(node, count_unserved, house);
}

static bool all_have_answered(const struct th_report *report)
{
    for (size_t i = 0; i < report->house_count; i++)
        if (report->houses[i].looking)
            return false;
    return true;
}

static void on_seen(void *argument, const struct th_node *node)
{
    struct house *house = argument;
    struct th_report *report = house->report;
    pthread_mutex_lock(&report->lock);
    house->looking = false;
    if (node)
        see_house(house, node);
    if (node && all_have_answered(report))
        publish(report, false);
    pthread_mutex_unlock(&report->lock);
}

void th_report_look(struct th_report *report)
{
    for (size_t i = 0; i < report->house_count; i++) {
        struct house *house = &report->houses[i];
        pthread_mutex_lock(&report->lock);
        bool free = !house->looking;
        house->looking = true;
        pthread_mutex_unlock(&report->lock);
        if (free)
            th_host_look(house->host, on_seen, house);
    }
}

/* ---- activity messages ----------------------------------------------------------------------- */

void th_report_activities(struct th_report *report, const struct th_report_activities *activities)
{
    const struct th_report_activities *a = activities;
    pthread_mutex_lock(&report->lock);
    struct th_arena *arena = &report->arena;
    th_arena_reset(arena);
    struct th_member_unserved *unserved =
        th_arena_dup(arena, a->unserved, a->unserved_count * sizeof *unserved);
    for (size_t i = 0; i < a->unserved_count; i++)
        unserved[i].name = th_arena_str(arena, unserved[i].name);
    report->activities = (struct th_report_activities){
        .partitions =
            th_arena_dup(arena, a->partitions, a->partition_count * sizeof *a->partitions),
        .partition_count = a->partition_count,
        .left = th_arena_dup(arena, a->left, a->left_count * sizeof *a->left),
        .left_count = a->left_count,
        .unserved = unserved,
        .unserved_count = a->unserved_count,
    };
    pthread_mutex_unlock(&report->lock);
}

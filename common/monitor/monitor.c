/*
 * Whoever wants to know asks for a look and waits for one that began after the question; the thread
 * makes one look for all who asked meanwhile. It asks nothing on its own but to keep house.
 */
#include "monitor/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "api/document.h"

#define BROKER_PATIENCE (3 * TH_SECOND)
#define LOOK_PATIENCE   (5 * TH_SECOND)
#define WATCH_INTERVAL  (500 * TH_MILLISECOND)
#define TRIM_INTERVAL   (5 * TH_SECOND)

/* ---- waiting -------------------------------------------------------------------------------- */

/* False: the monotonic deadline has passed. The lock is held. */
static bool wait_until(struct th_monitor *monitor, th_time deadline)
{
    struct timespec at = {.tv_sec = deadline / TH_SECOND,
                          .tv_nsec = deadline % TH_SECOND * (1000000000 / TH_SECOND)};
    if (deadline == TH_TIME_NONE) {
        return pthread_cond_wait(&monitor->changed, &monitor->lock) == 0;
    }
    return pthread_cond_timedwait(&monitor->changed, &monitor->lock, &at) != ETIMEDOUT;
}

/* A reference to a look that began after the call; NULL: failed. */
static struct th_monitor_look *look_now(struct th_monitor *monitor, struct th_error *error)
{
    struct th_monitor_look *look = NULL;
    th_time deadline = th_monotonic() + LOOK_PATIENCE;
    pthread_mutex_lock(&monitor->lock);
    uint64_t number = ++monitor->asked;
    pthread_cond_broadcast(&monitor->changed);
    while (monitor->answered < number && !monitor->stopping && wait_until(monitor, deadline)) {
    }
    if (monitor->answered >= number && monitor->latest) {
        look = monitor->latest;
        atomic_fetch_add(&look->references, 1);
    } else if (monitor->answered >= number && error) {
        *error = monitor->error;
    } else {
        th_fail(error, TH_UNAVAILABLE, "the brokers at %s have not answered in time",
                monitor->cluster.brokers);
    }
    pthread_mutex_unlock(&monitor->lock);
    return look;
}

/* ---- the thread ----------------------------------------------------------------------------- */

/* The lock is held on entry and exit. */
static void answer(struct th_monitor *monitor)
{
    struct th_error error = {.code = TH_OK};
    uint64_t number = monitor->asked;
    pthread_mutex_unlock(&monitor->lock);
    struct th_monitor_look *look = th_monitor_look_new(monitor, &error);
    pthread_mutex_lock(&monitor->lock);
    th_monitor_look_unref(monitor->latest);
    monitor->latest = look;
    monitor->error = error;
    monitor->answered = number;
    pthread_cond_broadcast(&monitor->changed);
}

static th_time keep_house(struct th_monitor *monitor)
{
    th_time now = th_monotonic();
    if (!monitor->options.keeps_house) {
        return TH_TIME_NONE;
    }
    if (monitor->watch_at <= now) {
        th_monitor_watch_leases(monitor, now);
        monitor->watch_at = now + WATCH_INTERVAL;
    }
    if (monitor->trim_at <= now) {
        th_monitor_trim(monitor);
        monitor->trim_at = th_monotonic() + TRIM_INTERVAL;
    }
    return monitor->watch_at < monitor->trim_at ? monitor->watch_at : monitor->trim_at;
}

static void *thread_main(void *argument)
{
    struct th_monitor *monitor = argument;
    pthread_setname_np(pthread_self(), "monitor");
    for (;;) {
        th_time next = keep_house(monitor);
        pthread_mutex_lock(&monitor->lock);
        while (!monitor->stopping && monitor->asked == monitor->answered &&
               wait_until(monitor, next)) {
        }
        if (!monitor->stopping && monitor->asked != monitor->answered) {
            answer(monitor);
        }
        bool stopping = monitor->stopping;
        pthread_mutex_unlock(&monitor->lock);
        if (stopping) {
            return NULL;
        }
    }
}

/* ---- opening and closing -------------------------------------------------------------------- */

static void monitor_free(struct th_monitor *monitor)
{
    th_kafka_survey_close(monitor->survey);
    th_monitor_look_unref(monitor->latest);
    pthread_cond_destroy(&monitor->changed);
    pthread_mutex_destroy(&monitor->lock);
    free(monitor->leases);
    free(monitor->kept);
    free(monitor);
}

static void init_lock(struct th_monitor *monitor)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&monitor->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&monitor->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct th_monitor *th_monitor_open(const struct th_monitor_options *options, struct th_error *error)
{
    struct th_monitor *monitor = TH_NEW(struct th_monitor);
    monitor->options = *options;
    monitor->cluster = *options->cluster;
    monitor->cluster.patience = BROKER_PATIENCE;
    monitor->hub = *options->hub;
    monitor->leases = th_alloc(monitor->hub.record.partitions * sizeof(*monitor->leases));
    for (uint32_t p = 0; p < monitor->hub.record.partitions; p++) {
        monitor->leases[p].unowned = TH_TIME_NONE;
    }
    monitor->trim_at = th_monotonic() + TRIM_INTERVAL;
    init_lock(monitor);
    monitor->survey = th_kafka_survey_open(&monitor->cluster, &monitor->hub, error);
    if (!monitor->survey) {
        monitor_free(monitor);
        return NULL;
    }
    if (pthread_create(&monitor->thread, NULL, thread_main, monitor) != 0) {
        th_fail(error, TH_INTERNAL, "no thread can be started");
        monitor_free(monitor);
        return NULL;
    }
    return monitor;
}

void th_monitor_close(struct th_monitor *monitor)
{
    if (!monitor) {
        return;
    }
    pthread_mutex_lock(&monitor->lock);
    monitor->stopping = true;
    pthread_cond_broadcast(&monitor->changed);
    pthread_mutex_unlock(&monitor->lock);
    pthread_join(monitor->thread, NULL);
    monitor_free(monitor);
}

uint64_t th_monitor_trimmed(struct th_monitor *monitor)
{
    return atomic_load(&monitor->trimmed);
}

/* ---- reports -------------------------------------------------------------------------------- */

/* A look, the heartbeats of this moment, and what they make together. */
struct scene {
    struct th_monitor_look *look;
    struct th_control_view members;
    struct th_arena arena;
    struct th_monitor_picture picture;
};

static void scene_deinit(struct scene *scene)
{
    th_monitor_look_unref(scene->look);
    th_control_view_deinit(&scene->members);
    th_arena_deinit(&scene->arena);
}
#define SCENE __attribute__((cleanup(scene_deinit))) struct scene

static bool see(struct th_monitor *monitor, struct scene *scene, struct th_error *error)
{
    scene->look = look_now(monitor, error);
    if (!scene->look) {
        return false;
    }
    th_control_look(monitor->options.control, &scene->members);
    th_monitor_merge(&monitor->hub.record, &scene->look->topics[TH_LAG_INSTANCES],
                     &scene->look->topics[TH_LAG_ACTIVITIES], &scene->members, &scene->arena,
                     &scene->picture);
    return true;
}

bool th_monitor_lag(struct th_monitor *monitor, struct th_buffer *out, struct th_error *error)
{
    SCENE scene = {.look = NULL};
    if (!see(monitor, &scene, error)) {
        return false;
    }
    th_document_lag(out, &scene.picture.lag);
    return true;
}

static bool tell_lag(void *argument, struct th_buffer *out, struct th_error *error)
{
    return th_monitor_lag(argument, out, error);
}

static bool tell_hub(void *argument, struct th_buffer *out, struct th_error *error)
{
    struct th_monitor *monitor = argument;
    SCENE scene = {.look = NULL};
    TH_BUFFER members = {0};
    if (!see(monitor, &scene, error)) {
        return false;
    }
    th_monitor_put_members(&members, &scene.members);
    th_document_hub(out, &scene.picture.view, th_buffer_view(&members));
    return true;
}

/* A scrape that fails as a whole would hide that the brokers are away: what is left is told. */
static bool tell_metrics(void *argument, struct th_buffer *out, struct th_error *error)
{
    struct th_monitor *monitor = argument;
    SCENE scene = {.look = NULL};
    if (monitor->options.tells_hub && see(monitor, &scene, NULL)) {
        th_metrics_lag(out, &scene.picture.lag);
        th_metrics_view(out, &scene.picture.view);
        th_monitor_put_metrics(out, monitor->hub.record.name, &scene.members);
    }
    if (monitor->options.metrics) {
        monitor->options.metrics(monitor->options.argument, out);
    }
    return true;
}

/* Rests on heartbeats alone: a probe comes often. */
static bool is_ready(void *argument, struct th_error *error)
{
    struct th_monitor *monitor = argument;
    TH_CONTROL_VIEW members = {.members = NULL};
    TH_BUFFER missing = {0};
    struct th_str why = TH_STR_ABSENT;
    uint32_t partitions = monitor->hub.record.partitions;
    uint32_t unowned = 0;
    th_control_look(monitor->options.control, &members);
    if (!members.ready) {
        return th_fail(error, TH_UNAVAILABLE, "what the others do is not known yet");
    }
    for (uint32_t p = 0; p < partitions; p++) {
        if (!th_monitor_owner(&members, p)) {
            unowned++;
            why = why.len > 0 ? why : th_monitor_trouble(&members, p);
        }
    }
    return unowned == 0 || th_fail(error, TH_UNAVAILABLE, "%u of %u partitions have an owner%s%.*s",
                                   (unsigned)(partitions - unowned), (unsigned)partitions,
                                   why.len ? ": " : "", TH_PRI(why));
}

struct th_http_reports th_monitor_reports(struct th_monitor *monitor)
{
    return (struct th_http_reports){.argument = monitor,
                                    .hub = tell_hub,
                                    .lag = tell_lag,
                                    .metrics = tell_metrics,
                                    .ready = is_ready};
}

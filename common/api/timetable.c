#include "api/timetable.h"

#include <pthread.h>
#include <stdlib.h>

#include "api/request.h"
#include "base/cron.h"
#include "base/log.h"
#include "base/memory.h"

/* The wall clock may be set while we wait, so it is looked at this often. */
#define LOOK_INTERVAL (10 * TH_SECOND)

struct entry {
    struct th_timetable *timetable;
    const struct th_cron_function *function;
    struct th_cron due;
    th_time next; /* TH_TIME_NONE: never again */
    bool running;
};

struct th_timetable {
    const struct th_api *api;
    struct th_threads *threads;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool stopping;
    size_t count;
    struct entry entries[];
};

static void run_entry(void *argument)
{
    struct entry *entry = argument;
    struct th_timetable *timetable = entry->timetable;
    const struct th_log *log = timetable->api->options.log;
    int status;
    int verdict = th_request_fire(timetable->api, entry->function, &status);
    if (verdict != 0 || status >= 400) {
        th_log(log, TH_LOG_WARN, "cron", "%s failed (returned %d, answered %d)",
               entry->function->name, verdict, status);
    }
    pthread_mutex_lock(&timetable->mutex);
    entry->running = false;
    pthread_mutex_unlock(&timetable->mutex);
}

static void start_entry(struct th_timetable *timetable, struct entry *entry)
{
    const char *why = "it still runs";
    if (!entry->running) {
        entry->running = th_threads_run(timetable->threads, run_entry, entry);
        if (entry->running) {
            return;
        }
        why = "every client-function thread is busy";
    }
    th_log(timetable->api->options.log, TH_LOG_WARN, "cron", "%s is due but left out: %s",
           entry->function->name, why);
}

static bool is_here(const struct th_http_options *options)
{
    return !options->cron_is_here || options->cron_is_here(options->cron_argument);
}

/* Starts what is due; returns when to look again. */
static th_time start_due(struct th_timetable *timetable, th_time now)
{
    th_time soonest = now + LOOK_INTERVAL;
    for (size_t i = 0; i < timetable->count; i++) {
        struct entry *entry = &timetable->entries[i];
        if (entry->next != TH_TIME_NONE && entry->next <= now) {
            if (is_here(&timetable->api->options)) {
                start_entry(timetable, entry);
            }
            entry->next = th_cron_next(&entry->due, now);
        }
        if (entry->next != TH_TIME_NONE && entry->next < soonest) {
            soonest = entry->next;
        }
    }
    return soonest;
}

static void wait_for(struct th_timetable *timetable, th_time duration)
{
    th_time until = th_monotonic() + duration;
    struct timespec deadline = {.tv_sec = until / TH_SECOND, .tv_nsec = (until % TH_SECOND) * 1000};
    pthread_cond_clockwait(&timetable->changed, &timetable->mutex, CLOCK_MONOTONIC, &deadline);
}

static void *keep_time(void *argument)
{
    struct th_timetable *timetable = argument;
    pthread_mutex_lock(&timetable->mutex);
    while (!timetable->stopping) {
        th_time now = th_now();
        th_time next = start_due(timetable, now);
        wait_for(timetable, next - now);
    }
    pthread_mutex_unlock(&timetable->mutex);
    return NULL;
}

static void add_entry(struct th_timetable *timetable, const struct th_cron_function *function)
{
    struct entry *entry = &timetable->entries[timetable->count];
    struct th_error error;
    /* The application's loader has refused bad schedules already. */
    if (!th_cron_parse(th_str_of(function->schedule), &entry->due, &error)) {
        th_log(timetable->api->options.log, TH_LOG_ERROR, "cron", "%s: %s", function->name,
               error.message);
        return;
    }
    entry->timetable = timetable;
    entry->function = function;
    entry->next = th_cron_next(&entry->due, th_now());
    timetable->count++;
}

struct th_timetable *th_timetable_start(const struct th_api *api, struct th_threads *threads)
{
    const struct th_app *app = api->options.app;
    size_t count = app && !api->options.no_cron ? th_app_cron_count(app) : 0;
    if (count == 0) {
        return NULL;
    }
    struct th_timetable *timetable =
        th_alloc(sizeof(*timetable) + count * sizeof(timetable->entries[0]));
    timetable->api = api;
    timetable->threads = threads;
    pthread_mutex_init(&timetable->mutex, NULL);
    pthread_cond_init(&timetable->changed, NULL);
    for (size_t i = 0; i < count; i++) {
        add_entry(timetable, th_app_cron(app, i));
    }
    if (pthread_create(&timetable->thread, NULL, keep_time, timetable) != 0) {
        th_log(api->options.log, TH_LOG_ERROR, "cron", "no thread: cron functions will not run");
        timetable->stopping = true;
    }
    return timetable;
}

void th_timetable_stop(struct th_timetable *timetable)
{
    if (!timetable) {
        return;
    }
    pthread_mutex_lock(&timetable->mutex);
    bool joins = !timetable->stopping;
    timetable->stopping = true;
    pthread_cond_signal(&timetable->changed);
    pthread_mutex_unlock(&timetable->mutex);
    if (joins) {
        pthread_join(timetable->thread, NULL);
    }
}

void th_timetable_free(struct th_timetable *timetable)
{
    if (timetable) {
        pthread_cond_destroy(&timetable->changed);
        pthread_mutex_destroy(&timetable->mutex);
        free(timetable);
    }
}

/*
 * The node's thread: it takes what others have put into its queue, and steps the node.
 */
#include "worker/hostinternal.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "model/name.h"

#define DEFAULT_EPISODE_LIMIT_MS 10000
#define DEFAULT_MAX_WARM         20000
#define DEFAULT_MAX_CRASHES      3
#define DEFAULT_MAX_OPERATIONS   50
#define ENTITIES_PER_PROCESSOR   10
#define MAX_SLEEP                (5 * TH_SECOND)      /* a wall clock that is set is noticed then */
#define QUIET_LOOK               (2 * TH_MILLISECOND) /* while the last results become durable */

struct stats_mail {
    struct mail mail;
    struct th_node_stats *out;
    sem_t done;
};

struct stop_mail {
    struct mail mail;
    th_time deadline; /* monotonic */
};

struct crash_mail {
    struct mail mail;
    int32_t task_id;
    char *instance_id, *reason;
};

/* ---- the node's thread ----------------------------------------------------------------------- */

static void enter_result(struct th_host *host, struct th_pool_result *result, th_time now)
{
    const struct th_activity_result *activity = &result->activity;
    struct th_failure failure = {
        .type = th_str_of(activity->failure_type),
        .message = th_str_of(activity->failure_message),
        .non_retriable = activity->non_retriable,
    };
    struct th_activity_answer answer = {
        .token = result->token,
        .data = activity->data ? th_str_n(activity->data, activity->len) : TH_STR_ABSENT,
        .failure = activity->failed ? &failure : NULL,
    };
    if (answer.token & RUN_TOKEN)
        host_enter_run_result(host, &answer, now);
    else
        th_node_activity_done(host->node, &answer, now);
    th_pool_result_free(result);
}

static void enter_stop(struct th_host *host, struct stop_mail *stop)
{
    host->draining = true;
    host->drain_deadline = stop->deadline;
    if (host->pool)
        th_pool_drain(host->pool);
    else
        host->runner.drain(host->runner.argument);
    th_node_drain(host->node);
    free(stop);
}

static void enter_stats(struct th_host *host, struct stats_mail *stats)
{
    th_node_get_stats(host->node, stats->out);
    sem_post(&stats->done);
}

static void crash_mail_free(struct crash_mail *crash)
{
    free(crash->instance_id);
    free(crash->reason);
    free(crash);
}

static void enter_crash(struct th_host *host, struct crash_mail *crash, th_time now)
{
    th_node_crashed(host->node, th_str_of(crash->instance_id), crash->task_id, crash->reason, now);
    crash_mail_free(crash);
}

static void enter_up(struct th_host *host, struct mail *up)
{
    host->runner.taken_up(host->runner.argument);
    th_node_hold(host->node, false);
    free(up);
}

static void enter(struct th_host *host, struct mail *mail, th_time now)
{
    switch ((enum mail_kind)mail->kind) {
    case MAIL_RESULT:
        enter_result(host, (struct th_pool_result *)mail, now);
        break;
    case MAIL_COMMAND:
        host_enter_command(host, mail, now);
        break;
    case MAIL_CANCEL:
        host_enter_cancel(host, mail);
        break;
    case MAIL_STATS:
        enter_stats(host, (struct stats_mail *)mail);
        break;
    case MAIL_STOP:
        enter_stop(host, (struct stop_mail *)mail);
        break;
    case MAIL_CRASH:
        enter_crash(host, (struct crash_mail *)mail, now);
        break;
    case MAIL_UP:
        enter_up(host, mail);
        break;
    case MAIL_ERRAND:
        ((struct errand *)mail)->carry_out(host, (struct errand *)mail, now);
        break;
    }
}

static void enter_all(struct th_host *host, struct th_link *link, th_time now)
{
    for (struct th_link *next; link; link = next) {
        next = link->next;
        enter(host, (struct mail *)link, now);
    }
}

/* `quiet`: nothing ran when the queue was last emptied, so no result is in it. */
static bool is_over(struct th_host *host, bool quiet)
{
    if (!host->draining)
        return false;
    if (th_monotonic() >= host->drain_deadline)
        return true;
    return quiet && th_node_drained(host->node);
}

static th_time sleep_deadline(struct th_host *host, th_time next, th_time now)
{
    if (next == TH_TIME_NONE && !host->draining)
        return TH_TIME_NONE;
    th_time wait = next == TH_TIME_NONE || next - now > MAX_SLEEP ? MAX_SLEEP : next - now;
    th_time deadline = th_monotonic() + (wait > 0 ? wait : 0);
    if (host->draining && deadline > host->drain_deadline)
        deadline = host->drain_deadline;
    return deadline;
}

/* No mail comes after this; what is there is worked off. */
static void close_mail(struct th_host *host)
{
    pthread_mutex_lock(&host->calls_lock);
    host->closed = true;
    pthread_mutex_unlock(&host->calls_lock);
    enter_all(host, th_queue_take(&host->mail), th_now());
}

static void *node_main(void *argument)
{
    struct th_host *host = argument;
    pthread_setname_np(pthread_self(), "node");
    host->slot = th_flight_join(host->options.flight);
    th_time next = th_now();
    for (bool quiet = false; !is_over(host, quiet);) {
        quiet = host->draining && host_running(host) == 0;
        th_time deadline =
            quiet ? th_monotonic() + QUIET_LOOK : sleep_deadline(host, next, th_now());
        struct th_link *mail = th_queue_wait(&host->mail, deadline);
        th_time now = th_now();
        enter_all(host, mail, now);
        next = th_node_step(host->node, now);
    }
    close_mail(host);
    th_node_free(host->node);
    th_executor_free(host->executor);
    th_flight_leave(host->options.flight, host->slot);
    return NULL;
}

/* ---- the node's hooks, on its thread --------------------------------------------------------- */

static void on_activity(void *argument, const struct th_activity_work *work)
{
    struct th_host *host = argument;
    host_not_announced(host);
    host_activity(host, work);
}

static void on_activity_canceled(void *argument, uint64_t token)
{
    host_activity_canceled(argument, token);
}

static enum th_executor_result on_orchestrate(void *argument, const struct th_episode *episode,
                                              struct th_arena *arena, struct th_actions *out)
{
    return host_orchestrate(argument, episode, arena, out);
}

static void on_forget(void *argument, struct th_str instance_id)
{
    host_forget(argument, instance_id);
}

static void on_episode_canceled(void *argument, uint64_t episode)
{
    host_episode_canceled(argument, episode);
}

static bool on_is_alive(void *argument, struct th_str worker)
{
    struct th_host *host = argument;
    return th_str_eq(worker, th_str_of(host->worker)) ||
           host->options.is_alive(host->options.argument, worker);
}

static void on_lease(void *argument, uint32_t partition, int64_t epoch)
{
    struct th_host *host = argument;
    host->options.lease(host->options.argument, partition, epoch);
}

static bool on_serves(void *argument, enum th_function_kind kind, struct th_str name,
                      struct th_str version)
{
    return host_serves(argument, kind, name, version);
}

static bool on_runs_elsewhere(void *argument, enum th_function_kind kind, struct th_str name)
{
    return host_runs_elsewhere(argument, kind, name);
}

static bool on_withdraw(void *argument, uint64_t token)
{
    return host_withdraw(argument, token);
}

static void on_unserved(void *argument,
                        void (*visit)(void *visitor, struct th_str name, size_t waiting),
                        void *visitor)
{
    struct th_host *host = argument;
    th_rpc_unserved(host->options.rpc, &host->rpc, visit, visitor);
}

static void on_episode(void *argument, bool begins, struct th_str instance_id, struct th_str name,
                       bool failed)
{
    struct th_host *host = argument;
    if (begins) {
        host->counter =
            th_counters_find(host->options.counters, th_function_kind_of(instance_id), name);
        host->episode_began = th_monotonic();
        th_counter_begin(host->counter, false);
        th_flight_begin(host->slot, instance_id, TH_FLIGHT_EPISODE, TH_STR_ABSENT,
                        host->episode_began);
    } else {
        th_flight_end(host->slot);
        th_counter_end(host->counter, th_monotonic() - host->episode_began, failed);
    }
}

static void on_wake(void *argument)
{
    struct th_host *host = argument;
    th_queue_wake(&host->mail);
}

void th_host_result(struct th_host *host, struct th_pool_result *result)
{
    result->kind = MAIL_RESULT;
    th_queue_push(&host->mail, &result->link);
}

static void on_done(void *argument, struct th_pool_result *result)
{
    th_host_result(argument, result);
}

static void on_exhausted(void *argument, const char *reason)
{
    struct th_host *host = argument;
    th_log(host->options.log, TH_LOG_ERROR, "worker.host", "%s", reason);
    if (host->options.exhausted)
        host->options.exhausted(host->options.argument, reason);
}

/* ---- the watchdog ---------------------------------------------------------------------------- */

static int64_t shorter_ms(int64_t a, int64_t b)
{
    if (a <= 0)
        return b;
    return b <= 0 || a < b ? a : b;
}

/* Often enough to be exact within an eighth of the shortest limit. */
static th_time watch_interval(const struct th_host *host)
{
    int64_t limit = host->options.flight ? host->options.episode_limit_ms : 0;
    limit = shorter_ms(limit, host->options.function_timeout_ms);
    if (limit <= 0)
        return TH_TIME_NONE;
    int64_t interval = limit / 8;
    return (interval < 5 ? 5 : interval > 1000 ? 1000 : interval) * TH_MILLISECOND;
}

static void abort_when_stuck(struct th_host *host, th_time now)
{
    th_time limit = host->options.episode_limit_ms * TH_MILLISECOND;
    if (!host->options.flight || limit <= 0)
        return;
    if (!th_flight_mark_stuck(host->options.flight, now - limit, now))
        return;
    th_log(host->options.log, TH_LOG_ERROR, "worker.host",
           "an episode did not come back within %lld ms; the process starts anew without it",
           (long long)host->options.episode_limit_ms);
    abort();
}

static void *watchdog_main(void *argument)
{
    struct th_host *host = argument;
    th_time interval = watch_interval(host);
    pthread_setname_np(pthread_self(), "watchdog");
    while (!host->watchdog_stop) {
        th_time now = th_monotonic();
        th_queue_wait(&host->watchdog_wake, interval == TH_TIME_NONE ? interval : now + interval);
        now = th_monotonic();
        if (host->pool)
            th_pool_watch(host->pool, now);
        abort_when_stuck(host, now);
    }
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static char *worker_name(const char *given)
{
    char host_name[65] = "worker";
    char name[96];
    if (given)
        return th_str_dup(th_str_of(given));
    if (gethostname(host_name, sizeof host_name - 1) != 0)
        strcpy(host_name, "worker");
    snprintf(name, sizeof name, "%s-%d", host_name, (int)getpid());
    return th_str_dup(th_str_of(name));
}

static unsigned default_threads(void)
{
    int processors = get_nprocs();
    return processors < 2 ? 4 : (unsigned)processors * 2;
}

static void apply_defaults(struct th_host_options *options)
{
    if (options->activity_threads == 0)
        options->activity_threads = default_threads();
    if (options->episode_limit_ms == 0)
        options->episode_limit_ms = DEFAULT_EPISODE_LIMIT_MS;
    if (options->max_warm == 0)
        options->max_warm = DEFAULT_MAX_WARM;
    if (options->max_crashes == 0)
        options->max_crashes = DEFAULT_MAX_CRASHES;
    if (options->max_operations == 0)
        options->max_operations = DEFAULT_MAX_OPERATIONS;
    if (options->max_entities == 0)
        options->max_entities = (size_t)get_nprocs() * ENTITIES_PER_PROCESSOR;
    if (options->seed == 0)
        options->seed = th_random_system();
}

static struct th_pool *pool_of(struct th_host *host, struct th_error *error)
{
    const struct th_host_options *options = &host->options;
    struct th_pool_options pool = {
        .app = options->app,
        .log = options->log,
        .flight = options->flight,
        .counters = options->counters,
        .threads = options->activity_threads,
        .timeout_ms = options->function_timeout_ms,
        .limits = options->limits,
        .limit_count = options->limit_count,
        .argument = host,
        .done = on_done,
        .exhausted = on_exhausted,
    };
    return th_pool_new(&pool, error);
}

/* What nobody has fails, in a hub of one application; where others may come to serve it, it waits.
 */
static bool others_may_serve(const struct th_host *host)
{
    return host->options.leases || host->options.rpc || !host->options.app;
}

static struct th_node_hooks hooks_of(struct th_host *host)
{
    const struct th_host_options *options = &host->options;
    bool watched = options->counters || (options->flight && !host_has_runner(host));
    bool withdraws = options->leases && (host->pool || options->rpc);
    return (struct th_node_hooks){
        .argument = host,
        .activity = on_activity,
        .activity_canceled = on_activity_canceled,
        .orchestrate = options->app || options->rpc ? on_orchestrate : NULL,
        .forget = on_forget,
        .episode_canceled = options->rpc ? on_episode_canceled : NULL,
        .serves = others_may_serve(host) ? on_serves : NULL,
        .runs_elsewhere = options->rpc ? on_runs_elsewhere : NULL,
        .withdraw = withdraws ? on_withdraw : NULL,
        .unserved = options->rpc ? on_unserved : NULL,
        .goes_out = options->goes_out ? host_goes_out : NULL,
        .is_alive = options->is_alive ? on_is_alive : NULL,
        .lease = options->lease ? on_lease : NULL,
        .episode = watched ? on_episode : NULL,
    };
}

static struct th_node *node_of(struct th_host *host)
{
    const struct th_host_options *options = &host->options;
    struct th_node_options node = {
        .provider = options->provider,
        .hooks = hooks_of(host),
        .log = options->log,
        .worker = host->worker,
        .seed = options->seed,
        .max_instances = options->max_instances,
        .checkpoint_records = options->checkpoint_records,
        .max_crashes = options->max_crashes,
        .max_payload_bytes = options->max_payload_bytes,
        .max_operations = options->max_operations,
        .max_entities = options->max_entities,
        .version = options->version,
        .version_match = options->version_match,
        .version_failure = options->version_failure,
    };
    return th_node_new(&node);
}

static struct th_executor *executor_of(struct th_host *host)
{
    if (!host->options.app || host_has_runner(host))
        return NULL;
    struct th_executor_options executor = {
        .app = host->options.app,
        .log = host->options.log,
        .default_version = host->options.version,
        .max_warm = host->options.max_warm,
        .replay_always = host->options.replay_always,
    };
    return th_executor_new(&executor);
}

/* One that is certain is reported each time, and the log counts. A suspect is left alone until the
 * recorder has seen it there too often; then the node hears of all its deaths at once. */
static void report_crash(struct th_host *host, size_t index)
{
    struct th_flight *flight = host->options.flight;
    const struct th_flight_culprit *culprit = th_flight_culprit(flight, index);
    bool episode = culprit->task_id == TH_FLIGHT_EPISODE;
    const char *code =
        th_is_entity(th_str_of(culprit->instance_id)) ? "the entity" : "the orchestrator";
    uint32_t max = host->options.max_crashes;
    uint32_t reports = culprit->certain ? 1 : culprit->count >= max ? max : 0;

    th_log(host->options.log, TH_LOG_ERROR, "worker", "instance %s: %s%s%s %s",
           culprit->instance_id, episode ? code : "activity \"", culprit->name, episode ? "" : "\"",
           culprit->reason);
    for (uint32_t i = 0; i < reports; i++)
        th_node_report_crash(host->node, th_str_of(culprit->instance_id), culprit->task_id,
                             culprit->reason);
    /* Of a fleet's activity messages the recorder counts, see hostfleet.c. */
    bool counted_here = host->options.leases && !episode && culprit->count < max;
    if (reports > 0 && !counted_here)
        th_flight_settle(flight, index);
}

static void report_crashes(struct th_host *host)
{
    for (size_t i = 0; host->options.flight && i < th_flight_culprits(host->options.flight); i++)
        report_crash(host, i);
}

static void init_lock(struct th_host *host)
{
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&host->calls_lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
}

static struct th_host *host_new(const struct th_host_options *options)
{
    struct th_host *host = TH_NEW(struct th_host);
    host->options = *options;
    apply_defaults(&host->options);
    if (options->runner)
        host->runner = *options->runner;
    atomic_init(&host->last_run, 0);
    host->worker = worker_name(options->worker);
    host->hub = options->provider->hub;
    host->gateway =
        (struct th_gateway){.submit = host_submit, .cancel = host_cancel, .hub = &host->hub};
    host->drain_deadline = TH_TIME_NONE;
    th_queue_init(&host->mail);
    th_queue_init(&host->watchdog_wake);
    init_lock(host);
    return host;
}

static void host_free(struct th_host *host)
{
    th_queue_deinit(&host->mail);
    th_queue_deinit(&host->watchdog_wake);
    pthread_mutex_destroy(&host->calls_lock);
    free(host->worker);
    free(host);
}

static bool start_threads(struct th_host *host, struct th_error *error)
{
    int result = pthread_create(&host->watchdog, NULL, watchdog_main, host);
    if (result == 0) {
        result = pthread_create(&host->thread, NULL, node_main, host);
        if (result == 0)
            return true;
        host->watchdog_stop = true;
        th_queue_wake(&host->watchdog_wake);
        pthread_join(host->watchdog, NULL);
    }
    return th_fail(error, TH_INTERNAL, "cannot start the node's threads: %s", strerror(result));
}

static void detach(struct th_host *host)
{
    if (host->options.rpc)
        host_rpc_leave(host);
    if (host_has_runner(host))
        host->runner.detach(host->runner.argument);
}

/* What came too late for the node: activities run again at the next start. */
static void drop_mail(struct th_host *host)
{
    struct th_link *link = th_queue_take(&host->mail);
    for (struct th_link *next; link; link = next) {
        struct mail *mail = (struct mail *)link;
        next = link->next;
        if (mail->kind == MAIL_RESULT)
            th_pool_result_free((struct th_pool_result *)mail);
        else if (mail->kind == MAIL_CRASH)
            crash_mail_free((struct crash_mail *)mail);
        else if (mail->kind == MAIL_ERRAND)
            ((struct errand *)mail)->drop((struct errand *)mail);
        else
            free(mail);
    }
    host_drop_runs(host);
}

void th_host_crash(struct th_host *host, const char *instance_id, int32_t task_id,
                   const char *reason)
{
    struct crash_mail *crash = TH_NEW(struct crash_mail);
    *crash = (struct crash_mail){.mail = {.kind = MAIL_CRASH},
                                 .task_id = task_id,
                                 .instance_id = th_str_dup(th_str_of(instance_id)),
                                 .reason = th_str_dup(th_str_of(reason))};
    th_queue_push(&host->mail, &crash->mail.link);
}

void th_host_application_up(struct th_host *host)
{
    struct mail *up = TH_NEW(struct mail);
    up->kind = MAIL_UP;
    th_queue_push(&host->mail, &up->link);
}

struct th_host *th_host_start(const struct th_host_options *options, struct th_error *error)
{
    struct th_host *host = host_new(options);
    host->pool = host_has_runner(host) ? NULL : pool_of(host, error);
    if (!host->pool && !host_has_runner(host)) {
        options->provider->ops->close(options->provider);
        host_free(host);
        return NULL;
    }
    options->provider->wake = on_wake;
    options->provider->wake_argument = host;
    host->executor = executor_of(host);
    host->node = node_of(host);
    report_crashes(host);
    if (host_has_runner(host)) {
        th_node_hold(host->node, true); /* until the application is up */
        host->runner.attach(host->runner.argument, host);
    }
    if (options->rpc)
        host_rpc_join(host);
    for (uint32_t p = 0; p < host->hub.partitions && !options->leases; p++)
        th_node_take(host->node, p);
    if (start_threads(host, error))
        return host;
    th_node_free(host->node);
    th_executor_free(host->executor);
    detach(host);
    th_pool_free(host->pool, TH_TIME_NONE);
    drop_mail(host);
    host_free(host);
    return NULL;
}

struct th_gateway *th_host_gateway(struct th_host *host)
{
    return &host->gateway;
}

void th_host_stats(struct th_host *host, struct th_node_stats *out)
{
    struct stats_mail stats = {.mail = {.kind = MAIL_STATS}, .out = out};
    memset(out, 0, sizeof *out);
    sem_init(&stats.done, 0, 0);
    pthread_mutex_lock(&host->calls_lock);
    bool closed = host->closed;
    if (!closed)
        th_queue_push(&host->mail, &stats.mail.link);
    pthread_mutex_unlock(&host->calls_lock);
    while (!closed && sem_wait(&stats.done) != 0) {
    }
    sem_destroy(&stats.done);
}

static void stop_watchdog(struct th_host *host)
{
    host->watchdog_stop = true;
    th_queue_wake(&host->watchdog_wake);
    pthread_join(host->watchdog, NULL);
}

bool th_host_stop(struct th_host *host, int64_t drain_ms)
{
    if (!host)
        return true;
    struct stop_mail *stop = TH_NEW(struct stop_mail);
    th_time deadline = th_monotonic() + drain_ms * TH_MILLISECOND;
    *stop = (struct stop_mail){.mail = {.kind = MAIL_STOP}, .deadline = deadline};
    th_queue_push(&host->mail, &stop->mail.link);
    pthread_join(host->thread, NULL);
    stop_watchdog(host);
    detach(host);
    /* Past the deadline a thread that is about to end gets a moment more. */
    th_time last = th_monotonic() + 50 * TH_MILLISECOND;
    if (!th_pool_free(host->pool, last > deadline ? last : deadline))
        return false;
    drop_mail(host);
    host_free(host);
    return true;
}

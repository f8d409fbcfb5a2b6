/*
 * What reaches the node's thread lies in one queue: struct mail, or a result of the pool, which
 * begins like one.
 *
 * A call, a command under way, lives until the node has answered it or taken note of its
 * cancellation, whichever is later; both happen on the node's thread. `calls_lock` is held around
 * each callback, so `cancel`, which takes it too, knows that no callback is running. It is
 * recursive: a callback may submit and cancel. It also makes `closed` final: a submission either
 * is in the queue before the node's thread empties it for the last time, or is refused.
 */
#include "worker/host.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include <uthash.h>

#include "base/hash.h"
#include "base/memory.h"
#include "model/name.h"

#define DEFAULT_EPISODE_LIMIT_MS 10000
#define DEFAULT_MAX_WARM         20000
#define DEFAULT_MAX_CRASHES      3
#define MAX_SLEEP                (5 * TH_SECOND) /* a wall clock that is set is noticed then */
#define CALL_BUCKETS             4096

enum mail_kind {
    MAIL_RESULT,
    MAIL_COMMAND,
    MAIL_CANCEL,
    MAIL_STATS,
    MAIL_STOP,
    MAIL_CRASH,
    MAIL_UP,
    MAIL_LEASE,
    MAIL_RUN,
};

struct mail {
    struct th_link link;
    int kind;
};

_Static_assert(offsetof(struct mail, kind) == offsetof(struct th_pool_result, kind),
               "a result begins like a mail");

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

/* A partition to take or to release, or a worker that is gone. */
struct lease_mail {
    struct mail mail;
    enum { LEASE_TAKE, LEASE_RELEASE, LEASE_GONE } what;
    uint32_t partition;
    th_time by; /* wall clock */
    char *worker;
};

/* An activity message, from its arrival to the time when its result is durable. */
struct shared_run {
    struct mail mail;
    UT_hash_handle hh; /* host->runs, by token */
    struct th_host *host;
    uint64_t token;
    struct th_blob *blob;
    struct th_arena arena;
    struct th_message message; /* points into both */
    void (*done)(void *argument);
    void *argument;
};

struct call {
    struct mail mail;
    struct mail cancel; /* sent once the caller gave up */
    struct call *same_hash;
    struct th_host *host;
    uint64_t ticket;      /* the caller's */
    uint64_t node_ticket; /* the node's */
    th_reply_fn reply;
    void *argument;
    bool canceled, cancel_sent; /* guarded by calls_lock */
    bool entering, answered;    /* the node's thread: in th_node_command; the node is through */
    struct th_command command;  /* its strings and tags lie in `bytes` */
    _Alignas(struct th_tag) char bytes[];
};

struct th_host {
    struct th_gateway gateway;
    struct th_host_options options;
    struct th_runner runner; /* `orchestrate` is NULL: none */
    char *worker;
    struct th_hub_record hub;
    struct th_node *node;
    struct th_executor *executor;
    struct th_pool *pool;
    struct th_queue mail;
    pthread_t thread;
    pthread_t watchdog;
    struct th_queue watchdog_wake; /* holds nothing */
    atomic_bool watchdog_stop;

    pthread_mutex_t calls_lock;
    struct call *calls[CALL_BUCKETS]; /* by ticket, while the caller may cancel them */
    uint64_t last_ticket;
    bool closed;

    /* The node's thread only. */
    struct shared_run *runs;
    uint64_t last_run;
    struct th_flight_slot *slot;
    bool draining;
    th_time drain_deadline;
};

/* ---- calls ----------------------------------------------------------------------------------- */

static size_t command_bytes(const struct th_command *c)
{
    size_t bytes = c->tags.count * sizeof(struct th_tag) + c->instance_id.len + c->name.len +
                   c->version.len + c->data.len + c->reason.len + c->request_id.len + c->trace.len +
                   c->query.id_prefix.len + c->query.name.len + c->query.continuation.len;
    for (size_t i = 0; i < c->tags.count; i++)
        bytes += c->tags.items[i].key.len + c->tags.items[i].value.len;
    return bytes;
}

static void move_str(struct th_str *s, char **at)
{
    if (s->len)
        memcpy(*at, s->data, s->len);
    if (s->data)
        s->data = *at;
    *at += s->len;
}

static void move_tags(struct th_tags *tags, char **at)
{
    if (tags->count == 0)
        return;
    struct th_tag *items = (struct th_tag *)(void *)*at;
    memcpy(items, tags->items, tags->count * sizeof *items);
    *at += tags->count * sizeof *items;
    for (size_t i = 0; i < tags->count; i++) {
        move_str(&items[i].key, at);
        move_str(&items[i].value, at);
    }
    tags->items = items;
}

static struct call *call_new(struct th_host *host, const struct th_command *command,
                             th_reply_fn reply, void *argument)
{
    struct call *call = th_alloc(sizeof *call + command_bytes(command));
    call->mail.kind = MAIL_COMMAND;
    call->cancel.kind = MAIL_CANCEL;
    call->host = host;
    call->reply = reply;
    call->argument = argument;
    call->command = *command;
    struct th_command *c = &call->command;
    char *at = call->bytes;
    move_tags(&c->tags, &at);
    struct th_str *const strings[] = {
        &c->instance_id, &c->name,  &c->version,         &c->data,       &c->reason,
        &c->request_id,  &c->trace, &c->query.id_prefix, &c->query.name, &c->query.continuation};
    for (size_t i = 0; i < TH_COUNT(strings); i++)
        move_str(strings[i], &at);
    return call;
}

static struct call **find_call(struct th_host *host, uint64_t ticket)
{
    struct call **at = &host->calls[ticket % CALL_BUCKETS];
    while (*at && (*at)->ticket != ticket)
        at = &(*at)->same_hash;
    return at;
}

/* Calls lock held. */
static void unlist(struct call *call)
{
    struct call **at = find_call(call->host, call->ticket);
    if (*at == call)
        *at = call->same_hash;
}

/* The node's answer; on its thread. */
static void on_reply(void *argument, const struct th_reply *reply)
{
    struct call *call = argument;
    struct th_host *host = call->host;
    pthread_mutex_lock(&host->calls_lock);
    call->answered = true;
    if (!call->canceled) {
        unlist(call);
        call->reply(call->argument, reply);
    }
    bool last = !call->entering && !call->cancel_sent;
    pthread_mutex_unlock(&host->calls_lock);
    if (last)
        free(call);
}

static void refuse(struct call *call)
{
    struct th_reply reply = {.error = {.code = TH_OK}};
    th_fail(&reply.error, TH_UNAVAILABLE, "hub %s is stopping", call->host->hub.name);
    on_reply(call, &reply);
}

static uint64_t submit(struct th_gateway *gateway, const struct th_command *command,
                       th_reply_fn reply, void *argument)
{
    struct th_host *host = (struct th_host *)gateway;
    struct call *call = call_new(host, command, reply, argument);
    pthread_mutex_lock(&host->calls_lock);
    uint64_t ticket = ++host->last_ticket;
    call->ticket = ticket;
    bool closed = host->closed;
    if (!closed) {
        struct call **at = &host->calls[ticket % CALL_BUCKETS];
        call->same_hash = *at;
        *at = call;
        th_queue_push(&host->mail, &call->mail.link);
    }
    pthread_mutex_unlock(&host->calls_lock);
    if (closed)
        refuse(call);
    return ticket;
}

static bool cancel(struct th_gateway *gateway, uint64_t ticket)
{
    struct th_host *host = (struct th_host *)gateway;
    pthread_mutex_lock(&host->calls_lock);
    struct call *call = *find_call(host, ticket);
    if (call) {
        unlist(call);
        call->canceled = true;
        call->cancel_sent = !host->closed; /* else freed with the node's answer */
        if (call->cancel_sent)
            th_queue_push(&host->mail, &call->cancel.link);
    }
    pthread_mutex_unlock(&host->calls_lock);
    return call != NULL;
}

/* ---- the node's thread ----------------------------------------------------------------------- */

static void enter_command(struct th_host *host, struct call *call, th_time now)
{
    if (host->draining) {
        refuse(call);
        return;
    }
    call->entering = true;
    call->node_ticket = th_node_command(host->node, &call->command, on_reply, call, now);
    call->entering = false;
    pthread_mutex_lock(&host->calls_lock);
    bool over = call->answered && !call->cancel_sent;
    pthread_mutex_unlock(&host->calls_lock);
    if (over)
        free(call);
}

/* The caller gave up; this mail is the call's last. */
static void enter_cancel(struct th_host *host, struct call *call)
{
    if (!call->answered)
        th_node_cancel(host->node, call->node_ticket);
    free(call);
}

/* Tokens of activity messages; the node's have partition and lease up there. */
#define RUN_TOKEN (UINT64_C(1) << 63)

static void run_free(struct shared_run *run)
{
    th_arena_deinit(&run->arena);
    th_blob_unref(run->blob);
    free(run);
}

static void run_is_durable(void *argument)
{
    struct shared_run *run = argument;
    HASH_DELETE(hh, run->host->runs, run);
    run->done(run->argument);
    run_free(run);
}

static void enter_run_result(struct th_host *host, const struct th_activity_answer *answer,
                             th_time now)
{
    struct shared_run *run;
    HASH_FIND(hh, host->runs, &answer->token, sizeof answer->token, run);
    if (!run)
        return;
    const struct th_shared_result result = {
        .instance_id = run->message.instance_id,
        .execution_id = run->message.execution_id,
        .task_id = run->message.event.id,
        .scheduled = run->message.scheduled,
        .data = answer->data,
        .failure = answer->failure,
    };
    th_node_result(host->node, &result, run_is_durable, run, now);
}

static void enter_run(struct th_host *host, struct shared_run *run)
{
    const struct th_message *m = &run->message;
    const struct th_activity_work work = {
        .token = RUN_TOKEN | ++host->last_run,
        .instance_id = m->instance_id,
        .execution_id = m->execution_id,
        .name = m->event.name,
        .version = m->event.version,
        .input = m->event.data,
        .task_id = m->event.id,
        .tags = m->event.tags,
    };
    run->token = work.token;
    HASH_ADD(hh, host->runs, token, sizeof run->token, run);
    if (host->pool)
        th_pool_submit(host->pool, &work);
    else
        host->runner.activity(host->runner.argument, &work);
}

static void enter_lease(struct th_host *host, struct lease_mail *lease, th_time now)
{
    if (lease->what == LEASE_GONE)
        th_node_worker_gone(host->node, th_str_of(lease->worker), now);
    else if (lease->what == LEASE_RELEASE)
        th_node_release(host->node, lease->partition, lease->by);
    else if (!host->draining)
        th_node_take(host->node, lease->partition);
    free(lease->worker);
    free(lease);
}

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
        enter_run_result(host, &answer, now);
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
        enter_command(host, (struct call *)mail, now);
        break;
    case MAIL_CANCEL:
        enter_cancel(host, (struct call *)((char *)mail - offsetof(struct call, cancel)));
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
    case MAIL_LEASE:
        enter_lease(host, (struct lease_mail *)mail, now);
        break;
    case MAIL_RUN:
        enter_run(host, (struct shared_run *)mail);
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

static size_t running(struct th_host *host)
{
    return host->pool ? th_pool_running(host->pool) : host->runner.running(host->runner.argument);
}

static bool is_over(struct th_host *host)
{
    if (!host->draining)
        return false;
    if (th_monotonic() >= host->drain_deadline)
        return true;
    return running(host) == 0 && th_node_drained(host->node);
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
    while (!is_over(host)) {
        struct th_link *mail = th_queue_wait(&host->mail, sleep_deadline(host, next, th_now()));
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
    th_pool_submit(host->pool, work);
}

static void on_activity_canceled(void *argument, uint64_t token)
{
    struct th_host *host = argument;
    th_pool_cancel(host->pool, token);
}

static enum th_executor_result on_orchestrate(void *argument, const struct th_episode *episode,
                                              struct th_arena *arena, struct th_actions *out)
{
    struct th_host *host = argument;
    return th_executor_run(host->executor, episode, arena, out);
}

static void on_forget(void *argument, struct th_str instance_id)
{
    struct th_host *host = argument;
    th_executor_forget(host->executor, instance_id);
}

/* The runner's argument is not the host: the hooks have one argument for all. */
static void on_remote_activity(void *argument, const struct th_activity_work *work)
{
    struct th_host *host = argument;
    host->runner.activity(host->runner.argument, work);
}

static void on_remote_canceled(void *argument, uint64_t token)
{
    struct th_host *host = argument;
    host->runner.cancel(host->runner.argument, token);
}

static enum th_executor_result on_remote_orchestrate(void *argument,
                                                     const struct th_episode *episode,
                                                     struct th_arena *arena, struct th_actions *out)
{
    struct th_host *host = argument;
    return host->runner.orchestrate(host->runner.argument, episode, arena, out);
}

static void on_remote_forget(void *argument, struct th_str instance_id)
{
    struct th_host *host = argument;
    host->runner.forget(host->runner.argument, instance_id);
}

static bool on_goes_out(void *argument, struct th_str name, struct th_str version)
{
    struct th_host *host = argument;
    return host->options.goes_out(host->options.argument, name, version);
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

static bool serves_nothing(void *argument, bool activity, struct th_str name, struct th_str version)
{
    return false;
}

static void on_trouble(void *argument, uint32_t partition, const struct th_error *error)
{
    struct th_host *host = argument;
    th_log(host->options.log, TH_LOG_WARN, "worker.host", "hub %s, partition %u: %s",
           host->hub.name, partition, error->message);
}

static void on_episode(void *argument, bool begins, struct th_str instance_id)
{
    struct th_host *host = argument;
    if (begins)
        th_flight_begin(host->slot, instance_id, TH_FLIGHT_EPISODE, TH_STR_ABSENT, th_monotonic());
    else
        th_flight_end(host->slot);
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
    if (options->seed == 0)
        options->seed = th_random_system();
}

static bool has_runner(const struct th_host *host)
{
    return host->runner.orchestrate != NULL;
}

static struct th_pool *pool_of(struct th_host *host, struct th_error *error)
{
    const struct th_host_options *options = &host->options;
    struct th_pool_options pool = {
        .app = options->app,
        .log = options->log,
        .flight = options->flight,
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

static struct th_node_hooks hooks_of(struct th_host *host)
{
    const struct th_host_options *options = &host->options;
    if (has_runner(host))
        return (struct th_node_hooks){.argument = host,
                                      .activity = on_remote_activity,
                                      .activity_canceled = on_remote_canceled,
                                      .orchestrate = on_remote_orchestrate,
                                      .forget = on_remote_forget,
                                      .trouble = on_trouble};
    return (struct th_node_hooks){.argument = host,
                                  .activity = on_activity,
                                  .activity_canceled = on_activity_canceled,
                                  .orchestrate = options->app ? on_orchestrate : NULL,
                                  .forget = options->app ? on_forget : NULL,
                                  .serves = options->app ? NULL : serves_nothing,
                                  .trouble = on_trouble,
                                  .episode = options->flight ? on_episode : NULL};
}

static void add_shared_hooks(const struct th_host_options *options, struct th_node_hooks *hooks)
{
    hooks->goes_out = options->goes_out ? on_goes_out : NULL;
    hooks->is_alive = options->is_alive ? on_is_alive : NULL;
    hooks->lease = options->lease ? on_lease : NULL;
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
        .version = options->version,
        .version_match = options->version_match,
        .version_failure = options->version_failure,
    };
    add_shared_hooks(options, &node.hooks);
    return th_node_new(&node);
}

static struct th_executor *executor_of(struct th_host *host)
{
    if (!host->options.app || has_runner(host))
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
    if (reports > 0)
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
    host->worker = worker_name(options->worker);
    host->hub = options->provider->hub;
    host->gateway = (struct th_gateway){.submit = submit, .cancel = cancel, .hub = &host->hub};
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
    if (has_runner(host))
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
        else if (mail->kind == MAIL_RUN)
            run_free((struct shared_run *)mail);
        else
            free(mail);
    }
    struct shared_run *run, *next_run;
    HASH_ITER(hh, host->runs, run, next_run) {
        HASH_DELETE(hh, host->runs, run);
        run_free(run);
    }
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

/* ---- a shared hub -----------------------------------------------------------------------------
 */

static void send_lease(struct th_host *host, struct lease_mail lease)
{
    struct lease_mail *mail = th_memdup(&lease, sizeof lease);
    mail->mail.kind = MAIL_LEASE;
    th_queue_push(&host->mail, &mail->mail.link);
}

void th_host_take(struct th_host *host, uint32_t partition)
{
    send_lease(host, (struct lease_mail){.what = LEASE_TAKE, .partition = partition});
}

void th_host_release(struct th_host *host, uint32_t partition, int64_t within_ms)
{
    send_lease(host, (struct lease_mail){.what = LEASE_RELEASE,
                                         .partition = partition,
                                         .by = th_now() + within_ms * TH_MILLISECOND});
}

void th_host_worker_gone(struct th_host *host, const char *worker)
{
    send_lease(host,
               (struct lease_mail){.what = LEASE_GONE, .worker = th_str_dup(th_str_of(worker))});
}

bool th_host_run(struct th_host *host, struct th_blob *message, void (*done)(void *argument),
                 void *argument)
{
    struct shared_run *run = TH_NEW(struct shared_run);
    run->mail.kind = MAIL_RUN;
    run->host = host;
    run->blob = th_blob_ref(message);
    run->done = done;
    run->argument = argument;
    struct th_reader in = th_reader_of(th_blob_view(message), &run->arena, NULL);
    if (!th_decode_message(&in, &run->message) ||
        run->message.event.kind != TH_EVENT_TASK_SCHEDULED) {
        run_free(run);
        return false;
    }
    th_queue_push(&host->mail, &run->mail.link);
    return true;
}

size_t th_host_load(struct th_host *host)
{
    if (!host->pool)
        return host->runner.running(host->runner.argument);
    return th_pool_running(host->pool) + th_pool_waiting(host->pool);
}

struct th_host *th_host_start(const struct th_host_options *options, struct th_error *error)
{
    struct th_host *host = host_new(options);
    host->pool = has_runner(host) ? NULL : pool_of(host, error);
    if (!host->pool && !has_runner(host)) {
        options->provider->ops->close(options->provider);
        host_free(host);
        return NULL;
    }
    options->provider->wake = on_wake;
    options->provider->wake_argument = host;
    host->executor = executor_of(host);
    host->node = node_of(host);
    report_crashes(host);
    if (has_runner(host)) {
        th_node_hold(host->node, true); /* until the application is up */
        host->runner.attach(host->runner.argument, host);
    }
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

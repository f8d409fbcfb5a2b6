#include "worker/fleet.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/metrics.h"
#include "base/memory.h"
#include "monitor/monitor.h"
#include "provider/fleet/connect.h"
#include "worker/fleetrpc.h"
#include "worker/lease.h"
#include "worker/metrics.h"
#include "worker/shared.h"
#include "worker/spread.h"

/* For what is under way in a partition that is given up to become durable. */
#define RELEASE_MS 500
#define LEAVE_TIME (15 * TH_SECOND) /* of groups; th_kafka_client_leave gives up before */
/* Messages of shared activities that are taken ahead, by thread that runs them. */
#define TAKEN_AHEAD     8
#define LEAST_AHEAD     32
#define LEAST_AHEAD_RPC 256 /* programs with an SDK have threads of their own */

struct th_fleet_worker {
    struct th_fleet_worker_options options;
    struct th_kafka_hub hub;
    struct th_kafka_options kafka; /* of the providers */
    char name[TH_MEMBER_NAME];
    struct th_control *control;
    struct th_counters *counters;
    struct th_report *report;
    struct th_provider **providers; /* the hosts' */
    struct th_host **hosts;
    size_t host_count;
    struct th_spread *spread;
    struct th_client *client;
    struct th_fleet_rpc *rpc; /* NULL: programs with an SDK are not served */
    struct th_lease *lease;   /* NULL: nothing here runs orchestrators */
    struct th_shared *shared; /* NULL: nothing here runs activities */
    struct th_monitor *monitor;
    struct th_http_reports reports; /* the monitor's */
    struct th_http *http;
    pthread_mutex_t lock; /* of `hosts`, while they come and go */
    bool left;            /* the groups, or told them so */
    bool stuck;           /* one of them did not let go */
};

const char *th_fleet_worker_name(const struct th_fleet_worker *worker)
{
    return worker->name;
}

struct th_http *th_fleet_worker_http(struct th_fleet_worker *worker)
{
    return worker->http;
}

const char *th_fleet_worker_rpc_url(const struct th_fleet_worker *worker)
{
    return th_fleet_rpc_url(worker->rpc);
}

struct th_gateway *th_fleet_worker_gateway(struct th_fleet_worker *worker)
{
    return th_spread_gateway(worker->spread);
}

static struct th_host *host_of(struct th_fleet_worker *worker, uint32_t partition)
{
    return worker->hosts[partition % worker->host_count];
}

void th_fleet_worker_bar(struct th_fleet_worker *worker, const char *reason)
{
    for (size_t i = 0; i < worker->host_count; i++)
        th_fleet_bar(worker->providers[i], reason);
}

/* ---- what others are told, on control's thread ----------------------------------------------- */

/* Leases and activities are opened after control, and may be closed before. */
static void wake_all(struct th_fleet_worker *worker)
{
    struct th_lease *lease = __atomic_load_n(&worker->lease, __ATOMIC_ACQUIRE);
    struct th_shared *shared = __atomic_load_n(&worker->shared, __ATOMIC_ACQUIRE);
    if (lease)
        th_lease_wake(lease);
    if (shared)
        th_shared_wake(shared);
    th_fleet_rpc_look(worker->rpc, worker->control);
}

static void on_joined(void *argument, const struct th_member *member)
{
    struct th_fleet_worker *worker = argument;
    if (!th_str_eq(member->name, th_str_of(worker->name)))
        th_log(worker->options.host.log, TH_LOG_INFO, "fleet", "%s %.*s joined",
               th_member_kind_text(member->kind), TH_PRI(member->name));
    wake_all(worker);
}

static void on_changed(void *argument, const struct th_member *before, const struct th_member *now)
{
    wake_all(argument);
}

static void on_gone(void *argument, const struct th_member *member, bool farewell)
{
    struct th_fleet_worker *worker = argument;
    TH_AUTOFREE char *name = th_str_dup(member->name);
    th_log(worker->options.host.log, TH_LOG_INFO, "fleet", "%s %s %s",
           th_member_kind_text(member->kind), name, farewell ? "ended" : "is gone");
    pthread_mutex_lock(&worker->lock);
    for (size_t i = 0; i < worker->host_count; i++)
        if (worker->hosts[i])
            th_host_worker_gone(worker->hosts[i], name);
    pthread_mutex_unlock(&worker->lock);
    wake_all(worker);
}

static void on_ready(void *argument)
{
    wake_all(argument);
}

/* ---- the hosts' hooks, on their nodes' threads ----------------------------------------------- */

static bool on_is_alive(void *argument, struct th_str name)
{
    struct th_fleet_worker *worker = argument;
    return th_control_alive(worker->control, name);
}

static void on_lease(void *argument, uint32_t partition, int64_t epoch)
{
    struct th_fleet_worker *worker = argument;
    th_report_lease(worker->report, partition, epoch);
}

static bool others_serve(void *argument, struct th_str function)
{
    struct th_fleet_worker *worker = argument;
    TH_CONTROL_VIEW view = {0};
    th_control_look(worker->control, &view);
    for (size_t i = 0; i < view.count; i++) {
        const struct th_member *member = view.members[i];
        if (!member->draining && !th_str_eq(member->name, th_str_of(worker->name)) &&
            th_member_serves(member, TH_FUNCTION_ACTIVITY, function))
            return true;
    }
    return false;
}

static bool on_goes_out(void *argument, struct th_host *host, struct th_str name,
                        struct th_str version)
{
    struct th_fleet_worker *worker = argument;
    bool known = th_app_has(worker->options.host.app, TH_FUNCTION_ACTIVITY, name);
    struct th_rpc_hub *rpc = th_fleet_rpc_hub(worker->rpc);
    struct th_pool_load load;
    if (!known && rpc && th_rpc_serves(rpc, TH_FUNCTION_ACTIVITY, name, version))
        return false; /* programs take it from here, wherever they are connected */
    th_host_get_load(host, &load);
    return th_placement_goes_out(worker->options.placement, known, &load, others_serve, worker,
                                 name);
}

/* ---- leases, on their thread ----------------------------------------------------------------- */

static void on_take(void *argument, uint32_t partition)
{
    struct th_fleet_worker *worker = argument;
    th_report_want(worker->report, partition, true);
    th_host_take(host_of(worker, partition), partition);
}

static void on_release(void *argument, uint32_t partition)
{
    struct th_fleet_worker *worker = argument;
    th_report_want(worker->report, partition, false);
    th_host_release(host_of(worker, partition), partition, RELEASE_MS);
}

static struct th_former former_of(void *argument, uint32_t partition)
{
    struct th_fleet_worker *worker = argument;
    TH_CONTROL_VIEW view = {0};
    th_control_look(worker->control, &view);
    for (size_t i = 0; i < view.count; i++) {
        const struct th_member *member = view.members[i];
        const struct th_member_partition *said = th_member_partition(member, partition);
        if (said && said->epoch >= 0 && !th_str_eq(member->name, th_str_of(worker->name)))
            return (struct th_former){.owns = true, .silent = view.now - member->heard};
    }
    return (struct th_former){.owns = false};
}

static bool is_known(void *argument)
{
    struct th_fleet_worker *worker = argument;
    return th_control_ready(worker->control);
}

static bool position_of(void *argument, uint32_t partition, int64_t *position)
{
    struct th_fleet_worker *worker = argument;
    return th_report_position(worker->report, partition, position);
}

static void on_tick(void *argument)
{
    struct th_fleet_worker *worker = argument;
    th_report_look(worker->report);
}

/* ---- starting -------------------------------------------------------------------------------- */

static bool open_control(struct th_fleet_worker *worker, struct th_error *error)
{
    const struct th_control_options control = {
        .cluster = &worker->options.place->cluster,
        .hub = &worker->hub.record,
        .log = worker->options.host.log,
        .argument = worker,
        .joined = on_joined,
        .changed = on_changed,
        .gone = on_gone,
        .ready = on_ready,
    };
    worker->control = th_control_open(&control, error);
    if (!worker->control)
        return false;
    th_report_set_control(worker->report, worker->control);
    th_report_publish(worker->report, true);
    return true;
}

static void on_exhausted(void *argument, const char *reason)
{
    struct th_fleet_worker *worker = argument;
    if (worker->options.exhausted)
        worker->options.exhausted(worker->options.argument, reason);
}

static struct th_host_options host_options(const struct th_fleet_worker *worker)
{
    struct th_host_options host = worker->options.host;
    host.counters = worker->counters;
    host.rpc = th_fleet_rpc_hub(worker->rpc);
    host.worker = worker->name;
    host.version = worker->options.default_version;
    if (!host.version && host.app)
        host.version = th_app_get_version(host.app);
    host.activity_threads =
        (host.activity_threads + (unsigned)worker->host_count - 1) / (unsigned)worker->host_count;
    host.leases = true;
    host.goes_out = on_goes_out;
    host.is_alive = on_is_alive;
    host.lease = on_lease;
    host.exhausted = on_exhausted;
    host.argument = (void *)worker;
    return host;
}

static bool start_host(struct th_fleet_worker *worker, size_t index, struct th_error *error)
{
    struct th_host_options host = host_options(worker);
    host.provider = th_fleet_connect(&worker->kafka, worker->options.place->redis, error);
    if (!host.provider)
        return false;
    if (host.provider->hub.incarnation != worker->hub.record.incarnation) {
        host.provider->ops->close(host.provider);
        return th_fail(error, TH_UNAVAILABLE, "hub %s was made anew meanwhile",
                       worker->hub.record.name);
    }
    worker->providers[index] = host.provider;
    struct th_host *started = th_host_start(&host, error);
    pthread_mutex_lock(&worker->lock);
    worker->hosts[index] = started;
    pthread_mutex_unlock(&worker->lock);
    return started != NULL;
}

static bool start_hosts(struct th_fleet_worker *worker, struct th_error *error)
{
    struct th_gateway **gateways = th_alloc(worker->host_count * sizeof(struct th_gateway *));
    bool ok = true;
    for (size_t i = 0; ok && i < worker->host_count; i++) {
        ok = start_host(worker, i, error);
        gateways[i] = ok ? th_host_gateway(worker->hosts[i]) : NULL;
    }
    if (ok) {
        worker->spread = th_spread_new(gateways, worker->host_count);
        th_report_set_hosts(worker->report, worker->hosts, worker->host_count);
        th_report_look(worker->report);
    }
    free(gateways);
    return ok;
}

/* Without orchestrators partitions would rest with this worker; others have use for them. Without
 * an application programs have them, wherever they are connected. */
static bool leads(const struct th_fleet_worker *worker)
{
    const struct th_app *app = worker->options.host.app;
    if (!app)
        return worker->rpc != NULL;
    return th_app_function_count(app, TH_FUNCTION_ORCHESTRATOR) +
               th_app_function_count(app, TH_FUNCTION_ENTITY) >
           0;
}

/* Also of a worker that leads nothing: its heartbeats have to say where it takes activities. */
static bool open_lease(struct th_fleet_worker *worker, struct th_error *error)
{
    const struct th_lease_options options = {
        .cluster = &worker->options.place->cluster,
        .log = worker->options.host.log,
        .hub = worker->hub.record.name,
        .name = worker->name,
        .partitions = worker->hub.record.partitions,
        .session_ms = worker->options.session_ms,
        .stays_out = !leads(worker),
        .argument = worker,
        .take = on_take,
        .release = on_release,
        .former = former_of,
        .known = is_known,
        .position = position_of,
        .tick = on_tick,
    };
    struct th_lease *lease = th_lease_open(&options, error);
    __atomic_store_n(&worker->lease, lease, __ATOMIC_RELEASE);
    return lease != NULL;
}

static bool open_shared(struct th_fleet_worker *worker, struct th_error *error)
{
    size_t ahead = (size_t)worker->options.host.activity_threads * TAKEN_AHEAD;
    size_t least = worker->rpc ? LEAST_AHEAD_RPC : LEAST_AHEAD;
    const struct th_shared_options options = {
        .cluster = &worker->options.place->cluster,
        .log = worker->options.host.log,
        .hub = &worker->hub.record,
        .name = worker->name,
        .app = worker->options.host.app,
        .rpc = th_fleet_rpc_hub(worker->rpc),
        .hosts = worker->hosts,
        .host_count = worker->host_count,
        .control = worker->control,
        .report = worker->report,
        .most = ahead < least ? least : ahead,
        .session_ms = worker->options.session_ms,
    };
    if (!worker->rpc &&
        (!worker->options.host.app ||
         th_app_function_count(worker->options.host.app, TH_FUNCTION_ACTIVITY) == 0))
        return true;
    struct th_shared *shared = th_shared_open(&options, error);
    __atomic_store_n(&worker->shared, shared, __ATOMIC_RELEASE);
    return shared != NULL;
}

/* ---- the HTTP port --------------------------------------------------------------------------- */

static bool tell_hub(void *argument, struct th_buffer *out, struct th_error *error)
{
    const struct th_http_reports *reports = &((struct th_fleet_worker *)argument)->reports;
    return reports->hub(reports->argument, out, error);
}

static bool tell_lag(void *argument, struct th_buffer *out, struct th_error *error)
{
    const struct th_http_reports *reports = &((struct th_fleet_worker *)argument)->reports;
    return reports->lag(reports->argument, out, error);
}

static bool tell_all_metrics(void *argument, struct th_buffer *out, struct th_error *error)
{
    const struct th_http_reports *reports = &((struct th_fleet_worker *)argument)->reports;
    return reports->metrics(reports->argument, out, error);
}

static bool is_ready(void *argument, struct th_error *error)
{
    struct th_fleet_worker *worker = argument;
    for (size_t i = 0; i < worker->options.other_count; i++)
        if (!is_ready(worker->options.others[i], error))
            return false;
    if (worker->lease && !th_lease_is_settled(worker->lease, error))
        return false;
    if (!th_report_is_sound(worker->report, error))
        return false;
    return th_fleet_redis_up(worker->providers[0]) ||
           th_fail(error, TH_UNAVAILABLE, "Redis at %s does not answer",
                   worker->options.place->redis);
}

static void tell_metrics(void *argument, struct th_buffer *out)
{
    struct th_fleet_worker *worker = argument;
    const char *hub = worker->hub.record.name;
    th_time ago = th_control_heard_ago(worker->control);
    th_host_metrics(worker->hosts, worker->host_count, worker->counters, out);
    th_metric_one(out, TH_METRIC_KAFKA_UP, hub, ago != TH_TIME_NONE && ago < 2 * TH_SECOND);
    th_metric_one(out, TH_METRIC_REDIS_UP, hub, th_fleet_redis_up(worker->providers[0]));
}

static bool has_cron(void *argument)
{
    struct th_fleet_worker *worker = argument;
    int64_t position;
    return th_report_position(worker->report, 0, &position);
}

static bool open_monitor(struct th_fleet_worker *worker, struct th_error *error)
{
    const struct th_monitor_options options = {
        .cluster = &worker->options.place->cluster,
        .hub = &worker->hub,
        .control = worker->control,
        .gateway = th_fleet_worker_gateway(worker),
        .log = worker->options.host.log,
        .metrics = tell_metrics,
        .argument = worker,
    };
    worker->monitor = th_monitor_open(&options, error);
    return worker->monitor != NULL;
}

static void start_client(struct th_fleet_worker *worker)
{
    const struct th_client_options options = {
        .gateway = th_fleet_worker_gateway(worker),
        .default_version = worker->options.default_version,
        .reuse = worker->options.reuse,
    };
    worker->client = th_client_new(&options);
}

static bool start_http(struct th_fleet_worker *worker, struct th_error *error)
{
    struct th_http_options http = worker->options.http;
    const struct th_app *app = worker->options.host.app;
    bool closed = http.port == TH_HTTP_CLOSED;
    if (closed && (!app || th_app_cron_count(app) == 0))
        return true;
    if (!open_monitor(worker, error))
        return false;
    http.gateway = th_fleet_worker_gateway(worker);
    http.client = worker->client;
    http.app = app;
    http.any_orchestrator = true;
    http.log = worker->options.host.log;
    http.default_version = worker->options.default_version;
    http.reuse = worker->options.reuse;
    http.cron_is_here = has_cron;
    http.cron_argument = worker;
    worker->reports = th_monitor_reports(worker->monitor);
    http.reports = (struct th_http_reports){.argument = worker,
                                            .hub = tell_hub,
                                            .lag = tell_lag,
                                            .metrics = tell_all_metrics,
                                            .ready = is_ready};
    worker->http = th_http_start(&http, error);
    if (worker->http && !closed)
        th_report_set_url(worker->report, th_http_url(worker->http));
    return worker->http != NULL;
}

static void on_programs(void *argument)
{
    struct th_fleet_worker *worker = argument;
    struct th_shared *shared = __atomic_load_n(&worker->shared, __ATOMIC_ACQUIRE);
    if (shared)
        th_shared_wake(shared);
}

static void make_rpc(struct th_fleet_worker *worker)
{
    struct th_rpc_endpoint_options endpoint = worker->options.rpc;
    TH_AUTOFREE struct th_rpc_hub **others =
        th_alloc((worker->options.other_count + 1) * sizeof(struct th_rpc_hub *));
    if (!worker->options.serve_rpc)
        return;
    for (size_t i = 0; i < worker->options.other_count; i++)
        others[endpoint.hub_count++] = th_fleet_rpc_hub(worker->options.others[i]->rpc);
    endpoint.hubs = others;
    worker->rpc = th_fleet_rpc_new(&(struct th_fleet_rpc_options){
        .hub = worker->hub.record.name,
        .name = worker->name,
        .log = worker->options.host.log,
        .endpoint = endpoint,
        .elsewhere = worker->options.rpc_elsewhere,
        .changed = on_programs,
        .argument = worker,
    });
}

static void tell_rpc(struct th_fleet_worker *worker)
{
    th_report_set_rpc(worker->report, th_fleet_rpc_url(worker->rpc));
    th_report_publish(worker->report, true);
    th_fleet_rpc_look(worker->rpc, worker->control);
}

/* The endpoint is open, and serves their programs, too. */
static bool reach_others(struct th_fleet_worker *worker, struct th_error *error)
{
    for (size_t i = 0; i < worker->options.other_count; i++) {
        struct th_fleet_worker *other = worker->options.others[i];
        if (!th_fleet_rpc_reach(other->rpc, th_fleet_rpc_url(worker->rpc), error))
            return false;
        tell_rpc(other);
    }
    return true;
}

static bool start_rpc(struct th_fleet_worker *worker, struct th_error *error)
{
    if (!worker->rpc)
        return true;
    if (!th_fleet_rpc_open(worker->rpc, th_fleet_worker_gateway(worker), error))
        return false;
    if (worker->options.rpc_elsewhere)
        return true;
    tell_rpc(worker);
    return reach_others(worker, error);
}

static struct th_fleet_worker *worker_new(const struct th_fleet_worker_options *options)
{
    struct th_fleet_worker *worker = TH_NEW(struct th_fleet_worker);
    pthread_mutex_init(&worker->lock, NULL);
    worker->options = *options;
    worker->hub = *options->hub;
    worker->kafka = (struct th_kafka_options){.cluster = options->place->cluster,
                                              .hub = worker->hub.record.name};
    worker->host_count = options->threads ? options->threads : 1;
    worker->providers = th_alloc(worker->host_count * sizeof(struct th_provider *));
    worker->hosts = th_alloc(worker->host_count * sizeof(struct th_host *));
    worker->counters = options->host.app ? th_counters_new(options->host.app) : NULL;
    th_member_name(worker->name);
    const struct th_report_options report = {
        .name = worker->name,
        .application = options->application,
        .app = options->host.app,
        .counters = worker->counters,
        .partitions = worker->hub.record.partitions,
        .threads = options->host.activity_threads,
    };
    worker->report = th_report_new(&report);
    make_rpc(worker);
    return worker;
}

struct th_fleet_worker *th_fleet_worker_start(const struct th_fleet_worker_options *options,
                                              struct th_error *error)
{
    struct th_fleet_worker *worker = worker_new(options);
    bool ok = open_control(worker, error) && start_hosts(worker, error);
    if (ok) {
        start_client(worker);
        ok = start_rpc(worker, error) && open_shared(worker, error) && open_lease(worker, error) &&
             start_http(worker, error);
    }
    if (ok)
        return worker;
    th_fleet_worker_stop(worker, 0);
    return NULL;
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void close_doors(struct th_fleet_worker *worker)
{
    if (worker->client)
        th_client_stop(worker->client);
    th_http_stop(worker->http);
    worker->http = NULL;
    th_monitor_close(worker->monitor);
    th_client_free(worker->client);
}

static bool stop_hosts(struct th_fleet_worker *worker, int64_t drain_ms)
{
    th_time deadline = th_monotonic() + drain_ms * TH_MILLISECOND;
    bool ended = true;
    for (size_t i = 0; i < worker->host_count; i++) {
        th_time left = (deadline - th_monotonic()) / TH_MILLISECOND;
        pthread_mutex_lock(&worker->lock);
        struct th_host *host = worker->hosts[i];
        worker->hosts[i] = NULL;
        pthread_mutex_unlock(&worker->lock);
        ended &= th_host_stop(host, left > 0 ? left : 0);
    }
    return ended;
}

static void worker_free(struct th_fleet_worker *worker)
{
    th_report_free(worker->report);
    th_counters_free(worker->counters);
    th_spread_free(worker->spread);
    th_fleet_rpc_free(worker->rpc);
    pthread_mutex_destroy(&worker->lock);
    free(worker->providers);
    free(worker->hosts);
    free(worker);
}

void th_fleet_worker_leave(struct th_fleet_worker *worker)
{
    th_time deadline = th_monotonic() + LEAVE_TIME;
    if (worker->left)
        return;
    worker->left = true;
    th_report_drains(worker->report);
    th_report_publish(worker->report, true);
    th_shared_begin_leaving(worker->shared);
    worker->stuck = !th_lease_leave(worker->lease, deadline);
    worker->stuck |= !th_shared_leave(worker->shared, deadline);
    if (worker->stuck)
        th_log(worker->options.host.log, TH_LOG_WARN, "worker",
               "a consumer does not leave its group: the brokers notice when this process ends");
}

void th_fleet_worker_quiet(struct th_fleet_worker *worker, th_time deadline)
{
    th_fleet_rpc_quiet(worker->rpc, deadline);
}

bool th_fleet_worker_stop(struct th_fleet_worker *worker, int64_t drain_ms)
{
    th_time deadline = th_monotonic() + drain_ms * TH_MILLISECOND;
    if (!worker)
        return true;
    th_fleet_worker_leave(worker);
    close_doors(worker);
    th_fleet_rpc_close(worker->rpc, deadline);
    int64_t left = (deadline - th_monotonic()) / TH_MILLISECOND;
    bool ended = stop_hosts(worker, left > 0 ? left : 0) && !worker->stuck;
    th_control_close(worker->control);
    if (!ended) /* their threads may still come back */
        return false;
    th_lease_free(worker->lease);
    th_shared_free(worker->shared);
    worker_free(worker);
    return true;
}

/*
 * Started from the storage up, stopped from the API down, so that each layer finds what it rests
 * on. The public th_hub_* at the end own their application and their log as well.
 */
#include "worker/hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "coordinator/provisioning.h"
#include "provider/sqlite/sqlite.h"
#include "worker/metrics.h"

struct th_embedded {
    struct th_hub_record record;
    struct th_hub_store store;
    struct th_provisioning provisioning;
    struct th_flight *flight;
    struct th_counters *counters;
    struct th_host *host;
    struct th_client *client;
    struct th_http *http;
    struct th_rpc_hub *rpc;
    struct th_rpc_endpoint *endpoint;
};

static bool open_flight(struct th_embedded *hub, const struct th_embedded_options *options,
                        struct th_error *error)
{
    if (!options->flight)
        return true;
    TH_AUTOFREE char *path = NULL;
    if (asprintf(&path, "%s-%s.flight", options->database, hub->record.name) < 0)
        return th_fail(error, TH_INTERNAL, "out of memory");
    hub->flight = th_flight_open(path, options->after_exit, error);
    return hub->flight && th_flight_guard_process(hub->flight, error);
}

/* Storage before the flight recorder: whoever holds the hub's lock owns the recorder, too. */
static bool start_host(struct th_embedded *hub, const struct th_embedded_options *options,
                       struct th_error *error)
{
    struct th_sqlite_options sqlite = {
        .file = options->database,
        .hub = options->hub,
        .log = options->host.log,
        .fsync_delay_us = options->fsync_delay_us,
    };
    struct th_host_options host = options->host;
    host.version = options->default_version;
    if (!host.version && host.app)
        host.version = th_app_get_version(host.app);
    host.provider = th_sqlite_open(&sqlite, error);
    if (!host.provider)
        return false;
    if (!open_flight(hub, options, error)) {
        host.provider->ops->close(host.provider);
        return false;
    }
    host.flight = hub->flight;
    host.counters = hub->counters;
    host.rpc = hub->rpc;
    hub->host = th_host_start(&host, error);
    return hub->host != NULL;
}

static void start_client(struct th_embedded *hub, const struct th_embedded_options *options)
{
    struct th_client_options client = {
        .gateway = th_host_gateway(hub->host),
        .app = options->host.app,
        .default_version = options->default_version,
        .reuse = options->reuse,
    };
    hub->client = th_client_new(&client);
}

static bool tell_metrics(void *argument, struct th_buffer *out, struct th_error *error)
{
    struct th_embedded *hub = argument;
    th_host_metrics(&hub->host, 1, hub->counters, out);
    return true;
}

static bool start_http(struct th_embedded *hub, const struct th_embedded_options *options,
                       struct th_error *error)
{
    if (!options->serve)
        return true;
    hub->provisioning = (struct th_provisioning){
        .store = &hub->store,
        .running = hub->record.name,
        .partitions = options->new_partitions,
    };
    struct th_http_options http = options->http;
    http.gateway = th_host_gateway(hub->host);
    http.client = hub->client;
    http.app = options->host.app;
    http.log = options->host.log;
    http.default_version = options->default_version;
    http.reuse = options->reuse;
    http.hubs = th_provision_http(&hub->provisioning);
    http.reports = (struct th_http_reports){.argument = hub, .metrics = tell_metrics};
    http.any_orchestrator |= options->serve_rpc;
    hub->http = th_http_start(&http, error);
    return hub->http != NULL;
}

static void make_rpc(struct th_embedded *hub, const struct th_embedded_options *options)
{
    if (!options->serve_rpc)
        return;
    hub->rpc = th_rpc_hub_new(&(struct th_rpc_hub_options){
        .log = options->host.log,
        .nonce = th_random_system(),
        .message_bytes = options->rpc.message_bytes,
    });
}

static bool start_rpc(struct th_embedded *hub, const struct th_embedded_options *options,
                      struct th_error *error)
{
    struct th_rpc_endpoint_options rpc = options->rpc;
    if (!hub->rpc)
        return true;
    th_rpc_hub_open(hub->rpc, th_host_gateway(hub->host));
    if (options->rpc_elsewhere)
        return true;
    struct th_rpc_hub **hubs = th_alloc((rpc.hub_count + 1) * sizeof(struct th_rpc_hub *));
    hubs[0] = hub->rpc;
    for (size_t i = 0; i < rpc.hub_count; i++)
        hubs[i + 1] = rpc.hubs[i];
    rpc.hubs = hubs;
    rpc.hub_count++;
    rpc.log = options->host.log;
    hub->endpoint = th_rpc_endpoint_start(&rpc, error);
    free(hubs);
    return hub->endpoint != NULL;
}

/* Programs may finish what they have; then nobody asks the host any more. */
static void stop_rpc(struct th_embedded *hub, th_time deadline)
{
    if (!hub->rpc)
        return;
    th_rpc_quiet(hub->rpc, deadline);
    th_rpc_endpoint_stop(hub->endpoint);
}

struct th_embedded *th_embedded_start(const struct th_embedded_options *options,
                                      struct th_error *error)
{
    struct th_embedded *hub = TH_NEW(struct th_embedded);
    uint32_t fallback = options->new_partitions ? options->new_partitions : 1;
    hub->store = th_file_store(options->database);
    hub->counters = options->host.app ? th_counters_new(options->host.app) : NULL;
    make_rpc(hub, options);
    bool ok = th_provision_ensure(&hub->store, options->hub, options->partitions, fallback,
                                  options->host.log, &hub->record, error) &&
              start_host(hub, options, error);
    if (ok) {
        start_client(hub, options);
        ok = start_http(hub, options, error) && start_rpc(hub, options, error);
    }
    if (ok)
        return hub;
    th_embedded_stop(hub, 0);
    return NULL;
}

struct th_gateway *th_embedded_gateway(struct th_embedded *hub)
{
    return th_host_gateway(hub->host);
}

struct th_client *th_embedded_client(struct th_embedded *hub)
{
    return hub->client;
}

struct th_host *th_embedded_host(struct th_embedded *hub)
{
    return hub->host;
}

struct th_http *th_embedded_http(struct th_embedded *hub)
{
    return hub->http;
}

struct th_rpc_hub *th_embedded_rpc(struct th_embedded *hub)
{
    return hub->rpc;
}

int th_embedded_rpc_port(const struct th_embedded *hub)
{
    return hub->endpoint ? th_rpc_endpoint_port(hub->endpoint) : 0;
}

const struct th_hub_record *th_embedded_record(const struct th_embedded *hub)
{
    return &hub->record;
}

bool th_embedded_stop(struct th_embedded *hub, int64_t drain_ms)
{
    if (!hub)
        return true;
    th_time deadline = th_monotonic() + drain_ms * TH_MILLISECOND;
    if (hub->client)
        th_client_stop(hub->client);
    if (hub->http)
        th_http_stop(hub->http);
    stop_rpc(hub, deadline);
    th_client_free(hub->client);
    int64_t left = (deadline - th_monotonic()) / TH_MILLISECOND;
    if (!th_host_stop(hub->host, left > 0 ? left : 0))
        return false;
    th_rpc_hub_free(hub->rpc);
    th_flight_close(hub->flight);
    th_counters_free(hub->counters);
    free(hub);
    return true;
}

/* ---- a hub in a program of one's own: sdk/taskhub.h -------------------------------------------
 */

#define CLOSE_DRAIN_MS 10000

struct th_hub {
    struct th_app *app;
    struct th_log log;
    struct th_embedded *embedded;
    char *database;
    char *name;
};

static void hub_free(struct th_hub *hub)
{
    th_app_free(hub->app);
    free(hub->database);
    free(hub->name);
    free(hub);
}

static bool hub_start(struct th_hub *hub, const struct th_hub_options *options,
                      struct th_error *error)
{
    struct th_embedded_options embedded = {
        .database = hub->database,
        .hub = hub->name,
        .partitions = options->partitions > 0 ? (uint32_t)options->partitions : 0,
        .host = {.app = hub->app,
                 .log = &hub->log,
                 .activity_threads =
                     options->activity_threads > 0 ? (unsigned)options->activity_threads : 0},
        .serve = options->port > 0,
        .http = {.port = options->port},
    };
    hub->embedded = th_embedded_start(&embedded, error);
    return hub->embedded != NULL;
}

struct th_hub *th_hub_open(const struct th_hub_options *options,
                           void (*registration)(struct th_app *app), struct th_client_error *error)
{
    static const struct th_hub_options defaults = {.port = 0};
    struct th_error why = {.code = TH_OK};
    if (!options)
        options = &defaults;
    struct th_hub *hub = TH_NEW(struct th_hub);
    hub->log = (struct th_log){.level = TH_LOG_WARN, .fd = STDERR_FILENO};
    hub->database = th_str_dup(th_str_of(options->database ? options->database : "taskhub.db"));
    hub->name = th_str_dup(th_str_of(options->hub ? options->hub : "TestHubName"));
    hub->app = th_app_from(registration, &why);
    if (hub->app && hub_start(hub, options, &why))
        return hub;
    if (error) {
        error->status = th_code_http(why.code);
        snprintf(error->message, sizeof error->message, "%s", why.message);
    }
    hub_free(hub);
    return NULL;
}

struct th_client *th_hub_client(struct th_hub *hub)
{
    return th_embedded_client(hub->embedded);
}

void th_hub_close(struct th_hub *hub)
{
    if (!hub)
        return;
    if (th_embedded_stop(hub->embedded, CLOSE_DRAIN_MS))
        hub_free(hub);
    else
        th_log(&hub->log, TH_LOG_WARN, "hub",
               "hub %s is closed, but activities of it still run; their results are dropped",
               hub->name);
}

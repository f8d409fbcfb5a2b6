#include "coordinator/coordinator.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/metrics.h"
#include "base/hash.h"
#include "base/memory.h"
#include "coordinator/store_kafka.h"
#include "monitor/monitor.h"
#include "partition/record.h"
#include "provider/fleet/connect.h"
#include "worker/metrics.h"

#define HEARD_LATELY (3 * TH_SECOND)

struct th_coordinator {
    struct th_coordinator_options options;
    struct th_kafka_store store;
    struct th_provisioning provisioning;
    struct th_kafka_hub hub;
    char name[TH_MEMBER_NAME];
    struct th_provider *provider; /* the host's */
    struct th_control *control;
    struct th_host *host;
    struct th_client *client;
    struct th_purge *purge;
    struct th_monitor *monitor;
    struct th_http *http;
    struct th_rpc_hub *rpc;
    struct th_rpc_endpoint *endpoint;
    bool incomplete; /* the hub, when it was looked at last */
};

/* ---- the hub --------------------------------------------------------------------------------- */

static bool check_partitions(const struct th_coordinator *c, struct th_error *error)
{
    uint32_t wanted = c->options.partitions;
    uint32_t found = c->hub.record.partitions;
    return wanted == 0 || wanted == found ||
           th_fail(error, TH_PRECONDITION,
                   "hub %s has %" PRIu32 " partitions and keeps them; %" PRIu32
                   " were asked for: leave --partitions out, or use another hub",
                   c->hub.record.name, found, wanted);
}

static bool ensure_hub(struct th_coordinator *c, struct th_error *error)
{
    const struct th_coordinator_options *o = &c->options;
    struct th_hub_record record;
    c->store = (struct th_kafka_store){.cluster = &o->place->cluster,
                                       .redis = o->place->redis,
                                       .activity_partitions = o->activity_partitions,
                                       .replication = o->replication};
    th_kafka_store(&c->store);
    return th_provision_ensure(&c->store.store, o->hub, 0,
                               o->partitions ? o->partitions : o->new_partitions, o->log, &record,
                               error) &&
           th_kafka_find_hub(&o->place->cluster, o->hub, &c->hub, error) &&
           check_partitions(c, error);
}

/* What clients send while the hub lacks a topic would have nobody to do it. */
static void bar(struct th_coordinator *c, const char *reason)
{
    if (!c->incomplete)
        th_log(c->options.log, TH_LOG_WARN, "coordinator", "%s; nothing is taken until then",
               reason);
    c->incomplete = true;
    th_fleet_bar(c->provider, reason);
}

static void unbar(struct th_coordinator *c)
{
    if (!c->incomplete)
        return;
    th_log(c->options.log, TH_LOG_INFO, "coordinator", "hub %s is complete again",
           c->hub.record.name);
    c->incomplete = false;
    th_fleet_bar(c->provider, NULL);
}

bool th_coordinator_check(struct th_coordinator *coordinator, struct th_error *error)
{
    struct th_kafka_hub hub;
    struct th_error why;
    const struct th_hub_record *served = &coordinator->hub.record;
    if (!th_kafka_find_hub(&coordinator->options.place->cluster, served->name, &hub, &why)) {
        if (why.code == TH_IO || why.code == TH_PRECONDITION)
            bar(coordinator, why.message);
        return why.code != TH_NOT_FOUND ||
               th_fail(error, TH_NOT_FOUND, "hub %s was deleted", served->name);
    }
    if (hub.record.incarnation != served->incarnation)
        return th_fail(error, TH_PRECONDITION, "hub %s was deleted and made again", served->name);
    unbar(coordinator);
    return true;
}

/* ---- what it serves -------------------------------------------------------------------------- */

/* All processes of the hub: where the API is, and that it can be asked. */
static void introduce(struct th_coordinator *c)
{
    char host[65] = "";
    gethostname(host, sizeof host - 1);
    bool closed = c->options.http.port == TH_HTTP_CLOSED;
    const char *url = closed ? NULL : c->options.url ? c->options.url : th_http_url(c->http);
    const struct th_member self = {
        .kind = TH_MEMBER_COORDINATOR,
        .name = th_str_of(c->name),
        .host = th_str_of(host),
        .pid = (uint32_t)getpid(),
        .version = TH_STR(TASKHUB_VERSION),
        .format = TH_RECORD_FORMAT,
        .started = th_now(),
        .url = th_str_of(url),
        .queued_since = TH_TIME_NONE,
    };
    th_control_publish(c->control, &self, true);
}

static void tell_metrics(void *argument, struct th_buffer *out)
{
    struct th_coordinator *c = argument;
    const char *hub = c->hub.record.name;
    th_time heard = th_control_heard_ago(c->control);
    th_host_metrics(&c->host, 1, NULL, out);
    th_metric_one(out, TH_METRIC_KAFKA_UP, hub, heard != TH_TIME_NONE && heard < HEARD_LATELY);
    th_metric_one(out, TH_METRIC_REDIS_UP, hub, th_fleet_redis_up(c->provider));
    th_metric_one(out, TH_METRIC_PURGED, hub, (double)th_purge_count(c->purge));
    th_metric_one(out, TH_METRIC_TRIMMED, hub, (double)th_monitor_trimmed(c->monitor));
}

static bool start_host(struct th_coordinator *c, struct th_error *error)
{
    const struct th_kafka_options kafka = {.cluster = c->options.place->cluster,
                                           .hub = c->hub.record.name};
    const struct th_host_options host = {.log = c->options.log,
                                         .worker = c->name,
                                         .activity_threads = 1, /* it is given nothing to run */
                                         .leases = true};
    struct th_host_options options = host;
    c->provider = options.provider = th_fleet_connect(&kafka, c->options.place->redis, error);
    c->host = c->provider ? th_host_start(&options, error) : NULL;
    return c->host != NULL;
}

static bool start_control(struct th_coordinator *c, struct th_error *error)
{
    const struct th_control_options options = {
        .cluster = &c->options.place->cluster, .hub = &c->hub.record, .log = c->options.log};
    c->control = th_control_open(&options, error);
    return c->control != NULL;
}

static bool start_monitor(struct th_coordinator *c, struct th_error *error)
{
    const struct th_monitor_options options = {
        .cluster = &c->options.place->cluster,
        .hub = &c->hub,
        .control = c->control,
        .gateway = th_host_gateway(c->host),
        .log = c->options.log,
        .keeps_house = true,
        .tells_hub = true,
        .metrics = tell_metrics,
        .argument = c,
    };
    c->monitor = th_monitor_open(&options, error);
    return c->monitor != NULL;
}

static bool start_client(struct th_coordinator *c, struct th_error *error)
{
    const struct th_client_options options = {.gateway = th_host_gateway(c->host),
                                              .default_version = c->options.default_version,
                                              .reuse = c->options.reuse};
    c->client = th_client_new(&options);
    if (c->options.purge.age_ms < 0)
        return true;
    c->purge = th_purge_start(&c->options.purge, c->client, c->options.log, error);
    return c->purge != NULL;
}

static bool start_http(struct th_coordinator *c, struct th_error *error)
{
    struct th_http_options http = c->options.http;
    c->provisioning = (struct th_provisioning){.store = &c->store.store,
                                               .running = c->hub.record.name,
                                               .partitions = c->options.new_partitions};
    if (http.port == TH_HTTP_CLOSED)
        return true;
    http.gateway = th_host_gateway(c->host);
    http.client = c->client;
    http.log = c->options.log;
    http.default_version = c->options.default_version;
    http.reuse = c->options.reuse;
    http.hubs = th_provision_http(&c->provisioning);
    http.reports = th_monitor_reports(c->monitor);
    c->http = th_http_start(&http, error);
    return c->http != NULL;
}

/* Before the hubs that the options name comes this one: without metadata it is meant. */
static bool listen_for(struct th_coordinator *c, struct th_error *error)
{
    struct th_rpc_endpoint_options rpc = c->options.rpc;
    struct th_rpc_hub **hubs = th_alloc((rpc.hub_count + 1) * sizeof(struct th_rpc_hub *));
    hubs[0] = c->rpc;
    for (size_t i = 0; i < rpc.hub_count; i++)
        hubs[i + 1] = rpc.hubs[i];
    rpc.hubs = hubs;
    rpc.hub_count++;
    rpc.log = c->options.log;
    rpc.clients_only = true;
    c->endpoint = th_rpc_endpoint_start(&rpc, error);
    free(hubs);
    return c->endpoint != NULL;
}

static bool start_rpc(struct th_coordinator *c, struct th_error *error)
{
    if (!c->options.serve_rpc)
        return true;
    c->rpc = th_rpc_hub_new(&(struct th_rpc_hub_options){
        .gateway = th_host_gateway(c->host), .log = c->options.log, .nonce = th_random_system()});
    return c->options.rpc_elsewhere || listen_for(c, error);
}

struct th_coordinator *th_coordinator_start(const struct th_coordinator_options *options,
                                            struct th_error *error)
{
    struct th_coordinator *c = TH_NEW(struct th_coordinator);
    c->options = *options;
    th_member_name(c->name);
    if (ensure_hub(c, error) && start_host(c, error) && start_control(c, error) &&
        start_client(c, error) && start_monitor(c, error) && start_http(c, error) &&
        start_rpc(c, error)) {
        introduce(c);
        return c;
    }
    th_coordinator_stop(c);
    return NULL;
}

struct th_rpc_hub *th_coordinator_rpc(struct th_coordinator *coordinator)
{
    return coordinator->rpc;
}

const char *th_coordinator_url(const struct th_coordinator *coordinator)
{
    return th_http_url(coordinator->http);
}

int th_coordinator_rpc_port(const struct th_coordinator *coordinator)
{
    return coordinator->endpoint ? th_rpc_endpoint_port(coordinator->endpoint) : 0;
}

const struct th_hub_record *th_coordinator_hub(const struct th_coordinator *coordinator)
{
    return &coordinator->hub.record;
}

void th_coordinator_stop(struct th_coordinator *coordinator)
{
    struct th_coordinator *c = coordinator;
    if (!c)
        return;
    if (c->client)
        th_client_stop(c->client);
    th_http_stop(c->http);
    th_rpc_endpoint_stop(c->endpoint);
    th_rpc_hub_free(c->rpc);
    th_monitor_close(c->monitor);
    th_purge_stop(c->purge);
    th_client_free(c->client);
    th_control_close(c->control);
    th_host_stop(c->host, 0);
    free(c);
}

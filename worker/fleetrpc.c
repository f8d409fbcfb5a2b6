#include "worker/fleetrpc.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "rpc/relay.h"

struct th_fleet_rpc {
    struct th_fleet_rpc_options options;
    struct th_rpc_hub *hub;
    struct th_rpc_hub **hubs; /* of the endpoint; without metadata the first is meant: `hub` */
    struct th_rpc_endpoint *endpoint;
    struct th_rpc_owner watch; /* hears of changes */
    char *url;

    pthread_mutex_t lock; /* of the following */
    struct th_relay *relay;
    char *peers; /* that the relay was told last, as one text */
};

struct th_fleet_rpc *th_fleet_rpc_new(const struct th_fleet_rpc_options *options)
{
    struct th_fleet_rpc *rpc = TH_NEW(struct th_fleet_rpc);
    rpc->options = *options;
    rpc->hubs = th_alloc((options->endpoint.hub_count + 1) * sizeof(struct th_rpc_hub *));
    rpc->hub = th_rpc_hub_new(&(struct th_rpc_hub_options){
        .log = options->log,
        .nonce = th_random_system(),
        .message_bytes = options->endpoint.message_bytes,
    });
    rpc->hubs[0] = rpc->hub;
    for (size_t i = 0; i < options->endpoint.hub_count; i++)
        rpc->hubs[i + 1] = options->endpoint.hubs[i];
    rpc->watch = (struct th_rpc_owner){.argument = options->argument, .changed = options->changed};
    th_rpc_join(rpc->hub, &rpc->watch);
    pthread_mutex_init(&rpc->lock, NULL);
    return rpc;
}

struct th_rpc_hub *th_fleet_rpc_hub(struct th_fleet_rpc *rpc)
{
    return rpc ? rpc->hub : NULL;
}

/* An address for all of the machine's becomes its name. */
static char *url_of(const struct th_fleet_rpc *rpc)
{
    const char *address =
        rpc->options.endpoint.address ? rpc->options.endpoint.address : "127.0.0.1";
    bool all = strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
    char name[256] = "localhost";
    TH_BUFFER url = {0};
    if (all && gethostname(name, sizeof name - 1) == 0)
        address = name;
    bool six = strchr(address, ':') != NULL;
    th_buffer_format(&url, "%s://%s%s%s:%d", rpc->options.endpoint.certificate ? "https" : "http",
                     six ? "[" : "", address, six ? "]" : "", th_rpc_endpoint_port(rpc->endpoint));
    return th_buffer_take(&url);
}

static bool start_relay(struct th_fleet_rpc *rpc, struct th_error *error)
{
    const struct th_rpc_endpoint_options *e = &rpc->options.endpoint;
    const struct th_relay_options options = {
        .hub = rpc->hub,
        .hub_name = rpc->options.hub,
        .name = rpc->options.name,
        .key = e->key,
        .ca = e->client_ca,
        .certificate = e->client_ca ? e->certificate : NULL,
        .private_key = e->client_ca ? e->private_key : NULL,
        .log = rpc->options.log,
    };
    struct th_relay *relay = th_relay_start(&options, error);
    pthread_mutex_lock(&rpc->lock);
    rpc->relay = relay;
    pthread_mutex_unlock(&rpc->lock);
    return relay != NULL;
}

bool th_fleet_rpc_open(struct th_fleet_rpc *rpc, struct th_gateway *gateway, struct th_error *error)
{
    struct th_rpc_endpoint_options endpoint = rpc->options.endpoint;
    th_rpc_hub_open(rpc->hub, gateway);
    if (rpc->options.elsewhere)
        return true;
    endpoint.hubs = rpc->hubs;
    endpoint.hub_count++;
    endpoint.log = rpc->options.log;
    rpc->endpoint = th_rpc_endpoint_start(&endpoint, error);
    if (!rpc->endpoint)
        return false;
    rpc->url = url_of(rpc);
    return start_relay(rpc, error);
}

static void stop_relay(struct th_fleet_rpc *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    struct th_relay *relay = rpc->relay;
    rpc->relay = NULL;
    free(rpc->peers);
    rpc->peers = NULL;
    pthread_mutex_unlock(&rpc->lock);
    th_relay_stop(relay);
}

bool th_fleet_rpc_reach(struct th_fleet_rpc *rpc, const char *url, struct th_error *error)
{
    stop_relay(rpc);
    free(rpc->url);
    rpc->url = th_str_dup(th_str_of(url));
    return start_relay(rpc, error);
}

const char *th_fleet_rpc_url(const struct th_fleet_rpc *rpc)
{
    return rpc ? rpc->url : NULL;
}

int th_fleet_rpc_port(const struct th_fleet_rpc *rpc)
{
    return rpc && rpc->endpoint ? th_rpc_endpoint_port(rpc->endpoint) : 0;
}

/* Lock held. */
static void tell_relay(struct th_fleet_rpc *rpc, const struct th_control_view *view)
{
    struct th_str *urls = th_alloc((view->count + 1) * sizeof *urls);
    size_t count = 0;
    TH_BUFFER all = {0};
    for (size_t i = 0; i < view->count; i++) {
        const struct th_member *member = view->members[i];
        if (member->kind != TH_MEMBER_WORKER || member->rpc.len == 0 ||
            th_str_eq(member->name, th_str_of(rpc->options.name)))
            continue;
        urls[count++] = member->rpc;
        th_buffer_str(&all, member->rpc);
        th_buffer_text(&all, "\n");
    }
    if (!rpc->peers || !th_str_eq(th_str_of(rpc->peers), th_buffer_view(&all))) {
        free(rpc->peers);
        rpc->peers = th_buffer_take(&all);
        th_relay_set_peers(rpc->relay, urls, count);
    }
    free(urls);
}

void th_fleet_rpc_look(struct th_fleet_rpc *rpc, struct th_control *control)
{
    TH_CONTROL_VIEW view = {0};
    if (!rpc || !control)
        return;
    th_control_look(control, &view);
    pthread_mutex_lock(&rpc->lock);
    if (rpc->relay)
        tell_relay(rpc, &view);
    pthread_mutex_unlock(&rpc->lock);
}

void th_fleet_rpc_quiet(struct th_fleet_rpc *rpc, th_time deadline)
{
    if (rpc)
        th_rpc_quiet(rpc->hub, deadline);
}

void th_fleet_rpc_close(struct th_fleet_rpc *rpc, th_time deadline)
{
    if (!rpc)
        return;
    th_rpc_quiet(rpc->hub, deadline);
    stop_relay(rpc);
    th_rpc_leave(rpc->hub, &rpc->watch);
    th_rpc_endpoint_stop(rpc->endpoint);
    rpc->endpoint = NULL;
}

void th_fleet_rpc_free(struct th_fleet_rpc *rpc)
{
    if (!rpc)
        return;
    th_rpc_hub_free(rpc->hub);
    pthread_mutex_destroy(&rpc->lock);
    free(rpc->hubs);
    free(rpc->peers);
    free(rpc->url);
    free(rpc);
}

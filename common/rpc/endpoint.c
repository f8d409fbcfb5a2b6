/*
 * The server, its table of methods, and who may call them. The table has every method once for
 * each hub: a call begins with the first hub's route, and changes to that of the hub it names.
 */
#include "rpc/endpoint.h"

#include <stdlib.h>
#include <string.h>

#include "base/access.h"
#include "base/memory.h"
#include "rpc/internal.h"

#define SERVICE  "/TaskHubSidecarService/"
#define PATIENCE (200 * TH_MILLISECOND) /* for calls that are being answered at a stop */

struct th_rpc_endpoint {
    struct th_rpc_endpoint_options options;
    char *key;
    struct route *routes; /* hub by hub */
    size_t method_count;
    struct th_grpc_method *methods;
    struct th_grpc_server *server;
};

/* ---- calls of the endpoint's own ------------------------------------------------------------- */

static void on_hello(struct th_grpc_call *call, struct th_blob *message)
{
    call_answer_nothing(call);
}

/* A new instance would have to begin with the past of another one, of which it knows nothing. */
static void on_rerun(struct th_grpc_call *call, struct th_blob *message)
{
    if (th_grpc_user(call))
        call_finish(
            call, TH_GRPC_UNIMPLEMENTED,
            TH_STR("RerunWorkflowFromEvent is not served: an instance cannot begin with the "
                   "history of another one (RewindInstance goes on with one that failed, "
                   "RestartInstance begins it anew)"));
}

static const struct th_grpc_handler rerun_handler = {.begin = call_begin, .message = on_rerun};
static const struct th_grpc_handler hello_handler = {.begin = call_begin, .message = on_hello};

/* ---- the table ------------------------------------------------------------------------------- */

/* Beside those of clients. …Workflow… are Dapr's names for the same (contracts 1.2). */
static const struct own {
    const char *name;
    const struct th_grpc_handler *handler;
    enum th_function_kind kind;
    bool of_workers;
} own_methods[] = {
    {"Hello", &hello_handler, 0, false},
    {"RerunWorkflowFromEvent", &rerun_handler, 0, false},
    {"GetWorkItems", &stream_handler, 0, true},
    {"CompleteOrchestratorTask", &completion_handler, TH_FUNCTION_ORCHESTRATOR, true},
    {"CompleteWorkflowTask", &completion_handler, TH_FUNCTION_ORCHESTRATOR, true},
    {"CompleteActivityTask", &completion_handler, TH_FUNCTION_ACTIVITY, true},
    {"CompleteEntityTask", &completion_handler, TH_FUNCTION_ENTITY, true},
    {"AbandonTaskOrchestratorWorkItem", &abandon_handler, 0, true},
    {"AbandonTaskWorkflowWorkItem", &abandon_handler, 0, true},
    {"AbandonTaskActivityWorkItem", &abandon_handler, 0, true},
    {"AbandonTaskEntityWorkItem", &abandon_handler, 0, true},
};

static char *path_of(const char *name)
{
    TH_BUFFER path = {0};
    th_buffer_text(&path, SERVICE);
    th_buffer_text(&path, name);
    return th_buffer_take(&path);
}

static void add_method(struct th_rpc_endpoint *e, const char *name,
                       const struct th_grpc_handler *handler, struct route route)
{
    size_t index = e->method_count++;
    route.endpoint = e;
    route.index = index;
    route.hub = e->options.hubs[0];
    e->routes[index] = route;
    e->methods[index] = (struct th_grpc_method){.path = path_of(name),
                                                .handler = handler,
                                                .argument = &e->routes[index],
                                                .single_request = true};
}

static void make_table(struct th_rpc_endpoint *e)
{
    const struct th_rpc_method *m;
    size_t clients = 0;
    while (th_rpc_method_at(clients))
        clients++;
    size_t most = clients + TH_COUNT(own_methods);
    e->methods = th_alloc(most * sizeof *e->methods);
    e->routes = th_alloc(most * e->options.hub_count * sizeof *e->routes);
    for (size_t i = 0; (m = th_rpc_method_at(i)); i++)
        add_method(e, th_rpc_method_name(m), &client_handler, (struct route){.client = m});
    for (size_t i = 0; i < TH_COUNT(own_methods); i++) {
        const struct own *own = &own_methods[i];
        if (!own->of_workers || !e->options.clients_only)
            add_method(e, own->name, own->handler, (struct route){.kind = own->kind});
    }
    for (size_t h = 1; h < e->options.hub_count; h++) {
        struct route *routes = &e->routes[h * e->method_count];
        memcpy(routes, e->routes, e->method_count * sizeof *routes);
        for (size_t i = 0; i < e->method_count; i++)
            routes[i].hub = e->options.hubs[h];
    }
}

/* ---- who may call ---------------------------------------------------------------------------- */

static bool is_key(const struct th_rpc_endpoint *e, struct th_str given)
{
    return th_secret_equal(given, th_str_of(e->key));
}

static bool is_authorized(const struct th_rpc_endpoint *e, struct th_grpc_metadata metadata)
{
    static const char bearer[] = "Bearer ";
    struct th_str value = th_grpc_metadata_get(metadata, "authorization");
    if (!e->key)
        return true;
    if (value.len > sizeof bearer - 1 &&
        th_str_eq_nocase(th_str_n(value.data, sizeof bearer - 1), TH_STR(bearer)) &&
        is_key(e, th_str_n(value.data + sizeof bearer - 1, value.len - sizeof bearer + 1)))
        return true;
    return is_key(e, th_grpc_metadata_get(metadata, "x-taskhub-key"));
}

static const struct route *route_of(const struct route *first, struct th_str hub)
{
    const struct th_rpc_endpoint *e = first->endpoint;
    if (hub.len == 0)
        return first;
    for (size_t h = 0; h < e->options.hub_count; h++) {
        const struct route *route = &e->routes[h * e->method_count + first->index];
        if (th_str_eq_nocase(th_str_of(route->hub->gateway->hub->name), hub))
            return route;
    }
    /* The emulator of DTS calls its hub so, and therefore programs that were written for it do. */
    return th_str_eq_nocase(hub, TH_STR("default")) ? first : NULL;
}

static void refuse_hub(struct th_grpc_call *call, const struct th_rpc_endpoint *e,
                       struct th_str hub)
{
    TH_BUFFER message = {0};
    th_buffer_format(&message,
                     "the task hub \"%.*s\" (metadata \"taskhub\") is not served here, but",
                     (int)(hub.len < 100 ? hub.len : 100), hub.data);
    for (size_t h = 0; h < e->options.hub_count; h++)
        th_buffer_format(&message, "%s \"%s\"", h ? "," : "",
                         e->options.hubs[h]->gateway->hub->name);
    call_finish(call, TH_GRPC_NOT_FOUND, th_buffer_view(&message));
}

const struct route *call_admit(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    const struct route *first = th_grpc_user(call);
    struct th_str hub = th_grpc_metadata_get(request->metadata, "taskhub");
    th_grpc_set_user(call, NULL);
    if (!is_authorized(first->endpoint, request->metadata)) {
        call_finish(call, TH_GRPC_UNAUTHENTICATED,
                    TH_STR("the key is missing or wrong (metadata \"authorization: Bearer KEY\")"));
        return NULL;
    }
    const struct route *route = route_of(first, hub);
    if (!route)
        refuse_hub(call, first->endpoint, hub);
    th_grpc_set_user(call, (void *)route);
    return route;
}

void call_begin(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    call_admit(call, request);
}

void call_finish(struct th_grpc_call *call, enum th_grpc_status status, struct th_str message)
{
    th_grpc_finish(call, status, message, (struct th_grpc_metadata){0});
}

void call_answer_nothing(struct th_grpc_call *call)
{
    struct th_blob *nothing = th_blob_new("", 0);
    th_grpc_send(call, nothing);
    th_blob_unref(nothing);
    call_finish(call, TH_GRPC_OK, TH_STR_ABSENT);
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool may_listen(const struct th_rpc_endpoint_options *options, struct th_error *error)
{
    if (!options->address || th_is_loopback(options->address) || (options->key && *options->key))
        return true;
    return th_fail(error, TH_INVALID,
                   "RPC on %s is open to other machines: that needs a key (--key or TASKHUB_KEY)",
                   options->address);
}

static void endpoint_free(struct th_rpc_endpoint *e)
{
    for (size_t i = 0; i < e->method_count; i++)
        free((char *)e->methods[i].path);
    free(e->methods);
    free(e->routes);
    free((void *)e->options.hubs);
    free(e->key);
    free(e);
}

struct th_rpc_endpoint *th_rpc_endpoint_start(const struct th_rpc_endpoint_options *options,
                                              struct th_error *error)
{
    if (!may_listen(options, error))
        return NULL;
    struct th_rpc_endpoint *e = TH_NEW(struct th_rpc_endpoint);
    e->options = *options;
    e->options.hubs = th_memdup(options->hubs, options->hub_count * sizeof *options->hubs);
    if (options->key && *options->key)
        e->key = th_str_dup(th_str_of(options->key));
    make_table(e);
    const struct th_grpc_server_options server = {
        .methods = e->methods,
        .method_count = e->method_count,
        .limits = {.message_bytes =
                       options->message_bytes ? options->message_bytes : RPC_MESSAGE_BYTES},
        .log = options->log,
        .address = options->address,
        .port = options->port,
        .certificate = options->certificate,
        .key = options->private_key,
        .client_ca = options->client_ca,
    };
    e->server = th_grpc_server_start(&server, error);
    if (e->server)
        return e;
    endpoint_free(e);
    return NULL;
}

int th_rpc_endpoint_port(const struct th_rpc_endpoint *endpoint)
{
    return th_grpc_server_port(endpoint->server);
}

void th_rpc_endpoint_stop(struct th_rpc_endpoint *endpoint)
{
    if (!endpoint)
        return;
    th_grpc_server_stop(endpoint->server, PATIENCE);
    endpoint_free(endpoint);
}

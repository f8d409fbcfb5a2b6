/*
 * GetWorkItems: a program says what it takes, and is sent work until it or we end the call. The
 * dispatcher decides what; here are its streams' calls.
 */
#include "rpc/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/memory.h"
#include "rpc/dapr.h"

#define TOKEN_LENGTH 32

struct stream {
    struct stream *prev, *next; /* th_rpc_hub.streams */
    const struct route *route;
    struct th_grpc_call *call;
    struct th_dispatch_stream *dispatched; /* NULL: not yet, or no longer */
    bool dapr;
    bool relay; /* another process */
    char agent[80];
};

/* ---- sending, lock held ---------------------------------------------------------------------- */

/* Ends with the token, whose field has the highest number (sidecar.proto, WorkItem). */
static struct th_blob *with_token(struct th_blob *blob, struct th_str token)
{
    struct th_blob *sent = atomic_load(&blob->references) == 1 ? th_blob_ref(blob)
                                                               : th_blob_new(blob->data, blob->len);
    memcpy(sent->data + sent->len - TOKEN_LENGTH, token.data, TOKEN_LENGTH);
    return sent;
}

static struct th_blob *for_dapr(struct th_blob *blob)
{
    TH_ARENA arena = {0};
    struct th_error error;
    struct th_str out;
    if (!th_rpc_dapr(&arena, &work_item__descriptor, th_blob_view(blob), &out, &error))
        return blob;
    struct th_blob *copy = th_blob_new(out.data, out.len);
    th_blob_unref(blob);
    return copy;
}

bool stream_send(void *argument, void *user, struct th_blob *blob, struct th_str token)
{
    struct stream *stream = user;
    struct th_blob *sent = with_token(blob, token);
    if (stream->dapr)
        sent = for_dapr(sent);
    bool more = th_grpc_send(stream->call, sent);
    th_blob_unref(sent);
    return more;
}

bool stream_ping(void *argument, void *user)
{
    struct stream *stream = user;
    struct th_blob *ping = th_rpc_ping_item();
    bool more = th_grpc_send(stream->call, ping);
    th_blob_unref(ping);
    return more;
}

void streams_quiet(struct th_rpc_hub *hub)
{
    struct stream *stream;
    DL_FOREACH(hub->streams, stream)
        if (stream->dispatched)
            th_dispatch_quiet(hub->dispatch, stream->dispatched, th_monotonic());
}

/* ---- what a program takes -------------------------------------------------------------------- */

static struct th_dispatch_filter filter_of(struct th_arena *arena, size_t count)
{
    return (struct th_dispatch_filter){
        .functions = TH_ARENA_ARRAY(arena, struct th_dispatch_function, count), .count = count};
}

static struct th_dispatch_function function_of(struct th_arena *arena, const char *name,
                                               char *const *versions, size_t version_count)
{
    struct th_str *list = TH_ARENA_ARRAY(arena, struct th_str, version_count);
    for (size_t i = 0; i < version_count; i++)
        list[i] = th_str_of(versions[i]);
    return (struct th_dispatch_function){th_str_of(name), list, version_count};
}

/* Without filters everything; with them nothing but what they name. */
static void read_filters(struct th_arena *arena, const WorkItemFilters *filters,
                         struct th_dispatch_filter out[TH_DISPATCH_KINDS])
{
    if (!filters) {
        for (size_t kind = 0; kind < TH_DISPATCH_KINDS; kind++)
            out[kind].everything = true;
        return;
    }
    struct th_dispatch_filter *o = &out[TH_FUNCTION_ORCHESTRATOR];
    struct th_dispatch_filter *a = &out[TH_FUNCTION_ACTIVITY];
    struct th_dispatch_filter *e = &out[TH_FUNCTION_ENTITY];
    *o = filter_of(arena, filters->n_orchestrations);
    for (size_t i = 0; i < o->count; i++)
        o->functions[i] = function_of(arena, filters->orchestrations[i]->name,
                                      filters->orchestrations[i]->versions,
                                      filters->orchestrations[i]->n_versions);
    *a = filter_of(arena, filters->n_activities);
    for (size_t i = 0; i < a->count; i++)
        a->functions[i] =
            function_of(arena, filters->activities[i]->name, filters->activities[i]->versions,
                        filters->activities[i]->n_versions);
    *e = filter_of(arena, filters->n_entities);
    for (size_t i = 0; i < e->count; i++)
        e->functions[i] = function_of(arena, filters->entities[i]->name, NULL, 0);
}

static bool streams_history(const GetWorkItemsRequest *request)
{
    for (size_t i = 0; i < request->n_capabilities; i++)
        if (request->capabilities[i] == WORKER_CAPABILITY__WORKER_CAPABILITY_HISTORY_STREAMING)
            return true;
    return false;
}

static uint32_t bound(int32_t most)
{
    return most > 0 ? (uint32_t)most : 0;
}

/* ---- the same the other way round, for a relay ----------------------------------------------- */

#define RELAYED_AT_ONCE 256 /* of each kind: the rest waits where other processes see it */

static char **texts_of(struct th_arena *arena, const struct th_str *list, size_t count)
{
    char **texts = TH_ARENA_ARRAY(arena, char *, count);
    for (size_t i = 0; i < count; i++)
        texts[i] = th_rpc_text(arena, list[i]);
    return texts;
}

static void write_orchestrations(struct th_arena *arena, WorkItemFilters *filters,
                                 const struct th_dispatch_filter *from)
{
    filters->n_orchestrations = from->count;
    filters->orchestrations = TH_ARENA_ARRAY(arena, OrchestrationFilter *, from->count);
    for (size_t i = 0; i < from->count; i++) {
        const struct th_dispatch_function *f = &from->functions[i];
        OrchestrationFilter *o = filters->orchestrations[i] =
            TH_ARENA_NEW(arena, OrchestrationFilter);
        orchestration_filter__init(o);
        o->name = th_rpc_text(arena, f->name);
        o->n_versions = f->version_count;
        o->versions = texts_of(arena, f->versions, f->version_count);
    }
}

static void write_activities(struct th_arena *arena, WorkItemFilters *filters,
                             const struct th_dispatch_filter *from)
{
    filters->n_activities = from->count;
    filters->activities = TH_ARENA_ARRAY(arena, ActivityFilter *, from->count);
    for (size_t i = 0; i < from->count; i++) {
        const struct th_dispatch_function *f = &from->functions[i];
        ActivityFilter *a = filters->activities[i] = TH_ARENA_NEW(arena, ActivityFilter);
        activity_filter__init(a);
        a->name = th_rpc_text(arena, f->name);
        a->n_versions = f->version_count;
        a->versions = texts_of(arena, f->versions, f->version_count);
    }
}

static void write_entities(struct th_arena *arena, WorkItemFilters *filters,
                           const struct th_dispatch_filter *from)
{
    filters->n_entities = from->count;
    filters->entities = TH_ARENA_ARRAY(arena, EntityFilter *, from->count);
    for (size_t i = 0; i < from->count; i++) {
        EntityFilter *e = filters->entities[i] = TH_ARENA_NEW(arena, EntityFilter);
        entity_filter__init(e);
        e->name = th_rpc_text(arena, from->functions[i].name);
    }
}

struct th_blob *stream_request(struct th_arena *arena,
                               const struct th_dispatch_filter filters[TH_DISPATCH_KINDS])
{
    const struct th_dispatch_filter *o = &filters[TH_FUNCTION_ORCHESTRATOR];
    const struct th_dispatch_filter *a = &filters[TH_FUNCTION_ACTIVITY];
    const struct th_dispatch_filter *e = &filters[TH_FUNCTION_ENTITY];
    bool everything = o->everything || a->everything || e->everything;
    GetWorkItemsRequest request;
    WorkItemFilters named;
    if (!everything && o->count + a->count + e->count == 0)
        return NULL;
    get_work_items_request__init(&request);
    work_item_filters__init(&named);
    request.max_concurrent_orchestration_work_items = RELAYED_AT_ONCE;
    request.max_concurrent_activity_work_items = RELAYED_AT_ONCE;
    request.max_concurrent_entity_work_items = RELAYED_AT_ONCE;
    write_orchestrations(arena, &named, o);
    write_activities(arena, &named, a);
    write_entities(arena, &named, e);
    if (!everything)
        request.work_item_filters = &named;
    return th_rpc_pack(&request.base);
}

/* ---- the call, on the loop's thread ---------------------------------------------------------- */

static void on_begin(struct th_grpc_call *call, const struct th_grpc_request *request)
{
    const struct route *route = call_admit(call, request);
    if (!route)
        return;
    struct stream *stream = TH_NEW(struct stream);
    stream->route = route;
    stream->call = call;
    if (th_str_present(request->user_agent))
        snprintf(stream->agent, sizeof stream->agent, "%.*s", TH_PRI(request->user_agent));
    stream->relay = th_str_present(th_grpc_metadata_get(request->metadata, RELAY_FIELD));
    th_grpc_set_user(call, stream);
}

static void open(struct stream *stream, const struct th_dispatch_stream_options *options)
{
    struct th_rpc_hub *hub = stream->route->hub;
    hub_lock(hub);
    DL_APPEND(hub->streams, stream);
    stream->dispatched = th_dispatch_open(hub->dispatch, options, th_monotonic());
    if (hub->quiet)
        th_dispatch_quiet(hub->dispatch, stream->dispatched, th_monotonic());
    else
        hub_changed(hub, true);
    hub_unlock(hub);
    th_log(hub->options.log, stream->relay ? TH_LOG_DEBUG : TH_LOG_INFO, "rpc",
           "a program takes work: %s%s", stream->agent,
           options->filters[TH_FUNCTION_ACTIVITY].everything ? "" : ", filtered");
}

static void on_message(struct th_grpc_call *call, struct th_blob *message)
{
    struct stream *stream = th_grpc_user(call);
    TH_ARENA arena = {0};
    struct th_error error = {.code = TH_OK};
    if (!stream || stream->dispatched)
        return;
    const GetWorkItemsRequest *request =
        th_rpc_unpack(&arena, &get_work_items_request__descriptor, th_blob_view(message), &error);
    if (!request) {
        call_finish(call, TH_GRPC_INVALID_ARGUMENT, th_str_of(error.message));
        return;
    }
    struct th_dispatch_stream_options options = {
        .user = stream,
        .most = {[TH_FUNCTION_ORCHESTRATOR] =
                     bound(request->max_concurrent_orchestration_work_items),
                 [TH_FUNCTION_ACTIVITY] = bound(request->max_concurrent_activity_work_items),
                 [TH_FUNCTION_ENTITY] = bound(request->max_concurrent_entity_work_items)},
        .brief = streams_history(request),
        .relay = stream->relay,
    };
    stream->dapr = th_rpc_is_dapr(request, th_str_of(stream->agent));
    read_filters(&arena, request->work_item_filters, options.filters);
    th_grpc_headers(call, (struct th_grpc_metadata){0});
    open(stream, &options);
}

static void on_writable(struct th_grpc_call *call)
{
    struct stream *stream = th_grpc_user(call);
    if (!stream || !stream->dispatched)
        return;
    struct th_rpc_hub *hub = stream->route->hub;
    hub_lock(hub);
    th_dispatch_writable(hub->dispatch, stream->dispatched, th_monotonic());
    hub_unlock(hub);
}

/* The program comes back, on another connection; what it has done meanwhile it says there. */
static void on_draining(struct th_grpc_call *call)
{
    call_finish(call, TH_GRPC_OK, TH_STR_ABSENT);
}

static void close_stream(struct stream *stream, bool broken)
{
    struct th_rpc_hub *hub = stream->route->hub;
    hub_lock(hub);
    DL_DELETE(hub->streams, stream);
    th_dispatch_close(hub->dispatch, stream->dispatched, broken, th_monotonic());
    hub_changed(hub, false);
    hub_unlock(hub);
    th_log(hub->options.log, stream->relay ? TH_LOG_DEBUG : TH_LOG_INFO, "rpc",
           "a program takes no more work: %s", stream->agent);
}

static void on_ended(struct th_grpc_call *call, enum th_grpc_end why)
{
    struct stream *stream = th_grpc_user(call);
    if (!stream)
        return;
    if (stream->dispatched)
        close_stream(stream, why == TH_GRPC_RESET || why == TH_GRPC_LOST);
    free(stream);
}

const struct th_grpc_handler stream_handler = {.begin = on_begin,
                                               .message = on_message,
                                               .writable = on_writable,
                                               .draining = on_draining,
                                               .ended = on_ended};

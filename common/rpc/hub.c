/*
 * Work goes in on the nodes' threads, answers come on the endpoint's. One lock guards who has what;
 * messages are made and read outside of it.
 */
#include "rpc/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define NO_TOKEN "--------------------------------" /* its place in a message */

/* ---- the lock, and what is due --------------------------------------------------------------- */

void hub_lock(struct th_rpc_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
}

static bool is_busy(const struct th_rpc_hub *hub)
{
    struct th_dispatch_stats stats;
    size_t under_way = hub->answers;
    th_dispatch_get_stats(hub->dispatch, &stats);
    for (size_t kind = 0; kind < TH_DISPATCH_KINDS; kind++)
        under_way += stats.under_way[kind];
    return under_way > 0;
}

void hub_unlock(struct th_rpc_hub *hub)
{
    if (hub->quiet && !is_busy(hub))
        pthread_cond_signal(&hub->finished);
    th_time next = th_dispatch_deadline(hub->dispatch);
    bool earlier = next != TH_TIME_NONE && (hub->due == TH_TIME_NONE || next < hub->due);
    if (earlier)
        hub->due = next;
    pthread_mutex_unlock(&hub->lock);
    if (earlier)
        th_queue_wake(&hub->wake);
}

static void *hub_main(void *argument)
{
    struct th_rpc_hub *hub = argument;
    pthread_setname_np(pthread_self(), "rpc-hub");
    pthread_mutex_lock(&hub->lock);
    while (!hub->stop) {
        th_time due = hub->due = th_dispatch_step(hub->dispatch, th_monotonic());
        pthread_mutex_unlock(&hub->lock);
        th_queue_wait(&hub->wake, due);
        pthread_mutex_lock(&hub->lock);
    }
    pthread_mutex_unlock(&hub->lock);
    return NULL;
}

/* ---- hooks of the dispatcher, lock held ------------------------------------------------------ */

static void on_back(void *argument, void *owner, enum th_function_kind kind, uint64_t ticket)
{
    const struct th_rpc_owner *o = owner;
    o->back(o->argument, ticket);
}

static struct th_failure too_large(struct th_arena *arena, size_t bytes)
{
    return (struct th_failure){
        .type = TH_STR("PayloadTooLarge"),
        .message = th_arena_format(
            arena, "a message of %zu bytes is larger than the program that runs it takes", bytes),
        .non_retriable = true};
}

static void on_refused(void *argument, void *owner, enum th_function_kind kind, uint64_t ticket,
                       size_t bytes)
{
    const struct th_rpc_owner *o = owner;
    struct th_arena arena = {0};
    if (!o->ran) { /* a relay's: the process that it comes from finds out, too */
        o->back(o->argument, ticket);
        return;
    }
    const struct th_failure failure = too_large(&arena, bytes);
    if (kind == TH_FUNCTION_ACTIVITY) {
        const struct th_activity_answer answer = {.token = ticket,
                                                  .failure = th_failure_copy(&arena, &failure)};
        o->done(o->argument, &arena, &answer);
        return;
    }
    struct th_actions actions;
    th_actions_fail(&actions, &arena, kind == TH_FUNCTION_ENTITY, &failure);
    o->ran(o->argument, ticket, &arena, &actions);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct th_rpc_hub *th_rpc_hub_new(const struct th_rpc_hub_options *options)
{
    struct th_rpc_hub *hub = TH_NEW(struct th_rpc_hub);
    const struct th_dispatch_hooks hooks = {.argument = hub,
                                            .send = stream_send,
                                            .ping = stream_ping,
                                            .back = on_back,
                                            .refused = on_refused};
    hub->options = *options;
    if (hub->options.message_bytes == 0)
        hub->options.message_bytes = RPC_MESSAGE_BYTES;
    hub->gateway = options->gateway;
    hub->dispatch = th_dispatch_new(&hooks, options->nonce);
    hub->due = TH_TIME_NONE;
    pthread_mutex_init(&hub->lock, NULL);
    init_condition(&hub->finished);
    th_queue_init(&hub->wake);
    if (pthread_create(&hub->thread, NULL, hub_main, hub) != 0)
        abort();
    return hub;
}

void th_rpc_hub_open(struct th_rpc_hub *hub, struct th_gateway *gateway)
{
    hub->gateway = gateway;
}

void th_rpc_hub_free(struct th_rpc_hub *hub)
{
    if (!hub)
        return;
    pthread_mutex_lock(&hub->lock);
    hub->stop = true;
    pthread_mutex_unlock(&hub->lock);
    th_queue_wake(&hub->wake);
    pthread_join(hub->thread, NULL);
    th_dispatch_free(hub->dispatch);
    th_queue_deinit(&hub->wake);
    pthread_cond_destroy(&hub->finished);
    pthread_mutex_destroy(&hub->lock);
    free(hub->owners);
    free(hub);
}

/* ---- owners ---------------------------------------------------------------------------------- */

static size_t place_of(const struct th_rpc_hub *hub, const struct th_rpc_owner *owner)
{
    size_t at = 0;
    while (at < hub->owner_count && hub->owners[at] != owner)
        at++;
    return at;
}

bool hub_has(const struct th_rpc_hub *hub, const struct th_rpc_owner *owner)
{
    return place_of(hub, owner) < hub->owner_count;
}

void hub_changed(struct th_rpc_hub *hub, bool more)
{
    for (size_t i = 0; i < hub->owner_count; i++) {
        const struct th_rpc_owner *owner = hub->owners[i];
        if (more && owner->served)
            owner->served(owner->argument);
        if (owner->changed)
            owner->changed(owner->argument);
    }
}

void th_rpc_join(struct th_rpc_hub *hub, const struct th_rpc_owner *owner)
{
    hub_lock(hub);
    hub->owners =
        th_grow(hub->owners, &hub->owner_capacity, hub->owner_count + 1, sizeof *hub->owners);
    hub->owners[hub->owner_count++] = owner;
    hub_unlock(hub);
}

void th_rpc_leave(struct th_rpc_hub *hub, const struct th_rpc_owner *owner)
{
    hub_lock(hub);
    size_t at = place_of(hub, owner);
    if (at < hub->owner_count)
        hub->owners[at] = hub->owners[--hub->owner_count];
    th_dispatch_leave(hub->dispatch, owner);
    hub_unlock(hub);
}

bool th_rpc_serves(struct th_rpc_hub *hub, enum th_function_kind kind, struct th_str name,
                   struct th_str version)
{
    hub_lock(hub);
    bool serves = th_dispatch_serves(hub->dispatch, kind, name, version);
    hub_unlock(hub);
    return serves;
}

/* ---- work ------------------------------------------------------------------------------------ */

static void add(struct th_rpc_hub *hub, const struct th_dispatch_work *work)
{
    hub_lock(hub);
    th_dispatch_add(hub->dispatch, work, th_monotonic());
    hub_unlock(hub);
}

enum th_executor_result th_rpc_orchestrate(struct th_rpc_hub *hub, const struct th_rpc_owner *owner,
                                           const struct th_episode *episode, struct th_arena *arena,
                                           struct th_actions *out)
{
    struct th_dispatch_work work = {
        .owner = (void *)owner,
        .ticket = episode->number,
        .kind = episode->entity ? TH_FUNCTION_ENTITY : TH_FUNCTION_ORCHESTRATOR,
        .name = episode->name,
        .version = episode->version,
        .instance_id = episode->instance_id,
        .task_id = -1,
        .operations = episode->entity ? episode->fresh_count : 0,
    };
    if (!episode->entity && !episode->past_loaded && episode->past_count > 0)
        return TH_EXECUTOR_NEEDS_HISTORY;
    work.blob = episode->entity ? th_rpc_entity_item(episode, TH_STR(NO_TOKEN))
                                : th_rpc_orchestrator_item(episode, TH_STR(NO_TOKEN), false);
    if (work.blob->len > hub->options.message_bytes) {
        const struct th_failure failure = too_large(arena, work.blob->len);
        th_actions_fail(out, arena, episode->entity, &failure);
        th_blob_unref(work.blob);
        return TH_EXECUTOR_DONE;
    }
    if (!episode->entity && episode->past_stored && work.blob->len > TH_DISPATCH_BRIEF)
        work.brief = th_rpc_orchestrator_item(episode, TH_STR(NO_TOKEN), true);
    add(hub, &work);
    return TH_EXECUTOR_LATER;
}

void th_rpc_episode_canceled(struct th_rpc_hub *hub, const struct th_rpc_owner *owner,
                             uint64_t episode)
{
    th_time now = th_monotonic();
    hub_lock(hub);
    if (!th_dispatch_cancel(hub->dispatch, owner, TH_FUNCTION_ORCHESTRATOR, episode, now))
        th_dispatch_cancel(hub->dispatch, owner, TH_FUNCTION_ENTITY, episode, now);
    hub_unlock(hub);
}

void th_rpc_activity(struct th_rpc_hub *hub, const struct th_rpc_owner *owner,
                     const struct th_activity_work *activity)
{
    struct th_dispatch_work work = {
        .owner = (void *)owner,
        .ticket = activity->token,
        .kind = TH_FUNCTION_ACTIVITY,
        .name = activity->name,
        .version = activity->version,
        .instance_id = activity->instance_id,
        .task_id = activity->task_id,
        .blob = th_rpc_activity_item(activity, TH_STR(NO_TOKEN)),
    };
    if (work.blob->len > hub->options.message_bytes) {
        on_refused(hub, (void *)owner, work.kind, work.ticket, work.blob->len);
        th_blob_unref(work.blob);
        return;
    }
    add(hub, &work);
}

void th_rpc_activity_canceled(struct th_rpc_hub *hub, const struct th_rpc_owner *owner,
                              uint64_t token)
{
    hub_lock(hub);
    th_dispatch_cancel(hub->dispatch, owner, TH_FUNCTION_ACTIVITY, token, th_monotonic());
    hub_unlock(hub);
}

bool th_rpc_withdraw(struct th_rpc_hub *hub, const struct th_rpc_owner *owner, uint64_t token)
{
    hub_lock(hub);
    bool back = th_dispatch_withdraw(hub->dispatch, owner, TH_FUNCTION_ACTIVITY, token);
    hub_unlock(hub);
    return back;
}

/* ---- a relay's ------------------------------------------------------------------------------- */

/* Name and version stand where the execution began. */
static bool read_started(const HistoryEvent *const *events, size_t count,
                         struct th_dispatch_work *work)
{
    for (size_t i = 0; i < count; i++) {
        if (events[i]->event_type_case != HISTORY_EVENT__EVENT_TYPE_EXECUTION_STARTED)
            continue;
        work->name = th_str_of(events[i]->execution_started->name);
        work->version = th_rpc_value_of(events[i]->execution_started->version);
        return true;
    }
    return false;
}

static bool read_item(const WorkItem *item, struct th_dispatch_work *work)
{
    const OrchestratorRequest *o = item->orchestrator_request;
    const ActivityRequest *a = item->activity_request;
    switch (item->request_case) {
    case WORK_ITEM__REQUEST_ORCHESTRATOR_REQUEST:
        work->kind = TH_FUNCTION_ORCHESTRATOR;
        work->instance_id = th_str_of(o->instance_id);
        return read_started((const HistoryEvent *const *)o->past_events, o->n_past_events, work) ||
               read_started((const HistoryEvent *const *)o->new_events, o->n_new_events, work);
    case WORK_ITEM__REQUEST_ACTIVITY_REQUEST:
        work->kind = TH_FUNCTION_ACTIVITY;
        work->name = th_str_of(a->name);
        work->version = th_rpc_value_of(a->version);
        work->task_id = a->task_id;
        if (a->orchestration_instance)
            work->instance_id = th_str_of(a->orchestration_instance->instance_id);
        return true;
    case WORK_ITEM__REQUEST_ENTITY_REQUEST_V2:
        work->kind = TH_FUNCTION_ENTITY;
        work->instance_id = th_str_of(item->entity_request_v2->instance_id);
        work->name = th_entity_name(work->instance_id);
        return true;
    default:
        return false;
    }
}

bool th_rpc_relay(struct th_rpc_hub *hub, const struct th_rpc_owner *owner, uint64_t ticket,
                  struct th_blob *item, struct th_error *error)
{
    TH_ARENA arena = {0};
    struct th_dispatch_work work = {
        .owner = (void *)owner, .ticket = ticket, .task_id = -1, .relayed = true, .blob = item};
    const WorkItem *unpacked =
        th_rpc_unpack(&arena, &work_item__descriptor, th_blob_view(item), error);
    if (unpacked && read_item(unpacked, &work)) {
        add(hub, &work);
        return true;
    }
    th_blob_unref(item);
    return unpacked ? th_fail(error, TH_INVALID, "a work item of no kind that is known") : false;
}

struct gathering {
    struct th_blob **blobs;
    size_t count, capacity;
};

static void gather(void *argument, const struct th_dispatch_filter filters[TH_DISPATCH_KINDS])
{
    struct gathering *g = argument;
    TH_ARENA arena = {0};
    struct th_blob *blob = stream_request(&arena, filters);
    if (!blob)
        return;
    for (size_t i = 0; i < g->count; i++) {
        if (th_str_eq(th_blob_view(g->blobs[i]), th_blob_view(blob))) {
            th_blob_unref(blob);
            return;
        }
    }
    g->blobs = th_grow(g->blobs, &g->capacity, g->count + 1, sizeof *g->blobs);
    g->blobs[g->count++] = blob;
}

struct th_blob **th_rpc_functions(struct th_rpc_hub *hub, size_t *count)
{
    struct gathering g = {0};
    hub_lock(hub);
    th_dispatch_programs(hub->dispatch, gather, &g);
    hub_unlock(hub);
    *count = g.count;
    return g.blobs;
}

void th_rpc_unserved(struct th_rpc_hub *hub, const struct th_rpc_owner *owner,
                     void (*visit)(void *argument, struct th_str name, size_t waiting),
                     void *argument)
{
    hub_lock(hub);
    th_dispatch_unserved(hub->dispatch, owner, visit, argument);
    hub_unlock(hub);
}

size_t th_rpc_under_way(struct th_rpc_hub *hub, const struct th_rpc_owner *owner)
{
    hub_lock(hub);
    size_t count = th_dispatch_under_way(hub->dispatch, owner, 0) + hub->answers;
    hub_unlock(hub);
    return count;
}

void th_rpc_quiet(struct th_rpc_hub *hub, th_time deadline)
{
    const struct timespec until = {.tv_sec = deadline / TH_SECOND,
                                   .tv_nsec = deadline % TH_SECOND * 1000};
    hub_lock(hub);
    hub->quiet = true;
    streams_quiet(hub);
    while (is_busy(hub) && th_monotonic() < deadline)
        pthread_cond_timedwait(&hub->finished, &hub->lock, &until);
    hub_unlock(hub);
}

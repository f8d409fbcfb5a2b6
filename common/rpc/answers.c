/*
 * What programs answer: completions, and what they do not want. An answer that is nobody's (any
 * more) is told OK and dropped: SDKs can do nothing about it (contracts 2.2).
 *
 * One that cannot be understood fails its instance rather than to wait for ever: nothing better
 * will come from that program.
 */
#include "rpc/internal.h"

#include <stdlib.h>

#include "base/memory.h"

#define PARTS_MAX_BYTES (64u << 20) /* of an answer that comes in several */

/* A part of an orchestrator's answer that came before the last one. */
struct part {
    struct part *next;
    const OrchestratorResponse *response;
};

/* An answer, taken apart. */
struct answer {
    struct th_arena arena;
    struct th_dispatch_key key;
    struct th_actions actions;
    struct th_activity_answer activity;
    void *raw;                            /* the message, whichever it is */
    const OrchestratorResponse *response; /* an orchestrator's */
    const EntityBatchResult *batch;       /* an entity's */

    /* of the work that it is for: */
    const struct th_rpc_owner *owner;
    uint64_t ticket;
    size_t operations;
    const struct part *parts;
    bool oversize;
};

/* ---- reading, without the lock --------------------------------------------------------------- */

static struct th_dispatch_key key_of(enum th_function_kind kind, const char *token,
                                     const char *instance_id, int32_t task_id)
{
    return (struct th_dispatch_key){.kind = kind,
                                    .token = th_str_of(token),
                                    .instance_id = th_str_of(instance_id),
                                    .task_id = task_id};
}

static bool read_orchestrator(struct answer *a, struct th_str bytes, struct th_error *error)
{
    const OrchestratorResponse *r = a->raw =
        th_rpc_unpack(&a->arena, &orchestrator_response__descriptor, bytes, error);
    if (!r)
        return false;
    a->response = r;
    a->key = key_of(TH_FUNCTION_ORCHESTRATOR, r->completion_token, r->instance_id, -1);
    return true;
}

static bool read_activity(struct answer *a, struct th_str bytes, struct th_error *error)
{
    const ActivityResponse *r = a->raw =
        th_rpc_unpack(&a->arena, &activity_response__descriptor, bytes, error);
    if (!r)
        return false;
    a->key = key_of(TH_FUNCTION_ACTIVITY, r->completion_token, r->instance_id, r->task_id);
    th_rpc_activity_answer(&a->arena, r, &a->activity);
    return true;
}

static bool read_entity(struct answer *a, struct th_str bytes, struct th_error *error)
{
    const EntityBatchResult *r = a->raw =
        th_rpc_unpack(&a->arena, &entity_batch_result__descriptor, bytes, error);
    if (!r)
        return false;
    a->batch = r;
    a->key = key_of(TH_FUNCTION_ENTITY, r->completion_token, "", -1);
    return true;
}

/* ---- parts, lock held ------------------------------------------------------------------------ */

static bool keep_part(const struct th_dispatch_found *found, struct answer *a)
{
    if (found->parts->total + a->arena.total > PARTS_MAX_BYTES)
        return false;
    th_arena_adopt(found->parts, &a->arena);
    struct part *part = TH_ARENA_NEW(found->parts, struct part);
    part->response = a->response;
    struct part **last = (struct part **)found->first_part;
    while (*last)
        last = &(*last)->next;
    *last = part;
    return true;
}

/* ---- understanding it, without the lock ------------------------------------------------------ */

static bool act(struct answer *a, struct th_error *error)
{
    if (a->oversize)
        return th_fail(error, TH_TOO_LARGE, "the parts of this answer are larger than %u bytes",
                       PARTS_MAX_BYTES);
    for (const struct part *part = a->parts; part; part = part->next)
        if (!th_rpc_actions(&a->arena, part->response, &a->actions, error))
            return false;
    return th_rpc_actions(&a->arena, a->response, &a->actions, error);
}

static void understand(struct answer *a, struct th_error *error)
{
    if (a->response && !act(a, error)) {
        a->actions = (struct th_actions){0};
        th_rpc_refused(&a->arena, error, &a->actions);
    } else if (a->batch &&
               !th_rpc_entity_result(&a->arena, a->batch, a->operations, &a->actions, error)) {
        a->actions = (struct th_actions){0};
        th_rpc_entity_refused(&a->arena, error, &a->actions);
    }
}

/* ---- from the dispatcher to the owner -------------------------------------------------------- */

/* Lock held. A relay's: as it came. */
static void send_on(struct th_rpc_hub *hub, const struct th_dispatch_found *found,
                    const struct answer *a)
{
    const struct th_rpc_owner *owner = found->owner;
    bool last = !(a->response && a->response->is_partial);
    uint64_t ticket = found->ticket;
    enum th_function_kind kind = found->kind;
    if (last)
        th_dispatch_take(hub->dispatch, &a->key, th_monotonic());
    owner->answered(owner->argument, ticket, kind, a->raw, last);
}

/* Lock held. Whether there is something for the owner. */
static bool take(struct th_rpc_hub *hub, struct answer *a)
{
    const OrchestratorResponse *r = a->response;
    struct th_dispatch_found found;
    th_time now = th_monotonic();
    if (!th_dispatch_find(hub->dispatch, &a->key, &found))
        return false;
    if (((const struct th_rpc_owner *)found.owner)->answered) {
        send_on(hub, &found, a);
        return false;
    }
    if ((r && r->requires_history) || (a->batch && a->batch->requires_state)) {
        th_dispatch_abandon(hub->dispatch, &a->key, now); /* it is sent as a whole again */
        return false;
    }
    if (r && r->is_partial && keep_part(&found, a))
        return false;
    a->oversize = r && r->is_partial;
    a->owner = found.owner;
    a->ticket = found.ticket;
    a->operations = found.operations;
    a->parts = *found.first_part;
    th_arena_adopt(&a->arena, found.parts);
    th_dispatch_take(hub->dispatch, &a->key, now);
    hub->answers++;
    return true;
}

static void give(struct th_rpc_hub *hub, struct answer *a)
{
    const struct th_rpc_owner *owner = a->owner;
    hub_lock(hub);
    hub->answers--;
    if (hub_has(hub, owner)) {
        a->activity.token = a->ticket;
        if (a->key.kind == TH_FUNCTION_ACTIVITY)
            owner->done(owner->argument, &a->arena, &a->activity);
        else
            owner->ran(owner->argument, a->ticket, &a->arena, &a->actions);
    }
    hub_unlock(hub);
}

/* ---- the calls ------------------------------------------------------------------------------- */

static void answer_error(struct th_grpc_call *call, const struct th_error *error)
{
    if (error->code == TH_OK)
        call_answer_nothing(call);
    else
        call_finish(call, (enum th_grpc_status)th_code_grpc(error->code),
                    th_str_of(error->message));
}

static void on_completion(struct th_grpc_call *call, struct th_blob *message)
{
    const struct route *route = th_grpc_user(call);
    struct answer a = {.key = {.task_id = -1}};
    struct th_error error = {.code = TH_OK};
    struct th_str bytes = th_blob_view(message);
    if (!route)
        return; /* it was refused */
    bool good = route->kind == TH_FUNCTION_ORCHESTRATOR ? read_orchestrator(&a, bytes, &error)
                : route->kind == TH_FUNCTION_ACTIVITY   ? read_activity(&a, bytes, &error)
                                                        : read_entity(&a, bytes, &error);
    if (good) {
        hub_lock(route->hub);
        good = take(route->hub, &a);
        hub_unlock(route->hub);
    }
    if (good) {
        understand(&a, &error);
        give(route->hub, &a);
    }
    answer_error(call, &error);
    th_arena_deinit(&a.arena);
}

static void on_abandon(struct th_grpc_call *call, struct th_blob *message)
{
    const struct route *route = th_grpc_user(call);
    TH_ARENA arena = {0};
    struct th_error error = {.code = TH_OK};
    if (!route)
        return;
    /* The three requests are alike: one field, the token; and so is what is to be done. */
    const AbandonOrchestrationTaskRequest *r = th_rpc_unpack(
        &arena, &abandon_orchestration_task_request__descriptor, th_blob_view(message), &error);
    if (r && r->completion_token[0] != '\0') {
        const struct th_dispatch_key key = key_of(0, r->completion_token, "", -1);
        hub_lock(route->hub);
        th_dispatch_abandon(route->hub->dispatch, &key, th_monotonic());
        hub_unlock(route->hub);
    }
    answer_error(call, &error);
}

const struct th_grpc_handler completion_handler = {.begin = call_begin, .message = on_completion};
const struct th_grpc_handler abandon_handler = {.begin = call_begin, .message = on_abandon};

#include "rpc/work.h"

#include "rpc/pieces.h"

static struct th_blob *pack_item(struct th_arena *arena, WorkItem *item, struct th_str token)
{
    item->completion_token = th_rpc_text(arena, token);
    return th_rpc_pack(&item->base);
}

/* SDKs call entities only where this is there; the hub keeps messages in order, so that there is
 * no window in which they wait for earlier ones. */
static OrchestratorEntityParameters *entity_parameters(struct th_arena *arena)
{
    OrchestratorEntityParameters *out =
        RPC_NEW(arena, OrchestratorEntityParameters, orchestrator_entity_parameters);
    out->entity_message_reorder_window =
        RPC_NEW(arena, Google__Protobuf__Duration, google__protobuf__duration);
    return out;
}

/* It was packed by th_rpc_actions, or by a release that had other fields in it. */
static OrchestrationTraceContext *turn_trace(struct th_arena *arena, struct th_str packed)
{
    struct th_error error;
    return packed.len == 0
               ? NULL
               : th_rpc_unpack(arena, &orchestration_trace_context__descriptor, packed, &error);
}

struct th_blob *th_rpc_orchestrator_item(const struct th_episode *episode, struct th_str token,
                                         bool stream_history)
{
    TH_ARENA arena = {0};
    WorkItem item = WORK_ITEM__INIT;
    OrchestratorRequest request = ORCHESTRATOR_REQUEST__INIT;
    request.instance_id = th_rpc_text(&arena, episode->instance_id);
    request.execution_id = th_rpc_value(&arena, episode->execution_id);
    if (stream_history) {
        request.requires_history_streaming = true;
    } else if (episode->past_loaded) {
        request.past_events =
            th_rpc_events(&arena, episode->past, episode->past_count, &request.n_past_events);
    }
    request.new_events =
        th_rpc_events(&arena, episode->fresh, episode->fresh_count, &request.n_new_events);
    request.entity_parameters = entity_parameters(&arena);
    request.orchestration_trace_context = turn_trace(&arena, episode->turn_trace);
    item.request_case = WORK_ITEM__REQUEST_ORCHESTRATOR_REQUEST;
    item.orchestrator_request = &request;
    return pack_item(&arena, &item, token);
}

struct th_blob *th_rpc_entity_item(const struct th_episode *episode, struct th_str token)
{
    TH_ARENA arena = {0};
    WorkItem item = WORK_ITEM__INIT;
    EntityRequest request = ENTITY_REQUEST__INIT;
    request.instance_id = th_rpc_text(&arena, episode->instance_id);
    request.execution_id = th_rpc_text(&arena, episode->execution_id);
    request.entity_state = th_rpc_value(&arena, episode->state);
    request.operation_requests =
        th_rpc_events(&arena, episode->fresh, episode->fresh_count, &request.n_operation_requests);
    item.request_case = WORK_ITEM__REQUEST_ENTITY_REQUEST_V2;
    item.entity_request_v2 = &request;
    return pack_item(&arena, &item, token);
}

struct th_blob *th_rpc_activity_item(const struct th_activity_work *work, struct th_str token)
{
    TH_ARENA arena = {0};
    WorkItem item = WORK_ITEM__INIT;
    ActivityRequest request = ACTIVITY_REQUEST__INIT;
    request.name = th_rpc_text(&arena, work->name);
    request.version = th_rpc_value(&arena, work->version);
    request.input = th_rpc_value(&arena, work->input);
    request.orchestration_instance = th_rpc_instance(&arena, work->instance_id, work->execution_id);
    request.task_id = work->task_id;
    request.parent_trace_context = th_rpc_trace(&arena, work->trace);
    request.n_tags = work->tags.count;
    request.tags = th_rpc_tags(&arena, &activity_request__tags_entry__descriptor, work->tags);
    item.request_case = WORK_ITEM__REQUEST_ACTIVITY_REQUEST;
    item.activity_request = &request;
    return pack_item(&arena, &item, token);
}

struct th_blob *th_rpc_ping_item(void)
{
    WorkItem item = WORK_ITEM__INIT;
    HealthPing ping = HEALTH_PING__INIT;
    item.request_case = WORK_ITEM__REQUEST_HEALTH_PING;
    item.health_ping = &ping;
    return th_rpc_pack(&item.base);
}

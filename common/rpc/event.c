#include "rpc/event.h"

#include "rpc/event_kinds.h"
#include "rpc/pieces.h"

bool th_rpc_event_leaves(enum th_event_kind kind)
{
    switch (kind) {
#define X(member, upper, type, ours) case TH_EVENT_##ours:
        RPC_EVENTS(X)
#undef X
        return kind != TH_EVENT_ORCHESTRATOR_COMPLETED;
    default:
        return false;
    }
}

/* ---- to the protocol: each fills what its kind has ---- */

static void to_execution_started(struct th_arena *a, const struct th_event *e,
                                 ExecutionStartedEvent *out)
{
    out->name = th_rpc_text(a, e->name);
    out->version = th_rpc_value(a, e->version);
    out->input = th_rpc_value(a, e->data);
    out->orchestration_instance = th_rpc_instance(a, e->instance_id, e->execution_id);
    out->parent_instance = th_rpc_parent(a, e->parent);
    out->scheduled_start_timestamp = th_rpc_time(a, e->fire_at);
    out->parent_trace_context = th_rpc_trace(a, e->trace);
    out->n_tags = e->tags.count;
    out->tags = th_rpc_tags(a, &execution_started_event__tags_entry__descriptor, e->tags);
}

static void to_execution_completed(struct th_arena *a, const struct th_event *e,
                                   ExecutionCompletedEvent *out)
{
    out->orchestration_status = (OrchestrationStatus)e->status;
    out->result = th_rpc_value(a, e->data);
    out->failure_details = th_rpc_failure(a, e->failure);
}

static void to_execution_terminated(struct th_arena *a, const struct th_event *e,
                                    ExecutionTerminatedEvent *out)
{
    out->input = th_rpc_value(a, e->data);
    out->recurse = e->recurse;
}

static void to_task_scheduled(struct th_arena *a, const struct th_event *e, TaskScheduledEvent *out)
{
    out->name = th_rpc_text(a, e->name);
    out->version = th_rpc_value(a, e->version);
    out->input = th_rpc_value(a, e->data);
    out->parent_trace_context = th_rpc_trace(a, e->trace);
    out->n_tags = e->tags.count;
    out->tags = th_rpc_tags(a, &task_scheduled_event__tags_entry__descriptor, e->tags);
}

static void to_task_completed(struct th_arena *a, const struct th_event *e, TaskCompletedEvent *out)
{
    out->task_scheduled_id = e->related_id;
    out->result = th_rpc_value(a, e->data);
}

static void to_task_failed(struct th_arena *a, const struct th_event *e, TaskFailedEvent *out)
{
    out->task_scheduled_id = e->related_id;
    out->failure_details = th_rpc_failure(a, e->failure);
}

static void to_sub_orchestration_instance_created(struct th_arena *a, const struct th_event *e,
                                                  SubOrchestrationInstanceCreatedEvent *out)
{
    out->instance_id = th_rpc_text(a, e->instance_id);
    out->name = th_rpc_text(a, e->name);
    out->version = th_rpc_value(a, e->version);
    out->input = th_rpc_value(a, e->data);
    out->parent_trace_context = th_rpc_trace(a, e->trace);
    out->n_tags = e->tags.count;
    out->tags =
        th_rpc_tags(a, &sub_orchestration_instance_created_event__tags_entry__descriptor, e->tags);
}

static void to_sub_orchestration_instance_completed(struct th_arena *a, const struct th_event *e,
                                                    SubOrchestrationInstanceCompletedEvent *out)
{
    out->task_scheduled_id = e->related_id;
    out->result = th_rpc_value(a, e->data);
}

static void to_sub_orchestration_instance_failed(struct th_arena *a, const struct th_event *e,
                                                 SubOrchestrationInstanceFailedEvent *out)
{
    out->task_scheduled_id = e->related_id;
    out->failure_details = th_rpc_failure(a, e->failure);
}

static void to_timer_created(struct th_arena *a, const struct th_event *e, TimerCreatedEvent *out)
{
    out->fire_at = th_rpc_time(a, e->fire_at);
}

static void to_timer_fired(struct th_arena *a, const struct th_event *e, TimerFiredEvent *out)
{
    out->timer_id = e->related_id;
    out->fire_at = th_rpc_time(a, e->fire_at);
}

static void to_orchestrator_started(struct th_arena *a, const struct th_event *e,
                                    OrchestratorStartedEvent *out)
{
}

static void to_orchestrator_completed(struct th_arena *a, const struct th_event *e,
                                      OrchestratorCompletedEvent *out)
{
}

static void to_event_sent(struct th_arena *a, const struct th_event *e, EventSentEvent *out)
{
    out->instance_id = th_rpc_text(a, e->instance_id);
    out->name = th_rpc_text(a, e->name);
    out->input = th_rpc_value(a, e->data);
}

static void to_event_raised(struct th_arena *a, const struct th_event *e, EventRaisedEvent *out)
{
    out->name = th_rpc_text(a, e->name);
    out->input = th_rpc_value(a, e->data);
}

static void to_generic_event(struct th_arena *a, const struct th_event *e, GenericEvent *out)
{
    out->data = th_rpc_value(a, e->data);
}

static void to_history_state(struct th_arena *a, const struct th_event *e, HistoryStateEvent *out)
{
}

static void to_continue_as_new(struct th_arena *a, const struct th_event *e,
                               ContinueAsNewEvent *out)
{
    out->input = th_rpc_value(a, e->data);
}

static void to_execution_suspended(struct th_arena *a, const struct th_event *e,
                                   ExecutionSuspendedEvent *out)
{
    out->input = th_rpc_value(a, e->reason);
}

static void to_execution_resumed(struct th_arena *a, const struct th_event *e,
                                 ExecutionResumedEvent *out)
{
    out->input = th_rpc_value(a, e->reason);
}

static void to_entity_operation_signaled(struct th_arena *a, const struct th_event *e,
                                         EntityOperationSignaledEvent *out)
{
    out->request_id = th_rpc_text(a, e->request_id);
    out->operation = th_rpc_text(a, e->name);
    out->scheduled_time = th_rpc_time(a, e->fire_at);
    out->input = th_rpc_value(a, e->data);
    out->target_instance_id = th_rpc_value(a, e->instance_id);
}

static void to_entity_operation_called(struct th_arena *a, const struct th_event *e,
                                       EntityOperationCalledEvent *out)
{
    out->request_id = th_rpc_text(a, e->request_id);
    out->operation = th_rpc_text(a, e->name);
    out->scheduled_time = th_rpc_time(a, e->fire_at);
    out->input = th_rpc_value(a, e->data);
    out->target_instance_id = th_rpc_value(a, e->instance_id);
    if (e->parent) {
        out->parent_instance_id = th_rpc_value(a, e->parent->instance_id);
        out->parent_execution_id = th_rpc_value(a, e->parent->execution_id);
    }
}

static void to_entity_operation_completed(struct th_arena *a, const struct th_event *e,
                                          EntityOperationCompletedEvent *out)
{
    out->request_id = th_rpc_text(a, e->request_id);
    out->output = th_rpc_value(a, e->data);
}

static void to_entity_operation_failed(struct th_arena *a, const struct th_event *e,
                                       EntityOperationFailedEvent *out)
{
    out->request_id = th_rpc_text(a, e->request_id);
    out->failure_details = th_rpc_failure(a, e->failure);
}

static void to_entity_lock_requested(struct th_arena *a, const struct th_event *e,
                                     EntityLockRequestedEvent *out)
{
    out->critical_section_id = th_rpc_text(a, e->request_id);
    out->n_lock_set = e->lock_set.count;
    out->lock_set = TH_ARENA_ARRAY(a, char *, e->lock_set.count);
    for (size_t i = 0; i < e->lock_set.count; i++) {
        out->lock_set[i] = th_rpc_text(a, e->lock_set.items[i]);
    }
    out->position = e->related_id > 0 ? e->related_id : 0;
    out->parent_instance_id = e->parent ? th_rpc_value(a, e->parent->instance_id) : NULL;
}

static void to_entity_lock_granted(struct th_arena *a, const struct th_event *e,
                                   EntityLockGrantedEvent *out)
{
    out->critical_section_id = th_rpc_text(a, e->request_id);
}

static void to_entity_unlock_sent(struct th_arena *a, const struct th_event *e,
                                  EntityUnlockSentEvent *out)
{
    out->critical_section_id = th_rpc_text(a, e->request_id);
    out->target_instance_id = th_rpc_value(a, e->instance_id);
    out->parent_instance_id = e->parent ? th_rpc_value(a, e->parent->instance_id) : NULL;
}

static void to_execution_rewound(struct th_arena *a, const struct th_event *e,
                                 ExecutionRewoundEvent *out)
{
    out->reason = th_rpc_value(a, e->reason);
    out->parent_execution_id = e->parent ? th_rpc_value(a, e->parent->execution_id) : NULL;
    out->instance_id = th_rpc_value(a, e->instance_id);
    out->parent_trace_context = th_rpc_trace(a, e->trace);
    out->name = th_rpc_value(a, e->name);
    out->version = th_rpc_value(a, e->version);
    out->input = th_rpc_value(a, e->data);
    out->parent_instance = th_rpc_parent(a, e->parent);
    out->n_tags = e->tags.count;
    out->tags = th_rpc_tags(a, &execution_rewound_event__tags_entry__descriptor, e->tags);
}

static void *new_part(struct th_arena *arena, HistoryEvent__EventTypeCase which)
{
    const ProtobufCMessageDescriptor *kind =
        protobuf_c_message_descriptor_get_field(&history_event__descriptor, which)->descriptor;
    ProtobufCMessage *part = th_arena_alloc(arena, kind->sizeof_message);
    kind->message_init(part);
    return part;
}

HistoryEvent *th_rpc_event(struct th_arena *arena, const struct th_event *event)
{
    HistoryEvent *out = RPC_NEW(arena, HistoryEvent, history_event);
    out->event_id = event->id;
    out->timestamp = th_rpc_time(arena, event->timestamp);
    switch (event->kind) {
#define X(member, upper, type, ours)                              \
    case TH_EVENT_##ours:                                         \
        out->event_type_case = HISTORY_EVENT__EVENT_TYPE_##upper; \
        out->member = new_part(arena, out->event_type_case);      \
        to_##member(arena, event, out->member);                   \
        return out;
        RPC_EVENTS(X)
#undef X
    default:
        return NULL;
    }
}

HistoryEvent **th_rpc_events(struct th_arena *arena, const struct th_event *events, size_t n,
                             size_t *count)
{
    HistoryEvent **out = TH_ARENA_ARRAY(arena, HistoryEvent *, n);
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        if (th_rpc_event_leaves(events[i].kind)) {
            out[(*count)++] = th_rpc_event(arena, &events[i]);
        }
    }
    return out;
}

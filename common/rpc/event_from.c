/* event_from: events of the protocol as ours. */
#include "rpc/event.h"
#include "rpc/event_kinds.h"
#include "rpc/pieces.h"

struct from {
    struct th_arena *arena;
    struct th_error *error;
};

static bool from_execution_started(const struct from *f, const ExecutionStartedEvent *e,
                                   struct th_event *out)
{
    out->name = th_rpc_text_or_absent(e->name);
    out->version = th_rpc_value_of(e->version);
    out->data = th_rpc_value_of(e->input);
    if (e->orchestration_instance) {
        out->instance_id = th_rpc_text_or_absent(e->orchestration_instance->instance_id);
        out->execution_id = th_rpc_value_of(e->orchestration_instance->execution_id);
    }
    out->parent = th_rpc_parent_from(f->arena, e->parent_instance);
    out->trace = th_rpc_trace_from(f->arena, e->parent_trace_context);
    out->tags = th_rpc_tags_from(f->arena, e->tags, e->n_tags);
    return th_rpc_time_of(e->scheduled_start_timestamp, "scheduledStartTimestamp", &out->fire_at,
                          f->error);
}

static bool from_execution_completed(const struct from *f, const ExecutionCompletedEvent *e,
                                     struct th_event *out)
{
    if ((unsigned)e->orchestration_status > TH_STATUS_SUSPENDED) {
        return th_fail(f->error, TH_INVALID, "orchestrationStatus: there is no status %d",
                       (int)e->orchestration_status);
    }
    out->status = (enum th_status)e->orchestration_status;
    out->data = th_rpc_value_of(e->result);
    out->failure = th_rpc_failure_from(f->arena, e->failure_details);
    return true;
}

static bool from_execution_terminated(const struct from *f, const ExecutionTerminatedEvent *e,
                                      struct th_event *out)
{
    out->data = th_rpc_value_of(e->input);
    out->recurse = e->recurse;
    return true;
}

static bool from_task_scheduled(const struct from *f, const TaskScheduledEvent *e,
                                struct th_event *out)
{
    out->name = th_rpc_text_or_absent(e->name);
    out->version = th_rpc_value_of(e->version);
    out->data = th_rpc_value_of(e->input);
    out->trace = th_rpc_trace_from(f->arena, e->parent_trace_context);
    out->tags = th_rpc_tags_from(f->arena, e->tags, e->n_tags);
    return true;
}

static bool from_task_completed(const struct from *f, const TaskCompletedEvent *e,
                                struct th_event *out)
{
    out->related_id = e->task_scheduled_id;
    out->data = th_rpc_value_of(e->result);
    return true;
}

static bool from_task_failed(const struct from *f, const TaskFailedEvent *e, struct th_event *out)
{
    out->related_id = e->task_scheduled_id;
    out->failure = th_rpc_failure_from(f->arena, e->failure_details);
    return true;
}

static bool from_sub_orchestration_instance_created(const struct from *f,
                                                    const SubOrchestrationInstanceCreatedEvent *e,
                                                    struct th_event *out)
{
    out->instance_id = th_rpc_text_or_absent(e->instance_id);
    out->name = th_rpc_text_or_absent(e->name);
    out->version = th_rpc_value_of(e->version);
    out->data = th_rpc_value_of(e->input);
    out->trace = th_rpc_trace_from(f->arena, e->parent_trace_context);
    out->tags = th_rpc_tags_from(f->arena, e->tags, e->n_tags);
    return true;
}

static bool from_sub_orchestration_instance_completed(
    const struct from *f, const SubOrchestrationInstanceCompletedEvent *e, struct th_event *out)
{
    out->related_id = e->task_scheduled_id;
    out->data = th_rpc_value_of(e->result);
    return true;
}

static bool from_sub_orchestration_instance_failed(const struct from *f,
                                                   const SubOrchestrationInstanceFailedEvent *e,
                                                   struct th_event *out)
{
    out->related_id = e->task_scheduled_id;
    out->failure = th_rpc_failure_from(f->arena, e->failure_details);
    return true;
}

static bool from_timer_created(const struct from *f, const TimerCreatedEvent *e,
                               struct th_event *out)
{
    return th_rpc_time_of(e->fire_at, "fireAt", &out->fire_at, f->error);
}

static bool from_timer_fired(const struct from *f, const TimerFiredEvent *e, struct th_event *out)
{
    out->related_id = e->timer_id;
    return th_rpc_time_of(e->fire_at, "fireAt", &out->fire_at, f->error);
}

static bool from_orchestrator_started(const struct from *f, const OrchestratorStartedEvent *e,
                                      struct th_event *out)
{
    return true;
}

static bool from_orchestrator_completed(const struct from *f, const OrchestratorCompletedEvent *e,
                                        struct th_event *out)
{
    return true;
}

static bool from_event_sent(const struct from *f, const EventSentEvent *e, struct th_event *out)
{
    out->instance_id = th_rpc_text_or_absent(e->instance_id);
    out->name = th_rpc_text_or_absent(e->name);
    out->data = th_rpc_value_of(e->input);
    return true;
}

static bool from_event_raised(const struct from *f, const EventRaisedEvent *e, struct th_event *out)
{
    out->name = th_rpc_text_or_absent(e->name);
    out->data = th_rpc_value_of(e->input);
    return true;
}

static bool from_generic_event(const struct from *f, const GenericEvent *e, struct th_event *out)
{
    out->data = th_rpc_value_of(e->data);
    return true;
}

static bool from_history_state(const struct from *f, const HistoryStateEvent *e,
                               struct th_event *out)
{
    return true;
}

static bool from_continue_as_new(const struct from *f, const ContinueAsNewEvent *e,
                                 struct th_event *out)
{
    out->data = th_rpc_value_of(e->input);
    return true;
}

static bool from_execution_suspended(const struct from *f, const ExecutionSuspendedEvent *e,
                                     struct th_event *out)
{
    out->reason = th_rpc_value_of(e->input);
    return true;
}

static bool from_execution_resumed(const struct from *f, const ExecutionResumedEvent *e,
                                   struct th_event *out)
{
    out->reason = th_rpc_value_of(e->input);
    return true;
}

static bool from_entity_operation_signaled(const struct from *f,
                                           const EntityOperationSignaledEvent *e,
                                           struct th_event *out)
{
    out->request_id = th_rpc_text_or_absent(e->request_id);
    out->name = th_rpc_text_or_absent(e->operation);
    out->data = th_rpc_value_of(e->input);
    out->instance_id = th_rpc_value_of(e->target_instance_id);
    return th_rpc_time_of(e->scheduled_time, "scheduledTime", &out->fire_at, f->error);
}

static bool from_entity_operation_called(const struct from *f, const EntityOperationCalledEvent *e,
                                         struct th_event *out)
{
    out->request_id = th_rpc_text_or_absent(e->request_id);
    out->name = th_rpc_text_or_absent(e->operation);
    out->data = th_rpc_value_of(e->input);
    out->instance_id = th_rpc_value_of(e->target_instance_id);
    if (e->parent_instance_id) {
        struct th_parent *parent = TH_ARENA_NEW(f->arena, struct th_parent);
        parent->instance_id = th_rpc_value_of(e->parent_instance_id);
        parent->execution_id = th_rpc_value_of(e->parent_execution_id);
        parent->task_id = out->id;
        out->parent = parent;
    }
    return th_rpc_time_of(e->scheduled_time, "scheduledTime", &out->fire_at, f->error);
}

static bool from_entity_operation_completed(const struct from *f,
                                            const EntityOperationCompletedEvent *e,
                                            struct th_event *out)
{
    out->request_id = th_rpc_text_or_absent(e->request_id);
    out->data = th_rpc_value_of(e->output);
    return true;
}

static bool from_entity_operation_failed(const struct from *f, const EntityOperationFailedEvent *e,
                                         struct th_event *out)
{
    out->request_id = th_rpc_text_or_absent(e->request_id);
    out->failure = th_rpc_failure_from(f->arena, e->failure_details);
    return true;
}

static bool from_entity_lock_requested(const struct from *f, const EntityLockRequestedEvent *e,
                                       struct th_event *out)
{
    struct th_str *items = TH_ARENA_ARRAY(f->arena, struct th_str, e->n_lock_set);
    for (size_t i = 0; i < e->n_lock_set; i++) {
        items[i] = th_rpc_text_of(e->lock_set[i]);
    }
    out->request_id = th_rpc_text_or_absent(e->critical_section_id);
    out->lock_set = (struct th_strs){items, e->n_lock_set};
    if (e->parent_instance_id) {
        struct th_parent *parent = TH_ARENA_NEW(f->arena, struct th_parent);
        parent->instance_id = th_rpc_value_of(e->parent_instance_id);
        parent->task_id = out->id;
        out->parent = parent;
    }
    return true;
}

static bool from_entity_lock_granted(const struct from *f, const EntityLockGrantedEvent *e,
                                     struct th_event *out)
{
    out->request_id = th_rpc_text_or_absent(e->critical_section_id);
    return true;
}

static bool from_entity_unlock_sent(const struct from *f, const EntityUnlockSentEvent *e,
                                    struct th_event *out)
{
    out->request_id = th_rpc_text_or_absent(e->critical_section_id);
    out->instance_id = th_rpc_value_of(e->target_instance_id);
    return true;
}

static bool from_execution_rewound(const struct from *f, const ExecutionRewoundEvent *e,
                                   struct th_event *out)
{
    out->reason = th_rpc_value_of(e->reason);
    out->instance_id = th_rpc_value_of(e->instance_id);
    out->trace = th_rpc_trace_from(f->arena, e->parent_trace_context);
    out->name = th_rpc_value_of(e->name);
    out->version = th_rpc_value_of(e->version);
    out->data = th_rpc_value_of(e->input);
    out->parent = th_rpc_parent_from(f->arena, e->parent_instance);
    out->tags = th_rpc_tags_from(f->arena, e->tags, e->n_tags);
    return true;
}

bool th_rpc_event_from(struct th_arena *arena, const HistoryEvent *event, struct th_event *out,
                       struct th_error *error)
{
    const struct from f = {arena, error};
    th_time timestamp;
    if (!th_rpc_time_of(event->timestamp, "timestamp", &timestamp, error)) {
        return false;
    }
    switch (event->event_type_case) {
#define X(member, upper, type, ours)                    \
    case HISTORY_EVENT__EVENT_TYPE_##upper:             \
        *out = th_event_of(TH_EVENT_##ours, timestamp); \
        out->id = event->event_id;                      \
        return from_##member(&f, event->member, out);
        RPC_EVENTS(X)
#undef X
    default:
        return th_fail(error, TH_INVALID, "eventType: field %u is no kind of event that is known",
                       th_rpc_unknown(&event->base));
    }
}

/* ---- what orchestrators ask of entities: the same messages, in an action ---- */

bool th_rpc_entity_from(struct th_arena *arena, const SendEntityMessageAction *action, int32_t id,
                        struct th_event *out, struct th_error *error)
{
    const struct from f = {arena, error};
    switch (action->entity_message_type_case) {
#define X(member, upper, ours)                                    \
    case SEND_ENTITY_MESSAGE_ACTION__ENTITY_MESSAGE_TYPE_##upper: \
        *out = th_event_of(TH_EVENT_##ours, TH_TIME_NONE);        \
        out->id = id;                                             \
        return from_##member(&f, action->member, out);
        X(entity_operation_signaled, ENTITY_OPERATION_SIGNALED, ENTITY_SIGNALED)
        X(entity_operation_called, ENTITY_OPERATION_CALLED, ENTITY_CALLED)
        X(entity_lock_requested, ENTITY_LOCK_REQUESTED, ENTITY_LOCK_REQUESTED)
        X(entity_unlock_sent, ENTITY_UNLOCK_SENT, ENTITY_UNLOCK_SENT)
#undef X
    default:
        return th_fail(error, TH_INVALID, "sendEntityMessage: field %u is no message that is known",
                       th_rpc_unknown(&action->base));
    }
}

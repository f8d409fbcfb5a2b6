/* completion: what workers answered, as the engine takes it. */
#include <stdio.h>

#include "model/name.h"
#include "rpc/pieces.h"
#include "rpc/work.h"

#define TURN_TRACE_MAX 256 /* bytes of it; a span id and a time take 30 */

/* The words of an error behind where it was found. */
struct place {
    const char *what; /* "action" */
    size_t index;
    int32_t id;
    const char *field; /* "scheduleTask" */
    struct th_error *error;
};

__attribute__((format(printf, 2, 3))) static bool wrong(const struct place *at, const char *format,
                                                        ...)
{
    char rule[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(rule, sizeof(rule), format, arguments);
    va_end(arguments);
    return th_fail(at->error, TH_INVALID, "%s %zu (id %d) %s: %s", at->what, at->index, at->id,
                   at->field, rule);
}

static bool check_name(const struct place *at, const char *field, struct th_str name)
{
    return (name.len > 0 && name.len <= TH_FUNCTION_NAME_MAX) ||
           wrong(at, "%s has 1 to %d bytes, not %zu", field, TH_FUNCTION_NAME_MAX, name.len);
}

/* Where a message goes that nobody answers: a target that cannot be is like one that is not. */
static bool check_target(const struct place *at, struct th_str id)
{
    return (id.len > 0 && id.len <= TH_INSTANCE_ID_MAX) ||
           wrong(at, "instanceId has 1 to %d bytes, not %zu", TH_INSTANCE_ID_MAX, id.len);
}

/* An instance that is to be made; absent: the engine gives it an id. */
static bool check_new_id(const struct place *at, struct th_str id)
{
    struct th_error error;
    return !th_str_present(id) || th_instance_id_check_any(id, &error) ||
           wrong(at, "instanceId: %s", error.message);
}

static bool take_time(const struct place *at, const Google__Protobuf__Timestamp *time,
                      const char *field, th_time *out)
{
    struct th_error error;
    return th_rpc_time_of(time, field, out, &error) || wrong(at, "%s", error.message);
}

/* ---- orchestrators ---- */

typedef bool take_fn(struct th_arena *arena, const OrchestratorAction *from, struct th_action *to,
                     struct place *at);

static bool take_schedule_task(struct th_arena *arena, const OrchestratorAction *from,
                               struct th_action *to, struct place *at)
{
    const ScheduleTaskAction *a = from->schedule_task;
    to->kind = TH_ACTION_SCHEDULE_TASK;
    to->name = th_rpc_text_of(a->name);
    to->version = th_rpc_value_of(a->version);
    to->data = th_rpc_value_of(a->input);
    to->tags = th_rpc_tags_from(arena, a->tags, a->n_tags);
    to->trace = th_rpc_trace_from(arena, a->parent_trace_context);
    return check_name(at, "name", to->name);
}

static bool take_create_child(struct th_arena *arena, const OrchestratorAction *from,
                              struct th_action *to, struct place *at)
{
    const CreateSubOrchestrationAction *a = from->create_sub_orchestration;
    to->kind = TH_ACTION_CREATE_CHILD;
    to->instance_id = th_rpc_text_or_absent(a->instance_id);
    to->name = th_rpc_text_of(a->name);
    to->version = th_rpc_value_of(a->version);
    to->data = th_rpc_value_of(a->input);
    to->tags = th_rpc_tags_from(arena, a->tags, a->n_tags);
    to->trace = th_rpc_trace_from(arena, a->parent_trace_context);
    return check_name(at, "name", to->name) && check_new_id(at, to->instance_id);
}

static bool take_create_timer(struct th_arena *arena, const OrchestratorAction *from,
                              struct th_action *to, struct place *at)
{
    const CreateTimerAction *a = from->create_timer;
    to->kind = TH_ACTION_CREATE_TIMER;
    return take_time(at, a->fire_at, "fireAt", &to->fire_at) &&
           (to->fire_at != TH_TIME_NONE || wrong(at, "fireAt is missing"));
}

static bool take_send_event(struct th_arena *arena, const OrchestratorAction *from,
                            struct th_action *to, struct place *at)
{
    const SendEventAction *a = from->send_event;
    to->kind = TH_ACTION_SEND_EVENT;
    to->instance_id = a->instance ? th_rpc_text_of(a->instance->instance_id) : TH_STR_ABSENT;
    to->name = th_rpc_text_of(a->name);
    to->data = th_rpc_value_of(a->data);
    return check_target(at, to->instance_id) && check_name(at, "name", to->name);
}

static bool take_carryover(struct th_arena *arena, const CompleteOrchestrationAction *a,
                           struct th_action *to, struct place *at)
{
    struct th_event *events = TH_ARENA_ARRAY(arena, struct th_event, a->n_carryover_events);
    for (size_t i = 0; i < a->n_carryover_events; i++) {
        struct th_error error;
        if (!th_rpc_event_from(arena, a->carryover_events[i], &events[i], &error)) {
            return wrong(at, "carryoverEvents %zu: %s", i, error.message);
        }
        if (events[i].kind != TH_EVENT_EVENT_RAISED) {
            return wrong(at, "carryoverEvents %zu: %s is nothing that is carried over, only %s is",
                         i, th_event_kind_text(events[i].kind),
                         th_event_kind_text(TH_EVENT_EVENT_RAISED));
        }
    }
    to->carryover = events;
    to->carryover_count = a->n_carryover_events;
    return true;
}

/* Older SDKs say in `details` why they failed. */
static const struct th_failure *failure_of(struct th_arena *arena,
                                           const CompleteOrchestrationAction *a)
{
    if (a->failure_details ||
        a->orchestration_status != ORCHESTRATION_STATUS__ORCHESTRATION_STATUS_FAILED ||
        !a->details) {
        return th_rpc_failure_from(arena, a->failure_details);
    }
    struct th_failure *failure = TH_ARENA_NEW(arena, struct th_failure);
    failure->message = th_rpc_value_of(a->details);
    return failure;
}

static bool take_complete(struct th_arena *arena, const OrchestratorAction *from,
                          struct th_action *to, struct place *at)
{
    const CompleteOrchestrationAction *a = from->complete_orchestration;
    enum th_status status = (enum th_status)a->orchestration_status;
    to->kind = TH_ACTION_COMPLETE;
    if ((unsigned)status > TH_STATUS_SUSPENDED ||
        !(th_status_terminal(status) || status == TH_STATUS_CONTINUED_AS_NEW)) {
        return wrong(at, "orchestrationStatus %d is no end", (int)status);
    }
    to->status = status;
    to->data = th_rpc_value_of(a->result);
    to->version = th_rpc_value_of(a->new_version);
    to->tags = th_rpc_tags_from(arena, a->tags, a->n_tags);
    to->failure = failure_of(arena, a);
    return take_carryover(arena, a, to, at);
}

static bool take_terminate(struct th_arena *arena, const OrchestratorAction *from,
                           struct th_action *to, struct place *at)
{
    const TerminateOrchestrationAction *a = from->terminate_orchestration;
    to->kind = TH_ACTION_TERMINATE;
    to->instance_id = th_rpc_text_of(a->instance_id);
    to->data = th_rpc_value_of(a->reason);
    to->recurse = a->recurse;
    return check_target(at, to->instance_id);
}

static bool take_entity(struct th_arena *arena, const OrchestratorAction *from,
                        struct th_action *to, struct place *at)
{
    struct th_error error;
    struct th_event *event = TH_ARENA_NEW(arena, struct th_event);
    to->kind = TH_ACTION_ENTITY;
    to->entity = event;
    return th_rpc_entity_from(arena, from->send_entity_message, from->id, event, &error) ||
           wrong(at, "%s", error.message);
}

static bool take_rewind(struct th_arena *arena, const OrchestratorAction *from,
                        struct th_action *to, struct place *at)
{
    return wrong(at, "it was not asked for: the hub itself takes a history back");
}

static const struct {
    const char *name;
    take_fn *take;
} takes[] = {
    [ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE__NOT_SET] = {"", NULL},
    [ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_SCHEDULE_TASK] = {"scheduleTask",
                                                                     take_schedule_task},
    [ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_CREATE_SUB_ORCHESTRATION] =
        {"createSubOrchestration", take_create_child},
    [ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_CREATE_TIMER] = {"createTimer",
                                                                    take_create_timer},
    [ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_SEND_EVENT] = {"sendEvent", take_send_event},
    [ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_COMPLETE_ORCHESTRATION] =
        {"completeOrchestration", take_complete},
    [ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_TERMINATE_ORCHESTRATION] =
        {"terminateOrchestration", take_terminate},
    [ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_SEND_ENTITY_MESSAGE] = {"sendEntityMessage",
                                                                           take_entity},
    [ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_REWIND_ORCHESTRATION] = {"rewindOrchestration",
                                                                            take_rewind},
};

static bool take_action(struct th_arena *arena, const OrchestratorAction *from, size_t index,
                        struct th_actions *out, struct th_error *error)
{
    unsigned which = from->orchestrator_action_type_case;
    struct place at = {"action", index, from->id, "", error};
    if (which == 0 || which >= sizeof(takes) / sizeof(takes[0])) {
        at.field = "is of an unknown kind";
        return wrong(&at, "field %u", th_rpc_unknown(&from->base));
    }
    at.field = takes[which].name;
    struct th_action *to = th_actions_add(out, arena, TH_ACTION_COMPLETE, from->id);
    return takes[which].take(arena, from, to, &at);
}

/* The hub does not look into it: it is what the program gets back. */
static bool take_trace(struct th_arena *arena, const OrchestrationTraceContext *from,
                       struct th_actions *out, struct th_error *error)
{
    size_t len = from ? protobuf_c_message_get_packed_size(&from->base) : 0;
    if (len > TURN_TRACE_MAX) {
        return th_fail(error, TH_INVALID,
                       "orchestrationTraceContext: %zu bytes are above the limit of %d", len,
                       TURN_TRACE_MAX);
    }
    if (len > 0) {
        uint8_t *packed = th_arena_alloc(arena, len);
        protobuf_c_message_pack(&from->base, packed);
        out->turn_trace = th_str_n((const char *)packed, len);
    }
    return true;
}

bool th_rpc_actions(struct th_arena *arena, const OrchestratorResponse *response,
                    struct th_actions *out, struct th_error *error)
{
    out->has_custom_status = true;
    out->custom_status = th_rpc_value_of(response->custom_status);
    for (size_t i = 0; i < response->n_actions; i++) {
        if (!take_action(arena, response->actions[i], i, out, error)) {
            return false;
        }
    }
    return take_trace(arena, response->orchestration_trace_context, out, error);
}

static const struct th_failure *refusal(struct th_arena *arena, const struct th_error *error)
{
    struct th_failure *failure = TH_ARENA_NEW(arena, struct th_failure);
    failure->type = TH_STR("InvalidResponse");
    failure->message =
        th_arena_format(arena, "the worker's response cannot be used: %s", error->message);
    failure->non_retriable = true;
    return failure;
}

void th_rpc_refused(struct th_arena *arena, const struct th_error *error, struct th_actions *out)
{
    th_actions_fail(out, arena, false, refusal(arena, error));
}

/* ---- entities ---- */

void th_rpc_entity_refused(struct th_arena *arena, const struct th_error *error,
                           struct th_actions *out)
{
    th_actions_fail(out, arena, true, refusal(arena, error));
}

static bool take_result(struct th_arena *arena, const OperationResult *from, size_t index,
                        struct th_operation_result *to, struct th_error *error)
{
    static const struct th_failure unnamed = {.type = {"OperationFailed", 15}};
    switch (from->result_type_case) {
    case OPERATION_RESULT__RESULT_TYPE_SUCCESS:
        to->data = th_rpc_value_of(from->success->result);
        return true;
    case OPERATION_RESULT__RESULT_TYPE_FAILURE:
        to->failure = th_rpc_failure_from(arena, from->failure->failure_details);
        to->failure = to->failure ? to->failure : &unnamed;
        return true;
    default:
        return th_fail(error, TH_INVALID, "result %zu is neither a success nor a failure", index);
    }
}

static bool take_signal(struct th_arena *arena, const SendSignalAction *a, int32_t id,
                        struct th_actions *out, struct place *at)
{
    struct th_error error;
    struct th_action *to = th_actions_add(out, arena, TH_ACTION_SIGNAL, id);
    at->field = "sendSignal";
    to->instance_id = th_rpc_text_of(a->instance_id);
    to->name = th_rpc_text_of(a->name);
    to->data = th_rpc_value_of(a->input);
    if (!th_entity_id_check(to->instance_id, &error)) {
        return wrong(at, "instanceId: %s", error.message);
    }
    return check_name(at, "name", to->name) &&
           take_time(at, a->scheduled_time, "scheduledTime", &to->fire_at);
}

static bool take_start(struct th_arena *arena, const StartNewOrchestrationAction *a, int32_t id,
                       struct th_actions *out, struct place *at)
{
    struct th_action *to = th_actions_add(out, arena, TH_ACTION_START, id);
    at->field = "startNewOrchestration";
    to->instance_id = th_rpc_text_or_absent(a->instance_id);
    to->name = th_rpc_text_of(a->name);
    to->version = th_rpc_value_of(a->version);
    to->data = th_rpc_value_of(a->input);
    to->trace = th_rpc_trace_from(arena, a->parent_trace_context);
    return check_new_id(at, to->instance_id) && check_name(at, "name", to->name) &&
           take_time(at, a->scheduled_time, "scheduledTime", &to->fire_at);
}

static bool take_operation_action(struct th_arena *arena, const OperationAction *from, size_t index,
                                  struct th_actions *out, struct th_error *error)
{
    struct place at = {"action", index, from->id, "is of an unknown kind", error};
    switch (from->operation_action_type_case) {
    case OPERATION_ACTION__OPERATION_ACTION_TYPE_SEND_SIGNAL:
        return take_signal(arena, from->send_signal, from->id, out, &at);
    case OPERATION_ACTION__OPERATION_ACTION_TYPE_START_NEW_ORCHESTRATION:
        return take_start(arena, from->start_new_orchestration, from->id, out, &at);
    default:
        return wrong(&at, "field %u", th_rpc_unknown(&from->base));
    }
}

static bool take_results(struct th_arena *arena, const EntityBatchResult *result,
                         struct th_actions *out, struct th_error *error)
{
    struct th_operation_result *results =
        TH_ARENA_ARRAY(arena, struct th_operation_result, result->n_results);
    for (size_t i = 0; i < result->n_results; i++) {
        if (!take_result(arena, result->results[i], i, &results[i], error)) {
            return false;
        }
    }
    out->results = results;
    out->result_count = result->n_results;
    return true;
}

bool th_rpc_entity_result(struct th_arena *arena, const EntityBatchResult *result,
                          size_t operations, struct th_actions *out, struct th_error *error)
{
    *out = (struct th_actions){0};
    if (result->failure_details) {
        out->failure = th_rpc_failure_from(arena, result->failure_details);
        return true;
    }
    if (result->n_results > operations) {
        return th_fail(error, TH_INVALID, "results: there are %zu, of %zu operations",
                       result->n_results, operations);
    }
    if (!take_results(arena, result, out, error)) {
        return false;
    }
    for (size_t i = 0; i < result->n_actions; i++) {
        if (!take_operation_action(arena, result->actions[i], i, out, error)) {
            return false;
        }
    }
    struct th_str state = th_rpc_value_of(result->entity_state);
    out->state = state.len ? state : TH_STR_ABSENT;
    return true;
}

/* ---- activities ---- */

void th_rpc_activity_answer(struct th_arena *arena, const ActivityResponse *response,
                            struct th_activity_answer *out)
{
    *out = (struct th_activity_answer){.data = th_rpc_value_of(response->result),
                                       .failure =
                                           th_rpc_failure_from(arena, response->failure_details)};
    if (out->failure) {
        out->data = TH_STR_ABSENT;
    }
}

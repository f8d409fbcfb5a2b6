#include "rpc/work.h"

#include "unit/base_test.h"

#include "base/memory.h"

#define NEW(arena, type, prefix)                   \
    ({                                             \
        type *made_ = TH_ARENA_NEW((arena), type); \
        prefix##__init(made_);                     \
        made_;                                     \
    })

static Google__Protobuf__StringValue *value(struct th_arena *arena, const char *text)
{
    return th_rpc_value(arena, th_str_of(text));
}

/* ---- work items ---- */

static const WorkItem *item_of(struct th_arena *arena, struct th_blob *bytes)
{
    struct th_error error;
    const WorkItem *item =
        th_rpc_unpack(arena, &work_item__descriptor, th_blob_view(bytes), &error);
    if (!item) {
        fail_msg("%s", error.message);
    }
    th_blob_unref(bytes);
    return item;
}

static const struct th_parent parent = {.instance_id = TH_STR("p"),
                                        .execution_id = TH_STR("pe"),
                                        .name = TH_STR("Parent"),
                                        .version = TH_STR("2"),
                                        .task_id = 9};
static const struct th_tag tags[] = {{TH_STR("k"), TH_STR("v")}};

static void an_episode_becomes_an_item(void **state)
{
    TH_ARENA arena = {0};
    struct th_event past[] = {th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, 1),
                              th_event_of(TH_EVENT_EXECUTION_STARTED, 1),
                              th_event_of(TH_EVENT_ORCHESTRATOR_COMPLETED, 1)};
    struct th_event fresh[] = {th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, 2),
                               th_event_of(TH_EVENT_TIMER_FIRED, 2)};
    past[1].name = TH_STR("Hello");
    past[1].instance_id = TH_STR("i");
    past[1].execution_id = TH_STR("e");
    past[1].parent = &parent;
    past[1].trace = TH_STR("00-a-b-01");
    past[1].tags = (struct th_tags){tags, 1};
    past[1].fire_at = 5;
    const struct th_episode episode = {.instance_id = TH_STR("i"),
                                       .execution_id = TH_STR("e"),
                                       .past_loaded = true,
                                       .past = past,
                                       .past_count = 3,
                                       .fresh = fresh,
                                       .fresh_count = 2,
                                       .turn_trace = TH_STR("\x0a\x06\x0a\x04span")};
    const WorkItem *item = item_of(&arena, th_rpc_orchestrator_item(&episode, TH_STR("t1"), false));
    assert_string_equal(item->completion_token, "t1");
    assert_int_equal(item->request_case, WORK_ITEM__REQUEST_ORCHESTRATOR_REQUEST);
    const OrchestratorRequest *r = item->orchestrator_request;
    assert_string_equal(r->instance_id, "i");
    assert_string_equal(r->execution_id->value, "e");
    assert_int_equal(r->n_past_events, 2); /* the completed turn stays */
    assert_int_equal(r->n_new_events, 2);
    assert_non_null(r->new_events[0]->orchestrator_started);
    assert_int_equal(r->new_events[0]->event_type_case,
                     HISTORY_EVENT__EVENT_TYPE_ORCHESTRATOR_STARTED);
    assert_non_null(r->entity_parameters);
    assert_non_null(r->entity_parameters->entity_message_reorder_window);
    assert_false(r->requires_history_streaming);
    assert_string_equal(r->orchestration_trace_context->span_id->value, "span");

    const ExecutionStartedEvent *started = r->past_events[1]->execution_started;
    assert_string_equal(started->name, "Hello");
    assert_string_equal(started->orchestration_instance->instance_id, "i");
    assert_string_equal(started->orchestration_instance->execution_id->value, "e");
    assert_int_equal(started->parent_instance->task_scheduled_id, 9);
    assert_string_equal(started->parent_instance->name->value, "Parent");
    assert_string_equal(started->parent_instance->orchestration_instance->instance_id, "p");
    assert_string_equal(started->parent_trace_context->trace_parent, "00-a-b-01");
    assert_int_equal(started->n_tags, 1);
    assert_non_null(started->scheduled_start_timestamp);
}

static void a_streamed_past_is_not_in_the_item(void **state)
{
    TH_ARENA arena = {0};
    struct th_event events[] = {th_event_of(TH_EVENT_ORCHESTRATOR_STARTED, 1)};
    const struct th_episode episode = {.instance_id = TH_STR("i"),
                                       .past_loaded = true,
                                       .past = events,
                                       .past_count = 1,
                                       .fresh = events,
                                       .fresh_count = 1};
    const OrchestratorRequest *r =
        item_of(&arena, th_rpc_orchestrator_item(&episode, TH_STR("t"), true))
            ->orchestrator_request;
    assert_true(r->requires_history_streaming);
    assert_int_equal(r->n_past_events, 0);
    assert_int_equal(r->n_new_events, 1);
    assert_null(r->orchestration_trace_context);
}

static void operations_become_an_item(void **state)
{
    TH_ARENA arena = {0};
    struct th_event fresh[] = {th_event_of(TH_EVENT_ENTITY_SIGNALED, 1),
                               th_event_of(TH_EVENT_ENTITY_CALLED, 2)};
    fresh[0].name = TH_STR("add");
    fresh[1].request_id = TH_STR("r2");
    fresh[1].parent = &parent;
    struct th_episode episode = {.instance_id = TH_STR("@counter@a"),
                                 .entity = true,
                                 .fresh = fresh,
                                 .fresh_count = 2,
                                 .state = TH_STR("0")};
    const WorkItem *item = item_of(&arena, th_rpc_entity_item(&episode, TH_STR("t")));
    assert_int_equal(item->request_case, WORK_ITEM__REQUEST_ENTITY_REQUEST_V2);
    const EntityRequest *r = item->entity_request_v2;
    assert_string_equal(r->instance_id, "@counter@a");
    assert_string_equal(r->entity_state->value, "0");
    assert_int_equal(r->n_operation_requests, 2);
    assert_string_equal(r->operation_requests[0]->entity_operation_signaled->operation, "add");
    const EntityOperationCalledEvent *called = r->operation_requests[1]->entity_operation_called;
    assert_string_equal(called->request_id, "r2");
    assert_string_equal(called->parent_instance_id->value, "p");
    assert_string_equal(called->parent_execution_id->value, "pe");

    episode.state = TH_STR_ABSENT;
    assert_null(item_of(&arena, th_rpc_entity_item(&episode, TH_STR("t")))
                    ->entity_request_v2->entity_state);
}

static void an_activity_becomes_an_item(void **state)
{
    TH_ARENA arena = {0};
    const struct th_activity_work work = {.instance_id = TH_STR("i"),
                                          .execution_id = TH_STR("e"),
                                          .name = TH_STR("SayHello"),
                                          .input = TH_STR("1"),
                                          .task_id = 4,
                                          .trace = TH_STR("00-a-b-01\n\nk=v"),
                                          .tags = {tags, 1}};
    const WorkItem *item = item_of(&arena, th_rpc_activity_item(&work, TH_STR("t")));
    const ActivityRequest *r = item->activity_request;
    assert_string_equal(item->completion_token, "t");
    assert_string_equal(r->name, "SayHello");
    assert_null(r->version);
    assert_string_equal(r->input->value, "1");
    assert_int_equal(r->task_id, 4);
    assert_string_equal(r->orchestration_instance->execution_id->value, "e");
    assert_string_equal(r->tags[0]->key, "k");
    assert_string_equal(r->tags[0]->value, "v");
    assert_string_equal(r->parent_trace_context->trace_parent, "00-a-b-01");
    assert_string_equal(r->parent_trace_context->trace_state->value, "k=v");
}

static void a_ping_is_an_item(void **state)
{
    TH_ARENA arena = {0};
    assert_int_equal(item_of(&arena, th_rpc_ping_item())->request_case,
                     WORK_ITEM__REQUEST_HEALTH_PING);
}

/* ---- what an orchestrator asked for ---- */

struct turn {
    struct th_arena arena;
    OrchestratorResponse response;
    OrchestratorAction *action; /* the last one added */
    struct th_actions actions;
    struct th_error error;
};

static void turn_init(struct turn *t)
{
    *t = (struct turn){.response = ORCHESTRATOR_RESPONSE__INIT};
    t->response.actions = TH_ARENA_ARRAY(&t->arena, OrchestratorAction *, 16);
}

static void turn_deinit(struct turn *t)
{
    th_arena_deinit(&t->arena);
}

#define TURN(t)                                          \
    __attribute__((cleanup(turn_deinit))) struct turn t; \
    turn_init(&t)

#define ADD(t, number, member, upper, type, prefix)                              \
    ({                                                                           \
        (t)->action = NEW(&(t)->arena, OrchestratorAction, orchestrator_action); \
        (t)->action->id = (number);                                              \
        (t)->action->orchestrator_action_type_case =                             \
            ORCHESTRATOR_ACTION__ORCHESTRATOR_ACTION_TYPE_##upper;               \
        (t)->action->member = NEW(&(t)->arena, type, prefix);                    \
        (t)->response.actions[(t)->response.n_actions++] = (t)->action;          \
        (t)->action->member;                                                     \
    })
#define ADD_TASK(t, number) \
    ADD(t, number, schedule_task, SCHEDULE_TASK, ScheduleTaskAction, schedule_task_action)
#define ADD_CHILD(t, number)                                           \
    ADD(t, number, create_sub_orchestration, CREATE_SUB_ORCHESTRATION, \
        CreateSubOrchestrationAction, create_sub_orchestration_action)
#define ADD_TIMER(t, number) \
    ADD(t, number, create_timer, CREATE_TIMER, CreateTimerAction, create_timer_action)
#define ADD_EVENT(t, number) \
    ADD(t, number, send_event, SEND_EVENT, SendEventAction, send_event_action)
#define ADD_END(t, number)                                                                      \
    ADD(t, number, complete_orchestration, COMPLETE_ORCHESTRATION, CompleteOrchestrationAction, \
        complete_orchestration_action)
#define ADD_TERMINATE(t, number)                                                                   \
    ADD(t, number, terminate_orchestration, TERMINATE_ORCHESTRATION, TerminateOrchestrationAction, \
        terminate_orchestration_action)
#define ADD_ENTITY(t, number)                                                         \
    ADD(t, number, send_entity_message, SEND_ENTITY_MESSAGE, SendEntityMessageAction, \
        send_entity_message_action)

/* By way of bytes, as they come. */
static bool take(struct turn *t)
{
    struct th_blob *bytes = th_rpc_pack(&t->response.base);
    const OrchestratorResponse *read = th_rpc_unpack(&t->arena, &orchestrator_response__descriptor,
                                                     th_blob_view(bytes), &t->error);
    th_blob_unref(bytes);
    assert_non_null(read);
    return th_rpc_actions(&t->arena, read, &t->actions, &t->error);
}

static void actions_are_what_an_executor_gives(void **state)
{
    TURN(t);
    ScheduleTaskAction *task = ADD_TASK(&t, 1);
    task->name = (char *)"a";
    task->version = value(&t.arena, "2");
    task->input = value(&t.arena, "[]");
    task->parent_trace_context = NEW(&t.arena, TraceContext, trace_context);
    task->parent_trace_context->trace_parent = (char *)"00-a-b-01";
    CreateSubOrchestrationAction *child = ADD_CHILD(&t, 2);
    child->name = (char *)"o";
    child->instance_id = (char *)"e:0002";
    CreateTimerAction *timer = ADD_TIMER(&t, 3);
    timer->fire_at = th_rpc_time(&t.arena, 77);
    SendEventAction *event = ADD_EVENT(&t, 4);
    event->instance = NEW(&t.arena, OrchestrationInstance, orchestration_instance);
    event->instance->instance_id = (char *)"other";
    event->name = (char *)"go";
    event->data = value(&t.arena, "1");
    TerminateOrchestrationAction *terminate = ADD_TERMINATE(&t, 5);
    terminate->instance_id = (char *)"third";
    terminate->reason = value(&t.arena, "\"why\"");
    terminate->recurse = true;
    ADD_CHILD(&t, 6)->name = (char *)"o";
    t.response.custom_status = value(&t.arena, "");

    assert_true(take(&t));
    assert_int_equal(t.actions.count, 6);
    const struct th_action *a = t.actions.items;
    assert_int_equal(a[0].kind, TH_ACTION_SCHEDULE_TASK);
    assert_int_equal(a[0].id, 1);
    assert_str(a[0].name, "a");
    assert_str(a[0].version, "2");
    assert_str(a[0].data, "[]");
    assert_str(a[0].trace, "00-a-b-01");
    assert_true(a[0].fire_at == TH_TIME_NONE);
    assert_int_equal(a[1].kind, TH_ACTION_CREATE_CHILD);
    assert_str(a[1].instance_id, "e:0002");
    assert_false(th_str_present(a[1].version));
    assert_int_equal(a[2].kind, TH_ACTION_CREATE_TIMER);
    assert_true(a[2].fire_at == 77);
    assert_int_equal(a[3].kind, TH_ACTION_SEND_EVENT);
    assert_str(a[3].instance_id, "other");
    assert_str(a[3].name, "go");
    assert_str(a[3].data, "1");
    assert_int_equal(a[4].kind, TH_ACTION_TERMINATE);
    assert_str(a[4].instance_id, "third");
    assert_str(a[4].data, "\"why\"");
    assert_true(a[4].recurse);
    assert_false(th_str_present(a[5].instance_id)); /* derived by the engine */
    assert_true(t.actions.has_custom_status);
    assert_true(th_str_present(t.actions.custom_status));
}

static void no_custom_status_takes_the_old_one_away(void **state)
{
    TURN(t);
    assert_true(take(&t));
    assert_true(t.actions.has_custom_status);
    assert_false(th_str_present(t.actions.custom_status));
}

static void an_end_carries_its_result(void **state)
{
    TURN(t);
    CompleteOrchestrationAction *end = ADD_END(&t, 8);
    end->orchestration_status = ORCHESTRATION_STATUS__ORCHESTRATION_STATUS_FAILED;
    end->failure_details = NEW(&t.arena, TaskFailureDetails, task_failure_details);
    end->failure_details->error_type = (char *)"E";
    end->failure_details->inner_failure = NEW(&t.arena, TaskFailureDetails, task_failure_details);
    end->failure_details->is_non_retriable = true;
    assert_true(take(&t));
    assert_int_equal(t.actions.items[0].kind, TH_ACTION_COMPLETE);
    assert_int_equal(t.actions.items[0].status, TH_STATUS_FAILED);
    assert_str(t.actions.items[0].failure->type, "E");
    assert_true(t.actions.items[0].failure->non_retriable);
    assert_non_null(t.actions.items[0].failure->inner);
}

static HistoryEvent *raised(struct th_arena *arena, const char *name)
{
    struct th_event event = th_event_of(TH_EVENT_EVENT_RAISED, 6);
    event.name = th_str_of(name);
    event.data = TH_STR("1");
    return th_rpc_event(arena, &event);
}

static void continuing_carries_events_over(void **state)
{
    TURN(t);
    CompleteOrchestrationAction *end = ADD_END(&t, 8);
    HistoryEvent *events[] = {raised(&t.arena, "x"), raised(&t.arena, "y")};
    end->orchestration_status = ORCHESTRATION_STATUS__ORCHESTRATION_STATUS_CONTINUED_AS_NEW;
    end->result = value(&t.arena, "5");
    end->new_version = value(&t.arena, "3");
    end->carryover_events = events;
    end->n_carryover_events = 2;
    assert_true(take(&t));
    const struct th_action *a = &t.actions.items[0];
    assert_int_equal(a->status, TH_STATUS_CONTINUED_AS_NEW);
    assert_str(a->data, "5");
    assert_str(a->version, "3");
    assert_int_equal(a->carryover_count, 2);
    assert_int_equal(a->carryover[1].kind, TH_EVENT_EVENT_RAISED);
    assert_str(a->carryover[1].name, "y");
    assert_true(a->carryover[1].timestamp == 6);
}

static void entities_are_asked(void **state)
{
    TURN(t);
    SendEntityMessageAction *call = ADD_ENTITY(&t, 1);
    call->entity_message_type_case =
        SEND_ENTITY_MESSAGE_ACTION__ENTITY_MESSAGE_TYPE_ENTITY_OPERATION_CALLED;
    call->entity_operation_called =
        NEW(&t.arena, EntityOperationCalledEvent, entity_operation_called_event);
    call->entity_operation_called->request_id = (char *)"r";
    call->entity_operation_called->operation = (char *)"get";
    call->entity_operation_called->target_instance_id = value(&t.arena, "@c@k");
    SendEntityMessageAction *lock = ADD_ENTITY(&t, 2);
    char *set[] = {(char *)"@c@a", (char *)"@c@b"};
    lock->entity_message_type_case =
        SEND_ENTITY_MESSAGE_ACTION__ENTITY_MESSAGE_TYPE_ENTITY_LOCK_REQUESTED;
    lock->entity_lock_requested =
        NEW(&t.arena, EntityLockRequestedEvent, entity_lock_requested_event);
    lock->entity_lock_requested->critical_section_id = (char *)"s";
    lock->entity_lock_requested->lock_set = set;
    lock->entity_lock_requested->n_lock_set = 2;
    SendEntityMessageAction *unlock = ADD_ENTITY(&t, 3);
    unlock->entity_message_type_case =
        SEND_ENTITY_MESSAGE_ACTION__ENTITY_MESSAGE_TYPE_ENTITY_UNLOCK_SENT;
    unlock->entity_unlock_sent = NEW(&t.arena, EntityUnlockSentEvent, entity_unlock_sent_event);
    unlock->entity_unlock_sent->critical_section_id = (char *)"s";
    unlock->entity_unlock_sent->target_instance_id = value(&t.arena, "@c@a");
    SendEntityMessageAction *signal = ADD_ENTITY(&t, 4);
    signal->entity_message_type_case =
        SEND_ENTITY_MESSAGE_ACTION__ENTITY_MESSAGE_TYPE_ENTITY_OPERATION_SIGNALED;
    signal->entity_operation_signaled =
        NEW(&t.arena, EntityOperationSignaledEvent, entity_operation_signaled_event);
    signal->entity_operation_signaled->scheduled_time = th_rpc_time(&t.arena, 99);

    assert_true(take(&t));
    const struct th_event *e[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(t.actions.items[i].kind, TH_ACTION_ENTITY);
        e[i] = t.actions.items[i].entity;
        assert_int_equal(e[i]->id, (int)i + 1);
    }
    assert_int_equal(e[0]->kind, TH_EVENT_ENTITY_CALLED);
    assert_str(e[0]->instance_id, "@c@k");
    assert_str(e[0]->name, "get");
    assert_str(e[0]->request_id, "r");
    assert_int_equal(e[1]->kind, TH_EVENT_ENTITY_LOCK_REQUESTED);
    assert_int_equal(e[1]->lock_set.count, 2);
    assert_str(e[1]->lock_set.items[1], "@c@b");
    assert_str(e[1]->request_id, "s");
    assert_int_equal(e[2]->kind, TH_EVENT_ENTITY_UNLOCK_SENT);
    assert_str(e[2]->instance_id, "@c@a");
    assert_int_equal(e[3]->kind, TH_EVENT_ENTITY_SIGNALED);
    assert_true(e[3]->fire_at == 99);
}

/* ---- what cannot be meant ---- */

static void unknown_action(struct turn *t)
{
    static uint8_t empty[] = {0};
    static ProtobufCMessageUnknownField field = {
        .tag = 11, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = 1, .data = empty};
    ADD_TASK(t, 4);
    t->action->orchestrator_action_type_case = 0;
    t->action->base.n_unknown_fields = 1;
    t->action->base.unknown_fields = &field;
}

static void no_name(struct turn *t)
{
    ADD_TASK(t, 4);
}

static void bad_child_id(struct turn *t)
{
    CreateSubOrchestrationAction *child = ADD_CHILD(t, 4);
    child->name = (char *)"o";
    child->instance_id = (char *)"@b";
}

static void no_time(struct turn *t)
{
    ADD_TIMER(t, 4);
}

static void bad_time(struct turn *t)
{
    ADD_TIMER(t, 4)->fire_at = th_rpc_time(&t->arena, 1);
    t->action->create_timer->fire_at->nanos = -5;
}

static void no_target(struct turn *t)
{
    ADD_EVENT(t, 4)->name = (char *)"x";
}

static void no_end(struct turn *t)
{
    ADD_END(t, 4)->orchestration_status = ORCHESTRATION_STATUS__ORCHESTRATION_STATUS_PENDING;
}

static void unknown_status(struct turn *t)
{
    ADD_END(t, 4)->orchestration_status = (OrchestrationStatus)42;
}

static void bad_carryover(struct turn *t)
{
    struct th_event event = th_event_of(TH_EVENT_TASK_COMPLETED, 1);
    CompleteOrchestrationAction *end = ADD_END(t, 4);
    end->orchestration_status = ORCHESTRATION_STATUS__ORCHESTRATION_STATUS_CONTINUED_AS_NEW;
    end->carryover_events = TH_ARENA_NEW(&t->arena, HistoryEvent *);
    end->carryover_events[0] = th_rpc_event(&t->arena, &event);
    end->n_carryover_events = 1;
}

static void no_message(struct turn *t)
{
    ADD_ENTITY(t, 4);
}

static void a_rewind(struct turn *t)
{
    ADD(t, 4, rewind_orchestration, REWIND_ORCHESTRATION, RewindOrchestrationAction,
        rewind_orchestration_action);
}

static void what_cannot_be_meant_is_named(void **state)
{
    static const struct {
        void (*build)(struct turn *t);
        const char *words;
    } cases[] = {
        {unknown_action, "field 11"},
        {no_name, "scheduleTask: name"},
        {bad_child_id, "createSubOrchestration: instanceId"},
        {no_time, "fireAt is missing"},
        {bad_time, "fireAt: nanos"},
        {no_target, "sendEvent: instanceId"},
        {no_end, "orchestrationStatus 6"},
        {unknown_status, "orchestrationStatus 42"},
        {bad_carryover, "carryoverEvents 0: TaskCompleted"},
        {no_message, "sendEntityMessage"},
        {a_rewind, "rewindOrchestration"},
    };
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        TURN(t);
        ADD_TASK(&t, 3)->name = (char *)"fine";
        cases[i].build(&t);
        assert_false(take(&t));
        assert_int_equal(t.error.code, TH_INVALID);
        if (!strstr(t.error.message, cases[i].words) ||
            !strstr(t.error.message, "action 1 (id 4)")) {
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, t.error.message, cases[i].words);
        }
    }
}

static void a_refused_response_fails_the_instance(void **state)
{
    TH_ARENA arena = {0};
    struct th_actions actions;
    struct th_error error;
    th_fail(&error, TH_INVALID, "action 1: nonsense");
    th_rpc_refused(&arena, &error, &actions);
    assert_int_equal(actions.count, 1);
    assert_int_equal(actions.items[0].status, TH_STATUS_FAILED);
    assert_true(actions.items[0].failure->non_retriable);
    assert_str(actions.items[0].failure->type, "InvalidResponse");
    assert_non_null(strstr(actions.items[0].failure->message.data, "nonsense"));
    th_rpc_entity_refused(&arena, &error, &actions);
    assert_int_equal(actions.count, 0);
    assert_str(actions.failure->type, "InvalidResponse");
}

/* ---- entities ---- */

static OperationResult *succeeded(struct th_arena *arena, const char *result)
{
    OperationResult *out = NEW(arena, OperationResult, operation_result);
    out->result_type_case = OPERATION_RESULT__RESULT_TYPE_SUCCESS;
    out->success = NEW(arena, OperationResultSuccess, operation_result_success);
    out->success->result = value(arena, result);
    return out;
}

static OperationResult *failed(struct th_arena *arena)
{
    OperationResult *out = NEW(arena, OperationResult, operation_result);
    out->result_type_case = OPERATION_RESULT__RESULT_TYPE_FAILURE;
    out->failure = NEW(arena, OperationResultFailure, operation_result_failure);
    return out;
}

static OperationAction *signal_of(struct th_arena *arena, const char *id, const char *name)
{
    OperationAction *out = NEW(arena, OperationAction, operation_action);
    out->operation_action_type_case = OPERATION_ACTION__OPERATION_ACTION_TYPE_SEND_SIGNAL;
    out->send_signal = NEW(arena, SendSignalAction, send_signal_action);
    out->send_signal->instance_id = (char *)id;
    out->send_signal->name = (char *)name;
    out->send_signal->scheduled_time = th_rpc_time(arena, 50);
    return out;
}

static OperationAction *start_of(struct th_arena *arena, const char *id, const char *name)
{
    OperationAction *out = NEW(arena, OperationAction, operation_action);
    out->operation_action_type_case =
        OPERATION_ACTION__OPERATION_ACTION_TYPE_START_NEW_ORCHESTRATION;
    out->start_new_orchestration =
        NEW(arena, StartNewOrchestrationAction, start_new_orchestration_action);
    out->start_new_orchestration->instance_id = (char *)id;
    out->start_new_orchestration->name = (char *)name;
    return out;
}

static void a_batch_is_taken(void **state)
{
    TH_ARENA arena = {0};
    struct th_actions out;
    struct th_error error;
    EntityBatchResult batch = ENTITY_BATCH_RESULT__INIT;
    OperationResult *results[] = {succeeded(&arena, "1"), failed(&arena)};
    OperationAction *actions[] = {signal_of(&arena, "@c@k", "add"), start_of(&arena, "", "o")};
    batch.results = results;
    batch.n_results = 2;
    batch.actions = actions;
    batch.n_actions = 2;
    batch.entity_state = value(&arena, "0");
    assert_true(th_rpc_entity_result(&arena, &batch, 3, &out, &error));
    assert_int_equal(out.result_count, 2); /* of 3: the third is run again */
    assert_str(out.results[0].data, "1");
    assert_null(out.results[0].failure);
    assert_non_null(out.results[1].failure);
    assert_str(out.state, "0");
    assert_null(out.failure);
    assert_int_equal(out.items[0].kind, TH_ACTION_SIGNAL);
    assert_str(out.items[0].instance_id, "@c@k");
    assert_true(out.items[0].fire_at == 50);
    assert_int_equal(out.items[1].kind, TH_ACTION_START);
    assert_false(th_str_present(out.items[1].instance_id));
    assert_true(out.items[1].fire_at == TH_TIME_NONE);
}

static void an_empty_state_deletes(void **state)
{
    static const char *const states[] = {NULL, ""};
    for (size_t i = 0; i < 2; i++) {
        TH_ARENA arena = {0};
        struct th_actions out;
        struct th_error error;
        EntityBatchResult batch = ENTITY_BATCH_RESULT__INIT;
        batch.entity_state = value(&arena, states[i]);
        assert_true(th_rpc_entity_result(&arena, &batch, 1, &out, &error));
        assert_false(th_str_present(out.state));
    }
}

static void a_failed_batch_keeps_nothing(void **state)
{
    TH_ARENA arena = {0};
    struct th_actions out;
    struct th_error error;
    EntityBatchResult batch = ENTITY_BATCH_RESULT__INIT;
    OperationAction *actions[] = {signal_of(&arena, "@c@k", "add")};
    batch.actions = actions;
    batch.n_actions = 1;
    batch.failure_details = NEW(&arena, TaskFailureDetails, task_failure_details);
    batch.failure_details->error_message = (char *)"no";
    assert_true(th_rpc_entity_result(&arena, &batch, 1, &out, &error));
    assert_str(out.failure->message, "no");
    assert_int_equal(out.count, 0);
    assert_int_equal(out.result_count, 0);
}

static void a_bad_batch_is_named(void **state)
{
    TH_ARENA arena = {0};
    const struct {
        OperationResult *result;
        OperationAction *action;
        const char *words;
    } cases[] = {
        {succeeded(&arena, "1"), NULL, "results: there are 1, of 0"},
        {NEW(&arena, OperationResult, operation_result), NULL, "result 0"},
        {NULL, NEW(&arena, OperationAction, operation_action), "unknown kind"},
        {NULL, signal_of(&arena, "counter", "add"), "sendSignal: instanceId"},
        {NULL, signal_of(&arena, "@c@k", ""), "sendSignal: name"},
        {NULL, start_of(&arena, "@b", "o"), "startNewOrchestration: instanceId"},
        {NULL, start_of(&arena, "ab", ""), "startNewOrchestration: name"},
    };
    for (size_t i = 0; i < TH_COUNT(cases); i++) {
        struct th_actions out;
        struct th_error error = {0};
        EntityBatchResult batch = ENTITY_BATCH_RESULT__INIT;
        OperationResult *results[] = {cases[i].result};
        OperationAction *actions[] = {cases[i].action};
        batch.results = results;
        batch.n_results = cases[i].result != NULL;
        batch.actions = actions;
        batch.n_actions = cases[i].action != NULL;
        assert_false(th_rpc_entity_result(&arena, &batch, i == 0 ? 0 : 5, &out, &error));
        if (!strstr(error.message, cases[i].words)) {
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, error.message, cases[i].words);
        }
    }
}

/* ---- activities ---- */

static void an_activity_answers(void **state)
{
    TH_ARENA arena = {0};
    struct th_activity_answer answer;
    ActivityResponse response = ACTIVITY_RESPONSE__INIT;
    response.result = value(&arena, "7");
    th_rpc_activity_answer(&arena, &response, &answer);
    assert_str(answer.data, "7");
    assert_null(answer.failure);
    response.failure_details = NEW(&arena, TaskFailureDetails, task_failure_details);
    response.failure_details->error_type = (char *)"T";
    th_rpc_activity_answer(&arena, &response, &answer);
    assert_str(answer.failure->type, "T");
    assert_false(th_str_present(answer.data));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_episode_becomes_an_item),
        cmocka_unit_test(a_streamed_past_is_not_in_the_item),
        cmocka_unit_test(operations_become_an_item),
        cmocka_unit_test(an_activity_becomes_an_item),
        cmocka_unit_test(a_ping_is_an_item),
        cmocka_unit_test(actions_are_what_an_executor_gives),
        cmocka_unit_test(no_custom_status_takes_the_old_one_away),
        cmocka_unit_test(an_end_carries_its_result),
        cmocka_unit_test(continuing_carries_events_over),
        cmocka_unit_test(entities_are_asked),
        cmocka_unit_test(what_cannot_be_meant_is_named),
        cmocka_unit_test(a_refused_response_fails_the_instance),
        cmocka_unit_test(a_batch_is_taken),
        cmocka_unit_test(an_empty_state_deletes),
        cmocka_unit_test(a_failed_batch_keeps_nothing),
        cmocka_unit_test(a_bad_batch_is_named),
        cmocka_unit_test(an_activity_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

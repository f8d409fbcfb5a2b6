/* event_kinds: the events that the protocol and a hub both have. Not for other folders. */
#pragma once

/* member of HistoryEvent, the same in upper case, type, kind here. EXECUTION_FAILED is no event of
 * the protocol's, and PURGE_REQUESTED none of a history. */
#define RPC_EVENTS(X)                                                                              \
    X(execution_started, EXECUTION_STARTED, ExecutionStartedEvent, EXECUTION_STARTED)              \
    X(execution_completed, EXECUTION_COMPLETED, ExecutionCompletedEvent, EXECUTION_COMPLETED)      \
    X(execution_terminated, EXECUTION_TERMINATED, ExecutionTerminatedEvent, EXECUTION_TERMINATED)  \
    X(task_scheduled, TASK_SCHEDULED, TaskScheduledEvent, TASK_SCHEDULED)                          \
    X(task_completed, TASK_COMPLETED, TaskCompletedEvent, TASK_COMPLETED)                          \
    X(task_failed, TASK_FAILED, TaskFailedEvent, TASK_FAILED)                                      \
    X(sub_orchestration_instance_created, SUB_ORCHESTRATION_INSTANCE_CREATED,                      \
      SubOrchestrationInstanceCreatedEvent, CHILD_CREATED)                                         \
    X(sub_orchestration_instance_completed, SUB_ORCHESTRATION_INSTANCE_COMPLETED,                  \
      SubOrchestrationInstanceCompletedEvent, CHILD_COMPLETED)                                     \
    X(sub_orchestration_instance_failed, SUB_ORCHESTRATION_INSTANCE_FAILED,                        \
      SubOrchestrationInstanceFailedEvent, CHILD_FAILED)                                           \
    X(timer_created, TIMER_CREATED, TimerCreatedEvent, TIMER_CREATED)                              \
    X(timer_fired, TIMER_FIRED, TimerFiredEvent, TIMER_FIRED)                                      \
    X(orchestrator_started, ORCHESTRATOR_STARTED, OrchestratorStartedEvent, ORCHESTRATOR_STARTED)  \
    X(orchestrator_completed, ORCHESTRATOR_COMPLETED, OrchestratorCompletedEvent,                  \
      ORCHESTRATOR_COMPLETED)                                                                      \
    X(event_sent, EVENT_SENT, EventSentEvent, EVENT_SENT)                                          \
    X(event_raised, EVENT_RAISED, EventRaisedEvent, EVENT_RAISED)                                  \
    X(generic_event, GENERIC_EVENT, GenericEvent, GENERIC)                                         \
    X(history_state, HISTORY_STATE, HistoryStateEvent, HISTORY_STATE)                              \
    X(continue_as_new, CONTINUE_AS_NEW, ContinueAsNewEvent, CONTINUE_AS_NEW)                       \
    X(execution_suspended, EXECUTION_SUSPENDED, ExecutionSuspendedEvent, EXECUTION_SUSPENDED)      \
    X(execution_resumed, EXECUTION_RESUMED, ExecutionResumedEvent, EXECUTION_RESUMED)              \
    X(entity_operation_signaled, ENTITY_OPERATION_SIGNALED, EntityOperationSignaledEvent,          \
      ENTITY_SIGNALED)                                                                             \
    X(entity_operation_called, ENTITY_OPERATION_CALLED, EntityOperationCalledEvent, ENTITY_CALLED) \
    X(entity_operation_completed, ENTITY_OPERATION_COMPLETED, EntityOperationCompletedEvent,       \
      ENTITY_COMPLETED)                                                                            \
    X(entity_operation_failed, ENTITY_OPERATION_FAILED, EntityOperationFailedEvent, ENTITY_FAILED) \
    X(entity_lock_requested, ENTITY_LOCK_REQUESTED, EntityLockRequestedEvent,                      \
      ENTITY_LOCK_REQUESTED)                                                                       \
    X(entity_lock_granted, ENTITY_LOCK_GRANTED, EntityLockGrantedEvent, ENTITY_LOCK_GRANTED)       \
    X(entity_unlock_sent, ENTITY_UNLOCK_SENT, EntityUnlockSentEvent, ENTITY_UNLOCK_SENT)           \
    X(execution_rewound, EXECUTION_REWOUND, ExecutionRewoundEvent, EXECUTION_REWOUND)

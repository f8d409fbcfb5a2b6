/*
 * event: one entry of an instance's history, and the words around it: status, failure, parent,
 * tags. Kinds and fields are tables; the codec (codec.h), the JSON form (json.h) and the docs are
 * generated from them. Kind numbers below 21 are those of Durable Task's history (contracts:
 * EventType); 21 and above are ours and never leave as numbers.
 *
 * A th_event owns nothing: its strings point into the arena or the record it was decoded from.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"

/* name, number, text as Durable Functions shows it */
#define TH_EVENT_KINDS(X)                                      \
    X(EXECUTION_STARTED, 0, "ExecutionStarted")                \
    X(EXECUTION_COMPLETED, 1, "ExecutionCompleted")            \
    X(EXECUTION_FAILED, 2, "ExecutionFailed")                  \
    X(EXECUTION_TERMINATED, 3, "ExecutionTerminated")          \
    X(TASK_SCHEDULED, 4, "TaskScheduled")                      \
    X(TASK_COMPLETED, 5, "TaskCompleted")                      \
    X(TASK_FAILED, 6, "TaskFailed")                            \
    X(CHILD_CREATED, 7, "SubOrchestrationInstanceCreated")     \
    X(CHILD_COMPLETED, 8, "SubOrchestrationInstanceCompleted") \
    X(CHILD_FAILED, 9, "SubOrchestrationInstanceFailed")       \
    X(TIMER_CREATED, 10, "TimerCreated")                       \
    X(TIMER_FIRED, 11, "TimerFired")                           \
    X(ORCHESTRATOR_STARTED, 12, "OrchestratorStarted")         \
    X(ORCHESTRATOR_COMPLETED, 13, "OrchestratorCompleted")     \
    X(EVENT_SENT, 14, "EventSent")                             \
    X(EVENT_RAISED, 15, "EventRaised")                         \
    X(CONTINUE_AS_NEW, 16, "ContinueAsNew")                    \
    X(GENERIC, 17, "GenericEvent")                             \
    X(HISTORY_STATE, 18, "HistoryState")                       \
    X(EXECUTION_SUSPENDED, 19, "ExecutionSuspended")           \
    X(EXECUTION_RESUMED, 20, "ExecutionResumed")               \
    X(EXECUTION_REWOUND, 21, "ExecutionRewound")               \
    X(ENTITY_SIGNALED, 22, "EntityOperationSignaled")          \
    X(ENTITY_CALLED, 23, "EntityOperationCalled")              \
    X(ENTITY_COMPLETED, 24, "EntityOperationCompleted")        \
    X(ENTITY_FAILED, 25, "EntityOperationFailed")              \
    X(ENTITY_LOCK_REQUESTED, 26, "EntityLockRequested")        \
    X(ENTITY_LOCK_GRANTED, 27, "EntityLockGranted")            \
    X(ENTITY_UNLOCK_SENT, 28, "EntityUnlockSent")              \
    /* never part of a history: */                             \
    X(PURGE_REQUESTED, 40, "PurgeRequested")

enum th_event_kind {
#define X(name, number, text) TH_EVENT_##name = number,
    TH_EVENT_KINDS(X)
#undef X
};

/* name, number (the protocol's OrchestrationStatus), text, terminal */
#define TH_STATUSES(X)                              \
    X(RUNNING, 0, "Running", false)                 \
    X(COMPLETED, 1, "Completed", true)              \
    X(CONTINUED_AS_NEW, 2, "ContinuedAsNew", false) \
    X(FAILED, 3, "Failed", true)                    \
    X(CANCELED, 4, "Canceled", true)                \
    X(TERMINATED, 5, "Terminated", true)            \
    X(PENDING, 6, "Pending", false)                 \
    X(SUSPENDED, 7, "Suspended", false)

/* And that of an entity, which is ours and never leaves. */
#define TH_ALL_STATUSES(X) \
    TH_STATUSES(X)         \
    X(ENTITY, 8, "Entity", false)

enum th_status {
#define X(name, number, text, terminal) TH_STATUS_##name = number,
    TH_ALL_STATUSES(X)
#undef X
};

#define TH_STATUS_BIT(status) (1u << (status))

/* What an orchestration can be. */
#define TH_STATUS_ORCHESTRATIONS (TH_STATUS_BIT(TH_STATUS_ENTITY) - 1)

/* Why a task failed. Reaches the caller intact: type, message, inner failure, non-retriable. */
struct th_failure {
    struct th_str type;
    struct th_str message;
    struct th_str stack;
    bool non_retriable;
    const struct th_failure *inner; /* or NULL; at most TH_FAILURE_DEPTH deep */
};

#define TH_FAILURE_DEPTH 16

/* Who waits for a sub-orchestration, or for an entity. */
struct th_parent {
    struct th_str instance_id;
    struct th_str execution_id;
    struct th_str name;
    struct th_str version;
    int32_t task_id; /* event id of CHILD_CREATED, ENTITY_CALLED or ENTITY_LOCK_REQUESTED in the
                        parent's history */
};

struct th_tag {
    struct th_str key;
    struct th_str value;
};

struct th_tags {
    const struct th_tag *items;
    size_t count;
};

struct th_strs {
    const struct th_str *items;
    size_t count;
};

/*
 * The fields of an event: number on the wire (never reused), name, type.
 * Types: I32, TIME, STR, BOOL, STATUS, and the nested FAILURE, PARENT, TAGS, STRS.
 * Which kind uses which field:
 *   EXECUTION_STARTED    name version data(input) instance_id execution_id parent fire_at(scheduled
 *                        start) tags trace request_id(of the client's start)
 *   EXECUTION_COMPLETED  status data(result) failure
 *   EXECUTION_TERMINATED data(output) recurse      SUSPENDED/RESUMED  reason
 *   EXECUTION_REWOUND    reason; from a rewound parent also parent name version data, with which
 *                        a child that is gone is made again
 *   TASK_SCHEDULED       name version data tags    TASK_COMPLETED  related_id data
 *   TASK_FAILED          related_id failure
 *   CHILD_CREATED        name version data instance_id tags
 *   CHILD_COMPLETED      related_id data           CHILD_FAILED    related_id failure
 *   TIMER_CREATED        fire_at                   TIMER_FIRED     related_id fire_at
 *   EVENT_SENT           instance_id name data     EVENT_RAISED    name data
 *   ENTITY_SIGNALED      instance_id name(operation) data request_id fire_at(not before)
 *   ENTITY_CALLED        the same, parent(who waits)
 *   ENTITY_COMPLETED     request_id related_id data
 *   ENTITY_FAILED        request_id related_id failure
 *   ENTITY_LOCK_REQUESTED   request_id(critical section) lock_set parent; related_id(which one of
 *                        the set is to be locked, in a message)
 *   ENTITY_LOCK_GRANTED  request_id related_id
 *   ENTITY_UNLOCK_SENT   request_id instance_id
 */
#define TH_EVENT_FIELDS(X)  \
    X(1, id, I32)           \
    X(2, timestamp, TIME)   \
    X(3, related_id, I32)   \
    X(4, name, STR)         \
    X(5, version, STR)      \
    X(6, data, STR)         \
    X(7, instance_id, STR)  \
    X(8, execution_id, STR) \
    X(9, fire_at, TIME)     \
    X(10, status, STATUS)   \
    X(11, failure, FAILURE) \
    X(12, parent, PARENT)   \
    X(13, tags, TAGS)       \
    X(14, reason, STR)      \
    X(15, recurse, BOOL)    \
    X(16, trace, STR)       \
    X(17, request_id, STR)  \
    X(18, lock_set, STRS)

struct th_event {
    enum th_event_kind kind;
    int32_t id;         /* event id; -1 for what the orchestrator did not schedule */
    int32_t related_id; /* TaskScheduledId or TimerId this event answers; -1: none */
    th_time timestamp;
    th_time fire_at; /* TH_TIME_NONE: none */
    enum th_status status;
    bool recurse;
    struct th_str name, version, data, instance_id, execution_id, reason, trace, request_id;
    const struct th_failure *failure;
    const struct th_parent *parent;
    struct th_tags tags;
    struct th_strs lock_set;
};

/* An event with nothing but its kind and time: ids -1, fire_at none, strings absent. */
struct th_event th_event_of(enum th_event_kind kind, th_time timestamp);

/* A deep copy into `arena`. */
struct th_event th_event_copy(struct th_arena *arena, const struct th_event *event);
const struct th_failure *th_failure_copy(struct th_arena *arena, const struct th_failure *failure);
struct th_strs th_strs_copy(struct th_arena *arena, struct th_strs strs);

/* Field by field, strings by content. For replay comparison and tests. */
bool th_event_equal(const struct th_event *a, const struct th_event *b);

/* What an orchestrator sends to an entity. */
bool th_event_is_entity_request(enum th_event_kind kind);

const char *th_event_kind_text(enum th_event_kind kind); /* "?" for an unknown number */
bool th_event_kind_parse(struct th_str text, enum th_event_kind *out);
const char *th_status_text(enum th_status status);
bool th_status_parse(struct th_str text, enum th_status *out); /* case-insensitive */
bool th_status_terminal(enum th_status status);

/* A growable list of events; the strings stay where they are. */
struct th_events {
    struct th_event *items;
    size_t count;
    size_t capacity;
};

void th_events_add(struct th_events *list, struct th_event event);
void th_events_deinit(struct th_events *list);

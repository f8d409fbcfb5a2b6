/*
 * action: what an orchestrator asks for in one episode. Produced by an executor (the C SDK's
 * coroutines, later a remote SDK), consumed by the engine. Numbers are those of the protocol's
 * OrchestratorAction (contracts 2.4).
 */
#pragma once

#include "model/event.h"

enum th_action_kind {
    TH_ACTION_SCHEDULE_TASK = 2, /* id name version data tags */
    TH_ACTION_CREATE_CHILD = 3,  /* id name version data instance_id(absent: derived) tags */
    TH_ACTION_CREATE_TIMER = 4,  /* id fire_at */
    TH_ACTION_SEND_EVENT = 5,    /* id instance_id name data */
    TH_ACTION_COMPLETE = 6,  /* status data(result, or the next input) failure version carryover */
    TH_ACTION_TERMINATE = 7, /* id instance_id data(reason) recurse */
    TH_ACTION_ENTITY = 8,    /* id entity */
    /* of entities; the protocol numbers their actions apart: */
    TH_ACTION_SIGNAL = 20, /* instance_id name(operation) data fire_at */
    TH_ACTION_START = 21,  /* instance_id(absent: derived) name version data tags fire_at */
};

struct th_action {
    enum th_action_kind kind;
    int32_t id; /* becomes the event id in history */
    enum th_status status;
    bool recurse;
    th_time fire_at;
    struct th_str name, version, data, instance_id;
    const struct th_failure *failure;
    struct th_tags tags;
    struct th_str trace; /* of a task, a child or a start; absent: the instance's, for a child */
    const struct th_event *carryover; /* EVENT_RAISED events for the next generation */
    size_t carryover_count;
    const struct th_event *entity; /* ENTITY_SIGNALED, _CALLED, _LOCK_REQUESTED or _UNLOCK_SENT */
};

/* What became of one operation. */
struct th_operation_result {
    struct th_str data;
    const struct th_failure *failure; /* NULL: none; nothing that the operation did is kept */
};

/* The answer of an executor. Everything points into the arena given to the executor. */
struct th_actions {
    struct th_action *items;
    size_t count;
    size_t capacity;
    bool has_custom_status; /* custom_status replaces the old one; present and empty is allowed */
    struct th_str custom_status;
    struct th_str turn_trace; /* a remote SDK's, for the next episode of this execution; absent: the
                                 last one stays */
    /* entities: */
    const struct th_operation_result *results; /* of the first operations, in order; the others are
                                                  given to it again */
    size_t result_count;
    struct th_str state;              /* after these; absent: none, the entity is deleted */
    const struct th_failure *failure; /* of the batch: every operation failed, nothing is kept */
};

/* Appends a zeroed action (fire_at none) and returns it; valid until the next append. */
struct th_action *th_actions_add(struct th_actions *list, struct th_arena *arena,
                                 enum th_action_kind kind, int32_t id);

/* In place of any answer: the episode failed, and of an entity every operation. `failure` is
 * copied.
 */
void th_actions_fail(struct th_actions *out, struct th_arena *arena, bool entity,
                     const struct th_failure *failure);

/*
 * One episode, as an executor sees it. `past` is the history before this episode; when
 * `past_loaded` is false the caller believes the executor still holds the instance warm at
 * `past_count` events, and an executor that does not answers TH_EXECUTOR_NEEDS_HISTORY.
 */
struct th_episode {
    uint64_t number; /* of this run, by the node */
    struct th_str instance_id;
    struct th_str execution_id;
    struct th_str name, version; /* of the function, by the node */
    bool past_loaded;
    bool past_stored; /* it is the history that the hub has of the instance */
    const struct th_event *past;
    size_t past_count;
    const struct th_event *fresh; /* begins with ORCHESTRATOR_STARTED */
    size_t fresh_count;
    struct th_str turn_trace; /* as the last answer that had one gave it */
    bool entity;              /* `fresh` are operations; there is no past */
    struct th_str state;      /* of the entity; absent: none */
};

enum th_executor_result {
    TH_EXECUTOR_DONE,
    TH_EXECUTOR_NEEDS_HISTORY,
    TH_EXECUTOR_CRASHED, /* it runs in a process of its own, which is gone: nothing was done */
    TH_EXECUTOR_LATER,   /* it runs elsewhere; the actions follow */
};

/*
 * context: one running orchestration, private to the SDK. A th_context lives from the first event
 * of an execution (or the start of its replay) until it ends or is evicted; a th_turn is one
 * episode of it.
 *
 * How an episode runs (replay.c): events are applied one after the other, and after each the code
 * goes on as far as it can before the next is looked at. So what the code decides depends on the
 * order of the events alone, not on how they were grouped into episodes, and warm and cold runs
 * decide alike.
 *
 * Ids: everything the code asks for (task.c, issue) takes the next number from 0. What the history
 * already has under that number must be the same thing; what it has not becomes an action. Actions
 * live in the arena of their episode, since at its end all of them are handed out.
 *
 * Ending early: `ending` makes every call fail at once so that the code's cleanups run: when the
 * instance is evicted, and after a mismatch with the history.
 */
#pragma once

#include "base/hash.h"
#include "engine/action.h"
#include "sdk/coroutine.h"
#include "sdk/executor.h"
#include "sdk/taskhub.h"

enum task_kind {
    TASK_ACTIVITY,
    TASK_CHILD,
    TASK_TIMER,
    TASK_EVENT,
    TASK_ENTITY,
    TASK_LOCK,
    TASK_ALL,
    TASK_ANY
};
enum task_state { TASK_WAITING, TASK_SUCCEEDED, TASK_FAILED, TASK_CANCELED };

/* A call that may be issued more than once; one block of memory, freed with free(). */
struct call {
    enum th_action_kind kind; /* SCHEDULE_TASK or CREATE_CHILD */
    struct th_str name, version, instance_id, data;
    struct th_tags tags;
};

/* A call with a retry policy: attempts and the timers between them, one after the other. */
struct retry {
    struct th_retry policy;
    struct call *call;
    int attempts;     /* begun so far */
    int32_t first_id; /* of the first attempt */
    th_time first;    /* when it was scheduled */
    int64_t delay_ms; /* before the next attempt */
    bool backing_off; /* the task's id is that of a timer */
};

/* One place in a composite; linked into its child's list of who waits for it. */
struct link {
    struct th_task *child;
    struct th_task *composite;
    struct link *next;
    struct link **previous; /* NULL: not linked */
};

struct th_task {
    struct th_context *ctx;
    struct th_task *next_owned;
    struct th_task **previous_owned;
    struct th_task *next; /* in its bucket of pending ids, or among the waiters for events */
    struct th_task **previous;
    struct th_task *next_finished; /* whose composites have not been told yet */
    struct link *waiting;          /* composites */
    int32_t id;                    /* whose answer it waits for; -1: none */
    enum task_kind kind : 8;
    enum task_state state : 8;
    char *data; /* result; NULL: none */
    size_t len;
    const struct th_failure *failure; /* the context's */
    char *name;                       /* events: which; calls: which function */
    struct retry *retry;
    struct link *links; /* composites: one per child; given up when an `any` is done */
    size_t count, open; /* composites: children, and those not done */
    struct th_task *winner;
};

/* An event that nobody waited for yet. */
struct inbox_event {
    struct inbox_event *next;
    th_time timestamp;
    struct th_str name, data; /* data may be absent */
    char bytes[];
};

/* The critical section that the code is in, or waits for; one block of memory. */
struct section {
    char id[37];
    bool entered;
    size_t count;
    int32_t *calls;         /* under way, per entity; -1: none */
    const char *entities[]; /* in order */
};

/* Something the history says the code asked for. */
struct known {
    const struct th_event *event;
    size_t position; /* in the history, from 0 */
};

/* One episode of a context. */
struct th_turn {
    struct th_arena *arena;
    struct th_actions *out;
    struct known *known; /* by ascending id */
    size_t known_count, known_at;
    size_t position; /* of the event being applied, in the history, from 0 */
    bool replaying;  /* inside the past */
    bool rewound;    /* the history lost events on purpose */
};

enum outcome { OUTCOME_NONE, OUTCOME_COMPLETED, OUTCOME_FAILED, OUTCOME_CONTINUED };

struct th_context {
    struct th_executor *executor;
    struct th_coroutine *coroutine; /* NULL: not started, or ended */
    struct th_turn *turn;           /* NULL between episodes */
    struct th_context *next_bucket;
    struct th_context *lru_next, *lru_previous;
    size_t event_count; /* of the history after the last episode */

    /* Who it is; all strings lie in `identity`. */
    char *identity;
    struct th_str instance_id, execution_id, name, version, parent_id, input_bytes;
    struct th_tags tags;
    json_t *input;
    bool input_parsed;

    th_orchestrator_fn function;
    bool inside;      /* its code runs right now */
    bool ended;       /* its code returned */
    bool ending;      /* every call fails */
    bool muted;       /* a second run for comparison: says nothing */
    bool call_failed; /* the last call that waited failed */
    bool confirmed;   /* the history has the end */
    int refused;      /* calls made while ending */
    int returned;

    th_time now;
    int32_t next_id;
    uint64_t uuids, requests;
    bool random_seeded;
    struct th_random random;

    struct section *section; /* NULL: none */
    struct th_task *awaited; /* what the suspended code waits for */
    struct th_task *tasks;   /* all of them */
    struct th_task *waiters; /* for events, oldest first */
    struct th_task **last_waiter;
    struct th_task **pending; /* buckets by id */
    size_t pending_count, pending_buckets;
    struct th_task *finished; /* queue of th_task.next_finished */
    struct th_task **last_finished;
    struct inbox_event *inbox;
    struct inbox_event **last_inbox;
    struct th_arena kept; /* failures, so that authors may hold on to them */
    const struct th_failure *last_failure;

    enum outcome outcome;
    struct th_str output; /* malloc'ed, or absent */
    bool keep_events;
    const struct th_failure *outcome_failure;
    struct th_str mismatch; /* absent: code and history agree */

    struct th_arena seen_arena; /* replay_always: the history so far */
    struct th_events seen;
};

/* ---- context.c ------------------------------------------------------------------------------ */

struct th_context *th_context_new(struct th_executor *executor);
void th_context_free(struct th_context *ctx); /* its code must have ended or be forgotten */
/* Takes name, input, … from the start. */
void th_context_identify(struct th_context *ctx, const struct th_event *started,
                         const struct th_episode *episode);
/* Lets the code run until it waits or ends. */
void th_context_resume(struct th_context *ctx);
/* A new failure that lives as long as the context. */
const struct th_failure *th_context_failure(struct th_context *ctx, const char *type,
                                            const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Sets what th_last_failure says. */
void th_context_failed(struct th_context *ctx, const struct th_failure *failure);
/* True while every call must fail; counts them and parks a coroutine that does not take the hint.
 */
bool th_context_refuses(struct th_context *ctx);
/* The code and the history disagree: the first report counts. */
void th_context_mismatch(struct th_context *ctx, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- task.c --------------------------------------------------------------------------------- */

/* The task that waits for the answer to `id`, or NULL. */
struct th_task *th_task_pending(const struct th_context *ctx, int32_t id);
/* An answer arrived. A retry may turn a failure into a further attempt. */
void th_task_answer(struct th_task *task, struct th_str data, const struct th_failure *failure);
void th_task_raise(struct th_context *ctx, const struct th_event *event);
void th_task_free(struct th_task *task);
/* A new task that waits for the answer to `id`, or has failed. */
struct th_task *th_task_waiting(struct th_context *ctx, enum task_kind kind, struct th_str name,
                                int32_t id);
struct th_task *th_task_failed(struct th_context *ctx, enum task_kind kind,
                               const struct th_failure *failure);
/* In words, for messages: `activity "charge" (id 3)`. */
struct th_str th_task_words(const struct th_task *task, struct th_arena *arena);

/* ---- call.c: what the code asks for --------------------------------------------------------- */

/* Appends an action with everything it refers to copied into the arena of the turn. */
struct th_action *th_turn_add(struct th_turn *turn, const struct th_action *wanted);
/* Takes the next id for `wanted`. What the history has under that id must be the same thing (else
 * see mismatch); what it has not becomes an action. */
int32_t th_issue(struct th_context *ctx, const struct th_action *wanted);
/* Issues `call`; `step` (-1: none) is the id that stands for all attempts. */
int32_t th_issue_call(struct th_context *ctx, const struct call *call, int32_t step);
int32_t th_issue_timer(struct th_context *ctx, th_time when);
/* Waits for a task that the author never sees: its result, and the task goes. */
json_t *th_await_result(struct th_context *ctx, struct th_task *task);

/* ---- request.c: what the code asks of entities ---------------------------------------------- */

/* The id of the next request. */
void th_request_id(struct th_context *ctx, char out[static 37]);
int32_t th_issue_request(struct th_context *ctx, const struct th_event *request);
/* In words, for messages: `operation "add" of entity "@counter@k"`. */
struct th_str th_request_words(const struct th_event *request, struct th_arena *arena);

/* ---- section.c: critical sections ----------------------------------------------------------- */

/* What a rule may forbid inside. */
enum section_use { SECTION_CALL, SECTION_SIGNAL, SECTION_CHILD };
/* NULL, or why the section, if the code is in one, forbids this. `id`: of the entity. */
const struct th_failure *th_section_forbids(struct th_context *ctx, enum section_use use,
                                            struct th_str id);
/* A call of an entity was issued as `event_id`, or is answered. */
void th_section_called(struct th_context *ctx, struct th_str id, int32_t event_id);
void th_section_answered(struct th_context *ctx, int32_t event_id);
bool th_section_same(struct th_strs a, struct th_strs b);
/* A set in words: `"@a@1", "@b@2"`. */
struct th_str th_section_words(struct th_strs set, struct th_arena *arena);

/* ---- replay.c ------------------------------------------------------------------------------- */

/* Feeds an episode (`past` too when `cold`) and fills `out`, which lives in `arena`. Afterwards
 * the code has ended, or waits, or `mismatch` says why it cannot go on. */
void th_replay(struct th_context *ctx, const struct th_episode *episode, bool cold,
               struct th_arena *arena, struct th_actions *out);
/* Makes `out` the end as FAILED because of the mismatch. */
void th_replay_mismatch(struct th_context *ctx, struct th_arena *arena, struct th_actions *out);
/* True when the context has nothing more to do in any later episode. */
bool th_context_over(const struct th_context *ctx);

/* ---- verify.c: replay_always ---------------------------------------------------------------- */

/* Runs the episode that `ctx` just ran once more from the start. A difference becomes a mismatch;
 * otherwise the episode is added to what was seen. */
void th_verify(struct th_context *ctx, const struct th_episode *episode, bool cold,
               struct th_arena *arena, struct th_actions *out);

/* ---- executor.c ----------------------------------------------------------------------------- */

const struct th_executor_options *th_executor_config(const struct th_executor *executor);
/* A coroutine that runs `function`; makes room by evicting others if need be. */
struct th_coroutine *th_executor_coroutine(struct th_context *ctx, void (*function)(void *));
/* Lets the code of a context that is in no table clean up, and frees the context. */
void th_executor_drop(struct th_context *ctx);

/* Milliseconds after `t`, clipped to what a th_time holds. */
th_time th_time_after(th_time t, int64_t milliseconds);

/* The tag that tells an activity which step a further attempt belongs to. */
#define TH_STEP_TAG "taskhub.step"

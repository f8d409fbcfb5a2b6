/*
 * engine: pure core 1. Turns (state of an instance, messages) into the new events an orchestrator
 * must see, and (actions it answered) into history, outgoing messages and a new status. It reads
 * no clock, socket, random source or global and logs nothing; what it builds goes into the
 * caller's arena. The partition core calls it, on the partition's thread; it never blocks.
 *
 *     messages ──th_engine_begin──▶ fresh events ──executor──▶ actions ──th_engine_finish──▶
 *         history events + messages + change of state
 *
 * What does not need the orchestrator's code (terminate, suspend, resume without news, rewind,
 * answers that are stale, locks of entities) is decided here, so it works while nobody serves the
 * function.
 *
 * Entities are instances whose id begins with '@': the same calls, another kind of episode (see
 * entity.c).
 */
#pragma once

#include "engine/action.h"
#include "model/codec.h"

/* What the hub knows of an instance besides its history. A fold of the log; see partition. */
struct th_instance_info {
    struct th_str instance_id;
    struct th_str execution_id; /* absent: does not exist */
    struct th_str name, version;
    enum th_status status;
    th_time created, updated, completed, scheduled; /* completed, scheduled: maybe none */
    uint32_t format;                                /* what a reader has to know; 0: 1 */
    struct th_str input, output, custom_status;
    const struct th_failure *failure;
    const struct th_parent *parent;
    struct th_tags tags;
    struct th_str request_id; /* of the start that made it */
    struct th_str trace;
    struct th_str turn_trace; /* see action.h; of this execution */
    uint32_t generation;      /* continue-as-new count of this start */
    uint32_t event_count;     /* events in the current execution's history */
    bool starting;            /* continue-as-new: the execution has not begun; `carryover` waits */
    struct th_str carryover;  /* encoded events (codec.h) for its first episode */

    /* the critical section it asked for or is in; of an entity, the one that locks it */
    struct th_str section;
    struct th_strs locked; /* its entities, in order, at most TH_LOCK_SET_MAX … */
    uint64_t unlocked;     /* … and which of them it has released, as bits */
    /* entities; their state is `output`, and `completed` the time of their last episode: */
    struct th_str locked_by; /* the orchestration in that section */
    bool has_state;          /* also known where `output` is left out */
    struct th_strs voided;   /* sections that were released before they asked for this entity */
};

#define TH_LOCK_SET_MAX 64

/* True when the instance exists: started, or accepted and waiting for its time. */
static inline bool th_info_exists(const struct th_instance_info *info)
{
    return th_str_present(info->name);
}

/* Answers an execution waits for. Anything else that claims to answer it is stale. */
enum th_pending_kind { TH_PENDING_TASK, TH_PENDING_CHILD, TH_PENDING_TIMER, TH_PENDING_ENTITY };

/* What the engine may ask about the instance's pending answers. */
struct th_pending_view {
    void *argument;
    /* True when this answer is waited for, and only the first time within one th_engine_begin:
     * an answer that comes twice counts once. `scheduled`: of the message that brings it. */
    bool (*take)(void *argument, enum th_pending_kind kind, int32_t event_id, uint64_t scheduled);
    /* The sub-orchestrations waited for: 0, 1, … until false. */
    bool (*child)(void *argument, size_t index, struct th_str *instance_id);
    /* Whether a start with this request id was carried out and its instance purged since; NULL:
     * never. */
    bool (*repeated)(void *argument, struct th_str request_id);
};

/* What becomes of one message that was offered to an instance. */
enum th_verdict {
    TH_VERDICT_TAKEN,   /* part of this episode */
    TH_VERDICT_DROPPED, /* consumed without effect; `error` says why (TH_OK: harmless) */
    TH_VERDICT_PARKED,  /* cannot run now: suspended, or not yet due */
    TH_VERDICT_LEFT,    /* offer it again after this episode */
};

struct th_offer {
    const struct th_message *message;
    bool parked;             /* in: it was parked before, and is offered again */
    enum th_verdict verdict; /* out */
    struct th_error error;   /* out: the answer for the client that sent it */
    th_time not_before;      /* out, PARKED: earliest time to offer it again; NONE: when resumed */
};

struct th_engine_in {
    const struct th_instance_info *info;
    struct th_pending_view pending;
    th_time now;
    struct th_str new_execution_id;  /* used if this episode starts a new execution */
    struct th_str next_execution_id; /* and this if it continues as new: never the same */
    const struct th_event *past;     /* only after TH_BEGIN_HISTORY */
    size_t past_count;
    size_t max_operations; /* of an entity in one episode; 0: any number */
};

/* How an episode begins. */
enum th_begin {
    TH_BEGIN_NOTHING, /* nothing was taken: only the verdicts count */
    TH_BEGIN_RUN,     /* give `fresh` to the executor, then th_engine_finish */
    TH_BEGIN_DECIDED, /* no code is needed: th_engine_finish without actions */
    TH_BEGIN_HISTORY, /* a rewind: call again with the past (verdicts are not final) */
    TH_BEGIN_PURGE,   /* the instance is to be dropped */
};

struct th_outgoing {
    struct th_message message; /* origin is filled in by the partition core */
    th_time not_before;        /* TH_TIME_NONE: at once */
    bool refusal; /* the answer to a message that was dropped: owed whether the code runs or not */
};

/* What an episode did. Memory is the arena's, or belongs to the inputs. */
struct th_outcome {
    enum th_begin begin;
    bool replace_history;       /* a new execution: the history before it goes */
    struct th_events past;      /* rewind: the mended history that replaces the old one */
    struct th_events fresh;     /* shown to the executor; ORCHESTRATOR_STARTED first, or operations
                                 */
    struct th_events produced;  /* appended after fresh; ORCHESTRATOR_COMPLETED last */
    struct th_str execution_id; /* the execution that ran */
    bool terminated, suspended; /* decided by a message of this episode */
    struct th_outgoing *outgoing;
    size_t outgoing_count, outgoing_capacity;
    /* continue-as-new: nothing of fresh/produced is kept, the next execution waits in `next`;
     * entities: `next` is how they are now */
    bool continued;
    struct th_instance_info next;
    bool gone;        /* entities: nothing is left of it */
    size_t left_over; /* entities: so many of the last offers that were taken are to be offered
                         again */
};

/* Decides every offer in order and collects the fresh events. `out` must be zeroed. */
enum th_begin th_engine_begin(const struct th_engine_in *in, struct th_offer *offers, size_t count,
                              struct th_arena *arena, struct th_outcome *out);

/* Turns actions into history, messages and a status. `actions` may be NULL (DECIDED). */
void th_engine_finish(const struct th_engine_in *in, const struct th_actions *actions,
                      struct th_arena *arena, struct th_outcome *out);

/* Fails the instance in this episode instead of running its code (a crash counted out). */
void th_engine_fail(const struct th_engine_in *in, struct th_str type, struct th_str message,
                    struct th_arena *arena, struct th_outcome *out);

/*
 * The fold: what an event of the history says about the instance. Live processing and recovery
 * both go through it, so they cannot differ. Strings of `info` afterwards point into the event.
 */
void th_info_apply(struct th_instance_info *info, const struct th_event *event);

/* The placeholder of an accepted start that has not run yet: status Pending. */
struct th_instance_info th_info_pending(const struct th_message *start);

/* Deep copy into `arena`. */
struct th_instance_info th_info_copy(struct th_arena *arena, const struct th_instance_info *info);

/* Codec for rows and records. Without payloads, input and output are left out. */
void th_encode_info(struct th_buffer *out, const struct th_instance_info *info, bool payloads);
bool th_decode_info(struct th_reader *in, struct th_instance_info *out);

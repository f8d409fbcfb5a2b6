/*
 * executor: runs orchestrators written in C as coroutines, and entities (see entity.h). The only
 * place that knows that a "task" waits. Called by the hub's node on the partition's thread; never
 * blocks; uses no global.
 *
 * Warm: an instance whose coroutine is still suspended where its last episode ended is resumed
 * with the new events alone. Cold: the function starts again and is fed the past; th_is_replaying
 * is true until the past is used up. A call that does not match the history fails the instance
 * with type "NonDeterminism" and a message naming the event and both sides.
 */
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "engine/action.h"

struct th_app; /* registered functions, see application.h */
struct th_executor;

struct th_executor_options {
    const struct th_app *app;
    const struct th_log *log;
    const char
        *default_version; /* of orchestrations that entities start; NULL: the application's */
    size_t max_warm;    /* suspended coroutines kept, default 10,000; the least recently run goes */
    size_t stack_bytes; /* per coroutine; default 64 KiB, with a guard page below */
    bool always_cold;   /* keep none: every episode replays its history */
    bool replay_always; /* debug: run every episode once more from its start and compare */
};

struct th_executor *th_executor_new(const struct th_executor_options *options);
void th_executor_free(struct th_executor *executor);

/*
 * Runs one episode; `out` and what it points to live in `arena`. An orchestrator that is not
 * registered completes as FAILED with type "FunctionNotFound"; of an entity that is not, the batch
 * fails with "EntityNotFound".
 *
 * Warm goes on from `past_count`: it must be that of the last episode plus its fresh events, one
 * event per action, and OrchestratorCompleted, under the same execution id; with any other number
 * the answer is TH_EXECUTOR_NEEDS_HISTORY. Loaded past events always mean a replay. A caller that
 * drops an episode it had run (its append failed, its lease was lost) must forget the instance.
 */
enum th_executor_result th_executor_run(struct th_executor *executor,
                                        const struct th_episode *episode, struct th_arena *arena,
                                        struct th_actions *out);

/* Drops the warm coroutine of an instance, if any: it is resumed once with every call failing so
 * that its cleanups run. */
void th_executor_forget(struct th_executor *executor, struct th_str instance_id);
size_t th_executor_warm(const struct th_executor *executor);

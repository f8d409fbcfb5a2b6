/*
 * node: one process's share of a hub. Owns partitions through a provider, feeds the partition
 * core, runs orchestrators through an executor, hands activities to a pool and answers commands.
 * Single-threaded and without a clock, a thread or a random source of its own: the runtime
 * (worker/host.h) gives it a thread and real time, the simulation a seed and a virtual clock.
 *
 *     provider ──completions──▶ ┌──────┐ ──submissions──▶ provider
 *     commands ───────────────▶ │ node │ ──replies──────▶ clients
 *     activity results ───────▶ └──────┘ ──activities───▶ pool
 */
#pragma once

#include "base/log.h"
#include "model/name.h"
#include "model/settings.h"
#include "node/command.h"
#include "sdk/executor.h"

struct th_node;

/* One attempt at an activity. Strings are valid until the call of the hook returns. */
struct th_activity_work {
    uint32_t partition;
    uint64_t token; /* give it back with the result; unique within this node */
    struct th_str instance_id, execution_id, name, version, input;
    struct th_str trace; /* parent's, of a remote SDK's; see rpc/event.h */
    int32_t task_id;
    uint32_t crashes; /* how often the process died running it */
    struct th_tags tags;
};

struct th_node_hooks {
    void *argument;
    /* Start this activity; answer later with th_node_activity_done. */
    void (*activity)(void *argument, const struct th_activity_work *work);
    /* The result is no longer wanted (terminated, …); the activity may be told. */
    void (*activity_canceled)(void *argument, uint64_t token);
    /* Run one episode; NULL: the node's own executor. TH_EXECUTOR_LATER: it runs elsewhere, and
     * th_node_away_ran or th_node_away_back follows; what the episode points to lives until this
     * call returns. */
    enum th_executor_result (*orchestrate)(void *argument, const struct th_episode *episode,
                                           struct th_arena *arena, struct th_actions *out);
    void (*forget)(void *argument, struct th_str instance_id);
    /* An episode that runs elsewhere is no longer wanted: the lease is lost, or it was terminated.
     */
    void (*episode_canceled)(void *argument, uint64_t episode);
    /* Whether this process runs the function; work for others waits and is named in the hub
     * view. NULL: everything. */
    bool (*serves)(void *argument, enum th_function_kind kind, struct th_str name,
                   struct th_str version);
    /* Whether the function's episodes run elsewhere, so that they may take long; NULL: none do. */
    bool (*runs_elsewhere)(void *argument, enum th_function_kind kind, struct th_str name);
    /* A partition was lost or broke; the node claims it again by itself after a back-off. */
    void (*trouble)(void *argument, uint32_t partition, const struct th_error *error);
    /* Shared hubs only. Whether this activity is put where any process may take it, instead of
     * running here; NULL: never. Whether the process of this name, to which activities were left,
     * may still be running them; NULL: none is. */
    bool (*goes_out)(void *argument, struct th_str name, struct th_str version);
    bool (*is_alive)(void *argument, struct th_str worker);
    /* The partition is ours from this epoch on; or, with epoch -1, no longer. */
    void (*lease)(void *argument, uint32_t partition, int64_t epoch);
    /* The partition is given up: takes this activity back if it only waits, so that the next owner
     * starts it. False: it runs, and goes on. NULL: everything runs. */
    bool (*withdraw)(void *argument, uint64_t token);
    /* Calls back for each activity that was given to `activity` and waits since nobody serves it,
     * or several of a name together; NULL: none do. */
    void (*unserved)(void *argument,
                     void (*visit)(void *visitor, struct th_str name, size_t waiting),
                     void *visitor);
    /* Around each run of an orchestrator's code: for the flight recorder that finds the culprit of
     * a crash, and for counting. `failed`, at its end: the instance fails by it. */
    void (*episode)(void *argument, bool begins, struct th_str instance_id, struct th_str name,
                    bool failed);
};

struct th_node_options {
    struct th_provider *provider; /* the node closes it */
    struct th_node_hooks hooks;
    const struct th_log *log;
    const char *worker;        /* name of this process in claims; in a shared hub another one each
                                  time it is started */
    uint64_t seed;             /* ids, nonces, jitter; random in programs, fixed in simulations */
    size_t max_instances;      /* in memory per partition before idle ones leave; default 50,000 */
    th_time project_interval;  /* how long rows may wait for the projection; default 50 ms */
    size_t checkpoint_records; /* a checkpoint after so many records; default 10,000 … */
    size_t checkpoint_bytes;   /* … and so many bytes; default 4 MiB */
    size_t clean_bytes;        /* least growth of a log before it is cleaned; default 64 MiB */
    size_t piece_records;      /* of a log that are folded at once; default 20,000 */
    size_t max_rows;           /* of one batch for the projection; default 1,000 */
    size_t max_kept_bytes;     /* of histories of code that runs elsewhere; default 16 MiB */
    size_t max_unprojected;    /* instances whose rows wait, per partition, before its inbox has to
                                  wait, too; default 100,000 */
    uint32_t max_crashes;      /* attempts that may take the process down; default 3 */
    size_t max_payload_bytes;  /* default 16 MiB */
    size_t max_operations; /* of an entity that its code is given at once; default: any number */
    size_t max_entities;   /* that run elsewhere (TH_EXECUTOR_LATER) at a time; others wait for
                              their turn; default: any number */
    /* The application's version: given to instances started without one, and held against those
     * of instances (host.json versionMatchStrategy). NULL: no version, no check. */
    const char *version;
    enum th_version_match version_match;
    enum th_version_failure version_failure;
    struct th_formats formats; /* of records and messages */
    int mutation;              /* enum th_mutation: deliberate defects, for the simulation */
};

struct th_node *th_node_new(const struct th_node_options *options);

/* The executor for C orchestrators; the caller keeps it and frees it after the node. Without one
 * (and without hooks.orchestrate) nothing may be started. */
void th_node_set_executor(struct th_node *node, struct th_executor *executor);

/* Drops everything without writing (as a crash would) and closes the provider. After
 * th_node_drained nothing is lost but warm state. Commands not yet answered get UNAVAILABLE. */
void th_node_free(struct th_node *node);

/* Claims a partition and works on it. Finishes during later steps. One that was stopped because its
 * log lost its end stays so until it was released. */
void th_node_take(struct th_node *node, uint32_t partition);
/* Gives it up: as soon as what is under way is durable, and at `by` at the latest. Activities that
 * run for it go on; their results are sent to its next owner. */
void th_node_release(struct th_node *node, uint32_t partition, th_time by);
/* False: it is free; nothing of this process touches it any more. */
bool th_node_holds(const struct th_node *node, uint32_t partition);
/* This worker is no more: what was left to it is started again. */
void th_node_worker_gone(struct th_node *node, struct th_str worker, th_time now);

/* Does everything that can be done at `now`: completions, due timers, episodes, submissions.
 * Returns when it should be stepped again even if nothing happens (TH_TIME_NONE: not needed).
 * `now` never falls between calls (a node clamps it). */
th_time th_node_step(struct th_node *node, th_time now);

/* A client's command; the callback is called during this or a later step. */
uint64_t th_node_command(struct th_node *node, const struct th_command *command, th_reply_fn reply,
                         void *argument, th_time now);
bool th_node_cancel(struct th_node *node, uint64_t ticket);

/* The result of an activity. An unknown token (lease lost, instance gone) is ignored. */
struct th_activity_answer {
    uint64_t token;
    struct th_str data;
    const struct th_failure *failure; /* NULL: succeeded */
};
void th_node_activity_done(struct th_node *node, const struct th_activity_answer *answer,
                           th_time now);

/* ---- episodes that run elsewhere (TH_EXECUTOR_LATER), by th_episode.number; unknown numbers are
 * ignored: they are no longer wanted ---- */

/* Where the actions are to be built; NULL: unknown. */
struct th_arena *th_node_away_arena(struct th_node *node, uint64_t episode);
void th_node_away_ran(struct th_node *node, uint64_t episode, const struct th_actions *actions,
                      th_time now);
/* It came to nothing, and is run again, perhaps elsewhere or with more messages. */
void th_node_away_back(struct th_node *node, uint64_t episode, th_time now);

/* hooks.serves says yes to more functions than before: what waited for one is tried again. */
void th_node_served(struct th_node *node, th_time now);

/* The result of an activity message (TH_SEND_ACTIVITIES), for whoever owns the partition now. Sent
 * until it is durable; then `done` is called, during a step. */
struct th_shared_result {
    struct th_str instance_id, execution_id;
    int32_t task_id;
    uint64_t scheduled;
    struct th_str data;
    const struct th_failure *failure; /* NULL: succeeded */
};
void th_node_result(struct th_node *node, const struct th_shared_result *result,
                    void (*done)(void *argument), void *argument, th_time now);

/* Sends an activity message on, to whoever consumes this activity partition. `message` is
 * referenced; sent until it is durable; then `done` is called, during a step. */
void th_node_forward(struct th_node *node, struct th_blob *message, uint32_t activity_partition,
                     void (*done)(void *argument), void *argument, th_time now);

/* The previous process died running this: an episode (task_id -1) or an activity. Counted in the
 * log; at max_crashes the activity, or the instance, fails with `reason`. Call before the first
 * step. */
void th_node_report_crash(struct th_node *node, struct th_str instance_id, int32_t task_id,
                          const char *reason);

/* As th_node_report_crash, at any time: the process that runs the application for this node died
 * running this. An activity is started again by the hook when the count is durable. */
void th_node_crashed(struct th_node *node, struct th_str instance_id, int32_t task_id,
                     const char *reason, th_time now);

/* While held, no episode begins; what needs no code, and answers to clients, go on. The node holds
 * itself when hooks.orchestrate returns TH_EXECUTOR_CRASHED; the episode is run again after the
 * release. */
void th_node_hold(struct th_node *node, bool held);

/* Starts no new activity or episode; true once everything under way is durable and projected. */
bool th_node_drained(struct th_node *node);
void th_node_drain(struct th_node *node);

/* One partition, as this process has it; what follows `active` has a meaning only if it is. */
struct th_node_partition {
    const char *trouble; /* why it is not active although it was taken, or what is amiss; or "" */
    bool active;
    int64_t epoch, position, log_start, log_end;
    int64_t end;    /* inbox offset after the last message that came */
    th_time oldest; /* arrival of the oldest unprocessed message; TH_TIME_NONE: none */
    size_t instances, pending_activities;
};
void th_node_look(const struct th_node *node, uint32_t partition, struct th_node_partition *out);
/* What waits because nobody here serves it, by its function: instances one by one, activities
 * perhaps several of a name together. */
typedef void th_node_unserved_visit(void *argument, enum th_function_kind kind, struct th_str name,
                                    size_t waiting);
void th_node_unserved(const struct th_node *node, th_node_unserved_visit *visit, void *argument);

/* For metrics, bench and tests. Counters since the start, then how it is now. */
struct th_node_stats {
    uint64_t episodes, records, activities, messages, loads, evictions, projections, replays;
    uint64_t snapshots, cleanings, rebuilds, leases_taken, leases_lost;
    size_t instances, pending_activities, timers, waiting_commands, unprojected;
    size_t handed;       /* activities that run on for partitions that were handed over */
    uint32_t owned;      /* partitions that are ours */
    uint32_t rebuilding; /* … whose projection is being made again */
    uint32_t held_back;  /* … whose inbox waits for the projection */
};
void th_node_get_stats(const struct th_node *node, struct th_node_stats *out);
